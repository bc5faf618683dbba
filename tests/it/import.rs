//! A past that comes in from files: rehearsed, counted once, and gone on with after a kill.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use granary_simulator::{Traffic, Truth};
use serde_json::{Value, json};

use super::front_door::{House, command};
use super::replay::{self, Server};

const DUMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sendense/acme");

fn house() -> House {
    let house = House::empty();
    house.ok(&["msp", "add", "NORTH", "--name", "Northern Backup"]);
    house.ok(&["customer", "add", "ACME", "--name", "ACME Inc.", "--since", "2025-09-01", "--source", "sim"]);
    house
}

fn count(house: &House) -> Truth {
    let server = Server::start(&house.data_dir());
    let counted = replay::count(&house.data_dir(), "ACME");
    server.stop();
    counted
}

fn fates(rows: &Value) -> Vec<(&str, i64)> {
    let of_events = rows.as_array().unwrap().iter().filter(|row| row["table"] == "usage events");
    of_events.map(|row| (row["verdict"].as_str().unwrap(), row["rows"].as_i64().unwrap())).collect()
}

/// Copies the dump with something else in its jobs.
fn later(house: &House, change: impl Fn(String) -> String) -> PathBuf {
    let folder = house.dir.path().join("later");
    std::fs::create_dir(&folder).unwrap();
    for file in std::fs::read_dir(DUMP).unwrap().flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let text = if file.file_name() == "backup_jobs.txt" { change(text) } else { text };
        std::fs::write(folder.join(file.file_name()), text).unwrap();
    }
    folder
}

#[test]
fn a_dump_of_an_appliance_is_rehearsed_counted_once_and_a_later_dump_adds_what_is_new() {
    let house = house();
    let import = |folder: &Path, more: &[&str]| {
        let from =
            ["import", "sendense", folder.to_str().unwrap(), "--customer", "ACME", "--time-zone", "America/New_York", "--format", "json"];
        house.json(&[&from, more].concat())
    };
    let rehearsed = import(Path::new(DUMP), &["--dry-run"]);
    assert_eq!(fates(&rehearsed), [("accepted", 22)]);
    let events = ["events", "--customer", "ACME", "--period", "2025-10", "--format", "json"];
    assert_eq!(house.json(&events), json!([]), "a rehearsal counts nothing");

    assert_eq!(import(Path::new(DUMP), &[]), rehearsed, "what was said is what is done");
    let truth = Truth { events: 22, machines_protected: 5, runs_completed: 5, runs_failed: 3, transferred_bytes: 6_300 };
    assert_eq!(count(&house), truth);
    assert_eq!(fates(&import(Path::new(DUMP), &[])), [("duplicate", 22)]);

    let later = later(&house, |jobs| jobs.replace("failed\t/repo/web01/i2.qcow2", "completed\t/repo/web01/i2.qcow2"));
    assert_eq!(fates(&import(&later, &[])), [("accepted", 1), ("duplicate", 21)]);
    assert_eq!(count(&house), Truth { events: 23, runs_completed: 6, runs_failed: 2, transferred_bytes: 6_450, ..truth });
}

#[test]
fn what_is_no_dump_or_whose_zone_or_source_is_not_said_is_refused() {
    let house = house();
    let empty = house.dir.path().to_str().unwrap();
    let from = |folder: &'static str| vec!["import", "sendense", folder, "--customer", "ACME"];
    let zone = ["--time-zone", "UTC"];
    for (arguments, code, words) in [
        (from(DUMP), 2, "--time-zone"),
        ([from(DUMP), vec!["--time-zone", "Mars/Olympus"]].concat(), 2, "time zone"),
        ([from("/nosuch"), zone.to_vec()].concat(), 1, "/nosuch"),
        ([from(DUMP), zone.to_vec(), vec!["--source", "other"]].concat(), 2, "sim"),
        (["import", "sendense", empty, "--customer", "ACME"].into_iter().chain(zone).collect(), 2, "backup_jobs"),
    ] {
        let output = house.run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.contains(words)), (Some(code), true), "{arguments:?}: {said}");
    }
}

#[test]
fn an_import_that_was_killed_goes_on_and_counts_nothing_twice_and_a_bad_line_costs_no_other() {
    const EVENTS: u64 = 20_000;
    let house = house();
    let traffic = Traffic::new(21, 1, "sim");
    let lines: Vec<String> = (0..EVENTS).map(|number| traffic.event(number)).collect();
    let path = house.dir.path().join("events.ndjson");
    std::fs::write(&path, format!("{}\n{{no JSON\n{}\n", lines[..10_000].join("\n"), lines[10_000..].join("\n"))).unwrap();
    let import = ["import", path.to_str().unwrap(), "--customer", "ACME"];

    let rehearsed = house.refused(&[&import[..], &["--dry-run"]].concat());
    assert_eq!((&rehearsed["accepted"], &rehearsed["invalid"]), (&json!(EVENTS), &json!(1)), "{rehearsed}");
    assert_eq!(rehearsed["problems"][0]["event"], 10_000, "{rehearsed}");

    let mut killed = command(&house.data_dir(), &import).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (server, deadline) = (Server::start(&house.data_dir()), Instant::now() + Duration::from_secs(60));
    while replay::count(&house.data_dir(), "ACME").events == 0 {
        assert!(Instant::now() < deadline, "nothing was counted");
        std::thread::sleep(Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = replay::count(&house.data_dir(), "ACME").events;
    server.stop();

    let report = house.refused(&import);
    let truth = traffic.truth(&(0..EVENTS).collect());
    assert_eq!(report["accepted"].as_i64().unwrap() + before, truth.events, "{report}");
    assert_eq!(report["duplicate"], before, "{report}");
    assert!(before > 0 && before < truth.events, "it was killed midway: {before}");
    assert_eq!(count(&house), truth);
}
