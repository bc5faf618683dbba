//! The events behind a number: those that make it, and no others. What was voided is not among them, and of what was amended the
//! amendment is.

use std::fmt;
use std::str::FromStr;

use granary_foundation::Boxed;
use granary_tenants::TenantTx;
use granary_types::Period;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::counting::corrections_of;
use crate::error::MeteringError;
use crate::log::LoggedEvent;
use crate::store;

const AMENDED: &str = "event.amended";

/// A number of a month's usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// Machines: what they completed.
    Machines,
    /// Backup runs, failed ones too.
    Runs,
    /// Bytes of completed disks.
    Transferred,
    /// Samples of repositories.
    Stored,
    /// Replication cycles that completed.
    Cycles,
    Restores,
    Tickets,
}

impl Meter {
    /// Every meter.
    pub const ALL: &'static [Self] =
        &[Self::Machines, Self::Runs, Self::Transferred, Self::Stored, Self::Cycles, Self::Restores, Self::Tickets];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machines => "machines",
            Self::Runs => "runs",
            Self::Transferred => "transferred",
            Self::Stored => "stored",
            Self::Cycles => "cycles",
            Self::Restores => "restores",
            Self::Tickets => "tickets",
        }
    }

    /// Returns the types of the events that it is made of. A run is what all of its events say together.
    const fn event_types(self) -> &'static [&'static str] {
        match self {
            Self::Machines => &[
                "backup.completed",
                "backup.failed",
                "backup.cancelled",
                "backup.corrected",
                "replication.summary",
                "replication.completed",
            ],
            Self::Runs | Self::Transferred => &["backup.completed", "backup.failed", "backup.cancelled", "backup.corrected"],
            Self::Stored => &["repository.sampled"],
            Self::Cycles => &["replication.summary", "replication.completed"],
            Self::Restores => &["restore.completed", "restore.failed"],
            Self::Tickets => &["ticket.opened", "ticket.answered", "ticket.closed", "ticket.rated"],
        }
    }

    /// Returns the states of the runs that it counts.
    const fn run_states(self) -> &'static [&'static str] {
        match self {
            Self::Machines => &["completed", "completed_with_warning"],
            Self::Runs => &["completed", "completed_with_warning", "failed"],
            Self::Transferred => &["completed", "completed_with_warning", "failed", "cancelled"],
            Self::Stored | Self::Cycles | Self::Restores | Self::Tickets => &[],
        }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a page of events ends: the next one goes on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCursor {
    pub at: Timestamp,
    pub source: String,
    pub id: String,
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::json!([self.at.as_microsecond(), self.source, self.id]).to_string();
        f.write_str(&hex::encode(text))
    }
}

impl FromStr for EventCursor {
    type Err = MeteringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (at, source, id): (i64, String, String) = serde_json::from_slice(&hex::decode(text).ok()?).ok()?;
            let is_text = !source.contains('\0') && !id.contains('\0');
            is_text.then_some(Self { at: Timestamp::from_microsecond(at).ok()?, source, id })
        };
        read().ok_or(MeteringError::NoCursor)
    }
}

/// Which events are asked for.
#[derive(Debug, Clone)]
pub struct EvidenceFilter {
    pub period: Period,
    pub meter: Meter,
    /// Only those that count on this billing day.
    pub day: Option<Date>,
    /// Only those about the machine with this id in its source system.
    pub machine: Option<String>,
    pub after: Option<EventCursor>,
    pub limit: u16,
}

/// Some of the events behind a number.
#[derive(Debug, Clone, Default)]
pub struct EvidencePage {
    pub events: Vec<LoggedEvent>,
    /// What the page after begins behind; none at the end.
    pub next: Option<EventCursor>,
}

/// The part of the log in which a page is looked for.
#[derive(Debug)]
pub(crate) struct Wanted<'f> {
    pub(crate) span: (Timestamp, Timestamp),
    /// The billing days of runs.
    pub(crate) days: (Date, Date),
    pub(crate) types: &'static [&'static str],
    pub(crate) run_states: &'static [&'static str],
    /// Only runs that moved bytes.
    pub(crate) has_bytes: bool,
    pub(crate) machine: Option<&'f str>,
    pub(crate) limit: i64,
}

impl EventCursor {
    fn of((at, event): &(Timestamp, LoggedEvent)) -> Self {
        Self { at: *at, source: event.source.clone(), id: event.id.clone() }
    }
}

/// Returns a page of the events behind a number, by when they count: when a run ended, a sample was taken, a ticket was opened.
///
/// # Errors
/// When Postgres refuses.
pub fn list_evidence<'a>(tx: &'a TenantTx, filter: &'a EvidenceFilter) -> Boxed<'a, Result<EvidencePage, MeteringError>> {
    Box::pin(async move {
        let zone = &tx.msp().time_zone;
        let mut span = (filter.period.start_at(zone), filter.period.end_at(zone));
        let mut days = (filter.period.first_day(), filter.period.last_day());
        if let Some(day) = filter.day {
            let start = |day: Date| day.to_zoned(zone.clone()).and_then(|day| day.start_of_day()).map(|day| day.timestamp());
            let (Ok(from), Ok(to)) = (start(day), day.tomorrow().and_then(start)) else { return Ok(EvidencePage::default()) };
            span = (span.0.max(from), span.1.min(to));
            days = (days.0.max(day), days.1.min(day));
        }
        let EvidenceFilter { meter, limit, .. } = *filter;
        let (types, run_states, limit) = (meter.event_types(), meter.run_states(), usize::from(limit));
        let wanted = Wanted {
            span,
            days,
            types,
            run_states,
            has_bytes: meter == Meter::Transferred,
            machine: filter.machine.as_deref(),
            limit: i64::from(filter.limit) + 1,
        };
        let (mut events, mut after) = (Vec::new(), filter.after.clone());
        loop {
            let page = store::log::list_evidence(tx, &wanted, after.as_ref()).await?;
            let is_last = page.len() <= limit;
            after = page.last().map(EventCursor::of);
            events.extend(in_force(tx, page).await?);
            if is_last || events.len() > limit {
                break;
            }
        }
        let has_more = events.len() > limit;
        events.truncate(limit);
        let next = events.last().filter(|_| has_more).map(EventCursor::of);
        Ok(EvidencePage { events: events.into_iter().map(|(_, event)| event).collect(), next })
    })
}

/// Leaves what counts: facts that nothing corrects, and the amendments that decide about theirs.
async fn in_force(tx: &TenantTx, page: Vec<(Timestamp, LoggedEvent)>) -> Result<Vec<(Timestamp, LoggedEvent)>, MeteringError> {
    let about = |event: &LoggedEvent| match event.data.get("event_id").and_then(Value::as_str) {
        Some(id) if event.event_type == AMENDED => id.to_owned(),
        _ => event.id.clone(),
    };
    let named: Vec<(String, String)> = page.iter().map(|(_, event)| (event.source.clone(), about(event))).collect();
    let names: Vec<(&str, &str)> = named.iter().map(|(source, id)| (source.as_str(), id.as_str())).collect();
    let corrections = corrections_of(tx, &names).await?;
    let amending = page.iter().filter(|(_, event)| event.event_type == AMENDED);
    let amending: Vec<(&str, &str)> = amending.map(|(_, event)| (event.source.as_str(), event.id.as_str())).collect();
    let amended = if amending.is_empty() { Vec::new() } else { store::corrections::list_corrected(tx, &amending).await? };
    let is_known = |source: &str, id: &str| amended.iter().any(|fact| (fact.source.as_str(), fact.id.as_str()) == (source, id));
    let counts: Vec<bool> = page
        .iter()
        .zip(&named)
        .map(|((_, event), (source, about))| match corrections.decisive(source, about) {
            None => event.event_type != AMENDED,
            Some(correction) => correction.id == event.id && is_known(source, about),
        })
        .collect();
    Ok(page.into_iter().zip(counts).filter_map(|(event, counts)| counts.then_some(event)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is_one() {
        let cursor = EventCursor { at: Timestamp::UNIX_EPOCH, source: "https://vbr/ü".to_owned(), id: "a\"b".to_owned() };
        assert_eq!(cursor.to_string().parse::<EventCursor>().unwrap(), cursor);
        for text in [
            "",
            "zz",
            "5b5d",
            &hex::encode("[1,\"a\"]"),
            &hex::encode("[9999999999999999999,\"a\",\"b\"]"),
            &hex::encode("[1,\"\\u0000\",\"b\"]"),
        ] {
            assert!(text.parse::<EventCursor>().is_err(), "{text}");
        }
    }
}
