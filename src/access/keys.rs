//! Keys for programs: made, followed by another, ended. Nobody gives a program more than they hold themselves, but for sending usage
//! events, which no person does; and a key makes no keys.

use granary_db::{AuditEntry, Tx, record_audit};
use granary_foundation::{Boxed, Secret};
use granary_types::ApiKeyId;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::managing::{check_name, check_reason};
use crate::{Access, AccessError, ApiKey, ApiKeyScope, Manager, NewApiKey, Permission, Place, Principal, store, token};

/// A key that is replaced is good for a day more, unless somebody says otherwise,
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// and for a month at most.
const LONGEST_OVERLAP: SignedDuration = SignedDuration::from_hours(31 * 24);
const MOST_REQUESTS_PER_MINUTE: i32 = 1_000_000;

impl Access {
    /// Makes an API key and returns it; only its hash is kept, so that nobody can show it again.
    ///
    /// # Errors
    /// When a scope does not fit the key's owner, the manager holds less than a scope allows, or a field does not fit.
    pub fn create_api_key<'a>(&'a self, manager: Manager<'a>, key: &'a NewApiKey) -> Boxed<'a, Result<(ApiKey, Secret), AccessError>> {
        Box::pin(async move {
            let key = NewApiKey { name: check_name(&key.name)?, ..key.clone() };
            check(&key, self.instant())?;
            let tx = self.begin().await?;
            authorise(&tx, manager, &key).await?;
            if let Some(plane) = key.control_plane_id
                && !store::api_keys::is_plane_of(&tx, plane, key.customer_id).await?
            {
                return Err(AccessError::InvalidKey("the customer has no such control plane"));
            }
            let (id, secret) = self.mint(&tx, manager, &key).await?;
            let made = store::api_keys::get(&tx, id).await?;
            let detail = json!({"name": made.name, "prefix": made.prefix, "scopes": made.scopes, "expires_at": made.expires_at});
            record_audit(&tx, &entry(manager, &made, "api_key.create", detail, None)).await?;
            tx.commit().await?;
            Ok((made, secret))
        })
    }

    /// Makes a key that follows another: with its name, scopes and limits, and as long a life. Both are good until the overlap is over.
    ///
    /// # Errors
    /// When there is no such key at the place, it has ended or has been replaced, or the manager holds less than it allows.
    pub fn rotate_api_key<'a>(
        &'a self,
        manager: Manager<'a>,
        at: Place,
        id: ApiKeyId,
        overlap: SignedDuration,
        reason: &'a str,
    ) -> Boxed<'a, Result<(ApiKey, Secret), AccessError>> {
        Box::pin(async move {
            let (reason, now) = (check_reason(reason)?, self.instant());
            if overlap.is_negative() || overlap > LONGEST_OVERLAP {
                return Err(AccessError::InvalidKey("the overlap goes from none to 31 days"));
            }
            let tx = self.begin().await?;
            let old = store::api_keys::lock_at(&tx, at, id).await?.ok_or_else(|| AccessError::UnknownKey(id.to_string()))?;
            match old.state(now) {
                "active" => {}
                "replaced" => return Err(AccessError::NotInState("this key was replaced already; rotate the one that follows it")),
                _ => return Err(AccessError::NotInState("this key has ended; make another one")),
            }
            let life = old.expires_at.map(|end| end.duration_since(old.created_at));
            let new = NewApiKey {
                msp_id: old.msp_id,
                customer_id: old.customer_id,
                control_plane_id: old.control_plane_id,
                name: old.name.clone(),
                scopes: old.scopes.clone(),
                expires_at: life.map(|life| now.checked_add(life).unwrap_or(Timestamp::MAX)),
                requests_per_minute: old.requests_per_minute,
            };
            authorise(&tx, manager, &new).await?;
            let (next, secret) = self.mint(&tx, manager, &new).await?;
            store::api_keys::update_replaced(&tx, id, next, now.checked_add(overlap).unwrap_or(now)).await?;
            let made = store::api_keys::get(&tx, next).await?;
            let detail = json!({"prefix": old.prefix, "replaced_by": made.prefix, "overlap_hours": overlap.as_hours()});
            record_audit(&tx, &entry(manager, &old, "api_key.rotate", detail, Some(reason))).await?;
            tx.commit().await?;
            Ok((made, secret))
        })
    }

    /// Ends a key at once. A second time changes nothing.
    ///
    /// # Errors
    /// When there is no such key at the place, or the manager may not.
    pub fn revoke_api_key<'a>(
        &'a self,
        manager: Manager<'a>,
        at: Place,
        id: ApiKeyId,
        reason: &'a str,
    ) -> Boxed<'a, Result<ApiKey, AccessError>> {
        Box::pin(async move {
            let reason = check_reason(reason)?;
            let tx = self.begin().await?;
            let key = store::api_keys::lock_at(&tx, at, id).await?.ok_or_else(|| AccessError::UnknownKey(id.to_string()))?;
            if let Some(principal) = manager_now(&tx, manager).await? {
                covers(&principal, at, &[])?;
            }
            if key.revoked_at.is_none() {
                store::api_keys::update_revoked(&tx, id, self.instant()).await?;
                record_audit(&tx, &entry(manager, &key, "api_key.revoke", json!({"prefix": key.prefix}), Some(reason))).await?;
            }
            let key = store::api_keys::get(&tx, id).await?;
            tx.commit().await?;
            Ok(key)
        })
    }

    /// Lists the MSP's own keys, or one customer's, live ones first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn list_api_keys<'a>(&'a self, at: Place) -> Boxed<'a, Result<Vec<ApiKey>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let keys = store::api_keys::list(&tx, at).await?;
            tx.commit().await?;
            Ok(keys)
        })
    }

    /// Returns the principal of an API key.
    ///
    /// # Errors
    /// [`AccessError::InvalidKey`] when it is no key, unknown, expired or revoked.
    pub fn key<'a>(&'a self, text: &'a str) -> Boxed<'a, Result<Principal, AccessError>> {
        Box::pin(async move {
            if !token::is_key(text) {
                return Err(AccessError::KeyRefused("it is mistyped"));
            }
            let tx = self.begin().await?;
            let found = store::api_keys::find_live(&tx, &token::hash(text), self.instant(), self.now()).await?;
            tx.commit().await?;
            found.ok_or(AccessError::KeyRefused("it is unknown, expired or revoked"))
        })
    }

    async fn mint(&self, tx: &Tx, manager: Manager<'_>, key: &NewApiKey) -> Result<(ApiKeyId, Secret), AccessError> {
        let (id, secret) = (ApiKeyId::new(), token::random_key());
        store::api_keys::insert(tx, id, key, &secret, &manager.actor(), self.instant()).await?;
        Ok((id, secret))
    }
}

/// Refuses a key that does not make sense, whoever wants it.
fn check(key: &NewApiKey, now: Timestamp) -> Result<(), AccessError> {
    let has = |scope| key.scopes.contains(&scope);
    let refuse = |why| Err(AccessError::InvalidKey(why));
    if key.scopes.is_empty() || key.scopes.iter().enumerate().any(|(index, scope)| key.scopes[..index].contains(scope)) {
        return refuse("it needs at least one scope, and each once");
    }
    if key.customer_id.is_none() && has(ApiKeyScope::UsageWrite) {
        return refuse("usage.write needs a key that belongs to a customer");
    }
    if key.customer_id.is_some() && has(ApiKeyScope::CustomersWrite) {
        return refuse("customers.write needs a key of the MSP: no customer manages itself");
    }
    if key.control_plane_id.is_some() && key.scopes != [ApiKeyScope::UsageWrite] {
        return refuse("a control plane's key sends usage events and does nothing else");
    }
    if key.expires_at.is_some_and(|end| end <= now) {
        return refuse("it would have expired already");
    }
    if key.requests_per_minute.is_some_and(|most| !(1..=MOST_REQUESTS_PER_MINUTE).contains(&most)) {
        return refuse("requests_per_minute goes from 1 to 1000000");
    }
    Ok(())
}

/// Returns the manager as things stand now; none for a command.
async fn manager_now(tx: &Tx, manager: Manager<'_>) -> Result<Option<Principal>, AccessError> {
    let Manager::Principal(principal) = manager else { return Ok(None) };
    let fresh = store::people::find_principal(tx, principal.require_user()?).await?;
    fresh.map(Some).ok_or(AccessError::Unauthenticated)
}

async fn authorise(tx: &Tx, manager: Manager<'_>, key: &NewApiKey) -> Result<(), AccessError> {
    let Some(principal) = manager_now(tx, manager).await? else { return Ok(()) };
    covers(&principal, Place { msp: Some(key.msp_id), customer: key.customer_id }, &key.scopes)
}

/// Tells whether somebody manages the keys of a place and holds what the scopes allow there.
fn covers(principal: &Principal, at: Place, scopes: &[ApiKeyScope]) -> Result<(), AccessError> {
    principal.require(Permission::KeyWrite)?;
    let is_there = principal.msp() == at.msp
        && match at.customer {
            Some(customer) => principal.sees(customer),
            None => principal.sees_all() && principal.only_customer().is_none(),
        };
    if !is_there {
        return Err(AccessError::UnknownKey("here".to_owned()));
    }
    let given = scopes.iter().flat_map(|scope| scope.permissions_of(at.customer));
    match given.filter(|permission| *permission != Permission::UsageWrite).find(|permission| !principal.may(*permission)) {
        Some(missing) => Err(AccessError::Denied(missing)),
        None => Ok(()),
    }
}

fn entry(manager: Manager<'_>, key: &ApiKey, action: &str, detail: Value, reason: Option<&str>) -> AuditEntry {
    AuditEntry {
        msp: Some(key.msp_id),
        customer: key.customer_id,
        actor: manager.actor(),
        action: action.to_owned(),
        subject: format!("api_key:{}", key.id),
        detail,
        reason: reason.map(str::to_owned),
    }
}
