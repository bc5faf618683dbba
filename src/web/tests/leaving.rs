//! Holds, erasures and rules of retention, as an MSP's administrator meets them.

use std::time::Duration;

use axum::http::StatusCode;
use granary_types::Role;
use serde_json::{Value, json};

use super::customers::manager;
use super::house::{Caller, House};

const ACME: &str = "/api/v1/msp/customers/ACME";
const REASON: &str = r#"{"reason": "end of contract"}"#;

/// Waits until an erasure is done, and shows it.
async fn erased(house: &House, admin: &Caller) -> Value {
    let done = async {
        loop {
            let shown = house.get(&format!("{ACME}/erasure"), admin).await;
            assert_eq!(shown.status, StatusCode::OK, "{}", shown.body);
            if shown.json()["state"] == "done" {
                return shown.json();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), done).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_customer_is_erased_by_its_msps_administrator_once_and_with_a_certificate() {
    let house = House::leaving().await;
    let (north, south) = (&house.made.north, &house.made.south);
    let admin = house.user(Role::MspAdmin, north, None).await;
    let (close, erase) = (format!("{ACME}/close"), format!("{ACME}/erasure"));
    let early = house.send_keyed("POST", &erase, &admin, REASON, "one").await;
    assert_eq!((early.status, early.code().as_str()), (StatusCode::CONFLICT, "status_transition_refused"));
    assert_eq!(house.post(&close, &admin, REASON).await.status, StatusCode::OK);

    // Nobody else may, and nobody by accident.
    for role in [Role::MspFinance, Role::MspOperator, Role::MspAnalyst] {
        let other = house.user(role, north, None).await;
        assert_eq!(house.send_keyed("POST", &erase, &other, REASON, "one").await.status, StatusCode::FORBIDDEN, "{role}");
    }
    let key = manager(&house, north).await;
    assert_eq!(house.send_keyed("POST", &erase, &key, REASON, "one").await.status, StatusCode::FORBIDDEN, "a key is no administrator");
    assert_eq!(house.post(&erase, &admin, REASON).await.code(), "idempotency_key_missing");
    assert_eq!(house.send_keyed("POST", &erase, &admin, "{}", "one").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(house.post(&format!("{ACME}/holds"), &admin, r#"{"reason": "lawsuit"}"#).await.status, StatusCode::CREATED);
    let held = house.send_keyed("POST", &erase, &admin, REASON, "one").await;
    assert_eq!((held.status, held.code().as_str()), (StatusCode::CONFLICT, "customer_on_hold"));
    assert_eq!(house.post(&format!("{ACME}/holds/release"), &admin, r#"{"reason": "settled"}"#).await.status, StatusCode::OK);
    assert_eq!(house.get(&erase, &admin).await.json()["state"], "none");

    let begun = house.send_keyed("POST", &erase, &admin, REASON, "one").await;
    assert_eq!((begun.status, begun.location()), (StatusCode::ACCEPTED, erase.as_str()), "{}", begun.body);
    let done = erased(&house, &admin).await;
    assert_eq!((&done["customer_code"], &done["reason"]), (&json!("ACME"), &json!("end of contract")));
    assert!(done["certificate"]["signature"].is_string() && done["finished_at"].is_string(), "{done}");
    // Asked again the answer is the first one, though nobody is called ACME any more.
    let again = house.send_keyed("POST", &erase, &admin, REASON, "one").await;
    assert_eq!((again.status, &again.body), (StatusCode::ACCEPTED, &begun.body));
    assert_eq!(house.send_keyed("POST", &erase, &admin, REASON, "two").await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.get(ACME, &admin).await.status, StatusCode::NOT_FOUND);

    // The other MSP's ACME lives, and learns nothing.
    let theirs = house.user(Role::MspAdmin, south, None).await;
    assert_eq!(house.get(&erase, &theirs).await.json()["state"], "none");
    assert_eq!(house.get(ACME, &theirs).await.status, StatusCode::OK);
    let globex = house.get("/api/v1/msp/customers/GLOBEX/erasure", &theirs).await;
    assert_eq!(globex.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_retention_are_the_administrators_and_refused_where_they_cut_what_is_needed() {
    let house = House::bare().await;
    let (north, south) = (&house.made.north, &house.made.south);
    let admin = house.user(Role::MspAdmin, north, None).await;
    let finance = house.user(Role::MspFinance, north, None).await;
    let path = |dataset: &str| format!("/api/v1/msp/retention/{dataset}");
    for caller in [&finance, &manager(&house, north).await] {
        assert_eq!(house.get("/api/v1/msp/retention", caller).await.status, StatusCode::FORBIDDEN);
        assert_eq!(house.send("PUT", &path("tickets"), caller, r#"{"keep_days": 730}"#).await.status, StatusCode::FORBIDDEN);
    }
    let set = house.send("PUT", &path("tickets"), &admin, r#"{"keep_days": 730}"#).await;
    assert_eq!((set.status, &set.json()["keep_days"]), (StatusCode::OK, &json!(730)), "{}", set.body);
    for (dataset, body, status, code) in [
        ("tickets", r#"{"keep_days": 30}"#, StatusCode::UNPROCESSABLE_ENTITY, "retention_too_short"),
        ("tickets", r#"{"keep_days": -1}"#, StatusCode::UNPROCESSABLE_ENTITY, "retention_too_short"),
        ("tickets", r#"{"keep_days": 99999}"#, StatusCode::UNPROCESSABLE_ENTITY, "retention_too_long"),
        ("tickets", r#"{"days": 730}"#, StatusCode::UNPROCESSABLE_ENTITY, "body_invalid"),
        ("machines", r#"{"keep_days": 4000}"#, StatusCode::NOT_FOUND, "retention_unknown"),
    ] {
        let refused = house.send("PUT", &path(dataset), &admin, body).await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{dataset} {body}: {}", refused.body);
    }
    let rule = |answer: &Value| {
        let rules = answer["datasets"].as_array().unwrap();
        rules.iter().find(|rule| rule["dataset"] == "tickets").unwrap()["keep_days"].clone()
    };
    assert_eq!(rule(&house.get("/api/v1/msp/retention", &admin).await.json()), 730);
    let theirs = house.user(Role::MspAdmin, south, None).await;
    assert_eq!(rule(&house.get("/api/v1/msp/retention", &theirs).await.json()), Value::Null);
    assert_eq!(house.send("PUT", &path("tickets"), &admin, r#"{"keep_days": null}"#).await.json()["keep_days"], Value::Null);
}
