//! Any order, any repetition, any split into batches: the same tables.

use granary_metering::{ingest, rebuild_days};
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
    (0..16_u8, 0..3_u8, 0..4_usize, 1..3_i32, 0..3_usize, 0..4_i64).prop_map(|(sort, name, day, number, tier, amount)| {
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
        let mut made = match sort {
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
            12 => event("", "activity.summary", &time, json!({"day": day, "kind": tier, "amount": amount})),
            13 => event("", "backup.skipped", &time, json!({"machine": key, "day": day, "reason": tier, "is_excused": amount > 1})),
            14 => {
                let data = json!({"restore_id": ticket, "machine": key, "kind": "test", "requested_at": format!("{day}T00:00:00Z"), "ended_at": time, "restored_bytes": number});
                event("", if number == 1 { "restore.failed" } else { "restore.completed" }, &time, data)
            }
            _ => {
                let data = json!({"ticket_id": ticket, "priority": if number == 1 { "low" } else { "urgent" }, "opened_at": format!("{day}T00:00:00Z"), "closed_at": time, "rating": number});
                event("", "ticket.closed", &time, data)
            }
        };
        made["id"] = json!(fingerprint(&made));
        made
    })
}

fn fingerprint(event: &Value) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    event.to_string().hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

/// Ingests batches into ACME and returns its tables; the transaction is rolled back.
async fn tables(house: &House, batches: &[Vec<Value>]) -> Vec<(&'static str, Vec<String>)> {
    let tx = house.begin(&house.customers.acme_scope()).await;
    for batch in batches {
        let report = ingest(&tx, None, &serde_json::to_vec(batch).unwrap()).await.unwrap();
        assert_eq!((report.conflicts, report.invalid), (0, 0), "{report:?}");
    }
    rebuild_days(&tx, "2025-09".parse().unwrap(), "2025-10".parse().unwrap()).await.unwrap();
    let dumped = dump(&tx).await;
    tx.rollback().await.unwrap();
    dumped
}

#[test]
fn any_order_repetition_and_split_gives_the_same_tables() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::new());
    let strategy = vec(any_event(), 1..60).prop_flat_map(|events| {
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
            let (one, other) = runtime.block_on(async { (tables(&house, &[events]).await, tables(&house, &batches).await) });
            prop_assert_eq!(one, other);
            Ok(())
        })
        .unwrap();
    // The database is dropped while its runtime still stands.
    let House { database, .. } = house;
    drop::<TestDatabase>(database);
}
