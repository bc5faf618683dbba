//! A month on the whole road: events, lines, invoices, the lake, and back.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use granary_billing::{Item, draft_period, finalise_period, list_lines, seed_list_prices};
use granary_foundation::Silent;
use granary_lake::Lake;
use granary_metering::{ingest, rebuild_days};
use granary_reconciliation::{CauseKind, Reconciliation, reconcile};
use granary_tenants::{Granted, Limits, Msp, OperatorScope, ReadGrant, TenantScope, get_limits, put_limits};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{CountingRule, Currency, Period, Role};
use granary_warehouse::{Budget, Models, Warehouse};
use jiff::civil::date;
use serde_json::{Value, json};

struct World {
    db: TestDatabase,
    fixture: TwoCustomers,
    lake: Lake,
    warehouse: Warehouse,
}

fn october() -> Period {
    "2025-10".parse().unwrap()
}

fn event(id: &str, kind: &str, time: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "cp", "type": kind, "time": time, "data": data})
}

fn protected(vendor: &str, tier: &str) -> Value {
    let data = json!({"source_system": "veeam", "vendor_id": vendor, "name": vendor, "tier": tier, "from": "2025-01-01"});
    event(&format!("p-{vendor}"), "machine.protected", "2025-01-01T05:00:00Z", data)
}

fn completed(vendor: &str, day: i8) -> Value {
    let (id, at) = (format!("r-{vendor}-{day}"), format!("2025-10-{day:02}T20:00:00Z"));
    let data = json!({
        "run_id": id, "machine": {"source_system": "veeam", "vendor_id": vendor}, "kind": "incremental", "attempt": 1, "started_at": at,
        "ended_at": at, "has_warning": day % 2 == 0, "disks": [{"index": 0, "size_bytes": 9, "transferred_bytes": 5, "state": "completed"}],
    });
    event(&id, "backup.completed", &at, data)
}

fn sampled(day: i8) -> Value {
    let at = format!("2025-10-{day:02}T12:00:00Z");
    let repository = json!({"vendor_id": "r1", "name": "r1", "kind": "local", "is_copy": false, "is_immutable": true});
    event(
        &format!("s-{day}"),
        "repository.sampled",
        &at,
        json!({"repository": repository, "used_bytes": 1_100_i64 << 30, "sampled_at": at}),
    )
}

/// ACME: web and db at backup, mail at enterprise from the 10th on, 100 GiB over the limit. GLOBEX: a replicated machine.
fn acme() -> Vec<Value> {
    let change = json!({"source_system": "veeam", "vendor_id": "mail", "tier": "enterprise", "from": "2025-10-10"});
    let mut events = vec![protected("web", "backup"), protected("db", "backup"), protected("mail", "backup")];
    events.push(event("t-mail", "machine.tier_changed", "2025-10-09T05:00:00Z", change));
    events.extend([1, 2, 9, 28].map(|day| completed("web", day)));
    events.push(completed("db", 14));
    events.extend([3, 12, 30].map(|day| completed("mail", day)));
    events.extend([1, 8, 15, 22, 29].map(sampled));
    events
}

fn globex() -> Vec<Value> {
    let cycles = json!({
        "machine": {"source_system": "zerto", "vendor_id": "erp"}, "day": "2025-10-20", "cycles_completed": 288, "cycles_failed": 0,
        "transferred_bytes": 7, "lag_seconds_max": 9, "last_cycle_at": "2025-10-20T23:00:00Z",
    });
    let data = json!({"source_system": "zerto", "vendor_id": "erp", "name": "erp", "tier": "replication", "from": "2025-01-01"});
    vec![
        event("p-erp", "machine.protected", "2025-01-01T05:00:00Z", data),
        event("c-erp", "replication.summary", "2025-10-20T23:00:00Z", cycles),
    ]
}

impl World {
    async fn new() -> Self {
        let db = TestDatabase::new().await;
        let fixture = db.two_customers().await;
        let datasets = [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS].concat();
        let lake = Lake::new(db.tenants().clone(), db.keys().clone(), db.objects().clone(), datasets);
        let no_models = db.folder().join("models");
        std::fs::create_dir(&no_models).unwrap();
        let warehouse = Warehouse::with_models(lake.clone(), Budget::default(), Models::read(&no_models).unwrap()).unwrap();
        let tx = db.tenants().begin_operator(&OperatorScope::for_job("test", "seed the list")).await.unwrap();
        seed_list_prices(&tx, Currency::USD, date(2015, 1, 1)).await.unwrap();
        tx.commit().await.unwrap();
        let world = Self { db, fixture, lake, warehouse };
        world.take(&world.fixture.acme_scope(), &acme()).await;
        world.take(&world.fixture.globex_scope(), &globex()).await;
        world
    }

    async fn take(&self, scope: &TenantScope, events: &[Value]) {
        let tx = self.db.tenants().begin_tenant(scope).await.unwrap();
        let report = ingest(&tx, None, &serde_json::to_vec(events).unwrap()).await.unwrap();
        assert_eq!(report.invalid, 0, "{report:?}");
        rebuild_days(&tx, october(), october()).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn reconciled(&self, msp: &Msp) -> Reconciliation {
        let report = self.lake.export_night(date(2025, 11, 10), Silent::shared()).await.unwrap();
        assert_eq!(report.failures().count(), 0);
        let grant = ReadGrant { msp: msp.id, customers: Granted::All, role: Role::MspFinance, can_read_billing: true };
        reconcile(&self.warehouse, &grant, self.db.tenants(), msp, october()).await.unwrap()
    }

    /// Does to ACME's silo what only the owner of the database can do.
    async fn tamper(&self, sql: &str) {
        let client = self.db.superuser().await;
        client.batch_execute(&format!("set search_path = {}; {sql}", self.fixture.acme.schema_name)).await.unwrap();
    }
}

fn amounts(found: &Reconciliation) -> Vec<(&str, i64, i64, i64, i64)> {
    let amounts = |row: &granary_reconciliation::Row| (row.recomputed_minor, row.rated_minor, row.invoiced_minor, row.difference_minor);
    found.rows.iter().map(|row| (row, amounts(row))).map(|(row, (a, b, c, d))| (row.customer_code.as_str(), a, b, c, d)).collect()
}

#[tokio::test]
async fn both_roads_end_at_the_same_cent_by_every_counting_rule() {
    let world = World::new().await;
    for rule in CountingRule::ALL {
        let client = world.db.superuser().await;
        client.batch_execute("set search_path = control").await.unwrap();
        client.execute("update msps set counting_rule = $1 where code = 'NORTH'", &[&rule.as_str()]).await.unwrap();
        let msp = world.db.tenants().find_msp_by_code("NORTH").await.unwrap().unwrap();
        let draft = draft_period(world.db.tenants(), &msp, october(), Silent::shared()).await.unwrap();
        assert!(draft.failures.is_empty(), "{draft:?}");
        let found = world.reconciled(&msp).await;
        assert!(found.is_clean(), "{rule}: {found:?}");
        assert_eq!(found.rows.iter().map(|row| row.rated_minor).sum::<i64>(), draft.net_minor, "{rule}");
        if *rule == CountingRule::DistinctInPeriod {
            assert_eq!(amounts(&found), [("ACME", 5_500, 5_500, 5_500, 0), ("GLOBEX", 10_000, 10_000, 10_000, 0)]);
        }
    }
}

impl World {
    /// Changes ACME's storage limit on a day of the MSP's.
    async fn limit_acme(&self, at: &str, storage_gib: i64) {
        self.db.clock().set(at.parse().unwrap());
        let tx = self.db.tenants().begin_msp(&self.fixture.north_scope()).await.unwrap();
        let before = get_limits(&tx, &self.fixture.acme).await.unwrap();
        put_limits(&tx, &self.fixture.acme, &Limits { storage_gib, ..before }).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_limit_that_changes_within_the_month_is_averaged_on_both_roads() {
    let world = World::new().await;
    // 20 days of 1,000 GiB and 11 of 1,093 are 1,033 on average: of 1,100 stored 67 lie above. It is late on the 21st in New York.
    world.limit_acme("2025-10-15T12:00:00Z", 5_000).await;
    world.limit_acme("2025-10-15T13:00:00Z", 1_000).await;
    world.limit_acme("2025-10-22T03:59:00Z", 1_093).await;
    world.limit_acme("2025-11-01T04:00:00Z", 50).await;
    world.db.clock().set("2025-11-10T12:00:00Z".parse().unwrap());
    let (tenants, north) = (world.db.tenants(), world.fixture.north.clone());
    let draft = draft_period(tenants, &north, october(), Silent::shared()).await.unwrap();
    assert_eq!((draft.failures.len(), draft.net_minor), (0, 4_500 + 670 + 10_000));
    let found = world.reconciled(&north).await;
    assert!(found.is_clean(), "{found:?}");
    assert_eq!(amounts(&found), [("ACME", 5_170, 5_170, 5_170, 0), ("GLOBEX", 10_000, 10_000, 10_000, 0)]);
    let tx = tenants.begin_tenant(&world.fixture.acme_scope()).await.unwrap();
    let lines = list_lines(&tx, october()).await.unwrap();
    tx.commit().await.unwrap();
    let overage = lines.iter().find(|line| line.item == Item::StorageOverage).unwrap();
    assert_eq!(overage.description, "Storage over the limit, GiB-months (average limit 1033 GiB)");

    // A draft that is made after the change is the same, and so is the month once it is closed.
    world.limit_acme("2025-11-11T12:00:00Z", 9_000).await;
    assert_eq!(draft_period(tenants, &north, october(), Silent::shared()).await.unwrap().net_minor, draft.net_minor);
    finalise_period(tenants, &north, october()).await.unwrap();
    world.limit_acme("2025-11-12T12:00:00Z", 1).await;
    assert_eq!(draft_period(tenants, &north, october(), Silent::shared()).await.unwrap().net_minor, draft.net_minor);
    let found = world.reconciled(&north).await;
    assert!(found.is_clean() && amounts(&found)[0] == ("ACME", 5_170, 5_170, 5_170, 0), "{found:?}");
}

#[tokio::test]
async fn planted_faults_are_found_with_their_cause() {
    let world = World::new().await;
    let (tenants, north) = (world.db.tenants(), world.fixture.north.clone());
    let open = world.reconciled(&north).await;
    assert!(!open.is_billed && open.is_clean(), "an open month is no difference: {open:?}");
    assert_eq!(amounts(&open), [("ACME", 5_500, 0, 0, 0), ("GLOBEX", 10_000, 0, 0, 0)]);
    draft_period(tenants, &north, october(), Silent::shared()).await.unwrap();
    finalise_period(tenants, &north, october()).await.unwrap();
    let billed = world.reconciled(&north).await;
    assert!(billed.is_billed && billed.is_clean());

    world.tamper("delete from backup_runs where machine_id = (select id from machines where vendor_id = 'db')").await;
    let tier = "update tier_assignments set valid_to = '2025-11-01' where tier = 'backup' and valid_to = '2025-10-10'";
    world.tamper(&format!("{tier}; update tier_assignments set valid_from = '2025-11-01' where tier = 'enterprise'")).await;
    let edit = "alter table rated_lines disable trigger rated_lines_finalised";
    world.tamper(&format!("{edit}; update rated_lines set amount_minor = amount_minor + 1 where item = 'storage_overage'")).await;

    let found = world.reconciled(&north).await;
    let [acme, globex] = found.rows.as_slice() else { panic!("{found:?}") };
    let causes: Vec<_> = acme.causes.iter().map(|cause| (cause.kind, cause.machine.as_deref(), cause.amount_minor)).collect();
    assert_eq!(
        causes,
        [
            (CauseKind::MissingRun, Some("db"), 1_000),
            (CauseKind::TierDate, Some("mail"), 1_500),
            (CauseKind::EditedLine, None, 1),
            (CauseKind::InvoiceTotal, None, -1),
        ]
    );
    assert_eq!((acme.recomputed_minor, acme.rated_minor, acme.invoiced_minor, acme.difference_minor), (3_000, 5_501, 5_500, 2_500));
    assert!(globex.causes.is_empty() && globex.difference_minor == 0);
}

#[tokio::test]
async fn a_grant_reconciles_its_own_customers_only() {
    let world = World::new().await;
    draft_period(world.db.tenants(), &world.fixture.north, october(), Silent::shared()).await.unwrap();
    world.reconciled(&world.fixture.north).await;
    let only = Granted::Only([world.fixture.globex.id].into());
    let grant = ReadGrant { msp: world.fixture.north.id, customers: only, role: Role::MspFinance, can_read_billing: true };
    let found = reconcile(&world.warehouse, &grant, world.db.tenants(), &world.fixture.north, october()).await.unwrap();
    assert_eq!(amounts(&found), [("GLOBEX", 10_000, 10_000, 10_000, 0)]);
    let refused = reconcile(&world.warehouse, &grant, world.db.tenants(), &world.fixture.south, october()).await;
    assert!(refused.is_err());
}
