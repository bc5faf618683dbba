//! What watches the running queries: their time, and the memory of the whole process, from a thread that no query keeps busy.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::leash::{End, Leash};

/// How often it looks.
const TICK: Duration = Duration::from_millis(50);
/// How long a query that was ended for its memory may take to give it back before the next one is ended.
const GRACE: Duration = Duration::from_secs(2);

/// Every running query. Dropped, the thread that watches ends.
#[derive(Debug)]
pub(crate) struct Queries {
    shared: Arc<Shared>,
    process_bytes: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    begun: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: Vec<Weak<Leash>>,
    is_watched: bool,
    is_closed: bool,
}

impl Queries {
    pub(crate) fn new(process_bytes: u64) -> Self {
        Self { shared: Arc::default(), process_bytes }
    }

    /// Puts a query on a leash, and a watch over it.
    pub(crate) fn begin(&self, time: Duration) -> Arc<Leash> {
        let leash = Arc::new(Leash::new(time));
        let mut state = self.shared.state();
        state.running.push(Arc::downgrade(&leash));
        if !state.is_watched {
            let (shared, limit) = (Arc::clone(&self.shared), self.process_bytes);
            let started = std::thread::Builder::new().name("query-watch".to_owned()).spawn(move || watch(&shared, limit));
            match started {
                Ok(_) => state.is_watched = true,
                Err(error) => tracing::error!(%error, "nobody watches the time and memory of queries"),
            }
        }
        self.shared.begun.notify_one();
        leash
    }

    /// Counts the queries of which anything is left, a task or a stream.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.shared.state().running.iter().filter(|leash| leash.strong_count() > 0).count()
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.begun.notify_one();
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next look; none when nothing is left to watch for.
    fn next(&self) -> Option<Vec<Arc<Leash>>> {
        let mut state = self.state();
        if !state.is_closed && !state.running.is_empty() {
            state = self.begun.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        loop {
            if state.is_closed {
                return None;
            }
            state.running.retain(|leash| leash.strong_count() > 0);
            if !state.running.is_empty() {
                return Some(state.running.iter().filter_map(Weak::upgrade).collect());
            }
            state = self.begun.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn watch(shared: &Shared, limit: u64) {
    let mut victim = Victim::default();
    while let Some(running) = shared.next() {
        running.iter().for_each(|leash| leash.end_in_time());
        victim.look(&running, limit, resident_bytes().unwrap_or(0));
    }
}

/// The query that was ended for the memory of the process, and what became of it.
#[derive(Debug, Default)]
struct Victim {
    last: Option<(Weak<Leash>, Instant)>,
    /// What the process holds although the last one gave all back: allocators keep some. More must come together before the next one.
    kept_bytes: u64,
}

impl Victim {
    /// Ends the query that has reserved most when the process holds more than it may.
    fn look(&mut self, running: &[Arc<Leash>], limit: u64, resident: u64) {
        if let Some((last, since)) = &self.last {
            if last.strong_count() > 0 && since.elapsed() < GRACE {
                return;
            }
            self.kept_bytes = resident;
            self.last = None;
        }
        if resident <= limit {
            self.kept_bytes = 0;
        }
        if resident <= limit.max(self.kept_bytes + self.kept_bytes / 16) {
            return;
        }
        let largest = running.iter().filter(|leash| leash.ended().is_none()).max_by_key(|leash| leash.reserved_bytes());
        if let Some(largest) = largest {
            tracing::warn!(
                resident_bytes = resident,
                limit_bytes = limit,
                reserved_bytes = largest.reserved_bytes(),
                "a query is ended: the process holds too much memory"
            );
            largest.end(End::Process(limit));
            self.last = Some((Arc::downgrade(largest), Instant::now()));
        }
    }
}

/// Returns what the process holds in memory; none where the system does not say.
pub(crate) fn resident_bytes() -> Option<u64> {
    kibibytes("/proc/self/status", "VmRSS:")
}

/// Returns the memory of the machine, or what its container may use of it; none where the system does not say.
pub(crate) fn machine_bytes() -> Option<u64> {
    let machine = kibibytes("/proc/meminfo", "MemTotal:")?;
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|limit| limit.trim().parse().ok());
    Some(container.map_or(machine, |container: u64| container.min(machine)))
}

fn kibibytes(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(reserved: usize) -> Arc<Leash> {
        let leash = Leash::new(Duration::from_secs(60));
        leash.set_reserved_bytes(reserved);
        Arc::new(leash)
    }

    #[test]
    fn the_largest_query_goes_when_the_process_is_too_large_and_the_next_only_when_it_was_not_enough() {
        let mut victim = Victim::default();
        let mut running = vec![query(10), query(30), query(20)];
        victim.look(&running, 100, 100);
        assert!(running.iter().all(|leash| leash.ended().is_none()), "at the limit");
        victim.look(&running, 100, 101);
        assert_eq!(running.iter().map(|leash| leash.ended()).collect::<Vec<_>>(), [None, Some(End::Process(100)), None]);
        victim.look(&running, 100, 150);
        assert_eq!(running[2].ended(), None, "the first has not given back yet");
        running.remove(1);
        victim.look(&running, 100, 150);
        assert!(running.iter().all(|leash| leash.ended().is_none()), "the allocator keeps what was freed");
        victim.look(&running, 100, 160);
        assert_eq!(running.iter().map(|leash| leash.ended()).collect::<Vec<_>>(), [None, Some(End::Process(100))]);
    }

    #[test]
    fn the_process_and_the_machine_have_memory() {
        let (resident, machine) = (resident_bytes().unwrap(), machine_bytes().unwrap());
        assert!(resident > 1 << 20 && resident < machine, "{resident} of {machine}");
    }
}
