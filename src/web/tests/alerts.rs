//! Alerts at the front door: seen by whom they concern, taken by those who operate.

use axum::http::StatusCode;
use granary_access::ApiKeyScope;
use granary_types::Role;
use serde_json::{Value, json};

use super::house::{Answer, Caller, House};
use super::people::csrf;

const LIST: &str = "/api/v1/msp/alerts";

fn read(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

fn ids(list: &Value) -> Vec<String> {
    list["alerts"].as_array().unwrap().iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_paged_filtered_and_everybodys_own() {
    let house = House::open().await;
    let (north, south) = (&house.made.north, &house.made.south);
    let olga = house.user(Role::MspOperator, north, None).await;
    let all = read(&house.get(LIST, &olga).await);
    assert_eq!((ids(&all).len(), &all["next"]), (8, &Value::Null), "three machines of ACME, five of GLOBEX");
    let (mut paged, mut path) = (Vec::new(), format!("{LIST}?limit=3"));
    loop {
        let page = read(&house.get(&path, &olga).await);
        paged.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{LIST}?limit=3&cursor={next}");
    }
    assert_eq!(paged, ids(&all));
    assert_eq!(ids(&read(&house.get(&format!("{LIST}?customers=ACME,GLOBEX&severity=critical&state=open"), &olga).await)).len(), 8);
    assert_eq!(ids(&read(&house.get(&format!("{LIST}?severity=info"), &olga).await)).len(), 0);
    for wrong in ["severity=loud", "state=gone", "cursor=x", "limit=0", "limit=201", "colour=red"] {
        let status = house.get(&format!("{LIST}?{wrong}"), &olga).await.status;
        assert!(matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY), "{wrong}: {status}");
    }

    let confined = house.user(Role::MspAnalyst, north, Some(&house.made.acme)).await;
    assert_eq!(ids(&read(&house.get(LIST, &confined).await)).len(), 3);
    let stranger = house.user(Role::MspAdmin, south, None).await;
    assert_eq!(ids(&read(&house.get(LIST, &stranger).await)).len(), 7);
    let step = format!("{LIST}/{}/acknowledge", paged[0]);
    assert_eq!(house.post(&step, &stranger, "{}").await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.post(&step, &confined, "{}").await.status, StatusCode::FORBIDDEN, "an analyst reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_done_once_and_a_customers_people_see_it_without_the_msps_words() {
    let house = House::open().await;
    let (north, acme) = (&house.made.north, &house.made.acme);
    let olga = house.user(Role::MspOperator, north, None).await;
    let alert = ids(&read(&house.get(&format!("{LIST}?customers=ACME"), &olga).await)).remove(0);
    let step = |verb: &str| format!("{LIST}/{alert}/{verb}");
    let body = json!({"until": "2025-11-12T12:00:00Z", "reason": "they owe us money"}).to_string();
    let once = house.send_keyed("POST", &step("snooze"), &olga, &body, "one wish").await;
    assert_eq!((once.status, &read(&once)["state"]), (StatusCode::OK, &json!("snoozed")), "{}", once.body);
    let again = house.send_keyed("POST", &step("snooze"), &olga, &body, "one wish").await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &once.body));
    assert_eq!(again.headers.get("idempotent-replayed").unwrap(), "true");
    for (verb, body, status) in [
        ("snooze", json!({"until": "2025-11-09T12:00:00Z", "reason": "past"}), StatusCode::UNPROCESSABLE_ENTITY),
        ("snooze", json!({"until": "2026-11-09T12:00:00Z", "reason": "too long"}), StatusCode::UNPROCESSABLE_ENTITY),
        ("resolve", json!({"reason": " "}), StatusCode::UNPROCESSABLE_ENTITY),
        ("acknowledge", json!({"why": "?"}), StatusCode::UNPROCESSABLE_ENTITY),
        ("acknowledge", json!({}), StatusCode::OK),
        ("acknowledge", json!({}), StatusCode::CONFLICT),
        ("resolve", json!({"reason": "they owe us money"}), StatusCode::OK),
        ("escalate", json!({"reason": "again"}), StatusCode::CONFLICT),
    ] {
        assert_eq!(house.post(&step(verb), &olga, &body.to_string()).await.status, status, "{verb} {body}");
    }

    let key = house.key(north, acme, &[ApiKeyScope::ReportsRead]).await;
    let wendy = house.user(Role::CustomerAdmin, north, Some(acme)).await;
    for caller in [&key, &wendy] {
        let seen = house.get(&format!("{LIST}?state=all"), caller).await;
        assert_eq!(ids(&read(&seen)).len(), 3);
        assert!(!seen.body.contains("owe us") && !seen.body.contains("user:") && !seen.body.contains("GLOBEX"), "{}", seen.body);
        assert_eq!(house.post(&step("resolve"), caller, "{\"reason\": \"mine\"}").await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_groups_alerts_and_its_forms_take_them() {
    let house = House::open().await;
    let (north, acme) = (&house.made.north, &house.made.acme);
    let ada = house.user(Role::MspAdmin, north, None).await;
    let page = house.get("/alerts?customers=ACME", &ada).await;
    for words in ["No recent restore point", "NORTH-ACME-2", "Critical", "3 alerts", "8<span class=\"unseen\"> open and critical"] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    assert!(!page.body.contains("NORTH-GLOBEX"));
    let alert = page.body.split("name=\"id\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let form = |rest: &str| format!("csrf={}&id={alert}&customers=ACME&{rest}", csrf(&page.body));
    let done = house.post("/alerts", &ada, &form("action=snooze&hours=4&reason=the+host+restarts")).await;
    assert!(done.status == StatusCode::OK && done.body.contains("is at rest.") && done.body.contains("the host restarts"), "{}", done.body);
    assert!(done.body.contains("7<span class=\"unseen\"> open and critical"), "the navigation counts anew");
    let refused = house.post("/alerts", &ada, &form("action=resolve&reason=+")).await;
    assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.body.contains("Say why"), "{}", refused.body);
    let customer = house.get("/customers/ACME", &ada).await;
    assert!(customer.body.contains("act on them") && customer.body.contains("the host restarts"));
    let stranger = house.user(Role::MspAdmin, &house.made.south, None).await;
    let own = house.get("/alerts", &stranger).await;
    let theirs = house.post("/alerts", &stranger, &format!("csrf={}&id={alert}&action=acknowledge", csrf(&own.body))).await;
    assert_eq!(theirs.status, StatusCode::NOT_FOUND);
    let ana = house.user(Role::MspAnalyst, north, None).await;
    let reading = house.get("/alerts", &ana).await;
    assert!(reading.status == StatusCode::OK && !reading.body.contains("name=\"action\" value=\"resolve\""), "an analyst reads");
    let wendy = house.user(Role::CustomerAdmin, north, Some(acme)).await;
    assert!(!house.get("/customers/ACME", &wendy).await.body.contains("the host restarts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_shown_with_their_use_and_a_soft_rate_only_tells() {
    let house = House::open().await;
    let (north, acme) = (&house.made.north, &house.made.acme);
    let ada = house.user(Role::MspAdmin, north, None).await;
    let page = house.get("/customers/ACME/limits", &ada).await;
    assert!(page.status == StatusCode::OK && page.body.contains("no limit"), "{}", page.body);
    let form = format!(
        "csrf={}&max_vms=3&max_vms_enforcement=hard&storage_gb=100&max_concurrent_jobs=&api_rate_limit=5&api_rate_limit_enforcement=soft",
        csrf(&page.body)
    );
    let done = house.post("/customers/ACME/limits", &ada, &form).await;
    for words in ["The limits hold from today on.", "3 of 3", "100 %", "hard"] {
        assert!(done.body.contains(words), "{words}: {}", done.body);
    }
    let wrong = house.post("/customers/ACME/limits", &ada, &form.replace("max_vms=3", "max_vms=many")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let limits = read(&house.get("/api/v1/msp/customers/ACME/limits", &ada).await);
    assert_eq!((&limits["api_rate_limit"], &limits["api_rate_limit_enforcement"]), (&json!(5), &json!("soft")));

    let key = house.key(north, acme, &[ApiKeyScope::ReportsRead]).await;
    for _ in 0..8 {
        assert_eq!(house.get(LIST, &key).await.status, StatusCode::OK);
    }
    let told = alerts_after_a_look(&house, &ada).await;
    assert!(told.contains(&("limit_api".to_owned(), "warning".to_owned())), "{told:?}");
    assert!(told.contains(&("limit_machines".to_owned(), "critical".to_owned())), "{told:?}");
    house.send("PUT", "/api/v1/msp/customers/ACME/limits", &ada, "{\"storage_gb\": 100, \"api_rate_limit\": 5}").await;
    let statuses: Vec<_> =
        futures::future::join_all((0..8).map(|_| house.get(LIST, &key))).await.iter().map(|answer| answer.status).collect();
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "a hard one refuses: {statuses:?}");
}

async fn alerts_after_a_look(house: &House, caller: &Caller) -> Vec<(String, String)> {
    let scope = house.made.acme_scope();
    granary_metering::watch_customer(house.test.tenants(), &scope).await.unwrap();
    let list = read(&house.get(&format!("{LIST}?customers=ACME&limit=200"), caller).await);
    let word = |alert: &Value, field: &str| alert[field].as_str().unwrap().to_owned();
    list["alerts"].as_array().unwrap().iter().map(|alert| (word(alert, "kind"), word(alert, "severity"))).collect()
}
