//! Run rates: what the open month would bill if it ended now.

use granary_foundation::Boxed;
use granary_foundation::SharedProgress;
use granary_tenants::{Msp, MspScope, MspTx, TenantScope, Tenants};
use granary_types::{Currency, CustomerId, Period};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::context::{ACTOR, Context};
use crate::draft::rating_input;
use crate::usage::measured;
use crate::{BillingError, rate, store, totals};

/// What a customer's open month would bill if it ended now, before tax; never called MRR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRate {
    pub customer_id: CustomerId,
    pub period: Period,
    pub amount_minor: i64,
    pub currency: Currency,
    pub computed_at: Timestamp,
}

/// Computes the run rate of every customer of an MSP in the open period and keeps those that changed. Nothing is drafted.
///
/// # Errors
/// When a customer cannot be rated, or the store fails.
pub fn compute_run_rates<'a>(
    tenants: &'a Tenants,
    msp: &'a Msp,
    period: Period,
    progress: SharedProgress,
) -> Boxed<'a, Result<Vec<RunRate>, BillingError>> {
    Box::pin(async move {
        let computed_at = tenants.clock().now();
        let context = Context::load(tenants, msp, period).await?;
        progress.begin("run rates", context.customers.len() as u64);
        let mut rates = Vec::new();
        for customer in &context.customers {
            progress.advance(1);
            let (amount_minor, currency) = match context.agreement(customer) {
                None => (0, msp.currency),
                Some(agreement) => {
                    let coverage = agreement.standing.coverage(period);
                    let tx = tenants.begin_tenant(&TenantScope::for_job(msp.clone(), customer.clone(), ACTOR)).await?;
                    let usage = measured(&tx, &context, &agreement, &coverage, coverage.billable_from, None).await?;
                    tx.commit().await?;
                    let lines = rate(&rating_input(&context, customer, coverage, &agreement, &usage))?;
                    (totals(&lines, agreement.terms.tax_percent, agreement.terms.currency)?.net_minor, agreement.terms.currency)
                }
            };
            rates.push(RunRate { customer_id: customer.id, period, amount_minor, currency, computed_at });
        }
        let tx = tenants.begin_msp(&MspScope::for_job(msp.clone(), ACTOR)).await?;
        for rate in &rates {
            store::run_rates::upsert_run_rate(&tx, msp.id, rate).await?;
        }
        tx.commit().await?;
        progress.end();
        Ok(rates)
    })
}

/// Lists the run rates as they were computed last.
///
/// # Errors
/// When the store fails.
pub fn list_run_rates<'a>(tx: &'a MspTx) -> Boxed<'a, Result<Vec<RunRate>, BillingError>> {
    Box::pin(async move { store::run_rates::list_run_rates(tx, tx.msp().id).await })
}
