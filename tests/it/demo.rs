//! The demo: its golden numbers, its second start, and its death at any moment.

use std::process::Stdio;
use std::time::Duration;

use super::front_door::{DEMO, House, SMALL_DEMO, command, summary};

#[test]
fn the_golden_numbers_are_computed() {
    let (house, summary) = &*DEMO;
    let golden = &summary["golden"];
    assert_eq!(golden["machines"], serde_json::json!({"backup": 120, "enterprise": 60, "replication": 20}), "{summary}");
    // 120 × 10 + 60 × 25 + 20 × 100; half of it wholesale at premier; one started block of 50 customers
    assert_eq!(golden["retail_machines_minor"], 470_000, "{summary}");
    assert_eq!(golden["wholesale_machines_minor"], 235_000, "{summary}");
    assert_eq!(golden["platform_fee_minor"], 20_000, "{summary}");
    let period = summary["last_period"].as_str().unwrap();
    let marts = house.query(&format!("select sum(machines) as machines from plan_mix where period = '{period}'"));
    assert_eq!(marts[0]["machines"], "200.0000", "{marts}");
}

#[test]
fn a_second_start_ends_with_the_same_numbers_and_changes_nothing() {
    let house = House::empty();
    let small = &["demo", "--once", "--customers", "1", "--months", "2", "--until", "2025-11-10"];
    let first = house.json(small);
    let second = house.json(small);
    assert_eq!(first, second);
}

#[test]
fn killed_at_any_moment_it_ends_with_the_same_numbers() {
    let whole = &DEMO.1;
    let house = House::empty();
    for milliseconds in [700, 1_900, 3_100, 4_700, 7_100] {
        let mut child = command(&house.data_dir(), SMALL_DEMO).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(&summary(&house), whole);
}

#[test]
fn the_summary_says_how_to_log_in_and_reconciles_to_the_cent() {
    let summary = &DEMO.1;
    assert!(summary["logins"].as_array().is_some_and(|logins| logins.len() >= 3), "{summary}");
    assert_eq!(summary["reconciliation"]["difference_minor"], 0, "{summary}");
}
