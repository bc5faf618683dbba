//! The export, proved on a real Postgres: nothing lost, nothing twice, nothing written without need.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use granary_foundation::Silent;
use granary_tenants::{Customer, Granted, Msp, ReadGrant, TenantScope};
use granary_types::{Column, ColumnKind, Dataset, Role, Source};
use granary_vault::Owner;
use jiff::civil::{Date, date};

use crate::export::{Exported, OwnerExport};
use crate::lake::{ACTOR, Lake};
use crate::manifest::LakeFile;
use crate::{LakeError, OwnerOutcome, Publication, VerifyOutcome};

mod fixture;
mod parts;
mod versions;

use fixture::Fixture;

const NIGHT: Date = date(2026, 1, 1);

pub(super) const EVERY_KIND: Dataset = Dataset {
    name: "every_kind",
    source: Source::Tenant,
    month_column: None,
    columns: &[
        Column::new("id", ColumnKind::Int32),
        Column::nullable("a_bool", ColumnKind::Bool),
        Column::nullable("an_int32", ColumnKind::Int32),
        Column::nullable("an_int64", ColumnKind::Int64),
        Column::nullable("a_float64", ColumnKind::Float64),
        Column::nullable("a_decimal", ColumnKind::Decimal { precision: 38, scale: 8 }),
        Column::nullable("a_text", ColumnKind::Text),
        Column::nullable("a_uuid", ColumnKind::Uuid),
        Column::nullable("a_date", ColumnKind::Date),
        Column::nullable("a_timestamp", ColumnKind::Timestamp),
    ],
    sort: &["id"],
};
pub(super) const VISITS: Dataset = Dataset {
    name: "visits",
    source: Source::Tenant,
    month_column: Some("day"),
    columns: &[Column::new("day", ColumnKind::Date), Column::new("kind", ColumnKind::Text), Column::new("amount", ColumnKind::Int64)],
    sort: &["kind", "day"],
};

fn export(lake: &Lake, msp: &Msp, customer: &Customer) -> OwnerExport {
    let exported = Exported::Customer(Box::new(TenantScope::for_job(msp.clone(), customer.clone(), ACTOR)));
    OwnerExport { lake: lake.clone(), exported }
}

fn grant(msp: &Msp, customers: Granted) -> ReadGrant {
    ReadGrant { msp: msp.id, customers, role: Role::MspAdmin, can_read_billing: false }
}

async fn files(lake: &Lake, msp: &Msp, dataset: &str) -> Vec<LakeFile> {
    lake.snapshot(&grant(msp, Granted::All), None).await.unwrap().files_of(dataset).to_vec()
}

async fn rows(lake: &Lake, file: &LakeFile) -> RecordBatch {
    let batches = lake.read(file).await.unwrap();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

async fn night(lake: &Lake) -> crate::NightReport {
    let report = lake.export_night(NIGHT, Silent::shared()).await.unwrap();
    assert_eq!(report.failures().count(), 0, "{report:?}");
    report
}

#[tokio::test]
async fn every_kind_of_value_comes_back_exactly() {
    let fixture = Fixture::new().await;
    fixture
        .sql(
            &fixture.acme,
            "insert into every_kind values
                (1, true, 2147483647, 9223372036854775807, 1.7976931348623157e308, 999999999999999999999999999999.99999999, 'ä €',
                    'ffffffff-ffff-ffff-ffff-ffffffffffff', '9999-12-31', '9999-12-31 23:59:59.999999+00'),
                (2, false, -2147483648, -9223372036854775808, '-0', -999999999999999999999999999999.99999999, '',
                    '00000000-0000-0000-0000-000000000000', '0001-01-01', '0001-01-01 00:00:00+00'),
                (3, null, null, null, null, null, null, null, null, null),
                (4, true, 0, 0, 'NaN', -0.00000001, E'\\n\\t\"', gen_random_uuid(), '1970-01-01', '1969-12-31 23:59:59.999999+00')",
        )
        .await;
    night(&fixture.lake).await;
    let file = files(&fixture.lake, &fixture.north, "every_kind").await.remove(0);
    assert_eq!((file.month.as_str(), file.row_count), ("all", 4));
    let rows = rows(&fixture.lake, &file).await;
    assert_eq!(rows.column(0).as_primitive::<Int32Type>().values(), &[1, 2, 3, 4]);
    let bools: Vec<_> = rows.column(1).as_boolean().iter().collect();
    assert_eq!(bools, [Some(true), Some(false), None, Some(true)]);
    let int32: Vec<_> = rows.column(2).as_primitive::<Int32Type>().iter().collect();
    assert_eq!(int32, [Some(i32::MAX), Some(i32::MIN), None, Some(0)]);
    let int64: Vec<_> = rows.column(3).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(int64, [Some(i64::MAX), Some(i64::MIN), None, Some(0)]);
    let floats = rows.column(4).as_primitive::<Float64Type>();
    assert_eq!((floats.value(0), floats.value(1).to_bits()), (f64::MAX, (-0.0_f64).to_bits()));
    assert!(floats.is_null(2) && floats.value(3).is_nan());
    let decimals: Vec<_> = rows.column(5).as_primitive::<Decimal128Type>().iter().collect();
    assert_eq!(decimals, [Some(10_i128.pow(38) - 1), Some(1 - 10_i128.pow(38)), None, Some(-1)]);
    let texts: Vec<_> = rows.column(6).as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("ä €"), Some(""), None, Some("\n\t\"")]);
    let ids = rows.column(7).as_string::<i32>();
    assert_eq!((ids.value(0), ids.value(1)), ("ffffffff-ffff-ffff-ffff-ffffffffffff", "00000000-0000-0000-0000-000000000000"));
    let dates: Vec<_> = rows.column(8).as_primitive::<Date32Type>().iter().collect();
    assert_eq!(dates, [Some(2_932_896), Some(-719_162), None, Some(0)]);
    let instants: Vec<_> = rows.column(9).as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(instants, [Some(253_402_300_799_999_999), Some(-62_135_596_800_000_000), None, Some(-1)]);
    assert_eq!(file.statistics["an_int64"].min.as_deref(), Some("-9223372036854775808"));
    assert_eq!(file.statistics["a_date"].nulls, 1);
    assert!(fixture.lake.verify(fixture.north.id).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_second_run_writes_nothing_and_a_changed_row_one_month() {
    let fixture = Fixture::new().await;
    let (lake, north) = (&fixture.lake, &fixture.north);
    fixture.sql(&fixture.acme, "insert into visits select date '2025-10-01' + n, 'api_call', n from generate_series(0, 91) n").await;
    let first = night(lake).await;
    assert!(first.rows_written() >= 92, "{first:?}");
    let before = files(lake, north, "visits").await;
    let months: Vec<_> = before.iter().map(|file| (file.month.as_str(), file.row_count)).collect();
    assert_eq!(months, [("2025-10", 31), ("2025-11", 30), ("2025-12", 31)]);
    let version = lake.version(north.id).await.unwrap();

    let second = night(lake).await;
    assert!(second.owners.iter().all(|owner| owner.outcome == OwnerOutcome::Unchanged), "{second:?}");
    assert_eq!(lake.version(north.id).await.unwrap(), version);

    // Changed and changed back: dirty, read, and found to be the same.
    fixture.sql(&fixture.acme, "update visits set amount = amount + 1").await;
    fixture.sql(&fixture.acme, "update visits set amount = amount - 1").await;
    assert_eq!(night(lake).await.files_written(), 0);
    assert_eq!(lake.version(north.id).await.unwrap(), version);

    fixture.sql(&fixture.acme, "update visits set amount = 1000 where day = '2025-11-30'").await;
    assert_eq!(night(lake).await.files_written(), 1);
    let after = files(lake, north, "visits").await;
    let same: Vec<_> = before.iter().zip(&after).map(|(before, after)| before.id == after.id).collect();
    assert_eq!(same, [true, false, true]);
    assert_eq!(lake.version(north.id).await.unwrap(), version + 1);

    // The version before still shows what it showed.
    let past = lake.snapshot(&grant(north, Granted::All), Some(version)).await.unwrap();
    assert_eq!(
        past.files_of("visits").iter().map(|file| file.id).collect::<Vec<_>>(),
        before.iter().map(|file| file.id).collect::<Vec<_>>()
    );

    fixture.sql(&fixture.acme, "delete from visits where day < '2025-11-01'").await;
    let report = night(lake).await;
    assert!(report.owners.iter().any(|owner| matches!(owner.outcome, OwnerOutcome::Done { files_written: 0, files_removed: 1, .. })));
    assert_eq!(files(lake, north, "visits").await.len(), 2);
    assert!(lake.verify(north.id).await.unwrap().is_clean());
}

#[tokio::test]
async fn killed_between_any_two_steps_and_run_again_nothing_is_lost_or_twice() {
    let fixture = Fixture::new().await;
    let (lake, north, acme) = (&fixture.lake, &fixture.north, &fixture.acme);
    night(lake).await;
    for killed_after in ["ticket", "files", "commit"] {
        fixture
            .sql(acme, "insert into visits select date '2025-10-01' + n, gen_random_uuid()::text, n from generate_series(0, 40) n")
            .await;
        let export = export(lake, north, acme);
        let ticket = export.take_ticket().await.unwrap();
        if killed_after != "ticket" {
            let draft = export.write(&ticket).await.unwrap();
            assert_eq!(draft.changes.added.len(), 2);
            if killed_after == "commit" {
                export.commit(&ticket, &draft).await.unwrap();
            }
        }
        let written = night(lake).await.files_written();
        assert_eq!(written, if killed_after == "commit" { 0 } else { 2 }, "killed after {killed_after}");
        assert_eq!(night(lake).await.files_written(), 0, "killed after {killed_after}");
        let report = lake.verify(north.id).await.unwrap();
        assert!(report.rows.iter().all(|row| row.outcome == VerifyOutcome::Equal), "killed after {killed_after}: {report:?}");
    }
    // What the killed runs left is collected, what is named stays.
    let past = jiff::Timestamp::UNIX_EPOCH;
    assert_eq!(lake.collect(past).await.unwrap().objects_deleted, 0, "younger objects may belong to a running export");
    let future = jiff::Timestamp::MAX;
    assert_eq!(lake.collect(future).await.unwrap().objects_deleted, 2);
    assert_eq!(lake.collect(future).await.unwrap().objects_deleted, 0);
    assert!(lake.verify(north.id).await.unwrap().is_clean());
}

#[tokio::test]
async fn an_older_snapshot_never_replaces_a_newer_one() {
    let fixture = Fixture::new().await;
    let (lake, north, acme) = (&fixture.lake, &fixture.north, &fixture.acme);
    fixture.sql(acme, "insert into visits values ('2025-10-01', 'api_call', 1)").await;
    let slow = export(lake, north, acme);
    let ticket = slow.take_ticket().await.unwrap();
    let draft = slow.write(&ticket).await.unwrap();
    fixture.sql(acme, "update visits set amount = 2").await;
    night(lake).await;
    assert!(matches!(slow.commit(&ticket, &draft).await.unwrap_err(), LakeError::Overtaken));
    let file = files(lake, north, "visits").await.remove(0);
    assert_eq!(rows(lake, &file).await.column(2).as_primitive::<Int64Type>().values(), &[2]);
}

#[tokio::test]
async fn rows_that_change_during_an_export_are_exported_the_next_time() {
    let fixture = Fixture::new().await;
    let (lake, north, acme) = (&fixture.lake, &fixture.north, &fixture.acme);
    night(lake).await;
    fixture.sql(acme, "insert into visits values ('2025-10-01', 'api_call', 1)").await;
    let export = export(lake, north, acme);
    let ticket = export.take_ticket().await.unwrap();
    let draft = export.write(&ticket).await.unwrap();
    fixture.sql(acme, "update visits set amount = 2").await;
    export.commit(&ticket, &draft).await.unwrap();
    export.clean_up(&draft).await.unwrap();
    let waiting = lake.verify(north.id).await.unwrap();
    assert!(waiting.is_clean() && waiting.rows.iter().any(|row| row.outcome == VerifyOutcome::Waiting), "{waiting:?}");
    assert_eq!(night(lake).await.files_written(), 1);
    let file = files(lake, north, "visits").await.remove(0);
    assert_eq!(rows(lake, &file).await.column(2).as_primitive::<Int64Type>().values(), &[2]);
}

#[tokio::test]
async fn a_snapshot_holds_the_files_and_keys_of_granted_customers_only() {
    let fixture = Fixture::new().await;
    let (lake, north) = (&fixture.lake, &fixture.north);
    for customer in [&fixture.acme, &fixture.globex, &fixture.southern_acme] {
        fixture.sql(customer, "insert into visits values ('2025-10-01', 'api_call', 1)").await;
    }
    night(lake).await;
    let customers = |snapshot: &crate::Snapshot| {
        snapshot.files_of("visits").iter().filter_map(|file| Some(file.customer.clone()?.0)).collect::<BTreeSet<_>>()
    };
    let all = lake.snapshot(&grant(north, Granted::All), None).await.unwrap();
    assert_eq!(customers(&all), BTreeSet::from([fixture.acme.id, fixture.globex.id]));
    let one = lake.snapshot(&grant(north, Granted::Only(BTreeSet::from([fixture.acme.id, fixture.southern_acme.id]))), None).await.unwrap();
    assert_eq!(customers(&one), BTreeSet::from([fixture.acme.id]));
    let none = lake.snapshot(&grant(north, Granted::Only(BTreeSet::new())), None).await.unwrap();
    assert!(none.files_of("visits").is_empty() && !none.files_of("customers").is_empty());
    assert!(!format!("{all:?}").contains(&hex::encode(all.files[0].key.reveal())) && format!("{all:?}").contains("FileKey(…)"));
    assert!(std::sync::Arc::ptr_eq(&all, &lake.snapshot(&grant(north, Granted::All), None).await.unwrap()));
    assert!(matches!(lake.snapshot(&grant(north, Granted::All), Some(99)).await.unwrap_err(), LakeError::NoVersion { .. }));

    // Crypto-shredding: the key is gone, and with it what it sealed.
    lake.keys().destroy(Owner::Customer(fixture.acme.id)).await.unwrap();
    let fresh = fixture.lake_of(lake.datasets().to_vec());
    let left = fresh.snapshot(&grant(north, Granted::All), None).await.unwrap();
    assert_eq!(customers(&left), BTreeSet::from([fixture.globex.id]));
}

#[tokio::test]
async fn control_data_goes_out_per_msp_and_only_when_it_changed() {
    let fixture = Fixture::new().await;
    let (lake, north) = (&fixture.lake, &fixture.north);
    night(lake).await;
    let of_north = rows(lake, &files(lake, north, "customers").await.remove(0)).await;
    assert_eq!(of_north.num_rows(), 2);
    let of_south = rows(lake, &files(lake, &fixture.south, "customers").await.remove(0)).await;
    assert_eq!(of_south.num_rows(), 1);
    assert_eq!(night(lake).await.files_written(), 0);
    let changed_at = lake.tenants().clock().now();
    lake.tenants().set_status(fixture.acme.id, granary_types::CustomerStatus::Suspended, Some("unpaid"), changed_at).await.unwrap();
    let report = night(lake).await;
    assert_eq!(report.files_written(), 2, "customers and status_changes of one MSP: {report:?}");
    assert!(lake.verify(north.id).await.unwrap().is_clean());
}

#[tokio::test]
async fn published_rows_replace_their_part_in_one_version() {
    let fixture = Fixture::new().await;
    let (lake, north) = (&fixture.lake, &fixture.north);
    let publication = |month: &str, numbers: Vec<u64>| {
        let numbers: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::UInt64Array::from(numbers));
        let batch = RecordBatch::try_from_iter([("score", numbers)]).unwrap();
        Publication { dataset: "scores".to_owned(), month: month.to_owned(), schema: batch.schema(), batches: vec![batch] }
    };
    let first = lake.publish_all(north.id, vec![publication("2025-10", vec![1]), publication("2025-11", vec![2])], "test").await.unwrap();
    assert_eq!(files(lake, north, "scores").await.len(), 2);
    let same = lake.publish_all(north.id, vec![publication("2025-10", vec![1])], "test").await.unwrap();
    assert_eq!(same, first);
    let second =
        lake.publish_all(north.id, vec![publication("2025-10", vec![7, 8]), publication("2025-11", vec![])], "test").await.unwrap();
    assert_eq!(second, first + 1);
    let file = files(lake, north, "scores").await.remove(0);
    assert_eq!(rows(lake, &file).await.column(0).as_primitive::<Int64Type>().values(), &[7, 8]);
    let too_large = lake.publish_all(north.id, vec![publication("2025-10", vec![u64::MAX])], "test").await;
    assert!(too_large.is_err());
    assert!(matches!(lake.publish_all(north.id, vec![publication("soon", vec![1])], "test").await.unwrap_err(), LakeError::InvalidPart(_)));
    assert!(lake.verify(north.id).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_fault_in_the_lake_is_found_and_a_bad_tenant_blocks_nobody() {
    let fixture = Fixture::new().await;
    let (lake, north) = (&fixture.lake, &fixture.north);
    for customer in [&fixture.acme, &fixture.globex] {
        fixture.sql(customer, "insert into visits values ('2025-10-01', 'api_call', 1)").await;
    }
    night(lake).await;
    let file = files(lake, north, "visits").await.remove(0);
    let other = files(lake, north, "visits").await.remove(1);
    let content = lake.objects().get(&other.path).await.unwrap();
    lake.objects().delete(&file.path).await.unwrap();
    lake.objects().put_new(&file.path, content).await.unwrap();
    let report = lake.verify(north.id).await.unwrap();
    let faults: Vec<_> = report.faults().map(|fault| (fault.dataset.as_str(), &fault.outcome)).collect();
    assert!(matches!(faults[..], [("visits", VerifyOutcome::Unreadable(_))]), "{faults:?}");

    fixture.sql(&fixture.acme, "insert into every_kind (id, a_decimal) values (1, 'NaN')").await;
    fixture.sql(&fixture.globex, "insert into every_kind (id) values (1)").await;
    let report = lake.export_night(NIGHT, Silent::shared()).await.unwrap();
    let failures: Vec<_> = report.failures().collect();
    assert_eq!(failures.len(), 1);
    let OwnerOutcome::Failed { error } = &failures[0].outcome else { panic!("{report:?}") };
    assert_eq!(error, "every_kind.a_decimal cannot be exported: it is not a finite number");
    assert_eq!(report.files_written(), 1);

    // Mended, it goes out.
    fixture.sql(&fixture.acme, "update every_kind set a_decimal = 1").await;
    assert_eq!(night(lake).await.files_written(), 1);
}

#[tokio::test]
async fn a_customers_files_lie_in_the_store_of_its_region_and_follow_it() {
    let fixture = Fixture::new().await;
    let north = &fixture.north;
    fixture.sql(&fixture.acme, "insert into visits values ('2025-10-03', 'a', 1), ('2025-11-03', 'b', 2)").await;
    night(&fixture.lake).await;
    let before = files(&fixture.lake, north, "visits").await;
    assert!(before.len() == 2 && before.iter().all(|file| file.path.starts_with("lake/")));

    // Its region gets a store: the next night writes everything of it anew there, once, and nothing else.
    let lake = fixture.lake_with_region(&fixture.acme.region);
    night(&lake).await;
    let after = files(&lake, north, "visits").await;
    assert!(after.len() == 2 && after.iter().all(|file| file.path.starts_with("lake-local/")), "{after:?}");
    for (one, other) in before.iter().zip(&after) {
        assert_eq!(rows(&lake, one).await, rows(&lake, other).await);
    }
    assert!(files(&lake, north, "customers").await.iter().all(|file| file.path.starts_with("lake/")), "what is the MSP's stays");
    assert_eq!(lake.verify(north.id).await.unwrap().faults().count(), 0);
    assert_eq!(night(&lake).await.files_written(), 0);

    // And back again.
    let home = fixture.lake_of(fixture.lake.datasets().to_vec());
    night(&home).await;
    assert!(files(&home, north, "visits").await.iter().all(|file| file.path.starts_with("lake/")));
}

#[tokio::test]
async fn a_changed_description_writes_a_dataset_anew() {
    const NARROW: Dataset = Dataset { columns: &[Column::new("day", ColumnKind::Date), Column::new("kind", ColumnKind::Text)], ..VISITS };
    let fixture = Fixture::new().await;
    fixture.sql(&fixture.acme, "insert into visits values ('2025-10-01', 'api_call', 1), ('2025-11-01', 'api_call', 1)").await;
    night(&fixture.lake).await;
    let narrow = fixture.lake_of(vec![EVERY_KIND, NARROW]);
    assert_eq!(night(&narrow).await.files_written(), 2);
    let file = files(&narrow, &fixture.north, "visits").await.remove(0);
    assert_eq!(rows(&narrow, &file).await.num_columns(), 2);
}

mod archive {
    //! An archive, read by programs that do not know us: tar, sha256sum, and a plain Parquet reader.

    use std::collections::BTreeMap;
    use std::path::Path;
    use std::process::Command;

    use arrow::array::AsArray;
    use granary_foundation::Silent;
    use granary_tenants::TenantScope;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use serde_json::{Value, json};

    use super::fixture::Fixture;
    use crate::Archive;
    use crate::lake::ACTOR;

    fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
        let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[tokio::test]
    async fn what_a_customer_takes_along_opens_without_us_and_is_complete() {
        let fixture = Fixture::new().await;
        fixture
            .sql(&fixture.acme, "insert into every_kind (id, a_text, a_float64) values (1, E'two\n\"lines\"', 0.5), (2, null, null)")
            .await;
        fixture.sql(&fixture.acme, "insert into visits select '2025-10-01', 'call', n from generate_series(1, 3000) n").await;
        fixture.sql(&fixture.globex, "insert into every_kind (id, a_text) values (3, 'of GLOBEX')").await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme.tar");
        let scope = TenantScope::for_job(fixture.north.clone(), fixture.acme.clone(), ACTOR);
        // An attempt that was killed has left more than the archive will be.
        std::fs::write(&path, vec![7; 3_000_000]).unwrap();
        let now = fixture.lake.tenants().clock().now();
        let mut archive = Archive::create(&path, now).unwrap();
        let progress = Silent::shared();
        archive = fixture.lake.archive(&scope, &["status_changes"], archive, &progress).await.unwrap();
        archive.add("empty.txt", "nothing", b"").unwrap();
        let bytes = archive.finish(&json!({"customer": "ACME"})).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);

        run("tar", &["--extract", "--file", "acme.tar"], folder.path());
        let checked = run("sha256sum", &["--check", "--strict", "SHA256SUMS"], folder.path());
        let manifest: Value = serde_json::from_slice(&std::fs::read(folder.path().join("manifest.json")).unwrap()).unwrap();
        assert_eq!((&manifest["kind"], &manifest["about"]["customer"]), (&json!("granary customer archive 1"), &json!("ACME")));
        let files = manifest["files"].as_array().unwrap();
        let rows: BTreeMap<&str, i64> = files.iter().filter_map(|file| Some((file["path"].as_str()?, file["rows"].as_i64()?))).collect();
        assert_eq!(checked.lines().count(), files.len() + 1, "{checked}");
        assert_eq!((rows["tables/every_kind.csv"], rows["parquet/every_kind.parquet"], rows["tables/visits.csv"]), (2, 2, 3_000));
        assert_eq!(rows["control/status_changes.csv"], 1);
        // Every table of the silo is there, also those that no dataset describes.
        let tables = rows.keys().filter(|path| path.starts_with("tables/")).count();
        assert!(tables > 20 && rows.contains_key("tables/audit_log.csv") && rows.contains_key("tables/usage_events.csv"), "{rows:?}");

        let csv = std::fs::read_to_string(folder.path().join("tables/every_kind.csv")).unwrap();
        assert!(csv.contains("\"two\n\"\"lines\"\"\"") && !csv.contains("GLOBEX"), "{csv}");
        let parquet = std::fs::File::open(folder.path().join("parquet/every_kind.parquet")).unwrap();
        let batches: Vec<_> = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap().build().unwrap().map(Result::unwrap).collect();
        assert_eq!(batches[0].column_by_name("a_text").unwrap().as_string::<i32>().value(0), "two\n\"lines\"");
    }
}
