//! Control planes that prove themselves by a key pair of their own.
//!
//! Somebody of the MSP makes a code, which works once and for a day; with it the control plane hands over its public key and shows
//! that it holds the private one, which never leaves it. From then on it signs short tokens (JWT by Ed25519, five minutes at most),
//! which every language makes and no canonical form of a request can spoil; what a thief of one can do is send events of that one
//! source for minutes, and an event counts once. A plane has one key: enrolling again ends the one before.

use granary_db::{AuditEntry, Tx, record_audit};
use granary_foundation::{Boxed, Secret};
use granary_types::{ControlPlaneId, CustomerCode, CustomerId, MspId};
use jiff::{SignedDuration, Timestamp};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::jwt::{Expected, Unverified};
use crate::managing::check_reason;
use crate::tokens::AUDIENCE;
use crate::{Access, AccessError, Manager, Permission, Place, Principal, store, token};

/// A code works for a day.
const CODE_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// What a plane signs before the code, so that no other signature of its passes for an enrolment.
const PROOF: &str = "granary enrolment ";

/// A code that was just made: the only time that it is shown.
#[derive(Debug, Clone)]
pub struct EnrolmentCode {
    pub code: Secret,
    pub expires_at: Timestamp,
}

/// What a control plane hands over.
#[derive(Debug, Clone)]
pub struct NewPlaneKey {
    pub code: Secret,
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    /// Its signature of `granary enrolment ` and the code.
    pub proof: Vec<u8>,
}

/// What a control plane is told in exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// What its tokens carry as `kid`,
    pub key: Uuid,
    /// as `iss`,
    pub control_plane: ControlPlaneId,
    /// and its events as `source`.
    pub source: String,
    pub customer_code: CustomerCode,
}

/// A key of a control plane, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneKey {
    pub id: Uuid,
    pub control_plane_id: ControlPlaneId,
    /// The plane's name.
    pub name: String,
    pub public_key: Vec<u8>,
    pub enrolled_at: Timestamp,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A token of a plane says no more than every token does.
#[derive(Deserialize)]
struct NoMore {}

impl Access {
    /// Makes a code for a control plane; the one before is void.
    ///
    /// # Errors
    /// When the customer has no such control plane in use, or the manager may not.
    pub fn create_enrolment<'a>(
        &'a self,
        manager: Manager<'a>,
        at: Place,
        plane: ControlPlaneId,
        reason: &'a str,
    ) -> Boxed<'a, Result<EnrolmentCode, AccessError>> {
        Box::pin(async move {
            let reason = check_reason(reason)?;
            check(manager, at)?;
            let (code, now) = (token::random_code(), self.instant());
            let expires_at = now.checked_add(CODE_LIFE).unwrap_or(now);
            let tx = self.begin().await?;
            store::planes::find_plane(&tx, at, plane).await?.ok_or(AccessError::UnknownPlane)?;
            store::planes::void_codes(&tx, plane, now).await?;
            let hash = token::hash(code.reveal());
            store::planes::insert_code(&tx, at, plane, &hash, &manager.actor(), (now, expires_at)).await?;
            let detail = json!({"expires_at": expires_at});
            record_audit(&tx, &entry(at, manager.actor(), "control_plane.enrolment_code", plane, detail, Some(reason))).await?;
            tx.commit().await?;
            Ok(EnrolmentCode { code, expires_at })
        })
    }

    /// Takes a control plane's public key for a code. The same key with the same code again is answered alike.
    ///
    /// # Errors
    /// [`AccessError::CodeRefused`] when the code was used, replaced, is too old or never was, or the key's holder is not shown.
    pub fn enrol<'a>(&'a self, new: &'a NewPlaneKey) -> Boxed<'a, Result<Enrolled, AccessError>> {
        Box::pin(async move {
            let code = new.code.reveal();
            if !token::is_code(code) {
                return Err(AccessError::CodeRefused("it is mistyped"));
            }
            let key = UnparsedPublicKey::new(&ED25519, &new.public_key);
            if new.public_key.len() != 32 || key.verify(format!("{PROOF}{code}").as_bytes(), &new.proof).is_err() {
                return Err(AccessError::CodeRefused("the proof is not the key's signature of 'granary enrolment ' and the code"));
            }
            let tx = self.begin().await?;
            let void = || AccessError::CodeRefused("it was used, replaced, is too old, or never was");
            let found = store::planes::lock_code(&tx, &token::hash(code), self.instant(), self.now()).await?.ok_or_else(void)?;
            if found.is_used {
                let same = store::planes::find_same(&tx, &found, &new.public_key).await?.ok_or_else(void)?;
                tx.commit().await?;
                return Ok(found.enrolled(same));
            }
            let key = store::planes::insert_key(&tx, &found, &new.public_key, self.instant()).await?;
            let at = Place { msp: Some(found.msp), customer: Some(found.customer) };
            let (actor, detail) = (format!("control_plane:{}", found.plane), json!({"key": key}));
            record_audit(&tx, &entry(at, actor, "control_plane.enrol", found.plane, detail, None)).await?;
            tx.commit().await?;
            Ok(found.enrolled(key))
        })
    }

    /// Ends a control plane's key and makes its code void.
    ///
    /// # Errors
    /// When the customer has no such control plane in use, or the manager may not.
    pub fn revoke_plane<'a>(
        &'a self,
        manager: Manager<'a>,
        at: Place,
        plane: ControlPlaneId,
        reason: &'a str,
    ) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let reason = check_reason(reason)?;
            check(manager, at)?;
            let now = self.instant();
            let tx = self.begin().await?;
            store::planes::find_plane(&tx, at, plane).await?.ok_or(AccessError::UnknownPlane)?;
            store::planes::void_codes(&tx, plane, now).await?;
            let ended = store::planes::revoke_keys(&tx, plane, now).await?;
            let detail = json!({"keys": ended});
            record_audit(&tx, &entry(at, manager.actor(), "control_plane.revoke", plane, detail, Some(reason))).await?;
            Ok(tx.commit().await?)
        })
    }

    /// Lists the keys of a customer's control planes, live ones first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn list_plane_keys<'a>(&'a self, at: Place) -> Boxed<'a, Result<Vec<PlaneKey>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let keys = store::planes::list_keys(&tx, at).await?;
            tx.commit().await?;
            Ok(keys)
        })
    }

    /// Returns the control plane that signed a token.
    pub(crate) async fn plane_of(&self, tx: &Tx, unverified: &Unverified<'_>) -> Result<Principal, AccessError> {
        let now = self.instant();
        let found = store::planes::find_key(tx, unverified.key, now, self.now()).await?;
        let (public_key, principal, is_to_be_noted) = found.ok_or(AccessError::TokenRefused("its key is not known here"))?;
        let plane = match principal.who() {
            crate::Who::ControlPlane { id, .. } => id.to_string(),
            crate::Who::User { .. } | crate::Who::ApiKey { .. } => return Err(AccessError::Unauthenticated),
        };
        let _: NoMore = unverified.verify(&public_key, Expected { issuer: &plane, audience: AUDIENCE, now })?;
        if is_to_be_noted {
            store::planes::update_used(tx, unverified.key, now).await?;
        }
        Ok(principal)
    }
}

/// Refuses whoever does not manage control planes there.
fn check(manager: Manager<'_>, at: Place) -> Result<(), AccessError> {
    let Manager::Principal(principal) = manager else { return Ok(()) };
    principal.require(Permission::CustomerWrite)?;
    let is_there = principal.msp() == at.msp && at.customer.is_some_and(|customer| principal.sees(customer));
    if is_there { Ok(()) } else { Err(AccessError::UnknownPlane) }
}

fn entry(at: Place, actor: String, action: &str, plane: ControlPlaneId, detail: Value, reason: Option<&str>) -> AuditEntry {
    let (msp, customer): (Option<MspId>, Option<CustomerId>) = (at.msp, at.customer);
    let subject = format!("control_plane:{plane}");
    AuditEntry { msp, customer, actor, action: action.to_owned(), subject, detail, reason: reason.map(str::to_owned) }
}
