//! Rules of retention: what is old goes, everywhere and once, and the books stay right.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::time::Duration;

use granary_billing::{draft_period, finalise_period, seed_list_prices};
use granary_foundation::Silent;
use granary_lake::{Lake, LakeError, Letting, Retention, WentOrHeld};
use granary_metering::{IngestReport, RETAINED, close_period, first_open_day, ingest, project_month};
use granary_reconciliation::{Reconciliation, reconcile};
use granary_tenants::{Actor, Customer, Granted, Msp, MspScope, OperatorScope, ReadGrant, TenantScope};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{Classify, Currency, ErrorKind, Period, Role};
use granary_warehouse::{Budget, Models, Warehouse};
use jiff::civil::{Date, date};
use serde_json::{Value, json};

struct World {
    db: TestDatabase,
    them: TwoCustomers,
    lake: Lake,
    warehouse: Warehouse,
    retention: Retention,
}

/// Months with facts.
const MONTHS: [&str; 3] = ["2024-05", "2025-05", "2025-10"];

fn period(text: &str) -> Period {
    text.parse().unwrap()
}

fn event(id: &str, kind: &str, time: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "cp", "type": kind, "time": time, "data": data})
}

/// A machine with a run of two disks, a ticket and a heartbeat in each month.
fn events() -> Vec<Value> {
    let machine = json!({"source_system": "veeam", "vendor_id": "web", "name": "web", "tier": "backup", "from": "2024-01-01"});
    let mut events = vec![event("p", "machine.protected", "2024-01-01T06:00:00Z", machine)];
    for month in MONTHS {
        let (day, at) = (format!("{month}-10"), format!("{month}-10T20:00:00Z"));
        let disk = |index: i32| json!({"index": index, "size_bytes": 9, "transferred_bytes": 5, "state": "completed"});
        let run = json!({
            "run_id": month, "machine": {"source_system": "veeam", "vendor_id": "web"}, "kind": "full", "attempt": 1, "started_at": at,
            "ended_at": at, "has_warning": false, "disks": [disk(0), disk(1)],
        });
        events.push(event(&format!("r-{month}"), "backup.completed", &at, run));
        let ticket = json!({"ticket_id": month, "priority": "high", "opened_at": at});
        events.push(event(&format!("t-{month}"), "ticket.opened", &at, ticket));
        let heard = json!({"day": day, "received": 90, "expected": 96, "last_at": at});
        events.push(event(&format!("h-{month}"), "heartbeat.summary", &at, heard));
    }
    events
}

impl World {
    /// NORTH has closed every month up to October 2025, SOUTH none; both have told the lake.
    async fn new(invoice_years: i16) -> Self {
        let db = TestDatabase::new().await;
        let them = db.two_customers().await;
        let datasets = [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS].concat();
        let lake = Lake::new(db.tenants().clone(), db.keys().clone(), db.objects().clone(), datasets);
        let no_models = db.folder().join("models");
        std::fs::create_dir(&no_models).unwrap();
        let warehouse = Warehouse::with_models(lake.clone(), Budget::default(), Models::read(&no_models).unwrap()).unwrap();
        let tx = db.tenants().begin_operator(&OperatorScope::for_job("test", "seed the list")).await.unwrap();
        seed_list_prices(&tx, Currency::USD, date(2015, 1, 1)).await.unwrap();
        tx.commit().await.unwrap();
        let retention = Retention::new(lake.clone(), RETAINED, invoice_years);
        let world = Self { db, them, lake, warehouse, retention };
        for scope in [world.them.acme_scope(), world.them.globex_scope(), world.them.south_acme_scope()] {
            assert_eq!(world.ingest(&scope, &events()).await.accepted, events().len());
            for month in MONTHS {
                project_month(world.db.tenants(), &scope, period(month)).await.unwrap();
            }
        }
        let (tenants, north) = (world.db.tenants(), &world.them.north);
        for month in ["2025-05", "2025-10"] {
            assert_eq!(draft_period(tenants, north, period(month), Silent::shared()).await.unwrap().failures.len(), 0);
            finalise_period(tenants, north, period(month)).await.unwrap();
        }
        let mut month = period("2024-05");
        while month <= period("2025-10") {
            close_period(tenants, &MspScope::for_job(north.clone(), "test"), month).await.unwrap();
            month = month.next();
        }
        world.night().await;
        world
    }

    async fn ingest(&self, scope: &TenantScope, events: &[Value]) -> IngestReport {
        let tx = self.db.tenants().begin_tenant(scope).await.unwrap();
        let report = ingest(&tx, None, &serde_json::to_vec(events).unwrap()).await.unwrap();
        tx.commit().await.unwrap();
        report
    }

    async fn night(&self) {
        assert_eq!(self.lake.export_night(date(2025, 11, 10), Silent::shared()).await.unwrap().failures().count(), 0);
    }

    async fn rule(&self, msp: &Msp, dataset: &str, days: Option<i32>) -> Result<(), LakeError> {
        let tx = self.db.tenants().begin_msp(&MspScope::for_job(msp.clone(), "test")).await.unwrap();
        let kept = self.retention.put(&tx, dataset, days).await.map(|kept| assert_eq!((kept.dataset, kept.keep_days), (dataset, days)));
        tx.commit().await.unwrap();
        kept
    }

    async fn open_from(&self, msp: &Msp) -> Date {
        let tx = self.db.tenants().begin_msp(&MspScope::for_job(msp.clone(), "test")).await.unwrap();
        let open_from = first_open_day(&tx).await.unwrap();
        tx.commit().await.unwrap();
        open_from
    }

    async fn run(&self, msp: &Msp, letting: Letting) -> Vec<WentOrHeld> {
        self.retention.run(msp, self.open_from(msp).await, letting, Silent::shared()).await.unwrap()
    }

    /// Rows of a customer in each table that a rule is about, and bodies of its events.
    async fn rows(&self, customer: &Customer) -> [i64; 5] {
        let sql = format!(
            "select (select count(*) from {schema}.tickets), (select count(*) from {schema}.backup_disks),
                (select count(*) from {schema}.backup_runs), (select count(*) from {schema}.usage_events),
                (select count(*) from {schema}.usage_events where data::text <> 'null')",
            schema = customer.schema_name
        );
        let row = self.db.superuser().await.query_one(&sql, &[]).await.unwrap();
        [0, 1, 2, 3, 4].map(|index| row.get(index))
    }

    /// Months of a customer's dataset in the current version, and in all of them.
    async fn months(&self, customer: &Customer, dataset: &str) -> (Vec<String>, i64) {
        let current = self.lake.snapshot(&grant(&self.them.north), None).await.unwrap();
        let is_own = |file: &&granary_lake::LakeFile| file.customer.as_ref().is_some_and(|(id, _)| *id == customer.id);
        let months = current.files_of(dataset).iter().filter(is_own).map(|file| file.month.clone()).collect();
        let sql = "select count(*) from control.lake_files where customer_id = $1 and dataset = $2";
        (months, self.db.superuser().await.query_one(sql, &[&customer.id, &dataset]).await.unwrap().get(0))
    }

    /// Runs again and again, killed a little later each time, until a run comes through.
    async fn run_killed(&self, msp: &Msp, open_from: Date) -> Vec<WentOrHeld> {
        let mut kills = 0_u64;
        loop {
            let patience = Duration::from_millis(1 + kills * 5);
            let run = self.retention.run(msp, open_from, Letting::Done, Silent::shared());
            if let Ok(went) = tokio::time::timeout(patience, run).await {
                assert!(kills > 2, "it was killed {kills} times");
                return went.unwrap();
            }
            kills += 1;
        }
    }

    /// What the customer's own log says went, by dataset.
    async fn logged(&self, customer: &Customer) -> Vec<(String, i32)> {
        let sql = format!(
            "select subject, sum((detail ->> 'rows')::int)::int from {}.audit_log where action = 'retention.let_go' group by 1 order by 1",
            customer.schema_name
        );
        let rows = self.db.superuser().await.query(&sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    async fn reconciled(&self, month: &str) -> Reconciliation {
        let north = &self.them.north;
        reconcile(&self.warehouse, &grant(north), self.db.tenants(), north, period(month)).await.unwrap()
    }

    /// Lake and Postgres agree, and every billed month is right to the cent.
    async fn is_right(&self) {
        assert!(self.lake.verify(self.them.north.id).await.unwrap().is_clean());
        for month in ["2025-05", "2025-10"] {
            let found = self.reconciled(month).await;
            assert!(found.is_billed && found.is_clean(), "{month}: {found:?}");
        }
    }
}

fn grant(msp: &Msp) -> ReadGrant {
    ReadGrant { msp: msp.id, customers: Granted::All, role: Role::MspFinance, can_read_billing: true }
}

fn told(went: &[WentOrHeld]) -> Vec<(&str, &str, u64, u64, bool)> {
    went.iter().map(|one| (one.customer_code.as_str(), one.dataset, one.rows, one.files, one.is_held)).collect()
}

#[tokio::test]
async fn what_is_old_goes_killed_anywhere_and_the_books_stay_right() {
    let world = World::new(10).await;
    let (north, acme, globex) = (&world.them.north, &world.them.acme, &world.them.globex);
    assert_eq!(world.run(north, Letting::Done).await, [], "without a rule everything is kept");
    for (dataset, days) in [("tickets", 400), ("backup_disks", 92), ("usage_events", 92)] {
        world.rule(north, dataset, Some(days)).await.unwrap();
    }
    let all = [3, 6, 3, 10, 10];
    assert_eq!((world.rows(acme).await, world.rows(globex).await), (all, all));
    world.db.tenants().set_hold(globex.id, "lawsuit", Actor::System("test")).await.unwrap();

    // Of the disks those of two months, of the tickets those of one; of the events all but October's and what is said of machines.
    let acme_goes = [("ACME", "backup_disks", 4, 2, false), ("ACME", "tickets", 1, 1, false), ("ACME", "usage_events", 6, 0, false)];
    let globex_stays = acme_goes.map(|(_, dataset, rows, files, _)| ("GLOBEX", dataset, rows, files, true));
    let expected = [acme_goes, globex_stays].concat();
    assert_eq!(told(&world.run(north, Letting::Counted).await), expected);
    assert_eq!(world.rows(acme).await, all, "counting takes nothing away");

    let open_from = world.open_from(north).await;
    assert_eq!(open_from, date(2025, 10, 24));
    let held = world.run_killed(north, open_from).await;
    assert!(told(&held).iter().filter(|one| one.0 == "GLOBEX").eq(&globex_stays), "{held:?}");
    assert_eq!((world.rows(acme).await, world.rows(globex).await), ([2, 2, 3, 10, 4], all));
    let kept = |months: &[&str]| (months.iter().map(|month| (*month).to_owned()).collect::<Vec<_>>(), months.len() as i64);
    assert_eq!(world.months(acme, "backup_disks").await, kept(&["2025-10"]));
    assert_eq!(world.months(acme, "tickets").await, kept(&["2025-05", "2025-10"]));
    assert_eq!(world.months(globex, "tickets").await, kept(&MONTHS));
    world.is_right().await;
    world.night().await;
    world.is_right().await;
    assert_eq!(world.months(acme, "backup_disks").await, kept(&["2025-10"]), "no export brings them back");

    // Every row that went is in the log of its customer, once.
    let words = [("dataset:backup_disks", 4), ("dataset:tickets", 1), ("dataset:usage_events", 6)];
    assert_eq!(world.logged(acme).await, words.map(|(subject, rows)| (subject.to_owned(), rows)));

    // An event whose body has gone is known for ever.
    let again = world.ingest(&world.them.acme_scope(), &events()).await;
    assert_eq!((again.accepted, again.duplicates), (0, events().len()));
    let other = event(
        "t-2024-05",
        "ticket.opened",
        "2024-05-10T20:00:00Z",
        json!({"ticket_id": "x", "priority": "low", "opened_at": "2024-05-10T20:00:00Z"}),
    );
    assert_eq!(world.ingest(&world.them.acme_scope(), &[other]).await.conflicts, 1);
    // What is said of a machine is derived from all that was ever said of it.
    let change = json!({"source_system": "veeam", "vendor_id": "web", "tier": "enterprise", "from": "2025-11-05"});
    world.ingest(&world.them.acme_scope(), &[event("c", "machine.tier_changed", "2025-11-05T05:00:00Z", change)]).await;
    world.night().await;
    world.is_right().await;

    assert!(told(&world.run(north, Letting::Done).await).iter().all(|one| one.0 == "GLOBEX"), "once is enough");
    world.db.tenants().release_hold(globex.id, "settled", Actor::System("test")).await.unwrap();
    assert!(world.run(north, Letting::Done).await.iter().all(|one| !one.is_held && one.error.is_none()));
    assert_eq!(world.rows(globex).await, [2, 2, 3, 10, 4]);
    world.rule(north, "tickets", None).await.unwrap();
    world.db.clock().set("2027-11-10T12:00:00Z".parse().unwrap());
    assert!(world.run(north, Letting::Counted).await.iter().all(|one| one.dataset != "tickets"));
}

#[tokio::test]
async fn nothing_goes_that_somebody_needs() {
    let world = World::new(10).await;
    let (north, south) = (&world.them.north, &world.them.south);
    for (dataset, days, words) in [
        ("backup_runs", 3_659, "backup_runs is kept for at least 3660 days, not 3659: it proves invoices"),
        ("tickets", 399, "tickets is kept for at least 400 days"),
        ("usage_events", 91, "charges reach three months back"),
        ("tickets", 36_601, "leave them out to keep it for ever"),
    ] {
        let refused = world.rule(north, dataset, Some(days)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().contains(words), "{refused}");
    }
    for dataset in ["machines", "audit_log", "invoices", "x'; drop table tickets"] {
        let unknown = world.rule(north, dataset, Some(36_600)).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
        assert!(unknown.to_string().contains("one of activity, backup_disks"), "{unknown}");
    }
    let tx = world.db.tenants().begin_msp(&world.them.north_scope()).await.unwrap();
    assert!(world.retention.list(&tx).await.unwrap().iter().all(|kept| kept.keep_days.is_none()));
    tx.commit().await.unwrap();

    // SOUTH has not closed May 2024: all of it may still be billed.
    world.rule(south, "tickets", Some(400)).await.unwrap();
    assert_eq!(world.open_from(south).await, date(2024, 4, 23));
    assert_eq!(world.run(south, Letting::Done).await, []);
    assert_eq!(world.run(north, Letting::Done).await, [], "another MSP's rule");
}

#[tokio::test]
async fn a_month_whose_evidence_has_gone_is_compared_by_its_documents() {
    // Where no law wants invoices kept.
    let world = World::new(0).await;
    let (north, acme) = (&world.them.north, &world.them.acme);
    for dataset in ["backup_runs", "machine_days"] {
        world.rule(north, dataset, Some(400)).await.unwrap();
    }
    world.db.clock().set("2026-08-01T12:00:00Z".parse().unwrap());
    let mut month = period("2025-11");
    while month <= period("2026-07") {
        close_period(world.db.tenants(), &MspScope::for_job(north.clone(), "test"), month).await.unwrap();
        month = month.next();
    }
    assert!(world.reconciled("2025-05").await.rows.iter().all(|row| row.has_evidence));
    world.run(north, Letting::Done).await;
    assert_eq!(world.rows(acme).await, [3, 2, 1, 10, 10], "disks go with their runs");
    world.night().await;
    world.is_right().await;
    let rows = world.reconciled("2025-05").await.rows;
    let amounts: Vec<_> =
        rows.iter().map(|row| (row.has_evidence, row.recomputed_minor, row.invoiced_minor, row.difference_minor)).collect();
    assert_eq!(amounts, [(false, 1_000, 1_000, 0); 2]);
    assert!(world.reconciled("2025-10").await.rows.iter().all(|row| row.has_evidence && row.recomputed_minor == 1_000));
}
