//! Periods of an MSP (open, drafted, closed) and the months of its customers, as the control schema keeps them.

use granary_foundation::Boxed;
use std::str::FromStr;

use futures::stream::{self, StreamExt, TryStreamExt};
use granary_foundation::Event;
use granary_tenants::{MspScope, MspTx, TenantScope, Tenants};
use granary_types::{CustomerId, MspId, Period};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::closing::{close_month, mark_closed, remeasure, seal};
use crate::error::MeteringError;
use crate::store;
use crate::usage::PeriodUsage;

/// Where a period stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeriodState {
    /// Usage is counted and rewritten.
    #[default]
    Open,
    /// Invoices are drafted; usage may still change and be drafted again.
    Drafted,
    /// Nothing changes any more; what comes later is a correction on a later invoice.
    Closed,
}

impl PeriodState {
    /// Returns the word as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Drafted => "drafted",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for PeriodState {
    type Err = MeteringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Open, Self::Drafted, Self::Closed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| MeteringError::Corrupt(format!("'{text}' is not a state of a period")))
    }
}

/// A customer's month as pages and closing read it, without a look into the customer's schema. Machines are whole: those of the
/// default counting rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustomerMonth {
    pub customer_id: CustomerId,
    pub period: Period,
    pub machines_backup: i32,
    pub machines_enterprise: i32,
    pub machines_replication: i32,
    pub runs_completed: i64,
    pub runs_with_warning: i64,
    pub runs_failed: i64,
    pub transferred_bytes: i64,
    pub stored_bytes_average: i64,
    pub restores_completed: i64,
    pub tickets_opened: i64,
    pub api_calls: i64,
    pub is_estimated: bool,
    pub is_closed: bool,
    /// The root of the Merkle tree over the period's events, and how many there are, once it is closed.
    pub events_hash: Option<String>,
    pub events_count: Option<i64>,
}

/// A period was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeriodClosed {
    pub msp_id: MspId,
    pub period: Period,
}

impl Event for PeriodClosed {
    const KIND: &'static str = "metering.period_closed";
}

/// Returns where a period stands; one that was never touched is open.
///
/// # Errors
/// When Postgres refuses.
pub fn period_state<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<PeriodState, MeteringError>> {
    Box::pin(async move { Ok(store::control::find_period(tx, period).await?.unwrap_or(PeriodState::Open)) })
}

/// Notes that invoices of a period are drafted, which may be repeated until it is closed.
///
/// # Errors
/// When the period is closed, or Postgres refuses.
pub fn mark_drafted<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<(), MeteringError>> {
    Box::pin(async move {
        if store::control::lock_period(tx, period).await? == Some(PeriodState::Closed) {
            return Err(MeteringError::PeriodClosed(period));
        }
        store::control::mark_drafted(tx, period).await
    })
}

/// Notes that the acting person approves the drafts of a period.
///
/// # Errors
/// When the period is not drafted, or Postgres refuses.
pub fn mark_approved<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<(), MeteringError>> {
    Box::pin(async move {
        if store::control::mark_approved(tx, period).await? {
            return Ok(());
        }
        Err(if store::control::find_period(tx, period).await? == Some(PeriodState::Closed) {
            MeteringError::PeriodClosed(period)
        } else {
            MeteringError::NotDrafted(period)
        })
    })
}

/// How far a period is, and who brought it there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PeriodProgress {
    pub state: PeriodState,
    pub drafted_at: Option<Timestamp>,
    pub drafted_by: Option<String>,
    pub approved_at: Option<Timestamp>,
    pub approved_by: Option<String>,
    pub closed_at: Option<Timestamp>,
    pub closed_by: Option<String>,
}

/// Returns how far a period is.
///
/// # Errors
/// When Postgres refuses.
pub fn period_progress<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<PeriodProgress, MeteringError>> {
    Box::pin(async move { store::control::find_progress(tx, period).await })
}

/// Returns the customers whose month of a period is closed.
///
/// # Errors
/// When Postgres refuses.
pub fn list_closed<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<Vec<CustomerId>, MeteringError>> {
    Box::pin(async move { store::control::list_closed(tx, period).await })
}

/// Returns the latest closed months of a customer, at most `most`, as they were measured.
///
/// # Errors
/// When Postgres refuses.
pub fn list_closed_months<'a>(tx: &'a MspTx, customer: CustomerId, most: i64) -> Boxed<'a, Result<Vec<PeriodUsage>, MeteringError>> {
    Box::pin(async move { store::control::list_closed_months(tx, customer, most).await })
}

/// Returns the months of the MSP's customers.
///
/// # Errors
/// When Postgres refuses.
pub fn list_customer_months<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<Vec<CustomerMonth>, MeteringError>> {
    Box::pin(async move { store::control::list_months(tx, period).await })
}

/// Rebuilds a customer's days of a period, measures it and writes the month to the control schema. A closed month and its days
/// stay as they are; the measurement is returned all the same.
///
/// # Errors
/// When Postgres refuses.
pub fn project_month<'a>(tenants: &'a Tenants, scope: &'a TenantScope, period: Period) -> Boxed<'a, Result<PeriodUsage, MeteringError>> {
    Box::pin(async move {
        let msp = tenants.begin_msp(&msp_scope(scope)).await?;
        let is_closed = store::control::find_closed(&msp, scope.customer.id, period).await?.is_some();
        msp.commit().await?;
        let tx = tenants.begin_tenant(scope).await?;
        let usage = remeasure(&tx, period).await?;
        if is_closed {
            tx.rollback().await?;
            return Ok(usage);
        }
        tx.commit().await?;
        write_month(tenants, scope, &usage).await?;
        Ok(usage)
    })
}

/// Writes a measured month to the control schema, unless the month is closed.
///
/// # Errors
/// When Postgres refuses.
pub fn write_month<'a>(tenants: &'a Tenants, scope: &'a TenantScope, usage: &'a PeriodUsage) -> Boxed<'a, Result<(), MeteringError>> {
    Box::pin(async move {
        let tx = tenants.begin_msp(&msp_scope(scope)).await?;
        let mut usage = usage.clone();
        usage.api_calls = usage.api_calls.saturating_add(store::control::count_api_calls(&tx, scope.customer.id, usage.period).await?);
        store::control::upsert_month(&tx, scope.customer.id, &usage).await?;
        tx.commit().await?;
        Ok(())
    })
}

/// Closes a period of an MSP: measures every customer for the last time, seals each month with the hash of what it counted,
/// and says so. Closing a closed period changes nothing.
///
/// # Errors
/// When the period has not ended, or Postgres refuses.
pub fn close_period<'a>(tenants: &'a Tenants, scope: &'a MspScope, period: Period) -> Boxed<'a, Result<(), MeteringError>> {
    Box::pin(async move {
        let msp = &scope.msp;
        if tenants.clock().now() < period.end_at(&msp.time_zone) {
            return Err(MeteringError::PeriodNotEnded(period));
        }
        let tx = tenants.begin_msp(scope).await?;
        let state = period_state(&tx, period).await?;
        tx.commit().await?;
        if state == PeriodState::Closed {
            return Ok(());
        }
        let customers = tenants.list_customers(msp.id).await?;
        let sealing = customers
            .into_iter()
            .map(|customer| close_one(tenants, TenantScope { msp: msp.clone(), customer, actor: scope.actor }, period));
        stream::iter(sealing).buffer_unordered(CLOSED_AT_ONCE).try_collect::<()>().await?;
        let tx = tenants.begin_msp(scope).await?;
        mark_closed(&tx, period).await?;
        tx.commit().await?;
        Ok(())
    })
}

/// How many customers are measured at once.
const CLOSED_AT_ONCE: usize = 4;

/// Closes a month while nobody ingests, so that what was closed is what there was.
async fn close_one(tenants: &Tenants, scope: TenantScope, period: Period) -> Result<(), MeteringError> {
    let tx = tenants.begin_tenant(&scope).await?;
    let sealed = seal(&tx, period, None).await?;
    let msp = tenants.begin_msp(&msp_scope(&scope)).await?;
    let was_open = close_month(&msp, scope.customer.id, &sealed).await?;
    msp.commit().await?;
    if was_open {
        tx.commit().await?
    } else {
        tx.rollback().await?
    }
    Ok(())
}

fn msp_scope(scope: &TenantScope) -> MspScope {
    MspScope { msp: scope.msp.clone(), actor: scope.actor }
}
