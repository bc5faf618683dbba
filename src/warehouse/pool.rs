//! The memory of one query: a part of what all queries share, and not more than its own.

use std::fmt;
use std::sync::Arc;

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

use crate::leash::{End, Leash};

/// What the refusal of a query's own pool begins with, unlike that of the pool of all.
pub(crate) const OWN: &str = "this query's memory";

/// A fair pool of its own within the pool of all.
#[derive(Debug)]
pub(crate) struct QueryPool {
    own: FairSpillPool,
    limit: usize,
    shared: Arc<dyn MemoryPool>,
    leash: Arc<Leash>,
}

impl QueryPool {
    pub(crate) fn new(limit: usize, shared: Arc<dyn MemoryPool>, leash: Arc<Leash>) -> Self {
        Self { own: FairSpillPool::new(limit), limit, shared, leash }
    }

    fn note(&self) {
        let reserved = self.own.reserved();
        self.leash.set_reserved_bytes(reserved);
        // Some operators take first and do not ask; whoever takes half as much again does not come back.
        if reserved > self.limit.saturating_add(self.limit / 2) {
            self.leash.end(End::Memory(self.limit as u64));
        }
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query({}) within {}", self.own, self.shared)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
        self.shared.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.shared.grow(reservation, additional);
        self.note();
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.shared.shrink(reservation, shrink);
        self.note();
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional).map_err(|error| resources_datafusion_err!("{OWN}: {}", error.strip_backtrace()))?;
        if let Err(error) = self.shared.try_grow(reservation, additional) {
            self.own.shrink(reservation, additional);
            return Err(error);
        }
        self.note();
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}
