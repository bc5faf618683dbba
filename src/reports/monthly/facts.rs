//! What the warehouse says about the customers of an MSP around one period, row by row.

use std::collections::BTreeMap;

use granary_types::{CustomerId, Period, Quantity, Tier, UnitPrice};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;

use super::RestoreKind;

/// Everything a report of one customer is made of, besides its terms.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub months: Vec<MonthFact>,
    pub level: Option<LevelFact>,
    pub nights: Vec<NightFact>,
    pub machines: Vec<MachineFact>,
    /// Restores of the period, latest last.
    pub restores: Vec<RestoreFact>,
    pub tickets: TicketFact,
    /// Invoices of the period and of the one before.
    pub invoices: Vec<InvoiceFact>,
    /// Lines of the period and of the one before, in their order.
    pub lines: Vec<LineFact>,
}

impl Facts {
    /// Tells whether anything happened in a period: something ran, was held, stored or billed.
    pub fn tell_of(&self, period: Period) -> bool {
        let used = |month: &MonthFact| {
            let runs = month.runs_completed + month.runs_with_warning + month.runs_failed;
            month.period == period && (runs > 0 || month.stored_bytes_average > 0)
        };
        self.machines.iter().any(|machine| !machine.is_discovered_only)
            || self.months.iter().any(used)
            || self.invoices.iter().any(|invoice| invoice.period == period)
    }
}

/// Facts by customer.
#[derive(Debug, Clone, Default)]
pub struct FactsByCustomer(BTreeMap<CustomerId, Facts>);

impl FactsByCustomer {
    /// Returns a customer's facts, to be added to.
    pub fn entry(&mut self, customer: CustomerId) -> &mut Facts {
        self.0.entry(customer).or_default()
    }

    /// Takes a customer's facts; nothing known is no fact.
    pub fn take(&mut self, customer: CustomerId) -> Facts {
        self.0.remove(&customer).unwrap_or_default()
    }
}

/// A month's usage.
#[derive(Debug, Clone, Deserialize)]
pub struct MonthFact {
    pub customer_id: CustomerId,
    pub period: Period,
    pub machines_backup: i64,
    pub machines_enterprise: i64,
    pub machines_replication: i64,
    pub runs_completed: u64,
    pub runs_with_warning: u64,
    pub runs_failed: u64,
    pub stored_bytes_average: i64,
    /// The average over the month's days.
    pub storage_limit_bytes: Option<i64>,
    /// At the month's end.
    pub machine_limit: Option<i64>,
    pub transferred_bytes: i64,
    pub tickets_opened: i64,
}

/// The period's service levels.
#[derive(Debug, Clone, Deserialize)]
pub struct LevelFact {
    pub customer_id: CustomerId,
    pub machine_days_met: u64,
    pub machine_days_scheduled: u64,
    pub restores_completed: u64,
    pub restores_failed: u64,
    pub restore_median_minutes: Option<i64>,
    pub restore_p95_minutes: Option<i64>,
    /// None when there was no restore.
    pub is_restore_met: Option<bool>,
    pub tickets_in_target: u64,
    pub tickets_missed: u64,
    pub answer_median_minutes: Option<i64>,
    pub heartbeats_received: u64,
    pub heartbeats_expected: u64,
}

/// A night's part of the backup service level.
#[derive(Debug, Clone, Deserialize)]
pub struct NightFact {
    pub customer_id: CustomerId,
    pub service_on: Date,
    pub machine_days_met: u64,
    pub machine_days_scheduled: u64,
}

/// A machine in the period.
#[derive(Debug, Clone, Deserialize)]
pub struct MachineFact {
    pub customer_id: CustomerId,
    pub name: String,
    /// The billed tier.
    pub tier: Option<Tier>,
    pub first_on: Option<Date>,
    pub last_on: Option<Date>,
    pub runs_completed: u64,
    pub runs_with_warning: u64,
    pub runs_failed: u64,
    pub last_good_at: Option<Timestamp>,
    /// The tier held at the period's end; none when it was not protected then.
    pub tier_at_end: Option<Tier>,
    /// Failed runs after the last good one.
    pub runs_failed_since: u64,
    /// Known, and nobody ever asked to protect it.
    pub is_discovered_only: bool,
}

/// A restore.
#[derive(Debug, Clone, Deserialize)]
pub struct RestoreFact {
    pub customer_id: CustomerId,
    pub ended_at: Timestamp,
    pub machine: Option<String>,
    pub kind: RestoreKind,
    pub has_succeeded: bool,
    pub duration_ms: i64,
    pub restored_bytes: i64,
}

/// The period's tickets.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TicketFact {
    pub opened: u64,
    pub answered: u64,
    pub closed: u64,
    pub rated: u64,
    pub rating_sum: u64,
}

/// An invoice.
#[derive(Debug, Clone, Deserialize)]
pub struct InvoiceFact {
    pub customer_id: CustomerId,
    pub period: Period,
    pub number: Option<String>,
    pub due_on: Option<Date>,
    pub net_minor: i64,
    pub tax_minor: i64,
    pub total_minor: i64,
}

/// A line of an invoice.
#[derive(Debug, Clone, Deserialize)]
pub struct LineFact {
    pub customer_id: CustomerId,
    pub period: Period,
    pub item: String,
    pub description: String,
    pub quantity: Quantity,
    pub unit_price: UnitPrice,
    pub amount_minor: i64,
}
