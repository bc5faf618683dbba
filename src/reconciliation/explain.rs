//! Why two roads end at different amounts: machine by machine, line by line.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use granary_types::{Currency, Money};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Serialize;

use crate::facts::day_of_number;
use crate::load::{InvoiceAmounts, RatedLine};
use crate::price::{CORRECTION, Line, MACHINE_ITEMS, amount_minor, tax_minor};
use crate::recount::{Disagreement, Rule};

/// What kind of fault a difference comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// A completed run was counted that the lake does not have.
    MissingRun,
    /// The lake has a completed run that was not counted.
    UncountedRun,
    /// A machine was counted at another tier than its assignments give it on that day.
    TierDate,
    /// A rated line is not what usage, price and rounding make of it.
    EditedLine,
    /// A line is missing.
    MissingLine,
    /// The invoice does not say what its lines add up to, or its tax is another.
    InvoiceTotal,
    /// There are lines and no invoice.
    MissingInvoice,
    /// The amounts differ and none of the above was found.
    Unexplained,
}

/// One fault behind a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    pub kind: CauseKind,
    pub machine: Option<String>,
    /// The first day that it shows on.
    pub day: Option<Date>,
    pub item: Option<String>,
    /// What it adds to the billed amount, before discount; zero when it changes none.
    pub amount_minor: i64,
    pub text: String,
}

/// One customer's period on both roads.
pub(crate) struct Case<'a> {
    pub(crate) currency: Currency,
    pub(crate) rule: Rule,
    pub(crate) tax_e3: i64,
    pub(crate) recomputed: &'a [Line],
    pub(crate) rated: &'a [RatedLine],
    pub(crate) invoice: Option<InvoiceAmounts>,
    /// An open month has no lines and no invoice, and misses none.
    pub(crate) is_billed: bool,
    pub(crate) disagreements: &'a [Disagreement],
    /// The billed rank of each machine by the lake's runs, and by metering's machine-days.
    pub(crate) counted: &'a BTreeMap<String, i32>,
    pub(crate) metered: &'a BTreeMap<String, i32>,
    pub(crate) names: &'a HashMap<String, String>,
    /// The price of an item on this road; zero for a trial.
    pub(crate) price_of: &'a dyn Fn(&str) -> i128,
}

impl Case<'_> {
    /// Returns every cause, machines first, then lines, then the invoice.
    pub(crate) fn causes(&self) -> Vec<Cause> {
        let mut causes = self.machine_causes();
        if !self.is_billed {
            return causes;
        }
        causes.extend(self.line_causes(false));
        if causes.is_empty() {
            causes.extend(self.line_causes(true));
        }
        causes.extend(self.invoice_cause());
        let recomputed: i64 = self.recomputed.iter().map(|line| line.amount_minor).sum();
        if causes.is_empty() && recomputed != self.rated_minor() {
            let text = format!("rated {}, recomputed {}", self.money(self.rated_minor()), self.money(recomputed));
            causes.push(cause(CauseKind::Unexplained, self.rated_minor() - recomputed, text));
        }
        causes
    }

    /// Returns what can be said without what the month was counted from: whether the invoice says what its lines do.
    pub(crate) fn document_causes(&self) -> Vec<Cause> {
        if self.is_billed { self.invoice_cause().into_iter().collect() } else { Vec::new() }
    }

    fn rated_minor(&self) -> i64 {
        self.rated.iter().map(|line| line.amount_minor).sum()
    }

    /// One cause a machine and kind of fault, by the machine's name; the first of a machine carries what it adds to the amount.
    fn machine_causes(&self) -> Vec<Cause> {
        let mut by_fault: BTreeMap<(&str, &str, CauseKind), Vec<&Disagreement>> = BTreeMap::new();
        for one in self.disagreements {
            let (counted, in_lake) = (runs(one.in_metering), runs(one.in_lake));
            let kind = match counted.cmp(&in_lake) {
                Ordering::Greater => CauseKind::MissingRun,
                Ordering::Less => CauseKind::UncountedRun,
                Ordering::Equal => CauseKind::TierDate,
            };
            by_fault.entry((self.name(&one.machine), &one.machine, kind)).or_default().push(one);
        }
        let mut told: Option<&str> = None;
        let mut causes = Vec::new();
        for ((name, machine, kind), days) in by_fault {
            let worth = || self.worth(self.metered.get(machine)) - self.worth(self.counted.get(machine));
            let amount_minor = if told == Some(machine) { 0 } else { worth() };
            told = Some(machine);
            causes.extend(machine_cause(name, kind, &days, amount_minor));
        }
        causes
    }

    fn name<'a>(&'a self, machine: &'a str) -> &'a str {
        self.names.get(machine).map_or(machine, String::as_str)
    }

    /// What a machine costs at a rank of tier.
    fn worth(&self, rank: Option<&i32>) -> i64 {
        let item = rank.and_then(|rank| usize::try_from(*rank).ok()).and_then(|rank| MACHINE_ITEMS.get(rank));
        item.map_or(0, |item| amount_minor(10_000, (self.price_of)(item), self.currency.exponent()))
    }

    /// Compares lines by item: those of usage and agreement, or those that are derived from them.
    fn line_causes(&self, derived: bool) -> Vec<Cause> {
        // What was charged for earlier months is compared with those.
        let is_wanted = |item: &str| item != CORRECTION && matches!(item, "discount" | "minimum_top_up") == derived;
        let mut causes = Vec::new();
        for line in self.rated.iter().filter(|line| is_wanted(&line.item)) {
            let recomputed = self.recomputed.iter().find(|other| other.item == line.item && other.is_recurring == line.is_recurring);
            causes.extend(self.line_cause(line, recomputed));
        }
        for line in self.recomputed.iter().filter(|line| is_wanted(line.item)) {
            let is_rated = self.rated.iter().any(|other| other.item == line.item && other.is_recurring == line.is_recurring);
            if !is_rated && line.amount_minor != 0 && self.expected_e4(line.item, Some(line), 0) != 0 {
                let text = format!("a line {} of {} is missing", line.item, self.money(line.amount_minor));
                causes.push(Cause { item: Some(line.item.to_owned()), ..cause(CauseKind::MissingLine, -line.amount_minor, text) });
            }
        }
        causes
    }

    /// The quantity that billing had to come to from what it counted: differences of counting have causes of their own.
    fn expected_e4(&self, item: &str, recomputed: Option<&Line>, rated_e4: i128) -> i128 {
        let Some(rank) = MACHINE_ITEMS.iter().position(|machine_item| *machine_item == item) else {
            return recomputed.map_or(0, |line| line.quantity_e4);
        };
        if self.rule != Rule::DistinctInPeriod {
            return if self.disagreements.is_empty() { recomputed.map_or(0, |line| line.quantity_e4) } else { rated_e4 };
        }
        let machines = self.metered.values().filter(|metered| usize::try_from(**metered) == Ok(rank)).count();
        i128::try_from(machines).unwrap_or(0) * 10_000
    }

    fn line_cause(&self, line: &RatedLine, recomputed: Option<&Line>) -> Option<Cause> {
        let is_piece = matches!(line.item.as_str(), "discount" | "minimum_top_up");
        let quantity_e4 = self.expected_e4(&line.item, recomputed, line.quantity_e4);
        let price_e8 = if is_piece { recomputed.map_or(0, |line| line.price_e8) } else { (self.price_of)(&line.item) };
        let expected_minor = amount_minor(quantity_e4, price_e8, self.currency.exponent());
        let (line_no, item) = (line.position, &line.item);
        let text = if line.quantity_e4 != quantity_e4 {
            format!("line {line_no} ({item}) says {}, counted {}", decimal(line.quantity_e4, 4), decimal(quantity_e4, 4))
        } else if line.price_e8 != price_e8 {
            format!("line {line_no} ({item}) is priced at {}, in force is {}", decimal(line.price_e8, 8), decimal(price_e8, 8))
        } else if line.amount_minor != expected_minor {
            format!(
                "line {line_no} ({item}) says {}, its quantity and price give {}",
                self.money(line.amount_minor),
                self.money(expected_minor)
            )
        } else {
            return None;
        };
        Some(Cause { item: Some(item.clone()), ..cause(CauseKind::EditedLine, line.amount_minor - expected_minor, text) })
    }

    fn invoice_cause(&self) -> Option<Cause> {
        let rated = self.rated_minor();
        let Some(invoice) = self.invoice else {
            let text = format!("lines of {} have no invoice", self.money(rated));
            return (!self.rated.is_empty()).then(|| cause(CauseKind::MissingInvoice, -rated, text));
        };
        let tax = tax_minor(rated, self.tax_e3);
        if invoice.net_minor != rated {
            let text = format!("the invoice says {}, its lines add up to {}", self.money(invoice.net_minor), self.money(rated));
            return Some(cause(CauseKind::InvoiceTotal, invoice.net_minor - rated, text));
        }
        let text = || format!("the invoice's tax is {}, on its lines it is {}", self.money(invoice.tax_minor), self.money(tax));
        (invoice.tax_minor != tax).then(|| cause(CauseKind::InvoiceTotal, invoice.tax_minor - tax, text()))
    }

    fn money(&self, amount_minor: i64) -> Money {
        Money::new(amount_minor, self.currency)
    }
}

/// Tells of a machine's fault on its first day; none without a day.
fn machine_cause(name: &str, kind: CauseKind, days: &[&Disagreement], amount_minor: i64) -> Option<Cause> {
    let first = days.iter().min_by_key(|one| one.day)?;
    let day = day_of_number(first.day);
    let more = if days.len() > 1 { format!(" ({} days in all)", days.len()) } else { String::new() };
    let (counted, in_lake) = (runs(first.in_metering), runs(first.in_lake));
    let text = if kind == CauseKind::TierDate {
        format!("{name}: counted at {} on {day}, its assignments say {}{more}", tier(first.in_metering), tier(first.in_lake))
    } else {
        format!("{name}: completed runs on {day}: {counted} counted, {in_lake} in the lake{more}")
    };
    Some(Cause { machine: Some(name.to_owned()), day: Some(day), ..cause(kind, amount_minor, text) })
}

fn runs(side: Option<(i64, i32)>) -> i64 {
    side.map_or(0, |(runs, _)| runs)
}

fn cause(kind: CauseKind, amount_minor: i64, text: String) -> Cause {
    Cause { kind, machine: None, day: None, item: None, amount_minor, text }
}

fn tier(side: Option<(i64, i32)>) -> &'static str {
    match side.map(|(_, rank)| rank) {
        Some(0) => "backup",
        Some(1) => "enterprise",
        Some(2) => "replication",
        _ => "no tier",
    }
}

fn decimal(scaled: i128, scale: u32) -> Decimal {
    Decimal::try_from_i128_with_scale(scaled, scale).unwrap_or_default().normalize()
}
