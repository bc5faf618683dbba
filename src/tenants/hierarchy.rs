//! What belongs to a customer in the catalog: contacts, sites, control planes, limits, contracts.
//!
//! Everything is read and changed within an [`MspTx`], so that another MSP's rows do not exist; every change is audited. What a
//! customer's state shuts ([`Standing`]) is refused.

mod contacts;
mod contracts;
mod limits;
mod planes;
mod sites;

pub(crate) use contacts::SealedContact;
pub use contacts::{Contact, ContactKind, NewContact};
pub use contracts::{agree_contract, list_contracts_of};
pub use limits::{Enforcement, Limits, get_limits, put_limits};
pub use planes::{NewControlPlane, add_control_plane, list_control_planes, retire_control_plane};
pub use sites::{NewSite, Site, add_site, list_sites, retire_site};

use granary_db::{AuditEntry, record_audit};
use granary_types::{LONGEST_TEXT, is_printable};
use serde_json::Value;

use crate::customer::Customer;
use crate::error::TenantsError;
use crate::lifecycle::{Door, Standing};
use crate::transaction::MspTx;

/// Refuses a text that is empty, too long, or not fit to be printed.
pub(crate) fn check_text(text: &str, refusal: &'static str) -> Result<(), TenantsError> {
    if is_printable(text, LONGEST_TEXT) { Ok(()) } else { Err(TenantsError::Invalid(refusal)) }
}

/// Refuses a change that the customer's state shuts.
fn require(tx: &MspTx, customer: &Customer, door: Door) -> Result<(), TenantsError> {
    Standing::of(tx.msp(), customer, tx.now()).require(door, tx.now())
}

pub(crate) async fn audit(tx: &MspTx, customer: &Customer, action: &str, detail: Value, reason: Option<&str>) -> Result<(), TenantsError> {
    let entry = AuditEntry {
        msp: Some(tx.msp().id),
        customer: Some(customer.id),
        actor: tx.actor().to_string(),
        action: action.to_owned(),
        subject: format!("customer:{}", customer.code),
        detail,
        reason: reason.map(str::to_owned),
    };
    Ok(record_audit(tx, &entry).await?)
}
