//! `…/usage/schemas`: what each type of usage event holds, as JSON Schema.

use axum::Json;
use axum::extract::Path;
use serde_json::Value;

use crate::http::Problem;
use crate::openapi::{event_schema_of, event_schemas};

/// Lists the types.
pub(crate) async fn list() -> Json<Value> {
    Json(event_schemas())
}

/// Shows the schema of one type, with an example that is taken as it stands.
pub(crate) async fn show(Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    event_schema_of(&name).map(Json).ok_or_else(|| Problem::not_found("such type of usage event"))
}
