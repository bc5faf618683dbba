//! Letters and their tokens, tried on a real database: a link opens one login, once, for a while.

use granary_types::UserId;

use super::*;
use crate::{Grant, Invitation, Letter, LetterJob, LetterKind, Manager, Person};

const NEW: &str = "a password of my own";

/// Takes the letters that are queued out of the queue.
async fn letters(test: &TestDatabase) -> Vec<LetterJob> {
    let client = test.superuser().await;
    let rows = client.query("delete from control.jobs where kind = 'access.letter' returning payload::text, id", &[]).await.unwrap();
    rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
}

async fn written(access: &Access, test: &TestDatabase) -> Option<Letter> {
    let jobs = letters(test).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let letter = access.letter(&jobs[0]).await.unwrap();
    // Every job may run twice, and then the letter says the same.
    let again = access.letter(&jobs[0]).await.unwrap();
    assert_eq!(letter.as_ref().map(token_of), again.as_ref().map(token_of));
    letter
}

pub(super) fn token_of(letter: &Letter) -> Option<String> {
    match &letter.kind {
        LetterKind::Invitation { token, .. } | LetterKind::Reset { token, .. } => Some(token.reveal().to_owned()),
        _ => None,
    }
}

pub(super) async fn forgotten(access: &Access, test: &TestDatabase, email: &str) -> Option<Letter> {
    access.forgot_password(email, &Client::default()).await.unwrap();
    written(access, test).await
}

fn invitation(made: &TwoCustomers, role: Role) -> Invitation {
    Invitation {
        email: format!("{role}@north.example"),
        name: "Ada North".to_owned(),
        msp_id: Some(made.north.id),
        customer_id: role.is_customer().then_some(made.acme.id),
        grant: Grant { role, granted: None, can_read_billing: false },
    }
}

async fn invited(access: &Access, test: &TestDatabase, made: &TwoCustomers, role: Role) -> (Person, String) {
    let person = access.invite(Manager::Command("cli"), &invitation(made, role)).await.unwrap();
    let letter = written(access, test).await.unwrap();
    assert_eq!((letter.email.as_str(), letter.msp_name.as_deref()), (person.email.as_str(), Some("Northern Backup")));
    (person, token_of(&letter).unwrap())
}

async fn choose(access: &Access, token: &str, password: &str) -> Result<UserId, AccessError> {
    let (session, _) = access.choose_password(token, &Secret::new(password), &Client::default()).await?;
    Ok(session.principal.user().unwrap())
}

#[tokio::test]
async fn an_invitation_lets_its_owner_choose_a_password_once() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let (person, token) = invited(&access, &test, &made, Role::MspAdmin).await;
    assert!(person.is_invited);
    for password in ["", "!"] {
        assert!(access.log_in(&person.email, &Secret::new(password), &Client::default()).await.is_err(), "no password opens it");
    }
    assert_eq!(access.password_token(&token).await.unwrap(), person.email);
    assert!(matches!(choose(&access, &token, "short").await, Err(AccessError::WeakPassword(_))));
    assert_eq!(choose(&access, &token, NEW).await.unwrap(), person.id);
    assert!(matches!(choose(&access, &token, NEW).await, Err(AccessError::LinkVoid)), "once");
    access.log_in(&person.email, &Secret::new(NEW), &Client::default()).await.unwrap();
}

#[tokio::test]
async fn a_link_that_is_not_good_opens_nothing() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let (ada, token) = invited(&access, &test, &made, Role::MspAdmin).await;
    let (_, other) = invited(&access, &test, &made, Role::MspFinance).await;
    let south = Invitation { msp_id: Some(made.south.id), ..invitation(&made, Role::MspAnalyst) };
    let theirs = access.invite(Manager::Command("cli"), &south).await.unwrap();
    let at_south = token_of(&written(&access, &test).await.unwrap()).unwrap();
    let mut tampered = token.clone();
    tampered.replace_range(..1, if token.starts_with('0') { "1" } else { "0" });
    let superuser = test.superuser().await;
    let hash: String = superuser.query_one("select encode(token_hash, 'hex') from control.user_tokens limit 1", &[]).await.unwrap().get(0);

    // What each row is, what is sent, and whose password it may change; none for nobody's.
    let mut rows: Vec<(&str, String, Option<UserId>)> = vec![
        ("nothing", String::new(), None),
        ("a guess", "0".repeat(64), None),
        ("tampered", tampered, None),
        ("cut off", token[..63].to_owned(), None),
        ("in capitals", token.to_uppercase(), None),
        ("what the database keeps", hash, None),
        ("a session's token", access_token(&access, &made).await, None),
    ];
    // A link of somebody else's changes the password of somebody else, whoever asks.
    rows.push(("another MSP's", at_south, Some(theirs.id)));
    letters(&test).await;
    for (what, sent, whose) in &rows {
        assert_eq!(choose(&access, sent, NEW).await.ok(), *whose, "{what}");
    }
    access.invite_again(Manager::Command("cli"), ada_place(&made), ada.id).await.unwrap();
    assert!(matches!(choose(&access, &token, NEW).await, Err(AccessError::LinkVoid)), "replaced by a newer one");
    let newer = token_of(&written(&access, &test).await.unwrap()).unwrap();
    superuser.execute("update control.users set is_disabled = true where id = $1", &[&ada.id.uuid()]).await.unwrap();
    assert!(matches!(choose(&access, &newer, NEW).await, Err(AccessError::LinkVoid)), "of a stopped login");
    superuser.execute("update control.users set is_disabled = false where id = $1", &[&ada.id.uuid()]).await.unwrap();
    test.clock().set(test.clock().now().checked_add((7 * 24).hours()).unwrap());
    for (what, sent) in [("seven days old", &newer), ("another user's, seven days old", &other)] {
        assert!(matches!(choose(&access, sent, NEW).await, Err(AccessError::LinkVoid)), "{what}");
    }
    let chosen: i64 = superuser
        .query_one("select count(*) from control.users where password_hash <> '' and email like 'msp_a%'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(chosen, 1, "only the other MSP's");
}

fn ada_place(made: &TwoCustomers) -> crate::Place {
    crate::Place { msp: Some(made.north.id), customer: None }
}

async fn access_token(access: &Access, made: &TwoCustomers) -> String {
    access.create_user(&user("somebody@north.example", Role::MspAdmin, made)).await.unwrap();
    access.log_in("somebody@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap().1.reveal().to_owned()
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_within_an_hour_and_ends_every_session() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("Ada@North.example", Role::MspAdmin, &made)).await.unwrap();
    let (_, session) = access.log_in("ada@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    // As if somebody had guessed for a day.
    access.log_in("ada@north.example", &Secret::new("wrong"), &Client::default()).await.unwrap_err();
    let superuser = test.superuser().await;
    superuser
        .batch_execute("update control.login_attempts set attempts = 100, blocked_until = '2100-01-01' where kind = 'account'")
        .await
        .unwrap();
    let first = token_of(&forgotten(&access, &test, " ada@north.EXAMPLE ").await.unwrap()).unwrap();
    let second = token_of(&forgotten(&access, &test, "ada@north.example").await.unwrap()).unwrap();
    assert!(matches!(choose(&access, &first, NEW).await, Err(AccessError::LinkVoid)), "the newer letter counts");
    choose(&access, &second, NEW).await.unwrap();
    assert!(access.session(session.reveal()).await.unwrap().is_none());
    access.log_in("ada@north.example", &Secret::new(NEW), &Client::default()).await.unwrap();
    assert!(matches!(written(&access, &test).await.unwrap().kind, LetterKind::PasswordChanged), "its owner is told");

    let late = token_of(&forgotten(&access, &test, "ada@north.example").await.unwrap()).unwrap();
    // Three letters an hour, then none.
    assert!(forgotten(&access, &test, "ada@north.example").await.is_none());
    test.clock().set(test.clock().now().checked_add(1.hour()).unwrap());
    assert!(matches!(choose(&access, &late, NEW).await, Err(AccessError::LinkVoid)), "an hour old");
}

#[tokio::test]
async fn asking_tells_nobody_whether_an_address_is_known() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    access.create_user(&user("gone@north.example", Role::MspAdmin, &made)).await.unwrap();
    let superuser = test.superuser().await;
    superuser.batch_execute("update control.users set is_disabled = true where email like 'gone%'").await.unwrap();
    for (email, is_known) in [("nobody@north.example", false), ("gone@north.example", false), ("", false), ("ada@north.example", true)] {
        access.forgot_password(email, &Client::default()).await.unwrap();
        // The same is queued in every case, and says nothing: not even the address.
        let payload: String =
            superuser.query_one("select payload::text from control.jobs where kind = 'access.letter'", &[]).await.unwrap().get(0);
        assert!(payload.contains("forgotten") && !payload.contains("north.example"), "{payload}");
        assert_eq!(written(&access, &test).await.is_some(), is_known, "{email}");
    }
    // Nothing that opens the house lies in the tables.
    let token = token_of(&forgotten(&access, &test, "ada@north.example").await.unwrap()).unwrap();
    let kept: String = superuser.query_one("select string_agg(t::text, ' ') from control.user_tokens t", &[]).await.unwrap().get(0);
    assert!(!kept.contains(&token));
    let client = Client { address: Some("192.0.2.1".parse().unwrap()), device: None };
    for _ in 0..20 {
        access.forgot_password("nobody@north.example", &client).await.unwrap();
    }
    let error = access.forgot_password("nobody@north.example", &client).await.unwrap_err();
    assert!(matches!(error, AccessError::TooManyAttempts { .. }), "{error}");
}

#[tokio::test]
async fn the_owner_of_a_locked_account_is_told_once() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    for _ in 0..12 {
        for email in ["ada@north.example", "nobody@north.example"] {
            access.log_in(email, &Secret::new("wrong"), &Client::default()).await.unwrap_err();
        }
        test.clock().set(test.clock().now().checked_add(15.minutes()).unwrap());
    }
    let letter = written(&access, &test).await.unwrap();
    assert!(matches!(letter.kind, LetterKind::Locked), "{letter:?}");
}
