//! `…/customers/{code}/access-log`: who of the MSP and the operator opened a customer's data.

use axum::Json;
use granary_access::Opening;
use granary_types::Role;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::people::Managed;
use crate::http::Problem;
use crate::openapi::words;

/// Somebody, or a program, that opened the data.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpeningOut {
    opened_at: Timestamp,
    /// The name; null for a login or a key that is gone.
    who: Option<String>,
    /// Null for a program.
    #[schema(value_type = Option<words::Role>)]
    role: Option<Role>,
    /// What a command of the operator did; null for people and programs.
    reason: Option<String>,
}

/// Openings, the newest first, each person or program once an hour.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccessLogOut {
    openings: Vec<OpeningOut>,
}

/// Shows who opened the data.
pub(crate) async fn show(managed: Managed) -> Result<Json<AccessLogOut>, Problem> {
    let openings = match managed.place.customer {
        Some(customer) => managed.app.access.list_openings(customer).await?,
        None => Vec::new(),
    };
    let out = |Opening { opened_at, who, role, reason }| OpeningOut { opened_at, who, role, reason };
    Ok(Json(AccessLogOut { openings: openings.into_iter().map(out).collect() }))
}
