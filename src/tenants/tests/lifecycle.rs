//! Provisioning, migrations, events and audit.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::time::Duration;

use granary_db::jobs::NewJob;
use granary_db::outbox::{self, Arrived};
use granary_foundation::{Event, Job};
use granary_tenants::{Actor, NewContract, NewCustomer, NewMsp, OperatorScope, TenantScope};
use granary_test_support::TestDatabase;
use granary_types::{Classify, Currency, CustomerStatus, EndReason, ErrorKind, MspId, Tier};
use jiff::civil::date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

fn customer(msp: MspId, code: &str) -> NewCustomer {
    let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Enterprise, 500);
    NewCustomer {
        control_planes: vec![("main".to_owned(), "https://vbr.example".to_owned())],
        ..NewCustomer::new(msp, code.parse().unwrap(), "Initech", TimeZone::get("Europe/Berlin").unwrap(), contract)
    }
}

async fn msp(test: &TestDatabase) -> MspId {
    let new = NewMsp::new("NORTH", "Northern Backup", TimeZone::get("America/New_York").unwrap());
    test.tenants().create_msp(&new).await.unwrap().id
}

#[tokio::test]
async fn provisioning_that_is_killed_anywhere_ends_in_the_same_place() {
    let test = TestDatabase::new().await;
    let msp = msp(&test).await;
    let new = customer(msp, "INITECH");
    let mut kills = 0;
    let customer = loop {
        let patience = Duration::from_millis(2 + kills * 3);
        match tokio::time::timeout(patience, test.tenants().provision_customer(&new)).await {
            Ok(customer) => break customer.unwrap(),
            Err(_) => {
                kills += 1;
                // Until its last step nobody sees it.
                let seen = test.tenants().get_customer_by_code(msp, &new.code).await;
                assert!(seen.is_err() || seen.unwrap().schema_version > 0);
            }
        }
    };
    assert!(kills > 2, "it was killed {kills} times");
    let again = test.tenants().provision_customer(&new).await.unwrap();
    assert_eq!((again.id, again.schema_version), (customer.id, customer.schema_version));
    assert_eq!(test.tenants().list_customers(msp).await.unwrap().len(), 1);
    assert_eq!(test.tenants().list_contracts(msp).await.unwrap().len(), 1);
    assert_eq!(test.tenants().control_planes(customer.id).await.unwrap().len(), 1);
    assert_eq!(test.tenants().list_status_changes(msp).await.unwrap().len(), 1);

    let scope = TenantScope::for_job(test.tenants().get_msp(msp).await.unwrap(), customer, "test");
    let tx = test.tenants().begin_tenant(&scope).await.unwrap();
    tx.record_audit("customer.look", "customer:INITECH", &serde_json::json!({}), None).await.unwrap();
    tx.commit().await.unwrap();
    let superuser = test.superuser().await;
    let keys: i64 = superuser
        .query_one("select count(*) from keystore.keys where owner_id = $1 and purpose = 'wrap'", &[&scope.customer.id.uuid()])
        .await
        .unwrap()
        .get(0);
    assert_eq!(keys, 1);
}

#[tokio::test]
async fn many_provision_the_same_customer_and_there_is_one() {
    let test = TestDatabase::new().await;
    let msp = msp(&test).await;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let tenants = test.tenants().clone();
            tokio::spawn(async move { tenants.provision_customer(&customer(msp, "INITECH")).await.unwrap().id })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for task in tasks {
        ids.insert(task.await.unwrap());
    }
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn an_unknown_msp_or_customer_is_not_found() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let error = test.tenants().provision_customer(&customer(MspId::new(), "INITECH")).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, "msp_not_found"));
    let error = test.tenants().get_customer_by_code(them.south.id, &them.globex.code).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotFound, "there is no customer 'GLOBEX'"));
    assert!(test.tenants().find_msp_by_code("EAST").await.unwrap().is_none());
}

#[tokio::test]
async fn a_status_and_a_notice_are_kept_with_their_history() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let (tenants, id) = (test.tenants(), them.acme.id);
    tenants.set_status(id, CustomerStatus::Suspended, Some("unpaid"), "2025-06-01T12:00:00Z".parse().unwrap()).await.unwrap();
    tenants.set_status(id, CustomerStatus::Active, None, "2025-07-01T12:00:00Z".parse().unwrap()).await.unwrap();
    let acme = tenants.get_customer(id).await.unwrap();
    assert_eq!((acme.status, acme.activated_on), (CustomerStatus::Active, Some(date(2025, 1, 1))));
    let history: Vec<_> = tenants.list_status_changes(them.north.id).await.unwrap();
    let words: Vec<&str> = history.iter().filter(|change| change.customer_id == id).map(|change| change.status.as_str()).collect();
    assert_eq!(words, ["active", "suspended", "active"]);

    tenants.give_notice(id, date(2025, 10, 1), date(2025, 10, 31), EndReason::Voluntary).await.unwrap();
    let contract = tenants.contract_of(id, date(2025, 10, 15)).await.unwrap();
    assert_eq!((contract.ends_on, contract.end_reason), (Some(date(2025, 10, 31)), Some(EndReason::Voluntary)));
    // Before the first contract began, it is the one that counts.
    assert_eq!(tenants.contract_of(id, date(2024, 1, 1)).await.unwrap().id, contract.id);
}

#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    machines: i64,
}

impl Event for Counted {
    const KIND: &'static str = "test.counted";
}

#[derive(Debug, Serialize, Deserialize)]
struct Recount {}

impl Job for Recount {
    const KIND: &'static str = "test.recount";
}

#[tokio::test]
async fn an_event_travels_with_its_transaction_and_arrives_once() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants();

    let tx = tenants.begin_tenant(&them.acme_scope()).await.unwrap();
    tx.emit(&Counted { machines: 1 }).await.unwrap();
    tx.rollback().await.unwrap();
    let tx = tenants.begin_tenant(&them.acme_scope()).await.unwrap();
    tx.emit(&Counted { machines: 2 }).await.unwrap();
    tx.commit().await.unwrap();
    let tx = tenants.begin_msp(&them.south_scope()).await.unwrap();
    tx.emit(&Counted { machines: 3 }).await.unwrap();
    tx.commit().await.unwrap();

    let jobs_for = |event: &Arrived| match event.customer {
        Some(_) => vec![NewJob::new(&Recount {}).unwrap().on_behalf_of(event.msp.unwrap(), event.customer)],
        None => Vec::new(),
    };
    let both = tokio::join!(outbox::relay(test.database(), &jobs_for), outbox::relay(test.database(), &jobs_for));
    assert_eq!(both.0.unwrap() + both.1.unwrap(), 2);
    assert_eq!(outbox::relay(test.database(), &jobs_for).await.unwrap(), 0);

    let superuser = test.superuser().await;
    let rows =
        superuser.query("select msp_id::text, customer_id::text, payload->>'machines' from control.events order by 3", &[]).await.unwrap();
    let found: Vec<(Option<String>, Option<String>, String)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(
        found,
        [
            (Some(them.north.id.to_string()), Some(them.acme.id.to_string()), "2".to_owned()),
            (Some(them.south.id.to_string()), None, "3".to_owned()),
        ]
    );
    let jobs = superuser.query("select customer_id::text from control.jobs", &[]).await.unwrap();
    assert_eq!(jobs.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), [them.acme.id.to_string()]);
}

#[tokio::test]
async fn the_operators_look_leaves_a_trace_even_when_nothing_is_kept() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let scope = OperatorScope::for_job(Actor::System("support"), "ticket 17");
    let tx = test.tenants().begin_operator(&scope).await.unwrap();
    let customers: i64 = tx.query_one("select count(*) from customers", &[]).await.unwrap().get(0);
    assert_eq!(customers, 3);
    drop(tx);
    let row = test.superuser().await.query_one("select actor, reason from control.audit_log", &[]).await.unwrap();
    assert_eq!((row.get::<_, String>(0).as_str(), row.get::<_, String>(1).as_str()), ("system:support", "ticket 17"));
    assert!(test.tenants().begin_operator(&OperatorScope::for_job("support", " ")).await.is_err());
    drop(them);
}

#[tokio::test]
async fn schemas_that_are_up_to_date_are_left_alone() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let report = test.tenants().migrate_all().await.unwrap();
    assert_eq!((report.migrated, report.failed.len()), (0, 0));

    // One that claims to be older is migrated; one that is broken does not stop it.
    let superuser = test.superuser().await;
    superuser.batch_execute("set search_path = control; update customers set schema_version = 1").await.unwrap();
    superuser.batch_execute(&format!("drop table {}.refinery_schema_history", them.globex.schema_name)).await.unwrap();
    let report = test.tenants().migrate_all().await.unwrap();
    assert_eq!(report.migrated, 2);
    assert_eq!(report.failed.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(), ["GLOBEX"]);
    assert!(report.failed[0].1.to_string().contains("already exists"), "{}", report.failed[0].1);
}
