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
    fixture.sql(&fixture.acme, "insert into every_kind (id, a_text, a_float64) values (1, E'two\n\"lines\"', 0.5), (2, null, null)").await;
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
