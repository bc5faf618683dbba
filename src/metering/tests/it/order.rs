//! Any order, any repetition, any split into batches: the same tables.

use granary_foundation::Silent;
use granary_metering::{ingest, rebuild, rebuild_days};
use granary_test_support::TestDatabase;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::house::{House, attempt, dump, event, machine};

const DAYS: [&str; 4] = ["2025-09-29", "2025-09-30", "2025-10-01", "2025-10-02"];
const TIERS: [&str; 3] = ["backup", "enterprise", "replication"];

/// Any event; few names, so that events meet. The id is a hash of the content, so that no two conflict.
fn any_event() -> impl Strategy<Value = Value> {
    (0..28_u8, 0..3_u8, 0..4_usize, 1..3_i32, 0..3_usize, 0..4_i64).prop_map(|(sort, name, day, number, tier, amount)| {
        let made = if sort < 17 { summed(sort, name, day, number, tier, amount) } else { single(sort, name, day, number, tier, amount) };
        named(made)
    })
}

/// Gives an event the id that follows from its content.
fn named(mut event: Value) -> Value {
    event["id"] = json!("");
    event["id"] = json!(fingerprint(&event));
    event
}

/// Events, and corrections of some of them and of corrections.
fn any_events() -> impl Strategy<Value = Vec<Value>> {
    let corrections = vec((any::<prop::sample::Index>(), any::<bool>(), 0..3_u8, any_event()), 0..12);
    (vec(any_event(), 1..60), corrections).prop_map(|(mut events, corrections)| {
        for (index, is_void, hour, other) in corrections {
            let target = events[index.index(events.len())]["id"].clone();
            let time = format!("2025-10-03T0{hour}:00:00Z");
            let made = if is_void {
                event("", "event.voided", &time, json!({"event_id": target}))
            } else {
                let data = json!({"event_id": target, "type": other["type"], "time": other["time"], "data": other["data"]});
                event("", "event.amended", &time, data)
            };
            events.push(named(made));
        }
        events
    })
}

fn summed(sort: u8, name: u8, day: usize, number: i32, tier: usize, amount: i64) -> Value {
    let (name, day, tier) = (format!("m{name}"), DAYS[day], TIERS[tier]);
    let time = format!("{day}T0{amount}:00:00Z");
    let key = json!({"source_system": "vcenter-1", "vendor_id": name});
    let with = |extra: Value| {
        let mut data = key.clone();
        data.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        data
    };
    let disks = json!([{"index": 0, "size_bytes": amount * 3, "transferred_bytes": amount, "state": if amount == 0 { "failed" } else { "completed" }}]);
    let run = format!("{name}-{day}");
    let hour = i32::try_from(amount).unwrap() + 3;
    let ticket = format!("T{amount}");
    match sort {
        0 => event("", "machine.discovered", &time, with(json!({"name": format!("{name} {amount}"), "os": tier}))),
        1 => event("", "machine.protected", &time, with(json!({"name": name, "tier": tier, "from": day, "runs_per_day": number}))),
        2 => event("", "machine.tier_changed", &time, with(json!({"tier": tier, "from": day}))),
        3 => event("", "machine.unprotected", &time, with(json!({"on": day}))),
        4 => event("", "machine.replaced", &time, with(json!({"replaced_by": machine(tier)}))),
        5 | 6 => attempt(&run, number, "backup.completed", &name, day, hour, &disks),
        7 => attempt(&run, number, "backup.failed", &name, day, hour, &disks),
        8 => attempt(&run, number, "backup.started", &name, day, hour, &json!([])),
        9 => {
            let data = json!({"machine": key, "day": day, "cycles_completed": amount, "cycles_failed": number, "transferred_bytes": 5, "lag_seconds_max": 9, "last_cycle_at": time});
            event("", "replication.summary", &time, data)
        }
        10 => {
            let repository = json!({"vendor_id": name, "name": tier, "kind": "nfs", "is_copy": number == 1});
            event("", "repository.sampled", &time, json!({"repository": repository, "used_bytes": amount * 7, "sampled_at": time}))
        }
        11 => event("", "heartbeat.summary", &time, json!({"day": day, "received": amount, "expected": number, "last_at": time})),
        12 => event(
            "",
            "activity.summary",
            &time,
            json!({"day": day, "kind": if number == 1 { "portal_login" } else { tier }, "amount": amount}),
        ),
        13 => event("", "backup.skipped", &time, json!({"machine": key, "day": day, "reason": tier, "is_excused": amount > 1})),
        14 => {
            let data = json!({"restore_id": ticket, "machine": key, "kind": "test", "requested_at": format!("{day}T00:00:00Z"), "ended_at": time, "restored_bytes": number});
            event("", if number == 1 { "restore.failed" } else { "restore.completed" }, &time, data)
        }
        15 => {
            let data = json!({"ticket_id": ticket, "priority": "normal", "opened_at": format!("{day}T00:00:00Z"), "rated_at": time, "rating": number});
            event("", "ticket.rated", &time, data)
        }
        _ => {
            let data = json!({"ticket_id": ticket, "priority": if number == 1 { "low" } else { "urgent" }, "opened_at": format!("{day}T00:00:00Z"), "closed_at": time, "rating": number});
            event("", "ticket.closed", &time, data)
        }
    }
}

/// The events that tell of single things.
fn single(sort: u8, name: u8, day: usize, number: i32, tier: usize, amount: i64) -> Value {
    let (name, day, tier) = (format!("m{name}"), DAYS[day], TIERS[tier]);
    let time = format!("{day}T0{amount}:0{number}:00Z");
    let (start, end) = (format!("{day}T05:00:00Z"), format!("{day}T0{}:30:00Z", amount + 5));
    let run = json!({"run_id": format!("{name}-{day}"), "machine": machine(&name), "kind": "full", "attempt": number, "started_at": start});
    let attempt = |event_type: &str, extra: Value| {
        let mut data = run.clone();
        data.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        event("", event_type, &time, data)
    };
    let disks = json!([{"index": 0, "size_bytes": amount, "transferred_bytes": amount * 2, "state": "completed"}]);
    match sort {
        17 => attempt("backup.scheduled", json!({"scheduled_at": start})),
        18 => attempt("backup.progressed", json!({"reported_at": end, "phase": tier, "transferred_bytes": amount})),
        19 => attempt("backup.cancelled", json!({"ended_at": end, "phase": tier})),
        20 => {
            let state = if amount == 1 { "failed" } else { "completed_with_warning" };
            attempt("backup.corrected", json!({"ended_at": end, "state": state, "corrected_at": time, "disks": disks}))
        }
        21 => {
            let data = json!({"machine": machine(&name), "started_at": start, "ended_at": end, "transferred_bytes": amount, "lag_seconds": number});
            event("", if number == 1 { "replication.failed" } else { "replication.completed" }, &time, data)
        }
        22 => {
            let data = json!({"chain_id": tier, "machine": machine(&name), "repository_id": name, "restore_points": number, "stored_bytes": amount, "sampled_at": time});
            event("", "chain.sampled", &time, data)
        }
        23 => {
            let data = json!({"copy_id": tier, "run_id": name, "repository_id": name, "stored_bytes": amount, "ended_at": time, "is_verified": number == 1});
            event("", if amount == 1 { "copy.failed" } else { "copy.completed" }, &time, data)
        }
        24 | 25 => event("", "heartbeat.sent", &time, json!({})),
        26 => event("", "portal.logged_in", &time, json!({})),
        _ => {
            let data = json!({"window_id": tier, "machine": machine(&name), "starts_at": start, "ends_at": end, "reason": name});
            event("", if number == 1 { "maintenance.scheduled" } else { "maintenance.cancelled" }, &time, data)
        }
    }
}

fn fingerprint(event: &Value) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    event.to_string().hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

/// Whether the tables are made from the log as well, and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remade {
    Not,
    Too,
}

/// Ingests batches into ACME and returns its tables; the transaction is rolled back.
async fn tables(house: &House, batches: &[Vec<Value>], remade: Remade) -> Vec<(&'static str, Vec<String>)> {
    let tx = house.begin(&house.customers.acme_scope()).await;
    for batch in batches {
        let report = ingest(&tx, None, &serde_json::to_vec(batch).unwrap()).await.unwrap();
        assert_eq!((report.conflicts, report.invalid), (0, 0), "{report:?}");
    }
    rebuild_days(&tx, "2025-09".parse().unwrap(), "2025-10".parse().unwrap()).await.unwrap();
    let dumped = dump(&tx).await;
    if remade == Remade::Too {
        let rebuilt = rebuild(&tx, &Silent::shared()).await.unwrap();
        assert!(rebuilt.iter().all(|table| table.is_same), "{rebuilt:?}");
        assert_eq!(dump(&tx).await, dumped);
    }
    tx.rollback().await.unwrap();
    dumped
}

#[test]
fn any_order_repetition_and_split_gives_the_same_tables() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::new());
    let strategy = any_events().prop_flat_map(|events| {
        let count = events.len();
        let repeated = vec(0..count, 0..20);
        let once = Just(events.clone());
        let shuffled = repeated.prop_flat_map(move |again| {
            let all: Vec<Value> = events.iter().cloned().chain(again.into_iter().map(|index| events[index].clone())).collect();
            Just(all).prop_shuffle()
        });
        (once, shuffled, 1..25_usize)
    });
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    runner
        .run(&strategy, |(events, shuffled, size)| {
            let batches: Vec<Vec<Value>> = shuffled.chunks(size).map(<[Value]>::to_vec).collect();
            let (one, other) =
                runtime.block_on(async { (tables(&house, &[events], Remade::Not).await, tables(&house, &batches, Remade::Too).await) });
            prop_assert_eq!(one, other);
            Ok(())
        })
        .unwrap();
    // The database is dropped while its runtime still stands.
    let House { database, .. } = house;
    drop::<TestDatabase>(database);
}
