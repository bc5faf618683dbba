//! The nightly export, by hand.

use std::process::ExitCode;

use granary_tenants::OperatorScope;
use serde_json::json;

use super::arguments::{Export, Global};
use super::house::{ACTOR, House, Missing, Rooms};
use super::output::{Rows, print_json};
use super::{Failure, night};

pub(crate) async fn run(global: &Global, command: Export) -> Result<ExitCode, Failure> {
    House::with(global, async |house| match command {
        Export::Run { night } => {
            let outcome = night::export(house, night, night::Publish::WhenChanged).await?;
            print_json(&outcome)?;
            Ok(if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Export::Verify { msp, format } => {
            let msp = house.msp(msp.as_deref()).await?;
            let report = house.lake.verify(msp.id).await?;
            Rows::of(&["customer", "dataset", "month", "postgres_rows", "lake_rows", "outcome", "path"], &report.rows).print(format)?;
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
                    json!({"customer": customer, "dataset": file.dataset, "month": file.month, "rows": file.row_count,
                           "size_bytes": file.size_bytes, "path": file.path})
                })
                .collect();
            Rows::of(&["customer", "dataset", "month", "rows", "size_bytes", "path"], &rows).print(format)?;
            Ok(ExitCode::SUCCESS)
        }
        Export::Open { path, reason } => {
            print_json(&open(house, &path, &reason).await?)?;
            Ok(ExitCode::SUCCESS)
        }
    })
    .await
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
