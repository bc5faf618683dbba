//! Each event once for ever, bad ones by name.

use granary_metering::{MeteringError, Outcome, ingest};
use serde_json::{Value, json};

use super::house::{House, attempt, completed, event, machine, protected};

#[tokio::test]
async fn an_event_counts_once_for_ever_and_other_content_goes_to_quarantine() {
    let house = House::new().await;
    let one = completed("r1", "web-1", "2025-10-01", 100);
    let report = house.take(&[one.clone(), one.clone()]).await;
    assert_eq!(report.outcomes, [Outcome::Accepted, Outcome::Duplicate]);
    let mut other = one.clone();
    other["data"]["disks"][0]["transferred_bytes"] = json!(999);
    let report = house.take(&[other.clone(), one, other]).await;
    assert_eq!(report.outcomes, [Outcome::Conflict, Outcome::Duplicate, Outcome::Conflict]);
    assert_eq!(house.text("select sum(transferred_bytes)::text from backup_runs").await.unwrap(), "100");
    assert_eq!(house.text("select count(*)::text from quarantined_events").await.unwrap(), "1");
}

#[tokio::test]
async fn a_bad_event_is_named_and_spares_its_batch() {
    let house = House::new().await;
    let mut bad = completed("r1", "web-1", "2025-10-01", 100);
    bad["data"]["disks"][0]["size_bytes"] = json!(-1);
    let mut nul = completed("r2", "web-1", "2025-10-01", 100);
    nul["data"]["machine"]["vendor_id"] = json!("web\0");
    let unknown = event("u", "backup.vanished", "2025-10-01T00:00:00Z", json!({}));
    let report = house.take(&[bad, json!(7), nul, completed("r3", "web-1", "2025-10-01", 1), unknown]).await;
    let pointers: Vec<_> = report
        .outcomes
        .iter()
        .map(|outcome| if let Outcome::Invalid { pointer, .. } = outcome { Some(pointer.as_str()) } else { None })
        .collect();
    assert_eq!(pointers, [Some("/data/disks/0/size_bytes"), Some(""), Some("/data/machine/vendor_id"), None, Some("/type")]);
    assert_eq!((report.accepted, report.invalid), (1, 4));
    assert_eq!(
        house.text("select string_agg(id, ',' order by id) from quarantined_events").await.unwrap(),
        "backup.completed-r1-1,backup.completed-r2-1,u"
    );
}

#[tokio::test]
async fn a_body_that_is_no_batch_is_refused() {
    let house = House::new().await;
    let tx = house.begin(&house.customers.acme_scope()).await;
    assert!(matches!(ingest(&tx, None, b"{").await, Err(MeteringError::NotJson(_))));
    assert!(matches!(ingest(&tx, None, b"7").await, Err(MeteringError::NotEvents)));
    assert_eq!(ingest(&tx, None, b"[]").await.unwrap().outcomes.len(), 0);
    let single = serde_json::to_vec(&completed("r1", "web-1", "2025-10-01", 1)).unwrap();
    assert_eq!(ingest(&tx, Some("https://other.example"), &single).await.unwrap().invalid, 1);
    assert_eq!(ingest(&tx, Some(super::house::SOURCE), &single).await.unwrap().accepted, 1);
    let many = serde_json::to_vec(&vec![Value::Null; 20_001]).unwrap();
    assert!(matches!(ingest(&tx, None, &many).await, Err(MeteringError::BatchTooLarge { .. })));
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn two_customers_with_the_same_names_share_nothing() {
    let house = House::new().await;
    let batch = [protected("web-1", "backup", "2025-10-01"), completed("r1", "web-1", "2025-10-01", 5)];
    for scope in [house.customers.acme_scope(), house.customers.globex_scope(), house.customers.south_acme_scope()] {
        assert_eq!(house.ingest(&scope, &batch).await.accepted, 2);
    }
    let mut ids = Vec::new();
    for scope in [house.customers.acme_scope(), house.customers.globex_scope(), house.customers.south_acme_scope()] {
        let tx = house.begin(&scope).await;
        let row = tx.query_one("select id::text from machines", &[]).await.unwrap();
        ids.push(row.get::<_, String>(0));
        tx.commit().await.unwrap();
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_retry_joins_its_run_and_a_failure_may_become_a_success_later() {
    let house = House::new().await;
    let disks = |state: &str| json!([{"index": 0, "size_bytes": 10, "transferred_bytes": 4, "state": state}, {"index": 1, "size_bytes": 20, "transferred_bytes": 8, "state": "completed"}]);
    let failed = attempt("r1", 1, "backup.failed", "web-1", "2025-10-01", 2, &disks("failed"));
    house.take(&[failed]).await;
    let state = "select state || ' ' || attempt_count || ' ' || transferred_bytes || ' ' || coalesce(error, '-') || ' ' || billing_on from backup_runs";
    assert_eq!(house.text(state).await.unwrap(), "failed 1 8 no route to host 2025-09-30");
    house.take(&[attempt("r1", 2, "backup.completed", "web-1", "2025-10-01", 5, &disks("completed"))]).await;
    assert_eq!(house.text(state).await.unwrap(), "completed 2 12 - 2025-10-01");
    // A retry that knows no predecessor stands alone; a success of the same attempt outlasts its failure.
    house.take(&[attempt("r2", 2, "backup.completed", "web-1", "2025-10-02", 5, &disks("completed"))]).await;
    house.take(&[attempt("r3", 1, "backup.completed", "web-1", "2025-10-03", 5, &disks("completed"))]).await;
    house.take(&[attempt("r3", 1, "backup.failed", "web-1", "2025-10-03", 6, &json!([]))]).await;
    assert_eq!(
        house.text("select string_agg(vendor_id || state || attempt_count, ' ' order by vendor_id) from backup_runs").await.unwrap(),
        "r1completed2 r2completed1 r3completed1"
    );
    assert_eq!(house.text("select bool_and(disks.ended_at = runs.ended_at)::text from backup_disks as disks join backup_runs as runs on runs.id = disks.run_id").await.unwrap(), "true");
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_leaves_no_event_behind() {
    let house = House::new().await;
    let scope = house.customers.acme_scope();
    let batch = serde_json::to_vec(&[completed("r1", "web-1", "2025-10-01", 5)]).unwrap();
    let tx = house.begin(&scope).await;
    assert_eq!(ingest(&tx, None, &batch).await.unwrap().accepted, 1);
    tx.rollback().await.unwrap();
    let tx = house.begin(&scope).await;
    assert_eq!(ingest(&tx, None, &batch).await.unwrap().accepted, 1);
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn batches_that_come_at_once_count_each_event_once() {
    let house = House::new().await;
    let scope = house.customers.acme_scope();
    let batch: Vec<Value> = (0..200).map(|number| completed(&format!("r{number}"), "web-1", "2025-10-01", 1)).collect();
    let mut backwards = batch.clone();
    backwards.reverse();
    let (one, two, three) = tokio::join!(house.ingest(&scope, &batch), house.ingest(&scope, &backwards), house.ingest(&scope, &batch));
    assert_eq!(one.accepted + two.accepted + three.accepted, 200);
    assert_eq!(one.duplicates + two.duplicates + three.duplicates, 400);
    assert_eq!(house.text("select count(*)::text from backup_runs").await.unwrap(), "200");
}

/// One event of every type.
pub(crate) fn one_of_each() -> Vec<Value> {
    let mut list = one_of_each_sum();
    list.extend(one_of_each_single());
    list
}

fn one_of_each_sum() -> Vec<Value> {
    let at = "2025-10-01T08:00:00Z";
    let repository =
        json!({"vendor_id": "repo-1", "name": "Main", "kind": "nfs", "capacity_bytes": 1000, "is_copy": false, "is_immutable": true});
    let ticket = |extra: Value| {
        let mut data = json!({"ticket_id": "T1", "priority": "normal", "opened_at": at});
        data.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        data
    };
    let cycles = json!({"machine": machine("db-1"), "day": "2025-10-01", "cycles_completed": 280, "cycles_failed": 2, "transferred_bytes": 5, "lag_seconds_max": 90, "last_cycle_at": "2025-10-01T23:55:00Z"});
    vec![
        event("1", "machine.discovered", at, json!({"source_system": "vcenter-1", "vendor_id": "db-1", "name": "Database", "os": "Linux"})),
        protected("web-1", "backup", "2025-10-01"),
        event(
            "2",
            "machine.tier_changed",
            at,
            json!({"source_system": "vcenter-1", "vendor_id": "web-1", "tier": "enterprise", "from": "2025-10-10"}),
        ),
        event("3", "machine.unprotected", at, json!({"source_system": "vcenter-1", "vendor_id": "web-1", "on": "2025-10-20"})),
        event("4", "machine.replaced", at, json!({"source_system": "vcenter-1", "vendor_id": "web-1", "replaced_by": machine("web-2")})),
        attempt("r1", 1, "backup.started", "web-1", "2025-10-01", 2, &json!([])),
        event(
            "5",
            "backup.skipped",
            at,
            json!({"machine": machine("web-1"), "day": "2025-10-02", "reason": "maintenance", "is_excused": true}),
        ),
        event(
            "6",
            "restore.completed",
            at,
            json!({"restore_id": "x1", "machine": machine("web-1"), "kind": "full_vm", "requested_at": at, "ended_at": "2025-10-01T09:30:00Z", "restored_bytes": 77}),
        ),
        event(
            "7",
            "restore.failed",
            at,
            json!({"restore_id": "x2", "kind": "test", "requested_at": at, "ended_at": "2025-10-01T09:30:00Z"}),
        ),
        event("8", "replication.summary", at, cycles),
        event("9", "repository.sampled", at, json!({"repository": repository, "used_bytes": 500, "sampled_at": at})),
        event(
            "10",
            "heartbeat.summary",
            at,
            json!({"day": "2025-10-01", "received": 95, "expected": 96, "last_at": "2025-10-01T23:45:00Z"}),
        ),
        event("11", "ticket.opened", at, ticket(json!({}))),
        event("12", "ticket.answered", at, ticket(json!({"answered_at": "2025-10-01T09:00:00Z"}))),
        event("13", "ticket.closed", at, ticket(json!({"closed_at": "2025-10-02T09:00:00Z", "rating": 4}))),
        event("14", "activity.summary", at, json!({"day": "2025-10-01", "kind": "feature:reports", "amount": 3})),
    ]
}

fn one_of_each_single() -> Vec<Value> {
    let at = "2025-10-05T08:00:00Z";
    let with = |base: Value, extra: Value| {
        let mut data = base;
        data.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        data
    };
    let run = |name: &str| json!({"run_id": name, "machine": machine("app-1"), "kind": "full", "attempt": 1, "started_at": at});
    let window = json!({"window_id": "w1", "starts_at": at, "ends_at": "2025-10-05T10:00:00Z", "reason": "new switches"});
    let copy = json!({"copy_id": "c1", "run_id": "s3", "repository_id": "repo-2", "ended_at": at});
    let cycle = json!({"machine": machine("app-1"), "started_at": at, "ended_at": at, "transferred_bytes": 4, "lag_seconds": 7});
    vec![
        event("s1", "backup.scheduled", at, with(run("s1"), json!({"scheduled_at": at}))),
        event("s2", "backup.progressed", at, with(run("s2"), json!({"reported_at": "2025-10-05T08:20:00Z", "phase": "snapshot"}))),
        event("s3", "backup.cancelled", at, with(run("s3"), json!({"ended_at": at}))),
        event("s4", "backup.corrected", at, with(run("s4"), json!({"ended_at": at, "state": "completed", "corrected_at": at}))),
        event("s5", "replication.completed", at, cycle.clone()),
        event("s6", "replication.failed", at, cycle),
        event(
            "s7",
            "chain.sampled",
            at,
            json!({"chain_id": "k1", "machine": machine("app-1"), "repository_id": "repo-1", "restore_points": 9, "stored_bytes": 30, "sampled_at": at}),
        ),
        event("s8", "copy.failed", at, copy.clone()),
        event("s9", "copy.completed", at, with(copy, json!({"stored_bytes": 12}))),
        event("s10", "heartbeat.sent", "2025-10-05T08:01:00Z", json!({})),
        event("s11", "heartbeat.sent", "2025-10-05T08:14:00Z", json!({})),
        event("s12", "heartbeat.sent", "2025-10-05T08:15:00Z", json!({})),
        event(
            "s13",
            "ticket.rated",
            at,
            json!({"ticket_id": "T1", "priority": "normal", "opened_at": "2025-10-01T08:00:00Z", "rated_at": at, "rating": 2}),
        ),
        event("s14", "portal.logged_in", at, json!({})),
        event("s15", "portal.logged_in", at, json!({})),
        event("s16", "maintenance.scheduled", at, window.clone()),
        event("s17", "maintenance.cancelled", "2025-10-05T07:00:00Z", window),
        event("s18", "event.voided", at, json!({"event_id": "elsewhere"})),
        event("s19", "event.amended", at, json!({"event_id": "elsewhere", "type": "heartbeat.sent", "time": at, "data": {}})),
    ]
}

#[tokio::test]
async fn a_single_report_finds_its_row_too() {
    let (house, list) = (House::new().await, one_of_each());
    let report = house.take(&list).await;
    assert_eq!(report.accepted, list.len(), "{report:?}");
    let runs = "select string_agg(vendor_id || ' ' || state || ' ' || attempt_count, ', ' order by vendor_id) from backup_runs where vendor_id like 's%'";
    assert_eq!(house.text(runs).await.unwrap(), "s1 scheduled 0, s2 running 1, s3 cancelled 1, s4 completed 1");
    let rest = "select concat_ws(' ', (select string_agg(kind || restore_points, ',' order by kind) from stored_backups),
        (select concat_ws('/', received, expected) from heartbeats where service_on = '2025-10-05'), (select rating from tickets),
        (select amount from activity where kind = 'portal_login'), (select is_cancelled from maintenance_windows),
        (select concat_ws('/', cycles_completed, cycles_failed, lag_seconds_max) from replication_cycles where service_on = '2025-10-05'))";
    assert_eq!(house.text(rest).await.unwrap(), "chain9,copy1 2/96 2 2 f 1/1/7");
}

#[tokio::test]
async fn every_type_of_event_finds_its_row() {
    let (house, list) = (House::new().await, one_of_each_sum());
    let report = house.take(&list).await;
    assert_eq!(report.accepted, list.len(), "{report:?}");
    let counts = "select concat_ws(' ', (select count(*) from machines), (select count(*) from tier_assignments), (select count(*) from backup_runs where state = 'running'),
        (select count(*) from skipped_runs), (select string_agg(duration_ms::text, ',' order by vendor_id) from restore_runs), (select count(*) from replication_cycles),
        (select used_bytes from storage_samples), (select received from heartbeats), (select closed_at - answered_at from tickets), (select amount from activity))";
    assert_eq!(house.text(counts).await.unwrap(), "3 2 1 1 5400000,5400000 1 500 95 1 day 3");
    let machine = "select concat_ws(' ', protected_on, unprotected_on, replaced_by = (select id from machines where vendor_id = 'web-2')) from machines where vendor_id = 'web-1'";
    assert_eq!(house.text(machine).await.unwrap(), "2025-10-01 2025-10-20 t");
    assert_eq!(
        house.text("select concat_ws(' ', runs_per_day, starts_on, ends_on) from schedules").await.unwrap(),
        "1 2025-10-01 2025-10-20"
    );
}
