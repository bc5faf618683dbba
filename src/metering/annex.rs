//! The annex of an invoice: every machine of a period, and why it is billed as it is.

use granary_foundation::Boxed;
use std::fmt;

use granary_tenants::TenantTx;
use granary_types::{MachineId, Period, Tier, day_of};
use jiff::civil::Date;
use serde::Serialize;

use crate::error::MeteringError;
use crate::store;

/// A machine in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnnexRow {
    pub machine_id: MachineId,
    pub source_system: String,
    pub vendor_id: String,
    pub name: String,
    /// The first and the last day in protection.
    pub first_on: Option<Date>,
    pub last_on: Option<Date>,
    pub days_in_protection: i64,
    /// The highest tier in force on a day on which the machine completed a run or cycle; none when it is not billed.
    pub billed_tier: Option<Tier>,
    /// The first such day at that tier.
    pub tier_from_on: Option<Date>,
    /// The highest tier that it held in the period, completed or not.
    pub held_tier: Option<Tier>,
    pub runs_completed: i64,
    pub runs_failed: i64,
    pub cycles_completed: i64,
    pub transferred_bytes: i64,
}

/// Why a machine is billed, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BillingReason {
    /// It completed something at the billed tier.
    Completed,
    /// It tried, and nothing completed.
    NeverCompleted,
    /// It holds a tier, and nothing was heard of it.
    Silent,
    /// It completed something while it held no tier.
    NoTier,
}

impl AnnexRow {
    /// Returns why the machine is billed, or not.
    pub const fn reason(&self) -> BillingReason {
        match self.billed_tier {
            Some(_) => BillingReason::Completed,
            None if self.runs_completed + self.cycles_completed > 0 => BillingReason::NoTier,
            None if self.runs_failed > 0 => BillingReason::NeverCompleted,
            None => BillingReason::Silent,
        }
    }
}

impl fmt::Display for BillingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Completed => "completed",
            Self::NeverCompleted => "not billed: never completed",
            Self::Silent => "not billed: nothing reported",
            Self::NoTier => "not billed: not protected",
        })
    }
}

/// Lists every machine that held a tier or reported something in a period, by name. A replaced machine stands under the one
/// that goes on. Reads the daily usage that [`crate::rebuild_days`] wrote.
///
/// # Errors
/// When Postgres refuses.
pub fn list_machines<'a>(tx: &'a TenantTx, period: Period) -> Boxed<'a, Result<Vec<AnnexRow>, MeteringError>> {
    Box::pin(async move {
        let last = period.last_day().min(day_of(tx.now(), &tx.msp().time_zone));
        store::usage::list_annex(tx, period.first_day(), last).await
    })
}
