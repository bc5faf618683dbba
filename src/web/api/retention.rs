//! `/api/v1/msp/retention`: for how long an MSP keeps the rows of a dataset.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use granary_lake::Kept;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::Sent;
use crate::AppState;
use crate::http::{Problem, Visitor};

/// How long a dataset is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RetentionOut {
    dataset: String,
    /// Rows go after so many days; null: never.
    keep_days: Option<i32>,
    /// No rule keeps less.
    least_days: i32,
    /// What needs them so long.
    because: String,
}

/// Every dataset for which there may be a rule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RetentionsOut {
    datasets: Vec<RetentionOut>,
}

/// How long a dataset shall be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionIn {
    /// Rows go after so many days; null: never. At least the dataset's `least_days`.
    #[schema(minimum = 1, maximum = 36_600)]
    keep_days: Option<i32>,
}

impl From<Kept> for RetentionOut {
    fn from(kept: Kept) -> Self {
        let Kept { dataset, keep_days, least_days, because } = kept;
        Self { dataset: dataset.to_owned(), keep_days, least_days, because: because.to_owned() }
    }
}

/// Lists the MSP's rules.
pub(crate) async fn list(State(app): State<AppState>, Extension(visitor): Extension<Visitor>) -> Result<Json<RetentionsOut>, Problem> {
    let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
    let kept = app.retention.list(&tx).await?;
    tx.commit().await?;
    Ok(Json(RetentionsOut { datasets: kept.into_iter().map(RetentionOut::from).collect() }))
}

/// Sets the rule of a dataset.
pub(crate) async fn put(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(dataset): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
    if let Some(answer) = sent.replay(&app, &tx).await? {
        tx.commit().await?;
        return Ok(answer);
    }
    let RetentionIn { keep_days } = sent.read()?;
    let kept = app.retention.put(&tx, &dataset, keep_days).await?;
    sent.answer(&app, tx, StatusCode::OK, &RetentionOut::from(kept)).await
}
