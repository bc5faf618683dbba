//! The queue that workers take tenants from.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Behind;

/// A tenant in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) tenant: Behind,
    /// How often it was tried already.
    pub(super) attempts: u32,
    /// How often somebody else was at work on it.
    pub(super) encounters: u32,
    not_before: Instant,
}

/// What a worker finds.
#[derive(Debug)]
pub(super) enum Next {
    Tenant(Waiting),
    /// All that are left were tried a moment ago.
    Later(Duration),
    Nothing,
}

/// Tenants that wait; any worker takes the next.
#[derive(Debug)]
pub(super) struct Queue(Mutex<VecDeque<Waiting>>);

impl Queue {
    pub(super) fn new(tenants: Vec<Behind>) -> Self {
        let now = Instant::now();
        Self(Mutex::new(tenants.into_iter().map(|tenant| Waiting { tenant, attempts: 0, encounters: 0, not_before: now }).collect()))
    }

    /// Takes the first tenant whose time has come.
    pub(super) fn next(&self) -> Next {
        let mut waiting = self.lock();
        let now = Instant::now();
        let ready = waiting.iter().position(|entry| entry.not_before <= now);
        if let Some(tenant) = ready.and_then(|index| waiting.remove(index)) {
            return Next::Tenant(tenant);
        }
        waiting.iter().map(|entry| entry.not_before).min().map_or(Next::Nothing, |soonest| Next::Later(soonest - now))
    }

    /// Puts a tenant back to the end; it rests first.
    pub(super) fn put_back(&self, mut entry: Waiting, rest: Duration) {
        entry.not_before = Instant::now() + rest;
        self.lock().push_back(entry);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
