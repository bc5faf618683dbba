//! The job queue from the command line.

use std::collections::BTreeSet;

use super::front_door::House;

#[test]
fn a_job_is_run_listed_and_a_dead_one_retried() {
    let house = House::empty();
    house.ok(&["msp", "add", "SOLO", "--name", "Solo"]);

    let run = house.json(&["jobs", "run", "outbox.relay"]);
    assert_eq!(run["state"], "done", "{run}");
    let dead = house.refused(&["jobs", "run", "night.run", "--payload", r#"{"night": "never"}"#]);
    assert_eq!(dead["state"], "dead", "{dead}");
    assert!(dead["last_error"].to_string().contains("payload"), "{dead}");

    let all = house.json(&["jobs", "list", "--format", "json"]);
    let kinds: Vec<_> = all.as_array().unwrap().iter().map(|job| (job["kind"].as_str().unwrap(), job["state"].as_str().unwrap())).collect();
    assert!(kinds.contains(&("outbox.relay", "done")) && kinds.contains(&("night.run", "dead")), "{all}");

    let id = dead["id"].as_str().unwrap();
    let retried = house.json(&["jobs", "retry", id]);
    assert_eq!(retried["state"], "ready", "{retried}");
    let ready = house.json(&["jobs", "list", "--state", "ready", "--format", "json"]);
    assert_eq!(ready[0]["id"].as_str(), Some(id), "{ready}");
    house.ok(&["worker", "--until-idle"]);
    let dead_again = house.json(&["jobs", "list", "--state", "dead", "--format", "json"]);
    assert_eq!((dead_again[0]["id"].as_str(), dead_again.as_array().unwrap().len()), (Some(id), 1), "{dead_again}");
}

#[test]
fn a_broken_silo_costs_nobody_else_the_night() {
    let house = House::empty();
    let file = house.dir.path().join("event.json");
    std::fs::write(
        &file,
        r#"[{"specversion":"1.0","id":"a","source":"cp","type":"machine.protected","time":"2025-02-01T00:00:00Z",
            "data":{"source_system":"vc","vendor_id":"a","name":"a","tier":"backup","from":"2025-02-01"}}]"#,
    )
    .unwrap();
    for (msp, customers) in [("EAST", &["BROKEN", "BESIDE"][..]), ("WEST", &["WHOLE"])] {
        house.ok(&["msp", "add", msp, "--name", msp]);
        for customer in customers {
            house.ok(&["customer", "add", customer, "--msp", msp, "--name", customer, "--since", "2025-01-01", "--source", "cp"]);
            house.ok(&["import", file.to_str().unwrap(), "--customer", customer, "--msp", msp]);
        }
    }
    house.tamper(
        "do $$ declare silo text; begin
             select schema_name into strict silo from control.customers where code = 'BROKEN';
             execute format('alter table %I.machines rename column name to gone', silo);
         end $$",
    );
    let night = house.refused(&["jobs", "run", "night.run"]);
    assert_ne!(night["state"], "done", "{night}");
    let customers = |msp: &str| {
        let files = house.json(&["export", "files", "--msp", msp, "--format", "json"]);
        files.as_array().unwrap().iter().filter_map(|file| Some(file["customer"].as_str()?.to_owned())).collect::<BTreeSet<_>>()
    };
    assert_eq!(customers("EAST"), BTreeSet::from(["BESIDE".to_owned()]));
    assert_eq!(customers("WEST"), BTreeSet::from(["WHOLE".to_owned()]));
    let asked = "select tier from stg_metering__tier_assignments";
    let tiers = house.json(&["query", asked, "--msp", "WEST", "--reason", "a test asks", "--format", "json"]);
    assert_eq!(tiers[0]["tier"], "backup", "{tiers}");
}
