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
    superuser.batch_execute(fault).await.unwrap_or_else(|error| panic!("{fault}: {:?}", error.as_db_error()));
    let found = faults(test).await;
    superuser.batch_execute(cure).await.unwrap_or_else(|error| panic!("{cure}: {:?}", error.as_db_error()));
    let is_found = found.iter().any(|finding| finding.check == check && finding.subject.contains(subject) && !finding.remedy.is_empty());
    (!is_found).then(|| format!("{check} of {subject} after {fault}: {found:#?}"))
}

/// (check, subject, fault, cure)
type Fault = (&'static str, String, String, String);

fn faults_of_roles(prefix: &str, [role, other]: [&str; 2]) -> Vec<Fault> {
    let login = format!("{prefix}_b1");
    let fault = |check, subject: &str, fault: &str, cure: &str| -> Fault {
        (check, subject.to_owned(), fault.replace("ROLE", role), cure.replace("ROLE", role))
    };
    vec![
        fault("role_powers", role, "alter role ROLE login", "alter role ROLE nologin"),
        fault("role_powers", role, "alter role ROLE bypassrls", "alter role ROLE nobypassrls"),
        fault("role_powers", role, "alter role ROLE superuser", "alter role ROLE nosuperuser"),
        fault("role_powers", &login, &format!("alter role {login} inherit"), &format!("alter role {login} noinherit")),
        fault("role_powers", &login, &format!("alter role {login} createrole"), &format!("alter role {login} nocreaterole")),
        fault("login_settings", &login, &format!("alter role {login} set role = 'ROLE'"), &format!("alter role {login} reset role")),
        fault(
            "login_settings",
            &login,
            &format!("alter role {login} set search_path = control"),
            &format!("alter role {login} reset search_path"),
        ),
        fault("memberships", role, &format!("grant {other} to ROLE"), &format!("revoke {other} from ROLE")),
        fault("memberships", role, &format!("grant {prefix}_operator to ROLE"), &format!("revoke {prefix}_operator from ROLE")),
        fault("memberships", role, "grant pg_read_all_data to ROLE", "revoke pg_read_all_data from ROLE"),
        fault("memberships", &login, &format!("grant {prefix}_keystore to {login}"), &format!("revoke {prefix}_keystore from {login}")),
        fault("memberships", &format!("{prefix}_app"), &format!("grant ROLE to {prefix}_app"), &format!("revoke ROLE from {prefix}_app")),
        fault("memberships", "stranger", "create role stranger; grant ROLE to stranger", "drop role stranger"),
        fault(
            "memberships",
            &login,
            &format!("grant ROLE to {login} with admin option"),
            &format!("revoke admin option for ROLE from {login}"),
        ),
        fault("silo_incomplete", "t_", &format!("revoke ROLE from {login}"), &format!("grant ROLE to {login}")),
        fault("silo_incomplete", "t_", &format!("revoke {prefix}_tenants from ROLE"), &format!("grant {prefix}_tenants to ROLE")),
        fault(
            "bucket_size",
            &login,
            &format!(
                "do $$ begin for n in 1..251 loop execute format('create role {prefix}_t_%s', n); execute format('grant {prefix}_t_%s to {login}', n); end loop; end $$"
            ),
            &format!("do $$ begin for n in 1..251 loop execute format('drop role {prefix}_t_%s', n); end loop; end $$"),
        ),
    ]
}

fn faults_of_rights(prefix: &str, [role, schema, other]: [&str; 3]) -> Vec<Fault> {
    let fault = |check, subject: &str, fault: &str, cure: &str| -> Fault {
        let fill = |text: &str| {
            text.replace("ROLE", role).replace("OTHER", other).replace("OWN", schema).replace("GROUP", &format!("{prefix}_tenants"))
        };
        (check, fill(subject), fill(fault), fill(cure))
    };
    let right =
        |what: &str, whom: &str| fault("rights_abroad", whom, &format!("grant {what} to {whom}"), &format!("revoke {what} from {whom}"));
    vec![
        right("select on OTHER.machines", "ROLE"),
        right("select (name) on OTHER.machines", "ROLE"),
        right("usage on schema OTHER", "ROLE"),
        right("select on control.customers", "ROLE"),
        right("create on schema OWN", "ROLE"),
        right("truncate on OWN.machines", "ROLE"),
        right("delete on OWN.audit_log", "ROLE"),
        right("insert on OWN.refinery_schema_history", "ROLE"),
        right("execute on function OTHER.mark_dirty()", "ROLE"),
        right("set on parameter log_statement", "ROLE"),
        right("usage on schema control", "GROUP"),
        right("select on outbox.messages", "GROUP"),
        right("select on OWN.machines", "public"),
        right("usage on schema keystore", "public"),
        right("create on schema public", "public"),
        fault(
            "rights_abroad",
            "ROLE",
            "grant select on OWN.machines to ROLE with grant option",
            "revoke grant option for select on OWN.machines from ROLE",
        ),
        fault(
            "rights_abroad",
            "ROLE",
            "alter default privileges in schema control grant select on tables to ROLE",
            "alter default privileges in schema control revoke select on tables from ROLE",
        ),
        fault("rights_abroad", "public", "select lo_create(4711); grant select on large object 4711 to public", "select lo_unlink(4711)"),
        fault(
            "ownership",
            "ROLE",
            "alter table OWN.machines owner to ROLE",
            "alter table OWN.machines owner to current_user; grant select, insert, update, delete on OWN.machines to ROLE",
        ),
        fault(
            "foreign_keys",
            "skipped",
            "alter table OWN.skipped_runs add constraint abroad foreign key (machine_id) references OTHER.machines (id)",
            "alter table OWN.skipped_runs drop constraint abroad",
        ),
        fault("views", "OWN.peep", "create view OWN.peep as select * from OTHER.machines", "drop view OWN.peep"),
    ]
}

fn faults_of_the_database(prefix: &str) -> Vec<Fault> {
    let fault = |check, subject: &str, fault: &str, cure: &str| -> Fault {
        (check, subject.to_owned(), fault.replace("PREFIX", prefix), cure.to_owned())
    };
    let definer = "create function outbox.peek() returns bigint language sql security definer";
    vec![
        fault("security_definer", "outbox.peek", &format!("{definer} as 'select 1::bigint'"), "drop function outbox.peek"),
        fault(
            "security_definer",
            "outbox.peek",
            &format!("{definer} set search_path = public as 'select 1::bigint'"),
            "drop function outbox.peek",
        ),
        fault(
            "security_definer",
            "outbox.peek",
            &format!("{definer} set search_path = control as 'select 1::bigint'"),
            "drop function outbox.peek",
        ),
        fault(
            "open_functions",
            "outbox.peek",
            "create function outbox.peek() returns int language sql as 'select 1'",
            "drop function outbox.peek",
        ),
        fault("public_objects", "public.left_here", "create table public.left_here (n int)", "drop table public.left_here"),
        fault(
            "public_objects",
            "public.left_here",
            "create function public.left_here() returns int language sql as 'select 1'",
            "drop function public.left_here",
        ),
        fault("public_objects", "public.left_here", "create type public.left_here as enum ('a')", "drop type public.left_here"),
        fault(
            "row_security",
            "control.invoices",
            "alter table control.invoices no force row level security",
            "alter table control.invoices force row level security",
        ),
        fault(
            "row_security",
            "control.invoices",
            "alter table control.invoices disable row level security",
            "alter table control.invoices enable row level security",
        ),
        fault("row_security", "control.forgotten", "create table control.forgotten (msp_id uuid)", "drop table control.forgotten"),
        fault(
            "policies",
            "too_wide",
            "create policy too_wide on control.invoices to PREFIX_msp using (true)",
            "drop policy too_wide on control.invoices",
        ),
        fault(
            "policies",
            "too_wide",
            "create policy too_wide on control.invoices using (msp_id is not null)",
            "drop policy too_wide on control.invoices",
        ),
        fault(
            "policies",
            "too_wide",
            "create policy too_wide on outbox.messages for insert to PREFIX_tenants with check (true)",
            "drop policy too_wide on outbox.messages",
        ),
        fault(
            "views",
            "control.all_invoices",
            "create view control.all_invoices as select id from control.invoices",
            "drop view control.all_invoices",
        ),
        fault(
            "orphan_silo",
            "t_00000000000000000000000000000000",
            "create schema t_00000000000000000000000000000000",
            "drop schema t_00000000000000000000000000000000",
        ),
        fault(
            "set_config",
            "set_config",
            "grant execute on function pg_catalog.set_config(text, text, boolean) to public",
            "revoke execute on function pg_catalog.set_config(text, text, boolean) from public",
        ),
    ]
}

#[tokio::test]
async fn every_fault_that_is_planted_is_found_and_a_sound_house_has_none() {
    let test = TestDatabase::alone(4).await;
    let them = test.two_customers().await;
    assert_eq!(faults(&test).await, []);

    let prefix = test.database().installation().prefix.as_str();
    let mut missed = Vec::new();
    let mut all = faults_of_roles(prefix, [&them.acme.role_name, &them.globex.role_name]);
    all.extend(faults_of_rights(prefix, [&them.acme.role_name, &them.acme.schema_name, &them.globex.schema_name]));
    all.extend(faults_of_the_database(prefix));
    for (check, subject, fault, cure) in &all {
        missed.extend(plant(&test, check, subject, fault, cure).await);
        let rest = faults(&test).await;
        assert!(rest.is_empty(), "after {cure}: {rest:#?}");
    }
    assert!(missed.is_empty(), "{} of {} were not found: {missed:#?}", missed.len(), all.len());
    println!("{} planted faults, all found", all.len());

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
    assert_eq!(found, [(Severity::Advice, "set_config")]);
    assert_eq!(inspection.faults().count(), 0);
}
