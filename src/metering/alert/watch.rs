//! The watch: who is looked at, when, and what is written down.

use std::collections::BTreeSet;

use futures::StreamExt;
use granary_foundation::{Boxed, SharedProgress};
use granary_tenants::{MspScope, MspTx, TenantScope, TenantTx, Tenants, TenantsError, get_limits, list_control_planes};
use granary_types::{AlertId, CustomerId, day_of};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::decide::{News, follow, turns_at};
use super::measure::{Readings, Terms, measure};
use super::{Alert, AlertEscalated, AlertRaised, AlertResolved};
use crate::error::MeteringError;
use crate::store::{alerts as store, conditions};

/// Every customer is looked at so often, whatever comes: time itself makes restore points old and control planes silent.
const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(30);
/// Where a look failed, the next one waits.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_mins(10);
/// Customers that are looked at at once.
const AT_ONCE: usize = 4;
/// Customers of an MSP that one round looks at; the others are due in the next.
const A_ROUND: i64 = 5_000;
/// For how long what the door saw speaks.
const API_LATELY: SignedDuration = SignedDuration::from_mins(5);
/// What is agreed where no contract says it.
const RPO_HOURS: i32 = 24;

/// What a round did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WatchReport {
    pub customers: u64,
    pub raised: u64,
    pub resolved: u64,
    pub failures: Vec<String>,
}

/// Looks at the customers of an MSP that are due; at all of them, when told. What fails for one fails for it alone.
///
/// # Errors
/// When the control schema cannot be read.
pub fn watch_msp<'a>(
    tenants: &'a Tenants,
    scope: &'a MspScope,
    everybody: bool,
    progress: SharedProgress,
) -> Boxed<'a, Result<WatchReport, MeteringError>> {
    Box::pin(async move {
        let tx = tenants.begin_msp(scope).await?;
        let mut report = WatchReport { resolved: store::resolve_left(&tx).await?, ..WatchReport::default() };
        let by = if everybody { Timestamp::MAX } else { tx.now() };
        let due: BTreeSet<CustomerId> = store::list_due(&tx, by, A_ROUND).await?.into_iter().collect();
        tx.commit().await?;
        if due.is_empty() {
            return Ok(report);
        }
        let customers = tenants.list_customers(scope.msp.id).await?;
        let due = customers.into_iter().filter(|customer| due.contains(&customer.id));
        let due: Vec<_> = due.map(|customer| TenantScope { msp: scope.msp.clone(), customer, actor: scope.actor }).collect();
        progress.begin("customers looked at", due.len() as u64);
        let mut looks = futures::stream::iter(due)
            .map(|scope| async move {
                let outcome = watch_customer(tenants, &scope).await;
                (scope, outcome)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((scope, outcome)) = looks.next().await {
            progress.advance(1);
            report.customers += 1;
            match outcome {
                Ok(told) => {
                    report.raised += told.raised;
                    report.resolved += told.resolved;
                }
                Err(error) => {
                    report.failures.push(format!("{}: {error}", scope.customer.code));
                    postpone(tenants, &scope).await?;
                }
            }
        }
        progress.end();
        Ok(report)
    })
}

async fn postpone(tenants: &Tenants, scope: &TenantScope) -> Result<(), MeteringError> {
    let tx = tenants.begin_msp(&msp_scope(scope)).await?;
    store::upsert_watch(&tx, scope.customer.id, after(tx.now(), AFTER_FAILURE), None).await?;
    Ok(tx.commit().await?)
}

fn after(now: Timestamp, span: SignedDuration) -> Timestamp {
    now.checked_add(span).unwrap_or(Timestamp::MAX)
}

fn msp_scope(scope: &TenantScope) -> MspScope {
    MspScope { msp: scope.msp.clone(), actor: scope.actor }
}

/// Looks at a customer: reads its silo, then writes what becomes of its alerts, what is told of them, and when it is looked at next, in
/// one transaction of the control schema. Killed in between, the next look does the same.
///
/// # Errors
/// When Postgres refuses.
pub fn watch_customer<'a>(tenants: &'a Tenants, scope: &'a TenantScope) -> Boxed<'a, Result<WatchReport, MeteringError>> {
    Box::pin(async move {
        let now = tenants.clock().now();
        let (msp_day, own_day) = (day_of(now, &scope.msp.time_zone), day_of(now, &scope.customer.time_zone));
        let rpo_hours = match tenants.contract_of(scope.customer.id, msp_day).await {
            Ok(contract) => contract.rpo_hours.into(),
            Err(TenantsError::NoContract(_)) => RPO_HOURS.into(),
            Err(error) => return Err(error.into()),
        };
        let silo = tenants.begin_tenant(scope).await?;
        let facts = conditions::read_facts(&silo, (msp_day, own_day), rpo_hours).await?;
        silo.commit().await?;
        let tx = tenants.begin_msp(&msp_scope(scope)).await?;
        let limits = match get_limits(&tx, &scope.customer).await {
            Ok(limits) => Some(limits),
            Err(TenantsError::NoContract(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let planes = list_control_planes(&tx, &scope.customer).await?;
        let sources = planes.into_iter().filter(|plane| plane.retired_at.is_none()).map(|plane| plane.source).collect();
        let api_percent = store::find_api_percent(&tx, scope.customer.id, after(now, -API_LATELY)).await?;
        let readings = measure(&facts, &Terms { limits, rpo_hours, sources, api_percent }, now);
        let report = write(&tx, scope, &readings, now).await?;
        tx.commit().await?;
        Ok(report)
    })
}

async fn write(tx: &MspTx, scope: &TenantScope, readings: &Readings, now: Timestamp) -> Result<WatchReport, MeteringError> {
    let customer = &scope.customer;
    let live = store::lock_live(tx, customer.id).await?;
    let is_about = |alert: &Alert, kind, subject: &str| alert.kind == kind && alert.subject == subject;
    let mut report = WatchReport { customers: 1, ..WatchReport::default() };
    let mut turning: Vec<Timestamp> = Vec::new();
    // Every subject once: those that have a reading, and those of which nothing is read any more.
    let read =
        readings.list.iter().map(|reading| (live.iter().find(|alert| is_about(alert, reading.kind, &reading.subject)), Some(reading)));
    let unread = live.iter().enumerate().filter(|(index, alert)| {
        let is_first = !live[..*index].iter().any(|other| is_about(other, alert.kind, &alert.subject));
        is_first && !readings.list.iter().any(|reading| is_about(alert, reading.kind, &reading.subject))
    });
    for (previous, reading) in read.chain(unread.map(|(_, alert)| (Some(alert), None))) {
        let is_unknown = previous.is_some_and(|alert| readings.unknown.contains(&alert.kind));
        let followed = if is_unknown { None } else { follow(previous, reading, now, (customer.id, AlertId::new())) };
        let Some((alert, news)) = followed else {
            turning.extend(previous.and_then(turns_at));
            continue;
        };
        match news {
            News::Raised => {
                store::insert(tx, &alert).await?;
                tx.emit(&AlertRaised::of(&alert, &customer.code)).await?;
                report.raised += 1;
            }
            News::Worsened => {
                store::update(tx, &alert).await?;
                tx.emit(&AlertEscalated::of(&alert, &customer.code)).await?;
            }
            News::Resolved => {
                store::update(tx, &alert).await?;
                tx.emit(&AlertResolved::of(&alert, &customer.code)).await?;
                report.resolved += 1;
            }
            News::Quiet => store::update(tx, &alert).await?,
        }
        turning.extend(turns_at(&alert));
    }
    let due_at = turning.into_iter().filter(|at| *at > now).fold(after(now, LOOK_EVERY), Timestamp::min);
    store::upsert_watch(tx, customer.id, due_at, Some(now)).await?;
    Ok(report)
}

/// What of its limits a customer uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LimitUse {
    pub machines: i64,
    /// The latest samples of the repositories together, copies included.
    pub storage_gib: i64,
    /// Those that run for five minutes or more.
    pub jobs_running: i64,
}

/// Returns what of its limits a customer uses now.
///
/// # Errors
/// When Postgres refuses.
pub fn limit_use<'a>(tx: &'a TenantTx) -> Boxed<'a, Result<LimitUse, MeteringError>> {
    Box::pin(async move {
        let facts = conditions::read_use(tx, day_of(tx.now(), &tx.msp().time_zone)).await?;
        Ok(LimitUse { machines: facts.machines_protected, storage_gib: facts.stored_gib(), jobs_running: facts.jobs_running })
    })
}

/// Writes down how much of its rate a customer's programs used, as the door saw it, and has the customer looked at.
///
/// # Errors
/// When Postgres refuses.
pub fn note_api_use<'a>(tx: &'a MspTx, customer: CustomerId, percent: i32) -> Boxed<'a, Result<(), MeteringError>> {
    Box::pin(async move { store::upsert_api_use(tx, customer, percent, after(tx.now(), -API_LATELY)).await })
}

/// Has a customer looked at within a minute or so, because something of it came.
///
/// # Errors
/// When Postgres refuses.
pub fn bring_forward<'a>(tx: &'a MspTx, customer: CustomerId) -> Boxed<'a, Result<(), MeteringError>> {
    Box::pin(async move { store::bring_forward(tx, customer, tx.now()).await })
}
