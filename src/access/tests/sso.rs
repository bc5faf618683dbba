//! People who come in through an identity provider, and everybody who tries to pass for one of them.

mod attacks;
mod provider;

use std::time::Duration;

use granary_foundation::Outbound;
use granary_foundation::config::OutboundConfig;
use granary_types::UserId;
use provider::{CLIENT, Idp, SECRET};
use serde_json::{Value, json};

use super::*;
use crate::{Principal, Session, SsoSettings};

fn access(test: &TestDatabase) -> Access {
    let allow = vec!["127.0.0.1/32".parse().unwrap()];
    let outbound = Outbound::new(&OutboundConfig { allow, ..OutboundConfig::default() }).with_timeout(Duration::from_millis(400));
    Access::new(test.tenants().clone()).with_outbound(outbound).with_home("https://granary.example/")
}

fn settings(idp: &Idp, groups: &[(&str, Role)], domains: &[&str]) -> SsoSettings {
    SsoSettings {
        issuer: idp.issuer.clone(),
        client_id: CLIENT.to_owned(),
        client_secret: Some(Secret::new(SECRET)),
        groups_claim: "groups".to_owned(),
        groups: groups.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect(),
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        trusts_email: false,
        is_on: true,
        is_forced: false,
    }
}

const MSP_GROUPS: [(&str, Role); 3] = [("Admins", Role::MspAdmin), ("Desk", Role::MspOperator), ("Analysts", Role::MspAnalyst)];
const CUSTOMER_GROUPS: [(&str, Role); 2] = [("Owners", Role::CustomerAdmin), ("Readers", Role::CustomerViewer)];

const fn north(made: &TwoCustomers) -> Place {
    Place { msp: Some(made.north.id), customer: None }
}

const fn acme(made: &TwoCustomers) -> Place {
    Place { msp: Some(made.north.id), customer: Some(made.acme.id) }
}

fn claims(subject: &str, email: &str, groups: &[&str]) -> Value {
    json!({"sub": subject, "email": email, "email_verified": true, "name": "Ada North", "groups": groups})
}

/// Comes in honestly as whoever the provider says.
async fn come_in(access: &Access, idp: &Idp, place: uuid::Uuid, email: &str) -> Result<(Session, Secret, String), AccessError> {
    let departure = access.depart(email, "/customers", &Client::default()).await?.expect("somebody speaks for the domain");
    access.arrive(place, &idp.authorise(&departure), departure.browser.reveal(), &Client::default()).await
}

struct House {
    test: TestDatabase,
    made: TwoCustomers,
    idp: Idp,
}

impl House {
    /// NORTH's provider, which speaks for north.example.
    async fn open() -> Self {
        let test = TestDatabase::new().await;
        let made = test.two_customers().await;
        let idp = Idp::start(test.clock().clone()).await;
        let wanted = settings(&idp, &MSP_GROUPS, &["north.example"]);
        access(&test).set_sso(Manager::Command("test"), north(&made), &wanted).await.unwrap();
        Self { test, made, idp }
    }

    fn north(&self) -> uuid::Uuid {
        self.made.north.id.uuid()
    }

    async fn count(&self, sql: &str) -> i64 {
        self.test.superuser().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Users, identities and sessions.
    async fn traces(&self) -> i64 {
        let all = "select (select count(*) from control.users) + (select count(*) from control.user_identities)
            + (select count(*) from control.sessions)";
        self.count(all).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_honest_come_in_however_their_provider_writes() {
    let house = House::open().await;
    let rows: [(&'static str, Value); 6] = [
        ("", json!({})),
        ("several audiences and our party", json!({})),
        ("the secret in the form", json!({})),
        ("told by userinfo", json!({})),
        ("", json!({"email_verified": "true"})),
        ("", json!({"email": "ADA-5@North.Example"})),
    ];
    for (number, (lie, different)) in rows.into_iter().enumerate() {
        let mut about = claims(&format!("ada-{number}"), &format!("ada-{number}@north.example"), &["Desk"]);
        about.as_object_mut().unwrap().extend(different.as_object().unwrap().clone());
        house.idp.lie(lie, about);
        let (session, token, next) = come_in(&access(&house.test), &house.idp, house.north(), "ada@north.example").await.unwrap();
        assert_eq!(
            (session.principal.role(), session.principal.msp(), next.as_str()),
            (Role::MspOperator, Some(house.made.north.id), "/customers")
        );
        assert!(access(&house.test).session(token.reveal()).await.unwrap().is_some());
    }
    assert_eq!(house.count("select count(*) from control.users").await, 6);
    let audited = "select count(*) from control.audit_log where action = 'user.sso_create'";
    assert_eq!(house.count(audited).await, 6);
    // No secret of theirs lies anywhere.
    let (state, sealed) = (
        "select count(*) from control.sso_logins where next = ''",
        "select count(*) from control.identity_providers where position($1 in sealed) > 0",
    );
    assert_eq!(house.count(state).await, 0);
    let found: i64 = house.test.superuser().await.query_one(sealed, &[&SECRET.as_bytes()]).await.unwrap().get(0);
    assert_eq!(found, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_changes_its_keys_and_nobody_makes_us_ask_without_end() {
    let house = House::open().await;
    let access = access(&house.test);
    house.idp.lie("", claims("ada", "ada@north.example", &["Desk"]));
    come_in(&access, &house.idp, house.north(), "ada@north.example").await.unwrap();
    assert_eq!(house.idp.keys_asked(), 1);
    house.idp.sign_by("ec", &["rsa", "ec"]);
    assert!(come_in(&access, &house.idp, house.north(), "ada@north.example").await.is_err(), "asked a moment ago");
    house.test.clock().set(house.test.clock().now().checked_add(61.seconds()).unwrap());
    come_in(&access, &house.idp, house.north(), "ada@north.example").await.unwrap();
    assert_eq!(house.idp.keys_asked(), 2);
    house.idp.lie("unknown kid", claims("ada", "ada@north.example", &["Desk"]));
    for _ in 0..5 {
        assert!(come_in(&access, &house.idp, house.north(), "ada@north.example").await.is_err());
    }
    house.test.clock().set(house.test.clock().now().checked_add(61.seconds()).unwrap());
    for _ in 0..5 {
        assert!(come_in(&access, &house.idp, house.north(), "ada@north.example").await.is_err());
    }
    assert_eq!(house.idp.keys_asked(), 3, "once a minute");
    // A key that is published no more signs nothing once the others were looked at again.
    house.idp.sign_by("rsa", &["ec"]);
    house.idp.lie("", claims("ada", "ada@north.example", &["Desk"]));
    house.test.clock().set(house.test.clock().now().checked_add(61.minutes()).unwrap());
    assert!(come_in(&access, &house.idp, house.north(), "ada@north.example").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_who_one_was_whatever_the_address_and_the_groups_decide_each_time() {
    let house = House::open().await;
    let access = access(&house.test);
    access.create_user(&user("ada@north.example", Role::MspAdmin, &house.made)).await.unwrap();
    let enter = |about: Value| {
        house.idp.lie("", about);
        come_in(&access, &house.idp, house.north(), "ada@north.example")
    };
    let (first, _, _) = enter(claims("ada", "Ada@north.example", &["Analysts"])).await.unwrap();
    let ada = first.principal.user().unwrap();
    assert_eq!(house.count("select count(*) from control.users").await, 1, "linked to the one who was there");
    assert_eq!(first.principal.role(), Role::MspAnalyst, "the groups decide");
    let (again, token, _) = enter(claims("ada", "renamed@elsewhere.example", &["Desk", "Analysts"])).await.unwrap();
    assert_eq!((again.principal.user(), again.principal.role()), (Some(ada), Role::MspOperator));
    // Somebody else gets the address that she had.
    let error = enter(claims("another", "ada@north.example", &["Admins"])).await.unwrap_err();
    assert_eq!(error.code(), "sso_refused");
    let roles = "select count(*) from control.audit_log where action = 'user.sso_role'";
    assert_eq!(house.count(roles).await, 2);

    // Whoever has no group any more is out at once.
    let error = enter(claims("ada", "ada@north.example", &[])).await.unwrap_err();
    assert!(error.to_string().contains("none of your groups"), "{error}");
    assert!(access.session(token.reveal()).await.unwrap().is_none());
    // And whoever was stopped stays out, with whatever groups.
    access.disable_user(Manager::Command("test"), north(&house.made), ada, "left").await.unwrap();
    assert_eq!(enter(claims("ada", "ada@north.example", &["Admins"])).await.unwrap_err().code(), "sso_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_to_whom_somebody_is_confined_stay_with_the_role() {
    let house = House::open().await;
    let access = access(&house.test);
    let confined = NewUser { granted: Some(vec![house.made.acme.id]), ..user("ada@north.example", Role::MspAnalyst, &house.made) };
    access.create_user(&confined).await.unwrap();
    for (groups, role, sees_globex) in
        [("Analysts", Role::MspAnalyst, false), ("Desk", Role::MspOperator, false), ("Admins", Role::MspAdmin, true)]
    {
        house.idp.lie("", claims("ada", "ada@north.example", &[groups]));
        let principal = come_in(&access, &house.idp, house.north(), "ada@north.example").await.unwrap().0.principal;
        assert_eq!((principal.role(), principal.sees(house.made.globex.id)), (role, sees_globex));
    }
}

async fn principal(access: &Access, user: NewUser) -> Principal {
    access.create_user(&user).await.unwrap();
    access.log_in(&user.email, &Secret::new(PASSWORD), &Client::default()).await.unwrap().0.principal
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_counts_in_its_own_place_only() {
    let house = House::open().await;
    let (access, made) = (access(&house.test), &house.made);
    for (email, role, customer) in
        [("ada@north.example", Role::MspAdmin, None), ("wile@acme.example", Role::CustomerAdmin, Some(made.acme.id))]
    {
        access.create_user(&NewUser { customer_id: customer, ..user(email, role, made) }).await.unwrap();
    }
    let south = NewUser { msp_id: Some(made.south.id), ..user("sam@south.example", Role::MspAdmin, made) };
    let sam = principal(&access, south).await;
    // The other MSP's provider, and the customer's, each say that they are about Ada; they speak for domains of their own.
    let (theirs, customers) = (Idp::start(house.test.clock().clone()).await, Idp::start(house.test.clock().clone()).await);
    let at_south = Place { msp: Some(made.south.id), customer: None };
    access.set_sso(Manager::Principal(&sam), at_south, &settings(&theirs, &MSP_GROUPS, &["south.example"])).await.unwrap();
    access.set_sso(Manager::Command("test"), acme(made), &settings(&customers, &CUSTOMER_GROUPS, &["acme.example"])).await.unwrap();
    for (idp, place, through) in [(&theirs, made.south.id.uuid(), "x@south.example"), (&customers, made.acme.id.uuid(), "x@acme.example")] {
        for email in ["ada@north.example", "wile@acme.example", "sam@south.example"].iter().filter(|email| domain(email) != domain(through))
        {
            idp.lie("", claims("mallory", email, &["Admins", "Owners"]));
            let error = come_in(&access, idp, place, through).await.unwrap_err();
            assert_eq!(error.code(), "sso_refused", "{email} through {through}");
            // Nor does an answer of theirs pass for one of NORTH's.
            let departure = access.depart(through, "/", &Client::default()).await.unwrap().unwrap();
            let arrival = idp.authorise(&departure);
            assert!(access.arrive(house.north(), &arrival, departure.browser.reveal(), &Client::default()).await.is_err());
        }
    }
    // A role of the MSP that somebody wrote into the table of a customer's provider is none.
    let superuser = house.test.superuser().await;
    superuser.batch_execute("update control.identity_provider_groups set role = 'msp_admin' where group_name = 'Owners'").await.unwrap();
    customers.lie("", claims("wile", "wile@acme.example", &["Owners"]));
    assert!(come_in(&access, &customers, made.acme.id.uuid(), "wile@acme.example").await.is_err());
    // The same subject of the same issuer at two places is two people.
    customers.lie("", claims("wile", "wile@acme.example", &["Readers"]));
    let wile = come_in(&access, &customers, made.acme.id.uuid(), "wile@acme.example").await.unwrap().0.principal;
    assert_eq!((wile.role(), wile.only_customer()), (Role::CustomerViewer, Some(made.acme.id)));
    assert!(access.tenant_scope(&wile, &code("GLOBEX")).await.is_err());
}

fn domain(email: &str) -> &str {
    email.split_once('@').unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sets_up_more_than_they_may_give() {
    let house = House::open().await;
    let (access, made) = (access(&house.test), &house.made);
    let ada = principal(&access, user("ada@north.example", Role::MspAdmin, made)).await;
    let wile = principal(&access, user("wile@acme.example", Role::CustomerAdmin, made)).await;
    let globex = NewUser { customer_id: Some(made.globex.id), ..user("gwen@globex.example", Role::CustomerAdmin, made) };
    let gwen = principal(&access, globex).await;
    let finance = principal(&access, user("finn@north.example", Role::MspFinance, made)).await;
    let sam = principal(&access, NewUser { msp_id: Some(made.south.id), ..user("sam@south.example", Role::MspAdmin, made) }).await;
    let (msps, customers) = (settings(&house.idp, &MSP_GROUPS, &[]), settings(&house.idp, &CUSTOMER_GROUPS, &[]));
    let at_south = Place { msp: Some(made.south.id), customer: None };
    for (who, manager, at, wanted) in [
        ("a customer at the MSP", &wile, north(made), &msps),
        ("a customer, the MSP's roles", &wile, acme(made), &msps),
        ("another customer", &gwen, acme(made), &customers),
        ("finance", &finance, north(made), &msps),
        ("finance at a customer", &finance, acme(made), &customers),
        ("another MSP", &sam, north(made), &msps),
        ("another MSP at a customer", &sam, acme(made), &customers),
        ("an MSP at another", &ada, at_south, &msps),
        ("customers' roles at the MSP", &ada, north(made), &customers),
        ("the operator's role", &ada, north(made), &settings(&house.idp, &[("x", Role::OperatorAdmin)], &[])),
    ] {
        let manager = Manager::Principal(manager);
        assert!(access.set_sso(manager, at, wanted).await.is_err(), "{who}");
        if who != "a customer, the MSP's roles" && who != "customers' roles at the MSP" && who != "the operator's role" {
            assert!(access.remove_sso(manager, at, "because").await.is_err(), "{who}: removal");
        }
    }
    for (what, wanted) in [
        ("a domain of nobody here", settings(&house.idp, &CUSTOMER_GROUPS, &["south.example"])),
        ("a domain of everybody", settings(&house.idp, &CUSTOMER_GROUPS, &["gmail.com"])),
        ("a domain that is taken", settings(&house.idp, &CUSTOMER_GROUPS, &["north.example"])),
        ("no domain", settings(&house.idp, &CUSTOMER_GROUPS, &["localhost"])),
        ("no secret", SsoSettings { client_secret: None, ..customers.clone() }),
        ("an issuer inside", SsoSettings { issuer: "https://10.0.0.1".to_owned(), ..customers.clone() }),
        ("an issuer in the clear", SsoSettings { issuer: "http://login.example".to_owned(), ..customers.clone() }),
        ("force without a domain", SsoSettings { is_forced: true, ..customers.clone() }),
        (
            "force while it is off",
            SsoSettings { is_forced: true, is_on: false, ..settings(&house.idp, &CUSTOMER_GROUPS, &["acme.example"]) },
        ),
    ] {
        let error = access.set_sso(Manager::Principal(&wile), acme(made), &wanted).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error}");
    }
    assert_eq!(access.list_sso(made.north.id).await.unwrap().len(), 1, "nothing of that is there");
    let own =
        access.set_sso(Manager::Principal(&wile), acme(made), &settings(&house.idp, &CUSTOMER_GROUPS, &["ACME.example"])).await.unwrap();
    assert_eq!((own.customer_id, own.domains.as_slice()), (Some(made.acme.id), &["acme.example".to_owned()][..]));
    // The secret that is kept goes to no other issuer.
    let kept = SsoSettings { client_secret: None, ..settings(&house.idp, &CUSTOMER_GROUPS, &["acme.example"]) };
    access.set_sso(Manager::Principal(&ada), acme(made), &kept).await.unwrap();
    let moved = SsoSettings { issuer: "https://evil.example".to_owned(), ..kept };
    assert_eq!(access.set_sso(Manager::Principal(&wile), acme(made), &moved).await.unwrap_err().code(), "sso_invalid");
    access.remove_sso(Manager::Principal(&wile), acme(made), "a test").await.unwrap();
    assert_eq!(access.remove_sso(Manager::Principal(&wile), acme(made), "a test").await.unwrap_err().code(), "sso_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn forced_refuses_every_password_but_the_one_behind_glass() {
    let house = House::open().await;
    let (access, made) = (access(&house.test), &house.made);
    let ada = principal(&access, user("ada@north.example", Role::MspAdmin, made)).await;
    principal(&access, user("bob@north.example", Role::MspOperator, made)).await;
    principal(&access, user("wile@acme.example", Role::CustomerAdmin, made)).await;
    let forced = SsoSettings { is_forced: true, ..settings(&house.idp, &MSP_GROUPS, &["north.example"]) };
    let now = access.set_sso(Manager::Principal(&ada), north(made), &forced).await.unwrap();
    assert_eq!((now.break_glass, now.break_glass_email.as_deref()), (ada.user(), Some("ada@north.example")));
    let log_in = |email: &'static str, password: &'static str| {
        let access = access.clone();
        async move { access.log_in(email, &Secret::new(password), &Client::default()).await.map(drop).map_err(|error| error.code()) }
    };
    assert_eq!(log_in("bob@north.example", PASSWORD).await, Err("sso_required"));
    assert_eq!(
        log_in("bob@north.example", "wrong").await,
        Err("wrong_password"),
        "only who knows the password learns that it is not taken"
    );
    assert_eq!(log_in("ada@north.example", PASSWORD).await, Ok(()));
    assert_eq!(log_in("wile@acme.example", PASSWORD).await, Ok(()), "a customer is another place");
    assert_eq!(house.count("select count(*) from control.audit_log where action = 'user.break_glass'").await, 1);
    // A letter opens nothing either, and the password stays as it was.
    let letter = super::letters::forgotten(&access, &house.test, "bob@north.example").await.unwrap();
    let token = super::letters::token_of(&letter).unwrap();
    let chosen = access.choose_password(&token, &Secret::new("another long password"), &Client::default()).await.unwrap_err();
    assert_eq!(chosen.code(), "sso_required");
    // Whoever comes by the provider keeps the role behind the glass.
    house.idp.lie("", claims("ada", "ada@north.example", &["Analysts"]));
    come_in(&access, &house.idp, house.north(), "ada@north.example").await.unwrap();
    come_in(&access, &house.idp, house.north(), "ada@north.example").await.unwrap();
    assert_eq!(role_of(&access, made, ada.user().unwrap()).await, Role::MspAdmin);
    // Whoever has no password of their own forces nothing.
    house.idp.lie("", claims("eve", "eve@north.example", &["Admins"]));
    let (eve, _, _) = come_in(&access, &house.idp, house.north(), "eve@north.example").await.unwrap();
    let unforced = SsoSettings { is_forced: false, ..forced.clone() };
    access.set_sso(Manager::Principal(&eve.principal), north(made), &unforced).await.unwrap();
    assert_eq!(log_in("bob@north.example", PASSWORD).await, Ok(()));
    assert_eq!(access.set_sso(Manager::Principal(&eve.principal), north(made), &forced).await.unwrap_err().code(), "login_state");
    // The operator's command leaves nobody a way in, and gives it back.
    access.set_sso(Manager::Command("test"), north(made), &forced).await.unwrap();
    assert_eq!(log_in("ada@north.example", PASSWORD).await, Err("sso_required"));
    access.remove_sso(Manager::Command("test"), north(made), "the provider is gone").await.unwrap();
    assert_eq!(log_in("ada@north.example", PASSWORD).await, Ok(()));
}

async fn role_of(access: &Access, made: &TwoCustomers, user: UserId) -> Role {
    access.list_people(north(made)).await.unwrap().into_iter().find(|person| person.id == user).unwrap().role
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_by_a_provider_needs_no_second_factor_here_and_ends_with_the_provider() {
    let house = House::open().await;
    let (access, made) = (access(&house.test), &house.made);
    let ada = principal(&access, user("ada@north.example", Role::MspAdmin, made)).await;
    access.require_factor(&ada, made.north.id, crate::Requirement::Required).await.unwrap();
    house.idp.lie("", claims("bob", "bob@north.example", &["Desk"]));
    let (session, token, _) = come_in(&access, &house.idp, house.north(), "bob@north.example").await.unwrap();
    assert!(!session.is_pending && !access.session(token.reveal()).await.unwrap().unwrap().must_enrol);
    let people = access.list_people(north(made)).await.unwrap();
    assert!(people.iter().all(|person| !person.is_invited), "who came in was invited by nobody");
    let off = SsoSettings { is_on: false, client_secret: None, ..settings(&house.idp, &MSP_GROUPS, &["north.example"]) };
    access.set_sso(Manager::Principal(&ada), north(made), &off).await.unwrap();
    assert!(access.session(token.reveal()).await.unwrap().is_none());
    assert!(access.depart("bob@north.example", "/", &Client::default()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_question_where_to_go_tells_nothing_of_users_and_is_not_asked_without_end() {
    let house = House::open().await;
    let access = access(&house.test);
    access.create_user(&user("ada@north.example", Role::MspAdmin, &house.made)).await.unwrap();
    let client = Client { address: Some("192.0.2.7".parse().unwrap()), device: None };
    for email in ["ada@north.example", "nobody@north.example", " X@NORTH.example"] {
        let departure = access.depart(email, "/", &client).await.unwrap().unwrap();
        assert!(departure.url.starts_with(&house.idp.issuer) && departure.host == "127.0.0.1", "{}", departure.url);
        let redirect = granary_foundation::Url::parse(&departure.url).unwrap();
        let (_, redirect) = redirect.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap();
        assert_eq!(redirect, format!("https://granary.example/login/sso/{}/callback", house.north()));
    }
    for email in ["ada@south.example", "ada@sub.north.example", "north.example", "", "@"] {
        assert!(access.depart(email, "/", &client).await.unwrap().is_none(), "{email}");
    }
    let mut answered = 8;
    while access.depart("", "/", &client).await.is_ok() {
        answered += 1;
    }
    assert_eq!(answered, 300);
    let elsewhere = Client { address: Some("192.0.2.8".parse().unwrap()), device: None };
    assert!(access.depart("ada@north.example", "/", &elsewhere).await.unwrap().is_some());
    let report = access.test_sso(north(&house.made)).await.unwrap();
    assert_eq!((report.keys, report.remarks.len()), (1, 0));
}
