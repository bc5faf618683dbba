//! `…/customers/{code}/activate`, `suspend`, `resume`, `close`.

use axum::http::StatusCode;
use axum::response::Response;
use granary_tenants::{Change, Transition};
use granary_types::EndReason;
use serde::Deserialize;
use utoipa::ToSchema;

use super::customers::CustomerOut;
use super::exchange::Once;
use crate::http::Problem;
use crate::openapi::words;

/// Why a customer's status changes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeIn {
    /// Needed to suspend and to close.
    #[serde(default)]
    #[schema(value_type = Option<words::Reason>)]
    reason: Option<String>,
    /// Why the contract ends, when the customer is closed; not told otherwise.
    #[serde(default)]
    #[schema(value_type = Option<words::EndReason>)]
    end_reason: Option<EndReason>,
}

/// Changes a customer's status.
pub(crate) async fn change(Once { at, wanted, sent }: Once<ChangeIn>, transition: Transition) -> Result<Response, Problem> {
    let ChangeIn { reason, end_reason } = wanted;
    if end_reason.is_some() && transition != Transition::Close {
        return Err(Problem::invalid("'end_reason' is only told when a customer is closed"));
    }
    let change = Change { end_reason, ..Change::now(transition, reason.as_deref()) };
    let (app, msp) = (at.app.clone(), at.tx.msp().clone());
    let customer = app.lifecycle.change(&at.tx, at.customer.id, change).await?;
    let answer = sent.done(at, StatusCode::OK, &CustomerOut::from(&customer)).await?;
    app.lifecycle.settle(&msp, &customer, change).await?;
    Ok(answer)
}
