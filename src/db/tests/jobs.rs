//! The queue: leases, retries, dead letters, schedules, fairness.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use granary_db::jobs::{
    ClaimRequest, ClaimedJob, Cron, JobError, JobState, NewJob, Registry, RetryPolicy, Worker, WorkerSettings, claim, complete, enqueue,
    extend_lease, fail, list_jobs, prune_finished, retry_job,
};
use granary_db::{Database, Tx, TxSettings};
use granary_foundation::Job;
use granary_test_support::TestDatabase;
use granary_types::{Clock, CustomerId, JobId, MspId};
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Bill {
    number: i64,
}

impl Job for Bill {
    const KIND: &'static str = "test.bill";
}

fn bill(number: i64) -> NewJob {
    NewJob::new(&Bill { number }).unwrap()
}

async fn begin(db: &Database) -> Tx {
    db.begin(&TxSettings::operator()).await.unwrap()
}

async fn queue(db: &Database, job: &NewJob) -> Option<JobId> {
    let tx = begin(db).await;
    let id = enqueue(&tx, job).await.unwrap();
    tx.commit().await.unwrap();
    id
}

fn request(now: Timestamp) -> ClaimRequest<'static> {
    ClaimRequest { now, lease: Duration::from_secs(60), kinds: &[Bill::KIND], per_customer: 1, limit: 10 }
}

async fn claim_at(db: &Database, now: Timestamp) -> Vec<ClaimedJob> {
    let tx = begin(db).await;
    let jobs = claim(&tx, &request(now)).await.unwrap();
    tx.commit().await.unwrap();
    jobs
}

async fn states(db: &Database) -> Vec<(JobState, i32, Option<String>)> {
    let tx = begin(db).await;
    let jobs = list_jobs(&tx, None, 100).await.unwrap();
    tx.commit().await.unwrap();
    assert!(jobs.iter().all(|job| job.run_at >= job.created_at), "a job is due when it was queued, or later: {jobs:?}");
    jobs.into_iter().map(|job| (job.state, job.attempt, job.last_error)).collect()
}

fn number(job: &ClaimedJob) -> i64 {
    job.payload["number"].as_i64().unwrap()
}

#[tokio::test]
async fn a_late_answer_does_not_count() {
    let test = TestDatabase::new().await;
    let (db, now) = (test.database(), test.clock().now());
    queue(db, &bill(1)).await.unwrap();
    let slow = claim_at(db, now).await.remove(0);
    assert!(claim_at(db, now).await.is_empty(), "a job that runs is not claimed again");

    // The lease runs out; another worker takes over.
    let later = now.checked_add(61.seconds()).unwrap();
    let fast = claim_at(db, later).await.remove(0);
    assert_eq!((fast.id, fast.attempt), (slow.id, 2));

    let tx = begin(db).await;
    assert!(!complete(&tx, &slow, later).await.unwrap());
    assert!(!fail(&tx, &slow, later, None, "too late").await.unwrap());
    assert!(!extend_lease(&tx, &slow, later, Duration::from_secs(600)).await.unwrap());
    assert!(extend_lease(&tx, &fast, later, Duration::from_secs(600)).await.unwrap());
    assert!(complete(&tx, &fast, later).await.unwrap());
    assert!(!complete(&tx, &fast, later).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(states(db).await, [(JobState::Done, 2, None)]);

    let tx = begin(db).await;
    assert_eq!(prune_finished(&tx, later.checked_add(1.second()).unwrap()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_job_is_queued_only_if_its_transaction_commits_and_once_by_its_key() {
    let test = TestDatabase::new().await;
    let db = test.database();
    let tx = begin(db).await;
    enqueue(&tx, &bill(1)).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(states(db).await.is_empty());

    let first = queue(db, &bill(1).unique("october")).await;
    assert!(first.is_some());
    assert_eq!(queue(db, &bill(2).unique("october")).await, None);
    assert!(queue(db, &bill(3).unique("november")).await.is_some());
    let job = claim_at(db, test.clock().now()).await.remove(0);
    let tx = begin(db).await;
    complete(&tx, &job, test.clock().now()).await.unwrap();
    tx.commit().await.unwrap();
    assert!(queue(db, &bill(4).unique("october")).await.is_some(), "a key is free again when its job is done");
}

#[tokio::test]
async fn a_customers_jobs_wait_for_one_another_and_nobody_else_waits_for_them() {
    let test = TestDatabase::new().await;
    let (db, now, msp) = (test.database(), test.clock().now(), MspId::new());
    let (busy, calm) = (CustomerId::new(), CustomerId::new());
    for number in 0..5 {
        queue(db, &bill(number).on_behalf_of(msp, Some(busy))).await;
    }
    queue(db, &bill(10).on_behalf_of(msp, Some(calm))).await;
    queue(db, &bill(20)).await;
    queue(db, &bill(21)).await;
    queue(db, &NewJob { priority: 1, ..bill(30) }).await;
    queue(db, &NewJob { run_at: Some(now.checked_add(1.second()).unwrap()), ..bill(40) }).await;

    let first = claim_at(db, now).await;
    assert_eq!(first.iter().map(number).collect::<Vec<_>>(), [30, 0, 10, 20, 21]);
    assert!(claim_at(db, now).await.is_empty());
    let tx = begin(db).await;
    complete(&tx, &first[1], now).await.unwrap();
    tx.commit().await.unwrap();
    let second = claim_at(db, now.checked_add(1.second()).unwrap()).await;
    assert_eq!(second.iter().map(number).collect::<Vec<_>>(), [1, 40]);
}

#[tokio::test]
async fn workers_that_claim_at_once_share_and_keep_the_cap() {
    let test = TestDatabase::new().await;
    let (db, now, msp) = (test.database(), test.clock().now(), MspId::new());
    let customers: Vec<CustomerId> = (0..4).map(|_| CustomerId::new()).collect();
    for number in 0..40 {
        queue(db, &bill(number).on_behalf_of(msp, Some(customers[usize::try_from(number).unwrap() % 4]))).await;
    }
    let claims: Vec<_> = (0..6)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { claim_at(&db, now).await })
        })
        .collect();
    let mut claimed = Vec::new();
    for job in claims {
        claimed.extend(job.await.unwrap());
    }
    let mut owners: Vec<_> = claimed.iter().map(|job| job.customer).collect();
    owners.sort();
    owners.dedup();
    assert_eq!((claimed.len(), owners.len()), (4, 4), "one job a customer, whoever claims");
}

fn worker(db: &Database, registry: Registry, clock: &Clock) -> Worker {
    let retry = RetryPolicy { base: Duration::from_secs(10), cap: Duration::from_secs(3600) };
    let settings = WorkerSettings { retry, poll: Duration::from_millis(10), ..WorkerSettings::default() };
    Worker::new(db.clone(), registry, clock.clone()).with_settings(settings)
}

#[tokio::test]
async fn a_job_that_fails_comes_again_and_at_last_lies_dead_until_it_is_retried() {
    let test = TestDatabase::new().await;
    let (db, clock) = (test.database(), test.clock());
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let registry = Registry::new().on(move |context, job: Bill| {
        let counter = Arc::clone(&counter);
        async move {
            counter.fetch_add(1, Ordering::Relaxed);
            match (job.number, context.attempt) {
                (1, 1) => panic!("a handler that breaks"),
                (1, _) => Ok(()),
                (2, _) => Err(JobError::Retry("the network is away".to_owned())),
                _ => Err(JobError::Dead("there is no such invoice".to_owned())),
            }
        }
    });
    let worker = worker(db, registry, clock);
    queue(db, &bill(1)).await;
    queue(db, &NewJob { max_attempts: 3, ..bill(2) }).await;
    queue(db, &bill(3)).await;
    assert_eq!(worker.run_until_idle().await.unwrap(), 3);
    for _ in 0..3 {
        clock.set(clock.now().checked_add(2.minutes()).unwrap());
        worker.run_until_idle().await.unwrap();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2 + 3 + 1);
    assert_eq!(
        states(db).await,
        [
            (JobState::Dead, 1, Some("there is no such invoice".to_owned())),
            (JobState::Dead, 3, Some("the network is away".to_owned())),
            (JobState::Done, 2, None),
        ]
    );

    let tx = begin(db).await;
    let dead = list_jobs(&tx, Some(JobState::Dead), 10).await.unwrap();
    assert!(retry_job(&tx, dead[0].id).await.unwrap());
    assert!(!retry_job(&tx, JobId::new()).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(worker.run_until_idle().await.unwrap(), 1);
}

#[tokio::test]
async fn a_payload_that_does_not_fit_is_dead_and_an_unknown_kind_waits() {
    let test = TestDatabase::new().await;
    let db = test.database();
    queue(db, &NewJob { payload: serde_json::json!({ "letter": "a" }), ..bill(1) }).await;
    queue(db, &NewJob { kind: "test.of_another_version", ..bill(2) }).await;
    let registry = Registry::new().on(|_, _: Bill| async { Ok(()) });
    assert_eq!(worker(db, registry, test.clock()).run_until_idle().await.unwrap(), 1);
    let states: Vec<JobState> = states(db).await.into_iter().map(|(state, ..)| state).collect();
    assert_eq!(states, [JobState::Ready, JobState::Dead]);
}

#[tokio::test]
async fn a_worker_that_dies_gives_its_jobs_back_and_the_last_attempt_is_the_last() {
    let test = TestDatabase::new().await;
    let (db, now) = (test.database(), test.clock().now());
    queue(db, &NewJob { max_attempts: 1, ..bill(1) }).await;
    assert_eq!(claim_at(db, now).await.len(), 1);
    assert!(claim_at(db, now.checked_add(2.minutes()).unwrap()).await.is_empty());
    assert_eq!(states(db).await, [(JobState::Dead, 1, Some("the worker stopped without an answer".to_owned()))]);
}

#[tokio::test]
async fn a_slot_of_a_schedule_is_claimed_once_by_however_many_workers() {
    let test = TestDatabase::new().await;
    let (db, clock) = (test.database(), test.clock());
    let day = Duration::from_secs(86_400);
    let nightly = Cron { name: "night", period: day, offset: Duration::from_secs(3_600), job: bill(1) };
    assert_eq!(nightly.slot_at("2025-11-10T00:59:59Z".parse().unwrap()).to_string(), "2025-11-09T01:00:00Z");
    assert_eq!(nightly.slot_at("2025-11-10T01:00:00Z".parse().unwrap()).to_string(), "2025-11-10T01:00:00Z");
    for days in 0..3 {
        clock.set("2025-11-10T12:00:00Z".parse::<Timestamp>().unwrap().checked_add((24 * days).hours()).unwrap());
        let ticks: Vec<_> = (0..4)
            .map(|_| {
                let worker = worker(db, Registry::new(), clock).with_crons(vec![nightly.clone()]);
                tokio::spawn(async move { worker.tick().await.unwrap() })
            })
            .collect();
        for tick in ticks {
            tick.await.unwrap();
        }
    }
    assert_eq!(states(db).await.len(), 3);
}

#[tokio::test]
async fn a_worker_runs_until_it_is_told_to_stop_and_finishes_what_it_holds() {
    let test = TestDatabase::new().await;
    let db = test.database();
    let (started, mut starts) = tokio::sync::mpsc::channel(1);
    let registry = Registry::new().on(move |_, _: Bill| {
        let started = started.clone();
        async move {
            started.send(()).await.ok();
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(())
        }
    });
    let worker = worker(db, registry, &Clock::System);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(async move { worker.run(stopped).await });
    queue(db, &bill(1)).await;
    starts.recv().await.unwrap();
    stop.send(true).unwrap();
    running.await.unwrap();
    assert_eq!(states(db).await, [(JobState::Done, 1, None)]);
}

#[test]
fn a_pause_grows_is_random_and_has_a_bound() {
    let policy = RetryPolicy { base: Duration::from_secs(5), cap: Duration::from_secs(60) };
    let mut random = rand::rng();
    for (attempt, most) in [(1, 5), (2, 10), (3, 20), (5, 60), (2_000_000, 60)] {
        for _ in 0..50 {
            assert!(policy.pause(attempt, &mut random) <= Duration::from_secs(most));
        }
    }
    let pauses: Vec<Duration> = (0..5).map(|_| policy.pause(5, &mut random)).collect();
    assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
}
