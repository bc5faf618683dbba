//! Daily usage, derived from runs, cycles, samples and assignments.

use granary_foundation::Boxed;
use granary_tenants::TenantTx;
use granary_types::{Period, day_of};

use crate::error::MeteringError;
use crate::store;

/// Rebuilds `machine_days` and `storage_days` of the periods `from..=to`, as far as their days have come. Rows that are right
/// already stay untouched, so that rebuilding twice changes nothing.
///
/// A machine has a row for each day on which it is in protection (its tier in force, and a run or cycle completed on that day
/// or one of the six before) or on which something of it ran.
///
/// # Errors
/// When `from` is after `to`, or Postgres refuses.
pub fn rebuild_days<'a>(tx: &'a TenantTx, from: Period, to: Period) -> Boxed<'a, Result<(), MeteringError>> {
    Box::pin(async move {
        if from > to {
            return Err(MeteringError::PeriodsReversed { from, to });
        }
        let today = day_of(tx.now(), &tx.msp().time_zone);
        store::events::lock(tx).await?;
        store::usage::rebuild(tx, from.first_day(), to.last_day().min(today), to.last_day()).await
    })
}
