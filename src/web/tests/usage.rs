//! Usage as of now, and calls of programs.

use axum::http::StatusCode;
use granary_access::ApiKeyScope;
use granary_types::Role;
use serde_json::Value;

use super::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_customers_programs_are_counted_and_nobody_elses() {
    let house = House::bare().await;
    let (north, acme) = (&house.made.north, &house.made.acme);
    let admin = house.user(Role::MspAdmin, north, None).await;
    let viewer = house.user(Role::CustomerViewer, north, Some(acme)).await;
    let program = house.key(north, acme, &[ApiKeyScope::ReportsRead]).await;
    let plane = house.key(north, acme, &[ApiKeyScope::UsageWrite]).await;
    let path = "/api/v1/msp/customers/ACME/usage?period=2025-11";
    for _ in 0..3 {
        // What is refused was asked for.
        house.get("/reports/ACME/2025-10.pdf", &program).await;
    }
    house.get("/reports/ACME/2025-10.pdf", &viewer).await;
    house.post("/api/v1/usage/events", &plane, "[]").await;
    assert_eq!(house.get(path, &admin).await.status, StatusCode::OK);
    assert_eq!(house.api_calls.flush(house.test.tenants()).await.unwrap(), 3);
    assert_eq!(house.api_calls.flush(house.test.tenants()).await.unwrap(), 0);
    let told: Value = serde_json::from_str(&house.get(path, &admin).await.body).unwrap();
    assert_eq!((&told["api_calls_total"], &told["is_closed"], &told["customer_code"]), (&3.into(), &false.into(), &"ACME".into()));
    assert_eq!(told["tenant_id"], acme.id.to_string());
    let globex: Value = serde_json::from_str(&house.get(&path.replace("ACME", "GLOBEX"), &admin).await.body).unwrap();
    assert_eq!(globex["api_calls_total"], 0);
    for unknown in ["2025-12", "2024-12"] {
        assert_eq!(house.get(&path.replace("2025-11", unknown), &admin).await.status, StatusCode::NOT_FOUND, "{unknown}");
    }
}
