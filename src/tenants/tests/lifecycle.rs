//! Provisioning, migrations, events and audit.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::time::Duration;

use granary_db::jobs::NewJob;
use granary_db::outbox::{self, Arrived};
use granary_foundation::{Event, Job};
use granary_tenants::{
    Actor, Extent, Lifecycle, MspScope, NewContract, NewCustomer, NewMsp, Operation, OperatorScope, Subject, TenantScope,
};
use granary_test_support::TestDatabase;
use granary_test_support::kill::{self, Kill};
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

/// Enters a customer that nobody has begun to build.
async fn entered(test: &TestDatabase, lifecycle: &Lifecycle, msp: MspId, code: &str) -> Subject {
    let msp = test.tenants().get_msp(msp).await.unwrap();
    let tx = test.tenants().begin_msp(&MspScope::for_job(msp.clone(), "test")).await.unwrap();
    let (customer, is_new) = lifecycle.enter(&tx, &customer(msp.id, code)).await.unwrap();
    assert!(is_new);
    tx.commit().await.unwrap();
    Subject { tenants: test.tenants().clone(), msp, customer, operation: Operation::Provision, reason: None }
}

#[tokio::test]
async fn an_operation_killed_before_in_and_after_each_step_ends_whole_when_it_is_run_again() {
    let test = TestDatabase::new().await;
    let msp = msp(&test).await;
    let lifecycle = Lifecycle::new(test.tenants().clone());
    let mut number = 0;
    for step in ["silo", "keys", "open"] {
        for kill in Kill::EVERYWHERE {
            number += 1;
            let subject = entered(&test, &lifecycle, msp, &format!("C{number}")).await;
            kill::advance_killed(&lifecycle, &subject, step, kill).await;
            lifecycle.advance(&subject).await.unwrap_or_else(|error| panic!("{step} {kill:?}: {error}"));
            let found = kill::extents(&lifecycle, &subject).await;
            assert_eq!(found, [("silo", Extent::Whole), ("keys", Extent::Whole), ("open", Extent::Whole)], "{step} {kill:?}");
        }
    }
    assert_eq!(test.tenants().list_customers(msp).await.unwrap().len(), number);
    assert!(test.tenants().open_runs().await.unwrap().is_empty());
    let provisioned: i64 = test
        .superuser()
        .await
        .query_one("select count(*) from outbox.messages where kind = 'tenants.customer_provisioned'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(provisioned, i64::try_from(number).unwrap());
}

#[tokio::test]
async fn an_operation_killed_before_in_and_after_each_step_leaves_nothing_when_it_is_withdrawn() {
    let test = TestDatabase::new().await;
    let msp = msp(&test).await;
    let lifecycle = Lifecycle::new(test.tenants().clone());
    let superuser = test.superuser().await;
    let kills: Vec<_> = ["silo", "keys", "open"].into_iter().flat_map(|step| Kill::EVERYWHERE.map(|kill| (step, kill))).collect();
    for (index, &(step, kill)) in kills.iter().enumerate() {
        let subject = entered(&test, &lifecycle, msp, &format!("C{index}")).await;
        kill::advance_killed(&lifecycle, &subject, step, kill).await;
        // The withdrawal is killed too, in another place each time.
        let (other, again) = kills[(index * 7) % kills.len()];
        kill::withdraw_killed(&lifecycle, &subject, other, again).await;
        let refused = lifecycle.advance(&subject).await;
        lifecycle.withdraw(&subject).await.unwrap_or_else(|error| panic!("{step} {kill:?}, {other} {again:?}: {error}"));
        assert_eq!(refused.unwrap_err().code(), "operation_withdrawn", "{step} {kill:?}");
        let found = kill::extents(&lifecycle, &subject).await;
        assert!(found.iter().all(|(_, extent)| *extent == Extent::Nothing), "{step} {kill:?}: {found:?}");
    }
    for table in ["customers", "contracts", "control_planes", "status_changes", "lifecycle_runs", "lifecycle_steps"] {
        let rows: i64 = superuser.query_one(&format!("select count(*) from control.{table}"), &[]).await.unwrap().get(0);
        assert_eq!(rows, 0, "{table}");
    }
    let keys: i64 = superuser.query_one("select count(*) from keystore.keys where owner_kind = 'customer'", &[]).await.unwrap().get(0);
    let schemas: i64 = superuser.query_one("select count(*) from pg_namespace where nspname like 't\\_%'", &[]).await.unwrap().get(0);
    assert_eq!((keys, schemas), (0, 0));
}

#[tokio::test]
async fn an_interrupted_operation_is_taken_up_and_a_finished_one_cannot_be_withdrawn() {
    let test = TestDatabase::new().await;
    let msp = msp(&test).await;
    let lifecycle = Lifecycle::new(test.tenants().clone());
    let forward = entered(&test, &lifecycle, msp, "FORWARD").await;
    let back = entered(&test, &lifecycle, msp, "BACK").await;
    kill::advance_killed(&lifecycle, &forward, "keys", Kill::After).await;
    kill::withdraw_killed(&lifecycle, &back, "silo", Kill::Before).await;
    assert!(lifecycle.take_up().await.unwrap().is_empty());
    assert_eq!(test.tenants().open_runs().await.unwrap().len(), 2, "whoever began may still be at it");
    test.superuser().await.batch_execute("update control.lifecycle_runs set updated_at = updated_at - interval '2 minutes'").await.unwrap();
    assert!(lifecycle.take_up().await.unwrap().is_empty());
    assert!(test.tenants().open_runs().await.unwrap().is_empty());
    let codes: Vec<_> = test.tenants().list_customers(msp).await.unwrap().into_iter().map(|customer| customer.code.to_string()).collect();
    assert_eq!(codes, ["FORWARD"]);
    let error = lifecycle.withdraw(&forward).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "operation_not_open"));
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
    // What the provisioning had to tell.
    test.superuser().await.batch_execute("delete from outbox.messages").await.unwrap();

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
    let row = test
        .superuser()
        .await
        .query_one("select actor, reason from control.audit_log where action = 'operator.access'", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, String>(0).as_str(), row.get::<_, String>(1).as_str()), ("system:support", "ticket 17"));
    assert!(test.tenants().begin_operator(&OperatorScope::for_job("support", " ")).await.is_err());
    drop(them);
}
