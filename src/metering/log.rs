//! The log of usage events, as people look into it.

use granary_foundation::Boxed;
use granary_tenants::TenantTx;
use granary_types::Period;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::closing::cut_off;
use crate::error::MeteringError;
use crate::store;

/// An event as it was accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoggedEvent {
    pub occurred_at: Timestamp,
    pub source: String,
    pub id: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub data: Value,
}

/// Which events to look at; the oldest come first.
#[derive(Debug, Clone)]
pub struct EventFilter {
    pub period: Period,
    pub event_type: Option<String>,
    /// The machine that the event is about, by its id in the source system.
    pub vendor_id: Option<String>,
    pub limit: i64,
}

/// Returns the customer's events of a period.
///
/// # Errors
/// When Postgres refuses.
pub fn list_events<'a>(tx: &'a TenantTx, filter: &'a EventFilter) -> Boxed<'a, Result<Vec<LoggedEvent>, MeteringError>> {
    Box::pin(store::log::list_events(tx, filter))
}

/// An event that was refused and lies in quarantine, as it came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefusedEvent {
    pub received_at: Timestamp,
    pub source: String,
    pub id: String,
    pub reason: String,
    pub event: Value,
}

/// Returns the events in quarantine that stand against the close of a month; the oldest come first.
///
/// # Errors
/// When Postgres refuses.
pub fn list_refused<'a>(tx: &'a TenantTx, period: Period, limit: i64) -> Boxed<'a, Result<Vec<RefusedEvent>, MeteringError>> {
    Box::pin(async move {
        let zone = &tx.msp().time_zone;
        let span = (period.start_at(zone), cut_off(period, zone));
        store::closing::list_quarantined(tx, (period.first_day(), period.last_day()), span, limit).await
    })
}

/// What came of everything that one source has ever said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SourceTally {
    pub events: i64,
    pub machines_protected: i64,
    pub runs_completed: i64,
    pub runs_failed: i64,
    pub transferred_bytes: i64,
}

/// Counts a source's events and the rows that came of them, one by one: to compare with what the source knows.
///
/// # Errors
/// When Postgres refuses.
pub fn tally_source<'a>(tx: &'a TenantTx, source: &'a str) -> Boxed<'a, Result<SourceTally, MeteringError>> {
    Box::pin(store::log::get_tally(tx, source))
}
