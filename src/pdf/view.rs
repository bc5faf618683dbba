//! A monthly report as its template reads it: words, pictures and rows, nothing left to compute.

mod charges;
mod protection;
mod usage;

use granary_reports::MonthlyReport;
use granary_reports::charts::{self, ChartSpec, Color, Target};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::words::{self, Letters, Pen};
use crate::world::Shared;

use charges::ChargesView;
use protection::ProtectionView;
use usage::UsageView;

/// The width of the text on a page, in points.
const FULL_WIDTH: f64 = 482.0;
/// The width of one of two pictures side by side.
const HALF_WIDTH: f64 = 231.0;

/// The whole report.
#[derive(Debug, Serialize)]
pub(crate) struct MonthlyView {
    title: String,
    msp: String,
    color: Color,
    logo: Option<String>,
    customer: String,
    code: String,
    month: String,
    is_open: bool,
    as_of: String,
    service_zone: String,
    billing_zone: String,
    protection: ProtectionView,
    usage: UsageView,
    charges: ChargesView,
    machines: Vec<[String; 7]>,
    machine_count: String,
}

/// How a statement is coloured; the words say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Tone {
    Good,
    Fair,
    Bad,
    Plain,
}

/// A chart with the words for those who cannot see it.
#[derive(Debug, Serialize)]
struct Picture {
    title: String,
    alt: String,
    svg: String,
}

impl Picture {
    fn draw(spec: &ChartSpec, brand: Color, width_pt: f64) -> Self {
        let unit = spec.unit.name();
        let title = if unit.is_empty() { spec.title.clone() } else { format!("{}, {unit}", spec.title) };
        let values = spec
            .buckets
            .iter()
            .zip(spec.series.iter().flat_map(|series| &series.values))
            .filter_map(|(bucket, value)| Some((bucket, (*value)?)));
        let alt = match (values.clone().next(), values.last()) {
            (Some((first, from)), Some((last, to))) if first != last => {
                format!("{}: {} in {first}, {} in {last}", spec.title, spec.unit.format(from), spec.unit.format(to))
            }
            (Some((only, value)), _) => format!("{}: {}, {only}", spec.title, spec.unit.format(value)),
            (None, _) => format!("{}: no data", spec.title),
        };
        Self { title, alt, svg: charts::render(spec, Target::Print { brand, width_pt }) }
    }

    fn with_alt(self, alt: String) -> Self {
        Self { alt, ..self }
    }
}

impl MonthlyView {
    /// Writes a report.
    pub(crate) fn of(report: &MonthlyReport, shared: &Shared, letters: Letters) -> Self {
        let zone = TimeZone::get(&report.customer.time_zone).unwrap_or(TimeZone::UTC);
        let pen = Pen { shared, letters, zone };
        let brand = report.msp.color;
        let end = report.period.end_at(&TimeZone::get(&report.msp.time_zone).unwrap_or(TimeZone::UTC));
        let (msp, customer) = (pen.text(&report.msp.name), pen.text(&report.customer.name));
        Self {
            title: format!("{customer}: protection report, {}", words::month(report.period)),
            msp,
            color: brand.readable(),
            logo: report.msp.logo_svg.clone().filter(|_| letters == Letters::Drawable),
            customer,
            code: report.customer.code.to_string(),
            month: words::month(report.period),
            is_open: report.as_of < end,
            as_of: pen.instant(report.as_of),
            service_zone: pen.text(&report.customer.time_zone),
            billing_zone: pen.text(&report.msp.time_zone),
            protection: ProtectionView::of(report, &pen),
            usage: UsageView::of(report),
            charges: ChargesView::of(report, &pen),
            machines: machines(report, &pen),
            machine_count: machine_count(report),
        }
    }
}

fn machine_count(report: &MonthlyReport) -> String {
    let machines = words::counted(report.machines.len() as u64, "machine", "machines");
    match report.machines.iter().filter(|machine| machine.is_discovered_only).count() {
        0 => machines,
        idle => format!("{machines}, {idle} of them known and not protected,"),
    }
}

fn machines(report: &MonthlyReport, pen: &Pen<'_>) -> Vec<[String; 7]> {
    let dash = || "–".to_owned();
    let count = |count: u64| words::counted(count, "", "").trim_end().to_owned();
    report
        .machines
        .iter()
        .map(|machine| {
            [
                pen.text(&machine.name),
                match machine.tier {
                    Some(tier) => words::tier(tier).to_owned(),
                    None if machine.is_discovered_only => "not protected".to_owned(),
                    None => "not billed".to_owned(),
                },
                machine.first_on.map_or_else(dash, words::short_day),
                machine.last_on.map_or_else(dash, words::short_day),
                count(machine.runs.total()),
                count(machine.runs.failed),
                machine.last_good_at.map_or_else(|| "none".to_owned(), |at| pen.instant(at)),
            ]
        })
        .collect()
}
