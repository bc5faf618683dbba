//! What a rush of logins costs those who are in: `cargo bench --bench logins`.
//!
//! The binary serves; four clients send usage events as fast as they are taken, alone and beside 100 logins a second with the
//! right password, in turns. Prints the events a second of both, their ratio, and what became of the logins.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has failed")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;

const GRANARY: &str = env!("CARGO_BIN_EXE_granary");
const CLIENTS: u64 = 4;
const BATCH: u64 = 500;
const USERS: u64 = 50;
const LOGINS_A_SECOND: u64 = 100;
const TURN: Duration = Duration::from_secs(8);
const TURNS: usize = 4;
/// Ingest keeps at least this share of its pace.
const LIMIT: f64 = 0.8;

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (mut server, base) = serve(folder.path());
    run(folder.path(), &["customer", "add", "ACME", "--name", "ACME Inc.", "--source", "vbr"], "");
    for user in 0..USERS {
        run(folder.path(), &["user", "add", &format!("user{user}@north.example"), "--role", "msp_analyst"], "correct horse battery\n");
    }
    let key = run(folder.path(), &["api-key", "add", "--customer", "ACME"], "");
    let key = key.split('"').find(|word| word.starts_with("grn_live_")).unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&base, &key));
    Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap();
    server.wait().unwrap();
}

async fn measure(base: &str, key: &str) {
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, url, key) = (client.clone(), format!("{base}/api/v1/usage/events"), key.to_owned());
        let (sent, is_over) = (Arc::clone(&sent), Arc::clone(&is_over));
        senders.spawn(async move {
            let mut next = 0;
            while !is_over.load(Ordering::Relaxed) {
                let response =
                    client.post(&url).bearer_auth(&key).header("content-type", "application/json").body(batch(number, next)).send();
                let response = response.await.unwrap();
                assert!(response.status().is_success(), "{}", response.text().await.unwrap());
                next += BATCH;
                sent.fetch_add(BATCH, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(TURN / 2).await;
    let (mut alone, mut beside, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        alone.push(pace(&sent, async { tokio::time::sleep(TURN).await }).await);
        let mut logins = JoinSet::new();
        beside.push(pace(&sent, rush(&client, base, &mut logins)).await);
        // Those who wait for their turn are let in before the next measurement begins.
        answers.extend(logins.join_all().await);
    }
    is_over.store(true, Ordering::Relaxed);
    senders.join_all().await;
    let (alone, beside) = (median(alone), median(beside));
    println!("{:<66} {:>10} {:>10} {:>7} {:>7}", "promise", "measured", "beside", "ratio", "limit");
    let promise = format!("events a second beside {LOGINS_A_SECOND} logins a second, and alone");
    println!("{promise:<66} {beside:>10.0} {alone:>10.0} {:>7.2} {LIMIT:>7.2}", beside / alone);
    let count = |wanted: u16| answers.iter().filter(|(status, _)| *status == wanted).count();
    let mut let_in: Vec<f64> = answers.iter().filter(|(status, _)| *status == 303).map(|(_, seconds)| *seconds).collect();
    let_in.sort_by(f64::total_cmp);
    let slowest = let_in.get(let_in.len() * 95 / 100).copied().unwrap_or(f64::NAN);
    println!(
        "{} logins: {} let in (95 % within {slowest:.1} s), {} told to come back, {} otherwise",
        answers.len(),
        count(303),
        count(503),
        { answers.len() - count(303) - count(503) }
    );
}

/// Events a second while something goes on.
async fn pace(sent: &AtomicU64, work: impl Future<Output = ()>) -> f64 {
    let (before, begun) = (sent.load(Ordering::Relaxed), Instant::now());
    work.await;
    (sent.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64()
}

/// Sends logins at their pace, whether or not the earlier ones were answered, each from an address of its own.
async fn rush(client: &Client, base: &str, logins: &mut JoinSet<(u16, f64)>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(LOGINS_A_SECOND).unwrap());
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < TURN {
        ticks.tick().await;
        let login = client
            .post(format!("{base}/login"))
            .header("origin", base)
            .header("x-forwarded-for", format!("198.51.100.{}", number % 250))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("email=user{}%40north.example&password=correct+horse+battery", number % USERS));
        number += 1;
        logins.spawn(async move {
            let begun = Instant::now();
            let status = login.send().await.map_or(0, |response| response.status().as_u16());
            (status, begun.elapsed().as_secs_f64())
        });
    }
}

/// Events that nobody sent before: runs of a machine, each with a disk.
fn batch(client: u64, from: u64) -> String {
    let events: Vec<_> = (from..from + BATCH)
        .map(|number| {
            let id = format!("{client}-{number}");
            json!({"specversion": "1.0", "source": "vbr", "id": id, "type": "backup.completed", "time": "2026-01-02T14:30:00Z", "data": {
                "run_id": id, "machine": {"source_system": "veeam", "vendor_id": format!("vm-{}", number % 50)}, "kind": "full", "attempt": 1,
                "has_warning": false, "started_at": "2026-01-02T14:00:00Z", "ended_at": "2026-01-02T14:30:00Z",
                "disks": [{"index": 0, "size_bytes": 1_000, "transferred_bytes": 1_000, "state": "completed"}]}})
        })
        .collect();
    serde_json::to_string(&events).unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

fn serve(data: &Path) -> (Child, String) {
    run(data, &["msp", "add", "NORTH", "--name", "Northern Backup"], "");
    let config = data.join("granary.toml");
    std::fs::write(&config, "[server]\nbehind_https = true\n").unwrap();
    let mut command = Command::new(GRANARY);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).arg("--config").arg(&config);
    let mut server = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("listening on")).unwrap();
    let base = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    std::thread::spawn(move || lines.for_each(drop));
    (server, base)
}

fn run(data: &Path, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(GRANARY);
    command.args(arguments).arg("--data-dir").arg(data).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}
