//! What may be let go of what metering keeps, and how long it is needed.
//!
//! Not on the list, and therefore kept as long as the customer: machines and their tiers, schedules, repositories, skipped runs
//! (they excuse nights of months that are long over), and the audit log.

use granary_foundation::Boxed;
use granary_tenants::MspTx;
use granary_types::{Least, LetGo, Period, Retained};
use jiff::ToSpan;
use jiff::civil::Date;

use crate::error::MeteringError;
use crate::store;
use crate::store::retention as sql;

/// A late charge names a month that lies up to three months back.
const CHARGES: Least = Least::Days(92, "charges reach three months back");
/// Reports and scores compare with the twelve months before.
const REPORTS: Least = Least::Days(400, "reports and scores look twelve months back");
/// Days before a period that count in it: a run protects for seven days, a sample speaks for seven; and its first day begins up to
/// one day earlier in UTC.
const DAYS_BEFORE: i64 = 8;

macro_rules! rows {
    ($name:ident, $least:expr) => {
        Retained { dataset: stringify!($name), least: $least, count: sql::$name::COUNT, let_go: LetGo::ByTenant(sql::$name::DELETE) }
    };
}

/// Every dataset of this room for which there may be a rule.
pub const RETAINED: &[Retained] = &[
    rows!(activity, REPORTS),
    rows!(backup_disks, CHARGES),
    Retained { dataset: "backup_runs", least: Least::AsInvoices, count: sql::COUNT_RUNS, let_go: LetGo::ByTenant(sql::DELETE_RUNS) },
    rows!(heartbeats, REPORTS),
    rows!(machine_days, Least::AsInvoices),
    rows!(quarantined_events, CHARGES),
    rows!(replication_cycles, Least::AsInvoices),
    rows!(restore_runs, REPORTS),
    rows!(storage_days, Least::AsInvoices),
    rows!(storage_samples, Least::AsInvoices),
    rows!(tickets, REPORTS),
    Retained { dataset: "usage_events", least: CHARGES, count: sql::COUNT_EVENTS, let_go: LetGo::ByOwner(sql::EMPTY_EVENTS) },
];

/// Lists the MSP's closed periods, oldest first.
///
/// # Errors
/// When Postgres refuses.
pub fn list_closed_periods<'a>(tx: &'a MspTx) -> Boxed<'a, Result<Vec<Period>, MeteringError>> {
    Box::pin(async move {
        let known = store::control::list_known_periods(tx).await?;
        let mut closed: Vec<Period> = known.into_iter().filter(|(_, is_closed)| *is_closed).map(|(period, _)| period).collect();
        closed.sort_unstable();
        Ok(closed)
    })
}

/// Returns the first day that a period needs which is not closed yet: whatever the rules say, nothing goes from there on.
///
/// # Errors
/// When Postgres refuses.
pub fn first_open_day<'a>(tx: &'a MspTx) -> Boxed<'a, Result<Date, MeteringError>> {
    Box::pin(async move {
        let current = Period::containing(tx.now(), &tx.msp().time_zone);
        let known = store::control::list_known_periods(tx).await?;
        let closed: Vec<Period> = known.iter().filter(|(_, is_closed)| *is_closed).map(|(period, _)| *period).collect();
        let mut open = known.iter().map(|(period, _)| *period).min().unwrap_or(current).min(current);
        while open < current && closed.contains(&open) {
            open = open.next();
        }
        Ok(open.first_day().saturating_sub(DAYS_BEFORE.days()))
    })
}
