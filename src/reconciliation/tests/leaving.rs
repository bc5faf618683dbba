//! Erasing customers, killed anywhere: what was theirs is gone, what the law keeps is sealed, everybody else is untouched.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use granary_billing::{InvoiceFilter, KeepInvoices, draft_period, finalise_period, list_invoices, open_kept, seed_list_prices};
use granary_foundation::Silent;
use granary_lake::{EraseFiles, EraseRows, Lake, Publication};
use granary_metering::{close_period, ingest, rebuild_days};
use granary_tenants::{
    BeginErasure, BuryCustomer, Change, Customer, DestroyKeys, DropSilo, Extent, Granted, IssueCertificate, Lifecycle, Msp, MspScope,
    NewContract, NewCustomer, Operation, OperatorScope, ReadGrant, Subject, TenantScope, Transition,
};
use granary_test_support::TestDatabase;
use granary_test_support::kill::{self, Kill};
use granary_types::{Classify, Currency, CustomerId, EndReason, Period, Role, Tier};
use granary_vault::Owner;
use jiff::civil::date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// The steps of an erasure, in their order.
const STEPS: [&str; 8] = ["record", "billing.keep", "keys", "lake.files", "silo", "control", "lake.rows", "certificate"];
/// Tables in which the id of an erased customer may stand.
const KNOW_THE_ID: [&str; 13] = [
    "customers",
    "status_changes",
    "lifecycle_runs",
    "lifecycle_steps",
    "audit_log",
    "invoices",
    "payments",
    "statement_lines",
    "opening_balances",
    "erasures",
    "legal_holds",
    "kept_invoices",
    "keystore.keys",
];

struct World {
    db: TestDatabase,
    lake: Lake,
    lifecycle: Lifecycle,
    north: Msp,
    globex: Customer,
    leaving: Vec<Customer>,
}

fn october() -> Period {
    "2025-10".parse().unwrap()
}

fn events() -> Vec<Value> {
    let event = |id: &str, kind: &str, time: &str, data: Value| json!({"specversion": "1.0", "id": id, "source": "cp", "type": kind, "time": time, "data": data});
    let machine = json!({"source_system": "veeam", "vendor_id": "web", "name": "web", "tier": "backup", "from": "2025-01-01"});
    let at = "2025-10-07T20:00:00Z";
    let run = json!({
        "run_id": "r", "machine": {"source_system": "veeam", "vendor_id": "web"}, "kind": "incremental", "attempt": 1, "started_at": at,
        "ended_at": at, "has_warning": false, "disks": [{"index": 0, "size_bytes": 9, "transferred_bytes": 5, "state": "completed"}],
    });
    vec![event("p", "machine.protected", "2025-01-01T05:00:00Z", machine), event("r", "backup.completed", at, run)]
}

impl World {
    /// NORTH with GLOBEX, which stays, and some customers that leave: each with a billed October, people and papers everywhere.
    async fn new(leaving: usize) -> Self {
        let db = TestDatabase::new().await;
        let them = db.two_customers().await;
        let datasets = [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS].concat();
        let lake = Lake::new(db.tenants().clone(), db.keys().clone(), db.objects().clone(), datasets);
        let lifecycle = Lifecycle::new(db.tenants().clone())
            .with(Operation::Erase, BeginErasure)
            .with(Operation::Erase, KeepInvoices { keys: db.keys().clone(), years: 10 })
            .with(Operation::Erase, DestroyKeys)
            .with(Operation::Erase, EraseFiles(lake.clone()))
            .with(Operation::Erase, DropSilo)
            .with(Operation::Erase, BuryCustomer)
            .with(Operation::Erase, EraseRows(lake.clone()))
            .with(Operation::Erase, IssueCertificate { backup_days: 35 });
        let tx = db.tenants().begin_operator(&OperatorScope::for_job("test", "seed the list")).await.unwrap();
        seed_list_prices(&tx, Currency::USD, date(2015, 1, 1)).await.unwrap();
        tx.commit().await.unwrap();
        let mut world = Self { db, lake, lifecycle, north: them.north, globex: them.globex, leaving: Vec::new() };
        for number in 0..leaving {
            world.leaving.push(world.provision(&format!("ZQX{number:02}")).await);
        }
        for customer in world.leaving.iter().chain([&world.globex]) {
            world.live(customer).await;
        }
        let (tenants, north) = (world.db.tenants(), &world.north);
        let report = draft_period(tenants, north, october(), Silent::shared()).await.unwrap();
        assert_eq!((report.failures.len(), report.net_minor), (0, 1_000 * (leaving as i64 + 1)));
        finalise_period(tenants, north, october()).await.unwrap();
        close_period(tenants, &MspScope::for_job(north.clone(), "test"), october()).await.unwrap();
        for customer in &world.leaving {
            world.scatter(customer).await;
        }
        assert_eq!(world.lake.export_night(date(2025, 11, 10), Silent::shared()).await.unwrap().failures().count(), 0);
        world.publish(&["2025-08", "2025-09"]).await;
        world
    }

    async fn provision(&self, code: &str) -> Customer {
        let zone = TimeZone::get("America/New_York").unwrap();
        let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 1_000);
        let new = NewCustomer {
            created_at: Some("2025-01-01T05:00:00Z".parse().unwrap()),
            contact_email: Some(format!("boss@{code}.example")),
            control_planes: vec![(format!("at {code}"), format!("https://vbr.{code}.example"))],
            ..NewCustomer::new(self.north.id, code.parse().unwrap(), format!("{code} and daughters"), zone, contract)
        };
        self.db.tenants().provision_customer(&new).await.unwrap()
    }

    async fn live(&self, customer: &Customer) {
        let scope = TenantScope::for_job(self.north.clone(), customer.clone(), "test");
        let tx = self.db.tenants().begin_tenant(&scope).await.unwrap();
        let report = ingest(&tx, None, &serde_json::to_vec(&events()).unwrap()).await.unwrap();
        assert_eq!(report.invalid, 0, "{report:?}");
        rebuild_days(&tx, october(), october()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Leaves traces of a customer in every table that can have one.
    async fn scatter(&self, customer: &Customer) {
        let (msp, id, code) = (self.north.id, customer.id, &customer.code);
        let sql = format!(
            "set search_path = control;
            insert into users (id, msp_id, customer_id, email, name, role, password_hash, created_at)
                values (gen_random_uuid(), '{msp}', '{id}', 'wendy@{code}.example', 'Wendy of {code}', 'customer_admin', 'x', now());
            insert into sessions (id, user_id, token_hash, csrf_token, created_at, expires_at)
                select gen_random_uuid(), id, sha256('{code}'), 'x', now(), now() from users where customer_id = '{id}';
            insert into user_customers select id, msp_id, customer_id from users where customer_id = '{id}';
            insert into api_keys (id, msp_id, control_plane_id, name, prefix, secret_hash, scopes, created_at)
                select gen_random_uuid(), msp_id, id, 'key of {code}', 'g', sha256('k{code}'), '{{}}', now() from control_planes where customer_id = '{id}';
            insert into contacts (id, msp_id, customer_id, kind, sealed, key_version, email_index, created_at)
                values (gen_random_uuid(), '{msp}', '{id}', 'main', 'x', 1, 'x', now());
            insert into sites (id, msp_id, customer_id, name, country, time_zone, created_at)
                values (gen_random_uuid(), '{msp}', '{id}', 'cellar of {code}', 'US', 'UTC', now());
            insert into customer_limits (customer_id, msp_id, updated_at) values ('{id}', '{msp}', now());
            insert into retention_marks values ('{id}', '{msp}', 'tickets', '2024-01-01', now());
            insert into prices (id, msp_id, customer_id, item, unit_price, currency, valid_from, created_at)
                values (gen_random_uuid(), '{msp}', '{id}', 'white_label', 7, 'USD', '2025-01-01', now());
            insert into run_rates values ('{id}', '{msp}', '2025-11', 5, 'USD', now());
            insert into opening_balances values ('{id}', '{msp}', 900, 'USD', '2025-01-01', now());
            insert into schema_states (customer_id, error) values ('{id}', 'a table of {code} is locked');
            insert into jobs (id, kind, msp_id, customer_id, payload, run_at, created_at)
                values (gen_random_uuid(), 'test.job', '{msp}', '{id}', '{{\"code\": \"{code}\"}}', now(), now());
            insert into events (id, kind, msp_id, payload, emitted_at, relayed_at)
                values (gen_random_uuid(), 'test.event', '{msp}', '{{\"customer_id\": \"{id}\", \"code\": \"{code}\"}}', now(), now());
            insert into outbox.messages (id, kind, role_name, payload, emitted_at)
                values (gen_random_uuid(), 'test.news', '{role}', '{{\"code\": \"{code}\"}}', now());
            insert into audit_log (msp_id, customer_id, actor, action, subject, detail, reason, happened_at)
                values ('{msp}', '{id}', 'user', 'site.add', 'customer:{code}', '{{\"name\": \"cellar of {code}\"}}', 'Wendy of {code} asked', now());
            insert into clones (id, parent_id, msp_id, code, schema_name, role_name, cluster, has_personal_data, reason, created_at)
                values (gen_random_uuid(), '{id}', '{msp}', '{code}-COPY', '{schema}_copy', '{role}_c', 'local', true, 'ticket 5', now());
            create schema {schema}_copy; create table {schema}_copy.machines (id int primary key);
            update statement_lines set description = description || ' of {code}' where customer_id = '{id}'",
            role = customer.role_name,
            schema = customer.schema_name,
        );
        self.db.superuser().await.batch_execute(&sql).await.unwrap();
    }

    /// Publishes a score of everybody for some months, as other rooms would.
    async fn publish(&self, months: &[&str]) {
        let everybody: Vec<&Customer> = self.leaving.iter().chain([&self.globex]).collect();
        let ids = StringArray::from_iter_values(everybody.iter().map(|customer| customer.id.to_string()));
        let codes = StringArray::from_iter_values(everybody.iter().map(|customer| customer.code.to_string()));
        let batch = RecordBatch::try_from_iter([("customer_id", Arc::new(ids) as _), ("customer_code", Arc::new(codes) as _)]).unwrap();
        let publication = |month: &&str| Publication {
            dataset: "scores".to_owned(),
            month: (*month).to_owned(),
            schema: batch.schema(),
            batches: vec![batch.clone()],
        };
        self.lake.publish_all(self.north.id, months.iter().map(publication).collect(), "test").await.unwrap();
    }

    /// Closes a customer and enters its erasure.
    async fn enter(&self, customer: &Customer) -> Subject {
        let (tenants, code) = (self.db.tenants().clone(), &customer.code);
        let words = format!("Wendy of {code} said so");
        let close = Change { end_reason: Some(EndReason::Voluntary), ..Change::now(Transition::Close, Some(&words)) };
        let mut last = customer.clone();
        for change in [close, Change::now(Transition::Erase, Some("letter of 3 May"))] {
            let tx = tenants.begin_msp(&MspScope::for_job(self.north.clone(), "test")).await.unwrap();
            last = self.lifecycle.change(&tx, customer.id, change).await.unwrap();
            tx.commit().await.unwrap();
        }
        Subject {
            tenants,
            msp: self.north.clone(),
            customer: last,
            operation: Operation::Erase,
            reason: Some("letter of 3 May".to_owned()),
        }
    }

    /// Every table of the control schema as text.
    async fn dump(&self) -> BTreeMap<String, String> {
        let superuser = self.db.superuser().await;
        let tables = "select case n.nspname when 'control' then '' else n.nspname || '.' end || c.relname, c.oid::regclass::text
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname in ('control', 'outbox', 'keystore') and c.relkind = 'r'";
        let mut dump = BTreeMap::new();
        for row in superuser.query(tables, &[]).await.unwrap() {
            let rows = format!("select coalesce(string_agg(t::text, '\n'), '') from {} t", row.get::<_, &str>(1));
            dump.insert(row.get(0), superuser.query_one(&rows, &[]).await.unwrap().get(0));
        }
        dump
    }

    fn grant(&self) -> ReadGrant {
        ReadGrant { msp: self.north.id, customers: Granted::All, role: Role::OperatorAdmin, can_read_billing: true }
    }

    /// Returns every text of the lake, by dataset and month, as whoever has all the keys reads it.
    async fn read_lake(&self) -> BTreeMap<(String, String, Option<CustomerId>), Vec<String>> {
        let mut texts = BTreeMap::new();
        for file in &self.lake.snapshot(&self.grant(), None).await.unwrap().files {
            let mut found = Vec::new();
            for batch in self.lake.read(file).await.unwrap() {
                for column in batch.columns().iter().filter_map(|column| column.as_string_opt::<i32>()) {
                    found.extend(column.iter().flatten().map(str::to_owned));
                }
            }
            texts.insert((file.dataset.clone(), file.month.clone(), file.customer.as_ref().map(|(id, _)| *id)), found);
        }
        texts
    }
}

#[tokio::test]
async fn an_erasure_killed_before_in_and_after_each_step_ends_whole_when_it_is_run_again() {
    let kills: Vec<(&'static str, Kill)> = STEPS.into_iter().flat_map(|step| Kill::EVERYWHERE.map(|kill| (step, kill))).collect();
    let world = World::new(kills.len()).await;
    let names: Vec<_> = world.lifecycle.steps(Operation::Erase).iter().map(|step| step.name()).collect();
    assert_eq!(names, STEPS);
    let wrapped = wrapped_keys(&world).await;
    let before: BTreeMap<_, _> =
        world.read_lake().await.into_iter().filter(|((_, _, customer), _)| *customer == Some(world.globex.id)).collect();
    let numbers = numbers(&world).await;
    let known_in =
        world.dump().await.values().filter(|text| text.contains("ZQX00") || text.contains(&world.leaving[0].id.to_string())).count();
    assert!(known_in > 25, "it was known in {known_in} tables");

    for (customer, &(step, kill)) in world.leaving.iter().zip(&kills) {
        let subject = world.enter(customer).await;
        kill::advance_killed(&world.lifecycle, &subject, step, kill).await;
        let again = Subject { customer: world.db.tenants().get_customer(customer.id).await.unwrap(), ..subject.clone() };
        world.lifecycle.advance(&again).await.unwrap();
        let found = kill::extents(&world.lifecycle, &subject).await;
        assert!(found.iter().all(|(_, extent)| *extent == Extent::Whole), "{step} {kill:?}: {found:?}");
        let erasure = world.db.tenants().erasure_of(customer.id).await.unwrap().unwrap();
        let certificate = erasure.certificate.unwrap();
        certificate.check().unwrap();
        let destroyed = &certificate.statement["destroyed"];
        let count = |step: &str, what: &str| destroyed[step][what].as_i64().unwrap_or(0);
        let counts = [count("keys", "keys"), count("billing", "invoices_kept"), count("silo", "copies")];
        assert_eq!(counts, [2, 1, 1], "{step} {kill:?}: {destroyed}");
        assert!(count("lake", "files") > 0 && count("silo", "rows") > 0 && count("control", "rows") > 10, "{step} {kill:?}: {destroyed}");
        let kept = open_kept(world.db.tenants(), world.db.keys(), &world.north, &numbers[&customer.id]).await.unwrap();
        assert_eq!((&kept["customer"]["code"], &kept["lines"][0]["amount_minor"]), (&json!(customer.code), &json!(1_000)));
    }
    assert!(world.db.tenants().open_runs().await.unwrap().is_empty());
    nothing_is_left(&world).await;

    // Whoever kept a copy of the files and of their wrapped keys has noise.
    for (customer, wrapped, path) in &wrapped {
        let error = world.db.keys().unwrap(Owner::Customer(*customer), wrapped, path.as_bytes()).await.unwrap_err();
        assert_eq!(error.code(), "key_destroyed", "{path}");
    }
    // Everybody else is untouched, to the row.
    let after: BTreeMap<_, _> =
        world.read_lake().await.into_iter().filter(|((_, _, customer), _)| *customer == Some(world.globex.id)).collect();
    assert!(!before.is_empty() && before == after);
    for msp in world.db.tenants().list_msps().await.unwrap() {
        let report = world.lake.verify(msp.id).await.unwrap();
        assert!(report.is_clean(), "{:?}", report.faults().collect::<Vec<_>>());
    }
}

/// The wrapped keys of every file of the customers that leave.
async fn wrapped_keys(world: &World) -> Vec<(CustomerId, granary_vault::Wrapped, String)> {
    let superuser = world.db.superuser().await;
    let rows = superuser
        .query("select customer_id::text, wrapped_key, key_version, path from control.lake_files where customer_id is not null", &[]);
    let rows: Vec<_> = rows.await.unwrap();
    let row = |row: &tokio_postgres::Row| {
        let customer: CustomerId = row.get::<_, &str>(0).parse().unwrap();
        (customer, granary_vault::Wrapped { bytes: row.get(1), key_version: row.get(2) }, row.get(3))
    };
    let found: Vec<_> = rows.iter().map(row).filter(|(customer, ..)| world.leaving.iter().any(|leaving| leaving.id == *customer)).collect();
    assert!(found.len() > world.leaving.len());
    found
}

/// The number of everybody's invoice.
async fn numbers(world: &World) -> BTreeMap<CustomerId, String> {
    let tx = world.db.tenants().begin_msp(&MspScope::for_job(world.north.clone(), "test")).await.unwrap();
    let invoices = list_invoices(&tx, &InvoiceFilter { period: Some(october()), customer: None }).await.unwrap();
    tx.commit().await.unwrap();
    invoices.into_iter().map(|invoice| (invoice.customer_id, invoice.number.unwrap())).collect()
}

/// No table, no schema, no role, no file and no text of the lake names a customer that left, but where it must.
async fn nothing_is_left(world: &World) {
    let dump = world.dump().await;
    for customer in &world.leaving {
        for (table, text) in &dump {
            let (code, id) = (customer.code.as_str(), customer.id.to_string());
            // The proof says who it was; and that it was erased is news.
            let may_name = table == "erasures" || ["events", "outbox.messages"].contains(&table.as_str());
            let named =
                text.lines().find(|line| line.contains(code) && !(may_name && (table == "erasures" || line.contains("customer_erased"))));
            assert!(named.is_none(), "{table} names {code}: {named:?}");
            // A file of what may know it can have it for a bound.
            let is_of_a_knower = |line: &str| KNOW_THE_ID.iter().any(|dataset| line.contains(&format!(",{dataset},all,")));
            let may_know = |line: &str| (may_name && line.contains("customer_erased")) || (table == "lake_files" && is_of_a_knower(line));
            let known = text.lines().find(|line| line.contains(&id) && !may_know(line));
            assert!(known.is_none() || KNOW_THE_ID.contains(&table.as_str()), "{table} knows {code}: {known:?}");
        }
    }
    let superuser = world.db.superuser().await;
    for customer in &world.leaving {
        let count =
            "select (select count(*) from pg_namespace where nspname like $1 || '%') + (select count(*) from pg_roles where rolname = $2)";
        let left: i64 = superuser.query_one(count, &[&customer.schema_name, &customer.role_name]).await.unwrap().get(0);
        assert_eq!(left, 0, "{}", customer.code);
    }
    let objects = world.db.objects().list("lake").await.unwrap();
    let paths: Vec<String> = objects.iter().map(|object| object.location.to_string()).collect();
    for ((dataset, month, _), texts) in world.read_lake().await {
        let named = texts.iter().find(|text| world.leaving.iter().any(|customer| text.contains(customer.code.as_str())));
        assert!(named.is_none(), "{dataset} {month} names {named:?}");
    }
    assert!(!paths.iter().any(|path| world.leaving.iter().any(|customer| path.contains(&customer.id.to_string()))));
    let total: i64 = superuser.query_one("select sum(amount_minor)::bigint from control.erased_totals", &[]).await.unwrap().get(0);
    assert_eq!(total, 1_000 * world.leaving.len() as i64);
    let past: i64 = superuser
        .query_one("select count(*) from control.lake_files where removed_version is not null and customer_id is null", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(past, 0);
}

#[tokio::test]
async fn an_erasure_is_not_taken_back_nor_overtaken_by_what_was_computed_before() {
    let world = World::new(2).await;
    let (first, second) = (&world.leaving[0], &world.leaving[1]);
    let subject = world.enter(first).await;
    assert_eq!(world.lifecycle.withdraw(&subject).await.unwrap_err().code(), "irrevocable");
    world.lifecycle.advance(&subject).await.unwrap();
    // Scores that somebody had computed before bring nobody back.
    world.publish(&["2025-07", "2025-09"]).await;
    let texts = world.read_lake().await;
    for month in ["2025-07", "2025-08", "2025-09"] {
        let texts = &texts[&("scores".to_owned(), month.to_owned(), None)];
        assert!(!texts.contains(&first.code.to_string()) && texts.contains(&second.code.to_string()), "{month}: {texts:?}");
    }
    // Its code can be given to somebody else, who is not it.
    let heir = world.provision(first.code.as_str()).await;
    assert_ne!(heir.id, first.id);
    let listed = world.db.tenants().list_customers(world.north.id).await.unwrap();
    assert!(listed.iter().any(|customer| customer.id == heir.id) && !listed.iter().any(|customer| customer.id == first.id));
    // Nobody moves it, nobody holds it.
    let progress = Silent::shared();
    let moved = world.db.tenants().move_customer(first.id, "local", granary_tenants::Residency::Kept, "test".into(), &progress).await;
    assert_eq!(moved.unwrap_err().code(), "customer_has_left");
    assert_eq!(world.db.tenants().set_hold(first.id, "lawsuit", "test".into()).await.unwrap_err().code(), "customer_has_left");
}

#[tokio::test]
async fn a_hold_forbids_an_erasure_until_it_is_released() {
    let world = World::new(1).await;
    let (tenants, customer) = (world.db.tenants(), &world.leaving[0]);
    tenants.set_hold(customer.id, "lawsuit 7", "test".into()).await.unwrap();
    assert_eq!(tenants.set_hold(customer.id, "lawsuit 7", "test".into()).await.unwrap().reason, "lawsuit 7");
    assert_eq!(tenants.set_hold(customer.id, "another", "test".into()).await.unwrap_err().code(), "customer_on_hold");
    let change = async |transition| {
        let tx = tenants.begin_msp(&MspScope::for_job(world.north.clone(), "test")).await.unwrap();
        let outcome = world.lifecycle.change(&tx, customer.id, Change::now(transition, Some("because"))).await;
        if outcome.is_ok() {
            tx.commit().await.unwrap();
        }
        outcome
    };
    assert_eq!(change(Transition::Erase).await.unwrap_err().code(), "status_transition_refused");
    change(Transition::Close).await.unwrap();
    let error = change(Transition::Erase).await.unwrap_err();
    assert!(error.code() == "customer_on_hold" && error.to_string().contains("lawsuit 7"), "{error}");
    tenants.release_hold(customer.id, "settled", "test".into()).await.unwrap();
    assert_eq!(tenants.release_hold(customer.id, "settled", "test".into()).await.unwrap_err().code(), "no_legal_hold");
    change(Transition::Erase).await.unwrap();
}
