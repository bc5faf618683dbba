//! Which job does what, which come round, and which news makes which job.

use std::time::Duration;

use granary_access::LetterJob;
use granary_db::jobs::{Cron, JobError, NewJob, Registry, Worker, WorkerSettings};
use granary_db::outbox::Arrived;
use granary_foundation::{Job, Silent};
use granary_tenants::TenantsError;
use granary_types::Clock;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::alerts::{self, AlertsJob};
use super::audit::{self, CheckpointJob};
use super::customer_placement::{self, PlacementJob};
use super::house::Rooms;
use super::letters;
use super::life::{self, LifecycleJob};
use super::night::{self, NightJob};

const HOUR: u64 = 3_600;
const MINUTE: u64 = 60;

/// Moves news from outboxes into the control schema.
#[derive(Debug, Serialize, Deserialize)]
struct RelayJob {}

impl Job for RelayJob {
    const KIND: &'static str = "outbox.relay";
}

/// Returns every kind of job that a worker knows.
pub(crate) fn kinds() -> Vec<&'static str> {
    vec![NightJob::KIND, RelayJob::KIND, LifecycleJob::KIND, LetterJob::KIND, PlacementJob::KIND, CheckpointJob::KIND, AlertsJob::KIND]
}

fn registry(rooms: &Rooms) -> Registry {
    // Nobody watches a job's progress: its outcome is in the queue and in the log.
    let rooms = Rooms { progress: Silent::shared(), ..rooms.clone() };
    let (nights, relays, lives, letters, places) = (rooms.clone(), rooms.clone(), rooms.clone(), rooms.clone(), rooms.clone());
    let (signed, watched) = (rooms.clone(), rooms);
    Registry::new()
        .on(move |_, job: NightJob| {
            let rooms = nights.clone();
            async move { night::run_job(&rooms, job).await }
        })
        .on(move |_, _: RelayJob| {
            let rooms = relays.clone();
            async move { relay(&rooms).await }
        })
        .on(move |_, _: LifecycleJob| {
            let rooms = lives.clone();
            async move { life::run_job(&rooms).await }
        })
        .on(move |_, job: LetterJob| {
            let rooms = letters.clone();
            async move { letters::run_job(&rooms, &job).await }
        })
        .on(move |_, _: PlacementJob| {
            let rooms = places.clone();
            async move { customer_placement::run_job(&rooms).await }
        })
        .on(move |_, _: CheckpointJob| {
            let rooms = signed.clone();
            async move { audit::run_job(&rooms).await }
        })
        .on(move |_, _: AlertsJob| {
            let rooms = watched.clone();
            async move { alerts::run_job(&rooms).await }
        })
}

/// Brings the news of every cluster home. One that does not answer keeps its own until it does.
async fn relay(rooms: &Rooms) -> Result<(), JobError> {
    granary_db::outbox::relay(&rooms.database, &jobs_for).await?;
    for cluster in rooms.tenants.clusters().others() {
        let moved = async {
            let from = rooms.tenants.clusters().get(&cluster.name).await?;
            Ok::<_, TenantsError>(granary_db::outbox::relay_from(from, &rooms.database, &jobs_for).await?)
        };
        if let Err(error) = moved.await {
            tracing::warn!(cluster = cluster.name, %error, "the news of a cluster could not be fetched");
        }
    }
    Ok(())
}

/// The map from news to the jobs of other rooms.
fn jobs_for(event: &Arrived) -> Vec<NewJob> {
    let wanted = match event.kind.as_str() {
        // A closed period must be in the lake before anybody reads its marts.
        "metering.period_closed" => NewJob::new(&NightJob { night: None }).map(|job| job.unique("after a close")),
        _ => return Vec::new(),
    };
    wanted.map_or_else(
        |error| {
            tracing::error!(event.kind = event.kind, %error, "an event could not become a job");
            Vec::new()
        },
        |job| vec![job],
    )
}

/// Returns a worker with every handler and schedule. Its clock is the machine's, also where the demo's stands still.
pub(crate) fn worker(rooms: &Rooms) -> Worker {
    let config = &rooms.config.worker;
    let settings = WorkerSettings {
        concurrency: config.concurrency,
        per_customer: i64::try_from(config.per_customer).unwrap_or(1),
        ..WorkerSettings::default()
    };
    Worker::new(rooms.database.clone(), registry(rooms), Clock::System).with_settings(settings)
}

/// Returns the schedules: the relay every minute; and unless the clock stands still, the night once a day, a look every minute at
/// operations on customers and at trials and at those whose alerts are due, one every five minutes at moves and copies of silos, and the signing of
/// the audit logs once an hour.
///
/// # Errors
/// Never in practice: the payloads are our own.
pub(crate) fn crons(rooms: &Rooms) -> Result<Vec<Cron>, Failure> {
    let night = Cron {
        name: "night",
        period: Duration::from_secs(24 * HOUR),
        offset: Duration::from_secs(u64::from(rooms.config.worker.night_hour) * HOUR),
        job: NewJob::new(&NightJob { night: None })?,
    };
    let relay = Cron {
        name: "relay",
        period: Duration::from_secs(MINUTE),
        offset: Duration::ZERO,
        job: NewJob::new(&RelayJob {})?.unique("relay"),
    };
    let life = Cron {
        name: "lifecycle",
        period: Duration::from_secs(MINUTE),
        offset: Duration::from_secs(MINUTE / 2),
        job: NewJob::new(&LifecycleJob {})?.unique("lifecycle"),
    };
    let placement = Cron {
        name: "placement",
        period: Duration::from_secs(5 * MINUTE),
        offset: Duration::ZERO,
        job: NewJob::new(&PlacementJob {})?.unique("placement"),
    };
    let checkpoint = Cron {
        name: "audit-checkpoint",
        period: Duration::from_secs(HOUR),
        offset: Duration::from_secs(7 * MINUTE),
        job: NewJob::new(&CheckpointJob {})?.unique("audit-checkpoint"),
    };
    let alerts = Cron {
        name: "alerts",
        period: Duration::from_secs(MINUTE),
        offset: Duration::from_secs(MINUTE / 4),
        job: NewJob::new(&AlertsJob {})?.unique("alerts"),
    };
    Ok(match rooms.clock {
        Clock::System => vec![night, relay, life, placement, checkpoint, alerts],
        Clock::Fixed(_) => vec![relay],
    })
}
