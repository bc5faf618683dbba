//! Customers, page by page.

use granary_foundation::Boxed;
use granary_types::{CustomerCode, CustomerId, CustomerStatus, Deployment};

use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::grant::Granted;
use crate::store;
use crate::transaction::MspTx;

/// Which customers are wanted.
#[derive(Debug, Clone, Default)]
pub struct CustomerFilter {
    pub status: Option<CustomerStatus>,
    pub region: Option<String>,
    pub deployment: Option<Deployment>,
    /// Part of the code or the name, in whatever case.
    pub search: Option<String>,
    /// Those after this code.
    pub after: Option<CustomerCode>,
}

/// Lists the granted customers of an MSP by code, at most `limit`.
///
/// # Errors
/// When Postgres refuses.
pub fn list_customers<'a>(
    tx: &'a MspTx,
    granted: &'a Granted,
    filter: &'a CustomerFilter,
    limit: u16,
) -> Boxed<'a, Result<Vec<Customer>, TenantsError>> {
    Box::pin(async move {
        let ids: Option<Vec<CustomerId>> = match granted {
            Granted::All => None,
            Granted::Only(ids) => Some(ids.iter().copied().collect()),
        };
        store::list_customers_page(tx, ids.as_deref(), filter, i64::from(limit)).await
    })
}

impl Tenants {
    /// Returns a customer whether it is open yet or not, for whoever began to provision it.
    ///
    /// # Errors
    /// When the MSP has none of that code.
    pub fn customer_being_provisioned<'a>(&'a self, tx: &'a MspTx, code: &'a CustomerCode) -> Boxed<'a, Result<Customer, TenantsError>> {
        Box::pin(async move {
            let customer = store::find_customer_on_its_way(tx, tx.msp().id, code).await?;
            customer.ok_or_else(|| TenantsError::UnknownCustomerCode(code.clone()))
        })
    }
}
