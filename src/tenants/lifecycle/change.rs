//! Changing a customer's status: one transaction with the change, its audit and its news; then the steps of other rooms.

use granary_db::{AuditEntry, Tx, outbox, record_audit};
use granary_foundation::Boxed;
use granary_types::{Classify, CustomerId, CustomerStatus, EndReason, MspId, day_of};
use jiff::{Timestamp, ToSpan};
use serde_json::json;

use super::events::{CustomerActivated, CustomerClosed, CustomerErased, CustomerResumed, CustomerSuspended};
use super::run::Lifecycle;
use super::state::Transition;
use super::step::Subject;
use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::msp::Msp;
use crate::scope::Actor;
use crate::store;
use crate::transaction::MspTx;

/// Why a trial is closed that nobody made a customer.
const TRIAL_ENDED: &str = "trial ended";

/// A change of status that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    pub transition: Transition,
    pub reason: Option<&'a str>,
    /// Why the contract ends, when the customer is closed; [`EndReason::Closed`] unless told.
    pub end_reason: Option<EndReason>,
    /// None for now; an imported past lies behind.
    pub at: Option<Timestamp>,
}

impl<'a> Change<'a> {
    /// Describes a change from now on.
    pub const fn now(transition: Transition, reason: Option<&'a str>) -> Self {
        Self { transition, reason, end_reason: None, at: None }
    }
}

impl Lifecycle {
    /// Changes a customer's status with the caller's transaction; after its commit, [`Lifecycle::settle`] does what other
    /// rooms registered. A customer that is there already stays as it is, without audit and news.
    ///
    /// # Errors
    /// When the state machine has no such arrow, or a reason is missing.
    pub fn change<'a>(&'a self, tx: &'a MspTx, customer: CustomerId, change: Change<'a>) -> Boxed<'a, Result<Customer, TenantsError>> {
        Box::pin(async move {
            let changed = apply(tx, tx.msp(), customer, change, tx.actor()).await?;
            if let (true, Some(operation)) = (changed.is_new, change.transition.operation())
                && !self.steps(operation).is_empty()
            {
                store::insert_run(tx, (tx.msp().id, customer), operation, &tx.actor().to_string(), change.reason).await?;
            }
            Ok(changed.customer)
        })
    }

    /// Advances what a change of status has entered; nothing when no room has a step in it.
    ///
    /// # Errors
    /// When a step fails; it is taken up again later.
    pub fn settle<'a>(&'a self, msp: &'a Msp, customer: &'a Customer, change: Change<'a>) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            let Some(operation) = change.transition.operation().filter(|operation| !self.steps(*operation).is_empty()) else {
                return Ok(());
            };
            let subject = Subject {
                tenants: self.tenants().clone(),
                msp: msp.clone(),
                customer: customer.clone(),
                operation,
                reason: change.reason.map(str::to_owned),
            };
            self.advance(&subject).await
        })
    }

    /// Closes every trial whose days are over, each in a transaction of its own, and returns how many there were.
    ///
    /// # Errors
    /// When the catalog cannot be read; a trial that cannot be closed is logged and the others go on.
    pub fn end_trials<'a>(&'a self) -> Boxed<'a, Result<u64, TenantsError>> {
        Box::pin(async move {
            let tenants = self.tenants();
            let mut ended = 0;
            for msp in tenants.list_msps().await? {
                let today = day_of(tenants.clock().now(), &msp.time_zone);
                for customer in tenants.list_customers(msp.id).await? {
                    let is_over = customer.status == CustomerStatus::Trial && customer.trial_ends_on.is_some_and(|end| end <= today);
                    if !is_over {
                        continue;
                    }
                    match self.end_trial(&msp, &customer).await {
                        Ok(()) => ended += 1,
                        Err(error) => tracing::error!(tenant.id = %customer.id, code = error.code(), %error, "a trial could not be ended"),
                    }
                }
            }
            Ok(ended)
        })
    }

    async fn end_trial(&self, msp: &Msp, customer: &Customer) -> Result<(), TenantsError> {
        let change = Change::now(Transition::Close, Some(TRIAL_ENDED));
        let scope = crate::scope::MspScope::for_job(msp.clone(), "trials");
        let tx = self.tenants().begin_msp(&scope).await?;
        // Somebody may have converted it meanwhile: then it is no longer a trial, and nobody closes it.
        if store::lock_customer(&tx, customer.id).await?.is_some_and(|customer| customer.status == CustomerStatus::Trial) {
            let closed = self.change(&tx, customer.id, change).await?;
            tx.commit().await?;
            return self.settle(msp, &closed, change).await;
        }
        tx.rollback().await
    }
}

impl Tenants {
    /// Changes a customer's status from an instant on, which may lie in the past, without the steps of other rooms: for
    /// imports of what has been.
    ///
    /// # Errors
    /// When there is no such customer, the state machine has no such arrow, or a reason is missing.
    pub fn set_status<'a>(
        &'a self,
        customer: CustomerId,
        status: CustomerStatus,
        reason: Option<&'a str>,
        at: Timestamp,
    ) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            let found = self.get_customer(customer).await?;
            let msp = self.get_msp(found.msp_id).await?;
            let transition = Transition::between(found.status, status).ok_or(TenantsError::NoArrow { from: found.status, to: status })?;
            let tx = self.begin_catalog().await?;
            let change = Change { transition, reason, end_reason: None, at: Some(at) };
            apply(&tx, &msp, customer, change, Actor::System("import")).await?;
            Ok(tx.commit().await?)
        })
    }
}

struct Changed {
    customer: Customer,
    is_new: bool,
}

/// The one place where a status changes. The row is locked first, so that of two who want the same only one brings news.
async fn apply(tx: &Tx, msp: &Msp, id: CustomerId, change: Change<'_>, actor: Actor) -> Result<Changed, TenantsError> {
    let before = store::lock_customer(tx, id).await?.ok_or(TenantsError::UnknownCustomer(id))?;
    let reason = change.reason.map(str::trim).filter(|reason| !reason.is_empty());
    if !change.transition.check(before.status, reason)? {
        return Ok(Changed { customer: before, is_new: false });
    }
    if change.transition == Transition::Erase {
        check_erasable(tx, &before).await?;
    }
    let at = change.at.unwrap_or_else(|| tx.now());
    if at < before.status_since {
        return Err(TenantsError::Invalid("a change of status cannot lie before the last one"));
    }
    let (rule, on) = (change.transition.rule(), day_of(at, &msp.time_zone));
    store::update_status(tx, id, rule.to, on, at).await?;
    store::insert_status_change(tx, (msp.id, id), rule.to, reason, at).await?;
    if change.transition == Transition::Close {
        // Closed in the morning, the day before was the contract's last.
        let last_day = on.checked_sub(1.day()).unwrap_or(on);
        store::update_contract_end(tx, id, last_day, change.end_reason.unwrap_or(EndReason::Closed)).await?;
    }
    let entry = AuditEntry {
        msp: Some(msp.id),
        customer: Some(id),
        actor: actor.to_string(),
        action: format!("customer.{}", change.transition.as_str()),
        subject: format!("customer:{}", before.code),
        detail: json!({"from": before.status, "to": rule.to, "at": at}),
        reason: reason.map(str::to_owned),
    };
    record_audit(tx, &entry).await?;
    emit(tx, msp.id, change.transition, &before, reason, at).await?;
    let customer = Customer {
        status: rule.to,
        status_since: at,
        activated_on: before.activated_on.or((rule.to == CustomerStatus::Active).then_some(on)),
        ..before
    };
    Ok(Changed { customer, is_new: true })
}

/// A hold forbids to erase; a silo that is between two places could be erased by half.
async fn check_erasable(tx: &Tx, customer: &Customer) -> Result<(), TenantsError> {
    if let Some(hold) = store::find_hold(tx, customer.id).await? {
        return Err(TenantsError::OnHold(hold.set_at, hold.reason));
    }
    match store::find_move(tx, customer.id).await? {
        Some((_, to)) => Err(TenantsError::OtherMove { code: customer.code.clone(), to }),
        None => Ok(()),
    }
}

async fn emit(
    tx: &Tx,
    msp: MspId,
    transition: Transition,
    before: &Customer,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<(), TenantsError> {
    macro_rules! tell {
        ($event:ident) => {{
            let reason = reason.map(str::to_owned);
            let event = $event { customer_id: before.id, code: before.code.clone(), from: before.status, reason, at };
            outbox::emit(tx, Some(msp), &event).await?
        }};
    }
    match transition {
        Transition::Activate => tell!(CustomerActivated),
        Transition::Suspend => tell!(CustomerSuspended),
        Transition::Resume => tell!(CustomerResumed),
        Transition::Close => tell!(CustomerClosed),
        Transition::Erase => tell!(CustomerErased),
    }
    Ok(())
}
