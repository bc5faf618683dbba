//! The rows of single sign-on.

use axum::routing::{get, post, put};
use granary_access::Permission;

use super::{Fixture, Gate, Method, Route, act, change, read};
use crate::{api, pages};

const NOWHERE: &str = "/login/sso/00000000-0000-0000-0000-000000000000/callback?state=forged&code=stolen";

pub(super) const ROWS: &[Route] = &[
    read("/login/sso", Gate::Open, "/login/sso", None, || get(pages::sso_login::ask)),
    act("/login/sso", Gate::Open, "email=nobody%40north.example", || post(pages::sso_login::depart)),
    read("/login/sso/{place}/callback", Gate::Open, NOWHERE, None, || get(pages::sso_login::arrive)),
    read("/sso", Gate::Page(Permission::SsoWrite), "/sso", None, || get(pages::sso::show)),
    act("/sso", Gate::Page(Permission::SsoWrite), "csrf=wrong&action=set", || post(pages::sso::act)),
    read("/customers/{code}/sso", Gate::Page(Permission::SsoWrite), "/customers/ACME/sso", Some("/customers/GLOBEX/sso"), || {
        get(pages::sso::show)
    }),
    change(
        Method::Post,
        "/customers/{code}/sso",
        Gate::Page(Permission::SsoWrite),
        ["/customers/ACME/sso", "/customers/GLOBEX/sso"],
        "csrf=wrong&action=set",
        || post(pages::sso::act),
    ),
    read("/api/v1/msp/sso", Gate::Api(Permission::SsoWrite), "/api/v1/msp/sso", None, || get(api::sso::show)),
    Route {
        method: Method::Put,
        path: "/api/v1/msp/sso",
        gate: Gate::Api(Permission::SsoWrite),
        fixture: Fixture { own: "/api/v1/msp/sso", foreign: None, body: "{}" },
        handler: || put(api::sso::put),
    },
    act("/api/v1/msp/sso/remove", Gate::Api(Permission::SsoWrite), "{}", || post(api::sso::remove)),
    read(
        "/api/v1/msp/customers/{code}/sso",
        Gate::Api(Permission::SsoWrite),
        "/api/v1/msp/customers/ACME/sso",
        Some("/api/v1/msp/customers/GLOBEX/sso"),
        || get(api::sso::show),
    ),
    change(
        Method::Put,
        "/api/v1/msp/customers/{code}/sso",
        Gate::Api(Permission::SsoWrite),
        ["/api/v1/msp/customers/ACME/sso", "/api/v1/msp/customers/GLOBEX/sso"],
        "{}",
        || put(api::sso::put),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/sso/remove",
        Gate::Api(Permission::SsoWrite),
        ["/api/v1/msp/customers/ACME/sso/remove", "/api/v1/msp/customers/GLOBEX/sso/remove"],
        "{}",
        || post(api::sso::remove),
    ),
];
