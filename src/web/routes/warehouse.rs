//! The rows of what the warehouse is asked.

use axum::routing::post;
use granary_access::Permission;

use super::{Gate, Route, act};
use crate::api;

pub(super) const ROWS: &[Route] =
    &[act("/api/v1/msp/query", Gate::Api(Permission::Sql), r#"{"sql": "show tables"}"#, || post(api::query::ask))];
