//! The life of customers: the steps that rooms have in it, the commands that change it, and what goes on by itself.

use std::process::ExitCode;

use granary_db::jobs::JobError;
use granary_foundation::{Config, Job};
use granary_lake::Lake;
use granary_tenants::{Change, Lifecycle, Tenants, Transition};
use granary_types::{Classify, CustomerCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Failure;
use super::arguments::{Global, Life};
use super::house::{House, Rooms};
use super::output::print_json;

/// Registers the steps of every room, in order.
pub(crate) fn lifecycle(tenants: &Tenants, lake: &Lake, config: &Config) -> Lifecycle {
    super::customer_leaving::register(Lifecycle::new(tenants.clone()), lake, config)
}

/// Goes on with operations that were interrupted, ends trials whose days are over, and forgets what need not be kept any more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LifecycleJob {}

impl Job for LifecycleJob {
    const KIND: &'static str = "tenants.lifecycle";
}

/// Runs the job; what fails again stays open and is logged.
pub(crate) async fn run_job(rooms: &Rooms) -> Result<(), JobError> {
    rooms.lifecycle.end_trials().await?;
    rooms.tenants.forget_requests().await?;
    granary_billing::forget_kept(&rooms.tenants).await?;
    for (run, error) in rooms.lifecycle.take_up().await? {
        tracing::error!(tenant.id = %run.customer_id, operation = %run.operation, code = error.code(), %error, "an operation stands still");
    }
    Ok(())
}

pub(crate) async fn run(global: &Global, command: Life) -> Result<ExitCode, Failure> {
    let (code, msp, change) = match &command {
        Life::Activate { code, reason, msp } => (code, msp, Change::now(Transition::Activate, reason.as_deref())),
        Life::Suspend { code, reason, msp } => (code, msp, Change::now(Transition::Suspend, Some(reason))),
        Life::Resume { code, reason, msp } => (code, msp, Change::now(Transition::Resume, reason.as_deref())),
        Life::Close { code, reason, end_reason, msp } => {
            (code, msp, Change { end_reason: Some(*end_reason), ..Change::now(Transition::Close, Some(reason)) })
        }
    };
    House::with(global, async |house| {
        change_status(house, msp.as_deref(), code, change).await?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

async fn change_status(house: &Rooms, msp: Option<&str>, code: &CustomerCode, change: Change<'_>) -> Result<(), Failure> {
    let (msp, customer) = house.customer(msp, code).await?;
    let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
    let changed = house.lifecycle.change(&tx, customer.id, change).await?;
    tx.commit().await?;
    house.lifecycle.settle(&msp, &changed, change).await?;
    Ok(print_json(&json!({"code": changed.code, "from": customer.status, "status": changed.status, "since": changed.status_since}))?)
}
