//! The nightly export, by hand.

use std::process::ExitCode;
use std::sync::Arc;

use granary_lake::{AtStep, Step, Tuning};
use granary_tenants::OperatorScope;
use granary_types::{Clock, CustomerCode, Period};
use jiff::SignedDuration;
use serde_json::json;

use super::arguments::{Export, Global, Halt};
use super::house::{ACTOR, House, Missing, Rooms};
use super::output::{Rows, print_json};
use super::{Failure, Usage, night};

pub(crate) async fn run(global: &Global, command: Export) -> Result<ExitCode, Failure> {
    House::with(global, async |house| match command {
        Export::Run { night, daily_above, halt } => {
            let rooms = tuned(house, daily_above, halt);
            let outcome = night::export(&rooms, night, night::Publish::WhenChanged).await?;
            print_json(&outcome)?;
            Ok(if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Export::Verify { msp, format } => {
            let msp = house.msp(msp.as_deref()).await?;
            let report = house.lake.verify(msp.id).await?;
            Rows::of(&["customer", "dataset", "month", "part", "postgres_rows", "lake_rows", "outcome", "path"], &report.rows)
                .print(format)?;
            let differing = report.faults().count();
            say!("version {}: {} parts compared, {differing} wrong", report.version, report.rows.len());
            Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Export::Files { msp, format } => {
            let msp = house.msp(msp.as_deref()).await?;
            let snapshot = house.lake.snapshot(&Rooms::grant(&msp), None).await?;
            let rows: Vec<_> = snapshot
                .files
                .iter()
                .map(|file| {
                    let customer = file.customer.as_ref().map(|(_, code)| code);
                    json!({"customer": customer, "dataset": file.dataset, "month": file.month, "part": file.part, "rows": file.row_count,
                           "size_bytes": file.size_bytes, "path": file.path})
                })
                .collect();
            Rows::of(&["customer", "dataset", "month", "part", "rows", "size_bytes", "path"], &rows).print(format)?;
            Ok(ExitCode::SUCCESS)
        }
        Export::Versions { msp, labelled, format } => {
            let msp = house.msp(msp.as_deref()).await?;
            let listed = house.lake.list_versions(&msp, labelled, SHOWN).await?;
            Rows::of(&["version", "label", "is_kept", "created_at", "reason"], &listed).print(format)?;
            Ok(ExitCode::SUCCESS)
        }
        Export::Label { label, msp } => {
            let msp = house.msp(msp.as_deref()).await?;
            let version = house.lake.label(&msp, &label, "label").await?;
            print_json(&json!({"version": version, "label": label}))?;
            Ok(ExitCode::SUCCESS)
        }
        Export::Status { msp, format } => {
            let msp = house.msp(msp.as_deref()).await?;
            let held = house.lake.list_holdings(&msp).await?;
            let columns = ["customer", "night_on", "outcome", "finished_at", "files", "rows", "size_bytes", "past_bytes", "error"];
            Rows::of(&columns, &held).print(format)?;
            Ok(ExitCode::SUCCESS)
        }
        Export::Backfill { code, dataset, from, to, msp } => backfill(house, &code, dataset.as_deref(), (from, to), msp.as_deref()).await,
        Export::Gc { orphans, halt } => collect(&tuned(house, None, halt), orphans).await,
        Export::Open { path, reason } => {
            print_json(&open(house, &path, &reason).await?)?;
            Ok(ExitCode::SUCCESS)
        }
    })
    .await
}

/// The same rooms with a lake that halts where a test wants it to.
fn tuned(house: &Rooms, daily_above: Option<u64>, Halt { halt_at }: Halt) -> Rooms {
    let default = Tuning::default();
    let daily_above_bytes = daily_above.unwrap_or(default.daily_above_bytes);
    let lake = house.lake.tuned(Tuning { daily_above_bytes, at_step: halt_at.map(halting), ..default });
    Rooms { lake, ..house.clone() }
}

/// Says where it stands and waits to be killed: at a customer's export, or where files are collected.
fn halting(at: Step) -> AtStep {
    Arc::new(move |step, customer| {
        let is_there = step == at && (customer.is_some() || at.collects());
        Box::pin(async move {
            if is_there {
                say!("halted at {step}");
                std::future::pending::<()>().await;
            }
        })
    })
}

/// How many versions a listing shows.
const SHOWN: u16 = 200;
/// What is younger may belong to an export that has not committed yet.
const ORPHAN_HOURS: i64 = 24;

async fn backfill(
    house: &Rooms,
    code: &CustomerCode,
    dataset: Option<&str>,
    (from, to): (Option<Period>, Option<Period>),
    msp: Option<&str>,
) -> Result<ExitCode, Failure> {
    let (msp, customer) = house.customer(msp, code).await?;
    let months = from.unwrap_or(Period::MIN)..=to.unwrap_or(Period::MAX);
    if months.is_empty() {
        return Err(Usage(format!("there is no month from {} to {}", months.start(), months.end())).into());
    }
    let scope = Rooms::tenant_scope(&msp, &customer);
    let files = house.lake.backfill(&scope, dataset, &months).await?;
    let outcome = night::export(house, None, night::Publish::WhenChanged).await?;
    say!("{files} files are written anew");
    print_json(&outcome)?;
    Ok(if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn collect(house: &Rooms, orphans: bool) -> Result<ExitCode, Failure> {
    let mut went = Vec::new();
    for msp in house.tenants.list_msps().await? {
        went.push(night::let_go_of_versions(house, &msp).await?);
    }
    // By the store's own clock, which is the machine's also where the demo's stands still.
    let young = Clock::System.now() - SignedDuration::from_hours(ORPHAN_HOURS);
    let collected = if orphans { Some(house.lake.collect(young).await?) } else { None };
    print_json(&json!({"msps": went, "orphans": collected}))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns what a foreign reader needs to open one file. That it was asked for, and why, is audited first.
async fn open(house: &Rooms, path: &str, reason: &str) -> Result<serde_json::Value, Failure> {
    let operator = OperatorScope::for_job(ACTOR, format!("open the lake file {path}: {reason}"));
    house.tenants.begin_operator(&operator).await?.commit().await?;
    for msp in house.tenants.list_msps().await? {
        let snapshot = house.lake.snapshot(&Rooms::grant(&msp), None).await?;
        if let Some(file) = snapshot.files.iter().find(|file| file.path == path) {
            let customer = file.customer.as_ref().map(|(customer, _)| *customer);
            house.note_opening(customer, &format!("granary export open: {reason}")).await?;
            let key_hex: String = file.key.reveal().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(json!({"path": path, "rows": file.row_count, "key_hex": key_hex, "aad_prefix": path}));
        }
    }
    Err(Missing(format!("the lake has no file {path}; see granary export files")).into())
}
