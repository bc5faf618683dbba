//! `POST /api/v1/usage/events`: usage events of one customer's control planes, as CloudEvents.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use granary_foundation::metrics;
use granary_metering::{Batch, IngestReport, ingest_batch};
use granary_types::ErrorKind;

use super::delivery::{self, Unread};
use crate::AppState;
use crate::http::{Problem, Visitor};

/// Takes a delivery. What is new, known, contradicting or malformed is answered event by event; the batch is one transaction,
/// and sending it again changes nothing. Nothing is refused for a limit or a state of the customer: these are facts.
pub(crate) async fn receive(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<IngestReport>), Response> {
    let scope = app.access.own_scope(&visitor.principal).await.map_err(problem)?;
    let (form, coding) = (delivery::form(&headers)?, delivery::coding(&headers)?);
    if delivery::length(&headers) > app.max_body_bytes {
        return Err(Unread::TooLarge.into());
    }
    // Room is found before anything is read, and held until the answer.
    let mut room = app.intake.admit(scope.customer.id, delivery::length(&headers)).await.map_err(Unread::from)?;
    let body = delivery::read(body, coding, app.max_body_bytes, &mut room).await?;
    let batch = Batch::read(form, &body).map_err(problem)?;
    drop(body);
    let tx = app.tenants.begin_tenant(&scope).await.map_err(problem)?;
    let report = ingest_batch(&tx, visitor.principal.source(), &batch).await.map_err(problem)?;
    tx.commit().await.map_err(problem)?;
    if report.accepted > 0 {
        app.stir.note(&app.tenants, &scope).await;
    }
    count(&report);
    Ok((status(&report), Json(report)))
}

fn problem(error: impl Into<Problem>) -> Response {
    error.into().into_response()
}

impl From<Unread> for Response {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Foreign(words) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, words).into_response(),
            Unread::TooLarge => {
                Problem::new(ErrorKind::TooLarge, "body_too_large", "the body, decompressed, is larger than this address accepts")
                    .into_response()
            }
            Unread::Broken(words) => Problem::new(ErrorKind::Invalid, "body_refused", words).into_response(),
            Unread::Busy => {
                let words = "too much is under way; send the same events again in a moment";
                let mut response = Problem::new(ErrorKind::RateLimited, "too_much_under_way", words).into_response();
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
        }
    }
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
