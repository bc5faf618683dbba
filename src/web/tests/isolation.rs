//! Every route, as everybody: who is let in, who is not, and who learns nothing.
//!
//! The matrix is made of the rows of [`ROUTES`]: a route without a fixture, or one that a column never reaches, fails. Both MSPs
//! have a customer ACME with the same name, machines' ids, events' ids and runs; only the markers in the machines' names differ,
//! and no answer may hold a marker of somebody whom the caller may not see.

use axum::http::StatusCode;
use granary_access::{ApiKeyScope, Manager, NewApiKey, Permission};
use granary_tenants::{Customer, Msp};
use granary_types::Role;

use super::house::{Answer, Caller, House};
use crate::{Gate, Method, ROUTES, Route, openapi};

/// Why somebody is let in, or is not.
const COLUMNS: [&str; 6] = ["anonymous", "expired", "wrong role", "other MSP", "other customer", "own"];
const ANONYMOUS: usize = 0;
const EXPIRED: usize = 1;
const WRONG_ROLE: usize = 2;
const OTHER_MSP: usize = 3;
const OTHER_CUSTOMER: usize = 4;
const OWN: usize = 5;

/// What stands in a tenant's rows and nowhere else: machines' names, and the MSP's own.
const MARKERS: [&str; 3] = ["NORTH-ACME-", "NORTH-GLOBEX-", "SOUTH-ACME-"];
const MSP_MARKERS: [&str; 2] = ["Northern Backup", "Southern Backup"];

struct Person {
    name: String,
    caller: Caller,
    permissions: Vec<Permission>,
    /// Whether it is an API key, which pages do not accept.
    is_key: bool,
    /// Whether it is a token, which is as good as a key but makes no other.
    is_token: bool,
    /// The column of those whom nobody recognises.
    stranger: Option<usize>,
    /// NORTH or SOUTH; none for the operator.
    msp: Option<&'static str>,
    /// The codes that it may see in its MSP.
    sees: Vec<&'static str>,
    /// Whether it sees those only, whoever may come: such a one makes no customers.
    is_confined: bool,
}

impl Person {
    /// Tells whose markers it may meet.
    fn forbidden(&self) -> Vec<&'static str> {
        let may_see = |marker: &str| self.msp.is_some_and(|msp| self.sees.iter().any(|code| marker == format!("{msp}-{code}-")));
        let tenants = MARKERS.into_iter().filter(|marker| !may_see(marker));
        let own_msp = match self.msp {
            Some("NORTH") => &MSP_MARKERS[1..],
            Some(_) => &MSP_MARKERS[..1],
            None if self.stranger.is_some() => &MSP_MARKERS[..],
            None => &[],
        };
        let names = (self.stranger.is_none() && !self.sees.contains(&"GLOBEX")).then_some("GLOBEX Inc.");
        tenants.chain(own_msp.iter().copied()).chain(names).collect()
    }
}

struct Crowd<'a> {
    house: &'a House,
    people: Vec<Person>,
}

impl Crowd<'_> {
    async fn users(&mut self, msp: &Msp, code: &'static str, customer: Option<&Customer>, sees: &[&'static str], roles: &[Role]) {
        for role in roles {
            let caller = self.house.user(*role, msp, customer).await;
            let name = format!("{code} {} {role}", customer.map_or("", |customer| customer.code.as_str()));
            let permissions = Permission::of_role(*role).to_vec();
            let msp = (*role != Role::OperatorAdmin).then_some(code);
            let is_confined = customer.is_some();
            self.people.push(Person {
                name,
                caller,
                permissions,
                is_key: false,
                is_token: false,
                stranger: None,
                msp,
                sees: sees.to_vec(),
                is_confined,
            });
        }
    }

    /// Keys of a customer, or of the MSP.
    async fn keys(&mut self, msp: &Msp, code: &'static str, customer: Option<&Customer>, sees: &[&'static str]) {
        for scope in ApiKeyScope::ALL {
            let is_of_customer = customer.is_some();
            // Facts come from a customer's backup system, and no customer manages itself.
            if (scope == ApiKeyScope::UsageWrite && !is_of_customer) || (scope == ApiKeyScope::CustomersWrite && is_of_customer) {
                continue;
            }
            let new = new_key(msp, customer, &[scope]);
            let text = self.house.access.create_api_key(Manager::Command("test"), &new).await.unwrap().1.reveal().to_owned();
            let principal = self.house.access.key(&text).await.unwrap();
            let permissions = Permission::ALL.iter().copied().filter(|permission| principal.may(*permission)).collect();
            let name = format!("{code} {} key for {scope}", sees.concat());
            let (caller, msp) = (Caller::Key(text), Some(code));
            let sees = sees.to_vec();
            self.people.push(Person {
                name,
                caller,
                permissions,
                is_key: true,
                is_token: false,
                stranger: None,
                msp,
                sees,
                is_confined: is_of_customer,
            });
        }
    }

    /// Tokens that people of before exchange their sessions for, and programs their keys.
    async fn tokens(&mut self, whose: &[&str]) {
        for name in whose {
            let owner = self.people.iter().find(|person| person.name == *name).unwrap_or_else(|| panic!("no {name}"));
            let answer = self.house.post("/api/v1/tokens", &owner.caller, "{}").await;
            let made: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            let caller = Caller::Key(made["access_token"].as_str().unwrap().to_owned());
            let withheld = [Permission::UserWrite, Permission::KeyWrite, Permission::SsoWrite];
            let permissions = owner.permissions.iter().copied().filter(|permission| !withheld.contains(permission)).collect();
            let (name, sees) = (format!("a token of {name}"), owner.sees.clone());
            let (msp, is_confined) = (owner.msp, owner.is_confined);
            self.people.push(Person { name, caller, permissions, is_key: true, is_token: true, stranger: None, msp, sees, is_confined });
        }
    }

    fn stranger(&mut self, name: &str, caller: Caller, column: usize) {
        let is_key = matches!(caller, Caller::Key(_));
        let name = name.to_owned();
        let (permissions, sees) = (Vec::new(), Vec::new());
        self.people.push(Person {
            name,
            caller,
            permissions,
            is_key,
            is_token: false,
            stranger: Some(column),
            msp: None,
            sees,
            is_confined: true,
        });
    }
}

fn new_key(msp: &Msp, customer: Option<&Customer>, scopes: &[ApiKeyScope]) -> NewApiKey {
    let customer_id = customer.map(|customer| customer.id);
    NewApiKey {
        msp_id: msp.id,
        customer_id,
        control_plane_id: None,
        name: "test".to_owned(),
        scopes: scopes.to_vec(),
        expires_at: None,
        requests_per_minute: None,
    }
}

async fn everybody(house: &House) -> Vec<Person> {
    let (north, south) = (&house.made.north, &house.made.south);
    let (acme, globex, south_acme) = (&house.made.acme, &house.made.globex, &house.made.south_acme);
    let mut crowd = Crowd { house, people: Vec::new() };
    // First those who will have expired: they are users like the others of their role.
    let expired = house.user(Role::MspAdmin, north, None).await;
    let expired_customer = house.user(Role::CustomerAdmin, north, Some(acme)).await;
    let key = new_key(north, Some(acme), &[ApiKeyScope::UsageWrite, ApiKeyScope::ReportsRead, ApiKeyScope::Sql]);
    let (key, secret) = house.access.create_api_key(Manager::Command("test"), &key).await.unwrap();
    let expired_key = secret.reveal().to_owned();
    let superuser = house.test.superuser().await;
    superuser
        .batch_execute(&format!(
            "set search_path = control; update sessions set expires_at = '2025-01-01'; update users set email = 'old-' || email;
            update api_keys set expires_at = '2025-01-01' where id = '{}'",
            key.id
        ))
        .await
        .unwrap();
    crowd.stranger("nobody", Caller::Nobody, ANONYMOUS);
    crowd.stranger("a mistyped key", Caller::Key("grn_live_0000".to_owned()), ANONYMOUS);
    crowd.stranger("a forged session", Caller::Session("0".repeat(64)), ANONYMOUS);
    crowd.stranger("an expired admin", expired, EXPIRED);
    crowd.stranger("an expired customer", expired_customer, EXPIRED);
    crowd.stranger("an expired key", Caller::Key(expired_key), EXPIRED);

    let whole_msp = [Role::MspAdmin, Role::MspOperator, Role::MspAnalyst, Role::MspFinance];
    // Administrators and finance see every customer of their MSP; nobody can confine them.
    let confined = [Role::MspOperator, Role::MspAnalyst];
    let customers = [Role::CustomerAdmin, Role::CustomerBilling, Role::CustomerViewer];
    crowd.users(north, "NORTH", None, &[], &[Role::OperatorAdmin]).await;
    crowd.users(north, "NORTH", None, &["ACME", "GLOBEX"], &whole_msp).await;
    crowd.users(north, "NORTH", Some(acme), &["ACME"], &confined).await;
    crowd.users(north, "NORTH", Some(acme), &["ACME"], &customers).await;
    crowd.users(north, "NORTH", Some(globex), &["GLOBEX"], &confined).await;
    crowd.users(north, "NORTH", Some(globex), &["GLOBEX"], &customers).await;
    crowd.users(south, "SOUTH", None, &["ACME"], &whole_msp).await;
    crowd.users(south, "SOUTH", Some(south_acme), &["ACME"], &customers).await;
    crowd.keys(north, "NORTH", None, &["ACME", "GLOBEX"]).await;
    crowd.keys(north, "NORTH", Some(acme), &["ACME"]).await;
    crowd.keys(north, "NORTH", Some(globex), &["GLOBEX"]).await;
    crowd.keys(south, "SOUTH", None, &["ACME"]).await;
    crowd.keys(south, "SOUTH", Some(south_acme), &["ACME"]).await;
    crowd
        .tokens(&[
            "NORTH  msp_admin",
            "NORTH ACME msp_operator",
            "NORTH ACME customer_admin",
            "NORTH GLOBEX customer_viewer",
            "SOUTH  msp_admin",
            "NORTH ACME key for usage.write",
            "SOUTH ACME key for reports.read",
        ])
        .await;
    crowd.people
}

/// The column of a request, and whether its answer is what it should be. `code` is the customer that the request names.
fn judge(route: &Route, person: &Person, code: Option<&str>, answer: &Answer) -> (usize, bool) {
    let status = answer.status;
    let is_led_to_login = status == StatusCode::SEE_OTHER && answer.location().starts_with("/login");
    let column = match person.msp {
        Some("SOUTH") => OTHER_MSP,
        Some(_) if !person.sees.contains(&code.unwrap_or("ACME")) => OTHER_CUSTOMER,
        _ => OWN,
    };
    // Whoever is of elsewhere stands in that column, whatever the role.
    let unless_foreign = |other| if column == OWN { other } else { column };
    let permission = match route.gate {
        Gate::Open => {
            // Whoever asks, the answer is the same; the example of the login has a wrong password.
            let wanted: &[StatusCode] = match (route.method, route.path) {
                // Nobody was sent anywhere.
                (Method::Get, "/login/sso/{place}/callback") => &[StatusCode::FORBIDDEN],
                (Method::Get, _) => &[StatusCode::OK],
                // No organisation has this address.
                (_, "/login/sso") => &[StatusCode::OK, StatusCode::TOO_MANY_REQUESTS],
                // So many are too many in the end.
                (_, "/login") => &[StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS],
                (_, "/login/code") => &[StatusCode::UNAUTHORIZED],
                (_, "/api/v1/enrolments") => &[StatusCode::UNAUTHORIZED],
                (_, "/forgot") => &[StatusCode::OK, StatusCode::TOO_MANY_REQUESTS],
                _ => &[StatusCode::NOT_FOUND],
            };
            return (person.stranger.unwrap_or(column), wanted.contains(&status));
        }
        Gate::SignedIn | Gate::Program => None,
        Gate::Page(permission) | Gate::Api(permission) => Some(permission),
    };
    let is_page = !route.gate.takes_programs();
    if let Some(stranger) = person.stranger {
        return (stranger, if is_page { is_led_to_login } else { status == StatusCode::UNAUTHORIZED });
    }
    // A key is no session.
    if is_page && person.is_key {
        return (unless_foreign(WRONG_ROLE), is_led_to_login);
    }
    if route.gate == Gate::Program {
        // Who came by a token gets no other; what is read is the same for everybody.
        if route.method == Method::Get {
            return (column, status == StatusCode::OK);
        }
        return (column, status == if person.is_token { StatusCode::CONFLICT } else { StatusCode::CREATED });
    }
    let Some(permission) = permission else {
        // The example of the logout carries a wrong token.
        let wanted: &[StatusCode] =
            if route.method == Method::Get { &[StatusCode::OK, StatusCode::SEE_OTHER] } else { &[StatusCode::FORBIDDEN] };
        return (column, wanted.contains(&status) && !is_led_to_login);
    };
    let makes_customers = permission == Permission::CustomerWrite && route.path == "/api/v1/msp/customers";
    if !person.permissions.contains(&permission) || (makes_customers && person.is_confined) {
        return (unless_foreign(WRONG_ROLE), status == StatusCode::FORBIDDEN && !answer.body.contains("out of date"));
    }
    if code.is_some_and(|code| !person.sees.contains(&code)) {
        return (column, status == StatusCode::NOT_FOUND);
    }
    let is_answered = match route.method {
        Method::Get => status == StatusCode::OK,
        // Whoever may send the form is told that the example's token is wrong.
        _ if is_page => status == StatusCode::FORBIDDEN && answer.body.contains("out of date"),
        // What is done once may be refused the second time, but nobody is sent away.
        _ => !status.is_server_error() && ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&status),
    };
    (column, is_answered)
}

#[derive(Default)]
struct Matrix {
    lines: Vec<String>,
    cells: usize,
    wrong: Vec<String>,
    /// Which markers were met by those who may.
    met: std::collections::BTreeSet<&'static str>,
}

impl Matrix {
    async fn add(&mut self, house: &House, route: &Route, people: &[Person]) {
        let mut counts = [0; 6];
        let names_one = route.fixture.foreign.is_some();
        let requests = std::iter::once((route.fixture.own, names_one.then_some("ACME")))
            .chain(route.fixture.foreign.map(|path| (path, Some("GLOBEX"))));
        for (path, code) in requests {
            for person in people {
                let answer = house.send(&format!("{:?}", route.method).to_uppercase(), path, &person.caller, route.fixture.body).await;
                let (column, is_right) = judge(route, person, code, &answer);
                counts[column] += 1;
                if !is_right {
                    self.wrong.push(format!("{} {:?} {path}: {} ({})", person.name, route.method, answer.status, COLUMNS[column]));
                }
                // The document's examples were answered in a house like this one.
                let is_document = matches!(route.path, openapi::PATH | "/docs/api");
                let forbidden = if is_document { Vec::new() } else { person.forbidden() };
                for marker in MARKERS.into_iter().chain(MSP_MARKERS).chain(["GLOBEX Inc."]).filter(|marker| answer.body.contains(marker)) {
                    if forbidden.contains(&marker) {
                        self.wrong.push(format!("{} {:?} {path} met '{marker}' ({})", person.name, route.method, COLUMNS[column]));
                    }
                    self.met.insert(marker);
                }
            }
        }
        let is_possible = |column: usize| {
            !matches!((column, route.gate), (WRONG_ROLE, Gate::Open) | (WRONG_ROLE, Gate::SignedIn) | (WRONG_ROLE, Gate::Program))
        };
        for (column, count) in counts.iter().enumerate() {
            if *count == 0 && is_possible(column) {
                self.wrong.push(format!("{:?} {} was never tried as {}", route.method, route.path, COLUMNS[column]));
            }
        }
        self.cells += counts.iter().sum::<usize>();
        let cells: Vec<String> = counts.iter().map(|count| format!("{count:>14}")).collect();
        self.lines.push(format!("{:<6} {:<58}{}", format!("{:?}", route.method).to_uppercase(), route.path, cells.concat()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let house = House::open().await;
    let people = everybody(&house).await;
    let mut matrix = Matrix::default();
    for route in ROUTES {
        matrix.add(&house, route, &people).await;
    }
    let header: Vec<String> = COLUMNS.iter().map(|column| format!("{column:>14}")).collect();
    println!("{:<65}{}\n{}", "route", header.concat(), matrix.lines.join("\n"));
    println!("{} routes, {} people, {} requests, {} wrong", ROUTES.len(), people.len(), matrix.cells, matrix.wrong.len());
    assert!(matrix.wrong.is_empty(), "{:#?}", matrix.wrong);
    // Had nobody met a marker, the search for it would prove nothing.
    for marker in MARKERS.into_iter().chain(MSP_MARKERS) {
        assert!(matrix.met.contains(marker), "nobody met {marker}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_msps_is_as_unknown_as_what_is_not_there() {
    let house = House::open().await;
    let south = house.user(Role::MspAdmin, &house.made.south, None).await;
    for (route, foreign) in ROUTES.iter().filter_map(|route| Some((route, route.fixture.foreign?))) {
        let method = format!("{:?}", route.method).to_uppercase();
        let theirs = house.send(&method, foreign, &south, route.fixture.body).await;
        let nobodys = house.send(&method, &foreign.replace("GLOBEX", "NOSUCH"), &south, route.fixture.body).await;
        assert_eq!(theirs.status, nobodys.status, "{foreign}");
        // What is left is the number of the request.
        let without_numbers = |body: &str| body.replace("GLOBEX", "NOSUCH").replace(|letter: char| letter.is_ascii_hexdigit(), "");
        assert_eq!(without_numbers(&theirs.body), without_numbers(&nobodys.body), "{foreign}");
    }
    let sql = "select count(*) from control.customers one join control.customers other
        on other.code = one.code and other.name = one.name and other.msp_id <> one.msp_id";
    let same: i64 = house.test.superuser().await.query_one(sql, &[]).await.unwrap().get(0);
    assert!(same > 0, "both MSPs have a customer of the same code and name");
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
