//! The SQL of API keys.

use granary_db::{Row, Tx};
use granary_foundation::Secret;
use granary_tenants::Granted;
use granary_types::{ApiKeyId, ControlPlaneId, CustomerId, Role};
use jiff::Timestamp;

use super::is_open;
use crate::principal::Quotas;
use crate::{AccessError, ApiKey, ApiKeyScope, NewApiKey, Permission, Place, Principal, Who, scram, token};

const INSERT: &str = "
    insert into api_keys (id, msp_id, customer_id, control_plane_id, name, prefix, secret_hash, scram_verifier, scopes, requests_per_minute,
        created_at, created_by, expires_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

macro_rules! live {
    ($condition:literal) => {
        concat!(
            "select k.id, k.msp_id, k.customer_id, k.name, k.scopes, k.requests_per_minute, p.source, l.api_rate_limit, l.api_is_hard,
                coalesce(k.last_used_at < $2::timestamptz - interval '1 minute', true) as is_to_be_noted,
                c.status as customer_status, coalesce(c.status_changed_at, c.created_at) as status_since
            from api_keys k
            left join customers c on c.id = k.customer_id
            left join customer_limits l on l.customer_id = k.customer_id
            left join control_planes p on p.id = k.control_plane_id
            where k.revoked_at is null and (k.expires_at is null or k.expires_at > $2) and ",
            $condition
        )
    };
}

const FIND_LIVE: &str = live!("k.secret_hash = $1");
const FIND_LIVE_BY_ID: &str = live!("k.id = $1");

/// By what is shown of a key, or by its id; should two ever show the same, the newer one.
const FIND_VERIFIER: &str = "
    select id, scram_verifier from api_keys
    where (prefix = $1 or id::text = $1) and scram_verifier is not null and revoked_at is null and (expires_at is null or expires_at > $2)
    order by created_at desc limit 1";

/// Several replicas may have seen it unused at the same instant.
const UPDATE_USED: &str = "
    update api_keys set last_used_at = $2 where id = $1 and (last_used_at is null or last_used_at < $2::timestamptz - interval '1 minute')";

macro_rules! listed {
    ($rest:literal) => {
        concat!(
            "select k.id, k.msp_id, k.customer_id, k.control_plane_id, k.name, k.prefix, k.scopes, k.requests_per_minute, k.created_at,
                case when k.created_by like 'user:%' then u.name else k.created_by end as created_by,
                k.expires_at, k.last_used_at, k.revoked_at, k.replaced_by
            from api_keys k left join users u on 'user:' || u.id = k.created_by ",
            $rest
        )
    };
}

const LIST: &str = listed!(
    "where k.msp_id = $1 and k.customer_id is not distinct from $2
    order by k.revoked_at is not null, k.created_at desc, k.id desc limit 500"
);
const GET: &str = listed!("where k.id = $1");
const LOCK_AT: &str = listed!("where k.id = $1 and k.msp_id = $2 and k.customer_id is not distinct from $3 for update of k");

const UPDATE_REVOKED: &str = "update api_keys set revoked_at = $2 where id = $1 and revoked_at is null";
const UPDATE_REPLACED: &str = "
    update api_keys set replaced_by = $2, expires_at = least(expires_at, $3) where id = $1 and replaced_by is null";

const IS_PLANE_OF: &str = "select exists (select from control_planes where id = $1 and customer_id = $2 and retired_at is null)";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] =
    &[INSERT, FIND_LIVE, FIND_LIVE_BY_ID, FIND_VERIFIER, UPDATE_USED, LIST, GET, LOCK_AT, UPDATE_REVOKED, UPDATE_REPLACED, IS_PLANE_OF];

/// Inserts a key.
pub(crate) async fn insert(tx: &Tx, id: ApiKeyId, key: &NewApiKey, secret: &Secret, by: &str, now: Timestamp) -> Result<(), AccessError> {
    let NewApiKey { msp_id, customer_id, control_plane_id, name, expires_at, requests_per_minute, .. } = key;
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let prefix = token::shown(secret.reveal());
    let hash = token::hash(secret.reveal());
    let verifier = key.scopes.contains(&ApiKeyScope::Sql).then(|| scram::verifier(secret));
    tx.execute(
        INSERT,
        &[&id, msp_id, customer_id, control_plane_id, name, &prefix, &hash, &verifier, &scopes, requests_per_minute, &now, &by, expires_at],
    )
    .await?;
    Ok(())
}

/// Finds a live key, and notes at most once a minute that it was used. `today` is the business clock's.
pub(crate) async fn find_live(tx: &Tx, secret_hash: &[u8], now: Timestamp, today: Timestamp) -> Result<Option<Principal>, AccessError> {
    let row = tx.query_opt(FIND_LIVE, &[&secret_hash, &now]).await?;
    used(tx, row, now, today).await
}

/// Finds a live key by its id, for a token that was made from it.
pub(crate) async fn find_live_by_id(tx: &Tx, id: ApiKeyId, now: Timestamp, today: Timestamp) -> Result<Option<Principal>, AccessError> {
    let row = tx.query_opt(FIND_LIVE_BY_ID, &[&id, &now]).await?;
    used(tx, row, now, today).await
}

/// Finds a live key that may ask in SQL, and by what its holder proves to have it.
pub(crate) async fn find_verifier(tx: &Tx, user: &str, now: Timestamp) -> Result<Option<(ApiKeyId, String)>, AccessError> {
    Ok(tx.query_opt(FIND_VERIFIER, &[&user, &now]).await?.map(|row| (row.get("id"), row.get("scram_verifier"))))
}

async fn used(tx: &Tx, row: Option<Row>, now: Timestamp, today: Timestamp) -> Result<Option<Principal>, AccessError> {
    let Some(row) = row else { return Ok(None) };
    if row.get("is_to_be_noted") {
        tx.execute(UPDATE_USED, &[&row.get::<_, ApiKeyId>("id"), &now]).await?;
    }
    principal_of_key(&row, today).map(Some)
}

/// What the scopes allow today: a door of the customer may be closed.
fn principal_of_key(row: &Row, today: Timestamp) -> Result<Principal, AccessError> {
    let customer: Option<CustomerId> = row.get("customer_id");
    let scopes = scopes_of(row)?.into_iter().filter(|scope| is_open(row, scope.door(), today));
    let permissions: Vec<Permission> = scopes.flat_map(|scope| scope.permissions_of(customer)).collect();
    Ok(Principal {
        who: Who::ApiKey { id: row.get("id"), name: row.get("name") },
        role: if customer.is_some() { Role::CustomerViewer } else { Role::MspAnalyst },
        msp: row.get("msp_id"),
        customers: customer.map_or(Granted::All, |customer| Granted::Only([customer].into())),
        can_read_billing: permissions.contains(&Permission::MarginRead),
        permissions,
        source: row.get("source"),
        quotas: Quotas {
            customer: row.get("api_rate_limit"),
            is_soft: row.get::<_, Option<bool>>("api_is_hard") == Some(false),
            program: row.get("requests_per_minute"),
        },
        is_by_token: false,
    })
}

/// Lists the keys of a place, live ones first, the newest before the others.
pub(crate) async fn list(tx: &Tx, at: Place) -> Result<Vec<ApiKey>, AccessError> {
    tx.query(LIST, &[&at.msp, &at.customer]).await?.iter().map(key).collect()
}

/// Returns a key that was just made or changed.
pub(crate) async fn get(tx: &Tx, id: ApiKeyId) -> Result<ApiKey, AccessError> {
    tx.query_opt(GET, &[&id]).await?.as_ref().map(key).transpose()?.ok_or_else(|| AccessError::UnknownKey(id.to_string()))
}

/// Finds a key of a place and keeps others from changing it; one of elsewhere is none.
pub(crate) async fn lock_at(tx: &Tx, at: Place, id: ApiKeyId) -> Result<Option<ApiKey>, AccessError> {
    tx.query_opt(LOCK_AT, &[&id, &at.msp, &at.customer]).await?.as_ref().map(key).transpose()
}

/// Ends a key.
pub(crate) async fn update_revoked(tx: &Tx, id: ApiKeyId, now: Timestamp) -> Result<(), AccessError> {
    tx.execute(UPDATE_REVOKED, &[&id, &now]).await?;
    Ok(())
}

/// Notes the key that follows, and when the one before ends.
pub(crate) async fn update_replaced(tx: &Tx, id: ApiKeyId, by: ApiKeyId, until: Timestamp) -> Result<(), AccessError> {
    tx.execute(UPDATE_REPLACED, &[&id, &by, &until]).await?;
    Ok(())
}

/// Tells whether a control plane is a customer's, and in use.
pub(crate) async fn is_plane_of(tx: &Tx, plane: ControlPlaneId, customer: Option<CustomerId>) -> Result<bool, AccessError> {
    Ok(tx.query_one(IS_PLANE_OF, &[&plane, &customer]).await?.get(0))
}

fn scopes_of(row: &Row) -> Result<Vec<ApiKeyScope>, AccessError> {
    row.get::<_, Vec<String>>("scopes").iter().map(|scope| scope.parse()).collect()
}

fn key(row: &Row) -> Result<ApiKey, AccessError> {
    Ok(ApiKey {
        id: row.get("id"),
        msp_id: row.get("msp_id"),
        customer_id: row.get("customer_id"),
        control_plane_id: row.get("control_plane_id"),
        name: row.get("name"),
        prefix: row.get("prefix"),
        scopes: scopes_of(row)?,
        requests_per_minute: row.get("requests_per_minute"),
        created_at: row.get("created_at"),
        created_by: row.get("created_by"),
        expires_at: row.get("expires_at"),
        last_used_at: row.get("last_used_at"),
        revoked_at: row.get("revoked_at"),
        replaced_by: row.get("replaced_by"),
    })
}
