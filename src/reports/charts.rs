//! Charts as SVG: one renderer for the page and for print.
//!
//! A chart is a [`ChartSpec`]: words, buckets and integers in the unit's smallest step, so that no float touches money.
//! [`Target::Web`] gives a `<figure>` of classes and CSS variables ([`STYLE`]) with a caption, one hit target per bucket
//! and the numbers as a table; [`Target::Print`] gives a bare `<svg>` with literal colours and the font of the document.
//! A missing value is not zero: it leaves a gap, and a chart without any value says so.

mod canvas;
mod color;
mod figure;
mod plot;
mod scale;
mod strip;
mod unit;

use serde::{Deserialize, Serialize};

pub use color::{Color, InvalidColor};
pub use unit::Unit;

/// The style sheet of the web target, for light and dark.
pub const STYLE: &str = include_str!("charts/style.css");

/// The font family that print charts ask for; the document must embed it.
pub const PRINT_FONT: &str = "Inter";

/// A chart, without its looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChartSpec {
    /// Unique on its page; ids of parts derive from it.
    pub id: String,
    /// What the chart shows, as a sentence would name it.
    pub title: String,
    /// What the integers of the series count.
    pub unit: Unit,
    /// How it is drawn.
    pub form: Form,
    /// The labels of the buckets, in order.
    pub buckets: Vec<String>,
    /// One or more series, each with a value per bucket.
    pub series: Vec<Series>,
    /// A value to compare with: the target of a heat strip, a line across a plot.
    pub target: Option<i64>,
    /// What the value to compare with is: "target", "limit".
    pub target_name: String,
    /// True when the last bucket is still going on; it is drawn paler and named "so far".
    pub is_last_open: bool,
    /// Where each bucket's rows can be read; empty when there is nothing to open.
    pub links: Vec<String>,
}

/// A series of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    /// One value per bucket; `None` is "not known", which is not zero.
    pub values: Vec<Option<i64>>,
    /// What the series is compared with the others.
    pub role: SeriesRole,
}

/// Whether a series is of the time shown or of the time before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesRole {
    Current,
    /// Drawn dashed and paler, under the current one.
    Previous,
}

/// The forms of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A line per series.
    Line,
    /// A line over a filled area (first series), others as lines.
    Area,
    /// A bar per bucket; several current series stand side by side.
    Bar,
    /// Series on top of each other; negative values go downwards.
    StackedBar,
    /// A bar per bucket, lying, longest first as given.
    HorizontalBar,
    /// A line without axes, for a table cell.
    Sparkline,
    /// A cell per day, in hundredths of a percent against the target.
    HeatStrip,
    /// A bar per bucket against its limit: first series the value, second the limit.
    Meter,
}

/// For what a chart is rendered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// A page: as wide as its container.
    Web,
    /// A document: literal colours derived from the brand, a fixed width.
    Print { brand: Color, width_pt: f64 },
}

impl ChartSpec {
    /// Returns a chart of one current series.
    pub fn new(
        id: impl Into<String>,
        title: impl Into<String>,
        unit: Unit,
        form: Form,
        points: impl IntoIterator<Item = (String, Option<i64>)>,
    ) -> Self {
        let title = title.into();
        let (buckets, values) = points.into_iter().unzip();
        let series = vec![Series { name: title.clone(), values, role: SeriesRole::Current }];
        Self {
            id: id.into(),
            title,
            unit,
            form,
            buckets,
            series,
            target: None,
            target_name: "target".to_owned(),
            is_last_open: false,
            links: Vec::new(),
        }
    }

    /// Adds a series.
    #[must_use]
    pub fn with_series(mut self, name: impl Into<String>, role: SeriesRole, values: Vec<Option<i64>>) -> Self {
        self.series.push(Series { name: name.into(), values, role });
        self
    }

    /// Sets the name of the first series, where the title is not it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        if let Some(first) = self.series.first_mut() {
            first.name = name.into();
        }
        self
    }

    /// Sets the value to compare with.
    #[must_use]
    pub const fn with_target(mut self, target: i64) -> Self {
        self.target = Some(target);
        self
    }

    /// Sets an upper limit to compare with.
    #[must_use]
    pub fn with_limit(mut self, limit: i64) -> Self {
        self.target = Some(limit);
        "limit".clone_into(&mut self.target_name);
        self
    }

    /// Marks the last bucket as still going on.
    #[must_use]
    pub const fn so_far(mut self) -> Self {
        self.is_last_open = true;
        self
    }

    /// Sets where each bucket's rows can be read.
    #[must_use]
    pub fn with_links(mut self, links: Vec<String>) -> Self {
        self.links = links;
        self
    }

    /// Tells whether no bucket has a value.
    pub fn is_empty(&self) -> bool {
        !self.series.iter().any(|series| series.values.iter().take(self.buckets.len()).any(Option::is_some))
    }

    fn value(&self, series: usize, bucket: usize) -> Option<i64> {
        self.series.get(series)?.values.get(bucket).copied().flatten()
    }

    /// The series of the time shown, with their positions.
    fn current(&self) -> impl Iterator<Item = (usize, &Series)> {
        self.series.iter().enumerate().filter(|(_, series)| series.role == SeriesRole::Current)
    }

    fn is_open(&self, bucket: usize) -> bool {
        self.is_last_open && bucket + 1 == self.buckets.len()
    }
}

/// Renders a chart: markup for a page, an SVG document for print.
pub fn render(spec: &ChartSpec, target: Target) -> String {
    match target {
        Target::Web => figure::web(spec),
        Target::Print { brand, width_pt } => figure::print(spec, brand, width_pt),
    }
}

#[cfg(test)]
mod tests;
