//! The queue itself.

use std::time::Duration;

use granary_foundation::Job;
use granary_types::{CustomerId, JobId, MspId};
use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::DbError;
use crate::store::jobs as store;
use crate::tx::Tx;

/// A job that shall be queued.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub kind: &'static str,
    pub payload: Value,
    pub msp: Option<MspId>,
    /// On whose behalf it runs; counts towards the cap per customer.
    pub customer: Option<CustomerId>,
    /// Not before this instant; none for at once.
    pub run_at: Option<Timestamp>,
    /// Two live jobs of a kind with the same key are one.
    pub unique_key: Option<String>,
    /// Lower goes first; 100 unless told.
    pub priority: i32,
    pub max_attempts: i32,
}

impl NewJob {
    /// Describes a job of the installation, due at once, with ten attempts.
    ///
    /// # Errors
    /// When the payload cannot be written as JSON.
    pub fn new<J: Job>(payload: &J) -> Result<Self, DbError> {
        let payload = serde_json::to_value(payload).map_err(|error| DbError::Payload { kind: J::KIND, message: error.to_string() })?;
        Ok(Self { kind: J::KIND, payload, msp: None, customer: None, run_at: None, unique_key: None, priority: 100, max_attempts: 10 })
    }

    /// Runs it on behalf of an MSP, or of one of its customers.
    #[must_use]
    pub fn on_behalf_of(mut self, msp: MspId, customer: Option<CustomerId>) -> Self {
        self.msp = Some(msp);
        self.customer = customer;
        self
    }

    /// Makes it one with every live job of its kind that has the same key.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    Ready,
    Running,
    Done,
    Dead,
}

impl JobState {
    /// Returns the word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }

    fn parse(word: &str) -> Self {
        match word {
            "ready" => Self::Ready,
            "running" => Self::Running,
            "done" => Self::Done,
            _ => Self::Dead,
        }
    }
}

/// A job that a worker holds.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    pub id: JobId,
    pub kind: String,
    pub msp: Option<MspId>,
    pub customer: Option<CustomerId>,
    pub payload: Value,
    /// 1 for the first.
    pub attempt: i32,
    pub max_attempts: i32,
    /// Shows that the job is still ours.
    pub lease_token: Uuid,
}

/// A job as an operator sees it.
#[derive(Debug, Clone)]
pub struct JobSummary {
    pub id: JobId,
    pub kind: String,
    pub msp: Option<MspId>,
    pub customer: Option<CustomerId>,
    pub state: JobState,
    pub priority: i32,
    /// 1970 for "at once".
    pub run_at: Timestamp,
    pub attempt: i32,
    pub max_attempts: i32,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct ClaimRequest<'a> {
    pub now: Timestamp,
    pub lease: Duration,
    pub kinds: &'a [&'static str],
    /// Jobs of one customer that may run at the same time, on all workers together.
    pub per_customer: i64,
    pub limit: i64,
}

/// How long a failed job waits.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    pub base: Duration,
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { base: Duration::from_secs(5), cap: Duration::from_secs(3600) }
    }
}

impl RetryPolicy {
    /// Returns a random pause between nothing and `base · 2^(attempt − 1)`, at most `cap`.
    pub fn pause(&self, attempt: i32, random: &mut impl Rng) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1).clamp(0, 30)).unwrap_or(0);
        let ceiling = self.base.saturating_mul(2_u32.saturating_pow(doublings)).min(self.cap);
        ceiling.mul_f64(random.random::<f64>())
    }
}

/// Queues a job with the caller's transaction (an MSP's or the operator's; a tenant emits an event instead). Returns nothing
/// when a live job with the same key exists.
///
/// # Errors
/// When Postgres refuses.
pub async fn enqueue(tx: &Tx, job: &NewJob) -> Result<Option<JobId>, DbError> {
    let id = JobId::new();
    let NewJob { kind, payload, msp, customer, run_at, unique_key, priority, max_attempts } = job;
    let run_at = run_at.unwrap_or(Timestamp::UNIX_EPOCH);
    let inserted =
        tx.execute(store::INSERT_JOB, &[&id, kind, msp, customer, payload, priority, &run_at, max_attempts, unique_key, &tx.now()]).await?;
    Ok((inserted == 1).then_some(id))
}

/// Claims due jobs; jobs whose worker died come back first. One claim at a time in the whole installation.
///
/// # Errors
/// When Postgres refuses.
pub async fn claim(tx: &Tx, request: &ClaimRequest<'_>) -> Result<Vec<ClaimedJob>, DbError> {
    tx.query(store::LOCK_CLAIMS, &[]).await?;
    tx.execute(store::RECLAIM_EXPIRED, &[&request.now]).await?;
    let lease_token = Uuid::new_v4();
    let lease_until = later(request.now, request.lease);
    let rows =
        tx.query(store::CLAIM, &[&request.now, &lease_token, &lease_until, &request.kinds, &request.per_customer, &request.limit]).await?;
    let mut claimed =
        rows.iter().map(|row| Ok((claim_order(row)?, claimed_job(row, lease_token)?))).collect::<Result<Vec<_>, DbError>>()?;
    claimed.sort_by_key(|(order, _)| *order);
    Ok(claimed.into_iter().map(|(_, job)| job).collect())
}

fn claim_order(row: &Row) -> Result<(i32, Timestamp, JobId), DbError> {
    Ok((row.try_get("priority")?, row.try_get("run_at")?, row.try_get("id")?))
}

fn claimed_job(row: &Row, lease_token: Uuid) -> Result<ClaimedJob, DbError> {
    Ok(ClaimedJob {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        msp: row.try_get("msp_id")?,
        customer: row.try_get("customer_id")?,
        payload: row.try_get("payload")?,
        attempt: row.try_get("attempt")?,
        max_attempts: row.try_get("max_attempts")?,
        lease_token,
    })
}

/// Holds a job for longer; false when it is no longer ours.
///
/// # Errors
/// When Postgres refuses.
pub async fn extend_lease(tx: &Tx, job: &ClaimedJob, now: Timestamp, lease: Duration) -> Result<bool, DbError> {
    Ok(tx.execute(store::EXTEND_LEASE, &[&job.id, &job.lease_token, &later(now, lease)]).await? == 1)
}

/// Reports a job as done; false when it is no longer ours, and then nothing has changed.
///
/// # Errors
/// When Postgres refuses.
pub async fn complete(tx: &Tx, job: &ClaimedJob, now: Timestamp) -> Result<bool, DbError> {
    Ok(tx.execute(store::COMPLETE, &[&job.id, &job.lease_token, &now]).await? == 1)
}

/// Reports a job as failed: it comes again after `pause`, or lies dead when there is none or this was the last attempt.
/// False when it is no longer ours, and then nothing has changed.
///
/// # Errors
/// When Postgres refuses.
pub async fn fail(tx: &Tx, job: &ClaimedJob, now: Timestamp, pause: Option<Duration>, error: &str) -> Result<bool, DbError> {
    let error: String = error.chars().take(2_000).collect();
    let touched = match pause {
        Some(pause) if job.attempt < job.max_attempts => {
            tx.execute(store::RETRY_LATER, &[&job.id, &job.lease_token, &later(now, pause), &error]).await?
        }
        _ => tx.execute(store::BURY, &[&job.id, &job.lease_token, &now, &error]).await?,
    };
    Ok(touched == 1)
}

/// Lists jobs, the newest first.
///
/// # Errors
/// When Postgres refuses.
pub async fn list_jobs(tx: &Tx, state: Option<JobState>, limit: i64) -> Result<Vec<JobSummary>, DbError> {
    let rows = tx.query(store::LIST, &[&state.map(JobState::as_str), &limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(JobSummary {
                id: row.try_get("id")?,
                kind: row.try_get("kind")?,
                msp: row.try_get("msp_id")?,
                customer: row.try_get("customer_id")?,
                state: JobState::parse(row.try_get("state")?),
                priority: row.try_get("priority")?,
                run_at: row.try_get("run_at")?,
                attempt: row.try_get("attempt")?,
                max_attempts: row.try_get("max_attempts")?,
                last_error: row.try_get("last_error")?,
                created_at: row.try_get("created_at")?,
                finished_at: row.try_get("finished_at")?,
            })
        })
        .collect()
}

/// Makes a dead or waiting job due at once, with all its attempts; false when there is no such job.
///
/// # Errors
/// When Postgres refuses.
pub async fn retry_job(tx: &Tx, id: JobId) -> Result<bool, DbError> {
    Ok(tx.execute(store::RETRY_NOW, &[&id, &Timestamp::UNIX_EPOCH]).await? == 1)
}

/// Deletes jobs that were done before an instant and returns how many.
///
/// # Errors
/// When Postgres refuses.
pub async fn prune_finished(tx: &Tx, before: Timestamp) -> Result<u64, DbError> {
    tx.execute(store::DELETE_FINISHED, &[&before]).await
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| now.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}
