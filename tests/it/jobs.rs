//! The job queue from the command line.

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
    for (msp, customer) in [("EAST", "BROKEN"), ("EAST", "BESIDE"), ("WEST", "WHOLE")] {
        if customer != "BESIDE" {
            house.ok(&["msp", "add", msp, "--name", msp]);
        }
        house.ok(&["customer", "add", customer, "--msp", msp, "--name", customer, "--since", "2025-01-01"]);
    }
    house.tamper(
        "do $$ declare silo text; begin
             select schema_name into strict silo from control.customers where code = 'BROKEN';
             execute format('alter schema %I rename to gone', silo);
         end $$",
    );
    let night = house.refused(&["jobs", "run", "night.run"]);
    assert_ne!(night["state"], "done", "{night}");
    let files = |msp: &str| house.json(&["export", "files", "--msp", msp, "--format", "json"]);
    let whose: Vec<_> = files("EAST").as_array().unwrap().iter().map(|file| file["customer"].to_string()).collect();
    assert!(whose.iter().any(|code| code.contains("BESIDE")) && !whose.iter().any(|code| code.contains("BROKEN")), "{whose:?}");
    assert!(!files("WEST").as_array().unwrap().is_empty());
    let marts = house.json(&["query", "select count(*) as n from service_levels", "--msp", "WEST", "--format", "json"]);
    assert!(marts.is_array(), "{marts}");
}
