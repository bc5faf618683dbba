//! The rows of what a customer used, and of closing a month.

use axum::routing::{MethodRouter, get, post};
use granary_access::Permission;

use super::{Fixture, Gate, Method, Route, read};
use crate::{AppState, api, pages};

/// A row of something that is done to a month; its example is a month that is closed.
const fn month(path: &'static str, gate: Gate, own: &'static str, body: &'static str, handler: fn() -> MethodRouter<AppState>) -> Route {
    Route { method: Method::Post, path, gate, fixture: Fixture { own, foreign: None, body }, handler }
}

const CLOSE: Gate = Gate::Api(Permission::PeriodClose);

pub(super) const ROWS: &[Route] = &[
    read(
        "/api/v1/msp/customers/{code}/usage",
        Gate::Api(Permission::UsageRead),
        "/api/v1/msp/customers/ACME/usage?period=2025-10",
        Some("/api/v1/msp/customers/GLOBEX/usage?period=2025-10"),
        || get(api::usage::show),
    ),
    read(
        "/api/v1/msp/customers/{code}/usage/events",
        Gate::Api(Permission::UsageRead),
        "/api/v1/msp/customers/ACME/usage/events?period=2025-10&meter=runs&day=2025-10-07",
        Some("/api/v1/msp/customers/GLOBEX/usage/events?period=2025-10&meter=runs&day=2025-10-07"),
        || get(api::usage::events),
    ),
    read(
        "/api/v1/msp/customers/{code}/usage/proof",
        Gate::Api(Permission::UsageRead),
        "/api/v1/msp/customers/ACME/usage/proof?period=2025-10&source=https%3A%2F%2Fvbr.acme.example&event=run-1-7",
        Some("/api/v1/msp/customers/GLOBEX/usage/proof?period=2025-10&source=https%3A%2F%2Fvbr.globex.example&event=run-1-7"),
        || get(api::usage::proof),
    ),
    read("/api/v1/msp/periods/{period}", CLOSE, "/api/v1/msp/periods/2025-10", None, || get(api::periods::show)),
    read("/api/v1/msp/periods/{period}/corrections", CLOSE, "/api/v1/msp/periods/2025-10/corrections", None, || {
        get(api::periods::corrections)
    }),
    month("/api/v1/msp/periods/{period}/draft", CLOSE, "/api/v1/msp/periods/2025-10/draft", "", || post(api::periods::draft)),
    month(
        "/api/v1/msp/periods/{period}/accept",
        CLOSE,
        "/api/v1/msp/periods/2025-10/accept",
        "{\"customer_code\": \"ACME\", \"finding\": \"quarantine\", \"reason\": \"an old agent\"}",
        || post(api::periods::accept),
    ),
    month("/api/v1/msp/periods/{period}/approve", CLOSE, "/api/v1/msp/periods/2025-10/approve", "", || post(api::periods::approve)),
    month("/api/v1/msp/periods/{period}/close", CLOSE, "/api/v1/msp/periods/2025-10/close", "", || post(api::periods::close)),
    read("/periods/{period}", Gate::Page(Permission::PeriodClose), "/periods/2025-10", None, || get(pages::period::show)),
    month("/periods/{period}", Gate::Page(Permission::PeriodClose), "/periods/2025-10", "csrf=wrong&action=close", || {
        post(pages::period::act)
    }),
];
