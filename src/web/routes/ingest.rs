//! The rows of what control planes send.

use axum::routing::{get, post};
use granary_access::Permission;

use super::{Gate, Route, act, read};
use crate::api;

pub(super) const ROWS: &[Route] = &[
    act("/api/v1/usage/events", Gate::Api(Permission::UsageWrite), "[]", || post(api::events::receive)),
    read("/api/v1/usage/schemas", Gate::Program, "/api/v1/usage/schemas", None, || get(api::schemas::list)),
    read("/api/v1/usage/schemas/{type}", Gate::Program, "/api/v1/usage/schemas/backup.completed", None, || get(api::schemas::show)),
];
