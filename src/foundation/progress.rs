//! How long work tells how far it is; the root decides whether that becomes a bar, a line or a page.

use std::fmt::Debug;
use std::sync::Arc;

/// Receives the progress of long work. Phases follow one another; `advance` may come from many tasks.
pub trait Progress: Debug + Send + Sync {
    /// Starts a phase of `total` steps; zero when nobody knows how many.
    fn begin(&self, phase: &str, total: u64);
    /// Reports `steps` more as done.
    fn advance(&self, steps: u64);
    /// Ends the phase.
    fn end(&self);
}

/// A progress that many tasks share.
pub type SharedProgress = Arc<dyn Progress>;

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Silent {
    /// Returns a shared silent progress.
    pub fn shared() -> SharedProgress {
        Arc::new(Self)
    }
}

impl Progress for Silent {
    fn begin(&self, _phase: &str, _total: u64) {}
    fn advance(&self, _steps: u64) {}
    fn end(&self) {}
}
