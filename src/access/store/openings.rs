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

/// Of the customers whose data a command opened, those for whom the same command was not written down since an instant.
const INSERT_COMMAND: &str = "
    insert into audit_log (msp_id, customer_id, actor, action, subject, detail, reason, happened_at)
    select c.msp_id, c.id, 'operator:cli', 'customer.open', 'customer:' || c.id::text, '{}', $2, $3
    from customers c
    where c.id = any ($1::uuid[]) and c.status <> 'erased' and not exists (
        select from audit_log a
        where a.customer_id = c.id and a.actor = 'operator:cli' and a.action = 'customer.open' and a.reason = $2 and a.happened_at > $4)";

const LIST: &str = "
    select a.happened_at, coalesce(u.name, k.name, case when a.actor = 'operator:cli' then 'A command' end) as who,
        coalesce(u.role, case when a.actor = 'operator:cli' then 'operator_admin' end) as role, a.reason
    from audit_log a
    left join users u on a.actor = 'user:' || u.id::text
    left join api_keys k on a.actor = 'api_key:' || k.id::text
    where a.customer_id = $1 and a.action = 'customer.open'
    order by a.happened_at desc, a.id desc limit $2";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[INSERT, INSERT_COMMAND, LIST];

/// Notes an opening, unless the same was noted since an instant.
pub(crate) async fn insert(tx: &Tx, msp: Option<MspId>, customer: CustomerId, actor: &str, since: Timestamp) -> Result<(), AccessError> {
    tx.execute(INSERT, &[&msp, &customer, &actor, &tx.now(), &since]).await?;
    Ok(())
}

/// Notes that a command opened the data of customers, unless the same was noted since an instant.
pub(crate) async fn insert_command(tx: &Tx, customers: &[CustomerId], reason: &str, since: Timestamp) -> Result<(), AccessError> {
    tx.execute(INSERT_COMMAND, &[&customers, &reason, &tx.now(), &since]).await?;
    Ok(())
}

/// Lists openings.
pub(crate) async fn list(tx: &Tx, customer: CustomerId, limit: i64) -> Result<Vec<Opening>, AccessError> {
    let rows = tx.query(LIST, &[&customer, &limit]).await?;
    Ok(rows.iter().map(|row| Opening { opened_at: row.get(0), who: row.get(1), role: row.get(2), reason: row.get(3) }).collect())
}
