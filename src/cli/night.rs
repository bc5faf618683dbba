//! The night: what is derived and exported while nobody looks. Every part may be killed anywhere and run again.

use futures::StreamExt;
use granary_db::jobs::JobError;
use granary_foundation::Job;
use granary_lake::{LetGoOf, Letting, OwnerNight, OwnerOutcome};
use granary_tenants::{Customer, Msp};
use granary_types::{CustomerStatus, Period, day_of};
use jiff::SignedDuration;
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

/// What went wrong in a part of the night. The other parts go on, and the first failure is the night's in the end.
#[derive(Debug, Default)]
struct Troubles(Option<Failure>);

impl Troubles {
    fn note(&mut self, msp: &Msp, outcome: Result<(), Failure>) {
        let Err(failure) = outcome else { return };
        tracing::error!(msp = %msp.code, error = %failure, "a part of the night failed; the others go on");
        self.0.get_or_insert(failure);
    }

    fn outcome<T>(self, whole: T) -> Result<T, Failure> {
        self.0.map_or(Ok(whole), Err)
    }
}

/// Derives the open months of every customer, compares closed ones with what came since, lets go of what is old, exports what changed, scores, and builds the marts. What
/// fails for one customer or MSP fails for it alone.
pub(crate) async fn run(rooms: &Rooms, night: Option<Date>) -> Result<NightOutcome, Failure> {
    let mut troubles = Troubles::default();
    for msp in rooms.tenants.list_msps().await? {
        let period = Period::containing(rooms.clock.now(), &msp.time_zone);
        // The month before changes until it is closed.
        if !is_closed(rooms, &msp, period.previous()).await? {
            derive(rooms, &msp, period.previous(), &mut troubles).await?;
        }
        derive(rooms, &msp, period, &mut troubles).await?;
        troubles.note(&msp, correct(rooms, &msp, period).await);
        let run_rates = granary_billing::compute_run_rates(&rooms.tenants, &msp, period, rooms.progress.clone()).await;
        troubles.note(&msp, run_rates.map(drop).map_err(Into::into));
        troubles.note(&msp, let_go(rooms, &msp).await);
    }
    let exported = export(rooms, night, Publish::Always).await?;
    for msp in rooms.tenants.list_msps().await? {
        if exported.failures.is_empty() {
            troubles.note(&msp, label_closed(rooms, &msp).await);
        }
        troubles.note(&msp, let_go_of_versions(rooms, &msp).await.map(drop));
    }
    troubles.outcome(exported)
}

/// Names the version of every period that was closed since the last night by its month: it can be read for good.
async fn label_closed(rooms: &Rooms, msp: &Msp) -> Result<(), Failure> {
    let tx = rooms.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    let closed = granary_metering::list_closed_periods(&tx).await?;
    tx.commit().await?;
    let labelled = rooms.lake.list_versions(msp, true, u16::MAX).await?;
    for period in closed.iter().map(ToString::to_string) {
        if !labelled.iter().any(|version| version.label.as_deref() == Some(&period)) {
            rooms.lake.label(msp, &period, "the period was closed").await?;
        }
    }
    Ok(())
}

/// Closed months that are compared with what is known now every night: those that the month which is drafted next may charge for.
const COMPARED_MONTHS: i32 = 4;
/// Older ones are compared in turn, one a night: credits have no end.
const IN_TURN: i64 = 32;

/// Returns how many months back the closed months lie that are compared in a night.
fn compared_months(night: jiff::Timestamp) -> impl Iterator<Item = i32> {
    let turn = (night.as_second() / 86_400).rem_euclid(IN_TURN);
    (1..=COMPARED_MONTHS).chain(i32::try_from(turn).ok().map(|turn| COMPARED_MONTHS + 1 + turn))
}

async fn is_closed(rooms: &Rooms, msp: &Msp, period: Period) -> Result<bool, Failure> {
    let tx = rooms.tenants.begin_msp(&Rooms::msp_scope(msp)).await?;
    let state = granary_metering::period_state(&tx, period).await?;
    tx.commit().await?;
    Ok(state == granary_metering::PeriodState::Closed)
}

/// Compares closed months with what came in since.
async fn correct(rooms: &Rooms, msp: &Msp, period: Period) -> Result<(), Failure> {
    for months in compared_months(rooms.clock.now()) {
        let report = granary_billing::correct_period(&rooms.tenants, msp, period.plus_months(-months), rooms.progress.clone()).await?;
        for (customer, why) in &report.skipped {
            tracing::info!(msp = %msp.code, customer, period = %report.period, why, "a closed month was not compared");
        }
    }
    Ok(())
}

/// Lets go of past versions that no backup of Postgres can name any more.
pub(crate) async fn let_go_of_versions(rooms: &Rooms, msp: &Msp) -> Result<LetGoOf, Failure> {
    let age = SignedDuration::from_hours(24 * i64::from(rooms.config.leaving.backup_days));
    Ok(rooms.lake.let_go_of_versions(msp, rooms.clock.now() - age).await?)
}

/// Lets go of what an MSP no longer keeps, before it is exported once more.
async fn let_go(rooms: &Rooms, msp: &Msp) -> Result<(), Failure> {
    let went = super::retention::follow(rooms, msp, Letting::Done, rooms.progress.clone()).await?;
    match went.into_iter().find_map(|one| Some(format!("{} of {} could not go: {}", one.dataset, one.customer_code, one.error?))) {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

/// Rebuilds what changed of every living customer, and its row of the period's control projection.
async fn derive(rooms: &Rooms, msp: &Msp, period: Period, troubles: &mut Troubles) -> Result<(), Failure> {
    let customers: Vec<Customer> = rooms
        .tenants
        .list_customers(msp.id)
        .await?
        .into_iter()
        .filter(|customer| !matches!(customer.status, CustomerStatus::Closed | CustomerStatus::Erased))
        .filter(|customer| customer.created_at < period.end_at(&msp.time_zone))
        .collect();
    rooms.progress.begin("daily usage of the open month", customers.len() as u64);
    let mut derived = futures::stream::iter(customers)
        .map(|customer| async move {
            let done = granary_metering::project_month(&rooms.tenants, &Rooms::tenant_scope(msp, &customer), period).await;
            rooms.progress.advance(1);
            done.map(drop).map_err(Failure::from)
        })
        .buffer_unordered(AT_ONCE);
    while let Some(outcome) = derived.next().await {
        troubles.note(msp, outcome);
    }
    rooms.progress.end();
    Ok(())
}

/// Exports what changed; scores and marts follow.
pub(crate) async fn export(rooms: &Rooms, night: Option<Date>, publishing: Publish) -> Result<NightOutcome, Failure> {
    let night_on = night.unwrap_or_else(|| day_of(rooms.clock.now(), &jiff::tz::TimeZone::UTC));
    let report = rooms.lake.export_night(night_on, rooms.progress.clone()).await?;
    if report.files_written() > 0 || publishing == Publish::Always {
        let mut troubles = Troubles::default();
        for msp in rooms.tenants.list_msps().await? {
            troubles.note(&msp, publish(rooms, &msp).await);
        }
        troubles.outcome(())?;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::{Timestamp, ToSpan};

    use super::*;

    #[test]
    fn every_closed_month_of_three_years_has_its_night() {
        let start: Timestamp = "2025-11-10T02:00:00Z".parse().unwrap();
        let nights: Vec<BTreeSet<i32>> = (0_i64..32).map(|day| compared_months(start + (24 * day).hours()).collect()).collect();
        assert!(nights.iter().all(|night| night.len() == 5 && (1..=4).all(|months| night.contains(&months))));
        let all: BTreeSet<i32> = nights.into_iter().flatten().collect();
        assert_eq!(all, (1..=36).collect());
    }
}
