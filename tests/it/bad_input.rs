//! Wrong input everywhere is a clear error that names the thing and the remedy, and loses nothing.

use std::net::TcpListener;
use std::process::Stdio;

use super::front_door::{DEMO, House, command};

/// Arguments, words that the error must contain, exit code.
const WRONG: &[(&[&str], &[&str], i32)] = &[
    (&["report", "monthly", "--customer", "NOSUCH", "--period", "2025-10", "--out", "/tmp/x.pdf"], &["NOSUCH"], 3),
    (&["report", "monthly", "--customer", "ACME", "--period", "2025-13", "--out", "/tmp/x.pdf"], &["2025-13", "2025-10"], 2),
    (&["report", "monthly", "--customer", "ACME", "--period", "2031-01", "--out", "/tmp/x.pdf"], &["2031-01"], 2),
    (&["report", "monthly", "--customer", "ACME", "--period", "2025-10", "--out", "/nosuch/x.pdf"], &["/nosuch"], 1),
    (&["reconcile", "--period", "2031-01"], &["2031-01"], 3),
    (&["reconcile", "--period", "october"], &["october"], 2),
    (&["import", "/nosuch/file.json", "--customer", "ACME"], &["/nosuch/file.json"], 1),
    (&["import", "-", "--customer", "NOSUCH"], &["NOSUCH"], 3),
    (&["import", "-", "--customer", "a b"], &["a b"], 2),
    (&["query", "select * from nosuch"], &["nosuch"], 2),
    (&["query", "selekt 1"], &["selekt"], 2),
    (&["query", "drop table customer_months"], &["read"], 2),
    (&["query", "select 1; select 2"], &["one"], 2),
    (&["query", "select 1", "--msp", "NOSUCH"], &["NOSUCH"], 3),
    (&["query", "select 1", "--as", "nobody@nowhere.example"], &["nobody@nowhere.example"], 3),
    (&["jobs", "retry", "018f0000-0000-7000-8000-000000000000"], &["018f0000"], 3),
    (&["query", ""], &["write a select"], 2),
    (&["jobs", "retry", "999999"], &["granary jobs list"], 2),
    (&["billing", "draft", "--period", "2020-01"], &["2020-01", "nobody"], 3),
    (&["billing", "finalise", "--period", "2020-01"], &["2020-01"], 4),
    (&["export", "open", "--path", "x", "--reason", " "], &["--reason", "blank"], 2),
    (&["msp", "add", "NORTHWIND", "--name", "other"], &["NORTHWIND", "differs", "other"], 2),
    (&["jobs", "run", "no.such.job"], &["no.such.job"], 2),
    (&["billing", "finalise", "--period", "2031-01"], &["2031-01"], 2),
    (&["demo", "--once", "--customers", "5"], &["another data directory"], 2),
    (&["msp", "add", "X", "--name", "X", "--time-zone", "Mars/Olympus"], &["Mars/Olympus"], 2),
    (&["query", "select 1", "--config", "/nosuch.toml"], &["/nosuch.toml"], 2),
    (&["simulate", "--url", "http://127.0.0.1:1"], &["http://127.0.0.1:1 does not answer", "granary serve", "--url"], 2),
];

#[test]
fn every_wrong_input_is_named_and_has_its_exit_code() {
    let (house, _) = &*DEMO;
    let mut faults = Vec::new();
    for (arguments, words, code) in WRONG {
        let output = house.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        let is_named = words.iter().all(|word| said.contains(&word.to_lowercase()));
        if output.status.code() != Some(*code) || !is_named || said.contains("panicked") {
            faults.push(format!("granary {}: {} {said}(expected {code} and {words:?})", arguments.join(" "), output.status));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_nobody_listens_to_any_more_changes_no_outcome() {
    let (house, _) = &*DEMO;
    let mut child = command(&house.data_dir(), &["query", "select * from nosuch"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
fn an_unknown_configuration_key_is_refused() {
    let house = House::empty();
    let file = house.dir.path().join("granary.toml");
    std::fs::write(&file, "[server]\nlisten_to = '127.0.0.1:1'\n").unwrap();
    let output = house.run(&["customer", "list", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("listen_to"));
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = House::empty().run(&["demo", "--customers", "1", "--months", "2", "--listen", &address]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[test]
fn a_database_that_is_not_there_is_unavailable() {
    let house = House::empty();
    let output = command(&house.data_dir(), &["customer", "list"])
        .env("GRANARY_DATABASE_URL", "postgres://granary:hunter2@127.0.0.1:1/granary")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_mistyped_data_directory_is_named_and_not_made() {
    let house = House::empty();
    for arguments in [&["query", "select 1"][..], &["customer", "list"], &["billing", "list", "--period", "2025-10"]] {
        let output = house.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(house.data_dir().to_str().unwrap()) && said.contains("granary demo"), "{said}");
        assert!(!house.data_dir().exists(), "{arguments:?} made a data directory");
    }
}

#[test]
fn a_file_that_holds_no_events_is_refused() {
    let house = House::empty();
    house.ok(&["msp", "add", "SOLO", "--name", "Solo"]);
    house.ok(&["msp", "add", "solo", "--name", " Solo "]);
    house.ok(&["customer", "add", "ONE", "--name", "One", "--since", "2025-01-01"]);
    let file = house.dir.path().join("file");
    for (content, format, word) in [("", "cloudevents", "empty"), ("", "veeam-sessions", "VMName"), ("a", "veeam-sessions", "VMName")] {
        std::fs::write(&file, content).unwrap();
        let zone = ["--time-zone", "UTC"];
        let import = [&["import", file.to_str().unwrap(), "--customer", "ONE", "--format", format][..], &zone].concat();
        let output = house.run(&import);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.contains(word)), (Some(2), true), "{said}");
    }
    std::fs::write(&file, "\u{feff}[]").unwrap();
    house.ok(&["import", file.to_str().unwrap(), "--customer", "ONE"]);
}

#[test]
fn one_malformed_event_does_not_cost_the_others() {
    let house = House::empty();
    house.ok(&["msp", "add", "SOLO", "--name", "Solo"]);
    house.ok(&["customer", "add", "ONE", "--name", "One", "--since", "2025-01-01", "--source", "cp-1"]);
    let file = house.dir.path().join("events.json");
    let good = |id: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"cp-1","type":"machine.protected","time":"2025-02-01T00:00:00Z","data":{{"source_system":"vc","vendor_id":"{id}","name":"{id}","tier":"backup","from":"2025-02-01"}}}}"#
        )
    };
    let wrong = r#"{"specversion":"1.0","id":"bad","source":"cp-1","type":"machine.protected","time":"2025-02-01T00:00:00Z","data":{"source_system":"vc","vendor_id":"x","name":"x","tier":"golden","from":"2025-02-01"}}"#;
    std::fs::write(&file, format!("[{},{wrong},{}]", good("a"), good("b"))).unwrap();
    let import = &["import", file.to_str().unwrap(), "--customer", "ONE"];
    let report = house.refused(import);
    assert_eq!((report["accepted"].as_u64(), report["invalid"].as_u64()), (Some(2), Some(1)), "{report}");
    assert!(report["problems"][0].to_string().contains("/data/tier"), "{report}");
    let again = house.refused(import);
    assert_eq!((again["accepted"].as_u64(), again["duplicate"].as_u64()), (Some(0), Some(2)), "{again}");
}
