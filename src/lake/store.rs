//! The SQL of the manifest and of dirty months.

pub(crate) mod copying;
pub(crate) mod versions;

use std::collections::BTreeSet;

use granary_db::{DbError, Row, Tx};
use granary_tenants::MspTx;
use granary_types::{CustomerId, FileId, MspId, Period};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::LakeError;
use crate::manifest::{CurrentFile, NewFile};
use crate::month::Part;
use crate::snapshot::FilesOf;
use crate::statistics::FileStatistics;

const LIST_DIRTY: &str = "
    select dataset, month, array_agg(id)
    from dirty
    group by dataset, month";

const IS_DIRTY: &str = "select exists (select from dirty)";

const DELETE_DIRTY: &str = "delete from dirty where id = any($1)";

const LIST_EXPORTED: &str = "select owner_id, datasets from lake_exports where msp_id = $1";

const BEGIN_EXPORT: &str = "
    insert into lake_exports (owner_id, msp_id, token, started_at)
    values ($1, $2, $3, $4)
    on conflict (owner_id) do update set token = excluded.token, started_at = excluded.started_at
    returning datasets";

const LOCK_EXPORT: &str = "select token from lake_exports where owner_id = $1 for update";

const FINISH_EXPORT: &str = "update lake_exports set datasets = $2 where owner_id = $1 and datasets is distinct from $2";

const LIST_CURRENT: &str = "
    select dataset, month, part, source_hash, path, size_bytes
    from lake_files
    where msp_id = $1
        and coalesce(customer_id, '00000000-0000-0000-0000-000000000000') = coalesce($2::uuid, '00000000-0000-0000-0000-000000000000')
        and removed_version is null";

const INSERT_HEAD: &str = "insert into lake_heads (msp_id, version) values ($1, 0) on conflict (msp_id) do nothing";

const LOCK_HEAD: &str = "select version from lake_heads where msp_id = $1 for update";

const FIND_HEAD: &str = "select version from lake_heads where msp_id = $1";

const UPDATE_HEAD: &str = "update lake_heads set version = $2 where msp_id = $1";

const INSERT_VERSION: &str = "
    insert into lake_versions (msp_id, version, customer_id, reason, created_at)
    values ($1, $2, $3, $4, $5)";

const REMOVE_FILES: &str = "
    update lake_files
    set removed_version = $2
    where msp_id = $1 and removed_version is null
        and coalesce(customer_id, '00000000-0000-0000-0000-000000000000') = coalesce($3::uuid, '00000000-0000-0000-0000-000000000000')
        and (dataset, month, part) in (select * from unnest($4::text[], $5::text[], $6::text[]))";

const INSERT_FILES: &str = "
    insert into lake_files (
        id, msp_id, customer_id, dataset, month, part, path, size_bytes, footer_bytes, row_count, statistics, sorted_by, source_hash,
        wrapped_key, key_version, added_version)
    select
        id, $1, $2, dataset, month, part, path, size_bytes, footer_bytes, row_count, statistics, string_to_array(sorted_by, ','), source_hash,
        wrapped_key, key_version, $3
    from unnest(
        $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::jsonb[], $13::text[],
        $14::bytea[], $15::bytea[], $16::int[])
        as new (
            id, dataset, month, part, path, size_bytes, footer_bytes, row_count, statistics, sorted_by, source_hash, wrapped_key, key_version)";

/// The months of which days are still files of their own, of everybody of an MSP.
const LIST_IN_DAYS: &str = "
    select distinct coalesce(customer_id, msp_id), dataset, month
    from lake_files
    where msp_id = $1 and removed_version is null and part <> ''";

const UPSERT_NIGHT: &str = "
    insert into nights (night_on, msp_id, owner_id, outcome, files_written, rows_written, error, started_at, finished_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    on conflict (night_on, owner_id) do update set
        outcome = excluded.outcome, files_written = nights.files_written + excluded.files_written,
        rows_written = nights.rows_written + excluded.rows_written, error = excluded.error, finished_at = excluded.finished_at
    where excluded.outcome <> 'unchanged' or nights.outcome = 'failed'";

/// As [`UPSERT_NIGHT`], for many owners of whom nothing had changed.
const UPSERT_UNCHANGED: &str = "
    insert into nights (night_on, msp_id, owner_id, outcome, files_written, rows_written, error, started_at, finished_at)
    select $1, $2, owner_id, 'unchanged', 0, 0, null, $4, $5
    from unnest($3::uuid[]) as looked_at (owner_id)
    on conflict (night_on, owner_id) do update set outcome = excluded.outcome, error = null, finished_at = excluded.finished_at
    where nights.outcome = 'failed'";

/// The files of a version; of the customers given only, or of all.
macro_rules! list_files_at {
    ($which:literal) => {
        concat!(
            "
    select
        lake_files.id, lake_files.customer_id, customers.code, lake_files.dataset, lake_files.month, lake_files.path, lake_files.size_bytes,
        lake_files.footer_bytes, lake_files.row_count, lake_files.statistics, lake_files.source_hash, lake_files.wrapped_key,
        lake_files.key_version, lake_files.part, lake_files.sorted_by
    from lake_files
    left join customers on customers.id = lake_files.customer_id
    where lake_files.msp_id = $1
        and lake_files.added_version <= $2
        and (lake_files.removed_version is null or lake_files.removed_version > $2)
        and (lake_files.customer_id is null or $3::uuid[] is null or lake_files.customer_id = any($3)) ",
            $which,
            "
    order by lake_files.dataset, lake_files.month, lake_files.part, customers.code"
        )
    };
}

const LIST_FILES_AT: &str = list_files_at!("");
const LIST_SHARED_AT: &str = list_files_at!("and lake_files.customer_id is null");
const LIST_DATASET_AT: &str = list_files_at!("and lake_files.customer_id is not null and lake_files.dataset = $4");

const FORGET_CUSTOMER: [&str; 4] = [
    "delete from lake_files where customer_id = $1",
    "delete from lake_exports where owner_id = $1",
    "delete from nights where owner_id = $1",
    "update lake_versions set customer_id = null where customer_id = $1",
];

const KNOWS_CUSTOMER: &str = "
    select exists (select from lake_files where customer_id = $1) or exists (select from lake_exports where owner_id = $1)";

const LIST_ERASED: &str = "select id::text from customers where msp_id = $1 and status = 'erased'";

/// The MSP's own files of a version or before it that are no longer current.
const LIST_PAST: &str = "
    select path from lake_files
    where msp_id = $1 and customer_id is null and removed_version is not null and added_version <= $2";

const DELETE_PAST: &str = "
    delete from lake_files
    where msp_id = $1 and customer_id is null and removed_version is not null and path = any($2)";

/// A customer's files of a dataset whose months lie before one, of all versions.
const LIST_OLD: &str = "select path from lake_files where customer_id = $1 and dataset = $2 and month <> 'all' and month < $3";

const REMOVE_OLD: &str = "
    update lake_files set removed_version = $4
    where customer_id = $1 and dataset = $2 and month <> 'all' and month < $3 and removed_version is null";

const DELETE_OLD: &str = "delete from lake_files where customer_id = $1 and removed_version is not null and path = any($2)";

const LIST_PATHS: &str = "select path from lake_files";

/// What changed, and by which rows we know.
pub(crate) struct DirtyRow {
    pub(crate) dataset: String,
    pub(crate) month: String,
    pub(crate) ids: Vec<i64>,
}

pub(crate) async fn list_dirty(tx: &Tx) -> Result<Vec<DirtyRow>, DbError> {
    let rows = tx.query(LIST_DIRTY, &[]).await?;
    Ok(rows.iter().map(|row| DirtyRow { dataset: row.get(0), month: row.get(1), ids: row.get(2) }).collect())
}

/// Whether anything changed since the last export.
pub(crate) async fn is_dirty(tx: &Tx) -> Result<bool, DbError> {
    Ok(tx.query_one(IS_DIRTY, &[]).await?.get(0))
}

pub(crate) async fn delete_dirty(tx: &Tx, ids: &[i64]) -> Result<u64, DbError> {
    tx.execute(DELETE_DIRTY, &[&ids]).await
}

pub(crate) async fn list_exported(tx: &MspTx, msp: MspId) -> Result<Vec<(Uuid, Vec<String>)>, DbError> {
    Ok(tx.query(LIST_EXPORTED, &[&msp]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

pub(crate) async fn begin_export(tx: &MspTx, owner: Uuid, msp: MspId, token: Uuid, now: Timestamp) -> Result<Vec<String>, DbError> {
    Ok(tx.query_one(BEGIN_EXPORT, &[&owner, &msp, &token, &now]).await?.get(0))
}

pub(crate) async fn lock_export(tx: &MspTx, owner: Uuid) -> Result<Option<Uuid>, DbError> {
    Ok(tx.query_opt(LOCK_EXPORT, &[&owner]).await?.map(|row| row.get(0)))
}

pub(crate) async fn finish_export(tx: &MspTx, owner: Uuid, datasets: &[String]) -> Result<u64, DbError> {
    tx.execute(FINISH_EXPORT, &[&owner, &datasets]).await
}

pub(crate) async fn list_current(tx: &MspTx, msp: MspId, customer: Option<CustomerId>) -> Result<Vec<CurrentFile>, LakeError> {
    let rows = tx.query(LIST_CURRENT, &[&msp, &customer]).await?;
    let file = |row: &Row| {
        let (month, part): (String, String) = (row.get(1), row.get(2));
        let part = part_of(&month, &part)?;
        let size_bytes = row.get::<_, i64>(5).cast_unsigned();
        Ok(CurrentFile { dataset: row.get(0), part, source_hash: row.get(3), path: row.get(4), size_bytes })
    };
    rows.iter().map(file).collect()
}

pub(crate) fn part_of(month: &str, part: &str) -> Result<Part, LakeError> {
    Part::of_manifest(month, part).ok_or_else(|| LakeError::Manifest(format!("'{month}' is no month, or '{part}' no day of it")))
}

/// Lists the months of which days are still files of their own, by owner.
pub(crate) async fn list_in_days(tx: &MspTx, msp: MspId) -> Result<Vec<(Uuid, String, Period)>, LakeError> {
    let rows = tx.query(LIST_IN_DAYS, &[&msp]).await?;
    let read = |row: &Row| {
        let month: String = row.get(2);
        Ok((row.get(0), row.get(1), part_of(&month, "")?.month().ok_or_else(|| LakeError::Manifest(format!("'{month}' has no days")))?))
    };
    rows.iter().map(read).collect()
}

/// Locks the MSP's head row and returns its version; from here to the commit nobody else adds one.
pub(crate) async fn lock_head(tx: &MspTx, msp: MspId) -> Result<i64, DbError> {
    tx.execute(INSERT_HEAD, &[&msp]).await?;
    Ok(tx.query_one(LOCK_HEAD, &[&msp]).await?.get(0))
}

pub(crate) async fn find_head(tx: &MspTx, msp: MspId) -> Result<i64, DbError> {
    Ok(tx.query_opt(FIND_HEAD, &[&msp]).await?.map_or(0, |row| row.get(0)))
}

pub(crate) async fn insert_version(
    tx: &MspTx,
    msp: MspId,
    version: i64,
    customer: Option<CustomerId>,
    reason: &str,
) -> Result<(), DbError> {
    tx.execute(INSERT_VERSION, &[&msp, &version, &customer, &reason, &tx.now()]).await?;
    update_head(tx, msp, version).await
}

async fn update_head(tx: &MspTx, msp: MspId, version: i64) -> Result<(), DbError> {
    tx.execute(UPDATE_HEAD, &[&msp, &version]).await?;
    Ok(())
}

pub(crate) async fn remove_files(
    tx: &MspTx,
    msp: MspId,
    version: i64,
    customer: Option<CustomerId>,
    parts: &[(String, Part)],
) -> Result<u64, DbError> {
    let datasets: Vec<&str> = parts.iter().map(|(dataset, _)| dataset.as_str()).collect();
    let months: Vec<String> = parts.iter().map(|(_, part)| part.month_text()).collect();
    let days: Vec<String> = parts.iter().map(|(_, part)| part.part_text()).collect();
    tx.execute(REMOVE_FILES, &[&msp, &version, &customer, &datasets, &months, &days]).await
}

pub(crate) async fn insert_files(
    tx: &MspTx,
    msp: MspId,
    version: i64,
    customer: Option<CustomerId>,
    files: &[NewFile],
) -> Result<u64, DbError> {
    fn column<'a, T>(files: &'a [NewFile], value: impl Fn(&'a NewFile) -> T) -> Vec<T> {
        files.iter().map(value).collect()
    }
    let params: [&(dyn granary_db::ToSql + Sync); 16] = [
        &msp,
        &customer,
        &version,
        &column(files, |file| file.id),
        &column(files, |file| file.dataset.as_str()),
        &column(files, |file| file.part.month_text()),
        &column(files, |file| file.part.part_text()),
        &column(files, |file| file.path.as_str()),
        &column(files, |file| file.size_bytes.cast_signed()),
        &column(files, |file| file.footer_bytes.cast_signed()),
        &column(files, |file| file.row_count.cast_signed()),
        &column(files, |file| Json(&file.statistics)),
        &column(files, |file| file.sorted_by.join(",")),
        &column(files, |file| file.source_hash.as_slice()),
        &column(files, |file| file.wrapped.bytes.as_slice()),
        &column(files, |file| file.wrapped.key_version),
    ];
    tx.execute(INSERT_FILES, &params).await
}

/// What one night did for one owner.
pub(crate) struct NightRow<'a> {
    pub(crate) night_on: Date,
    pub(crate) msp: MspId,
    pub(crate) owner: Uuid,
    pub(crate) outcome: &'a str,
    pub(crate) files_written: i32,
    pub(crate) rows_written: i64,
    pub(crate) error: Option<&'a str>,
    pub(crate) started_at: Timestamp,
}

pub(crate) async fn upsert_night(tx: &MspTx, row: &NightRow<'_>) -> Result<(), DbError> {
    let NightRow { night_on, msp, owner, outcome, files_written, rows_written, error, started_at } = row;
    tx.execute(UPSERT_NIGHT, &[night_on, msp, owner, outcome, files_written, rows_written, error, started_at, &tx.now()]).await?;
    Ok(())
}

/// Notes that nothing of some owners had changed.
pub(crate) async fn upsert_unchanged(
    tx: &MspTx,
    night_on: Date,
    msp: MspId,
    owners: &[Uuid],
    started_at: Timestamp,
) -> Result<(), DbError> {
    tx.execute(UPSERT_UNCHANGED, &[&night_on, &msp, &owners, &started_at, &tx.now()]).await?;
    Ok(())
}

/// A file of the manifest as a reader needs it, its key still wrapped.
pub(crate) struct FileRow {
    pub(crate) id: FileId,
    pub(crate) customer: Option<CustomerId>,
    pub(crate) code: Option<String>,
    pub(crate) dataset: String,
    pub(crate) month: String,
    pub(crate) part: String,
    pub(crate) path: String,
    pub(crate) size_bytes: i64,
    pub(crate) footer_bytes: i64,
    pub(crate) row_count: i64,
    pub(crate) statistics: FileStatistics,
    pub(crate) sorted_by: Vec<String>,
    pub(crate) source_hash: Vec<u8>,
    pub(crate) wrapped_key: Vec<u8>,
    pub(crate) key_version: i32,
}

impl From<Row> for FileRow {
    fn from(row: Row) -> Self {
        let Json(statistics) = row.get(9);
        Self {
            id: row.get(0),
            customer: row.get(1),
            code: row.get(2),
            dataset: row.get(3),
            month: row.get(4),
            path: row.get(5),
            size_bytes: row.get(6),
            footer_bytes: row.get(7),
            row_count: row.get(8),
            statistics,
            source_hash: row.get(10),
            wrapped_key: row.get(11),
            key_version: row.get(12),
            part: row.get(13),
            sorted_by: row.get(14),
        }
    }
}

/// Lists the files of a version; of the customers given only, or of all.
pub(crate) async fn list_files_at(
    tx: &MspTx,
    msp: MspId,
    version: i64,
    customers: Option<&[CustomerId]>,
    of: FilesOf<'_>,
) -> Result<Vec<FileRow>, DbError> {
    let rows = match of {
        FilesOf::Everybody => tx.query(LIST_FILES_AT, &[&msp, &version, &customers]).await?,
        FilesOf::Msp => tx.query(LIST_SHARED_AT, &[&msp, &version, &customers]).await?,
        FilesOf::Customers { dataset } => tx.query(LIST_DATASET_AT, &[&msp, &version, &customers, &dataset]).await?,
    };
    Ok(rows.into_iter().map(FileRow::from).collect())
}

/// Deletes what the manifest knows of a customer; that a version was made stays, of whose data does not.
pub(crate) async fn forget_customer(tx: &MspTx, customer: CustomerId) -> Result<(), DbError> {
    for statement in FORGET_CUSTOMER {
        tx.execute(statement, &[&customer]).await?;
    }
    Ok(())
}

pub(crate) async fn knows_customer(tx: &MspTx, customer: CustomerId) -> Result<bool, DbError> {
    Ok(tx.query_one(KNOWS_CUSTOMER, &[&customer]).await?.get(0))
}

/// Lists the ids of the MSP's customers that were erased.
pub(crate) async fn list_erased(tx: &MspTx, msp: MspId) -> Result<BTreeSet<String>, DbError> {
    Ok(tx.query(LIST_ERASED, &[&msp]).await?.iter().map(|row| row.get(0)).collect())
}

/// Lists the MSP's own files of a version or before it that are no longer current.
pub(crate) async fn list_past(tx: &MspTx, msp: MspId, version: i64) -> Result<Vec<String>, DbError> {
    Ok(tx.query(LIST_PAST, &[&msp, &version]).await?.iter().map(|row| row.get(0)).collect())
}

pub(crate) async fn delete_past(tx: &MspTx, msp: MspId, paths: &[String]) -> Result<u64, DbError> {
    tx.execute(DELETE_PAST, &[&msp, &paths]).await
}

/// Lists the paths of a customer's files of a dataset before a month, of all versions.
pub(crate) async fn list_old(tx: &MspTx, customer: CustomerId, dataset: &str, before: Period) -> Result<Vec<String>, DbError> {
    Ok(tx.query(LIST_OLD, &[&customer, &dataset, &before.to_string()]).await?.iter().map(|row| row.get(0)).collect())
}

/// Takes those of them that are current out of a version; returns how many.
pub(crate) async fn remove_old(tx: &MspTx, customer: CustomerId, dataset: &str, before: Period, version: i64) -> Result<u64, DbError> {
    tx.execute(REMOVE_OLD, &[&customer, &dataset, &before.to_string(), &version]).await
}

/// Deletes what the manifest knows of files that are no longer current.
pub(crate) async fn delete_old(tx: &MspTx, customer: CustomerId, paths: &[String]) -> Result<u64, DbError> {
    tx.execute(DELETE_OLD, &[&customer, &paths]).await
}

/// Lists every path that any manifest row names, of every version.
pub(crate) async fn list_paths(tx: &Tx) -> Result<Vec<String>, DbError> {
    Ok(tx.query(LIST_PATHS, &[]).await?.iter().map(|row| row.get(0)).collect())
}
