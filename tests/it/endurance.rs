//! Exactly once, whatever ends meanwhile: the server, Postgres, the line. The bench `endurance` does the same at full size.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use granary_simulator::Traffic;

use super::front_door::House;
use super::replay::{self, Replay, Server, Told};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Does something each time a further share of the batches is known to count.
async fn interrupting(replay: &Replay, times: usize, mut interrupt: impl FnMut(usize)) {
    for time in 1..=times {
        while replay.done.load(Ordering::Relaxed) < replay.batches() * time / (times + 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::task::block_in_place(|| interrupt(time));
    }
}

async fn both(replay: &Arc<Replay>, writers: usize, times: usize, interrupt: impl FnMut(usize)) -> Told {
    let (told, ()) = tokio::join!(replay.send(writers), interrupting(replay, times, interrupt));
    told
}

/// The number of the embedded server's process, if one runs.
fn postgres(data_dir: &Path) -> Option<String> {
    let file = std::fs::read_to_string(data_dir.join("postgres/data/postmaster.pid")).ok()?;
    file.contains("ready").then(|| file.lines().next().map(str::to_owned))?
}

#[test]
fn writers_replay_every_event_three_times_while_the_server_is_killed_five_times() {
    const EVENTS: u64 = 20_000;
    let house = House::empty();
    let data_dir = house.data_dir();
    let key = replay::make_house(&data_dir, &["ACME"]).remove(0);
    let mut server = Server::start(&data_dir);
    let traffic = Traffic::new(11, 1, "sim");
    let numbers = traffic.repeated(EVENTS, 3);
    let (batch, pause) = (250, Duration::ZERO);
    let replay = Arc::new(Replay { traffic, url: server.url(), key, numbers, batch, pause, done: AtomicUsize::new(0) });
    let told = runtime().block_on(both(&replay, 8, 5, |_| server.kill_and_start()));

    let every: BTreeSet<u64> = (0..EVENTS).collect();
    let truth = replay.traffic.truth(&every);
    assert_eq!(truth.events, 20_000);
    assert_eq!(replay::count(&data_dir, "ACME"), truth, "{:?}", told.statuses);
    assert!(told.acknowledged == every && told.accepted <= 20_000, "{} new", told.accepted);
    assert!(told.statuses.contains_key(&0), "nobody noticed that the server was killed: {:?}", told.statuses);
    server.stop();
}

#[test]
fn postgres_is_stopped_and_started_during_load_and_senders_are_told_to_come_again() {
    const EVENTS: u64 = 6_000;
    let house = House::empty();
    let data_dir = house.data_dir();
    let key = replay::make_house(&data_dir, &["ACME"]).remove(0);
    let server = Server::start(&data_dir);
    let traffic = Traffic::new(12, 1, "sim");
    let numbers = traffic.repeated(EVENTS, 1);
    let (batch, pause) = (20, Duration::from_millis(20));
    let replay = Arc::new(Replay { traffic, url: server.url(), key, numbers, batch, pause, done: AtomicUsize::new(0) });
    // Stopped in order twice, then as a power cut would; the house starts it again.
    let stop = |time| {
        let deadline = Instant::now() + Duration::from_secs(60);
        let pid = loop {
            assert!(Instant::now() < deadline, "Postgres did not come back");
            match postgres(&data_dir) {
                Some(pid) => break pid,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let signal = if time == 3 { "-KILL" } else { "-INT" };
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    };
    let told = runtime().block_on(both(&replay, 4, 3, stop));

    let every: BTreeSet<u64> = (0..EVENTS).collect();
    assert_eq!(replay::count(&data_dir, "ACME"), replay.traffic.truth(&every), "{:?}", told.statuses);
    assert!(told.acknowledged == every && told.accepted <= 6_000, "{} new", told.accepted);
    assert!(told.statuses.contains_key(&503), "nobody was told: {:?}", told.statuses);
    assert_eq!(told.without_retry_after, 0, "{:?}", told.statuses);
    server.stop();
}

#[test]
fn the_simulator_finds_the_server_exact_and_finds_out_what_is_missing() {
    let house = House::empty();
    house.ok(&["msp", "add", "NORTH", "--name", "Northern Backup"]);
    let simulate = |server: &Server| {
        let url = server.url();
        let arguments = ["simulate", "--rate", "300", "--customers", "2", "--duration", "4s", "--chaos", "--check", "--seed", "3"];
        house.run(&[&arguments[..], &["--url", &url, "--format", "json"]].concat())
    };
    let server = Server::start(&house.data_dir());
    let output = simulate(&server);
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(rows.as_array().unwrap().iter().all(|row| row["events"] == 600 && row["counted"] == 600), "{rows}");
    server.stop();

    house.tamper(
        "do $$ declare silo text; begin
             select schema_name into strict silo from control.customers where code = 'SIM-3-2';
             perform set_config('search_path', silo, true);
             delete from backup_runs where id = (select id from backup_runs limit 1);
         end $$",
    );
    let server = Server::start(&house.data_dir());
    let output = simulate(&server);
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{rows}");
    assert_eq!((&rows[0]["is_exact"], &rows[1]["is_exact"]), (&true.into(), &false.into()), "{rows}");
    server.stop();
}
