//! What the contracts say about a period, read on this road too.

use std::collections::{BTreeMap, HashMap};

use granary_tenants::{Contract, StatusChange};
use granary_types::{CustomerId, CustomerStatus, Period, day_of};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::facts::day_number;
use crate::price::{Terms, divide};
use crate::recount::Span;

/// A customer's terms, and the first day that is billed when the month began with days that are not.
#[derive(Debug, Clone)]
pub(crate) struct Agreed {
    pub(crate) terms: Terms,
    pub(crate) billed_from: Option<i32>,
}

/// Status by day, oldest first.
pub(crate) type History = HashMap<CustomerId, Vec<(i32, CustomerStatus)>>;

/// Orders changes of status by customer and day in the MSP's zone.
pub(crate) fn history(mut changes: Vec<StatusChange>, zone: &TimeZone) -> History {
    changes.sort_by_key(|change| change.changed_at);
    let mut history = History::new();
    for change in changes {
        history.entry(change.customer_id).or_default().push((day_number(day_of(change.changed_at, zone)), change.status));
    }
    history
}

/// Returns the terms of the latest contract that runs in the period; none without one.
pub(crate) fn agreed(
    contracts: &[Contract],
    limits: &HashMap<String, BTreeMap<i32, i64>>,
    customer: CustomerId,
    history: &[(i32, CustomerStatus)],
    period: Period,
) -> Option<Agreed> {
    let span = Span::of(period);
    let ends = |contract: &Contract| contract.ends_on.map_or(i32::MAX, day_number);
    let runs = |contract: &&Contract| {
        contract.customer_id == customer && day_number(contract.starts_on) <= span.last && ends(contract) >= span.first
    };
    let contract = contracts.iter().filter(runs).max_by_key(|contract| (contract.starts_on, contract.created_at))?;
    let contracted = day_number(contract.starts_on)..=ends(contract);
    let status = |day: i32| history.iter().rev().find(|(from, _)| *from <= day).map(|(_, status)| *status);
    let billable: Vec<i32> = (span.first..=span.last)
        .filter(|day| contracted.contains(day) && matches!(status(*day), Some(CustomerStatus::Active | CustomerStatus::Suspended)))
        .collect();
    let trial_days = (span.first..=span.last).filter(|day| status(*day) == Some(CustomerStatus::Trial)).count();
    let scaled = |percent: Decimal, scale: u32| (percent * Decimal::from(10_i64.pow(scale))).to_i64().unwrap_or(0);
    let small = |days: usize| i8::try_from(days).unwrap_or(i8::MAX);
    Some(Agreed {
        terms: Terms {
            currency: contract.currency,
            storage_limit_bytes: average_limit(contract, limits.get(&contract.id.to_string()), span),
            minimum_minor: contract.minimum_minor,
            discount_e2: scaled(contract.discount_percent, 2),
            tax_e3: scaled(contract.tax_percent, 3),
            has_premium_support: contract.has_premium_support,
            has_white_label: contract.has_white_label,
            billable_days: small(billable.len()),
            trial_days: small(trial_days),
            days_of_month: period.days(),
        },
        billed_from: billable.first().copied().filter(|first| *first > span.first),
    })
}

/// Averages a contract's storage limit over the days, stretch by stretch; what its first limit says holds before it too.
fn average_limit(contract: &Contract, limits: Option<&BTreeMap<i32, i64>>, span: Span) -> i64 {
    let own = BTreeMap::from([(span.first, contract.storage_limit_gib)]);
    let limits = limits.filter(|limits| !limits.is_empty()).unwrap_or(&own);
    let at_first = limits.range(..=span.first).next_back().or_else(|| limits.iter().next()).map_or(0, |(_, gib)| *gib);
    let mut stretches = vec![(span.first, at_first)];
    stretches.extend(limits.range(span.first + 1..=span.last).map(|(from, gib)| (*from, *gib)));
    let ends = stretches.iter().skip(1).map(|(from, _)| *from).chain([span.last + 1]);
    let gib_days: i128 = stretches.iter().zip(ends).map(|((from, gib), end)| i128::from(end - from) * i128::from(*gib)).sum();
    i64::try_from(divide(gib_days << 30, i128::from(span.last - span.first + 1))).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use granary_types::{BillingChannel, ContractId, Currency, MspId, Tier};

    use super::*;

    fn contract(storage_limit_gib: i64) -> Contract {
        Contract {
            id: ContractId::new(),
            msp_id: MspId::new(),
            customer_id: CustomerId::new(),
            starts_on: "2025-01-01".parse().unwrap(),
            months: 12,
            renews: true,
            notice_days: 30,
            notice_given_on: None,
            ends_on: None,
            end_reason: None,
            currency: Currency::USD,
            default_tier: Tier::Backup,
            contracted_machines: None,
            machine_limit: None,
            storage_limit_gib,
            minimum_minor: 0,
            discount_percent: Decimal::ZERO,
            tax_percent: Decimal::ZERO,
            payment_terms_days: 30,
            billing_channel: BillingChannel::Manual,
            has_premium_support: false,
            has_white_label: false,
            rpo_hours: 24,
            backup_sla_percent: Decimal::ZERO,
            restore_target_minutes: 240,
            support_target_minutes: 240,
            created_at: "2025-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn the_limit_of_a_month_is_averaged_over_its_stretches() {
        let span = Span { first: 100, last: 130 };
        let average = |limits: &[(i32, i64)]| average_limit(&contract(7), Some(&limits.iter().copied().collect()), span);
        assert_eq!(average_limit(&contract(7), None, span), 7 << 30);
        assert_eq!(average(&[]), 7 << 30, "what the lake does not know yet");
        assert_eq!(average(&[(0, 1_000)]), 1_000 << 30);
        assert_eq!(average(&[(120, 1_000)]), 1_000 << 30, "the first one holds before its day too");
        assert_eq!(average(&[(0, 7), (100, 1_000), (111, 1_310), (131, 5)]), 1_200 << 30, "11 days of 1,000 and 20 of 1,310");
        let three = Span { first: 1, last: 3 };
        let thirds: BTreeMap<i32, i64> = [(0, 0), (2, 1)].into();
        assert_eq!(average_limit(&contract(7), Some(&thirds), three), 715_827_883);
        let largest = i64::from(i32::MAX);
        assert_eq!(average(&[(0, largest)]), largest << 30);
    }
}
