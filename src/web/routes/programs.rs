//! The rows of what programs come in with.

use axum::routing::{get, post};
use granary_access::Permission;

use super::{Fixture, Gate, Method, Route, act, change, read};
use crate::{api, pages};

pub(super) const ROWS: &[Route] = &[
    read("/api-keys", Gate::Page(Permission::KeyWrite), "/api-keys", None, || get(pages::api_keys::show)),
    act("/api-keys", Gate::Page(Permission::KeyWrite), "csrf=wrong&action=create", || post(pages::api_keys::act)),
    read(
        "/customers/{code}/api-keys",
        Gate::Page(Permission::KeyWrite),
        "/customers/ACME/api-keys",
        Some("/customers/GLOBEX/api-keys"),
        || get(pages::api_keys::show),
    ),
    change(
        Method::Post,
        "/customers/{code}/api-keys",
        Gate::Page(Permission::KeyWrite),
        ["/customers/ACME/api-keys", "/customers/GLOBEX/api-keys"],
        "csrf=wrong&action=create",
        || post(pages::api_keys::act),
    ),
    read("/api/v1/msp/api-keys", Gate::Api(Permission::KeyWrite), "/api/v1/msp/api-keys", None, || get(api::api_keys::list)),
    act("/api/v1/msp/api-keys", Gate::Api(Permission::KeyWrite), "{}", || post(api::api_keys::create)),
    Route {
        method: Method::Post,
        path: "/api/v1/msp/api-keys/{id}/rotate",
        gate: Gate::Api(Permission::KeyWrite),
        fixture: Fixture { own: "/api/v1/msp/api-keys/00000000-0000-0000-0000-000000000000/rotate", foreign: None, body: "{}" },
        handler: || post(api::api_keys::rotate),
    },
    Route {
        method: Method::Post,
        path: "/api/v1/msp/api-keys/{id}/revoke",
        gate: Gate::Api(Permission::KeyWrite),
        fixture: Fixture { own: "/api/v1/msp/api-keys/00000000-0000-0000-0000-000000000000/revoke", foreign: None, body: "{}" },
        handler: || post(api::api_keys::revoke),
    },
    read(
        "/api/v1/msp/customers/{code}/api-keys",
        Gate::Api(Permission::KeyWrite),
        "/api/v1/msp/customers/ACME/api-keys",
        Some("/api/v1/msp/customers/GLOBEX/api-keys"),
        || get(api::api_keys::list),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/api-keys",
        Gate::Api(Permission::KeyWrite),
        ["/api/v1/msp/customers/ACME/api-keys", "/api/v1/msp/customers/GLOBEX/api-keys"],
        "{}",
        || post(api::api_keys::create),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/api-keys/{id}/rotate",
        Gate::Api(Permission::KeyWrite),
        [
            "/api/v1/msp/customers/ACME/api-keys/00000000-0000-0000-0000-000000000000/rotate",
            "/api/v1/msp/customers/GLOBEX/api-keys/00000000-0000-0000-0000-000000000000/rotate",
        ],
        "{}",
        || post(api::api_keys::rotate),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/api-keys/{id}/revoke",
        Gate::Api(Permission::KeyWrite),
        [
            "/api/v1/msp/customers/ACME/api-keys/00000000-0000-0000-0000-000000000000/revoke",
            "/api/v1/msp/customers/GLOBEX/api-keys/00000000-0000-0000-0000-000000000000/revoke",
        ],
        "{}",
        || post(api::api_keys::revoke),
    ),
    read("/.well-known/jwks.json", Gate::Open, "/.well-known/jwks.json", None, || get(api::tokens::keys)),
    act("/api/v1/tokens", Gate::Program, "{}", || post(api::tokens::issue)),
    act("/api/v1/enrolments", Gate::Open, "{\"code\": \"wrong\", \"public_key\": \"AA\", \"proof\": \"AA\"}", || {
        post(api::enrolment::enrol)
    }),
    read(
        "/api/v1/msp/customers/{code}/control-plane-keys",
        Gate::Api(Permission::CustomerWrite),
        "/api/v1/msp/customers/ACME/control-plane-keys",
        Some("/api/v1/msp/customers/GLOBEX/control-plane-keys"),
        || get(api::enrolment::list),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/control-planes/{id}/enrolment",
        Gate::Api(Permission::CustomerWrite),
        [
            "/api/v1/msp/customers/ACME/control-planes/00000000-0000-0000-0000-000000000000/enrolment",
            "/api/v1/msp/customers/GLOBEX/control-planes/00000000-0000-0000-0000-000000000000/enrolment",
        ],
        "{}",
        || post(api::enrolment::invite),
    ),
    change(
        Method::Post,
        "/api/v1/msp/customers/{code}/control-planes/{id}/revoke",
        Gate::Api(Permission::CustomerWrite),
        [
            "/api/v1/msp/customers/ACME/control-planes/00000000-0000-0000-0000-000000000000/revoke",
            "/api/v1/msp/customers/GLOBEX/control-planes/00000000-0000-0000-0000-000000000000/revoke",
        ],
        "{}",
        || post(api::enrolment::revoke),
    ),
];
