//! The second factor: codes of an authenticator (TOTP, RFC 6238: SHA-1, six digits, 30 seconds) and recovery codes.
//!
//! The secret lies sealed under its owner's key. A code counts one step before and after its time, and once: the step that was
//! used last is kept, and only a later one is taken. Whoever knows the password gets a pending session, which opens nothing but the
//! question for a code. SHA-1 is what every authenticator understands; in an HMAC it is sound.

use granary_db::{Tx, record_audit};
use granary_foundation::{Boxed, Secret};
use granary_types::{MspId, UserId};
use granary_vault::{Cell, Owner, Wrapped};
use jiff::SignedDuration;
use ring::hmac;
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::choosing::own_entry;
use crate::letters::{About, owner_of, tell};
use crate::managing::check_reason;
use crate::sessions::Stage;
use crate::throttle::{Counted, Subject};
use crate::{Access, AccessError, Client, Manager, Permission, Person, Place, Principal, Session, store, token};

const STEP_SECONDS: i64 = 30;
const DIGITS: u32 = 6;
const SECRET_BYTES: usize = 20;
pub(crate) const RECOVERY_CODES: usize = 10;
/// How long the question for a code stands.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What an authenticator is told.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// For typing, in groups of four.
    pub secret: Secret,
    /// `otpauth://totp/…`, for a QR code.
    pub uri: Secret,
}

/// Where somebody's second factor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactorState {
    pub is_on: bool,
    /// Recovery codes that were not used yet.
    pub recovery_codes: i64,
}

impl Access {
    /// Tells where somebody's second factor stands.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn factor_state<'a>(&'a self, principal: &'a Principal) -> Boxed<'a, Result<FactorState, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let state = store::factor::state(&tx, principal.require_user()?).await?;
            tx.commit().await?;
            Ok(state)
        })
    }

    /// Makes a secret for an authenticator. Nothing changes until a first code is right.
    ///
    /// # Errors
    /// [`AccessError::NotInState`] when there is a second factor already.
    pub fn begin_factor<'a>(&'a self, principal: &'a Principal, issuer: &'a str) -> Boxed<'a, Result<Enrolment, AccessError>> {
        Box::pin(async move {
            let user = principal.require_user()?;
            let bytes: [u8; SECRET_BYTES] = rand::random();
            let sealed = self.seal_factor(principal, user, &bytes).await?;
            let tx = self.begin().await?;
            let (email, _) = store::get_credentials(&tx, user).await?;
            let is_begun = store::factor::upsert_unconfirmed(&tx, user, &sealed, self.instant()).await?;
            tx.commit().await?;
            if !is_begun {
                return Err(AccessError::NotInState("there is a second factor already; remove it first"));
            }
            let secret = base32(&bytes);
            let uri = format!(
                "otpauth://totp/{}:{}?secret={secret}&issuer={}&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}",
                encoded(issuer),
                encoded(&email),
                encoded(issuer)
            );
            Ok(Enrolment { secret: Secret::new(grouped(&secret)), uri: Secret::new(uri) })
        })
    }

    /// Turns the second factor on by a first code, and returns the recovery codes, which nobody can show again.
    ///
    /// # Errors
    /// [`AccessError::WrongCode`]; [`AccessError::NotInState`] when no secret waits for its first code.
    pub fn confirm_factor<'a>(&'a self, principal: &'a Principal, code: &'a str) -> Boxed<'a, Result<Vec<Secret>, AccessError>> {
        Box::pin(async move {
            let user = principal.require_user()?;
            let tx = self.begin().await?;
            let found = store::factor::find(&tx, user).await?.filter(|factor| !factor.is_confirmed);
            tx.commit().await?;
            let factor = found.ok_or(AccessError::NotInState("ask for a new secret first"))?;
            let step = self.matching_step(principal, user, &factor.sealed, code).await?.ok_or(AccessError::WrongCode)?;
            let codes: Vec<Secret> = (0..RECOVERY_CODES).map(|_| Secret::new(grouped(&base32(&rand::random::<[u8; 10]>())))).collect();
            let tx = self.begin().await?;
            if !store::factor::confirm(&tx, user, step, self.instant()).await? {
                return Err(AccessError::NotInState("ask for a new secret first"));
            }
            for code in &codes {
                store::factor::insert_recovery_code(&tx, user, &recovery_hash(user, code.reveal())).await?;
            }
            record_audit(&tx, &own_entry(principal, user, "user.add_second_factor")).await?;
            tell(&tx, About::FactorChanged { user, has_factor: true }, principal.msp(), principal.only_customer()).await?;
            tx.commit().await?;
            Ok(codes)
        })
    }

    /// Turns the second factor off, for whoever knows the password.
    ///
    /// # Errors
    /// [`AccessError::WrongPassword`], which counts like a login.
    pub fn remove_factor<'a>(&'a self, principal: &'a Principal, password: &'a Secret) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let user = principal.require_user()?;
            self.confirm(user, password).await?;
            let tx = self.begin().await?;
            if store::factor::delete(&tx, user).await? {
                record_audit(&tx, &own_entry(principal, user, "user.remove_second_factor")).await?;
                tell(&tx, About::FactorChanged { user, has_factor: false }, principal.msp(), principal.only_customer()).await?;
            }
            Ok(tx.commit().await?)
        })
    }

    /// Takes somebody's second factor away, for whoever lost authenticator and recovery codes; the sessions end.
    ///
    /// # Errors
    /// When the manager holds less than the login.
    pub fn reset_factor<'a>(
        &'a self,
        manager: Manager<'a>,
        at: Place,
        id: UserId,
        reason: &'a str,
    ) -> Boxed<'a, Result<Person, AccessError>> {
        Box::pin(async move {
            let reason = check_reason(reason)?;
            let (tx, person) = self.take(manager, at, id).await?;
            if store::factor::delete(&tx, id).await? {
                tell(&tx, About::FactorChanged { user: id, has_factor: false }, at.msp, at.customer).await?;
            }
            store::sessions::update_sessions_revoked(&tx, id, None, self.instant()).await?;
            self.done(tx, manager, person, "user.reset_second_factor", json!({}), Some(reason)).await
        })
    }

    /// Decides whether every login of an MSP and of its customers needs a second factor.
    ///
    /// # Errors
    /// [`AccessError::Denied`] for whoever does not manage the MSP's people.
    pub fn require_factor<'a>(&'a self, principal: &'a Principal, msp: MspId, requires: Requirement) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            principal.require(Permission::UserWrite)?;
            if principal.msp() != Some(msp) || !principal.sees_all() {
                return Err(AccessError::Denied(Permission::UserWrite));
            }
            let user = principal.require_user()?;
            let tx = self.begin().await?;
            store::factor::update_requirement(&tx, msp, requires == Requirement::Required).await?;
            let action = if requires == Requirement::Required { "msp.require_second_factor" } else { "msp.waive_second_factor" };
            record_audit(&tx, &own_entry(principal, user, action)).await?;
            Ok(tx.commit().await?)
        })
    }

    /// Tells whether an MSP asks its people for a second factor.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn requires_factor<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<bool, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let requires = store::factor::find_requirement(&tx, msp).await?;
            tx.commit().await?;
            Ok(requires)
        })
    }

    /// Answers the question for a code: the pending session ends and an open one begins.
    ///
    /// # Errors
    /// [`AccessError::WrongCode`]; [`AccessError::TooManyAttempts`] after too many, and then the code was not looked at;
    /// [`AccessError::Unauthenticated`] when there is no question.
    pub fn pass_factor<'a>(
        &'a self,
        pending: &'a str,
        code: &'a str,
        client: &'a Client,
    ) -> Boxed<'a, Result<(Session, Secret), AccessError>> {
        Box::pin(async move {
            let hash = token::hash(pending);
            let since = self.instant().checked_sub(PATIENCE).unwrap_or(self.instant());
            let tx = self.begin().await?;
            let found = store::factor::find_pending(&tx, &hash, since, self.now()).await?;
            let Some((principal, user)) = found.and_then(|principal| Some((principal.clone(), principal.user()?))) else {
                tx.commit().await?;
                return Err(AccessError::Unauthenticated);
            };
            let count = Subject::account(Counted::Factor, Some(user), "");
            let claimed = count.claim(&tx, self.instant()).await;
            let factor = store::factor::find(&tx, user).await?;
            tx.commit().await?;
            claimed?;
            let factor = factor.filter(|factor| factor.is_confirmed).ok_or(AccessError::Unauthenticated)?;
            let step = self.matching_step(&principal, user, &factor.sealed, code).await?;
            let tx = self.begin().await?;
            if !self.use_up(&tx, user, step, code).await? {
                tx.commit().await?;
                return Err(AccessError::WrongCode);
            }
            count.clear(&tx).await?;
            store::sessions::update_session_revoked(&tx, &hash, self.instant()).await?;
            let opened = self.open_session(&tx, principal, user, client, Stage::Open).await?;
            tx.commit().await?;
            Ok(opened)
        })
    }

    /// Takes a code once: the step of an authenticator's, or a recovery code.
    async fn use_up(&self, tx: &Tx, user: UserId, step: Option<i64>, code: &str) -> Result<bool, AccessError> {
        match step {
            Some(step) => store::factor::use_step(tx, user, step).await,
            None => store::factor::use_recovery_code(tx, user, &recovery_hash(user, code), self.instant()).await,
        }
    }

    async fn matching_step(&self, principal: &Principal, user: UserId, sealed: &Wrapped, code: &str) -> Result<Option<i64>, AccessError> {
        let owner = owner_of(principal.msp(), principal.only_customer());
        let secret = self.tenants().keys().open_column(owner, sealed, cell(&user)).await?;
        Ok(step_of(&secret, code, self.instant().as_second()))
    }

    async fn seal_factor(&self, principal: &Principal, user: UserId, secret: &[u8]) -> Result<Wrapped, AccessError> {
        let (keys, owner) = (self.tenants().keys(), owner_of(principal.msp(), principal.only_customer()));
        if owner == Owner::Installation {
            keys.create_for(owner).await?;
        }
        Ok(keys.seal_column(owner, secret, cell(&user)).await?)
    }
}

/// Whether a second factor is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    Required,
    Optional,
}

fn cell(user: &UserId) -> Cell<'_> {
    Cell::of("second_factors", "sealed", user.0.as_bytes())
}

/// Returns the step whose code this is, one before and after now among them.
fn step_of(secret: &[u8], code: &str, now: i64) -> Option<i64> {
    let digits: String = code.chars().filter(|letter| !letter.is_whitespace()).collect();
    if digits.len() != DIGITS as usize || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let step = now.div_euclid(STEP_SECONDS);
    [step, step - 1, step + 1].into_iter().find(|step| bool::from(code_of(secret, *step).as_bytes().ct_eq(digits.as_bytes())))
}

/// The code of a step (RFC 4226, 5.3).
pub(crate) fn code_of(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes[bytes.len() - 1] & 0x0f);
    let word = u32::from_be_bytes([bytes[offset] & 0x7f, bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]]);
    format!("{:0width$}", word % 10_u32.pow(DIGITS), width = DIGITS as usize)
}

/// Hashes a recovery code as it is typed: capitals and hyphens do not matter. It has 80 random bits, so that a fast hash is enough.
fn recovery_hash(user: UserId, code: &str) -> Vec<u8> {
    let letters: String = code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect();
    token::hash(&format!("{user} {letters}"))
}

/// Writes bytes in base 32 (RFC 4648), without padding; their number is a multiple of five.
fn base32(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(5) {
        let word = chunk.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            out.push(char::from(BASE32[usize::try_from(word >> (place * 5) & 31).unwrap_or(0)]));
        }
    }
    out
}

fn grouped(text: &str) -> String {
    text.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect::<Vec<_>>().join("-")
}

pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, the last six of eight digits.
        let secret = b"12345678901234567890";
        for (now, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")] {
            assert_eq!(code_of(secret, now / 30), code);
            assert_eq!(step_of(secret, code, now), Some(now / 30));
            assert_eq!(step_of(secret, code, now + 30), Some(now / 30), "one step late");
            assert_eq!(step_of(secret, code, now - 30), Some(now / 30), "one step early");
            assert_eq!(step_of(secret, code, now + 60), None);
        }
        for odd in ["", "28708", "2870822", "28708x", "２８７０８２"] {
            assert_eq!(step_of(secret, odd, 59), None, "{odd}");
        }
        assert_eq!(step_of(secret, " 287 082 ", 59), Some(1), "as some show it");
    }

    #[test]
    fn secrets_are_written_as_authenticators_read_them() {
        assert_eq!(base32(b"foobarfoob"), "MZXW6YTBOJTG633C");
        assert_eq!(grouped("MZXW6YTBOJ"), "MZXW-6YTB-OJ");
        let user = UserId::new();
        assert_eq!(recovery_hash(user, "abcd-efgh"), recovery_hash(user, "ABCD EFGH"));
        assert_ne!(recovery_hash(user, "abcd-efgh"), recovery_hash(UserId::new(), "abcd-efgh"));
    }
}
