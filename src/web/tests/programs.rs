//! Keys, tokens and limits, as programs meet them.

use std::time::Instant;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use granary_access::{ApiKeyScope, Manager, NewApiKey};
use granary_types::Role;
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

use super::house::{Answer, Caller, House};
use super::openapi::enrolment;

fn read(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_default()
}

fn csrf(body: &str) -> String {
    body.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_on_the_page_and_works() {
    let house = House::bare().await;
    let (north, acme) = (house.made.north.clone(), house.made.acme.clone());
    let wile = house.user(Role::CustomerAdmin, &north, Some(&acme)).await;
    let page = house.get("/customers/ACME/api-keys", &wile).await;
    assert!(page.status == StatusCode::OK && page.body.contains("No key yet"), "{}", page.body);
    let form = format!("csrf={}&action=create&name=auditor&reports.read=yes&days=30", csrf(&page.body));
    let made = house.post("/customers/ACME/api-keys", &wile, &form).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let key = made.body.split_once("<code>grn_live_").unwrap().1.split_once('<').unwrap().0;
    let key = Caller::Key(format!("grn_live_{key}"));
    assert_eq!(house.get("/api/v1/msp/customers/ACME", &key).await.status, StatusCode::OK);
    assert_eq!(house.get("/api/v1/msp/customers/GLOBEX", &key).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.get("/api/v1/msp/api-keys", &key).await.status, StatusCode::FORBIDDEN, "a key manages no keys");
    let Caller::Key(text) = &key else { unreachable!() };
    let listed = house.get("/customers/ACME/api-keys", &wile).await;
    assert!(!listed.body.contains(text.as_str()) && listed.body.contains(&text[..17]) && listed.body.contains("last used"));
    let by_program = house.get("/api/v1/msp/customers/ACME/api-keys", &wile).await;
    assert!(!by_program.body.contains(text.as_str()));
    let id = read(&by_program)["api_keys"][0]["id"].as_str().unwrap().to_owned();

    let more = format!("csrf={}&action=create&name=all&sql=yes", csrf(&page.body));
    let refused = house.post("/customers/ACME/api-keys", &wile, &more).await;
    assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.body.contains("'sql'"), "{}", refused.body);
    let end = format!("csrf={}&action=revoke&id={id}&reason=done", csrf(&page.body));
    assert!(house.post("/customers/ACME/api-keys", &wile, &end).await.body.contains("has ended"));
    let gone = house.get("/api/v1/msp/customers/ACME", &key).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    assert!(!gone.body.contains("grn_live_"), "no answer repeats a key");
    assert_eq!(house.get(&format!("/api/v1/msp/customers/ACME?key={text}"), &Caller::Nobody).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_msp_opens_nothing_of_another() {
    let house = House::bare().await;
    let north = house.user(Role::MspAdmin, &house.made.north, None).await;
    let answer = house.post("/api/v1/tokens", &north, "{\"customers\": [\"ACME\"]}").await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let token = Caller::Key(read(&answer)["access_token"].as_str().unwrap().to_owned());
    assert_eq!(house.get("/api/v1/msp/customers/ACME", &token).await.status, StatusCode::OK);
    assert_eq!(house.get("/api/v1/msp/customers/GLOBEX", &token).await.status, StatusCode::NOT_FOUND, "it names ACME alone");
    let listed = read(&house.get("/api/v1/msp/customers", &token).await);
    assert_eq!(listed["customers"].as_array().unwrap().len(), 1);
    assert_eq!(house.get("/api/v1/msp/users", &token).await.status, StatusCode::FORBIDDEN);
    assert!(house.get("/customers", &token).await.location().starts_with("/login"), "pages want a session");

    let keys = house.get("/.well-known/jwks.json", &Caller::Nobody).await;
    let key = &read(&keys)["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["alg"], &key["use"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"), &json!("sig")));
    let Caller::Key(text) = &token else { unreachable!() };
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(header, json!({"alg": "EdDSA", "typ": "at+jwt", "kid": key["kid"]}));
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap()).unwrap()).unwrap();
    for name in ["iss", "aud", "exp", "user_id", "msp_company", "role", "permissions", "customer_access"] {
        assert!(!claims[name].is_null(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolled_control_plane_sends_its_own_events_and_nothing_else() {
    let house = House::bare().await;
    let admin = house.user(Role::MspAdmin, &house.made.north, None).await;
    let planes = read(&house.get("/api/v1/msp/customers/ACME/control-planes", &admin).await);
    let plane = planes["control_planes"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/msp/customers/ACME/control-planes/{plane}");
    let code = house.post(&format!("{path}/enrolment"), &admin, "{\"reason\": \"new\"}").await;
    let code = read(&code)["code"].as_str().unwrap().to_owned();
    let enrolled = house.post("/api/v1/enrolments", &Caller::Nobody, &enrolment(&code).to_string()).await;
    assert_eq!(enrolled.status, StatusCode::CREATED, "{}", enrolled.body);
    let enrolled = read(&enrolled);

    let now = house.test.clock().now().as_second();
    let header = json!({"alg": "EdDSA", "typ": "plane+jwt", "kid": enrolled["key_id"]});
    let claims = json!({"iss": plane, "aud": enrolled["audience"], "iat": now, "nbf": now, "exp": now + 120});
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap().sign(signed.as_bytes());
    let machine = Caller::Key(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)));
    let event = |source: &str| {
        let event = json!([{"specversion": "1.0", "source": source, "id": "p-1", "type": "machine.protected", "time": "2025-10-01T12:00:00Z",
            "data": {"source_system": "veeam", "vendor_id": "vm-1", "name": "web", "tier": "backup", "from": "2025-10-01"}}]);
        event.to_string()
    };
    let sent = house.post("/api/v1/usage/events", &machine, &event("https://vbr.acme.example")).await;
    assert_eq!((sent.status, &read(&sent)["accepted"]), (StatusCode::OK, &json!(1)), "{}", sent.body);
    let forged = house.post("/api/v1/usage/events", &machine, &event("https://vbr.globex.example")).await;
    assert_eq!(forged.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", forged.body);
    assert_eq!(house.get("/api/v1/msp/customers/ACME", &machine).await.status, StatusCode::FORBIDDEN);
    assert_eq!(house.post("/api/v1/tokens", &admin, "{\"customers\": [\"NOBODY\"]}").await.code(), "customer_not_found");
    assert_eq!(house.post("/api/v1/tokens", &machine, "{}").await.status, StatusCode::CONFLICT);
    house.post(&format!("{path}/revoke"), &admin, "{\"reason\": \"stolen\"}").await;
    let late = house.post("/api/v1/usage/events", &machine, &event("https://vbr.acme.example")).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_at_its_limit_is_told_so_and_nobody_else_is() {
    let house = House::bare().await;
    let admin = house.user(Role::MspAdmin, &house.made.north, None).await;
    let limits = "{\"api_rate_limit\": 30, \"storage_gb\": 100}";
    let set = house.send("PUT", "/api/v1/msp/customers/ACME/limits", &admin, limits).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    let acme = house.key(&house.made.north, &house.made.acme, &[ApiKeyScope::ReportsRead]).await;
    let globex = house.key(&house.made.north, &house.made.globex, &[ApiKeyScope::ReportsRead]).await;
    let neighbour = async {
        for _ in 0..40 {
            let answer = house.get("/api/v1/msp/customers/GLOBEX/limits", &globex).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
            assert!(!answer.headers.contains_key("ratelimit"), "nothing was agreed with GLOBEX");
        }
    };

    let path = "/api/v1/msp/customers/ACME/limits";
    let wile = house.user(Role::CustomerAdmin, &house.made.north, Some(&house.made.acme)).await;
    // A slow machine lets one more in every two seconds.
    let (begun, mut let_in) = (Instant::now(), 0);
    while house.get(path, &acme).await.status == StatusCode::OK {
        let_in += 1;
    }
    assert!((30..=31 + begun.elapsed().as_secs() / 2).contains(&let_in), "{let_in} in {:?}", begun.elapsed());
    let refused = house.get(path, &acme).await;
    let problem = read(&refused);
    assert_eq!((&problem["code"], &problem["status"]), (&json!("rate_limited"), &json!(429)));
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(refused.headers["ratelimit-policy"], "\"customer\";q=30;w=60");
    assert!(refused.headers["ratelimit"].to_str().unwrap().starts_with("\"customer\";r=0;t="));
    // A busy machine may take longer over one request than the bucket over another drop.
    let mut is_shared = false;
    for _ in 0..20 {
        while house.get(path, &acme).await.status == StatusCode::OK {}
        is_shared |= house.get(path, &wile).await.status == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(is_shared, "the limit is the customer's, whoever asks for it");
    assert_eq!(house.get("/account", &wile).await.status, StatusCode::OK, "and not for pages");

    let flood = async {
        let mut refused = 0_u64;
        for _ in 0..200 {
            refused += u64::from(house.get(path, &acme).await.status == StatusCode::TOO_MANY_REQUESTS);
        }
        refused
    };
    let begun = Instant::now();
    let ((), refused) = futures::join!(neighbour, flood);
    assert!(refused >= 198 - begun.elapsed().as_secs() / 2, "{refused} of 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_taken_from_a_customer_that_may_ask_nothing_any_more() {
    let house = House::bare().await;
    let admin = house.user(Role::MspAdmin, &house.made.north, None).await;
    let limits = "{\"api_rate_limit\": 0, \"storage_gb\": 0, \"storage_gb_enforcement\": \"hard\", \"max_vms\": 0, \"max_vms_enforcement\": \"hard\"}";
    let set = house.send("PUT", "/api/v1/msp/customers/ACME/limits", &admin, limits).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    let asking = house.key(&house.made.north, &house.made.acme, &[ApiKeyScope::ReportsRead]).await;
    assert_eq!(house.get("/api/v1/msp/customers/ACME/limits", &asking).await.status, StatusCode::TOO_MANY_REQUESTS);
    let telling = house.key(&house.made.north, &house.made.acme, &[ApiKeyScope::UsageWrite]).await;
    for number in 0..3 {
        let data = json!({"source_system": "veeam", "vendor_id": "vm", "name": "vm", "tier": "backup", "from": "2025-10-01"});
        let event = json!({"specversion": "1.0", "source": "https://vbr.acme.example", "id": format!("fact-{number}"),
            "type": "machine.protected", "time": "2025-10-01T12:00:00Z", "data": data});
        let answer = house.post("/api/v1/usage/events", &telling, &json!([event]).to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_a_limit_of_its_own_beside_its_customers() {
    let house = House::bare().await;
    let make = async |name: &str, most| {
        let key = NewApiKey {
            msp_id: house.made.north.id,
            customer_id: None,
            control_plane_id: None,
            name: name.to_owned(),
            scopes: vec![ApiKeyScope::ReportsRead],
            expires_at: None,
            requests_per_minute: most,
        };
        let made = house.access.create_api_key(Manager::Command("test"), &key).await.unwrap();
        Caller::Key(made.1.reveal().to_owned())
    };
    let (slow, other) = (make("slow", Some(2)).await, make("other", None).await);
    let statuses = async |caller: &Caller| {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(house.get("/api/v1/msp/customers", caller).await.status.as_u16());
        }
        statuses
    };
    assert_eq!(statuses(&slow).await, [200, 200, 429, 429]);
    assert_eq!(statuses(&other).await, [200, 200, 200, 200]);
    let Caller::Key(text) = &slow else { unreachable!() };
    let token = read(&house.post("/api/v1/tokens", &Caller::Key(text.clone()), "{}").await);
    assert_eq!(token["code"], "rate_limited", "asking for a token counts as well");
}
