//! `GET /reports/{code}/{period}.pdf`: the monthly report of a customer.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use granary_types::Period;

use crate::AppState;
use crate::http::{Problem, Visitor};

/// Composes and renders the report.
pub(crate) async fn download(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path((code, file)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let period: Period = file.strip_suffix(".pdf").and_then(|text| text.parse().ok()).ok_or_else(|| Problem::not_found("such report"))?;
    let scope = visitor.scope(&app, &code).await?;
    let report = granary_reports::monthly::compose(&app.warehouse, &app.tenants, &scope.customer, period).await?;
    let renderer = app.renderer.clone();
    let pdf = tokio::task::spawn_blocking(move || renderer.render_monthly(&report))
        .await
        .map_err(|error| Problem::new(granary_types::ErrorKind::Internal, "rendering_failed", error.to_string()))??;
    let name = format!("inline; filename=\"{}-{period}.pdf\"", scope.customer.code);
    Ok(([(CONTENT_TYPE, "application/pdf".to_owned()), (CONTENT_DISPOSITION, name)], pdf).into_response())
}
