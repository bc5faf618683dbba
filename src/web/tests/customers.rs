//! The API of customers, as an MSP's program meets it.

use axum::http::StatusCode;
use granary_access::{ApiKeyScope, Manager, NewApiKey};
use granary_tenants::Msp;
use granary_types::Role;
use serde_json::{Value, json};

use super::house::{Answer, Caller, House};

const CUSTOMERS: &str = "/api/v1/msp/customers";

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A key of an MSP that may manage customers.
pub(super) async fn manager(house: &House, msp: &Msp) -> Caller {
    let key = NewApiKey {
        msp_id: msp.id,
        customer_id: None,
        control_plane_id: None,
        name: "ticket system".to_owned(),
        scopes: vec![ApiKeyScope::CustomersWrite],
        expires_at: None,
        requests_per_minute: None,
    };
    Caller::Key(house.access.create_api_key(Manager::Command("test"), &key).await.unwrap().1.reveal().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_made_shown_limited_suspended_resumed_and_closed() {
    let house = House::bare().await;
    let north = manager(&house, &house.made.north).await;
    // The specification's own example.
    let body = json!({
        "company_name": "Wayne Enterprises", "customer_code": "WAYNE", "plan_tier": "enterprise",
        "limits": {"max_vms": 100, "storage_gb": 2000},
        "branding": {"primary_color": "#1E40AF", "logo_url": "https://wayne.com/logo.png"}
    });
    let made = house.post(CUSTOMERS, &north, &body.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.location(), "/api/v1/msp/customers/WAYNE");
    let out = made.json();
    assert_eq!(
        (&out["status"], &out["limits"]["max_vms"], &out["branding"]["primary_color"]),
        (&json!("active"), &json!(100), &json!("#1e40af"))
    );
    let wayne = format!("{CUSTOMERS}/WAYNE");
    assert_eq!(house.get(&wayne, &north).await.json(), out);
    let taken = house.post(CUSTOMERS, &north, &body.to_string()).await;
    assert_eq!((taken.status, taken.code().as_str()), (StatusCode::CONFLICT, "customer_code_taken"));

    let limits = house
        .send("PUT", &format!("{wayne}/limits"), &north, r#"{"max_vms": 150, "storage_gb": 3000, "max_vms_enforcement": "hard"}"#)
        .await;
    assert_eq!(limits.status, StatusCode::OK, "{}", limits.body);
    let shown = house.get(&format!("{wayne}/limits"), &north).await.json();
    assert_eq!((&shown["max_vms"], &shown["storage_gb"], &shown["max_vms_enforcement"]), (&json!(150), &json!(3000), &json!("hard")));
    let contracts = house.get(&format!("{wayne}/contracts"), &north).await.json();
    assert_eq!((&contracts["contracts"][0]["plan_tier"], &contracts["contracts"][0]["storage_gb"]), (&json!("enterprise"), &json!(3000)));

    let suspended = house.post(&format!("{wayne}/suspend"), &north, r#"{"reason": "unpaid"}"#).await;
    assert_eq!((suspended.status, &suspended.json()["status"]), (StatusCode::OK, &json!("suspended")));
    let shut = house.post(&format!("{wayne}/control-planes"), &north, r#"{"name": "b", "source": "b"}"#).await;
    assert_eq!((shut.status, shut.code().as_str()), (StatusCode::CONFLICT, "customer_door_shut"));
    assert_eq!(house.post(&format!("{wayne}/resume"), &north, "").await.json()["status"], json!("active"));
    let no_reason = house.post(&format!("{wayne}/close"), &north, "{}").await;
    assert_eq!(no_reason.status, StatusCode::UNPROCESSABLE_ENTITY);
    let closed = house.post(&format!("{wayne}/close"), &north, r#"{"reason": "left", "end_reason": "voluntary"}"#).await;
    assert_eq!(closed.json()["status"], json!("closed"));
    let contracts = house.get(&format!("{wayne}/contracts"), &north).await.json();
    assert_eq!(contracts["contracts"][0]["end_reason"], json!("voluntary"));
    let late = house.post(&format!("{wayne}/suspend"), &north, r#"{"reason": "late"}"#).await;
    assert_eq!((late.status, late.code().as_str()), (StatusCode::CONFLICT, "status_transition_refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_sent_many_times_at_once_makes_one_customer_and_one_answer() {
    let house = House::bare().await;
    let north = manager(&house, &house.made.north).await;
    let body = json!({"company_name": "Hooli", "customer_code": "HOOLI"}).to_string();
    let send = || house.send_keyed("POST", CUSTOMERS, &north, &body, "order-17");
    let answers = futures::future::join_all((0..5).map(|_| send())).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::CREATED && answer.body == answers[0].body));
    let replayed = answers.iter().filter(|answer| answer.headers.contains_key("idempotent-replayed")).count();
    assert_eq!(replayed, 4);
    assert_eq!(house.get(&format!("{CUSTOMERS}?q=hooli"), &north).await.json()["customers"].as_array().unwrap().len(), 1);
    let runs: i64 = house
        .test
        .superuser()
        .await
        .query_one("select count(*) from control.lifecycle_runs where ended_at is null", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(runs, 0);

    let other = json!({"company_name": "Hooli", "customer_code": "HOOLI-2"}).to_string();
    let reused = house.send_keyed("POST", CUSTOMERS, &north, &other, "order-17").await;
    assert_eq!((reused.status, reused.code().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
    assert_eq!(house.get(&format!("{CUSTOMERS}/HOOLI-2"), &north).await.status, StatusCode::NOT_FOUND);
    // The same key of another MSP is another key; so is a key on another path.
    let south = manager(&house, &house.made.south).await;
    assert_eq!(house.send_keyed("POST", CUSTOMERS, &south, &body, "order-17").await.status, StatusCode::CREATED);
    let elsewhere = house.send_keyed("POST", &format!("{CUSTOMERS}/ACME/suspend"), &north, &body, "order-17").await;
    assert_eq!(elsewhere.code(), "idempotency_key_reused");
    // A request that failed has taken no key.
    let failed = house.send_keyed("POST", CUSTOMERS, &north, "{", "order-18").await;
    assert_eq!(failed.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(house.send_keyed("POST", CUSTOMERS, &north, &other, "order-18").await.status, StatusCode::CREATED);
    // A repeated suspension is answered as the first was, also when the customer was resumed meanwhile.
    let suspend = || house.send_keyed("POST", "/api/v1/msp/customers/HOOLI/suspend", &north, r#"{"reason": "unpaid"}"#, "s-1");
    let first = suspend().await;
    house.post(&format!("{CUSTOMERS}/HOOLI/resume"), &north, "").await;
    assert_eq!(suspend().await.body, first.body);
    assert_eq!(house.get(&format!("{CUSTOMERS}/HOOLI"), &north).await.json()["status"], json!("active"));
    for key in [String::new(), "x".repeat(256)] {
        assert_eq!(house.send_keyed("POST", CUSTOMERS, &north, &other, &key).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let stored = house.test.superuser().await.query("select sealed from control.idempotency_keys", &[]).await.unwrap();
    assert!(stored.iter().all(|row| !row.get::<_, Vec<u8>>(0).windows(5).any(|window| window == b"HOOLI")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_msps_and_another_customers_keys_change_nothing() {
    let house = House::bare().await;
    let south = manager(&house, &house.made.south).await;
    for (method, tail, body) in [
        ("GET", "", ""),
        ("PUT", "/limits", r#"{"storage_gb": 1}"#),
        ("POST", "/suspend", r#"{"reason": "no"}"#),
        ("POST", "/close", r#"{"reason": "no"}"#),
        ("POST", "/contracts", r#"{"starts_on": "2026-01-01", "storage_gb": 1}"#),
        ("POST", "/sites", r#"{"name": "no"}"#),
        ("POST", "/contacts", r#"{"kind": "main", "name": "no", "email": "a@b"}"#),
    ] {
        let answer = house.send(method, &format!("{CUSTOMERS}/GLOBEX{tail}"), &south, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::NOT_FOUND, "customer_not_found"), "{method} {tail}");
    }
    let globex = house.test.tenants().get_customer(house.made.globex.id).await.unwrap();
    assert_eq!(globex.status, granary_types::CustomerStatus::Active);
    let acme = house.key(&house.made.north, &house.made.acme, &[ApiKeyScope::ReportsRead]).await;
    let listed = house.get(CUSTOMERS, &acme).await.json();
    assert_eq!(listed["customers"].as_array().unwrap().len(), 1);
    assert_eq!(house.get(&format!("{CUSTOMERS}/GLOBEX"), &acme).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.post(&format!("{CUSTOMERS}/ACME/suspend"), &acme, r#"{"reason": "me"}"#).await.status, StatusCode::FORBIDDEN);
    // An operator who was granted one customer makes no others.
    let granted = house.user(Role::MspOperator, &house.made.north, Some(&house.made.acme)).await;
    let body = json!({"company_name": "X", "customer_code": "X"}).to_string();
    assert_eq!(house.post(CUSTOMERS, &granted, &body).await.status, StatusCode::FORBIDDEN);
    let site = house.post(&format!("{CUSTOMERS}/ACME/sites"), &granted, r#"{"name": "Headquarters"}"#).await;
    assert_eq!(site.status, StatusCode::CREATED, "{}", site.body);
    // What belongs to one customer is not found at another.
    let id = site.json()["id"].as_str().unwrap().to_owned();
    let admin = house.user(Role::MspAdmin, &house.made.north, None).await;
    let retire = |code: &str| format!("{CUSTOMERS}/{code}/sites/{id}/retire");
    assert_eq!(house.post(&retire("GLOBEX"), &admin, r#"{"reason": "moved"}"#).await.status, StatusCode::NOT_FOUND);
    let retired = house.post(&retire("ACME"), &admin, r#"{"reason": "moved"}"#).await.json();
    assert!(retired["retired_at"].is_string());
    let plane = json!({"name": "p", "source": "p", "site_id": id}).to_string();
    assert_eq!(house.post(&format!("{CUSTOMERS}/ACME/control-planes"), &admin, &plane).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_input_is_refused_by_name_and_leaves_nothing() {
    let house = House::bare().await;
    let north = manager(&house, &house.made.north).await;
    let long = "x".repeat(201);
    for (body, says) in [
        ("", "company_name"),
        ("not json", "expected"),
        ("[]", "the body does not fit"),
        (r#"{"customer_code": "A"}"#, "company_name"),
        (r#"{"company_name": "A", "customer_code": "A", "colour": 1}"#, "colour"),
        (r#"{"company_name": "A", "customer_code": "A", "branding": []}"#, "a list"),
        (r#"{"company_name": "A", "customer_code": "A", "customer_code": "B"}"#, "duplicate"),
        (r#"{"company_name": "A", "customer_code": "a b"}"#, "customer code"),
        (r#"{"company_name": "A", "customer_code": "A", "limits": {"max_vms": -1, "storage_gb": 5}}"#, "negative"),
        (r#"{"company_name": "A", "customer_code": "A", "limits": {"storage_gb": -5}}"#, "negative"),
        (r#"{"company_name": "A", "customer_code": "A", "limits": {"storage_gb": 99999999999999999999}}"#, "the body does not fit"),
        (r#"{"company_name": "A", "customer_code": "A", "time_zone": "Mars/Olympus"}"#, "time zone"),
        (r#"{"company_name": "A", "customer_code": "A", "plan_tier": "gold"}"#, "gold"),
        (r#"{"company_name": "A", "customer_code": "A", "status": "suspended"}"#, "trial or active"),
        (r#"{"company_name": "A", "customer_code": "A", "branding": {"primary_color": "red"}}"#, "colour"),
        (r#"{"company_name": "A", "customer_code": "A", "branding": {"logo_url": "http://a"}}"#, "https"),
        (r#"{"company_name": "A\u0000", "customer_code": "A"}"#, "control character"),
        (r#"{"company_name": "A", "customer_code": "A", "contract_starts_on": "-009999-01-01"}"#, "between 1990 and 2099"),
        (&format!(r#"{{"company_name": "{long}", "customer_code": "A"}}"#), "200 characters"),
    ] {
        let answer = house.post(CUSTOMERS, &north, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", answer.body);
        assert_eq!(answer.headers.get("content-type").unwrap(), "application/problem+json");
        assert!(answer.json()["detail"].as_str().unwrap().contains(says), "{body}: {}", answer.body);
    }
    let large = format!(r#"{{"company_name": "{}"}}"#, "x".repeat(70_000));
    assert_eq!(house.post(CUSTOMERS, &north, &large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(house.get(&format!("{CUSTOMERS}/A"), &north).await.status, StatusCode::NOT_FOUND);
    for query in ["?limit=0", "?limit=201", "?limit=x", "?cursor=zz", "?cursor=61206220", "?status=dead", "?colour=red"] {
        let answer = house.get(&format!("{CUSTOMERS}{query}"), &north).await;
        assert!(answer.status.is_client_error(), "{query}: {}", answer.status);
    }
    for (tail, body) in [
        ("contracts", r#"{"starts_on": "2026-01-02", "storage_gb": 1}"#),
        ("contracts", r#"{"starts_on": "2026-01-01", "storage_gb": 1, "months": 0}"#),
        ("contracts", r#"{"starts_on": "2026-01-01", "storage_gb": 1, "discount_percent": "100.01"}"#),
        ("sites", r#"{"name": " "}"#),
        ("sites", r#"{"name": "a", "country": "usa"}"#),
        ("contacts", r#"{"kind": "main", "name": "a", "email": "nobody"}"#),
        ("contacts", r#"{"kind": "boss", "name": "a", "email": "a@b"}"#),
        ("suspend", r#"{"reason": "unpaid", "end_reason": "closed"}"#),
        ("suspend", r#"["unpaid"]"#),
        ("contacts", r#"{"kind": "main", "name": "a", "email": "a@b\u0000"}"#),
        ("contracts", r#"{"starts_on": "2026-01-01", "storage_gb": 1, "minimum_minor": 9223372036854775807}"#),
    ] {
        let answer = house.post(&format!("{CUSTOMERS}/ACME/{tail}"), &north, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{tail} {body}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_where_the_last_one_ended_and_filters_narrow_them() {
    let house = House::bare().await;
    let north = manager(&house, &house.made.north).await;
    for code in ["B-1", "B-2", "B-3", "C_1", "INITECH"] {
        let body = json!({"company_name": format!("{code} 100% Inc."), "customer_code": code, "status": if code == "INITECH" { "trial" } else { "active" }});
        assert_eq!(house.post(CUSTOMERS, &north, &body.to_string()).await.status, StatusCode::CREATED);
    }
    let mut codes = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = house.get(&format!("{CUSTOMERS}?limit=2{cursor}"), &north).await.json();
        codes.extend(page["customers"].as_array().unwrap().iter().map(|customer| customer["customer_code"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let mut sorted = codes.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), 7, "{codes:?}");
    assert_eq!(codes.len(), 7);
    let found = async |query: &str| house.get(&format!("{CUSTOMERS}?{query}"), &north).await.json()["customers"].as_array().unwrap().len();
    assert_eq!((found("status=trial").await, found("q=inite").await, found("q=%25").await, found("q=_").await), (1, 1, 5, 1));
    assert_eq!((found("region=local").await, found("region=mars").await, found("deployment=hybrid").await), (7, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_lie_sealed_and_are_removed_for_good() {
    let house = House::bare().await;
    let north = manager(&house, &house.made.north).await;
    let path = format!("{CUSTOMERS}/ACME/contacts");
    let body = json!({"kind": "billing", "name": "Ada Lovelace", "email": "ada@acme.example", "phone": "+44 20 7946 0000"}).to_string();
    let made = house.post(&path, &north, &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(house.post(&path, &north, &body.replace("ada@acme", "ADA@acme")).await.code(), "already_there");
    let listed = house.get(&path, &north).await.json();
    assert_eq!((&listed["contacts"][0]["name"], listed["contacts"].as_array().unwrap().len()), (&json!("Ada Lovelace"), 1));
    let superuser = house.test.superuser().await;
    let sealed: Vec<u8> = superuser.query_one("select sealed from control.contacts", &[]).await.unwrap().get(0);
    assert!(!sealed.windows(8).any(|window| window == b"Lovelace"));
    // Moved to another row, the seal does not open.
    superuser.batch_execute("update control.contacts set id = gen_random_uuid()").await.unwrap();
    assert_eq!(house.get(&path, &north).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    superuser.execute("update control.contacts set id = $1::text::uuid", &[&id]).await.unwrap();
    let remove = format!("{path}/{id}/remove");
    assert_eq!(house.post(&remove, &north, r#"{"reason": "asked to"}"#).await.status, StatusCode::OK);
    assert_eq!(house.post(&remove, &north, r#"{"reason": "asked to"}"#).await.status, StatusCode::NOT_FOUND);
    let rows: i64 = superuser.query_one("select count(*) from control.contacts", &[]).await.unwrap().get(0);
    assert_eq!(rows, 0);
    let audit: i64 = superuser
        .query_one("select count(*) from control.audit_log where action like 'contact.%' and detail::text not like '%Ada%'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(audit, 2);
}
