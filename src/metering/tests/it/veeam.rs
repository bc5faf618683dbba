//! The golden numbers of a real session report (see `tests/data/veeam/README.md`).

use granary_metering::{TierPrices, ingest, measure, rebuild_days, veeam};
use granary_types::{CountingRule, line_amount};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::house::{House, dump};

const REPORT: &[u8] = include_bytes!("../../../../tests/data/veeam/VeeamSessionReport_NoDupes.csv");

async fn import(house: &House, report: &[u8]) -> (usize, usize) {
    let zone = TimeZone::get("America/New_York").unwrap();
    let events = veeam::events(report, &zone, "veeam").unwrap();
    let tx = house.begin(&house.customers.acme_scope()).await;
    let (mut accepted, mut duplicates) = (0, 0);
    for batch in events.chunks(2_000) {
        let report = ingest(&tx, None, &serde_json::to_vec(batch).unwrap()).await.unwrap();
        assert_eq!(
            (report.invalid, report.conflicts),
            (0, 0),
            "{:?}",
            report.outcomes.iter().find(|outcome| !matches!(outcome, granary_metering::Outcome::Accepted))
        );
        accepted += report.accepted;
        duplicates += report.duplicates;
    }
    rebuild_days(&tx, "2019-04".parse().unwrap(), "2020-05".parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    (accepted, duplicates)
}

#[tokio::test]
async fn the_real_report_gives_its_golden_numbers_however_often_it_is_imported() {
    let house = House::new().await;
    assert_eq!(import(&house, REPORT).await, (13_043 + 15, 0));
    let sessions = "select concat_ws(' ', count(*), count(*) filter (where state = 'failed'), count(*) filter (where state = 'completed_with_warning'),
        round(100.0 * count(*) filter (where state <> 'failed') / count(*), 2)) from backup_attempts";
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
    assert_eq!(import(&house, REPORT).await, (0, 13_043 + 15));
    let text = std::str::from_utf8(REPORT).unwrap();
    let mut rows: Vec<&str> = text.lines().collect();
    let headings = rows.remove(0);
    let repeated: Vec<&str> = std::iter::once(headings).chain(rows.iter().rev().copied()).chain(rows.iter().copied()).collect();
    assert_eq!(import(&house, repeated.join("\n").as_bytes()).await, (0, 13_043 + 15));
    let tx = house.begin(&house.customers.acme_scope()).await;
    assert!(dump(&tx).await == before, "an import of the same sessions changed something");
    tx.commit().await.unwrap();
}

#[test]
fn every_session_has_an_id_of_its_own() {
    let events = veeam::events(REPORT, &TimeZone::UTC, "veeam").unwrap();
    let ids: std::collections::HashSet<&str> = events.iter().map(|event: &Value| event["id"].as_str().unwrap()).collect();
    assert_eq!((events.len(), ids.len()), (13_058, 13_058));
}
