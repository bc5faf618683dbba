//! Places where a customer's machines stand.

use granary_foundation::Boxed;
use granary_types::SiteId;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{audit, check_text, require};
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::lifecycle::Door;
use crate::store;
use crate::transaction::MspTx;

/// A place where a customer's machines stand.
#[derive(Debug, Clone)]
pub struct Site {
    pub id: SiteId,
    pub name: String,
    pub country: String,
    pub city: Option<String>,
    pub time_zone: TimeZone,
    pub created_at: Timestamp,
    pub retired_at: Option<Timestamp>,
}

/// A site to be added.
#[derive(Debug, Clone)]
pub struct NewSite {
    /// Unique at the customer.
    pub name: String,
    /// Two letters, `US`.
    pub country: String,
    pub city: Option<String>,
    pub time_zone: TimeZone,
}

/// Adds a site.
///
/// # Errors
/// When a text does not fit, the customer has a site of that name, or its state refuses new protection.
pub fn add_site<'a>(tx: &'a MspTx, customer: &'a Customer, new: &'a NewSite) -> Boxed<'a, Result<Site, TenantsError>> {
    Box::pin(async move {
        require(tx, customer, Door::Protection)?;
        check_text(&new.name, "the name of a site has 1 to 200 characters, none of them a control character")?;
        if let Some(city) = &new.city {
            check_text(city, "the city of a site has 1 to 200 characters, none of them a control character")?;
        }
        if new.country.len() != 2 || !new.country.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(TenantsError::Invalid("a country is two capital letters, such as US"));
        }
        let site = store::insert_site(tx, (tx.msp().id, customer.id), new).await?;
        audit(tx, customer, "site.add", json!({"site": site.id, "name": site.name}), None).await?;
        Ok(site)
    })
}

/// Lists a customer's sites by name, retired ones too.
///
/// # Errors
/// When Postgres refuses.
pub fn list_sites<'a>(tx: &'a MspTx, customer: &'a Customer) -> Boxed<'a, Result<Vec<Site>, TenantsError>> {
    Box::pin(async move { store::list_sites(tx, customer.id).await })
}

/// Retires a site; a second time changes nothing.
///
/// # Errors
/// When there is no reason, or the customer has no such site.
pub fn retire_site<'a>(tx: &'a MspTx, customer: &'a Customer, id: SiteId, reason: &'a str) -> Boxed<'a, Result<Site, TenantsError>> {
    Box::pin(async move {
        check_text(reason, "a reason of 1 to 200 characters is needed")?;
        let site = store::retire_site(tx, customer.id, id).await?.ok_or(TenantsError::UnknownThing("site"))?;
        audit(tx, customer, "site.retire", json!({"site": id, "name": site.name}), Some(reason)).await?;
        Ok(site)
    })
}
