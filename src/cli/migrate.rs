//! `granary migrate`: the control schema and every tenant's schema brought to this program's version.

use std::cmp::Ordering;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use granary_tenants::{Fleet, FleetOptions, FleetReport, SchemaState};
use granary_types::CustomerCode;
use serde_json::json;

use super::Failure;
use super::arguments::Global;
use super::house::{self, House, Rooms, configuration};
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
    /// How the answer is written: a table, JSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

pub(crate) async fn run(global: &Global, command: Migrate) -> Result<ExitCode, Failure> {
    if command.plan || command.status {
        house::must_stand(&configuration(global)?)?;
    }
    if command.plan {
        return plan(global, &command).await;
    }
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

/// What would run. The house stays closed: opening it would migrate the control schema.
async fn plan(global: &Global, command: &Migrate) -> Result<ExitCode, Failure> {
    let (server, url) = house::postgres(&configuration(global)?, &Reporter::shared().port()).await?;
    let planned = granary_tenants::plan(&url, command.only.as_ref()).await;
    if let Some(server) = server {
        server.stop().await?;
    }
    let rows: Vec<_> = planned?
        .into_iter()
        .map(|migration| {
            json!({
                "schema": migration.schema,
                "version": migration.version,
                "name": migration.name,
                "schemas": migration.schemas,
                "sql": migration.sql,
            })
        })
        .collect();
    if command.format == Format::Table {
        for row in &rows {
            say!("-- {} V{:04} {}", row["schema"].as_str().unwrap_or_default(), row["version"], row["name"].as_str().unwrap_or_default());
            say!("{}", row["sql"].as_str().unwrap_or_default());
        }
        Rows::of(&["schema", "version", "name", "schemas"], &rows).print(command.format)?;
    } else {
        Rows::of(&["schema", "version", "name", "schemas", "sql"], &rows).print(command.format)?;
    }
    Ok(ExitCode::SUCCESS)
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
        say!("{} of {} stays at its version: {}", failed.code, failed.msp, failed.error);
    }
    if report.held_back > 0 {
        say!("{} tenants were held back because a canary failed", report.held_back);
    }
    if report.ahead > 0 {
        say!("{} schemas are newer than this program (version {}) and were left alone", report.ahead, report.version);
    }
}

/// Where every tenant's schema stands, and how it differs from what it should be.
async fn status(fleet: &Fleet, command: &Migrate) -> Result<ExitCode, Failure> {
    let drift = fleet.find_drift(command.only.as_ref()).await?;
    let states = fleet.states(command.only.as_ref()).await?;
    let target = fleet.version();
    let word = |state: &SchemaState| match state.version.cmp(&target) {
        _ if state.error.is_some() => "failed",
        _ if state.drift.is_some() => "drifted",
        Ordering::Less => "behind",
        Ordering::Equal => "current",
        Ordering::Greater => "ahead",
    };
    let rows: Vec<_> = states
        .iter()
        .map(|state| {
            json!({
                "msp": state.msp,
                "customer": state.code,
                "schema": state.schema_name,
                "version": state.version,
                "state": word(state),
                "error": state.error,
                "drift": state.drift,
                "failed_attempts": state.failed_attempts,
                "attempted_at": state.attempted_at,
                "duration_ms": state.duration_ms,
            })
        })
        .collect();
    let columns = match command.format {
        Format::Table => &["msp", "customer", "version", "state", "failed_attempts", "attempted_at", "error", "drift"][..],
        Format::Json | Format::Csv => {
            &["msp", "customer", "schema", "version", "state", "failed_attempts", "attempted_at", "duration_ms", "error", "drift"]
        }
    };
    Rows::of(columns, &rows).print(command.format)?;
    say!("{} schemas compared with version {target}, {} drifted", drift.checked, drift.drifted.len());
    for (cluster, why) in &drift.unseen {
        say!("cluster {cluster} could not be looked at: {why}");
    }
    let is_well = drift.unseen.is_empty() && states.iter().all(|state| matches!(word(state), "current" | "ahead"));
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
