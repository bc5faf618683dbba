//! Nothing of one tenant reaches another, whatever the way a transaction ends, and whatever a statement tries.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::time::Duration;

use granary_db::Tx;
use granary_tenants::{TenantScope, TenantTx, Tenants};
use granary_test_support::TestDatabase;
use granary_types::Classify;

/// Statements are constants in the house; a test that names another's schema makes one.
fn sql(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

async fn pid(tx: &Tx) -> i32 {
    tx.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// Leaves behind whatever a transaction can leave behind, then returns the backend's pid.
async fn make_a_mess(tx: &TenantTx) -> i32 {
    tx.execute("create temporary table machines_copy on commit drop as select id from machines", &[]).await.unwrap();
    tx.execute("create temporary table left_behind (n int)", &[]).await.unwrap();
    tx.query("select pg_advisory_lock(7)", &[]).await.unwrap();
    tx.execute("set granary.msp_id = '00000000-0000-0000-0000-000000000001'", &[]).await.unwrap();
    tx.execute("listen gossip", &[]).await.unwrap();
    tx.execute("set search_path = pg_catalog", &[]).await.unwrap();
    tx.execute("set statement_timeout = '1s'", &[]).await.unwrap();
    tx.execute(sql(format!("set role {}", tx.customer().role_name)), &[]).await.unwrap();
    tx.execute(sql(format!("declare held cursor with hold for select id from {}.machines", tx.customer().schema_name)), &[]).await.unwrap();
    pid(tx).await
}

/// Opens the other tenant's transaction and checks that it stands alone in its own place; returns the backend's pid.
async fn look_around(tenants: &Tenants, scope: &TenantScope) -> i32 {
    let tx = tenants.begin_tenant(scope).await.unwrap();
    let row = tx
        .query_one(
            "select current_schema()::text as schema, current_user::text as role, current_setting('search_path') as path,
                coalesce(current_setting('granary.msp_id', true), '') as msp,
                (select count(*) from pg_catalog.pg_class where relname = 'left_behind') as tables,
                (select count(*) from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
                (select count(*) from pg_listening_channels()) as channels,
                (select count(*) from pg_catalog.pg_cursors where is_holdable) as cursors,
                current_setting('statement_timeout') as timeout,
                (select string_agg(name, ',') from machines) as machines",
            &[],
        )
        .await
        .unwrap();
    let customer = tx.customer();
    assert_eq!(row.get::<_, String>("schema"), customer.schema_name);
    assert_eq!(row.get::<_, String>("role"), customer.role_name);
    assert_eq!(row.get::<_, String>("path"), format!("{}, pg_temp", customer.schema_name));
    assert_eq!(row.get::<_, String>("msp"), "");
    assert_eq!(row.get::<_, String>("timeout"), "5min");
    let counts: [i64; 4] = ["tables", "locks", "channels", "cursors"].map(|name| row.get(name));
    assert_eq!(counts, [0, 0, 0, 0], "tables, locks, channels, cursors");
    assert_eq!(row.get::<_, Option<String>>("machines").as_deref(), Some(customer.name.as_str()));
    let pid = pid(&tx).await;
    tx.commit().await.unwrap();
    pid
}

async fn add_machine(tenants: &Tenants, scope: &TenantScope) {
    let tx = tenants.begin_tenant(scope).await.unwrap();
    // The same id and the same vendor's id in every tenant, on purpose.
    tx.execute(
        "insert into machines (id, source_system, vendor_id, name, discovered_at)
         values ('00000000-0000-0000-0000-00000000000a', 'veeam', 'vm-1', $1, now())",
        &[&scope.customer.name],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_pool_of_one_connection_leaks_nothing_on_any_way_out() {
    let test = TestDatabase::with_connections(1).await;
    let them = test.two_customers().await;
    let (tenants, acme, globex) = (test.tenants(), them.acme_scope(), them.globex_scope());
    add_machine(tenants, &acme).await;
    add_machine(tenants, &globex).await;

    // Committed and rolled back: the very backend goes on, as good as new.
    let tx = tenants.begin_tenant(&acme).await.unwrap();
    let first = make_a_mess(&tx).await;
    tx.commit().await.unwrap();
    assert_eq!(look_around(tenants, &globex).await, first);

    let tx = tenants.begin_tenant(&acme).await.unwrap();
    assert_eq!(make_a_mess(&tx).await, first);
    tx.rollback().await.unwrap();
    assert_eq!(look_around(tenants, &globex).await, first);

    // Aborted, then rolled back: still the same backend. A commit is refused.
    let tx = tenants.begin_tenant(&acme).await.unwrap();
    make_a_mess(&tx).await;
    tx.query("select 1 / 0", &[]).await.unwrap_err();
    tx.rollback().await.unwrap();
    assert_eq!(look_around(tenants, &globex).await, first);

    let tx = tenants.begin_tenant(&acme).await.unwrap();
    make_a_mess(&tx).await;
    tx.query("select 1 / 0", &[]).await.unwrap_err();
    assert_eq!(tx.commit().await.unwrap_err().code(), "transaction_aborted");
    let second = look_around(tenants, &globex).await;
    assert_ne!(second, first, "a transaction that did not end takes its backend with it");

    // Dropped, by an early return or by a panic.
    let tx = tenants.begin_tenant(&acme).await.unwrap();
    make_a_mess(&tx).await;
    drop(tx);
    let third = look_around(tenants, &globex).await;
    assert_ne!(third, second);

    let (inside, scope) = (tenants.clone(), acme.clone());
    let panicked = tokio::spawn(async move {
        let tx = inside.begin_tenant(&scope).await.unwrap();
        make_a_mess(&tx).await;
        panic!("a handler that breaks");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    look_around(tenants, &globex).await;
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_nothing_running() {
    let test = TestDatabase::with_connections(1).await;
    let them = test.two_customers().await;
    let (tenants, acme, globex) = (test.tenants(), them.acme_scope(), them.globex_scope());
    add_machine(tenants, &globex).await;

    // In the middle of a statement, and in the middle of beginning, at many moments.
    for moment in 0..30 {
        let patience = Duration::from_micros(moment * 100);
        let work = async {
            let tx = tenants.begin_tenant(&acme).await.unwrap();
            tx.query("select pg_sleep(30)", &[]).await.unwrap();
        };
        assert!(tokio::time::timeout(patience, work).await.is_err());
        look_around(tenants, &globex).await;
    }
    let superuser = test.superuser().await;
    let mut sleeping: i64 = 1;
    for _ in 0..300 {
        let row = superuser
            .query_one("select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'", &[])
            .await
            .unwrap();
        sleeping = row.get(0);
        if sleeping == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(sleeping, 0, "an abandoned statement is cancelled on the server");
}

/// What a tenant's role tries. `OTHER` is another tenant's schema.
#[rustfmt::skip]
const ATTEMPTS: &[&str] = &[
    "select * from OTHER.machines",
    "insert into OTHER.machines (id) values (gen_random_uuid())",
    "update OTHER.machines set name = 'mine'",
    "delete from OTHER.machines",
    "truncate OTHER.machines",
    "select nextval('OTHER.dirty_id_seq')",
    "copy OTHER.machines to stdout",
    "create table OTHER.mine (n int)",
    "create table mine (id uuid references OTHER.machines (id))",
    "select pg_catalog.set_config('role', 'OTHER_ROLE', true)",
    "select pg_catalog.set_config('role', 'OTHER_ROLE', true), pg_catalog.query_to_xml('select * from OTHER.machines', true, false, '')",
    "update pg_catalog.pg_settings set setting = 'none' where name = 'role'",
    "select pg_catalog.set_config('search_path', 'OTHER', true), pg_catalog.query_to_xml('select * from machines', true, false, '')",
    "select pg_catalog.table_to_xml('OTHER.machines', true, false, '')",
    "select pg_catalog.schema_to_xml('OTHER', true, false, '')",
    "select 1 from OTHER.machines for update",
    "lock table OTHER.machines in access share mode",
    "explain select * from OTHER.machines",
    "declare peep cursor for select * from OTHER.machines",
    "prepare peep as select * from OTHER.machines",
    "select * from OTHER.dirty_id_seq",
    "select currval('OTHER.dirty_id_seq')",
    "select setval('OTHER.dirty_id_seq', 1)",
    "comment on table OTHER.machines is 'mine'",
    "grant select on OTHER.machines to public",
    "create temporary view peep as select * from OTHER.machines",
    "create temporary table peep (like OTHER.machines)",
    "create rule peep as on insert to OTHER.machines do nothing",
    "do $$ begin perform 1 from OTHER.machines; end $$",
    "select OTHER.mark_dirty()",
    "drop schema OTHER cascade",
    "alter schema OTHER rename to mine",
    "set session authorization OTHER_ROLE",
    "grant OTHER_ROLE to current_user",
    "insert into machines select * from OTHER.machines",
    "with gone as (delete from OTHER.machines returning *) select * from gone",
    "create function pg_temp.now() returns int language c as 'x', 'y'",
    "select * from pg_catalog.pg_authid",
    "select * from pg_catalog.pg_user_mapping",
    "select pg_catalog.pg_ls_dir('.')",
    "select pg_catalog.lo_export(1, '/tmp/x')",
    "select pg_catalog.pg_reload_conf()",
    "set session_replication_role = replica",
    "set log_statement = 'none'",
    "create extension file_fdw",
    "create schema mine",
    "create publication mine for all tables",
    "create event trigger mine on ddl_command_start execute function now()",
    "copy (select 1) to '/tmp/x'",
    "select pg_catalog.query_to_xml('select * from OTHER.machines', true, false, '')",
    "create table mine (n int)",
    "create table public.mine (n int)",
    "create function mine() returns int language sql as 'select 1'",
    "alter table machines add column mine int",
    "drop table machines",
    "truncate machines",
    "update usage_events set type = 'forged'",
    "delete from usage_events",
    "update audit_log set actor = 'nobody'",
    "delete from audit_log",
    "insert into refinery_schema_history (version) values (99)",
    "select * from control.customers",
    "select * from keystore.keys",
    "select * from outbox.messages",
    "delete from outbox.messages",
    "insert into outbox.messages (id, kind, role_name, payload, emitted_at) values (gen_random_uuid(), 'forged', 'OTHER_ROLE', '{}', now())",
    "insert into outbox.messages (id, kind, msp_id, payload, emitted_at) values (gen_random_uuid(), 'forged', 'OTHER_MSP', '{}', now())",
    "copy machines to program 'cat'",
    "copy machines from '/etc/passwd'",
    "select pg_catalog.pg_read_file('/etc/passwd')",
    "select pg_catalog.lo_import('/etc/passwd')",
    "create role mine",
    "create extension dblink",
    "alter role current_user superuser",
];

#[tokio::test]
async fn a_tenants_role_can_do_nothing_outside_its_schema() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let (tenants, acme, globex) = (test.tenants(), them.acme_scope(), &them.globex);
    add_machine(tenants, &them.globex_scope()).await;
    for attempt in ATTEMPTS {
        let attempt = attempt.replace("OTHER_ROLE", &globex.role_name).replace("OTHER_MSP", &them.south.id.to_string());
        let attempt = attempt.replace("OTHER", &globex.schema_name);
        let tx = tenants.begin_tenant(&acme).await.unwrap();
        let error = tx.query(sql(attempt.clone()), &[]).await.expect_err(&attempt);
        assert!(error.is_permission_denied(), "{attempt}: {error}");
        tx.rollback().await.unwrap();
    }
    println!("{} attempts, all denied", ATTEMPTS.len());
    // Its own table it may use.
    add_machine(tenants, &acme).await;
}

/// What one can see of the neighbours without touching them: what they do is hidden.
#[tokio::test]
async fn a_tenants_role_does_not_see_what_others_ask() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let neighbour = test.tenants().begin_tenant(&them.globex_scope()).await.unwrap();
    neighbour.query("select 'the secret of globex'", &[]).await.unwrap();
    add_machine(test.tenants(), &them.south_acme_scope()).await;
    test.superuser().await.batch_execute(&format!("analyze {}.machines", them.south_acme.schema_name)).await.unwrap();
    let tx = test.tenants().begin_tenant(&them.acme_scope()).await.unwrap();
    let seen: i64 = tx
        .query_one("select count(*) from pg_catalog.pg_stat_activity where query like '%secret of ' || 'globex%'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(seen, 0);
    let seen: i64 = tx
        .query_one("select count(*) from pg_catalog.pg_stats where schemaname <> current_schema() and schemaname like 't\\_%'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(seen, 0);
    let channels: i64 = tx
        .query_one("select count(*) from pg_catalog.pg_prepared_statements where statement like '%secret%globex%' and from_sql", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(channels, 0);
    neighbour.commit().await.unwrap();
}

#[tokio::test]
async fn a_temporary_table_never_hides_a_real_one() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    add_machine(test.tenants(), &them.acme_scope()).await;
    let tx = test.tenants().begin_tenant(&them.acme_scope()).await.unwrap();
    tx.execute("create temporary table machines (id uuid) on commit drop", &[]).await.unwrap();
    let count: i64 = tx.query_one("select count(*) from machines", &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
}

#[tokio::test]
async fn a_login_without_a_role_can_do_nothing() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let superuser = test.superuser().await;
    let app = test.database().installation().app_role.as_str().to_owned();
    superuser.batch_execute(&format!("set session authorization {app}")).await.unwrap();
    for table in
        [format!("{}.machines", them.acme.schema_name), "control.customers".into(), "keystore.keys".into(), "outbox.messages".into()]
    {
        let error = superuser.query(&format!("select * from {table}"), &[]).await.unwrap_err();
        assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("42501"), "{table}");
    }
}

#[tokio::test]
async fn an_msp_sees_its_own_rows_and_no_others() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tx = test.tenants().begin_msp(&them.north_scope()).await.unwrap();
    let codes: Vec<String> =
        tx.query("select code from customers order by code", &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(codes, ["ACME", "GLOBEX"]);
    let msps: i64 = tx.query_one("select count(*) from msps", &[]).await.unwrap().get(0);
    assert_eq!(msps, 1);
    let touched = tx.execute("update customers set name = 'taken' where id = $1", &[&them.south_acme.id]).await.unwrap();
    assert_eq!(touched, 0);
    let touched = tx.execute("delete from status_changes where msp_id = $1", &[&them.south.id]).await.unwrap();
    assert_eq!(touched, 0);
    tx.commit().await.unwrap();

    let forged = [
        format!("insert into customer_months (msp_id, customer_id, period, machines_backup, machines_enterprise, machines_replication, runs_completed, runs_with_warning, runs_failed, transferred_bytes, stored_bytes_average, restores_completed, tickets_opened, api_calls, updated_at) values ('{}', '{}', '2025-10', 0,0,0,0,0,0,0,0,0,0,0, now())", them.south.id, them.south_acme.id),
        format!("update customers set msp_id = '{}' where code = 'ACME'", them.south.id),
        "insert into audit_log (actor, action, subject, happened_at) values ('x', 'x', 'x', now())".to_owned(),
        "update audit_log set actor = 'x'".to_owned(),
        "delete from audit_log".to_owned(),
        "select * from sessions".to_owned(),
        "select * from installations".to_owned(),
        "select * from keystore.keys".to_owned(),
        "insert into prices (id, item, unit_price, currency, valid_from, created_at) values (gen_random_uuid(), 'machine_backup', 0, 'USD', '2025-01-01', now())".to_owned(),
        format!("select * from {}.machines", them.acme.schema_name),
        format!("insert into outbox.messages (id, kind, msp_id, payload, emitted_at) values (gen_random_uuid(), 'forged', '{}', '{{}}', now())", them.south.id),
    ];
    for attempt in forged {
        let tx = test.tenants().begin_msp(&them.north_scope()).await.unwrap();
        let error = tx.query(sql(attempt.clone()), &[]).await.expect_err(&attempt);
        assert!(error.is_permission_denied(), "{attempt}: {error}");
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_scope_of_one_msp_does_not_open_anothers_customer() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let forged = TenantScope::for_job(them.north.clone(), them.south_acme.clone(), "test");
    assert_eq!(test.tenants().begin_tenant(&forged).await.unwrap_err().code(), "scope_mismatch");
}

#[tokio::test]
async fn a_snapshot_sees_one_instant_and_writes_nothing() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let (tenants, acme) = (test.tenants(), them.acme_scope());
    let snapshot = tenants.begin_tenant_snapshot(&acme).await.unwrap();
    let count = async |tx: &TenantTx| tx.query_one("select count(*) from machines", &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(count(&snapshot).await, 0);
    add_machine(tenants, &acme).await;
    assert_eq!(count(&snapshot).await, 0);
    snapshot.execute("delete from machines", &[]).await.unwrap_err();
}

#[tokio::test]
async fn ten_tasks_among_three_tenants_mix_nothing_up() {
    let test = TestDatabase::with_connections(3).await;
    let them = test.two_customers().await;
    let scopes = [them.acme_scope(), them.globex_scope(), them.south_acme_scope()];
    let tasks = (0..10_usize).map(|task| {
        let (tenants, scopes) = (test.tenants().clone(), scopes.clone());
        tokio::spawn(async move {
            for round in 0..30_usize {
                let scope = &scopes[(task + round) % scopes.len()];
                let tx = tenants.begin_tenant(scope).await.unwrap();
                let kind = format!("task-{task}-{round}");
                tx.execute(
                    "insert into audit_log (actor, action, subject, happened_at) values ($1, $2, 'x', now())",
                    &[&scope.customer.schema_name, &kind],
                )
                .await
                .unwrap();
                if round % 5 == 0 { drop(tx) } else { tx.commit().await.unwrap() }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let mut total = 0;
    for scope in &scopes {
        let tx = test.tenants().begin_tenant(scope).await.unwrap();
        let row = tx
            .query_one("select count(*), count(*) filter (where actor = $1) from audit_log", &[&scope.customer.schema_name])
            .await
            .unwrap();
        let (all, own): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(all, own);
        total += all;
    }
    assert_eq!(total, 10 * 24);
}

/// The catalog itself: what a later migration might forget.
#[tokio::test]
async fn every_table_stands_behind_its_wall() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let superuser = test.superuser().await;
    let names = async |query: &str| {
        let rows = superuser.query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    };
    let open = names(
        "select c.relname::text from pg_class c where c.relnamespace = 'control'::regnamespace and c.relkind = 'r'
            and c.relname <> 'refinery_schema_history' and not (c.relrowsecurity and c.relforcerowsecurity)",
    );
    assert_eq!(open.await, [""; 0], "tables of the control schema without forced row-level security");
    let definers = names(
        "select p.proname::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema')",
    );
    assert_eq!(definers.await, [""; 0], "functions that run as their owner");
    let public = names("select relname::text from pg_class where relnamespace = 'public'::regnamespace");
    assert_eq!(public.await, [""; 0], "objects in public");
    let abroad = superuser
        .query(
            "select n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'v', 'S') and n.nspname not in ('pg_catalog', 'information_schema', $2) and n.nspname !~ '^pg_'
                and (has_table_privilege($1, c.oid, 'select') or has_table_privilege($1, c.oid, 'update') or has_table_privilege($1, c.oid, 'delete')
                    or (c.relname <> 'messages' and has_table_privilege($1, c.oid, 'insert')))",
            &[&them.acme.role_name, &them.acme.schema_name],
        )
        .await
        .unwrap();
    assert!(abroad.is_empty(), "{:?}", abroad.iter().map(|row| row.get::<_, String>(1)).collect::<Vec<_>>());
    let tables: i64 = superuser
        .query_one(
            "select count(*) from pg_class where relnamespace = $1::text::regnamespace and relkind = 'r' and relname <> 'refinery_schema_history'",
            &[&them.acme.schema_name],
        )
        .await
        .unwrap()
        .get(0);
    assert!(tables <= 25, "{tables} tables a tenant beside refinery's; 25 are the most");
}
