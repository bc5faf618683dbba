//! Statements as people see them, and what a month of the portfolio adds up to.

use granary_foundation::Boxed;
use granary_tenants::MspTx;
use granary_types::{Currency, Period, Quantity, StatementId, Tier};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::store::invoices::ItemTotal;
use crate::{BillingError, Item, StatementLine, margin_percent, store};

/// What the operator charges an MSP for a period, without its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub id: StatementId,
    pub period: Period,
    pub currency: Currency,
    /// The MSP's margin on the operator's list.
    pub margin_percent: Decimal,
    pub total_minor: i64,
    pub is_final: bool,
}

/// A statement with its lines, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementView {
    pub statement: Statement,
    pub lines: Vec<StatementLine>,
}

/// One tier's machine lines of a period, over all customers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierSubtotal {
    pub tier: Tier,
    pub machines: Quantity,
    pub retail_minor: i64,
    pub wholesale_minor: i64,
}

/// What a period of an MSP adds up to: machine charges by tier, the platform fee, and the other lines beside them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortfolioSubtotals {
    pub period: Period,
    pub currency: Currency,
    pub tiers: Vec<TierSubtotal>,
    pub machine_retail_minor: i64,
    pub machine_wholesale_minor: i64,
    pub platform_fee_minor: i64,
    /// Machine wholesale and platform fee.
    pub machine_cost_minor: i64,
    /// Machine retail less machine wholesale and platform fee.
    pub machine_margin_minor: i64,
    /// The same in per cent of machine retail, one decimal; none without revenue.
    pub machine_margin_percent: Option<Decimal>,
    /// Overage, add-ons, discounts and top-ups, net.
    pub other_retail_minor: i64,
    pub other_wholesale_minor: i64,
    /// All invoices, net.
    pub retail_minor: i64,
    /// The whole statement.
    pub wholesale_minor: i64,
}

/// Returns the statement of a period.
///
/// # Errors
/// When the period has not been drafted.
pub fn get_statement<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<StatementView, BillingError>> {
    Box::pin(async move {
        let statement = store::statements::find_statement(tx, tx.msp().id, period).await?.ok_or(BillingError::NotFound("statement"))?;
        let lines = store::statements::list_statement_lines(tx, statement.id).await?;
        Ok(StatementView { statement, lines })
    })
}

/// Lists an MSP's statements, the latest first.
///
/// # Errors
/// When the store fails.
pub fn list_statements<'a>(tx: &'a MspTx) -> Boxed<'a, Result<Vec<Statement>, BillingError>> {
    Box::pin(async move { store::statements::list_statements(tx, tx.msp().id).await })
}

/// Returns what a period adds up to in the MSP's currency.
///
/// # Errors
/// When the store fails.
pub fn portfolio_subtotals<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<PortfolioSubtotals, BillingError>> {
    Box::pin(async move {
        let (msp, currency) = (tx.msp().id, tx.msp().currency);
        let retail = store::invoices::list_item_totals(tx, msp, period, currency.code()).await?;
        let wholesale = store::statements::list_item_totals(tx, msp, period, currency.code()).await?;
        Ok(subtotals(period, currency, &retail, &wholesale))
    })
}

fn subtotals(period: Period, currency: Currency, retail: &[ItemTotal], wholesale: &[ItemTotal]) -> PortfolioSubtotals {
    let sum = |totals: &[ItemTotal], counts: &dyn Fn(Item) -> bool| -> i64 {
        totals.iter().filter(|total| counts(total.item)).map(|total| total.amount_minor).sum()
    };
    let tier = |tier: &Tier| {
        let item = Item::machine(*tier);
        TierSubtotal {
            tier: *tier,
            machines: retail.iter().filter(|total| total.item == item).map(|total| total.quantity).sum(),
            retail_minor: sum(retail, &|other| other == item),
            wholesale_minor: sum(wholesale, &|other| other == item),
        }
    };
    let machine_retail_minor = sum(retail, &Item::is_machine);
    let machine_wholesale_minor = sum(wholesale, &Item::is_machine);
    let platform_fee_minor = sum(wholesale, &|item| item == Item::PlatformFee);
    let machine_cost_minor = machine_wholesale_minor + platform_fee_minor;
    let (retail_minor, wholesale_minor) = (sum(retail, &|_| true), sum(wholesale, &|_| true));
    PortfolioSubtotals {
        period,
        currency,
        tiers: Tier::ALL.iter().map(tier).collect(),
        machine_retail_minor,
        machine_wholesale_minor,
        platform_fee_minor,
        machine_cost_minor,
        machine_margin_minor: machine_retail_minor - machine_cost_minor,
        machine_margin_percent: margin_percent(machine_retail_minor, machine_cost_minor),
        other_retail_minor: retail_minor - machine_retail_minor,
        other_wholesale_minor: wholesale_minor - machine_cost_minor,
        retail_minor,
        wholesale_minor,
    }
}
