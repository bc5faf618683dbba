//! The audit log of the control schema.

use granary_types::{CustomerId, MspId};
use serde_json::Value;

use crate::error::DbError;
use crate::store;
use crate::tx::Tx;

/// One thing that somebody did.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    pub msp: Option<MspId>,
    pub customer: Option<CustomerId>,
    /// `user:<id>`, `job:<kind>`, `cli`.
    pub actor: String,
    /// `customer.suspend`
    pub action: String,
    /// What it was done to: `customer:ACME`.
    pub subject: String,
    pub detail: Value,
    pub reason: Option<String>,
}

/// Adds an entry to the control schema's audit log, in the caller's transaction.
///
/// # Errors
/// When Postgres refuses.
pub async fn record_audit(tx: &Tx, entry: &AuditEntry) -> Result<(), DbError> {
    let AuditEntry { msp, customer, actor, action, subject, detail, reason } = entry;
    tx.execute(store::INSERT_AUDIT, &[msp, customer, actor, action, subject, detail, reason, &tx.now()]).await?;
    Ok(())
}
