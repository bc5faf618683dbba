//! `POST /api/v1/usage/events`: usage events of one customer's control planes, as a CloudEvents batch.

use axum::Extension;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;

use crate::AppState;
use crate::http::{Problem, Visitor};

/// Takes a batch. What is new, known, contradicting or malformed is answered event by event; the batch is one transaction,
/// and sending it again changes nothing.
pub(crate) async fn receive(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<granary_metering::IngestReport>, Problem> {
    let body = body.map_err(|refused| {
        let kind = if refused.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            granary_types::ErrorKind::TooLarge
        } else {
            granary_types::ErrorKind::Invalid
        };
        Problem::new(kind, "body_refused", refused.body_text())
    })?;
    let scope = app.access.own_scope(&visitor.principal).await?;
    let tx = app.tenants.begin_tenant(&scope).await?;
    let report = granary_metering::ingest(&tx, visitor.principal.source(), &body).await?;
    tx.commit().await?;
    Ok(Json(report))
}
