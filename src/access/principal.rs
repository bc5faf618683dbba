//! Whoever was recognised, and what follows from it.

use granary_tenants::{Actor, Granted, ReadGrant};
use granary_types::{ApiKeyId, ControlPlaneId, CustomerId, MspId, Role, UserId};

use crate::{AccessError, Permission};

/// A person or a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    User {
        id: UserId,
        name: String,
    },
    ApiKey {
        id: ApiKeyId,
        name: String,
    },
    /// A backup system at a customer, by its own key pair.
    ControlPlane {
        id: ControlPlaneId,
        name: String,
    },
}

/// How many requests a minute somebody may make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// What is agreed for all programs and people of the principal's customer together; none without a limit.
    pub customer: Option<i32>,
    /// Whether more is let in all the same.
    pub is_soft: bool,
    /// What a program itself was given.
    pub program: Option<i32>,
}

/// Whoever was recognised. It exists only after a check, and everything that opens data starts from it.
#[derive(Debug, Clone)]
pub struct Principal {
    pub(crate) who: Who,
    pub(crate) role: Role,
    pub(crate) msp: Option<MspId>,
    pub(crate) customers: Granted,
    pub(crate) can_read_billing: bool,
    pub(crate) permissions: Vec<Permission>,
    /// The control plane's source that a key is bound to: it may send no other's events.
    pub(crate) source: Option<String>,
    pub(crate) quotas: Quotas,
    /// Whether it came by a token that a session or a key was exchanged for.
    pub(crate) is_by_token: bool,
}

impl Principal {
    /// Returns who it is.
    pub const fn who(&self) -> &Who {
        &self.who
    }

    /// Returns the name to show.
    pub fn name(&self) -> &str {
        match &self.who {
            Who::User { name, .. } | Who::ApiKey { name, .. } | Who::ControlPlane { name, .. } => name,
        }
    }

    /// Returns the role; a key has the role that sees as little as its scopes need.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Returns the MSP; the operator has none.
    pub const fn msp(&self) -> Option<MspId> {
        self.msp
    }

    /// Returns the one source whose usage events a key may send; none for every source of its customer.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Returns how many requests a minute it may make.
    pub const fn quotas(&self) -> Quotas {
        self.quotas
    }

    /// Returns the customer, for those who belong to one.
    pub fn only_customer(&self) -> Option<CustomerId> {
        match &self.customers {
            Granted::Only(ids) if self.role.is_customer() => ids.first().copied(),
            Granted::Only(_) | Granted::All => None,
        }
    }

    /// Tells whether a customer of the principal's MSP is among those it may see.
    pub fn sees(&self, customer: CustomerId) -> bool {
        self.customers.includes(customer)
    }

    /// Tells whether it sees every customer of the MSP, and so what belongs to no single one.
    pub fn sees_all(&self) -> bool {
        self.customers == Granted::All
    }

    /// Tells whether it may do something.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// Refuses what it may not do.
    ///
    /// # Errors
    /// [`AccessError::Denied`] when the permission is missing.
    pub fn require(&self, permission: Permission) -> Result<(), AccessError> {
        if self.may(permission) { Ok(()) } else { Err(AccessError::Denied(permission)) }
    }

    /// Returns what the warehouse and the lake may show: the MSP, the customers, the role, and whether margin is seen.
    ///
    /// # Errors
    /// [`AccessError::Denied`] for the operator, who belongs to no MSP.
    pub fn read_grant(&self) -> Result<ReadGrant, AccessError> {
        Ok(ReadGrant {
            msp: self.msp.ok_or(AccessError::Denied(Permission::UsageRead))?,
            customers: self.customers.clone(),
            role: self.role,
            can_read_billing: self.can_read_billing,
        })
    }

    /// Returns the actor that is written beside what it does.
    pub fn actor(&self) -> Actor {
        match &self.who {
            Who::User { id, .. } => Actor::User(*id),
            Who::ApiKey { id, .. } => Actor::ApiKey(*id),
            Who::ControlPlane { id, .. } => Actor::ControlPlane(*id),
        }
    }
}
