//! Legal holds: while one stands nothing is erased and nothing is let go, whoever asks.

use granary_db::{AuditEntry, Tx, record_audit};
use granary_foundation::Boxed;
use granary_types::{CustomerId, CustomerStatus};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::hierarchy::check_text;
use crate::scope::Actor;
use crate::store;
use crate::transaction::MspTx;

/// A hold; it stands until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LegalHold {
    pub reason: String,
    pub set_by: String,
    pub set_at: Timestamp,
    pub released_by: Option<String>,
    pub released_at: Option<Timestamp>,
}

/// Sets a hold on a customer; one that stands for the same reason stays as it is.
///
/// # Errors
/// When one stands for another reason, it is being erased, or the reason is missing or too long.
pub fn set_hold<'a>(tx: &'a MspTx, customer: &'a Customer, reason: &'a str) -> Boxed<'a, Result<LegalHold, TenantsError>> {
    Box::pin(async move {
        check_text(reason, "a legal hold needs a reason of 1 to 200 characters")?;
        set(tx, customer.id, reason, tx.actor()).await
    })
}

/// Releases the hold on a customer and returns it.
///
/// # Errors
/// When none stands, or the reason is missing or too long.
pub fn release_hold<'a>(tx: &'a MspTx, customer: &'a Customer, reason: &'a str) -> Boxed<'a, Result<LegalHold, TenantsError>> {
    Box::pin(async move {
        check_text(reason, "to release a legal hold a reason of 1 to 200 characters is needed")?;
        release(tx, customer.id, reason, tx.actor()).await
    })
}

/// Lists the holds on a customer, the newest first: one may stand, the others were released.
///
/// # Errors
/// When Postgres refuses.
pub fn list_holds<'a>(tx: &'a MspTx, customer: &'a Customer) -> Boxed<'a, Result<Vec<LegalHold>, TenantsError>> {
    Box::pin(async move { store::list_holds(tx, customer.id).await })
}

impl Tenants {
    /// Sets a hold on a customer, as [`set_hold`] does within an MSP.
    ///
    /// # Errors
    /// When there is no such customer, it is being erased, or no reason is given.
    pub fn set_hold<'a>(&'a self, customer: CustomerId, reason: &'a str, actor: Actor) -> Boxed<'a, Result<LegalHold, TenantsError>> {
        Box::pin(async move {
            if reason.trim().is_empty() {
                return Err(TenantsError::Invalid("a legal hold needs a reason"));
            }
            let tx = self.begin_catalog().await?;
            let hold = set(&tx, customer, reason, actor).await?;
            tx.commit().await?;
            Ok(hold)
        })
    }

    /// Releases the hold on a customer.
    ///
    /// # Errors
    /// When none stands.
    pub fn release_hold<'a>(&'a self, customer: CustomerId, reason: &'a str, actor: Actor) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            release(&tx, customer, reason, actor).await?;
            Ok(tx.commit().await?)
        })
    }

    /// Finds the hold that stands on a customer.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn hold_on<'a>(&'a self, customer: CustomerId) -> Boxed<'a, Result<Option<LegalHold>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let hold = store::find_hold(&tx, customer).await?;
            tx.commit().await?;
            Ok(hold)
        })
    }
}

async fn set(tx: &Tx, customer: CustomerId, reason: &str, actor: Actor) -> Result<LegalHold, TenantsError> {
    // Locked, so that nobody erases it meanwhile, nor lets rows go.
    let found = store::lock_customer(tx, customer).await?.ok_or(TenantsError::UnknownCustomer(customer))?;
    if found.status == CustomerStatus::Erased {
        return Err(TenantsError::Left(found.status));
    }
    let owner = (found.msp_id, customer);
    if store::insert_hold(tx, owner, reason, &actor.to_string()).await? {
        record_audit(tx, &entry(owner, actor, "customer.hold", reason)).await?;
    }
    let hold = store::find_hold(tx, customer).await?.ok_or(TenantsError::NoHold)?;
    if hold.reason != reason {
        // Two reasons are two holds, and the release of the first would end both.
        return Err(TenantsError::OnHold(hold.set_at, hold.reason));
    }
    Ok(hold)
}

async fn release(tx: &Tx, customer: CustomerId, reason: &str, actor: Actor) -> Result<LegalHold, TenantsError> {
    let found = store::lock_customer(tx, customer).await?.ok_or(TenantsError::UnknownCustomer(customer))?;
    let hold = store::release_hold(tx, customer, &actor.to_string()).await?.ok_or(TenantsError::NoHold)?;
    record_audit(tx, &entry((found.msp_id, customer), actor, "customer.release", reason)).await?;
    Ok(hold)
}

fn entry((msp, customer): (granary_types::MspId, CustomerId), actor: Actor, action: &str, reason: &str) -> AuditEntry {
    AuditEntry {
        msp: Some(msp),
        customer: Some(customer),
        actor: actor.to_string(),
        action: action.to_owned(),
        subject: format!("customer:{customer}"),
        detail: json!({}),
        reason: Some(reason.to_owned()),
    }
}
