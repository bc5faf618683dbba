//! The SQL of browser sessions.

use granary_db::{Row, Tx};
use granary_foundation::Secret;
use granary_tenants::Door;
use granary_types::{SessionId, UserId};
use jiff::Timestamp;
use uuid::Uuid;

use super::{is_open, principal_of};
use crate::{AccessError, OpenSession, Principal, Quotas, Session};

const INSERT_SESSION: &str = "
    insert into sessions (id, user_id, token_hash, csrf_token, device, created_at, last_used_at, expires_at, is_pending, provider_id)
    values ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9)";

macro_rules! open_session {
    ($condition:literal) => {
        concat!(
            "select s.id, s.csrf_token, s.expires_at, coalesce(s.last_used_at, s.created_at) as used_at,
        u.id as user_id, u.msp_id, u.customer_id, u.name, u.role, u.can_read_billing, u.sees_all_customers,
        array(select g.customer_id from user_customers g where g.user_id = u.id) as granted,
        c.status as customer_status, coalesce(c.status_changed_at, c.created_at) as status_since, l.api_rate_limit, l.api_is_hard,
        -- who comes by an identity provider shows a second factor there
        coalesce(m.requires_second_factor, false) and s.provider_id is null
            and not exists (select from second_factors f where f.user_id = u.id and f.confirmed_at is not null) as must_enrol
    from sessions s
    join users u on u.id = s.user_id
    left join customers c on c.id = u.customer_id
    left join customer_limits l on l.customer_id = u.customer_id
    left join login_rules m on m.msp_id = u.msp_id
    where not s.is_pending and s.revoked_at is null and s.expires_at > $2 and coalesce(s.last_used_at, s.created_at) > $3
        and not u.is_disabled and ",
            $condition
        )
    };
}

const FIND_SESSION: &str = open_session!("s.token_hash = $1");
const FIND_SESSION_BY_ID: &str = open_session!("s.id = $1");

/// At most once a minute.
const UPDATE_SESSION_USED: &str = "
    update sessions set last_used_at = $2
    where id = $1 and coalesce(last_used_at, created_at) < $2::timestamptz - interval '1 minute'";

const LIST_SESSIONS: &str = "
    select id, device, created_at, coalesce(last_used_at, created_at) as last_used_at, expires_at
    from sessions
    where user_id = $1 and revoked_at is null and not is_pending and expires_at > $2 and coalesce(last_used_at, created_at) > $3
    order by coalesce(last_used_at, created_at) desc, id desc limit 100";

const UPDATE_SESSION_REVOKED: &str = "update sessions set revoked_at = $2 where token_hash = $1 and revoked_at is null";

const UPDATE_OWN_SESSION_REVOKED: &str = "
    update sessions set revoked_at = $3 where id = $1 and user_id = $2 and revoked_at is null and expires_at > $3";

const UPDATE_SESSIONS_REVOKED: &str = "
    update sessions set revoked_at = $3 where user_id = $1 and id is distinct from $2 and revoked_at is null and expires_at > $3";

const DELETE_ENDED: &str = "delete from sessions where user_id = $1 and expires_at < $2";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[
    INSERT_SESSION,
    FIND_SESSION,
    FIND_SESSION_BY_ID,
    UPDATE_SESSION_USED,
    LIST_SESSIONS,
    UPDATE_SESSION_REVOKED,
    UPDATE_OWN_SESSION_REVOKED,
    UPDATE_SESSIONS_REVOKED,
    DELETE_ENDED,
];

/// Inserts a session.
pub(crate) async fn insert_session(
    tx: &Tx,
    session: &Session,
    user: UserId,
    token_hash: &[u8],
    device: Option<&str>,
    provider: Option<Uuid>,
    now: Timestamp,
) -> Result<(), AccessError> {
    let (csrf, expires_at, is_pending) = (session.csrf_token.reveal(), &session.expires_at, &session.is_pending);
    tx.execute(INSERT_SESSION, &[&session.id, &user, &token_hash, &csrf, &device, &now, expires_at, is_pending, &provider]).await?;
    Ok(())
}

/// Finds an open session, and notes at most once a minute that it was used. `today` is the business clock's.
pub(crate) async fn find_session(
    tx: &Tx,
    token_hash: &[u8],
    now: Timestamp,
    idle_since: Timestamp,
    today: Timestamp,
) -> Result<Option<Session>, AccessError> {
    let row = tx.query_opt(FIND_SESSION, &[&token_hash, &now, &idle_since]).await?;
    used(tx, row, now, today).await
}

/// Finds an open session by its id, for a token that was made from it.
pub(crate) async fn find_session_by_id(
    tx: &Tx,
    id: SessionId,
    now: Timestamp,
    idle_since: Timestamp,
    today: Timestamp,
) -> Result<Option<Session>, AccessError> {
    let row = tx.query_opt(FIND_SESSION_BY_ID, &[&id, &now, &idle_since]).await?;
    used(tx, row, now, today).await
}

async fn used(tx: &Tx, row: Option<Row>, now: Timestamp, today: Timestamp) -> Result<Option<Session>, AccessError> {
    let Some(row) = row.filter(|row| is_open(row, Door::Portal, today)) else { return Ok(None) };
    let id: SessionId = row.get("id");
    if now.duration_since(row.get("used_at")).as_secs() > 60 {
        tx.execute(UPDATE_SESSION_USED, &[&id, &now]).await?;
    }
    Ok(Some(Session {
        id,
        principal: Principal {
            quotas: Quotas {
                customer: row.get("api_rate_limit"),
                is_soft: row.get::<_, Option<bool>>("api_is_hard") == Some(false),
                program: None,
            },
            ..principal_of(&row)
        },
        csrf_token: Secret::new(row.get::<_, String>("csrf_token")),
        expires_at: row.get("expires_at"),
        is_pending: false,
        must_enrol: row.get("must_enrol"),
    }))
}

/// Lists the open sessions of a user.
pub(crate) async fn list_sessions(tx: &Tx, user: UserId, now: Timestamp, idle_since: Timestamp) -> Result<Vec<OpenSession>, AccessError> {
    let rows = tx.query(LIST_SESSIONS, &[&user, &now, &idle_since]).await?;
    let session = |row: &granary_db::Row| OpenSession {
        id: row.get("id"),
        device: row.get("device"),
        created_at: row.get("created_at"),
        last_used_at: row.get("last_used_at"),
        expires_at: row.get("expires_at"),
    };
    Ok(rows.iter().map(session).collect())
}

/// Ends the session of a token.
pub(crate) async fn update_session_revoked(tx: &Tx, token_hash: &[u8], now: Timestamp) -> Result<(), AccessError> {
    tx.execute(UPDATE_SESSION_REVOKED, &[&token_hash, &now]).await?;
    Ok(())
}

/// Ends a user's session; false when there is no such open one.
pub(crate) async fn update_own_session_revoked(tx: &Tx, user: UserId, id: SessionId, now: Timestamp) -> Result<bool, AccessError> {
    Ok(tx.execute(UPDATE_OWN_SESSION_REVOKED, &[&id, &user, &now]).await? == 1)
}

/// Ends a user's sessions, all but the one that is kept.
pub(crate) async fn update_sessions_revoked(tx: &Tx, user: UserId, keep: Option<SessionId>, now: Timestamp) -> Result<u64, AccessError> {
    Ok(tx.execute(UPDATE_SESSIONS_REVOKED, &[&user, &keep, &now]).await?)
}

/// Deletes a user's sessions that ended long ago.
pub(crate) async fn delete_ended(tx: &Tx, user: UserId, before: Timestamp) -> Result<(), AccessError> {
    tx.execute(DELETE_ENDED, &[&user, &before]).await?;
    Ok(())
}
