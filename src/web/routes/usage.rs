//! The rows of what a customer used, and of closing a month.

use axum::routing::get;
use granary_access::Permission;

use super::{Gate, Route, read};
use crate::api;

pub(super) const ROWS: &[Route] = &[read(
    "/api/v1/msp/customers/{code}/usage",
    Gate::Api(Permission::UsageRead),
    "/api/v1/msp/customers/ACME/usage?period=2025-10",
    Some("/api/v1/msp/customers/GLOBEX/usage?period=2025-10"),
    || get(api::usage::show),
)];
