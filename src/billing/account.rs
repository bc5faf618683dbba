//! What customers owe: the balance that their account opened with, what they were invoiced, and what they have paid.

use granary_foundation::Boxed;
use granary_tenants::MspTx;
use granary_types::{Currency, CustomerId, Money};
use jiff::civil::Date;
use serde::Serialize;

use crate::{BillingError, store};

/// A customer's account in one currency, in minor units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    pub customer_code: String,
    pub customer_name: String,
    pub currency: Currency,
    /// Owed when the customer's past was imported; below zero it had that to its credit.
    pub opening_minor: i64,
    /// Finalised invoices with tax, less credit notes.
    pub invoiced_minor: i64,
    /// Payments, applied to an invoice or not.
    pub paid_minor: i64,
    /// What is owed now; below zero the MSP owes it.
    pub open_minor: i64,
}

/// What an account opens with at most, either way: sums of many stay far below the largest number.
const LARGEST_BALANCE: u64 = 1_000_000_000_000;

/// Opens a customer's account with what it owed on a day. False when it opened with the same balance.
///
/// # Errors
/// When the account opened with another balance, or the balance is more than anybody owes.
pub fn open_account<'a>(tx: &'a MspTx, customer: CustomerId, balance: Money, as_of_on: Date) -> Boxed<'a, Result<bool, BillingError>> {
    Box::pin(async move {
        if balance.amount_minor.unsigned_abs() > LARGEST_BALANCE {
            return Err(BillingError::NotABalance(balance));
        }
        if store::accounts::insert_opening(tx, tx.msp().id, customer, balance, as_of_on).await? {
            return Ok(true);
        }
        match store::accounts::find_opening(tx, customer).await? {
            Some(standing) if standing == balance => Ok(false),
            Some(standing) => Err(BillingError::AccountIsOpen { standing }),
            None => Err(BillingError::NotFound("customer of the MSP")),
        }
    })
}

/// Lists the accounts of the MSP's customers by code; those with no entry are left out.
///
/// # Errors
/// When the store fails.
pub fn list_accounts<'a>(tx: &'a MspTx) -> Boxed<'a, Result<Vec<Account>, BillingError>> {
    Box::pin(async move { store::accounts::list_accounts(tx, tx.msp().id).await })
}
