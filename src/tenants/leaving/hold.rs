//! Legal holds: while one stands nothing is erased, whoever asks.

use granary_db::{AuditEntry, record_audit};
use granary_foundation::Boxed;
use granary_types::{CustomerId, CustomerStatus};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::scope::Actor;
use crate::store;

/// A hold that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LegalHold {
    pub reason: String,
    pub set_by: String,
    pub set_at: Timestamp,
}

impl Tenants {
    /// Sets a hold on a customer; one that stands stays as it is.
    ///
    /// # Errors
    /// When there is no such customer, it is being erased, or no reason is given.
    pub fn set_hold<'a>(&'a self, customer: CustomerId, reason: &'a str, actor: Actor) -> Boxed<'a, Result<LegalHold, TenantsError>> {
        Box::pin(async move {
            if reason.trim().is_empty() {
                return Err(TenantsError::Invalid("a legal hold needs a reason"));
            }
            let tx = self.begin_catalog().await?;
            // Locked, so that nobody erases it meanwhile.
            let found = store::lock_customer(&tx, customer).await?.ok_or(TenantsError::UnknownCustomer(customer))?;
            if found.status == CustomerStatus::Erased {
                return Err(TenantsError::Left(found.status));
            }
            let owner = (found.msp_id, customer);
            if store::insert_hold(&tx, owner, reason, &actor.to_string()).await? {
                record_audit(&tx, &entry(owner, actor, "customer.hold", reason)).await?;
            }
            let hold = store::find_hold(&tx, customer).await?;
            tx.commit().await?;
            hold.ok_or(TenantsError::NoHold)
        })
    }

    /// Releases the hold on a customer.
    ///
    /// # Errors
    /// When none stands.
    pub fn release_hold<'a>(&'a self, customer: CustomerId, reason: &'a str, actor: Actor) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            let found = self.get_customer(customer).await?;
            let tx = self.begin_catalog().await?;
            if !store::release_hold(&tx, customer, &actor.to_string()).await? {
                return Err(TenantsError::NoHold);
            }
            record_audit(&tx, &entry((found.msp_id, customer), actor, "customer.release", reason)).await?;
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
