//! Operations on a whole customer that touch several rooms: provision, suspend, erase and the like.
//!
//! An operation is *entered* in one transaction of the control schema and then *advances* along an ordered list of
//! [`LifecycleStep`]s, which rooms implement and the root registers. Every step may be done again, also by two at once, so
//! an operation that was killed anywhere is simply advanced again. An operation that must not be finished is *withdrawn*:
//! its steps are undone from the last to the first. How far it came lies in the control schema.

mod change;
mod events;
mod provision;
mod run;
mod state;
mod step;

pub use change::Change;
pub use events::{CustomerActivated, CustomerClosed, CustomerErased, CustomerProvisioned, CustomerResumed, CustomerSuspended};
pub use provision::TRIAL_DAYS;
pub use run::{Lifecycle, OpenRun};
pub use state::{Door, Rule, Standing, TRANSITIONS, Transition};
pub use step::{Extent, LifecycleStep, Operation, StepFailure, Subject};
