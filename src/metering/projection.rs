//! From facts to rows: what a batch says, merged first in memory, then with what is stored.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use granary_types::{CustomerId, day_of};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::fact::{
    AttemptFact, CycleFact, Fact, MachineKey, ReplicationFact, RestoreFact, StorageFact, StoredFact, TicketFact, WindowFact,
};
use crate::identity;
use crate::merge::{Merge, merge_into};
use crate::row::{
    Activity, ActivityKey, CycleSum, Cycles, Heard, HeartbeatKey, HeartbeatSummary, Heartbeats, Repository, Restore, Sample, Skipped,
    SkippedKey, Stored, Ticket, Window,
};
use crate::run::{Attempt, Disk, Gauge};

/// A run as its events name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunName<'a> {
    pub(crate) source: &'a str,
    pub(crate) vendor_id: &'a str,
    pub(crate) machine_id: Uuid,
}

impl Merge for RunName<'_> {
    /// A run has one machine; should a source name two, the smaller id is kept.
    fn merge(&mut self, other: Self) {
        self.machine_id = self.machine_id.min(other.machine_id);
    }
}

/// The rows of one batch.
#[derive(Debug)]
pub(crate) struct Projection<'a> {
    customer: CustomerId,
    /// That of the customer's service days.
    zone: TimeZone,
    machine_ids: HashMap<MachineKey<'a>, Uuid>,
    /// The earliest mention of each machine.
    pub(crate) seen: BTreeMap<MachineKey<'a>, Timestamp>,
    /// Machines of which something was said themselves.
    pub(crate) told: BTreeSet<MachineKey<'a>>,
    pub(crate) runs: BTreeMap<Uuid, RunName<'a>>,
    pub(crate) attempts: BTreeMap<(Uuid, i32), Attempt<'a>>,
    pub(crate) disks: BTreeMap<(Uuid, i32), Disk<'a>>,
    pub(crate) skipped: BTreeMap<SkippedKey<'a>, Skipped>,
    pub(crate) restores: BTreeMap<Uuid, Restore<'a>>,
    pub(crate) cycles: BTreeMap<(Uuid, Date), Cycles>,
    pub(crate) repositories: BTreeMap<Uuid, Repository<'a>>,
    pub(crate) samples: BTreeMap<(Uuid, Timestamp), Sample>,
    pub(crate) stored: BTreeMap<Uuid, Stored<'a>>,
    pub(crate) heartbeats: BTreeMap<HeartbeatKey<'a>, Heartbeats>,
    pub(crate) tickets: BTreeMap<Uuid, Ticket<'a>>,
    pub(crate) activity: BTreeMap<ActivityKey<'a>, Activity>,
    pub(crate) windows: BTreeMap<Uuid, Window<'a>>,
}

impl<'a> Projection<'a> {
    /// Starts an empty one for a customer.
    pub(crate) fn new(customer: CustomerId, zone: TimeZone) -> Self {
        Self {
            customer,
            zone,
            machine_ids: HashMap::new(),
            seen: BTreeMap::new(),
            told: BTreeSet::new(),
            runs: BTreeMap::new(),
            attempts: BTreeMap::new(),
            disks: BTreeMap::new(),
            skipped: BTreeMap::new(),
            restores: BTreeMap::new(),
            cycles: BTreeMap::new(),
            repositories: BTreeMap::new(),
            samples: BTreeMap::new(),
            stored: BTreeMap::new(),
            heartbeats: BTreeMap::new(),
            tickets: BTreeMap::new(),
            activity: BTreeMap::new(),
            windows: BTreeMap::new(),
        }
    }

    /// Takes in what an event says that happened at its own time.
    pub(crate) fn add(&mut self, source: &'a str, at: Timestamp, fact: &Fact<'a>) {
        match fact {
            Fact::Machine(machine, _) => {
                self.machine(*machine, at);
                self.told.insert(*machine);
            }
            Fact::Replaced { old, new } => {
                self.machine(*old, at);
                self.machine(*new, at);
                self.told.insert(*old);
            }
            Fact::Attempt(fact) => self.add_attempt(source, fact),
            Fact::Skipped { machine, day, reason, is_excused } => {
                let machine = self.machine(*machine, at);
                merge_into(&mut self.skipped, (machine, *day, Cow::Borrowed(*reason)), Skipped { is_excused: *is_excused });
            }
            Fact::Restore(fact) => self.add_restore(source, fact),
            Fact::Replication(fact) => self.add_cycles(fact),
            Fact::Cycle(fact) => self.add_cycle(fact),
            Fact::Storage(fact) => self.add_sample(fact),
            Fact::Stored(fact) => self.add_stored(source, fact),
            Fact::Heartbeats { day, received, expected, last_at } => {
                let summary = HeartbeatSummary { last_at: *last_at, received: *received, expected: *expected };
                let row = Heartbeats { summary: Some(summary), heard: None };
                merge_into(&mut self.heartbeats, (Cow::Borrowed(source), *day), row);
            }
            Fact::Heartbeat => {
                let (day, heard) = Heard::one(at, &self.zone);
                merge_into(&mut self.heartbeats, (Cow::Borrowed(source), day), Heartbeats { summary: None, heard: Some(heard) });
            }
            Fact::Ticket(fact) => self.add_ticket(source, fact),
            Fact::Activity { day, kind, amount } => {
                let key = (Cow::Borrowed(source), *day, Cow::Borrowed(*kind));
                merge_into(&mut self.activity, key, Activity::summary(*amount));
            }
            Fact::Used { kind } => {
                let key = (Cow::Borrowed(source), day_of(at, &self.zone), Cow::Borrowed(*kind));
                merge_into(&mut self.activity, key, Activity::ONE);
            }
            Fact::Maintenance(fact) => self.add_window(source, at, fact),
            Fact::Voided { .. } | Fact::Amended(_) => {}
        }
    }

    /// Notes the machines that an event mentions, even one that does not count: that a machine was named stays, nothing else.
    pub(crate) fn mention(&mut self, at: Timestamp, fact: &Fact<'a>) {
        match fact {
            Fact::Machine(machine, _) | Fact::Skipped { machine, .. } => _ = self.machine(*machine, at),
            Fact::Replaced { old, new } => {
                self.machine(*old, at);
                self.machine(*new, at);
            }
            Fact::Attempt(fact) => _ = self.machine(fact.machine, fact.started_at),
            Fact::Restore(fact) => _ = fact.machine.map(|machine| self.machine(machine, fact.requested_at)),
            Fact::Replication(fact) => _ = self.machine(fact.machine, fact.last_cycle_at),
            Fact::Cycle(fact) => _ = self.machine(fact.machine, fact.ended_at),
            Fact::Stored(fact) => _ = fact.machine.map(|machine| self.machine(machine, fact.reported_at)),
            Fact::Maintenance(fact) => _ = fact.machine.map(|machine| self.machine(machine, at)),
            Fact::Amended(amendment) => self.mention(amendment.occurred_at, &amendment.fact),
            Fact::Storage(_)
            | Fact::Heartbeats { .. }
            | Fact::Heartbeat
            | Fact::Ticket(_)
            | Fact::Activity { .. }
            | Fact::Used { .. }
            | Fact::Voided { .. } => {}
        }
    }

    /// Returns the id of a machine, and notes that it was mentioned.
    fn machine(&mut self, key: MachineKey<'a>, at: Timestamp) -> Uuid {
        match self.seen.entry(key) {
            Entry::Vacant(entry) => _ = entry.insert(at),
            Entry::Occupied(mut entry) => *entry.get_mut() = at.min(*entry.get()),
        }
        self.machine_id(key)
    }

    /// Returns the id of a machine.
    pub(crate) fn machine_id(&mut self, key: MachineKey<'a>) -> Uuid {
        let customer = self.customer;
        *self.machine_ids.entry(key).or_insert_with(|| identity::machine_id(customer, key))
    }

    fn add_attempt(&mut self, source: &'a str, fact: &AttemptFact<'a>) {
        let machine_id = self.machine(fact.machine, fact.started_at);
        let run = identity::run_id(self.customer, source, fact.run);
        merge_into(&mut self.runs, run, RunName { source, vendor_id: fact.run, machine_id });
        let attempt = Attempt {
            kind: Cow::Borrowed(fact.kind),
            state: fact.state,
            started_at: fact.started_at,
            ended_at: fact.ended_at,
            error: fact.error.map(Cow::Borrowed),
            corrected_at: fact.corrected_at,
            gauge: Gauge {
                scheduled_at: fact.scheduled_at,
                progressed_at: fact.progressed_at,
                phase: fact.phase.map(Cow::Borrowed),
                bytes: fact.progress_bytes,
            },
        };
        merge_into(&mut self.attempts, (run, fact.number), attempt);
        for disk in &fact.disks {
            let row = Disk {
                attempt: fact.number,
                state: Cow::Borrowed(disk.state),
                size_bytes: disk.size_bytes,
                transferred_bytes: disk.transferred_bytes,
                corrected_at: fact.corrected_at,
            };
            merge_into(&mut self.disks, (run, disk.index), row);
        }
    }

    fn add_restore(&mut self, source: &'a str, fact: &RestoreFact<'a>) {
        let row = Restore {
            source: Cow::Borrowed(source),
            vendor_id: Cow::Borrowed(fact.restore),
            machine_id: fact.machine.map(|machine| self.machine(machine, fact.requested_at)),
            kind: Cow::Borrowed(fact.kind),
            state: Cow::Borrowed(fact.state),
            requested_at: fact.requested_at,
            ended_at: fact.ended_at,
            restored_bytes: fact.restored_bytes,
        };
        merge_into(&mut self.restores, identity::restore_id(self.customer, source, fact.restore), row);
    }

    fn add_cycles(&mut self, fact: &ReplicationFact<'a>) {
        let machine = self.machine(fact.machine, fact.last_cycle_at);
        let summary = CycleSum {
            last_at: fact.last_cycle_at,
            completed: fact.cycles_completed,
            failed: fact.cycles_failed,
            transferred_bytes: fact.transferred_bytes,
            lag_seconds_max: fact.lag_seconds_max,
        };
        merge_into(&mut self.cycles, (machine, fact.day), Cycles { summary: Some(summary), single: None });
    }

    fn add_cycle(&mut self, fact: &CycleFact<'a>) {
        let machine = self.machine(fact.machine, fact.ended_at);
        let single = CycleSum {
            last_at: fact.ended_at,
            completed: i32::from(fact.is_completed),
            failed: i32::from(!fact.is_completed),
            transferred_bytes: fact.transferred_bytes,
            lag_seconds_max: fact.lag_seconds,
        };
        let day = day_of(fact.ended_at, &self.zone);
        merge_into(&mut self.cycles, (machine, day), Cycles { summary: None, single: Some(single) });
    }

    fn add_stored(&mut self, source: &'a str, fact: &StoredFact<'a>) {
        let row = Stored {
            source: Cow::Borrowed(source),
            vendor_id: Cow::Borrowed(fact.name),
            kind: Cow::Borrowed(fact.kind),
            state: Cow::Borrowed(fact.state),
            repository_id: identity::repository_id(self.customer, fact.repository),
            machine_id: fact.machine.map(|machine| self.machine(machine, fact.reported_at)),
            run_id: fact.run.map(|run| identity::run_id(self.customer, source, run)),
            restore_points: fact.restore_points,
            stored_bytes: fact.stored_bytes,
            oldest_at: fact.oldest_at,
            retention_days: fact.retention_days,
            immutable_until: fact.immutable_until,
            is_verified: fact.is_verified,
            reported_at: fact.reported_at,
        };
        merge_into(&mut self.stored, identity::stored_id(self.customer, fact.kind, source, fact.name), row);
    }

    fn add_window(&mut self, source: &'a str, at: Timestamp, fact: &WindowFact<'a>) {
        let row = Window {
            source: Cow::Borrowed(source),
            vendor_id: Cow::Borrowed(fact.window),
            machine_id: fact.machine.map(|machine| self.machine(machine, at)),
            starts_at: fact.starts_at,
            ends_at: fact.ends_at,
            reason: Cow::Borrowed(fact.reason),
            is_cancelled: fact.is_cancelled,
            said_at: at,
        };
        merge_into(&mut self.windows, identity::window_id(self.customer, source, fact.window), row);
    }

    fn add_sample(&mut self, fact: &StorageFact<'a>) {
        let id = identity::repository_id(self.customer, fact.vendor_id);
        let row = Repository {
            updated_at: fact.sampled_at,
            vendor_id: Cow::Borrowed(fact.vendor_id),
            name: Cow::Borrowed(fact.name),
            kind: Cow::Borrowed(fact.kind),
            capacity_bytes: fact.capacity_bytes,
            is_immutable: fact.is_immutable,
            retention_days: fact.retention_days,
            is_copy: fact.is_copy,
        };
        merge_into(&mut self.repositories, id, row);
        merge_into(&mut self.samples, (id, fact.sampled_at), Sample { used_bytes: fact.used_bytes });
    }

    fn add_ticket(&mut self, source: &'a str, fact: &TicketFact<'a>) {
        let row = Ticket {
            source: Cow::Borrowed(source),
            vendor_id: Cow::Borrowed(fact.ticket),
            priority: Cow::Borrowed(fact.priority),
            opened_at: fact.opened_at,
            answered_at: fact.answered_at,
            closed_at: fact.closed_at,
            rated_at: fact.rated_at,
            rating: fact.rating,
        };
        merge_into(&mut self.tickets, identity::ticket_id(self.customer, source, fact.ticket), row);
    }
}
