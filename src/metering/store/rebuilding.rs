//! Reading the whole log, and emptying what is made of it.

use granary_tenants::TenantTx;

use super::corrections::logged;
use crate::correction::Logged;
use crate::error::MeteringError;

const COUNT_EMPTIED: &str = "select count(*) from usage_events where data::text = 'null'";

const COUNT_EVENTS: &str = "select count(*) from usage_events";

const LIST_AFTER: &str = "
    select source, id, type, occurred_at, content_hash, data
    from usage_events where (source, id) > ($1::text, $2::text) order by source, id limit $3";

macro_rules! tables {
    ($($table:literal),*) => {
        /// Every table that events are projected to, those first that name others.
        pub(crate) const TABLES: &[Projected] = &[$(Projected {
            name: $table,
            delete: concat!("delete from ", $table),
            fingerprint: concat!(
                "select count(*), coalesce(sum(hashtextextended(projected::text, 0)), 0)::text from ", $table, " as projected"
            ),
        }),*];
    };
}

/// A table that events are projected to.
#[derive(Debug)]
pub(crate) struct Projected {
    pub(crate) name: &'static str,
    delete: &'static str,
    fingerprint: &'static str,
}

tables!(
    "tier_assignments",
    "schedules",
    "skipped_runs",
    "machines",
    "storage_samples",
    "repositories",
    "backup_disks",
    "backup_attempts",
    "backup_runs",
    "restore_runs",
    "replication_cycles",
    "stored_backups",
    "maintenance_windows",
    "tickets",
    "heartbeats",
    "activity"
);

/// How many rows a table has, and a number that changes with any of them.
pub(crate) async fn fingerprint(tx: &TenantTx, table: &Projected) -> Result<(i64, String), MeteringError> {
    let row = tx.query_one(table.fingerprint, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

/// Empties a table.
pub(crate) async fn delete_all(tx: &TenantTx, table: &Projected) -> Result<(), MeteringError> {
    tx.execute(table.delete, &[]).await?;
    Ok(())
}

/// Counts events whose bodies went by a rule of retention.
pub(crate) async fn count_emptied(tx: &TenantTx) -> Result<i64, MeteringError> {
    Ok(tx.query_one(COUNT_EMPTIED, &[]).await?.get(0))
}

/// Counts the events of the log.
pub(crate) async fn count_events(tx: &TenantTx) -> Result<i64, MeteringError> {
    Ok(tx.query_one(COUNT_EVENTS, &[]).await?.get(0))
}

/// Returns the next events of the log after one, by name.
pub(crate) async fn list_after(tx: &TenantTx, after: (&str, &str), limit: i64) -> Result<Vec<Logged>, MeteringError> {
    let rows = tx.query(LIST_AFTER, &[&after.0, &after.1, &limit]).await?;
    rows.iter().map(logged).collect()
}
