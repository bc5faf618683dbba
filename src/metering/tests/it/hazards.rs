//! The nine ways in which a real control plane misleads whoever counts its rows, each with what must come out.

use granary_metering::{Outcome, rebuild_days};
use serde_json::{Value, json};

use super::house::{House, attempt, completed, event, machine, protected};

const GIB: i64 = 1 << 30;
const RUNS: &str = "select concat_ws(' ', count(*), sum(transferred_bytes), string_agg(state, ',' order by vendor_id)) from backup_runs";

fn disk(index: i32, transferred_bytes: i64, state: &str) -> Value {
    json!({"index": index, "size_bytes": 102 * GIB, "transferred_bytes": transferred_bytes, "state": state})
}

fn run(id: &str, event_type: &str, run: &str, extra: Value) -> Value {
    let mut data =
        json!({"run_id": run, "machine": machine("pgtest1"), "kind": "full", "attempt": 1, "started_at": "2025-10-01T02:00:00Z"});
    data.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    event(id, event_type, "2025-10-01T03:00:00Z", data)
}

async fn days(house: &House) {
    let tx = house.begin(&house.customers.acme_scope()).await;
    rebuild_days(&tx, "2025-10".parse().unwrap(), "2025-10".parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn h1_a_parent_row_and_its_disk_rows_are_one_run_with_the_bytes_of_its_disks() {
    let house = House::new().await;
    let end = "2025-10-01T03:00:00Z";
    let name = "backup-pgtest1-1759284000";
    let parent = run("parent", "backup.completed", name, json!({"ended_at": end, "bytes_transferred": 12_000}));
    let rows = [0, 1].map(|index| {
        run(
            &format!("disk-{index}"),
            "backup.completed",
            name,
            json!({"ended_at": end, "disks": [disk(index, 5_000 + i64::from(index), "completed")]}),
        )
    });
    let both = run(
        "whole",
        "backup.completed",
        name,
        json!({"ended_at": end, "disks": [disk(0, 5_000, "completed"), disk(1, 5_001, "completed")]}),
    );
    let [first, second] = rows;
    house.take(&[second, parent, both, first]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "1 10001 completed");
    assert_eq!(house.text("select count(*)::text from backup_disks").await.unwrap(), "2");
}

#[tokio::test]
async fn h2_ids_of_a_second_and_a_name_collide_neither_between_customers_nor_between_control_planes() {
    let house = House::new().await;
    let one = completed("backup-web-1759284000", "web", "2025-10-01", 7);
    let mut of_another_plane = one.clone();
    of_another_plane["source"] = json!("https://second.acme.example");
    let mut in_the_same_second = one.clone();
    in_the_same_second["data"]["disks"][0]["transferred_bytes"] = json!(8);
    let report = house.take(&[one.clone(), of_another_plane, in_the_same_second]).await;
    assert_eq!(report.outcomes, [Outcome::Accepted, Outcome::Accepted, Outcome::Conflict]);
    assert_eq!(house.ingest(&house.customers.globex_scope(), &[one]).await.accepted, 1);
    assert_eq!(house.text(RUNS).await.unwrap(), "2 14 completed,completed");
    assert_eq!(house.text("select count(*)::text from quarantined_events").await.unwrap(), "1", "refused by name, and kept");
}

#[tokio::test]
async fn h3_gauges_are_not_added_up_and_a_run_that_was_declared_dead_may_complete_later() {
    let house = House::new().await;
    let progress = |id: &str, minute: u32, bytes: i64| {
        let reported_at = format!("2025-10-01T02:{minute:02}:00Z");
        run(
            id,
            "backup.progressed",
            "r",
            json!({"reported_at": reported_at, "phase": format!("phase {minute}"), "transferred_bytes": bytes}),
        )
    };
    let dead = run("dead", "backup.failed", "r", json!({"ended_at": "2025-10-01T02:20:00Z", "error": "no telemetry for 300 s"}));
    house.take(&[progress("a", 5, 100), progress("c", 15, 900), dead, progress("b", 10, 500), progress("z", 20, 0)]).await;
    let gauge = "select concat_ws(' ', state, progress_bytes, phase) from backup_attempts";
    assert_eq!(house.text(gauge).await.unwrap(), "failed 900 phase 20", "a gauge of nothing says nothing");
    assert_eq!(house.text(RUNS).await.unwrap(), "1 0 failed");
    let done = run("done", "backup.completed", "r", json!({"ended_at": "2025-10-01T03:00:00Z", "disks": [disk(0, 1_000, "completed")]}));
    house.take(&[done]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "1 1000 completed");
}

#[tokio::test]
async fn h4_what_the_source_deletes_stays_counted_because_the_log_stays() {
    let house = House::new().await;
    house.take(&[protected("web", "backup", "2025-10-01"), completed("r", "web", "2025-10-01", 7)]).await;
    // The machine is gone at the source, with its context and its jobs.
    let gone = json!({"source_system": "vcenter-1", "vendor_id": "web", "on": "2025-10-02"});
    house.take(&[event("gone", "machine.unprotected", "2025-10-02T00:00:00Z", gone)]).await;
    days(&house).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "1 7 completed");
    assert_eq!(house.text("select count(*)::text from machine_days where is_in_protection").await.unwrap(), "1");
    let tx = house.begin(&house.customers.acme_scope()).await;
    assert!(tx.execute("delete from usage_events", &[]).await.is_err(), "the log is only added to");
}

#[tokio::test]
async fn h5_bytes_are_those_of_completed_disks_whatever_the_parent_says() {
    let house = House::new().await;
    let end = "2025-10-01T03:00:00Z";
    let disks = json!([disk(0, 300, "completed"), disk(1, 4_000, "failed")]);
    let told = run("a", "backup.failed", "r1", json!({"ended_at": end, "bytes_transferred": 9_999, "error": "disk 1", "disks": disks}));
    let none = run("b", "backup.failed", "r2", json!({"ended_at": end, "bytes_transferred": 8_888}));
    house.take(&[told, none]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "2 300 failed,failed");
}

#[tokio::test]
async fn h6_one_instant_is_one_instant_in_any_notation_and_none_without_a_zone() {
    let house = House::new().await;
    let one = completed("r", "web", "2025-10-01", 7);
    let mut same = one.clone();
    same["time"] = json!("2025-10-01T05:00:00.000+02:00");
    let mut local = completed("s", "web", "2025-10-01", 7);
    local["data"]["ended_at"] = json!("2025-10-01 03:00:00");
    let report = house.take(&[one, same, local]).await;
    assert_eq!(report.outcomes[..2], [Outcome::Accepted, Outcome::Duplicate]);
    assert!(matches!(&report.outcomes[2], Outcome::Invalid { pointer, .. } if pointer == "/data/ended_at"), "{report:?}");
    assert_eq!(house.text(RUNS).await.unwrap(), "1 7 completed");
}

#[tokio::test]
async fn h7_virtual_size_transfer_and_storage_are_three_numbers() {
    let house = House::new().await;
    let end = "2025-10-01T03:00:00Z";
    let at = "2025-10-01T12:00:00Z";
    let repository = json!({"vendor_id": "repo-1", "name": "Main", "kind": "nfs"});
    let chain = json!({
        "chain_id": "pgtest1-0", "machine": machine("pgtest1"), "repository_id": "repo-1", "restore_points": 4, "stored_bytes": 11 * GIB,
        "oldest_at": "2025-09-01T00:00:00Z", "retention_days": 30, "immutable_until": "2025-11-01T00:00:00Z", "sampled_at": at,
    });
    house
        .take(&[
            run("a", "backup.completed", "r", json!({"ended_at": end, "disks": [disk(0, 2 * GIB, "completed")]})),
            event("s", "repository.sampled", at, json!({"repository": repository, "used_bytes": 12 * GIB, "sampled_at": at})),
            event("c", "chain.sampled", at, chain),
        ])
        .await;
    days(&house).await;
    let numbers =
        "select concat_ws(' ', (select protected_bytes >> 30 from backup_runs), (select transferred_bytes >> 30 from backup_runs),
        (select sum(used_bytes)::bigint >> 30 from storage_days where not is_carried), (select stored_bytes >> 30 from stored_backups),
        (select repository_id = (select id from repositories) from stored_backups))";
    assert_eq!(house.text(numbers).await.unwrap(), "102 2 12 11 t", "the chain lies within the gauge and is not added to it");
}

#[tokio::test]
async fn h8_a_copy_is_stored_twice_and_protected_once() {
    let house = House::new().await;
    let at = "2025-10-01T12:00:00Z";
    let sampled = |name: &str, is_copy: bool| {
        let repository = json!({"vendor_id": name, "name": name, "kind": "s3", "is_copy": is_copy});
        event(name, "repository.sampled", at, json!({"repository": repository, "used_bytes": 10 * GIB, "sampled_at": at}))
    };
    let copy = json!({"copy_id": "c", "run_id": "r", "machine": machine("web"), "repository_id": "far", "stored_bytes": 10 * GIB, "ended_at": at, "is_verified": true});
    let failed =
        json!({"copy_id": "c", "run_id": "r", "machine": machine("web"), "repository_id": "far", "ended_at": "2025-10-01T11:00:00Z"});
    house
        .take(&[
            protected("web", "backup", "2025-10-01"),
            completed("r", "web", "2025-10-01", 7),
            sampled("near", false),
            sampled("far", true),
            event("copied", "copy.completed", at, copy),
            event("failed", "copy.failed", at, failed),
        ])
        .await;
    days(&house).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "1 7 completed", "a copy is no run, and its bytes are no transfer");
    let counts =
        "select concat_ws(' ', (select count(*) from machine_days where billing_on = '2025-10-01'), (select count(*) from machines),
        (select sum(used_bytes)::bigint >> 30 from storage_days where not is_carried),
        (select concat_ws(' ', state, restore_points, is_verified, run_id = (select id from backup_runs)) from stored_backups))";
    assert_eq!(house.text(counts).await.unwrap(), "1 1 20 stored 1 t t");
}

#[tokio::test]
async fn h9_a_machine_in_backup_and_in_replication_is_one_machine() {
    let house = House::new().await;
    let cycle = |number: i32| {
        let data = json!({
            "machine": machine("web"), "started_at": "2025-10-01T14:00:00Z", "ended_at": format!("2025-10-01T14:{number:02}:00Z"),
            "transferred_bytes": 10, "lag_seconds": number * 10,
        });
        event(&format!("cycle-{number}"), "replication.completed", "2025-10-01T03:00:00Z", data)
    };
    house
        .take(&[protected("web", "replication", "2025-10-01"), completed("r", "web", "2025-10-01", 7), cycle(1), cycle(9), cycle(5)])
        .await;
    house.take(&[cycle(5), cycle(7)]).await;
    days(&house).await;
    let counts = "select concat_ws(' ', (select count(*) from machines), (select count(distinct machine_id) from machine_days),
        (select concat_ws(' ', cycles_completed, transferred_bytes, lag_seconds_max, last_cycle_at at time zone 'UTC') from replication_cycles))";
    assert_eq!(house.text(counts).await.unwrap(), "1 1 4 40 90 2025-10-01 14:09:00");
    // A summary of the day counts instead of the single cycles, whenever it comes.
    let summary = json!({"machine": machine("web"), "day": "2025-10-01", "cycles_completed": 288, "cycles_failed": 1, "transferred_bytes": 5, "lag_seconds_max": 3, "last_cycle_at": "2025-10-01T14:05:00Z"});
    house.take(&[event("summary", "replication.summary", "2025-10-01T23:00:00Z", summary), cycle(11)]).await;
    let day = "select concat_ws(' ', cycles_completed, transferred_bytes, lag_seconds_max) from replication_cycles";
    assert_eq!(house.text(day).await.unwrap(), "288 5 3");
    assert_eq!(house.take(&[attempt("r", 1, "backup.completed", "web", "2025-10-01", 2, &json!([]))]).await.conflicts, 1);
}
