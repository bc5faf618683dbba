//! Work that must survive a crash: one queue for the whole installation.
//!
//! A job is queued by the transaction that wants it. A worker claims it with a lease and a token; whatever it reports later
//! counts only while the token is still the job's ([`claim`], [`complete`], [`fail`]). A job that fails comes again after a
//! growing, random pause, and lies dead after its last attempt until somebody retries it. Every job may run twice.

mod cron;
mod queue;
mod registry;
mod worker;

pub use cron::Cron;
pub use queue::{
    ClaimRequest, ClaimedJob, JobState, JobSummary, NewJob, RetryPolicy, claim, complete, enqueue, extend_lease, fail, list_jobs,
    prune_finished, retry_job,
};
pub use registry::{JobContext, JobError, Registry};
pub use worker::{Worker, WorkerSettings};
