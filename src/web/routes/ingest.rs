//! The rows of what control planes send.

use axum::routing::post;
use granary_access::Permission;

use super::{Gate, Route, act};
use crate::api;

pub(super) const ROWS: &[Route] = &[act("/api/v1/usage/events", Gate::Api(Permission::UsageWrite), "[]", || post(api::events::receive))];
