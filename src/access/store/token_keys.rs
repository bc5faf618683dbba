//! The SQL of keys that sign tokens.

use granary_db::{Row, Tx};
use granary_vault::Wrapped;
use jiff::Timestamp;
use uuid::Uuid;

use crate::AccessError;
use crate::tokens::TokenKey;

/// Whoever changes the keys waits for whoever else does.
const LOCK: &str = "select pg_advisory_xact_lock(7104)";
const INSERT: &str = "insert into token_keys (id, public_key, sealed, key_version, created_at) values ($1, $2, $3, $4, $5)";
const FIND_SIGNING: &str = "
    select id, public_key, sealed, key_version, created_at, retired_at from token_keys
    where retired_at is null and created_at > $1 order by created_at desc, id desc limit 1";
const FIND_PUBLIC: &str = "select public_key from token_keys where id = $1 and (retired_at is null or retired_at > $2)";
const LIST: &str = "
    select id, public_key, sealed, key_version, created_at, retired_at from token_keys
    where retired_at is null or retired_at > $1 order by created_at desc, id desc";
const UPDATE_RETIRED: &str = "
    update token_keys set retired_at = $2 where id <> $1 and (retired_at is null or retired_at > $2)";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[LOCK, INSERT, FIND_SIGNING, FIND_PUBLIC, LIST, UPDATE_RETIRED];

/// Waits until nobody else changes the keys, until the transaction ends.
pub(crate) async fn lock(tx: &Tx) -> Result<(), AccessError> {
    tx.query_one(LOCK, &[]).await?;
    Ok(())
}

/// Inserts a key.
pub(crate) async fn insert(tx: &Tx, key: &TokenKey) -> Result<(), AccessError> {
    let TokenKey { id, public_key, sealed, created_at, .. } = key;
    tx.execute(INSERT, &[id, public_key, &sealed.bytes, &sealed.key_version, created_at]).await?;
    Ok(())
}

/// Finds the key that signs, if it was made after an instant.
pub(crate) async fn find_signing(tx: &Tx, made_after: Timestamp) -> Result<Option<TokenKey>, AccessError> {
    Ok(tx.query_opt(FIND_SIGNING, &[&made_after]).await?.as_ref().map(key))
}

/// Finds the public key by which a signature is checked; none of one that is retired.
pub(crate) async fn find_public(tx: &Tx, id: Uuid, now: Timestamp) -> Result<Option<Vec<u8>>, AccessError> {
    Ok(tx.query_opt(FIND_PUBLIC, &[&id, &now]).await?.map(|row| row.get(0)))
}

/// Lists the keys that are not retired, the newest first.
pub(crate) async fn list(tx: &Tx, now: Timestamp) -> Result<Vec<TokenKey>, AccessError> {
    Ok(tx.query(LIST, &[&now]).await?.iter().map(key).collect())
}

/// Retires every key but one at an instant, or earlier.
pub(crate) async fn update_retired(tx: &Tx, but: Uuid, at: Timestamp) -> Result<(), AccessError> {
    tx.execute(UPDATE_RETIRED, &[&but, &at]).await?;
    Ok(())
}

fn key(row: &Row) -> TokenKey {
    TokenKey {
        id: row.get("id"),
        public_key: row.get("public_key"),
        sealed: Wrapped { bytes: row.get("sealed"), key_version: row.get("key_version") },
        created_at: row.get("created_at"),
        retired_at: row.get("retired_at"),
    }
}
