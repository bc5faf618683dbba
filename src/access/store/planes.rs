//! The SQL of control planes that prove themselves by a key pair.

use granary_db::{Row, Tx};
use granary_tenants::{Door, Granted};
use granary_types::{ControlPlaneId, CustomerCode, CustomerId, MspId, Role};
use jiff::Timestamp;
use uuid::Uuid;

use super::is_open;
use crate::planes::{Enrolled, PlaneKey};
use crate::principal::Quotas;
use crate::{AccessError, ApiKeyScope, Place, Principal, Who};

/// A plane that is retired enrols no more.
const FIND_PLANE: &str = "
    select id, name from control_planes where id = $1 and msp_id = $2 and customer_id = $3 and retired_at is null";
const VOID_CODES: &str = "update enrolment_codes set used_at = $2 where control_plane_id = $1 and used_at is null";
const INSERT_CODE: &str = "
    insert into enrolment_codes (id, msp_id, customer_id, control_plane_id, code_hash, created_at, created_by, expires_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)";

/// Waits for whoever uses the same code.
const LOCK_CODE: &str = "
    select e.id, e.msp_id, e.customer_id, e.control_plane_id, e.used_at is not null as is_used, p.source, c.code,
        c.status as customer_status, coalesce(c.status_changed_at, c.created_at) as status_since
    from enrolment_codes e
    join control_planes p on p.id = e.control_plane_id
    join customers c on c.id = e.customer_id
    where e.code_hash = $1 and e.expires_at > $2 and p.retired_at is null
    for update of e";
const USE_CODE: &str = "update enrolment_codes set used_at = $2 where id = $1";
const FIND_SAME: &str = "
    select id from control_plane_keys where code_id = $1 and public_key = $2 and revoked_at is null";
const REVOKE_KEYS: &str = "update control_plane_keys set revoked_at = $2 where control_plane_id = $1 and revoked_at is null";
const INSERT_KEY: &str = "
    insert into control_plane_keys (id, msp_id, customer_id, control_plane_id, code_id, public_key, enrolled_at)
    values ($1, $2, $3, $4, $5, $6, $7)";

const FIND_KEY: &str = "
    select k.id, k.public_key, k.control_plane_id, k.msp_id, k.customer_id, p.name, p.source, l.api_rate_limit, l.api_is_hard,
        coalesce(k.last_used_at < $2::timestamptz - interval '1 minute', true) as is_to_be_noted,
        c.status as customer_status, coalesce(c.status_changed_at, c.created_at) as status_since
    from control_plane_keys k
    join control_planes p on p.id = k.control_plane_id
    join customers c on c.id = k.customer_id
    left join customer_limits l on l.customer_id = k.customer_id
    where k.id = $1 and k.revoked_at is null";
const UPDATE_USED: &str = "
    update control_plane_keys set last_used_at = $2
    where id = $1 and (last_used_at is null or last_used_at < $2::timestamptz - interval '1 minute')";

const LIST_KEYS: &str = "
    select k.id, k.control_plane_id, p.name, k.public_key, k.enrolled_at, k.last_used_at, k.revoked_at
    from control_plane_keys k join control_planes p on p.id = k.control_plane_id
    where k.msp_id = $1 and k.customer_id = $2 order by k.revoked_at is not null, p.name, k.enrolled_at desc limit 500";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] =
    &[FIND_PLANE, VOID_CODES, INSERT_CODE, LOCK_CODE, USE_CODE, FIND_SAME, REVOKE_KEYS, INSERT_KEY, FIND_KEY, UPDATE_USED, LIST_KEYS];

/// A code that was found.
pub(crate) struct OpenCode {
    pub(crate) id: Uuid,
    pub(crate) msp: MspId,
    pub(crate) customer: CustomerId,
    pub(crate) plane: ControlPlaneId,
    pub(crate) is_used: bool,
    source: String,
    code: CustomerCode,
}

impl OpenCode {
    /// What the plane is told when it has a key.
    pub(crate) fn enrolled(self, key: Uuid) -> Enrolled {
        Enrolled { key, control_plane: self.plane, source: self.source, customer_code: self.code }
    }
}

/// Finds a plane of a customer that is not retired.
pub(crate) async fn find_plane(tx: &Tx, at: Place, plane: ControlPlaneId) -> Result<Option<String>, AccessError> {
    Ok(tx.query_opt(FIND_PLANE, &[&plane, &at.msp, &at.customer]).await?.map(|row| row.get("name")))
}

/// Makes the codes of a plane void.
pub(crate) async fn void_codes(tx: &Tx, plane: ControlPlaneId, now: Timestamp) -> Result<(), AccessError> {
    tx.execute(VOID_CODES, &[&plane, &now]).await?;
    Ok(())
}

/// Inserts a code.
pub(crate) async fn insert_code(
    tx: &Tx,
    at: Place,
    plane: ControlPlaneId,
    code_hash: &[u8],
    by: &str,
    (now, expires_at): (Timestamp, Timestamp),
) -> Result<(), AccessError> {
    tx.execute(INSERT_CODE, &[&Uuid::now_v7(), &at.msp, &at.customer, &plane, &code_hash, &now, &by, &expires_at]).await?;
    Ok(())
}

/// Finds a code that has not expired, used or not, of a customer that still sends events. `today` is the business clock's.
pub(crate) async fn lock_code(tx: &Tx, code_hash: &[u8], now: Timestamp, today: Timestamp) -> Result<Option<OpenCode>, AccessError> {
    let row = tx.query_opt(LOCK_CODE, &[&code_hash, &now]).await?.filter(|row| is_open(row, Door::Facts, today));
    let Some(row) = row else { return Ok(None) };
    let code: String = row.get("code");
    Ok(Some(OpenCode {
        id: row.get("id"),
        msp: row.get("msp_id"),
        customer: row.get("customer_id"),
        plane: row.get("control_plane_id"),
        is_used: row.get("is_used"),
        source: row.get("source"),
        code: code.parse().map_err(|_| AccessError::UnknownCustomer(code))?,
    }))
}

/// Finds the live key that came with a code.
pub(crate) async fn find_same(tx: &Tx, code: &OpenCode, public_key: &[u8]) -> Result<Option<Uuid>, AccessError> {
    Ok(tx.query_opt(FIND_SAME, &[&code.id, &public_key]).await?.map(|row| row.get(0)))
}

/// Uses a code: the plane's other keys end, and this one begins.
pub(crate) async fn insert_key(tx: &Tx, code: &OpenCode, public_key: &[u8], now: Timestamp) -> Result<Uuid, AccessError> {
    let key = Uuid::now_v7();
    tx.execute(USE_CODE, &[&code.id, &now]).await?;
    tx.execute(REVOKE_KEYS, &[&code.plane, &now]).await?;
    tx.execute(INSERT_KEY, &[&key, &code.msp, &code.customer, &code.plane, &code.id, &public_key, &now]).await?;
    Ok(key)
}

/// Ends the keys of a plane; returns how many those were.
pub(crate) async fn revoke_keys(tx: &Tx, plane: ControlPlaneId, now: Timestamp) -> Result<u64, AccessError> {
    Ok(tx.execute(REVOKE_KEYS, &[&plane, &now]).await?)
}

/// Finds a live key: the public half, and whom it stands for once a signature is right.
pub(crate) async fn find_key(
    tx: &Tx,
    key: Uuid,
    now: Timestamp,
    today: Timestamp,
) -> Result<Option<(Vec<u8>, Principal, bool)>, AccessError> {
    let Some(row) = tx.query_opt(FIND_KEY, &[&key, &now]).await? else { return Ok(None) };
    let customer: CustomerId = row.get("customer_id");
    let is_let_in = is_open(&row, Door::Facts, today);
    let permissions = if is_let_in { ApiKeyScope::UsageWrite.permissions().to_vec() } else { Vec::new() };
    let principal = Principal {
        who: Who::ControlPlane { id: row.get("control_plane_id"), name: row.get("name") },
        role: Role::CustomerViewer,
        msp: row.get("msp_id"),
        customers: Granted::Only([customer].into()),
        can_read_billing: false,
        permissions,
        source: row.get("source"),
        quotas: Quotas {
            customer: row.get("api_rate_limit"),
            is_soft: row.get::<_, Option<bool>>("api_is_hard") == Some(false),
            program: None,
        },
        is_by_token: false,
    };
    Ok(Some((row.get("public_key"), principal, row.get("is_to_be_noted"))))
}

/// Notes that a key was used.
pub(crate) async fn update_used(tx: &Tx, key: Uuid, now: Timestamp) -> Result<(), AccessError> {
    tx.execute(UPDATE_USED, &[&key, &now]).await?;
    Ok(())
}

/// Lists a customer's keys, live ones first.
pub(crate) async fn list_keys(tx: &Tx, at: Place) -> Result<Vec<PlaneKey>, AccessError> {
    Ok(tx.query(LIST_KEYS, &[&at.msp, &at.customer]).await?.iter().map(key).collect())
}

fn key(row: &Row) -> PlaneKey {
    PlaneKey {
        id: row.get("id"),
        control_plane_id: row.get("control_plane_id"),
        name: row.get("name"),
        public_key: row.get("public_key"),
        enrolled_at: row.get("enrolled_at"),
        last_used_at: row.get("last_used_at"),
        revoked_at: row.get("revoked_at"),
    }
}
