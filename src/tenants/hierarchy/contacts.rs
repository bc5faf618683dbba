//! People at a customer. Who they are lies sealed under the customer's key.

use granary_foundation::Boxed;
use granary_types::{ContactId, CustomerStatus, UnknownWord, is_printable};
use granary_vault::{Cell, Owner, Wrapped};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{audit, check_text};
use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::store;
use crate::transaction::MspTx;

/// What somebody is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    Main,
    Billing,
    Technical,
}

impl ContactKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Main, Self::Billing, Self::Technical];

    /// Returns the stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Billing => "billing",
            Self::Technical => "technical",
        }
    }
}

impl std::str::FromStr for ContactKind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownWord {
            word: text.chars().take(40).collect(),
            noun: "kind of contact",
            choices: "main, billing, technical".to_owned(),
        })
    }
}

/// Somebody to be added.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewContact {
    #[serde(skip, default = "main")]
    pub kind: ContactKind,
    pub name: String,
    pub email: String,
    pub phone: Option<String>,
}

const fn main() -> ContactKind {
    ContactKind::Main
}

/// Somebody at a customer.
#[derive(Debug, Clone)]
pub struct Contact {
    pub id: ContactId,
    pub kind: ContactKind,
    pub name: String,
    pub email: String,
    pub phone: Option<String>,
    pub created_at: Timestamp,
}

/// A contact as it lies there.
#[derive(Debug)]
pub(crate) struct SealedContact {
    pub(crate) id: ContactId,
    pub(crate) kind: ContactKind,
    pub(crate) sealed: Wrapped,
    pub(crate) email_index: Vec<u8>,
    pub(crate) created_at: Timestamp,
}

impl Tenants {
    /// Adds a contact.
    ///
    /// # Errors
    /// When a text does not fit, the same person is there for the same matters, or the customer has left.
    pub fn add_contact<'a>(
        &'a self,
        tx: &'a MspTx,
        customer: &'a Customer,
        new: &'a NewContact,
    ) -> Boxed<'a, Result<Contact, TenantsError>> {
        Box::pin(async move {
            new.check()?;
            if matches!(customer.status, CustomerStatus::Closed | CustomerStatus::Erased) {
                return Err(TenantsError::Left(customer.status));
            }
            let (owner, id) = (Owner::Customer(customer.id), ContactId::new());
            let plain = serde_json::to_vec(new).map_err(|error| TenantsError::Stored(error.to_string()))?;
            let contact = SealedContact {
                id,
                kind: new.kind,
                sealed: self.keys().seal_column(owner, &plain, cell(&id)).await?,
                email_index: self.keys().blind_index(owner, new.email.trim().to_lowercase().as_bytes()).await?.to_vec(),
                created_at: tx.now(),
            };
            store::insert_contact(tx, (tx.msp().id, customer.id), &contact).await?;
            audit(tx, customer, "contact.add", json!({"contact": id, "kind": new.kind}), None).await?;
            let NewContact { kind, name, email, phone } = new.clone();
            Ok(Contact { id, kind, name, email, phone, created_at: contact.created_at })
        })
    }

    /// Lists a customer's contacts in the order in which they were added; none once its key is destroyed.
    ///
    /// # Errors
    /// When a row cannot be opened.
    pub fn list_contacts<'a>(&'a self, tx: &'a MspTx, customer: &'a Customer) -> Boxed<'a, Result<Vec<Contact>, TenantsError>> {
        Box::pin(async move {
            if customer.status == CustomerStatus::Erased {
                return Ok(Vec::new());
            }
            let mut contacts = Vec::new();
            for row in store::list_contacts(tx, customer.id).await? {
                let plain = self.keys().open_column(Owner::Customer(customer.id), &row.sealed, cell(&row.id)).await?;
                let NewContact { name, email, phone, .. } =
                    serde_json::from_slice(&plain).map_err(|error| TenantsError::Stored(error.to_string()))?;
                contacts.push(Contact { id: row.id, kind: row.kind, name, email, phone, created_at: row.created_at });
            }
            Ok(contacts)
        })
    }

    /// Removes a contact for good.
    ///
    /// # Errors
    /// When the customer has no such contact.
    pub fn remove_contact<'a>(
        &'a self,
        tx: &'a MspTx,
        customer: &'a Customer,
        id: ContactId,
        reason: &'a str,
    ) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            check_text(reason, "a reason of 1 to 200 characters is needed")?;
            if !store::delete_contact(tx, customer.id, id).await? {
                return Err(TenantsError::UnknownThing("contact"));
            }
            audit(tx, customer, "contact.remove", json!({"contact": id}), Some(reason)).await
        })
    }
}

/// What a contact's seal covers besides its content, so that rows cannot be exchanged.
fn cell(id: &ContactId) -> Cell<'_> {
    Cell::of("contacts", "sealed", id.0.as_bytes())
}

impl NewContact {
    /// Refuses what nobody can be reached by.
    ///
    /// # Errors
    /// [`TenantsError::Invalid`] with what would fit.
    pub fn check(&self) -> Result<(), TenantsError> {
        check_text(&self.name, "the name of a contact has 1 to 200 characters, none of them a control character")?;
        if let Some(phone) = &self.phone {
            check_text(phone, "the telephone number of a contact has 1 to 200 characters, none of them a control character")?;
        }
        let (name, domain) = self.email.trim().split_once('@').unwrap_or_default();
        let is_plain = is_printable(&self.email, 254) && !self.email.trim().chars().any(char::is_whitespace);
        let is_address = !name.is_empty() && !domain.is_empty() && is_plain;
        if is_address { Ok(()) } else { Err(TenantsError::Invalid("an e-mail address needs a name, an '@' and a domain")) }
    }
}
