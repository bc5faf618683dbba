//! Tests of what is answered from the manifest, and of what is opened only once.

use granary_types::{CustomerId, Role};
use serde_json::{Value, json};

use crate::Session;
use crate::fixture::{Shed, datasets, grant, models};

const CODES: [&str; 3] = ["ACME", "GLOBEX", "INITECH"];
const MONTHS: [&str; 2] = ["2025-10", "2025-11"];

fn heartbeat(day: &str, received: i64) -> Value {
    json!({"source": "dc1", "service_on": day, "received": received, "expected": 96, "last_at": format!("{day}T23:45:00Z")})
}

/// Three customers with two months of three days each; every customer receives ten more than the one before it.
fn shed() -> (Shed, Vec<CustomerId>) {
    let mut shed = Shed::new(datasets(), models());
    let ids: Vec<CustomerId> = CODES.iter().map(|_| CustomerId::new()).collect();
    for (place, (id, code)) in ids.iter().zip(CODES).enumerate() {
        for month in MONTHS {
            let days: Vec<Value> =
                (1..=3).map(|day| heartbeat(&format!("{month}-0{day}"), i64::try_from(place).unwrap() * 10 + day)).collect();
            shed.write_rows("heartbeats", Some((*id, code)), month, &days);
        }
    }
    let change = |id: &CustomerId| json!({"id": CustomerId::new(), "msp_id": CustomerId::new(), "customer_id": id, "status": "active", "changed_at": "2025-10-01T00:00:00Z"});
    shed.write_rows("status_changes", None, "all", &ids.iter().map(change).collect::<Vec<_>>());
    (shed, ids)
}

async fn answer(session: &Session, sql: &str) -> Vec<Value> {
    session.rows(sql).await.unwrap()
}

#[tokio::test]
async fn counts_and_bounds_come_from_the_manifest() {
    let (mut shed, _) = shed();
    for has_text_views in [false, true] {
        shed.budget.tuning.has_text_views = has_text_views;
        counts_and_bounds(&shed).await;
    }
}

async fn counts_and_bounds(shed: &Shed) {
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    for (sql, expected) in [
        ("select count(*) as n from lake.heartbeats", json!({"n": 18})),
        ("select count(*) as n from stg_metering__heartbeats", json!({"n": 18})),
        ("select count(*) as n from lake.heartbeats where month = '2025-10'", json!({"n": 9})),
        ("select count(*) as n from lake.heartbeats where customer_code in ('ACME', 'GLOBEX') and month = '2025-11'", json!({"n": 6})),
        ("select min(received) as a, max(received) as b, count(received) as n from lake.heartbeats", json!({"a": 1, "b": 23, "n": 18})),
        (
            "select min(service_on) as a, max(service_on) as b from lake.heartbeats where customer_code = 'INITECH'",
            json!({"a": "2025-10-01", "b": "2025-11-03"}),
        ),
        ("select max(last_at) as a from lake.heartbeats", json!({"a": "2025-11-03T23:45:00Z"})),
        ("select max(source) as a, min(month) as b from lake.heartbeats", json!({"a": "dc1", "b": "2025-10"})),
        ("select count(*) as n from lake.status_changes", json!({"n": 3})),
        ("select count(*) as n from (select * from lake.heartbeats limit 5)", json!({"n": 5})),
        ("select count(*) as n from (select * from lake.heartbeats limit 50)", json!({"n": 18})),
        ("select count(*) as n from lake.heartbeats where month = '1999-01'", json!({"n": 0})),
    ] {
        assert_eq!(answer(&session, sql).await, [expected], "{sql}");
        assert_eq!(shed.reads.take(), [], "{sql}");
    }
}

#[tokio::test]
async fn what_the_manifest_cannot_tell_is_read() {
    let (shed, ids) = shed();
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    for (sql, expected) in [
        ("select count(*) as n from lake.heartbeats where received > 12", json!({"n": 8})),
        ("select count(distinct received) as n from lake.heartbeats", json!({"n": 9})),
        ("select sum(received) as n from lake.heartbeats", json!({"n": 216})),
        ("select max(received) filter (where received < 20) as n from lake.heartbeats", json!({"n": 13})),
    ] {
        assert_eq!(answer(&session, sql).await, [expected], "{sql}");
        assert_ne!(shed.reads.take(), [], "{sql}");
    }
    // A grant for some customers passes its filter, whatever the manifest says of the whole file.
    let some = shed.session(&grant(Role::MspAnalyst, Some(&ids[..1]))).await.unwrap();
    assert_eq!(answer(&some, "select count(*) as n from lake.status_changes").await, [json!({"n": 1})]);
    assert_eq!(
        answer(&some, "select min(customer_id) as a, max(customer_id) as b from lake.status_changes").await,
        [json!({"a": ids[0], "b": ids[0]})]
    );
}

#[tokio::test]
async fn files_whose_bounds_leave_no_row_are_not_opened() {
    let (mut shed, _) = shed();
    shed.budget.files = 2;
    for has_text_views in [false, true] {
        shed.budget.tuning.has_text_views = has_text_views;
        bounded(&shed).await;
    }
}

async fn bounded(shed: &Shed) {
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    for (sql, expected) in [
        ("select sum(received) as n from lake.heartbeats where received > 20", 2 * (21 + 22 + 23)),
        ("select sum(received) as n from lake.heartbeats where service_on = date '2025-11-02' and received between 11 and 15", 12),
        ("select sum(received) as n from lake.heartbeats where last_at < timestamp '2025-10-02T00:00:00Z' and received >= 20", 21),
        ("select sum(received) as n from lake.heartbeats where month = '2025-10' and received in (1, 22)", 1 + 22),
    ] {
        assert_eq!(answer(&session, sql).await, [json!({"n": expected})], "{sql}");
    }
    shed.reads.take();
    assert_eq!(answer(&session, "select sum(received) as n from lake.heartbeats where source > 'dc1'").await, [json!({"n": null})]);
    assert_eq!(answer(&session, "select received from lake.heartbeats where source is null").await, [] as [Value; 0]);
    assert_eq!(shed.reads.take(), []);
}

/// Returns the files whose ends were read.
fn footers(shed: &Shed) -> Vec<String> {
    let size = |path: &str| shed.files.values().flatten().find(|file| file.path == path).unwrap().size_bytes;
    let is_footer = |(path, end): &(String, Option<u64>)| end.is_none_or(|end| end == size(path));
    shed.reads.take().into_iter().filter(is_footer).map(|(path, _)| path).collect()
}

#[tokio::test]
async fn a_footer_is_opened_once_in_a_session_and_by_nobody_elses_key() {
    let (mut shed, ids) = shed();
    let sum = |column: &str| format!("select sum({column}) as n from lake.heartbeats");
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    answer(&session, &sum("received")).await;
    assert_eq!(footers(&shed).len(), 6);
    answer(&session, &sum("expected")).await;
    assert_eq!(footers(&shed), [] as [String; 0]);
    // Another session opens its own, and without the key it opens nothing, whatever others have opened.
    let other = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    answer(&other, &sum("received")).await;
    assert_eq!(footers(&shed).len(), 6);
    shed.keys.retain(|path, _| !path.starts_with(&ids[0].to_string()));
    let without = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    let error = without.query(&sum("received")).await.unwrap_err();
    assert!(error.to_string().contains("holds no key"), "{error}");
}

#[tokio::test]
async fn footers_are_kept_within_their_memory() {
    let (mut shed, _) = shed();
    shed.budget.footer_bytes = 0;
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    for column in ["received", "expected"] {
        answer(&session, &format!("select sum({column}) as n from lake.heartbeats")).await;
        assert_eq!(footers(&shed).len(), 6, "{column}");
    }
}
