//! The people behind users: what is known of one, and how one is forgotten.

use granary_db::{AuditEntry, record_audit};
use granary_foundation::Boxed;
use granary_types::{CustomerId, MspId, Role, UserId};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::{Access, AccessError, Grant, store};

/// A user, as its MSP and the person itself may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    pub id: UserId,
    pub name: String,
    pub email: String,
    pub role: Role,
    /// None for the operator's people.
    pub msp_id: Option<MspId>,
    /// None for people of the MSP.
    pub customer_id: Option<CustomerId>,
    /// The customers that a confined operator or analyst sees; none for all, and for every other role.
    pub granted: Option<Vec<CustomerId>>,
    pub can_read_billing: bool,
    /// Whether it has not chosen a password yet.
    pub is_invited: bool,
    pub has_second_factor: bool,
    pub is_disabled: bool,
    pub created_at: Timestamp,
    /// Browser sessions that are kept, ended ones among them.
    pub sessions: i64,
    /// Of those sessions.
    pub last_used_at: Option<Timestamp>,
}

impl Person {
    /// Returns what the login may do.
    pub fn grant(&self) -> Grant {
        Grant { role: self.role, granted: self.granted.clone(), can_read_billing: self.can_read_billing }
    }
}

impl Access {
    /// Lists the users of a customer by address.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn list_users_of<'a>(&'a self, customer: CustomerId) -> Boxed<'a, Result<Vec<Person>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let people = store::people::list_users_of(&tx, customer).await?;
            tx.commit().await?;
            Ok(people)
        })
    }

    /// Finds the user with an address, in whatever state it is; another MSP's is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn find_person<'a>(&'a self, msp: MspId, email: &'a str) -> Boxed<'a, Result<Option<Person>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let person = store::people::find_person(&tx, msp, email.trim()).await?;
            tx.commit().await?;
            Ok(person)
        })
    }

    /// Deletes a user with its sessions and grants; what it did stays in the audit log, under an id that nobody knows any more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn forget_person<'a>(
        &'a self,
        msp: MspId,
        person: &'a Person,
        actor: &'a str,
        reason: &'a str,
    ) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            if store::delete_user(&tx, person.id).await? {
                let entry = AuditEntry {
                    msp: Some(msp),
                    customer: person.customer_id,
                    actor: actor.to_owned(),
                    action: "user.forget".to_owned(),
                    subject: format!("user:{}", person.id),
                    detail: json!({"role": person.role}),
                    reason: Some(reason.to_owned()),
                };
                record_audit(&tx, &entry).await?;
            }
            Ok(tx.commit().await?)
        })
    }
}
