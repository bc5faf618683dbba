//! What the open month would bill if it ended now.

use granary_db::{Row, Tx};
use granary_types::MspId;

use super::{currency, period as stored_period};
use crate::{BillingError, RunRate};

const UPSERT: &str = "
    insert into run_rates (customer_id, msp_id, period, amount_minor, currency, computed_at)
    values ($1, $2, $3, $4, $5, $6)
    on conflict (customer_id) do update set
        period = excluded.period, amount_minor = excluded.amount_minor, currency = excluded.currency, computed_at = excluded.computed_at
    where (run_rates.period, run_rates.amount_minor, run_rates.currency) is distinct from (excluded.period, excluded.amount_minor, excluded.currency)";

const LIST: &str = "
    select customer_id, period, amount_minor, currency, computed_at
    from run_rates
    where msp_id = $1
    order by customer_id";

/// Writes a customer's run rate.
pub(crate) async fn upsert_run_rate(tx: &Tx, msp: MspId, rate: &RunRate) -> Result<(), BillingError> {
    let (text, code) = (rate.period.to_string(), rate.currency.code());
    tx.execute(UPSERT, &[&rate.customer_id, &msp, &text, &rate.amount_minor, &code, &rate.computed_at]).await?;
    Ok(())
}

/// Lists an MSP's run rates.
pub(crate) async fn list_run_rates(tx: &Tx, msp: MspId) -> Result<Vec<RunRate>, BillingError> {
    tx.query(LIST, &[&msp]).await?.iter().map(run_rate).collect()
}

fn run_rate(row: &Row) -> Result<RunRate, BillingError> {
    Ok(RunRate {
        customer_id: row.get("customer_id"),
        period: stored_period(row.get("period"))?,
        amount_minor: row.get("amount_minor"),
        currency: currency(row.get("currency"))?,
        computed_at: row.get("computed_at"),
    })
}
