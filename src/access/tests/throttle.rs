//! Guessing is counted, sessions end, and both are seen by their owner.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::sessions::Session;

fn from(address: &str) -> Client {
    Client { address: Some(address.parse::<IpAddr>().unwrap()), device: Some("Firefox on Linux".to_owned()) }
}

fn wait(test: &TestDatabase, seconds: i64) {
    let later: Timestamp = test.clock().now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
    test.clock().set(later);
}

async fn try_with(access: &Access, email: &str, password: &str, client: &Client) -> Result<Session, AccessError> {
    access.log_in(email, &Secret::new(password), client).await.map(|(session, _)| session)
}

fn seconds(error: &AccessError) -> i64 {
    match error {
        AccessError::TooManyAttempts { seconds } => *seconds,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn guesses_wait_longer_and_longer_and_the_right_password_forgets_them() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    // An address that nobody has is answered alike, step by step.
    for email in ["ada@north.example", "nobody@north.example"] {
        let client = from(if email.starts_with("ada") { "192.0.2.1" } else { "192.0.2.2" });
        for _ in 0..5 {
            assert!(matches!(try_with(&access, email, "wrong", &client).await, Err(AccessError::WrongPassword)));
        }
        assert_eq!(seconds(&try_with(&access, email, PASSWORD, &client).await.unwrap_err()), 30, "{email}: not even the right one");
        for pause in [30, 60, 120, 240, 480] {
            wait(&test, pause);
            assert!(matches!(try_with(&access, email, "wrong", &client).await, Err(AccessError::WrongPassword)), "{email} after {pause}");
        }
        assert_eq!(seconds(&try_with(&access, email, PASSWORD, &client).await.unwrap_err()), 900, "{email}: locked");
        wait(&test, 900);
    }
    try_with(&access, "ada@north.example", PASSWORD, &from("192.0.2.1")).await.unwrap();
    for _ in 0..4 {
        assert!(matches!(try_with(&access, "ada@north.example", "wrong", &from("192.0.2.1")).await, Err(AccessError::WrongPassword)));
    }
    try_with(&access, "ada@north.example", PASSWORD, &from("192.0.2.1")).await.unwrap();
}

#[tokio::test]
async fn guesses_at_the_same_time_are_counted_before_they_are_looked_at() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    // As another replica would.
    let other = Access::new(granary_tenants::Tenants::new(test.reopen(8).await, test.keys().clone()));
    let client = from("192.0.2.1");
    let guesses = (0..40).map(|guess| {
        let (access, client) = (if guess % 2 == 0 { &access } else { &other }, &client);
        async move { try_with(access, "ada@north.example", "wrong", client).await.unwrap_err() }
    });
    let errors = futures::future::join_all(guesses).await;
    let looked_at = errors.iter().filter(|error| matches!(error, AccessError::WrongPassword)).count();
    assert_eq!(looked_at, 5, "{errors:?}");
}

#[tokio::test]
async fn a_hundred_wrong_passwords_close_an_account_until_another_is_chosen() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    try_with(&access, "ada@north.example", "wrong", &from("192.0.2.1")).await.unwrap_err();
    let superuser = test.superuser().await;
    superuser.batch_execute("update control.login_attempts set attempts = 99 where kind = 'account'").await.unwrap();
    assert!(matches!(try_with(&access, "ada@north.example", "wrong", &from("192.0.2.1")).await, Err(AccessError::WrongPassword)));
    wait(&test, 30 * 24 * 3_600);
    let error = try_with(&access, "ada@north.example", PASSWORD, &from("192.0.2.1")).await.unwrap_err();
    assert!(error.to_string().contains("new password"), "{error}");
}

#[tokio::test]
async fn an_address_that_tries_many_accounts_waits_and_others_do_not() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    // Those of an office who know their passwords use nothing up.
    for _ in 0..60 {
        try_with(&access, "ada@north.example", PASSWORD, &from("192.0.2.1")).await.unwrap();
    }
    for guess in 0..50 {
        let error = try_with(&access, &format!("user{guess}@north.example"), "wrong", &from("192.0.2.1")).await.unwrap_err();
        assert!(matches!(error, AccessError::WrongPassword), "{guess}: {error}");
    }
    let error = try_with(&access, "ada@north.example", PASSWORD, &from("192.0.2.1")).await.unwrap_err();
    assert_eq!(seconds(&error), 900);
    try_with(&access, "ada@north.example", PASSWORD, &from("192.0.2.99")).await.unwrap();
    wait(&test, 900);
    try_with(&access, "ada@north.example", PASSWORD, &from("192.0.2.1")).await.unwrap();
    // What is old goes when somebody fails.
    wait(&test, 3 * 24 * 3_600);
    for _ in 0..4 {
        try_with(&access, "nobody@north.example", "wrong", &from("192.0.2.9")).await.unwrap_err();
    }
    let left: i64 = test.superuser().await.query_one("select count(*) from control.login_attempts", &[]).await.unwrap().get(0);
    assert!(left <= 3, "{left} rows");
}

#[tokio::test]
async fn sessions_are_seen_and_ended_by_their_owner_and_end_when_nobody_uses_them() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    access.create_user(&user("bob@north.example", Role::MspAdmin, &made)).await.unwrap();
    let (own, token) = access.log_in("ada@north.example", &Secret::new(PASSWORD), &from("192.0.2.1")).await.unwrap();
    let (phone, phone_token) = access.log_in("ada@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    let (bob, bob_token) = access.log_in("bob@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    let listed = access.list_sessions(&own.principal).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().any(|session| session.id == own.id && session.device.as_deref() == Some("Firefox on Linux")));

    let error = access.revoke_session(&bob.principal, own.id).await.unwrap_err();
    assert!(matches!(error, AccessError::UnknownSession), "another's session is not found");
    access.revoke_session(&own.principal, phone.id).await.unwrap();
    assert!(access.session(phone_token.reveal()).await.unwrap().is_none());
    assert!(access.revoke_session(&own.principal, phone.id).await.is_err());

    // Used every 40 minutes it lives on; left alone for an hour it ends.
    for _ in 0..4 {
        wait(&test, 40 * 60);
        assert!(access.session(token.reveal()).await.unwrap().is_some());
    }
    assert!(access.session(bob_token.reveal()).await.unwrap().is_none(), "nobody used it");
    assert_eq!(access.list_sessions(&own.principal).await.unwrap()[0].last_used_at, test.clock().now());
    for _ in 0..15 {
        wait(&test, 40 * 60);
        access.session(token.reveal()).await.unwrap();
    }
    assert!(access.session(token.reveal()).await.unwrap().is_none(), "twelve hours are all there are");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    let (own, token) = access.log_in("ada@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    let (_, other) = access.log_in("ada@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    let new = Secret::new("another long password");
    let change = |old: &'static str, new: Secret| {
        let (access, own) = (&access, &own);
        async move { access.change_password(&own.principal, own.id, &Secret::new(old), &new).await }
    };
    assert!(matches!(change("wrong", new.clone()).await, Err(AccessError::WrongPassword)));
    assert!(matches!(change(PASSWORD, Secret::new("ada@north.example")).await, Err(AccessError::WeakPassword(_))));
    change(PASSWORD, new.clone()).await.unwrap();
    assert!(access.session(token.reveal()).await.unwrap().is_some());
    assert!(access.session(other.reveal()).await.unwrap().is_none());
    assert!(access.log_in("ada@north.example", &Secret::new(PASSWORD), &Client::default()).await.is_err());
    access.log_in("ada@north.example", &new, &Client::default()).await.unwrap();
    for _ in 0..5 {
        change("wrong", new.clone()).await.unwrap_err();
    }
    assert!(matches!(change("another long password", new.clone()).await, Err(AccessError::TooManyAttempts { .. })));
}
