//! What a portfolio promises.

use std::collections::{BTreeMap, HashMap, HashSet};

use granary_types::{CustomerStatus, Period, Tier, day_of};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::{Portfolio, PortfolioSpec, feature_rows};

fn spec(customers: u32, months: u32, until: Date, seed: u64) -> PortfolioSpec {
    PortfolioSpec { customers, months, until, seed, zone: TimeZone::get("America/New_York").unwrap() }
}

fn events(portfolio: &Portfolio, customer: usize) -> Vec<Value> {
    portfolio
        .events(customer)
        .flat_map(|batch| {
            assert!(batch.events <= 1_000);
            let events: Vec<Value> = serde_json::from_slice(&batch.body).unwrap();
            assert_eq!(events.len(), batch.events);
            events
        })
        .collect()
}

/// Counts machines as billing does by default: the highest tier in force on a billing day with a completed run or cycle.
fn billed(portfolio: &Portfolio, customer: usize) -> [u32; 3] {
    let zone = &portfolio.spec.zone;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut tiers: HashMap<String, BTreeMap<String, Tier>> = HashMap::new();
    let mut days: HashSet<(String, Date)> = HashSet::new();
    for event in events(portfolio, customer) {
        let data = &event["data"];
        match event["type"].as_str().unwrap() {
            "machine.protected" | "machine.tier_changed" => {
                tiers.entry(text(&data["vendor_id"])).or_default().insert(text(&data["from"]), text(&data["tier"]).parse().unwrap());
            }
            "backup.completed" => {
                let ended: Timestamp = text(&data["ended_at"]).parse().unwrap();
                days.insert((text(&data["machine"]["vendor_id"]), day_of(ended, zone)));
            }
            "replication.summary" if data["cycles_completed"].as_i64().unwrap() > 0 => {
                let ended: Timestamp = text(&data["last_cycle_at"]).parse().unwrap();
                assert_eq!(day_of(ended, zone).to_string(), text(&data["day"]));
                days.insert((text(&data["machine"]["vendor_id"]), day_of(ended, zone)));
            }
            _ => {}
        }
    }
    let mut best: HashMap<&str, Tier> = HashMap::new();
    for (machine, day) in days.iter().filter(|(_, day)| Period::of(*day) == portfolio.golden_period) {
        let day = day.to_string();
        let tier = *tiers[machine].range(..=day).next_back().unwrap().1;
        let known = best.entry(machine).or_insert(tier);
        *known = tier.max(*known);
    }
    let mut counts = [0; 3];
    best.values().for_each(|tier| counts[*tier as usize] += 1);
    counts
}

fn assert_golden(portfolio: &Portfolio) {
    let last_day = portfolio.golden_period.last_day();
    let size = portfolio.spec.customers;
    let mut totals = [0; 3];
    let mut active = 0;
    for customer in &portfolio.customers {
        let counts = billed(portfolio, customer.index);
        let is_active = customer.status_on(last_day) == Some(CustomerStatus::Active);
        assert_eq!(is_active, counts.iter().sum::<u32>() > 0, "{}", customer.code);
        active += u32::from(is_active);
        totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
    }
    assert_eq!((active, totals), (size, [30 * size, 15 * size, 5 * size]));
}

#[test]
fn the_last_closable_period_has_the_golden_population() {
    for (customers, months, until, seed) in
        [(50, 3, "2026-11-22", 7), (5, 3, "2026-11-22", 7), (12, 6, "2026-03-03", 11), (1, 1, "2026-01-15", 3), (3, 2, "2026-05-31", 1)]
    {
        let portfolio = Portfolio::generate(&spec(customers, months, until.parse().unwrap(), seed));
        assert_golden(&portfolio);
    }
}

#[test]
fn the_default_portfolio_is_golden_and_within_its_budget() {
    let portfolio = Portfolio::generate(&spec(50, 18, "2026-11-22".parse().unwrap(), 7));
    assert_eq!(portfolio.golden_period.to_string(), "2026-10");
    assert_eq!(portfolio.first_period.to_string(), "2025-05");
    assert_golden(&portfolio);
    let sent: usize = (0..portfolio.customers.len()).flat_map(|customer| portfolio.events(customer)).map(|batch| batch.events).sum();
    assert!((900_000..1_500_000).contains(&sent), "{sent} events");
    let gone = portfolio.customers.iter().filter(|customer| customer.notice.is_some()).count();
    assert!((5..=20).contains(&gone), "{gone} departures");
}

#[test]
fn a_period_can_be_closed_seventy_two_hours_after_its_end() {
    let golden = |until: &str| Portfolio::generate(&spec(1, 1, until.parse().unwrap(), 7)).golden_period.to_string();
    assert_eq!(golden("2026-11-03"), "2026-09");
    assert_eq!(golden("2026-11-04"), "2026-10");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let make = |seed| Portfolio::generate(&spec(5, 3, "2026-11-22".parse().unwrap(), seed));
    let bytes = |portfolio: &Portfolio, customer| portfolio.events(customer).map(|batch| batch.body).collect::<Vec<_>>();
    let (one, other) = (make(7), make(7));
    for customer in (0..one.customers.len()).rev() {
        assert_eq!(bytes(&one, customer), bytes(&other, customer));
    }
    assert_ne!(bytes(&one, 0), bytes(&make(8), 0));
}

#[test]
fn events_come_as_from_real_control_planes() {
    let portfolio = Portfolio::generate(&spec(12, 6, "2026-11-22".parse().unwrap(), 7));
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let (mut repeated, mut late, mut disks, mut recovered) = (0, 0, 0, 0);
    for customer in &portfolio.customers {
        let mut seen: HashMap<String, Value> = HashMap::new();
        let mut failed = HashSet::new();
        let mut latest = String::new();
        for event in events(&portfolio, customer.index) {
            assert_eq!(event["source"].as_str(), Some(customer.source.as_str()));
            let (id, kind, data) = (event["id"].as_str().unwrap().to_owned(), event["type"].as_str().unwrap(), &event["data"]);
            *kinds.entry(kind.to_owned()).or_default() += 1;
            disks += usize::from(data["disks"].as_array().is_some_and(|disks| disks.len() > 1));
            if kind == "backup.failed" {
                failed.insert(data["run_id"].as_str().unwrap().to_owned());
            }
            recovered += usize::from(kind == "backup.completed" && failed.contains(data["run_id"].as_str().unwrap()));
            let time = event["time"].as_str().unwrap().to_owned();
            late += usize::from(time < latest);
            latest = latest.max(time);
            if let Some(first) = seen.insert(id, event.clone()) {
                assert_eq!(first, event, "a repeated event never changes");
                repeated += 1;
            }
        }
    }
    assert!(repeated > 100 && late > 100 && disks > 1_000 && recovered > 50, "{repeated} {late} {disks} {recovered}");
    for kind in [
        "backup.started",
        "backup.skipped",
        "restore.completed",
        "ticket.answered",
        "repository.sampled",
        "machine.tier_changed",
        "heartbeat.summary",
    ] {
        assert!(kinds.contains_key(kind), "{kind} is missing from {kinds:?}");
    }
}

#[test]
fn the_first_names_are_there_with_their_machines() {
    let portfolio = Portfolio::generate(&spec(50, 18, "2026-11-22".parse().unwrap(), 7));
    let codes: HashSet<&str> = portfolio.customers.iter().map(|customer| customer.code.as_str()).collect();
    assert_eq!(codes.len(), portfolio.customers.len(), "codes are unique");
    let find = |code: &str| portfolio.customers.iter().find(|customer| customer.code.as_str() == code).unwrap();
    assert_eq!(billed(&portfolio, find("ACME").index), [68, 0, 0]);
    assert_eq!(billed(&portfolio, find("WAYNE").index), [0, 52, 0]);
    assert_eq!(billed(&portfolio, find("GLOBEX").index), [0, 0, 45]);
    let trial = find("TECHSTARTUP");
    assert_eq!(trial.status_on(portfolio.spec.until), Some(CustomerStatus::Trial));
    let states: HashSet<_> = portfolio.customers.iter().filter_map(|customer| customer.status_on(portfolio.spec.until)).collect();
    assert_eq!(states.len(), 4, "{states:?}");
}

#[test]
fn departures_in_the_grid_are_as_frequent_as_in_real_books() {
    let grid = feature_rows(1_000, 36, 5);
    let years = grid.months.iter().filter(|month| !month.is_leaving).count() as f64 / 12.0;
    let annual = grid.notices.iter().flatten().count() as f64 / years;
    assert!((0.08..0.20).contains(&annual), "{annual}");
    assert_eq!(feature_rows(20, 36, 5).months, feature_rows(20, 36, 5).months);
}
