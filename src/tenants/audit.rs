//! The audit log, read: page by page for people, record by record for whoever wants to know that nothing was changed.

mod checkpoint;
mod verification;

use std::fmt;
use std::str::FromStr;

use granary_db::{AuditEntry, AuditRecord, record_audit};
use granary_foundation::Boxed;
use granary_types::{CustomerId, MspId};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::scope::{Actor, TenantScope};
use crate::store;
use crate::transaction::MspTx;

pub use checkpoint::Checkpoint;
pub use verification::{AuditFault, AuditReport};

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// The beginning of the action: `customer.`, or `customer.suspend`.
    pub action: Option<String>,
    /// `user:<id>`, `api_key:<id>`, `system:<name>`.
    pub actor: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Those that follow a line.
    pub after: Option<Cursor>,
}

/// The place of a line among the others, the newest first; at the same instant the control schema's stand before the silo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) at: Timestamp,
    pub(crate) log: u8,
    pub(crate) id: i64,
}

impl Cursor {
    /// Tells whether the line lies in a customer's own silo.
    pub const fn is_of_silo(self) -> bool {
        self.log == 1
    }

    /// What a line of a log stands before, when it comes after this place.
    pub(crate) fn bound(self, log: u8) -> (Timestamp, i64) {
        let id = match log.cmp(&self.log) {
            std::cmp::Ordering::Less => i64::MIN,
            std::cmp::Ordering::Equal => self.id,
            std::cmp::Ordering::Greater => i64::MAX,
        };
        (self.at, id)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.at.as_microsecond(), self.log, self.id)
    }
}

impl FromStr for Cursor {
    type Err = TenantsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().and_then(|part| part.parse::<i64>().ok());
        let (at, log, id) = (next(), next(), next());
        let at = at.and_then(|at| Timestamp::from_microsecond(at).ok());
        let log = log.and_then(|log| u8::try_from(log).ok()).filter(|log| *log < 2);
        match (at, log, id) {
            (Some(at), Some(log), Some(id)) => Ok(Self { at, log, id }),
            _ => Err(TenantsError::Invalid("a cursor is what 'next' of the page before said")),
        }
    }
}

/// One thing that somebody did, as people read it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditLine {
    #[serde(skip)]
    pub place: Cursor,
    /// Its place in the chain; none for what is older than the chain.
    pub sequence: Option<i64>,
    pub happened_at: Timestamp,
    pub actor: String,
    /// The name of the login or key; none of one that is gone, and of the house itself.
    pub who: Option<String>,
    pub action: String,
    /// The code of the customer that it concerns.
    pub customer: Option<String>,
    pub subject: String,
    pub detail: Value,
    pub reason: Option<String>,
}

/// The end of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sequence: i64,
    pub(crate) digest: Option<Vec<u8>>,
    pub(crate) older: i64,
    pub(crate) older_digest: Option<Vec<u8>>,
}

/// A record as it lies there.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) record: AuditRecord,
    pub(crate) digest: Vec<u8>,
    /// None of one whose words were taken out.
    pub(crate) salt: Option<Vec<u8>>,
    pub(crate) subject: String,
    pub(crate) detail: Value,
    pub(crate) reason: Option<String>,
    /// Whether its words may have been taken out: the customer was erased.
    pub(crate) may_be_blank: bool,
}

/// Lists what happened at an MSP, the newest first; of some of its customers only, when told.
///
/// # Errors
/// When Postgres refuses.
pub fn list_audit<'a>(
    tx: &'a MspTx,
    customers: Option<&'a [CustomerId]>,
    filter: &'a AuditFilter,
    limit: u16,
) -> Boxed<'a, Result<Vec<AuditLine>, TenantsError>> {
    Box::pin(async move { store::list_audit_lines(tx, Some(tx.msp().id), customers, filter, i64::from(limit)).await })
}

/// Adds an entry to the log of the MSP whose transaction it is.
///
/// # Errors
/// When the key store fails.
pub async fn note(tx: &MspTx, customer: Option<CustomerId>, action: &str, subject: &str, detail: &Value) -> Result<(), TenantsError> {
    Ok(record_audit(tx, &entry((Some(tx.msp().id), customer), tx.actor(), action, subject, detail)).await?)
}

fn entry((msp, customer): (Option<MspId>, Option<CustomerId>), actor: Actor, action: &str, subject: &str, detail: &Value) -> AuditEntry {
    AuditEntry {
        msp,
        customer,
        actor: actor.to_string(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: detail.clone(),
        reason: None,
    }
}

impl Tenants {
    /// Lists what happened to one customer, the newest first: what the MSP's log says of it, and the log in its own silo.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn list_audit_of_customer<'a>(
        &'a self,
        scope: &'a TenantScope,
        filter: &'a AuditFilter,
        limit: u16,
    ) -> Boxed<'a, Result<Vec<AuditLine>, TenantsError>> {
        Box::pin(async move {
            let msp = crate::scope::MspScope { msp: scope.msp.clone(), actor: scope.actor };
            let tx = self.begin_msp(&msp).await?;
            let mut lines = list_audit(&tx, Some(&[scope.customer.id]), filter, limit).await?;
            tx.commit().await?;
            let tx = self.begin_tenant(scope).await?;
            let code = scope.customer.code.to_string();
            let own = if store::has_chain(&tx).await? { store::list_silo_lines(&tx, filter, i64::from(limit)).await? } else { Vec::new() };
            tx.commit().await?;
            lines.extend(own.into_iter().map(|line| AuditLine { customer: Some(code.clone()), ..line }));
            lines.sort_by(|a, b| (b.place.at, a.place.log, b.place.id).cmp(&(a.place.at, b.place.log, a.place.id)));
            lines.truncate(usize::from(limit));
            Ok(lines)
        })
    }

    /// Adds an entry to the installation's log, in a transaction of its own.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn note_as_operator<'a>(
        &'a self,
        actor: Actor,
        action: &'a str,
        subject: &'a str,
        detail: &'a Value,
    ) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            record_audit(&tx, &entry((None, None), actor, action, subject, detail)).await?;
            Ok(tx.commit().await?)
        })
    }

    /// Lists what happened at an MSP, or, without one, in the installation as a whole.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn list_audit_as_operator<'a>(
        &'a self,
        msp: Option<MspId>,
        filter: &'a AuditFilter,
        limit: u16,
    ) -> Boxed<'a, Result<Vec<AuditLine>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let lines = store::list_audit_lines(&tx, msp, None, filter, i64::from(limit)).await?;
            tx.commit().await?;
            Ok(lines)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_orders_two_logs() {
        let cursor = Cursor { at: Timestamp::from_microsecond(1_700_000_000_000_001).unwrap(), log: 0, id: 7 };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for wrong in ["", "1-2", "1-2-3", "a-0-1", "1-0-", "1-0-1-1"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
        assert_eq!((cursor.bound(0).1, cursor.bound(1).1), (7, i64::MAX));
        assert_eq!((Cursor { log: 1, ..cursor }.bound(0).1, Cursor { log: 1, ..cursor }.bound(1).1), (i64::MIN, 7));
    }
}
