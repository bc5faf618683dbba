//! The SQL of identity providers, and of who comes in through them.

use std::collections::BTreeMap;

use granary_db::{Row, Tx};
use granary_tenants::Door;
use granary_types::{CustomerId, MspId, Role, UserId};
use granary_vault::Wrapped;
use jiff::Timestamp;
use uuid::Uuid;

use super::{is_open, principal_of};
use crate::sso::{Journey, Provider};
use crate::{AccessError, IdentityProvider, Place, Principal, SsoSettings};

macro_rules! providers {
    ($condition:literal) => {
        concat!(
            "select p.id, p.msp_id, p.customer_id, p.issuer, p.client_id, p.sealed, p.key_version, p.groups_claim, p.trusts_email,
                p.is_on, p.is_forced, p.break_glass, u.email as break_glass_email, p.updated_at,
                array(select d.domain from identity_provider_domains d where d.provider_id = p.id order by 1) as domains,
                array(select g.group_name from identity_provider_groups g where g.provider_id = p.id order by 1) as groups,
                array(select g.role from identity_provider_groups g where g.provider_id = p.id order by g.group_name) as roles
            from identity_providers p
            left join users u on u.id = p.break_glass ",
            $condition
        )
    };
}

const FIND: &str = providers!("where p.id = $1");
const FIND_BY_DOMAIN: &str =
    providers!("where p.is_on and p.id = (select d.provider_id from identity_provider_domains d where d.domain = $1)");
const LIST: &str = providers!("where p.msp_id = $1 order by p.customer_id nulls first");

const UPSERT: &str = "
    insert into identity_providers as p (id, msp_id, customer_id, issuer, client_id, sealed, key_version, groups_claim, trusts_email,
        is_on, is_forced, break_glass, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    on conflict (id) do update
    set issuer = $4, client_id = $5, sealed = $6, key_version = $7, groups_claim = $8, trusts_email = $9, is_on = $10, is_forced = $11,
        break_glass = $12, updated_at = $13";

const DELETE_GROUPS: &str = "delete from identity_provider_groups where provider_id = $1";
const INSERT_GROUP: &str = "insert into identity_provider_groups (provider_id, group_name, role) values ($1, $2, $3)";
const DELETE_DOMAINS: &str = "delete from identity_provider_domains where provider_id = $1";
const INSERT_DOMAIN: &str = "insert into identity_provider_domains (domain, provider_id) values ($1, $2)";
const DELETE_IDENTITIES: &str = "delete from user_identities where provider_id = $1";
const DELETE_JOURNEYS: &str = "delete from sso_logins where provider_id = $1";
const DELETE: &str = "delete from identity_providers where id = $1";

/// Somebody of the place has an address of the domain, and has shown it by a letter.
const HAS_ADDRESS: &str = "
    select exists (
        select from users
        where msp_id = $1 and customer_id is not distinct from $2 and not is_disabled and password_hash <> ''
            and lower(split_part(email, '@', 2)) = $3)";

const HAS_PASSWORD: &str = "select exists (select from users where id = $1 and not is_disabled and password_hash <> '')";

const FIND_FORCE: &str = "
    select p.break_glass is not distinct from u.id
    from users u join identity_providers p on p.id = coalesce(u.customer_id, u.msp_id)
    where u.id = $1 and p.is_on and p.is_forced";

const REVOKE_SESSIONS: &str = "update sessions set revoked_at = $2 where provider_id = $1 and revoked_at is null and expires_at > $2";
const REVOKE_SESSIONS_OF: &str = "
    update sessions set revoked_at = $3 where provider_id = $1 and user_id = $2 and revoked_at is null and expires_at > $3";

const INSERT_JOURNEY: &str = "
    insert into sso_logins (state_hash, provider_id, browser_hash, issuer, next, created_at) values ($1, $2, $3, $4, $5, $6)";

/// Once, by the browser that began it.
const TAKE_JOURNEY: &str = "
    update sso_logins set used_at = $5
    where state_hash = $1 and provider_id = $2 and browser_hash = $3 and created_at > $4 and used_at is null
    returning issuer, next";

/// A few at a time, and none that somebody takes.
const SWEEP_JOURNEYS: &str = "
    delete from sso_logins where state_hash in (
        select state_hash from sso_logins where created_at < $1 order by created_at limit 20 for update skip locked)";

const FIND_IDENTITY: &str = "
    update user_identities set last_login_at = $4 where provider_id = $1 and issuer = $2 and subject = $3 returning user_id";

const INSERT_IDENTITY: &str = "
    insert into user_identities (provider_id, issuer, subject, user_id, linked_at, last_login_at) values ($1, $2, $3, $4, $5, $5)
    on conflict do nothing";

const FIND_PRINCIPAL: &str = "
    select u.id as user_id, u.msp_id, u.customer_id, u.name, u.role, u.can_read_billing, u.sees_all_customers,
        array(select g.customer_id from user_customers g where g.user_id = u.id) as granted,
        c.status as customer_status, coalesce(c.status_changed_at, c.created_at) as status_since
    from users u
    left join customers c on c.id = u.customer_id
    where u.id = $1 and u.msp_id = $2 and u.customer_id is not distinct from $3 and not u.is_disabled";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[
    FIND,
    FIND_BY_DOMAIN,
    LIST,
    UPSERT,
    DELETE_GROUPS,
    INSERT_GROUP,
    DELETE_DOMAINS,
    INSERT_DOMAIN,
    DELETE_IDENTITIES,
    DELETE_JOURNEYS,
    DELETE,
    HAS_ADDRESS,
    HAS_PASSWORD,
    FIND_FORCE,
    REVOKE_SESSIONS,
    REVOKE_SESSIONS_OF,
    INSERT_JOURNEY,
    TAKE_JOURNEY,
    SWEEP_JOURNEYS,
    FIND_IDENTITY,
    INSERT_IDENTITY,
    FIND_PRINCIPAL,
];

/// Finds the provider of a place.
pub(crate) async fn find(tx: &Tx, id: Uuid) -> Result<Option<Provider>, AccessError> {
    tx.query_opt(FIND, &[&id]).await?.as_ref().map(provider).transpose()
}

/// Finds the provider that speaks for a domain and is on.
pub(crate) async fn find_by_domain(tx: &Tx, domain: &str) -> Result<Option<Provider>, AccessError> {
    tx.query_opt(FIND_BY_DOMAIN, &[&domain]).await?.as_ref().map(provider).transpose()
}

/// Lists the providers of an MSP and of its customers, its own first.
pub(crate) async fn list(tx: &Tx, msp: MspId) -> Result<Vec<IdentityProvider>, AccessError> {
    tx.query(LIST, &[&msp]).await?.iter().map(|row| provider(row).map(|provider| provider.shown)).collect()
}

/// Sets the provider of a place up as wanted.
///
/// # Errors
/// When another provider speaks for one of the domains.
pub(crate) async fn upsert(
    tx: &Tx,
    (id, msp, customer): (Uuid, MspId, Option<CustomerId>),
    wanted: &SsoSettings,
    sealed: &Wrapped,
    break_glass: Option<UserId>,
    now: Timestamp,
) -> Result<(), AccessError> {
    let SsoSettings { issuer, client_id, groups_claim, groups, domains, trusts_email, is_on, is_forced, .. } = wanted;
    tx.execute(
        UPSERT,
        &[
            &id,
            &msp,
            &customer,
            issuer,
            client_id,
            &sealed.bytes,
            &sealed.key_version,
            groups_claim,
            trusts_email,
            is_on,
            is_forced,
            &break_glass,
            &now,
        ],
    )
    .await?;
    tx.execute(DELETE_GROUPS, &[&id]).await?;
    for (group, role) in groups {
        tx.execute(INSERT_GROUP, &[&id, group, role]).await?;
    }
    tx.execute(DELETE_DOMAINS, &[&id]).await?;
    for domain in domains {
        tx.execute(INSERT_DOMAIN, &[domain, &id]).await.map_err(|error| match error.constraint() {
            Some("identity_provider_domains_taken") => {
                AccessError::InvalidSso(format!("another identity provider of this house speaks for {domain} already"))
            }
            _ => error.into(),
        })?;
    }
    Ok(())
}

/// Removes the provider of a place with all that hangs on it; false when there is none.
pub(crate) async fn delete(tx: &Tx, id: Uuid) -> Result<bool, AccessError> {
    let mut touched = 0;
    for statement in [DELETE_IDENTITIES, DELETE_JOURNEYS, DELETE_DOMAINS, DELETE_GROUPS, DELETE] {
        touched = tx.execute(statement, &[&id]).await?;
    }
    Ok(touched == 1)
}

/// Tells whether somebody of a place has shown an address of a domain.
pub(crate) async fn has_address(tx: &Tx, at: Place, domain: &str) -> Result<bool, AccessError> {
    Ok(tx.query_one(HAS_ADDRESS, &[&at.msp, &at.customer, &domain]).await?.get(0))
}

/// Tells whether a user could come in by password.
pub(crate) async fn has_password(tx: &Tx, user: UserId) -> Result<bool, AccessError> {
    Ok(tx.query_one(HAS_PASSWORD, &[&user]).await?.get(0))
}

/// Where a provider is forced on a user: whether this is the one who may use a password all the same.
pub(crate) async fn find_force(tx: &Tx, user: UserId) -> Result<Option<bool>, AccessError> {
    Ok(tx.query_opt(FIND_FORCE, &[&user]).await?.map(|row| row.get(0)))
}

/// Ends the sessions that a provider opened: all, or one user's.
pub(crate) async fn revoke_sessions(tx: &Tx, id: Uuid, user: Option<UserId>, now: Timestamp) -> Result<(), AccessError> {
    match user {
        Some(user) => tx.execute(REVOKE_SESSIONS_OF, &[&id, &user, &now]).await?,
        None => tx.execute(REVOKE_SESSIONS, &[&id, &now]).await?,
    };
    Ok(())
}

/// Remembers that somebody was sent to a provider, and forgets some who never came back.
pub(crate) async fn insert_journey(
    tx: &Tx,
    state_hash: &[u8],
    browser_hash: &[u8],
    id: Uuid,
    journey: &Journey,
    (now, forget_before): (Timestamp, Timestamp),
) -> Result<(), AccessError> {
    tx.execute(SWEEP_JOURNEYS, &[&forget_before]).await?;
    tx.execute(INSERT_JOURNEY, &[&state_hash, &id, &browser_hash, &journey.issuer, &journey.next, &now]).await?;
    Ok(())
}

/// Uses a journey up; none when there is no such one that may still end.
pub(crate) async fn take_journey(
    tx: &Tx,
    (state_hash, browser_hash): (&[u8], &[u8]),
    id: Uuid,
    (since, now): (Timestamp, Timestamp),
) -> Result<Option<Journey>, AccessError> {
    let row = tx.query_opt(TAKE_JOURNEY, &[&state_hash, &id, &browser_hash, &since, &now]).await?;
    Ok(row.map(|row| Journey { issuer: row.get(0), next: row.get(1) }))
}

/// Finds who somebody of a provider is here, and notes that they came.
pub(crate) async fn find_identity(tx: &Tx, id: Uuid, issuer: &str, subject: &str, now: Timestamp) -> Result<Option<UserId>, AccessError> {
    Ok(tx.query_opt(FIND_IDENTITY, &[&id, &issuer, &subject, &now]).await?.map(|row| row.get(0)))
}

/// Says who somebody of a provider is here; false when the user is somebody else of that provider.
pub(crate) async fn insert_identity(
    tx: &Tx,
    id: Uuid,
    (issuer, subject): (&str, &str),
    user: UserId,
    now: Timestamp,
) -> Result<bool, AccessError> {
    Ok(tx.execute(INSERT_IDENTITY, &[&id, &issuer, &subject, &user, &now]).await? == 1)
}

/// Finds an enabled user of a place whose customer still has a portal; `today` is the business clock's.
pub(crate) async fn find_principal(tx: &Tx, at: Place, user: UserId, today: Timestamp) -> Result<Option<Principal>, AccessError> {
    let row = tx.query_opt(FIND_PRINCIPAL, &[&user, &at.msp, &at.customer]).await?.filter(|row| is_open(row, Door::Portal, today));
    Ok(row.as_ref().map(principal_of))
}

fn provider(row: &Row) -> Result<Provider, AccessError> {
    let (groups, roles): (Vec<String>, Vec<String>) = (row.get("groups"), row.get("roles"));
    let role = |text: String| text.parse::<Role>().map_err(|_| AccessError::InvalidSso(format!("'{text}' is no role")));
    let roles = roles.into_iter().map(role).collect::<Result<Vec<_>, _>>()?;
    Ok(Provider {
        sealed: Wrapped { bytes: row.get("sealed"), key_version: row.get("key_version") },
        shown: IdentityProvider {
            id: row.get("id"),
            msp_id: row.get("msp_id"),
            customer_id: row.get("customer_id"),
            issuer: row.get("issuer"),
            client_id: row.get("client_id"),
            groups_claim: row.get("groups_claim"),
            groups: groups.into_iter().zip(roles).collect::<BTreeMap<_, _>>(),
            domains: row.get("domains"),
            trusts_email: row.get("trusts_email"),
            is_on: row.get("is_on"),
            is_forced: row.get("is_forced"),
            break_glass: row.get("break_glass"),
            break_glass_email: row.get("break_glass_email"),
            updated_at: row.get("updated_at"),
        },
    })
}
