//! Usage events from a file, through the same door as the API's.

use std::process::ExitCode;

use granary_metering::{IngestReport, Outcome, veeam};
use granary_tenants::TenantScope;
use granary_types::Period;
use serde_json::{Value, json};

use super::arguments::{Global, Import, ImportFormat};
use super::files::content_of;
use super::house::{House, Rooms};
use super::output::print_json;
use super::{Failure, Usage, customers};

/// Events of one transaction.
const BATCH: usize = 5_000;
/// Problems that are printed; the rest is counted.
const SHOWN_PROBLEMS: usize = 20;

pub(crate) async fn run(global: &Global, command: Import) -> Result<ExitCode, Failure> {
    let content = content_of(&command.file)?;
    let zone = command.time_zone.as_deref().map(customers::time_zone).transpose()?;
    House::with(global, async |house| {
        let (msp, customer) = house.customer(command.msp.as_deref(), &command.customer).await?;
        let planes = house.tenants.control_planes(customer.id).await?;
        let events: Vec<Value> = match command.format {
            ImportFormat::Cloudevents => cloudevents(&content)?,
            ImportFormat::VeeamSessions => {
                let zone = zone.as_ref().ok_or_else(|| Usage("--time-zone is needed: the report does not tell its zone".to_owned()))?;
                let source = planes.first().map_or("veeam", |plane| plane.source.as_str());
                let tx = house.tenants.begin_tenant(&Rooms::tenant_scope(&msp, &customer)).await?;
                let known = veeam::known_machines(&tx).await?;
                tx.commit().await?;
                veeam::events(content.as_slice(), zone, source, &known)?
            }
        };
        let scope = Rooms::tenant_scope(&msp, &customer);
        let tally = ingest(house, &scope, &events).await?;
        derive(house, &scope, &events).await?;
        print_json(&tally.to_json())?;
        Ok(if tally.invalid == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}

/// Splits a file into events: a JSON array, one event, or one event a line.
fn cloudevents(content: &[u8]) -> Result<Vec<Value>, Usage> {
    let wrong = |error: serde_json::Error| Usage(format!("the file holds no CloudEvents: {error}"));
    // Some programs begin a file with a byte order mark, which JSON does not know.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    match content.trim_ascii_start().first() {
        None => Err(Usage("the file holds no CloudEvents: it is empty".to_owned())),
        Some(b'[') => serde_json::from_slice(content).map_err(wrong),
        _ => serde_json::Deserializer::from_slice(content).into_iter().collect::<Result<_, _>>().map_err(wrong),
    }
}

/// What became of all events of a file.
#[derive(Debug, Default)]
struct Tally {
    events: usize,
    accepted: usize,
    duplicate: usize,
    conflict: usize,
    invalid: usize,
    problems: Vec<Value>,
}

impl Tally {
    fn add(&mut self, first: usize, report: &IngestReport) {
        self.events += report.outcomes.len();
        self.accepted += report.accepted;
        self.duplicate += report.duplicates;
        self.conflict += report.conflicts;
        self.invalid += report.invalid;
        for (index, outcome) in report.outcomes.iter().enumerate() {
            if self.problems.len() == SHOWN_PROBLEMS {
                break;
            }
            match outcome {
                Outcome::Accepted | Outcome::Duplicate => {}
                Outcome::Conflict => self.problems.push(json!({"event": first + index, "outcome": "conflict"})),
                Outcome::Invalid { pointer, message } => {
                    self.problems.push(json!({"event": first + index, "outcome": "invalid", "pointer": pointer, "message": message}));
                }
            }
        }
    }

    fn to_json(&self) -> Value {
        json!({"events": self.events, "accepted": self.accepted, "duplicate": self.duplicate, "conflict": self.conflict,
               "invalid": self.invalid, "problems": self.problems})
    }
}

async fn ingest(rooms: &Rooms, scope: &TenantScope, events: &[Value]) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    for (index, batch) in events.chunks(BATCH).enumerate() {
        let tx = rooms.tenants.begin_tenant(scope).await?;
        let report = granary_metering::ingest(&tx, None, &serde_json::to_vec(batch)?).await?;
        tx.commit().await?;
        tally.add(index * BATCH, &report);
    }
    Ok(tally)
}

/// Derives the days of every month that the file speaks of, so that it can be queried and rated at once.
async fn derive(rooms: &Rooms, scope: &TenantScope, events: &[Value]) -> Result<(), Failure> {
    let instants = events.iter().filter_map(|event| event.get("time")?.as_str()?.parse().ok());
    let periods: Vec<Period> = instants.map(|at| Period::containing(at, &scope.msp.time_zone)).collect();
    let (Some(&first), Some(&last)) = (periods.iter().min(), periods.iter().max()) else { return Ok(()) };
    let tx = rooms.tenants.begin_tenant(scope).await?;
    granary_metering::rebuild_days(&tx, first, last).await?;
    tx.commit().await?;
    for period in std::iter::successors(Some(first), |period| (*period < last).then(|| period.next())) {
        granary_metering::project_month(&rooms.tenants, scope, period).await?;
    }
    Ok(())
}
