//! The way in, tried on a real database.

use granary_foundation::Secret;
use granary_test_support::{TestDatabase, TwoCustomers};
use granary_types::{Classify, CustomerCode, CustomerStatus, ErrorKind, Role};
use jiff::ToSpan;

use crate::{Access, AccessError, ApiKeyScope, Client, Manager, NewApiKey, NewUser, Permission, Place, store};

mod factor;
mod keys;
mod letters;
mod managing;
mod planes;
mod sso;
mod throttle;
mod tokens;

const PASSWORD: &str = "a long enough password";

fn user(email: &str, role: Role, made: &TwoCustomers) -> NewUser {
    NewUser {
        email: email.to_owned(),
        name: "Somebody".to_owned(),
        role,
        msp_id: (role != Role::OperatorAdmin).then_some(made.north.id),
        customer_id: role.is_customer().then_some(made.acme.id),
        granted: None,
        can_read_billing: false,
        password: Secret::new(PASSWORD),
    }
}

fn key(made: &TwoCustomers) -> NewApiKey {
    NewApiKey {
        msp_id: made.north.id,
        customer_id: Some(made.acme.id),
        control_plane_id: None,
        name: "backup server".to_owned(),
        scopes: vec![ApiKeyScope::UsageWrite],
        expires_at: None,
        requests_per_minute: None,
    }
}

fn code(text: &str) -> CustomerCode {
    text.parse().unwrap()
}

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let test = TestDatabase::new().await;
    let client = test.superuser().await;
    client.batch_execute("set search_path to control").await.unwrap();
    let all = [
        store::STATEMENTS,
        store::api_keys::STATEMENTS,
        store::attempts::STATEMENTS,
        store::openings::STATEMENTS,
        store::factor::STATEMENTS,
        store::people::STATEMENTS,
        store::planes::STATEMENTS,
        store::token_keys::STATEMENTS,
        store::sessions::STATEMENTS,
        store::sso::STATEMENTS,
        store::tokens::STATEMENTS,
    ];
    for sql in all.concat() {
        client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

#[tokio::test]
async fn a_login_opens_a_session_until_it_ends() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("Ada@North.example", Role::MspAdmin, &made)).await.unwrap();
    let (session, token) = access.log_in(" ada@north.EXAMPLE ", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    assert_eq!(session.principal.role(), Role::MspAdmin);

    let found = access.session(token.reveal()).await.unwrap().unwrap();
    assert_eq!(found.csrf_token, session.csrf_token);
    assert!(found.principal.may(Permission::MarginRead));
    assert!(access.session(&"0".repeat(64)).await.unwrap().is_none());

    let (_, other) = access.log_in("ada@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    access.log_out(other.reveal()).await.unwrap();
    assert!(access.session(other.reveal()).await.unwrap().is_none());
    assert!(access.session(token.reveal()).await.unwrap().is_some(), "the other session goes on");

    test.clock().set(test.clock().now().checked_add(13.hours()).unwrap());
    assert!(access.session(token.reveal()).await.unwrap().is_none(), "it has expired");
}

#[tokio::test]
async fn whatever_was_wrong_with_a_login_sounds_the_same() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    access.create_user(&user("gone@north.example", Role::MspAdmin, &made)).await.unwrap();
    let client = test.superuser().await;
    client.batch_execute("update control.users set is_disabled = true where email = 'gone@north.example'").await.unwrap();
    for (email, password) in
        [("ada@north.example", "wrong"), ("nobody@north.example", PASSWORD), ("gone@north.example", PASSWORD), ("", "")]
    {
        let error = access.log_in(email, &Secret::new(password), &Client::default()).await.unwrap_err();
        assert!(matches!(error, AccessError::WrongPassword), "{email}: {error}");
    }
}

#[tokio::test]
async fn nothing_that_opens_the_house_is_stored_as_it_is() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    let (_, token) = access.log_in("ada@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    let (_, secret) = access.create_api_key(Manager::Command("test"), &key(&made)).await.unwrap();
    let client = test.superuser().await;
    for (table, hidden) in [("users", PASSWORD), ("sessions", token.reveal()), ("api_keys", secret.reveal())] {
        let row = client.query_one(&format!("select string_agg(t::text, ' ') from control.{table} t"), &[]).await.unwrap();
        let text: String = row.get(0);
        assert!(!text.is_empty() && !text.contains(hidden), "{table}");
    }
}

#[tokio::test]
async fn a_user_must_fit_the_role() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let wrong = [
        NewUser { msp_id: None, ..user("a@b", Role::MspAdmin, &made) },
        NewUser { customer_id: None, ..user("a@b", Role::CustomerViewer, &made) },
        NewUser { msp_id: Some(made.north.id), ..user("a@b", Role::OperatorAdmin, &made) },
        NewUser { customer_id: Some(made.acme.id), ..user("a@b", Role::MspFinance, &made) },
        // Whoever asks for a confined administrator would get one that sees everything.
        NewUser { granted: Some(vec![made.acme.id]), ..user("a@b", Role::MspAdmin, &made) },
        NewUser { granted: Some(vec![made.acme.id]), ..user("a@b", Role::MspFinance, &made) },
        NewUser { granted: Some(vec![made.acme.id]), ..user("a@b", Role::CustomerViewer, &made) },
        NewUser { password: Secret::new("short"), ..user("a@b", Role::MspAdmin, &made) },
        NewUser { email: "nobody".to_owned(), ..user("a@b", Role::MspAdmin, &made) },
    ];
    for user in &wrong {
        assert_eq!(access.create_user(user).await.unwrap_err().kind(), ErrorKind::Invalid, "{user:?}");
    }
    access.create_user(&user("a@b", Role::MspAdmin, &made)).await.unwrap();
    let error = access.create_user(&user("A@B", Role::MspAdmin, &made)).await.unwrap_err();
    assert!(matches!(error, AccessError::EmailTaken(_)), "{error}");
}

#[tokio::test]
async fn another_tenants_customer_is_not_found() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("admin@north", Role::MspAdmin, &made)).await.unwrap();
    access.create_user(&user("viewer@acme", Role::CustomerViewer, &made)).await.unwrap();
    let some = NewUser { granted: Some(vec![made.acme.id]), ..user("ops@north", Role::MspOperator, &made) };
    access.create_user(&some).await.unwrap();
    let south = NewUser { msp_id: Some(made.south.id), ..user("admin@south", Role::MspAdmin, &made) };
    access.create_user(&south).await.unwrap();

    for (email, acme, globex) in [
        ("admin@north", Some(made.acme.id), true),
        ("viewer@acme", Some(made.acme.id), false),
        ("ops@north", Some(made.acme.id), false),
        ("admin@south", Some(made.south_acme.id), false),
    ] {
        let principal = access.log_in(email, &Secret::new(PASSWORD), &Client::default()).await.unwrap().0.principal;
        let found = access.tenant_scope(&principal, &code("ACME")).await.unwrap();
        assert_eq!(Some(found.customer.id), acme, "{email}");
        let other = access.tenant_scope(&principal, &code("GLOBEX")).await;
        assert_eq!(other.is_ok(), globex, "{email}");
        let nobody = access.tenant_scope(&principal, &code("NOSUCH")).await.unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::NotFound);
        if let Err(error) = other {
            assert_eq!((error.kind(), error.code()), (nobody.kind(), nobody.code()), "{email} learns nothing from the difference");
        }
    }
}

#[tokio::test]
async fn the_operator_has_no_grant_without_a_reason() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("olga@granary", Role::OperatorAdmin, &made)).await.unwrap();
    let principal = access.log_in("olga@granary", &Secret::new(PASSWORD), &Client::default()).await.unwrap().0.principal;
    assert_eq!(principal.read_grant().unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(access.tenant_scope(&principal, &code("ACME")).await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_for_its_customer() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let (made_key, secret) = access.create_api_key(Manager::Command("test"), &key(&made)).await.unwrap();
    let principal = access.key(secret.reveal()).await.unwrap();
    assert!(principal.may(Permission::UsageWrite) && !principal.may(Permission::UsageRead) && !principal.may(Permission::Sql));
    assert_eq!(access.own_scope(&principal).await.unwrap().customer.id, made.acme.id);
    assert!(access.tenant_scope(&principal, &code("GLOBEX")).await.is_err());
    assert!(principal.read_grant().unwrap().role.is_customer());

    let at = Place { msp: Some(made.north.id), customer: Some(made.acme.id) };
    access.revoke_api_key(Manager::Command("test"), at, made_key.id, "a test").await.unwrap();
    assert_eq!(access.key(secret.reveal()).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert_eq!(access.key("grn_live_nonsense").await.unwrap_err().kind(), ErrorKind::Unauthenticated);

    let soon = test.clock().now().checked_add(1.hour()).unwrap();
    let (_, brief) = access.create_api_key(Manager::Command("test"), &NewApiKey { expires_at: Some(soon), ..key(&made) }).await.unwrap();
    access.key(brief.reveal()).await.unwrap();
    test.clock().set(soon);
    assert!(access.key(brief.reveal()).await.is_err(), "it has expired");

    let ownerless = NewApiKey { customer_id: None, ..key(&made) };
    assert!(access.create_api_key(Manager::Command("test"), &ownerless).await.is_err(), "events need a customer");
}

#[tokio::test]
async fn a_closed_customers_people_and_programs_stay_thirty_days_and_its_facts_for_ever() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("viewer@acme.example", Role::CustomerViewer, &made)).await.unwrap();
    let scopes = vec![ApiKeyScope::UsageWrite, ApiKeyScope::ReportsRead];
    let (_, secret) = access.create_api_key(Manager::Command("test"), &NewApiKey { scopes, ..key(&made) }).await.unwrap();
    let suspend_at = test.clock().now();
    test.tenants().set_status(made.acme.id, CustomerStatus::Suspended, Some("unpaid"), suspend_at).await.unwrap();
    test.clock().set(suspend_at.checked_add((60 * 24).hours()).unwrap());
    access.log_in("viewer@acme.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    test.clock().set(suspend_at);
    test.tenants().set_status(made.acme.id, CustomerStatus::Closed, Some("left"), suspend_at).await.unwrap();
    test.clock().set(suspend_at.checked_add((30 * 24 - 1).hours()).unwrap());
    let (_, token) = access.log_in("viewer@acme.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    assert!(access.session(token.reveal()).await.unwrap().is_some());
    assert_eq!(access.key(secret.reveal()).await.unwrap().permissions.len(), 3);

    test.clock().set(suspend_at.checked_add((30 * 24).hours()).unwrap());
    assert!(access.session(token.reveal()).await.unwrap().is_none());
    let refused = access.log_in("viewer@acme.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap_err();
    assert_eq!(refused.code(), "wrong_password");
    let principal = access.key(secret.reveal()).await.unwrap();
    assert!(principal.may(Permission::UsageWrite) && !principal.may(Permission::UsageRead));
}

#[tokio::test]
async fn a_person_is_found_and_forgotten_by_its_own_msp_only() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("Wendy@acme.example", Role::CustomerAdmin, &made)).await.unwrap();
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    let (_, token) = access.log_in("wendy@acme.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap();
    assert_eq!(access.find_person(made.south.id, "wendy@acme.example").await.unwrap(), None);
    let wendy = access.find_person(made.north.id, " WENDY@acme.example").await.unwrap().unwrap();
    assert_eq!((wendy.email.as_str(), wendy.customer_id, wendy.sessions), ("Wendy@acme.example", Some(made.acme.id), 1));
    assert_eq!(access.list_users_of(made.acme.id).await.unwrap(), std::slice::from_ref(&wendy));

    for _ in 0..2 {
        access.forget_person(made.north.id, &wendy, "cli", "her letter").await.unwrap();
    }
    assert_eq!(access.find_person(made.north.id, "wendy@acme.example").await.unwrap(), None);
    assert!(access.session(token.reveal()).await.unwrap().is_none());
    assert!(access.find_person(made.north.id, "ada@north.example").await.unwrap().is_some());
    let superuser = test.superuser().await;
    let audited = superuser.query("select detail::text, reason from control.audit_log where action = 'user.forget'", &[]).await.unwrap();
    assert_eq!(audited.len(), 1);
    assert!(!audited[0].get::<_, &str>(0).contains("wendy"));
}

#[tokio::test]
async fn a_customer_is_shown_who_of_its_msp_opened_its_data() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    access.create_user(&user("ada@north.example", Role::MspAdmin, &made)).await.unwrap();
    access.create_user(&user("wile@acme.example", Role::CustomerAdmin, &made)).await.unwrap();
    let ada = access.log_in("ada@north.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap().0.principal;
    let wile = access.log_in("wile@acme.example", &Secret::new(PASSWORD), &Client::default()).await.unwrap().0.principal;
    for _ in 0..3 {
        access.note_opening(&ada, made.acme.id).await.unwrap();
        access.note_opening(&wile, made.acme.id).await.unwrap();
    }
    test.clock().set(test.clock().now().checked_add(61.minutes()).unwrap());
    access.note_opening(&ada, made.acme.id).await.unwrap();
    let openings = access.list_openings(made.acme.id).await.unwrap();
    assert_eq!(openings.len(), 2, "once an hour, and its own people are at home: {openings:?}");
    assert_eq!((openings[0].who.as_deref(), openings[0].role), (Some("Somebody"), Some(Role::MspAdmin)));
    assert!(access.list_openings(made.globex.id).await.unwrap().is_empty());
    for command in ["granary query", "granary query", "granary events"] {
        access.note_command(&[made.acme.id, made.globex.id], command).await.unwrap();
    }
    let openings = access.list_openings(made.acme.id).await.unwrap();
    let commands: Vec<_> = openings.iter().filter_map(|opening| Some((opening.role?, opening.reason.as_deref()?))).collect();
    assert_eq!(commands, [(Role::OperatorAdmin, "granary events"), (Role::OperatorAdmin, "granary query")], "once an hour each");
    assert_eq!(access.list_openings(made.globex.id).await.unwrap().len(), 2);
}
