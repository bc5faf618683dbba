//! The demo: its golden numbers, its second start, and its death at any moment.

use std::process::Stdio;
use std::time::{Duration, Instant};

use granary_foundation::config;

use super::front_door::{DEMO, House, SMALL_DEMO, TINY, TINY_DEMO, command, interrupt, summary};

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
fn every_month_is_sealed_with_the_events_that_it_counts() {
    let (house, _) = &*DEMO;
    // The hash of nothing is that of a tree without events.
    let sealed = house.query(
        "select count(*) as months,
            count(*) filter (where events_hash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855') as without_events
         from lake.customer_months where events_hash is not null and runs_completed > 0",
    );
    assert!(sealed[0]["months"].as_i64().unwrap() > 0, "{sealed}");
    assert_eq!(sealed[0]["without_events"], 0, "{sealed}");
}

#[test]
fn a_second_start_ends_with_the_same_numbers_and_changes_nothing() {
    let house = House::empty();
    assert_eq!(summary(&house, TINY_DEMO), *TINY);
    assert_eq!(summary(&house, TINY_DEMO), *TINY);
}

/// How often the demo dies. Every second time its Postgres dies with it, as in a power cut.
const DEATHS: u32 = 10;

#[test]
fn killed_at_ten_random_moments_it_ends_with_the_same_numbers() {
    let whole = &DEMO.1;
    let seed = config::environment("GRANARY_TEST_SEED").map_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0, |seed| seed.parse().unwrap());
    eprintln!("GRANARY_TEST_SEED={seed} repeats these moments");
    let mut random = seed;
    let (mut house, mut deaths) = (House::empty(), 0);
    while deaths < DEATHS {
        // A linear congruential generator (Knuth's MMIX); its upper bits are random enough for a moment.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_millis(150 + (random >> 33) % 3_500);
        let mut child = command(&house.data_dir(), SMALL_DEMO).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment);
        if child.try_wait().unwrap().is_some() {
            // It was ready before it could be killed: the next deaths need a house that is not.
            assert_eq!(&summary(&house, SMALL_DEMO), whole, "seed {seed}, {deaths} deaths");
            house = House::empty();
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        deaths += 1;
        if deaths % 2 == 0 {
            house.kill_postgres();
        }
    }
    assert_eq!(&summary(&house, SMALL_DEMO), whole, "seed {seed}");
}

#[test]
fn interrupted_while_it_starts_it_takes_its_postgres_along() {
    for arguments in [&["msp", "add", "SOLO", "--name", "Solo"][..], &["demo", "--customers", "1", "--listen", "127.0.0.1:0"], &["worker"]]
    {
        let house = House::empty();
        let child = command(&house.data_dir(), arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid_file = house.data_dir().join("postgres/data/postmaster.pid");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !pid_file.exists() {
            assert!(Instant::now() < deadline, "Postgres did not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = interrupt(child);
        // Or it was done already, on a machine where we are slow.
        assert!(matches!(status.code(), Some(130 | 0)), "{arguments:?}: {status}");
        assert!(!pid_file.exists(), "{arguments:?} left its Postgres behind");
    }
}

#[test]
fn the_summary_says_how_to_log_in_and_reconciles_to_the_cent() {
    let summary = &DEMO.1;
    assert!(summary["logins"].as_array().is_some_and(|logins| logins.len() >= 3), "{summary}");
    assert_eq!(summary["reconciliation"]["difference_minor"], 0, "{summary}");
}
