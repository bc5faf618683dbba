//! Charts without a value axis: lying bars, meters, the strip of days, the line in a table cell.

use super::canvas::{Anchor, Canvas, Ink, Stroke};
use super::plot::label;
use super::scale::Scale;
use super::{ChartSpec, Unit};

/// How high a row of lying bars is.
pub(super) fn row_height(canvas: &Canvas) -> f64 {
    canvas.text_size() * 2.9
}

/// Draws a bar per bucket, its name and value above it.
pub(super) fn horizontal_bars(canvas: &mut Canvas, spec: &ChartSpec) {
    let most = spec
        .series
        .first()
        .into_iter()
        .flat_map(|series| series.values.iter().flatten())
        .map(|value| value.unsigned_abs())
        .max()
        .unwrap_or(0);
    for bucket in 0..spec.buckets.len() {
        let value = spec.value(0, bucket);
        let share = value.map_or(0.0, |value| part(value.unsigned_abs() as f64, most as f64));
        let text = value.map_or_else(|| "no data".to_owned(), |value| spec.unit.format(value));
        let ink = if value.is_some_and(|value| value < 0) { Ink::Bad } else { Ink::Series(0) };
        row(canvas, spec, bucket, &text, share, ink);
    }
}

/// Draws a bar per bucket against its limit; past the limit the track is the value and the limit a mark on it.
pub(super) fn meters(canvas: &mut Canvas, spec: &ChartSpec) {
    for bucket in 0..spec.buckets.len() {
        let (value, limit) = (spec.value(0, bucket), spec.value(1, bucket).filter(|limit| *limit > 0));
        let (Some(value), Some(limit)) = (value, limit) else {
            let text = value.map_or_else(|| "no data".to_owned(), |value| format!("{}, no limit", spec.unit.format(value)));
            row(canvas, spec, bucket, &text, 0.0, Ink::Series(0));
            continue;
        };
        let percent = i128::from(value) * 100 / i128::from(limit);
        let ink = match percent {
            ..80 => Ink::Series(0),
            80..=100 => Ink::Fair,
            _ => Ink::Bad,
        };
        let ink = if value > limit { Ink::Bad } else { ink };
        let text = format!("{} of {} ({percent} %)", spec.unit.format(value), spec.unit.format(limit));
        row(canvas, spec, bucket, &text, part(value as f64, value.max(limit) as f64), ink);
        if value > limit {
            let top = row_height(canvas) * bucket as f64 + canvas.text_size() * 1.3;
            canvas.post(part(limit as f64, value as f64), (top, top + canvas.text_size() * 0.95), Ink::Text, 2.0);
        }
    }
}

fn row(canvas: &mut Canvas, spec: &ChartSpec, bucket: usize, value: &str, share: f64, ink: Ink) {
    let size = canvas.text_size();
    let top = row_height(canvas) * bucket as f64;
    let name = spec.buckets.get(bucket).map_or("", String::as_str);
    let bar = (top + size * 1.5, size * 0.55);
    canvas.text((0.0, top + size), Anchor::Start, Ink::Text, "row-name", &shortened(name, 44));
    canvas.text((1.0, top + size), Anchor::End, Ink::Text, "row-value strong", value);
    canvas.rect((0.0, 1.0), bar, Ink::Track, 1.0);
    if share > 0.0 {
        canvas.rect((0.0, share.max(0.004)), bar, ink, if spec.is_open(bucket) { 0.5 } else { 1.0 });
    }
    if let Some(link) = spec.links.get(bucket) {
        canvas.opener((top, row_height(canvas) - size * 0.3), &format!("{name}: {value}"), link);
    }
}

/// Draws a cell per day: full when the target is met, marked when it is not, hollow when nothing is known.
pub(super) fn heat_strip(canvas: &mut Canvas, spec: &ChartSpec) {
    let count = spec.buckets.len();
    let slot = 1.0 / count.max(1) as f64;
    let (top, height) = if canvas.is_paper() { (2.0, 14.0) } else { (18.0, 26.0) };
    for bucket in 0..count {
        let from = slot * bucket as f64 + slot * 0.06;
        let (across, down) = ((from, slot * 0.88), (top, height));
        match level(spec, bucket) {
            Level::Met => canvas.rect(across, down, Ink::Good, 1.0),
            Level::Unknown => canvas.rect(across, down, Ink::Unknown, 1.0),
            // Not by colour alone: the lower the bar, the worse the day.
            Level::Close => short_cell(canvas, across, down, 0.6, Ink::Fair),
            Level::Missed => short_cell(canvas, across, down, 0.3, Ink::Bad),
        }
        let is_labelled = bucket.is_multiple_of(7) || count <= 7;
        if is_labelled && let Some(name) = spec.buckets.get(bucket) {
            let y = top + height + canvas.text_size() * 1.3;
            canvas.text((slot * (bucket as f64 + 0.5), y), Anchor::Middle, Ink::Muted, "tick", name);
        }
        let text = label(spec, bucket);
        canvas.hit((slot * bucket as f64, slot), &text, &text, spec.links.get(bucket).map(String::as_str));
    }
}

fn short_cell(canvas: &mut Canvas, across: (f64, f64), (top, height): (f64, f64), part: f64, ink: Ink) {
    canvas.rect(across, (top, height), Ink::Track, 1.0);
    canvas.rect(across, (top + height * (1.0 - part), height * part), ink, 1.0);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Met,
    Close,
    Missed,
    Unknown,
}

/// A day within five points of the target is close to it.
fn level(spec: &ChartSpec, bucket: usize) -> Level {
    let near = if spec.unit == Unit::Percent { 500 } else { 0 };
    match (spec.value(0, bucket), spec.target.unwrap_or(10_000)) {
        (None, _) => Level::Unknown,
        (Some(value), target) if value >= target => Level::Met,
        (Some(value), target) if value >= target - near => Level::Close,
        (Some(_), _) => Level::Missed,
    }
}

/// Draws the line of a table cell, in a box of the given height.
pub(super) fn sparkline(canvas: &mut Canvas, spec: &ChartSpec, height: f64) {
    let values = || spec.series.first().into_iter().flat_map(|series| series.values.iter().flatten().copied());
    let (Some(low), Some(high)) = (values().min(), values().max()) else {
        canvas.rule((0.0, 1.0), height / 2.0, Ink::Previous, Stroke::Dotted, 1.0);
        return;
    };
    let scale = Scale { ticks: vec![low.min(0), high.max(1)] };
    let count = spec.buckets.len().max(1) as f64;
    let points: Vec<_> = (0..spec.buckets.len())
        .filter_map(|bucket| Some(((bucket as f64 + 0.5) / count, height - 3.0 - scale.position(spec.value(0, bucket)?) * (height - 6.0))))
        .collect();
    canvas.area(&points, height, Ink::Series(0));
    canvas.path(&points, Ink::Series(0), Stroke::Solid, 1.5);
    if let Some(end) = points.last() {
        canvas.dot(*end, 2.0, Ink::Series(0));
    }
}

fn part(value: f64, whole: f64) -> f64 {
    if whole > 0.0 { (value / whole).clamp(0.0, 1.0) } else { 0.0 }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most - 1).chain(['…']).collect() }
}
