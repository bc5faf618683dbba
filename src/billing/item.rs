//! What a line charges for.

use std::fmt;
use std::str::FromStr;

use granary_types::Tier;
use serde::{Deserialize, Serialize};

use crate::BillingError;

/// The meter or agreement that a line charges for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A machine of tier backup, per period.
    MachineBackup,
    /// A machine of tier enterprise, per period.
    MachineEnterprise,
    /// A machine of tier replication, per period.
    MachineReplication,
    /// A GiB-month over the contract's limit.
    StorageOverage,
    /// Premium support, per customer and month.
    PremiumSupport,
    /// The portal under the customer's own name, per customer and month.
    WhiteLabel,
    /// The contract's discount on the whole document.
    Discount,
    /// What is missing to the contract's minimum.
    MinimumTopUp,
    /// What a closed month would bill besides what it billed, on a later invoice; names that month.
    Correction,
    /// The operator's fee per started block of 50 customers; never on a customer's invoice.
    PlatformFee,
}

impl Item {
    /// Every item, in the order of an invoice.
    pub const ALL: &'static [Self] = &[
        Self::MachineBackup,
        Self::MachineEnterprise,
        Self::MachineReplication,
        Self::StorageOverage,
        Self::PremiumSupport,
        Self::WhiteLabel,
        Self::Discount,
        Self::MinimumTopUp,
        Self::Correction,
        Self::PlatformFee,
    ];

    /// Returns the item that charges for a machine of a tier.
    pub const fn machine(tier: Tier) -> Self {
        match tier {
            Tier::Backup => Self::MachineBackup,
            Tier::Enterprise => Self::MachineEnterprise,
            Tier::Replication => Self::MachineReplication,
        }
    }

    /// Tells whether the item charges for machines.
    pub const fn is_machine(self) -> bool {
        matches!(self, Self::MachineBackup | Self::MachineEnterprise | Self::MachineReplication)
    }

    /// Tells whether the operator's list is also the retail default; the other items have the MSP's own price or none.
    pub const fn has_retail_default(self) -> bool {
        self.is_machine() || matches!(self, Self::StorageOverage)
    }

    /// Returns the word as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MachineBackup => "machine_backup",
            Self::MachineEnterprise => "machine_enterprise",
            Self::MachineReplication => "machine_replication",
            Self::StorageOverage => "storage_overage",
            Self::PremiumSupport => "premium_support",
            Self::WhiteLabel => "white_label",
            Self::Discount => "discount",
            Self::MinimumTopUp => "minimum_top_up",
            Self::Correction => "correction",
            Self::PlatformFee => "platform_fee",
        }
    }

    /// Returns the words that a document prints.
    pub const fn title(self) -> &'static str {
        match self {
            Self::MachineBackup => "Machines, backup",
            Self::MachineEnterprise => "Machines, enterprise",
            Self::MachineReplication => "Machines, replication",
            Self::StorageOverage => "Storage over the limit, GiB-months",
            Self::PremiumSupport => "Premium support",
            Self::WhiteLabel => "White-label portal",
            Self::Discount => "Discount",
            Self::MinimumTopUp => "Top-up to the agreed minimum",
            Self::Correction => "Correction of an earlier month",
            Self::PlatformFee => "Platform fee",
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Item {
    type Err = BillingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|item| item.as_str() == text).ok_or_else(|| BillingError::Corrupt("billing item", text.to_owned()))
    }
}
