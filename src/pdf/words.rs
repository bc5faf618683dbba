//! How things are written: text that the fonts can draw, days, amounts, sentences about change.

use granary_reports::charts::Unit;
use granary_reports::monthly::{Change, ChangeReason, MachineAtRisk, RestoreKind, RiskReason};
use granary_types::{Money, Period, Tier};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use crate::world::Shared;

/// The longest name that is printed; the rest would only push the table apart.
const LONGEST: usize = 80;

/// Which letters of foreign text are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letters {
    /// Whatever some embedded font draws.
    Drawable,
    /// Only what the house's own font draws, for text that cannot be shaped otherwise.
    Plain,
}

/// Writes foreign text and instants for one report.
pub(crate) struct Pen<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) letters: Letters,
    pub(crate) zone: TimeZone,
}

impl Pen<'_> {
    /// Keeps what can be drawn: the document standard refuses a letter without a glyph, and an invisible mark that turns
    /// the reading direction would make a name look like another.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for letter in text.chars().map(|letter| if letter.is_whitespace() { ' ' } else { letter }) {
            let can_draw = match self.letters {
                Letters::Drawable => self.shared.can_draw(letter),
                Letters::Plain => self.shared.can_draw_plainly(letter) && !is_combining(letter),
            };
            match letter {
                letter if letter.is_control() || is_invisible(letter) => {}
                letter if can_draw => out.push(letter),
                letter if is_combining(letter) => {}
                _ => out.push('?'),
            }
        }
        let out = out.trim();
        if out.chars().count() > LONGEST { out.chars().take(LONGEST - 1).chain(['…']).collect() } else { out.to_owned() }
    }

    /// Writes an instant in the customer's zone: `12 Oct 2025, 23:10`.
    pub(crate) fn instant(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%-d %b %Y, %H:%M").to_string()
    }
}

const fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

const fn is_combining(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Writes a day: `12 Oct 2025`.
pub(crate) fn day(day: Date) -> String {
    day.strftime("%-d %b %Y").to_string()
}

/// Writes a day without its year: `12 Oct`.
pub(crate) fn short_day(day: Date) -> String {
    day.strftime("%-d %b").to_string()
}

/// Writes a month: `October 2025`.
pub(crate) fn month(period: Period) -> String {
    period.first_day().strftime("%B %Y").to_string()
}

/// Writes a month for an axis: `Oct 25`.
pub(crate) fn short_month(period: Period) -> String {
    period.first_day().strftime("%b %y").to_string()
}

/// Writes an amount without its currency, which the column names.
pub(crate) fn amount(money: Money) -> String {
    let text = money.to_string();
    text.rsplit_once(' ').map_or(text.clone(), |(amount, _)| amount.replace('-', "−"))
}

/// Writes an amount with a sign.
pub(crate) fn signed(money: Money) -> String {
    let text = amount(money);
    if money.amount_minor > 0 { format!("+{text}") } else { text }
}

/// Writes a decimal without trailing zeros, thousands separated.
pub(crate) fn decimal(value: Decimal) -> String {
    let text = value.normalize().abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse::<i64>().map_or_else(|_| whole.to_owned(), |whole| Unit::Count.format(whole));
    let sign = if value.is_sign_negative() && !value.is_zero() { "−" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Writes a unit price with at least the currency's places.
pub(crate) fn price(value: Decimal, places: u32) -> String {
    let mut value = value.normalize();
    if value.scale() < places {
        value.rescale(places);
    }
    let text = value.to_string();
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{}.{fraction}", decimal(whole.parse().unwrap_or_default())),
        None => decimal(value),
    }
}

/// Names a tier.
pub(crate) const fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Backup => "Backup",
        Tier::Enterprise => "Enterprise",
        Tier::Replication => "Replication",
    }
}

/// Names what was restored.
pub(crate) const fn restore_kind(kind: RestoreKind) -> &'static str {
    match kind {
        RestoreKind::FullVm => "whole machine",
        RestoreKind::FileLevel => "files",
        RestoreKind::Test => "test restore",
    }
}

/// Says why a machine has no good restore point.
pub(crate) fn risk(machine: &MachineAtRisk) -> String {
    match (machine.reason, machine.last_good_at) {
        (RiskReason::NeverRan, _) => "no backup has run yet".to_owned(),
        (RiskReason::Failing { runs_failed }, Some(_)) => format!("{} since then", counted(runs_failed, "failed run", "failed runs")),
        (RiskReason::Failing { runs_failed }, None) => {
            format!("never completed, {} this month", counted(runs_failed, "failed run", "failed runs"))
        }
        (RiskReason::Silent, _) => "no run reported since then".to_owned(),
    }
}

/// Says what changed on an invoice.
pub(crate) fn change(change: &Change) -> String {
    match &change.reason {
        ChangeReason::Added { quantity } => format!("new, {}", decimal(*quantity)),
        ChangeReason::Removed { quantity } => format!("no longer charged, was {}", decimal(*quantity)),
        ChangeReason::Quantity { before, after } if after > before => {
            format!("{} more, {} instead of {}", decimal(after - before), decimal(*after), decimal(*before))
        }
        ChangeReason::Quantity { before, after } => {
            format!("{} fewer, {} instead of {}", decimal(before - after), decimal(*after), decimal(*before))
        }
        ChangeReason::Price { before, after } => format!("price {} instead of {}", price(*after, 2), price(*before, 2)),
        ChangeReason::Amount => "other amount".to_owned(),
    }
}

/// Writes `1 machine`, `2 machines`, `1,500 machines`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    let number = Unit::Count.format(i64::try_from(count).unwrap_or(i64::MAX));
    format!("{number} {}", if count == 1 { one } else { many })
}
