//! What one query, and all queries together, may use.

use std::time::Duration;

use granary_foundation::config::QueryConfig;

use crate::watchdog;

/// The limits of a warehouse; whoever exceeds one is told its name.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Memory of all running queries together, shared fairly; what does not fit spills to disk.
    pub memory_bytes: u64,
    /// Memory of one query within that.
    pub query_bytes: u64,
    /// What the whole process may hold before the largest query is ended: not all that a query makes is counted.
    pub process_bytes: u64,
    /// Temporary files of all running queries together.
    pub spill_bytes: u64,
    /// Wall time of one query.
    pub time: Duration,
    /// Rows that one query may return at once.
    pub rows: usize,
    /// Rows that one answer may have that is read as it comes.
    pub streamed_rows: usize,
    /// Questions of one MSP that are answered at the same time as streams.
    pub at_once: usize,
    /// Files that one query may open.
    pub files: usize,
    /// Memory that all sessions together keep opened footers in.
    pub footer_bytes: usize,
    /// Memory that one session keeps answers in.
    pub cache_bytes: usize,
    /// Sessions that stay open, one per grant and version of the lake.
    pub sessions: usize,
    /// Threads that one query may keep busy.
    pub threads: usize,
    /// How the engine reads.
    pub tuning: Tuning,
}

/// How the engine reads files: for measuring which way is fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Rows of one batch.
    pub batch_rows: usize,
    /// Whether texts are read as views of what was decoded instead of copies of it.
    pub has_text_views: bool,
    /// Whether the columns of a filter are decoded first, and the others only where it passes.
    pub filters_first: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { batch_rows: 8_192, has_text_views: false, filters_first: false }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            query_bytes: 384 << 20,
            process_bytes: watchdog::machine_bytes().map_or(u64::MAX, |machine| machine / 4 * 3),
            spill_bytes: 2 << 30,
            time: Duration::from_secs(60),
            rows: 1_000_000,
            streamed_rows: 100_000_000,
            at_once: 2,
            files: 20_000,
            footer_bytes: 64 << 20,
            cache_bytes: 4 << 20,
            sessions: 64,
            threads: std::thread::available_parallelism().map_or(2, usize::from).min(16),
            tuning: Tuning::default(),
        }
    }
}

impl Budget {
    /// Returns what one query may hold.
    pub(crate) fn bytes_of_one(&self) -> u64 {
        self.query_bytes.min(self.memory_bytes)
    }
}

impl From<&QueryConfig> for Budget {
    fn from(config: &QueryConfig) -> Self {
        Self {
            memory_bytes: config.memory_bytes as u64,
            query_bytes: config.memory_bytes as u64 / 4 * 3,
            time: Duration::from_secs(config.timeout_seconds),
            rows: config.max_rows,
            files: config.max_files,
            ..Self::default()
        }
    }
}

/// Writes a number of bytes in the largest binary unit that it fills.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..=0xF_FFFF => format!("{} KiB", count >> 10),
        0x10_0000..=0x3FFF_FFFF => format!("{} MiB", count >> 20),
        _ => format!("{} GiB", count >> 30),
    }
}
