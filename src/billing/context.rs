//! What the catalog and the price book say about a period, read once for all customers.

use std::collections::HashMap;

use granary_tenants::{Contract, Customer, Msp, MspScope, Tenants};
use granary_types::{ContractId, CustomerId, CustomerStatus, Period, day_of};
use jiff::civil::Date;

use crate::book::get_price_book;
use crate::{AverageLimit, BillingError, PriceBook, Standing, Terms};

/// Who acts when billing works by itself.
pub(crate) const ACTOR: &str = "billing";

/// One customer's terms for a period.
#[derive(Debug)]
pub(crate) struct Agreement {
    pub(crate) terms: Terms,
    pub(crate) standing: Standing,
    pub(crate) payment_terms_days: i32,
}

/// An MSP, its customers and their agreements in a period, and all prices.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) msp: Msp,
    pub(crate) period: Period,
    pub(crate) customers: Vec<Customer>,
    pub(crate) prices: PriceBook,
    contracts: Vec<Contract>,
    /// Storage limits of each contract, oldest first.
    limits: HashMap<ContractId, Vec<(Date, i64)>>,
    /// The last day that is billed: of the period, or today while it is open.
    last_day: Date,
    changes: HashMap<CustomerId, Vec<(Date, CustomerStatus)>>,
}

impl Context {
    /// Reads the catalog and the price book.
    pub(crate) async fn load(tenants: &Tenants, msp: &Msp, period: Period) -> Result<Self, BillingError> {
        let mut customers = tenants.list_customers(msp.id).await?;
        customers.sort_by(|one, two| one.code.cmp(&two.code));
        let contracts = tenants.list_contracts(msp.id).await?;
        let mut dated = tenants.list_status_changes(msp.id).await?;
        dated.sort_by_key(|change| change.changed_at);
        let mut changes: HashMap<CustomerId, Vec<(Date, CustomerStatus)>> = HashMap::new();
        for change in dated {
            let day = day_of(change.changed_at, &msp.time_zone);
            changes.entry(change.customer_id).or_default().push((day, change.status));
        }
        let mut limits: HashMap<ContractId, Vec<(Date, i64)>> = HashMap::new();
        for one in tenants.list_contract_limits(msp.id).await? {
            limits.entry(one.contract_id).or_default().push((one.valid_from, one.storage_limit_gib));
        }
        let last_day = period.last_day().min(day_of(tenants.clock().now(), &msp.time_zone));
        let tx = tenants.begin_msp(&MspScope::for_job(msp.clone(), ACTOR)).await?;
        let prices = get_price_book(&tx).await?;
        tx.commit().await?;
        Ok(Self { msp: msp.clone(), period, customers, prices, contracts, limits, last_day, changes })
    }

    fn storage_limit(&self, contract: &Contract) -> AverageLimit {
        let own = [(contract.starts_on, contract.storage_limit_gib)];
        let limits = self.limits.get(&contract.id).map_or(&own[..], Vec::as_slice);
        AverageLimit::over(limits, self.period.first_day(), self.last_day)
    }

    /// Returns a customer's agreement: the contract that runs in the period, the latest one if there are several.
    pub(crate) fn agreement(&self, customer: &Customer) -> Option<Agreement> {
        let (first, last) = (self.period.first_day(), self.period.last_day());
        let runs = |contract: &&Contract| {
            contract.customer_id == customer.id && contract.starts_on <= last && contract.ends_on.is_none_or(|ends_on| ends_on >= first)
        };
        let contract = self.contracts.iter().filter(runs).max_by_key(|contract| (contract.starts_on, contract.created_at))?;
        let changes = self.changes.get(&customer.id).cloned().unwrap_or_default();
        Some(Agreement {
            terms: Terms {
                currency: contract.currency,
                storage_limit: self.storage_limit(contract),
                minimum_minor: contract.minimum_minor,
                discount_percent: contract.discount_percent,
                tax_percent: contract.tax_percent,
                has_premium_support: contract.has_premium_support,
                has_white_label: contract.has_white_label,
            },
            standing: Standing { contract_starts_on: contract.starts_on, contract_ends_on: contract.ends_on, changes },
            payment_terms_days: contract.payment_terms_days,
        })
    }
}
