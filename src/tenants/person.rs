//! One person in what a customer has: the contacts, the customer's own address, and rows of the silo that name the address.

use granary_db::Tx;
use granary_foundation::Boxed;
use serde::Serialize;
use serde_json::{Value, json};

use crate::customer::Customer;
use crate::error::TenantsError;
use crate::hierarchy::audit;
use crate::store;
use crate::transaction::{MspTx, TenantTx};

/// The longest address that mail takes.
const LONGEST: usize = 254;

/// The address by which a person is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonAddress(String);

/// A row of a silo that names an address.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mention {
    pub table: String,
    pub row: Value,
}

impl std::str::FromStr for PersonAddress {
    type Err = TenantsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_lowercase();
        let (name, domain) = text.split_once('@').unwrap_or_default();
        let is_plain = |char: char| !char.is_control() && !char.is_whitespace() && !['"', '\\', '@', ',', ';'].contains(&char);
        if name.is_empty() || domain.is_empty() || text.len() > LONGEST || !name.chars().chain(domain.chars()).all(is_plain) {
            return Err(TenantsError::Invalid("an e-mail address is a name, an '@' and a domain"));
        }
        Ok(Self(text))
    }
}

impl PersonAddress {
    /// Returns the address in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether an address is this one.
    pub fn is(&self, email: &str) -> bool {
        email.trim().to_lowercase() == self.0
    }

    /// Tells whether a text names the address, and not one that only contains it.
    pub fn is_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let continues = |char: char| char.is_alphanumeric() || "._%+-@".contains(char);
        text.match_indices(&self.0).any(|(at, found)| {
            let (before, after) = (text[..at].chars().next_back(), &text[at + found.len()..]);
            let mut after = after.chars();
            let ends = match after.next() {
                // The end of a sentence ends it, the beginning of another label does not.
                Some('.') => !after.next().is_some_and(char::is_alphanumeric),
                other => !other.is_some_and(continues),
            };
            ends && !before.is_some_and(continues)
        })
    }
}

/// Lists the rows of a customer's silo that name an address, whatever the table.
///
/// # Errors
/// When Postgres refuses.
pub fn list_mentions<'a>(tx: &'a TenantTx, address: &'a PersonAddress) -> Boxed<'a, Result<Vec<Mention>, TenantsError>> {
    Box::pin(mentions(tx, address))
}

/// Lists the rows that name an address, of the silo or the copy of one that a transaction is in.
pub(crate) async fn mentions(tx: &Tx, address: &PersonAddress) -> Result<Vec<Mention>, TenantsError> {
    let found = store::list_mentions(tx, address.as_str()).await?;
    Ok(found.into_iter().filter(|mention| address.is_in(&mention.row.to_string())).collect())
}

/// Blanks the customer's own address when it is this one; tells whether it was.
///
/// # Errors
/// When Postgres refuses.
pub fn forget_contact_email<'a>(
    tx: &'a MspTx,
    customer: &'a Customer,
    address: &'a PersonAddress,
    reason: &'a str,
) -> Boxed<'a, Result<bool, TenantsError>> {
    Box::pin(async move {
        let is_gone = store::delete_contact_email(tx, customer.id, address.as_str()).await?;
        if is_gone {
            audit(tx, customer, "customer.contact_email.forget", json!({}), Some(reason)).await?;
        }
        Ok(is_gone)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_named_whole_or_not_at_all() {
        let ann: PersonAddress = " Ann@X.example ".parse().unwrap();
        for text in ["ann@x.example", "to: ANN@x.example, bob", r#"{"by":"ann@x.example"}"#, "asked by ann@x.example."] {
            assert!(ann.is_in(text), "{text}");
        }
        for text in ["joann@x.example", "ann@x.example.org", "ann@x.examples", "ann@xy.example", "mary.ann@x.example", "ann"] {
            assert!(!ann.is_in(text), "{text}");
        }
        assert!(ann.is_in("joann@x.example and ann@x.example"));
        for text in ["ann", "@x", "ann@", "a nn@x", "a\"@x", "a@b@c"] {
            assert!(text.parse::<PersonAddress>().is_err(), "{text}");
        }
    }
}
