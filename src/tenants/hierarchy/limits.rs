//! How much a customer may use, and what happens at the limit.

use granary_foundation::Boxed;
use granary_types::{CustomerStatus, day_of};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::audit;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::store;
use crate::transaction::MspTx;

/// What happens at a limit. Facts are counted in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// It alerts, at 80 % and 100 %.
    #[default]
    Soft,
    /// It alerts, and refuses: of the rate every request above it, at the door; of the others what is ordered from here, new protection and
    /// runs. Nothing is ordered from here yet, so the rate is the one that refuses.
    Hard,
}

/// A customer's limits. Machines and storage are terms of the contract in force: overage is billed by their average over a
/// period's days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// None for as many as it likes.
    pub machines: Option<i32>,
    pub machines_enforcement: Enforcement,
    pub storage_gib: i64,
    pub storage_enforcement: Enforcement,
    pub max_concurrent_jobs: Option<i32>,
    pub jobs_enforcement: Enforcement,
    /// Requests a minute of all programs together.
    pub api_rate_limit: Option<i32>,
    pub api_enforcement: Enforcement,
}

impl Limits {
    fn check(&self) -> Result<(), TenantsError> {
        let is_negative = |limit: Option<i32>| limit.is_some_and(|limit| limit < 0);
        if is_negative(self.machines) || self.storage_gib < 0 || is_negative(self.max_concurrent_jobs) || is_negative(self.api_rate_limit) {
            return Err(TenantsError::Invalid("a limit cannot be negative; leave it out for none"));
        }
        if self.storage_gib > i64::from(i32::MAX) {
            return Err(TenantsError::Invalid("a storage limit has at most 2147483647 GiB"));
        }
        Ok(())
    }
}

/// Returns a customer's limits as they are today.
///
/// # Errors
/// When it has no contract.
pub fn get_limits<'a>(tx: &'a MspTx, customer: &'a Customer) -> Boxed<'a, Result<Limits, TenantsError>> {
    Box::pin(async move {
        let today = day_of(tx.now(), &tx.msp().time_zone);
        let contract = store::find_contract_on(tx, customer.id, today).await?.ok_or(TenantsError::NoContract(today))?;
        store::find_limits(tx, customer.id, &contract).await
    })
}

/// Replaces a customer's limits from today on, the MSP's day: the days before keep theirs, so that a month that is over is billed
/// by what held in it.
///
/// # Errors
/// When a limit is negative, the customer has no contract, or it has left.
pub fn put_limits<'a>(tx: &'a MspTx, customer: &'a Customer, limits: &'a Limits) -> Boxed<'a, Result<(), TenantsError>> {
    Box::pin(async move {
        limits.check()?;
        if matches!(customer.status, CustomerStatus::Closed | CustomerStatus::Erased) {
            return Err(TenantsError::Left(customer.status));
        }
        // Who changes the limits at the same time waits here, so that the audit tells the order.
        store::lock_customer(tx, customer.id).await?.ok_or(TenantsError::UnknownCustomer(customer.id))?;
        let before = get_limits(tx, customer).await?;
        if before == *limits {
            return Ok(());
        }
        let today = day_of(tx.now(), &tx.msp().time_zone);
        if (before.machines, before.storage_gib) != (limits.machines, limits.storage_gib) {
            store::update_contract_limits(tx, customer.id, today, limits).await?;
        }
        store::upsert_limits(tx, (tx.msp().id, customer.id), limits).await?;
        audit(tx, customer, "customer.limits", json!({"before": words(&before), "after": words(limits)}), None).await
    })
}

fn words(limits: &Limits) -> serde_json::Value {
    let is_hard = |enforcement| enforcement == Enforcement::Hard;
    json!({
        "machines": limits.machines, "machines_are_hard": is_hard(limits.machines_enforcement),
        "storage_gib": limits.storage_gib, "storage_is_hard": is_hard(limits.storage_enforcement),
        "max_concurrent_jobs": limits.max_concurrent_jobs, "jobs_are_hard": is_hard(limits.jobs_enforcement),
        "api_rate_limit": limits.api_rate_limit, "api_is_hard": is_hard(limits.api_enforcement),
    })
}
