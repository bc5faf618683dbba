//! What `granary doctor` knows to look for: each fault is planted and found.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use granary_db::{Database, DatabaseConfig};
use granary_foundation::Secret;
use granary_tenants::{Finding, Inspected, Severity};
use granary_test_support::TestDatabase;
use granary_types::Clock;

async fn faults(test: &TestDatabase) -> Vec<Finding> {
    let inspection = test.tenants().inspect(Inspected::Isolation).await.unwrap();
    assert!(inspection.checks > 15);
    inspection.findings
}

/// Plants a fault, sees it found under its name and subject, and mends it.
async fn plant(test: &TestDatabase, check: &str, subject: &str, fault: &str, cure: &str) -> Option<String> {
    let superuser = test.superuser().await;
    superuser.batch_execute(fault).await.unwrap();
    let found = faults(test).await;
    superuser.batch_execute(cure).await.unwrap();
    let is_found = found.iter().any(|finding| finding.check == check && finding.subject.contains(subject) && !finding.remedy.is_empty());
    (!is_found).then(|| format!("{check} of {subject} after {fault}: {found:#?}"))
}

/// Check, subject, fault, cure. `ROLE` and `OWN` are ACME's, `OTHER_R` and `OTHER` GLOBEX's, `LOGIN` is that of their bucket.
#[rustfmt::skip]
const FAULTS: &[[&str; 4]] = &[
    ["role_powers", "ROLE", "alter role ROLE login", "alter role ROLE nologin"],
    ["role_powers", "ROLE", "alter role ROLE bypassrls", "alter role ROLE nobypassrls"],
    ["role_powers", "ROLE", "alter role ROLE superuser", "alter role ROLE nosuperuser"],
    ["role_powers", "LOGIN", "alter role LOGIN inherit", "alter role LOGIN noinherit"],
    ["role_powers", "LOGIN", "alter role LOGIN createrole", "alter role LOGIN nocreaterole"],
    ["login_settings", "LOGIN", "alter role LOGIN set role = 'ROLE'", "alter role LOGIN reset role"],
    ["login_settings", "LOGIN", "alter role LOGIN set search_path = control", "alter role LOGIN reset search_path"],
    ["memberships", "ROLE", "grant OTHER_R to ROLE", "revoke OTHER_R from ROLE"],
    ["memberships", "ROLE", "grant PREFIX_operator to ROLE", "revoke PREFIX_operator from ROLE"],
    ["memberships", "ROLE", "grant pg_read_all_data to ROLE", "revoke pg_read_all_data from ROLE"],
    ["memberships", "LOGIN", "grant PREFIX_keystore to LOGIN", "revoke PREFIX_keystore from LOGIN"],
    ["memberships", "PREFIX_app", "grant ROLE to PREFIX_app", "revoke ROLE from PREFIX_app"],
    ["memberships", "stranger", "create role stranger; grant ROLE to stranger", "drop role stranger"],
    ["memberships", "LOGIN", "grant ROLE to LOGIN with admin option", "revoke admin option for ROLE from LOGIN"],
    ["silo_incomplete", "OWN", "revoke ROLE from LOGIN", "grant ROLE to LOGIN"],
    ["silo_incomplete", "OWN", "revoke PREFIX_tenants from ROLE", "grant PREFIX_tenants to ROLE"],
    ["bucket_size", "LOGIN", "do $$ begin for n in 1..251 loop execute format('create role PREFIX_t_%s', n); execute format('grant PREFIX_t_%s to LOGIN', n); end loop; end $$", "do $$ begin for n in 1..251 loop execute format('drop role PREFIX_t_%s', n); end loop; end $$"],
    ["rights_abroad", "ROLE", "grant select on OTHER.machines to ROLE", "revoke select on OTHER.machines from ROLE"],
    ["rights_abroad", "ROLE", "grant select (name) on OTHER.machines to ROLE", "revoke select (name) on OTHER.machines from ROLE"],
    ["rights_abroad", "ROLE", "grant usage on schema OTHER to ROLE", "revoke usage on schema OTHER from ROLE"],
    ["rights_abroad", "ROLE", "grant select on control.customers to ROLE", "revoke select on control.customers from ROLE"],
    ["rights_abroad", "ROLE", "grant create on schema OWN to ROLE", "revoke create on schema OWN from ROLE"],
    ["rights_abroad", "ROLE", "grant truncate on OWN.machines to ROLE", "revoke truncate on OWN.machines from ROLE"],
    ["rights_abroad", "ROLE", "grant delete on OWN.audit_log to ROLE", "revoke delete on OWN.audit_log from ROLE"],
    ["rights_abroad", "ROLE", "grant insert on OWN.refinery_schema_history to ROLE", "revoke insert on OWN.refinery_schema_history from ROLE"],
    ["rights_abroad", "ROLE", "grant execute on function OTHER.mark_dirty() to ROLE", "revoke execute on function OTHER.mark_dirty() from ROLE"],
    ["rights_abroad", "ROLE", "grant set on parameter log_statement to ROLE", "revoke set on parameter log_statement from ROLE"],
    ["rights_abroad", "PREFIX_tenants", "grant usage on schema control to PREFIX_tenants", "revoke usage on schema control from PREFIX_tenants"],
    ["rights_abroad", "PREFIX_tenants", "grant select on outbox.messages to PREFIX_tenants", "revoke select on outbox.messages from PREFIX_tenants"],
    ["rights_abroad", "public", "grant select on OWN.machines to public", "revoke select on OWN.machines from public"],
    ["rights_abroad", "public", "grant usage on schema keystore to public", "revoke usage on schema keystore from public"],
    ["rights_abroad", "public", "grant create on schema public to public", "revoke create on schema public from public"],
    ["rights_abroad", "ROLE", "grant select on OWN.machines to ROLE with grant option", "revoke grant option for select on OWN.machines from ROLE"],
    ["rights_abroad", "ROLE", "alter default privileges in schema control grant select on tables to ROLE", "alter default privileges in schema control revoke select on tables from ROLE"],
    ["rights_abroad", "public", "select lo_create(4711); grant select on large object 4711 to public", "select lo_unlink(4711)"],
    ["ownership", "ROLE", "alter table OWN.machines owner to ROLE", "alter table OWN.machines owner to current_user; grant select, insert, update, delete on OWN.machines to ROLE"],
    ["foreign_keys", "skipped_runs", "alter table OWN.skipped_runs add constraint abroad foreign key (machine_id) references OTHER.machines (id)", "alter table OWN.skipped_runs drop constraint abroad"],
    ["views", "OWN.peep", "create view OWN.peep as select * from OTHER.machines", "drop view OWN.peep"],
    ["security_definer", "outbox.peek", "DEFINER as 'select 1::bigint'", "drop function outbox.peek"],
    ["security_definer", "outbox.peek", "DEFINER set search_path = public as 'select 1::bigint'", "drop function outbox.peek"],
    ["security_definer", "outbox.peek", "DEFINER set search_path = control as 'select 1::bigint'", "drop function outbox.peek"],
    ["open_functions", "outbox.peek", "create function outbox.peek() returns int language sql as 'select 1'", "drop function outbox.peek"],
    ["public_objects", "public.left_here", "create table public.left_here (n int)", "drop table public.left_here"],
    ["public_objects", "public.left_here", "create function public.left_here() returns int language sql as 'select 1'", "drop function public.left_here"],
    ["public_objects", "public.left_here", "create type public.left_here as enum ('a')", "drop type public.left_here"],
    ["row_security", "control.invoices", "alter table control.invoices no force row level security", "alter table control.invoices force row level security"],
    ["row_security", "control.invoices", "alter table control.invoices disable row level security", "alter table control.invoices enable row level security"],
    ["row_security", "control.forgotten", "create table control.forgotten (msp_id uuid)", "drop table control.forgotten"],
    ["policies", "too_wide", "create policy too_wide on control.invoices to PREFIX_msp using (true)", "drop policy too_wide on control.invoices"],
    ["policies", "too_wide", "create policy too_wide on control.invoices using (msp_id is not null)", "drop policy too_wide on control.invoices"],
    ["policies", "too_wide", "create policy too_wide on outbox.messages for insert to PREFIX_tenants with check (true)", "drop policy too_wide on outbox.messages"],
    ["views", "control.all_invoices", "create view control.all_invoices as select id from control.invoices", "drop view control.all_invoices"],
    ["orphan_silo", "t_00000000000000000000000000000000", "create schema t_00000000000000000000000000000000", "drop schema t_00000000000000000000000000000000"],
    ["large_objects", "lo_from_bytea", "grant execute on function pg_catalog.lo_from_bytea(oid, bytea) to public", "revoke execute on function pg_catalog.lo_from_bytea(oid, bytea) from public"],
    ["set_config", "set_config", "grant execute on function pg_catalog.set_config(text, text, boolean) to public", "revoke execute on function pg_catalog.set_config(text, text, boolean) from public"],
];

#[tokio::test]
async fn every_fault_that_is_planted_is_found_and_a_sound_house_has_none() {
    let test = TestDatabase::alone(4).await;
    let them = test.two_customers().await;
    assert_eq!(faults(&test).await, []);

    let prefix = test.database().installation().prefix.as_str();
    let definer = "create function outbox.peek() returns bigint language sql security definer";
    let names = [
        ("LOGIN", "PREFIX_b1"),
        ("DEFINER", definer),
        ("PREFIX", prefix),
        ("ROLE", &them.acme.role_name),
        ("OWN", &them.acme.schema_name),
        ("OTHER_R", &them.globex.role_name),
        ("OTHER", &them.globex.schema_name),
    ];
    let mut missed = Vec::new();
    for fault in FAULTS {
        let [check, subject, fault, cure] =
            fault.map(|text| names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value)));
        missed.extend(plant(&test, &check, &subject, &fault, &cure).await);
        let rest = faults(&test).await;
        assert!(rest.is_empty(), "after {cure}: {rest:#?}");
    }
    assert!(missed.is_empty(), "{} of {} were not found: {missed:#?}", missed.len(), FAULTS.len());
    println!("{} planted faults, all found", FAULTS.len());

    let everything = test.tenants().inspect(Inspected::Everything { connections: 8 }).await.unwrap();
    assert_eq!(everything.findings, []);
    server_and_versions(&test).await;
}

async fn server_and_versions(test: &TestDatabase) {
    let superuser = test.superuser().await;
    superuser.batch_execute("set search_path = control; update customers set schema_version = 1 where code = 'GLOBEX'").await.unwrap();
    superuser.batch_execute("alter system set fsync = off").await.unwrap();
    superuser.batch_execute("alter system set synchronous_commit = off").await.unwrap();
    superuser.batch_execute("select pg_reload_conf()").await.unwrap();
    let mut found = Vec::new();
    for _ in 0..100 {
        let inspection = test.tenants().inspect(Inspected::Everything { connections: 10_000 }).await.unwrap();
        found = inspection.findings.iter().map(|finding| (finding.severity, finding.check, finding.subject.clone())).collect();
        if found.len() == 4 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let expected = [
        (Severity::Fault, "settings", "fsync".to_owned()),
        (Severity::Fault, "connections", "max_connections".to_owned()),
        (Severity::Advice, "settings", "synchronous_commit".to_owned()),
        (Severity::Advice, "versions", "1 of 3 schemas".to_owned()),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_owner_that_is_no_superuser_is_told_what_it_could_not_do() {
    let test = TestDatabase::alone(2).await;
    let superuser = test.superuser().await;
    superuser.batch_execute("create role landlord login createrole createdb password 'x'").await.unwrap();
    superuser.batch_execute("create database plain owner landlord").await.unwrap();
    superuser.batch_execute("grant execute on function pg_catalog.set_config(text, text, boolean) to public").await.unwrap();
    let url = test.url().reveal().replace("user=granary", "user=landlord");
    let url = url.split(' ').filter(|part| !part.starts_with("password") && !part.starts_with("dbname")).collect::<Vec<_>>().join(" ");
    let config = DatabaseConfig {
        url: Secret::new(format!("{url} password=x dbname=plain")),
        app_password: Secret::new("not-a-secret"),
        max_connections: 2,
        connections_per_tenant: 1,
    };
    Database::connect(&config, Clock::System).await.unwrap().close();
    let database = Database::connect(&config, Clock::System).await.unwrap();
    let keys = granary_vault::Keys::new(database.clone(), granary_vault::MasterKey::load_or_create(&test.folder().join("other")).unwrap());
    let tenants = granary_tenants::Tenants::new(database, keys);
    let inspection = tenants.inspect(Inspected::Isolation).await.unwrap();
    let found: Vec<_> = inspection.findings.iter().map(|finding| (finding.severity, finding.check)).collect();
    assert_eq!(found, [(Severity::Advice, "large_objects"), (Severity::Advice, "set_config")]);
    assert_eq!(inspection.faults().count(), 0);
}
