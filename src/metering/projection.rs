//! From facts to rows: what a batch says, merged first in memory, then with what is stored.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use granary_types::CustomerId;
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::event::Event;
use crate::fact::{AttemptFact, Fact, MachineKey, ReplicationFact, RestoreFact, StorageFact, TicketFact};
use crate::identity;
use crate::merge::{Merge, merge_into};
use crate::row::{Activity, ActivityKey, Cycles, HeartbeatKey, Heartbeats, Repository, Restore, Sample, Skipped, SkippedKey, Ticket};
use crate::run::{Attempt, Disk};

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
    pub(crate) heartbeats: BTreeMap<HeartbeatKey<'a>, Heartbeats>,
    pub(crate) tickets: BTreeMap<Uuid, Ticket<'a>>,
    pub(crate) activity: BTreeMap<ActivityKey<'a>, Activity>,
}

impl<'a> Projection<'a> {
    /// Starts an empty one for a customer.
    pub(crate) fn new(customer: CustomerId) -> Self {
        Self {
            customer,
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
            heartbeats: BTreeMap::new(),
            tickets: BTreeMap::new(),
            activity: BTreeMap::new(),
        }
    }

    /// Takes in an event.
    pub(crate) fn add(&mut self, event: &Event<'a>) {
        let at = event.occurred_at;
        match &event.fact {
            Fact::Machine(machine, _) => {
                self.machine(*machine, at);
                self.told.insert(*machine);
            }
            Fact::Replaced { old, new } => {
                self.machine(*old, at);
                self.machine(*new, at);
                self.told.insert(*old);
            }
            Fact::Attempt(fact) => self.add_attempt(event.source, fact),
            Fact::Skipped { machine, day, reason, is_excused } => {
                let machine = self.machine(*machine, at);
                merge_into(&mut self.skipped, (machine, *day, Cow::Borrowed(*reason)), Skipped { is_excused: *is_excused });
            }
            Fact::Restore(fact) => self.add_restore(event.source, fact),
            Fact::Replication(fact) => self.add_cycles(fact),
            Fact::Storage(fact) => self.add_sample(fact),
            Fact::Heartbeat { day, received, expected, last_at } => {
                let row = Heartbeats { last_at: *last_at, received: *received, expected: *expected };
                merge_into(&mut self.heartbeats, (Cow::Borrowed(event.source), *day), row);
            }
            Fact::Ticket(fact) => self.add_ticket(event.source, fact),
            Fact::Activity { day, kind, amount } => {
                let key = (Cow::Borrowed(event.source), *day, Cow::Borrowed(*kind));
                merge_into(&mut self.activity, key, Activity { amount: *amount });
            }
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
        };
        merge_into(&mut self.attempts, (run, fact.number), attempt);
        for disk in &fact.disks {
            let row = Disk {
                attempt: fact.number,
                state: Cow::Borrowed(disk.state),
                size_bytes: disk.size_bytes,
                transferred_bytes: disk.transferred_bytes,
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
        let row = Cycles {
            last_cycle_at: fact.last_cycle_at,
            cycles_completed: fact.cycles_completed,
            cycles_failed: fact.cycles_failed,
            transferred_bytes: fact.transferred_bytes,
            lag_seconds_max: fact.lag_seconds_max,
        };
        merge_into(&mut self.cycles, (machine, fact.day), row);
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
            rating: fact.rating,
        };
        merge_into(&mut self.tickets, identity::ticket_id(self.customer, source, fact.ticket), row);
    }
}
