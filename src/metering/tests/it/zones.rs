//! Days and periods in zones that make them hard: clocks that jump, half hours, the edges of the world.

use granary_metering::{PeriodUsage, measure, rebuild_days};
use granary_tenants::{NewContract, NewCustomer, NewMsp, TenantScope};
use granary_test_support::TestDatabase;
use granary_types::{Currency, Period, Tier, day_of};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::json;

use super::house::{SOURCE, event, machine, protected};

/// Zone, month, hours of the month, and the first UTC instant of it. Spring and autumn of both halves of the Earth, Lord Howe's
/// half hours, the first and the last zone of a day, a leap day.
const MONTHS: [(&str, &str, f64, &str); 10] = [
    ("America/New_York", "2025-03", 743.0, "2025-03-01T05:00:00Z"),
    ("America/New_York", "2025-11", 721.0, "2025-11-01T04:00:00Z"),
    ("Europe/Berlin", "2025-03", 743.0, "2025-02-28T23:00:00Z"),
    ("Europe/Berlin", "2025-10", 745.0, "2025-09-30T22:00:00Z"),
    ("Australia/Lord_Howe", "2025-04", 720.5, "2025-03-31T13:00:00Z"),
    ("Australia/Lord_Howe", "2025-10", 743.5, "2025-09-30T13:30:00Z"),
    ("Pacific/Kiritimati", "2025-10", 744.0, "2025-09-30T10:00:00Z"),
    ("Pacific/Pago_Pago", "2025-10", 744.0, "2025-10-01T11:00:00Z"),
    ("Asia/Kolkata", "2024-02", 696.0, "2024-01-31T18:30:00Z"),
    ("Pacific/Kiritimati", "2024-02", 696.0, "2024-01-31T10:00:00Z"),
];

#[test]
fn no_hour_of_a_month_is_lost_or_counted_twice() {
    for (zone, month, hours, first) in MONTHS {
        let (zone, period): (_, Period) = (TimeZone::get(zone).unwrap(), month.parse().unwrap());
        let (start, end) = (period.start_at(&zone), period.end_at(&zone));
        assert_eq!(start.to_string(), first, "{zone:?} {month}");
        let quarters = (end.as_second() - start.as_second()) / 900;
        assert!((quarters as f64 / 4.0 - hours).abs() < f64::EPSILON, "{zone:?} {month} has {quarters} quarters of an hour");
        // Every quarter belongs to one day of this month, and the day never goes back.
        let mut day = period.first_day();
        let mut days = 1;
        for quarter in 0..quarters {
            let at = start + (quarter * 15).minutes();
            let on = day_of(at, &zone);
            assert!(on == day || on == day.tomorrow().unwrap(), "{zone:?} {at}: {day} is followed by {on}");
            days += i64::from(on != day);
            day = on;
            assert_eq!(Period::containing(at, &zone), period);
        }
        assert_eq!((day, days), (period.last_day(), i64::from(period.days())), "{zone:?} {month}");
        assert_eq!(Period::containing(start - 1.nanosecond(), &zone), period.previous());
        assert_eq!(Period::containing(end, &zone), period.next());
    }
}

/// A customer whose MSP lives in a zone, far after the month.
async fn customer(db: &TestDatabase, zone: &str) -> TenantScope {
    let past = Some("2023-01-01T12:00:00Z".parse().unwrap());
    let time_zone = TimeZone::get(zone).unwrap();
    let code = zone.replace('/', "-").to_uppercase();
    let new = NewMsp { created_at: past, ..NewMsp::new(&code, zone, time_zone.clone()) };
    let msp = db.tenants().create_msp(&new).await.unwrap();
    let contract = NewContract::new("2023-01-01".parse().unwrap(), Currency::USD, Tier::Backup, 1_000);
    let customer = NewCustomer { created_at: past, ..NewCustomer::new(msp.id, "ACME".parse().unwrap(), "Acme", time_zone, contract) };
    let customer = db.tenants().provision_customer(&customer).await.unwrap();
    TenantScope::for_job(msp, customer, "test")
}

async fn measured(db: &TestDatabase, scope: &TenantScope, period: Period) -> PeriodUsage {
    let tx = db.tenants().begin_tenant(scope).await.unwrap();
    rebuild_days(&tx, period, period).await.unwrap();
    let usage = measure(&tx, period).await.unwrap();
    tx.commit().await.unwrap();
    usage
}

/// A run of its own machine that ends at an instant.
fn run_at(number: usize, at: Timestamp) -> [serde_json::Value; 2] {
    let name = format!("vm-{number}");
    let data = json!({
        "run_id": name, "machine": machine(&name), "kind": "full", "attempt": 1, "started_at": at - 1.minute(), "ended_at": at, "has_warning": false,
        "disks": [{"index": 0, "size_bytes": 10, "transferred_bytes": 1, "state": "completed"}],
    });
    [protected(&name, "backup", "2023-01-01"), event(&format!("run-{number}"), "backup.completed", &at.to_string(), data)]
}

#[tokio::test]
async fn what_ends_at_the_edges_of_a_month_counts_once_in_every_zone() {
    let db = TestDatabase::new().await;
    db.clock().set("2026-01-15T12:00:00Z".parse().unwrap());
    for zone in ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata"] {
        let scope = customer(&db, zone).await;
        for (number, (_, month, _, _)) in MONTHS.iter().enumerate().filter(|(_, of)| of.0 == zone) {
            let period: Period = month.parse().unwrap();
            let (start, end) = (period.start_at(&scope.msp.time_zone), period.end_at(&scope.msp.time_zone));
            let instants = [start - 1.microsecond(), start, end - 1.microsecond(), end];
            let events: Vec<_> = instants.into_iter().enumerate().flat_map(|(index, at)| run_at(number * 10 + index, at)).collect();
            let tx = db.tenants().begin_tenant(&scope).await.unwrap();
            granary_metering::ingest(&tx, Some(SOURCE), &serde_json::to_vec(&events).unwrap()).await.unwrap();
            tx.commit().await.unwrap();
            let counts = [period.previous(), period, period.next()].map(|period| {
                let (db, scope) = (&db, &scope);
                async move { measured(db, scope, period).await }
            });
            let [before, of, after] = futures::future::join_all(counts).await.try_into().unwrap();
            assert_eq!((before.runs_completed, of.runs_completed, after.runs_completed), (1, 2, 1), "{zone} {month}");
            assert_eq!(
                (before.distinct.total(), of.distinct.total(), after.distinct.total()),
                (1.into(), 2.into(), 1.into()),
                "{zone} {month}"
            );
            assert_eq!(of.transferred_bytes, 2, "{zone} {month}");
            // The run of the day before protects the first days of the month, and the first day's own.
            let first = of.days.first().unwrap();
            assert_eq!((first.day, first.backup), (period.first_day(), 2), "{zone} {month}");
            let last = of.days.last().unwrap();
            assert_eq!((last.day, last.backup, of.days_elapsed), (period.last_day(), 1, i64::from(period.days())), "{zone} {month}");
        }
    }
}

#[tokio::test]
async fn every_quarter_of_an_hour_of_a_day_that_jumps_is_a_run_of_that_day() {
    let db = TestDatabase::new().await;
    db.clock().set("2026-01-15T12:00:00Z".parse().unwrap());
    // 23, 25, 24.5 and 23.5 hours.
    let jumps = [
        ("America/New_York", "2025-03-09", 92),
        ("Europe/Berlin", "2025-10-26", 100),
        ("Australia/Lord_Howe", "2025-04-06", 98),
        ("Australia/Lord_Howe", "2025-10-05", 94),
    ];
    for (index, (zone, day, quarters)) in jumps.into_iter().enumerate() {
        let scope = customer(&db, zone).await;
        let day: jiff::civil::Date = day.parse().unwrap();
        let start = day.to_zoned(scope.msp.time_zone.clone()).unwrap().timestamp();
        let end = day.tomorrow().unwrap().to_zoned(scope.msp.time_zone.clone()).unwrap().timestamp();
        let count = usize::try_from((end.as_second() - start.as_second()) / 900).unwrap();
        assert_eq!(count, quarters, "{zone} {day}");
        let runs = (0..count).flat_map(|quarter| run_at(index * 1_000 + quarter, start + (quarter as i64 * 15).minutes()));
        let events: Vec<_> = runs.collect();
        let tx = db.tenants().begin_tenant(&scope).await.unwrap();
        granary_metering::ingest(&tx, Some(SOURCE), &serde_json::to_vec(&events).unwrap()).await.unwrap();
        tx.commit().await.unwrap();
        let usage = measured(&db, &scope, Period::of(day)).await;
        assert_eq!((usage.runs_completed, usage.distinct.total()), (i64::try_from(quarters).unwrap(), quarters.into()), "{zone} {day}");
        let on_day = usage.days.iter().find(|one| one.day == day).unwrap();
        assert_eq!(on_day.backup, i64::try_from(quarters).unwrap(), "{zone} {day}");
        assert!(usage.days.iter().all(|one| one.day >= day), "{zone} {day}");
    }
}

#[tokio::test]
async fn storage_is_the_last_sample_of_each_day_carried_for_a_week() {
    let db = TestDatabase::new().await;
    db.clock().set("2024-04-15T12:00:00Z".parse().unwrap());
    let scope = customer(&db, "Pacific/Kiritimati").await;
    let sample = |id: &str, repository: &str, is_copy: bool, at: &str, used: i64| {
        let of = json!({"vendor_id": repository, "name": repository, "kind": "nfs", "is_copy": is_copy});
        event(id, "repository.sampled", at, json!({"repository": of, "sampled_at": at, "used_bytes": used}))
    };
    // The zone is 14 hours ahead: 10:00 UTC is midnight. Two samples of the 1st, the later one counts; a copy is storage as well.
    let events = [
        sample("s1", "r", false, "2024-01-31T10:00:00Z", 100),
        sample("s2", "r", false, "2024-02-01T09:59:59Z", 290),
        sample("s3", "copy", true, "2024-02-28T09:00:00Z", 29),
        sample("s4", "copy", true, "2024-02-29T09:59:59Z", 58),
    ];
    let tx = db.tenants().begin_tenant(&scope).await.unwrap();
    let report = granary_metering::ingest(&tx, Some(SOURCE), &serde_json::to_vec(&events).unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(report.accepted, 4, "{:?}", report.outcomes);
    let february = measured(&db, &scope, "2024-02".parse().unwrap()).await;
    // 8 days of 290 and no more: a week after its last sample a repository is a guess. One day of 29 and one of 58 in the copy.
    assert_eq!(february.stored_bytes_average, (8 * 290 + 29 + 58 + 14) / 29);
    assert!(february.is_estimated);
    assert_eq!(measured(&db, &scope, "2024-01".parse().unwrap()).await.stored_bytes_average, 0);
}
