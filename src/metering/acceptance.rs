//! What blocks the close of a month, and who accepted it by name.

use std::fmt;
use std::str::FromStr;

use granary_foundation::Boxed;
use granary_tenants::MspTx;
use granary_types::{CustomerId, Period};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::closing::Findings;
use crate::error::MeteringError;
use crate::store;

/// What blocks a close until it is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A control plane was silent at the cut-off. Accepted, the last known machines are billed and marked as estimated.
    Incomplete,
    /// Refused events of the month that nobody has decided on.
    Quarantine,
    /// Two roads to the amount do not meet.
    Residual,
}

impl FindingKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Incomplete, Self::Quarantine, Self::Residual];

    /// Returns the word as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Quarantine => "quarantine",
            Self::Residual => "residual",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FindingKind {
    type Err = MeteringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().copied().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| MeteringError::Corrupt(format!("'{text}' is no finding of a month")))
    }
}

/// Somebody takes a finding upon himself. It stands for that finding as it was: when more is found, it stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acceptance {
    pub customer_id: CustomerId,
    pub finding: FindingKind,
    /// How much of it there was, as [`Findings::extent`] says it.
    pub extent: String,
    pub reason: String,
    pub accepted_by: String,
    pub accepted_at: Timestamp,
}

impl Findings {
    /// Returns how much there is of a finding that metering itself makes; none when there is none of it.
    pub fn extent(&self, kind: FindingKind) -> Option<String> {
        match kind {
            FindingKind::Incomplete => {
                let told =
                    |one: &crate::Silence| format!("{} {}", one.source, one.heard_at.map_or("never".to_owned(), |at| at.to_string()));
                (!self.silent.is_empty()).then(|| self.silent.iter().map(told).collect::<Vec<_>>().join(", "))
            }
            FindingKind::Quarantine => (self.quarantined > 0).then(|| self.quarantined.to_string()),
            FindingKind::Residual => None,
        }
    }
}

/// Keeps what was found in a customer's month, for pages and for the close.
///
/// # Errors
/// When Postgres refuses.
pub fn write_findings<'a>(
    tx: &'a MspTx,
    customer: CustomerId,
    period: Period,
    findings: &'a Findings,
) -> Boxed<'a, Result<(), MeteringError>> {
    Box::pin(async move { store::acceptances::upsert_findings(tx, customer, period, findings).await })
}

/// Returns what was found in the months of a period when it was drafted last.
///
/// # Errors
/// When Postgres refuses.
pub fn list_findings<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<Vec<(CustomerId, Findings)>, MeteringError>> {
    Box::pin(async move { store::acceptances::list_findings(tx, period).await })
}

/// Accepts a finding for the acting person; what was accepted before stays as it was accepted.
///
/// # Errors
/// When Postgres refuses.
pub fn accept<'a>(
    tx: &'a MspTx,
    customer: CustomerId,
    period: Period,
    (finding, extent): (FindingKind, &'a str),
    reason: &'a str,
) -> Boxed<'a, Result<(), MeteringError>> {
    Box::pin(async move { store::acceptances::insert_acceptance(tx, customer, period, (finding, extent), reason).await })
}

/// Returns what was accepted in a period.
///
/// # Errors
/// When Postgres refuses.
pub fn list_acceptances<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<Vec<Acceptance>, MeteringError>> {
    Box::pin(async move { store::acceptances::list_acceptances(tx, period).await })
}

/// Tells whether somebody accepted a finding as it stands.
pub fn is_accepted(accepted: &[Acceptance], customer: CustomerId, finding: FindingKind, extent: &str) -> bool {
    accepted.iter().any(|one| one.customer_id == customer && one.finding == finding && one.extent == extent)
}
