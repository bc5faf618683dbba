//! Tokens: what somebody with a session or a key hands to a program for a few minutes.
//!
//! A token never opens more than what it was made from, nor longer: whoever brings one is looked up as with the session or key
//! itself, and gets what both the token and its owner have now. It makes no logins, no keys and no other token. Signing keys are the
//! installation's, follow one another by themselves, and lie sealed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use granary_db::{AuditEntry, Tx, record_audit};
use granary_foundation::{Boxed, Secret};
use granary_tenants::Granted;
use granary_types::{ApiKeyId, CustomerId, MspId, Role, SessionId, UserId};
use granary_vault::{Cell, Owner, Wrapped};
use jiff::{SignedDuration, Timestamp};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::jwt::{self, Expected, Kind, Unverified};
use crate::{Access, AccessError, Manager, Permission, Principal, Who, store};

/// For whom tokens are made.
pub const AUDIENCE: &str = "granary-api";
/// How long one lives.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// A key signs for so long,
const SIGNS_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);
/// and what it signed is taken for an hour more: longer than a token lives, and than others may keep our public keys.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);
/// Every customer, in `customer_access`.
const EVERYBODY: &str = "*";

/// A key that signs, or signed, tokens.
#[derive(Debug, Clone)]
pub struct TokenKey {
    pub id: Uuid,
    pub public_key: Vec<u8>,
    pub(crate) sealed: Wrapped,
    pub created_at: Timestamp,
    /// From when on what it signed is not taken any more.
    pub retired_at: Option<Timestamp>,
}

impl TokenKey {
    /// Returns the public key as a JSON Web Key has it.
    pub fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.public_key)
    }
}

/// Reads base64url as tokens have it: without padding.
pub fn base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// What a token is to be confined to; none for all that its owner has.
#[derive(Debug, Clone, Default)]
pub struct Narrowed {
    pub permissions: Option<Vec<Permission>>,
    pub customers: Option<Vec<CustomerId>>,
}

/// A token, and what it opens.
#[derive(Debug, Clone)]
pub struct Token {
    pub token: Secret,
    pub expires_at: Timestamp,
    pub permissions: Vec<Permission>,
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) iat: i64,
    pub(crate) nbf: i64,
    pub(crate) exp: i64,
    pub(crate) jti: Uuid,
    /// The person; none of a token that was made from a key.
    pub(crate) user_id: Option<UserId>,
    /// The session that it was made from, and ends with.
    pub(crate) sid: Option<SessionId>,
    /// The key that it was made from, and ends with.
    pub(crate) api_key_id: Option<ApiKeyId>,
    /// None for the operator.
    pub(crate) msp_company: Option<MspId>,
    pub(crate) role: Role,
    pub(crate) permissions: Vec<String>,
    /// The customers, or `*`.
    pub(crate) customer_access: Vec<String>,
}

impl Access {
    /// Makes a token for somebody with a session or a key.
    ///
    /// # Errors
    /// [`AccessError::Denied`] when more is wanted than there is, or the principal came by a token itself.
    pub fn issue_token<'a>(
        &'a self,
        principal: &'a Principal,
        session: Option<SessionId>,
        narrowed: &'a Narrowed,
    ) -> Boxed<'a, Result<Token, AccessError>> {
        Box::pin(async move {
            if principal.is_by_token {
                return Err(AccessError::NotInState("a token makes no other token; use the session or the API key"));
            }
            let permissions = permissions_of(principal, narrowed)?;
            let customer_access = match (&narrowed.customers, &principal.customers) {
                (Some(customers), _) => {
                    if let Some(unseen) = customers.iter().find(|customer| !principal.sees(**customer)) {
                        return Err(AccessError::UnknownCustomer(unseen.to_string()));
                    }
                    customers.iter().map(ToString::to_string).collect()
                }
                (None, Granted::All) => vec![EVERYBODY.to_owned()],
                (None, Granted::Only(customers)) => customers.iter().map(ToString::to_string).collect(),
            };
            let (user_id, sid, api_key_id) = match principal.who() {
                Who::User { id, .. } => (Some(*id), Some(session.ok_or(AccessError::Unauthenticated)?), None),
                Who::ApiKey { id, .. } => (None, None, Some(*id)),
                Who::ControlPlane { .. } => return Err(AccessError::NotInState("a control plane signs its tokens itself")),
            };
            let now = self.instant();
            let expires_at = now.checked_add(LIFE).unwrap_or(now);
            let claims = Claims {
                iss: self.issuer().to_owned(),
                aud: AUDIENCE.to_owned(),
                sub: principal.actor().to_string(),
                iat: now.as_second(),
                nbf: now.as_second(),
                exp: expires_at.as_second(),
                jti: Uuid::now_v7(),
                user_id,
                sid,
                api_key_id,
                msp_company: principal.msp(),
                role: principal.role(),
                permissions: permissions.iter().map(ToString::to_string).collect(),
                customer_access,
            };
            Ok(Token { token: Secret::new(self.sign_claims(&claims).await?), expires_at, permissions })
        })
    }

    /// Returns whoever a token speaks for, confined to what it says.
    ///
    /// # Errors
    /// [`AccessError::TokenRefused`] when it is forged, expired or for somebody else, or its owner is not who it says any more.
    pub fn bearer<'a>(&'a self, text: &'a str) -> Boxed<'a, Result<Principal, AccessError>> {
        Box::pin(async move {
            let unverified = Unverified::parse(text)?;
            let tx = self.begin().await?;
            if unverified.kind == Kind::Plane {
                let plane = self.plane_of(&tx, &unverified).await?;
                tx.commit().await?;
                return Ok(plane);
            }
            let key = store::token_keys::find_public(&tx, unverified.key, self.instant()).await?;
            let key = key.ok_or(AccessError::TokenRefused("its key is not known here"))?;
            let expected = Expected { issuer: self.issuer(), audience: AUDIENCE, now: self.instant() };
            let claims: Claims = unverified.verify(&key, expected)?;
            let owner = self.owner_now(&tx, &claims).await?;
            tx.commit().await?;
            confined(owner.ok_or(AccessError::TokenRefused("whoever it was made for has left"))?, &claims)
        })
    }

    /// Finds whom a token was made for, if the session or key is still good.
    async fn owner_now(&self, tx: &Tx, claims: &Claims) -> Result<Option<Principal>, AccessError> {
        match (claims.sid, claims.api_key_id) {
            (Some(session), None) => {
                let found = store::sessions::find_session_by_id(tx, session, self.instant(), self.idle_since(), self.now()).await?;
                Ok(found.filter(|session| !session.must_enrol).map(|session| session.principal))
            }
            (None, Some(key)) => store::api_keys::find_live_by_id(tx, key, self.instant(), self.now()).await,
            _ => Ok(None),
        }
    }

    /// Lists the public keys by which tokens are checked, the one that signs first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn token_keys<'a>(&'a self) -> Boxed<'a, Result<Vec<TokenKey>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let keys = store::token_keys::list(&tx, self.instant()).await?;
            tx.commit().await?;
            Ok(keys)
        })
    }

    /// Makes a new signing key. What the ones before signed is taken for an hour more, or no longer at all.
    ///
    /// # Errors
    /// When the database or the key store fails.
    pub fn rotate_token_key<'a>(
        &'a self,
        manager: Manager<'a>,
        others: Retirement,
        reason: &'a str,
    ) -> Boxed<'a, Result<TokenKey, AccessError>> {
        Box::pin(async move {
            let reason = crate::managing::check_reason(reason)?;
            let (key, _) = self.make_key().await?;
            let until = match others {
                Retirement::AtOnce => self.instant(),
                Retirement::AfterAnHour => self.instant().checked_add(OVERLAP).unwrap_or(Timestamp::MAX),
            };
            let tx = self.begin().await?;
            store::token_keys::lock(&tx).await?;
            store::token_keys::insert(&tx, &key).await?;
            store::token_keys::update_retired(&tx, key.id, until).await?;
            let entry = AuditEntry {
                msp: None,
                customer: None,
                actor: manager.actor(),
                action: "token_key.rotate".to_owned(),
                subject: format!("token_key:{}", key.id),
                detail: json!({"others_until": until}),
                reason: Some(reason.to_owned()),
            };
            record_audit(&tx, &entry).await?;
            tx.commit().await?;
            Ok(key)
        })
    }

    pub(crate) async fn sign_claims(&self, claims: &impl Serialize) -> Result<String, AccessError> {
        let (pair, id) = self.signing_pair().await?;
        jwt::sign(Kind::Access, &pair, id, claims)
    }

    /// Returns the key that signs; the first, and one after ninety days, is made here.
    async fn signing_pair(&self) -> Result<(Ed25519KeyPair, Uuid), AccessError> {
        let since = self.instant().checked_sub(SIGNS_FOR).unwrap_or(Timestamp::UNIX_EPOCH);
        let tx = self.begin().await?;
        let found = store::token_keys::find_signing(&tx, since).await?;
        tx.commit().await?;
        if let Some(key) = found {
            return Ok((self.open_key(&key).await?, key.id));
        }
        let (key, pair) = self.make_key().await?;
        let tx = self.begin().await?;
        store::token_keys::lock(&tx).await?;
        // Somebody else may have been here first.
        if let Some(key) = store::token_keys::find_signing(&tx, since).await? {
            tx.commit().await?;
            return Ok((self.open_key(&key).await?, key.id));
        }
        store::token_keys::insert(&tx, &key).await?;
        store::token_keys::update_retired(&tx, key.id, self.instant().checked_add(OVERLAP).unwrap_or(Timestamp::MAX)).await?;
        tx.commit().await?;
        Ok((pair, key.id))
    }

    async fn make_key(&self) -> Result<(TokenKey, Ed25519KeyPair), AccessError> {
        let (id, seed) = (Uuid::now_v7(), rand::random::<[u8; 32]>());
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| AccessError::Hashing("a seed makes no key".to_owned()))?;
        let keys = self.tenants().keys();
        keys.create_for(Owner::Installation).await?;
        let sealed = keys.seal_column(Owner::Installation, &seed, cell(&id)).await?;
        let public_key = pair.public_key().as_ref().to_vec();
        Ok((TokenKey { id, public_key, sealed, created_at: self.instant(), retired_at: None }, pair))
    }

    async fn open_key(&self, key: &TokenKey) -> Result<Ed25519KeyPair, AccessError> {
        let seed = self.tenants().keys().open_column(Owner::Installation, &key.sealed, cell(&key.id)).await?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &key.public_key);
        pair.map_err(|_| AccessError::Hashing("a signing key does not fit its public key".to_owned()))
    }
}

/// When the keys before a new one are retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    AfterAnHour,
    /// For a key that somebody may have seen: every token that is under way is void.
    AtOnce,
}

/// Where a seed lies, so that two keys' seeds cannot be exchanged.
fn cell(id: &Uuid) -> Cell<'_> {
    Cell::of("token_keys", "sealed", id.as_bytes())
}

/// What a token may do at all: all but letting others in.
const fn is_for_tokens(permission: Permission) -> bool {
    !matches!(permission, Permission::UserWrite | Permission::KeyWrite | Permission::SsoWrite)
}

fn permissions_of(principal: &Principal, narrowed: &Narrowed) -> Result<Vec<Permission>, AccessError> {
    let held = || principal.permissions.iter().copied().filter(|permission| is_for_tokens(*permission));
    match &narrowed.permissions {
        None => Ok(held().collect()),
        Some(wanted) => match wanted.iter().find(|permission| !held().any(|held| held == **permission)) {
            Some(missing) => Err(AccessError::Denied(*missing)),
            None => Ok(wanted.clone()),
        },
    }
}

/// What the owner has now, and the token says.
fn confined(owner: Principal, claims: &Claims) -> Result<Principal, AccessError> {
    let is_same = claims.sub == owner.actor().to_string()
        && claims.user_id == owner.user()
        && claims.msp_company == owner.msp
        && claims.role == owner.role;
    if !is_same {
        return Err(AccessError::TokenRefused("its owner is not who it says any more"));
    }
    let is_said = |permission: &Permission| claims.permissions.iter().any(|said| said == permission.as_str());
    let permissions: Vec<Permission> =
        owner.permissions.iter().copied().filter(|permission| is_for_tokens(*permission) && is_said(permission)).collect();
    let customers = if claims.customer_access.iter().any(|said| said == EVERYBODY) {
        owner.customers
    } else {
        let said = claims.customer_access.iter().filter_map(|id| id.parse::<CustomerId>().ok());
        Granted::Only(said.filter(|customer| owner.customers.includes(*customer)).collect())
    };
    let can_read_billing = owner.can_read_billing && permissions.contains(&Permission::MarginRead);
    Ok(Principal { permissions, customers, can_read_billing, is_by_token: true, ..owner })
}
