//! What the contracts say about a period, read on this road too.

use std::collections::HashMap;

use granary_tenants::{Contract, StatusChange};
use granary_types::{CustomerId, CustomerStatus, Period, day_of};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::facts::day_number;
use crate::price::Terms;
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
pub(crate) fn agreed(contracts: &[Contract], customer: CustomerId, history: &[(i32, CustomerStatus)], period: Period) -> Option<Agreed> {
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
            storage_limit_gib: contract.storage_limit_gib,
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
