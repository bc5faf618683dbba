//! Rules of retention, and the marks of what was let go.

use granary_db::{Row, Tx};
use granary_types::{CustomerId, MspId};
use jiff::civil::Date;

use crate::error::TenantsError;
use crate::retention::{RetentionMark, RetentionRule};

const LIST_RULES: &str = "select dataset, keep_days, set_by, set_at from retention_rules where msp_id = $1 order by dataset";
const UPSERT_RULE: &str = "
    insert into retention_rules (msp_id, dataset, keep_days, set_by, set_at) values ($1, $2, $3, $4, $5)
    on conflict (msp_id, dataset) do update set keep_days = excluded.keep_days, set_by = excluded.set_by, set_at = excluded.set_at
    where retention_rules.keep_days <> excluded.keep_days";
const DELETE_RULE: &str = "delete from retention_rules where msp_id = $1 and dataset = $2";
const LIST_MARKS: &str = "
    select customer_id, dataset, kept_from from retention_marks where msp_id = $1 order by customer_id, dataset";
/// What has gone does not come back: a mark only moves on.
const UPSERT_MARK: &str = "
    insert into retention_marks (customer_id, msp_id, dataset, kept_from, updated_at) values ($1, $2, $3, $4, $5)
    on conflict (customer_id, dataset) do update set kept_from = excluded.kept_from, updated_at = excluded.updated_at
    where retention_marks.kept_from < excluded.kept_from";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LIST_RULES, UPSERT_RULE, DELETE_RULE, LIST_MARKS, UPSERT_MARK];

/// Opens the transaction in which the owner lets rows of a silo go, through the silo's gate.
pub(crate) const OPEN_FOR_OWNER: &str = r#"
    begin;
    set local lock_timeout = '5s';
    set local search_path = "{schema}", pg_temp;
    lock table "{schema}"."{gate}" in access share mode"#;

/// Lists an MSP's rules by dataset.
pub(crate) async fn list_rules(tx: &Tx, msp: MspId) -> Result<Vec<RetentionRule>, TenantsError> {
    let get = TenantsError::column;
    let rule = |row: &Row| {
        Ok(RetentionRule {
            dataset: row.try_get(0).map_err(get)?,
            keep_days: row.try_get(1).map_err(get)?,
            set_by: row.try_get(2).map_err(get)?,
            set_at: row.try_get(3).map_err(get)?,
        })
    };
    tx.query(LIST_RULES, &[&msp]).await?.iter().map(rule).collect()
}

/// Sets a rule; false when it says so already.
pub(crate) async fn upsert_rule(tx: &Tx, msp: MspId, dataset: &str, keep_days: i32, by: &str) -> Result<bool, TenantsError> {
    Ok(tx.execute(UPSERT_RULE, &[&msp, &dataset, &keep_days, &by, &tx.now()]).await? == 1)
}

/// Deletes a rule; false when there is none.
pub(crate) async fn delete_rule(tx: &Tx, msp: MspId, dataset: &str) -> Result<bool, TenantsError> {
    Ok(tx.execute(DELETE_RULE, &[&msp, &dataset]).await? == 1)
}

/// Lists the marks of an MSP's customers.
pub(crate) async fn list_marks(tx: &Tx, msp: MspId) -> Result<Vec<RetentionMark>, TenantsError> {
    let get = TenantsError::column;
    let mark = |row: &Row| {
        Ok(RetentionMark {
            customer_id: row.try_get(0).map_err(get)?,
            dataset: row.try_get(1).map_err(get)?,
            kept_from: row.try_get(2).map_err(get)?,
        })
    };
    tx.query(LIST_MARKS, &[&msp]).await?.iter().map(mark).collect()
}

/// Moves a mark on.
pub(crate) async fn upsert_mark(tx: &Tx, (msp, customer): (MspId, CustomerId), dataset: &str, kept_from: Date) -> Result<(), TenantsError> {
    tx.execute(UPSERT_MARK, &[&customer, &msp, &dataset, &kept_from, &tx.now()]).await?;
    Ok(())
}
