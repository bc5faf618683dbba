//! Where `now` comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// The only source of the current time.
///
/// The demo fixes its clock once and keeps it in its data directory, so that a second start shows the same numbers.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that stands still until it is told otherwise; in microseconds since 1970.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// Returns a clock that stands still at `at`, to the microsecond.
    pub fn fixed(at: Timestamp) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(at.as_microsecond())))
    }

    /// Returns the current instant, to the microsecond that Postgres keeps.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
                let now = Timestamp::now();
                Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
            }
            Self::Fixed(at) => Timestamp::from_microsecond(at.load(Ordering::Relaxed)).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    /// Moves a fixed clock to `at`; a system clock stays as it is.
    pub fn set(&self, at: Timestamp) {
        match self {
            Self::System => {}
            Self::Fixed(now) => now.store(at.as_microsecond(), Ordering::Relaxed),
        }
    }
}
