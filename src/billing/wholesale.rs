//! What the operator charges an MSP: list × (1 − margin) per customer and tier, whatever the MSP itself charges.

use granary_types::{Currency, CustomerId, PartnerTier, Period, Quantity, Tier, UnitPrice, line_amount};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::{BillingError, Item, MachineCounts, PriceBook};

/// The platform fee is charged once for every started block of this many customers with a billable line.
const CUSTOMERS_PER_FEE: usize = 50;

/// One customer's usage, as far as the operator charges for it.
#[derive(Debug, Clone)]
pub struct WholesaleCustomer {
    pub customer: CustomerId,
    pub code: String,
    /// Machines with a run on or after the first day that is not free.
    pub machines: MachineCounts,
    pub overage_gib: Quantity,
    /// The share of the month for fixed monthly items; zero during a free trial.
    pub share: Quantity,
    pub has_premium_support: bool,
    pub has_white_label: bool,
    /// The customer's own invoice has a line that is not zero.
    pub has_retail_line: bool,
}

/// One line of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLine {
    /// None for a line of the MSP itself, the platform fee.
    pub customer_id: Option<CustomerId>,
    pub item: Item,
    pub description: String,
    pub quantity: Quantity,
    pub unit_price: UnitPrice,
    pub amount_minor: i64,
    pub currency: Currency,
}

/// Returns the statement's lines: customers in the given order, then the platform fee.
///
/// # Errors
/// When the operator's list lacks a price, or an amount does not fit.
pub fn wholesale(
    customers: &[WholesaleCustomer],
    prices: &PriceBook,
    partner_tier: PartnerTier,
    currency: Currency,
    period: Period,
) -> Result<Vec<StatementLine>, BillingError> {
    let keeps = Decimal::ONE - Decimal::new(partner_tier.margin_percent(), 2);
    let mut lines = Vec::new();
    let mut charged = 0_usize;
    for customer in customers {
        let before = lines.len();
        for (item, quantity, factor) in charges(customer, keeps) {
            if !quantity.is_zero() {
                let unit_price = (prices.list(item, currency, period)? * factor)
                    .round_dp_with_strategy(8, RoundingStrategy::MidpointAwayFromZero)
                    .normalize();
                let description = format!("{}: {}", customer.code, item.title());
                lines.push(line(Some(customer.customer), item, description, quantity, unit_price, currency)?);
            }
        }
        charged += usize::from(lines.len() > before || customer.has_retail_line);
    }
    if charged > 0 {
        let blocks = charged.div_ceil(CUSTOMERS_PER_FEE);
        let description = format!("Platform fee ({charged} customers, per started block of {CUSTOMERS_PER_FEE})");
        let unit_price = prices.list(Item::PlatformFee, currency, period)?;
        lines.push(line(None, Item::PlatformFee, description, Decimal::from(blocks), unit_price, currency)?);
    }
    Ok(lines)
}

/// What the operator charges for, with the share of its list price; fixed monthly items are net prices of the operator.
fn charges(customer: &WholesaleCustomer, keeps: Decimal) -> Vec<(Item, Quantity, Decimal)> {
    let machines = Tier::ALL.iter().map(|tier| (Item::machine(*tier), customer.machines.of(*tier), keeps));
    let fixed = [(Item::PremiumSupport, customer.has_premium_support), (Item::WhiteLabel, customer.has_white_label)];
    let fixed = fixed.into_iter().filter(|(_, is_agreed)| *is_agreed).map(|(item, _)| (item, customer.share, Decimal::ONE));
    machines.chain([(Item::StorageOverage, customer.overage_gib, keeps)]).chain(fixed).collect()
}

fn line(
    customer_id: Option<CustomerId>,
    item: Item,
    description: String,
    quantity: Quantity,
    unit_price: UnitPrice,
    currency: Currency,
) -> Result<StatementLine, BillingError> {
    let amount_minor = line_amount(quantity, unit_price, currency)?.amount_minor;
    Ok(StatementLine { customer_id, item, description, quantity, unit_price, amount_minor, currency })
}
