//! `…/customers/{code}/erasure`: destroying everything of a closed customer but what the law keeps.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use granary_tenants::{Change, Erasure, Transition};
use granary_types::{Classify, CustomerCode, CustomerStatus, ErrorKind};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::exchange::{EndIn, Sent, located};
use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::openapi::words;

/// An erasure: how far it is, and in the end the signed certificate of what was destroyed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasureOut {
    /// The code that the customer has, or had.
    #[schema(value_type = words::Code)]
    customer_code: CustomerCode,
    state: ErasureState,
    reason: Option<String>,
    requested_by: Option<String>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    /// What was destroyed, what the law keeps, when the last backup with keys ends; signed by the MSP.
    #[schema(value_type = Option<Object>)]
    certificate: Option<Value>,
}

/// How far an erasure is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErasureState {
    /// Nobody asked for one.
    None,
    /// It is about to begin.
    Requested,
    Running,
    Done,
}

impl ErasureOut {
    fn bare(customer_code: CustomerCode, state: ErasureState) -> Self {
        Self { customer_code, state, reason: None, requested_by: None, started_at: None, finished_at: None, certificate: None }
    }

    fn of(erasure: Erasure) -> Result<Self, Problem> {
        let certificate = erasure.certificate.map(serde_json::to_value).transpose();
        Ok(Self {
            customer_code: erasure.code,
            state: if erasure.finished_at.is_some() { ErasureState::Done } else { ErasureState::Running },
            reason: Some(erasure.reason),
            requested_by: Some(erasure.requested_by),
            started_at: Some(erasure.started_at),
            finished_at: erasure.finished_at,
            certificate: certificate.map_err(|error| Problem::new(ErrorKind::Internal, "unwritable", error.to_string()))?,
        })
    }
}

/// Begins to erase a closed customer. What follows happens meanwhile; killed, the house takes it up again.
pub(crate) async fn start(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    let scope = app.access.msp_scope(&visitor.principal).await?;
    let found = visitor.scope(&app, &code).await;
    let path = format!("/api/v1/msp/customers/{code}/erasure");
    let tx = app.tenants.begin_msp(&scope).await?;
    // Asked again when the customer is gone, the key still knows the answer.
    if let Some(answer) = sent.replay(&app, &tx).await? {
        tx.commit().await?;
        return Ok(located(answer, &path));
    }
    let customer = match found {
        Ok(found) => found.customer,
        Err(problem) => {
            tx.rollback().await?;
            return Err(problem);
        }
    };
    let EndIn { reason } = sent.read()?;
    sent.require_key()?;
    let change = Change::now(Transition::Erase, Some(&reason));
    let erased = app.lifecycle.change(&tx, customer.id, change).await?;
    let out = ErasureOut { reason: Some(reason.clone()), ..ErasureOut::bare(erased.code.clone(), ErasureState::Requested) };
    let answer = sent.answer(&app, tx, StatusCode::ACCEPTED, &out).await?;
    tokio::spawn(async move {
        if let Err(error) = app.lifecycle.settle(&scope.msp, &erased, Change::now(Transition::Erase, Some(&reason))).await {
            tracing::error!(tenant.id = %erased.id, code = error.code(), %error, "an erasure stands still");
        }
    });
    Ok(located(answer, &path))
}

/// Shows how far an erasure is, and its certificate. A code that somebody else has since is that customer's.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
) -> Result<Json<ErasureOut>, Problem> {
    let customer = match visitor.scope(&app, &code).await {
        Ok(found) => found.customer,
        Err(problem) => {
            // Whoever is erased has lost its code.
            let msp = app.access.msp_scope(&visitor.principal).await?.msp;
            let code = code.parse::<CustomerCode>().ok().filter(|_| visitor.principal.sees_all());
            let Some(code) = code else { return Err(problem) };
            let erasure = app.tenants.find_erasure(msp.id, &code).await?.ok_or(problem)?;
            return Ok(Json(ErasureOut::of(erasure)?));
        }
    };
    if customer.status != CustomerStatus::Erased {
        return Ok(Json(ErasureOut::bare(customer.code, ErasureState::None)));
    }
    match app.tenants.erasure_of(customer.id).await? {
        Some(erasure) => Ok(Json(ErasureOut::of(erasure)?)),
        None => Ok(Json(ErasureOut::bare(customer.code, ErasureState::Requested))),
    }
}
