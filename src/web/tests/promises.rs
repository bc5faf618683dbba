//! What the pages and the API promise.

use axum::http::StatusCode;
use granary_access::ApiKeyScope;
use granary_types::Role;
use serde_json::{Value, json};

use super::house::{Caller, House};
use crate::catalogue::VIEWS;

/// Returns every address of a page that begins with a prefix.
fn links(body: &str, prefix: &str) -> Vec<String> {
    body.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|href| href.starts_with(prefix))
        .map(|href| href.replace("&amp;", "&"))
        .collect()
}

/// Returns the text of the first element after a label.
fn value_after(body: &str, label: &str) -> String {
    let rest = body.split_once(&format!("<span class=\"label\">{label}</span>")).unwrap().1;
    let value = rest.split_once("<span class=\"value\">").unwrap().1.split_once("</a>").unwrap().0;
    let mut text = String::new();
    let mut is_tag = false;
    for char in value.split("<span class=\"note\">").next().unwrap().chars() {
        match char {
            '<' => is_tag = true,
            '>' => is_tag = false,
            _ if !is_tag => text.push(char),
            _ => {}
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_of_the_overview_opens_the_rows_that_add_up_to_it() {
    let house = House::open().await;
    let admin = house.user(Role::MspAdmin, &house.made.north, None).await;
    let overview = house.get("/", &admin).await;
    assert_eq!(overview.status, StatusCode::OK, "{}", overview.body);
    assert_eq!(value_after(&overview.body, "Machines protected"), "8");
    assert_eq!(value_after(&overview.body, "Active customers"), "2");
    assert_eq!(value_after(&overview.body, "MRR"), "80.00USD");

    let machines = house.get("/explore?view=machines&period=2025-10", &admin).await;
    assert!(machines.body.contains("data-rows=\"8\""));
    let mrr = house.get("/explore?view=mrr&period=2025-10", &admin).await;
    assert!(mrr.body.contains("data-total=\"8000\""), "{}", mrr.body);
    let lines = house.get("/explore?view=machine_lines&period=2025-10", &admin).await;
    assert!(lines.body.contains("data-total=\"8000\""));
    let wholesale = house.get("/explore?view=wholesale_lines&period=2025-10", &admin).await;
    assert!(wholesale.body.contains("data-total=\"4000\""), "{}", wholesale.body);
    // 80.00 less 40.00 less the fee of 200.00
    let margin = house.get("/explore?view=margin&period=2025-10", &admin).await;
    assert!(margin.body.contains("data-total=\"-16000\""), "{}", margin.body);
    assert!(overview.body.contains("−160.00 USD"));

    let rows = links(&overview.body, "/explore?");
    assert!(rows.len() >= 10, "{rows:?}");
    for href in rows {
        let answer = house.get(&href, &admin).await;
        assert_eq!(answer.status, StatusCode::OK, "{href}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_of_the_catalogue_answers_as_a_page_and_as_csv() {
    let house = House::open().await;
    let admin = house.user(Role::MspAdmin, &house.made.north, None).await;
    for view in VIEWS {
        for filter in ["", "&customer=ACME"] {
            let query = format!("view={}&period=2025-10{filter}", view.name);
            let page = house.get(&format!("/explore?{query}"), &admin).await;
            assert_eq!(page.status, StatusCode::OK, "{query}: {}", page.body);
            let csv = house.get(&format!("/explore.csv?{query}"), &admin).await;
            assert_eq!(csv.status, StatusCode::OK, "{query}");
            let header = csv.body.lines().next().unwrap();
            assert_eq!(header.split(',').count(), view.columns.len() + usize::from(view.has_amounts()), "{header}");
            assert_eq!(header.ends_with(",currency"), view.has_amounts(), "{header}");
        }
    }
    for query in ["view=mrr", "view=nosuch&period=2025-10", "view=machines&period=2025-10&word=x'--", "view=machines&period=2025-13"] {
        let answer = house.get(&format!("/explore?{query}"), &admin).await;
        assert!(answer.status.is_client_error(), "{query}: {}", answer.status);
        assert!(!answer.body.contains("eserializ") && !answer.body.contains('`'), "{query}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_whole_and_need_nothing_from_elsewhere() {
    let house = House::open().await;
    let admin = house.user(Role::MspAdmin, &house.made.north, None).await;
    for path in [
        "/",
        "/account",
        "/customers",
        "/customers/ACME",
        "/invoices",
        "/reconciliation",
        "/explore?view=mrr&period=2025-10",
        "/login",
        "/forgot",
        "/nowhere",
    ] {
        let page = house.get(path, &admin).await;
        assert!(page.body.starts_with("<!DOCTYPE html>"), "{path}: {}", page.body);
        assert_eq!(page.body.matches("<h1").count(), 1, "{path}");
        for forbidden in [" style=\"", "<style", "onclick", "javascript:", "src=\"http", "href=\"http", "href=\"//"] {
            assert!(!page.body.contains(forbidden), "{path} has {forbidden}");
        }
        let policy = page.headers.get("content-security-policy").unwrap().to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers.get("x-content-type-options").unwrap(), "nosniff");
        assert!(page.headers.contains_key("x-request-id"));
        for href in links(&page.body, "/").iter().filter(|href| !href.starts_with("/reports/")) {
            let answer = house.get(href, &admin).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} leads to {href}: {}", answer.body);
        }
        let mut ids: Vec<_> = page.body.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "{path} repeats an id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_count_once_and_each_is_told_what_became_of_it() {
    let house = House::open().await;
    let key = house.key(&house.made.north, &house.made.acme, &[ApiKeyScope::UsageWrite]).await;
    let event = |id: &str, tier: &str| {
        json!({
            "specversion": "1.0", "source": "https://vbr.acme.example", "id": id, "type": "machine.protected", "time": "2025-11-01T00:00:00Z",
            "data": {"source_system": "veeam", "vendor_id": "new", "name": "new", "tier": tier, "from": "2025-11-01"}
        })
    };
    let batch = json!([event("e-1", "backup"), event("e-1", "backup"), event("e-1", "enterprise"), {"id": "e-2"}]);
    let answer = house.post("/api/v1/usage/events", &key, &batch.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let report: Value = serde_json::from_str(&answer.body).unwrap();
    let outcomes: Vec<_> = report["outcomes"].as_array().unwrap().iter().map(|outcome| outcome["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["accepted", "duplicate", "conflict", "invalid"]);

    let again = house.post("/api/v1/usage/events", &key, &event("e-1", "replication").to_string()).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.body);
    let malformed = house.post("/api/v1/usage/events", &key, "{\"id\": 1}").await;
    assert_eq!(malformed.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", malformed.body);
    for (body, status) in [("not json", StatusCode::UNPROCESSABLE_ENTITY), (&"x".repeat(2 << 20), StatusCode::PAYLOAD_TOO_LARGE)] {
        let answer = house.post("/api/v1/usage/events", &key, body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.headers.get("content-type").unwrap(), "application/problem+json");
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["status"], status.as_u16());
        assert!(!problem["detail"].as_str().unwrap().is_empty() && !problem["request_id"].as_str().unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_back_and_a_logout_ends_the_session() {
    let house = House::open().await;
    house.user(Role::MspAdmin, &house.made.north, None).await;
    let asked = house.get("/customers/ACME?period=2025-10", &Caller::Nobody).await;
    assert_eq!(asked.location(), "/login?next=%2Fcustomers%2FACME%3Fperiod%3D2025-10");
    let form = "email=msp_admin-all%40NORTH.example&password=a+long+enough+password&next=%2Fcustomers%2FACME%3Fperiod%3D2025-10";
    let answer = house.post("/login", &Caller::Nobody, form).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/customers/ACME?period=2025-10"));
    let cookie = answer.headers.get("set-cookie").unwrap().to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let token = cookie.split_once('=').unwrap().1.split_once(';').unwrap().0.to_owned();
    let session = Caller::Session(token);
    let page = house.get("/", &session).await;
    let csrf = page.body.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    assert_eq!(house.post("/logout", &session, "csrf=guessed").await.status, StatusCode::FORBIDDEN);
    assert_eq!(house.post("/logout", &session, &format!("csrf={csrf}")).await.location(), "/login");
    assert!(house.get("/", &session).await.location().starts_with("/login"));
    let abroad = house.post("/login", &Caller::Nobody, &form.replace("%2Fcustomers", "%2F%2Fevil.example")).await;
    assert_eq!(abroad.location(), "/");
}
