//! API keys: what a program may do, for one customer or for an MSP.

use std::fmt;
use std::str::FromStr;

use granary_tenants::Door;
use granary_types::{ApiKeyId, ControlPlaneId, CustomerId, MspId};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AccessError, Permission};

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiKeyScope {
    /// Send usage events.
    UsageWrite,
    /// Read usage and reports.
    ReportsRead,
    /// Read invoices; for an MSP also wholesale, margin and the reconciliation.
    BillingRead,
    /// Ask the warehouse.
    Sql,
    /// Make and change customers, contracts, limits and control planes.
    CustomersWrite,
}

impl ApiKeyScope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::UsageWrite, Self::ReportsRead, Self::BillingRead, Self::Sql, Self::CustomersWrite];

    /// Returns the stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UsageWrite => "usage.write",
            Self::ReportsRead => "reports.read",
            Self::BillingRead => "billing.read",
            Self::Sql => "sql",
            Self::CustomersWrite => "customers.write",
        }
    }

    /// Returns what it allows; of that a customer's key has what may be a customer's at all.
    pub const fn permissions(self) -> &'static [Permission] {
        match self {
            Self::UsageWrite => &[Permission::UsageWrite],
            Self::ReportsRead => &[Permission::UsageRead, Permission::ReportRead],
            Self::BillingRead => &[Permission::InvoiceRead, Permission::MarginRead, Permission::ReconciliationRead],
            Self::Sql => &[Permission::Sql],
            Self::CustomersWrite => &[
                Permission::UsageRead,
                Permission::InvoiceRead,
                Permission::CustomerWrite,
                Permission::ContractWrite,
                Permission::CustomerSuspend,
                Permission::CustomerClose,
            ],
        }
    }

    /// Returns what it allows a key of a customer, or of an MSP.
    pub(crate) fn permissions_of(self, customer: Option<CustomerId>) -> impl Iterator<Item = Permission> {
        let is_possible = move |permission: &Permission| customer.is_none() || !permission.is_an_msps();
        self.permissions().iter().copied().filter(is_possible)
    }

    /// Returns the door of a customer through which a key of that customer comes.
    pub(crate) const fn door(self) -> Door {
        match self {
            Self::UsageWrite => Door::Facts,
            Self::ReportsRead | Self::BillingRead | Self::Sql | Self::CustomersWrite => Door::Portal,
        }
    }
}

impl fmt::Display for ApiKeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ApiKeyScope {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| AccessError::UnknownScope(text.chars().take(40).collect()))
    }
}

impl Serialize for ApiKeyScope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ApiKeyScope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub msp_id: MspId,
    /// The customer that the key acts for, for ever; none for a key of the MSP, which cannot send usage events.
    pub customer_id: Option<CustomerId>,
    /// The control plane whose source the key may use; none for every source of the customer.
    pub control_plane_id: Option<ControlPlaneId>,
    pub name: String,
    pub scopes: Vec<ApiKeyScope>,
    /// None for a key that ends only when somebody ends it.
    pub expires_at: Option<Timestamp>,
    /// How often it may be used a minute; none for as often as its customer may.
    pub requests_per_minute: Option<i32>,
}

/// A key, as lists show it: all but the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub msp_id: MspId,
    pub customer_id: Option<CustomerId>,
    pub control_plane_id: Option<ControlPlaneId>,
    pub name: String,
    /// Its beginning, to tell keys apart.
    pub prefix: String,
    pub scopes: Vec<ApiKeyScope>,
    pub requests_per_minute: Option<i32>,
    pub created_at: Timestamp,
    /// The name of who made it, or of the command; none of a login that is gone.
    pub created_by: Option<String>,
    pub expires_at: Option<Timestamp>,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// The key that follows it.
    pub replaced_by: Option<ApiKeyId>,
}

impl ApiKey {
    /// Says in one word where the key stands.
    pub fn state(&self, now: Timestamp) -> &'static str {
        let is_over = self.expires_at.is_some_and(|end| end <= now);
        match (self.revoked_at, is_over, self.replaced_by) {
            (Some(_), _, _) => "revoked",
            (None, true, _) => "expired",
            (None, false, Some(_)) => "replaced",
            (None, false, None) => "active",
        }
    }
}
