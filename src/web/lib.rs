//! What people and programs meet over HTTP: the pages of the dashboard and the API.
//!
//! [`ROUTES`] is the one table of both: method, path, gate and examples. It builds the router, so that a route without a
//! gate cannot exist, and the isolation matrix enumerates it. Handlers are thin: they read the address, ask one room, and
//! hand the answer to maud. Pages need no third-party script, style or network; their state lives in the address; every
//! number leads to the rows that add up to it ([`pages::explore`]), from a fixed catalogue of queries.
//!
//! Not done here: deciding who somebody is (`access`), what a customer owes (`billing`), what a report says (`reports`).
//! SQL stands in the `queries.rs` of an area only, and never comes from an address.

mod api;
mod assets;
mod catalogue;
mod format;
mod http;
mod layout;
mod lineage;
mod link;
mod openapi;
mod pages;
mod queries;
mod routes;
pub mod starting;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use granary_access::Access;
use granary_lake::{Lake, Retention};
use granary_metering::ApiCalls;
use granary_reports::Renderer;
use granary_tenants::{Lifecycle, Tenants};
use granary_types::Clock;
use granary_warehouse::Warehouse;

pub use http::intake::Intake;
pub use http::pace::Pace;
pub use http::stir::Stir;
pub use pages::models::document as models_document;
pub use routes::{Fixture, Gate, Method, ROUTES, Route, router};

/// What handlers work with; every part is shared.
#[derive(Clone)]
pub struct AppState {
    pub tenants: Tenants,
    /// What is done to a whole customer, with the steps of every room.
    pub lifecycle: Lifecycle,
    pub access: Access,
    pub lake: Lake,
    /// How long rows are kept.
    pub retention: Retention,
    pub warehouse: Warehouse,
    /// Makes PDFs of reports.
    pub renderer: Arc<dyn Renderer>,
    pub clock: Clock,
    /// The largest delivery of usage events; 16 MiB by default.
    pub max_body_bytes: usize,
    /// Whether browsers come by HTTPS: cookies are then marked `Secure`.
    pub is_https: bool,
    /// Whether a proxy stands in front of us, which says whom it speaks for.
    pub is_behind_proxy: bool,
    /// How often programs may come.
    pub pace: Pace,
    /// Whose events came.
    pub stir: Stir,
    /// How much of what control planes send may be under way at once.
    pub intake: Intake,
    /// How often they came.
    pub api_calls: ApiCalls,
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").field("clock", &self.clock).field("is_https", &self.is_https).finish_non_exhaustive()
    }
}
