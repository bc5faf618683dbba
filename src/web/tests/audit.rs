//! The audit log, as people of an MSP and of a customer read it.

use axum::http::StatusCode;
use granary_types::Role;
use serde_json::Value;

use super::house::{Caller, House};

async fn entries(house: &House, path: &str, caller: &Caller) -> (Vec<Value>, Option<String>) {
    let answer = house.get(path, caller).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    (body["entries"].as_array().unwrap().clone(), body["next"].as_str().map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_msp_reads_its_log_page_by_page_and_a_customer_its_own_without_the_msps_words() {
    let house = House::bare().await;
    let (north, acme, globex) = (house.made.north.clone(), house.made.acme.clone(), house.made.globex.clone());
    let admin = house.user(Role::MspAdmin, &north, None).await;
    let wile = house.user(Role::CustomerAdmin, &north, Some(&acme)).await;
    for code in ["ACME", "GLOBEX"] {
        let path = format!("/api/v1/msp/customers/{code}/suspend");
        assert_eq!(house.post(&path, &admin, "{\"reason\": \"unpaid since August\"}").await.status, StatusCode::OK);
    }
    // Both look at one another's log: a read is written down as well.
    let (all, _) = entries(&house, "/api/v1/msp/audit?action=customer.suspend", &admin).await;
    assert_eq!(all.iter().map(|entry| entry["customer"].as_str().unwrap()).collect::<Vec<_>>(), ["GLOBEX", "ACME"], "the newest first");
    assert!(
        all.iter().all(|entry| entry["reason"] == "unpaid since August" && entry["who"] == "A msp_admin" && entry["sequence"].is_u64())
    );

    let (own, _) = entries(&house, "/api/v1/msp/audit?action=customer.suspend", &wile).await;
    assert_eq!(own.len(), 1, "{own:?}");
    assert!(own[0]["customer"] == "ACME" && own[0]["reason"].is_null() && own[0]["detail"].is_null());
    assert_eq!(house.get("/api/v1/msp/audit?customer=GLOBEX", &wile).await.status, StatusCode::NOT_FOUND);
    let page = house.get("/audit", &wile).await;
    assert!(page.status == StatusCode::OK && page.body.contains("customer.suspend") && !page.body.contains("unpaid"), "{}", page.body);
    assert!(!page.body.contains(globex.code.as_str()));

    // Every entry once, whatever the size of a page.
    let (mut path, mut seen) = ("/api/v1/msp/audit?limit=2".to_owned(), Vec::new());
    loop {
        let (page, next) = entries(&house, &path, &admin).await;
        seen.extend(page.iter().map(|entry| entry["sequence"].as_i64().unwrap()));
        let Some(next) = next else { break };
        path = format!("/api/v1/msp/audit?limit=2&cursor={next}");
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert!(seen.len() > 4 && sorted == seen, "{seen:?}");
    for wrong in ["cursor=nonsense", "limit=0", "since=yesterday", "unknown=1"] {
        let status = house.get(&format!("/api/v1/msp/audit?{wrong}"), &admin).await.status;
        assert!(status == StatusCode::BAD_REQUEST || status == StatusCode::UNPROCESSABLE_ENTITY, "{wrong}: {status}");
    }
    let page = house.get("/audit?customer=ACME&action=customer.suspend&from=2025-11-01&to=2025-11-30", &admin).await;
    assert!(page.body.contains("unpaid since August") && page.body.contains("A msp_admin"), "{}", page.body);
    assert!(house.get("/audit?to=2025-11-01", &admin).await.body.contains("Nothing fits"));
}
