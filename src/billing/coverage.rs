//! Which days of a period are billed, by the contract and by where the customer stood.

use granary_types::{CustomerStatus, Period, Quantity};
use jiff::ToSpan;
use jiff::civil::Date;
use rust_decimal::{Decimal, RoundingStrategy};

/// A trial costs the MSP nothing for this many days, once per customer.
const FREE_TRIAL_DAYS: i64 = 30;

/// When a customer's contract runs and how its status changed, as days in the MSP's zone.
#[derive(Debug, Clone)]
pub struct Standing {
    pub contract_starts_on: Date,
    /// The last day of the contract; none while it runs.
    pub contract_ends_on: Option<Date>,
    /// Every change of status, oldest first; a status holds from its day on.
    pub changes: Vec<(Date, CustomerStatus)>,
}

/// The billed days of one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    pub period: Period,
    /// Days on which retail is charged: under contract, active or suspended.
    pub billable_days: i8,
    /// The first of them.
    pub billable_from: Option<Date>,
    /// Days of trial.
    pub trial_days: i8,
    /// Days on which wholesale is charged: the billable ones and those of a trial after its first 30.
    pub wholesale_days: i8,
    /// The first of them.
    pub wholesale_from: Option<Date>,
}

impl Standing {
    fn status_on(&self, day: Date) -> Option<CustomerStatus> {
        self.changes.iter().rev().find(|(from, _)| *from <= day).map(|(_, status)| *status)
    }

    fn free_until(&self) -> Option<Date> {
        let first = self.changes.iter().find(|(_, status)| *status == CustomerStatus::Trial)?;
        first.0.checked_add(FREE_TRIAL_DAYS.days()).ok()
    }

    /// Returns the billed days of a period.
    pub fn coverage(&self, period: Period) -> Coverage {
        let mut covered =
            Coverage { period, billable_days: 0, billable_from: None, trial_days: 0, wholesale_days: 0, wholesale_from: None };
        let free_until = self.free_until();
        for day in period.each_day() {
            let is_under_contract = self.contract_starts_on <= day && self.contract_ends_on.is_none_or(|last| day <= last);
            let mut charge_wholesale = false;
            match self.status_on(day) {
                Some(CustomerStatus::Active | CustomerStatus::Suspended) if is_under_contract => {
                    covered.billable_days += 1;
                    covered.billable_from.get_or_insert(day);
                    charge_wholesale = true;
                }
                Some(CustomerStatus::Trial) => {
                    covered.trial_days += 1;
                    charge_wholesale = free_until.is_some_and(|until| day >= until);
                }
                Some(CustomerStatus::Active | CustomerStatus::Suspended | CustomerStatus::Closed | CustomerStatus::Erased) | None => {}
            }
            if charge_wholesale {
                covered.wholesale_days += 1;
                covered.wholesale_from.get_or_insert(day);
            }
        }
        covered
    }
}

impl Coverage {
    /// Tells whether anything of the period is shown on an invoice.
    pub fn is_empty(&self) -> bool {
        self.billable_days == 0 && self.trial_days == 0
    }

    /// Tells whether usage prints as zero lines: a trial that was not converted within the period.
    pub fn is_trial(&self) -> bool {
        self.billable_days == 0 && self.trial_days > 0
    }

    /// Returns the share of the month for fixed monthly retail items, 4 decimals.
    pub fn billable_share(&self) -> Quantity {
        share(self.billable_days, self.period)
    }

    /// Returns the share of the month for fixed monthly wholesale items, 4 decimals.
    pub fn wholesale_share(&self) -> Quantity {
        share(self.wholesale_days, self.period)
    }
}

fn share(days: i8, period: Period) -> Quantity {
    (Decimal::from(days) / Decimal::from(period.days())).round_dp_with_strategy(4, RoundingStrategy::MidpointAwayFromZero).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(starts_on: &str, ends_on: Option<&str>, changes: &[(&str, CustomerStatus)]) -> Standing {
        Standing {
            contract_starts_on: starts_on.parse().unwrap(),
            contract_ends_on: ends_on.map(|day| day.parse().unwrap()),
            changes: changes.iter().map(|(day, status)| (day.parse().unwrap(), *status)).collect(),
        }
    }

    fn days(standing: &Standing, period: &str) -> (i8, i8, i8) {
        let covered = standing.coverage(period.parse().unwrap());
        (covered.billable_days, covered.trial_days, covered.wholesale_days)
    }

    #[test]
    fn an_active_contract_covers_the_days_it_runs() {
        let acme =
            standing("2025-01-10", Some("2025-03-15"), &[("2025-01-01", CustomerStatus::Active), ("2025-03-16", CustomerStatus::Closed)]);
        assert_eq!(days(&acme, "2024-12"), (0, 0, 0));
        assert_eq!(days(&acme, "2025-01"), (22, 0, 22));
        assert_eq!(days(&acme, "2025-02"), (28, 0, 28));
        assert_eq!(days(&acme, "2025-03"), (15, 0, 15));
        assert_eq!(acme.coverage("2025-03".parse().unwrap()).billable_share(), Decimal::new(4839, 4));
        assert_eq!(acme.coverage("2025-02".parse().unwrap()).billable_share(), Decimal::ONE);
    }

    #[test]
    fn a_trial_is_free_for_thirty_days_and_never_billed_at_retail() {
        let acme = standing("2025-01-16", None, &[("2025-01-16", CustomerStatus::Trial), ("2025-03-10", CustomerStatus::Active)]);
        assert_eq!(days(&acme, "2025-01"), (0, 16, 0));
        assert_eq!(days(&acme, "2025-02"), (0, 28, 14), "free until 15 February");
        assert!(acme.coverage("2025-02".parse().unwrap()).is_trial());
        let march = acme.coverage("2025-03".parse().unwrap());
        assert_eq!((march.billable_days, march.trial_days, march.wholesale_days), (22, 9, 31));
        assert_eq!(march.billable_from, Some("2025-03-10".parse().unwrap()));
        assert!(!march.is_trial());
    }

    #[test]
    fn a_suspended_customer_is_billed_on() {
        let acme = standing("2025-01-01", None, &[("2025-01-01", CustomerStatus::Active), ("2025-02-03", CustomerStatus::Suspended)]);
        assert_eq!(days(&acme, "2025-03"), (31, 0, 31));
    }
}
