//! The one table of pages and API routes: it builds the router, and the isolation matrix is made of its rows.

mod alerts;
mod ingest;
mod programs;
mod sso;
mod usage;
mod warehouse;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{MethodRouter, get, post, put};
use granary_access::Permission;
use granary_tenants::Transition;

use crate::http::{guard, headers, measure, problem};
use crate::{AppState, api, assets, openapi, pages};

/// How a route is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
}

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Everybody.
    Open,
    /// Everybody with a session.
    SignedIn,
    /// A session with this permission; strangers are led to the login.
    Page(Permission),
    /// A session, an API key or a token with this permission; strangers get 401.
    Api(Permission),
    /// A session, an API key or a token, whatever it may do; strangers get 401.
    Program,
}

/// Example requests, for the tests that try every route as everybody.
#[derive(Debug, Clone, Copy)]
pub struct Fixture {
    /// A request that somebody of the MSP NORTH, or of its customer ACME, may make.
    pub own: &'static str,
    /// The same for the customer GLOBEX of NORTH, whom neither ACME nor the MSP SOUTH may see; none where nothing is named.
    pub foreign: Option<&'static str>,
    /// What is sent.
    pub body: &'static str,
}

impl Gate {
    /// Whether programs come through it.
    pub const fn takes_programs(self) -> bool {
        matches!(self, Self::Api(_) | Self::Program)
    }
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub gate: Gate,
    pub fixture: Fixture,
    handler: fn() -> MethodRouter<AppState>,
}

impl Route {
    /// Whether the document of the API describes it.
    pub fn is_of_api(&self) -> bool {
        self.gate.takes_programs() || (self.gate == Gate::Open && self.method == Method::Post && self.path.starts_with("/api/"))
    }
}

/// Requests other than deliveries of usage events are small.
const SMALL_BODY_BYTES: usize = 64 << 10;

/// A row of something that is read.
const fn read(
    path: &'static str,
    gate: Gate,
    own: &'static str,
    foreign: Option<&'static str>,
    handler: fn() -> MethodRouter<AppState>,
) -> Route {
    Route { method: Method::Get, path, gate, fixture: Fixture { own, foreign, body: "" }, handler }
}

/// A row of something that is done.
const fn act(path: &'static str, gate: Gate, body: &'static str, handler: fn() -> MethodRouter<AppState>) -> Route {
    Route { method: Method::Post, path, gate, fixture: Fixture { own: path, foreign: None, body }, handler }
}

/// A row of something that is done to one customer; its examples name NORTH's ACME and GLOBEX.
const fn change(
    method: Method,
    path: &'static str,
    gate: Gate,
    [own, foreign]: [&'static str; 2],
    body: &'static str,
    handler: fn() -> MethodRouter<AppState>,
) -> Route {
    Route { method, path, gate, fixture: Fixture { own, foreign: Some(foreign), body }, handler }
}

/// Every page and every API route. Examples of what cannot be undone (closing, retiring) lack the reason that is asked for.
pub const ROUTES: &[Route] = &joined::<{ count(TABLES) }>(TABLES);

const TABLES: &[&[Route]] = &[PEOPLE_AND_CUSTOMERS, programs::ROWS, sso::ROWS, ingest::ROWS, usage::ROWS, alerts::ROWS, warehouse::ROWS];

const fn count(tables: &[&[Route]]) -> usize {
    let (mut table, mut rows) = (0, 0);
    while table < tables.len() {
        (table, rows) = (table + 1, rows + tables[table].len());
    }
    rows
}

/// Lays tables one behind the other.
const fn joined<const N: usize>(tables: &[&[Route]]) -> [Route; N] {
    let mut all = [tables[0][0]; N];
    let (mut table, mut next) = (0, 0);
    while table < tables.len() {
        let mut row = 0;
        while row < tables[table].len() {
            all[next] = tables[table][row];
            (row, next) = (row + 1, next + 1);
        }
        table += 1;
    }
    all
}

const PEOPLE_AND_CUSTOMERS: &[Route] = &[
    read("/healthz", Gate::Open, "/healthz", None, || get(pages::probe::alive)),
    read("/readyz", Gate::Open, "/readyz", None, || get(pages::probe::ready)),
    read("/assets/{version}/{name}", Gate::Open, "/assets/0/granary.css", None, || get(assets::file)),
    read("/login", Gate::Open, "/login", None, || get(pages::login::show)),
    read(openapi::PATH, Gate::Open, openapi::PATH, None, || get(openapi::download)),
    read("/docs/api", Gate::Open, "/docs/api", None, || get(openapi::show)),
    act("/login", Gate::Open, "email=nobody%40north.example&password=not+the+password", || post(pages::login::log_in)),
    read("/forgot", Gate::Open, "/forgot", None, || get(pages::password::ask)),
    act("/forgot", Gate::Open, "email=nobody%40north.example", || post(pages::password::forgot)),
    read("/password", Gate::Open, "/password", None, || get(pages::password::show)),
    act("/password", Gate::Open, "token=wrong&new=another+long+password", || post(pages::password::choose)),
    read("/login/code", Gate::Open, "/login/code", None, || get(pages::login::ask_code)),
    act("/login/code", Gate::Open, "code=000000", || post(pages::login::give_code)),
    act("/logout", Gate::SignedIn, "csrf=wrong", || post(pages::login::log_out)),
    read("/", Gate::SignedIn, "/", None, || get(pages::start::show)),
    read("/operations", Gate::Page(Permission::InstallationRead), "/operations", None, || get(pages::operations::show)),
    act("/operations", Gate::Page(Permission::InstallationWrite), "csrf=wrong&action=retry", || post(pages::operations::act)),
    read("/account", Gate::SignedIn, "/account", None, || get(pages::account::show)),
    act("/account/sessions", Gate::SignedIn, "csrf=wrong&session=others", || post(pages::account::end_sessions)),
    act("/account/password", Gate::SignedIn, "csrf=wrong&old=a+long+enough+password&new=another+long+password", || {
        post(pages::account::change_password)
    }),
    read("/customers", Gate::Page(Permission::PortfolioRead), "/customers", None, || get(pages::customers::list)),
    read("/customers/{code}", Gate::Page(Permission::UsageRead), "/customers/ACME", Some("/customers/GLOBEX"), || {
        get(pages::customer::show)
    }),
    read("/invoices", Gate::Page(Permission::InvoiceRead), "/invoices", None, || get(pages::invoices::list)),
    read("/reconciliation", Gate::Page(Permission::ReconciliationRead), "/reconciliation", None, || get(pages::reconciliation::show)),
    read(
        "/explore",
        Gate::Page(Permission::UsageRead),
        "/explore?view=machines&period=2025-10&customer=ACME",
        Some("/explore?view=machines&period=2025-10&customer=GLOBEX"),
        || get(pages::explore::show),
    ),
    read(
        "/explore.csv",
        Gate::Page(Permission::UsageRead),
        "/explore.csv?view=machines&period=2025-10&customer=ACME",
        Some("/explore.csv?view=machines&period=2025-10&customer=GLOBEX"),
        || get(pages::explore::csv),
    ),
    read(
        "/reports/{code}/{file}",
        Gate::Api(Permission::ReportRead),
        "/reports/ACME/2025-10.pdf",
        Some("/reports/GLOBEX/2025-10.pdf"),
        || get(pages::report::download),
    ),
    act("/account/factor", Gate::SignedIn, "csrf=wrong&action=begin", || post(pages::factor::act)),
    read("/people", Gate::Page(Permission::UserWrite), "/people", None, || get(pages::people::show)),
    act("/people", Gate::Page(Permission::UserWrite), "csrf=wrong&action=invite", || post(pages::people::act)),
    read("/customers/{code}/people", Gate::Page(Permission::UserWrite), "/customers/ACME/people", Some("/customers/GLOBEX/people"), || {
        get(pages::people::show)
    }),
    change(
        Method::Post,
        "/customers/{code}/people",
        Gate::Page(Permission::UserWrite),
        ["/customers/ACME/people", "/customers/GLOBEX/people"],
        "csrf=wrong&action=invite",
        || post(pages::people::act),
    ),
    read("/audit", Gate::Page(Permission::AccessRead), "/audit?customer=ACME", Some("/audit?customer=GLOBEX"), || get(pages::audit::show)),
    read(
        "/api/v1/msp/audit",
        Gate::Api(Permission::AccessRead),
        "/api/v1/msp/audit?customer=ACME",
        Some("/api/v1/msp/audit?customer=GLOBEX"),
        || get(api::audit::list),
    ),
    read("/api/v1/msp/customers", Gate::Api(Permission::UsageRead), "/api/v1/msp/customers", None, || get(api::customers::list)),
    Route {
        method: Method::Post,
        path: "/api/v1/msp/customers",
        gate: Gate::Api(Permission::CustomerWrite),
        fixture: Fixture {
            own: "/api/v1/msp/customers",
            foreign: None,
            body: "{\"company_name\": \"Acme Corporation\", \"customer_code\": \"ACME\", \"plan_tier\": \"enterprise\", \
                   \"limits\": {\"max_vms\": 100, \"storage_gb\": 2000}, \
                   \"branding\": {\"primary_color\": \"#1E40AF\", \"logo_url\": \"https://acme.com/logo.png\"}}",
        },
        handler: || post(api::customers::create),
    },
    read(
        "/api/v1/msp/customers/{code}",
        Gate::Api(Permission::UsageRead),
        "/api/v1/msp/customers/ACME",
        Some("/api/v1/msp/customers/GLOBEX"),
        || get(api::customers::show),
    ),
    read(
        "/api/v1/msp/customers/{code}/limits",
        Gate::Api(Permission::UsageRead),
        "/api/v1/msp/customers/ACME/limits",
        Some("/api/v1/msp/customers/GLOBEX/limits"),
        || get(api::limits::show),
    ),
    change(
        Method::Put,
        "/api/v1/msp/customers/{code}/limits",
        Gate::Api(Permission::CustomerWrite),
        ["/api/v1/msp/customers/ACME/limits", "/api/v1/msp/customers/GLOBEX/limits"],
        "{\"max_vms\": 150, \"storage_gb\": 3000}",
        || put(api::limits::put),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/suspend",
        Gate::Api(Permission::CustomerSuspend),
        ["/api/v1/msp/customers/ACME/suspend", "/api/v1/msp/customers/GLOBEX/suspend"],
        "{\"reason\": \"unpaid since August\"}",
        || post(|once| api::life::change(once, Transition::Suspend)),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/resume",
        Gate::Api(Permission::CustomerSuspend),
        ["/api/v1/msp/customers/ACME/resume", "/api/v1/msp/customers/GLOBEX/resume"],
        "{\"reason\": \"paid\"}",
        || post(|once| api::life::change(once, Transition::Resume)),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/activate",
        Gate::Api(Permission::CustomerSuspend),
        ["/api/v1/msp/customers/ACME/activate", "/api/v1/msp/customers/GLOBEX/activate"],
        "{}",
        || post(|once| api::life::change(once, Transition::Activate)),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/close",
        Gate::Api(Permission::CustomerClose),
        ["/api/v1/msp/customers/ACME/close", "/api/v1/msp/customers/GLOBEX/close"],
        "{}",
        || post(|once| api::life::change(once, Transition::Close)),
    ),
    read(
        "/api/v1/msp/customers/{code}/holds",
        Gate::Api(Permission::CustomerErase),
        "/api/v1/msp/customers/ACME/holds",
        Some("/api/v1/msp/customers/GLOBEX/holds"),
        || get(api::holds::list),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/holds",
        Gate::Api(Permission::CustomerErase),
        ["/api/v1/msp/customers/ACME/holds", "/api/v1/msp/customers/GLOBEX/holds"],
        "{\"reason\": \"lawsuit 7/25\"}",
        || post(api::holds::set),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/holds/release",
        Gate::Api(Permission::CustomerErase),
        ["/api/v1/msp/customers/ACME/holds/release", "/api/v1/msp/customers/GLOBEX/holds/release"],
        "{\"reason\": \"settled\"}",
        || post(api::holds::release),
    ),
    read(
        "/api/v1/msp/customers/{code}/erasure",
        Gate::Api(Permission::CustomerErase),
        "/api/v1/msp/customers/ACME/erasure",
        Some("/api/v1/msp/customers/GLOBEX/erasure"),
        || get(api::erasure::show),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/erasure",
        Gate::Api(Permission::CustomerErase),
        ["/api/v1/msp/customers/ACME/erasure", "/api/v1/msp/customers/GLOBEX/erasure"],
        "{}",
        || post(api::erasure::start),
    ),
    read("/api/v1/msp/retention", Gate::Api(Permission::RetentionWrite), "/api/v1/msp/retention", None, || get(api::retention::list)),
    Route {
        method: Method::Put,
        path: "/api/v1/msp/retention/{dataset}",
        gate: Gate::Api(Permission::RetentionWrite),
        fixture: Fixture { own: "/api/v1/msp/retention/tickets", foreign: None, body: "{\"keep_days\": 730}" },
        handler: || put(api::retention::put),
    },
    read(
        "/api/v1/msp/customers/{code}/contracts",
        Gate::Api(Permission::InvoiceRead),
        "/api/v1/msp/customers/ACME/contracts",
        Some("/api/v1/msp/customers/GLOBEX/contracts"),
        || get(api::contracts::list),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/contracts",
        Gate::Api(Permission::ContractWrite),
        ["/api/v1/msp/customers/ACME/contracts", "/api/v1/msp/customers/GLOBEX/contracts"],
        "{\"starts_on\": \"2026-01-01\", \"months\": 24, \"storage_gb\": 4000, \"plan_tier\": \"enterprise\"}",
        || post(api::contracts::agree),
    ),
    read(
        "/api/v1/msp/customers/{code}/control-planes",
        Gate::Api(Permission::UsageRead),
        "/api/v1/msp/customers/ACME/control-planes",
        Some("/api/v1/msp/customers/GLOBEX/control-planes"),
        || get(api::planes::list),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/control-planes",
        Gate::Api(Permission::CustomerWrite),
        ["/api/v1/msp/customers/ACME/control-planes", "/api/v1/msp/customers/GLOBEX/control-planes"],
        "{\"name\": \"second site\", \"source\": \"https://vbr2.example\", \"version\": \"12.3.1\"}",
        || post(api::planes::add),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/control-planes/{id}/retire",
        Gate::Api(Permission::CustomerWrite),
        [
            "/api/v1/msp/customers/ACME/control-planes/00000000-0000-0000-0000-000000000000/retire",
            "/api/v1/msp/customers/GLOBEX/control-planes/00000000-0000-0000-0000-000000000000/retire",
        ],
        "{}",
        || post(api::planes::retire),
    ),
    read(
        "/api/v1/msp/customers/{code}/sites",
        Gate::Api(Permission::UsageRead),
        "/api/v1/msp/customers/ACME/sites",
        Some("/api/v1/msp/customers/GLOBEX/sites"),
        || get(api::sites::list),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/sites",
        Gate::Api(Permission::CustomerWrite),
        ["/api/v1/msp/customers/ACME/sites", "/api/v1/msp/customers/GLOBEX/sites"],
        "{\"name\": \"Headquarters\", \"country\": \"US\", \"city\": \"Chicago\"}",
        || post(api::sites::add),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/sites/{id}/retire",
        Gate::Api(Permission::CustomerWrite),
        [
            "/api/v1/msp/customers/ACME/sites/00000000-0000-0000-0000-000000000000/retire",
            "/api/v1/msp/customers/GLOBEX/sites/00000000-0000-0000-0000-000000000000/retire",
        ],
        "{}",
        || post(api::sites::retire),
    ),
    read(
        "/api/v1/msp/customers/{code}/contacts",
        Gate::Api(Permission::UsageRead),
        "/api/v1/msp/customers/ACME/contacts",
        Some("/api/v1/msp/customers/GLOBEX/contacts"),
        || get(api::contacts::list),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/contacts",
        Gate::Api(Permission::CustomerWrite),
        ["/api/v1/msp/customers/ACME/contacts", "/api/v1/msp/customers/GLOBEX/contacts"],
        "{\"kind\": \"billing\", \"name\": \"Ada Lovelace\", \"email\": \"ada@acme.example\"}",
        || post(api::contacts::add),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/contacts/{id}/remove",
        Gate::Api(Permission::CustomerWrite),
        [
            "/api/v1/msp/customers/ACME/contacts/00000000-0000-0000-0000-000000000000/remove",
            "/api/v1/msp/customers/GLOBEX/contacts/00000000-0000-0000-0000-000000000000/remove",
        ],
        "{}",
        || post(api::contacts::remove),
    ),
    read(
        "/api/v1/msp/customers/{code}/access-log",
        Gate::Api(Permission::AccessRead),
        "/api/v1/msp/customers/ACME/access-log",
        Some("/api/v1/msp/customers/GLOBEX/access-log"),
        || get(api::access_log::show),
    ),
    read("/api/v1/msp/users", Gate::Api(Permission::UserWrite), "/api/v1/msp/users", None, || get(api::people::list)),
    act("/api/v1/msp/users", Gate::Api(Permission::UserWrite), "{}", || post(api::people::invite)),
    Route {
        method: Method::Post,
        path: "/api/v1/msp/users/{id}",
        gate: Gate::Api(Permission::UserWrite),
        fixture: Fixture { own: "/api/v1/msp/users/00000000-0000-0000-0000-000000000000", foreign: None, body: "{}" },
        handler: || post(api::people::change),
    },
    read(
        "/api/v1/msp/customers/{code}/users",
        Gate::Api(Permission::UserWrite),
        "/api/v1/msp/customers/ACME/users",
        Some("/api/v1/msp/customers/GLOBEX/users"),
        || get(api::people::list),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/users",
        Gate::Api(Permission::UserWrite),
        ["/api/v1/msp/customers/ACME/users", "/api/v1/msp/customers/GLOBEX/users"],
        "{}",
        || post(api::people::invite),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/users/{id}",
        Gate::Api(Permission::UserWrite),
        [
            "/api/v1/msp/customers/ACME/users/00000000-0000-0000-0000-000000000000",
            "/api/v1/msp/customers/GLOBEX/users/00000000-0000-0000-0000-000000000000",
        ],
        "{}",
        || post(api::people::change),
    ),
];

/// Builds the router from the table.
pub fn router(app: AppState) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let limit = if matches!(route.gate, Gate::Api(Permission::UsageWrite)) { app.max_body_bytes } else { SMALL_BODY_BYTES };
        let guarded = (route.handler)()
            .layer(DefaultBodyLimit::max(limit))
            .layer(middleware::from_fn_with_state((app.clone(), route.gate), guard::check));
        router = router.route(route.path, guarded);
    }
    let is_https = app.is_https;
    router
        .fallback(|| async { crate::http::Problem::not_found("page at this address") })
        .with_state(app)
        .layer(middleware::from_fn(problem::render))
        .layer(middleware::from_fn(move |request, next| headers::dress(is_https, request, next)))
        .layer(middleware::from_fn(measure::measure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_that_names_a_customer_has_a_foreign_example() {
        for route in ROUTES {
            let names_one =
                route.path.contains("{code}") || ["customer=", "customers="].iter().any(|part| route.fixture.own.contains(part));
            assert_eq!(names_one, route.fixture.foreign.is_some(), "{}", route.path);
        }
    }

    #[test]
    fn what_is_open_is_on_the_list_of_open_things() {
        let open: Vec<_> = ROUTES.iter().filter(|route| route.gate == Gate::Open).map(|route| route.path).collect();
        let login = ["/login", "/forgot", "/forgot", "/password", "/password", "/login/code", "/login/code"];
        let programs = ["/.well-known/jwks.json", "/api/v1/enrolments"];
        let pages = ["/healthz", "/readyz", "/assets/{version}/{name}", "/login", openapi::PATH, "/docs/api"];
        let sso = ["/login/sso", "/login/sso", "/login/sso/{place}/callback"];
        assert_eq!(open, [&pages[..], &login, &programs, &sso].concat());
    }
}
