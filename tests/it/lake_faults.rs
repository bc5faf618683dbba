//! A night or a collection that is killed at any of its steps, and run again: nothing is lost, nothing is there twice, and what the
//! dead left is collected.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::front_door::{House, command};

/// The steps of an export, in order.
const EXPORT: [&str; 8] = ["announced", "opened", "stored", "written", "flushed", "committing", "committed", "cleaned"];
/// Every month is large enough to go out by the day.
const DAILY: [&str; 2] = ["--daily-above", "0"];
const CUSTOMERS: [&str; 2] = ["ACME", "GLOBEX"];

/// A house whose clock stands still, two customers, and the number of backups that each has had.
struct Nights {
    house: House,
    backups: u64,
}

impl Nights {
    fn build() -> Self {
        let nights = Self { house: House::empty(), backups: 0 };
        std::fs::create_dir(nights.house.data_dir()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(nights.house.data_dir(), mode).unwrap();
        nights.set_clock("2025-11-10T12:00:00Z");
        nights.house.ok(&["msp", "add", "NORTH", "--name", "Northern Backup"]);
        for customer in CUSTOMERS {
            nights.house.ok(&["customer", "add", customer, "--name", customer, "--since", "2025-10-01", "--source", "vbr"]);
        }
        nights
    }

    /// Has the house live at an instant, as a demo does.
    fn set_clock(&self, at: &str) {
        let demo = format!(r#"{{"customers": 1, "months": 1, "seed": 1, "until": "2025-11-10", "clock_at": "{at}"}}"#);
        std::fs::write(self.house.data_dir().join("demo.json"), demo).unwrap();
    }

    /// One more backup of every customer, on a day of its own.
    fn back_up(&mut self) {
        self.backups += 1;
        let (id, day) = (self.backups, self.backups % 9 + 1);
        let run = format!(
            r#"[{{"specversion":"1.0","source":"vbr","id":"r-{id}","type":"backup.completed","time":"2025-11-{day:02}T14:30:00Z","data":
                {{"run_id":"r-{id}","machine":{{"source_system":"veeam","vendor_id":"vm-1"}},"kind":"full","attempt":1,"has_warning":false,
                "started_at":"2025-11-{day:02}T14:00:00Z","ended_at":"2025-11-{day:02}T14:30:00Z","disks":
                [{{"index":0,"size_bytes":1000,"transferred_bytes":1000,"state":"completed"}}]}}}}]"#
        );
        let file = self.house.dir.path().join("event.json");
        std::fs::write(&file, run).unwrap();
        for customer in CUSTOMERS {
            self.house.ok(&["import", file.to_str().unwrap(), "--customer", customer]);
        }
    }

    /// Runs a command until it stands at a step, and kills it there.
    fn killed_at(&self, step: &str, arguments: &[&str]) {
        let arguments = [arguments, &["--halt-at", step]].concat();
        let mut child = command(&self.house.data_dir(), &arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let halted = format!("halted at {step}");
        let mut before = Vec::new();
        let has_halted = said.lines().map_while(Result::ok).any(|line| {
            let is_there = line.contains(&halted);
            before.push(line);
            is_there
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_halted, "{arguments:?} never came to {step}: {before:#?}");
    }

    /// Runs the night that was killed once more, and then there is nothing left to do.
    fn heal(&self, arguments: &[&str]) {
        let run = [&["export", "run"], arguments].concat();
        self.house.json(&run);
        let again = self.house.json(&run);
        assert_eq!(again["files_written"], 0, "{again}");
    }

    fn files(&self) -> Vec<Value> {
        let files = self.house.json(&["export", "files", "--format", "json"]);
        files.as_array().unwrap().clone()
    }

    /// Returns the parts of the month in which the backups were, after a look whether every backup is there once, in Postgres and in
    /// the lake.
    fn look(&self, after: &str) -> BTreeSet<String> {
        let verified = self.house.json(&["export", "verify", "--format", "json"]);
        assert!(verified.as_array().unwrap().iter().all(|row| row["outcome"] == "equal"), "{after}: {verified}");
        let files = self.files();
        let of = |customer: &str| {
            files.iter().filter(move |file| file["customer"] == customer && file["dataset"] == "backup_runs").collect::<Vec<_>>()
        };
        for customer in CUSTOMERS {
            let rows: u64 = of(customer).iter().map(|file| file["rows"].as_u64().unwrap()).sum();
            assert_eq!(rows, self.backups, "{after}: {customer}");
        }
        of("ACME").iter().map(|file| file["part"].as_str().unwrap().to_owned()).collect()
    }

    /// Lets everything in the store be as old as what is collected.
    fn age_objects(&self) {
        let lake = self.house.data_dir().join("lake");
        let touched = Command::new("find").arg(lake).args(["-type", "f", "-exec", "touch", "-d", "2 days ago", "{}", "+"]).status();
        assert!(touched.unwrap().success());
    }

    /// Every object of the store, by its name in the manifest.
    fn objects(&self) -> BTreeSet<String> {
        let root = self.house.data_dir().join("lake");
        let listed = Command::new("find").arg(&root).args(["-type", "f", "-printf", "%P\n"]).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
    }
}

#[test]
fn a_night_that_is_killed_at_any_step_is_made_whole_by_the_next_one() {
    let mut nights = Nights::build();
    nights.back_up();
    nights.heal(&[]);
    assert_eq!(nights.look("the first night"), BTreeSet::from([String::new()]));
    let run = [&["export", "run"][..], &DAILY].concat();
    for (index, step) in EXPORT.into_iter().enumerate() {
        nights.back_up();
        nights.killed_at(step, &run);
        if index % 2 == 0 {
            nights.house.kill_postgres();
        }
        nights.heal(&DAILY);
        let days = nights.look(step);
        assert!(days.len() > 1 && !days.contains(""), "{step}: {days:?}");
    }

    // The month has settled: its days become one file, in a night that is killed as well.
    nights.set_clock("2025-12-10T12:00:00Z");
    for step in ["stored", "committing", "committed"] {
        nights.killed_at(step, &["export", "run"]);
    }
    nights.heal(&[]);
    assert_eq!(nights.look("the merge"), BTreeSet::from([String::new()]));

    // Nobody needs the past any more; what no version shows goes, and so does what the dead had stored.
    nights.set_clock("2026-06-10T12:00:00Z");
    for step in ["let-go", "deleted", "emptied"] {
        nights.killed_at(step, &["export", "gc"]);
        nights.look(step);
    }
    let collected = nights.house.json(&["export", "gc"]);
    assert!(collected["msps"][0]["files"].as_u64().unwrap() > 0 && collected["orphans"].is_null(), "{collected}");
    nights.age_objects();
    nights.killed_at("collected", &["export", "gc", "--orphans"]);
    nights.look("collected");
    let collected = nights.house.json(&["export", "gc", "--orphans"]);
    assert!(collected["orphans"]["objects_deleted"].as_u64().unwrap() > 0, "the dead had stored something: {collected}");
    nights.look("the collection");
    let named: BTreeSet<String> = nights.files().iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(nights.objects(), named, "every object is named, and every name has its object");
}

#[test]
fn nothing_but_an_argument_of_the_command_makes_it_halt() {
    let nights = Nights::build();
    let output = command(&nights.house.data_dir(), &["export", "run", "--halt-at", "soon"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let mut free = command(&nights.house.data_dir(), &["export", "run"]);
    for name in ["HALT_AT", "GRANARY_HALT_AT", "GRANARY_EXPORT_HALT_AT"] {
        free.env(name, "announced");
    }
    let output = free.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
