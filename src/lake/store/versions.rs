//! Which versions there are, which have names, and which files nobody can ask for any more.

use granary_db::{DbError, Row};
use granary_tenants::{MspTx, TenantTx};
use granary_types::MspId;
use jiff::Timestamp;

use crate::manifest::FileOwner;
use crate::version::{Holding, Version};

const LIST_VERSIONS: &str = "
    select version.version, version.label, version.reason, version.created_at,
        (version.version >= head.kept_from or version.label is not null) and version.version >= head.whole_from as is_kept
    from lake_versions as version
    join lake_heads as head on head.msp_id = version.msp_id
    where version.msp_id = $1 and (not $2 or version.label is not null)
    order by version.version desc
    limit $3";

const FIND_LABELLED: &str = "select version from lake_versions where msp_id = $1 and label = $2";

const FIND_AT: &str = "select max(version) from lake_versions where msp_id = $1 and created_at <= $2";

const IS_KEPT: &str = "
    select $2 >= head.whole_from and ($2 >= head.kept_from
        or exists (select from lake_versions where msp_id = $1 and version = $2 and label is not null))
    from lake_heads as head where head.msp_id = $1";

const INSERT_LABELLED: &str = "
    insert into lake_versions (msp_id, version, customer_id, reason, label, created_at) values ($1, $2, null, $3, $4, $5)";

const KEEP_FROM: &str = "
    update lake_heads set kept_from = greatest(kept_from, coalesce((
        select max(version) from lake_versions where msp_id = $1 and created_at < $2), 0))
    where msp_id = $1
    returning kept_from";

const WHOLE_FROM: &str = "update lake_heads set whole_from = greatest(whole_from, $2) where msp_id = $1";

/// Files that no version shows which is kept.
const LIST_UNSEEN: &str = "
    select file.path, file.size_bytes
    from lake_files as file
    where file.msp_id = $1 and file.removed_version <= $2
        and not exists (
            select from lake_versions as version
            where version.msp_id = $1 and version.label is not null
                and version.version >= file.added_version and version.version < file.removed_version)
    order by file.path";

const DELETE_UNSEEN: &str = "delete from lake_files where msp_id = $1 and removed_version is not null and path = any($2)";

const FORGET_CONTENTS: &str = "
    update lake_files set source_hash = ''
    where msp_id = $1 and customer_id is not distinct from $2 and removed_version is null and path = any($3)";

/// In a silo.
const MARK_DIRTY: &str = "insert into dirty (dataset, month) select dataset, 'all' from unnest($1::text[]) as given (dataset)";

/// What every owner has in the lake, and how its last night ended.
const LIST_HOLDINGS: &str = "
    select customer.code, night.night_on, night.outcome, night.finished_at, night.error,
        count(file.id), coalesce(sum(file.row_count), 0)::bigint, coalesce(sum(file.size_bytes), 0)::bigint,
        (select coalesce(sum(past.size_bytes), 0)::bigint from lake_files as past
            where past.msp_id = $1 and past.customer_id is not distinct from customer.id and past.removed_version is not null)
    from (select id, code from customers where msp_id = $1 and status <> 'erased' union all select null, null) as customer
    left join lake_files as file
        on file.msp_id = $1 and file.customer_id is not distinct from customer.id and file.removed_version is null
    left join lateral (
        select night_on, outcome, finished_at, error from nights
        where owner_id = coalesce(customer.id, $1) order by night_on desc limit 1) as night on true
    group by customer.id, customer.code, night.night_on, night.outcome, night.finished_at, night.error
    order by customer.code nulls first";

impl From<&Row> for Version {
    fn from(row: &Row) -> Self {
        Self { version: row.get(0), label: row.get(1), reason: row.get(2), created_at: row.get(3), is_kept: row.get(4) }
    }
}

/// Lists what every owner has, the MSP itself first.
pub(crate) async fn list_holdings(tx: &MspTx, msp: MspId) -> Result<Vec<Holding>, DbError> {
    let read = |row: &Row| Holding {
        customer: row.get(0),
        night_on: row.get(1),
        outcome: row.get(2),
        finished_at: row.get(3),
        error: row.get(4),
        files: row.get(5),
        rows: row.get(6),
        size_bytes: row.get(7),
        past_bytes: row.get(8),
    };
    Ok(tx.query(LIST_HOLDINGS, &[&msp]).await?.iter().map(read).collect())
}

/// Has whole datasets of a silo read by the next export.
pub(crate) async fn mark_dirty(tx: &TenantTx, datasets: &[&str]) -> Result<(), DbError> {
    tx.execute(MARK_DIRTY, &[&datasets]).await?;
    Ok(())
}

/// Lists the newest versions first.
pub(crate) async fn list(tx: &MspTx, msp: MspId, is_labelled: bool, most: i64) -> Result<Vec<Version>, DbError> {
    Ok(tx.query(LIST_VERSIONS, &[&msp, &is_labelled, &most]).await?.iter().map(Version::from).collect())
}

pub(crate) async fn find_labelled(tx: &MspTx, msp: MspId, label: &str) -> Result<Option<i64>, DbError> {
    Ok(tx.query_opt(FIND_LABELLED, &[&msp, &label]).await?.map(|row| row.get(0)))
}

/// Finds the version that was current at an instant.
pub(crate) async fn find_at(tx: &MspTx, msp: MspId, at: Timestamp) -> Result<Option<i64>, DbError> {
    Ok(tx.query_one(FIND_AT, &[&msp, &at]).await?.get(0))
}

/// Whether every file of a version is still there.
pub(crate) async fn is_kept(tx: &MspTx, msp: MspId, version: i64) -> Result<bool, DbError> {
    Ok(tx.query_opt(IS_KEPT, &[&msp, &version]).await?.is_none_or(|row| row.get(0)))
}

pub(crate) async fn insert_labelled(tx: &MspTx, msp: MspId, version: i64, reason: &str, label: &str) -> Result<(), DbError> {
    tx.execute(INSERT_LABELLED, &[&msp, &version, &reason, &label, &tx.now()]).await?;
    super::update_head(tx, msp, version).await
}

/// Says that versions which were replaced before an instant need not be kept; returns the first that is.
pub(crate) async fn keep_from(tx: &MspTx, msp: MspId, before: Timestamp) -> Result<i64, DbError> {
    Ok(tx.query_opt(KEEP_FROM, &[&msp, &before]).await?.map_or(0, |row| row.get(0)))
}

/// Says that versions before this one have lost files of the MSP.
pub(crate) async fn whole_from(tx: &MspTx, msp: MspId, version: i64) -> Result<(), DbError> {
    tx.execute(WHOLE_FROM, &[&msp, &version]).await?;
    Ok(())
}

/// Lists the files, with their sizes, that no version shows which is kept.
pub(crate) async fn list_unseen(tx: &MspTx, msp: MspId, kept_from: i64) -> Result<Vec<(String, i64)>, DbError> {
    Ok(tx.query(LIST_UNSEEN, &[&msp, &kept_from]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

pub(crate) async fn delete_unseen(tx: &MspTx, msp: MspId, paths: &[String]) -> Result<u64, DbError> {
    tx.execute(DELETE_UNSEEN, &[&msp, &paths]).await
}

/// Forgets what current files hold, so that the next export writes them anew.
pub(crate) async fn forget_contents(tx: &MspTx, owner: FileOwner, paths: &[String]) -> Result<u64, DbError> {
    tx.execute(FORGET_CONTENTS, &[&owner.msp, &owner.customer, &paths]).await
}
