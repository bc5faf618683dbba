//! The steps of an export and of a collection, so that a test can end the process at each of them.

use std::fmt;
use std::sync::Arc;

use granary_foundation::Boxed;
use granary_types::CustomerId;

use crate::lake::Lake;

/// Between which two things a process may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// An export was announced; whoever announced before may no longer commit.
    Announced,
    /// The snapshot is open, nothing was read.
    Opened,
    /// A file was stored, maybe the first of several.
    Stored,
    /// All rows were read and all files stored; the snapshot is closed.
    Written,
    /// The files survive a power cut.
    Flushed,
    /// The new version is in the manifest, in a transaction that is not committed.
    Committing,
    /// The version can be read; what was dirty is still marked.
    Committed,
    /// What was dirty is no longer marked; the night is not recorded.
    Cleaned,
    /// Past versions are no longer shown, their files are all there.
    LetGo,
    /// An object that no version shows was deleted, maybe the first of several.
    Deleted,
    /// All of them were deleted; their rows are still in the manifest.
    Emptied,
    /// An object that no row names was deleted.
    Collected,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 12] = [
        Self::Announced,
        Self::Opened,
        Self::Stored,
        Self::Written,
        Self::Flushed,
        Self::Committing,
        Self::Committed,
        Self::Cleaned,
        Self::LetGo,
        Self::Deleted,
        Self::Emptied,
        Self::Collected,
    ];

    /// Returns the step's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Opened => "opened",
            Self::Stored => "stored",
            Self::Written => "written",
            Self::Flushed => "flushed",
            Self::Committing => "committing",
            Self::Committed => "committed",
            Self::Cleaned => "cleaned",
            Self::LetGo => "let-go",
            Self::Deleted => "deleted",
            Self::Emptied => "emptied",
            Self::Collected => "collected",
        }
    }

    /// Tells whether it is a step of a collection, which has no customer of its own.
    pub const fn collects(self) -> bool {
        matches!(self, Self::LetGo | Self::Deleted | Self::Emptied | Self::Collected)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who is told of every step, and of whose export it is: none for an MSP's own data, and where files are collected. The lake goes on
/// when the future ends.
pub type AtStep = Arc<dyn Fn(Step, Option<CustomerId>) -> Boxed<'static, ()> + Send + Sync>;

impl Lake {
    /// Tells whoever wants to know that a step was reached.
    pub(crate) async fn reach(&self, step: Step, customer: Option<CustomerId>) {
        if let Some(at_step) = &self.tuning().at_step {
            at_step(step, customer).await;
        }
    }
}
