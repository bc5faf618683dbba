//! Tests of limits that change within a month: the marts hold usage against the average, as invoices do.

use granary_types::{CustomerId, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture::{Shed, datasets, grant, models};

const GIB: i64 = 1 << 30;

#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Month {
    period: String,
    storage_limit_bytes: i64,
    machine_limit: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Overage {
    limit_bytes: i64,
    overage_gib: String,
}

/// A customer that stores 1,100 GiB every day of October and of November's first ten days, which are all that is known of it.
async fn shed(limits: &[(&str, i64, Option<i64>)]) -> Shed {
    let mut shed = Shed::new(datasets(), models());
    let (id, contract, repository) = (CustomerId::new(), CustomerId::new(), CustomerId::new());
    let created = "2025-01-01T05:00:00Z";
    for (period, days) in [("2025-10", 31), ("2025-11", 10)] {
        let day = |day: i32| format!("{period}-{day:02}");
        let stored: Vec<Value> = (1..=days)
            .map(|on| json!({"repository_id": repository, "billing_on": day(on), "used_bytes": 1_100 * GIB, "is_carried": false}))
            .collect();
        let ran: Vec<Value> = (1..=days)
            .map(|on| {
                json!({"machine_id": repository, "billing_on": day(on), "tier": "backup", "runs_completed": 1, "runs_failed": 0,
                    "cycles_completed": 0, "is_in_protection": true, "transferred_bytes": 1})
            })
            .collect();
        shed.write_rows("storage_days", Some((id, "ACME")), period, &stored);
        shed.write_rows("machine_days", Some((id, "ACME")), period, &ran);
    }
    let customer = json!({"id": id, "msp_id": id, "code": "ACME", "name": "Acme", "status": "active", "time_zone": "UTC", "country": "US",
        "region": "local", "activated_on": "2025-01-01", "created_at": created});
    let terms = json!({
        "id": contract, "msp_id": id, "customer_id": id, "starts_on": "2025-01-01", "months": 12, "renews": true, "notice_days": 30,
        "currency": "USD", "default_tier": "backup", "machine_limit": 9, "storage_limit_gib": 77, "minimum_minor": 0,
        "discount_percent": "0", "tax_percent": "0", "payment_terms_days": 30, "billing_channel": "manual", "has_premium_support": false,
        "has_white_label": false, "rpo_hours": 24, "backup_sla_percent": "99.5", "restore_target_minutes": 240,
        "support_target_minutes": 240, "created_at": created,
    });
    let limit = |(from, gib, machines): &(&str, i64, Option<i64>)| {
        json!({"contract_id": contract, "msp_id": id, "customer_id": id, "valid_from": from, "machine_limit": machines,
            "storage_limit_gib": gib, "created_at": created})
    };
    shed.write_rows("customers", None, "all", &[customer]);
    shed.write_rows("contracts", None, "all", &[terms]);
    if !limits.is_empty() {
        shed.write_rows("contract_limits", None, "all", &limits.iter().map(limit).collect::<Vec<_>>());
    }
    let change = json!({"id": id, "msp_id": id, "customer_id": id, "status": "active", "changed_at": created});
    shed.write_rows("status_changes", None, "all", &[change]);
    let msp = json!({"id": id, "code": "N", "name": "North", "time_zone": "America/New_York", "currency": "USD",
        "counting_rule": "distinct_in_period"});
    shed.write_rows("msps", None, "all", &[msp]);
    shed.write_rows("periods", None, "all", &[json!({"msp_id": id, "period": "2025-10", "state": "closed"})]);
    shed.build().await;
    shed
}

async fn months(shed: &Shed) -> Vec<Month> {
    let session = shed.session(&grant(Role::OperatorAdmin, None)).await.unwrap();
    session.rows("select period, storage_limit_bytes, machine_limit from customer_months order by period").await.unwrap()
}

fn month(period: &str, storage_limit_bytes: i64, machine_limit: Option<i64>) -> Month {
    Month { period: period.to_owned(), storage_limit_bytes, machine_limit }
}

#[tokio::test]
async fn a_month_is_held_against_the_average_of_its_limits() {
    // Of October 20 days of 1,000 and 11 of 1,093; of the ten days of November that have come 4 of 1,093 and 6 of 1,193.
    let shed = shed(&[("2025-01-01", 1_000, None), ("2025-10-21", 1_093, Some(5)), ("2025-11-05", 1_193, None)]).await;
    assert_eq!(months(&shed).await, [month("2025-10", 1_033 * GIB, Some(5)), month("2025-11", 1_153 * GIB, None)]);
    let session = shed.session(&grant(Role::OperatorAdmin, None)).await.unwrap();
    let sql = "select limit_bytes, arrow_cast(overage_gib, 'Utf8') as overage_gib from storage_overage where period = '2025-10'";
    let overage: Vec<Overage> = session.rows(sql).await.unwrap();
    assert_eq!((overage[0].limit_bytes, overage[0].overage_gib.as_str()), (1_033 * GIB, "67.000"));
}

#[tokio::test]
async fn the_first_limit_speaks_for_the_days_before_it_and_a_lake_of_old_for_its_contracts() {
    let late = shed(&[("2025-10-21", 1_000, Some(3))]).await;
    assert_eq!(months(&late).await, [month("2025-10", 1_000 * GIB, Some(3)), month("2025-11", 1_000 * GIB, Some(3))]);
    let thirds = shed(&[("2025-01-01", 0, None), ("2025-10-31", 1, None)]).await;
    assert_eq!(months(&thirds).await[0].storage_limit_bytes, (GIB + 15) / 31, "rounded to a byte");
    let old = shed(&[]).await;
    assert_eq!(months(&old).await, [month("2025-10", 77 * GIB, Some(9)), month("2025-11", 77 * GIB, Some(9))]);
}
