//! `…/customers/{code}/activate`, `suspend`, `resume`, `close`.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use granary_tenants::{Change, MspScope, Transition};
use granary_types::EndReason;
use serde::Deserialize;
use utoipa::ToSchema;

use super::customers::CustomerOut;
use super::exchange::Sent;
use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::pages::customer::code_of;

/// Why a customer's status changes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeIn {
    /// At most 500 characters; needed to suspend and to close.
    #[serde(default)]
    reason: Option<String>,
    /// Why the contract ends, when the customer is closed: voluntary, non_payment or closed.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    end_reason: Option<EndReason>,
}

/// Makes a trial a customer.
pub(crate) async fn activate(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    change(&app, &visitor, &code, &sent, Transition::Activate).await
}

/// Suspends a customer.
pub(crate) async fn suspend(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    change(&app, &visitor, &code, &sent, Transition::Suspend).await
}

/// Makes a suspended customer active again.
pub(crate) async fn resume(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    change(&app, &visitor, &code, &sent, Transition::Resume).await
}

/// Ends a customer's contract and life.
pub(crate) async fn close(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    change(&app, &visitor, &code, &sent, Transition::Close).await
}

async fn change(app: &AppState, visitor: &Visitor, code: &str, sent: &Sent, transition: Transition) -> Result<Response, Problem> {
    let scope = app.access.tenant_scope(&visitor.principal, &code_of(code)?).await?;
    let tx = app.tenants.begin_msp(&MspScope::for_principal(scope.msp.clone(), scope.actor)).await?;
    if let Some(answer) = sent.replay(app, &tx).await? {
        tx.commit().await?;
        return Ok(answer);
    }
    let wanted = if sent.is_empty() { ChangeIn::default() } else { sent.read()? };
    if wanted.end_reason.is_some() && transition != Transition::Close {
        return Err(Problem::invalid("'end_reason' is only told when a customer is closed"));
    }
    let change = Change { end_reason: wanted.end_reason, ..Change::now(transition, wanted.reason.as_deref()) };
    let customer = app.lifecycle.change(&tx, scope.customer.id, change).await?;
    let answer = sent.answer(app, tx, StatusCode::OK, &CustomerOut::from(&customer)).await?;
    app.lifecycle.settle(&scope.msp, &customer, change).await?;
    Ok(answer)
}
