//! The monthly report of one customer, as plain data.
//!
//! Everything that is printed is in here: the renderer adds words and looks, never numbers. There is no field for
//! wholesale, margin, health or churn, because a customer never meets them.

mod assemble;
mod change;
mod compose;
mod facts;

use granary_types::{Currency, CustomerCode, Money, Period, Quantity, Tier, UnitPrice};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::charts::Color;
use crate::share::{level, share};

pub(crate) use assemble::MONTHS_BACK;
pub use assemble::assemble;
pub use change::{Change, ChangeReason, changes};
pub use compose::{compose, compose_all};
pub use facts::{Facts, FactsByCustomer, InvoiceFact, LevelFact, LineFact, MachineFact, MonthFact, NightFact, RestoreFact, TicketFact};

/// What an MSP tells a customer about one month.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MonthlyReport {
    pub msp: Brand,
    pub customer: Recipient,
    pub period: Period,
    /// Until when events were counted: the period's end, or earlier while it is open.
    pub as_of: Timestamp,
    pub currency: Currency,
    pub protection: Protection,
    pub service_levels: ServiceLevels,
    /// The last restore of the month; none when there was none.
    pub last_restore: Option<Restore>,
    pub usage: Usage,
    pub tickets: Tickets,
    pub charges: Charges,
    /// Every machine of the period, by name, and those that are known and not protected.
    pub machines: Vec<MachineMonth>,
}

/// Whose report it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brand {
    pub name: String,
    pub color: Color,
    pub logo_svg: Option<String>,
    /// The zone of billing days.
    pub time_zone: String,
}

/// For whom it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    pub code: CustomerCode,
    pub name: String,
    /// The zone of service days.
    pub time_zone: String,
}

/// Whether every protected machine can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// Machines that held a tier at `as_of`.
    pub machines_protected: u64,
    /// Known machines that nobody asked to protect.
    pub machines_discovered_only: u64,
    /// Protected machines without a restore point younger than the agreed age.
    pub at_risk: Vec<MachineAtRisk>,
    /// The agreed age of the newest restore point.
    pub rpo_hours: u32,
}

/// A machine that could not be restored to a recent state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineAtRisk {
    pub name: String,
    pub tier: Tier,
    pub last_good_at: Option<Timestamp>,
    pub reason: RiskReason,
}

/// Why a machine has no good restore point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskReason {
    /// Nothing was ever completed, and nothing was tried this month.
    NeverRan,
    /// Runs were tried this month and failed since the last good one.
    Failing { runs_failed: u64 },
    /// There was a good one, and then nothing more came.
    Silent,
}

/// What was agreed and what was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLevels {
    pub backup: BackupLevel,
    pub runs: RunCounts,
    pub restore: RestoreLevel,
    pub support: SupportLevel,
    /// Heartbeats received ÷ expected, in hundredths of a percent.
    pub uptime_percent: Option<i64>,
}

/// Machine-days with a young enough restore point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupLevel {
    /// In hundredths of a percent.
    pub target_percent: i64,
    pub machine_days_met: u64,
    pub machine_days_scheduled: u64,
    /// Each service day's share, in hundredths of a percent; none where nothing was scheduled.
    pub days: Vec<(Date, Option<i64>)>,
}

/// Runs by their end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    pub completed: u64,
    pub with_warning: u64,
    pub failed: u64,
}

/// How long restores took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreLevel {
    pub target_minutes: i64,
    pub completed: u64,
    pub failed: u64,
    /// Whether 95 of 100 kept the target and none failed; none when there was no restore.
    pub is_met: Option<bool>,
    pub median_minutes: Option<i64>,
    pub p95_minutes: Option<i64>,
}

/// How soon tickets were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportLevel {
    pub target_minutes: i64,
    pub answered_in_time: u64,
    /// Answered too late, or not at all and past the target.
    pub missed: u64,
    pub median_minutes: Option<i64>,
}

/// One restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    pub ended_at: Timestamp,
    pub machine: Option<String>,
    pub kind: RestoreKind,
    pub has_succeeded: bool,
    pub duration_minutes: i64,
    pub restored_bytes: i64,
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreKind {
    FullVm,
    FileLevel,
    Test,
}

/// What was used, this month and before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The period is the last; at most twelve before it.
    pub months: Vec<MonthUsage>,
    pub storage_limit_bytes: Option<i64>,
    pub machine_limit: Option<i64>,
}

/// The usage of one month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonthUsage {
    pub period: Period,
    pub machines_backup: i64,
    pub machines_enterprise: i64,
    pub machines_replication: i64,
    pub runs: RunCounts,
    pub stored_bytes_average: i64,
    pub transferred_bytes: i64,
    pub tickets_opened: i64,
    /// What was charged before tax; none where there is no invoice.
    pub net_minor: Option<i64>,
}

/// Tickets of the month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tickets {
    pub opened: u64,
    pub answered: u64,
    pub closed: u64,
    /// Times a hundred; none without a rating.
    pub rating_average: Option<i64>,
}

/// The invoice of the month, line by line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Charges {
    /// None while it is a draft.
    pub invoice_number: Option<String>,
    /// None when nothing was billed for the period.
    pub is_draft: Option<bool>,
    pub due_on: Option<Date>,
    pub lines: Vec<ChargeLine>,
    pub net: Money,
    pub tax: Money,
    pub total: Money,
    /// The net amount of the month before; none when there was no invoice, or this month has none to compare with it.
    pub previous_net: Option<Money>,
    /// What makes up the difference, largest first; adds up to `net − previous_net`.
    pub changes: Vec<Change>,
}

/// A line of the invoice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChargeLine {
    /// The meter, `machine_backup`.
    pub item: String,
    pub description: String,
    pub quantity: Quantity,
    pub unit_price: UnitPrice,
    pub amount: Money,
}

/// A machine in the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineMonth {
    pub name: String,
    /// The billed tier; none when nothing was billed.
    pub tier: Option<Tier>,
    /// Whether nobody ever asked to protect it.
    pub is_discovered_only: bool,
    pub first_on: Option<Date>,
    pub last_on: Option<Date>,
    pub runs: RunCounts,
    pub last_good_at: Option<Timestamp>,
}

impl Protection {
    /// How many protected machines have a good restore point.
    pub fn machines_safe(&self) -> u64 {
        self.machines_protected.saturating_sub(self.at_risk.len() as u64)
    }
}

impl BackupLevel {
    /// Tells whether the target was reached, exactly; none without a schedule.
    pub fn is_met(&self) -> Option<bool> {
        let wanted = i128::from(self.machine_days_scheduled) * i128::from(self.target_percent);
        (self.machine_days_scheduled > 0).then(|| i128::from(self.machine_days_met) * 10_000 >= wanted)
    }

    /// The level reached, in hundredths of a percent; a missed target is never rounded up to it. None without a schedule.
    pub fn percent(&self) -> Option<i64> {
        level(self.machine_days_met, self.machine_days_scheduled)
    }
}

impl RunCounts {
    /// All runs that ended.
    pub const fn total(&self) -> u64 {
        self.completed + self.with_warning + self.failed
    }

    /// Runs that left a restore point ÷ runs, in hundredths of a percent; a warning is a success.
    pub fn success_percent(&self) -> Option<i64> {
        share(self.completed + self.with_warning, self.total())
    }
}

impl SupportLevel {
    /// Tickets answered in time ÷ tickets whose time is up, in hundredths of a percent.
    pub fn percent(&self) -> Option<i64> {
        level(self.answered_in_time, self.answered_in_time + self.missed)
    }
}

impl MonthUsage {
    /// The machines of all tiers.
    pub const fn machines(&self) -> i64 {
        self.machines_backup + self.machines_enterprise + self.machines_replication
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_never_rounded_up_to_it() {
        let level = BackupLevel { target_percent: 9_950, machine_days_met: 99_499, machine_days_scheduled: 100_000, days: Vec::new() };
        assert_eq!((level.percent(), level.is_met()), (Some(9_949), Some(false)));
        assert_eq!(BackupLevel { machine_days_met: 99_500, ..level.clone() }.is_met(), Some(true));
        let unscheduled = BackupLevel { machine_days_scheduled: 0, ..level };
        assert_eq!((unscheduled.percent(), unscheduled.is_met()), (None, None));
    }

    #[test]
    fn the_golden_run_success_holds() {
        let runs = RunCounts { completed: 13_043 - 98 - 69, with_warning: 69, failed: 98 };
        assert_eq!((runs.success_percent(), runs.total()), (Some(9_925), 13_043));
        assert_eq!(RunCounts { completed: 99_999, failed: 1, with_warning: 0 }.success_percent(), Some(9_999));
    }
}
