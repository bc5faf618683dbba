//! The SQL of the key store.

use granary_db::{DbError, Row, Tx};
use jiff::Timestamp;
use uuid::Uuid;

const INSERT_KEY: &str = "
    insert into keystore.keys (owner_kind, owner_id, purpose, version, wrapped, created_at)
    values ($1, $2, $3, $4, $5, $6)
    on conflict (owner_kind, owner_id, purpose, version) do nothing";

const LIST_KEYS: &str = "
    select purpose, version, wrapped
    from keystore.keys
    where owner_kind = $1 and owner_id = $2";

const DESTROY_KEYS: &str = "
    update keystore.keys
    set wrapped = null, destroyed_at = $3
    where owner_kind = $1 and owner_id = $2 and wrapped is not null";

const DELETE_KEYS: &str = "
    delete from keystore.keys
    where owner_kind = $1 and owner_id = $2";

/// One version of a key, sealed under the master key; nothing once it is destroyed.
pub(crate) struct KeyRow {
    pub(crate) purpose: String,
    pub(crate) version: i32,
    pub(crate) wrapped: Option<Vec<u8>>,
}

impl From<Row> for KeyRow {
    fn from(row: Row) -> Self {
        Self { purpose: row.get(0), version: row.get(1), wrapped: row.get(2) }
    }
}

pub(crate) async fn insert_key(
    tx: &Tx,
    owner: (&str, Uuid),
    purpose: &str,
    version: i32,
    wrapped: &[u8],
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(INSERT_KEY, &[&owner.0, &owner.1, &purpose, &version, &wrapped, &now]).await?;
    Ok(())
}

pub(crate) async fn list_keys(tx: &Tx, owner: (&str, Uuid)) -> Result<Vec<KeyRow>, DbError> {
    Ok(tx.query(LIST_KEYS, &[&owner.0, &owner.1]).await?.into_iter().map(KeyRow::from).collect())
}

pub(crate) async fn destroy_keys(tx: &Tx, owner: (&str, Uuid), now: Timestamp) -> Result<u64, DbError> {
    tx.execute(DESTROY_KEYS, &[&owner.0, &owner.1, &now]).await
}

pub(crate) async fn delete_keys(tx: &Tx, owner: (&str, Uuid)) -> Result<u64, DbError> {
    tx.execute(DELETE_KEYS, &[&owner.0, &owner.1]).await
}
