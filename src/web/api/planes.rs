//! `…/customers/{code}/control-planes`: the backup systems of a customer.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use granary_tenants::{ControlPlane, NewControlPlane, add_control_plane, list_control_planes, retire_control_plane};
use granary_types::{ControlPlaneId, SiteId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{Sent, enter, id_of};
use super::sites::RetireIn;
use crate::AppState;
use crate::http::{Problem, Visitor};

/// A backup system to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlPlaneIn {
    name: String,
    /// What its events carry as `source`; unique at the customer for ever.
    source: String,
    version: Option<String>,
    #[schema(value_type = Option<String>)]
    site_id: Option<SiteId>,
}

/// A backup system at a customer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ControlPlaneOut {
    #[schema(value_type = String)]
    id: ControlPlaneId,
    name: String,
    source: String,
    version: Option<String>,
    #[schema(value_type = Option<String>)]
    site_id: Option<SiteId>,
    enrolled_at: Timestamp,
    last_seen_at: Option<Timestamp>,
    retired_at: Option<Timestamp>,
}

/// The backup systems of a customer, retired ones too, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ControlPlanesOut {
    control_planes: Vec<ControlPlaneOut>,
}

impl From<ControlPlane> for ControlPlaneOut {
    fn from(plane: ControlPlane) -> Self {
        let ControlPlane { id, name, source, version, site_id, enrolled_at, last_seen_at, retired_at, .. } = plane;
        Self { id, name, source, version, site_id, enrolled_at, last_seen_at, retired_at }
    }
}

/// Lists a customer's control planes.
pub(crate) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
) -> Result<Json<ControlPlanesOut>, Problem> {
    let (tx, customer) = enter(&app, &visitor, &code).await?;
    let planes = list_control_planes(&tx, &customer).await?;
    tx.commit().await?;
    Ok(Json(ControlPlanesOut { control_planes: planes.into_iter().map(ControlPlaneOut::from).collect() }))
}

/// Adds a control plane.
pub(crate) async fn add(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    let (tx, customer) = enter(&app, &visitor, &code).await?;
    if let Some(answer) = sent.replay(&app, &tx).await? {
        return Ok(answer);
    }
    let ControlPlaneIn { name, source, version, site_id } = sent.read()?;
    let plane = add_control_plane(&tx, &customer, &NewControlPlane { name, source, version, site_id }).await?;
    sent.answer(&app, tx, StatusCode::CREATED, &ControlPlaneOut::from(plane)).await
}

/// Retires a control plane.
pub(crate) async fn retire(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path((code, id)): Path<(String, String)>,
    sent: Sent,
) -> Result<Response, Problem> {
    let (tx, customer) = enter(&app, &visitor, &code).await?;
    if let Some(answer) = sent.replay(&app, &tx).await? {
        return Ok(answer);
    }
    let RetireIn { reason } = sent.read()?;
    let plane = retire_control_plane(&tx, &customer, id_of(&id, "such control plane")?, &reason).await?;
    sent.answer(&app, tx, StatusCode::OK, &ControlPlaneOut::from(plane)).await
}
