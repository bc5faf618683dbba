//! `…/customers/{code}/control-planes`: the backup systems of a customer.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use granary_tenants::{ControlPlane, NewControlPlane, add_control_plane, list_control_planes, retire_control_plane};
use granary_types::{ControlPlaneId, SiteId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{At, EndIn, Once, id_of};
use crate::http::Problem;
use crate::openapi::words;

/// A backup system to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlPlaneIn {
    #[schema(value_type = words::Text)]
    name: String,
    /// What its events carry as `source`; unique at the customer for ever.
    #[schema(value_type = words::Text)]
    source: String,
    #[schema(value_type = Option<words::Text>)]
    version: Option<String>,
    #[schema(value_type = Option<Uuid>)]
    site_id: Option<SiteId>,
}

/// A backup system at a customer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ControlPlaneOut {
    #[schema(value_type = Uuid)]
    id: ControlPlaneId,
    name: String,
    source: String,
    version: Option<String>,
    #[schema(value_type = Option<Uuid>)]
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
pub(crate) async fn list(at: At) -> Result<Json<ControlPlanesOut>, Problem> {
    let planes = list_control_planes(&at.tx, &at.customer).await?;
    at.show(ControlPlanesOut { control_planes: planes.into_iter().map(ControlPlaneOut::from).collect() }).await
}

/// Adds a control plane.
pub(crate) async fn add(
    Once { at, wanted: ControlPlaneIn { name, source, version, site_id }, sent }: Once<ControlPlaneIn>,
) -> Result<Response, Problem> {
    let plane = add_control_plane(&at.tx, &at.customer, &NewControlPlane { name, source, version, site_id }).await?;
    sent.done(at, StatusCode::CREATED, &ControlPlaneOut::from(plane)).await
}

/// Retires a control plane.
pub(crate) async fn retire(
    Path((_, id)): Path<(String, String)>,
    Once { at, wanted: EndIn { reason }, sent }: Once<EndIn>,
) -> Result<Response, Problem> {
    let plane = retire_control_plane(&at.tx, &at.customer, id_of(&id, "such control plane")?, &reason).await?;
    sent.done(at, StatusCode::OK, &ControlPlaneOut::from(plane)).await
}
