//! Silos move between clusters while their customers work.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use granary_db::outbox::{self, Arrived};
use granary_foundation::{Event, Silent};
use granary_tenants::{Actor, Cluster, Residency, TenantScope, Tenants, TenantsError};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{Classify, ErrorKind};
use serde::{Deserialize, Serialize};

const ACTOR: Actor = Actor::System("test");

/// NORTH's ACME with some rows, and a second cluster.
async fn house(test: &TestDatabase) -> (TwoCustomers, Cluster, Tenants) {
    let them = test.two_customers().await;
    let cluster = test.cluster("eu1", "eu").await;
    let tenants = test.tenants_over(vec![cluster.clone()]);
    let tx = tenants.begin_tenant(&them.acme_scope()).await.unwrap();
    tx.execute("insert into machines (id, source_system, vendor_id, name, discovered_at) select gen_random_uuid(), 's', n::text, 'machine ' || n, now() from generate_series(1, 500) n", &[]).await.unwrap();
    tx.execute(
        "insert into tier_assignments (machine_id, tier, valid_from, reason) select id, 'backup', '2025-01-01', 'start' from machines",
        &[],
    )
    .await
    .unwrap();
    tx.execute("insert into storage_days select id, 5, '2025-02-03', false from machines", &[]).await.unwrap();
    tx.record_audit("first", "x", &serde_json::json!({"a": 1}), None).await.unwrap();
    tx.commit().await.unwrap();
    (them, cluster, tenants)
}

/// Counts of everything that the writer below changes, by which a lost or doubled row shows.
async fn sums(tenants: &Tenants, scope: &TenantScope) -> (i64, i64, i64, i64) {
    let tx = tenants.begin_tenant(scope).await.unwrap();
    let row = tx
        .query_one(
            "select (select count(*) from audit_log), (select coalesce(sum(amount), 0)::bigint from activity),
                 (select count(*) from machines), (select count(*) from tier_assignments)",
            &[],
        )
        .await
        .unwrap();
    tx.commit().await.unwrap();
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

/// Adds, changes and deletes until it is told to stop; returns how many transactions were committed.
async fn write(tenants: Tenants, scope: TenantScope, stop: Arc<AtomicBool>, longest_ms: Arc<AtomicI64>) -> i64 {
    let mut committed = 0;
    while !stop.load(Ordering::Relaxed) {
        let started = std::time::Instant::now();
        let tx = tenants.begin_tenant(&scope).await.unwrap();
        tx.record_audit("write", "x", &serde_json::json!({}), None).await.unwrap();
        tx.execute("insert into activity (source, service_on, kind, amount) values ('s', '2025-01-01', 'api_call', 1) on conflict (service_on, kind, source) do update set amount = activity.amount + 1", &[]).await.unwrap();
        tx.execute("delete from tier_assignments where machine_id = (select machine_id from tier_assignments limit 1)", &[]).await.unwrap();
        tx.execute("update machines set name = name || '!' where id = (select id from machines order by random() limit 1)", &[])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        committed += 1;
        longest_ms.fetch_max(i64::try_from(started.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
    }
    committed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silo_moves_under_writes_and_nothing_is_lost() {
    let test = TestDatabase::new().await;
    let (them, cluster, tenants) = house(&test).await;
    let (stop, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let writers: Vec<_> =
        (0..2).map(|_| tokio::spawn(write(tenants.clone(), them.acme_scope(), Arc::clone(&stop), Arc::clone(&longest)))).collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let report = tenants.move_customer(them.acme.id, "eu1", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    stop.store(true, Ordering::Relaxed);
    let mut committed = 0;
    for writer in writers {
        committed += writer.await.unwrap();
    }
    assert!(report.pause_ms.unwrap() < 2_000 && longest.load(Ordering::Relaxed) < 2_500, "{report:?} {longest:?}");
    // The writers' scope still says the old place; it leads to the new one.
    let (audit, activity, machines, tiers) = sums(&tenants, &them.acme_scope()).await;
    assert_eq!((audit, activity, machines), (committed + 1, committed, 500), "{report:?}");
    assert_eq!(tiers, (500 - committed).max(0));
    assert_eq!(tenants.get_customer(them.acme.id).await.unwrap().cluster, "eu1");

    // Nothing of it is left at the old place, nor is anything open there.
    let (home, there) = (test.superuser().await, test.superuser_of(&cluster).await);
    let schemas = "select count(*) from pg_namespace where nspname like $1 || '%'";
    assert_eq!(home.query_one(schemas, &[&them.acme.schema_name]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(there.query_one(schemas, &[&them.acme.schema_name]).await.unwrap().get::<_, i64>(0), 1);
    let triggers = "select count(*) from pg_trigger where tgname like 'moving%' or (not tgisinternal and tgenabled = 'D')";
    assert_eq!(there.query_one(triggers, &[]).await.unwrap().get::<_, i64>(0), 0);
    let deferrable = "select count(*) from pg_constraint where condeferrable";
    assert_eq!(there.query_one(deferrable, &[]).await.unwrap().get::<_, i64>(0), 0);
    let error = test.tenants().begin_tenant(&TenantScope::for_job(them.north.clone(), them.acme.clone(), "test")).await.unwrap_err();
    assert_eq!(error.code(), "cluster_not_found", "a process that does not know the cluster says so");

    // It goes on there: triggers mark, and it can come back.
    let tx = tenants.begin_tenant(&them.acme_scope()).await.unwrap();
    assert!(tx.execute("delete from dirty", &[]).await.unwrap() > 0);
    tx.execute("update machines set name = 'x'", &[]).await.unwrap();
    assert!(tx.query_one("select count(*) from dirty", &[]).await.unwrap().get::<_, i64>(0) > 0);
    tx.commit().await.unwrap();
    assert!(tenants.move_customer(them.acme.id, "local", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap().is_some());
    assert!(tenants.move_customer(them.acme.id, "local", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap().is_none());
    assert_eq!(sums(&tenants, &them.acme_scope()).await.0, committed + 1);
    assert_eq!(sums(test.tenants(), &them.globex_scope()).await, (0, 0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_killed_anywhere_is_finished_by_the_next() {
    let test = TestDatabase::new().await;
    let (them, _, tenants) = house(&test).await;
    let (stop, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let writer = tokio::spawn(write(tenants.clone(), them.acme_scope(), Arc::clone(&stop), longest));
    let mut kills = 0_u64;
    let mut places = vec!["eu1", "local", "eu1"];
    while let Some(to) = places.pop() {
        let mut patience = 20 + 7 * (places.len() as u64);
        loop {
            let progress = Silent::shared();
            let moving = tenants.move_customer(them.acme.id, to, Residency::Kept, ACTOR, &progress);
            match tokio::time::timeout(Duration::from_millis(patience), moving).await {
                Ok(outcome) => break drop(outcome.unwrap()),
                Err(_) => {
                    kills += 1;
                    patience += 35;
                }
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let committed = writer.await.unwrap();
    assert!(kills > 5, "it was killed {kills} times");
    let (audit, activity, machines, _) = sums(&tenants, &them.acme_scope()).await;
    assert_eq!((audit, activity, machines), (committed + 1, committed, 500), "after {kills} kills");
    let reports = tenants.verify_audit(&them.north, Some(&them.acme), ACTOR, &Silent::shared()).await.unwrap();
    assert!(reports[1].records == committed + 1 && reports[1].faults.is_empty(), "{reports:?}");
    let superuser = test.superuser().await;
    let left = superuser.query_one("select count(*) from control.moves", &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_nobody_calls_again_is_finished_by_the_house() {
    let test = TestDatabase::new().await;
    let (them, cluster, tenants) = house(&test).await;
    let (stop, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let writer = tokio::spawn(write(tenants.clone(), them.acme_scope(), Arc::clone(&stop), longest));
    let superuser = test.superuser().await;
    let (mut kills, mut places) = (0, ["eu1", "local"].into_iter().cycle());
    for patience in [30, 60, 90, 120, 150, 180, 210, 240] {
        let progress = Silent::shared();
        let moving = tenants.move_customer(them.acme.id, places.next().unwrap(), Residency::Kept, ACTOR, &progress);
        kills += i32::from(tokio::time::timeout(Duration::from_millis(patience), moving).await.is_err());
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        // The server lets go of the lock when it sees that the connection is gone.
        while superuser.query_one("select count(*) from control.moves", &[]).await.unwrap().get::<_, i64>(0) > 0 {
            assert!(tenants.finish_moves(ACTOR).await.unwrap().is_empty() && std::time::Instant::now() < deadline);
        }
    }
    tenants.move_customer(them.acme.id, "local", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let committed = writer.await.unwrap();
    let (audit, activity, machines, _) = sums(&tenants, &them.acme_scope()).await;
    assert_eq!((audit, activity, machines), (committed + 1, committed, 500), "after {kills} kills");
    assert!(kills > 2, "it was killed {kills} times");

    // One that somebody works on is left to them.
    let open =
        "insert into control.moves (customer_id, msp_id, from_cluster, to_cluster, started_at) values ($1, $2, 'local', 'eu1', now())";
    superuser.execute(open, &[&them.acme.id.uuid(), &them.north.id.uuid()]).await.unwrap();
    superuser.execute("select pg_advisory_lock(hashtextextended($1, 0))", &[&them.acme.schema_name]).await.unwrap();
    assert!(tenants.finish_moves(ACTOR).await.unwrap().is_empty());
    assert_eq!(tenants.get_customer(them.acme.id).await.unwrap().cluster, "local");
    drop(superuser);
    while tenants.get_customer(them.acme.id).await.unwrap().cluster != "eu1" {
        assert!(tenants.finish_moves(ACTOR).await.unwrap().is_empty());
    }
    let left = "select count(*) from pg_namespace where nspname like $1 || '\\_%'";
    for place in [test.superuser().await, test.superuser_of(&cluster).await] {
        assert_eq!(place.query_one(left, &[&them.acme.schema_name]).await.unwrap().get::<_, i64>(0), 0);
    }
}

#[tokio::test]
async fn a_fenced_silo_waits_for_the_switch_and_is_finished_forward() {
    let test = TestDatabase::new().await;
    let (them, cluster, tenants) = house(&test).await;
    // As if killed between the fence and the switch.
    tenants.move_customer(them.acme.id, "eu1", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap();
    let (home, there) = (test.superuser().await, test.superuser_of(&cluster).await);
    let schema = &them.acme.schema_name;
    there.batch_execute(&format!("alter schema {schema} rename to {schema}_arriving")).await.unwrap();
    home.batch_execute(&format!("create schema {schema}_left")).await.unwrap();
    home.batch_execute("set search_path = control").await.unwrap();
    home.execute("update control.customers set cluster = 'local' where id = $1", &[&them.acme.id.uuid()]).await.unwrap();
    home.execute(
        "insert into control.moves (customer_id, msp_id, from_cluster, to_cluster, started_at) values ($1, $2, 'local', 'eu1', now())",
        &[&them.acme.id.uuid(), &them.north.id.uuid()],
    )
    .await
    .unwrap();

    let waiting = {
        let (tenants, scope) = (tenants.clone(), them.acme_scope());
        tokio::spawn(async move { sums(&tenants, &scope).await })
    };
    let error = tenants.move_customer(them.acme.id, "local", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "customer_moves_elsewhere"));
    let report = tenants.move_customer(them.acme.id, "eu1", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap().unwrap();
    assert_eq!((report.rows_copied, report.pause_ms), (None, None));
    assert_eq!(waiting.await.unwrap().2, 500);
    assert_eq!(
        home.query_one("select count(*) from pg_namespace where nspname like $1", &[&format!("{schema}%")]).await.unwrap().get::<_, i64>(0),
        0
    );
}

#[derive(Debug, Serialize, Deserialize)]
struct Counted {}

impl Event for Counted {
    const KIND: &'static str = "test.counted";
}

#[tokio::test]
async fn news_comes_home_from_every_cluster_once() {
    let test = TestDatabase::new().await;
    let (them, _, tenants) = house(&test).await;
    tenants.move_customer(them.acme.id, "eu1", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap();
    let tx = tenants.begin_tenant(&them.acme_scope()).await.unwrap();
    tx.emit(&Counted {}).await.unwrap();
    tx.commit().await.unwrap();
    let from = tenants.clusters().get("eu1").await.unwrap();
    let seen = std::sync::Mutex::new(Vec::new());
    let note = |event: &Arrived| {
        seen.lock().unwrap().push((event.msp, event.customer));
        Vec::new()
    };
    assert_eq!(outbox::relay_from(from, tenants.db(), &note).await.unwrap(), 1);
    assert_eq!(outbox::relay_from(from, tenants.db(), &note).await.unwrap(), 0);
    assert_eq!(seen.into_inner().unwrap(), [(Some(them.north.id), Some(them.acme.id))]);
}

#[tokio::test]
async fn a_region_decides_the_cluster_and_a_wrong_database_is_refused() {
    let test = TestDatabase::new().await;
    let (them, cluster, tenants) = house(&test).await;
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let contract =
        granary_tenants::NewContract::new(jiff::civil::date(2025, 1, 1), granary_types::Currency::USD, granary_types::Tier::Backup, 10);
    let new = granary_tenants::NewCustomer {
        region: "eu".to_owned(),
        ..granary_tenants::NewCustomer::new(them.north.id, "UMBRELLA".parse().unwrap(), "Umbrella", zone, contract)
    };
    let placed = tenants.provision_customer(&new).await.unwrap();
    assert_eq!(placed.cluster, "eu1");
    let scope = TenantScope::for_job(them.north.clone(), placed, "test");
    assert_eq!(sums(&tenants, &scope).await, (0, 0, 0, 0));
    let standing = tenants.list_clusters().await.unwrap();
    assert_eq!(standing.iter().map(|cluster| (cluster.name.as_str(), cluster.silos)).collect::<Vec<_>>(), [("local", 3), ("eu1", 1)]);

    // It stays in its region, until somebody says that it may leave.
    let error = tenants.move_customer(scope.customer.id, "local", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap_err();
    assert!(error.to_string().contains("region eu") && error.to_string().contains("--change-region"), "{error}");
    assert!(tenants.move_customer(scope.customer.id, "local", Residency::Changed, ACTOR, &Silent::shared()).await.unwrap().is_some());
    let moved = tenants.get_customer(scope.customer.id).await.unwrap();
    assert_eq!((moved.cluster.as_str(), moved.region.as_str()), ("local", "local"));

    let renamed = Cluster { name: "us9".to_owned(), ..cluster };
    let confused = test.tenants_over(vec![renamed]);
    let error = confused.move_customer(them.acme.id, "us9", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap_err();
    assert!(matches!(&error, TenantsError::Db(error) if error.code() == "cluster_mismatch"), "{error}");
    let error = tenants.move_customer(them.acme.id, "mars", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap_err();
    assert_eq!(error.code(), "cluster_not_found");
}

/// Citus distributes schemas; what would tie one to another place stands in no migration.
#[tokio::test]
async fn a_silo_keeps_the_rules_of_schema_based_sharding() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let superuser = test.superuser().await;
    let schema = &them.acme.schema_name;
    let offences = superuser
        .query(
            "select 'foreign key out of the schema: ' || conname from pg_constraint c join pg_class t on t.oid = c.confrelid
                 where c.connamespace = $1::text::regnamespace and c.contype = 'f' and t.relnamespace <> c.connamespace
             union all
             select 'not a plain table: ' || relname from pg_class
                 where relnamespace = $1::text::regnamespace and relkind in ('p', 'f', 'm', 'v')
             union all
             select 'inherits: ' || inhrelid::regclass from pg_inherits join pg_class c on c.oid = inhrelid
                 where c.relnamespace = $1::text::regnamespace and c.relkind = 'r'
             union all
             select 'unlogged: ' || relname from pg_class where relnamespace = $1::text::regnamespace and relpersistence <> 'p'
             union all
             select 'names another schema: ' || proname from pg_proc
                 where pronamespace = $1::text::regnamespace and prosrc ~ '\\m(control|outbox|keystore|public)\\.'
             union all
             select 'without a primary key: ' || relname from pg_class c
                 where relnamespace = $1::text::regnamespace and relkind = 'r'
                     and not exists (select from pg_index where indrelid = c.oid and indisprimary)
             union all
             select 'a type of its own: ' || typname from pg_type
                 where typnamespace = $1::text::regnamespace and typtype in ('e', 'd')",
            &[schema],
        )
        .await
        .unwrap();
    let offences: Vec<String> = offences.iter().map(|row| row.get(0)).collect();
    assert!(offences.is_empty(), "{offences:#?}");
}
