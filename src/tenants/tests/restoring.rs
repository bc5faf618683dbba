//! One customer out of a dump, beside the others; and back into its place.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use granary_foundation::Silent;
use granary_tenants::{
    Actor, CloneSource, Drops, Fleet, Inspected, NewClone, PersonalData, Restored, SiloClone, Swap, TenantScope, Tenants, TenantsError,
};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{Classify, Column, ColumnKind, CustomerCode, Dataset, ErrorKind, Source};

const ACTOR: Actor = Actor::System("test");

const MACHINES: &[Dataset] = &[Dataset {
    name: "machines",
    source: Source::Tenant,
    month_column: Some("discovered_at"),
    columns: &[Column::new("id", ColumnKind::Uuid), Column::new("discovered_at", ColumnKind::Timestamp)],
    sort: &[],
}];

fn code(text: &str) -> CustomerCode {
    text.parse().unwrap()
}

async fn fill(tenants: &Tenants, scope: &TenantScope, machines: i32) {
    let tx = tenants.begin_tenant(scope).await.unwrap();
    tx.execute("insert into machines (id, source_system, vendor_id, name, os, discovered_at) select gen_random_uuid(), 's', n::text, E'tab\\t\\\\line\\n' || n, case n % 2 when 0 then 'ü' end, '2025-03-04 05:06:07.123456Z' from generate_series(1, $1) n", &[&machines]).await.unwrap();
    tx.execute(
        "insert into tier_assignments (machine_id, tier, valid_from, reason) select id, 'backup', '2025-01-01', '' from machines",
        &[],
    )
    .await
    .unwrap();
    tx.record_audit("first", "x", &serde_json::json!({"a": "\\.\n"}), None).await.unwrap();
    tx.commit().await.unwrap();
}

/// Everything in a schema, as one number a table.
async fn digest(test: &TestDatabase, schema: &str) -> Vec<(String, i64, String)> {
    let superuser = test.superuser().await;
    let tables = "select relname::text from pg_class where relnamespace = $1::text::regnamespace and relkind = 'r' order by 1";
    let mut found = Vec::new();
    for row in superuser.query(tables, &[&schema]).await.unwrap() {
        let table: String = row.get(0);
        let sum = format!("select count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text from {schema}.{table} t");
        let sum = superuser.query_one(&sum, &[]).await.unwrap();
        found.push((table, sum.get(0), sum.get(1)));
    }
    found
}

async fn restore(tenants: &Tenants, them: &TwoCustomers, new: &str, dump: &Path, of: Option<&str>) -> Result<Restored, TenantsError> {
    let new = NewClone { parent: them.acme.id, code: &code(new), cluster: None, personal_data: PersonalData::Kept, reason: "r", days: 3 };
    tenants.restore_customer(&new, dump, of, ACTOR, &Silent::shared()).await
}

async fn count(tenants: &Tenants, clone: &SiloClone) -> i64 {
    tenants.query_clone(clone, "select count(*) as n from machines", ACTOR).await.unwrap().rows[0]["n"].as_i64().unwrap()
}

/// Other tests' roles are on the same server: what is said of these is what counts.
async fn assert_walls_stand(tenants: &Tenants, them: &TwoCustomers, clone: &SiloClone) {
    let inspection = tenants.inspect(Inspected::Isolation).await.unwrap();
    let own = [&them.acme.schema_name, &them.acme.role_name, &clone.schema_name, &clone.role_name];
    let is_about = |text: &str| own.iter().any(|name| text.contains(name.as_str()));
    let faults: Vec<_> = inspection.faults().filter(|fault| is_about(&fault.subject) || is_about(&fault.found)).collect();
    assert!(faults.is_empty() && inspection.silos == 4, "{faults:#?}");
}

/// A dump as anybody makes one.
fn pg_dump(test: &TestDatabase, arguments: &[&str]) -> PathBuf {
    let out = test.folder().join(format!("by-hand-{}", arguments.len()));
    // That of the server's own version, where the machine has several.
    let program = std::env::var_os("GRANARY_POSTGRES_BIN").map_or("pg_dump".into(), |folder| Path::new(&folder).join("pg_dump"));
    let done = Command::new(program).args(["-d", test.url().reveal(), "-f"]).arg(&out).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    out
}

#[tokio::test]
async fn a_silo_comes_out_of_its_dump_beside_the_living_and_nobody_else_is_touched() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants();
    for (scope, machines) in [(them.acme_scope(), 300), (them.globex_scope(), 20), (them.south_acme_scope(), 10)] {
        fill(tenants, &scope, machines).await;
    }
    let dump = test.folder().join("acme.dump");
    let bytes = tenants.dump_customer(&them.north, &them.acme, &dump, ACTOR).await.unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&dump).unwrap().permissions());
    assert!(bytes > 5_000 && mode & 0o077 == 0, "{bytes} {mode:o}");
    let dumped = digest(&test, &them.acme.schema_name).await;
    let tx = tenants.begin_tenant(&them.acme_scope()).await.unwrap();
    assert!(
        tx.execute("delete from tier_assignments", &[]).await.unwrap() == 300
            && tx.execute("delete from machines", &[]).await.unwrap() == 300
    );
    tx.commit().await.unwrap();
    let mut before = Vec::new();
    for customer in [&them.acme, &them.globex, &them.south_acme] {
        before.push(digest(&test, &customer.schema_name).await);
    }

    let restored = restore(tenants, &them, "BESIDE", &dump, None).await.unwrap();
    assert_eq!((restored.clone.source, restored.dumped_version), (CloneSource::Dump, Fleet::new(tenants.clone()).version()));
    let rows: i64 = dumped.iter().filter(|(table, ..)| table != "refinery_schema_history").map(|(_, rows, _)| rows).sum();
    assert_eq!(restored.rows, u64::try_from(rows).unwrap());
    // To the byte, whatever stands in a text; when a migration ran is the schema's own affair.
    let mut there = digest(&test, &restored.clone.schema_name).await;
    let history = |table: &(String, i64, String)| table.0 != "refinery_schema_history";
    there.retain(history);
    assert_eq!(there, dumped.into_iter().filter(history).collect::<Vec<_>>());
    for (customer, before) in [&them.acme, &them.globex, &them.south_acme].into_iter().zip(before) {
        assert_eq!(digest(&test, &customer.schema_name).await, before);
    }
    assert_walls_stand(tenants, &them, &restored.clone).await;
    let told = "select count(*) from control.audit_log where action in ('customer.dump', 'clone.make') and customer_id = $1";
    assert_eq!(test.superuser().await.query_one(told, &[&them.acme.id.uuid()]).await.unwrap().get::<_, i64>(0), 2);
}

#[tokio::test]
async fn what_is_no_dump_of_the_customer_is_refused_and_says_what_it_is() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants();
    fill(tenants, &them.globex_scope(), 30).await;
    let of_globex = test.folder().join("globex.dump");
    tenants.dump_customer(&them.north, &them.globex, &of_globex, ACTOR).await.unwrap();
    let text = test.folder().join("text.dump");
    std::fs::write(&text, "drop schema control cascade;").unwrap();
    let part = pg_dump(&test, &["-Fc", "-t", &format!("{}.machines", them.acme.schema_name)]);
    let rows_only = pg_dump(&test, &["-Fc", "-n", &them.acme.schema_name, "-T", "*.dirty"]);
    let stranger = format!("t_{}", "0".repeat(32));
    for (path, of, says) in [
        (&of_globex, None, "named with --of"),
        (&of_globex, Some(stranger.as_str()), "does not hold"),
        (&text, None, "pg_restore failed"),
        (&part, None, "which version"),
        (&rows_only, None, "no rows of dirty"),
        (&test.folder().join("nothing"), None, "pg_restore failed"),
    ] {
        let error = restore(tenants, &them, "BESIDE", path, of).await.unwrap_err();
        assert!(error.to_string().contains(says), "{says}: {error}");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let superuser = test.superuser().await;
    let history = format!("insert into {}.refinery_schema_history values (99, 'later', now()::text, '1')", them.acme.schema_name);
    superuser.batch_execute(&history).await.unwrap();
    let newer = pg_dump(&test, &["-Fc", "-n", &them.acme.schema_name]);
    let error = restore(tenants, &them, "BESIDE", &newer, None).await.unwrap_err();
    assert!(error.to_string().contains("newer program"), "{error}");

    // What was begun is no copy, and the code is free for a good dump. Another's dump is taken when it is named, and then it is
    // never put into the customer's place.
    let restored = restore(tenants, &them, "BESIDE", &of_globex, Some(&them.globex.schema_name)).await.unwrap();
    assert_eq!((restored.clone.source, count(tenants, &restored.clone).await), (CloneSource::Foreign, 30));
    let error = tenants.swap_clone(&them.north, &restored.clone, Swap::Forth, MACHINES, "r", ACTOR).await.unwrap_err();
    assert!(error.to_string().contains("another customer"), "{error}");
}

#[tokio::test]
async fn a_torn_dump_brings_everything_or_nothing() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants();
    fill(tenants, &them.acme_scope(), 300).await;
    let dump = test.folder().join("acme.dump");
    tenants.dump_customer(&them.north, &them.acme, &dump, ACTOR).await.unwrap();
    let whole = restore(tenants, &them, "WHOLE", &dump, None).await.unwrap();
    let bytes = std::fs::read(&dump).unwrap();
    let torn = test.folder().join("torn.dump");
    let mut refused = Vec::new();
    for tenth in 1..10 {
        std::fs::write(&torn, &bytes[..bytes.len() * tenth / 10]).unwrap();
        match restore(tenants, &them, "BESIDE", &torn, None).await {
            Err(error) => {
                assert!(error.to_string().contains("pg_restore failed") && error.kind() == ErrorKind::Invalid, "{tenth}: {error}");
                refused.push(tenth);
            }
            // Since Postgres 18 a dump ends with its list of contents once more: without that it is still whole.
            Ok(restored) => {
                assert_eq!((restored.rows, count(tenants, &restored.clone).await), (whole.rows, 300), "{tenth}");
                tenants.drop_clone(&restored.clone, Drops::Copy, "seen", ACTOR).await.unwrap();
            }
        }
    }
    assert!(refused.len() >= 4, "{refused:?}");
}

#[tokio::test]
async fn a_dump_of_everything_and_one_of_an_older_program_are_restored_too() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants();
    fill(tenants, &them.acme_scope(), 40).await;
    let everything = pg_dump(&test, &["-Fd"]);
    let restored = restore(tenants, &them, "WHOLE", &everything, None).await.unwrap();
    assert_eq!((restored.clone.source, count(tenants, &restored.clone).await), (CloneSource::Dump, 40));

    // Another installation's, at the version before ours.
    let superuser = test.superuser().await;
    let known = Fleet::known_migrations();
    let (_, before) = known.split_last().unwrap();
    let old = format!("t_{}", "1".repeat(32));
    let mut script = format!(
        "create schema {old}; set search_path = {old}; create table refinery_schema_history (version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255));"
    );
    for migration in before {
        let (version, name, checksum) = (migration.version(), migration.name(), migration.checksum());
        script += &format!(
            "{}\n;insert into refinery_schema_history values ({version}, '{name}', now()::text, '{checksum}');",
            migration.sql().unwrap()
        );
    }
    script += "insert into machines (id, source_system, vendor_id, name, discovered_at) values (gen_random_uuid(), 's', '1', 'old', now())";
    superuser.batch_execute(&script).await.unwrap();
    let dump = pg_dump(&test, &["-Fc", "-n", &old]);
    superuser.batch_execute(&format!("drop schema {old} cascade")).await.unwrap();
    let restored = restore(tenants, &them, "OLD", &dump, Some(&old)).await.unwrap();
    assert_eq!((restored.dumped_version, count(tenants, &restored.clone).await), (before.last().unwrap().version(), 1));
    assert_eq!(restored.clone.schema_version, Fleet::new(tenants.clone()).version());
    // It is what a silo of today is: the history has every version, and the newest table is there.
    let versions = format!("select count(*) from {}.refinery_schema_history", restored.clone.schema_name);
    assert_eq!(superuser.query_one(&versions, &[]).await.unwrap().get::<_, i64>(0), known.len() as i64);
}

/// The customer's log is one chain, whichever silo has its place.
async fn assert_chained(tenants: &Tenants, them: &TwoCustomers) {
    let reports = tenants.verify_audit(&them.north, Some(&them.acme), ACTOR, &Silent::shared()).await.unwrap();
    assert!(reports.len() == 2 && reports.iter().all(|report| report.faults.is_empty() && report.records > 0), "{reports:?}");
}

/// Writes until it is told to stop; returns how many transactions were committed.
async fn write(tenants: Tenants, scope: TenantScope, stop: Arc<AtomicBool>) -> i64 {
    let mut committed = 0;
    while !stop.load(Ordering::Relaxed) {
        let tx = tenants.begin_tenant(&scope).await.unwrap();
        tx.record_audit("write", "x", &serde_json::json!({}), None).await.unwrap();
        tx.execute("update machines set name = 'written', discovered_at = '2025-07-01' where vendor_id = '1'", &[]).await.unwrap();
        tx.commit().await.unwrap();
        committed += 1;
    }
    committed
}

/// Exchanges a copy for its silo, killed again and again, then once more; returns how often it was killed.
async fn swap_killed_often(tenants: &Tenants, them: &TwoCustomers, clone: &SiloClone) -> u32 {
    let mut kills = 0;
    for patience in [1, 3, 6, 10, 15, 25, 40] {
        let swapping = tenants.swap_clone(&them.north, clone, Swap::Forth, MACHINES, "by mistake", ACTOR);
        match tokio::time::timeout(Duration::from_millis(patience), swapping).await {
            Err(_) => kills += 1,
            Ok(outcome) => {
                outcome.unwrap();
                break;
            }
        }
    }
    for _ in 0..2 {
        tenants.swap_clone(&them.north, clone, Swap::Forth, MACHINES, "by mistake", ACTOR).await.unwrap();
    }
    kills
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_takes_the_place_of_its_silo_under_writes_and_gives_it_back() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants().clone();
    fill(&tenants, &them.acme_scope(), 100).await;
    let dump = test.folder().join("acme.dump");
    tenants.dump_customer(&them.north, &them.acme, &dump, ACTOR).await.unwrap();
    let clone = restore(&tenants, &them, "BESIDE", &dump, None).await.unwrap().clone;
    let globex = digest(&test, &them.globex.schema_name).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(tenants.clone(), them.acme_scope(), Arc::clone(&stop)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    // What is signed of the log that leaves does not bind the one that comes.
    assert!(tenants.checkpoint_audit(ACTOR).await.unwrap() > 0);
    // Killed anywhere, and asked for again: it is exchanged once.
    let kills = swap_killed_often(&tenants, &them, &clone).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::Relaxed);
    let committed = writer.await.unwrap();
    let replaced = tenants.get_clone(them.north.id, &clone.code).await.unwrap();
    assert!(replaced.swapped_at.is_some() && replaced.reason == "by mistake", "after {kills} kills");
    let error = tenants.drop_clone(&clone, Drops::Copy, "yesterday's copy", ACTOR).await.unwrap_err();
    assert!(error.to_string().contains("--replaced-silo"), "{error}");
    // Each write is in one of the two.
    let writes = "select count(*) filter (where action = 'write') as writes, count(*) filter (where action = 'customer.swap') as swaps from audit_log";
    let there = tenants.query_clone(&replaced, writes, ACTOR).await.unwrap();
    let tx = tenants.begin_tenant(&them.acme_scope()).await.unwrap();
    let here = tx
        .query_one("select count(*) filter (where action = 'write'), count(*) filter (where action = 'customer.swap') from audit_log", &[])
        .await
        .unwrap();
    let months = tx.query("select distinct month from dirty where dataset = 'machines' order by 1", &[]).await.unwrap();
    tx.commit().await.unwrap();
    let (here, swaps): (i64, i64) = (here.get(0), here.get(1));
    let before = there.rows[0]["writes"].as_i64().unwrap();
    assert!(here + before == committed && here > 0 && before > 0, "{here} + {before} = {committed}, after {kills} kills");
    assert!(swaps >= 1 && there.rows[0]["swaps"] == 0);
    let months: Vec<String> = months.iter().map(|row| row.get(0)).collect();
    assert!(["2025-03", "2025-07"].iter().all(|month| months.iter().any(|marked| marked == month)), "{months:?}");
    assert_eq!(digest(&test, &them.globex.schema_name).await, globex);
    assert_walls_stand(&tenants, &them, &replaced).await;
    assert_chained(&tenants, &them).await;
    let drift = Fleet::new(tenants.clone()).find_drift(None).await.unwrap();
    assert!(drift.checked == 3 && drift.drifted.is_empty(), "{drift:?}");

    // And back: the writes that the copy kept are the customer's again.
    assert!(tenants.swap_clone(&them.north, &replaced, Swap::Back, MACHINES, "it was right", ACTOR).await.unwrap().is_some());
    assert!(tenants.swap_clone(&them.north, &replaced, Swap::Back, MACHINES, "it was right", ACTOR).await.unwrap().is_none());
    let tx = tenants.begin_tenant(&them.acme_scope()).await.unwrap();
    let back: i64 = tx.query_one("select count(*) from audit_log where action = 'write'", &[]).await.unwrap().get(0);
    tx.commit().await.unwrap();
    assert_eq!(back, before);
    assert_chained(&tenants, &them).await;
    let left = "select count(*) from pg_namespace where nspname like '%_between'";
    assert_eq!(test.superuser().await.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
}
