//! Requests that may come twice, and the answers that they were given.

use granary_db::Tx;
use granary_types::MspId;
use granary_vault::Wrapped;
use jiff::Timestamp;

use crate::error::TenantsError;

/// Whoever comes second waits here for the first.
const INSERT_KEY: &str = "
    insert into idempotency_keys (msp_id, actor, key, request_hash, created_at) values ($1, $2, $3, $4, $5)
    on conflict (msp_id, actor, key) do nothing";
const FIND_ANSWER: &str = "
    select request_hash, status, sealed, key_version from idempotency_keys where msp_id = $1 and actor = $2 and key = $3";
const UPDATE_ANSWER: &str = "
    update idempotency_keys set status = $4, sealed = $5, key_version = $6 where msp_id = $1 and actor = $2 and key = $3";
const DELETE_OLD: &str = "delete from idempotency_keys where created_at < $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[INSERT_KEY, FIND_ANSWER, UPDATE_ANSWER, DELETE_OLD];

/// Takes a key; false when it was taken before.
pub(crate) async fn insert_request(tx: &Tx, msp: MspId, actor: &str, key: &str, hash: &[u8]) -> Result<bool, TenantsError> {
    Ok(tx.execute(INSERT_KEY, &[&msp, &actor, &key, &hash, &tx.now()]).await? == 1)
}

/// Finds the hash of the request that took a key, and its sealed answer.
pub(crate) async fn get_answer(tx: &Tx, msp: MspId, actor: &str, key: &str) -> Result<(Vec<u8>, u16, Wrapped), TenantsError> {
    let get = TenantsError::column;
    let row = tx.query_one(FIND_ANSWER, &[&msp, &actor, &key]).await?;
    let status = u16::try_from(row.try_get::<_, i32>("status").map_err(get)?).map_err(TenantsError::column)?;
    let sealed = Wrapped { bytes: row.try_get("sealed").map_err(get)?, key_version: row.try_get("key_version").map_err(get)? };
    Ok((row.try_get("request_hash").map_err(get)?, status, sealed))
}

/// Keeps the answer.
pub(crate) async fn update_answer(tx: &Tx, msp: MspId, actor: &str, key: &str, status: u16, sealed: &Wrapped) -> Result<(), TenantsError> {
    tx.execute(UPDATE_ANSWER, &[&msp, &actor, &key, &i32::from(status), &sealed.bytes, &sealed.key_version]).await?;
    Ok(())
}

/// Forgets the keys that were taken before an instant.
pub(crate) async fn delete_requests_before(tx: &Tx, before: Timestamp) -> Result<u64, TenantsError> {
    Ok(tx.execute(DELETE_OLD, &[&before]).await?)
}
