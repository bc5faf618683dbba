//! The SQL of one-time tokens and of those they are written to.

use granary_db::Tx;
use granary_tenants::Door;
use granary_types::UserId;
use jiff::Timestamp;
use uuid::Uuid;

use super::{is_open, principal_of};
use crate::letters::{Letter, LetterKind, TokenKind};
use crate::{AccessError, Principal};

/// An older token of the user is void from now on; the same one is made once.
const VOID_OTHERS: &str = "update user_tokens set used_at = $3 where user_id = $1 and id <> $2 and used_at is null";

const INSERT_TOKEN: &str = "
    insert into user_tokens (id, user_id, kind, token_hash, created_at, expires_at) values ($1, $2, $3, $4, $5, $6)
    on conflict (id) do nothing";

const EXISTS: &str = "select exists (select from user_tokens where id = $1)";

const FIND_OPEN: &str = "
    select t.id, t.kind, t.expires_at, u.id as user_id, u.email, u.msp_id, u.customer_id, u.name, u.role, u.can_read_billing, u.sees_all_customers,
        array(select g.customer_id from user_customers g where g.user_id = u.id) as granted,
        c.status as customer_status, coalesce(c.status_changed_at, c.created_at) as status_since
    from user_tokens t
    join users u on u.id = t.user_id
    left join customers c on c.id = u.customer_id
    where t.token_hash = $1 and t.used_at is null and t.expires_at > $2 and not u.is_disabled";

const UPDATE_USED: &str = "update user_tokens set used_at = $2 where id = $1 and used_at is null";

const FIND_ADDRESSEE: &str = "
    select u.id as user_id, u.msp_id, u.customer_id, u.email, u.name, m.name as msp_name
    from users u left join msps m on m.id = u.msp_id
    where u.id = $1 and not u.is_disabled";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[VOID_OTHERS, INSERT_TOKEN, EXISTS, FIND_OPEN, UPDATE_USED, FIND_ADDRESSEE];

/// A token that may still be used.
#[derive(Debug)]
pub(crate) struct OpenToken {
    pub(crate) id: Uuid,
    pub(crate) is_reset: bool,
    pub(crate) email: String,
    pub(crate) principal: Principal,
    pub(crate) expires_at: Timestamp,
}

/// Makes a token, unless it was made before; older ones of the user are void.
pub(crate) async fn insert(
    tx: &Tx,
    id: Uuid,
    user: UserId,
    kind: TokenKind,
    hash: &[u8],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), AccessError> {
    if tx.execute(INSERT_TOKEN, &[&id, &user, &kind.as_str(), &hash, &now, &expires_at]).await? == 1 {
        tx.execute(VOID_OTHERS, &[&user, &id, &now]).await?;
    }
    Ok(())
}

/// Tells whether a token was made.
pub(crate) async fn exists(tx: &Tx, id: Uuid) -> Result<bool, AccessError> {
    Ok(tx.query_one(EXISTS, &[&id]).await?.get(0))
}

/// Finds a token that may still be used, of an enabled user whose customer has a portal; `today` is the business clock's.
pub(crate) async fn find_open(tx: &Tx, hash: &[u8], now: Timestamp, today: Timestamp) -> Result<Option<OpenToken>, AccessError> {
    let row = tx.query_opt(FIND_OPEN, &[&hash, &now]).await?.filter(|row| is_open(row, Door::Portal, today));
    Ok(row.map(|row| OpenToken {
        id: row.get("id"),
        is_reset: row.get::<_, &str>("kind") == TokenKind::Reset.as_str(),
        email: row.get("email"),
        principal: principal_of(&row),
        expires_at: row.get("expires_at"),
    }))
}

/// Uses a token up; false when somebody was faster.
pub(crate) async fn update_used(tx: &Tx, id: Uuid, now: Timestamp) -> Result<bool, AccessError> {
    Ok(tx.execute(UPDATE_USED, &[&id, &now]).await? == 1)
}

/// Voids every token of a user.
pub(crate) async fn void_all(tx: &Tx, user: UserId, now: Timestamp) -> Result<(), AccessError> {
    tx.execute(VOID_OTHERS, &[&user, &Uuid::nil(), &now]).await?;
    Ok(())
}

/// Finds an enabled user to write to.
pub(crate) async fn find_addressee(tx: &Tx, user: UserId, kind: LetterKind) -> Result<Option<Letter>, AccessError> {
    Ok(tx.query_opt(FIND_ADDRESSEE, &[&user]).await?.map(|row| Letter {
        user: row.get("user_id"),
        msp: row.get("msp_id"),
        msp_name: row.get("msp_name"),
        customer: row.get("customer_id"),
        email: row.get("email"),
        name: row.get("name"),
        kind,
    }))
}
