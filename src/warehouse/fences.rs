//! Tests of what a session may not do: see another customer, use what is not granted, change anything, or take too much.

use granary_tenants::ReadGrant;
use granary_types::{Classify, CustomerId, ErrorKind, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture::{Shed, datasets, grant, models};
use crate::{Session, WarehouseError};

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Count {
    n: i64,
}

async fn count(session: &Session, from: &str) -> Result<i64, WarehouseError> {
    let rows: Vec<Count> = session.rows(&format!("select count(*) as n from {from}")).await?;
    Ok(rows[0].n)
}

fn heartbeat(day: &str) -> Value {
    json!({"source": "dc1", "service_on": day, "received": 90, "expected": 96, "last_at": format!("{day}T23:45:00Z")})
}

fn change(customer: CustomerId, status: &str) -> Value {
    json!({"id": CustomerId::new(), "msp_id": CustomerId::new(), "customer_id": customer, "status": status, "changed_at": "2025-10-01T00:00:00Z"})
}

/// Two customers: heartbeats in two months each, and their changes of status in one file of the MSP.
fn two_customers() -> (Shed, CustomerId, CustomerId) {
    let mut shed = Shed::new(datasets(), models());
    let (acme, globex) = (CustomerId::new(), CustomerId::new());
    for (id, code) in [(acme, "ACME"), (globex, "GLOBEX")] {
        shed.write_rows("heartbeats", Some((id, code)), "2025-10", &[heartbeat("2025-10-01"), heartbeat("2025-10-02")]);
        shed.write_rows("heartbeats", Some((id, code)), "2025-11", &[heartbeat("2025-11-01")]);
    }
    shed.write_rows("status_changes", None, "all", &[change(acme, "active"), change(globex, "active"), change(globex, "suspended")]);
    (shed, acme, globex)
}

fn admin() -> ReadGrant {
    grant(Role::MspAdmin, None)
}

#[tokio::test]
async fn rows_of_all_granted_customers_carry_their_code_and_month() {
    let (shed, ..) = two_customers();
    let session = shed.session(&admin()).await.unwrap();
    assert_eq!(count(&session, "lake.heartbeats").await.unwrap(), 6);
    assert_eq!(count(&session, "stg_metering__heartbeats where customer_code = 'ACME'").await.unwrap(), 3);
    assert_eq!(count(&session, "lake.heartbeats where month = '2025-11' and service_on = date '2025-11-01'").await.unwrap(), 2);
}

#[tokio::test]
async fn shared_files_show_only_the_rows_of_granted_customers() {
    let (shed, acme, globex) = two_customers();
    let session = shed.session(&grant(Role::MspAnalyst, Some(&[acme]))).await.unwrap();
    assert_eq!(count(&session, "lake.status_changes").await.unwrap(), 1);
    assert_eq!(count(&session, "stg_tenants__status_changes where status = 'suspended'").await.unwrap(), 0);
    assert_eq!(count(&session, &format!("lake.status_changes where customer_id = '{globex}' or true")).await.unwrap(), 1);
    let nobody = shed.session(&grant(Role::MspAnalyst, Some(&[]))).await.unwrap();
    assert_eq!(count(&nobody, "lake.status_changes").await.unwrap(), 0);
}

#[tokio::test]
async fn a_file_does_not_open_without_its_key_or_under_another_name() {
    let (mut shed, acme, _) = two_customers();
    let victim = format!("{acme}/heartbeats/2025-10.parquet");
    let key = shed.keys.remove(&victim).unwrap();
    let session = shed.session(&admin()).await.unwrap();
    let error = session.query("select sum(received) as n from lake.heartbeats").await.unwrap_err();
    assert!(error.to_string().contains("holds no key"), "{error}");

    let other = format!("{acme}/heartbeats/2025-11.parquet");
    shed.keys.insert(victim.clone(), shed.keys[&other].clone());
    let session = shed.session(&admin()).await.unwrap();
    assert!(session.query("select sum(received) as n from lake.heartbeats").await.is_err());

    shed.keys.insert(victim, key);
    let session = shed.session(&admin()).await.unwrap();
    assert!(session.query("select sum(received) as n from lake.heartbeats").await.is_ok());
}

#[tokio::test]
async fn the_manifest_prunes_files_and_counts_rows() {
    let (mut shed, ..) = two_customers();
    shed.budget.files = 1;
    let session = shed.session(&admin()).await.unwrap();
    let one = "select sum(received) as n from lake.heartbeats where month = '2025-10' and customer_code = 'ACME'";
    assert!(session.query(one).await.is_ok());
    let error = session.query("select sum(received) as n from lake.heartbeats").await.unwrap_err();
    assert_eq!(error.to_string(), "the query exceeds the warehouse's files budget of 1 (it would open 4)");
    assert_eq!(count(&session, "lake.heartbeats").await.unwrap(), 6, "a count opens no file");
}

#[tokio::test]
async fn nothing_but_a_query_is_accepted() {
    let (shed, ..) = two_customers();
    let session = shed.session(&admin()).await.unwrap();
    for sql in [
        "create table t as select 1",
        "create external table t stored as parquet location '/etc'",
        "insert into lake.heartbeats select * from lake.heartbeats",
        "copy (select 1) to '/tmp/out.csv' stored as csv",
        "set datafusion.execution.batch_size = 1",
        "drop table lake.heartbeats",
        "select 1; select 2",
        "select * from '/etc/passwd'",
        "selekt 1",
        "",
    ] {
        let error = session.query(sql).await.expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}: {error}");
    }
    for sql in ["", " ; ", "-- only a remark", "begin", "commit", "drop table lake.heartbeats", "selekt 1", "select x from nosuch"] {
        let said = session.query(sql).await.expect_err(sql).to_string();
        let foreign = ["Error during", "not implemented", "SQL error", "SQL statements", "ParserError", "Unsupported"];
        assert!(!foreign.iter().any(|words| said.contains(words)), "{sql}: {said}");
    }
}

#[tokio::test]
async fn what_a_role_may_not_see_is_not_in_its_catalog() {
    let (shed, acme, _) = two_customers();
    let session = shed.session(&grant(Role::CustomerViewer, Some(&[acme]))).await.unwrap();
    for hidden in [
        "margin",
        "margin_by_month",
        "mrr_movements",
        "revenue_by_month",
        "health_scores",
        "churn_scores",
        "expansion_opportunities",
        "stg_billing__statements",
        "lake.statements",
        "lake.statement_lines",
        "lake.prices",
        "lake.run_rates",
        "lake.health_scores",
        "lake.churn_scores",
    ] {
        let error = session.query(&format!("select * from {hidden}")).await.expect_err(hidden);
        assert!(error.to_string().contains("not found"), "{hidden}: {error}");
        let name = hidden.trim_start_matches("lake.");
        let listed = format!("information_schema.tables where table_name = '{name}'");
        assert_eq!(count(&session, &listed).await.unwrap(), 0, "{hidden} is listed");
    }
    assert_eq!(count(&session, "customer_months").await.unwrap(), 0);
    assert!(session.query("select * from invoice_lines").await.is_ok());
}

#[tokio::test]
async fn margin_needs_the_right_to_read_billing_and_totals_need_every_customer() {
    let (shed, acme, _) = two_customers();
    let without = shed.session(&admin()).await.unwrap();
    assert!(without.query("select * from margin").await.is_err());
    let with = shed.session(&ReadGrant { can_read_billing: true, ..admin() }).await.unwrap();
    assert!(with.query("select * from margin").await.is_ok());
    assert!(with.query("select * from margin_by_month").await.is_ok());
    let some = ReadGrant { can_read_billing: true, ..grant(Role::MspAnalyst, Some(&[acme])) };
    let some = shed.session(&some).await.unwrap();
    assert!(some.query("select * from margin").await.is_ok());
    assert!(some.query("select * from margin_by_month").await.is_err());
}

#[tokio::test]
async fn an_exceeded_budget_is_named() {
    let (mut shed, ..) = two_customers();
    shed.budget.rows = 5;
    shed.budget.time = std::time::Duration::from_millis(200);
    let session = shed.session(&admin()).await.unwrap();
    let error = session.query("select * from lake.heartbeats").await.unwrap_err();
    assert_eq!(error.to_string(), "the query exceeds the warehouse's rows budget of 5");
    assert_eq!((error.kind(), error.code()), (ErrorKind::TooLarge, "query_over_budget"));
    let slow = "select count(*) as n from generate_series(1, 100000000) as a (x), generate_series(1, 1000) as b (y) where x * y % 7 = 8";
    let error = session.query(slow).await.unwrap_err();
    assert_eq!(error.to_string(), "the query exceeds the warehouse's time budget of 0.2 s");
}

#[tokio::test]
async fn memory_is_bounded() {
    let mut shed = Shed::new(datasets(), models());
    shed.budget.memory_bytes = 1 << 20;
    shed.budget.spill_bytes = 1 << 20;
    let store = std::sync::Arc::new(object_store::memory::InMemory::new());
    shed.engine = crate::runtime::shared(&shed.budget, store).unwrap();
    let session = shed.session(&admin()).await.unwrap();
    let error = session.query("select x, count(*) as n from generate_series(1, 3000000) as a (x) group by x order by n").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(error.to_string().contains("memory budget of 1 MiB") || error.to_string().contains("spill budget"), "{error}");
}

#[tokio::test]
async fn a_built_model_shows_only_the_rows_of_granted_customers() {
    let (mut shed, acme, globex) = two_customers();
    let customer = |id: CustomerId, code: &str| {
        json!({"id": id, "msp_id": id, "code": code, "name": code, "status": "active", "time_zone": "UTC", "country": "US", "region": "local",
            "created_at": "2025-10-01T12:00:00Z"})
    };
    shed.write_rows("customers", None, "all", &[customer(acme, "ACME"), customer(globex, "GLOBEX")]);
    let msp = json!({"id": acme, "code": "N", "name": "North", "time_zone": "UTC", "currency": "USD",
        "counting_rule": "distinct_in_period"});
    shed.write_rows("msps", None, "all", &[msp]);
    shed.write_rows("periods", None, "all", &[json!({"msp_id": acme, "period": "2025-10", "state": "closed"})]);
    shed.build().await;
    let everyone = shed.session(&admin()).await.unwrap();
    assert_eq!(count(&everyone, "customer_months").await.unwrap(), 2);
    let own = shed.session(&grant(Role::CustomerAdmin, Some(&[acme]))).await.unwrap();
    assert_eq!(count(&own, "customer_months").await.unwrap(), 1);
    assert_eq!(count(&own, "customer_months where customer_code = 'GLOBEX'").await.unwrap(), 0);
    assert_eq!(count(&own, "lake.customers").await.unwrap(), 1);
    assert_eq!(count(&own, "service_levels where uptime > 0.9").await.unwrap(), 1);
}
