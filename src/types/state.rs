//! The closed sets of words that have rules.

use std::fmt;
use std::str::FromStr;

use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use serde::{Deserialize, Serialize};

/// A word outside a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is not a {noun}: one of {choices}")]
pub struct UnknownWord {
    pub word: String,
    pub noun: &'static str,
    pub choices: String,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident, $noun:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// Every word, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the word as it is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| UnknownWord {
                    word: text.chars().take(40).collect(),
                    noun: $noun,
                    choices: Self::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }

        impl ToSql for $name {
            fn to_sql(&self, ty: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
                self.as_str().to_sql(ty, out)
            }

            fn accepts(ty: &Type) -> bool {
                <&str as ToSql>::accepts(ty)
            }

            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $name {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
                Ok(<&str as FromSql>::from_sql(ty, raw)?.parse()?)
            }

            fn accepts(ty: &Type) -> bool {
                <&str as FromSql>::accepts(ty)
            }
        }
    )*};
}

words! {
    /// The protection that a machine has; a later one is higher.
    Tier, "tier" {
        Backup = "backup",
        Enterprise = "enterprise",
        Replication = "replication",
    }

    /// Where a customer stands.
    CustomerStatus, "customer status" {
        Trial = "trial",
        Active = "active",
        Suspended = "suspended",
        Closed = "closed",
        Erased = "erased",
    }

    /// Where a customer's backups run.
    Deployment, "deployment" {
        /// On machines that serve several customers.
        Shared = "shared",
        /// On machines of its own, at the MSP.
        Dedicated = "dedicated",
        /// On its own premises.
        OnPremises = "on_premises",
        /// On its own premises, with copies at the MSP.
        Hybrid = "hybrid",
    }

    /// Why a contract ended.
    EndReason, "end reason" {
        Voluntary = "voluntary",
        NonPayment = "non_payment",
        Closed = "closed",
    }

    /// The state of a backup run.
    RunState, "run state" {
        Scheduled = "scheduled",
        Running = "running",
        Completed = "completed",
        CompletedWithWarning = "completed_with_warning",
        Failed = "failed",
        Cancelled = "cancelled",
    }

    /// The MSP's standing with the operator, which sets its margin.
    PartnerTier, "partner tier" {
        Authorized = "authorized",
        Premier = "premier",
        Elite = "elite",
    }

    /// How the machines of a period are counted.
    CountingRule, "counting rule" {
        /// Machines with at least one completed run or cycle in the period.
        DistinctInPeriod = "distinct_in_period",
        /// Machine-days in protection divided by the days of the period.
        AverageDaily = "average_daily",
        /// The one day with the highest rated amount.
        PeakDaily = "peak_daily",
        /// The machines in protection on the last day.
        LastDay = "last_day",
    }

    /// Who sends the billing document.
    BillingChannel, "billing channel" {
        Stripe = "stripe",
        Psa = "psa",
        Manual = "manual",
    }

    /// What a person may see and do.
    Role, "role" {
        OperatorAdmin = "operator_admin",
        MspAdmin = "msp_admin",
        MspOperator = "msp_operator",
        MspAnalyst = "msp_analyst",
        MspFinance = "msp_finance",
        CustomerAdmin = "customer_admin",
        CustomerBilling = "customer_billing",
        CustomerViewer = "customer_viewer",
    }

    /// How urgent an alert is; a later one is more.
    AlertSeverity, "severity" {
        /// Good to know: nothing breaks if nobody looks today.
        Info = "info",
        /// Somebody should look, in office hours.
        Warning = "warning",
        /// Somebody must act.
        Critical = "critical",
    }

    /// Where an alert stands.
    AlertState, "state of an alert" {
        Open = "open",
        /// Somebody has taken it.
        Acknowledged = "acknowledged",
        /// Not to be heard of until an instant.
        Snoozed = "snoozed",
        /// Handed to whoever can do more.
        Escalated = "escalated",
        /// The end: what comes later is another alert.
        Resolved = "resolved",
    }

    /// What an alert is about.
    AlertKind, "kind of alert" {
        LimitMachines = "limit_machines",
        LimitStorage = "limit_storage",
        LimitJobs = "limit_jobs",
        LimitApi = "limit_api",
        BackupFailed = "backup_failed",
        RpoMissed = "rpo_missed",
        RepositoryFull = "repository_full",
        ReplicationLag = "replication_lag",
        ControlPlaneSilent = "control_plane_silent",
    }
}

impl RunState {
    /// Tells whether the run left a restore point; a warning is a success.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedWithWarning)
    }
}

impl PartnerTier {
    /// Returns the margin in per cent of the operator's list.
    pub const fn margin_percent(self) -> i64 {
        match self {
            Self::Authorized => 45,
            Self::Premier => 50,
            Self::Elite => 55,
        }
    }
}

impl Role {
    /// Tells whether the role belongs to one customer and therefore never meets wholesale, margin, health or churn.
    pub const fn is_customer(self) -> bool {
        matches!(self, Self::CustomerAdmin | Self::CustomerBilling | Self::CustomerViewer)
    }
}
