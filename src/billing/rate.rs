//! From usage to lines: the retail side.
//!
//! The order is fixed: machine lines per tier, storage overage, fixed monthly items, the contract's discount, the top-up to its
//! minimum, then tax per document. Quantities are rounded once and before they are multiplied, a line once and half away from
//! zero, so what is printed multiplies and adds up.

use granary_metering::MachineCounts;
use granary_types::{CountingRule, Currency, CustomerId, Money, MoneyError, Quantity, Tier, UnitPrice, line_amount};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::{AverageLimit, BillingError, Coverage, Item, PriceBook};

/// What the contract says about money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub currency: Currency,
    /// Over the days that are billed, and whether it was the same on all of them.
    pub storage_limit: AverageLimit,
    pub minimum_minor: i64,
    pub discount_percent: Decimal,
    pub tax_percent: Decimal,
    pub has_premium_support: bool,
    pub has_white_label: bool,
}

/// Everything that the lines of one customer and period depend on.
#[derive(Debug, Clone)]
pub struct RatingInput<'a> {
    pub customer: CustomerId,
    pub coverage: Coverage,
    pub machines: MachineCounts,
    /// The rule that counted the machines; it is printed.
    pub counting_rule: CountingRule,
    /// The average over the period's days, in bytes.
    pub stored_bytes_average: i64,
    /// A control plane was silent, or a storage sample was carried too far.
    pub is_estimated: bool,
    pub terms: Terms,
    pub prices: &'a PriceBook,
}

/// One line: quantity × unit price, and nothing that cannot be recomputed from the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatedLine {
    pub item: Item,
    pub description: String,
    pub quantity: Quantity,
    pub unit_price: UnitPrice,
    pub amount_minor: i64,
    pub currency: Currency,
    /// Counts for MRR; overage and one-offs do not.
    pub is_recurring: bool,
}

/// What a document adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub net_minor: i64,
    pub tax_minor: i64,
    pub total_minor: i64,
}

/// Returns the lines of one customer and period; none when the customer was neither under contract nor on trial.
///
/// # Errors
/// When a price that is needed is not in force, or an amount does not fit.
pub fn rate(input: &RatingInput<'_>) -> Result<Vec<RatedLine>, BillingError> {
    if input.coverage.is_empty() {
        return Ok(Vec::new());
    }
    let mut lines = usage_lines(input)?;
    if input.coverage.is_trial() {
        return Ok(lines);
    }
    fixed_lines(input, &mut lines)?;
    discount_lines(&input.terms, &mut lines)?;
    top_up_line(input, &mut lines)?;
    Ok(lines)
}

/// Returns what lines add up to, with tax on the sum.
///
/// # Errors
/// When an amount does not fit.
pub fn totals(lines: &[RatedLine], tax_percent: Decimal, currency: Currency) -> Result<Totals, MoneyError> {
    let net_minor = sum(lines.iter())?;
    let tax_minor = percent_of(net_minor, tax_percent, currency)?;
    let total_minor = net_minor.checked_add(tax_minor).ok_or(MoneyError::Overflow)?;
    Ok(Totals { net_minor, tax_minor, total_minor })
}

/// Returns the GiB over a limit: rounded once, to 3 decimals.
pub fn overage_gib(stored_bytes_average: i64, limit: AverageLimit) -> Quantity {
    gib(Decimal::from(stored_bytes_average) - Decimal::from(limit.bytes)).max(Decimal::ZERO)
}

fn gib(bytes: Decimal) -> Quantity {
    (bytes / Decimal::from(1_i64 << 30)).round_dp_with_strategy(3, RoundingStrategy::MidpointAwayFromZero).normalize()
}

fn usage_lines(input: &RatingInput<'_>) -> Result<Vec<RatedLine>, BillingError> {
    let mut lines = Vec::new();
    let notes = [(input.coverage.is_trial(), "trial"), (input.is_estimated, "estimated")];
    let notes: String = notes.into_iter().filter(|(applies, _)| *applies).map(|(_, note)| format!(", {note}")).collect();
    let rule = input.counting_rule.as_str().replace('_', " ");
    for tier in Tier::ALL.iter().copied() {
        let description = format!("{} ({rule}{notes})", Item::machine(tier).title());
        push(input, &mut lines, Item::machine(tier), input.machines.of(tier), description)?;
    }
    let limit = input.terms.storage_limit;
    let overage = overage_gib(input.stored_bytes_average, limit);
    let kind = if limit.is_constant { "limit" } else { "average limit" };
    let description = format!("{} ({kind} {} GiB{notes})", Item::StorageOverage.title(), gib(limit.bytes.into()));
    push(input, &mut lines, Item::StorageOverage, overage, description)?;
    Ok(lines)
}

fn fixed_lines(input: &RatingInput<'_>, lines: &mut Vec<RatedLine>) -> Result<(), BillingError> {
    let fixed = [(Item::PremiumSupport, input.terms.has_premium_support), (Item::WhiteLabel, input.terms.has_white_label)];
    for (item, _) in fixed.into_iter().filter(|(_, is_agreed)| *is_agreed) {
        let coverage = &input.coverage;
        let description = if coverage.billable_days == coverage.period.days() {
            item.title().to_owned()
        } else {
            format!("{} ({} of {} days)", item.title(), coverage.billable_days, coverage.period.days())
        };
        push(input, lines, item, coverage.billable_share(), description)?;
    }
    Ok(())
}

fn push(
    input: &RatingInput<'_>,
    lines: &mut Vec<RatedLine>,
    item: Item,
    quantity: Quantity,
    description: String,
) -> Result<(), BillingError> {
    if quantity.is_zero() {
        return Ok(());
    }
    let currency = input.terms.currency;
    let unit_price = if input.coverage.is_trial() {
        Decimal::ZERO
    } else {
        input.prices.retail(input.customer, item, currency, input.coverage.period)?
    };
    let amount_minor = line_amount(quantity, unit_price, currency)?.amount_minor;
    let is_recurring = item != Item::StorageOverage;
    lines.push(RatedLine { item, description, quantity, unit_price, amount_minor, currency, is_recurring });
    Ok(())
}

/// The discount is a line each for recurring and for usage charges, so that MRR is known after discounts.
fn discount_lines(terms: &Terms, lines: &mut Vec<RatedLine>) -> Result<(), MoneyError> {
    for is_recurring in [true, false] {
        let base = sum(lines.iter().filter(|line| line.is_recurring == is_recurring && line.item != Item::Discount))?;
        let discount_minor = percent_of(base, terms.discount_percent, terms.currency)?;
        if discount_minor != 0 {
            let on = if is_recurring { "monthly" } else { "usage" };
            let description = format!("Discount of {} % on {on} charges", terms.discount_percent.normalize());
            lines.push(whole_line(Item::Discount, description, -discount_minor, terms.currency, is_recurring));
        }
    }
    Ok(())
}

/// The minimum is prorated like every fixed monthly item.
fn top_up_line(input: &RatingInput<'_>, lines: &mut Vec<RatedLine>) -> Result<(), MoneyError> {
    let currency = input.terms.currency;
    let minimum = Money::new(input.terms.minimum_minor, currency).to_decimal() * input.coverage.billable_share();
    let missing_minor = Money::from_decimal(minimum, currency)?.amount_minor - sum(lines.iter())?;
    if missing_minor > 0 {
        lines.push(whole_line(Item::MinimumTopUp, Item::MinimumTopUp.title().to_owned(), missing_minor, currency, true));
    }
    Ok(())
}

/// A line of one piece; a deduction is minus one piece at a positive price.
fn whole_line(item: Item, description: String, amount_minor: i64, currency: Currency, is_recurring: bool) -> RatedLine {
    let unit_price = Money::new(amount_minor, currency).to_decimal().abs();
    RatedLine { item, description, quantity: amount_minor.signum().into(), unit_price, amount_minor, currency, is_recurring }
}

fn percent_of(amount_minor: i64, percent: Decimal, currency: Currency) -> Result<i64, MoneyError> {
    let share = Money::new(amount_minor, currency).to_decimal() * percent / Decimal::ONE_HUNDRED;
    Ok(Money::from_decimal(share, currency)?.amount_minor)
}

fn sum<'a>(mut lines: impl Iterator<Item = &'a RatedLine>) -> Result<i64, MoneyError> {
    lines.try_fold(0_i64, |sum, line| sum.checked_add(line.amount_minor)).ok_or(MoneyError::Overflow)
}

/// Returns a margin in per cent of revenue with one decimal, half up: 29,175 of 58,750 is 49.7. None without revenue.
pub fn margin_percent(revenue_minor: i64, cost_minor: i64) -> Option<Decimal> {
    if revenue_minor == 0 {
        return None;
    }
    let share = Decimal::from(revenue_minor - cost_minor) * Decimal::ONE_HUNDRED / Decimal::from(revenue_minor);
    Some(share.round_dp_with_strategy(1, RoundingStrategy::MidpointAwayFromZero))
}
