//! Who of the MSP and the operator opened a customer's data: written down, and shown to that customer.

use granary_db::{AuditEntry, record_audit};
use granary_foundation::Boxed;
use granary_types::{CustomerId, MspId, Role};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{Access, AccessError, Principal, store};

/// Somebody who goes on looking is written down again after this.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// How the log calls a command of the operator; the list knows it by this.
const COMMAND: &str = "operator:cli";
/// How many a list shows.
const SHOWN: i64 = 200;

/// Somebody of the MSP, a program of it, or a command of the operator opened a customer's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub opened_at: Timestamp,
    /// The name; none of a login or key that is gone.
    pub who: Option<String>,
    /// None for a program.
    pub role: Option<Role>,
    /// What a command did.
    pub reason: Option<String>,
}

impl Access {
    /// Notes that somebody opened a customer's data, once an hour; its own people are at home there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn note_opening<'a>(&'a self, principal: &'a Principal, customer: CustomerId) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            if principal.only_customer().is_some() {
                return Ok(());
            }
            let tx = self.begin().await?;
            let actor = principal.actor().to_string();
            if !store::openings::is_noted(&tx, customer, &actor, self.an_hour_ago()).await? {
                record_audit(&tx, &entry(principal.msp(), customer, actor, None)).await?;
            }
            Ok(tx.commit().await?)
        })
    }

    /// Notes that a command of the operator opened the data of customers, once an hour.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn note_command<'a>(&'a self, customers: &'a [CustomerId], command: &'a str) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            for (customer, msp) in store::openings::list_unnoted(&tx, customers, (COMMAND, command), self.an_hour_ago()).await? {
                record_audit(&tx, &entry(Some(msp), customer, COMMAND.to_owned(), Some(command.to_owned()))).await?;
            }
            Ok(tx.commit().await?)
        })
    }

    fn an_hour_ago(&self) -> Timestamp {
        self.now().checked_sub(AGAIN_AFTER).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Lists who opened a customer's data, the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn list_openings<'a>(&'a self, customer: CustomerId) -> Boxed<'a, Result<Vec<Opening>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let openings = store::openings::list(&tx, customer, SHOWN).await?;
            tx.commit().await?;
            Ok(openings)
        })
    }
}

fn entry(msp: Option<MspId>, customer: CustomerId, actor: String, reason: Option<String>) -> AuditEntry {
    let (action, subject) = ("customer.open".to_owned(), format!("customer:{customer}"));
    AuditEntry { msp, customer: Some(customer), actor, action, subject, detail: json!({}), reason }
}
