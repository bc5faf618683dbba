//! A customer's usage as of now, for whoever asks again and again.
//!
//! A closed month is read as it was sealed. An open one is measured from the projected tables, in a transaction that is rolled back and
//! locks nobody out of the log, and the measurement is kept for a minute: who asks within it costs one row.

use granary_foundation::Boxed;
use granary_tenants::{MspScope, TenantScope, Tenants};
use granary_types::Period;
use jiff::{Timestamp, ToSpan};

use crate::error::MeteringError;
use crate::store;
use crate::usage::{PeriodUsage, measure};

/// Seconds for which a measurement of an open month is good.
const FRESH_SECONDS: i64 = 60;

/// What a customer used, and as of when.
#[derive(Debug, Clone)]
pub struct LiveUsage {
    pub usage: PeriodUsage,
    /// The close of a closed month, else the moment of measuring.
    pub as_of: Timestamp,
    pub is_closed: bool,
}

/// Returns what a customer used in a period, at most a minute old; calls of its programs as they were written last.
///
/// # Errors
/// When Postgres refuses.
pub fn live_usage<'a>(tenants: &'a Tenants, scope: &'a TenantScope, period: Period) -> Boxed<'a, Result<LiveUsage, MeteringError>> {
    Box::pin(async move {
        let (customer, msp_scope) = (scope.customer.id, MspScope { msp: scope.msp.clone(), actor: scope.actor });
        let tx = tenants.begin_msp(&msp_scope).await?;
        if let Some(closed) = store::control::find_closed(&tx, customer, period).await? {
            tx.commit().await?;
            return Ok(LiveUsage { usage: closed.usage, as_of: closed.closed_at, is_closed: true });
        }
        let api_calls = store::control::count_api_calls(&tx, customer, period).await?;
        let kept = store::measurements::find(&tx, customer, period, tx.now() - FRESH_SECONDS.seconds()).await?;
        tx.commit().await?;
        let (mut usage, as_of) = match kept {
            Some(kept) => kept,
            None => take(tenants, scope, &msp_scope, period).await?,
        };
        usage.api_calls = usage.api_calls.saturating_add(api_calls);
        Ok(LiveUsage { usage, as_of, is_closed: false })
    })
}

async fn take(
    tenants: &Tenants,
    scope: &TenantScope,
    msp_scope: &MspScope,
    period: Period,
) -> Result<(PeriodUsage, Timestamp), MeteringError> {
    let tx = tenants.begin_tenant(scope).await?;
    let as_of = tx.now();
    let today = granary_types::day_of(as_of, &scope.msp.time_zone);
    store::measurements::lock(&tx).await?;
    store::usage::rebuild(&tx, period.first_day(), period.last_day().min(today), period.last_day()).await?;
    let usage = measure(&tx, period).await?;
    tx.rollback().await?;
    let tx = tenants.begin_msp(msp_scope).await?;
    store::measurements::upsert(&tx, scope.customer.id, &usage, as_of).await?;
    tx.commit().await?;
    Ok((usage, as_of))
}
