//! Recommendations: which limits no longer fit, by a whole month and not by a moment.

use granary_foundation::Boxed;
use granary_tenants::{Granted, MspTx};
use granary_types::{CustomerCode, CustomerId, Period};
use serde::Serialize;

use crate::alert::measure::percent;
use crate::error::MeteringError;
use crate::store;

/// Percent of the limit above which machines need room.
const MACHINES_ABOVE: i64 = 80;
/// Percent of the limit above which storage needs room.
const STORAGE_ABOVE: i64 = 85;
/// Percent of the limit below which it is larger than needed.
const BELOW: i64 = 30;
/// Percent of the recommended limit that the month would have used.
const AIM: i64 = 70;

/// What is too small or too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Machines,
    /// In GiB, the average of the month's days.
    Storage,
}

/// Which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Up,
    Down,
}

/// A limit that does not fit what a customer used in a whole month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recommendation {
    pub customer_code: CustomerCode,
    pub customer_name: String,
    pub period: Period,
    pub resource: Resource,
    pub direction: Direction,
    /// Machines with a completed run, or average GiB.
    pub used: i64,
    /// That held at the end of the month.
    pub limit: i64,
    pub used_percent: i64,
    /// The limit of which the month would have used about 70 %.
    pub recommended_limit: i64,
    pub reason: String,
}

/// A customer's month beside its limits.
#[derive(Debug, Clone)]
pub(crate) struct MonthFacts {
    pub(crate) customer_code: CustomerCode,
    pub(crate) customer_name: String,
    pub(crate) machines: i64,
    pub(crate) stored_gib: i64,
    /// Storage of the month is a guess.
    pub(crate) is_estimated: bool,
    pub(crate) machine_limit: Option<i64>,
    pub(crate) storage_limit_gib: i64,
}

/// Compares a month with its limits. A limit of zero is a wish, and neither a guess nor silence is a ground.
fn recommend(facts: &MonthFacts, period: Period) -> Vec<Recommendation> {
    let one = |resource, used: i64, limit: i64, above: i64, unit: &str| {
        // Silence is not zero.
        let used_percent = if used > 0 { percent(used, limit) } else { return None };
        let direction = match used_percent {
            share if share > above => Direction::Up,
            share if share < BELOW => Direction::Down,
            _ => return None,
        };
        let aim = (used.saturating_mul(100) / AIM + i64::from(used.saturating_mul(100) % AIM > 0)).max(1);
        let fits = match direction {
            Direction::Up => aim > limit,
            Direction::Down => aim < limit,
        };
        let reason = match direction {
            Direction::Up => format!("{used} {unit} in {period}, {used_percent} % of {limit}: more than {above} %"),
            Direction::Down => format!("{used} {unit} in {period}, {used_percent} % of {limit}: less than {BELOW} %"),
        };
        let (customer_code, customer_name) = (facts.customer_code.clone(), facts.customer_name.clone());
        fits.then_some(Recommendation {
            customer_code,
            customer_name,
            period,
            resource,
            direction,
            used,
            limit,
            used_percent,
            recommended_limit: aim,
            reason,
        })
    };
    let machines = facts.machine_limit.filter(|limit| *limit > 0);
    let machines = machines.and_then(|limit| one(Resource::Machines, facts.machines, limit, MACHINES_ABOVE, "machines"));
    let storage = (facts.storage_limit_gib > 0 && !facts.is_estimated)
        .then(|| one(Resource::Storage, facts.stored_gib, facts.storage_limit_gib, STORAGE_ABOVE, "GiB on average"));
    [machines, storage.flatten()].into_iter().flatten().collect()
}

/// Recommends limits to the granted customers from a month that is over, those first that need more room. Customers whose contract does
/// not cover the whole month, or that have left or were never more than a trial, are left out.
///
/// # Errors
/// When the month is not over, or Postgres refuses.
pub fn list_recommendations<'a>(
    tx: &'a MspTx,
    granted: &'a Granted,
    period: Period,
) -> Boxed<'a, Result<Vec<Recommendation>, MeteringError>> {
    Box::pin(async move {
        if tx.now() < period.end_at(&tx.msp().time_zone) {
            return Err(MeteringError::PeriodNotEnded(period));
        }
        let customers: Option<Vec<CustomerId>> = match granted {
            Granted::All => None,
            Granted::Only(ids) => Some(ids.iter().copied().collect()),
        };
        let months = store::control::list_months_with_limits(tx, customers.as_deref(), period).await?;
        let mut all: Vec<Recommendation> = months.iter().flat_map(|facts| recommend(facts, period)).collect();
        all.sort_by(|one, other| {
            (one.direction, -one.used_percent, &one.customer_code, one.resource).cmp(&(
                other.direction,
                -other.used_percent,
                &other.customer_code,
                other.resource,
            ))
        });
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(machines: i64, machine_limit: Option<i64>, stored_gib: i64, storage_limit_gib: i64) -> MonthFacts {
        MonthFacts {
            customer_code: "ACME".parse().unwrap(),
            customer_name: "Acme".to_owned(),
            machines,
            stored_gib,
            is_estimated: false,
            machine_limit,
            storage_limit_gib,
        }
    }

    fn directions(facts: &MonthFacts) -> Vec<(Resource, Direction, i64)> {
        recommend(facts, "2025-10".parse().unwrap()).into_iter().map(|one| (one.resource, one.direction, one.recommended_limit)).collect()
    }

    #[test]
    fn the_marks_are_80_85_and_30_percent() {
        assert_eq!(directions(&facts(80, Some(100), 850, 1_000)), []);
        let up = [(Resource::Machines, Direction::Up, 116), (Resource::Storage, Direction::Up, 1_229)];
        assert_eq!(directions(&facts(81, Some(100), 860, 1_000)), up);
        assert_eq!(directions(&facts(30, Some(100), 300, 1_000)), []);
        assert_eq!(
            directions(&facts(29, Some(100), 1, 1_000)),
            [(Resource::Machines, Direction::Down, 42), (Resource::Storage, Direction::Down, 2)]
        );
    }

    #[test]
    fn no_limit_a_guess_and_silence_are_no_grounds() {
        assert_eq!(directions(&facts(500, None, 500, 1_000)), []);
        assert_eq!(directions(&facts(0, Some(0), 5, 0)), []);
        assert_eq!(directions(&facts(0, Some(50), 0, 1_000)), [], "nothing was heard");
        assert_eq!(directions(&MonthFacts { is_estimated: true, ..facts(50, Some(100), 999, 1_000) }), []);
    }

    proptest! {
        #[test]
        fn what_is_recommended_would_need_no_recommendation(used in 0_i64..1_000_000, limit in 1_i64..1_000_000) {
            for (resource, _, recommended) in directions(&facts(used, Some(limit), used, limit)) {
                let again = match resource {
                    Resource::Machines => facts(used, Some(recommended), used, 0),
                    Resource::Storage => facts(used, None, used, recommended),
                };
                // Of one or two machines 70 % cannot be met.
                prop_assert!(used < 4 || directions(&again).is_empty(), "{resource:?} {used} of {limit}: {recommended}");
            }
        }
    }
}
