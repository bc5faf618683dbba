//! The SQL of the key store.

use granary_db::{DbError, OwnerConnection, Row, Tx};
use granary_types::{CustomerId, MspId};
use jiff::Timestamp;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::keys::{Owner, name_of};
use crate::master::Bytes;
use crate::seal;

const INSERT_KEY: &str = "
    insert into keystore.keys (owner_kind, owner_id, purpose, version, wrapped, master, created_at)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (owner_kind, owner_id, purpose, version) do nothing";

const LIST_KEYS: &str = "
    select owner_kind, owner_id, purpose, version, wrapped, master
    from keystore.keys
    where owner_kind = $1 and owner_id = $2";

const DESTROY_KEYS: &str = "
    update keystore.keys
    set wrapped = null, destroyed_at = $3
    where owner_kind = $1 and owner_id = $2 and wrapped is not null";

/// A row that was changed leaves its old self in its page until the table is written anew.
const FORGET_OLD_ROWS: &str = "vacuum full keystore.keys";

const DELETE_KEYS: &str = "
    delete from keystore.keys
    where owner_kind = $1 and owner_id = $2";

const FIND_CURRENT_MASTER: &str = "select fingerprint from keystore.masters where is_current";
/// Held until the end of the transaction.
const LOCK_CURRENT_MASTER: &str = "select fingerprint from keystore.masters where fingerprint = $1 and is_current for share";
const LIST_MASTERS: &str = "
    select m.fingerprint, m.source, m.wrapped, m.is_current, m.created_at, m.retired_at,
        (select count(*) from keystore.keys k where k.master = m.fingerprint and k.wrapped is not null) as keys
    from keystore.masters m order by m.is_current desc, m.created_at desc, m.fingerprint";
const ENTER_MASTER: &str = "
    insert into keystore.masters (fingerprint, source, wrapped, is_current, created_at) values ($1, $2, $3, true, $4)
    on conflict do nothing";
/// What is from before masters had names was wrapped by the first one.
const NAME_UNNAMED: &str = "
    update keystore.keys set master = (select fingerprint from keystore.masters where is_current) where master is null";
const FIND_UNNAMED: &str = "
    select owner_kind, owner_id, purpose, version, wrapped, master from keystore.keys
    where master is null and wrapped is not null order by owner_id, purpose, version limit 1";
const STEP_DOWN: &str = "update keystore.masters set is_current = false where is_current and fingerprint = $1";
const COUNT_FOREIGN: &str = "select count(*) from keystore.keys where wrapped is not null and master is distinct from $1";
const LIST_FOREIGN: &str = "
    select owner_kind, owner_id, purpose, version, wrapped, master from keystore.keys
    where wrapped is not null and master is distinct from $1 order by owner_id, purpose, version limit $2";
/// Not where somebody destroyed the key meanwhile, or rewrote it.
const REWRAP_KEY: &str = "
    update keystore.keys set wrapped = $6, master = $7
    where owner_kind = $1 and owner_id = $2 and purpose = $3 and version = $4 and wrapped = $5";
const RETIRE_MASTERS: &str = "
    update keystore.masters m set retired_at = $1, wrapped = null
    where not is_current and retired_at is null
        and not exists (select from keystore.keys k where k.master = m.fingerprint and k.wrapped is not null)";

/// One version of a key, sealed under a master key; nothing once it is destroyed.
pub(crate) struct WrappedRow {
    pub(crate) owner: Owner,
    pub(crate) purpose: String,
    pub(crate) version: i32,
    pub(crate) wrapped: Option<Vec<u8>>,
    /// The fingerprint; none of what is older than fingerprints.
    pub(crate) master: Option<String>,
}

/// A master that there is or was.
pub(crate) struct MasterRow {
    pub(crate) fingerprint: String,
    pub(crate) source: String,
    pub(crate) wrapped: Option<Vec<u8>>,
    pub(crate) is_current: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) retired_at: Option<Timestamp>,
    pub(crate) keys: i64,
}

impl WrappedRow {
    fn of(row: &Row) -> Self {
        let (kind, id): (&str, Uuid) = (row.get(0), row.get(1));
        let owner = match kind {
            "msp" => Owner::Msp(MspId::from(id)),
            "customer" => Owner::Customer(CustomerId::from(id)),
            _ => Owner::Installation,
        };
        Self { owner, purpose: row.get(2), version: row.get(3), wrapped: row.get(4), master: row.get(5) }
    }

    /// What the key is sealed for.
    pub(crate) fn name(&self) -> Vec<u8> {
        name_of(self.owner, &self.purpose, self.version)
    }

    /// Opens the wrapper with a master; none when it is another's, or the key was destroyed.
    pub(crate) fn open(&self, master: &Bytes) -> Option<Bytes> {
        let plain = seal::open(master, self.wrapped.as_deref()?, &self.name()).map(Zeroizing::new)?;
        <[u8; 32]>::try_from(plain.as_slice()).ok().map(Zeroizing::new)
    }
}

/// Enters a key, sealed under the master of a fingerprint; one that exists stays.
pub(crate) async fn insert_key(
    tx: &Tx,
    owner: (&str, Uuid),
    purpose: &str,
    version: i32,
    (wrapped, master): (&[u8], &str),
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(INSERT_KEY, &[&owner.0, &owner.1, &purpose, &version, &wrapped, &master, &now]).await?;
    Ok(())
}

pub(crate) async fn list_keys(tx: &Tx, owner: (&str, Uuid)) -> Result<Vec<WrappedRow>, DbError> {
    Ok(tx.query(LIST_KEYS, &[&owner.0, &owner.1]).await?.iter().map(WrappedRow::of).collect())
}

pub(crate) async fn destroy_keys(tx: &Tx, owner: (&str, Uuid), now: Timestamp) -> Result<u64, DbError> {
    tx.execute(DESTROY_KEYS, &[&owner.0, &owner.1, &now]).await
}

/// Writes the table anew, so that neither it nor a backup from now on holds what was destroyed.
pub(crate) async fn forget_old_rows(owner: &OwnerConnection) -> Result<(), DbError> {
    owner.batch(FORGET_OLD_ROWS).await
}

pub(crate) async fn delete_keys(tx: &Tx, owner: (&str, Uuid)) -> Result<u64, DbError> {
    tx.execute(DELETE_KEYS, &[&owner.0, &owner.1]).await
}

pub(crate) async fn find_current_master(tx: &Tx) -> Result<Option<String>, DbError> {
    Ok(tx.query_opt(FIND_CURRENT_MASTER, &[]).await?.map(|row| row.get(0)))
}

/// Holds the current master's row; false when another one is current.
pub(crate) async fn lock_current_master(tx: &Tx, fingerprint: &str) -> Result<bool, DbError> {
    Ok(tx.query_opt(LOCK_CURRENT_MASTER, &[&fingerprint]).await?.is_some())
}

pub(crate) async fn list_masters(tx: &Tx) -> Result<Vec<MasterRow>, DbError> {
    let rows = tx.query(LIST_MASTERS, &[]).await?;
    let read = |row: &Row| MasterRow {
        fingerprint: row.get(0),
        source: row.get(1),
        wrapped: row.get(2),
        is_current: row.get(3),
        created_at: row.get(4),
        retired_at: row.get(5),
        keys: row.get(6),
    };
    Ok(rows.iter().map(read).collect())
}

/// Makes a master the first one, unless there is one.
pub(crate) async fn enter_master(tx: &Tx, fingerprint: &str, source: &str, wrapped: Option<&[u8]>, now: Timestamp) -> Result<(), DbError> {
    tx.execute(ENTER_MASTER, &[&fingerprint, &source, &wrapped, &now]).await?;
    tx.execute(NAME_UNNAMED, &[]).await?;
    Ok(())
}

pub(crate) async fn find_unnamed(tx: &Tx) -> Result<Option<WrappedRow>, DbError> {
    Ok(tx.query_opt(FIND_UNNAMED, &[]).await?.as_ref().map(WrappedRow::of))
}

/// Makes another master current, unless somebody did before.
pub(crate) async fn switch_master(tx: &Tx, from: &str, to: &str, source: &str, wrapped: Option<&[u8]>) -> Result<(), DbError> {
    if tx.execute(STEP_DOWN, &[&from]).await? == 1 {
        tx.execute(ENTER_MASTER, &[&to, &source, &wrapped, &tx.now()]).await?;
    }
    Ok(())
}

/// Counts the wrapped keys that other masters wrapped.
pub(crate) async fn count_foreign(tx: &Tx, current: &str) -> Result<i64, DbError> {
    Ok(tx.query_one(COUNT_FOREIGN, &[&current]).await?.get(0))
}

pub(crate) async fn list_foreign(tx: &Tx, current: &str, limit: i64) -> Result<Vec<WrappedRow>, DbError> {
    Ok(tx.query(LIST_FOREIGN, &[&current, &limit]).await?.iter().map(WrappedRow::of).collect())
}

/// Exchanges a wrapper for another of the same key.
pub(crate) async fn rewrap_key(tx: &Tx, row: &WrappedRow, (wrapped, master): (&[u8], &str)) -> Result<u64, DbError> {
    let (kind, id) = row.owner.row();
    tx.execute(REWRAP_KEY, &[&kind, &id, &row.purpose, &row.version, &row.wrapped, &wrapped, &master]).await
}

/// Notes which masters nothing is wrapped by any more.
pub(crate) async fn retire_masters(tx: &Tx) -> Result<(), DbError> {
    tx.execute(RETIRE_MASTERS, &[&tx.now()]).await?;
    Ok(())
}
