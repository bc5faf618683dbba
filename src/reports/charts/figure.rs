//! What stands around the marks: caption, legend, axis and table on a page, a document of its own in print.

use std::fmt::Write as _;

use super::canvas::{Anchor, Canvas, Ink, SERIES_COLORS, Surface, escaped, number};
use super::plot::{self, Frame, Labels};
use super::{ChartSpec, Color, Form, SeriesRole, strip};

const PAGE_HEIGHT: f64 = 220.0;
const PAGE_AXIS: f64 = 52.0;
const PAGE_FRAME: Frame = Frame { top: 22.0, bottom: 194.0 };
const PAPER_AXIS: f64 = 34.0;
const SPARK_WIDTH: f64 = 120.0;
const SPARK_HEIGHT: f64 = 28.0;

/// Renders a chart for a page.
pub(super) fn web(spec: &ChartSpec) -> String {
    if spec.form == Form::Sparkline {
        return web_sparkline(spec);
    }
    let id = identifier(&spec.id);
    let mut out = String::with_capacity(8_192);
    let unit = spec.unit.name();
    let unit = if unit.is_empty() { String::new() } else { format!(" <span class=\"chart-unit\">{}</span>", escaped(&unit)) };
    let _ = write!(out, "<figure class=\"chart chart-{}\" id=\"{id}\">", form_class(spec.form));
    let _ = write!(out, "<figcaption id=\"{id}-title\">{}{unit}</figcaption>", escaped(&spec.title));
    if spec.is_empty() {
        out.push_str("<p class=\"chart-empty\">No data for this time.</p></figure>");
        return out;
    }
    web_legend(&mut out, spec);
    web_body(&mut out, spec, &id);
    web_table(&mut out, spec);
    out.push_str("</figure>");
    out
}

fn web_body(out: &mut String, spec: &ChartSpec, id: &str) {
    let mut canvas = Canvas::new(Surface::Page, PAGE_HEIGHT);
    let height = match spec.form {
        Form::HorizontalBar | Form::Meter => strip::row_height(&canvas) * spec.buckets.len() as f64,
        Form::HeatStrip => 64.0,
        Form::Line | Form::Area | Form::Bar | Form::StackedBar | Form::Sparkline => PAGE_HEIGHT,
    };
    canvas = Canvas::new(Surface::Page, height);
    out.push_str("<div class=\"chart-body\">");
    match spec.form {
        Form::HorizontalBar => strip::horizontal_bars(&mut canvas, spec),
        Form::Meter => strip::meters(&mut canvas, spec),
        Form::HeatStrip => strip::heat_strip(&mut canvas, spec),
        Form::Line | Form::Area | Form::Bar | Form::StackedBar | Form::Sparkline => {
            let mut axis = Canvas::new(Surface::Page, height);
            plot::axis(&mut axis, spec, PAGE_FRAME, PAGE_AXIS - 6.0);
            let _ = write!(out, "<svg class=\"chart-axis\" width=\"{PAGE_AXIS}\" height=\"{height}\" aria-hidden=\"true\">");
            out.push_str(&axis.into_marks());
            out.push_str("</svg>");
            plot::plot(&mut canvas, spec, PAGE_FRAME, Labels { most: 6 });
        }
    }
    // Rows of bars without links have nothing inside to reach: their names and values are text.
    let is_still = matches!(spec.form, Form::HorizontalBar | Form::Meter) && spec.links.is_empty();
    let role = if is_still { "img" } else { "group" };
    let _ = write!(
        out,
        "<svg class=\"chart-plot\" width=\"100%\" height=\"{}\" role=\"{role}\" aria-labelledby=\"{id}-title\">{}</svg></div>",
        number(height),
        canvas.into_marks()
    );
}

fn web_legend(out: &mut String, spec: &ChartSpec) {
    if spec.form == Form::HeatStrip {
        let target = spec.unit.format(spec.target.unwrap_or(10_000));
        let _ = write!(
            out,
            "<ul class=\"chart-legend\"><li><i class=\"key f-good\"></i>target of {} met</li><li><i class=\"key f-fair\"></i>close</li>\
             <li><i class=\"key f-bad\"></i>missed</li><li><i class=\"key f-unknown\"></i>no data</li></ul>",
            escaped(&target)
        );
        return;
    }
    let entries = legend(spec);
    if entries.is_empty() {
        return;
    }
    out.push_str("<ul class=\"chart-legend\">");
    for (ink, name) in entries {
        let class = match ink {
            Ink::Previous => "previous".to_owned(),
            Ink::Series(index) => format!("s{}", index % SERIES_COLORS),
            _ => "target".to_owned(),
        };
        let _ = write!(out, "<li><i class=\"key f-{class}\"></i>{}</li>", escaped(&name));
    }
    out.push_str("</ul>");
}

/// What needs a key: more than one series, or a target.
fn legend(spec: &ChartSpec) -> Vec<(Ink, String)> {
    if matches!(spec.form, Form::HorizontalBar | Form::Meter | Form::HeatStrip | Form::Sparkline) {
        return Vec::new();
    }
    let mut entries = Vec::new();
    if spec.series.len() > 1 || spec.target.is_some() {
        for (index, series) in spec.series.iter().enumerate() {
            let ink = if series.role == SeriesRole::Previous { Ink::Previous } else { Ink::Series(index) };
            entries.push((ink, series.name.clone()));
        }
    }
    entries.extend(spec.target.map(|target| (Ink::Target, format!("{} {}", spec.target_name, spec.unit.format(target)))));
    entries
}

fn web_table(out: &mut String, spec: &ChartSpec) {
    let heading = match spec.form {
        Form::HeatStrip => "Day",
        Form::HorizontalBar | Form::Meter => "Name",
        Form::Line | Form::Area | Form::Bar | Form::StackedBar | Form::Sparkline => "Period",
    };
    let _ =
        write!(out, "<details class=\"chart-data\"><summary>Show data table</summary><table><thead><tr><th scope=\"col\">{heading}</th>");
    for series in &spec.series {
        let _ = write!(out, "<th scope=\"col\" class=\"num\">{}</th>", escaped(&series.name));
    }
    out.push_str("</tr></thead><tbody>");
    for (bucket, name) in spec.buckets.iter().enumerate() {
        let name = escaped(name);
        let so_far = if spec.is_open(bucket) { " so far" } else { "" };
        let _ = match spec.links.get(bucket) {
            Some(link) => write!(out, "<tr><th scope=\"row\"><a href=\"{}\">{name}</a>{so_far}</th>", escaped(link)),
            None => write!(out, "<tr><th scope=\"row\">{name}{so_far}</th>"),
        };
        for index in 0..spec.series.len() {
            let value = spec.value(index, bucket).map_or_else(|| "no data".to_owned(), |value| spec.unit.format(value));
            let _ = write!(out, "<td class=\"num\">{}</td>", escaped(&value));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></details>");
}

fn web_sparkline(spec: &ChartSpec) -> String {
    let values: Vec<_> = spec.series.first().into_iter().flat_map(|series| series.values.iter().flatten()).collect();
    let words = match (values.first(), values.last()) {
        (Some(first), Some(last)) => format!("{}: from {} to {}", spec.title, spec.unit.format(**first), spec.unit.format(**last)),
        _ => format!("{}: no data", spec.title),
    };
    let mut canvas = Canvas::new(Surface::Page, SPARK_HEIGHT);
    strip::sparkline(&mut canvas, spec, SPARK_HEIGHT);
    let words = escaped(&words);
    format!(
        "<svg class=\"chart-spark\" width=\"{SPARK_WIDTH}\" height=\"{SPARK_HEIGHT}\" role=\"img\" aria-label=\"{words}\"><title>{words}</title>{}</svg>",
        canvas.into_marks()
    )
}

/// Renders a chart for print.
pub(super) fn print(spec: &ChartSpec, brand: Color, width_pt: f64) -> String {
    let width = if width_pt.is_finite() { width_pt.clamp(60.0, 2_000.0) } else { 240.0 };
    let with_axis = matches!(spec.form, Form::Line | Form::Area | Form::Bar | Form::StackedBar);
    let left = if with_axis && !spec.is_empty() { PAPER_AXIS } else { 0.0 };
    let right = if left > 0.0 { width - 6.0 } else { width };
    let surface = Surface::Paper { brand, left, right };
    let entries = legend(spec);
    let top = if entries.is_empty() { 6.0 } else { 18.0 };
    let mut canvas = Canvas::new(surface, 0.0);
    let height = match spec.form {
        _ if spec.is_empty() => 24.0,
        Form::HorizontalBar | Form::Meter => strip::row_height(&canvas) * spec.buckets.len() as f64,
        Form::HeatStrip => 28.0,
        Form::Sparkline => SPARK_HEIGHT,
        Form::Line | Form::Area | Form::Bar | Form::StackedBar => top + 118.0,
    };
    match spec.form {
        _ if spec.is_empty() => canvas.text_at((0.0, 14.0), Anchor::Start, Ink::Muted, "", "No data for this time."),
        Form::HorizontalBar => strip::horizontal_bars(&mut canvas, spec),
        Form::Meter => strip::meters(&mut canvas, spec),
        Form::HeatStrip => strip::heat_strip(&mut canvas, spec),
        Form::Sparkline => strip::sparkline(&mut canvas, spec, SPARK_HEIGHT),
        Form::Line | Form::Area | Form::Bar | Form::StackedBar => {
            print_legend(&mut canvas, &entries, left);
            let frame = Frame { top, bottom: height - 16.0 };
            let most = ((width - left) / 34.0) as usize;
            plot::axis(&mut canvas, spec, frame, left - 5.0);
            plot::plot(&mut canvas, spec, frame, Labels { most });
        }
    }
    let (width, height) = (number(width), number(height));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">{}</svg>",
        canvas.into_marks()
    )
}

fn print_legend(canvas: &mut Canvas, entries: &[(Ink, String)], left: f64) {
    let mut x = left;
    for (ink, name) in entries {
        canvas.swatch((x, 1.5), *ink);
        canvas.text_at((x + 9.0, 7.5), Anchor::Start, Ink::Muted, "", name);
        x += 22.0 + name.chars().count() as f64 * 4.1;
    }
}

const fn form_class(form: Form) -> &'static str {
    match form {
        Form::Line => "line",
        Form::Area => "area",
        Form::Bar => "bar",
        Form::StackedBar => "stacked",
        Form::HorizontalBar => "rows",
        Form::Sparkline => "spark",
        Form::HeatStrip => "days",
        Form::Meter => "meter",
    }
}

/// An id that cannot leave its attribute.
fn identifier(text: &str) -> String {
    let id: String = text.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '-' }).collect();
    if id.starts_with(|first: char| first.is_ascii_alphabetic()) { id } else { format!("chart-{id}") }
}
