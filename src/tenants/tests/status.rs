//! A customer's status: who wants what at once, what is written down, and what others learn.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use granary_foundation::Boxed;
use granary_tenants::{
    Change, Extent, Lifecycle, LifecycleStep, NewContract, NewCustomer, Operation, StepFailure, Subject, TenantsError, Transition,
};
use granary_test_support::TestDatabase;
use granary_types::{Classify, Currency, CustomerId, CustomerStatus, ErrorKind, Tier};
use jiff::civil::date;

async fn change(lifecycle: &Lifecycle, test: &TestDatabase, id: CustomerId, change: Change<'_>) -> Result<CustomerStatus, TenantsError> {
    let north = test.tenants().find_msp_by_code("NORTH").await?.unwrap();
    let tx = test.tenants().begin_msp(&granary_tenants::MspScope::for_job(north.clone(), "test")).await?;
    let customer = lifecycle.change(&tx, id, change).await?;
    tx.commit().await?;
    lifecycle.settle(&north, &customer, change).await?;
    Ok(customer.status)
}

#[tokio::test]
async fn of_many_who_suspend_at_once_one_brings_the_news_and_the_audit() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let lifecycle = Lifecycle::new(test.tenants().clone());
    let suspend = Change::now(Transition::Suspend, Some("unpaid since August"));
    let outcomes = futures::future::join_all((0..4).map(|_| change(&lifecycle, &test, them.acme.id, suspend))).await;
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap() == CustomerStatus::Suspended));

    let superuser = test.superuser().await;
    let news = superuser
        .query("select payload->>'code', payload->>'from', payload->>'reason', msp_id::text from outbox.messages where kind = 'tenants.customer_suspended'", &[])
        .await
        .unwrap();
    let news: Vec<[String; 4]> = news.iter().map(|row| [row.get(0), row.get(1), row.get(2), row.get(3)]).collect();
    assert_eq!(news, [["ACME".to_owned(), "active".to_owned(), "unpaid since August".to_owned(), them.north.id.to_string()]]);
    let audit = superuser
        .query("select actor, subject, reason, detail->>'to' from control.audit_log where action = 'customer.suspend'", &[])
        .await
        .unwrap();
    let audit: Vec<[String; 4]> = audit.iter().map(|row| [row.get(0), row.get(1), row.get(2), row.get(3)]).collect();
    assert_eq!(audit, [["system:test", "customer:ACME", "unpaid since August", "suspended"].map(str::to_owned)]);
    let history: i64 = superuser
        .query_one("select count(*) from control.status_changes where customer_id = $1", &[&them.acme.id.uuid()])
        .await
        .unwrap()
        .get(0);
    assert_eq!(history, 2);
}

#[tokio::test]
async fn what_the_state_machine_does_not_know_is_refused_and_changes_nothing() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let lifecycle = Lifecycle::new(test.tenants().clone());
    let id = them.acme.id;
    for (transition, reason, kind) in [
        (Transition::Erase, Some("because"), ErrorKind::Conflict),
        (Transition::Suspend, None, ErrorKind::Invalid),
        (Transition::Suspend, Some(" \t "), ErrorKind::Invalid),
    ] {
        let error = change(&lifecycle, &test, id, Change::now(transition, reason)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(change(&lifecycle, &test, id, Change::now(Transition::Close, Some("left"))).await.unwrap(), CustomerStatus::Closed);
    let error = change(&lifecycle, &test, id, Change::now(Transition::Suspend, Some("late"))).await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("status_transition_refused", "a customer that is closed cannot be changed by 'suspend'")
    );
    // Closed in the morning of the 10th, its contract's last day was the 9th.
    let contract = test.tenants().contract_of(id, date(2025, 11, 10)).await.unwrap();
    assert_eq!(contract.ends_on, Some(date(2025, 11, 9)));
    let past = Change { at: Some("2024-01-01T00:00:00Z".parse().unwrap()), ..Change::now(Transition::Suspend, Some("past")) };
    assert_eq!(change(&lifecycle, &test, them.globex.id, past).await.unwrap_err().kind(), ErrorKind::Invalid);
    // Another MSP's customer is not there.
    let error = change(&lifecycle, &test, them.south_acme.id, Change::now(Transition::Suspend, Some("not mine"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_trial_ends_by_itself_and_never_converts() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let lifecycle = Lifecycle::new(test.tenants().clone());
    let trial = |code: &str| {
        let contract = NewContract::new(date(2025, 11, 10), Currency::USD, Tier::Backup, 100);
        let new = NewCustomer::new(them.north.id, code.parse().unwrap(), code, them.north.time_zone.clone(), contract);
        NewCustomer { status: CustomerStatus::Trial, ..new }
    };
    let initech = lifecycle.provision(&trial("INITECH"), "test".into()).await.unwrap();
    let hooli = lifecycle.provision(&trial("HOOLI"), "test".into()).await.unwrap();
    assert_eq!(initech.trial_ends_on, Some(date(2025, 12, 10)));
    change(&lifecycle, &test, hooli.id, Change::now(Transition::Activate, None)).await.unwrap();
    assert_eq!(lifecycle.end_trials().await.unwrap(), 0);
    // In New York the 10th of December begins at five o'clock UTC.
    test.clock().set("2025-12-10T04:59:59Z".parse().unwrap());
    assert_eq!(lifecycle.end_trials().await.unwrap(), 0);
    test.clock().set("2025-12-10T05:00:00Z".parse().unwrap());
    assert_eq!(lifecycle.end_trials().await.unwrap(), 1);
    assert_eq!(lifecycle.end_trials().await.unwrap(), 0);
    let status = async |id| test.tenants().get_customer(id).await.unwrap().status;
    assert_eq!((status(initech.id).await, status(hooli.id).await), (CustomerStatus::Closed, CustomerStatus::Active));
    assert_eq!(status(them.acme.id).await, CustomerStatus::Active);
}

/// A step of another room that fails as often as it is told to.
#[derive(Debug, Clone)]
struct Cutting {
    failures: Arc<AtomicU32>,
    done: Arc<AtomicU32>,
}

impl LifecycleStep for Cutting {
    fn name(&self) -> &'static str {
        "test.cut"
    }

    fn perform<'a>(&'a self, _: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move {
            if self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                return Err(TenantsError::Invalid("not yet").into());
            }
            self.done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    }

    fn undo<'a>(&'a self, _: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move { Ok(()) })
    }

    fn verify<'a>(&'a self, _: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move { Ok(Extent::of([self.done.load(Ordering::Relaxed) > 0])) })
    }
}

#[tokio::test]
async fn a_step_that_failed_is_named_and_taken_up_and_a_second_suspension_does_it_again() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let cutting = Cutting { failures: Arc::new(AtomicU32::new(2)), done: Arc::default() };
    let lifecycle = Lifecycle::new(test.tenants().clone()).with(Operation::Suspend, cutting.clone());
    let suspend = Change::now(Transition::Suspend, Some("unpaid"));
    let error = change(&lifecycle, &test, them.acme.id, suspend).await.unwrap_err();
    assert_eq!(error.to_string(), "the step 'test.cut' of 'suspend' failed: not yet");
    let run = &test.tenants().open_runs().await.unwrap()[0];
    assert_eq!((run.operation, run.reason.as_deref()), (Operation::Suspend, Some("unpaid")));
    assert!(run.last_error.as_deref().unwrap().contains("not yet"));

    let superuser = test.superuser().await;
    let let_time_pass = "update control.lifecycle_runs set updated_at = updated_at - interval '2 minutes'";
    superuser.batch_execute(let_time_pass).await.unwrap();
    assert_eq!(lifecycle.take_up().await.unwrap().len(), 1);
    superuser.batch_execute(let_time_pass).await.unwrap();
    assert!(lifecycle.take_up().await.unwrap().is_empty());
    assert_eq!((cutting.done.load(Ordering::Relaxed), test.tenants().open_runs().await.unwrap().len()), (1, 0));

    change(&lifecycle, &test, them.acme.id, Change::now(Transition::Resume, None)).await.unwrap();
    change(&lifecycle, &test, them.acme.id, suspend).await.unwrap();
    assert_eq!(cutting.done.load(Ordering::Relaxed), 2);
}
