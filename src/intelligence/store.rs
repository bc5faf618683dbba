//! What is read from the warehouse: a customer's month from the views over the lake, never from what was scored before.

use granary_types::Period;
use granary_warehouse::Session;
use jiff::civil::Date;
use serde::Deserialize;

use crate::IntelligenceError;

const MONTHS: &str = "
select customer_id, period, machines_backup + machines_enterprise + machines_replication as machines,
    runs_completed + runs_with_warning as runs_good, runs_failed, tickets_opened
from stg_metering__customer_months
order by customer_id, period";

/// Days of replication count beside runs: a day with a completed cycle is good.
const CYCLES: &str = "
select customer_id, to_char(billing_on, '%Y-%m') as period,
    count(*) filter (where cycles_completed > 0) as days_good, count(*) filter (where cycles_completed = 0) as days_failed
from stg_metering__replication_cycles
group by customer_id, to_char(billing_on, '%Y-%m')";

const FEATURES: &str = "
select customer_id, to_char(service_on, '%Y-%m') as period, substr(kind, 9) as feature
from stg_metering__activity
where kind like 'feature:%' and amount > 0
group by customer_id, to_char(service_on, '%Y-%m'), substr(kind, 9)";

const INVOICES: &str = "
select invoice_id, customer_id, total_minor, due_on
from stg_billing__invoices
where kind = 'invoice' and state = 'finalised' and due_on is not null
order by due_on, invoice_id";

const PAYMENTS: &str = "
select invoice_id, amount_minor, received_on
from stg_billing__payments
where invoice_id is not null
order by received_on, invoice_id";

/// A customer's month, as metering projects it.
#[derive(Debug, Deserialize)]
pub(crate) struct MonthRow {
    pub(crate) customer_id: String,
    pub(crate) period: Period,
    pub(crate) machines: u32,
    pub(crate) runs_good: u64,
    pub(crate) runs_failed: u64,
    pub(crate) tickets_opened: u32,
}

/// A customer's month of replication.
#[derive(Debug, Deserialize)]
pub(crate) struct CyclesRow {
    pub(crate) customer_id: String,
    pub(crate) period: Period,
    pub(crate) days_good: u64,
    pub(crate) days_failed: u64,
}

/// A feature used in a month.
#[derive(Debug, Deserialize)]
pub(crate) struct FeatureRow {
    pub(crate) customer_id: String,
    pub(crate) period: Period,
    pub(crate) feature: String,
}

/// A finalised invoice.
#[derive(Debug, Deserialize)]
pub(crate) struct InvoiceRow {
    pub(crate) invoice_id: String,
    pub(crate) customer_id: String,
    pub(crate) total_minor: i64,
    pub(crate) due_on: Date,
}

/// A payment for an invoice.
#[derive(Debug, Deserialize)]
pub(crate) struct PaymentRow {
    pub(crate) invoice_id: String,
    pub(crate) amount_minor: i64,
    pub(crate) received_on: Date,
}

/// Everything that scores are made of, but for the catalog.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) months: Vec<MonthRow>,
    pub(crate) cycles: Vec<CyclesRow>,
    pub(crate) features: Vec<FeatureRow>,
    pub(crate) invoices: Vec<InvoiceRow>,
    pub(crate) payments: Vec<PaymentRow>,
}

/// Reads the inputs of all customers that the session sees.
///
/// # Errors
/// When the warehouse fails.
pub(crate) async fn list_inputs(session: &Session) -> Result<Inputs, IntelligenceError> {
    Ok(Inputs {
        months: session.rows(MONTHS).await?,
        cycles: session.rows(CYCLES).await?,
        features: session.rows(FEATURES).await?,
        invoices: session.rows(INVOICES).await?,
        payments: session.rows(PAYMENTS).await?,
    })
}
