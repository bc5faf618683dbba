//! `granary simulate`: control planes with a bad line, over HTTP, that know the truth to compare with.

mod line;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use granary_access::{Manager, NewApiKey};
use granary_foundation::{Outbound, Secret, SharedProgress};
use granary_metering::SourceTally;
use granary_simulator::{ControlPlane, Traffic, Truth};
use granary_tenants::{Msp, NewContract, NewCustomer};
use granary_types::{CustomerCode, Tier};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use self::line::{Line, Sent};
use super::arguments::{Global, Simulate};
use super::files::content_of;
use super::house::{ACTOR, House, Rooms, configuration};
use super::output::Rows;
use super::progress::Reporter;
use super::{Failure, Usage};

/// Requests a key may make a minute: the sender is slower, and what is tested is the server.
const REQUESTS_PER_MINUTE: i32 = 1_000_000;
/// Networks of this machine, where servers under test listen.
const THIS_MACHINE: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// Longest time of one request; a server that restarts holds none open.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Who sends, and by which key.
#[derive(Debug, Clone, Deserialize)]
struct Sender {
    customer_code: String,
    source: String,
    key: Secret,
}

/// What became of one customer's events.
#[derive(Debug, Serialize)]
struct Outcome {
    customer_code: String,
    events: i64,
    acknowledged: i64,
    counted: Option<i64>,
    runs: i64,
    runs_counted: Option<i64>,
    transferred_bytes: i64,
    bytes_counted: Option<i64>,
    is_exact: bool,
}

const COLUMNS: [&str; 9] =
    ["customer_code", "events", "acknowledged", "counted", "runs", "runs_counted", "transferred_bytes", "bytes_counted", "is_exact"];

pub(crate) async fn run(global: &Global, command: Simulate) -> Result<ExitCode, Failure> {
    if command.keys.is_some() && !command.check {
        return simulate(global, &command, None).await;
    }
    House::with(global, async |house| simulate(global, &command, Some(house)).await).await
}

async fn simulate(global: &Global, command: &Simulate, house: Option<&Rooms>) -> Result<ExitCode, Failure> {
    let config = configuration(global)?;
    let url = command.url.clone().unwrap_or_else(|| format!("http://{}", config.server.listen));
    let mut out = config.outbound.clone();
    for network in THIS_MACHINE {
        out.allow.push(network.parse()?);
    }
    let line = Line::new(Outbound::new(&out).with_timeout(TIMEOUT), &url)?;
    line.must_answer().await?;
    let progress: SharedProgress = Reporter::shared().port();
    let senders = match (&command.keys, house) {
        (Some(file), _) => read_keys(&content_of(file)?)?,
        (None, Some(house)) => make_senders(house, command, &progress).await?,
        (None, None) => return Err(Usage("--keys is needed where there is no house".to_owned()).into()),
    };
    let sent = send(command, &line, &senders, &progress).await?;
    let mut outcomes = Vec::with_capacity(senders.len());
    for (sender, plane) in senders.iter().zip(&sent.planes) {
        let counted = match house.filter(|_| command.check) {
            Some(house) => Some(count(house, command.msp.as_deref(), sender).await?),
            None => None,
        };
        outcomes.push(compare(sender, plane, counted));
    }
    Rows::of(&COLUMNS, &outcomes).print(command.format)?;
    report(&sent, &outcomes);
    let is_exact = outcomes.iter().all(|outcome| outcome.is_exact);
    Ok(if is_exact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_keys(content: &[u8]) -> Result<Vec<Sender>, Usage> {
    let wrong = |error: csv::Error| Usage(format!("the keys are no CSV of customer_code, source and key: {error}"));
    let senders: Vec<Sender> = csv::Reader::from_reader(content).deserialize().collect::<Result<_, _>>().map_err(wrong)?;
    if senders.is_empty() {
        return Err(Usage("the file holds no keys".to_owned()));
    }
    Ok(senders)
}

/// Makes the customers that are not there yet, and a key for each, which ends by itself.
async fn make_senders(house: &Rooms, command: &Simulate, progress: &SharedProgress) -> Result<Vec<Sender>, Failure> {
    let msp = house.msp(command.msp.as_deref()).await?;
    progress.begin("simulated customers", u64::from(command.customers));
    let mut senders = Vec::new();
    for number in 1..=command.customers {
        senders.push(make_sender(house, &msp, command, number).await?);
        progress.advance(1);
    }
    progress.end();
    Ok(senders)
}

async fn make_sender(house: &Rooms, msp: &Msp, command: &Simulate, number: u32) -> Result<Sender, Failure> {
    let code: CustomerCode = format!("SIM-{}-{number}", command.seed).parse()?;
    let source = format!("simulated-{}-{number}", command.seed);
    let contract = NewContract::new(Date::constant(2025, 12, 1), msp.currency, Tier::Backup, 1_000);
    let new = NewCustomer {
        control_planes: vec![("simulated control plane".to_owned(), source.clone())],
        ..NewCustomer::new(msp.id, code.clone(), format!("Simulated customer {number}"), msp.time_zone.clone(), contract)
    };
    let customer = house.lifecycle.provision(&new, ACTOR.into()).await?;
    let new = NewApiKey {
        msp_id: msp.id,
        customer_id: Some(customer.id),
        control_plane_id: None,
        name: "granary simulate".to_owned(),
        scopes: vec!["usage.write".parse()?],
        expires_at: Some(house.access.instant() + command.duration + Duration::from_hours(2)),
        requests_per_minute: Some(REQUESTS_PER_MINUTE),
    };
    let (_, key) = house.access.create_api_key(Manager::Command(ACTOR), &new).await?;
    Ok(Sender { customer_code: code.to_string(), source, key })
}

/// Lets every control plane send until all is known to count, or nothing is heard any more.
async fn send(command: &Simulate, line: &Line, senders: &[Sender], progress: &SharedProgress) -> Result<Sent, Failure> {
    let each = (f64::from(command.rate) * command.duration.as_secs_f64() / senders.len() as f64).ceil() as u64;
    progress.begin("simulated events", each * senders.len() as u64);
    let mut tasks = JoinSet::new();
    for (index, sender) in senders.iter().enumerate() {
        let traffic = Traffic::new(command.seed, index as u64 + 1, sender.source.as_str());
        let plane = ControlPlane::new(traffic, command.seed, index as u64 + 1, command.chaos);
        let (line, progress) = (line.with_key(sender.key.clone()), SharedProgress::clone(progress));
        let (duration, batch) = (command.duration, command.batch as usize);
        tasks.spawn(async move { (index, line.drive(plane, each, duration, batch, &progress).await) });
    }
    let mut ended = BTreeMap::new();
    while let Some(task) = tasks.join_next().await {
        let (index, driven) = task?;
        ended.insert(index, driven);
    }
    progress.end();
    let mut sent = Sent::default();
    ended.into_values().for_each(|driven| sent.add(driven));
    Ok(sent)
}

async fn count(house: &Rooms, msp: Option<&str>, sender: &Sender) -> Result<SourceTally, Failure> {
    let (msp, customer) = house.customer(msp, &sender.customer_code.parse()?).await?;
    let tx = house.tenants.begin_tenant(&Rooms::tenant_scope(&msp, &customer)).await?;
    tx.record_audit("events.counted", &format!("customer:{}", customer.code), &json!({"source": sender.source}), None).await?;
    let tally = granary_metering::tally_source(&tx, &sender.source).await?;
    tx.commit().await?;
    Ok(tally)
}

fn compare(sender: &Sender, plane: &ControlPlane, counted: Option<SourceTally>) -> Outcome {
    let (truth, acknowledged) = (plane.truth(), plane.acknowledged());
    let counted = counted.map(|tally| Truth {
        events: tally.events,
        machines_protected: tally.machines_protected,
        runs_completed: tally.runs_completed,
        runs_failed: tally.runs_failed,
        transferred_bytes: tally.transferred_bytes,
    });
    let runs = |truth: Truth| truth.runs_completed + truth.runs_failed;
    Outcome {
        customer_code: sender.customer_code.clone(),
        events: truth.events,
        acknowledged: acknowledged.events,
        counted: counted.map(|counted| counted.events),
        runs: runs(truth),
        runs_counted: counted.map(runs),
        transferred_bytes: truth.transferred_bytes,
        bytes_counted: counted.map(|counted| counted.transferred_bytes),
        is_exact: acknowledged == truth && counted.is_none_or(|counted| counted == truth) && plane.surprises().is_empty(),
    }
}

/// Says beside the answer what the server said how often, and what was wrong.
fn report(sent: &Sent, outcomes: &[Outcome]) {
    let said: Vec<String> = sent.answers.iter().map(|(answer, times)| format!("{times} × {answer}")).collect();
    say!("answers: {}", said.join(", "));
    for (outcome, plane) in outcomes.iter().zip(&sent.planes) {
        for surprise in plane.surprises() {
            say!("{}: {surprise}", outcome.customer_code);
        }
        if outcome.counted.is_some_and(|counted| counted > outcome.events) {
            say!("{}: the server counts more than happened in this run; an earlier one with this seed was longer", outcome.customer_code);
        }
    }
}
