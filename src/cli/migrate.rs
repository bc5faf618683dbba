//! `granary migrate`: the control schema and every tenant's schema brought to this program's version.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use granary_tenants::{Fleet, FleetOptions, FleetReport};
use granary_types::CustomerCode;
use serde_json::json;

use super::Failure;
use super::arguments::Global;
use super::house::{House, Rooms, configuration};
use super::output::{Format, Rows};
use super::progress::Reporter;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  granary migrate --plan                        what would run, and on how many tenants; changes nothing
  granary migrate --canary 5 --connections 8    five tenants first; when one fails, nobody follows
  granary migrate --only ACME                   one customer, before the others or again
  granary migrate --status --format csv         where every tenant stands, and why")]
pub(crate) struct Migrate {
    /// Show what would run, with its SQL, and change nothing
    #[arg(long, conflicts_with = "status")]
    pub(crate) plan: bool,
    /// Show where every tenant's schema stands and how it differs from what it should be
    #[arg(long)]
    pub(crate) status: bool,
    /// Only the customers with this code
    #[arg(long, value_name = "CODE")]
    pub(crate) only: Option<CustomerCode>,
    /// Schemas that are changed at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) connections: u8,
    /// Tenants that go first; trials and the youngest have the least to lose
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) canary: usize,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

pub(crate) async fn run(global: &Global, command: Migrate) -> Result<ExitCode, Failure> {
    // Opening the house brings the control schema up to date first.
    let house = House::open_with(configuration(global)?, Reporter::shared().port()).await?;
    let outcome = migrate(&house, &command).await;
    let closed = house.close().await;
    let answer = outcome?;
    closed?;
    Ok(answer)
}

async fn migrate(rooms: &Rooms, command: &Migrate) -> Result<ExitCode, Failure> {
    let fleet = Fleet::new(rooms.tenants.clone());
    if command.status {
        return status(&fleet, command).await;
    }
    let options = FleetOptions {
        connections: command.connections.into(),
        canaries: command.canary,
        only: command.only.clone(),
        ..FleetOptions::default()
    };
    let begun = Instant::now();
    let report = fleet.migrate(&options, rooms.progress.as_ref()).await?;
    explain(&report);
    let row = json!({
        "version": report.version,
        "migrated": report.migrated,
        "up_to_date": report.up_to_date,
        "failed": report.failed.len(),
        "held_back": report.held_back,
        "ahead": report.ahead,
        "seconds": (begun.elapsed().as_secs_f64() * 100.0).round() / 100.0,
    });
    Rows::of(&["version", "migrated", "up_to_date", "failed", "held_back", "ahead", "seconds"], &[row]).print(command.format)?;
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Brings tenants that are behind to this program's version before it serves them. One that fails is named; the others are
/// served.
pub(crate) async fn catch_up(rooms: &Rooms) -> Result<(), Failure> {
    let report = Fleet::new(rooms.tenants.clone()).migrate(&FleetOptions::default(), rooms.progress.as_ref()).await?;
    explain(&report);
    Ok(())
}

/// Names what did not go as it should.
fn explain(report: &FleetReport) {
    for failed in &report.failed {
        eprintln!("{} of {} stays at its version: {}", failed.code, failed.msp, failed.error);
    }
    if report.held_back > 0 {
        eprintln!("{} tenants were held back because a canary failed", report.held_back);
    }
    if report.ahead > 0 {
        eprintln!("{} schemas are newer than this program (version {}) and were left alone", report.ahead, report.version);
    }
}

/// Where every tenant's schema stands.
async fn status(fleet: &Fleet, command: &Migrate) -> Result<ExitCode, Failure> {
    let target = fleet.version();
    let mut is_well = true;
    let rows: Vec<_> = fleet
        .states(command.only.as_ref())
        .await?
        .into_iter()
        .map(|state| {
            let word = match state.version.cmp(&target) {
                _ if state.error.is_some() => "failed",
                std::cmp::Ordering::Less => "behind",
                std::cmp::Ordering::Equal => "current",
                std::cmp::Ordering::Greater => "ahead",
            };
            is_well &= word == "current" || word == "ahead";
            json!({
                "msp": state.msp,
                "customer": state.code,
                "schema": state.schema_name,
                "version": state.version,
                "state": word,
                "error": state.error,
                "failed_attempts": state.failed_attempts,
                "attempted_at": state.attempted_at,
                "duration_ms": state.duration_ms,
            })
        })
        .collect();
    let columns = match command.format {
        Format::Table => &["msp", "customer", "version", "state", "failed_attempts", "attempted_at", "error"][..],
        Format::Json | Format::Csv => {
            &["msp", "customer", "schema", "version", "state", "failed_attempts", "attempted_at", "duration_ms", "error"]
        }
    };
    Rows::of(columns, &rows).print(command.format)?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
