//! The three kinds of transaction, and the small one that finds out who somebody is.

use std::ops::Deref;

use granary_db::{AuditEntry, Tx, outbox, record_in_silo};
use granary_foundation::Event;
use serde_json::Value;

use crate::customer::Customer;
use crate::error::TenantsError;
use crate::msp::Msp;
use crate::scope::{Actor, MspScope, TenantScope};

/// A transaction in one customer's schema, as that customer's role. Unqualified names mean the customer's tables; no other
/// table can be reached.
#[derive(Debug)]
pub struct TenantTx {
    tx: Tx,
    scope: TenantScope,
}

impl TenantTx {
    pub(crate) const fn new(tx: Tx, scope: TenantScope) -> Self {
        Self { tx, scope }
    }

    /// Returns the customer.
    pub const fn customer(&self) -> &Customer {
        &self.scope.customer
    }

    /// Returns the customer's MSP.
    pub const fn msp(&self) -> &Msp {
        &self.scope.msp
    }

    /// Returns who acts.
    pub const fn actor(&self) -> Actor {
        self.scope.actor
    }

    /// Leaves news that travels if and only if the transaction commits.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn emit(&self, event: &impl Event) -> Result<(), TenantsError> {
        Ok(outbox::emit(&self.tx, None, event).await?)
    }

    /// Adds to the customer's own audit log, which is only ever added to, when the transaction commits.
    ///
    /// # Errors
    /// When the key store fails.
    pub async fn record_audit(&self, action: &str, subject: &str, detail: &Value, reason: Option<&str>) -> Result<(), TenantsError> {
        let entry = AuditEntry {
            msp: None,
            customer: None,
            actor: self.scope.actor.to_string(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail: detail.clone(),
            reason: reason.map(str::to_owned),
        };
        Ok(record_in_silo(&self.tx, (self.scope.msp.id, self.scope.customer.id), &entry).await?)
    }

    /// Commits.
    ///
    /// # Errors
    /// When a statement had failed before, or Postgres refuses.
    pub async fn commit(self) -> Result<(), TenantsError> {
        Ok(self.tx.commit().await?)
    }

    /// Rolls back.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn rollback(self) -> Result<(), TenantsError> {
        Ok(self.tx.rollback().await?)
    }
}

/// A transaction in the control schema that sees the rows of one MSP.
#[derive(Debug)]
pub struct MspTx {
    tx: Tx,
    scope: MspScope,
}

impl MspTx {
    pub(crate) const fn new(tx: Tx, scope: MspScope) -> Self {
        Self { tx, scope }
    }

    /// Returns the MSP.
    pub const fn msp(&self) -> &Msp {
        &self.scope.msp
    }

    /// Returns who acts.
    pub const fn actor(&self) -> Actor {
        self.scope.actor
    }

    /// Leaves news that travels if and only if the transaction commits.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn emit(&self, event: &impl Event) -> Result<(), TenantsError> {
        Ok(outbox::emit(&self.tx, Some(self.scope.msp.id), event).await?)
    }

    /// Commits.
    ///
    /// # Errors
    /// When a statement had failed before, or Postgres refuses.
    pub async fn commit(self) -> Result<(), TenantsError> {
        Ok(self.tx.commit().await?)
    }

    /// Rolls back.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn rollback(self) -> Result<(), TenantsError> {
        Ok(self.tx.rollback().await?)
    }
}

macro_rules! plain_transactions {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            tx: Tx,
        }

        impl $name {
            pub(crate) const fn new(tx: Tx) -> Self {
                Self { tx }
            }

            /// Commits.
            ///
            /// # Errors
            /// When a statement had failed before, or Postgres refuses.
            pub async fn commit(self) -> Result<(), TenantsError> {
                Ok(self.tx.commit().await?)
            }

            /// Rolls back.
            ///
            /// # Errors
            /// When Postgres does not answer.
            pub async fn rollback(self) -> Result<(), TenantsError> {
                Ok(self.tx.rollback().await?)
            }
        }
    )*};
}

plain_transactions! {
    /// A transaction in the whole control schema; that it was opened, by whom and why, is in the audit log.
    OperatorTx;
    /// A transaction that sees users, sessions and API keys, and reads MSPs and customers: to find out who somebody is. Only
    /// `access` opens it.
    AccessTx;
}

macro_rules! is_a_transaction {
    ($($name:ident),*) => {$(
        impl Deref for $name {
            type Target = Tx;

            fn deref(&self) -> &Tx {
                &self.tx
            }
        }
    )*};
}

is_a_transaction!(TenantTx, MspTx, OperatorTx, AccessTx);
