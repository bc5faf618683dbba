//! Migrations of the fleet: failures, races, kills, locks.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::time::Duration;

use granary_foundation::Silent;
use granary_tenants::{Fleet, FleetOptions, FleetReport, NewContract, NewCustomer, NewMsp, TenantScope, Tenants};
use granary_test_support::TestDatabase;
use granary_types::{Currency, Tier};
use jiff::civil::date;
use jiff::tz::TimeZone;
use refinery::Migration;

/// An MSP with customers C01, C02, … whose schemas are at this program's version.
async fn customers(test: &TestDatabase, count: usize) -> Vec<TenantScope> {
    let tenants = test.tenants();
    let zone = TimeZone::get("America/New_York").unwrap();
    let msp = tenants.create_msp(&NewMsp::new("NORTH", "Northern Backup", zone.clone())).await.unwrap();
    let mut scopes = Vec::new();
    for index in 1..=count {
        let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 500);
        let new = NewCustomer::new(msp.id, format!("C{index:02}").parse().unwrap(), "Customer", zone.clone(), contract);
        let customer = tenants.provision_customer(&new).await.unwrap();
        scopes.push(TenantScope::for_job(msp.clone(), customer, "test"));
    }
    scopes
}

/// The program's migrations and one more.
fn with_next(tenants: &Tenants, sql: &str) -> Fleet {
    let mut migrations = Fleet::known_migrations();
    let next = migrations.last().unwrap().version() + 1;
    migrations.push(Migration::unapplied(&format!("V{next}__next"), sql).unwrap());
    Fleet::with_migrations(tenants.clone(), migrations)
}

fn next_version() -> i32 {
    Fleet::known_migrations().last().unwrap().version() + 1
}

async fn run(fleet: &Fleet, options: &FleetOptions) -> FleetReport {
    fleet.migrate(options, &Silent).await.unwrap()
}

/// How many schemas have the column `machines.room`, and how often the next migration stands in their histories.
async fn count_rooms(test: &TestDatabase) -> (i64, i64) {
    let superuser = test.superuser().await;
    let columns: i64 = superuser
        .query_one("select count(*) from information_schema.columns where table_name = 'machines' and column_name = 'room'", &[])
        .await
        .unwrap()
        .get(0);
    let mut noted = 0;
    for row in superuser.query("select schema_name from control.customers", &[]).await.unwrap() {
        let sql = format!("select count(*) from {}.refinery_schema_history where version = {}", row.get::<_, String>(0), next_version());
        noted += superuser.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0);
    }
    (columns, noted)
}

const ADD_ROOM: &str = "alter table machines add column room text; create index machines_room on machines (room);";

#[tokio::test]
async fn schemas_that_are_up_to_date_are_left_alone() {
    let test = TestDatabase::new().await;
    customers(&test, 2).await;
    let superuser = test.superuser().await;
    // Nobody asks a schema that is up to date: even a broken one is not noticed.
    superuser
        .batch_execute(
            "do $$ declare s text; begin select schema_name into s from control.customers limit 1;
        execute format('drop table %I.refinery_schema_history', s); end $$",
        )
        .await
        .unwrap();
    let report = run(&Fleet::new(test.tenants().clone()), &FleetOptions::default()).await;
    assert_eq!((report.up_to_date, report.migrated, report.failed.len()), (2, 0, 0));
}

#[tokio::test]
async fn every_schema_gets_the_migration_once_and_a_second_run_does_nothing() {
    let test = TestDatabase::new().await;
    customers(&test, 6).await;
    let fleet = with_next(test.tenants(), ADD_ROOM);
    let report = run(&fleet, &FleetOptions::default()).await;
    assert_eq!((report.version, report.up_to_date, report.migrated, report.failed.len()), (next_version(), 0, 6, 0));
    let report = run(&fleet, &FleetOptions::default()).await;
    assert_eq!((report.up_to_date, report.migrated), (6, 0));
    assert_eq!(count_rooms(&test).await, (6, 6));
    let states = fleet.states(None).await.unwrap();
    assert!(states.iter().all(|state| state.version == next_version() && state.error.is_none() && state.attempted_at.is_some()));
    // This program does not know the version: it leaves those schemas alone and says so.
    let report = run(&Fleet::new(test.tenants().clone()), &FleetOptions::default()).await;
    assert_eq!((report.ahead, report.migrated), (6, 0));
}

#[tokio::test]
async fn a_tenant_that_fails_is_named_and_stops_nobody() {
    let test = TestDatabase::new().await;
    let scopes = customers(&test, 5).await;
    let broken = &scopes[2].customer;
    let superuser = test.superuser().await;
    superuser.batch_execute(&format!("alter table {}.machines add column room int", broken.schema_name)).await.unwrap();
    let fleet = with_next(test.tenants(), ADD_ROOM);
    let report = run(&fleet, &FleetOptions { connections: 2, ..FleetOptions::default() }).await;
    assert_eq!((report.migrated, report.failed.len()), (4, 1));
    let failed = &report.failed[0];
    assert_eq!((failed.msp.as_str(), failed.code.as_str()), ("NORTH", "C03"));
    let cause = failed.error.to_string();
    assert!(cause.contains("next") && cause.contains("column \"room\" of relation \"machines\" already exists"), "{cause}");

    // It stays where it was, whole, and the control schema knows why.
    let states = fleet.states(Some(&broken.code)).await.unwrap();
    assert_eq!((states[0].version, states[0].failed_attempts), (next_version() - 1, 1));
    assert!(states[0].error.as_deref().unwrap().contains("already exists"));
    let tx = test.tenants().begin_tenant(&scopes[2]).await.unwrap();
    tx.record_audit("customer.look", "customer:C03", &serde_json::json!({}), None).await.unwrap();
    tx.commit().await.unwrap();

    // Mended, the next run needs to do that one only.
    superuser.batch_execute(&format!("alter table {}.machines drop column room", broken.schema_name)).await.unwrap();
    let report = run(&fleet, &FleetOptions::default()).await;
    assert_eq!((report.up_to_date, report.migrated, report.failed.len()), (4, 1, 0));
    assert_eq!(fleet.states(Some(&broken.code)).await.unwrap()[0].failed_attempts, 0);
    assert_eq!(count_rooms(&test).await, (5, 5));
}

#[tokio::test]
async fn a_history_that_does_not_fit_is_refused_with_its_reason() {
    let test = TestDatabase::new().await;
    let scopes = customers(&test, 3).await;
    let superuser = test.superuser().await;
    let schema = |index: usize| scopes[index].customer.schema_name.clone();
    superuser.batch_execute(&format!("update {}.refinery_schema_history set checksum = '7' where version = 2", schema(0))).await.unwrap();
    superuser.batch_execute(&format!("drop schema {} cascade", schema(1))).await.unwrap();
    superuser.batch_execute(&format!("insert into {}.refinery_schema_history values (9999, 'future', '', '1')", schema(2))).await.unwrap();
    let report = run(&with_next(test.tenants(), ADD_ROOM), &FleetOptions::default()).await;
    let mut causes: Vec<String> = report.failed.iter().map(|failed| format!("{}: {}", failed.code, failed.error)).collect();
    causes.sort();
    assert_eq!(causes.len(), 3);
    for (cause, expected) in causes.iter().zip(["edited after it had been applied", "is not there", "9999 (future)"]) {
        assert!(cause.contains(expected), "{cause}");
    }
}

#[tokio::test]
async fn two_runners_at_once_share_the_work() {
    let test = TestDatabase::new().await;
    customers(&test, 12).await;
    let fleet = with_next(test.tenants(), ADD_ROOM);
    let options = FleetOptions { connections: 3, ..FleetOptions::default() };
    let (one, other) = tokio::join!(run(&fleet, &options), run(&fleet, &options));
    assert_eq!((one.failed.len(), other.failed.len()), (0, 0));
    assert_eq!(one.migrated + other.migrated, 12);
    assert_eq!(count_rooms(&test).await, (12, 12));
}

#[tokio::test]
async fn a_run_that_is_killed_anywhere_is_finished_by_the_next() {
    let test = TestDatabase::new().await;
    customers(&test, 12).await;
    let fleet = with_next(test.tenants(), ADD_ROOM);
    let options = FleetOptions { connections: 2, ..FleetOptions::default() };
    let mut kills = 0;
    loop {
        let patience = Duration::from_millis(4 + kills * 2);
        match tokio::time::timeout(patience, fleet.migrate(&options, &Silent)).await {
            Ok(report) => {
                assert_eq!(report.unwrap().failed.len(), 0);
                break;
            }
            Err(_) => kills += 1,
        }
    }
    assert!(kills > 2, "it was killed {kills} times");
    assert_eq!(count_rooms(&test).await, (12, 12));
    assert!(fleet.states(None).await.unwrap().iter().all(|state| state.version == next_version()));
}

#[tokio::test]
async fn a_canary_that_fails_holds_the_others_back() {
    let test = TestDatabase::new().await;
    let scopes = customers(&test, 5).await;
    let superuser = test.superuser().await;
    superuser.batch_execute("set search_path = control; update customers set status = 'trial' where code = 'C02'").await.unwrap();
    let trial = &scopes[1].customer.schema_name;
    superuser.batch_execute(&format!("alter table {trial}.machines add column room int")).await.unwrap();
    let fleet = with_next(test.tenants(), ADD_ROOM);
    let options = FleetOptions { canaries: 1, ..FleetOptions::default() };
    let report = run(&fleet, &options).await;
    assert_eq!((report.migrated, report.held_back), (0, 4));
    assert_eq!(report.failed.iter().map(|failed| failed.code.as_str()).collect::<Vec<_>>(), ["C02"]);

    superuser.batch_execute(&format!("alter table {trial}.machines drop column room")).await.unwrap();
    let report = run(&fleet, &options).await;
    assert_eq!((report.migrated, report.held_back, report.failed.len()), (5, 0, 0));
}

#[tokio::test]
async fn only_the_customers_asked_for_are_migrated() {
    let test = TestDatabase::new().await;
    customers(&test, 3).await;
    let fleet = with_next(test.tenants(), ADD_ROOM);
    let report = run(&fleet, &FleetOptions { only: Some("C02".parse().unwrap()), ..FleetOptions::default() }).await;
    assert_eq!((report.up_to_date, report.migrated), (0, 1));
    assert_eq!(count_rooms(&test).await, (1, 1));
    let nobody = FleetOptions { only: Some("NOBODY".parse().unwrap()), ..FleetOptions::default() };
    let error = fleet.migrate(&nobody, &Silent).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no customer 'NOBODY'");
}

#[tokio::test]
async fn a_locked_table_is_waited_for_in_turns_and_the_others_go_on() {
    let test = TestDatabase::new().await;
    let scopes = customers(&test, 4).await;
    let fleet = with_next(test.tenants(), ADD_ROOM);
    let mut holder = test.superuser().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute(&format!("lock table {}.machines in access share mode", scopes[3].customer.schema_name)).await.unwrap();

    // Not patient enough: the tenant is named, the others are done.
    let hasty = FleetOptions { connections: 1, lock_timeout: Duration::from_millis(20), attempts: 2, ..FleetOptions::default() };
    let report = run(&fleet, &hasty).await;
    assert_eq!((report.migrated, report.failed.len()), (3, 1));
    assert!(report.failed[0].error.to_string().contains("lock timeout"), "{}", report.failed[0].error);

    // Patient: it comes back until the lock is gone.
    let patient = FleetOptions { lock_timeout: Duration::from_millis(20), attempts: 50, ..hasty };
    let migrated = async { run(&fleet, &patient).await };
    let released = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        held.rollback().await.unwrap();
    };
    let (report, ()) = tokio::join!(migrated, released);
    assert_eq!((report.up_to_date, report.migrated, report.failed.len()), (3, 1, 0));
    assert_eq!(count_rooms(&test).await, (4, 4));
}

#[tokio::test]
async fn new_tables_are_the_tenants_to_change_and_the_logs_are_only_added_to() {
    let test = TestDatabase::new().await;
    let scopes = customers(&test, 1).await;
    let fleet = with_next(test.tenants(), "create table rooms (id int primary key);");
    assert_eq!(run(&fleet, &FleetOptions::default()).await.migrated, 1);
    let superuser = test.superuser().await;
    let customer = &scopes[0].customer;
    let may = async |table: &str, right: &str| -> bool {
        let sql = format!("select has_table_privilege('{}', '{}.{table}', '{right}')", customer.role_name, customer.schema_name);
        superuser.query_one(&sql, &[]).await.unwrap().get(0)
    };
    for right in ["select", "insert", "update", "delete"] {
        assert!(may("rooms", right).await && may("machines", right).await, "{right}");
        assert!(!may("refinery_schema_history", right).await, "{right}");
        for log in ["usage_events", "audit_log"] {
            assert_eq!(may(log, right).await, matches!(right, "select" | "insert"), "{right} on {log}");
        }
    }
    assert!(!may("rooms", "truncate").await);
}

#[tokio::test]
async fn copies_of_a_silo_are_migrated_like_their_parents_and_the_erased_are_not() {
    let test = TestDatabase::new().await;
    customers(&test, 3).await;
    let superuser = test.superuser().await;
    // C02 has gone, and its schema serves as the copy of C01; C03 has gone with its schema.
    superuser
        .batch_execute(
            "set search_path = control;
             insert into clones (id, parent_id, msp_id, code, schema_name, role_name, cluster, schema_version, has_personal_data, reason, created_at)
             select gen_random_uuid(), (select id from customers where code = 'C01'), msp_id, 'C01-COPY', schema_name, role_name, cluster,
                 schema_version, false, 'a test', now()
             from customers where code = 'C02';
             update customers set status = 'erased', schema_name = schema_name || '_gone' where code in ('C02', 'C03')",
        )
        .await
        .unwrap();
    let report = run(&with_next(test.tenants(), ADD_ROOM), &FleetOptions::default()).await;
    assert_eq!((report.migrated, report.failed.len()), (2, 0), "{:?}", report.failed);
    let version: i32 = superuser.query_one("select schema_version from control.clones", &[]).await.unwrap().get(0);
    assert_eq!(version, next_version());
}
