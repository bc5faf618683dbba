//! What an event contributes to: the row or rows that are counted anew when it is corrected.

use granary_types::{CustomerId, day_of};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::fact::{Fact, MachineKey};
use crate::identity;

/// A thing that events tell of, by the names that they give it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Machine {
        source_system: String,
        vendor_id: String,
    },
    Run {
        source: String,
        name: String,
    },
    Skipped {
        machine: Uuid,
        vendor_id: String,
        day: Date,
        reason: String,
    },
    Restore {
        source: String,
        name: String,
    },
    Cycles {
        machine: Uuid,
        vendor_id: String,
        day: Date,
    },
    /// With all of its samples.
    Repository {
        vendor_id: String,
    },
    Stored {
        source: String,
        kind: &'static str,
        name: String,
    },
    Heartbeats {
        source: String,
        day: Date,
    },
    Ticket {
        source: String,
        name: String,
    },
    Activity {
        source: String,
        day: Date,
        kind: String,
    },
    Window {
        source: String,
        name: String,
    },
}

/// Whose things they are, and in which zone its service days lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'z> {
    pub(crate) customer: CustomerId,
    pub(crate) zone: &'z TimeZone,
}

impl Thing {
    /// Returns what a fact contributes to; none for a correction.
    pub(crate) fn of(place: Place<'_>, source: &str, at: Timestamp, fact: &Fact<'_>) -> Option<Self> {
        let machine = |key: &MachineKey<'_>| (identity::machine_id(place.customer, *key), key.vendor_id.to_owned());
        let day = |at: Timestamp| day_of(at, place.zone);
        let source = source.to_owned();
        Some(match fact {
            Fact::Machine(key, _) | Fact::Replaced { old: key, .. } => {
                Self::Machine { source_system: key.source_system.to_owned(), vendor_id: key.vendor_id.to_owned() }
            }
            Fact::Attempt(fact) => Self::Run { source, name: fact.run.to_owned() },
            Fact::Skipped { machine: key, day, reason, .. } => {
                let (machine, vendor_id) = machine(key);
                Self::Skipped { machine, vendor_id, day: *day, reason: (*reason).to_owned() }
            }
            Fact::Restore(fact) => Self::Restore { source, name: fact.restore.to_owned() },
            Fact::Replication(fact) => {
                let (machine, vendor_id) = machine(&fact.machine);
                Self::Cycles { machine, vendor_id, day: fact.day }
            }
            Fact::Cycle(fact) => {
                let (machine, vendor_id) = machine(&fact.machine);
                Self::Cycles { machine, vendor_id, day: day(fact.ended_at) }
            }
            Fact::Storage(fact) => Self::Repository { vendor_id: fact.vendor_id.to_owned() },
            Fact::Stored(fact) => Self::Stored { source, kind: fact.kind, name: fact.name.to_owned() },
            Fact::Heartbeats { day, .. } => Self::Heartbeats { source, day: *day },
            Fact::Heartbeat => Self::Heartbeats { source, day: day(at) },
            Fact::Ticket(fact) => Self::Ticket { source, name: fact.ticket.to_owned() },
            Fact::Activity { day, kind, .. } => Self::Activity { source, day: *day, kind: (*kind).to_owned() },
            Fact::Used { kind } => Self::Activity { source, day: day(at), kind: (*kind).to_owned() },
            Fact::Maintenance(fact) => Self::Window { source, name: fact.window.to_owned() },
            Fact::Voided { .. } | Fact::Amended(_) => return None,
        })
    }

    /// Returns how events about it are found in the log: by the first word of their type, and a name in their data. Of what has no
    /// name all events of the type are looked at. A machine is derived from an index of its own.
    pub(crate) fn found_by(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Machine { .. } => vec![],
            Self::Run { name, .. } => vec![("backup", name)],
            Self::Skipped { vendor_id, .. } => vec![("backup", vendor_id)],
            Self::Restore { name, .. } => vec![("restore", name)],
            Self::Cycles { vendor_id, .. } => vec![("replication", vendor_id)],
            Self::Repository { vendor_id } => vec![("repository", vendor_id)],
            Self::Stored { kind, name, .. } => vec![(kind, name)],
            Self::Heartbeats { .. } => vec![("heartbeat", "")],
            Self::Ticket { name, .. } => vec![("ticket", name)],
            Self::Activity { .. } => vec![("activity", ""), ("portal", "")],
            Self::Window { name, .. } => vec![("maintenance", name)],
        }
    }
}
