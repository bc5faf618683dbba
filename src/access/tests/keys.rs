//! Keys for programs: who makes which, how one follows another, and what does not get in.

use granary_types::ApiKeyId;
use jiff::SignedDuration;

use super::*;
use crate::{Principal, token};

const COMMAND: Manager<'static> = Manager::Command("test");

async fn principal(access: &Access, user: NewUser) -> Principal {
    access.create_user(&user).await.unwrap();
    access.log_in(&user.email, &Secret::new(PASSWORD), &Client::default()).await.unwrap().0.principal
}

fn at_acme(made: &TwoCustomers) -> Place {
    Place { msp: Some(made.north.id), customer: Some(made.acme.id) }
}

#[tokio::test]
async fn nobody_gives_a_program_more_than_they_hold() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let admin = principal(&access, user("admin@north.example", Role::MspAdmin, &made)).await;
    let wile = principal(&access, user("wile@acme.example", Role::CustomerAdmin, &made)).await;
    let viewer = principal(&access, user("viewer@acme.example", Role::CustomerViewer, &made)).await;
    let finance = principal(&access, user("finance@north.example", Role::MspFinance, &made)).await;
    let southern = NewUser { msp_id: Some(made.south.id), ..user("admin@south.example", Role::MspAdmin, &made) };
    let south = principal(&access, southern).await;
    let of_msp = |scope| NewApiKey { customer_id: None, scopes: vec![scope], ..key(&made) };
    let of = |customer, scope| NewApiKey { customer_id: Some(customer), scopes: vec![scope], ..key(&made) };
    use ApiKeyScope::{BillingRead, CustomersWrite, ReportsRead, Sql, UsageWrite};
    let (acme, globex) = (made.acme.id, made.globex.id);
    let table = [
        ("the MSP's administrator, any scope of a customer", &admin, of(acme, Sql), true),
        ("the MSP's administrator, for sending events", &admin, of(globex, UsageWrite), true),
        ("the MSP's administrator, any scope of the MSP", &admin, of_msp(BillingRead), true),
        ("a customer's administrator, for sending events", &wile, of(acme, UsageWrite), true),
        ("a customer's administrator, its reports", &wile, of(acme, ReportsRead), true),
        ("a customer's administrator, its invoices", &wile, of(acme, BillingRead), true),
        ("a customer's administrator, the warehouse", &wile, of(acme, Sql), false),
        ("a customer's administrator, another customer", &wile, of(globex, ReportsRead), false),
        ("a customer's administrator, the MSP", &wile, of_msp(ReportsRead), false),
        ("a customer's reader", &viewer, of(acme, ReportsRead), false),
        ("the MSP's finance", &finance, of_msp(BillingRead), false),
        ("another MSP's administrator", &south, of(acme, ReportsRead), false),
        ("a customer that manages itself", &admin, of(acme, CustomersWrite), false),
        ("events without a customer", &admin, of_msp(UsageWrite), false),
        ("no scope", &admin, NewApiKey { scopes: vec![], ..key(&made) }, false),
        ("a scope twice", &admin, NewApiKey { scopes: vec![Sql, Sql], ..key(&made) }, false),
        ("no name", &admin, NewApiKey { name: " ".to_owned(), ..key(&made) }, false),
        ("an end that has passed", &admin, NewApiKey { expires_at: Some(test.clock().now()), ..key(&made) }, false),
        ("no request a minute", &admin, NewApiKey { requests_per_minute: Some(0), ..key(&made) }, false),
    ];
    for (words, manager, wanted, may) in &table {
        let answer = access.create_api_key(Manager::Principal(manager), wanted).await;
        let said = answer.as_ref().map_or_else(ToString::to_string, |_| "made".to_owned());
        println!("{words:<55} {said}");
        assert_eq!(answer.is_ok(), *may, "{words}: {said}");
    }
    // A key is nobody who makes keys.
    let (_, secret) = access.create_api_key(COMMAND, &of_msp(CustomersWrite)).await.unwrap();
    let program = access.key(secret.reveal()).await.unwrap();
    let refused = access.create_api_key(Manager::Principal(&program), &of(acme, ReportsRead)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    // What belongs to the MSP is not in a customer's key, whoever made it.
    let (_, secret) = access.create_api_key(COMMAND, &of(acme, BillingRead)).await.unwrap();
    assert_eq!(access.key(secret.reveal()).await.unwrap().permissions, [Permission::InvoiceRead]);
}

#[tokio::test]
async fn a_key_is_followed_by_another_and_both_are_good_for_a_while() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let at = at_acme(&made);
    let now = test.clock().now();
    let wanted = NewApiKey { expires_at: Some(now.checked_add((90 * 24).hours()).unwrap()), ..key(&made) };
    let (old, old_secret) = access.create_api_key(COMMAND, &wanted).await.unwrap();
    test.clock().set(now.checked_add((60 * 24).hours()).unwrap());
    let overlap = SignedDuration::from_hours(2);
    let (new, new_secret) = access.rotate_api_key(COMMAND, at, old.id, overlap, "the quarter is over").await.unwrap();
    assert_eq!((&new.scopes, &new.name), (&old.scopes, &old.name));
    assert_eq!(new.expires_at.unwrap().duration_since(new.created_at), SignedDuration::from_hours(90 * 24), "as long a life");
    access.key(old_secret.reveal()).await.unwrap();
    access.key(new_secret.reveal()).await.unwrap();
    let again = access.rotate_api_key(COMMAND, at, old.id, overlap, "again").await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict, "one key has one successor");

    test.clock().set(test.clock().now().checked_add(2.hours()).unwrap());
    assert!(access.key(old_secret.reveal()).await.is_err(), "the overlap is over");
    access.key(new_secret.reveal()).await.unwrap();
    let listed = access.list_api_keys(at).await.unwrap();
    let states: Vec<_> = listed.iter().map(|key| (key.id, key.state(test.clock().now()))).collect();
    assert_eq!(states, [(new.id, "active"), (old.id, "expired")]);
    assert!(access.list_api_keys(Place { customer: None, ..at }).await.unwrap().is_empty(), "those are the MSP's own");
    let elsewhere = Place { customer: Some(made.globex.id), ..at };
    let error = access.rotate_api_key(COMMAND, elsewhere, new.id, overlap, "not mine").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(access.revoke_api_key(COMMAND, elsewhere, new.id, "not mine").await.unwrap_err().kind(), ErrorKind::NotFound);

    let sql = "select action from control.audit_log where subject like 'api_key:%' order by 1";
    let actions = test.superuser().await.query(sql, &[]).await.unwrap();
    let actions: Vec<String> = actions.iter().map(|row| row.get(0)).collect();
    assert_eq!(actions, ["api_key.create", "api_key.rotate"]);
}

#[tokio::test]
async fn the_last_use_is_written_once_a_minute() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let (made_key, secret) = access.create_api_key(COMMAND, &key(&made)).await.unwrap();
    let superuser = test.superuser().await;
    let version = async || -> String {
        superuser.query_one("select xmin::text from control.api_keys where id = $1", &[&made_key.id.uuid()]).await.unwrap().get(0)
    };
    let unused = version().await;
    access.key(secret.reveal()).await.unwrap();
    let used = version().await;
    assert_ne!(unused, used);
    for _ in 0..5 {
        access.key(secret.reveal()).await.unwrap();
    }
    assert_eq!(version().await, used, "a request writes nothing");
    test.clock().set(test.clock().now().checked_add(61.seconds()).unwrap());
    access.key(secret.reveal()).await.unwrap();
    assert_ne!(version().await, used);
    assert_eq!(access.list_api_keys(at_acme(&made)).await.unwrap()[0].last_used_at, Some(test.clock().now()));
}

#[tokio::test]
async fn a_key_for_sql_leaves_what_proves_it_and_others_leave_nothing() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let sql = NewApiKey { scopes: vec![ApiKeyScope::Sql], ..key(&made) };
    let (with, secret) = access.create_api_key(COMMAND, &sql).await.unwrap();
    let (without, _) = access.create_api_key(COMMAND, &key(&made)).await.unwrap();
    let superuser = test.superuser().await;
    let verifier = async |id: ApiKeyId| -> Option<String> {
        superuser.query_one("select scram_verifier from control.api_keys where id = $1", &[&id.uuid()]).await.unwrap().get(0)
    };
    assert_eq!(verifier(without.id).await, None);
    let verifier = verifier(with.id).await.unwrap();
    assert!(!verifier.contains(secret.reveal()));
    // A foreign server takes it for a verifier and not for a password, which it would hash.
    let role = format!("scram_{}", with.id.uuid().simple());
    superuser.batch_execute(&format!("create role {role} login password '{verifier}'")).await.unwrap();
    let row = superuser.query_one("select rolpassword from pg_authid where rolname = $1", &[&role]).await.unwrap();
    superuser.batch_execute(&format!("drop role {role}")).await.unwrap();
    assert_eq!(row.get::<_, String>(0), verifier);
}

#[tokio::test]
async fn what_is_no_live_key_does_not_get_in() {
    let test = TestDatabase::new().await;
    let made = test.two_customers().await;
    let access = Access::new(test.tenants().clone());
    let at = at_acme(&made);
    let make = async || access.create_api_key(COMMAND, &key(&made)).await.unwrap();
    let (_, live) = make().await;
    let (revoked, revoked_secret) = make().await;
    access.revoke_api_key(COMMAND, at, revoked.id, "lost").await.unwrap();
    let (replaced, replaced_secret) = make().await;
    access.rotate_api_key(COMMAND, at, replaced.id, SignedDuration::ZERO, "at once").await.unwrap();
    let soon = test.clock().now().checked_add(1.minute()).unwrap();
    let (_, brief) = access.create_api_key(COMMAND, &NewApiKey { expires_at: Some(soon), ..key(&made) }).await.unwrap();
    test.clock().set(soon);
    let text = live.reveal();
    let hash = hex::encode(token::hash(text));
    let flipped = format!("{}{}", &text[..20], text[20..].chars().rev().collect::<String>());
    let attacks = [
        ("revoked", revoked_secret.reveal().to_owned()),
        ("expired to the second", brief.reveal().to_owned()),
        ("replaced without an overlap", replaced_secret.reveal().to_owned()),
        ("well formed, never made", token::random_key().reveal().to_owned()),
        ("characters exchanged", flipped),
        ("last character cut off", text[..text.len() - 1].to_owned()),
        ("a character more", format!("{text}0")),
        ("its shown beginning", token::shown(text).to_owned()),
        ("the stored hash", hash),
        ("small letters", text.to_lowercase()),
        ("capitals", text.to_uppercase()),
        ("another kind", text.replace("live", "test")),
        ("a blank before it", format!(" {text}")),
        ("a byte of nothing in it", format!("{}\0{}", &text[..30], &text[30..])),
        ("a joker", format!("{}%", &text[..44])),
        ("SQL", "' or '1'='1' --".to_owned()),
        ("letters of another alphabet", format!("grn_live_{}", "а".repeat(18))),
        ("nothing", String::new()),
        ("a megabyte", "grn_live_".to_owned() + &"0".repeat(1 << 20)),
        ("twice", format!("{text}{text}")),
    ];
    access.key(text).await.unwrap();
    for (words, attack) in &attacks {
        let refused = access.key(attack).await.map(drop).unwrap_err();
        println!("{words:<32} {refused}");
        assert_eq!((refused.kind(), refused.code()), (ErrorKind::Unauthenticated, "api_key_invalid"), "{words}");
        assert!(!refused.to_string().contains("grn_"), "{words}");
    }
    println!("{} attacks, all refused", attacks.len());
}
