//! The rows of limits, alerts and recommendations.

use axum::routing::{get, post};
use granary_access::Permission;

use super::{Fixture, Gate, Method, Route, act, change, read};
use crate::{api, pages};

pub(super) const ROWS: &[Route] = &[
    read("/customers/{code}/limits", Gate::Page(Permission::UsageRead), "/customers/ACME/limits", Some("/customers/GLOBEX/limits"), || {
        get(pages::limits::show)
    }),
    change(
        Method::Post,
        "/customers/{code}/limits",
        Gate::Page(Permission::CustomerWrite),
        ["/customers/ACME/limits", "/customers/GLOBEX/limits"],
        "csrf=wrong&storage_gb=100",
        || post(pages::limits::act),
    ),
    read("/alerts", Gate::Page(Permission::PortfolioRead), "/alerts?customers=ACME", Some("/alerts?customers=GLOBEX"), || {
        get(pages::alerts::show)
    }),
    act("/alerts", Gate::Page(Permission::CustomerWrite), "csrf=wrong&action=acknowledge", || post(pages::alerts::act)),
    read(
        "/api/v1/msp/alerts",
        Gate::Api(Permission::UsageRead),
        "/api/v1/msp/alerts?customers=ACME",
        Some("/api/v1/msp/alerts?customers=GLOBEX"),
        || get(api::alerts::list),
    ),
    step("/api/v1/msp/alerts/{id}/acknowledge", "/api/v1/msp/alerts/00000000-0000-0000-0000-000000000000/acknowledge", || {
        post(api::alerts::acknowledge)
    }),
    step("/api/v1/msp/alerts/{id}/snooze", "/api/v1/msp/alerts/00000000-0000-0000-0000-000000000000/snooze", || post(api::alerts::snooze)),
    step("/api/v1/msp/alerts/{id}/escalate", "/api/v1/msp/alerts/00000000-0000-0000-0000-000000000000/escalate", || {
        post(api::alerts::escalate)
    }),
    step("/api/v1/msp/alerts/{id}/resolve", "/api/v1/msp/alerts/00000000-0000-0000-0000-000000000000/resolve", || {
        post(api::alerts::resolve)
    }),
    read(
        "/api/v1/msp/recommendations",
        Gate::Api(Permission::PortfolioRead),
        "/api/v1/msp/recommendations?customers=ACME&period=2025-10",
        Some("/api/v1/msp/recommendations?customers=GLOBEX&period=2025-10"),
        || get(api::alerts::recommendations),
    ),
];

/// A row of a step; its example names an alert that nobody has, and does not fit.
const fn step(path: &'static str, own: &'static str, handler: fn() -> axum::routing::MethodRouter<crate::AppState>) -> Route {
    let fixture = Fixture { own, foreign: None, body: "{\"since\": 1}" };
    Route { method: Method::Post, path, gate: Gate::Api(Permission::CustomerWrite), fixture, handler }
}
