//! `/api/v1/msp/sso` and `…/customers/{code}/sso`: the identity provider of an MSP and of a customer.

use std::collections::BTreeMap;

use axum::Json;
use granary_access::{IdentityProvider, SsoSettings};
use granary_foundation::Secret;
use granary_types::Role;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{EndIn, Sent};
use super::people::Managed;
use crate::http::Problem;
use crate::openapi::words;

/// How people are to come in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SsoIn {
    /// Exactly as the provider calls itself; HTTPS.
    #[schema(value_type = words::Issuer)]
    issuer: String,
    #[schema(value_type = words::Text)]
    client_id: String,
    /// Kept when it is left out; needed at first, and with another issuer. Never answered.
    #[schema(value_type = Option<words::Text>)]
    client_secret: Option<Secret>,
    /// The claim that lists somebody's groups, such as `groups`; `/a/b` for one that lies in another.
    #[schema(value_type = words::Text)]
    groups_claim: String,
    /// Which group has which role; who is in several has the role that may most.
    #[schema(value_type = BTreeMap<String, words::Role>)]
    groups: BTreeMap<String, Role>,
    /// The domains whose addresses the provider speaks for; somebody here must have one of each.
    #[schema(value_type = Vec<words::Domain>)]
    domains: Vec<String>,
    /// Whether addresses are believed that the provider does not call verified.
    #[serde(default)]
    trusts_email: bool,
    is_on: bool,
    /// Whether passwords are refused; whoever forces it at an MSP may still use theirs.
    #[serde(default)]
    is_forced: bool,
}

/// How people come in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SsoOut {
    /// What has to be registered at the provider, as the address to come back to.
    redirect_uri: String,
    /// None when there is none.
    provider: Option<ProviderOut>,
}

/// An identity provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProviderOut {
    issuer: String,
    client_id: String,
    groups_claim: String,
    #[schema(value_type = BTreeMap<String, words::Role>)]
    groups: BTreeMap<String, Role>,
    domains: Vec<String>,
    trusts_email: bool,
    is_on: bool,
    is_forced: bool,
    /// Who of the MSP may come in by password all the same.
    break_glass: Option<String>,
    updated_at: Timestamp,
}

fn out(managed: &Managed, provider: Option<IdentityProvider>) -> Result<Json<SsoOut>, Problem> {
    let redirect_uri = managed.app.access.sso_redirect_at(managed.place)?;
    let provider = provider.map(|provider| ProviderOut {
        issuer: provider.issuer,
        client_id: provider.client_id,
        groups_claim: provider.groups_claim,
        groups: provider.groups,
        domains: provider.domains,
        trusts_email: provider.trusts_email,
        is_on: provider.is_on,
        is_forced: provider.is_forced,
        break_glass: provider.break_glass_email,
        updated_at: provider.updated_at,
    });
    Ok(Json(SsoOut { redirect_uri, provider }))
}

/// Shows the provider.
pub(crate) async fn show(managed: Managed) -> Result<Json<SsoOut>, Problem> {
    let provider = managed.app.access.sso(managed.place).await?;
    out(&managed, provider)
}

/// Sets the provider up.
pub(crate) async fn put(managed: Managed, sent: Sent) -> Result<Json<SsoOut>, Problem> {
    let SsoIn { issuer, client_id, client_secret, groups_claim, groups, domains, trusts_email, is_on, is_forced } =
        sent.read_listing("domains")?;
    let wanted = SsoSettings { issuer, client_id, client_secret, groups_claim, groups, domains, trusts_email, is_on, is_forced };
    let provider = managed.app.access.set_sso(managed.manager(), managed.place, &wanted).await?;
    out(&managed, Some(provider))
}

/// Removes the provider.
pub(crate) async fn remove(managed: Managed, sent: Sent) -> Result<Json<SsoOut>, Problem> {
    let EndIn { reason } = sent.read()?;
    managed.app.access.remove_sso(managed.manager(), managed.place, &reason).await?;
    out(&managed, None)
}
