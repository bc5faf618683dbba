//! Daily usage and the counting rules.

use granary_metering::{BillingReason, list_machines, measure, rebuild_days};
use granary_types::{CountingRule, Tier};
use serde_json::{Value, json};

use super::house::{House, attempt, completed, dump, event, machine, protected};

async fn measured(house: &House, period: &str) -> granary_metering::PeriodUsage {
    let tx = house.begin(&house.customers.acme_scope()).await;
    let period = period.parse().unwrap();
    rebuild_days(&tx, period, period).await.unwrap();
    let usage = measure(&tx, period).await.unwrap();
    tx.commit().await.unwrap();
    usage
}

#[tokio::test]
async fn a_machine_in_backup_and_replication_is_one_machine_at_its_higher_tier() {
    let house = House::new().await;
    let cycles = json!({"machine": machine("db-1"), "day": "2025-10-03", "cycles_completed": 10, "cycles_failed": 0, "transferred_bytes": 5, "lag_seconds_max": 9, "last_cycle_at": "2025-10-03T20:00:00Z"});
    house
        .take(&[
            protected("db-1", "backup", "2025-10-01"),
            completed("r1", "db-1", "2025-10-02", 5),
            event(
                "t",
                "machine.tier_changed",
                "2025-10-03T00:00:00Z",
                json!({"source_system": "vcenter-1", "vendor_id": "db-1", "tier": "replication", "from": "2025-10-03"}),
            ),
            event("c", "replication.summary", "2025-10-03T20:00:00Z", cycles),
        ])
        .await;
    let usage = measured(&house, "2025-10").await;
    assert_eq!((usage.distinct.backup, usage.distinct.replication), (0.into(), 1.into()));
    assert_eq!((usage.runs_completed, usage.cycles_completed, usage.transferred_bytes), (1, 10, 5));
}

#[tokio::test]
async fn a_machine_is_in_protection_for_seven_days_after_a_completed_run() {
    let house = House::new().await;
    house
        .take(&[
            protected("web-1", "backup", "2025-10-01"),
            completed("r1", "web-1", "2025-10-04", 5),
            completed("r2", "web-1", "2025-10-06", 5),
        ])
        .await;
    house
        .take(&[event(
            "u",
            "machine.unprotected",
            "2025-10-01T00:00:00Z",
            json!({"source_system": "vcenter-1", "vendor_id": "web-1", "on": "2025-10-11"}),
        )])
        .await;
    let usage = measured(&house, "2025-10").await;
    // 02:00 UTC is the evening before in New York: the runs belong to the 3rd and the 5th, the 11th is unprotected.
    let days: Vec<_> = usage.days.iter().map(|day| day.day.day()).collect();
    assert_eq!(days, [3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(usage.count(CountingRule::AverageDaily, &granary_metering::TierPrices::LIST).backup.to_string(), "0.2581");
    assert_eq!(usage.count(CountingRule::LastDay, &granary_metering::TierPrices::LIST).total(), 0.into());
}

#[tokio::test]
async fn only_a_completed_run_bills_and_the_annex_says_why_others_do_not() {
    let house = House::new().await;
    house
        .take(&[
            protected("bills", "enterprise", "2025-10-01"),
            completed("r1", "bills", "2025-10-05", 5),
            protected("fails", "backup", "2025-10-01"),
            attempt("r2", 1, "backup.failed", "fails", "2025-10-05", 5, &json!([])),
            protected("silent", "backup", "2025-10-01"),
            completed("r3", "unknown", "2025-10-05", 5),
        ])
        .await;
    let usage = measured(&house, "2025-10").await;
    assert_eq!((usage.distinct.enterprise, usage.distinct.total()), (1.into(), 1.into()));
    let tx = house.begin(&house.customers.acme_scope()).await;
    let annex = list_machines(&tx, "2025-10".parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    let rows: Vec<_> = annex.iter().map(|row| (row.name.as_str(), row.billed_tier, row.reason())).collect();
    assert_eq!(
        rows,
        [
            ("bills", Some(Tier::Enterprise), BillingReason::Completed),
            ("fails", None, BillingReason::NeverCompleted),
            ("silent", None, BillingReason::Silent),
            ("unknown", None, BillingReason::NoTier),
        ]
    );
    assert_eq!(annex[0].tier_from_on.unwrap().to_string(), "2025-10-04");
}

#[tokio::test]
async fn a_replaced_machine_and_its_successor_are_one() {
    let house = House::new().await;
    house
        .take(&[
            protected("old", "backup", "2025-10-01"),
            completed("r1", "old", "2025-10-05", 5),
            completed("r2", "new", "2025-10-09", 5),
            event(
                "x",
                "machine.replaced",
                "2025-10-08T00:00:00Z",
                json!({"source_system": "vcenter-1", "vendor_id": "old", "replaced_by": machine("new")}),
            ),
        ])
        .await;
    assert_eq!(measured(&house, "2025-10").await.distinct.total(), 1.into());
    // A circle of replacements still counts something, once.
    house
        .take(&[event(
            "y",
            "machine.replaced",
            "2025-10-08T00:00:00Z",
            json!({"source_system": "vcenter-1", "vendor_id": "new", "replaced_by": machine("old")}),
        )])
        .await;
    assert_eq!(measured(&house, "2025-10").await.distinct.total(), 1.into());
}

fn sample(day: &str, hour: i32, used: i64) -> Value {
    let at = format!("{day}T{hour:02}:00:00Z");
    let repository = json!({"vendor_id": "repo-1", "name": "Main", "kind": "nfs"});
    event(&format!("s-{at}"), "repository.sampled", &at, json!({"repository": repository, "used_bytes": used, "sampled_at": at}))
}

#[tokio::test]
async fn storage_is_the_average_of_each_days_last_sample_carried_over_gaps() {
    let house = House::new().await;
    // Zero on the 1st and 2nd, 3,100 from the 3rd (the last sample of the day), carried to the 9th, 310 from the 10th.
    let mut list = vec![sample("2025-10-03", 12, 999), sample("2025-10-03", 20, 3_100)];
    list.extend((10..=31).map(|day| sample(&format!("2025-10-{day:02}"), 12, 310)));
    house.take(&list).await;
    let usage = measured(&house, "2025-10").await;
    assert_eq!(usage.stored_bytes_average, (7 * 3_100 + 22 * 310) / 31);
    assert!(!usage.is_estimated);
    // November: carried to the 7th, then silent; the 10th is today.
    let usage = measured(&house, "2025-11").await;
    assert_eq!((usage.stored_bytes_average, usage.days_elapsed, usage.is_estimated), (7 * 310 / 10, 10, true));
}

#[tokio::test]
async fn rebuilding_twice_changes_nothing_and_late_facts_are_taken_up() {
    let house = House::new().await;
    let scope = house.customers.acme_scope();
    house.take(&[protected("web-1", "backup", "2025-10-01"), completed("r1", "web-1", "2025-10-05", 5)]).await;
    measured(&house, "2025-10").await;
    let tx = house.begin(&scope).await;
    let (before, dirty) = (dump(&tx).await, count_dirty(&tx).await);
    tx.commit().await.unwrap();
    measured(&house, "2025-10").await;
    let tx = house.begin(&scope).await;
    assert_eq!((dump(&tx).await, count_dirty(&tx).await), (before, dirty));
    tx.commit().await.unwrap();
    house
        .take(&[event(
            "late",
            "machine.unprotected",
            "2025-10-20T00:00:00Z",
            json!({"source_system": "vcenter-1", "vendor_id": "web-1", "on": "2025-10-06"}),
        )])
        .await;
    assert_eq!(measured(&house, "2025-10").await.days.len(), 2);
}

async fn count_dirty(tx: &granary_tenants::TenantTx) -> i64 {
    tx.query_one("select count(*) from dirty", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn sums_that_are_too_large_stop_at_the_largest_and_stop_nothing_else() {
    let house = House::new().await;
    let disks: Vec<Value> =
        (0..256).map(|index| json!({"index": index, "size_bytes": 0, "transferred_bytes": 1_i64 << 53, "state": "completed"})).collect();
    let mut events = vec![protected("big", "backup", "2025-10-01")];
    events.extend((0..6).map(|number| attempt(&format!("r{number}"), 1, "backup.completed", "big", "2025-10-07", 9, &json!(disks))));
    events.extend((0..1_100).map(|number| {
        let data = json!({"day": "2025-10-07", "kind": "api_call", "amount": 1_i64 << 53});
        let mut event = event(&format!("calls {number}"), "activity.summary", "2025-10-07T23:00:00Z", data);
        event["source"] = format!("source {number}").into();
        event
    }));
    house.take(&events).await;
    let usage = measured(&house, "2025-10").await;
    assert_eq!((usage.distinct.backup, usage.transferred_bytes, usage.api_calls), (1.into(), i64::MAX, i64::MAX));
    assert_eq!(usage.series[0].transferred_bytes, i64::MAX);
}
