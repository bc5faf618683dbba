//! The audit log: shown, exported, signed, and read again.

use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use granary_db::jobs::JobError;
use granary_foundation::{Job, SharedProgress};
use granary_tenants::{AuditFilter, AuditLine, AuditReport, Cursor, list_audit};
use granary_types::CustomerCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Failure;
use super::arguments::{Audit, AuditWanted, Global};
use super::files::Named;
use super::house::{ACTOR, House, Rooms};
use super::output::{Format, Rows, print_json};
use super::progress::Reporter;

/// Lines that an export reads at once.
const PAGE: u16 = 2_000;

/// Signs where every chain stands.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointJob {}

impl Job for CheckpointJob {
    const KIND: &'static str = "tenants.audit_checkpoint";
}

pub(crate) async fn run_job(rooms: &Rooms) -> Result<(), JobError> {
    rooms.tenants.checkpoint_audit("audit".into()).await?;
    Ok(())
}

pub(crate) async fn run(global: &Global, command: Audit) -> Result<ExitCode, Failure> {
    House::with(global, async |house| match command {
        Audit::List { wanted, limit, format } => {
            let lines = page(house, &wanted, None, limit).await?;
            let columns = ["happened_at", "actor", "who", "action", "customer", "subject", "reason", "detail"];
            Rows::of(&columns, &lines).print(format)?;
            Ok(ExitCode::SUCCESS)
        }
        Audit::Export { wanted, out } => {
            let lines = export(house, &wanted, &out).await?;
            print_json(&json!({"path": out, "lines": lines}))?;
            Ok(ExitCode::SUCCESS)
        }
        Audit::Verify { msp, customer, format } => verify(house, msp.as_deref(), customer.as_ref(), format).await,
        Audit::Checkpoint => {
            let signed = house.tenants.checkpoint_audit(ACTOR.into()).await?;
            print_json(&json!({"signed": signed}))?;
            Ok(ExitCode::SUCCESS)
        }
    })
    .await
}

/// Reads the lines that follow a place.
async fn page(house: &Rooms, wanted: &AuditWanted, after: Option<Cursor>, limit: u16) -> Result<Vec<AuditLine>, Failure> {
    let AuditWanted { msp, customer, installation, action, actor, since, until } = wanted;
    let filter = AuditFilter { action: action.clone(), actor: actor.clone(), since: *since, until: *until, after };
    if *installation {
        return Ok(house.tenants.list_audit_as_operator(None, &filter, limit).await?);
    }
    match customer {
        Some(code) => {
            let (msp, customer) = house.customer(msp.as_deref(), code).await?;
            Ok(house.tenants.list_audit_of_customer(&Rooms::tenant_scope(&msp, &customer), &filter, limit).await?)
        }
        None => {
            let msp = house.msp(msp.as_deref()).await?;
            let tx = house.tenants.begin_msp(&Rooms::msp_scope(&msp)).await?;
            let lines = list_audit(&tx, None, &filter, limit).await?;
            tx.commit().await?;
            Ok(lines)
        }
    }
}

async fn export(house: &Rooms, wanted: &AuditWanted, out: &Path) -> Result<u64, Failure> {
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(out).named("create", out)?;
    let (mut file, mut lines, mut after) = (BufWriter::new(file), 0, None);
    loop {
        let read = page(house, wanted, after, PAGE).await?;
        for line in &read {
            serde_json::to_writer(&mut file, line)?;
            file.write_all(b"\n").named("write", out)?;
        }
        lines += read.len() as u64;
        after = read.last().map(|line| line.place);
        if read.len() < usize::from(PAGE) {
            break;
        }
    }
    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error).named("write", out)?;
    file.sync_all().named("write", out)?;
    Ok(lines)
}

async fn verify(house: &Rooms, msp: Option<&str>, customer: Option<&CustomerCode>, format: Format) -> Result<ExitCode, Failure> {
    let progress = Reporter::shared().port();
    let reports = match (msp, customer) {
        (None, None) => verify_everything(house, &progress).await?,
        (msp, Some(code)) => {
            let (msp, customer) = house.customer(msp, code).await?;
            house.tenants.verify_audit(&msp, Some(&customer), ACTOR.into(), &progress).await?
        }
        (msp, None) => {
            let msp = house.msp(msp).await?;
            house.tenants.verify_audit(&msp, None, ACTOR.into(), &progress).await?
        }
    };
    let columns = ["msp", "customer", "records", "older", "blanked", "checkpoints", "faults"];
    let rows: Vec<Value> = reports.iter().map(|report| row(report, format)).collect();
    Rows::of(&columns, &rows).print(format)?;
    let faults: usize = reports.iter().map(|report| report.faults.len()).sum();
    for report in reports.iter().filter(|report| format == Format::Table && !report.faults.is_empty()) {
        for fault in &report.faults {
            say!(
                "{}: {fault}",
                report.customer.as_ref().map_or_else(|| report.msp.clone(), |customer| format!("{} {customer}", report.msp))
            );
        }
    }
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads the installation's chain, those of all MSPs, and those in their customers' silos.
pub(crate) async fn verify_everything(house: &Rooms, progress: &SharedProgress) -> Result<Vec<AuditReport>, Failure> {
    let mut reports = vec![house.tenants.verify_installation_audit().await?];
    for msp in house.tenants.list_msps().await? {
        reports.extend(house.tenants.verify_audit(&msp, None, ACTOR.into(), progress).await?);
    }
    Ok(reports)
}

/// A table counts the faults, which are said below it; other formats list them.
fn row(report: &AuditReport, format: Format) -> Value {
    let mut row = json!(report);
    if format == Format::Table {
        row["faults"] = json!(report.faults.len());
    }
    row
}
