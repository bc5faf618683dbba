//! What customers owe.

use granary_db::{Row, Tx};
use granary_types::{CustomerId, Money, MspId};
use jiff::civil::Date;

use super::currency;
use crate::{Account, BillingError};

const INSERT_OPENING: &str = "
    insert into opening_balances (customer_id, msp_id, amount_minor, currency, as_of_on, created_at)
    values ($1, $2, $3, $4, $5, $6)
    on conflict (customer_id) do nothing";

const FIND_OPENING: &str = "select amount_minor, currency from opening_balances where customer_id = $1";

const LIST: &str = "
    with entries as (
        select customer_id, currency, amount_minor as opening_minor, 0::bigint as invoiced_minor, 0::bigint as paid_minor
        from opening_balances
        where msp_id = $1
        union all
        select customer_id, currency, 0, case kind when 'credit_note' then -total_minor else total_minor end, 0
        from invoices
        where msp_id = $1 and state = 'finalised'
        union all
        select customer_id, currency, 0, 0, amount_minor
        from payments
        where msp_id = $1
    )
    select c.code, c.name, e.currency, sum(e.opening_minor)::bigint as opening_minor, sum(e.invoiced_minor)::bigint as invoiced_minor,
        sum(e.paid_minor)::bigint as paid_minor, sum(e.opening_minor + e.invoiced_minor - e.paid_minor)::bigint as open_minor
    from entries e
    join customers c on c.id = e.customer_id
    group by c.code, c.name, e.currency
    order by c.code, e.currency";

/// Inserts the balance that an account opens with; false when it has one.
pub(crate) async fn insert_opening(
    tx: &Tx,
    msp: MspId,
    customer: CustomerId,
    balance: Money,
    as_of_on: Date,
) -> Result<bool, BillingError> {
    let code = balance.currency.code();
    Ok(tx.execute(INSERT_OPENING, &[&customer, &msp, &balance.amount_minor, &code, &as_of_on, &tx.now()]).await? == 1)
}

/// Finds the balance that an account opened with.
pub(crate) async fn find_opening(tx: &Tx, customer: CustomerId) -> Result<Option<Money>, BillingError> {
    let row = tx.query_opt(FIND_OPENING, &[&customer]).await?;
    row.map(|row| Ok(Money::new(row.get("amount_minor"), currency(row.get("currency"))?))).transpose()
}

/// Lists the accounts of an MSP's customers.
pub(crate) async fn list_accounts(tx: &Tx, msp: MspId) -> Result<Vec<Account>, BillingError> {
    tx.query(LIST, &[&msp]).await?.iter().map(account).collect()
}

fn account(row: &Row) -> Result<Account, BillingError> {
    Ok(Account {
        customer_code: row.get("code"),
        customer_name: row.get("name"),
        currency: currency(row.get("currency"))?,
        opening_minor: row.get("opening_minor"),
        invoiced_minor: row.get("invoiced_minor"),
        paid_minor: row.get("paid_minor"),
        open_minor: row.get("open_minor"),
    })
}
