//! The golden numbers of a real session report (see `tests/data/veeam/README.md`).

use granary_metering::{TierPrices, ingest, measure, rebuild_days, veeam};
use granary_types::{CountingRule, line_amount};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::house::{House, dump};

const REPORT: &str = include_str!("../../../../tests/data/veeam/VeeamSessionReport_NoDupes.csv");

/// Imports a report and returns how many events were accepted, were known, and contradicted known ones.
async fn import_as(house: &House, report: &str, zone: &str) -> (usize, usize, usize) {
    let tx = house.begin(&house.customers.acme_scope()).await;
    let known = veeam::known_machines(&tx).await.unwrap();
    let events = veeam::events(report.as_bytes(), &TimeZone::get(zone).unwrap(), "veeam", &known).unwrap();
    let (mut accepted, mut duplicates, mut conflicts) = (0, 0, 0);
    for batch in events.chunks(2_000) {
        let report = ingest(&tx, None, &serde_json::to_vec(batch).unwrap()).await.unwrap();
        assert_eq!(report.invalid, 0, "{:?}", report.outcomes);
        accepted += report.accepted;
        duplicates += report.duplicates;
        conflicts += report.conflicts;
    }
    rebuild_days(&tx, "2019-04".parse().unwrap(), "2020-05".parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    (accepted, duplicates, conflicts)
}

async fn import(house: &House, report: &str) -> (usize, usize, usize) {
    import_as(house, report, "America/New_York").await
}

/// The rows that were created in these years and months.
fn excerpt(months: impl Fn(&str, &str) -> bool) -> String {
    let mut lines = REPORT.lines();
    let headings = lines.next().unwrap();
    let is_wanted = |line: &&str| {
        let date = line.replace('"', "").split(',').nth(7).unwrap().to_owned();
        let mut parts = date.split('/');
        let month = parts.next().unwrap();
        months(&parts.nth(1).unwrap()[..4], month)
    };
    std::iter::once(headings).chain(lines.filter(is_wanted)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_real_report_gives_its_golden_numbers_however_often_it_is_imported() {
    let house = House::new().await;
    assert_eq!(import(&house, REPORT).await, (13_043 + 15, 0, 0));
    let sessions = "select concat_ws(' ', count(*), count(*) filter (where state = 'failed'), count(*) filter (where state = 'completed_with_warning'),
        round(100.0 * count(*) filter (where state <> 'failed') / count(*), 2))
        from (select state from backup_attempts union all select state from backup_runs where id not in (select run_id from backup_attempts)) as sessions";
    assert_eq!(house.text(sessions).await.unwrap(), "13043 98 69 99.25");
    // 64 retries follow a failed session of their job and machine; every other retry stands alone.
    assert_eq!(house.text("select concat_ws(' ', count(*), sum(attempt_count)) from backup_runs").await.unwrap(), "12979 13043");

    let tx = house.begin(&house.customers.acme_scope()).await;
    let usage = measure(&tx, "2019-12".parse().unwrap()).await.unwrap();
    let before = dump(&tx).await;
    tx.commit().await.unwrap();
    let count = |rule| usage.count(rule, &TierPrices::LIST).backup;
    assert_eq!(usage.machines.backup, 9.into());
    assert_eq!(count(CountingRule::DistinctInPeriod), 9.into());
    assert_eq!(count(CountingRule::PeakDaily), 9.into());
    assert_eq!(count(CountingRule::LastDay), 6.into());
    assert_eq!(count(CountingRule::AverageDaily).to_string(), "6.2581");
    let amount = line_amount(count(CountingRule::AverageDaily), 10.into(), house.customers.north.currency).unwrap();
    assert_eq!(amount.to_string(), "62.58 USD");

    // Again, and with every row twice, from the last to the first.
    assert_eq!(import(&house, REPORT).await, (0, 13_043, 0));
    let mut rows: Vec<&str> = REPORT.lines().collect();
    let headings = rows.remove(0);
    let repeated: Vec<&str> = std::iter::once(headings).chain(rows.iter().rev().copied()).chain(rows.iter().copied()).collect();
    assert_eq!(import(&house, &repeated.join("\n")).await, (0, 13_043, 0));
    let tx = house.begin(&house.customers.acme_scope()).await;
    assert!(dump(&tx).await == before, "an import of the same sessions changed something");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_same_sessions_under_another_zone_are_contradictions_and_change_nothing() {
    let house = House::new().await;
    let december = excerpt(|year, month| (year, month) == ("2019", "12"));
    let (accepted, ..) = import(&house, &december).await;
    assert!(accepted > 400, "{accepted}");
    let tx = house.begin(&house.customers.acme_scope()).await;
    let before = dump(&tx).await;
    tx.commit().await.unwrap();
    for zone in ["UTC", "Asia/Tokyo"] {
        let (accepted, duplicates, conflicts) = import_as(&house, &december, zone).await;
        assert_eq!((accepted, duplicates, conflicts > 400), (0, 0, true), "{zone}: {conflicts}");
    }
    let tx = house.begin(&house.customers.acme_scope()).await;
    assert!(dump(&tx).await == before, "an import under another zone changed something");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn overlapping_excerpts_in_either_order_come_to_the_same_as_the_whole() {
    let early = excerpt(|year, _| year == "2019");
    let late = excerpt(|year, month| year == "2020" || month == "12");
    let facts = "select jsonb_agg(to_jsonb(t) order by to_jsonb(t)::text)::text from (
        select m.vendor_id, a.tier, a.valid_from, a.valid_to, null as runs from tier_assignments as a join machines as m on m.id = a.machine_id
        union all select state, kind, ended_at::date, null, attempt_count from backup_runs) as t";
    let mut seen = Vec::new();
    for order in [[REPORT, REPORT, REPORT], [&early, &late, REPORT], [&late, &early, REPORT]] {
        let house = House::new().await;
        import(&house, order[0]).await;
        let machines = "select count(*)::text from usage_events where type = 'machine.protected'";
        let protected = house.text(machines).await;
        let (_, _, conflicts) = import(&house, order[1]).await;
        assert_eq!(conflicts, 0);
        let (accepted, duplicates, conflicts) = import(&house, order[2]).await;
        assert_eq!((accepted, duplicates, conflicts), (0, 13_043, 0), "the whole has nothing new after its parts");
        seen.push(house.text(facts).await.unwrap());
        assert!(protected.unwrap().parse::<u32>().unwrap() <= 15);
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2]);
}

#[test]
fn every_session_has_an_id_of_its_own() {
    let events = veeam::events(REPORT.as_bytes(), &TimeZone::UTC, "veeam", &veeam::KnownMachines::new()).unwrap();
    let ids: std::collections::HashSet<&str> = events.iter().map(|event: &Value| event["id"].as_str().unwrap()).collect();
    assert_eq!((events.len(), ids.len()), (13_058, 13_058));
}
