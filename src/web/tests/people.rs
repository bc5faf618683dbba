//! Logins and their pages, as people meet them.

use axum::http::StatusCode;
use granary_types::Role;
use serde_json::Value;

use super::house::{Caller, House};

/// Returns the token that a page's forms send back.
pub(super) fn csrf(body: &str) -> String {
    body.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_down_and_the_answer_tells_how_long() {
    let house = House::bare().await;
    house.user(Role::MspAdmin, &house.made.north, None).await;
    for email in ["msp_admin-all%40NORTH.example", "nobody%40NORTH.example"] {
        let mut statuses = Vec::new();
        for _ in 0..6 {
            let answer = house.post("/login", &Caller::Nobody, &format!("email={email}&password=wrong")).await;
            assert_eq!(answer.status == StatusCode::TOO_MANY_REQUESTS, answer.headers.contains_key("retry-after"));
            statuses.push((answer.status.as_u16(), answer.body.replace(email, "").contains("in 30 seconds")));
        }
        assert_eq!(statuses, [(401, false), (401, false), (401, false), (401, false), (401, false), (429, true)], "{email}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_sessions_are_listed_and_ended() {
    let house = House::bare().await;
    let here = house.user(Role::MspAdmin, &house.made.north, None).await;
    let form = "email=msp_admin-all%40NORTH.example&password=a+long+enough+password";
    let answer = house.post("/login", &Caller::Nobody, form).await;
    let cookie = answer.headers.get("set-cookie").unwrap().to_str().unwrap().to_owned();
    let there = Caller::Session(cookie.split_once('=').unwrap().1.split_once(';').unwrap().0.to_owned());
    let page = house.get("/account", &here).await;
    assert_eq!((page.status, page.body.matches("name=\"session\"").count()), (StatusCode::OK, 2), "the other one, and all others");
    let forged = house.post("/account/sessions", &here, "csrf=guessed&session=others").await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    let ended = house.post("/account/sessions", &here, &format!("csrf={}&session=others", csrf(&page.body))).await;
    assert_eq!(ended.location(), "/account");
    assert!(house.get("/account", &there).await.location().starts_with("/login"));
    assert_eq!(house.get("/account", &here).await.status, StatusCode::OK);
    let weak = format!("csrf={}&old=a+long+enough+password&new=short", csrf(&page.body));
    let answer = house.post("/account/password", &here, &weak).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.body.contains("Twelve characters or more") && answer.body.contains("it needs twelve characters"));
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_a_letter_answers_alike_and_a_void_link_opens_nothing() {
    let house = House::bare().await;
    house.user(Role::MspAdmin, &house.made.north, None).await;
    let ask = |email: &'static str| {
        let house = &house;
        async move { house.post("/forgot", &Caller::Nobody, &format!("email={email}")).await }
    };
    let (known, unknown) = (ask("msp_admin-all%40NORTH.example").await, ask("nobody%40NORTH.example").await);
    assert_eq!((known.status, &known.body), (StatusCode::OK, &unknown.body));
    let link = house.get(&format!("/password?token={}", "0".repeat(64)), &Caller::Nobody).await;
    assert_eq!(link.status, StatusCode::NOT_FOUND);
    assert!(link.body.contains("not valid any more") && !link.body.contains("name=\"new\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_administrator_manages_its_people_and_nobody_elses() {
    let house = House::bare().await;
    let (north, acme) = (house.made.north.clone(), house.made.acme.clone());
    let wile = house.user(Role::CustomerAdmin, &north, Some(&acme)).await;
    let admin = house.user(Role::MspAdmin, &north, None).await;
    let page = house.get("/customers/ACME/people", &wile).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    assert!(page.body.contains("customer_admin-ACME@NORTH.example") && !page.body.contains("msp_admin"));
    assert_eq!(house.get("/people", &wile).await.body.matches("<li>").count(), page.body.matches("<li>").count());

    let invite = |role: &str| format!("csrf={}&action=invite&email=viewer%40acme.example&name=Vera&role={role}", csrf(&page.body));
    for role in ["msp_analyst", "operator_admin", "nonsense"] {
        let refused = house.post("/customers/ACME/people", &wile, &invite(role)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{role}");
    }
    assert_eq!(house.post("/customers/GLOBEX/people", &wile, &invite("customer_viewer")).await.status, StatusCode::NOT_FOUND);
    let done = house.post("/customers/ACME/people", &wile, &invite("customer_viewer")).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.body);
    assert!(done.body.contains("A letter to viewer@acme.example is on its way.") && done.body.contains("invited"));

    // The MSP sees the same by the API, and may stop the login.
    let listed: Value = serde_json::from_str(&house.get("/api/v1/msp/customers/ACME/users", &admin).await.body).unwrap();
    let vera = listed["users"].as_array().unwrap().iter().find(|user| user["email"] == "viewer@acme.example").unwrap();
    let path = format!("/api/v1/msp/customers/ACME/users/{}", vera["id"].as_str().unwrap());
    let stopped = house.post(&path, &admin, "{\"is_disabled\": true, \"reason\": \"a test\"}").await;
    assert_eq!(serde_json::from_str::<Value>(&stopped.body).unwrap()["state"], "disabled");
    let elsewhere = path.replace("ACME", "GLOBEX");
    assert_eq!(house.post(&elsewhere, &admin, "{\"is_disabled\": false, \"reason\": \"a test\"}").await.status, StatusCode::NOT_FOUND);
}
