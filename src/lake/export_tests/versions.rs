//! Versions that are named, found, and let go of; files that are written anew.

use granary_tenants::Granted;
use granary_types::Period;
use jiff::{SignedDuration, Timestamp};

use super::fixture::Fixture;
use super::{files, grant, night};
use crate::lake::Lake;
use crate::store::versions;
use crate::{AsOf, LakeError, VerifyOutcome};

/// The sum of all visits at a version, through the whole way of a reader.
async fn amount(fixture: &Fixture, version: i64) -> Result<i64, LakeError> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    let snapshot = fixture.lake.snapshot(&grant(&fixture.north, Granted::All), Some(version)).await?;
    let mut sum = 0;
    for file in snapshot.files_of("visits") {
        for batch in fixture.lake.read(file).await? {
            sum += batch.column_by_name("amount").unwrap().as_primitive::<Int64Type>().values().iter().sum::<i64>();
        }
    }
    Ok(sum)
}

async fn stored(lake: &Lake) -> usize {
    lake.objects().list("lake").await.unwrap().len()
}

#[tokio::test]
async fn what_is_labelled_stays_and_other_past_versions_go() {
    let fixture = Fixture::new().await;
    let (lake, north, acme) = (&fixture.lake, &fixture.north, &fixture.acme);
    let now = lake.tenants().clock().now();
    fixture.sql(acme, "insert into visits values ('2025-10-01', 'api_call', 1)").await;
    night(lake).await;
    let first = lake.version(north.id).await.unwrap();
    fixture.sql(acme, "update visits set amount = 2").await;
    night(lake).await;
    let closed = lake.label(north, "2025-10", "the period was closed").await.unwrap();
    assert_eq!(lake.label(north, "2025-10", "again").await.unwrap(), closed, "a name stays where it is");
    assert_eq!(lake.label(&fixture.south, "2025-10", "its own").await.unwrap(), lake.version(fixture.south.id).await.unwrap());
    for amount in ["update visits set amount = 3", "update visits set amount = 4"] {
        fixture.sql(acme, amount).await;
        night(lake).await;
    }
    let head = lake.version(north.id).await.unwrap();
    let found = async |wanted: &str| lake.find_version(north.id, &wanted.parse::<AsOf>().unwrap()).await;
    assert_eq!(found("2025-10").await.unwrap(), closed);
    assert_eq!(found(&now.to_string()).await.unwrap(), head);
    assert_eq!(found(&format!("v{first}")).await.unwrap(), first);
    for unknown in ["2025-09", "v0", &format!("v{}", head + 1), "2020-01-01T00:00:00Z"] {
        assert!(matches!(found(unknown).await, Err(LakeError::NothingAsOf(_))), "{unknown}");
    }
    for name in ["", " x", "v7", "2025-10-01T00:00:00Z", "a\nb", &"x".repeat(101)] {
        assert!(matches!(lake.label(north, name, "test").await, Err(LakeError::InvalidLabel(_))), "{name:?}");
    }

    // Nothing is old enough: a query may still read what was replaced within the hour, whatever is asked. Then everything is.
    let before = stored(lake).await;
    let later = now + SignedDuration::from_secs(1);
    for asked in [now, later, Timestamp::MAX] {
        assert_eq!(lake.let_go_of_versions(north, asked).await.unwrap().files, 0);
        assert_eq!((stored(lake).await, amount(&fixture, first).await.unwrap()), (before, 1));
    }
    fixture.advance(SignedDuration::from_hours(2));
    let went = lake.let_go_of_versions(north, later).await.unwrap();
    assert_eq!((went.kept_from, went.files > 0, went.size_bytes > 0), (head, true, true));
    assert_eq!(stored(lake).await, before - went.files);
    assert_eq!(amount(&fixture, closed).await.unwrap(), 2, "a closed period can be read for good");
    assert_eq!(amount(&fixture, head).await.unwrap(), 4);
    for gone in [first, closed + 1] {
        assert!(matches!(amount(&fixture, gone).await, Err(LakeError::VersionGone(version)) if version == gone));
        assert!(matches!(found(&format!("v{gone}")).await, Err(LakeError::VersionGone(_))));
    }
    let listed = lake.list_versions(north, false, 100).await.unwrap();
    let kept: Vec<i64> = listed.iter().filter(|version| version.is_kept).map(|version| version.version).collect();
    assert_eq!(kept, [head, closed]);
    assert_eq!(lake.let_go_of_versions(north, later).await.unwrap().files, 0, "a second time finds nothing");
    assert_eq!(lake.collect(Timestamp::MAX).await.unwrap().objects_deleted, 0, "no object was left without its row");
    assert!(lake.verify(north.id).await.unwrap().is_clean());

    // An erasure takes the MSP's own files of the past: not even a name keeps such a version.
    let tx = lake.begin(north).await.unwrap();
    versions::whole_from(&tx, north.id, head).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(found("2025-10").await, Err(LakeError::VersionGone(_))));
    assert_eq!(found(&format!("v{head}")).await.unwrap(), head);
}

#[tokio::test]
async fn killed_while_it_lets_go_it_is_done_by_the_next_run() {
    let fixture = Fixture::new().await;
    let (lake, north, acme) = (&fixture.lake, &fixture.north, &fixture.acme);
    for amount in
        ["insert into visits values ('2025-10-01', 'api_call', 1)", "update visits set amount = 2", "update visits set amount = 3"]
    {
        fixture.sql(acme, amount).await;
        night(lake).await;
    }
    // Killed after the first object: its row is still there, its version is already refused.
    let later = lake.tenants().clock().now() + SignedDuration::from_secs(1);
    fixture.advance(SignedDuration::from_hours(2));
    let tx = lake.begin(north).await.unwrap();
    let kept_from = versions::keep_from(&tx, north.id, later).await.unwrap();
    let unseen = versions::list_unseen(&tx, north.id, kept_from).await.unwrap();
    tx.commit().await.unwrap();
    assert!(unseen.len() >= 2, "{unseen:?}");
    lake.objects().delete(&unseen[0].0).await.unwrap();
    assert_eq!(lake.let_go_of_versions(north, later).await.unwrap().files, unseen.len());
    assert_eq!(lake.let_go_of_versions(north, later).await.unwrap().files, 0);
    assert!(lake.verify(north.id).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_file_that_was_lost_is_written_anew_and_the_others_stay() {
    let fixture = Fixture::new().await;
    let (lake, north, acme) = (&fixture.lake, &fixture.north, &fixture.acme);
    fixture.sql(acme, "insert into visits select date '2025-10-01' + n, 'api_call', n from generate_series(0, 91) n").await;
    night(lake).await;
    let before = files(lake, north, "visits").await;
    lake.objects().delete(&before[1].path).await.unwrap();
    let report = lake.verify(north.id).await.unwrap();
    assert_eq!(
        report.faults().map(|row| (row.month.as_str(), matches!(row.outcome, VerifyOutcome::Unreadable(_)))).collect::<Vec<_>>(),
        [("2025-11", true)]
    );
    assert_eq!(night(lake).await.files_written(), 0, "a night alone does not see it");

    let scope = granary_tenants::TenantScope::for_job(north.clone(), acme.clone(), "test");
    let months = |from: &str, to: &str| from.parse::<Period>().unwrap()..=to.parse().unwrap();
    assert_eq!(lake.backfill(&scope, Some("visits"), &months("2025-11", "2025-11")).await.unwrap(), 1);
    assert_eq!(night(lake).await.files_written(), 1);
    let after = files(lake, north, "visits").await;
    let same: Vec<_> = before.iter().zip(&after).map(|(before, after)| before.id == after.id).collect();
    assert_eq!(same, [true, false, true]);
    assert!(lake.verify(north.id).await.unwrap().is_clean());
    let held = lake.list_holdings(north).await.unwrap();
    let acme = held.iter().find(|held| held.customer.as_deref() == Some("ACME")).unwrap();
    assert!(acme.files >= 3 && acme.rows >= 92 && acme.past_bytes > 0, "{acme:?}");
    let outcome = lake.backfill(&scope, Some("nonsense"), &months("2025-11", "2025-11")).await;
    assert!(matches!(outcome, Err(LakeError::NoDataset(..))));
}
