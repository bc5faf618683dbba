//! Who of the MSP opened a customer's data: written down, and shown to that customer.

use granary_db::{AuditEntry, record_audit};
use granary_foundation::Boxed;
use granary_types::{CustomerId, Role};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{Access, AccessError, Principal, store};

/// Somebody who goes on looking is written down again after this.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// How many a list shows.
const SHOWN: i64 = 200;

/// Somebody of the MSP, or a program of it, opened a customer's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub opened_at: Timestamp,
    /// The name; none of a login or key that is gone.
    pub who: Option<String>,
    /// None for a program.
    pub role: Option<Role>,
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
            let since = self.now().checked_sub(AGAIN_AFTER).unwrap_or(Timestamp::UNIX_EPOCH);
            let actor = principal.actor().to_string();
            if !store::openings::is_noted(&tx, customer, &actor, since).await? {
                let entry = AuditEntry {
                    msp: principal.msp(),
                    customer: Some(customer),
                    actor,
                    action: "customer.open".to_owned(),
                    subject: format!("customer:{customer}"),
                    detail: json!({}),
                    reason: None,
                };
                record_audit(&tx, &entry).await?;
            }
            Ok(tx.commit().await?)
        })
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
