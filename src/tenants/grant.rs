//! What a reader of the warehouse may see.

use std::collections::BTreeSet;

use granary_types::{CustomerId, MspId, Role};

/// Which customers of an MSP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Granted {
    /// Every customer, later ones included.
    All,
    /// These and no others.
    Only(BTreeSet<CustomerId>),
}

impl Granted {
    /// Tells whether a customer is among them.
    pub fn includes(&self, customer: CustomerId) -> bool {
        match self {
            Self::All => true,
            Self::Only(customers) => customers.contains(&customer),
        }
    }
}

/// What a reader of lake and warehouse may see: one MSP, some of its customers, and what the role allows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReadGrant {
    pub msp: MspId,
    pub customers: Granted,
    pub role: Role,
    /// Whether wholesale and margin are seen.
    pub can_read_billing: bool,
}
