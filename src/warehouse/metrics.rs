//! Tests of the figures that are made of movements, each computed by hand; the portfolio is that of `movements.rs`.

use std::collections::BTreeMap;

use granary_types::{CustomerId, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture::{Shed, datasets, grant, models};
use crate::movements::{Past, portfolio, portfolio_of};

#[derive(Debug, Deserialize)]
struct Metrics {
    period: String,
    amount_minor: i64,
    amount: String,
    growth: Option<f64>,
    nrr: Option<f64>,
    grr: Option<f64>,
    quick_ratio: Option<f64>,
    logo_churn: Option<f64>,
    arpa_minor: Option<i64>,
    ltv_minor: Option<i64>,
    arr_minor: i64,
}

async fn metrics(shed: &Shed) -> BTreeMap<String, Metrics> {
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    let rows: Vec<Metrics> = session.rows("select * from revenue_metrics").await.unwrap();
    rows.into_iter().map(|row| (row.period[5..].to_owned(), row)).collect()
}

#[track_caller]
fn assert_near(found: Option<f64>, expected: f64) {
    assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{found:?} is not {expected}");
}

#[tokio::test]
async fn retention_quick_ratio_and_lifetime_value_are_what_a_pencil_says() {
    let months = metrics(&portfolio().await).await;
    // GROWS 100 → 150, LEAVES 60, MOVES new with 100; PAUSES 40 and LAPSES 80 are suspended
    let february = &months["02"];
    assert_eq!((february.amount_minor, february.amount.as_str(), february.arr_minor), (31_000, "310.0000", 372_000));
    assert_near(february.growth, 3000.0 / 28_000.0);
    assert_near(february.nrr, 210.0 / 280.0);
    assert_near(february.grr, 160.0 / 280.0);
    assert_near(february.quick_ratio, 150.0 / 120.0);
    assert_near(february.logo_churn, 0.0);
    assert_eq!((february.arpa_minor, february.ltv_minor), (Some(10_333), None), "nobody was lost, and a lifetime has no end");
    // GROWS 150 → 135, MOVES 100 → 145, LEAVES 60, PAUSES back with 50; the pause of LAPSES became a loss of what it had been
    let march = &months["03"];
    assert_near(march.nrr, 340.0 / 310.0);
    assert_near(march.grr, 295.0 / 310.0);
    assert_near(march.quick_ratio, 95.0 / 15.0);
    assert_near(march.logo_churn, 1.0 / 3.0);
    // one loss over 4 + 4 + 3 customers at the start of three months
    assert_eq!((march.arpa_minor, march.ltv_minor), (Some(9750), Some(107_250)));
    let april = &months["04"];
    assert_near(april.nrr, 380.0 / 390.0);
    assert_near(april.grr, 330.0 / 390.0);
    assert_near(april.quick_ratio, 50.0 / 60.0);
    assert_eq!((april.arpa_minor, april.ltv_minor), (Some(12_667), Some(95_000)));
    let may = &months["05"];
    assert_near(may.nrr, 360.0 / 380.0);
    assert_near(may.quick_ratio, 50.0 / 20.0);
    assert_eq!((may.arpa_minor, may.ltv_minor), (Some(8200), Some(73_800)));
    assert_eq!(months["01"].quick_ratio, None, "nothing was lost");
}

#[tokio::test]
async fn a_portfolio_that_starts_with_nothing_has_no_shares_of_it() {
    const FIRST: &[Past] = &[Past {
        code: "FIRST",
        activated_on: "2025-02-01",
        lines: [&[], &[("machine_backup", 1, 10)], &[("machine_backup", 1, 10)], &[], &[]],
        changes: &[("trial", "2025-01-05"), ("active", "2025-02-01"), ("closed", "2025-04-10")],
        end_reason: Some("voluntary"),
    }];
    let months = metrics(&portfolio_of(FIRST).await).await;
    let nothing =
        |month: &Metrics| (month.growth, month.nrr, month.grr, month.quick_ratio, month.logo_churn, month.arpa_minor, month.ltv_minor);
    assert_eq!(nothing(&months["01"]), (None, None, None, None, None, None, None));
    assert_eq!(nothing(&months["02"]), (None, None, None, None, None, Some(1000), None));
    assert_eq!(nothing(&months["04"]), (Some(-1.0), Some(0.0), Some(0.0), Some(0.0), Some(1.0), None, None));
    assert_eq!(nothing(&months["05"]), (None, None, None, None, None, None, None), "whoever is gone is not lost again");
}

#[derive(Debug, Deserialize)]
struct CohortRow {
    cohort: String,
    period: String,
    age_months: i64,
    customers: i64,
    customers_active: i64,
    first_minor: i64,
    amount_minor: i64,
}

#[tokio::test]
async fn cohorts_keep_who_began_together() {
    let shed = portfolio().await;
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    let rows: Vec<CohortRow> = session.rows("select * from cohorts order by cohort, period").await.unwrap();
    let of = |cohort: &str| -> Vec<(String, i64, i64, i64)> {
        let rows = rows.iter().filter(|row| row.cohort == cohort);
        rows.map(|row| (row.period[5..].to_owned(), row.age_months, row.customers_active, row.amount_minor)).collect()
    };
    let row = |month: &str, age, active, amount| (month.to_owned(), age, active, amount);
    // an imported past began when it was activated, not when we heard of it
    let imported = [("01", 7, 4, 28_000), ("02", 8, 2, 21_000), ("03", 9, 3, 24_500), ("04", 10, 2, 18_500), ("05", 11, 3, 20_500)];
    assert_eq!(of("2024-06"), imported.map(|(month, age, active, amount)| row(month, age, active, amount)));
    assert_eq!(of("2025-02"), [row("02", 0, 1, 10_000), row("03", 1, 1, 14_500), row("04", 2, 1, 19_500), row("05", 3, 1, 17_500)]);
    assert!(rows.iter().filter(|row| row.cohort == "2024-06").all(|row| (row.customers, row.first_minor) == (4, 28_000)));
}

#[derive(Debug, Deserialize)]
struct VersionRow {
    valid_from: String,
    valid_to: Option<String>,
    status: String,
    is_current: bool,
}

#[tokio::test]
async fn a_customer_has_a_version_for_every_day_on_which_it_changed() {
    let shed = portfolio().await;
    let session = shed.session(&grant(Role::MspAdmin, None)).await.unwrap();
    let sql = "select valid_from, valid_to, status, is_current from dim_customers where customer_code = 'PAUSES' order by valid_from";
    let rows: Vec<VersionRow> = session.rows(sql).await.unwrap();
    let found: Vec<_> = rows.iter().map(|row| (&*row.valid_from, row.valid_to.as_deref(), &*row.status, row.is_current)).collect();
    let expected = [
        ("2024-06-01", Some("2025-02-15"), "active", false),
        ("2025-02-15", Some("2025-03-10"), "suspended", false),
        ("2025-03-10", None, "active", true),
    ];
    assert_eq!(found, expected);
}

/// Two machines of tier backup on some days of two months, billed with three lines of uneven amounts.
fn usage(shed: &mut Shed) -> CustomerId {
    let id = CustomerId::new();
    let customer = (id, "ACME");
    let machines: Vec<Value> = ["aa", "bb"]
        .map(|name| json!({"id": name, "source_system": "v", "vendor_id": name, "name": name, "discovered_at": "2025-01-01T00:00:00Z"}))
        .into();
    shed.write_rows("machines", Some(customer), "all", &machines);
    for month in ["2025-01", "2025-02"] {
        days(shed, customer, month, &["aa", "bb"]);
        let line = json!({"id": CustomerId::new(), "period": month, "position": 0, "item": "machine_backup", "description": "machines",
            "quantity": "2", "unit_price": "5.005", "amount_minor": 1001, "currency": "USD", "is_recurring": true,
            "period_start_on": format!("{month}-01"), "created_at": "2025-03-01T00:00:00Z"});
        shed.write_rows("rated_lines", Some(customer), month, &[line]);
    }
    let msp = json!({"id": CustomerId::new(), "code": "N", "name": "North", "time_zone": "UTC", "currency": "USD", "counting_rule": "distinct_in_period"});
    shed.write_rows("msps", None, "all", &[msp]);
    let row = json!({"id": id, "msp_id": id, "code": "ACME", "name": "ACME", "status": "active", "time_zone": "UTC", "country": "US",
        "region": "local", "activated_on": "2025-01-01", "created_at": "2025-01-01T12:00:00Z"});
    shed.write_rows("customers", None, "all", &[row]);
    id
}

fn days(shed: &mut Shed, customer: (CustomerId, &str), month: &str, machines: &[&str]) {
    let day = |machine: &&str| {
        json!({"machine_id": machine, "billing_on": format!("{month}-03"), "tier": "backup", "runs_completed": 1,
        "runs_failed": 0, "cycles_completed": 0, "is_in_protection": true, "transferred_bytes": 7})
    };
    shed.write_rows("machine_days", Some(customer), month, &machines.iter().map(day).collect::<Vec<_>>());
}

#[tokio::test]
async fn machines_share_a_line_to_the_cent() {
    let mut shed = Shed::new(datasets(), models());
    usage(&mut shed);
    shed.build().await;
    let session = shed.session(&grant(Role::OperatorAdmin, None)).await.unwrap();
    let sql = "select machine_name, retail_minor from margin_by_machine where period = '2025-01' order by machine_name";
    let rows: Vec<Value> = session.rows(sql).await.unwrap();
    assert_eq!(rows, [json!({"machine_name": "aa", "retail_minor": 500}), json!({"machine_name": "bb", "retail_minor": 501})]);
}

fn written(built: &crate::materialise::Built) -> BTreeMap<&str, Vec<&str>> {
    let parts = built.models.iter().filter(|model| !model.written.is_empty());
    parts.map(|model| (model.name.as_str(), model.written.iter().map(String::as_str).collect())).collect()
}

async fn everything(shed: &Shed) -> Vec<(String, Vec<String>)> {
    let session = shed.session(&grant(Role::OperatorAdmin, None)).await.unwrap();
    let mut marts = Vec::new();
    for model in shed.models.iter().filter(|model| model.description.materialised == crate::Materialised::Table) {
        let columns: Vec<&str> = model.description.columns.keys().map(String::as_str).collect();
        let rows: Vec<Value> = session.rows(&format!("select {} from {}", columns.join(", "), model.name)).await.unwrap();
        let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
        rows.sort_unstable();
        marts.push((model.name.clone(), rows));
    }
    marts
}

#[tokio::test]
async fn a_build_writes_the_months_that_changed_and_no_others() {
    let mut shed = Shed::new(datasets(), models());
    let id = usage(&mut shed);
    let first = shed.build().await;
    assert_eq!(written(&first)["machine_months"], ["2025-01", "2025-02"]);

    let again = shed.build().await;
    assert!(again.publications.is_empty() && again.models.is_empty(), "{:?}", written(&again));

    // a machine that was late reports of January
    days(&mut shed, (id, "ACME"), "2025-01", &["aa", "bb", "cc"]);
    let late = shed.build().await;
    let parts = written(&late);
    assert_eq!(parts["int_machine_days_summed"], ["2025-01"]);
    assert_eq!(parts["usage_by_customer_month"], ["2025-01"]);
    assert_eq!(parts["customer_months"], ["2025-01"]);
    assert!(!parts.contains_key("mrr_movements") && !parts.contains_key("plan_mix"), "{parts:?}");
    assert!(parts.values().flatten().all(|month| *month == "2025-01"), "{parts:?}");

    let mut anew = Shed::new(datasets(), models());
    anew.take_raw(&shed);
    anew.build().await;
    assert_eq!(everything(&shed).await, everything(&anew).await);

    // and when the late machine turns out to have been an error, January is as it was
    days(&mut shed, (id, "ACME"), "2025-01", &["aa", "bb"]);
    assert_eq!(written(&shed.build().await)["usage_by_customer_month"], ["2025-01"]);
}

#[tokio::test]
async fn a_month_that_has_no_rows_any_more_is_emptied() {
    let mut shed = Shed::new(datasets(), models());
    usage(&mut shed);
    shed.build().await;
    for dataset in ["machine_days", "rated_lines"] {
        shed.files.get_mut(dataset).unwrap().retain(|file| file.month() != "2025-02");
    }
    let built = shed.build().await;
    assert!(written(&built)["plan_mix"].contains(&"2025-02") || !shed.files["mart_plan_mix"].iter().any(|file| file.month() == "2025-02"));
    assert!(!shed.files["mart_machine_months"].iter().any(|file| file.month() == "2025-02"));
}

#[tokio::test]
async fn what_may_name_somebody_is_tagged_wherever_it_goes() {
    let mut shed = Shed::new(datasets(), models());
    let customer = (CustomerId::new(), "ACME");
    for dataset in datasets().iter().filter(|dataset| dataset.columns.iter().any(|column| column.is_personal)) {
        let mut row = crate::fixture::plain_row(dataset);
        for column in dataset.columns.iter().filter(|column| column.is_personal) {
            row[column.name] = json!("SOMEBODY");
        }
        shed.write_rows(dataset.name, Some(customer), if dataset.month_column.is_some() { "2025-01" } else { "all" }, &[row]);
    }
    days(&mut shed, customer, "2025-01", &["plain"]);
    let row = json!({"id": customer.0, "msp_id": customer.0, "code": "ACME", "name": "ACME", "status": "active", "time_zone": "UTC",
        "country": "US", "region": "local", "activated_on": "2025-01-01", "created_at": "2025-01-01T12:00:00Z"});
    shed.write_rows("customers", None, "all", &[row]);
    shed.build().await;
    let session = shed.session(&grant(Role::OperatorAdmin, None)).await.unwrap();
    let mut tagged = 0;
    for model in shed.models.iter() {
        let rows: Vec<Value> = session.rows(&format!("select * from {}", model.name)).await.unwrap();
        for (column, described) in &model.description.columns {
            let names_somebody = rows.iter().any(|row| row[column].as_str().is_some_and(|text| text.contains("SOMEBODY")));
            assert!(described.personal || !names_somebody, "{}.{column} may name somebody and is not tagged personal", model.name);
            tagged += usize::from(names_somebody);
        }
    }
    assert!(tagged >= 10, "{tagged}");
}
