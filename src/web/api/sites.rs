//! `…/customers/{code}/sites`: places where a customer's machines stand.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use granary_tenants::{NewSite, Site, add_site, list_sites, retire_site};
use granary_types::SiteId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{At, EndIn, Once, id_of, zone};
use crate::http::Problem;
use crate::openapi::words;

/// A site to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SiteIn {
    /// Unique at the customer.
    #[schema(value_type = words::Text)]
    name: String,
    /// The customer's country unless told.
    #[schema(value_type = Option<words::Country>)]
    country: Option<String>,
    #[schema(value_type = Option<words::Text>)]
    city: Option<String>,
    /// The customer's zone unless told.
    #[schema(value_type = Option<words::Zone>)]
    time_zone: Option<String>,
}

/// A place where a customer's machines stand.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SiteOut {
    #[schema(value_type = Uuid)]
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
pub(crate) async fn list(at: At) -> Result<Json<SitesOut>, Problem> {
    let sites = list_sites(&at.tx, &at.customer).await?;
    at.show(SitesOut { sites: sites.into_iter().map(SiteOut::from).collect() }).await
}

/// Adds a site.
pub(crate) async fn add(Once { at, wanted: SiteIn { name, country, city, time_zone }, sent }: Once<SiteIn>) -> Result<Response, Problem> {
    let time_zone = time_zone.as_deref().map_or_else(|| Ok(at.customer.time_zone.clone()), zone)?;
    let new = NewSite { name, country: country.unwrap_or_else(|| at.customer.country.clone()), city, time_zone };
    let site = add_site(&at.tx, &at.customer, &new).await?;
    sent.done(at, StatusCode::CREATED, &SiteOut::from(site)).await
}

/// Retires a site.
pub(crate) async fn retire(
    Path((_, id)): Path<(String, String)>,
    Once { at, wanted: EndIn { reason }, sent }: Once<EndIn>,
) -> Result<Response, Problem> {
    let site = retire_site(&at.tx, &at.customer, id_of(&id, "such site")?, &reason).await?;
    sent.done(at, StatusCode::OK, &SiteOut::from(site)).await
}
