//! Charts with a value axis: lines, areas, bars, stacked bars.

use super::canvas::{Anchor, Canvas, Ink, Stroke};
use super::scale::Scale;
use super::{ChartSpec, Form, Series, SeriesRole};

/// The room above and below the plot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Frame {
    fn y(self, scale: &Scale, value: i64) -> f64 {
        self.bottom - scale.position(value) * (self.bottom - self.top)
    }
}

/// How many labels fit under a plot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labels {
    pub(super) most: usize,
}

/// Writes the value axis: its ticks, at the right edge `x`.
pub(super) fn axis(canvas: &mut Canvas, spec: &ChartSpec, frame: Frame, x: f64) {
    let scale = Scale::of(spec);
    let lift = canvas.text_size() * 0.35;
    let largest = scale.ticks.iter().copied().max_by_key(|tick| tick.unsigned_abs()).unwrap_or(0);
    for tick in &scale.ticks {
        canvas.text_at((x, frame.y(&scale, *tick) + lift), Anchor::End, Ink::Muted, "tick", &spec.unit.tick_beside(*tick, largest));
    }
}

/// Draws the grid, the marks, the labels of the buckets and what can be hit.
pub(super) fn plot(canvas: &mut Canvas, spec: &ChartSpec, frame: Frame, labels: Labels) {
    let scale = Scale::of(spec);
    for tick in &scale.ticks {
        let ink = if *tick == 0 { Ink::Previous } else { Ink::Grid };
        canvas.rule((0.0, 1.0), frame.y(&scale, *tick), ink, Stroke::Solid, 1.0);
    }
    match spec.form {
        Form::StackedBar => stacked_bars(canvas, spec, frame, &scale),
        Form::Bar => bars(canvas, spec, frame, &scale),
        Form::Line | Form::Area | Form::Sparkline | Form::HorizontalBar | Form::HeatStrip | Form::Meter => {}
    }
    for (index, series) in spec.series.iter().enumerate().rev() {
        match (series.role, spec.form) {
            (SeriesRole::Previous, _) => line(canvas, spec, frame, &scale, (index, series)),
            (SeriesRole::Current, Form::Line | Form::Area) => line(canvas, spec, frame, &scale, (index, series)),
            (SeriesRole::Current, _) => {}
        }
    }
    if let Some(target) = spec.target {
        canvas.rule((0.0, 1.0), frame.y(&scale, target), Ink::Target, Stroke::Dashed, 1.25);
    }
    bucket_labels(canvas, spec, frame, labels);
    hits(canvas, spec);
}

fn bars(canvas: &mut Canvas, spec: &ChartSpec, frame: Frame, scale: &Scale) {
    let count = spec.current().count().max(1) as f64;
    let slot = 1.0 / spec.buckets.len().max(1) as f64;
    let width = slot * 0.68 / count;
    let zero = frame.y(scale, 0);
    for bucket in 0..spec.buckets.len() {
        for (place, (index, _)) in spec.current().enumerate() {
            let Some(value) = spec.value(index, bucket) else { continue };
            let y = frame.y(scale, value);
            let from = slot * (bucket as f64 + 0.16) + width * place as f64;
            canvas.rect((from, width), (y.min(zero), (y - zero).abs()), Ink::Series(index), opacity(spec, bucket));
        }
    }
}

fn stacked_bars(canvas: &mut Canvas, spec: &ChartSpec, frame: Frame, scale: &Scale) {
    let slot = 1.0 / spec.buckets.len().max(1) as f64;
    for bucket in 0..spec.buckets.len() {
        let (mut above, mut below) = (0_i64, 0_i64);
        for (index, _) in spec.current() {
            let Some(value) = spec.value(index, bucket).filter(|value| *value != 0) else { continue };
            let side = if value > 0 { &mut above } else { &mut below };
            let start = frame.y(scale, *side);
            *side = side.saturating_add(value);
            let end = frame.y(scale, *side);
            let span = (start.min(end), (start - end).abs());
            canvas.rect((slot * (bucket as f64 + 0.16), slot * 0.68), span, Ink::Series(index), opacity(spec, bucket));
        }
    }
}

fn opacity(spec: &ChartSpec, bucket: usize) -> f64 {
    if spec.is_open(bucket) { 0.5 } else { 1.0 }
}

/// A line breaks where a value is missing; the part that leads into an open bucket is dotted.
fn line(canvas: &mut Canvas, spec: &ChartSpec, frame: Frame, scale: &Scale, (index, series): (usize, &Series)) {
    let (ink, stroke, width) = match series.role {
        SeriesRole::Current => (Ink::Series(index), Stroke::Solid, 2.0),
        // Over bars the pale line of the time before would not be seen.
        SeriesRole::Previous if matches!(spec.form, Form::Bar | Form::StackedBar) => (Ink::Text, Stroke::Dashed, 1.5),
        SeriesRole::Previous => (Ink::Previous, Stroke::Dashed, 1.5),
    };
    let count = spec.buckets.len();
    let base = frame.y(scale, scale.ticks.first().copied().unwrap_or(0).max(0));
    let point = |bucket: usize| spec.value(index, bucket).map(|value| ((bucket as f64 + 0.5) / count as f64, frame.y(scale, value)));
    for run in runs(count, |bucket| point(bucket).is_some()) {
        let points: Vec<_> = run.clone().filter_map(point).collect();
        if spec.form == Form::Area && index == 0 {
            canvas.area(&points, base, ink);
        }
        let ends_open = series.role == SeriesRole::Current && spec.is_open(run.end - 1);
        let solid = if ends_open { points.len() - 1 } else { points.len() };
        match points.get(..solid) {
            Some([alone]) if points.len() == 1 => canvas.dot(*alone, 2.5, ink),
            Some(points) if points.len() > 1 => canvas.path(points, ink, stroke, width),
            _ => {}
        }
        if ends_open {
            if let Some(tail) = points.len().checked_sub(2).and_then(|from| points.get(from..)) {
                canvas.path(tail, ink, Stroke::Dotted, width);
            }
            if let Some(end) = points.last() {
                canvas.dot(*end, 2.5, ink);
            }
        }
    }
}

/// The unbroken runs of buckets that have a value.
fn runs(count: usize, has_value: impl Fn(usize) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for bucket in (0..count).filter(|bucket| has_value(*bucket)) {
        match runs.last_mut() {
            Some(run) if run.end == bucket => run.end += 1,
            _ => runs.push(bucket..bucket + 1),
        }
    }
    runs
}

fn bucket_labels(canvas: &mut Canvas, spec: &ChartSpec, frame: Frame, labels: Labels) {
    let count = spec.buckets.len();
    let every = count.div_ceil(labels.most.max(1)).max(1);
    let y = frame.bottom + canvas.text_size() * 1.5;
    for (bucket, label) in spec.buckets.iter().enumerate() {
        let is_major = (count - 1 - bucket).is_multiple_of(every);
        if !is_major && (canvas.is_paper() || count > 24) {
            continue;
        }
        let class = if is_major { "tick" } else { "tick minor" };
        canvas.text(((bucket as f64 + 0.5) / count as f64, y), Anchor::Middle, Ink::Muted, class, label);
    }
}

fn hits(canvas: &mut Canvas, spec: &ChartSpec) {
    let slot = 1.0 / spec.buckets.len().max(1) as f64;
    for bucket in 0..spec.buckets.len() {
        let link = spec.links.get(bucket).map(String::as_str);
        canvas.hit((slot * bucket as f64, slot), &label(spec, bucket), &tip(spec, bucket), link);
    }
}

/// What a bucket says in full: `Oct 2025: 58,750.00 USD; before: 55,000.00 USD`.
pub(super) fn label(spec: &ChartSpec, bucket: usize) -> String {
    let name = spec.buckets.get(bucket).map_or("", String::as_str);
    let so_far = if spec.is_open(bucket) { " so far" } else { "" };
    let value = |index: usize| spec.value(index, bucket).map_or_else(|| "no data".to_owned(), |value| spec.unit.format(value));
    if let [_] = spec.series.as_slice() {
        return format!("{name}{so_far}: {}", value(0));
    }
    let parts: Vec<_> = spec.series.iter().enumerate().map(|(index, series)| format!("{} {}", series.name, value(index))).collect();
    format!("{name}{so_far}: {}", parts.join("; "))
}

/// What a bucket says in short: the total of a stack, otherwise its first value.
fn tip(spec: &ChartSpec, bucket: usize) -> String {
    let name = spec.buckets.get(bucket).map_or("", String::as_str);
    let so_far = if spec.is_open(bucket) { " so far" } else { "" };
    let value = if spec.form == Form::StackedBar {
        spec.current().filter_map(|(index, _)| spec.value(index, bucket)).reduce(i64::saturating_add)
    } else {
        spec.current().next().and_then(|(index, _)| spec.value(index, bucket))
    };
    let value = value.map_or_else(|| "no data".to_owned(), |value| spec.unit.format(value));
    let before = spec.series.iter().position(|series| series.role == SeriesRole::Previous).and_then(|index| spec.value(index, bucket));
    let before = before.map_or_else(String::new, |before| format!(" (before {})", spec.unit.format(before)));
    format!("{name}{so_far}: {value}{before}")
}
