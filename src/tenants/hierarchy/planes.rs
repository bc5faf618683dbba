//! The backup systems of a customer: several, each with the source that its events carry and the version that it runs.

use granary_foundation::Boxed;
use granary_types::{ControlPlaneId, SiteId};
use serde_json::json;

use super::{audit, check_text, require};
use crate::customer::{ControlPlane, Customer};
use crate::error::TenantsError;
use crate::lifecycle::Door;
use crate::store;
use crate::transaction::MspTx;

/// A backup system to be added.
#[derive(Debug, Clone)]
pub struct NewControlPlane {
    pub name: String,
    /// What its events carry as `source`; unique at the customer for ever.
    pub source: String,
    pub version: Option<String>,
    pub site_id: Option<SiteId>,
}

/// Adds a control plane.
///
/// # Errors
/// When a text does not fit, the source is taken, the site is not the customer's, or its state refuses new protection.
pub fn add_control_plane<'a>(
    tx: &'a MspTx,
    customer: &'a Customer,
    new: &'a NewControlPlane,
) -> Boxed<'a, Result<ControlPlane, TenantsError>> {
    Box::pin(async move {
        require(tx, customer, Door::Protection)?;
        check_text(&new.name, "the name of a control plane has 1 to 200 characters, none of them a control character")?;
        check_text(&new.source, "the source of a control plane has 1 to 200 characters, none of them a control character")?;
        if let Some(version) = &new.version {
            check_text(version, "the version of a control plane has 1 to 200 characters, none of them a control character")?;
        }
        if let Some(site) = new.site_id
            && !store::list_sites(tx, customer.id).await?.iter().any(|known| known.id == site && known.retired_at.is_none())
        {
            return Err(TenantsError::UnknownThing("site"));
        }
        let plane = store::insert_new_control_plane(tx, (tx.msp().id, customer.id), new).await?;
        audit(tx, customer, "control_plane.add", json!({"control_plane": plane.id, "source": plane.source}), None).await?;
        Ok(plane)
    })
}

/// Lists a customer's control planes by name, retired ones too.
///
/// # Errors
/// When Postgres refuses.
pub fn list_control_planes<'a>(tx: &'a MspTx, customer: &'a Customer) -> Boxed<'a, Result<Vec<ControlPlane>, TenantsError>> {
    Box::pin(async move { store::list_control_planes(tx, customer.id).await })
}

/// Retires a control plane: its past stays, its late facts are still counted. A second time changes nothing.
///
/// # Errors
/// When there is no reason, or the customer has no such control plane.
pub fn retire_control_plane<'a>(
    tx: &'a MspTx,
    customer: &'a Customer,
    id: ControlPlaneId,
    reason: &'a str,
) -> Boxed<'a, Result<ControlPlane, TenantsError>> {
    Box::pin(async move {
        check_text(reason, "a reason of 1 to 200 characters is needed")?;
        let plane = store::retire_control_plane(tx, customer.id, id).await?.ok_or(TenantsError::UnknownThing("control plane"))?;
        audit(tx, customer, "control_plane.retire", json!({"control_plane": id, "source": plane.source}), Some(reason)).await?;
        Ok(plane)
    })
}
