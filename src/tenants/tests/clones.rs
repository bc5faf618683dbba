//! Copies of silos: made while the customer works, walled off, without names where names are not wanted, and gone in the end.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use granary_foundation::Silent;
use granary_tenants::{
    Actor, CloneSource, Drops, Inspected, NewClone, NewContract, NewCustomer, PersonalData, Residency, SiloClone, Swap, TenantScope,
    Tenants, TenantsError,
};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{Classify, Column, ColumnKind, Currency, CustomerCode, CustomerId, Dataset, ErrorKind, Source, Tier};
use granary_vault::Owner;
use jiff::ToSpan;

const ACTOR: Actor = Actor::System("test");

const MACHINES: &[Dataset] = &[Dataset {
    name: "machines",
    source: Source::Tenant,
    month_column: None,
    columns: &[
        Column::new("id", ColumnKind::Uuid),
        Column::new("source_system", ColumnKind::Text),
        Column::new("vendor_id", ColumnKind::Text).personal(),
        Column::new("name", ColumnKind::Text).personal(),
        Column::new("discovered_at", ColumnKind::Timestamp),
    ],
    sort: &[],
}];

fn code(text: &str) -> CustomerCode {
    text.parse().unwrap()
}

async fn fill(tenants: &Tenants, scope: &TenantScope, machines: i32) {
    let tx = tenants.begin_tenant(scope).await.unwrap();
    tx.execute("insert into machines (id, source_system, vendor_id, name, os, discovered_at) select gen_random_uuid(), 's', 'wendy-' || n, 'laptop of wendy ' || n % 10, 'wendows', now() from generate_series(1, $1) n", &[&machines]).await.unwrap();
    tx.execute("insert into tier_assignments (machine_id, tier, valid_from, reason) select id, 'backup', '2025-01-01', 'wendy asked' from machines", &[]).await.unwrap();
    tx.record_audit("first", "wendy", &serde_json::json!({"by": "wendy"}), None).await.unwrap();
    tx.commit().await.unwrap();
}

async fn make(tenants: &Tenants, them: &TwoCustomers, new: &str, personal_data: PersonalData<'_>) -> Result<SiloClone, TenantsError> {
    let new = NewClone { parent: them.acme.id, code: &code(new), cluster: None, personal_data, reason: "ticket 7", days: 3 };
    tenants.clone_customer(&them.north, &new, ACTOR, &Silent::shared()).await
}

/// What a copy answers, as JSON.
async fn ask(tenants: &Tenants, clone: &SiloClone, sql: &str) -> Result<serde_json::Value, TenantsError> {
    let answer = tenants.query_clone(clone, sql, ACTOR).await?;
    Ok(serde_json::Value::Array(answer.rows.into_iter().map(serde_json::Value::Object).collect()))
}

/// Schemas, roles and rows that have to do with a copy.
async fn traces(test: &TestDatabase, clone: &SiloClone) -> (i64, i64, i64) {
    let sql = "select (select count(*) from pg_namespace where nspname = $1), (select count(*) from pg_roles where rolname = $2),
        (select count(*) from control.clones where schema_name = $1)";
    let row = test.superuser().await.query_one(sql, &[&clone.schema_name, &clone.role_name]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silo_is_copied_while_its_customer_writes_and_the_copy_is_one_instant_of_it() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants().clone();
    fill(&tenants, &them.acme_scope(), 2_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (tenants, scope, stop) = (tenants.clone(), them.acme_scope(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut committed = 0;
            while !stop.load(Ordering::Relaxed) {
                let tx = tenants.begin_tenant(&scope).await.unwrap();
                tx.record_audit("write", "x", &serde_json::json!({}), None).await.unwrap();
                tx.execute("insert into activity (source, service_on, kind, amount) values ('s', '2025-01-01', 'api_call', 1) on conflict (service_on, kind, source) do update set amount = activity.amount + 1", &[]).await.unwrap();
                tx.commit().await.unwrap();
                committed += 1;
            }
            committed
        })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let clone = make(&tenants, &them, "STAGING", PersonalData::Kept).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::Relaxed);
    let committed: i64 = writer.await.unwrap();

    let sums = "select (select count(*) from audit_log where action = 'write') as audit, (select coalesce(sum(amount), 0)::bigint from activity) as activity,
        (select count(*) from machines) as machines";
    let there = ask(&tenants, &clone, sums).await.unwrap();
    let (audit, activity) = (there[0]["audit"].as_i64().unwrap(), there[0]["activity"].as_i64().unwrap());
    assert!(audit == activity && (1..=committed).contains(&audit), "{there} of {committed}");
    assert_eq!(there[0]["machines"], 2_000);
    let tx = tenants.begin_tenant(&them.acme_scope()).await.unwrap();
    let row = tx.query_one("select (select count(*) from audit_log where action = 'write'), (select count(*) from audit_log where action = 'customer.clone' and reason = 'ticket 7')", &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (committed, 1), "the customer sees that it was read");

    // It is nobody's customer, and whole.
    assert_eq!(tenants.list_customers(them.north.id).await.unwrap().len(), 2);
    let inspection = tenants.inspect(Inspected::Isolation).await.unwrap();
    // Other tests' roles are on the same server.
    let own = [&them.acme.schema_name, &them.acme.role_name, &clone.schema_name, &clone.role_name];
    let is_about = |text: &str| own.iter().any(|name| text.contains(name.as_str()));
    let faults: Vec<_> = inspection.faults().filter(|fault| is_about(&fault.subject) || is_about(&fault.found)).collect();
    assert!(faults.is_empty() && inspection.silos == 4, "{faults:#?}");
    let state = "select count(*) from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace = $1::text::regnamespace and not t.tgisinternal and t.tgenabled = 'D'
        union all select count(*) from pg_constraint where connamespace = $1::text::regnamespace and condeferrable";
    let open = test.superuser().await.query(state, &[&clone.schema_name]).await.unwrap();
    assert!(open.iter().all(|row| row.get::<_, i64>(0) == 0), "it is as usable as its parent");
    assert!(test.keys().present(Owner::Customer(clone.id)).await.unwrap().into_iter().all(|is_there| is_there));
    let listed = tenants.list_clones(them.north.id, Some(&code("ACME"))).await.unwrap();
    assert!(listed.len() == 1 && listed[0].is_complete() && listed[0].source == CloneSource::Silo && listed[0].has_personal_data);
    assert!(tenants.clone_sizes(&listed).await.unwrap()[0].1 > 500_000);
    assert!(tenants.list_clones(them.south.id, None).await.unwrap().is_empty());

    // Its own sequence goes on where its parent's was, and dropped it leaves nothing.
    let next = format!("insert into {}.audit_log (actor, action, subject, happened_at) values ('a', 'b', 'c', now())", clone.schema_name);
    test.superuser().await.batch_execute(&next).await.unwrap();
    tenants.drop_clone(&clone, Drops::Copy, "solved", ACTOR).await.unwrap();
    assert_eq!(traces(&test, &clone).await, (0, 0, 0));
    assert!(test.keys().present(Owner::Customer(clone.id)).await.unwrap().into_iter().all(|is_there| !is_there));
    assert_eq!(tenants.get_clone(them.north.id, &code("STAGING")).await.unwrap_err().code(), "clone_not_found");
    let log = "select action, reason from control.audit_log where action like 'clone.%' order by happened_at, id";
    let log: Vec<(String, String)> =
        test.superuser().await.query(log, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let told = |action: &str, reason: &str| (action.to_owned(), reason.to_owned());
    assert_eq!(log, [told("clone.make", "ticket 7"), told("clone.query", "ticket 7"), told("clone.drop", "solved")]);
}

#[tokio::test]
async fn a_copy_without_personal_data_names_nobody_and_still_joins() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants();
    fill(tenants, &them.acme_scope(), 50).await;
    let clone = make(tenants, &them, "STAGING", PersonalData::Replaced(MACHINES)).await.unwrap();
    assert!(!clone.has_personal_data);
    let found = ask(tenants, &clone, "select count(*) as machines, count(distinct name) as names, count(distinct vendor_id) as vendors, count(os) as os, count(*) filter (where name ~ '^p-[0-9a-f]{16}$') as pseudonyms, count(*) filter (where source_system = 's') as plain from machines").await.unwrap();
    let row = &found[0];
    assert_eq!((&row["machines"], &row["names"], &row["vendors"], &row["pseudonyms"]), (&50.into(), &10.into(), &50.into(), &50.into()));
    assert_eq!((&row["os"], &row["plain"]), (&0.into(), &50.into()), "what is described stays, what is not goes");
    let superuser = test.superuser().await;
    let tables = "select format('%I.%I', $1::text, relname) from pg_class where relnamespace = $1::text::regnamespace and relkind = 'r' and relname <> 'refinery_schema_history'";
    for table in superuser.query(tables, &[&clone.schema_name]).await.unwrap() {
        let table: String = table.get(0);
        let named = superuser
            .query_one(&format!("select count(*) filter (where t::text like '%wendy%'), count(*) from {table} t"), &[])
            .await
            .unwrap();
        let (named, rows): (i64, i64) = (named.get(0), named.get(1));
        assert!(named == 0 && (rows == 0 || table.ends_with(".machines")), "{table}: {named} of {rows}");
    }
    // Another copy has other pseudonyms: what one tells cannot be looked up in the other.
    let other = make(tenants, &them, "OTHER", PersonalData::Replaced(MACHINES)).await.unwrap();
    let names = "select distinct name from machines order by name";
    assert_ne!(ask(tenants, &clone, names).await.unwrap(), ask(tenants, &other, names).await.unwrap());
}

#[tokio::test]
async fn a_copy_that_is_killed_anywhere_is_made_by_the_next_call() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants();
    fill(tenants, &them.acme_scope(), 500).await;
    let mut kills = 0;
    let mut patience = Duration::from_millis(3);
    let clone = loop {
        match tokio::time::timeout(patience, make(tenants, &them, "STAGING", PersonalData::Kept)).await {
            Ok(clone) => break clone.unwrap(),
            Err(_) => {
                kills += 1;
                patience += Duration::from_millis(9);
                if let Ok(clone) = tenants.get_clone(them.north.id, &code("STAGING")).await {
                    assert!(!clone.is_complete() || kills > 3);
                    if !clone.is_complete() {
                        assert_eq!(ask(tenants, &clone, "select 1").await.unwrap_err().code(), "clone_unfinished");
                    }
                }
            }
        }
    };
    assert!(kills > 3, "it was killed {kills} times");
    let counts =
        ask(tenants, &clone, "select (select count(*) from machines) as machines, (select count(*) from tier_assignments) as tiers")
            .await
            .unwrap();
    assert_eq!((&counts[0]["machines"], &counts[0]["tiers"]), (&500.into(), &500.into()), "after {kills} kills");
    let schemas = "select count(*) from pg_namespace where nspname ~ '^t_[0-9a-f]{32}'";
    assert_eq!(test.superuser().await.query_one(schemas, &[]).await.unwrap().get::<_, i64>(0), 4);
    let error = make(tenants, &them, "STAGING", PersonalData::Kept).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "already_there"));
    let contract = NewContract::new(jiff::civil::date(2025, 1, 1), Currency::USD, Tier::Backup, 500);
    let mut customer = NewCustomer::new(them.north.id, code("STAGING"), "Somebody", them.north.time_zone.clone(), contract);
    assert_eq!(tenants.provision_customer(&customer).await.unwrap_err().code(), "already_there");
    customer.region = "mars".to_owned();
    assert_eq!(tenants.provision_customer(&customer).await.unwrap_err().code(), "region_not_served");
    for taken in ["ACME", "GLOBEX"] {
        assert_eq!(make(tenants, &them, taken, PersonalData::Kept).await.unwrap_err().code(), "already_there");
    }
    // Killed while it is dropped it is dropped by the next.
    for patience in [1, 4, 8, 16, 32] {
        if let Ok(outcome) =
            tokio::time::timeout(Duration::from_millis(patience), tenants.drop_clone(&clone, Drops::Copy, "solved", ACTOR)).await
        {
            outcome.unwrap();
        }
    }
    tenants.drop_clone(&clone, Drops::Copy, "solved", ACTOR).await.unwrap();
    assert_eq!(traces(&test, &clone).await, (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_calls_for_one_code_the_copy_is_what_the_first_to_end_made_of_it() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants();
    fill(tenants, &them.acme_scope(), 200).await;
    for (turn, lead_ms) in [0, 1, 5, 20, 60, 120].into_iter().enumerate() {
        let later = async |personal_data| {
            tokio::time::sleep(Duration::from_millis(lead_ms)).await;
            make(tenants, &them, "RACE", personal_data).await
        };
        let (without, with) = if turn % 2 == 0 {
            tokio::join!(make(tenants, &them, "RACE", PersonalData::Replaced(MACHINES)), later(PersonalData::Kept))
        } else {
            tokio::join!(later(PersonalData::Replaced(MACHINES)), make(tenants, &them, "RACE", PersonalData::Kept))
        };
        let [clone, other] = if without.is_ok() { [without, with] } else { [with, without] };
        let (clone, error) = (clone.unwrap(), other.unwrap_err());
        assert_eq!(error.code(), "already_there");
        let entered = tenants.get_clone(them.north.id, &code("RACE")).await.unwrap();
        let named = ask(tenants, &clone, "select count(*) as n from machines where name like '%wendy%'").await.unwrap();
        assert_eq!((clone.has_personal_data, entered.has_personal_data), (named[0]["n"] == 200, named[0]["n"] == 200), "{lead_ms} ms");
        assert_eq!((clone.expires_at, clone.created_at), (entered.expires_at, entered.created_at));
        tenants.drop_clone(&clone, Drops::Copy, "seen", ACTOR).await.unwrap();
    }
}

#[tokio::test]
async fn a_question_to_a_copy_reaches_that_copy_and_changes_nothing() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants();
    fill(tenants, &them.acme_scope(), 20).await;
    let clone = make(tenants, &them, "STAGING", PersonalData::Kept).await.unwrap();
    let answer = tenants.query_clone(&clone, "select 7 as z, null as a, 'x\u{2}y\n\"' as m -- done;", ACTOR).await.unwrap();
    assert_eq!(answer.columns, ["z", "a", "m"], "in the order of the question");
    assert_eq!(serde_json::to_value(&answer.rows).unwrap(), serde_json::json!([{"z": 7, "a": null, "m": "x\u{2}y\n\""}]));
    let parent = format!("select name from {}.machines", them.acme.schema_name);
    let other = make(tenants, &them, "OTHER", PersonalData::Kept).await.unwrap();
    for attempt in [
        parent.as_str(),
        &format!("select name from {}.machines", other.schema_name),
        "select * from control.customers",
        "select 1) as x) to stdout; drop table machines; copy (select (1",
        "delete from machines returning id",
        "with gone as (delete from machines returning id) select * from gone",
        "select set_config('role', 'none', true)",
        "select nextval('audit_log_id_seq')",
        "select pg_read_file('/etc/hostname')",
        "select lo_from_bytea(0, convert_to((select string_agg(name, ',') from machines), 'utf8'))",
        "select lo_create(0)",
        "select lo_creat(-1)",
        "select 1 as a, 2 as a",
        "select 1; select 2",
        "",
    ] {
        let error = ask(tenants, &clone, attempt).await.map(|answer| panic!("{attempt}: {answer}")).unwrap_err();
        assert!(!error.to_string().contains("wendy"), "{attempt}: {error}");
    }
    assert!(ask(tenants, &clone, "select n from generate_series(1, 100001) n").await.unwrap_err().to_string().contains("100,000"));
    assert_eq!(ask(tenants, &clone, "select count(*) as n from machines;").await.unwrap()[0]["n"], 20);
    // Nobody who serves a customer can become the copy, and nobody who serves copies a customer.
    let buckets =
        "select count(*) from pg_auth_members m join pg_roles login on login.oid = m.member join pg_roles role on role.oid = m.roleid
        where role.rolname = any ($1) and login.rolname ~ '_b1000000$'";
    let roles = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let superuser = test.superuser().await;
    let served = superuser.query_one(buckets, &[&roles(&[&clone.role_name, &other.role_name])]).await.unwrap().get::<_, i64>(0);
    let customers =
        superuser.query_one(buckets, &[&roles(&[&them.acme.role_name, &them.globex.role_name])]).await.unwrap().get::<_, i64>(0);
    assert_eq!((served, customers), (2, 0));
}

#[tokio::test]
async fn copies_end_when_their_days_are_over_and_forsaken_ones_after_a_day() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants();
    let short = make(tenants, &them, "SHORT", PersonalData::Kept).await.unwrap();
    let forsaken = loop {
        // As if killed: entered and never completed.
        let _ = tokio::time::timeout(Duration::from_millis(15), make(tenants, &them, "FORSAKEN", PersonalData::Kept)).await;
        if let Ok(clone) = tenants.get_clone(them.north.id, &code("FORSAKEN")).await {
            test.superuser().await.execute("update control.clones set schema_version = 0 where code = 'FORSAKEN'", &[]).await.unwrap();
            break clone;
        }
    };
    let now = test.clock().now();
    assert!(tenants.end_clones(ACTOR).await.unwrap().is_empty());
    assert_eq!(tenants.list_clones(them.north.id, None).await.unwrap().len(), 2);
    test.clock().set(now + 25.hours());
    assert!(tenants.end_clones(ACTOR).await.unwrap().is_empty());
    assert_eq!(traces(&test, &forsaken).await, (0, 0, 0));
    assert_eq!(traces(&test, &short).await, (1, 1, 1));
    // What is over is not used any more, and while a hold stands not dropped either.
    test.clock().set(now + (3 * 24).hours());
    assert!(ask(tenants, &short, "select 1 as one").await.unwrap_err().to_string().contains("were over"));
    let error = tenants.swap_clone(&them.north, &short, Swap::Forth, MACHINES, "r", ACTOR).await.unwrap_err();
    assert!(error.to_string().contains("were over"), "{error}");
    tenants.set_hold(them.acme.id, "lawsuit", ACTOR).await.unwrap();
    assert!(tenants.end_clones(ACTOR).await.unwrap().is_empty());
    assert_eq!(tenants.drop_clone(&short, Drops::Copy, "r", ACTOR).await.unwrap_err().code(), "customer_on_hold");
    assert_eq!(traces(&test, &short).await, (1, 1, 1));
    tenants.release_hold(them.acme.id, "settled", ACTOR).await.unwrap();
    // What somebody with more rights made the role own goes as well, wherever it lies.
    let superuser = test.superuser().await;
    let object: u32 = superuser.query_one("select lo_from_bytea(0, 'wendy')", &[]).await.unwrap().get(0);
    superuser.batch_execute(&format!("alter large object {object} owner to {}", short.role_name)).await.unwrap();
    assert!(tenants.end_clones(ACTOR).await.unwrap().is_empty());
    assert_eq!(traces(&test, &short).await, (0, 0, 0));
    let left = superuser.query_one("select count(*) from pg_largeobject_metadata where oid = $1", &[&object]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
    let id: CustomerId = short.id;
    assert!(test.keys().present(Owner::Customer(id)).await.unwrap().into_iter().all(|is_there| !is_there));
}

#[tokio::test]
async fn a_copy_lies_where_it_was_asked_for_and_follows_nobody() {
    let test = TestDatabase::new().await;
    let them = test.two_customers().await;
    let tenants = test.tenants_over(vec![test.cluster("eu1", "eu").await]);
    fill(&tenants, &them.acme_scope(), 30).await;
    let new = NewClone {
        parent: them.acme.id,
        code: &code("STAGING"),
        cluster: Some("eu1"),
        personal_data: PersonalData::Kept,
        reason: "r",
        days: 1,
    };
    let clone = tenants.clone_customer(&them.north, &new, ACTOR, &Silent::shared()).await.unwrap();
    tenants.move_customer(them.acme.id, "eu1", Residency::Kept, ACTOR, &Silent::shared()).await.unwrap();
    // The parent lies elsewhere now, and is copied from there.
    let back = NewClone { code: &code("BACK"), cluster: Some("local"), ..new.clone() };
    let back = tenants.clone_customer(&them.north, &back, ACTOR, &Silent::shared()).await.unwrap();
    for (clone, cluster) in [(&clone, "eu1"), (&back, "local")] {
        assert_eq!(ask(&tenants, clone, "select count(*) as n from machines").await.unwrap()[0]["n"], 30);
        assert_eq!(clone.cluster, cluster);
        tenants.drop_clone(clone, Drops::Copy, "done", ACTOR).await.unwrap();
    }
    let unknown = NewClone { cluster: Some("mars"), ..new };
    let error = tenants.clone_customer(&them.north, &unknown, ACTOR, &Silent::shared()).await.unwrap_err();
    assert_eq!(error.code(), "cluster_not_found");
}
