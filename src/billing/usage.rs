//! What rating takes from metering: machines by the MSP's rule, counted from the first billed day, and stored bytes.

use granary_metering::{MachineCounts, PeriodUsage, TierPrices, count_completed, measure_known};
use granary_tenants::{Customer, TenantTx};
use granary_types::Tier;
use jiff::civil::Date;

use crate::context::{Agreement, Context};
use crate::{BillingError, Coverage, Item};

/// A customer's usage of a period, as far as lines depend on it.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    pub(crate) machines: MachineCounts,
    pub(crate) stored_bytes_average: i64,
    pub(crate) is_estimated: bool,
}

/// Measures a customer's period; machines that completed nothing on or after `from` are not counted. With `known_on` that day's
/// machines stand in for what a silent control plane did not say.
pub(crate) async fn measured(
    tx: &TenantTx,
    context: &Context,
    agreement: &Agreement,
    coverage: &Coverage,
    from: Option<Date>,
    known_on: Option<Date>,
) -> Result<Usage, BillingError> {
    let usage = measure_known(tx, context.period, known_on).await?;
    counted(tx, context, agreement, coverage, from, usage).await
}

/// As [`measured`], of what was measured before.
pub(crate) async fn counted(
    tx: &TenantTx,
    context: &Context,
    agreement: &Agreement,
    coverage: &Coverage,
    from: Option<Date>,
    mut usage: PeriodUsage,
) -> Result<Usage, BillingError> {
    let period = context.period;
    if let Some(from) = from.filter(|from| *from > period.first_day()) {
        usage.days.retain(|machines| machines.day >= from);
        usage.distinct = count_completed(tx, from, period.last_day()).await?;
    }
    let prices = if coverage.is_trial() { TierPrices::LIST } else { tier_prices(context, tx.customer(), agreement)? };
    Ok(Usage {
        machines: usage.count(context.msp.counting_rule, &prices),
        stored_bytes_average: usage.stored_bytes_average,
        is_estimated: usage.is_estimated,
    })
}

/// What the customer pays for a machine of each tier decides which day is its peak.
fn tier_prices(context: &Context, customer: &Customer, agreement: &Agreement) -> Result<TierPrices, BillingError> {
    let price = |tier| context.prices.retail(customer.id, Item::machine(tier), agreement.terms.currency, context.period);
    Ok(TierPrices { backup: price(Tier::Backup)?, enterprise: price(Tier::Enterprise)?, replication: price(Tier::Replication)? })
}
