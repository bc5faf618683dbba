//! How a control plane comes to a key of its own: somebody of the MSP makes a code, and the plane exchanges it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use granary_access::{AUDIENCE, AccessError, Enrolled, NewPlaneKey, PlaneKey};
use granary_foundation::Secret;
use granary_types::ControlPlaneId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::exchange::{EndIn, Sent, id_of};
use super::people::Managed;
use crate::AppState;
use crate::http::Problem;
use crate::openapi::words;

/// The code of an enrolment: the only time that it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnrolmentCodeOut {
    code: String,
    expires_at: Timestamp,
}

/// What a control plane exchanges its code for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolmentIn {
    #[schema(value_type = words::Text)]
    code: String,
    /// The public key: Ed25519, 32 bytes in base64url.
    #[schema(value_type = words::Text)]
    public_key: String,
    /// The key's signature of `granary enrolment ` and the code, in base64url.
    #[schema(value_type = words::Text)]
    proof: String,
}

/// What the control plane's tokens have to say: JWTs signed by EdDSA, of type `plane+jwt`, five minutes long at most.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnrolmentOut {
    /// The header's `kid`.
    #[schema(value_type = Uuid)]
    key_id: Uuid,
    /// The claim `iss`.
    #[schema(value_type = Uuid)]
    control_plane_id: ControlPlaneId,
    /// The claim `aud`.
    audience: &'static str,
    /// What its events carry as `source`.
    source: String,
    customer_code: String,
}

/// A control plane's key: the public half.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlaneKeyOut {
    #[schema(value_type = Uuid)]
    key_id: Uuid,
    #[schema(value_type = Uuid)]
    control_plane_id: ControlPlaneId,
    name: String,
    enrolled_at: Timestamp,
    /// To the minute.
    last_used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

/// The control plane that has no key any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlaneRevokedOut {
    #[schema(value_type = Uuid)]
    revoked: ControlPlaneId,
}

/// Keys of a customer's control planes, live ones first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlaneKeysOut {
    keys: Vec<PlaneKeyOut>,
}

/// Makes a code.
pub(crate) async fn invite(managed: Managed, Path(path): Path<Vec<(String, String)>>, sent: Sent) -> Result<Response, Problem> {
    let EndIn { reason } = sent.read()?;
    let made = managed.app.access.create_enrolment(managed.manager(), managed.place, id(&path)?, &reason).await?;
    let out = EnrolmentCodeOut { code: made.code.reveal().to_owned(), expires_at: made.expires_at };
    Ok((StatusCode::CREATED, Json(out)).into_response())
}

/// Takes a control plane's key.
pub(crate) async fn enrol(State(app): State<AppState>, sent: Sent) -> Result<Response, Problem> {
    let EnrolmentIn { code, public_key, proof } = sent.read()?;
    let bytes = |text: &str| granary_access::base64url(text).ok_or(AccessError::CodeRefused("key and proof are written in base64url"));
    let new = NewPlaneKey { public_key: bytes(&public_key)?, proof: bytes(&proof)?, code: Secret::new(code) };
    let Enrolled { key, control_plane, source, customer_code } = app.access.enrol(&new).await?;
    let customer_code = customer_code.to_string();
    let out = EnrolmentOut { key_id: key, control_plane_id: control_plane, audience: AUDIENCE, source, customer_code };
    Ok((StatusCode::CREATED, Json(out)).into_response())
}

/// Ends a control plane's key.
pub(crate) async fn revoke(
    managed: Managed,
    Path(path): Path<Vec<(String, String)>>,
    sent: Sent,
) -> Result<Json<PlaneRevokedOut>, Problem> {
    let EndIn { reason } = sent.read()?;
    let plane = id(&path)?;
    managed.app.access.revoke_plane(managed.manager(), managed.place, plane, &reason).await?;
    Ok(Json(PlaneRevokedOut { revoked: plane }))
}

/// Lists keys.
pub(crate) async fn list(managed: Managed) -> Result<Json<PlaneKeysOut>, Problem> {
    let out = |key: PlaneKey| {
        let PlaneKey { id, control_plane_id, name, enrolled_at, last_used_at, revoked_at, .. } = key;
        PlaneKeyOut { key_id: id, control_plane_id, name, enrolled_at, last_used_at, revoked_at }
    };
    let keys = managed.app.access.list_plane_keys(managed.place).await?;
    Ok(Json(PlaneKeysOut { keys: keys.into_iter().map(out).collect() }))
}

fn id(path: &[(String, String)]) -> Result<ControlPlaneId, Problem> {
    id_of(path.last().map_or("", |(_, id)| id), "such control plane")
}
