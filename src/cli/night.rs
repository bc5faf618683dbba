//! The night: what is derived and exported while nobody looks. Every part may be killed anywhere and run again.

use futures::{StreamExt, TryStreamExt};
use granary_db::jobs::JobError;
use granary_foundation::Job;
use granary_lake::{OwnerNight, OwnerOutcome};
use granary_tenants::{Customer, Msp};
use granary_types::{CustomerStatus, Period, day_of};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Failure;
use super::house::{Rooms, kind_of};

/// Customers whose days are rebuilt at the same time.
const AT_ONCE: usize = 2;

/// Runs a night; none is the night of today.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NightJob {
    #[serde(default)]
    pub(crate) night: Option<Date>,
}

impl Job for NightJob {
    const KIND: &'static str = "night.run";
}

/// Runs a night as a job.
pub(crate) async fn run_job(rooms: &Rooms, job: NightJob) -> Result<(), JobError> {
    let outcome = run(rooms, job.night).await.and_then(NightOutcome::whole);
    outcome.map(|_| ()).map_err(|failure| match kind_of(failure.as_ref()) {
        Some(granary_types::ErrorKind::Invalid) => JobError::Dead(failure.to_string()),
        _ => JobError::Retry(failure.to_string()),
    })
}

/// What a night did.
#[derive(Debug, Serialize)]
pub(crate) struct NightOutcome {
    pub(crate) night_on: Date,
    pub(crate) files_written: u64,
    pub(crate) rows_written: u64,
    pub(crate) failures: Vec<String>,
}

impl NightOutcome {
    /// Returns a night in which every export came through; the others failed, and are done by running it again.
    pub(crate) fn whole(self) -> Result<Self, Failure> {
        match self.failures.as_slice() {
            [] => Ok(self),
            [first] => Err(format!("an export failed: {first}").into()),
            [first, others @ ..] => Err(format!("an export failed, and {} others: {first}", others.len()).into()),
        }
    }
}

/// When scores and marts follow an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publish {
    /// Only when something was exported.
    WhenChanged,
    /// Also when nothing was: an earlier night may have been killed between its export and its marts.
    Always,
}

/// Derives the open month of every customer, exports what changed, scores, and builds the marts.
pub(crate) async fn run(rooms: &Rooms, night: Option<Date>) -> Result<NightOutcome, Failure> {
    for msp in rooms.tenants.list_msps().await? {
        let period = Period::containing(rooms.clock.now(), &msp.time_zone);
        derive(rooms, &msp, period).await?;
        granary_billing::compute_run_rates(&rooms.tenants, &msp, period, rooms.progress.clone()).await?;
    }
    export(rooms, night, Publish::Always).await
}

/// Rebuilds what changed of every living customer, and its row of the period's control projection.
async fn derive(rooms: &Rooms, msp: &Msp, period: Period) -> Result<(), Failure> {
    let customers: Vec<Customer> = rooms
        .tenants
        .list_customers(msp.id)
        .await?
        .into_iter()
        .filter(|customer| !matches!(customer.status, CustomerStatus::Closed | CustomerStatus::Erased))
        .collect();
    rooms.progress.begin("daily usage of the open month", customers.len() as u64);
    futures::stream::iter(customers)
        .map(|customer| async move {
            granary_metering::project_month(&rooms.tenants, &Rooms::tenant_scope(msp, &customer), period).await?;
            rooms.progress.advance(1);
            Ok::<(), Failure>(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    rooms.progress.end();
    Ok(())
}

/// Exports what changed; scores and marts follow.
pub(crate) async fn export(rooms: &Rooms, night: Option<Date>, publishing: Publish) -> Result<NightOutcome, Failure> {
    let night_on = night.unwrap_or_else(|| day_of(rooms.clock.now(), &jiff::tz::TimeZone::UTC));
    let report = rooms.lake.export_night(night_on, rooms.progress.clone()).await?;
    if report.files_written() > 0 || publishing == Publish::Always {
        for msp in rooms.tenants.list_msps().await? {
            publish(rooms, &msp).await?;
        }
    }
    let failures = report.failures().map(describe).collect();
    Ok(NightOutcome { night_on, files_written: report.files_written(), rows_written: report.rows_written(), failures })
}

/// Whose export failed, and why; the lake has logged it.
fn describe(owner: &OwnerNight) -> String {
    let customer = owner.customer.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
    match &owner.outcome {
        OwnerOutcome::Failed { error } => format!("{}{customer}: {error}", owner.msp),
        OwnerOutcome::Done { .. } | OwnerOutcome::Unchanged | OwnerOutcome::Overtaken => format!("{}{customer}", owner.msp),
    }
}

/// Scores an MSP's customers and builds its marts.
pub(crate) async fn publish(rooms: &Rooms, msp: &Msp) -> Result<(), Failure> {
    rooms.progress.begin("health and churn scores", 0);
    let as_of = Period::containing(rooms.clock.now(), &msp.time_zone);
    granary_intelligence::score_msp(&rooms.warehouse, &rooms.lake, &rooms.tenants, msp, as_of).await?;
    rooms.progress.end();
    rooms.progress.begin("marts", 0);
    rooms.warehouse.build(msp.id).await?;
    rooms.progress.end();
    Ok(())
}
