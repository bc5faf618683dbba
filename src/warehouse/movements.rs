//! Tests of the revenue models on a small portfolio whose past is known: every kind of movement, with its reason.

use std::collections::BTreeMap;

use granary_types::{CustomerId, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::checks::run_all;
use crate::fixture::{Shed, datasets, grant, models};

const PERIODS: [&str; 5] = ["2025-01", "2025-02", "2025-03", "2025-04", "2025-05"];

#[derive(Debug, Deserialize)]
struct MovementRow {
    customer_code: String,
    period: String,
    movement: String,
    reason: String,
    amount_minor: i64,
}

#[derive(Debug, Deserialize)]
struct RevenueRow {
    period: String,
    start_minor: i64,
    mrr_minor: i64,
    customers_lost: i64,
    nrr: Option<f64>,
}

/// A line: item, quantity, unit price in whole units.
pub(crate) type Line = (&'static str, i64, i64);

/// A customer: since when it is billed, its lines by month (none for a month without), its changes of status.
pub(crate) struct Past {
    pub(crate) code: &'static str,
    pub(crate) activated_on: &'static str,
    pub(crate) lines: [&'static [Line]; 5],
    pub(crate) changes: &'static [(&'static str, &'static str)],
    pub(crate) end_reason: Option<&'static str>,
}

const PASTS: &[Past] = &[
    // there before the first month, grows by machines, then a cheaper price
    Past {
        code: "GROWS",
        activated_on: "2024-06-01",
        lines: [
            &[("machine_backup", 10, 10)],
            &[("machine_backup", 15, 10)],
            &[("machine_backup", 15, 9)],
            &[("machine_backup", 15, 9)],
            &[("machine_backup", 15, 9)],
        ],
        changes: &[("active", "2024-06-01")],
        end_reason: None,
    },
    // new in February, three machines move up a tier in March, an add-on in April, a discount in May
    Past {
        code: "MOVES",
        activated_on: "2025-02-01",
        lines: [
            &[],
            &[("machine_backup", 10, 10)],
            &[("machine_backup", 7, 10), ("machine_enterprise", 3, 25)],
            &[("machine_backup", 7, 10), ("machine_enterprise", 3, 25), ("premium_support", 1, 50)],
            &[("machine_backup", 7, 10), ("machine_enterprise", 3, 25), ("premium_support", 1, 50), ("discount", -1, 20)],
        ],
        changes: &[("active", "2025-02-01")],
        end_reason: None,
    },
    // suspended in the middle of February, back in March
    Past {
        code: "PAUSES",
        activated_on: "2024-06-01",
        lines: [
            &[("machine_backup", 4, 10)],
            &[("machine_backup", 4, 10)],
            &[("machine_backup", 5, 10)],
            &[("machine_backup", 5, 10)],
            &[("machine_backup", 5, 10)],
        ],
        changes: &[("active", "2024-06-01"), ("suspended", "2025-02-15"), ("active", "2025-03-10")],
        end_reason: None,
    },
    // suspended in the middle of February for good until May: a pause, then churn, then back
    Past {
        code: "LAPSES",
        activated_on: "2024-06-01",
        lines: [
            &[("machine_backup", 8, 10)],
            &[("machine_backup", 8, 10)],
            &[("machine_backup", 8, 10)],
            &[],
            &[("machine_backup", 2, 10)],
        ],
        changes: &[("active", "2024-06-01"), ("suspended", "2025-02-15"), ("active", "2025-05-10")],
        end_reason: None,
    },
    // leaves in April
    Past {
        code: "LEAVES",
        activated_on: "2024-06-01",
        lines: [
            &[("machine_backup", 6, 10)],
            &[("machine_backup", 6, 10)],
            &[("machine_backup", 6, 10)],
            &[("machine_backup", 6, 10)],
            &[],
        ],
        changes: &[("active", "2024-06-01"), ("closed", "2025-04-30")],
        end_reason: Some("voluntary"),
    },
    // a trial never has MRR
    Past {
        code: "TRIES",
        activated_on: "2025-05-01",
        lines: [&[], &[], &[], &[("machine_backup", 3, 0)], &[("machine_backup", 3, 10)]],
        changes: &[("trial", "2025-04-02"), ("active", "2025-05-01")],
        end_reason: None,
    },
];

fn seal(shed: &mut Shed, past: &Past) -> [Value; 2] {
    let id = CustomerId::new();
    let created = format!("{}T12:00:00Z", past.changes[0].1);
    for (period, lines) in PERIODS.iter().zip(past.lines).filter(|(_, lines)| !lines.is_empty()) {
        let start = format!("{period}-01");
        let rows: Vec<Value> = lines
            .iter()
            .enumerate()
            .map(|(position, (item, quantity, price))| {
                json!({
                    "id": CustomerId::new(), "period": period, "position": position, "item": item, "description": item,
                    "quantity": quantity.to_string(), "unit_price": price.to_string(), "amount_minor": quantity * price * 100,
                    "currency": "USD", "is_recurring": true, "period_start_on": start, "created_at": created,
                })
            })
            .collect();
        shed.write_rows("rated_lines", Some((id, past.code)), period, &rows);
    }
    let customer = json!({
        "id": id, "msp_id": id, "code": past.code, "name": past.code, "status": past.changes.last().unwrap().0, "time_zone": "UTC",
        "country": "US", "region": "local", "activated_on": past.activated_on, "created_at": created,
    });
    let contract = json!({
        "id": CustomerId::new(), "msp_id": id, "customer_id": id, "starts_on": past.changes[0].1, "months": 12, "renews": true, "notice_days": 30,
        "end_reason": past.end_reason, "currency": "USD", "default_tier": "backup", "storage_limit_gib": 100, "minimum_minor": 0,
        "discount_percent": "0", "tax_percent": "0", "payment_terms_days": 30, "billing_channel": "manual", "has_premium_support": false,
        "has_white_label": false, "rpo_hours": 24, "backup_sla_percent": "99.5", "restore_target_minutes": 240, "support_target_minutes": 240,
        "created_at": created,
    });
    [customer, contract]
}

pub(crate) async fn portfolio() -> Shed {
    portfolio_of(PASTS).await
}

pub(crate) async fn portfolio_of(pasts: &[Past]) -> Shed {
    let mut shed = Shed::new(datasets(), models());
    let (mut customers, mut contracts, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for past in pasts {
        let [customer, contract] = seal(&mut shed, past);
        for (status, day) in past.changes {
            changes.push(json!({
                "id": CustomerId::new(), "msp_id": customer["id"], "customer_id": customer["id"], "status": status,
                "changed_at": format!("{day}T12:00:00Z"),
            }));
        }
        customers.push(customer);
        contracts.push(contract);
    }
    shed.write_rows("customers", None, "all", &customers);
    shed.write_rows("contracts", None, "all", &contracts);
    shed.write_rows("status_changes", None, "all", &changes);
    let msp = json!({"id": CustomerId::new(), "code": "N", "name": "North", "time_zone": "America/New_York", "currency": "USD",
        "counting_rule": "distinct_in_period"});
    shed.write_rows("msps", None, "all", &[msp]);
    let periods: Vec<Value> =
        PERIODS.iter().map(|period| json!({"msp_id": CustomerId::new(), "period": period, "state": "closed"})).collect();
    shed.write_rows("periods", None, "all", &periods);
    shed.build().await;
    shed
}

#[tokio::test]
async fn every_movement_has_its_kind_its_reason_and_its_cents() {
    let shed = portfolio().await;
    let session = shed.session(&grant(Role::OperatorAdmin, None)).await.unwrap();
    let sql =
        "select customer_code, period, movement, reason, amount_minor from mrr_movements order by customer_code, period, movement, reason";
    let rows: Vec<MovementRow> = session.rows(sql).await.unwrap();
    let found: Vec<(&str, &str, &str, &str, i64)> =
        rows.iter().map(|row| (&*row.customer_code, &row.period[5..], &*row.movement, &*row.reason, row.amount_minor)).collect();
    let expected = [
        ("GROWS", "02", "expansion", "quantity", 5000),
        ("GROWS", "03", "contraction", "price", -1500),
        ("LAPSES", "02", "pause", "suspension", -8000),
        ("LAPSES", "03", "churn", "non_payment", -8000),
        ("LAPSES", "03", "pause", "older_than_30_days", 8000),
        ("LAPSES", "05", "reactivation", "returned", 2000),
        ("LEAVES", "04", "churn", "voluntary", -6000),
        ("MOVES", "02", "new", "first_billing", 10000),
        ("MOVES", "03", "expansion", "tier", 4500),
        ("MOVES", "04", "expansion", "add_on", 5000),
        ("MOVES", "05", "contraction", "price", -2000),
        ("PAUSES", "02", "pause", "suspension", -4000),
        ("PAUSES", "03", "resume", "suspension_lifted", 5000),
        ("TRIES", "05", "new", "first_billing", 3000),
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_portfolio_ends_where_its_movements_lead() {
    let shed = portfolio().await;
    let session = shed.session(&grant(Role::OperatorAdmin, None)).await.unwrap();
    let sql = "select period, start_minor, mrr_minor, customers_lost, nrr from revenue_by_month order by period";
    let rows: Vec<RevenueRow> = session.rows(sql).await.unwrap();
    let months: BTreeMap<&str, &RevenueRow> = rows.iter().map(|row| (&*row.period, row)).collect();
    let january = months["2025-01"];
    assert_eq!((january.start_minor, january.mrr_minor, january.nrr), (28_000, 28_000, Some(1.0)), "an imported past is not new");
    assert_eq!(months["2025-02"].mrr_minor, 15_000 + 10_000 + 6_000);
    assert_eq!((months["2025-03"].customers_lost, months["2025-04"].customers_lost), (1, 1));
    assert_eq!(months["2025-05"].mrr_minor, 13_500 + 17_500 + 5_000 + 2_000 + 3_000);
}

#[tokio::test]
async fn every_promise_of_the_models_holds() {
    let shed = portfolio().await;
    let session = shed.session(&grant(Role::OperatorAdmin, None)).await.unwrap();
    let outcomes = run_all(&session, &shed.models, "2025-06-03T00:00:00Z".parse().unwrap()).await.unwrap();
    let broken: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(outcomes.iter().any(|outcome| outcome.test == "mrr_end_is_start_plus_movements"));
}
