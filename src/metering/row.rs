//! The other rows that events are projected to, and how reports of the same thing merge.

use std::borrow::Cow;

use granary_types::day_of;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
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

/// A machine's day of replication: the summary with the latest cycle is the truth; without one, single cycles add up.
///
/// Adding is safe because the log takes every event once for ever, and what is corrected is counted anew from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cycles {
    pub(crate) summary: Option<CycleSum>,
    pub(crate) single: Option<CycleSum>,
}

/// Cycles added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CycleSum {
    // The order of the fields is the order by which the latest summary is chosen.
    pub(crate) last_at: Timestamp,
    pub(crate) completed: i32,
    pub(crate) failed: i32,
    pub(crate) transferred_bytes: i64,
    pub(crate) lag_seconds_max: i32,
}

impl Cycles {
    /// Returns what counts; a row has a summary or single cycles.
    pub(crate) fn counted(&self) -> CycleSum {
        let none = CycleSum { last_at: Timestamp::UNIX_EPOCH, completed: 0, failed: 0, transferred_bytes: 0, lag_seconds_max: 0 };
        self.summary.or(self.single).unwrap_or(none)
    }
}

impl Merge for Cycles {
    fn merge(&mut self, other: Self) {
        self.summary = self.summary.max(other.summary);
        self.single = match (self.single, other.single) {
            (Some(one), Some(two)) => Some(CycleSum {
                last_at: one.last_at.max(two.last_at),
                completed: one.completed.saturating_add(two.completed),
                failed: one.failed.saturating_add(two.failed),
                transferred_bytes: one.transferred_bytes.saturating_add(two.transferred_bytes),
                lag_seconds_max: one.lag_seconds_max.max(two.lag_seconds_max),
            }),
            (one, two) => one.or(two),
        };
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

/// A day of a control plane's heartbeats: the summary that heard the latest is the truth; without one, the quarters of an
/// hour in which a single one came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heartbeats {
    pub(crate) summary: Option<HeartbeatSummary>,
    pub(crate) heard: Option<Heard>,
}

/// A day's heartbeats, as the source counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HeartbeatSummary {
    // The order of the fields is the order by which the latest summary is chosen.
    pub(crate) last_at: Timestamp,
    pub(crate) received: i32,
    pub(crate) expected: i32,
}

/// The quarters of an hour of a day in which a heartbeat came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) last_at: Timestamp,
    /// One bit a quarter, from the day's beginning; a day has up to 25 hours, and 128 bits are room enough.
    pub(crate) quarters: u128,
}

impl Heard {
    /// One heartbeat, and the service day that it belongs to.
    pub(crate) fn one(at: Timestamp, zone: &TimeZone) -> (Date, Self) {
        let day = day_of(at, zone);
        let seconds = day_start(day, zone).map_or(0, |start| at.duration_since(start).as_secs().max(0));
        let quarter = u32::try_from(seconds / QUARTER_SECONDS).unwrap_or(0).min(127);
        (day, Self { last_at: at, quarters: 1 << quarter })
    }
}

const QUARTER_SECONDS: i64 = 15 * 60;

fn day_start(day: Date, zone: &TimeZone) -> Option<Timestamp> {
    Some(day.to_zoned(zone.clone()).ok()?.start_of_day().ok()?.timestamp())
}

impl Heartbeats {
    /// Returns when the control plane was heard last, in how many quarters of an hour, and of how many.
    pub(crate) fn counted(&self, day: Date, zone: &TimeZone) -> HeartbeatSummary {
        let heard_at = self.heard.map(|heard| heard.last_at);
        let last_at = self.summary.map(|summary| summary.last_at).max(heard_at).unwrap_or(Timestamp::UNIX_EPOCH);
        match self.summary {
            Some(summary) => HeartbeatSummary { last_at, ..summary },
            None => {
                let received = self.heard.map_or(0, |heard| heard.quarters.count_ones().cast_signed());
                HeartbeatSummary { last_at, received, expected: quarters_of(day, zone).unwrap_or(96) }
            }
        }
    }
}

/// Returns how many quarters of an hour a day has: 96, but where the clocks change.
fn quarters_of(day: Date, zone: &TimeZone) -> Option<i32> {
    let seconds = day_start(day.tomorrow().ok()?, zone)?.duration_since(day_start(day, zone)?).as_secs();
    i32::try_from(seconds / QUARTER_SECONDS).ok()
}

impl Merge for Heartbeats {
    fn merge(&mut self, other: Self) {
        self.summary = self.summary.max(other.summary);
        self.heard = match (self.heard, other.heard) {
            (Some(one), Some(two)) => Some(Heard { last_at: one.last_at.max(two.last_at), quarters: one.quarters | two.quarters }),
            (one, two) => one.or(two),
        };
    }
}

/// A day of use: a total that only grows, and uses that were told one by one. At least as many took place as either says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activity {
    pub(crate) amount: i64,
    pub(crate) single: i64,
}

impl Activity {
    /// A use that was told by itself.
    pub(crate) const ONE: Self = Self { amount: 1, single: 1 };

    /// What a source adds up.
    pub(crate) const fn summary(amount: i64) -> Self {
        Self { amount, single: 0 }
    }
}

impl Merge for Activity {
    /// The single uses add up as cycles do. Where they exceed the total they hide it, which is no loss: they never become fewer.
    fn merge(&mut self, other: Self) {
        self.single = self.single.saturating_add(other.single);
        self.amount = self.amount.max(other.amount).max(self.single);
    }
}

/// A chain or a copy; one that is stored outweighs a failure, then the later report is the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored<'a> {
    pub(crate) source: Cow<'a, str>,
    pub(crate) vendor_id: Cow<'a, str>,
    pub(crate) kind: Cow<'a, str>,
    pub(crate) state: Cow<'a, str>,
    pub(crate) repository_id: Uuid,
    pub(crate) machine_id: Option<Uuid>,
    pub(crate) run_id: Option<Uuid>,
    pub(crate) restore_points: i32,
    pub(crate) stored_bytes: i64,
    pub(crate) oldest_at: Option<Timestamp>,
    pub(crate) retention_days: Option<i32>,
    pub(crate) immutable_until: Option<Timestamp>,
    pub(crate) is_verified: bool,
    pub(crate) reported_at: Timestamp,
}

impl Merge for Stored<'_> {
    fn merge(&mut self, other: Self) {
        keep_greater(self, other, |row| {
            let place = (row.repository_id, row.machine_id, row.run_id);
            let size = (row.restore_points, row.stored_bytes, row.oldest_at, row.retention_days, row.immutable_until, row.is_verified);
            (row.state == "stored", row.reported_at, size, place)
        });
    }
}

/// A maintenance window, as it was announced last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window<'a> {
    pub(crate) source: Cow<'a, str>,
    pub(crate) vendor_id: Cow<'a, str>,
    pub(crate) machine_id: Option<Uuid>,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    pub(crate) reason: Cow<'a, str>,
    pub(crate) is_cancelled: bool,
    pub(crate) said_at: Timestamp,
}

impl Merge for Window<'_> {
    fn merge(&mut self, other: Self) {
        let is_greater = {
            let order = |row: &Self| (row.said_at, row.is_cancelled, row.starts_at, row.ends_at, row.machine_id);
            (order(&other), &other.reason) > (order(self), &self.reason)
        };
        if is_greater {
            *self = other;
        }
    }
}

/// A ticket: opened and answered first, closed and rated last, at the highest priority that it ever had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket<'a> {
    pub(crate) source: Cow<'a, str>,
    pub(crate) vendor_id: Cow<'a, str>,
    pub(crate) priority: Cow<'a, str>,
    pub(crate) opened_at: Timestamp,
    pub(crate) answered_at: Option<Timestamp>,
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) rated_at: Option<Timestamp>,
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
        self.closed_at = self.closed_at.max(other.closed_at);
        if (other.rated_at, other.rating) > (self.rated_at, self.rating) {
            (self.rated_at, self.rating) = (other.rated_at, other.rating);
        }
    }
}

/// The keys under which rows are merged.
pub(crate) type SkippedKey<'a> = (Uuid, Date, Cow<'a, str>);
pub(crate) type HeartbeatKey<'a> = (Cow<'a, str>, Date);
pub(crate) type ActivityKey<'a> = (Cow<'a, str>, Date, Cow<'a, str>);
