//! The other rows that events are projected to, and how reports of the same thing merge.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::fact::PRIORITIES;
use crate::merge::{Merge, keep_greater};

/// A run that did not take place: excused when anyone says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) is_excused: bool,
}

impl Merge for Skipped {
    fn merge(&mut self, other: Self) {
        self.is_excused |= other.is_excused;
    }
}

/// A restore; the later end is the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restore<'a> {
    pub(crate) source: Cow<'a, str>,
    pub(crate) vendor_id: Cow<'a, str>,
    pub(crate) machine_id: Option<Uuid>,
    pub(crate) kind: Cow<'a, str>,
    pub(crate) state: Cow<'a, str>,
    pub(crate) requested_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) restored_bytes: i64,
}

impl Merge for Restore<'_> {
    fn merge(&mut self, other: Self) {
        let is_greater = {
            let order = |row: &Self| (row.state == "completed", row.ended_at, row.requested_at, row.restored_bytes, row.machine_id);
            (order(&other), &other.kind) > (order(self), &self.kind)
        };
        if is_greater {
            *self = other;
        }
    }
}

/// A machine's day of replication; the summary with the latest cycle is the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cycles {
    pub(crate) last_cycle_at: Timestamp,
    pub(crate) cycles_completed: i32,
    pub(crate) cycles_failed: i32,
    pub(crate) transferred_bytes: i64,
    pub(crate) lag_seconds_max: i32,
}

impl Merge for Cycles {
    fn merge(&mut self, other: Self) {
        keep_greater(self, other, |row| {
            (row.last_cycle_at, row.cycles_completed, row.cycles_failed, row.transferred_bytes, row.lag_seconds_max)
        });
    }
}

/// A repository as its latest sample describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Repository<'a> {
    // The order of the fields is the order by which the latest description is chosen.
    pub(crate) updated_at: Timestamp,
    pub(crate) vendor_id: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    pub(crate) kind: Cow<'a, str>,
    pub(crate) capacity_bytes: Option<i64>,
    pub(crate) is_immutable: bool,
    pub(crate) retention_days: Option<i32>,
    pub(crate) is_copy: bool,
}

impl Merge for Repository<'_> {
    fn merge(&mut self, other: Self) {
        if other > *self {
            *self = other;
        }
    }
}

/// How full a repository was at an instant; the larger of two contradicting samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) used_bytes: i64,
}

impl Merge for Sample {
    fn merge(&mut self, other: Self) {
        self.used_bytes = self.used_bytes.max(other.used_bytes);
    }
}

/// A day of a control plane's heartbeats; the summary that heard the latest is the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heartbeats {
    pub(crate) last_at: Timestamp,
    pub(crate) received: i32,
    pub(crate) expected: i32,
}

impl Merge for Heartbeats {
    fn merge(&mut self, other: Self) {
        keep_greater(self, other, |row| (row.last_at, row.received, row.expected));
    }
}

/// A day of use, a total that only grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activity {
    pub(crate) amount: i64,
}

impl Merge for Activity {
    fn merge(&mut self, other: Self) {
        self.amount = self.amount.max(other.amount);
    }
}

/// A ticket: opened and answered first, closed last, at the highest priority that it ever had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket<'a> {
    pub(crate) source: Cow<'a, str>,
    pub(crate) vendor_id: Cow<'a, str>,
    pub(crate) priority: Cow<'a, str>,
    pub(crate) opened_at: Timestamp,
    pub(crate) answered_at: Option<Timestamp>,
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) rating: Option<i32>,
}

impl Merge for Ticket<'_> {
    fn merge(&mut self, other: Self) {
        let rank = |priority: &str| PRIORITIES.iter().position(|known| *known == priority);
        if rank(&other.priority) > rank(&self.priority) {
            self.priority = other.priority;
        }
        self.opened_at = self.opened_at.min(other.opened_at);
        self.answered_at = match (self.answered_at, other.answered_at) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        if (other.closed_at, other.rating) > (self.closed_at, self.rating) {
            (self.closed_at, self.rating) = (other.closed_at, other.rating);
        }
    }
}

/// The keys under which rows are merged.
pub(crate) type SkippedKey<'a> = (Uuid, Date, Cow<'a, str>);
pub(crate) type HeartbeatKey<'a> = (Cow<'a, str>, Date);
pub(crate) type ActivityKey<'a> = (Cow<'a, str>, Date, Cow<'a, str>);
