//! All SQL of this room that Postgres answers: the versions of an MSP's own models.

use std::collections::BTreeMap;

use crate::WarehouseError;
use crate::own::OwnVersion;
use granary_lake::LakeError;
use granary_tenants::MspTx;

const FIND_NEWEST: &str = "select max(version) from own_models where msp_id = $1";

const FIND_FILES: &str = "select files::text from own_models where msp_id = $1 and version = $2";

/// Whoever comes second waits for the first, and is the version after it.
const LOCK: &str = "select id from msps where id = $1 for no key update";

const INSERT: &str = "
    insert into own_models (msp_id, version, files, restores, pushed_by, pushed_at)
    select $1, coalesce(max(version), 0) + 1, $2::text::jsonb, $3, $4, $5 from own_models where msp_id = $1
    returning version";

const LIST: &str = "
    select version, restores, pushed_by, pushed_at, files::text from own_models where msp_id = $1 order by version desc";

/// Paths and texts.
pub(crate) type Files = BTreeMap<String, String>;

pub(crate) async fn find_newest(tx: &MspTx) -> Result<Option<i32>, WarehouseError> {
    Ok(tx.query_one(FIND_NEWEST, &[&tx.msp().id]).await.map_err(LakeError::from)?.get(0))
}

pub(crate) async fn find_files(tx: &MspTx, version: i32) -> Result<Option<Files>, WarehouseError> {
    let row = tx.query_opt(FIND_FILES, &[&tx.msp().id, &version]).await.map_err(LakeError::from)?;
    row.map(|row| Ok(serde_json::from_str(row.get(0))?)).transpose()
}

pub(crate) async fn insert(tx: &MspTx, files: &Files, restores: Option<i32>) -> Result<i32, WarehouseError> {
    let (msp, by, now, text) = (tx.msp().id, tx.actor().to_string(), tx.now(), serde_json::to_string(files)?);
    tx.execute(LOCK, &[&msp]).await.map_err(LakeError::from)?;
    Ok(tx.query_one(INSERT, &[&msp, &text, &restores, &by, &now]).await.map_err(LakeError::from)?.get(0))
}

pub(crate) async fn list(tx: &MspTx) -> Result<Vec<OwnVersion>, WarehouseError> {
    let rows = tx.query(LIST, &[&tx.msp().id]).await.map_err(LakeError::from)?;
    let mut versions = Vec::with_capacity(rows.len());
    for row in &rows {
        let files: Files = serde_json::from_str(row.get(4))?;
        versions.push(OwnVersion {
            version: row.get(0),
            restores: row.get(1),
            pushed_by: row.get(2),
            pushed_at: row.get(3),
            models: crate::own::names_of(&files),
        });
    }
    Ok(versions)
}
