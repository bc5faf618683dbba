//! `/healthz` and `/readyz`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::AppState;
use crate::http::Problem;

/// The process is alive.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The process can serve: Postgres answers.
pub(crate) async fn ready(State(app): State<AppState>) -> Result<Json<Value>, Problem> {
    app.tenants.list_msps().await?;
    Ok(Json(json!({ "status": "ready" })))
}
