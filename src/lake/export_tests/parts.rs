//! Large months that go out by the day, and the order of rows in files.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Int64Type};
use granary_types::FileId;
use jiff::SignedDuration;

use super::fixture::Fixture;
use super::{files, grant, night, rows};
use crate::lake::{Lake, Tuning};
use crate::manifest::LakeFile;
use crate::{OwnerOutcome, VerifyOutcome};
use granary_tenants::{Granted, Msp};

/// Every month is large.
fn daily(lake: &Lake) -> Lake {
    lake.tuned(Tuning { daily_above_bytes: 0, ..Tuning::default() })
}

/// The ids of the files of visits, by month and part.
async fn parts(lake: &Lake, north: &Msp) -> BTreeMap<(String, String), FileId> {
    files(lake, north, "visits").await.into_iter().map(|file| ((file.month, file.part), file.id)).collect()
}

async fn written(lake: &Lake) -> u64 {
    night(lake).await.files_written()
}

#[tokio::test]
async fn a_large_month_is_written_by_the_day_and_merged_when_it_has_settled() {
    let fixture = Fixture::new().await;
    let (lake, north, acme) = (daily(&fixture.lake), &fixture.north, &fixture.acme);
    // October has settled by 10 November, November has not.
    fixture
        .sql(acme, "insert into visits select date '2025-10-25' + n, chr(97 + m), n from generate_series(0, 15) n, generate_series(0, 2) m")
        .await;
    night(&lake).await;
    let whole = parts(&lake, north).await;
    let names =
        |parts: &BTreeMap<(String, String), FileId>| parts.keys().map(|(month, part)| format!("{month}/{part}")).collect::<Vec<_>>();
    assert_eq!(names(&whole), ["2025-10/", "2025-11/"]);
    let version = lake.version(north.id).await.unwrap();

    // It changes again: every day becomes a file, and the month's file goes, in one version.
    fixture.sql(acme, "update visits set amount = 100 where day = '2025-11-03'").await;
    assert_eq!(written(&lake).await, 9);
    let days = parts(&lake, north).await;
    assert_eq!(days.len(), 10);
    assert!(days.keys().skip(1).all(|(month, part)| month == "2025-11" && part.starts_with("2025-11-0")), "{days:?}");
    assert_eq!(days[&("2025-10".to_owned(), String::new())], whole[&("2025-10".to_owned(), String::new())]);
    let past = lake.snapshot(&grant(north, Granted::All), Some(version)).await.unwrap();
    assert_eq!(past.files_of("visits").len(), 2, "the version before shows what it showed");

    // One day changes, one ends, one begins; a settled month gets a late row: nothing else is written.
    fixture.sql(acme, "update visits set amount = 101 where day = '2025-11-04'").await;
    fixture.sql(acme, "delete from visits where day = '2025-11-05'").await;
    fixture.sql(acme, "insert into visits values ('2025-11-20', 'late', 1), ('2025-10-02', 'late', 1)").await;
    let report = night(&lake).await;
    let outcome = &report.owners.iter().find(|owner| matches!(owner.outcome, OwnerOutcome::Done { .. })).unwrap().outcome;
    assert_eq!(*outcome, OwnerOutcome::Done { files_written: 3, files_removed: 1, rows_written: 3 + 1 + (7 * 3 + 1) });
    let after = parts(&lake, north).await;
    let same = after.iter().filter(|(name, id)| days.get(*name) == Some(*id)).count();
    assert_eq!((after.len(), same), (10, 7));
    assert!(lake.verify(north.id).await.unwrap().rows.iter().all(|row| row.outcome == VerifyOutcome::Equal));
    assert_eq!(written(&lake).await, 0);

    // Three days after its end nothing has changed, and the days become one file.
    fixture.advance(SignedDuration::from_hours(24 * 24));
    let report = night(&lake).await;
    assert_eq!((report.files_written(), report.rows_written()), (1, 9 * 3 - 3 + 1));
    assert_eq!(names(&parts(&lake, north).await), ["2025-10/", "2025-11/"]);
    assert!(lake.verify(north.id).await.unwrap().is_clean());
    let again = night(&lake).await;
    assert!(again.owners.iter().all(|owner| owner.outcome == OwnerOutcome::Unchanged), "{again:?}");
    // What comes later is written into the one file.
    fixture.sql(acme, "update visits set amount = 102 where day = '2025-11-04'").await;
    assert_eq!(written(&lake).await, 1);
    assert_eq!(names(&parts(&lake, north).await), ["2025-10/", "2025-11/"]);
}

#[tokio::test]
async fn small_months_are_one_file_and_a_backfill_of_days_writes_only_theirs() {
    let fixture = Fixture::new().await;
    let (lake, north, acme) = (&fixture.lake, &fixture.north, &fixture.acme);
    fixture.sql(acme, "insert into visits select date '2025-11-01' + n, 'a', n from generate_series(0, 8) n").await;
    night(lake).await;
    fixture.sql(acme, "update visits set amount = 7 where day = '2025-11-03'").await;
    assert_eq!(written(lake).await, 1);
    assert_eq!(parts(lake, north).await.len(), 1);
    // Cut once, a month stays cut while it changes, whatever the measure is now.
    let cut = daily(lake);
    fixture.sql(acme, "update visits set amount = 8 where day = '2025-11-03'").await;
    assert_eq!(written(&cut).await, 9);
    fixture.sql(acme, "update visits set amount = 9 where day = '2025-11-03'").await;
    assert_eq!(written(lake).await, 1);
    let before = parts(lake, north).await;
    let scope = granary_tenants::TenantScope::for_job(north.clone(), acme.clone(), "test");
    let november = "2025-11".parse().unwrap();
    assert_eq!(lake.backfill(&scope, Some("visits"), &(november..=november)).await.unwrap(), 9);
    assert_eq!(written(lake).await, 9);
    assert!(parts(lake, north).await.iter().all(|(name, id)| before[name] != *id));
    assert!(lake.verify(north.id).await.unwrap().is_clean());
}

/// Whether the rows of a file are in the order that the manifest declares.
async fn assert_sorted(lake: &Lake, file: &LakeFile) -> usize {
    assert_eq!(file.sorted_by, ["kind", "day"]);
    let rows = rows(lake, file).await;
    let (days, kinds) = (rows.column(0).as_primitive::<Date32Type>(), rows.column(1).as_string::<i32>());
    let keys: Vec<_> = (0..rows.num_rows()).map(|row| (kinds.value(row).as_bytes().to_vec(), days.value(row))).collect();
    assert!(keys.is_sorted(), "{} {}", file.month, file.part);
    rows.num_rows()
}

#[tokio::test]
async fn rows_are_in_the_order_that_is_declared_whoever_sorts_them() {
    let fixture = Fixture::new().await;
    let (north, acme) = (&fixture.north, &fixture.acme);
    // Languages order these in another way than bytes do.
    fixture
        .sql(
            acme,
            "insert into visits select date '2025-10-20' + (n * 7) % 20, (array['b', 'B', 'a', 'ä', 'Z', '', '_', 'aa'])[1 + n % 8], n
             from generate_series(0, 999) n",
        )
        .await;
    let here = fixture.lake.tuned(Tuning::default());
    let by_postgres = fixture.lake.tuned(Tuning { sorted_here_bytes: 0, ..Tuning::default() });
    let crowded = fixture.lake.tuned(Tuning { sorting_most_bytes: 0, ..Tuning::default() });
    let daily = fixture.lake.tuned(Tuning { sorted_here_bytes: 0, daily_above_bytes: 0, ..Tuning::default() });
    for (lake, parts) in [(&here, 2), (&by_postgres, 2), (&crowded, 2), (&daily, 9), (&here, 9)] {
        // Whoever reads these files was told of their order by the manifest.
        fixture.sql(acme, "update visits set amount = amount + 1").await;
        night(lake).await;
        let files = files(lake, north, "visits").await;
        assert_eq!(files.len(), parts);
        let mut count = 0;
        for file in &files {
            count += assert_sorted(lake, file).await;
        }
        assert_eq!(count, 1_000);
        assert!(lake.verify(north.id).await.unwrap().is_clean());
        let first = rows(lake, &files[0]).await;
        assert!(first.column(2).as_primitive::<Int64Type>().values().iter().all(|amount| *amount > 0));
    }
}
