//! `POST /api/v1/tokens`: a session or a key, exchanged for a token; and the public keys by which tokens are checked.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use granary_access::{AUDIENCE, Narrowed, Permission};
use granary_types::CustomerCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::exchange::Sent;
use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::openapi::words;

/// What a token is to be confined to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenIn {
    /// Of what the caller may do; left out for all of it.
    #[schema(value_type = Option<Vec<words::Permission>>)]
    permissions: Option<Vec<String>>,
    /// Of the customers that the caller sees, by code; left out for all of them.
    #[schema(value_type = Option<Vec<words::Code>>)]
    customers: Option<Vec<CustomerCode>>,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenOut {
    /// To be sent as `Authorization: Bearer …`.
    access_token: String,
    token_type: &'static str,
    expires_at: Timestamp,
    /// Who made it, as its `iss` says.
    issuer: String,
    /// For whom, as its `aud` says.
    audience: &'static str,
    #[schema(value_type = Vec<words::Permission>)]
    permissions: Vec<String>,
}

/// Makes a token.
pub(crate) async fn issue(State(app): State<AppState>, Extension(visitor): Extension<Visitor>, sent: Sent) -> Result<Response, Problem> {
    let TokenIn { permissions, customers } = sent.read_lists(&["permissions", "customers"])?;
    let known = |name: &String| {
        let found = Permission::ALL.iter().copied().find(|permission| permission.as_str() == name);
        found.ok_or_else(|| Problem::invalid(format!("'{}' is not a permission", name.chars().take(60).collect::<String>())))
    };
    let permissions = permissions.map(|names| names.iter().map(known).collect::<Result<Vec<_>, _>>()).transpose()?;
    let customers = match customers {
        None => None,
        Some(codes) => {
            let mut ids = Vec::new();
            for code in &codes {
                ids.push(app.access.tenant_scope(&visitor.principal, code).await?.customer.id);
            }
            Some(ids)
        }
    };
    let narrowed = Narrowed { permissions, customers };
    let token = app.access.issue_token(&visitor.principal, visitor.session, &narrowed).await?;
    let out = TokenOut {
        access_token: token.token.reveal().to_owned(),
        token_type: "Bearer",
        expires_at: token.expires_at,
        issuer: app.access.issuer().to_owned(),
        audience: AUDIENCE,
        permissions: token.permissions.iter().map(ToString::to_string).collect(),
    };
    Ok((StatusCode::CREATED, Json(out)).into_response())
}

/// Shows the public keys, as a set of JSON Web Keys (RFC 7517).
pub(crate) async fn keys(State(app): State<AppState>) -> Result<Response, Problem> {
    let keys: Vec<_> = app
        .access
        .token_keys()
        .await?
        .iter()
        .map(|key| json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.id, "x": key.x()}))
        .collect();
    Ok(([(CACHE_CONTROL, "public, max-age=300")], Json(json!({"keys": keys}))).into_response())
}
