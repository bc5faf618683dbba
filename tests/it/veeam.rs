//! Real input: the session report that Veeam's users export, from the file to the invoice.

use super::front_door::House;

const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/veeam/VeeamSessionReport_NoDupes.csv");

#[test]
fn a_real_session_report_is_imported_exported_queried_rated_and_reported() {
    let house = House::empty();
    house.ok(&["msp", "add", "VEEAMLAB", "--name", "Veeam laboratory MSP"]);
    house.ok(&["customer", "add", "LAB", "--name", "Laboratory", "--since", "2019-04-01", "--source", "veeam"]);
    let import = &["import", REPORT, "--customer", "LAB", "--format", "veeam-sessions", "--time-zone", "America/New_York"];
    let first = house.json(import);
    let sessions = house.query("select count(*) as runs from stg_metering__backup_runs");
    assert_eq!(first["invalid"].as_u64(), Some(0), "{first}");

    house.ok(&["billing", "draft", "--period", "2019-12"]);
    house.ok(&["export", "run"]);
    let sessions_after = house.query("select sum(attempt_count) as sessions from stg_metering__backup_runs");
    assert_eq!(sessions_after[0]["sessions"].as_i64(), Some(13_043), "{sessions} then {sessions_after}");

    let again = house.json(import);
    assert_eq!(again["accepted"].as_u64(), Some(0), "{again}");
    let unchanged = house.json(&["export", "run"]);
    assert_eq!(unchanged["files_written"].as_u64(), Some(0), "{unchanged}");

    let invoice = house.json(&["billing", "show", "--customer", "LAB", "--period", "2019-12", "--format", "json"]);
    let machines = invoice.as_array().unwrap().iter().find(|line| line["item"] == "machine_backup").unwrap();
    assert_eq!((machines["quantity"].as_str(), machines["amount_minor"].as_i64()), (Some("9"), Some(9_000)), "{invoice}");

    let reconciled = house.json(&["reconcile", "--period", "2019-12", "--format", "json"]);
    assert_eq!(reconciled[0]["difference_minor"].as_i64(), Some(0), "{reconciled}");

    let pdf = house.dir.path().join("lab.pdf");
    house.ok(&["report", "monthly", "--customer", "LAB", "--period", "2019-12", "--out", pdf.to_str().unwrap()]);
    assert!(std::fs::read(pdf).unwrap().starts_with(b"%PDF-"));
}
