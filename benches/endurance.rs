//! Exactness and endurance at full size: `cargo bench --bench endurance`, or `-- replay`, `-- single`, `-- memory`.
//!
//! Replay: 16 writers send 1,000,000 events three times in random order while the server is killed five times. Single: one event a
//! request, 200 requests a second for 5 minutes, in turns with a bare insert and commit of one row at the same pace. Memory: what
//! the server holds under load for 10 minutes. `GRANARY_BENCH_EVENTS`, `GRANARY_BENCH_SINGLE_SECONDS` and
//! `GRANARY_BENCH_MEMORY_SECONDS` shorten them for a rehearsal.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a measurement that fails has failed")]

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use granary_simulator::Traffic;
use reqwest::Client;
use tokio::task::JoinSet;

#[path = "../tests/it/replay.rs"]
mod replay;

use replay::{Replay, Server};

const WRITERS: usize = 16;
const KILLS: usize = 5;
const A_SECOND: u32 = 200;
const P99_LIMIT_MS: f64 = 25.0;
const MEMORY_LIMIT_MIB: f64 = 300.0;
/// The last fifth of the time holds at most so many times what the second fifth held.
const FLAT: f64 = 1.1;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let is_wanted = |name: &str| arguments.iter().all(|argument| argument.starts_with('-')) || arguments.iter().any(|word| word == name);
    println!("{:<66} {:>12} {:>10} {:>7} {:>8}", "promise", "measured", "beside", "ratio", "limit");
    if is_wanted("replay") {
        runtime.block_on(replay_all(setting("GRANARY_BENCH_EVENTS", 1_000_000)));
    }
    if is_wanted("single") {
        runtime.block_on(single_events(Duration::from_secs(setting("GRANARY_BENCH_SINGLE_SECONDS", 300))));
    }
    if is_wanted("memory") {
        runtime.block_on(memory(Duration::from_secs(setting("GRANARY_BENCH_MEMORY_SECONDS", 600))));
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench has no configuration")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

async fn replay_all(events: u64) {
    let folder = folder();
    let key = replay::make_house(folder.path(), &["ACME"]).remove(0);
    let mut server = Server::start(folder.path());
    let traffic = Traffic::new(11, 1, "sim");
    let numbers = traffic.repeated(events, 3);
    let (url, done) = (server.url(), AtomicUsize::new(0));
    let replay = Arc::new(Replay { traffic, url, key, numbers, batch: 1_000, pause: Duration::ZERO, done });
    let begun = Instant::now();
    let kills = async {
        for kill in 1..=KILLS {
            while replay.done.load(Ordering::Relaxed) < replay.batches() * kill / (KILLS + 1) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::task::block_in_place(|| server.kill_and_start());
        }
    };
    let (told, ()) = tokio::join!(replay.send(WRITERS), kills);
    let seconds = begun.elapsed().as_secs_f64();
    let every: BTreeSet<u64> = (0..events).collect();
    let (truth, counted) = (replay.traffic.truth(&every), replay::count(folder.path(), "ACME"));
    let promise = format!("{events} events x 3, {WRITERS} writers, {KILLS} kills: counted, and the truth");
    let ratio = counted.events as f64 / truth.events as f64;
    println!("{promise:<66} {:>12} {:>10} {ratio:>7.4} {:>8}", counted.events, truth.events, "1.0000");
    let ratio = counted.transferred_bytes as f64 / truth.transferred_bytes as f64;
    println!(
        "  bytes {} of {} ({ratio:.6}), {seconds:.0} s, answers {:?}",
        counted.transferred_bytes, truth.transferred_bytes, told.statuses
    );
    assert!(counted == truth && told.acknowledged == every, "{counted:?} is not {truth:?}");
    server.stop();
}

async fn single_events(each: Duration) {
    let (folder, codes) = (folder(), ["ONE", "TWO", "THREE", "FOUR", "FIVE"]);
    let keys = replay::make_house(folder.path(), &codes);
    let server = Server::start(folder.path());
    let client = Client::builder().no_proxy().build().unwrap();
    let planes: Vec<(Traffic, String)> = keys.into_iter().zip(1..).map(|(key, index)| (Traffic::new(12, index, "sim"), key)).collect();
    let planes = Arc::new(planes);
    let bare = Arc::new(connect(folder.path()).await);
    bare[0].batch_execute("create table public.bare_events (id bigint primary key, data text not null)").await.unwrap();
    let url = format!("{}/api/v1/usage/events", server.url());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // In turns, so that both meet the same minutes of the machine.
    let turn = Duration::from_secs(15).min(each);
    let (mut sent, refused) = (0, Arc::new(AtomicUsize::new(0)));
    while ours.len() < (each.as_secs() * u64::from(A_SECOND)) as usize {
        let send = |number: u64| {
            let (client, url, planes, refused) = (client.clone(), url.clone(), Arc::clone(&planes), Arc::clone(&refused));
            async move {
                let (traffic, key) = &planes[number as usize % planes.len()];
                let body = traffic.event(number / planes.len() as u64);
                loop {
                    let request = client.post(&url).bearer_auth(key).header("content-type", "application/json").body(body.clone());
                    let response = request.send().await.unwrap();
                    match response.status().as_u16() {
                        200 => return,
                        // It waits as it is told, and its time goes on.
                        429 | 503 => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}: {}", response.text().await.unwrap()),
                    };
                    let wait = response.headers().get("retry-after").and_then(|text| text.to_str().ok()?.parse().ok()).unwrap_or(1);
                    tokio::time::sleep(Duration::from_secs(wait)).await;
                }
            }
        };
        ours.extend(paced(turn, sent, send).await);
        let insert = |number: u64| {
            let (bare, planes) = (Arc::clone(&bare), Arc::clone(&planes));
            async move {
                let (client, text) = (&bare[number as usize % bare.len()], planes[0].0.event(number));
                let id = i64::try_from(number).unwrap();
                client.execute("insert into public.bare_events (id, data) values ($1, $2)", &[&id, &text]).await.unwrap();
            }
        };
        theirs.extend(paced(turn, sent, insert).await);
        sent += turn.as_secs() * u64::from(A_SECOND);
    }
    for (share, limit) in [(0.5, None), (0.99, Some(P99_LIMIT_MS))] {
        let (ours, theirs) = (percentile(&mut ours, share), percentile(&mut theirs, share));
        let promise = format!("single events at {A_SECOND}/s, p{:.0} in ms, and a bare insert", share * 100.0);
        let limit = limit.map_or_else(|| "-".to_owned(), |limit| format!("{limit:.0}"));
        println!("{promise:<66} {ours:>12.2} {theirs:>10.2} {:>7.2} {limit:>8}", ours / theirs);
    }
    println!("  {} requests each, {} told to come again", ours.len(), refused.load(Ordering::Relaxed));
    server.stop();
}

/// Does something at its pace, whether or not the earlier ones have ended, and returns how long each took from when it was due.
async fn paced<F: Future<Output = ()> + Send + 'static>(time: Duration, first: u64, work: impl Fn(u64) -> F) -> Vec<f64> {
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for number in 0..time.as_secs() * u64::from(A_SECOND) {
        let due = begun + Duration::from_secs(1) / A_SECOND * u32::try_from(number).unwrap();
        tokio::time::sleep_until(due.into()).await;
        let work = work(first + number);
        tasks.spawn(async move {
            work.await;
            due.elapsed().as_secs_f64() * 1_000.0
        });
    }
    tasks.join_all().await
}

async fn connect(data_dir: &Path) -> Vec<tokio_postgres::Client> {
    let password = std::fs::read_to_string(data_dir.join("postgres.password")).unwrap();
    let socket = data_dir.join("postgres/run");
    let text = format!("host={} user=granary dbname=granary password={}", socket.display(), password.trim());
    let config = tokio_postgres::Config::from_str(&text).unwrap();
    let mut clients = Vec::new();
    for _ in 0..8 {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        clients.push(client);
    }
    clients
}

fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share) as usize]
}

async fn memory(time: Duration) {
    let folder = folder();
    let codes: Vec<String> = (1..=10).map(|number| format!("C{number}")).collect();
    let keys = replay::make_house(folder.path(), &codes.iter().map(String::as_str).collect::<Vec<_>>());
    let server = Server::start(folder.path());
    let (is_over, batches) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut senders = JoinSet::new();
    for (writer, key) in (0..WRITERS).zip(keys.into_iter().cycle()) {
        let (is_over, batches, url) = (Arc::clone(&is_over), Arc::clone(&batches), server.url());
        let traffic = Traffic::new(13 + writer as u64, 1, "sim");
        senders.spawn(async move {
            for from in (0..).step_by(1_000).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                let (traffic, numbers) = (traffic.clone(), (from..from + 1_000).collect());
                let (url, key, done) = (url.clone(), key.clone(), AtomicUsize::new(0));
                let replay = Arc::new(Replay { traffic, url, key, numbers, batch: 1_000, pause: Duration::ZERO, done });
                replay.send(1).await;
                batches.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let (begun, mut held) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        tokio::time::sleep(Duration::from_millis(500)).await;
        held.push(resident_mib(server.child.id()));
    }
    is_over.store(true, Ordering::Relaxed);
    senders.join_all().await;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let fifth = (held.len() / 5).max(1);
    let (early, late) = (mean(&held[fifth..2 * fifth]), mean(&held[held.len() - fifth..]));
    let most = held.iter().copied().fold(0.0, f64::max);
    let batches = batches.load(Ordering::Relaxed);
    println!("{:<66} {most:>12.0} {:>10} {:>7} {MEMORY_LIMIT_MIB:>8.0}", "memory of the server under load, MiB at most", "-", "-");
    println!("{:<66} {late:>12.0} {early:>10.0} {:>7.2} {FLAT:>8.2}", "its last fifth of the time, and its second", late / early);
    println!("  {} s, {batches} batches of 1,000, {:.0} events/s", time.as_secs(), batches as f64 * 1_000.0 / time.as_secs_f64());
    server.stop();
}

fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}
