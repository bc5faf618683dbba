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
