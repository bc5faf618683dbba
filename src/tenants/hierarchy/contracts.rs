//! Contracts of one customer.

use granary_foundation::Boxed;
use granary_types::CustomerStatus;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::json;

use super::audit;
use crate::contract::{Contract, NewContract};
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::store;
use crate::transaction::MspTx;

/// Lists a customer's contracts by start.
///
/// # Errors
/// When Postgres refuses.
pub fn list_contracts_of<'a>(tx: &'a MspTx, customer: &'a Customer) -> Boxed<'a, Result<Vec<Contract>, TenantsError>> {
    Box::pin(async move { store::list_contracts_of(tx, customer.id).await })
}

/// Agrees on terms that follow those in force, from a first of a month on that has not begun when terms were agreed before.
///
/// # Errors
/// When the terms do not make sense, a later contract is there already, or the customer has left.
pub fn agree_contract<'a>(tx: &'a MspTx, customer: &'a Customer, new: &'a NewContract) -> Boxed<'a, Result<Contract, TenantsError>> {
    Box::pin(async move {
        new.check()?;
        if matches!(customer.status, CustomerStatus::Closed | CustomerStatus::Erased) {
            return Err(TenantsError::Left(customer.status));
        }
        store::lock_customer(tx, customer.id).await?.ok_or(TenantsError::UnknownCustomer(customer.id))?;
        let before = store::list_contracts_of(tx, customer.id).await?;
        if before.iter().any(|contract| contract.starts_on >= new.starts_on) {
            return Err(TenantsError::ContractOverlaps(new.starts_on));
        }
        if !before.is_empty() && new.starts_on.day() != 1 {
            return Err(TenantsError::Invalid("terms change on the first of a month"));
        }
        store::insert_contract(tx, tx.msp().id, customer.id, new, tx.now()).await?;
        let agreed = store::list_contracts_of(tx, customer.id).await?.pop().ok_or(TenantsError::NoContract(new.starts_on))?;
        audit(tx, customer, "contract.agree", json!({"contract": agreed.id, "starts_on": agreed.starts_on}), None).await?;
        Ok(agreed)
    })
}

/// What no contract needs, and what all sums of a month stay far below the largest number with.
const MOST_MACHINES: i32 = 10_000_000;
const LARGEST_MINIMUM: i64 = 1_000_000_000_000;
const EARLIEST: Date = Date::constant(1990, 1, 1);
const LATEST: Date = Date::constant(2099, 12, 31);

impl NewContract {
    /// Refuses terms that nobody can keep.
    pub(crate) fn check(&self) -> Result<(), TenantsError> {
        let refuse = |refusal| Err(TenantsError::Invalid(refusal));
        let is_negative = |count: Option<i32>| count.is_some_and(|count| count < 0);
        if !(1..=120).contains(&self.months) {
            return refuse("a contract runs 1 to 120 months");
        }
        if !(0..=365).contains(&self.notice_days) || !(0..=365).contains(&self.payment_terms_days) {
            return refuse("days of notice and of payment lie between 0 and 365");
        }
        if is_negative(self.contracted_machines) || is_negative(self.machine_limit) || self.storage_limit_gib < 0 || self.minimum_minor < 0
        {
            return refuse("quantities, limits and the minimum of a contract cannot be negative");
        }
        let is_many = |count: Option<i32>| count.is_some_and(|count| count > MOST_MACHINES);
        if is_many(self.contracted_machines) || is_many(self.machine_limit) {
            return refuse("a contract counts at most 10,000,000 machines");
        }
        if self.storage_limit_gib > i64::from(i32::MAX) {
            return refuse("a storage limit has at most 2147483647 GiB");
        }
        if self.minimum_minor > LARGEST_MINIMUM {
            return refuse("the minimum of a contract is at most 1,000,000,000,000 minor units");
        }
        if !(EARLIEST..=LATEST).contains(&self.starts_on) {
            return refuse("a contract begins between 1990 and 2099");
        }
        if self.discount_percent.normalize().scale() > 2 || self.backup_sla_percent.normalize().scale() > 2 {
            return refuse("a discount and a service level have at most two decimals");
        }
        if self.tax_percent.normalize().scale() > 3 {
            return refuse("a tax has at most three decimals");
        }
        let percent = Decimal::ZERO..=Decimal::ONE_HUNDRED;
        if !percent.contains(&self.discount_percent) || !percent.contains(&self.tax_percent) || !percent.contains(&self.backup_sla_percent)
        {
            return refuse("a percentage lies between 0 and 100");
        }
        if self.rpo_hours < 1 || self.restore_target_minutes < 1 || self.support_target_minutes < 1 {
            return refuse("service targets are at least 1");
        }
        Ok(())
    }
}
