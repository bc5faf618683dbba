//! The SQL of second factors.

use granary_db::Tx;
use granary_tenants::Door;
use granary_types::{MspId, UserId};
use granary_vault::Wrapped;
use jiff::Timestamp;

use super::{is_open, principal_of};
use crate::factor::FactorState;
use crate::{AccessError, Principal};

const STATE: &str = "
    select exists (select from second_factors where user_id = $1 and confirmed_at is not null),
        (select count(*) from recovery_codes where user_id = $1 and used_at is null)";

/// One that was confirmed is not replaced.
const UPSERT_UNCONFIRMED: &str = "
    insert into second_factors as f (user_id, sealed, key_version, created_at) values ($1, $2, $3, $4)
    on conflict (user_id) do update set sealed = $2, key_version = $3, created_at = $4, last_step = 0
    where f.confirmed_at is null";

const FIND: &str = "select sealed, key_version, confirmed_at is not null from second_factors where user_id = $1";

const CONFIRM: &str = "
    update second_factors set confirmed_at = $3, last_step = $2 where user_id = $1 and confirmed_at is null and last_step < $2";

const USE_STEP: &str = "update second_factors set last_step = $2 where user_id = $1 and confirmed_at is not null and last_step < $2";

const INSERT_RECOVERY_CODE: &str = "insert into recovery_codes (user_id, code_hash) values ($1, $2)";
const USE_RECOVERY_CODE: &str = "
    update recovery_codes set used_at = $3 where user_id = $1 and code_hash = $2 and used_at is null";
const DELETE_RECOVERY_CODES: &str = "delete from recovery_codes where user_id = $1";
const DELETE: &str = "delete from second_factors where user_id = $1";

const FIND_PENDING: &str = "
    select u.id as user_id, u.msp_id, u.customer_id, u.name, u.role, u.can_read_billing, u.sees_all_customers,
        array(select g.customer_id from user_customers g where g.user_id = u.id) as granted,
        c.status as customer_status, coalesce(c.status_changed_at, c.created_at) as status_since
    from sessions s
    join users u on u.id = s.user_id
    left join customers c on c.id = u.customer_id
    where s.token_hash = $1 and s.is_pending and s.revoked_at is null and s.created_at > $2 and not u.is_disabled";

const UPDATE_REQUIREMENT: &str = "
    insert into login_rules (msp_id, requires_second_factor) values ($1, $2)
    on conflict (msp_id) do update set requires_second_factor = $2";
const FIND_REQUIREMENT: &str = "select requires_second_factor from login_rules where msp_id = $1";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[
    STATE,
    UPSERT_UNCONFIRMED,
    FIND,
    CONFIRM,
    USE_STEP,
    INSERT_RECOVERY_CODE,
    USE_RECOVERY_CODE,
    DELETE_RECOVERY_CODES,
    DELETE,
    FIND_PENDING,
    UPDATE_REQUIREMENT,
    FIND_REQUIREMENT,
];

/// A stored second factor.
pub(crate) struct Factor {
    pub(crate) sealed: Wrapped,
    pub(crate) is_confirmed: bool,
}

pub(crate) async fn state(tx: &Tx, user: UserId) -> Result<FactorState, AccessError> {
    let row = tx.query_one(STATE, &[&user]).await?;
    Ok(FactorState { is_on: row.get(0), recovery_codes: row.get(1) })
}

/// Keeps a secret that waits for its first code; false when there is a confirmed one.
pub(crate) async fn upsert_unconfirmed(tx: &Tx, user: UserId, sealed: &Wrapped, now: Timestamp) -> Result<bool, AccessError> {
    Ok(tx.execute(UPSERT_UNCONFIRMED, &[&user, &sealed.bytes, &sealed.key_version, &now]).await? == 1)
}

pub(crate) async fn find(tx: &Tx, user: UserId) -> Result<Option<Factor>, AccessError> {
    let row = tx.query_opt(FIND, &[&user]).await?;
    Ok(row.map(|row| Factor { sealed: Wrapped { bytes: row.get(0), key_version: row.get(1) }, is_confirmed: row.get(2) }))
}

/// Turns it on; false when it was, or the code was used.
pub(crate) async fn confirm(tx: &Tx, user: UserId, step: i64, now: Timestamp) -> Result<bool, AccessError> {
    tx.execute(DELETE_RECOVERY_CODES, &[&user]).await?;
    Ok(tx.execute(CONFIRM, &[&user, &step, &now]).await? == 1)
}

/// Uses a step up; false when it or a later one was used.
pub(crate) async fn use_step(tx: &Tx, user: UserId, step: i64) -> Result<bool, AccessError> {
    Ok(tx.execute(USE_STEP, &[&user, &step]).await? == 1)
}

pub(crate) async fn insert_recovery_code(tx: &Tx, user: UserId, hash: &[u8]) -> Result<(), AccessError> {
    tx.execute(INSERT_RECOVERY_CODE, &[&user, &hash]).await?;
    Ok(())
}

/// Uses a recovery code up; false when there is no such unused one.
pub(crate) async fn use_recovery_code(tx: &Tx, user: UserId, hash: &[u8], now: Timestamp) -> Result<bool, AccessError> {
    Ok(tx.execute(USE_RECOVERY_CODE, &[&user, &hash, &now]).await? == 1)
}

/// Turns it off; false when there was none.
pub(crate) async fn delete(tx: &Tx, user: UserId) -> Result<bool, AccessError> {
    tx.execute(DELETE_RECOVERY_CODES, &[&user]).await?;
    Ok(tx.execute(DELETE, &[&user]).await? == 1)
}

/// Finds who is asked for a code; `today` is the business clock's.
pub(crate) async fn find_pending(tx: &Tx, token_hash: &[u8], since: Timestamp, today: Timestamp) -> Result<Option<Principal>, AccessError> {
    let row = tx.query_opt(FIND_PENDING, &[&token_hash, &since]).await?.filter(|row| is_open(row, Door::Portal, today));
    Ok(row.as_ref().map(principal_of))
}

pub(crate) async fn update_requirement(tx: &Tx, msp: MspId, requires: bool) -> Result<(), AccessError> {
    tx.execute(UPDATE_REQUIREMENT, &[&msp, &requires]).await?;
    Ok(())
}

pub(crate) async fn find_requirement(tx: &Tx, msp: MspId) -> Result<bool, AccessError> {
    Ok(tx.query_opt(FIND_REQUIREMENT, &[&msp]).await?.is_some_and(|row| row.get(0)))
}
