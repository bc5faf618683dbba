//! The SQL of who opened whose data.

use granary_db::Tx;
use granary_types::{CustomerId, MspId};
use jiff::Timestamp;

use crate::{AccessError, Opening};

const INSERT: &str = "
    insert into audit_log (msp_id, customer_id, actor, action, subject, detail, happened_at)
    select $1, $2::uuid, $3, 'customer.open', 'customer:' || $2::uuid::text, '{}', $4
    where not exists (
        select from audit_log where customer_id = $2 and actor = $3 and action = 'customer.open' and happened_at > $5)";

const LIST: &str = "
    select a.happened_at, coalesce(u.name, k.name) as who, u.role
    from audit_log a
    left join users u on a.actor = 'user:' || u.id::text
    left join api_keys k on a.actor = 'api_key:' || k.id::text
    where a.customer_id = $1 and a.action = 'customer.open'
    order by a.happened_at desc, a.id desc limit $2";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[INSERT, LIST];

/// Notes an opening, unless the same was noted since an instant.
pub(crate) async fn insert(tx: &Tx, msp: Option<MspId>, customer: CustomerId, actor: &str, since: Timestamp) -> Result<(), AccessError> {
    tx.execute(INSERT, &[&msp, &customer, &actor, &tx.now(), &since]).await?;
    Ok(())
}

/// Lists openings.
pub(crate) async fn list(tx: &Tx, customer: CustomerId, limit: i64) -> Result<Vec<Opening>, AccessError> {
    let rows = tx.query(LIST, &[&customer, &limit]).await?;
    Ok(rows.iter().map(|row| Opening { opened_at: row.get(0), who: row.get(1), role: row.get(2) }).collect())
}
