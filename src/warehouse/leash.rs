//! The leash of a running query: whoever ends it, every operator notices at its next batch.
//!
//! An operator that reads millions of rows before it gives one never sees that its stream was dropped or that its time is over. So each
//! asks before it goes on, also within one step where a function that is known to take long asks for it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use datafusion::error::DataFusionError;

use crate::WarehouseError;
use crate::budget::bytes;

/// Why a query ended before it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    #[error("it took longer than {} s", .0.as_secs_f32())]
    Time(Duration),
    #[error("it held more than {}", bytes(*.0))]
    Memory(u64),
    #[error("the server held more than {}, and this query most of it", bytes(*.0))]
    Process(u64),
    #[error("nobody waits for the answer any more")]
    Gone,
}

impl From<End> for DataFusionError {
    fn from(end: End) -> Self {
        Self::External(Box::new(end))
    }
}

impl From<End> for WarehouseError {
    fn from(end: End) -> Self {
        match end {
            End::Time(limit) => Self::Budget { budget: "time", limit: format!("{} s", limit.as_secs_f32()) },
            End::Memory(limit) => Self::Budget { budget: "memory", limit: bytes(limit) },
            End::Process(limit) => Self::Budget { budget: "server memory", limit: bytes(limit) },
            End::Gone => Self::Engine(end.into()),
        }
    }
}

/// What holds one running query.
#[derive(Debug)]
pub(crate) struct Leash {
    time: Duration,
    clock: Mutex<Clock>,
    reserved_bytes: AtomicUsize,
    ended: OnceLock<End>,
}

/// Counts while the query works, not while its reader does.
#[derive(Debug)]
struct Clock {
    spent: Duration,
    since: Option<Instant>,
}

impl Leash {
    pub(crate) fn new(time: Duration) -> Self {
        let clock = Mutex::new(Clock { spent: Duration::ZERO, since: Some(Instant::now()) });
        Self { time, clock, reserved_bytes: AtomicUsize::new(0), ended: OnceLock::new() }
    }

    /// Ends the query; the first reason stays.
    pub(crate) fn end(&self, reason: End) {
        let _ = self.ended.set(reason);
    }

    pub(crate) fn ended(&self) -> Option<End> {
        self.ended.get().copied()
    }

    /// Fails once the query is ended.
    pub(crate) fn check(&self) -> Result<(), DataFusionError> {
        self.ended().map_or(Ok(()), |end| Err(end.into()))
    }

    /// Fails once the query that this thread works for is ended.
    pub(crate) fn check_current() -> Result<(), DataFusionError> {
        CURRENT.with_borrow(|current| current.as_ref().map_or(Ok(()), |leash| leash.check()))
    }

    /// Does some work of the query, in which [`Leash::check_current`] knows for whom.
    pub(crate) fn work<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(Some(Arc::clone(self)));
        let _restore = Restore(before);
        work()
    }

    pub(crate) fn start_clock(&self) {
        let mut clock = self.clock();
        if clock.since.is_none() {
            clock.since = Some(Instant::now());
        }
    }

    pub(crate) fn stop_clock(&self) {
        let mut clock = self.clock();
        if let Some(since) = clock.since.take() {
            clock.spent += since.elapsed();
        }
    }

    /// Ends the query when its time is over.
    pub(crate) fn end_in_time(&self) {
        let clock = self.clock();
        if clock.spent + clock.since.map_or(Duration::ZERO, |since| since.elapsed()) > self.time {
            self.end(End::Time(self.time));
        }
    }

    pub(crate) fn reserved_bytes(&self) -> usize {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_reserved_bytes(&self, bytes: usize) {
        self.reserved_bytes.store(bytes, Ordering::Relaxed);
    }

    fn clock(&self) -> std::sync::MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Leash>>> = const { RefCell::new(None) };
}

/// Puts back for whom the thread worked before, also after a panic.
struct Restore(Option<Arc<Leash>>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}
