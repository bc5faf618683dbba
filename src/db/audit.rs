//! The audit log: entries wait in their transaction, and its commit puts them at the end of their chain.
//!
//! A chain is the log of one MSP, of the installation, or of one customer's silo. Every record carries a digest over itself and
//! the digest before it, keyed by what only the key store knows. Whoever commits holds the chain's head row, so that records of
//! many writers stand one behind the other; the head is taken last, and several in their order, so that nobody waits in a circle.

mod append;
mod chain;

use std::collections::BTreeMap;
use std::sync::Arc;

use granary_foundation::Boxed;
use granary_types::{CustomerId, MspId};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::error::DbError;
use crate::owner::OwnerConnection;
use crate::tx::Tx;
use append::Place;

pub use chain::{AuditKey, AuditRecord, CheckpointClaim, words_digest};

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

/// Whose log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditChain {
    /// Entries of the control schema that belong to no MSP.
    Installation,
    /// The control schema's entries of one MSP.
    Msp(MspId),
    /// What lies in the silo of one customer.
    Silo { msp: MspId, customer: CustomerId },
}

impl AuditChain {
    /// Returns the chain of the control schema that an entry belongs to.
    pub fn of_msp(msp: Option<MspId>) -> Self {
        msp.map_or(Self::Installation, Self::Msp)
    }

    /// Returns the id under which heads and checkpoints are kept.
    pub const fn id(self) -> Uuid {
        match self {
            Self::Installation => Uuid::nil(),
            Self::Msp(id) => id.uuid(),
            Self::Silo { customer, .. } => customer.uuid(),
        }
    }

    /// Returns the MSP whose keys the chain is made with.
    pub const fn msp(self) -> Option<MspId> {
        match self {
            Self::Installation => None,
            Self::Msp(id) | Self::Silo { msp: id, .. } => Some(id),
        }
    }

    /// Returns the customer in whose silo it lies.
    pub const fn customer(self) -> Option<CustomerId> {
        match self {
            Self::Silo { customer, .. } => Some(customer),
            Self::Installation | Self::Msp(_) => None,
        }
    }
}

/// What knows the keys of chains: the key store.
pub trait AuditKeys: Send + Sync {
    /// Returns the key of a chain, made if there is none.
    fn audit_key(&self, chain: AuditChain) -> Boxed<'_, Result<AuditKey, DbError>>;
}

/// Entries that wait for the commit, by their chain.
#[derive(Default)]
pub(crate) struct Waiting {
    chains: BTreeMap<AuditChain, (AuditKey, Vec<(AuditEntry, Timestamp)>)>,
}

impl Waiting {
    fn add(&mut self, chain: AuditChain, key: AuditKey, entry: AuditEntry, at: Timestamp) {
        self.chains.entry(chain).or_insert_with(|| (key, Vec::new())).1.push((entry, at));
    }

    /// Puts everything at the end of its chain.
    pub(crate) async fn append(self, tx: &Tx) -> Result<(), DbError> {
        for (chain, (key, entries)) in self.chains {
            append::append(Place::Tx(tx), chain, &key, &entries).await?;
        }
        Ok(())
    }
}

/// Adds an entry to the control schema's audit log when the caller's transaction commits. Its key is fetched now, so that
/// nobody waits for it while others wait for the head.
///
/// # Errors
/// When the key store fails, or the transaction was opened by somebody who has none.
pub async fn record_audit(tx: &Tx, entry: &AuditEntry) -> Result<(), DbError> {
    wait(tx, AuditChain::of_msp(entry.msp), entry).await
}

/// Adds an entry to the log of the silo that a transaction is in. One whose schema is from before the chain takes it as it did.
///
/// # Errors
/// As [`record_audit`].
pub async fn record_in_silo(tx: &Tx, (msp, customer): (MspId, CustomerId), entry: &AuditEntry) -> Result<(), DbError> {
    wait(tx, AuditChain::Silo { msp, customer }, entry).await
}

/// Adds an entry to the log of the silo in which the owner has a transaction open.
///
/// # Errors
/// When the key store fails, or Postgres refuses.
pub async fn record_as_owner(
    owner: &OwnerConnection,
    keys: &dyn AuditKeys,
    (msp, customer): (MspId, CustomerId),
    entry: AuditEntry,
    at: Timestamp,
) -> Result<(), DbError> {
    let chain = AuditChain::Silo { msp, customer };
    let key = keys.audit_key(chain).await?;
    append::append(Place::Owner(owner), chain, &key, &[(entry, at)]).await
}

async fn wait(tx: &Tx, chain: AuditChain, entry: &AuditEntry) -> Result<(), DbError> {
    let keys: Arc<dyn AuditKeys> = tx.audit_keys().ok_or(DbError::NoAuditKeys)?;
    let key = keys.audit_key(chain).await?;
    tx.audit_waiting().add(chain, key, entry.clone(), tx.now());
    Ok(())
}
