//! Everybody who tries to pass for somebody of the provider: a table, and every row is denied.

use serde_json::{Value, json};

use super::*;
use crate::Arrival;

/// What the browser does on its way.
#[derive(Debug, Clone, Copy)]
enum Trick {
    None,
    AnotherBrowser,
    NoCookie,
    ForgedState,
    Twice,
    /// A code of somebody else's sign-in, with one's own state.
    StolenCode,
    /// The same code in a new sign-in.
    OldCode,
    TooLate,
    AnotherPlace,
    NoCode,
    TurnedOff,
}

/// The lie, the trick, and the claims that differ from an honest one's.
type Attack = (&'static str, Trick, Value);

const LIES: &[&str] = &[
    "expired",
    "never expires",
    "not yet valid",
    "issued tomorrow",
    "wrong audience",
    "no audience",
    "several audiences and no party",
    "several audiences and another party",
    "wrong party",
    "wrong nonce",
    "no nonce",
    "wrong issuer",
    "issuer with a slash",
    "nobody",
    "alg none",
    "alg none with a signature",
    "HS256 with the public key",
    "RS256 said of another key",
    "unknown kid",
    "its own key in the header",
    "an extension",
    "another's signature",
    "changed after signing",
    "no token",
    "another issuer came back",
    "no issuer came back",
    "the provider refused",
    "discovery names another issuer",
    "discovery sends tokens inside",
    "discovery sends tokens in the clear",
    "discovery finds keys inside",
    "discovery leads to a script",
    "another's userinfo",
    "slow discovery",
    "slow keys",
    "slow token",
    "slow userinfo",
    "huge discovery",
    "huge keys",
    "huge token",
    "huge userinfo",
    "redirected discovery",
    "redirected keys",
    "redirected token",
    "redirected userinfo",
    "broken discovery",
    "broken keys",
    "broken token",
    "broken userinfo",
    "garbled discovery",
    "garbled keys",
    "garbled token",
    "garbled userinfo",
];

const TRICKS: &[Trick] = &[
    Trick::AnotherBrowser,
    Trick::NoCookie,
    Trick::ForgedState,
    Trick::Twice,
    Trick::StolenCode,
    Trick::OldCode,
    Trick::TooLate,
    Trick::AnotherPlace,
    Trick::NoCode,
    Trick::TurnedOff,
];

/// Claims of whom nobody should let in.
fn about() -> Vec<Value> {
    vec![
        json!({"email_verified": false}),
        json!({"email_verified": null}),
        json!({"email_verified": "false"}),
        json!({"email": null}),
        json!({"email": "mallory@south.example"}),
        json!({"email": "mallory@sub.north.example"}),
        json!({"email": "mallory@north.example@evil.example"}),
        json!({"groups": []}),
        json!({"groups": ["Strangers"]}),
        json!({"groups": ["msp_admin", "operator_admin"]}),
        json!({"groups": ["admins"]}),
        json!({"groups": {"Desk": true}}),
        json!({"groups": null, "roles": ["Desk"]}),
        // Addresses that somebody has elsewhere: the operator, another MSP's, a customer's.
        json!({"email": "olga@north.example"}),
        json!({"email": "sam@north.example"}),
        json!({"email": "wile@north.example"}),
        // Stopped; and linked to somebody else of the provider.
        json!({"email": "gone@north.example"}),
        json!({"email": "bob@north.example"}),
    ]
}

fn attacks() -> Vec<Attack> {
    let lies = LIES.iter().map(|lie| (*lie, Trick::None, json!({})));
    let tricks = TRICKS.iter().map(|trick| ("", *trick, json!({})));
    lies.chain(tricks).chain(about().into_iter().map(|claims| ("", Trick::None, claims))).collect()
}

async fn attack(house: &House, (lie, trick, different): &Attack, number: usize) -> Result<(), AccessError> {
    let access = access(&house.test);
    let mut about = claims(&format!("mallory-{number}"), &format!("mallory-{number}@north.example"), &["Desk"]);
    about.as_object_mut().unwrap().extend(different.as_object().unwrap().clone());
    house.idp.lie(lie, about);
    let departure = access.depart("somebody@north.example", "/", &Client::default()).await?.expect("a provider");
    let mut arrival = house.idp.authorise(&departure);
    let (mut browser, mut place) = (departure.browser.reveal().to_owned(), house.north());
    let client = Client::default();
    match trick {
        Trick::None => {}
        Trick::AnotherBrowser => browser = "ab".repeat(32),
        Trick::NoCookie => browser = String::new(),
        Trick::ForgedState => arrival.state = "ab".repeat(32),
        Trick::Twice => drop(access.arrive(place, &arrival, &browser, &client).await?),
        Trick::StolenCode => {
            let victim = access.depart("victim@north.example", "/", &client).await?.expect("a provider");
            arrival.code = house.idp.authorise(&victim).code;
        }
        Trick::OldCode => {
            access.arrive(place, &arrival, &browser, &client).await?;
            let again = access.depart("somebody@north.example", "/", &client).await?.expect("a provider");
            arrival = Arrival { code: arrival.code, ..house.idp.authorise(&again) };
            browser = again.browser.reveal().to_owned();
        }
        Trick::TooLate => house.test.clock().set(house.test.clock().now().checked_add(11.minutes()).unwrap()),
        Trick::AnotherPlace => place = house.made.acme.id.uuid(),
        Trick::NoCode => arrival.code = None,
        Trick::TurnedOff => {
            let off = SsoSettings { is_on: false, ..settings(&house.idp, &MSP_GROUPS, &["north.example"]) };
            access.set_sso(Manager::Command("test"), north(&house.made), &off).await?;
        }
    }
    let outcome = access.arrive(place, &arrival, &browser, &client).await.map(drop);
    if matches!(trick, Trick::TurnedOff) {
        let on = settings(&house.idp, &MSP_GROUPS, &["north.example"]);
        access.set_sso(Manager::Command("test"), north(&house.made), &on).await?;
    }
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_table_of_attacks_is_denied() {
    let house = House::open().await;
    let (access, made) = (access(&house.test), &house.made);
    for (email, role, msp, customer) in [
        ("olga@north.example", Role::OperatorAdmin, None, None),
        ("sam@north.example", Role::MspAdmin, Some(made.south.id), None),
        ("wile@north.example", Role::CustomerAdmin, Some(made.north.id), Some(made.acme.id)),
        ("gone@north.example", Role::MspAdmin, Some(made.north.id), None),
        ("bob@north.example", Role::MspOperator, Some(made.north.id), None),
    ] {
        access.create_user(&NewUser { msp_id: msp, customer_id: customer, ..user(email, role, made) }).await.unwrap();
    }
    let stop = "update control.users set is_disabled = true where email = 'gone@north.example'";
    house.test.superuser().await.batch_execute(stop).await.unwrap();
    house.idp.lie("", claims("bob", "bob@north.example", &["Desk"]));
    come_in(&access, &house.idp, house.north(), "bob@north.example").await.unwrap();

    let (attacks, mut let_in) = (attacks(), Vec::new());
    for (number, row) in attacks.iter().enumerate() {
        let before = house.traces().await;
        let outcome = attack(&house, row, number).await;
        // Whoever comes twice came once.
        let honest = if matches!(row.1, Trick::Twice | Trick::OldCode) { 3 } else { 0 };
        let name = match (row.1, &row.2) {
            (Trick::None, different) if *different == json!({}) => row.0.to_owned(),
            (Trick::None, different) => different.to_string(),
            (trick, _) => format!("{trick:?}"),
        };
        match &outcome {
            Err(error) => println!("{number:>3} denied   {name:<60} {error}"),
            Ok(()) => let_in.push(name.clone()),
        }
        assert_eq!(house.traces().await - before, honest, "{number} {name}: {outcome:?} left something behind");
        assert!(!matches!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Internal)), "{name} is no fault of ours");
    }
    println!("{} attacks, {} let in", attacks.len(), let_in.len());
    assert!(let_in.is_empty(), "{let_in:?}");
    assert!(attacks.len() >= 80);
}
