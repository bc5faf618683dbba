//! From events to a report, through the rooms in between, on a real Postgres and a real lake.
#![expect(clippy::unwrap_used, reason = "a report that does not come about has failed")]

use granary_foundation::Silent;
use granary_lake::Lake;
use granary_reports::monthly::{ChangeReason, MonthlyReport, RestoreKind, RiskReason, compose, compose_all};
use granary_tenants::{OperatorScope, TenantScope, Tenants};
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{Currency, Period, Tier};
use granary_warehouse::{Budget, Warehouse};
use jiff::civil::date;
use serde_json::{Value, json};

fn period(text: &str) -> Period {
    text.parse().unwrap()
}

/// Writes the events of one control plane.
struct Plane {
    source: String,
    events: Vec<Value>,
}

impl Plane {
    fn send(&mut self, kind: &str, time: &str, data: Value) {
        let id = format!("{:04}", self.events.len());
        self.events.push(json!({ "specversion": "1.0", "id": id, "source": self.source, "type": kind, "time": time, "data": data }));
    }

    fn protect(&mut self, machine: &str, tier: &str, from: &str) {
        let data = json!({ "source_system": "vbr", "vendor_id": machine, "name": machine, "tier": tier, "from": from, "runs_per_day": 1 });
        self.send("machine.protected", &format!("{from}T05:00:00Z"), data);
    }

    /// A run at three in the morning, UTC: late the evening before in New York.
    fn run(&mut self, machine: &str, day: &str, is_good: bool) {
        let (started, ended) = (format!("{day}T03:00:00Z"), format!("{day}T03:20:00Z"));
        let id = format!("{machine}-{day}");
        let machine = json!({ "source_system": "vbr", "vendor_id": machine });
        let mut data =
            json!({ "run_id": id, "machine": machine, "kind": "incremental", "attempt": 1, "started_at": started, "ended_at": ended });
        if is_good {
            data["has_warning"] = json!(false);
            data["disks"] =
                json!([{ "index": 0, "size_bytes": 50_000_000_000_i64, "transferred_bytes": 1_073_741_824, "state": "completed" }]);
            self.send("backup.completed", &ended, data);
        } else {
            data["error"] = json!("the repository is full");
            self.send("backup.failed", &ended, data);
        }
    }

    async fn deliver(self, tenants: &Tenants, scope: &TenantScope) {
        let tx = tenants.begin_tenant(scope).await.unwrap();
        let batch = serde_json::to_vec(&self.events).unwrap();
        let report = granary_metering::ingest(&tx, None, &batch).await.unwrap();
        assert_eq!(report.accepted, self.events.len(), "{report:?}");
        tx.commit().await.unwrap();
    }
}

/// ACME in September and October: `sql` runs every night; `file` fails from 21 October on; `web` ran once, on the third; `new`
/// never ran; `idle` was never protected.
fn acme_events() -> Plane {
    let mut plane = Plane { source: "https://vbr.acme.example".into(), events: Vec::new() };
    plane.protect("sql", "enterprise", "2025-09-01");
    plane.protect("file", "backup", "2025-09-01");
    plane.protect("web", "backup", "2025-10-01");
    plane.protect("new", "backup", "2025-10-01");
    plane.send("machine.discovered", "2025-09-02T00:00:00Z", json!({ "source_system": "vbr", "vendor_id": "idle", "name": "idle" }));
    for day in period("2025-09").each_day().chain(period("2025-10").each_day()).chain([date(2025, 11, 1), date(2025, 11, 2)]) {
        let day = day.tomorrow().unwrap();
        plane.run("sql", &day.to_string(), true);
        plane.run("file", &day.to_string(), day <= date(2025, 10, 21));
    }
    plane.run("web", "2025-10-04", true);
    let machine = json!({ "source_system": "vbr", "vendor_id": "sql" });
    plane.send(
        "restore.completed",
        "2025-10-15T12:30:00Z",
        json!({ "restore_id": "r1", "machine": machine, "kind": "full_vm", "requested_at": "2025-10-15T12:00:00Z",
            "ended_at": "2025-10-15T12:30:30Z", "restored_bytes": 2_147_483_648_i64 }),
    );
    for (ticket, answered) in [("t1", "2025-10-07T14:30:00Z"), ("t2", "2025-10-07T20:00:00Z")] {
        let data = json!({ "ticket_id": ticket, "priority": "normal", "opened_at": "2025-10-07T14:00:00Z", "answered_at": answered });
        plane.send("ticket.answered", answered, data);
    }
    plane
}

/// The same names at another customer of the MSP, which must not show.
fn globex_events() -> Plane {
    let mut plane = Plane { source: "https://vbr.globex.example".into(), events: Vec::new() };
    plane.protect("sql", "replication", "2025-10-01");
    plane.protect("globex-only", "backup", "2025-10-01");
    plane.run("globex-only", "2025-10-09", true);
    plane
}

async fn prepare(test: &TestDatabase, two: &TwoCustomers) -> Warehouse {
    let tenants = test.tenants();
    let scope = OperatorScope::for_job("test", "prices");
    let tx = tenants.begin_operator(&scope).await.unwrap();
    granary_billing::seed_list_prices(&tx, Currency::USD, date(2025, 1, 1)).await.unwrap();
    tx.commit().await.unwrap();
    acme_events().deliver(tenants, &two.acme_scope()).await;
    globex_events().deliver(tenants, &two.globex_scope()).await;
    for month in [period("2025-09"), period("2025-10"), period("2025-11")] {
        for scope in [two.acme_scope(), two.globex_scope()] {
            granary_metering::project_month(tenants, &scope, month).await.unwrap();
        }
        if month < period("2025-11") {
            granary_billing::draft_period(tenants, &two.north, month, Silent::shared()).await.unwrap();
        }
    }
    let datasets =
        [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS, granary_intelligence::DATASETS].concat();
    let lake = Lake::new(tenants.clone(), test.keys().clone(), test.objects().clone(), datasets);
    let night = lake.export_night(date(2025, 11, 9), Silent::shared()).await.unwrap();
    assert_eq!(night.failures().count(), 0, "{night:?}");
    let warehouse = Warehouse::new(lake, Budget::default()).unwrap();
    warehouse.build(two.north.id).await.unwrap();
    let outcomes = warehouse.test(two.north.id, "2025-11-09T06:00:00Z".parse().unwrap()).await.unwrap();
    let nights = outcomes.iter().find(|outcome| outcome.test == "nights_add_up_to_the_service_level").unwrap();
    assert!(nights.passed(), "{nights:?}");
    warehouse
}

fn assert_october(report: &MonthlyReport) {
    let risks: Vec<_> = report.protection.at_risk.iter().map(|machine| (machine.name.as_str(), machine.reason)).collect();
    let expected = [("new", RiskReason::NeverRan), ("web", RiskReason::Silent), ("file", RiskReason::Failing { runs_failed: 11 })];
    assert_eq!(risks, expected);
    assert_eq!((report.protection.machines_protected, report.protection.machines_discovered_only), (4, 1));

    let level = &report.service_levels.backup;
    assert_eq!(level.machine_days_scheduled, 4 * 31);
    assert!((31 + 20..=31 + 22 + 2).contains(&level.machine_days_met), "{}", level.machine_days_met);
    assert_eq!(level.is_met(), Some(false));
    assert!(level.days.iter().all(|(_, percent)| percent.is_some()));
    assert_eq!((report.service_levels.runs.completed, report.service_levels.runs.failed), (31 + 20 + 1, 11));
    assert_eq!((report.service_levels.support.answered_in_time, report.service_levels.support.missed), (1, 1));

    let restore = report.last_restore.as_ref().unwrap();
    assert_eq!((restore.kind, restore.duration_minutes, restore.machine.as_deref()), (RestoreKind::FullVm, 31, Some("sql")));
    assert_eq!(report.service_levels.restore.is_met, Some(true));

    let charges = &report.charges;
    assert_eq!((charges.net.amount_minor, charges.previous_net.unwrap().amount_minor), (4_500, 3_500));
    assert_eq!(charges.lines.iter().map(|line| line.amount.amount_minor).sum::<i64>(), charges.net.amount_minor);
    let reasons: Vec<_> = charges.changes.iter().map(|change| (&change.reason, change.difference.amount_minor)).collect();
    assert_eq!(reasons, [(&ChangeReason::Quantity { before: 1.into(), after: 2.into() }, 1_000)]);

    let tiers: Vec<_> = report.machines.iter().map(|machine| (machine.name.as_str(), machine.tier)).collect();
    assert_eq!(
        tiers,
        [("file", Some(Tier::Backup)), ("idle", None), ("new", None), ("sql", Some(Tier::Enterprise)), ("web", Some(Tier::Backup))]
    );
    let idle: Vec<_> = report.machines.iter().filter(|machine| machine.is_discovered_only).map(|machine| machine.name.as_str()).collect();
    assert_eq!(idle, ["idle"], "known and not protected");
    let months: Vec<_> = report.usage.months.iter().map(|month| (month.period.to_string(), month.machines(), month.net_minor)).collect();
    assert_eq!(months[months.len() - 2..], [("2025-09".to_owned(), 2, Some(3_500)), ("2025-10".to_owned(), 3, Some(4_500))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_the_events_said() {
    let test = TestDatabase::new().await;
    let two = test.two_customers().await;
    let warehouse = prepare(&test, &two).await;
    let tenants = test.tenants();

    let report = compose(&warehouse, tenants, &two.acme, period("2025-10")).await.unwrap();
    assert_october(&report);
    assert!(!serde_json::to_string(&report).unwrap().to_lowercase().contains("globex"));

    let customers = [two.acme.clone(), two.globex.clone()];
    let all = compose_all(&warehouse, tenants, &two.north, &customers, period("2025-10")).await.unwrap();
    assert!(all[0] == report, "one by one or all at once, a report is the same");
    assert_eq!(all[1].machines.len(), 2);

    let future = compose(&warehouse, tenants, &two.acme, period("2025-12")).await.unwrap_err();
    assert_eq!(future.to_string(), "2025-12 has not begun yet");
    let open = compose(&warehouse, tenants, &two.acme, period("2025-11")).await.unwrap();
    assert_eq!((open.charges.is_draft, open.charges.previous_net, open.charges.changes.len()), (None, None, 0));

    let past = compose(&warehouse, tenants, &two.acme, period("2019-01")).await.unwrap_err();
    assert!(past.to_string().starts_with("ACME was not a customer in 2019-01: its contract starts on "), "{past}");
    assert!(compose_all(&warehouse, tenants, &two.north, &customers, period("2019-01")).await.unwrap().is_empty());
}
