//! Page 3: what it costs, and what changed.

use granary_reports::MonthlyReport;
use granary_reports::charts::{ChartSpec, Form, Unit};
use granary_reports::monthly::Charges;
use granary_types::{Money, Period};
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
    /// None while no month was billed.
    months: Option<Picture>,
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
        let billed = report.usage.months.iter().rposition(|month| month.net_minor.is_some()).map_or(0, |last| last + 1);
        let points = report.usage.months.iter().take(billed).map(|month| (words::short_month(month.period), month.net_minor));
        let months = ChartSpec::new("net", "Charges before tax", Unit::Money(report.currency), Form::Bar, points);
        Self {
            currency: report.currency.to_string(),
            document: document(report, pen),
            lines: lines.collect(),
            net: words::amount(charges.net),
            tax: words::amount(charges.tax),
            total: words::amount(charges.total),
            before: words::month(report.period.previous()),
            headline: headline(charges, report.period),
            changes: changes.collect(),
            difference: difference(charges).map(words::signed),
            months: (billed > 0).then(|| Picture::draw(&months, report.msp.color, FULL_WIDTH)),
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

fn difference(charges: &Charges) -> Option<Money> {
    let before = charges.previous_net?;
    Some(Money::new(charges.net.amount_minor - before.amount_minor, before.currency))
}

fn headline(charges: &Charges, period: Period) -> String {
    if charges.is_draft.is_none() {
        return format!("{} has no invoice yet, so there is nothing to compare.", words::month(period));
    }
    let Some(before) = charges.previous_net else {
        return format!("There was no invoice for {} to compare with.", words::month(period.previous()));
    };
    let Some(difference) = difference(charges).filter(|difference| difference.amount_minor != 0) else {
        return format!("Charges before tax stayed at {}.", money(before));
    };
    let verb = if difference.amount_minor > 0 { "rose" } else { "fell" };
    let size = Money::new(difference.amount_minor.saturating_abs(), difference.currency);
    format!("Charges before tax {verb} by {}{}, from {} to {}.", money(size), percent(size, before), money(before), money(charges.net))
}

fn money(amount: Money) -> String {
    Unit::Money(amount.currency).format(amount.amount_minor)
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

#[cfg(test)]
mod tests {
    use granary_types::Currency;

    use super::*;

    #[test]
    fn a_month_without_an_invoice_is_compared_with_nothing() {
        let usd = |minor| Money::new(minor, Currency::USD);
        let mut charges = Charges {
            invoice_number: None,
            is_draft: Some(true),
            due_on: None,
            lines: Vec::new(),
            net: usd(26_500),
            tax: usd(0),
            total: usd(26_500),
            previous_net: Some(usd(28_000)),
            changes: Vec::new(),
        };
        let october: Period = "2025-10".parse().unwrap();
        assert_eq!(headline(&charges, october), "Charges before tax fell by 15.00 USD (5.4 %), from 280.00 USD to 265.00 USD.");
        (charges.is_draft, charges.net) = (None, usd(0));
        assert_eq!(headline(&charges, october), "October 2025 has no invoice yet, so there is nothing to compare.");
    }
}
