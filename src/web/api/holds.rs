//! `…/customers/{code}/holds`: while a legal hold stands nothing of the customer is erased, and nothing is let go.

use axum::Json;
use axum::http::StatusCode;
use axum::response::Response;
use granary_tenants::{LegalHold, list_holds, release_hold, set_hold};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::exchange::{At, EndIn, Once};
use crate::http::Problem;

/// A legal hold; it stands until it is released.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HoldOut {
    reason: String,
    set_by: String,
    set_at: Timestamp,
    released_by: Option<String>,
    released_at: Option<Timestamp>,
}

/// The legal holds on a customer, the newest first; one may stand.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HoldsOut {
    holds: Vec<HoldOut>,
}

impl From<LegalHold> for HoldOut {
    fn from(hold: LegalHold) -> Self {
        let LegalHold { reason, set_by, set_at, released_by, released_at } = hold;
        Self { reason, set_by, set_at, released_by, released_at }
    }
}

/// Lists the holds on a customer.
pub(crate) async fn list(at: At) -> Result<Json<HoldsOut>, Problem> {
    let holds = list_holds(&at.tx, &at.customer).await?;
    at.show(HoldsOut { holds: holds.into_iter().map(HoldOut::from).collect() }).await
}

/// Sets a hold; one that stands stays as it is.
pub(crate) async fn set(Once { at, wanted: EndIn { reason }, sent }: Once<EndIn>) -> Result<Response, Problem> {
    let hold = set_hold(&at.tx, &at.customer, &reason).await?;
    sent.done(at, StatusCode::CREATED, &HoldOut::from(hold)).await
}

/// Releases the hold that stands.
pub(crate) async fn release(Once { at, wanted: EndIn { reason }, sent }: Once<EndIn>) -> Result<Response, Problem> {
    let hold = release_hold(&at.tx, &at.customer, &reason).await?;
    sent.done(at, StatusCode::OK, &HoldOut::from(hold)).await
}
