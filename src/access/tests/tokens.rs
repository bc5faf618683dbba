//! Tokens: what they open, what ends them, and every forgery that we know of.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use granary_types::{CustomerId, UserId};
use jiff::SignedDuration;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::{AUDIENCE, Grant, Narrowed, Principal, Retirement, Session};

const COMMAND: Manager<'static> = Manager::Command("test");

async fn session(access: &Access, user: &NewUser) -> (Session, Secret) {
    access.create_user(user).await.unwrap();
    access.log_in(&user.email, &Secret::new(PASSWORD), &Client::default()).await.unwrap()
}

async fn token(access: &Access, session: &Session) -> String {
    let token = access.issue_token(&session.principal, Some(session.id), &Narrowed::default()).await.unwrap();
    token.token.reveal().to_owned()
}

/// Puts a token together of parts; strings stay as they are.
fn joined(header: &Value, payload: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(payload.to_string()));
    let signature = BASE64.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&BASE64.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

fn with(value: &Value, name: &str, field: impl Into<Value>) -> Value {
    let mut value = value.clone();
    value[name] = field.into();
    value
}

fn without(value: &Value, name: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove(name);
    value
}

#[tokio::test]
async fn a_token_opens_what_its_owner_has_and_it_names() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let (ada, _) = session(&access, &user("ada@north.example", Role::MspAdmin, &made)).await;
    let principal = access.program(&token(&access, &ada).await).await.unwrap();
    assert_eq!((principal.user(), principal.role(), principal.msp()), (ada.principal.user(), Role::MspAdmin, Some(made.north.id)));
    assert!(principal.may(Permission::CustomerWrite) && !principal.may(Permission::UserWrite) && !principal.may(Permission::KeyWrite));
    let again = access.issue_token(&principal, Some(ada.id), &Narrowed::default()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict, "a token makes no token");

    let narrowed = Narrowed { permissions: Some(vec![Permission::UsageRead]), customers: Some(vec![made.acme.id]) };
    let narrow = access.issue_token(&ada.principal, Some(ada.id), &narrowed).await.unwrap();
    let narrow = access.program(narrow.token.reveal()).await.unwrap();
    assert_eq!(narrow.permissions, [Permission::UsageRead]);
    assert!(narrow.sees(made.acme.id) && !narrow.sees(made.globex.id));
    assert!(!narrow.read_grant().unwrap().can_read_billing);
    access.tenant_scope(&narrow, &code("ACME")).await.unwrap();
    assert_eq!(access.tenant_scope(&narrow, &code("GLOBEX")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let more = Narrowed { permissions: Some(vec![Permission::UsageWrite]), customers: None };
    assert_eq!(access.issue_token(&ada.principal, Some(ada.id), &more).await.unwrap_err().kind(), ErrorKind::Denied);
    let theirs = Narrowed { permissions: None, customers: Some(vec![made.globex.id]) };
    let (wile, _) = session(&access, &user("wile@acme.example", Role::CustomerAdmin, &made)).await;
    assert_eq!(access.issue_token(&wile.principal, Some(wile.id), &theirs).await.unwrap_err().kind(), ErrorKind::NotFound);

    let (program, secret) = access.create_api_key(COMMAND, &key(&made)).await.unwrap();
    let principal = access.key(secret.reveal()).await.unwrap();
    let token = access.issue_token(&principal, None, &Narrowed::default()).await.unwrap().token;
    assert!(access.program(token.reveal()).await.unwrap().may(Permission::UsageWrite));
    let at = Place { msp: Some(made.north.id), customer: Some(made.acme.id) };
    access.revoke_api_key(COMMAND, at, program.id, "lost").await.unwrap();
    assert_eq!(access.program(token.reveal()).await.unwrap_err().code(), "token_invalid", "it ends with its key");
}

#[tokio::test]
async fn a_token_ends_with_whatever_it_was_made_from() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let at = Place { msp: Some(made.north.id), customer: None };
    let refused = async |token: &str, why: &str| {
        let error = access.program(token).await.map(drop).unwrap_err();
        println!("{why:<32} {error}");
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unauthenticated, "token_invalid"), "{why}");
    };
    let (gone, cookie) = session(&access, &user("gone@north.example", Role::MspAdmin, &made)).await;
    let of_gone = token(&access, &gone).await;
    access.log_out(cookie.reveal()).await.unwrap();
    refused(&of_gone, "signed out").await;

    let (suspended, _) = session(&access, &user("suspended@north.example", Role::MspAnalyst, &made)).await;
    let of_suspended = token(&access, &suspended).await;
    let id: UserId = suspended.principal.user().unwrap();
    access.disable_user(COMMAND, at, id, "left").await.unwrap();
    refused(&of_suspended, "a suspended user").await;

    let (moved, _) = session(&access, &user("moved@north.example", Role::MspAdmin, &made)).await;
    let of_moved = token(&access, &moved).await;
    let grant = Grant { role: Role::MspAnalyst, granted: None, can_read_billing: false };
    access.set_role(COMMAND, at, moved.principal.user().unwrap(), &grant).await.unwrap();
    refused(&of_moved, "another role since").await;

    let (confined, _) = session(&access, &user("confined@north.example", Role::MspAnalyst, &made)).await;
    let of_confined = token(&access, &confined).await;
    let grant = Grant { role: Role::MspAnalyst, granted: Some(vec![made.globex.id]), can_read_billing: false };
    access.set_role(COMMAND, at, confined.principal.user().unwrap(), &grant).await.unwrap();
    let principal = access.program(&of_confined).await.unwrap();
    assert!(!principal.sees(made.acme.id) && principal.sees(made.globex.id), "what was taken away is gone at once");

    let (ada, _) = session(&access, &user("ada@north.example", Role::MspAdmin, &made)).await;
    let before = token(&access, &ada).await;
    access.rotate_token_key(COMMAND, Retirement::AfterAnHour, "once a month").await.unwrap();
    let after = token(&access, &ada).await;
    assert_ne!(part(&before, 0)["kid"], part(&after, 0)["kid"]);
    access.program(&before).await.unwrap();
    assert_eq!(access.token_keys().await.unwrap().len(), 2);
    access.rotate_token_key(COMMAND, Retirement::AtOnce, "seen by somebody").await.unwrap();
    refused(&before, "a retired signing key").await;
    refused(&after, "another retired signing key").await;
    assert_eq!(access.token_keys().await.unwrap().len(), 1);

    let late = token(&access, &ada).await;
    test.clock().set(test.clock().now().checked_add(10.minutes()).unwrap());
    refused(&late, "ten minutes later").await;
    // Keys follow one another by themselves.
    let old = access.token_keys().await.unwrap()[0].id;
    test.clock().set(test.clock().now().checked_add((91 * 24).hours()).unwrap());
    let (later, _) = access.log_in("ada@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    let fresh = token(&access, &later).await;
    assert_ne!(part(&fresh, 0)["kid"], old.to_string());
    access.program(&fresh).await.unwrap();
}

/// What a forger has: a good token, the public keys, keys of its own.
struct Forger {
    good: String,
    header: Value,
    claims: Value,
    public_key: Vec<u8>,
    own: Ed25519KeyPair,
}

impl Forger {
    fn own(&self, header: &Value, claims: &Value) -> String {
        joined(header, claims, |signed| self.own.sign(signed).as_ref().to_vec())
    }

    fn hmac(&self, secret: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        joined(&with(&self.header, "alg", "HS256"), &self.claims, |signed| hmac::sign(&key, signed).as_ref().to_vec())
    }

    /// Forgeries for which no key of the house is needed.
    fn attacks(&self) -> Vec<(&'static str, String)> {
        let (header, claims) = (&self.header, &self.claims);
        let [first, second, third] = [0, 1, 2].map(|index| self.good.split('.').nth(index).unwrap());
        let nothing = |_: &[u8]| Vec::new();
        let keep = |_: &[u8]| BASE64.decode(third).unwrap();
        let own_public = BASE64.encode(self.own.public_key());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": own_public});
        let mut flipped = BASE64.decode(third).unwrap();
        flipped[5] ^= 1;
        vec![
            ("alg none, no signature", joined(&with(header, "alg", "none"), claims, nothing)),
            ("alg None, no signature", joined(&with(header, "alg", "None"), claims, nothing)),
            ("alg none, the old signature", joined(&with(header, "alg", "none"), claims, keep)),
            ("no alg", joined(&without(header, "alg"), claims, keep)),
            ("HS256 with the public key", self.hmac(&self.public_key)),
            ("HS256 with the public key as text", self.hmac(BASE64.encode(&self.public_key).as_bytes())),
            ("HS256 with nothing", self.hmac(b"")),
            ("alg Ed25519", joined(&with(header, "alg", "Ed25519"), claims, keep)),
            ("alg eddsa", joined(&with(header, "alg", "eddsa"), claims, keep)),
            ("alg RS256", joined(&with(header, "alg", "RS256"), claims, keep)),
            ("another's signature, our kid", self.own(header, claims)),
            ("a kid that nobody has", self.own(&with(header, "kid", "00000000-0000-7000-8000-000000000000"), claims)),
            ("a kid that is a path", self.own(&with(header, "kid", "../../etc/passwd"), claims)),
            ("a kid that is SQL", self.own(&with(header, "kid", "' or true --"), claims)),
            ("no kid", self.own(&without(header, "kid"), claims)),
            ("a key of its own in the header", self.own(&with(header, "jwk", jwk), claims)),
            ("the address of a key", self.own(&with(header, "jku", "https://evil.example/jwks.json"), claims)),
            ("an extension that must be understood", self.own(&with(header, "crit", json!(["b64"])), claims)),
            ("another kind", self.own(&with(header, "typ", "plane+jwt"), claims)),
            ("no kind", self.own(&with(header, "typ", "JWT"), claims)),
            ("tampered: another role", joined(header, &with(claims, "role", "operator_admin"), keep)),
            ("tampered: another customer", joined(header, &with(claims, "customer_access", json!(["*"])), keep)),
            ("tampered: a later end", joined(header, &with(claims, "exp", 9_999_999_999_i64), keep)),
            ("tampered: another MSP", joined(header, &with(claims, "msp_company", UserId::new().to_string()), keep)),
            ("a bit of the signature", format!("{first}.{second}.{}", BASE64.encode(&flipped))),
            ("no signature", format!("{first}.{second}.")),
            ("half a signature", format!("{first}.{second}.{}", &third[..40])),
            ("padding", format!("{}=", self.good)),
            ("other base64", format!("{first}.{second}.{}", base64::engine::general_purpose::STANDARD.encode(&flipped))),
            ("two parts", format!("{first}.{second}")),
            ("four parts", format!("{}.{third}", self.good)),
            ("five parts, encrypted", format!("{first}.{second}.{third}.{third}.{third}")),
            ("a line end", format!("{}\n", self.good)),
            ("oversize", format!("{first}.{}.{third}", second.repeat(100))),
            ("a header that is a list", format!("{}.{second}.{third}", BASE64.encode("[]"))),
            ("a header without end", format!("{}.{second}.{third}", BASE64.encode("{".repeat(3_000)))),
            ("no text at all", "..".to_owned()),
        ]
    }

    /// Claims that no key of the house should ever sign; here one does.
    fn claims(&self, now: i64, foreign: &Principal, other: CustomerId) -> Vec<(&'static str, Value)> {
        let claims = &self.claims;
        let foreign_msp = with(claims, "msp_company", foreign.msp().unwrap().to_string());
        vec![
            ("wrong issuer", with(claims, "iss", "https://evil.example")),
            ("no issuer", without(claims, "iss")),
            ("wrong audience", with(claims, "aud", "somebody-else")),
            ("our audience among others", with(claims, "aud", json!([AUDIENCE, "somebody-else"]))),
            ("no audience", without(claims, "aud")),
            ("expired", with(&with(claims, "exp", now), "iat", now - 60)),
            ("no end", without(claims, "exp")),
            ("an end that is text", with(claims, "exp", "tomorrow")),
            ("not yet valid", with(claims, "nbf", now + 120)),
            ("made in the future", with(claims, "iat", now + 120)),
            ("no beginning", without(claims, "nbf")),
            ("a life of a day", with(claims, "exp", now + 86_400)),
            ("an end beyond time", with(claims, "exp", i64::MAX)),
            ("a foreign MSP", foreign_msp.clone()),
            ("a foreign MSP, its role and user", with(&foreign_msp, "user_id", foreign.user().unwrap().to_string())),
            ("no MSP", with(claims, "msp_company", Value::Null)),
            ("a higher role", with(claims, "role", "msp_admin")),
            ("the operator", with(&with(claims, "role", "operator_admin"), "msp_company", Value::Null)),
            ("another user", with(claims, "user_id", foreign.user().unwrap().to_string())),
            ("another subject", with(claims, "sub", format!("user:{}", foreign.user().unwrap()))),
            ("a session that is none", with(claims, "sid", UserId::new().to_string())),
            ("neither session nor key", with(claims, "sid", Value::Null)),
            ("session and key", with(claims, "api_key_id", other.to_string())),
        ]
    }
}

#[tokio::test]
async fn no_forged_token_gets_in() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let some = NewUser { granted: Some(vec![made.acme.id]), ..user("ops@north.example", Role::MspAnalyst, &made) };
    let (ops, _) = session(&access, &some).await;
    let southern = NewUser { msp_id: Some(made.south.id), ..user("admin@south.example", Role::MspAdmin, &made) };
    let (south, _) = session(&access, &southern).await;
    let good = token(&access, &ops).await;
    let forger = Forger {
        header: part(&good, 0),
        claims: part(&good, 1),
        public_key: access.token_keys().await.unwrap()[0].public_key.clone(),
        own: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap(),
        good,
    };
    let mut attacks = forger.attacks();
    let now = test.clock().now().as_second();
    for (words, claims) in forger.claims(now, &south.principal, made.globex.id) {
        attacks.push((words, access.sign_claims(&claims).await.unwrap()));
    }
    access.program(&forger.good).await.unwrap();
    access.program(&access.sign_claims(&forger.claims).await.unwrap()).await.unwrap();
    for (words, attack) in &attacks {
        let refused = access.program(attack).await.map(drop).unwrap_err();
        println!("{words:<40} {refused}");
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{words}: {refused}");
    }
    println!("{} forgeries, all refused", attacks.len());

    // Signed by us and saying more than its owner has: it opens no more than its owner's own.
    let wide = with(
        &with(&forger.claims, "customer_access", json!(["*"])),
        "permissions",
        json!(["customers.close", "usage.read", "users.write"]),
    );
    let principal = access.program(&access.sign_claims(&wide).await.unwrap()).await.unwrap();
    assert_eq!(principal.permissions, [Permission::UsageRead]);
    assert!(principal.sees(made.acme.id) && !principal.sees(made.globex.id));
    // Another house signs for itself.
    let other = Access::new(test.tenants().clone()).with_issuer("https://other.example");
    assert!(other.program(&forger.good).await.is_err());
    test.clock().set(test.clock().now().checked_add(SignedDuration::from_mins(10)).unwrap());
    assert!(access.program(&forger.good).await.is_err(), "expired to the second");
}
