//! The surface that charts are drawn on: SVG elements whose colours are classes on a page and literals in print.
//!
//! Across, positions are shares (0 to 1) of the plot: percentages on a page, so that text keeps its size at any width,
//! and points in print. Downwards, positions are absolute.

use std::fmt::Write as _;

use super::{Color, PRINT_FONT};

/// What a mark is painted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    Series(usize),
    Previous,
    Grid,
    Text,
    Muted,
    Track,
    Good,
    Fair,
    Bad,
    Unknown,
    Target,
}

/// How many series have a colour of their own.
pub(super) const SERIES_COLORS: usize = 6;

impl Ink {
    fn class(self) -> String {
        match self {
            Self::Series(index) => format!("s{}", index % SERIES_COLORS),
            Self::Previous => "previous".to_owned(),
            Self::Grid => "grid".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Muted => "muted".to_owned(),
            Self::Track => "track".to_owned(),
            Self::Good => "good".to_owned(),
            Self::Fair => "fair".to_owned(),
            Self::Bad => "bad".to_owned(),
            Self::Unknown => "unknown".to_owned(),
            Self::Target => "target".to_owned(),
        }
    }

    fn color(self, brand: Color) -> String {
        let literal = match self {
            Self::Series(index) => {
                return match index % SERIES_COLORS {
                    0 => brand.readable().to_string(),
                    1 => brand.readable().tint(50).to_string(),
                    2 => "#475569".to_owned(),
                    3 => "#94a3b8".to_owned(),
                    4 => brand.readable().shade(45).to_string(),
                    _ => "#cbd5e1".to_owned(),
                };
            }
            Self::Previous => "#8a94a3",
            Self::Grid => "#e3e7ec",
            Self::Text => "#1c2530",
            Self::Muted => "#5b6675",
            Self::Track => "#e9edf1",
            Self::Good => "#17803d",
            Self::Fair => "#d98a06",
            Self::Bad => "#b3261e",
            Self::Unknown => "#dfe4ea",
            Self::Target => "#9a5b00",
        };
        literal.to_owned()
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stroke {
    Solid,
    Dashed,
    Dotted,
}

/// Where a text stands on its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// What the marks are for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Surface {
    Page,
    /// The plot lies between `left` and `right`, in points.
    Paper {
        brand: Color,
        left: f64,
        right: f64,
    },
}

/// An SVG document being written.
#[derive(Debug)]
pub(super) struct Canvas {
    out: String,
    surface: Surface,
    height: f64,
}

impl Canvas {
    pub(super) fn new(surface: Surface, height: f64) -> Self {
        Self { out: String::with_capacity(4_096), surface, height }
    }

    pub(super) fn into_marks(self) -> String {
        self.out
    }

    pub(super) fn is_paper(&self) -> bool {
        matches!(self.surface, Surface::Paper { .. })
    }

    /// The size of text on this surface.
    pub(super) fn text_size(&self) -> f64 {
        if self.is_paper() { 7.5 } else { 12.0 }
    }

    fn across(&self, share: f64) -> String {
        match self.surface {
            Surface::Page => format!("{}%", number(share * 100.0)),
            Surface::Paper { left, right, .. } => number(left + share * (right - left)),
        }
    }

    fn width(&self, share: f64) -> String {
        match self.surface {
            Surface::Page => format!("{}%", number(share * 100.0)),
            Surface::Paper { left, right, .. } => number(share * (right - left)),
        }
    }

    fn fill(&self, ink: Ink) -> String {
        match self.surface {
            Surface::Page => format!("class=\"f-{}\"", ink.class()),
            Surface::Paper { brand, .. } => format!("fill=\"{}\"", ink.color(brand)),
        }
    }

    fn stroke(&self, ink: Ink, stroke: Stroke, width: f64) -> String {
        let dashes = match stroke {
            Stroke::Solid => "",
            Stroke::Dashed => " stroke-dasharray=\"4 3\"",
            Stroke::Dotted => " stroke-dasharray=\"1 3\" stroke-linecap=\"round\"",
        };
        let width = number(if self.is_paper() { width * 0.75 } else { width });
        match self.surface {
            Surface::Page => {
                format!("class=\"l-{}\" fill=\"none\" stroke-width=\"{width}\"{dashes} vector-effect=\"non-scaling-stroke\"", ink.class())
            }
            Surface::Paper { brand, .. } => {
                format!("stroke=\"{}\" fill=\"none\" stroke-width=\"{width}\"{dashes} stroke-linejoin=\"round\"", ink.color(brand))
            }
        }
    }

    /// A bar or a cell; nothing where it has no extent.
    pub(super) fn rect(&mut self, (from, share): (f64, f64), (top, height): (f64, f64), ink: Ink, opacity: f64) {
        if share <= 0.0 || height < 0.005 {
            return;
        }
        let (x, width, fill) = (self.across(from), self.width(share), self.fill(ink));
        let opacity = if opacity < 1.0 { format!(" fill-opacity=\"{}\"", number(opacity)) } else { String::new() };
        let (top, height) = (number(top), number(height));
        let _ = write!(self.out, "<rect x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"1.5\" {fill}{opacity}/>");
    }

    /// A line from left to right.
    pub(super) fn rule(&mut self, (from, to): (f64, f64), y: f64, ink: Ink, stroke: Stroke, width: f64) {
        let (x1, x2, y, stroke) = (self.across(from), self.across(to), number(y), self.stroke(ink, stroke, width));
        let _ = write!(self.out, "<line x1=\"{x1}\" x2=\"{x2}\" y1=\"{y}\" y2=\"{y}\" {stroke}/>");
    }

    /// A line downwards.
    pub(super) fn post(&mut self, at: f64, (top, bottom): (f64, f64), ink: Ink, width: f64) {
        let (x, stroke) = (self.across(at), self.stroke(ink, Stroke::Solid, width));
        let _ = write!(self.out, "<line x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\" {stroke}/>", number(top), number(bottom));
    }

    /// A point.
    pub(super) fn dot(&mut self, (at, y): (f64, f64), radius: f64, ink: Ink) {
        let (x, fill) = (self.across(at), self.fill(ink));
        let _ = write!(self.out, "<circle cx=\"{x}\" cy=\"{}\" r=\"{}\" {fill}/>", number(y), number(radius));
    }

    /// A line through points.
    pub(super) fn path(&mut self, points: &[(f64, f64)], ink: Ink, stroke: Stroke, width: f64) {
        let data = self.path_data(points);
        let stroke = self.stroke(ink, stroke, width);
        self.stretched(&format!("<path d=\"{data}\" {stroke}/>"));
    }

    /// The surface between a line and its base.
    pub(super) fn area(&mut self, points: &[(f64, f64)], base: f64, ink: Ink) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let outline: Vec<_> = points.iter().copied().chain([(last.0, base), (first.0, base)]).collect();
        let data = self.path_data(&outline);
        let fill = self.fill(ink);
        self.stretched(&format!("<path d=\"{data}Z\" {fill} fill-opacity=\"0.14\"/>"));
    }

    fn path_data(&self, points: &[(f64, f64)]) -> String {
        let mut data = String::with_capacity(points.len() * 14);
        for (index, (share, y)) in points.iter().enumerate() {
            let x = match self.surface {
                Surface::Page => share * 1_000.0,
                Surface::Paper { left, right, .. } => left + share * (right - left),
            };
            let _ = write!(data, "{}{} {}", if index == 0 { "M" } else { "L" }, number(x), number(*y));
        }
        data
    }

    /// Paths know no percentages: on a page they lie in a box of a thousand units that stretches with the plot.
    fn stretched(&mut self, path: &str) {
        if self.is_paper() {
            self.out.push_str(path);
        } else {
            let height = number(self.height);
            let _ = write!(
                self.out,
                "<svg width=\"100%\" height=\"{height}\" viewBox=\"0 0 1000 {height}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{path}</svg>"
            );
        }
    }

    /// A text; `class` names its part for the page's style sheet.
    pub(super) fn text(&mut self, (at, y): (f64, f64), anchor: Anchor, ink: Ink, class: &str, text: &str) {
        let x = self.across(at);
        self.write_text(&x, y, anchor, ink, class, text);
    }

    /// A text at an absolute place, outside the plot.
    pub(super) fn text_at(&mut self, (x, y): (f64, f64), anchor: Anchor, ink: Ink, class: &str, text: &str) {
        self.write_text(&number(x), y, anchor, ink, class, text);
    }

    fn write_text(&mut self, x: &str, y: f64, anchor: Anchor, ink: Ink, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let look = match self.surface {
            Surface::Page => format!("class=\"f-{} {class}\"", ink.class()),
            Surface::Paper { brand, .. } => {
                let weight = if class.contains("strong") { " font-weight=\"600\"" } else { "" };
                let size = number(self.text_size());
                format!("fill=\"{}\" font-family=\"{PRINT_FONT}\" font-size=\"{size}\"{weight}", ink.color(brand))
            }
        };
        let _ = write!(self.out, "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\" {look}>{}</text>", number(y), escaped(text));
    }

    /// A small square of an ink at an absolute place, for a legend.
    pub(super) fn swatch(&mut self, (x, y): (f64, f64), ink: Ink) {
        let fill = self.fill(ink);
        let _ = write!(self.out, "<rect x=\"{}\" y=\"{}\" width=\"6\" height=\"6\" rx=\"1\" {fill}/>", number(x), number(y));
    }

    /// What the pointer, the keyboard and a screen reader meet in a bucket over the whole height; nothing in print.
    pub(super) fn hit(&mut self, (from, share): (f64, f64), label: &str, tip: &str, link: Option<&str>) {
        let middle = from + share / 2.0;
        let (at, anchor) = match middle {
            x if x < 0.34 => (from, "start"),
            x if x > 0.66 => (from + share, "end"),
            x => (x, "middle"),
        };
        let at = self.across(at);
        let tip = format!("<text class=\"tip\" aria-hidden=\"true\" x=\"{at}\" y=\"12\" text-anchor=\"{anchor}\">{}</text>", escaped(tip));
        self.target((from, share), (0.0, self.height), label, &tip, link);
    }

    /// A row that can be opened; nothing in print.
    pub(super) fn opener(&mut self, down: (f64, f64), label: &str, link: &str) {
        self.target((0.0, 1.0), down, label, "", Some(link));
    }

    fn target(&mut self, (from, share): (f64, f64), (top, height): (f64, f64), label: &str, tip: &str, link: Option<&str>) {
        if self.is_paper() {
            return;
        }
        let (label, top, height) = (escaped(label), number(top), number(height));
        let rect = format!("<rect x=\"{}\" y=\"{top}\" width=\"{}\" height=\"{height}\"/>", self.across(from), self.width(share));
        let inside = format!("<title>{label}</title>{rect}{tip}");
        let _ = match link {
            Some(link) => write!(self.out, "<a class=\"hit\" href=\"{}\" aria-label=\"{label}\">{inside}</a>", escaped(link)),
            None => write!(self.out, "<g class=\"hit\" tabindex=\"0\" role=\"img\" aria-label=\"{label}\">{inside}</g>"),
        };
    }
}

/// Writes a number with at most two places, without a trailing zero.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Escapes text for element content and attributes, and drops what XML cannot carry.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => {}
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}
