//! Alerts: from events to the list, and what people do about them.

use granary_foundation::Silent;
use granary_metering::{
    AlertFilter, AlertStep, ListedAlert, WatchReport, act_on_alert, bring_forward, count_alerts, list_alerts, watch_customer, watch_msp,
};
use granary_tenants::{Enforcement, Granted, Limits, put_limits};
use granary_types::{AlertKind, AlertSeverity, AlertState, Classify};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::house::{House, SOURCE, attempt, completed, event, machine, protected};

const DAY: &str = "2025-11-09";

impl House {
    fn clock(&self, at: &str) {
        self.database.clock().set(at.parse().unwrap());
    }

    fn later(&self, minutes: i64) {
        let clock = self.database.clock();
        clock.set(clock.now() + SignedDuration::from_mins(minutes));
    }

    async fn look(&self) -> WatchReport {
        watch_customer(self.database.tenants(), &self.customers.acme_scope()).await.unwrap()
    }

    async fn alerts(&self, filter: &AlertFilter) -> Vec<ListedAlert> {
        let tx = self.database.tenants().begin_msp(&self.customers.north_scope()).await.unwrap();
        let listed = list_alerts(&tx, &Granted::All, filter, 200).await.unwrap();
        tx.commit().await.unwrap();
        listed
    }

    /// What is open, in short.
    async fn open(&self) -> Vec<(AlertKind, String, AlertSeverity)> {
        let alerts = self.alerts(&AlertFilter::default()).await;
        alerts.into_iter().map(|listed| (listed.alert.kind, listed.alert.name, listed.alert.severity)).collect()
    }

    async fn act(&self, listed: &ListedAlert, step: AlertStep, reason: &str) -> Result<ListedAlert, granary_metering::MeteringError> {
        let tx = self.database.tenants().begin_msp(&self.customers.north_scope()).await.unwrap();
        let done = act_on_alert(&tx, &Granted::All, listed.alert.id, step, reason).await;
        match done {
            Ok(done) => tx.commit().await.map(|()| done).map_err(Into::into),
            Err(error) => {
                tx.rollback().await.unwrap();
                Err(error)
            }
        }
    }

    async fn news(&self, kind: &str) -> i64 {
        let superuser = self.database.superuser().await;
        superuser.query_one("select count(*) from outbox.messages where kind = $1", &[&kind]).await.unwrap().get(0)
    }
}

fn sampled(day: &str, used_bytes: i64) -> serde_json::Value {
    let data = json!({
        "repository": {"vendor_id": "repo-1", "name": "main", "kind": "disk", "capacity_bytes": 1_000_i64 << 30, "is_copy": false,
            "is_immutable": false, "retention_days": 30},
        "used_bytes": used_bytes, "sampled_at": format!("{day}T10:00:00Z"),
    });
    event(&format!("sample-{day}-{used_bytes}"), "repository.sampled", &format!("{day}T10:00:00Z"), data)
}

#[tokio::test]
async fn failures_in_a_row_become_critical_and_a_success_ends_them() {
    let house = House::new().await;
    house.clock("2025-11-09T06:00:00Z");
    let failed = |run: &str, day: &str, hour| attempt(run, 1, "backup.failed", "sql01", day, hour, &json!([]));
    house.take(&[protected("sql01", "backup", "2025-11-01"), completed("r0", "sql01", "2025-11-08", 1_000), failed("r1", DAY, 1)]).await;
    assert_eq!(house.look().await.raised, 1);
    assert_eq!(house.open().await, [(AlertKind::BackupFailed, "sql01".to_owned(), AlertSeverity::Warning)]);
    assert_eq!(house.look().await, WatchReport { customers: 1, ..WatchReport::default() }, "a second look tells nothing");

    house.take(&[failed("r2", DAY, 2), failed("r3", DAY, 3)]).await;
    house.look().await;
    let open = house.alerts(&AlertFilter::default()).await;
    assert_eq!((open.len(), open[0].alert.severity), (1, AlertSeverity::Critical));
    assert_eq!(open[0].alert.words, "3 runs failed in a row, the last 2025-11-09 04:00 UTC: no route to host");
    assert_eq!((house.news("metering.alert_raised").await, house.news("metering.alert_escalated").await), (1, 1));

    // The source repeats itself, late: nothing more is told.
    house.take(&[failed("r1", DAY, 1), failed("r2", DAY, 2)]).await;
    house.look().await;
    house.take(&[completed("r4", "sql01", DAY, 1_000)]).await;
    house.take(&[attempt("r5", 1, "backup.completed", "sql01", DAY, 5, &json!([]))]).await;
    assert_eq!(house.look().await.resolved, 0, "not at once");
    house.later(16);
    assert_eq!(house.look().await.resolved, 1);
    assert!(house.open().await.is_empty());
    assert_eq!(house.news("metering.alert_resolved").await, 1);
}

#[tokio::test]
async fn a_missed_restore_point_is_told_in_time_and_not_during_agreed_maintenance() {
    let house = House::new().await;
    let skipped = |name: &str, day: &str, is_excused: bool| {
        let data = json!({"machine": machine(name), "day": day, "reason": "agreed", "is_excused": is_excused});
        event(&format!("skipped-{name}-{day}"), "backup.skipped", &format!("{day}T23:00:00Z"), data)
    };
    house
        .take(&[
            protected("late", "backup", "2025-11-01"),
            protected("resting", "backup", "2025-11-01"),
            protected("gone", "backup", "2025-11-01"),
            completed("a", "late", "2025-11-07", 1_000),
            completed("b", "resting", "2025-11-07", 1_000),
            completed("c", "gone", "2025-11-07", 1_000),
            skipped("resting", "2025-11-08", true),
            event(
                "unprotect",
                "machine.unprotected",
                "2025-11-08T00:00:00Z",
                json!({"source_system": "vcenter-1", "vendor_id": "gone", "on": "2025-11-08"}),
            ),
        ])
        .await;
    house.clock("2025-11-08T08:00:00Z");
    house.look().await;
    assert!(house.open().await.is_empty(), "29 hours are within the margin");
    house.clock("2025-11-08T12:00:00Z");
    house.look().await;
    assert_eq!(house.open().await, [(AlertKind::RpoMissed, "late".to_owned(), AlertSeverity::Warning)]);
    house.clock("2025-11-10T12:00:00Z");
    house.look().await;
    let open = house.open().await;
    assert!(open.contains(&(AlertKind::RpoMissed, "late".to_owned(), AlertSeverity::Critical)), "{open:?}");
    assert!(open.contains(&(AlertKind::RpoMissed, "resting".to_owned(), AlertSeverity::Critical)), "its rest is over: {open:?}");
    assert_eq!(open.len(), 2);
}

#[tokio::test]
async fn in_a_maintenance_window_and_until_the_next_restore_point_is_due_it_is_quiet() {
    let house = House::new().await;
    let window = |kind: &str, name: Option<&str>| {
        let mut data = json!({"window_id": "w1", "starts_at": "2025-11-08T00:00:00Z", "ends_at": "2025-11-09T06:00:00Z", "reason": "move"});
        if let Some(name) = name {
            data["machine"] = machine(name);
        }
        event(kind, kind, "2025-11-07T12:00:00Z", data)
    };
    house
        .take(&[
            protected("moved", "backup", "2025-11-01"),
            protected("other", "backup", "2025-11-01"),
            completed("a", "moved", "2025-11-07", 1_000),
            completed("b", "other", "2025-11-07", 1_000),
            window("maintenance.scheduled", Some("moved")),
        ])
        .await;
    let missed = |name: &str, severity| (AlertKind::RpoMissed, name.to_owned(), severity);
    house.clock("2025-11-08T12:00:00Z");
    house.look().await;
    assert_eq!(house.open().await, [missed("other", AlertSeverity::Warning)]);
    house.clock("2025-11-10T05:00:00Z");
    house.look().await;
    assert_eq!(house.open().await.len(), 1, "what was left out is made when the next one is due");
    house.clock("2025-11-10T07:00:00Z");
    house.look().await;
    assert!(house.open().await.contains(&missed("moved", AlertSeverity::Critical)), "{:?}", house.open().await);
}

#[tokio::test]
async fn a_control_plane_that_lives_is_missed_after_an_hour() {
    let house = House::new().await;
    house.take(&[event("beat", "heartbeat.sent", "2025-11-09T10:00:00Z", json!({}))]).await;
    house.clock("2025-11-09T10:50:00Z");
    house.look().await;
    assert!(house.open().await.is_empty());
    house.clock("2025-11-09T11:01:00Z");
    house.look().await;
    assert_eq!(house.open().await, [(AlertKind::ControlPlaneSilent, SOURCE.to_owned(), AlertSeverity::Warning)]);
    house.take(&[event("beat 2", "heartbeat.sent", "2025-11-09T11:02:00Z", json!({}))]).await;
    house.look().await;
    house.later(16);
    assert_eq!(house.look().await.resolved, 1);
}

#[tokio::test]
async fn behind_a_silent_control_plane_no_restore_point_is_called_missing() {
    let house = House::new().await;
    let source = "https://vbr.acme.example";
    assert_eq!(SOURCE, source, "the control plane that ACME has");
    let heartbeat = json!({"day": "2025-11-08", "received": 40, "expected": 96, "last_at": "2025-11-08T10:00:00Z"});
    house
        .take(&[
            protected("sql01", "backup", "2025-11-01"),
            completed("a", "sql01", "2025-11-08", 1_000),
            event("heartbeat", "heartbeat.summary", "2025-11-08T10:05:00Z", heartbeat),
        ])
        .await;
    house.clock("2025-11-09T13:00:00Z");
    house.look().await;
    assert_eq!(house.open().await, [(AlertKind::ControlPlaneSilent, source.to_owned(), AlertSeverity::Warning)]);
    house.clock("2025-11-12T13:00:00Z");
    house.look().await;
    assert_eq!(house.open().await, [(AlertKind::ControlPlaneSilent, source.to_owned(), AlertSeverity::Critical)]);
}

#[tokio::test]
async fn limits_are_told_at_80_and_100_percent_and_repositories_at_85() {
    let house = House::new().await;
    house.clock("2025-11-10T12:00:00Z");
    let (tenants, customers) = (house.database.tenants(), &house.customers);
    let set = async |storage_gib, enforcement| {
        let tx = tenants.begin_msp(&customers.north_scope()).await.unwrap();
        let limits = Limits {
            machines: Some(2),
            machines_enforcement: Enforcement::Soft,
            storage_gib,
            storage_enforcement: enforcement,
            max_concurrent_jobs: None,
            jobs_enforcement: Enforcement::Soft,
            api_rate_limit: None,
            api_enforcement: Enforcement::Hard,
        };
        put_limits(&tx, &customers.acme, &limits).await.unwrap();
        tx.commit().await.unwrap();
    };
    set(1_000, Enforcement::Soft).await;
    house.take(&[sampled("2025-11-01", 650 << 30), sampled("2025-11-10", 830 << 30)]).await;
    house.look().await;
    assert_eq!(house.open().await, [(AlertKind::LimitStorage, "storage".to_owned(), AlertSeverity::Info)]);
    // Between the marks nothing is told, in either direction.
    set(1_080, Enforcement::Soft).await;
    house.look().await;
    house.later(60);
    house.look().await;
    assert_eq!(house.open().await.len(), 1);
    set(2_000, Enforcement::Soft).await;
    house.look().await;
    house.later(20);
    assert_eq!(house.look().await.resolved, 1);

    set(800, Enforcement::Hard).await;
    house
        .take(&[sampled("2025-11-11", 860 << 30), protected("one", "backup", "2025-11-10"), protected("two", "backup", "2025-11-10")])
        .await;
    house.clock("2025-11-11T12:00:00Z");
    house.look().await;
    let open = house.alerts(&AlertFilter::default()).await;
    let words =
        |kind| open.iter().find(|listed| listed.alert.kind == kind).map(|listed| (listed.alert.severity, listed.alert.words.as_str()));
    assert_eq!(words(AlertKind::LimitStorage), Some((AlertSeverity::Critical, "860 of 800 GiB (107 %)")));
    assert_eq!(words(AlertKind::LimitMachines), Some((AlertSeverity::Warning, "2 of 2 machines (100 %)")));
    let full = "860 of 1000 GiB used (86 %); at the pace of the last days full on 2025-11-18";
    assert_eq!(words(AlertKind::RepositoryFull), Some((AlertSeverity::Warning, full)));
}

#[tokio::test]
async fn people_take_alerts_through_their_life_and_everything_is_written_down() {
    let house = House::new().await;
    house.clock("2025-11-10T12:00:00Z");
    house.take(&[protected("sql01", "backup", "2025-11-01"), completed("a", "sql01", "2025-11-08", 1_000)]).await;
    house.look().await;
    let open = house.alerts(&AlertFilter::default()).await;
    let alert = &open[0];
    assert_eq!((open.len(), alert.customer_code.as_str(), alert.alert.severity), (1, "ACME", AlertSeverity::Warning));

    assert_eq!(house.act(alert, AlertStep::Resolve, " ").await.unwrap_err().code(), "invalid");
    let past = AlertStep::Snooze("2025-11-10T12:00:00Z".parse().unwrap());
    assert_eq!(house.act(alert, past, "lunch").await.unwrap_err().code(), "invalid");
    let taken = house.act(alert, AlertStep::Acknowledge, "").await.unwrap();
    assert_eq!((taken.alert.state, taken.alert.changed_by.as_str()), (AlertState::Acknowledged, "system:test"));
    assert_eq!(house.act(alert, AlertStep::Acknowledge, "").await.unwrap_err().code(), "alert_state");
    let until: Timestamp = "2025-11-10T13:00:00Z".parse().unwrap();
    assert_eq!(house.act(alert, AlertStep::Snooze(until), "the agent restarts").await.unwrap().alert.snoozed_until, Some(until));
    house.later(60);
    house.look().await;
    assert_eq!(house.alerts(&AlertFilter::default()).await[0].alert.state, AlertState::Open, "awake again");
    house.act(alert, AlertStep::Escalate, "the vendor must help").await.unwrap();
    house.act(alert, AlertStep::Resolve, "known, and accepted").await.unwrap();
    assert_eq!(house.act(alert, AlertStep::Escalate, "again").await.unwrap_err().code(), "alert_state");
    house.later(60);
    assert_eq!(house.look().await.raised, 0, "it rests for a day");
    house.later(24 * 60);
    assert_eq!(house.look().await.raised, 1);

    let superuser = house.database.superuser().await;
    let noted: i64 = superuser.query_one("select count(*) from control.audit_log where action like 'alert.%'", &[]).await.unwrap().get(0);
    assert_eq!(noted, 4);
    assert_eq!((house.news("metering.alert_escalated").await, house.news("metering.alert_resolved").await), (1, 1));
}

#[tokio::test]
async fn nobody_sees_or_takes_the_alerts_of_others() {
    let house = House::new().await;
    house.clock("2025-11-10T12:00:00Z");
    house.take(&[protected("sql01", "backup", "2025-11-01")]).await;
    house.ingest(&house.customers.south_acme_scope(), &[protected("sql01", "backup", "2025-11-01")]).await;
    let (tenants, customers) = (house.database.tenants(), &house.customers);
    for scope in [customers.north_scope(), customers.south_scope()] {
        watch_msp(tenants, &scope, true, Silent::shared()).await.unwrap();
    }
    let north = house.alerts(&AlertFilter::default()).await;
    assert_eq!(north.len(), 1);
    let tx = tenants.begin_msp(&customers.south_scope()).await.unwrap();
    let south = list_alerts(&tx, &Granted::All, &AlertFilter::default(), 200).await.unwrap();
    assert_eq!((south.len(), south[0].alert.customer_id), (1, customers.south_acme.id));
    let foreign = act_on_alert(&tx, &Granted::All, north[0].alert.id, AlertStep::Acknowledge, "").await;
    assert_eq!(foreign.unwrap_err().code(), "not_found");
    tx.rollback().await.unwrap();
    let tx = tenants.begin_msp(&customers.north_scope()).await.unwrap();
    let only_globex = Granted::Only([customers.globex.id].into());
    assert!(list_alerts(&tx, &only_globex, &AlertFilter::default(), 200).await.unwrap().is_empty());
    assert_eq!(count_alerts(&tx, &only_globex).await.unwrap().critical, 0);
    assert_eq!(count_alerts(&tx, &Granted::All).await.unwrap().critical, 1);
    let ungranted = act_on_alert(&tx, &only_globex, north[0].alert.id, AlertStep::Acknowledge, "").await;
    assert_eq!(ungranted.unwrap_err().code(), "not_found");
    tx.rollback().await.unwrap();
}

#[tokio::test]
async fn a_round_looks_at_those_that_are_due_and_goes_on_after_a_failure() {
    let house = House::new().await;
    let (tenants, customers) = (house.database.tenants(), &house.customers);
    let scope = customers.north_scope();
    let round = async || watch_msp(tenants, &scope, false, Silent::shared()).await.unwrap();
    assert_eq!(round().await.customers, 2, "nobody was ever looked at");
    assert_eq!(round().await.customers, 0);
    let tx = tenants.begin_msp(&scope).await.unwrap();
    bring_forward(&tx, customers.acme.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(round().await.customers, 1, "something of it came");
    house.later(31);
    let superuser = house.database.superuser().await;
    superuser.batch_execute(&format!("alter table {}.heartbeats rename to hidden", customers.globex.schema_name)).await.unwrap();
    let report = round().await;
    assert_eq!((report.customers, report.failures.len()), (2, 1), "{report:?}");
    house.later(5);
    assert_eq!(round().await.customers, 0, "the failed one waits");
    house.later(6);
    assert_eq!(round().await.failures.len(), 1);
}

#[tokio::test]
async fn what_a_wrong_clock_says_of_years_to_come_hides_nothing() {
    let house = House::new().await;
    let heartbeat = |day: &str| {
        let data = json!({"day": day, "received": 96, "expected": 96, "last_at": format!("{day}T10:00:00Z")});
        event(&format!("heartbeat {day}"), "heartbeat.summary", &format!("{day}T10:05:00Z"), data)
    };
    house
        .take(&[
            protected("sql01", "backup", "2025-11-01"),
            completed("a", "sql01", "2025-11-04", 1_000),
            completed("b", "sql01", "2098-01-01", 1_000),
            heartbeat("2025-11-07"),
            heartbeat("2098-01-01"),
            sampled("2025-11-08", 960 << 30),
            sampled("2098-01-01", 1),
        ])
        .await;
    house.clock("2025-11-09T13:00:00Z");
    house.look().await;
    let kinds = async || house.open().await.into_iter().map(|(kind, _, _)| kind).collect::<Vec<_>>();
    let open = kinds().await;
    assert!(open.contains(&AlertKind::ControlPlaneSilent) && open.contains(&AlertKind::RepositoryFull), "{open:?}");
    house.take(&[heartbeat("2025-11-09")]).await;
    house.look().await;
    let open = kinds().await;
    assert!(open.contains(&AlertKind::RpoMissed), "{open:?}");
}
