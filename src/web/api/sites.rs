//! `…/customers/{code}/sites`: places where a customer's machines stand.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use granary_tenants::{NewSite, Site, add_site, list_sites, retire_site};
use granary_types::SiteId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{Sent, enter, id_of, zone};
use crate::AppState;
use crate::http::{Problem, Visitor};

/// A site to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SiteIn {
    /// Unique at the customer.
    name: String,
    /// Two capital letters; the customer's country unless told.
    country: Option<String>,
    city: Option<String>,
    /// The customer's zone unless told.
    time_zone: Option<String>,
}

/// Why something is no longer used.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetireIn {
    pub(crate) reason: String,
}

/// A place where a customer's machines stand.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SiteOut {
    #[schema(value_type = String)]
    id: SiteId,
    name: String,
    country: String,
    city: Option<String>,
    time_zone: String,
    created_at: Timestamp,
    retired_at: Option<Timestamp>,
}

/// The sites of a customer, retired ones too, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SitesOut {
    sites: Vec<SiteOut>,
}

impl From<Site> for SiteOut {
    fn from(site: Site) -> Self {
        let time_zone = site.time_zone.iana_name().unwrap_or("UTC").to_owned();
        let Site { id, name, country, city, created_at, retired_at, .. } = site;
        Self { id, name, country, city, time_zone, created_at, retired_at }
    }
}

/// Lists a customer's sites.
pub(crate) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
) -> Result<Json<SitesOut>, Problem> {
    let (tx, customer) = enter(&app, &visitor, &code).await?;
    let sites = list_sites(&tx, &customer).await?;
    tx.commit().await?;
    Ok(Json(SitesOut { sites: sites.into_iter().map(SiteOut::from).collect() }))
}

/// Adds a site.
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
    let SiteIn { name, country, city, time_zone } = sent.read()?;
    let time_zone = time_zone.as_deref().map_or_else(|| Ok(customer.time_zone.clone()), zone)?;
    let new = NewSite { name, country: country.unwrap_or_else(|| customer.country.clone()), city, time_zone };
    let site = add_site(&tx, &customer, &new).await?;
    sent.answer(&app, tx, StatusCode::CREATED, &SiteOut::from(site)).await
}

/// Retires a site.
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
    let site = retire_site(&tx, &customer, id_of(&id, "such site")?, &reason).await?;
    sent.answer(&app, tx, StatusCode::OK, &SiteOut::from(site)).await
}
