//! Alerts from the command line, and the job that looks for them.

use std::collections::BTreeSet;
use std::process::ExitCode;

use granary_db::jobs::JobError;
use granary_foundation::Job;
use granary_metering::{AlertFilter, AlertStep, ListedAlert, WatchReport, act_on_alert, list_alerts, list_recommendations, watch_msp};
use granary_tenants::{Granted, Msp};
use granary_types::{AlertState, CustomerCode, CustomerId, Period};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::arguments::{AlertWanted, Alerts, Global};
use super::house::{House, Rooms};
use super::output::{Rows, print_json};
use super::{Failure, Usage};

const COLUMNS: [&str; 11] =
    ["id", "severity", "state", "customer", "kind", "name", "message", "raised_at", "changed_at", "changed_by", "reason"];
const RECOMMENDED: [&str; 8] = ["customer_code", "resource", "direction", "used", "limit", "used_percent", "recommended_limit", "reason"];

/// Looks at customers that are due.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AlertsJob {}

impl Job for AlertsJob {
    const KIND: &'static str = "alerts.watch";
}

/// Looks at the customers that are due, MSP by MSP; a customer that fails is looked at again in ten minutes.
pub(crate) async fn run_job(rooms: &Rooms) -> Result<(), JobError> {
    let retry = |error: &dyn std::error::Error| JobError::Retry(error.to_string());
    for msp in rooms.tenants.list_msps().await.map_err(|error| retry(&error))? {
        match watch_msp(&rooms.tenants, &Rooms::msp_scope(&msp), false, rooms.progress.clone()).await {
            Ok(report) => log(&msp, &report),
            Err(error) => tracing::error!(msp = %msp.code, %error, "the customers of an MSP could not be looked at; the others are"),
        }
    }
    Ok(())
}

fn log(msp: &Msp, report: &WatchReport) {
    for failure in &report.failures {
        tracing::warn!(msp = %msp.code, failure, "a customer could not be looked at");
    }
    if report.raised + report.resolved > 0 {
        tracing::info!(msp = %msp.code, customers = report.customers, raised = report.raised, resolved = report.resolved, "alerts");
    }
}

pub(crate) async fn run(global: &Global, command: Alerts) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            Alerts::List { customer, msp, severity, state, format } => {
                let msp = house.msp(msp.as_deref()).await?;
                let granted = granted(house, &msp, &customer).await?;
                let mut filter = AlertFilter { severity, states: states(state.as_deref())?, ..AlertFilter::default() };
                let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
                let mut all: Vec<ListedAlert> = Vec::new();
                loop {
                    let page = list_alerts(&tx, &granted, &filter, PAGE).await?;
                    let is_last = page.len() < usize::from(PAGE);
                    all.extend(page);
                    filter.after = all.last().map(|last| granary_metering::AlertPlace::of(&last.alert));
                    if is_last {
                        break;
                    }
                }
                tx.commit().await?;
                let shown: BTreeSet<CustomerId> = all.iter().map(|listed| listed.alert.customer_id).collect();
                house.note_opening(shown, "alerts list").await?;
                let rows: Vec<_> = all.iter().map(row).collect();
                Rows::of(&COLUMNS, &rows).print(format)?;
            }
            Alerts::Check { msp, all } => {
                let msp = house.msp(msp.as_deref()).await?;
                let report = watch_msp(&house.tenants, &Rooms::msp_scope(&msp), all, house.progress.clone()).await?;
                print_json(&report)?;
                return Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            Alerts::Acknowledge { which, reason } => act(house, which, AlertStep::Acknowledge, reason.unwrap_or_default()).await?,
            Alerts::Snooze { which, hours, reason } => {
                let until = house.clock.now().checked_add(SignedDuration::from_hours(hours))?;
                act(house, which, AlertStep::Snooze(until), reason).await?;
            }
            Alerts::Escalate { which, reason } => act(house, which, AlertStep::Escalate, reason).await?,
            Alerts::Resolve { which, reason } => act(house, which, AlertStep::Resolve, reason).await?,
            Alerts::Recommend { period, msp, format } => {
                let msp = house.msp(msp.as_deref()).await?;
                let period = period.unwrap_or_else(|| Period::containing(house.clock.now(), &msp.time_zone).previous());
                let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
                let found = list_recommendations(&tx, &Granted::All, period).await?;
                tx.commit().await?;
                Rows::of(&RECOMMENDED, &found).print(format)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Alerts that are fetched at once.
const PAGE: u16 = 500;

async fn granted(house: &Rooms, msp: &Msp, codes: &[CustomerCode]) -> Result<Granted, Failure> {
    let mut ids = Vec::new();
    for code in codes {
        ids.push(house.tenants.get_customer_by_code(msp.id, code).await?.id);
    }
    Ok(if ids.is_empty() { Granted::All } else { Granted::Only(ids.into_iter().collect()) })
}

fn states(word: Option<&str>) -> Result<Vec<AlertState>, Failure> {
    match word {
        None => Ok(AlertFilter::default().states),
        Some("all") => Ok(AlertState::ALL.to_vec()),
        Some(word) => Ok(vec![word.parse().map_err(|error: granary_types::UnknownWord| Usage(error.to_string()))?]),
    }
}

fn row(listed: &ListedAlert) -> serde_json::Value {
    let alert = &listed.alert;
    json!({
        "id": alert.id, "severity": alert.severity, "state": alert.state, "customer": listed.customer_code, "kind": alert.kind,
        "name": alert.name, "message": alert.words, "raised_at": alert.raised_at, "changed_at": alert.changed_at,
        "changed_by": alert.changed_by, "reason": alert.reason,
    })
}

async fn act(house: &Rooms, which: AlertWanted, step: AlertStep, reason: String) -> Result<(), Failure> {
    let msp = house.msp(which.msp.as_deref()).await?;
    let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
    let listed = act_on_alert(&tx, &Granted::All, which.id, step, &reason).await?;
    tx.commit().await?;
    Ok(print_json(&row(&listed))?)
}
