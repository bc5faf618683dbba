//! Events that were wrong: voided, amended, and told better.

use granary_foundation::Silent;
use granary_metering::{MeteringError, rebuild};
use serde_json::{Value, json};

use super::house::{House, SOURCE, attempt, completed, dump, event, machine, protected};

const RUNS: &str =
    "select coalesce(string_agg(concat_ws(' ', vendor_id, state, transferred_bytes), ', ' order by vendor_id), '-') from backup_runs";

fn void(id: &str, event_id: &str, second: i32) -> Value {
    event(id, "event.voided", &format!("2025-10-05T00:00:{second:02}Z"), json!({"event_id": event_id, "reason": "it never took place"}))
}

fn amend(id: &str, event_id: &str, second: i32, other: &Value) -> Value {
    let data = json!({"event_id": event_id, "type": other["type"], "time": other["time"], "data": other["data"], "reason": "told wrongly"});
    event(id, "event.amended", &format!("2025-10-05T00:00:{second:02}Z"), data)
}

#[tokio::test]
async fn a_voided_event_counts_no_more_and_stays_in_the_log() {
    let house = House::new().await;
    let one = completed("r1", "web", "2025-10-01", 100);
    let id = one["id"].as_str().unwrap().to_owned();
    house.take(&[one.clone(), completed("r2", "web", "2025-10-01", 5)]).await;
    assert_eq!(house.take(&[void("v", &id, 1)]).await.accepted, 1);
    assert_eq!(house.text(RUNS).await.unwrap(), "r2 completed 5");
    assert_eq!(house.text("select concat_ws(' ', count(*), (select count(*) from backup_disks)) from usage_events").await.unwrap(), "3 1");
    // It is known, whatever becomes of it: it is a duplicate and no new event.
    assert_eq!(house.take(&[one]).await.duplicates, 1);
    assert_eq!(house.text(RUNS).await.unwrap(), "r2 completed 5");
    house.take(&[void("w", "v", 2)]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "r1 completed 100, r2 completed 5", "the void is voided");
}

#[tokio::test]
async fn a_correction_may_come_before_what_it_corrects() {
    let house = House::new().await;
    let (one, two) = (completed("r1", "web", "2025-10-01", 100), completed("r1", "web", "2025-10-01", 60));
    let id = one["id"].as_str().unwrap().to_owned();
    house.take(&[amend("a", &id, 1, &two), void("v", "never", 1)]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "-");
    house.take(std::slice::from_ref(&one)).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "r1 completed 60");
    // The later correction decides, even one that makes another run of another machine of it.
    let other = attempt("r9", 1, "backup.failed", "db", "2025-10-02", 2, &json!([]));
    house.take(&[amend("b", &id, 2, &other)]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "r9 failed 0");
    house.take(&[void("c", "b", 3), void("d", &id, 0)]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "r1 completed 60", "the void is older than the amendment");
}

#[tokio::test]
async fn a_correction_speaks_for_its_own_source_alone() {
    let house = House::new().await;
    let one = completed("r1", "web", "2025-10-01", 100);
    let mut foreign = void("v", one["id"].as_str().unwrap(), 1);
    foreign["source"] = json!("https://other.example");
    house.take(&[one.clone(), foreign]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "r1 completed 100");
    let mut wrong = amend("a", one["id"].as_str().unwrap(), 1, &one);
    wrong["data"]["data"]["disks"][0]["size_bytes"] = json!(-1);
    let report = house.take(&[wrong.clone(), amend("b", "v", 1, &wrong)]).await;
    let pointers: Vec<Value> = report.outcomes.iter().map(|outcome| serde_json::to_value(outcome).unwrap()["pointer"].clone()).collect();
    assert_eq!(pointers, ["/data/data/disks/0/size_bytes", "/data/type"]);
}

#[tokio::test]
async fn every_kind_of_row_goes_with_the_event_that_it_was_made_of() {
    let house = House::new().await;
    let list = super::ingest::one_of_each();
    house.take(&list).await;
    let corrections: Vec<Value> = list
        .iter()
        .filter(|event| !event["type"].as_str().unwrap().starts_with("event."))
        .enumerate()
        .map(|(number, event)| void(&format!("void-{number}"), event["id"].as_str().unwrap(), 30))
        .collect();
    house.take(&corrections).await;
    let tx = house.begin(&house.customers.acme_scope()).await;
    for (table, rows) in dump(&tx).await {
        match table {
            "usage_events" => assert_eq!(rows.len(), list.len() + corrections.len()),
            // That a machine was named stays.
            "machines" => {
                assert!(rows.iter().all(|row| row.contains("\"protected_on\": null") && row.contains("\"os\": null")), "{rows:?}")
            }
            _ => assert_eq!(rows, [""; 0], "{table}"),
        }
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_source_that_told_a_run_wrongly_tells_it_again() {
    let house = House::new().await;
    let disk = |bytes: i64| json!([{"index": 0, "size_bytes": 10, "transferred_bytes": bytes, "state": "completed"}]);
    let corrected = |id: &str, minute: i32, state: &str, bytes: i64| {
        let data = json!({
            "run_id": "r1", "machine": machine("web"), "kind": "incremental", "attempt": 1, "started_at": "2025-10-01T02:00:00Z",
            "ended_at": "2025-10-01T03:00:00Z", "state": state, "corrected_at": format!("2025-10-02T00:{minute:02}:00Z"), "disks": disk(bytes),
        });
        event(id, "backup.corrected", "2025-10-02T00:00:00Z", data)
    };
    house.take(&[corrected("c2", 20, "failed", 0), completed("r1", "web", "2025-10-01", 100), corrected("c1", 10, "completed", 70)]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "r1 failed 0");
    house.take(&[corrected("c3", 30, "completed_with_warning", 90)]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "r1 completed_with_warning 90");
}

#[tokio::test]
async fn the_tables_are_made_again_from_the_log_alone_and_a_rebuild_that_ends_early_changes_nothing() {
    let house = House::new().await;
    let mut list = super::ingest::one_of_each();
    list.extend((0..300).map(|number| completed(&format!("r{number}"), &format!("m{}", number % 7), "2025-10-03", i64::from(number))));
    list.push(protected("m1", "enterprise", "2025-10-01"));
    list.push(void("v", "backup.completed-r7-1", 1));
    house.take(&list).await;
    let scope = house.customers.acme_scope();
    let tx = house.begin(&scope).await;
    let before = dump(&tx).await;
    let report = rebuild(&tx, &Silent::shared()).await.unwrap();
    assert!(report.iter().all(|table| table.is_same), "{report:?}");
    // It is dropped on the way, as when the process is killed.
    drop(tx);
    let tx = house.begin(&scope).await;
    assert_eq!(dump(&tx).await, before);
    // What is wrong comes right, and says so.
    tx.execute("update backup_runs set transferred_bytes = 1 where vendor_id = 'r9'", &[]).await.unwrap();
    tx.execute("delete from tier_assignments", &[]).await.unwrap();
    let report = rebuild(&tx, &Silent::shared()).await.unwrap();
    let mended: Vec<&str> = report.iter().filter(|table| !table.is_same).map(|table| table.table).collect();
    assert_eq!(mended, ["tier_assignments", "backup_runs"]);
    assert_eq!(dump(&tx).await, before);
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_log_without_bodies_is_not_taken_for_the_whole_truth() {
    let house = House::new().await;
    house.take(&[completed("r1", "web", "2025-10-01", 100)]).await;
    let schema = &house.customers.acme.schema_name;
    house
        .database
        .superuser()
        .await
        .execute(&format!("update {schema}.usage_events set data = 'null' where source = '{SOURCE}'"), &[])
        .await
        .unwrap();
    let tx = house.begin(&house.customers.acme_scope()).await;
    assert!(matches!(rebuild(&tx, &Silent::shared()).await, Err(MeteringError::LogEmptied { events: 1 })));
    // Nor is an event that can no longer be read taken out by a correction.
    tx.rollback().await.unwrap();
    house.take(&[void("v", "backup.completed-r1-1", 1)]).await;
    assert_eq!(house.text(RUNS).await.unwrap(), "r1 completed 100");
}
