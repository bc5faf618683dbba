//! The second factor, as people meet it: the picture, the question for a code, and an MSP that insists.

use axum::http::StatusCode;
use granary_types::Role;
use jiff::ToSpan;
use qrcodegen::{QrCode, QrCodeEcc};
use ring::hmac;

use super::house::{Answer, Caller, House};
use super::people::csrf;

/// What stands between two texts.
fn between<'a>(body: &'a str, before: &str, after: &str) -> &'a str {
    body.split_once(before).unwrap_or_else(|| panic!("no '{before}' in {body}")).1.split_once(after).unwrap().0
}

/// What an authenticator shows after so many steps of 30 seconds (RFC 6238).
fn code(house: &House, secret: &str, steps: i64) -> String {
    let letters = secret.bytes().filter(|byte| *byte != b'-');
    let places = letters.map(|byte| if byte.is_ascii_digit() { byte - b'2' + 26 } else { byte - b'A' });
    let bits: Vec<u8> = places.flat_map(|place| (0..5).rev().map(move |bit| (place >> bit) & 1)).collect();
    let key: Vec<u8> = bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| (byte << 1) | bit)).collect();
    let step = house.test.clock().now().as_second().div_euclid(30) + steps;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key), &step.to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 0x0f);
    let word = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

fn wait(house: &House) {
    let clock = house.test.clock();
    clock.set(clock.now().checked_add(30.seconds()).unwrap());
}

/// Adds an authenticator, and returns its secret and the recovery codes.
async fn enrol(house: &House, caller: &Caller) -> (String, Vec<String>) {
    let page = house.get("/account", caller).await;
    assert!(page.body.contains("Add an authenticator"), "{}", page.body);
    let token = csrf(&page.body);
    let begun = house.post("/account/factor", caller, &format!("csrf={token}&action=begin")).await;
    assert_eq!(begun.status, StatusCode::OK);
    let secret = between(&begun.body, "<code class=\"address\">", "</code>").to_owned();
    let wrong = house.post("/account/factor", caller, &format!("csrf={token}&action=confirm&code={}", code(house, &secret, 9))).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.body.contains("role=\"alert\"") && !wrong.body.contains(&secret), "the secret is shown once");
    let right = house.post("/account/factor", caller, &format!("csrf={token}&action=confirm&code={}", code(house, &secret, 0))).await;
    assert_eq!(right.status, StatusCode::OK, "{}", right.body);
    let list = between(&right.body, "They are not shown again.", "</ul>");
    let codes: Vec<String> = list.split("<code>").skip(1).map(|part| part.split_once('<').unwrap().0.to_owned()).collect();
    assert_eq!(codes.len(), 10, "{list}");
    assert!(!house.get("/account", caller).await.body.contains(&codes[0]));
    wait(house);
    (secret, codes)
}

fn caller_of(answer: &Answer) -> Caller {
    let cookie = answer.headers.get("set-cookie").unwrap().to_str().unwrap();
    Caller::Session(between(cookie, "=", ";").to_owned())
}

async fn log_in(house: &House) -> Answer {
    let form = "email=msp_admin-all%40NORTH.example&password=a+long+enough+password&next=%2Fcustomers";
    house.post("/login", &Caller::Nobody, form).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_holds_the_secret_that_is_shown_for_typing() {
    let house = House::bare().await;
    let ada = house.user(Role::MspAdmin, &house.made.north, None).await;
    let page = house.get("/account", &ada).await;
    let begun = house.post("/account/factor", &ada, &format!("csrf={}&action=begin", csrf(&page.body))).await;
    let secret = between(&begun.body, "<code class=\"address\">", "</code>").replace('-', "");
    let issuer = house.made.north.name.replace(' ', "%20");
    let email = "msp_admin-all%40NORTH.example";
    let uri = format!("otpauth://totp/{issuer}:{email}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30");
    let picture = QrCode::encode_text(&uri, QrCodeEcc::Medium).unwrap();
    let drawn: Vec<(i32, i32)> = between(&begun.body, "<path d=\"M", "\" fill=\"#000\"")
        .split('M')
        .map(|module| module.trim_end_matches("h1v1h-1z").split_once(' ').unwrap())
        .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
        .collect();
    let size = picture.size();
    let dark = (0..size).flat_map(|y| (0..size).map(move |x| (x, y))).filter(|(x, y)| picture.get_module(*x, *y));
    assert_eq!(drawn, dark.collect::<Vec<_>>());
    assert!(begun.body.contains("role=\"img\" aria-label=\"The secret as a QR code\""));
    let forged = house.post("/account/factor", &ada, "csrf=guessed&action=begin").await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_second_factor_is_asked_for_a_code_before_anything_opens() {
    let house = House::bare().await;
    let ada = house.user(Role::MspAdmin, &house.made.north, None).await;
    let (secret, recovery) = enrol(&house, &ada).await;
    let asked = log_in(&house).await;
    assert_eq!((asked.status, asked.location()), (StatusCode::SEE_OTHER, "/login/code?next=%2Fcustomers"));
    let pending = caller_of(&asked);
    for path in ["/", "/account", "/people", "/api/v1/msp/customers"] {
        let closed = house.get(path, &pending).await;
        assert!(closed.location().starts_with("/login") || closed.status == StatusCode::UNAUTHORIZED, "{path}: {}", closed.status);
    }
    let form = house.get("/login/code?next=%2Fcustomers", &pending).await;
    assert!(form.body.contains("autocomplete=\"one-time-code\"") && form.body.contains("value=\"/customers\""), "{}", form.body);
    let elsewhere = house.get("/login/code?next=https%3A%2F%2Fevil.example", &pending).await;
    assert!(!elsewhere.body.contains("evil.example"));

    let wrong = house.post("/login/code", &pending, &format!("code={}&next=%2Fcustomers", code(&house, &secret, 9))).await;
    assert!(wrong.status == StatusCode::UNAUTHORIZED && wrong.body.contains("role=\"alert\""), "{}", wrong.body);
    let now = code(&house, &secret, 0);
    let opened = house.post("/login/code", &pending, &format!("code={now}&next=%2Fcustomers")).await;
    assert_eq!((opened.status, opened.location()), (StatusCode::SEE_OTHER, "/customers"));
    assert_eq!(house.get("/account", &caller_of(&opened)).await.status, StatusCode::OK);
    assert!(house.get("/account", &pending).await.location().starts_with("/login"), "the question is answered once");

    for (used, status) in
        [(&now, StatusCode::UNAUTHORIZED), (&recovery[0], StatusCode::SEE_OTHER), (&recovery[0], StatusCode::UNAUTHORIZED)]
    {
        let pending = caller_of(&log_in(&house).await);
        assert_eq!(house.post("/login/code", &pending, &format!("code={used}")).await.status, status, "{used}");
    }
    let off = house.get("/account", &ada).await;
    assert!(off.body.contains("9 recovery codes are left"));
    let refused = house.post("/account/factor", &ada, &format!("csrf={}&action=remove&password=wrong", csrf(&off.body))).await;
    assert!(refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.body.contains("The password is wrong."));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_msp_insists_nothing_opens_before_an_authenticator_was_added() {
    let house = House::bare().await;
    let (north, acme) = (house.made.north.clone(), house.made.acme.clone());
    let ada = house.user(Role::MspAdmin, &north, None).await;
    let ana = house.user(Role::MspAnalyst, &north, None).await;
    let wile = house.user(Role::CustomerAdmin, &north, Some(&acme)).await;
    let south = house.user(Role::MspAdmin, &house.made.south, None).await;
    let people = house.get("/people", &ada).await;
    assert!(people.body.contains("Ask everybody for one"));
    let required = house.post("/people", &ada, &format!("csrf={}&action=require", csrf(&people.body))).await;
    assert!(required.body.contains("Every login now needs a second factor."), "{}", required.body);

    for caller in [&ada, &ana, &wile] {
        for path in ["/", "/customers/ACME", "/people"] {
            let led = house.get(path, caller).await;
            assert_eq!((led.status, led.location()), (StatusCode::SEE_OTHER, "/account"), "{path}");
        }
        let api = house.get("/api/v1/msp/customers/ACME", caller).await;
        assert!(api.status == StatusCode::FORBIDDEN && api.body.contains("second_factor_missing"), "{}", api.body);
        enrol(&house, caller).await;
        assert_eq!(house.get("/api/v1/msp/customers/ACME", caller).await.status, StatusCode::OK);
    }
    assert_eq!(house.get("/people", &south).await.status, StatusCode::OK, "another MSP's people are not asked");
    let people = house.get("/people", &ada).await;
    let waived = house.post("/people", &ada, &format!("csrf={}&action=waive", csrf(&people.body))).await;
    assert!(waived.body.contains("everybody&#39;s own choice") || waived.body.contains("everybody's own choice"), "{}", waived.body);
}
