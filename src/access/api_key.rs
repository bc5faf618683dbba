//! API keys: what a program may do, for one customer or for an MSP.

use std::fmt;
use std::str::FromStr;

use granary_tenants::Door;
use granary_types::{ControlPlaneId, CustomerId, MspId};
use jiff::Timestamp;

use crate::{AccessError, Permission};

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiKeyScope {
    /// Send usage events.
    UsageWrite,
    /// Read usage and reports.
    ReportsRead,
    /// Ask the warehouse.
    Sql,
    /// Make and change customers, contracts, limits and control planes.
    CustomersWrite,
}

impl ApiKeyScope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::UsageWrite, Self::ReportsRead, Self::Sql, Self::CustomersWrite];

    /// Returns the stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UsageWrite => "usage.write",
            Self::ReportsRead => "reports.read",
            Self::Sql => "sql",
            Self::CustomersWrite => "customers.write",
        }
    }

    /// Returns what it allows.
    pub const fn permissions(self) -> &'static [Permission] {
        match self {
            Self::UsageWrite => &[Permission::UsageWrite],
            Self::ReportsRead => &[Permission::UsageRead, Permission::ReportRead],
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

    /// Returns the door of a customer through which a key of that customer comes.
    pub(crate) const fn door(self) -> Door {
        match self {
            Self::UsageWrite => Door::Facts,
            Self::ReportsRead | Self::Sql | Self::CustomersWrite => Door::Portal,
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
    pub expires_at: Option<Timestamp>,
}
