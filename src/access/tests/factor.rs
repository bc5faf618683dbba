//! The second factor, tried on a real database.

use jiff::SignedDuration;

use super::*;
use crate::factor::{RECOVERY_CODES, code_of};
use crate::{Manager, Place, Principal, Requirement, Session};

/// Reads base 32.
fn bytes_of(secret: &Secret) -> Vec<u8> {
    let letters = secret.reveal().bytes().filter(|byte| *byte != b'-');
    let places = letters.map(|byte| if byte.is_ascii_digit() { byte - b'2' + 26 } else { byte - b'A' });
    let bits: Vec<u8> = places.flat_map(|place| (0..5).rev().map(move |bit| place >> bit & 1)).collect();
    bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}

fn code(test: &TestDatabase, secret: &[u8], steps: i64) -> String {
    code_of(secret, test.clock().now().as_second().div_euclid(30) + steps)
}

fn wait(test: &TestDatabase, seconds: i64) {
    test.clock().set(test.clock().now().checked_add(SignedDuration::from_secs(seconds)).unwrap());
}

async fn log_in(access: &Access, email: &str) -> (Session, Secret) {
    access.log_in(email, &Secret::new(PASSWORD), &Client::default()).await.unwrap()
}

async fn enrol(access: &Access, test: &TestDatabase, principal: &Principal) -> (Vec<u8>, Vec<Secret>) {
    let enrolment = access.begin_factor(principal, "Northern Backup").await.unwrap();
    assert!(enrolment.uri.reveal().starts_with("otpauth://totp/Northern%20Backup:"), "{}", enrolment.uri.reveal());
    let secret = bytes_of(&enrolment.secret);
    let wrong = code(test, &secret, 5);
    assert!(matches!(access.confirm_factor(principal, &wrong).await, Err(AccessError::WrongCode)));
    let codes = access.confirm_factor(principal, &code(test, &secret, 0)).await.unwrap();
    assert_eq!(codes.len(), RECOVERY_CODES);
    (secret, codes)
}

async fn pass(access: &Access, pending: &Secret, code: &str) -> Result<(Session, Secret), AccessError> {
    access.pass_factor(pending.reveal(), code, &Client::default()).await
}

#[tokio::test]
async fn with_a_second_factor_the_password_opens_nothing_but_the_question_for_a_code() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    for new in [
        user("ada@north.example", Role::MspAdmin, &made),
        user("olga@granary.example", Role::OperatorAdmin, &made),
        user("wile@acme.example", Role::CustomerAdmin, &made),
    ] {
        access.create_user(&new).await.unwrap();
        let (own, _) = log_in(&access, &new.email).await;
        let (secret, _) = enrol(&access, &test, &own.principal).await;
        assert!(access.begin_factor(&own.principal, "x").await.is_err(), "one that is on is not replaced");
        let (session, pending) = log_in(&access, &new.email).await;
        assert!(session.is_pending);
        assert!(access.session(pending.reveal()).await.unwrap().is_none(), "it opens nothing");
        let used = code(&test, &secret, 0);
        assert!(matches!(pass(&access, &pending, &used).await, Err(AccessError::WrongCode)), "the code that turned it on");
        wait(&test, 30);
        for wrong in ["", "000000 or so", &code(&test, &secret, 2), &code(&test, &secret, -2)] {
            assert!(matches!(pass(&access, &pending, wrong).await, Err(AccessError::WrongCode)), "{wrong}");
            wait(&test, 0);
        }
        wait(&test, 60);
        let late = code(&test, &secret, -1);
        let (opened, token) = pass(&access, &pending, &late).await.unwrap();
        assert!(!opened.is_pending && access.session(token.reveal()).await.unwrap().is_some());
        assert!(
            matches!(pass(&access, &pending, &code(&test, &secret, 1)).await, Err(AccessError::Unauthenticated)),
            "the question was answered"
        );
        let (_, again) = log_in(&access, &new.email).await;
        assert!(matches!(pass(&access, &again, &late).await, Err(AccessError::WrongCode)), "a code is used once");
        assert!(matches!(pass(&access, &again, &code(&test, &secret, -2)).await, Err(AccessError::WrongCode)), "nor an older one");
        pass(&access, &again, &code(&test, &secret, 1)).await.unwrap();
        let (_, slow) = log_in(&access, &new.email).await;
        wait(&test, 601);
        assert!(matches!(pass(&access, &slow, &code(&test, &secret, 0)).await, Err(AccessError::Unauthenticated)), "ten minutes");
        wait(&test, 3_600);
    }
    let client = test.superuser().await;
    let stored: String = client.query_one("select string_agg(f::text, ' ') from control.second_factors f", &[]).await.unwrap().get(0);
    assert!(!stored.is_empty() && !stored.contains("ada@"));
}

#[tokio::test]
async fn codes_cannot_be_guessed_and_the_same_code_twice_at_once_comes_in_once() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    let (own, _) = log_in(&access, "ada@north.example").await;
    let (secret, _) = enrol(&access, &test, &own.principal).await;
    wait(&test, 30);
    let (one, other) = (log_in(&access, "ada@north.example").await.1, log_in(&access, "ada@north.example").await.1);
    let right = code(&test, &secret, 0);
    let (first, second) = futures::future::join(pass(&access, &one, &right), pass(&access, &other, &right)).await;
    assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|is_in| **is_in).count(), 1);
    wait(&test, 30);
    let (_, pending) = log_in(&access, "ada@north.example").await;
    let mut looked_at = 0;
    for _ in 0..8 {
        match pass(&access, &pending, "000000").await {
            Err(AccessError::WrongCode) => looked_at += 1,
            Err(AccessError::TooManyAttempts { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(looked_at <= 5, "{looked_at}");
    assert!(matches!(pass(&access, &pending, &code(&test, &secret, 0)).await, Err(AccessError::TooManyAttempts { .. })));
}

#[tokio::test]
async fn a_recovery_code_works_once_for_its_owner() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    access.create_user(&user("bob@north.example", Role::MspAdmin, &made)).await.unwrap();
    let (ada, _) = log_in(&access, "ada@north.example").await;
    let (bob, _) = log_in(&access, "bob@north.example").await;
    let (_, codes) = enrol(&access, &test, &ada.principal).await;
    enrol(&access, &test, &bob.principal).await;
    let (_, pending) = log_in(&access, "bob@north.example").await;
    assert!(pass(&access, &pending, codes[0].reveal()).await.is_err(), "another's");
    let (_, pending) = log_in(&access, "ada@north.example").await;
    pass(&access, &pending, &codes[0].reveal().to_lowercase().replace('-', " ")).await.unwrap();
    let (_, pending) = log_in(&access, "ada@north.example").await;
    assert!(matches!(pass(&access, &pending, codes[0].reveal()).await, Err(AccessError::WrongCode)), "used");
    assert_eq!(access.factor_state(&ada.principal).await.unwrap().recovery_codes, 9);
    let stored: String =
        test.superuser().await.query_one("select string_agg(c::text, ' ') from control.recovery_codes c", &[]).await.unwrap().get(0);
    assert!(!stored.contains(codes[1].reveal()));
}

#[tokio::test]
async fn a_second_factor_goes_by_the_password_or_by_an_administrator_and_its_owner_is_told() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    access.create_user(&user("ops@north.example", Role::MspOperator, &made)).await.unwrap();
    let (ada, _) = log_in(&access, "ada@north.example").await;
    let (ops, token) = log_in(&access, "ops@north.example").await;
    enrol(&access, &test, &ops.principal).await;
    assert!(access.remove_factor(&ops.principal, &Secret::new("wrong")).await.is_err());
    access.remove_factor(&ops.principal, &Secret::new(PASSWORD)).await.unwrap();
    assert!(!log_in(&access, "ops@north.example").await.0.is_pending);
    enrol(&access, &test, &ops.principal).await;
    let at = Place { msp: Some(made.north.id), customer: None };
    let id = ops.principal.user().unwrap();
    assert!(access.reset_factor(Manager::Principal(&ops.principal), at, ada.principal.user().unwrap(), "mine").await.is_err());
    let person = access.reset_factor(Manager::Principal(&ada.principal), at, id, "lost the phone").await.unwrap();
    assert!(!person.has_second_factor);
    assert!(access.session(token.reveal()).await.unwrap().is_none(), "sessions end");
    let sql = "select count(*) from control.jobs where kind = 'access.letter' and payload::text like '%factor_changed%'";
    let told: i64 = test.superuser().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(told, 4, "two added, two removed");
}

#[tokio::test]
async fn an_msp_may_ask_everybody_for_a_second_factor() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    access.create_user(&user("wile@acme.example", Role::CustomerAdmin, &made)).await.unwrap();
    let (ada, ada_token) = log_in(&access, "ada@north.example").await;
    let (wile, wile_token) = log_in(&access, "wile@acme.example").await;
    assert!(access.require_factor(&wile.principal, made.north.id, Requirement::Required).await.is_err());
    assert!(access.require_factor(&ada.principal, made.south.id, Requirement::Required).await.is_err());
    access.require_factor(&ada.principal, made.north.id, Requirement::Required).await.unwrap();
    for token in [&ada_token, &wile_token] {
        assert!(access.session(token.reveal()).await.unwrap().unwrap().must_enrol);
    }
    enrol(&access, &test, &wile.principal).await;
    assert!(!access.session(wile_token.reveal()).await.unwrap().unwrap().must_enrol);
    access.require_factor(&ada.principal, made.north.id, Requirement::Optional).await.unwrap();
    assert!(!access.session(ada_token.reveal()).await.unwrap().unwrap().must_enrol);
}
