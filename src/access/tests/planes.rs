//! Control planes and their key pairs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use granary_types::ControlPlaneId;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::{AUDIENCE, Enrolled, NewPlaneKey, Who, token};

const COMMAND: Manager<'static> = Manager::Command("test");

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn handed_over(code: &Secret, pair: &Ed25519KeyPair) -> NewPlaneKey {
    let proof = pair.sign(format!("granary enrolment {}", code.reveal()).as_bytes()).as_ref().to_vec();
    NewPlaneKey { code: code.clone(), public_key: pair.public_key().as_ref().to_vec(), proof }
}

/// A token as a control plane makes it.
fn signed(pair: &Ed25519KeyPair, enrolled: &Enrolled, claims: &Value) -> String {
    let header = json!({"alg": "EdDSA", "typ": "plane+jwt", "kid": enrolled.key});
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let signature = BASE64.encode(pair.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

struct Yard {
    test: TestDatabase,
    made: TwoCustomers,
    access: Access,
    at: Place,
    plane: ControlPlaneId,
}

async fn yard() -> Yard {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let at = Place { msp: Some(made.north.id), customer: Some(made.acme.id) };
    let plane = test.tenants().control_planes(made.acme.id).await.unwrap()[0].id;
    Yard { test, made, access, at, plane }
}

impl Yard {
    async fn code(&self) -> Secret {
        self.access.create_enrolment(COMMAND, self.at, self.plane, "a new server").await.unwrap().code
    }

    fn claims(&self) -> Value {
        let now = self.test.clock().now().as_second();
        json!({"iss": self.plane, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300})
    }
}

#[tokio::test]
async fn a_code_makes_one_key_a_control_plane() {
    let yard = yard().await;
    let (access, first, second) = (&yard.access, pair(1), pair(2));
    let code = yard.code().await;
    let enrolled = access.enrol(&handed_over(&code, &first)).await.unwrap();
    assert_eq!((enrolled.control_plane, enrolled.customer_code.as_str()), (yard.plane, "ACME"));
    assert_eq!(access.enrol(&handed_over(&code, &first)).await.unwrap(), enrolled, "an answer that was lost is given again");
    let refused = access.enrol(&handed_over(&code, &second)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (ErrorKind::Unauthenticated, "enrolment_code_invalid"));

    let principal = access.program(&signed(&first, &enrolled, &yard.claims())).await.unwrap();
    assert!(matches!(principal.who(), Who::ControlPlane { id, .. } if *id == yard.plane));
    assert_eq!(principal.permissions, [Permission::UsageWrite]);
    assert_eq!(principal.source(), Some(enrolled.source.as_str()), "its own events and nobody else's");
    assert_eq!(access.own_scope(&principal).await.unwrap().customer.id, yard.made.acme.id);
    assert_eq!(access.list_plane_keys(yard.at).await.unwrap()[0].last_used_at, Some(yard.test.clock().now()));

    // Enrolling again ends the key before; ending the plane's key ends everything.
    let again = access.enrol(&handed_over(&yard.code().await, &second)).await.unwrap();
    assert!(access.program(&signed(&first, &enrolled, &yard.claims())).await.is_err());
    access.program(&signed(&second, &again, &yard.claims())).await.unwrap();
    let waiting = yard.code().await;
    access.revoke_plane(COMMAND, yard.at, yard.plane, "stolen").await.unwrap();
    assert!(access.program(&signed(&second, &again, &yard.claims())).await.is_err());
    assert!(access.enrol(&handed_over(&waiting, &first)).await.is_err(), "its code is void too");
    let rows = yard.test.superuser().await;
    let rows = rows.query("select action from control.audit_log where subject like 'control_plane:%' order by happened_at, id", &[]).await;
    let actions: Vec<String> = rows.unwrap().iter().map(|row| row.get(0)).collect();
    let [code, enrol, revoke] = ["control_plane.enrolment_code", "control_plane.enrol", "control_plane.revoke"];
    assert_eq!(actions, [code, enrol, code, enrol, code, revoke]);
}

#[tokio::test]
async fn no_forged_enrolment_or_plane_gets_in() {
    let yard = yard().await;
    let (access, own, thief) = (&yard.access, pair(1), pair(9));
    let replaced = yard.code().await;
    let code = yard.code().await;
    let good = handed_over(&code, &own);
    let attacks = [
        ("a code that was replaced", handed_over(&replaced, &own)),
        ("a code that never was", handed_over(&token::random_code(), &own)),
        ("a mistyped code", handed_over(&Secret::new(format!("{}x", code.reveal())), &own)),
        ("an API key", handed_over(&token::random_key(), &own)),
        ("no code", handed_over(&Secret::new(""), &own)),
        ("another's proof", NewPlaneKey { proof: handed_over(&code, &thief).proof, ..good.clone() }),
        ("the proof of another code", NewPlaneKey { proof: handed_over(&replaced, &own).proof, ..good.clone() }),
        ("no proof", NewPlaneKey { proof: vec![], ..good.clone() }),
        ("another's public key", NewPlaneKey { public_key: thief.public_key().as_ref().to_vec(), ..good.clone() }),
        ("half a public key", NewPlaneKey { public_key: good.public_key[..16].to_vec(), ..good.clone() }),
        ("a public key of zeros", NewPlaneKey { public_key: vec![0; 32], ..good.clone() }),
    ];
    for (words, attack) in &attacks {
        let refused = access.enrol(attack).await.map(drop).unwrap_err();
        println!("{words:<40} {refused}");
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{words}");
        assert!(!refused.to_string().contains("grn_"), "{words}");
    }
    let enrolled = access.enrol(&good).await.unwrap();
    let claims = yard.claims();
    let change = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let now = yard.test.clock().now().as_second();
    access.program(&signed(&own, &enrolled, &claims)).await.unwrap();
    let forgeries = [
        ("another key, its kid", signed(&thief, &enrolled, &claims)),
        ("another plane", signed(&own, &enrolled, &change("iss", json!(ControlPlaneId::new())))),
        ("wrong audience", signed(&own, &enrolled, &change("aud", json!("somebody")))),
        ("expired", signed(&own, &enrolled, &change("exp", json!(now)))),
        ("not yet valid", signed(&own, &enrolled, &change("nbf", json!(now + 60)))),
        ("a life of an hour", signed(&own, &enrolled, &change("exp", json!(now + 3_600)))),
        (
            "as a token of the house",
            signed(&own, &enrolled, &claims).replacen(
                &BASE64.encode(json!({"alg": "EdDSA", "typ": "plane+jwt", "kid": enrolled.key}).to_string()),
                &BASE64.encode(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": enrolled.key}).to_string()),
                1,
            ),
        ),
    ];
    for (words, forgery) in &forgeries {
        let refused = access.program(forgery).await.map(drop).unwrap_err();
        println!("{words:<40} {refused}");
        assert_eq!((refused.kind(), refused.code()), (ErrorKind::Unauthenticated, "token_invalid"), "{words}");
    }
    println!("{} attacks, all refused", attacks.len() + forgeries.len());
    let late = yard.code().await;
    yard.test.clock().set(yard.test.clock().now().checked_add(24.hours()).unwrap());
    assert!(access.enrol(&handed_over(&late, &own)).await.is_err(), "a code works for a day");
}

#[tokio::test]
async fn only_whoever_manages_control_planes_lets_them_in() {
    let yard = yard().await;
    let access = &yard.access;
    let southern = NewUser { msp_id: Some(yard.made.south.id), ..user("admin@south.example", Role::MspAdmin, &yard.made) };
    let wanted = [
        (user("admin@north.example", Role::MspAdmin, &yard.made), None),
        (user("finance@north.example", Role::MspFinance, &yard.made), Some(ErrorKind::Denied)),
        (user("wile@acme.example", Role::CustomerAdmin, &yard.made), Some(ErrorKind::Denied)),
        (southern, Some(ErrorKind::NotFound)),
    ];
    for (user, refusal) in wanted {
        access.create_user(&user).await.unwrap();
        let principal = access.log_in(&user.email, &Secret::new(PASSWORD), &Client::default()).await.unwrap().0.principal;
        let answer = access.create_enrolment(Manager::Principal(&principal), yard.at, yard.plane, "new").await;
        assert_eq!(answer.map(drop).map_err(|error| error.kind()).err(), refusal, "{}", user.email);
    }
    let globex = Place { customer: Some(yard.made.globex.id), ..yard.at };
    let error = access.create_enrolment(COMMAND, globex, yard.plane, "not theirs").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
