//! Scopes: the proof that somebody may open a transaction, and on whose behalf.

use std::fmt;

use granary_types::{ApiKeyId, ControlPlaneId, UserId};

use crate::customer::Customer;
use crate::msp::Msp;

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    User(UserId),
    ApiKey(ApiKeyId),
    ControlPlane(ControlPlaneId),
    /// A job, a command or a part of the house, by its name.
    System(&'static str),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::ApiKey(id) => write!(f, "api_key:{id}"),
            Self::ControlPlane(id) => write!(f, "control_plane:{id}"),
            Self::System(name) => write!(f, "system:{name}"),
        }
    }
}

impl From<&'static str> for Actor {
    fn from(name: &'static str) -> Self {
        Self::System(name)
    }
}

/// One customer of one MSP.
#[derive(Debug, Clone)]
pub struct TenantScope {
    pub customer: Customer,
    pub msp: Msp,
    pub actor: Actor,
}

impl TenantScope {
    /// For a principal that `access` has recognised and that may see the customer.
    pub fn for_principal(msp: Msp, customer: Customer, actor: Actor) -> Self {
        Self { customer, msp, actor }
    }

    /// For a job or a command, named.
    pub fn for_job(msp: Msp, customer: Customer, actor: impl Into<Actor>) -> Self {
        Self { customer, msp, actor: actor.into() }
    }
}

/// One MSP.
#[derive(Debug, Clone)]
pub struct MspScope {
    pub msp: Msp,
    pub actor: Actor,
}

impl MspScope {
    /// For a principal that `access` has recognised as one of the MSP's.
    pub fn for_principal(msp: Msp, actor: Actor) -> Self {
        Self { msp, actor }
    }

    /// For a job or a command, named.
    pub fn for_job(msp: Msp, actor: impl Into<Actor>) -> Self {
        Self { msp, actor: actor.into() }
    }
}

/// The whole installation, for a reason that is written down.
#[derive(Debug, Clone)]
pub struct OperatorScope {
    pub actor: Actor,
    pub reason: String,
}

impl OperatorScope {
    /// For a person whom `access` has recognised as the operator.
    pub fn for_principal(actor: Actor, reason: impl Into<String>) -> Self {
        Self { actor, reason: reason.into() }
    }

    /// For a job or a command, named.
    pub fn for_job(actor: impl Into<Actor>, reason: impl Into<String>) -> Self {
        Self { actor: actor.into(), reason: reason.into() }
    }
}
