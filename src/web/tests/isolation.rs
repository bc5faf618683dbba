//! Every route, as everybody: who is let in, who is not, and who learns nothing.

use axum::http::StatusCode;
use granary_access::{ApiKeyScope, Permission};
use granary_types::Role;

use super::house::{Caller, House};
use crate::{Gate, Method, ROUTES, Route};

struct Person {
    name: &'static str,
    caller: Caller,
    permissions: Vec<Permission>,
    /// Whether it is an API key, which pages do not accept.
    is_key: bool,
    /// Whether NORTH's GLOBEX is among what it may see.
    sees_globex: bool,
    /// Whether it belongs to an MSP at all.
    has_msp: bool,
}

async fn everybody(house: &House) -> Vec<Person> {
    let (north, south, acme) = (&house.made.north, &house.made.south, &house.made.acme);
    let of_role = |name, caller, role: Role, sees_globex| Person {
        name,
        caller,
        permissions: Permission::of_role(role).to_vec(),
        is_key: false,
        sees_globex,
        has_msp: role != Role::OperatorAdmin,
    };
    let of_key = |name, caller, permissions: &[Permission]| Person {
        name,
        caller,
        permissions: permissions.to_vec(),
        is_key: true,
        sees_globex: false,
        has_msp: true,
    };
    vec![
        of_role("operator", house.user(Role::OperatorAdmin, north, None).await, Role::OperatorAdmin, false),
        of_role("north admin", house.user(Role::MspAdmin, north, None).await, Role::MspAdmin, true),
        of_role("north operator", house.user(Role::MspOperator, north, None).await, Role::MspOperator, true),
        of_role("north analyst of ACME", house.user(Role::MspAnalyst, north, Some(acme)).await, Role::MspAnalyst, false),
        of_role("north finance", house.user(Role::MspFinance, north, None).await, Role::MspFinance, true),
        of_role("ACME admin", house.user(Role::CustomerAdmin, north, Some(acme)).await, Role::CustomerAdmin, false),
        of_role("ACME billing", house.user(Role::CustomerBilling, north, Some(acme)).await, Role::CustomerBilling, false),
        of_role("ACME viewer", house.user(Role::CustomerViewer, north, Some(acme)).await, Role::CustomerViewer, false),
        of_role("south admin", house.user(Role::MspAdmin, south, None).await, Role::MspAdmin, false),
        of_key(
            "ACME reading key",
            house.key(north, acme, &[ApiKeyScope::ReportsRead]).await,
            &[Permission::UsageRead, Permission::ReportRead],
        ),
        of_key("ACME writing key", house.key(north, acme, &[ApiKeyScope::UsageWrite]).await, &[Permission::UsageWrite]),
        of_key("ACME mistyped key", Caller::Key("grn_live_0000".to_owned()), &[]),
    ]
}

/// What a person may expect of a route's own example.
fn expected(route: &Route, person: &Person) -> &'static [StatusCode] {
    let permission = match route.gate {
        Gate::Open => return if route.method == Method::Post { &[StatusCode::UNAUTHORIZED] } else { &[StatusCode::OK] },
        // A key is no session.
        Gate::SignedIn | Gate::Page(_) if person.is_key => return &[StatusCode::SEE_OTHER],
        // The example of the logout carries a wrong token.
        Gate::SignedIn if route.method == Method::Post => return &[StatusCode::FORBIDDEN],
        Gate::SignedIn => return &[StatusCode::OK, StatusCode::SEE_OTHER],
        Gate::Page(permission) | Gate::Api(permission) => permission,
    };
    if person.is_key && person.permissions.is_empty() {
        return &[StatusCode::UNAUTHORIZED];
    }
    match (person.permissions.contains(&permission), route.method) {
        (false, _) => &[StatusCode::FORBIDDEN],
        (true, Method::Get) => &[StatusCode::OK],
        // What is done once may be refused the second time, but nobody is sent away.
        (true, Method::Post | Method::Put) => {
            &[StatusCode::OK, StatusCode::CREATED, StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY]
        }
    }
}

async fn ask(house: &House, route: &Route, path: &str, caller: &Caller) -> super::house::Answer {
    let method = format!("{:?}", route.method).to_uppercase();
    house.send(&method, path, caller, route.fixture.body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let house = House::open().await;
    let mut wrong = Vec::new();
    for person in everybody(&house).await {
        for route in ROUTES {
            let answer = ask(&house, route, route.fixture.own, &person.caller).await;
            let wanted = expected(route, &person);
            if !wanted.contains(&answer.status) {
                wrong.push(format!("{} {:?} {}: {} instead of {wanted:?}", person.name, route.method, route.path, answer.status));
            }
            let Some(foreign) = route.fixture.foreign else { continue };
            let answer = ask(&house, route, foreign, &person.caller).await;
            let wanted = if person.sees_globex || !person.has_msp || !wanted.contains(&StatusCode::OK) {
                wanted
            } else {
                &[StatusCode::NOT_FOUND][..]
            };
            if !wanted.contains(&answer.status) {
                wrong.push(format!("{} {:?} {foreign}: {} instead of {wanted:?}", person.name, route.method, answer.status));
            }
            if answer.status == StatusCode::NOT_FOUND {
                let nobody = ask(&house, route, &foreign.replace("GLOBEX", "NOSUCH"), &person.caller).await;
                assert_eq!(nobody.status, StatusCode::NOT_FOUND, "{} {foreign}", person.name);
                assert!(!answer.body.contains("GLOBEX Inc."), "{} {foreign}", person.name);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_led_to_the_login_or_refused() {
    let house = House::open().await;
    for route in ROUTES {
        let answer = ask(&house, route, route.fixture.own, &Caller::Nobody).await;
        match route.gate {
            Gate::Open => assert!(answer.location().is_empty(), "{}", route.path),
            Gate::SignedIn | Gate::Page(_) => {
                assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", route.path);
                assert!(answer.location().starts_with("/login"), "{}", answer.location());
            }
            Gate::Api(_) => assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", route.path),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_code_of_another_msp_is_another_customer() {
    let house = House::open().await;
    let south = house.user(Role::MspAdmin, &house.made.south, None).await;
    let report = house.get("/reports/ACME/2025-10.pdf", &south).await;
    assert_eq!(report.body, "%PDF-Southern Backup-ACME");
    let usage = house.get("/api/v1/msp/customers/ACME/usage?period=2025-10", &south).await;
    let usage: serde_json::Value = serde_json::from_str(&usage.body).unwrap();
    assert_eq!((&usage["vms_protected"], &usage["backup_jobs_run"]), (&7.into(), &(7 * 31).into()));
    let list = house.get("/customers", &south).await;
    assert!(list.body.contains("ACME Inc.") && !list.body.contains("GLOBEX"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_people_never_meet_what_belongs_to_the_msp() {
    let house = House::open().await;
    for role in [Role::CustomerAdmin, Role::CustomerBilling, Role::CustomerViewer] {
        let caller = house.user(role, &house.made.north, Some(&house.made.acme)).await;
        for path in ["/customers/ACME", "/invoices", "/explore?view=charges&period=2025-10", "/explore.csv?view=usage&period=2025-10"] {
            let answer = house.get(path, &caller).await;
            assert_eq!(answer.status, StatusCode::OK, "{role} {path}: {}", answer.body);
            let text = answer.body.to_lowercase();
            for word in ["wholesale", "margin", "churn", "health", "expansion", "platform fee", "globex"] {
                assert!(!text.contains(word), "{role} meets {word} on {path}");
            }
        }
        for view in crate::catalogue::VIEWS {
            let answer = house.get(&format!("/explore?view={}&period=2025-10", view.name), &caller).await;
            let may = Permission::of_role(role).contains(&view.permission);
            assert_eq!(answer.status, if may { StatusCode::OK } else { StatusCode::FORBIDDEN }, "{role} {}: {}", view.name, answer.body);
            assert!(!answer.body.contains("GLOBEX"), "{role} {}", view.name);
        }
    }
}
