//! Writers that replay events over HTTP until each is known to count, and a server that is killed under them; the bench
//! `endurance` uses the same ones.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use granary_simulator::{Traffic, Truth};
use serde_json::Value;
use tokio::task::JoinSet;

/// A server on an address that it keeps, however often it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    data_dir: PathBuf,
    address: String,
    pub(crate) child: Child,
}

impl Server {
    pub(crate) fn start(data_dir: &Path) -> Self {
        // Free a moment ago: the one way to know an address before the server has it.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = serve(data_dir, &address);
        Self { data_dir: data_dir.to_owned(), address, child }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Kills the server, so that nothing is tidied up, and starts another in its place.
    pub(crate) fn kill_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = serve(&self.data_dir, &self.address);
    }

    pub(crate) fn stop(mut self) {
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    /// A test that failed leaves no server behind; one that was stopped has ended already.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn granary(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_granary"));
    command.args(arguments).arg("--data-dir").arg(data_dir).env_remove("GRANARY_DATABASE_URL").env("GRANARY_LOG", "error");
    command
}

fn serve(data_dir: &Path, address: &str) -> Child {
    let mut child = granary(data_dir, &["serve", "--listen", address]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("listening on")), "the server did not come up");
    // Whatever else it says is read, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// What the writers were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// What the server said that it counts.
    pub(crate) acknowledged: BTreeSet<u64>,
    /// How often an event was called new.
    pub(crate) accepted: usize,
    /// How often each status was answered; 0 where there was no answer.
    pub(crate) statuses: BTreeMap<u16, usize>,
    /// Answers 429 and 503 that did not say when to come again.
    pub(crate) without_retry_after: usize,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.accepted += other.accepted;
        other.statuses.into_iter().for_each(|(status, times)| *self.statuses.entry(status).or_default() += times);
        self.without_retry_after += other.without_retry_after;
    }
}

/// One customer's events, which writers send again and again.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) traffic: Traffic,
    pub(crate) url: String,
    pub(crate) key: String,
    /// The numbers of the events in the order in which they go out, repetitions included.
    pub(crate) numbers: Vec<u64>,
    pub(crate) batch: usize,
    /// What a writer waits after an answer.
    pub(crate) pause: Duration,
    /// How many batches are known to count.
    pub(crate) done: AtomicUsize,
}

impl Replay {
    pub(crate) fn batches(&self) -> usize {
        self.numbers.len().div_ceil(self.batch)
    }

    /// Lets writers share the batches; each sends its batch until it is answered.
    pub(crate) async fn send(self: &Arc<Self>, writers: usize) -> Told {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let next = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let (replay, client, next) = (Arc::clone(self), client.clone(), Arc::clone(&next));
            tasks.spawn(async move {
                let mut told = Told::default();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(numbers) = replay.numbers.chunks(replay.batch).nth(index) else { return told };
                    replay.send_batch(&client, writer, numbers, &mut told).await;
                    replay.done.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(replay.pause).await;
                }
            });
        }
        let mut told = Told::default();
        while let Some(one) = tasks.join_next().await {
            told.add(one.unwrap());
        }
        told
    }

    async fn send_batch(&self, client: &reqwest::Client, writer: usize, numbers: &[u64], told: &mut Told) {
        let events: Vec<String> = numbers.iter().map(|number| self.traffic.event(*number)).collect();
        let body = format!("[{}]", events.join(","));
        // Not everybody comes again at once.
        let jitter = Duration::from_millis(20 + 7 * writer as u64);
        for _ in 0..2_000 {
            let request = client.post(format!("{}/api/v1/usage/events", self.url)).bearer_auth(&self.key);
            let answer = match request.header("content-type", "application/json").body(body.clone()).send().await {
                Ok(response) => {
                    let (status, headers) = (response.status().as_u16(), response.headers().clone());
                    response.bytes().await.map(|body| (status, headers, body))
                }
                Err(error) => Err(error),
            };
            let (status, headers, body) = match answer {
                Ok(answer) => answer,
                Err(_) => {
                    *told.statuses.entry(0).or_default() += 1;
                    tokio::time::sleep(jitter).await;
                    continue;
                }
            };
            *told.statuses.entry(status).or_default() += 1;
            match status {
                200 => return hear(numbers, &serde_json::from_slice(&body).unwrap(), told),
                429 | 503 => {
                    let wait = headers.get("retry-after").and_then(|text| text.to_str().ok()?.parse().ok());
                    told.without_retry_after += usize::from(wait.is_none());
                    tokio::time::sleep(Duration::from_secs(wait.unwrap_or(1)) + jitter).await;
                }
                other => panic!("{other}: {}", String::from_utf8_lossy(&body)),
            }
        }
        panic!("a batch was never answered");
    }
}

fn hear(numbers: &[u64], report: &Value, told: &mut Told) {
    let outcomes = report["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), numbers.len());
    for (number, outcome) in numbers.iter().zip(outcomes) {
        match outcome["outcome"].as_str() {
            Some("accepted") => told.accepted += 1,
            Some("duplicate") => {}
            _ => panic!("event {number}: {outcome}"),
        }
        told.acknowledged.insert(*number);
    }
}

/// Makes a house with a customer and returns the customer's key.
pub(crate) fn make_house(data_dir: &Path, customers: &[&str]) -> Vec<String> {
    run(data_dir, &["msp", "add", "NORTH", "--name", "Northern Backup"]);
    let make = |code: &&str| {
        run(data_dir, &["customer", "add", code, "--name", code, "--source", "sim", "--since", "2025-12-01"]);
        let key: Value = serde_json::from_str(&run(data_dir, &["api-key", "add", "--customer", code, "--per-minute", "1000000"])).unwrap();
        key["key"].as_str().unwrap().to_owned()
    };
    customers.iter().map(make).collect()
}

fn run(data_dir: &Path, arguments: &[&str]) -> String {
    let output = granary(data_dir, arguments).output().unwrap();
    assert!(output.status.success(), "granary {}\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Counts in a customer's silo, as the database's owner, while the house is open.
pub(crate) fn count(data_dir: &Path, code: &str) -> Truth {
    let silo = psql(data_dir, &format!("select schema_name from control.customers where code = '{code}'"));
    let silo = silo.trim();
    let numbers = psql(
        data_dir,
        &format!(
            "select (select count(*) from {silo}.usage_events), (select count(*) from {silo}.machines where protected_on is not null), \
             count(*) filter (where state like 'completed%'), count(*) filter (where state = 'failed'), coalesce(sum(transferred_bytes), 0) \
             from {silo}.backup_runs"
        ),
    );
    let numbers: Vec<i64> = numbers.trim().split('|').map(|number| number.parse().unwrap()).collect();
    let [events, machines_protected, runs_completed, runs_failed, transferred_bytes] = numbers.try_into().unwrap();
    Truth { events, machines_protected, runs_completed, runs_failed, transferred_bytes }
}

fn psql(data_dir: &Path, sql: &str) -> String {
    let password = std::fs::read_to_string(data_dir.join("postgres.password")).unwrap();
    let mut psql = Command::new("psql");
    psql.arg("--host").arg(data_dir.join("postgres/run")).args(["--username", "granary", "--dbname", "granary"]);
    psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1", "--command", sql]);
    let output = psql.env("PGPASSWORD", password.trim()).output().unwrap();
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
