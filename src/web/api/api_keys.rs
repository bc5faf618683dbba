//! `/api/v1/msp/api-keys` and `…/customers/{code}/api-keys`: keys for the programs of an MSP and of a customer.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use granary_access::{ApiKey, ApiKeyScope, NewApiKey, OVERLAP};
use granary_foundation::Secret;
use granary_types::{ApiKeyId, ControlPlaneId};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{EndIn, Sent, id_of};
use super::people::Managed;
use crate::http::Problem;
use crate::openapi::words;

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiKeyIn {
    /// What it is for.
    #[schema(value_type = words::Text)]
    name: String,
    /// What it may do; each once.
    #[schema(value_type = Vec<words::KeyScope>)]
    scopes: Vec<ApiKeyScope>,
    /// The control plane whose events it sends, and no other's; left out for every one of the customer.
    #[schema(value_type = Option<Uuid>)]
    control_plane_id: Option<ControlPlaneId>,
    /// When it ends by itself; left out for never.
    expires_at: Option<Timestamp>,
    /// How often it may be used a minute; left out for as often as the customer's limit allows.
    #[schema(minimum = 1, maximum = 1_000_000)]
    requests_per_minute: Option<i32>,
}

/// How a key is followed by another.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateIn {
    #[schema(value_type = words::Text)]
    reason: String,
    /// For how long both are good; 24 hours when left out.
    #[schema(minimum = 0, maximum = 744)]
    overlap_hours: Option<u16>,
}

/// A key: all but the key itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeyOut {
    #[schema(value_type = Uuid)]
    id: ApiKeyId,
    name: String,
    /// Its beginning, to tell keys apart.
    prefix: String,
    #[schema(value_type = Vec<words::KeyScope>)]
    scopes: Vec<ApiKeyScope>,
    #[schema(value_type = words::KeyState)]
    state: &'static str,
    #[schema(value_type = Option<Uuid>)]
    control_plane_id: Option<ControlPlaneId>,
    requests_per_minute: Option<i32>,
    created_at: Timestamp,
    /// The name of who made it; null for a login that is gone.
    created_by: Option<String>,
    expires_at: Option<Timestamp>,
    /// To the minute.
    last_used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    /// The key that follows it.
    #[schema(value_type = Option<Uuid>)]
    replaced_by: Option<ApiKeyId>,
}

/// A key that was just made: the only time that it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewApiKeyOut {
    /// The key. It is stored nowhere; keep it safe.
    #[schema(value_type = String)]
    key: String,
    api_key: ApiKeyOut,
}

/// Keys, live ones first, the newest before the others.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeysOut {
    api_keys: Vec<ApiKeyOut>,
}

fn out(key: ApiKey, now: Timestamp) -> ApiKeyOut {
    let state = key.state(now);
    let ApiKey { id, name, prefix, scopes, control_plane_id, requests_per_minute, .. } = key;
    let ApiKey { created_at, created_by, expires_at, last_used_at, revoked_at, replaced_by, .. } = key;
    ApiKeyOut {
        id,
        name,
        prefix,
        scopes,
        state,
        control_plane_id,
        requests_per_minute,
        created_at,
        created_by,
        expires_at,
        last_used_at,
        revoked_at,
        replaced_by,
    }
}

fn made(managed: &Managed, (key, secret): (ApiKey, Secret)) -> Response {
    let shown = NewApiKeyOut { key: secret.reveal().to_owned(), api_key: out(key, managed.app.access.instant()) };
    (StatusCode::CREATED, Json(shown)).into_response()
}

/// Lists keys.
pub(crate) async fn list(managed: Managed) -> Result<Json<ApiKeysOut>, Problem> {
    let (keys, now) = (managed.app.access.list_api_keys(managed.place).await?, managed.app.access.instant());
    Ok(Json(ApiKeysOut { api_keys: keys.into_iter().map(|key| out(key, now)).collect() }))
}

/// Makes a key.
pub(crate) async fn create(managed: Managed, sent: Sent) -> Result<Response, Problem> {
    let ApiKeyIn { name, scopes, control_plane_id, expires_at, requests_per_minute } = sent.read_listing("scopes")?;
    let new = NewApiKey {
        msp_id: managed.visitor.msp()?.id,
        customer_id: managed.place.customer,
        control_plane_id,
        name,
        scopes,
        expires_at,
        requests_per_minute,
    };
    Ok(made(&managed, managed.app.access.create_api_key(managed.manager(), &new).await?))
}

/// Makes the key that follows one.
pub(crate) async fn rotate(managed: Managed, Path(path): Path<Vec<(String, String)>>, sent: Sent) -> Result<Response, Problem> {
    let RotateIn { reason, overlap_hours } = sent.read()?;
    let overlap = overlap_hours.map_or(OVERLAP, |hours| SignedDuration::from_hours(hours.into()));
    let access = &managed.app.access;
    Ok(made(&managed, access.rotate_api_key(managed.manager(), managed.place, id(&path)?, overlap, &reason).await?))
}

/// Ends a key.
pub(crate) async fn revoke(managed: Managed, Path(path): Path<Vec<(String, String)>>, sent: Sent) -> Result<Json<ApiKeyOut>, Problem> {
    let EndIn { reason } = sent.read()?;
    let access = &managed.app.access;
    let key = access.revoke_api_key(managed.manager(), managed.place, id(&path)?, &reason).await?;
    Ok(Json(out(key, access.instant())))
}

fn id(path: &[(String, String)]) -> Result<ApiKeyId, Problem> {
    id_of(path.last().map_or("", |(_, id)| id), "such API key")
}
