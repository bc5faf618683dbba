//! The SQL of who opened whose data.

use granary_db::Tx;
use granary_types::CustomerId;
use jiff::Timestamp;

use crate::{AccessError, Opening};

const IS_NOTED: &str = "
    select exists (
        select from audit_log where customer_id = $1 and actor = $2 and action = 'customer.open' and happened_at > $3)";

const LIST: &str = "
    select a.happened_at, coalesce(u.name, k.name) as who, u.role
    from audit_log a
    left join users u on a.actor = 'user:' || u.id::text
    left join api_keys k on a.actor = 'api_key:' || k.id::text
    where a.customer_id = $1 and a.action = 'customer.open'
    order by a.happened_at desc, a.id desc limit $2";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[IS_NOTED, LIST];

/// Tells whether an opening was noted since an instant.
pub(crate) async fn is_noted(tx: &Tx, customer: CustomerId, actor: &str, since: Timestamp) -> Result<bool, AccessError> {
    Ok(tx.query_one(IS_NOTED, &[&customer, &actor, &since]).await?.get(0))
}

/// Lists openings.
pub(crate) async fn list(tx: &Tx, customer: CustomerId, limit: i64) -> Result<Vec<Opening>, AccessError> {
    let rows = tx.query(LIST, &[&customer, &limit]).await?;
    Ok(rows.iter().map(|row| Opening { opened_at: row.get(0), who: row.get(1), role: row.get(2) }).collect())
}
