//! `POST /api/v1/usage/events`: usage events of one customer's control planes, as a CloudEvents batch.

use axum::Extension;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use granary_foundation::metrics;
use granary_metering::IngestReport;
use granary_types::ErrorKind;

use crate::AppState;
use crate::http::{Problem, Visitor};

/// Takes a batch. What is new, known, contradicting or malformed is answered event by event; the batch is one transaction,
/// and sending it again changes nothing.
pub(crate) async fn receive(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<IngestReport>), Problem> {
    let body = body.map_err(|refused| {
        let kind = if refused.status() == StatusCode::PAYLOAD_TOO_LARGE { ErrorKind::TooLarge } else { ErrorKind::Invalid };
        Problem::new(kind, "body_refused", refused.body_text())
    })?;
    let scope = app.access.own_scope(&visitor.principal).await?;
    let tx = app.tenants.begin_tenant(&scope).await?;
    let report = granary_metering::ingest(&tx, visitor.principal.source(), &body).await?;
    tx.commit().await?;
    if report.accepted > 0 {
        app.stir.note(&app.tenants, &scope).await;
    }
    count(&report);
    Ok((status(&report), Json(report)))
}

fn count(report: &IngestReport) {
    let IngestReport { accepted, duplicates, conflicts, invalid, .. } = *report;
    for (outcome, events) in [("accepted", accepted), ("duplicate", duplicates), ("conflict", conflicts), ("invalid", invalid)] {
        metrics::usage_events_came(outcome, events);
    }
}

/// A batch of which nothing could be used is refused as a whole; the outcomes say why, event by event.
const fn status(report: &IngestReport) -> StatusCode {
    match (report.accepted + report.duplicates, report.conflicts, report.invalid) {
        (0, 1.., _) => StatusCode::CONFLICT,
        (0, 0, 1..) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    }
}
