//! The loop that claims jobs and runs them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_foundation::{metrics, traces};
use granary_types::Clock;
use rand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::database::Database;
use crate::error::DbError;
use crate::jobs::cron::Cron;
use crate::jobs::queue::{ClaimRequest, ClaimedJob, RetryPolicy, claim, complete, extend_lease, fail};
use crate::jobs::registry::{JobContext, JobError, Registry};
use crate::settings::TxSettings;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Jobs that run at the same time on this worker.
    pub concurrency: usize,
    /// Jobs of one customer that run at the same time, on all workers together.
    pub per_customer: i64,
    /// How long a job is ours before it must be extended; a worker that dies gives its jobs back after this.
    pub lease: Duration,
    pub retry: RetryPolicy,
    /// How often an idle worker looks.
    pub poll: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 2,
            per_customer: 1,
            lease: Duration::from_secs(60),
            retry: RetryPolicy::default(),
            poll: Duration::from_millis(250),
        }
    }
}

/// Claims and runs jobs. Its clock is the queue's: give it the machine's, also where the business clock stands still.
#[derive(Debug, Clone)]
pub struct Worker {
    db: Database,
    registry: Arc<Registry>,
    clock: Clock,
    settings: WorkerSettings,
    crons: Arc<[Cron]>,
}

impl Worker {
    /// Makes a worker with the default settings and without schedules.
    pub fn new(db: Database, registry: Registry, clock: Clock) -> Self {
        Self { db, registry: Arc::new(registry), clock, settings: WorkerSettings::default(), crons: Arc::from([]) }
    }

    /// Replaces the settings.
    #[must_use]
    pub fn with_settings(mut self, settings: WorkerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Lets the worker tick these schedules while it runs.
    #[must_use]
    pub fn with_crons(mut self, crons: Vec<Cron>) -> Self {
        self.crons = crons.into();
        self
    }

    /// Works until `shutdown` becomes true (or its sender is gone), then finishes what it holds. An error of the database is
    /// logged and waited out.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let mut running = JoinSet::new();
        while !*shutdown.borrow() {
            let outcome = async {
                self.tick().await?;
                self.fill(&mut running).await
            };
            let claimed = outcome.await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the queue cannot be read");
                0
            });
            if claimed == 0 {
                let pause = self.settings.poll.mul_f64(rand::rng().random_range(0.75..1.25));
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    Some(_) = running.join_next() => {}
                    changed = shutdown.changed() => if changed.is_err() { break },
                }
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Works until nothing is due and nothing runs; returns how many jobs ended, well or not.
    ///
    /// # Errors
    /// When the database does not answer; jobs that run are finished first.
    pub async fn run_until_idle(&self) -> Result<u64, DbError> {
        let mut running = JoinSet::new();
        let mut ended = 0;
        loop {
            let outcome = self.fill(&mut running).await;
            match (outcome, running.join_next().await) {
                (Err(error), _) => {
                    while running.join_next().await.is_some() {}
                    return Err(error);
                }
                (Ok(_), Some(_)) => ended += 1,
                (Ok(0), None) => return Ok(ended),
                (Ok(_), None) => {}
            }
        }
    }

    /// Queues the jobs of schedules whose slot has begun.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tick(&self) -> Result<(), DbError> {
        if self.crons.is_empty() {
            return Ok(());
        }
        let tx = self.db.begin(&TxSettings::operator()).await?;
        for cron in self.crons.iter() {
            if cron.tick(&tx, self.clock.now()).await? {
                tracing::info!(cron = cron.name, "queued a scheduled job");
            }
        }
        tx.commit().await
    }

    /// Claims as many jobs as there is room for and starts them.
    async fn fill(&self, running: &mut JoinSet<()>) -> Result<usize, DbError> {
        while running.try_join_next().is_some() {}
        let room = self.settings.concurrency.max(1).saturating_sub(running.len());
        if room == 0 {
            return Ok(0);
        }
        let kinds = self.registry.kinds();
        let request = ClaimRequest {
            now: self.clock.now(),
            lease: self.settings.lease,
            kinds: &kinds,
            per_customer: self.settings.per_customer,
            limit: i64::try_from(room).unwrap_or(1),
        };
        let tx = self.db.begin(&TxSettings::operator()).await?;
        let claimed = claim(&tx, &request).await?;
        tx.commit().await?;
        let count = claimed.len();
        for job in claimed {
            let worker = self.clone();
            running.spawn(async move {
                if let Err(error) = worker.work(&job).await {
                    tracing::error!(job.id = %job.id, job.kind = %job.kind, %error, "a job's outcome could not be recorded");
                }
            });
        }
        Ok(count)
    }

    async fn work(&self, job: &ClaimedJob) -> Result<(), DbError> {
        let begun = Instant::now();
        let outcome = self.run_held(job).await;
        metrics::job_ended(&job.kind, ending(job, &outcome), begun.elapsed());
        let tx = self.db.begin(&TxSettings::operator()).await?;
        let now = self.clock.now();
        let was_ours = match &outcome {
            Ok(()) => complete(&tx, job, now).await?,
            Err(error) => {
                let pause = match error {
                    JobError::Retry(_) => Some(self.settings.retry.pause(job.attempt, &mut rand::rng())),
                    JobError::Dead(_) => None,
                };
                tracing::warn!(job.id = %job.id, job.kind = %job.kind, job.attempt = job.attempt, %error, "a job failed");
                fail(&tx, job, now, pause, &error.to_string()).await?
            }
        };
        tx.commit().await?;
        if !was_ours {
            tracing::warn!(job.id = %job.id, job.kind = %job.kind, "a job's lease had run out; its outcome does not count");
        }
        Ok(())
    }

    /// Runs the handler in a task of its own, so that a panic is an error, and keeps the lease while it runs; when the lease is
    /// lost the handler is stopped.
    async fn run_held(&self, job: &ClaimedJob) -> Result<(), JobError> {
        let Some((kind, handler)) = self.registry.find(&job.kind) else {
            return Err(JobError::Retry(format!("no handler for {}", job.kind)));
        };
        let context = JobContext { id: job.id, kind, attempt: job.attempt, msp: job.msp, customer: job.customer };
        let span = tracing::info_span!(
            target: traces::TARGET,
            "job",
            otel.name = format!("job {}", job.kind),
            otel.kind = "consumer",
            job.kind = job.kind,
            job.id = %job.id,
            job.attempt = job.attempt,
            otel.status_code = tracing::field::Empty,
        );
        let mut handling = tokio::spawn(handler(context, job.payload.clone()).instrument(span.clone()));
        loop {
            tokio::select! {
                outcome = &mut handling => {
                    let outcome = outcome.unwrap_or_else(|error| Err(JobError::Retry(format!("the handler stopped: {error}"))));
                    if outcome.is_err() {
                        span.record("otel.status_code", "ERROR");
                    }
                    return outcome;
                }
                () = tokio::time::sleep(self.settings.lease / 3) => match self.keep(job).await {
                    Ok(true) => {}
                    Ok(false) => {
                        handling.abort();
                        return Err(JobError::Retry("the lease was lost".to_owned()));
                    }
                    Err(error) => tracing::warn!(job.id = %job.id, %error, "a lease could not be extended"),
                },
            }
        }
    }

    async fn keep(&self, job: &ClaimedJob) -> Result<bool, DbError> {
        let tx = self.db.begin(&TxSettings::operator()).await?;
        let is_ours = extend_lease(&tx, job, self.clock.now(), self.settings.lease).await?;
        tx.commit().await?;
        Ok(is_ours)
    }
}

/// What becomes of a job with this outcome.
fn ending(job: &ClaimedJob, outcome: &Result<(), JobError>) -> &'static str {
    match outcome {
        Ok(()) => "done",
        Err(JobError::Retry(_)) if job.attempt < job.max_attempts => "retry",
        Err(JobError::Retry(_) | JobError::Dead(_)) => "dead",
    }
}
