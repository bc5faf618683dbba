//! Page 3: what it costs, and what changed.

use granary_reports::MonthlyReport;
use granary_reports::charts::{ChartSpec, Form, Unit};
use granary_types::Money;
use serde::Serialize;

use super::{FULL_WIDTH, Picture};
use crate::words::{self, Pen};

#[derive(Debug, Serialize)]
pub(super) struct ChargesView {
    currency: String,
    /// "Invoice NORTH-0042, due on 30 Nov 2025", "Draft", or none when nothing was billed.
    document: String,
    lines: Vec<[String; 4]>,
    net: String,
    tax: String,
    total: String,
    before: String,
    headline: String,
    changes: Vec<[String; 3]>,
    difference: Option<String>,
    months: Picture,
}

impl ChargesView {
    pub(super) fn of(report: &MonthlyReport, pen: &Pen<'_>) -> Self {
        let charges = &report.charges;
        let places = report.currency.exponent();
        let lines = charges.lines.iter().map(|line| {
            [pen.text(&line.description), words::decimal(line.quantity), words::price(line.unit_price, places), words::amount(line.amount)]
        });
        let changes =
            charges.changes.iter().map(|change| [pen.text(&change.description), words::change(change), words::signed(change.difference)]);
        let points = report.usage.months.iter().map(|month| (words::short_month(month.period), month.net_minor));
        let months = ChartSpec::new("net", "Charges before tax", Unit::Money(report.currency), Form::Bar, points);
        Self {
            currency: report.currency.to_string(),
            document: document(report, pen),
            lines: lines.collect(),
            net: words::amount(charges.net),
            tax: words::amount(charges.tax),
            total: words::amount(charges.total),
            before: words::month(report.period.previous()),
            headline: headline(report),
            changes: changes.collect(),
            difference: difference(report).map(words::signed),
            months: Picture::draw(&months, report.msp.color, FULL_WIDTH),
        }
    }
}

fn document(report: &MonthlyReport, pen: &Pen<'_>) -> String {
    let charges = &report.charges;
    let due = charges.due_on.map_or_else(String::new, |due| format!(", due on {}", words::day(due)));
    match (&charges.invoice_number, charges.is_draft) {
        (Some(number), _) => format!("Invoice {}{due}.", pen.text(number)),
        (None, Some(_)) => "Draft: the invoice for this month has not been issued yet.".to_owned(),
        (None, None) => "Nothing has been billed for this month.".to_owned(),
    }
}

fn difference(report: &MonthlyReport) -> Option<Money> {
    let before = report.charges.previous_net?;
    Some(Money::new(report.charges.net.amount_minor - before.amount_minor, before.currency))
}

fn headline(report: &MonthlyReport) -> String {
    let Some(before) = report.charges.previous_net else {
        return format!("There was no invoice for {} to compare with.", words::month(report.period.previous()));
    };
    let Some(difference) = difference(report).filter(|difference| difference.amount_minor != 0) else {
        return format!("Charges before tax stayed at {before}.");
    };
    let verb = if difference.amount_minor > 0 { "rose" } else { "fell" };
    let size = Money::new(difference.amount_minor.saturating_abs(), difference.currency);
    format!("Charges before tax {verb} by {size}{}, from {before} to {}.", percent(size, before), report.charges.net)
}

/// The difference in tenths of a percent of what it was, half up.
fn percent(size: Money, before: Money) -> String {
    let (size, before) = (i128::from(size.amount_minor), i128::from(before.amount_minor));
    if before <= 0 {
        return String::new();
    }
    let tenths = (size * 2_000 + before) / (before * 2);
    format!(" ({}.{} %)", tenths / 10, tenths % 10)
}
