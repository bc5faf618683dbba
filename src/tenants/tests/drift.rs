//! Schemas that somebody changed by hand, plans that change nothing, and a server that serves schemas of two versions.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use granary_foundation::Silent;
use granary_tenants::{DriftReport, Fleet, FleetOptions, TenantScope, plan};
use granary_test_support::TestDatabase;
use granary_types::{Classify, ErrorKind};
use refinery::Migration;

/// Names each tenant that drifted, with what differs.
fn named(report: &DriftReport) -> Vec<(String, String)> {
    report.drifted.iter().map(|drifted| (format!("{} of {}", drifted.code, drifted.msp), drifted.differences.join("; "))).collect()
}

#[tokio::test]
async fn a_schema_that_was_changed_by_hand_is_named_with_every_difference() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let fleet = Fleet::new(test.tenants().clone());
    let report = fleet.find_drift(None).await.unwrap();
    assert_eq!((report.checked, named(&report)), (3, Vec::new()));

    let superuser = test.superuser().await;
    let (acme, globex) = (&them.acme, &them.globex);
    superuser
        .batch_execute(&format!(
            "set search_path = {};
             alter table machines drop column os;
             alter table machines add column room text;
             alter table tickets alter column rating type bigint;
             alter table schedules alter column runs_per_day set default 2;
             alter table tickets drop constraint tickets_rating;
             alter table tickets add constraint tickets_rating check (rating between 1 and 6);
             drop index backup_runs_billing;
             drop trigger machines_updated on machines;
             grant update on audit_log to {};
             grant usage on schema {} to public;
             create or replace function mark_dirty() returns trigger language plpgsql as $$ begin return null; end $$",
            acme.schema_name, acme.role_name, acme.schema_name
        ))
        .await
        .unwrap();
    superuser.batch_execute(&format!("drop schema {} cascade", globex.schema_name)).await.unwrap();
    let report = fleet.find_drift(None).await.unwrap();
    let found = named(&report);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1], ("GLOBEX of NORTH".to_owned(), "the schema is missing".to_owned()));
    assert_eq!(found[0].0, "ACME of NORTH");
    for expected in [
        "column machines.os is missing",
        "column machines.room is no part of it",
        "column tickets.rating is 'bigint' instead of 'integer'",
        "column schedules.runs_per_day is 'integer not null default 2' instead of 'integer not null default 1'",
        "constraint tickets.tickets_rating is ",
        "index backup_runs_billing is missing",
        "trigger machines.machines_updated is missing",
        "grants on audit_log is ",
        "grants on the schema is ",
        "function mark_dirty is ",
    ] {
        assert!(found[0].1.contains(expected), "{expected}: {}", found[0].1);
    }
    let states = fleet.states(Some(&acme.code)).await.unwrap();
    assert!(states[0].drift.as_deref().unwrap().contains("machines.os") && states[1].drift.is_none());
    // Nothing of the comparison stays.
    let left: i64 = superuser
        .query_one("select (select count(*) from pg_namespace where nspname like 'reference%') + (select count(*) from pg_roles where rolname like '%\\_ref\\_%')", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
}

#[tokio::test]
async fn schemas_of_two_versions_are_each_compared_with_their_own() {
    let test = TestDatabase::new().await;
    test.two_customers().await;
    let mut migrations = Fleet::known_migrations();
    let next = migrations.last().unwrap().version() + 1;
    migrations.push(
        Migration::unapplied(&format!("V{next}__rooms"), "create table rooms (id int primary key check (id > 0), name text default 'x');")
            .unwrap(),
    );
    let fleet = Fleet::with_migrations(test.tenants().clone(), migrations);
    let options = FleetOptions { only: Some("GLOBEX".parse().unwrap()), ..FleetOptions::default() };
    assert_eq!(fleet.migrate(&options, &Silent).await.unwrap().migrated, 1);
    let report = fleet.find_drift(None).await.unwrap();
    assert_eq!((report.checked, named(&report)), (3, Vec::new()));
    // The owner's own rights, written out, are what they were.
    let superuser = test.superuser().await;
    superuser
        .batch_execute(
            "do $$ declare r record; begin for r in select schema_name, role_name from control.customers loop
             execute format('grant select on %I.refinery_schema_history to %I', r.schema_name, r.role_name);
             execute format('revoke select on %I.refinery_schema_history from %I', r.schema_name, r.role_name);
             end loop; end $$",
        )
        .await
        .unwrap();
    assert_eq!(named(&fleet.find_drift(None).await.unwrap()), Vec::new());
    // Written in other words but the same to Postgres: no drift.
    superuser
        .batch_execute(
            "do $$ declare s text; begin select schema_name into s from control.customers where code = 'GLOBEX';
             execute format('set local search_path = %I', s);
             alter table rooms drop constraint rooms_id_check;
             alter table rooms add constraint rooms_id_check /* as it was, and yet elsewhere in the text */ check (id > 0); end $$",
        )
        .await
        .unwrap();
    assert_eq!(named(&fleet.find_drift(None).await.unwrap()), Vec::new());
}

#[tokio::test]
async fn a_plan_says_what_would_run_and_changes_nothing() {
    let test = TestDatabase::new().await;
    test.two_customers().await;
    assert!(plan(&test.url(), None).await.unwrap().is_empty());
    let superuser = test.superuser().await;
    superuser.batch_execute("set search_path = control; update customers set schema_version = 2 where code = 'ACME'").await.unwrap();
    superuser.batch_execute("delete from control.refinery_schema_history where version >= 10").await.unwrap();
    let planned = plan(&test.url(), None).await.unwrap();
    let control: Vec<i32> = planned.iter().filter(|migration| migration.schema == "control").map(|migration| migration.version).collect();
    assert!(control.contains(&10) && !control.contains(&9), "{control:?}");
    let first = planned.iter().find(|migration| migration.schema == "tenants").unwrap();
    assert_eq!((first.version, first.name.as_str(), first.schemas), (3, "service", 2));
    assert!(first.sql.contains("create table tickets"));
    let again: i64 =
        superuser.query_one("select count(*) from control.refinery_schema_history where version >= 10", &[]).await.unwrap().get(0);
    assert_eq!(again, 0);
}

const EXPECTED: &str = "select expected, pg_backend_pid() as backend from heartbeats where source = $1";
const NOTHING: &str = "select 1 as one";

/// Asks for a column whose type a migration changes, as the first statement of a transaction or after another; returns the
/// type and the backend.
async fn ask(test: &TestDatabase, scope: &TenantScope, is_first: bool) -> Result<(String, i32), granary_db::DbError> {
    let tx = test.tenants().begin_tenant(scope).await.unwrap();
    if !is_first {
        tx.query_one(NOTHING, &[]).await?;
    }
    let row = tx.query_one(EXPECTED, &[&"x"]).await?;
    tx.commit().await.unwrap();
    Ok((row.columns()[0].type_().name().to_owned(), row.get("backend")))
}

#[tokio::test]
async fn a_pooled_connection_serves_a_schema_that_was_changed_under_its_statements() {
    // One connection, so that every transaction meets the statements of the one before.
    let test = TestDatabase::with_connections(1).await;
    let them = test.two_customers().await;
    let (mut acme, globex) = (them.acme_scope(), them.globex_scope());
    let superuser = test.superuser().await;
    for scope in [&acme, &globex] {
        let insert = format!("insert into {}.heartbeats values ('x', '2025-01-01', 1, 1, now())", scope.customer.schema_name);
        superuser.batch_execute(&format!("set search_path = {}; {insert}", scope.customer.schema_name)).await.unwrap();
    }
    let (kind, backend) = ask(&test, &acme, true).await.unwrap();
    assert_eq!(kind, "int4");
    let widen = format!("alter table {}.heartbeats alter column expected type bigint", acme.customer.schema_name);
    superuser.batch_execute(&widen).await.unwrap();

    // The first statement of a transaction is asked again without anybody noticing, on the same backend.
    assert_eq!(ask(&test, &acme, true).await.unwrap(), ("int8".to_owned(), backend));
    assert_eq!(ask(&test, &globex, true).await.unwrap(), ("int4".to_owned(), backend));
    // A later one fails as something that passes, and the next attempt succeeds.
    let error = ask(&test, &acme, false).await.unwrap_err();
    assert!(error.is_stale_plan(), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(ask(&test, &acme, false).await.unwrap().0, "int8");

    // When the catalog tells the versions apart, nobody fails, however the two take turns.
    acme.customer.schema_version += 1;
    for scope in [&globex, &acme] {
        ask(&test, scope, true).await.unwrap();
    }
    for _ in 0..3 {
        let (one, on) = ask(&test, &acme, false).await.unwrap();
        let (other, as_well) = ask(&test, &globex, false).await.unwrap();
        assert_eq!((one.as_str(), other.as_str()), ("int8", "int4"));
        assert_eq!(on, as_well);
    }
}
