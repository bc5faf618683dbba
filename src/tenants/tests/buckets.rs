//! Logins, the budget of connections that they share, and each tenant's part of it.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use granary_db::{Database, DatabaseConfig, TxSettings};
use granary_foundation::Secret;
use granary_tenants::{NewContract, NewCustomer, TenantScope, Tenants};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{Classify, Currency, Tier};
use jiff::civil::date;
use tokio::task::JoinSet;

async fn reopen(test: &TestDatabase, max_connections: usize, connections_per_tenant: usize) -> Tenants {
    let config = DatabaseConfig { url: test.url(), app_password: Secret::new("not-a-secret"), max_connections, connections_per_tenant };
    Tenants::new(Database::connect(&config, test.clock().clone()).await.unwrap(), test.keys().clone())
}

/// Three customers, of whom the first two are the last of bucket 1 and the third is the first of bucket 2.
async fn two_buckets(test: &TestDatabase) -> TwoCustomers {
    test.superuser().await.batch_execute("alter sequence control.customers_slot_seq restart 249").await.unwrap();
    test.two_customers().await
}

async fn ask(tenants: &Tenants, scope: &TenantScope, sql: &'static str) -> String {
    let tx = tenants.begin_tenant(scope).await.unwrap();
    let answer = tx.query_one(sql, &[]).await.unwrap().get(0);
    tx.commit().await.unwrap();
    answer
}

#[tokio::test]
async fn a_login_serves_its_bucket_and_no_other() {
    let test = TestDatabase::new().await;
    let them = two_buckets(&test).await;
    assert_eq!([them.acme.bucket, them.globex.bucket, them.south_acme.bucket], [1, 1, 2]);
    let prefix = &test.database().installation().prefix;
    for (scope, bucket) in [(them.acme_scope(), 1), (them.globex_scope(), 1), (them.south_acme_scope(), 2)] {
        assert_eq!(ask(test.tenants(), &scope, "select session_user::text").await, format!("{prefix}_b{bucket}"));
    }
    let tx = test.tenants().begin_msp(&them.north_scope()).await.unwrap();
    let login: String = tx.query_one("select session_user::text", &[]).await.unwrap().get(0);
    assert_eq!(login, format!("{prefix}_app"));
    drop(tx);

    // A login cannot become what is another's.
    let superuser = test.superuser().await;
    for (login, role) in [
        (format!("{prefix}_b2"), them.acme.role_name.clone()),
        (format!("{prefix}_b1"), them.south_acme.role_name.clone()),
        (format!("{prefix}_b1"), format!("{prefix}_operator")),
        (format!("{prefix}_b1"), format!("{prefix}_msp")),
        (format!("{prefix}_app"), them.acme.role_name.clone()),
        (format!("{prefix}_app"), format!("{prefix}_b1")),
    ] {
        superuser.batch_execute(&format!("set session authorization {login}")).await.unwrap();
        let error = superuser.batch_execute(&format!("set role {role}")).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{login} became {role}");
        superuser.batch_execute("reset session authorization").await.unwrap();
    }
    // A catalog that lies about the bucket opens nothing.
    let mut forged = them.acme_scope();
    forged.customer.bucket = 2;
    assert!(test.tenants().begin_tenant(&forged).await.is_err());
}

#[tokio::test]
async fn all_logins_share_one_budget() {
    let test = TestDatabase::new().await;
    let them = two_buckets(&test).await;
    test.database().close();
    let tenants = reopen(&test, 2, 2).await;
    let superuser = test.superuser().await;
    let name: String = superuser.query_one("select current_database()::text", &[]).await.unwrap().get(0);
    let tasks: Vec<_> = (0..8_usize)
        .map(|task| {
            let (tenants, scopes, north) = (tenants.clone(), [them.acme_scope(), them.south_acme_scope()], them.north_scope());
            tokio::spawn(async move {
                for round in 0..40_usize {
                    if (task + round) % 3 == 0 {
                        tenants.begin_msp(&north).await.unwrap().commit().await.unwrap();
                    } else {
                        ask(&tenants, &scopes[(task + round) % 2], "select pg_sleep(0.001)::text").await;
                    }
                }
            })
        })
        .collect();
    let mut most = 0;
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        let sql = "select count(*) from pg_stat_activity where datname = $1 and application_name = 'granary' and state is not null";
        most = most.max(superuser.query_one(sql, &[&name]).await.unwrap().get::<_, i64>(0));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    // A session that was closed to make room may take a moment to leave.
    assert!((2..=4).contains(&most), "{most} sessions; the budget is 2");
}

#[tokio::test]
async fn one_tenant_cannot_take_all_connections() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = reopen(&test, 4, 2).await;
    let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let greedy: Vec<_> = (0..12)
        .map(|_| {
            let (tenants, scope, at_once, most) = (tenants.clone(), them.acme_scope(), Arc::clone(&at_once), Arc::clone(&most));
            tokio::spawn(async move {
                let tx = tenants.begin_tenant(&scope).await.unwrap();
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tx.query("select pg_sleep(0.3)", &[]).await.unwrap();
                at_once.fetch_sub(1, Ordering::SeqCst);
                tx.commit().await.unwrap();
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    for _ in 0..5 {
        ask(&tenants, &them.globex_scope(), "select current_user::text").await;
    }
    let waited = begun.elapsed();
    assert!(!greedy.iter().all(tokio::task::JoinHandle::is_finished), "the greedy one was done too soon to tell");
    for task in greedy {
        task.await.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert!(waited < Duration::from_millis(900), "the other waited {waited:?}");
}

#[tokio::test]
async fn sessions_that_the_server_ended_are_replaced_unseen() {
    let test = TestDatabase::with_connections(3).await;
    let them = test.two_customers().await;
    for _ in 0..10 {
        ask(test.tenants(), &them.acme_scope(), "select 1::text").await;
        ask(test.tenants(), &them.south_acme_scope(), "select 1::text").await;
        test.tenants().begin_msp(&them.north_scope()).await.unwrap().commit().await.unwrap();
        let superuser = test.superuser().await;
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name = 'granary'";
        superuser.query_one(sql, &[]).await.unwrap();
    }
}

#[tokio::test]
async fn a_login_whose_password_is_another_is_mended() {
    // Alone: the other tests log in with the same role.
    let test = TestDatabase::alone(2).await;
    let them = two_buckets(&test).await;
    let login = format!("{}_b2", test.database().installation().prefix);
    test.superuser().await.batch_execute(&format!("alter role {login} password 'lost'")).await.unwrap();
    ask(&reopen(&test, 2, 2).await, &them.south_acme_scope(), "select 1::text").await;
}

#[tokio::test]
async fn tenants_of_the_single_login_move_to_their_buckets() {
    let test = TestDatabase::alone(2).await;
    let them = test.two_customers().await;
    let prefix = test.database().installation().prefix.clone();
    let superuser = test.superuser().await;
    for customer in [&them.acme, &them.globex, &them.south_acme] {
        let role = &customer.role_name;
        superuser.batch_execute(&format!("grant {role} to {prefix}_app; revoke {role} from {prefix}_b1")).await.unwrap();
    }
    superuser.batch_execute(&format!("grant {prefix}_tenants to {prefix}_app; drop role {prefix}_b1")).await.unwrap();
    let tenants = reopen(&test, 2, 2).await;
    ask(&tenants, &them.acme_scope(), "select 1::text").await;
    let inspection = tenants.inspect(granary_tenants::Inspected::Isolation).await.unwrap();
    assert_eq!(inspection.findings, []);
}

#[tokio::test]
async fn a_copy_that_was_given_up_is_not_committed() {
    let test = TestDatabase::with_connections(1).await;
    let them = test.two_customers().await;
    let tx = test.tenants().begin_tenant(&them.acme_scope()).await.unwrap();
    tx.execute("insert into audit_log (actor, action, subject, happened_at) values ('a', 'b', 'c', now())", &[]).await.unwrap();
    drop(tx.copy_in("copy audit_log (actor) from stdin").await.unwrap());
    assert_eq!(tx.commit().await.unwrap_err().code(), "transaction_aborted");
    assert_eq!(ask(test.tenants(), &them.acme_scope(), "select count(*)::text from audit_log").await, "0");

    // What is copied out to nobody is stopped, and the connection with it.
    let tx = test.tenants().begin_tenant(&them.acme_scope()).await.unwrap();
    drop(tx.copy_out("copy (select generate_series(1, 1000000000)) to stdout").await.unwrap());
    drop(tx);
    let begun = Instant::now();
    ask(test.tenants(), &them.globex_scope(), "select 1::text").await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_that_met_too_many_tenants_is_let_go() {
    let test = TestDatabase::with_connections(1).await;
    let superuser = test.superuser().await;
    // Schemas without tables do: what counts is how many were met.
    let installation = test.database().installation();
    let role = installation.tenant_role(uuid::Uuid::nil()).unwrap();
    let login = {
        let owner = test.database().owner().await.unwrap();
        test.database().prepare_bucket(&owner, 900).await.unwrap()
    };
    superuser.batch_execute(&format!("create role {role} nologin; grant {role} to {login}")).await.unwrap();
    let mut pids = Vec::new();
    for n in 0..450 {
        let schema = granary_db::Identifier::new(format!("t_{n}")).unwrap();
        let tx = test.database().begin(&TxSettings::tenant(schema, role.clone(), 900)).await.unwrap();
        let pid: i32 = tx.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
        tx.commit().await.unwrap();
        if pids.last().is_none_or(|(last, _)| *last != pid) {
            pids.push((pid, 0));
        }
        pids.last_mut().unwrap().1 += 1;
    }
    superuser.batch_execute(&format!("drop role {role}; drop role {login}")).await.unwrap();
    assert_eq!(pids.iter().map(|(_, served)| *served).collect::<Vec<_>>(), [196, 196, 58]);
}

#[tokio::test]
async fn many_may_need_a_new_bucket_at_once() {
    let test = TestDatabase::alone(4).await;
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let database = test.database().clone();
            tokio::spawn(async move {
                for bucket in 1..8 {
                    let owner = database.owner().await.unwrap();
                    database.prepare_bucket(&owner, bucket).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_repeated_customer_keeps_its_bucket() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 1_000);
    let again = NewCustomer::new(them.north.id, them.acme.code.clone(), "ACME Inc.", them.acme.time_zone.clone(), contract);
    assert_eq!(test.tenants().provision_customer(&again).await.unwrap().bucket, them.acme.bucket);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_a_login_in_turns_with_others_waits_for_its_connections_instead_of_opening_ever_more() {
    let test = TestDatabase::with_connections(4).await;
    let scope = test.two_customers().await.acme_scope();
    let pids = Arc::new(Mutex::new(HashSet::new()));
    let mut asking = JoinSet::new();
    for _ in 0..12 {
        let (tenants, database, scope, pids) = (test.tenants().clone(), test.database().clone(), scope.clone(), Arc::clone(&pids));
        asking.spawn(async move {
            for _ in 0..40 {
                let tx = database.begin(&TxSettings::access()).await.unwrap();
                let control: i32 = tx.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
                tx.commit().await.unwrap();
                let tx = tenants.begin_tenant(&scope).await.unwrap();
                let silo: i32 = tx.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
                tx.commit().await.unwrap();
                pids.lock().unwrap().extend([control, silo]);
            }
        });
    }
    asking.join_all().await;
    let opened = pids.lock().unwrap().len();
    assert!((2..=8).contains(&opened), "960 transactions of two logins opened {opened} connections of 4");
}
