//! Single sign-on as people meet it; the way through a real provider is walked by a browser in the end-to-end tests.

use axum::http::StatusCode;
use granary_types::Role;
use serde_json::{Value, json};

use super::house::{Caller, House};
use super::people::csrf;

const SECRET: &str = "the-clients-secret";

fn form(csrf: &str, more: &str) -> String {
    format!(
        "csrf={csrf}&action=set&issuer=https%3A%2F%2Flogin.north.example&client_id=granary&client_secret={SECRET}&groups_claim=groups\
         &groups=Desk+%3D+msp_operator%0D%0AAdmins%3Dmsp_admin&domains=north.example&is_on=yes{more}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_set_up_by_its_page_and_its_secret_is_never_shown() {
    let house = House::bare().await;
    let admin = house.user(Role::MspAdmin, &house.made.north, None).await;
    let page = house.get("/sso", &admin).await;
    let redirect = format!("http://127.0.0.1:8080/login/sso/{}/callback", house.made.north.id);
    assert!(page.status == StatusCode::OK && page.body.contains(&redirect), "{}", page.body);
    let token = csrf(&page.body);
    for (more, wrong) in [
        ("&domains=gmail.com", "gmail.com"),
        ("&groups=Desk", "a group and its role"),
        ("&is_forced=yes&groups=", "passwords are refused the provider has to be on"),
    ] {
        // Of a field that is sent twice the first is dropped here.
        let field = more.trim_start_matches('&').rsplit('&').next().unwrap().split('=').next().unwrap();
        let kept: Vec<_> = form(&token, "").split('&').filter(|pair| pair.split('=').next() != Some(field)).map(str::to_owned).collect();
        let answer = house.post("/sso", &admin, &format!("{}{more}", kept.join("&"))).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{more}: {}", answer.body);
        assert!(answer.body.contains(wrong) && answer.body.contains("https://login.north.example"), "what was typed stays: {more}");
        assert!(!answer.body.contains(SECRET));
    }
    let done = house.post("/sso", &admin, &form(&token, "&is_forced=yes")).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.body);
    assert!(done.body.contains("Desk = msp_operator") && done.body.contains("passwords are refused") && !done.body.contains(SECRET));
    assert!(done.body.contains("msp_admin-all@NORTH.example may come in by password"));
    let api = house.get("/api/v1/msp/sso", &admin).await;
    let told: Value = serde_json::from_str(&api.body).unwrap();
    assert_eq!(told["provider"]["groups"], json!({"Admins": "msp_admin", "Desk": "msp_operator"}));
    assert_eq!((&told["redirect_uri"], &told["provider"]["break_glass"]), (&redirect.into(), &"msp_admin-all@NORTH.example".into()));
    assert!(!api.body.contains(SECRET));

    // A secret that is left out stays, and goes to no other issuer.
    let put = |issuer: &str| {
        json!({"issuer": issuer, "client_id": "granary", "groups_claim": "groups", "groups": {"Desk": "msp_operator"},
            "domains": ["north.example"], "is_on": true})
        .to_string()
    };
    let kept = house.send("PUT", "/api/v1/msp/sso", &admin, &put("https://login.north.example")).await;
    assert_eq!(kept.status, StatusCode::OK, "{}", kept.body);
    let moved = house.send("PUT", "/api/v1/msp/sso", &admin, &put("https://login.evil.example")).await;
    assert!(moved.status == StatusCode::UNPROCESSABLE_ENTITY && moved.body.contains("sso_invalid"), "{}", moved.body);
    let removed = house.post("/sso", &admin, &format!("csrf={token}&action=remove&reason=a+test")).await;
    assert!(removed.status == StatusCode::OK && removed.body.contains("It is removed"), "{}", removed.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_question_where_to_go_answers_alike_for_everybody_and_leads_to_no_other_site() {
    let house = House::bare().await;
    let admin = house.user(Role::MspAdmin, &house.made.north, None).await;
    let login = house.get("/login?next=%2Fcustomers", &Caller::Nobody).await;
    assert!(login.body.contains("href=\"/login/sso?next=%2Fcustomers\""), "{}", login.body);
    for evil in ["//evil.example", "https://evil.example", "/\\evil.example"] {
        let page = house.get(&format!("/login/sso?{}", crate::link::query(&[("next", evil)])), &Caller::Nobody).await;
        assert!(page.status == StatusCode::OK && page.body.contains("name=\"next\" value=\"/\""), "{evil}");
    }
    let ask = |email: &'static str| {
        let house = &house;
        async move {
            let answer = house.post("/login/sso", &Caller::Nobody, &format!("email={email}%40north.example")).await;
            (answer.status, answer.body.replace(email, ""), answer.headers.contains_key("set-cookie"))
        }
    };
    let nobody = ask("nobody").await;
    assert!(nobody.0 == StatusCode::OK && nobody.1.contains("No organisation signs in here") && !nobody.2);
    assert_eq!(ask("msp_admin-all").await, nobody);
    // A provider that cannot be reached is nobody's secret either.
    let page = house.get("/sso", &admin).await;
    let inside = form(&csrf(&page.body), "").replace("login.north.example", "login.north.invalid");
    assert_eq!(house.post("/sso", &admin, &inside).await.status, StatusCode::OK);
    let nobody = ask("nobody").await;
    assert!(nobody.0 == StatusCode::BAD_GATEWAY && nobody.1.contains("cannot be reached") && !nobody.2, "{}", nobody.1);
    assert_eq!(ask("msp_admin-all").await, nobody);

    let forged = format!("/login/sso/{}/callback?state={}&code=x&iss=y", house.made.north.id, "ab".repeat(32));
    let answer = house.get(&forged, &Caller::Nobody).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.body.contains("it began in another browser"), "{}", answer.body);
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(cookies, ["granary_sso=; Path=/login/sso; HttpOnly; SameSite=Lax; Max-Age=0"], "and no session");
}
