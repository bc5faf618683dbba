//! The tables of a Sendense appliance, from a directory.

use std::path::Path;
use std::process::ExitCode;

use granary_metering::sendense::{Table, Tables, plan};
use granary_tenants::Customer;
use serde_json::{Value, json};

use super::events::{Found, Tally, take};
use crate::cli::arguments::{Global, ImportSendense};
use crate::cli::files::Named;
use crate::cli::house::{House, Rooms};
use crate::cli::output::Rows as Answer;
use crate::cli::progress::Reporter;
use crate::cli::{Failure, Usage, customers};

pub(super) async fn run(global: &Global, command: ImportSendense) -> Result<ExitCode, Failure> {
    let zone = customers::time_zone(&command.time_zone)?;
    House::with(global, async |house| {
        let (msp, customer) = house.customer(command.msp.as_deref(), &command.customer).await?;
        let source = source_of(house, &customer, command.source.as_deref()).await?;
        let tables = read(&command.directory)?;
        let plan = plan(&tables, &zone, &source)?;
        let found = plan.events.into_iter().map(Found::Event).collect();
        let tally = take(house, &Rooms::tenant_scope(&msp, &customer), found, command.dry_run.into()).await?;
        let rows = plan.counts.into_iter().map(|count| json!(count)).chain(fates(&tally)).collect::<Vec<_>>();
        Answer::of(&["table", "verdict", "reason", "rows"], &rows).print(command.format)?;
        for problem in &tally.problems {
            say!("{}", json!(problem));
        }
        if command.dry_run {
            say!("nothing was counted; without --dry-run it is");
        }
        Ok(if tally.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}

/// What became of the events that were taken, under the name of no table.
fn fates(tally: &Tally) -> impl Iterator<Item = Value> {
    [
        ("accepted", "new, and counts", tally.accepted),
        ("duplicate", "counted before", tally.duplicate),
        ("conflict", "it says something else than before; in quarantine", tally.conflict),
        ("invalid", "it fits no type; in quarantine", tally.invalid),
    ]
    .into_iter()
    .filter(|(_, _, events)| *events > 0)
    .map(|(fate, reason, events)| json!({"table": "usage events", "verdict": fate, "reason": reason, "rows": events}))
}

/// Reads what there is of a dump.
fn read(directory: &Path) -> Result<Tables, Failure> {
    let progress = Reporter::shared().port();
    progress.begin("reading tables", Table::ALL.len() as u64);
    // A mistyped directory is told from an empty one.
    std::fs::read_dir(directory).named("read", directory)?;
    let (mut tables, mut missing) = (Tables::default(), Vec::new());
    for table in Table::ALL {
        let [rows, definition, csv] = ["txt", "sql", "csv"].map(|ending| directory.join(format!("{}.{ending}", table.name())));
        if rows.exists() {
            let definition = std::fs::read_to_string(&definition).named("read", &definition)?;
            tables.add_tab(table, &definition, &std::fs::read(&rows).named("read", &rows)?)?;
        } else if csv.exists() {
            tables.add_csv(table, &std::fs::read(&csv).named("read", &csv)?)?;
        } else {
            missing.push(table.name());
        }
        progress.advance(1);
    }
    progress.end();
    if missing.len() == Table::ALL.len() {
        let problem = format!("{} holds no table: neither backup_jobs.txt nor backup_jobs.csv, nor any other", directory.display());
        return Err(Usage(problem).into());
    }
    if !missing.is_empty() {
        say!("not in the directory: {}", missing.join(", "));
    }
    Ok(tables)
}

/// Finds which control plane the appliance is: events of two must not share a name.
async fn source_of(house: &Rooms, customer: &Customer, named: Option<&str>) -> Result<String, Failure> {
    let planes = house.tenants.control_planes(customer.id).await?;
    let sources: Vec<&str> = planes.iter().map(|plane| plane.source.as_str()).collect();
    let choose = |why: &str| Usage(format!("{why}; the control planes of {} are: {}", customer.code, sources.join(", ")));
    match (named, sources.as_slice()) {
        (Some(source), sources) if sources.contains(&source) => Ok(source.to_owned()),
        (Some(source), _) => Err(choose(&format!("'{source}' is none of its sources")).into()),
        (None, [source]) => Ok((*source).to_owned()),
        (None, []) => Ok("sendense".to_owned()),
        (None, _) => Err(choose("choose with --source which control plane the appliance is").into()),
    }
}
