//! The events behind a number.

use std::fmt;
use std::str::FromStr;

use granary_foundation::Boxed;
use granary_tenants::TenantTx;
use granary_types::Period;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::error::MeteringError;
use crate::log::LoggedEvent;
use crate::store;

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
    /// Replication cycles.
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

    /// Returns the types of the events that it is made of.
    const fn event_types(self) -> &'static [&'static str] {
        match self {
            Self::Machines => &["backup.completed", "replication.summary"],
            Self::Runs => &["backup.completed", "backup.failed"],
            Self::Transferred => &["backup.completed"],
            Self::Stored => &["repository.sampled"],
            Self::Cycles => &["replication.summary"],
            Self::Restores => &["restore.completed", "restore.failed"],
            Self::Tickets => &["ticket.opened"],
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

/// Returns a page of the events behind a number, by when they count: when a run ended, a sample was taken, a ticket was opened.
///
/// # Errors
/// When Postgres refuses.
pub fn list_evidence<'a>(tx: &'a TenantTx, filter: &'a EvidenceFilter) -> Boxed<'a, Result<EvidencePage, MeteringError>> {
    Box::pin(async move {
        let zone = &tx.msp().time_zone;
        let mut span = (filter.period.start_at(zone), filter.period.end_at(zone));
        if let Some(day) = filter.day {
            let start = |day: Date| day.to_zoned(zone.clone()).and_then(|day| day.start_of_day()).map(|day| day.timestamp());
            let (Ok(from), Ok(to)) = (start(day), day.tomorrow().and_then(start)) else { return Ok(EvidencePage::default()) };
            span = (span.0.max(from), span.1.min(to));
        }
        let mut events = store::log::list_evidence(tx, span, filter.meter.event_types(), filter).await?;
        let has_more = events.len() > usize::from(filter.limit);
        events.truncate(usize::from(filter.limit));
        let next = events.last().filter(|_| has_more);
        let next = next.map(|(at, event)| EventCursor { at: *at, source: event.source.clone(), id: event.id.clone() });
        Ok(EvidencePage { events: events.into_iter().map(|(_, event)| event).collect(), next })
    })
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
