//! The SQL of who opened whose data.

use granary_db::Tx;
use granary_types::{CustomerId, MspId};
use jiff::Timestamp;

use crate::{AccessError, Opening};

const IS_NOTED: &str = "
    select exists (
        select from audit_log where customer_id = $1 and actor = $2 and action = 'customer.open' and happened_at > $3)";

/// Of the customers whose data a command opened, those for whom the same command was not written down since an instant.
const LIST_UNNOTED: &str = "
    select c.id, c.msp_id
    from customers c
    where c.id = any ($1::uuid[]) and c.status <> 'erased' and not exists (
        select from audit_log a
        where a.customer_id = c.id and a.actor = $2 and a.action = 'customer.open' and a.reason = $3 and a.happened_at > $4)
    order by c.id";

const LIST: &str = "
    select a.happened_at, coalesce(u.name, k.name, case when a.actor = 'operator:cli' then 'A command' end) as who,
        coalesce(u.role, case when a.actor = 'operator:cli' then 'operator_admin' end) as role, a.reason
    from audit_log a
    left join users u on a.actor = 'user:' || u.id::text
    left join api_keys k on a.actor = 'api_key:' || k.id::text
    where a.customer_id = $1 and a.action = 'customer.open'
    order by a.happened_at desc, a.id desc limit $2";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[IS_NOTED, LIST_UNNOTED, LIST];

/// Tells whether an opening was noted since an instant.
pub(crate) async fn is_noted(tx: &Tx, customer: CustomerId, actor: &str, since: Timestamp) -> Result<bool, AccessError> {
    Ok(tx.query_one(IS_NOTED, &[&customer, &actor, &since]).await?.get(0))
}

/// Lists those of the customers, with their MSPs, for whom the same command was not noted since an instant.
pub(crate) async fn list_unnoted(
    tx: &Tx,
    customers: &[CustomerId],
    (actor, reason): (&str, &str),
    since: Timestamp,
) -> Result<Vec<(CustomerId, MspId)>, AccessError> {
    let rows = tx.query(LIST_UNNOTED, &[&customers, &actor, &reason, &since]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Lists openings.
pub(crate) async fn list(tx: &Tx, customer: CustomerId, limit: i64) -> Result<Vec<Opening>, AccessError> {
    let rows = tx.query(LIST, &[&customer, &limit]).await?;
    Ok(rows.iter().map(|row| Opening { opened_at: row.get(0), who: row.get(1), role: row.get(2), reason: row.get(3) }).collect())
}
