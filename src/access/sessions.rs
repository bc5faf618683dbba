//! Browser sessions: how somebody comes in by password, and what is open elsewhere.

use std::net::IpAddr;

use granary_foundation::{Boxed, Secret};
use granary_types::{SessionId, UserId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::letters::{About, tell};
use crate::throttle::{Counted, LOCKED_AFTER, Subject, sweep};
use crate::{Access, AccessError, Principal, Who, store, token};

/// A session ends after twelve hours, used or not,
const SESSION: SignedDuration = SignedDuration::from_hours(12);
/// and after one hour in which nothing was asked (NIST SP 800-63B, AAL2: no more than 24 hours and one).
const IDLE: SignedDuration = SignedDuration::from_hours(1);
/// Ended sessions are forgotten after this.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
const LONGEST_DEVICE: usize = 80;

/// Where a request comes from.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// None where nobody knows.
    pub address: Option<IpAddr>,
    /// The browser and its system in words; none for programs.
    pub device: Option<String>,
}

/// A browser session that is open.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub principal: Principal,
    /// What every form must send back.
    pub csrf_token: Secret,
    pub expires_at: Timestamp,
    /// Whether a code of the second factor is still to come; such a session opens nothing.
    pub is_pending: bool,
    /// Whether the MSP asks for a second factor that the user has not added yet.
    pub must_enrol: bool,
}

/// What somebody has shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The password, or a letter.
    Password,
    /// Everything that is asked for.
    Open,
    /// Who it is, by the identity provider of the place with this id.
    Provider(Uuid),
}

/// A session as its owner sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    pub id: SessionId,
    pub device: Option<String>,
    pub created_at: Timestamp,
    /// To the minute.
    pub last_used_at: Timestamp,
    pub expires_at: Timestamp,
}

impl Access {
    /// Opens a session and returns it with its token, which is nowhere stored; a pending one where a second factor is on.
    ///
    /// # Errors
    /// [`AccessError::WrongPassword`], whatever was wrong; [`AccessError::TooManyAttempts`] when there were too many before, and
    /// then the password was not looked at.
    pub fn log_in<'a>(
        &'a self,
        email: &'a str,
        password: &'a Secret,
        client: &'a Client,
    ) -> Boxed<'a, Result<(Session, Secret), AccessError>> {
        Box::pin(async move {
            let place = self.passwords.place()?;
            let tx = self.begin().await?;
            let found = store::find_user_by_email(&tx, email.trim(), self.now()).await?;
            let (principal, stored) = found.map_or((None, None), |(principal, hash)| (Some(principal), Some(hash)));
            let user = principal.as_ref().and_then(Principal::user);
            let (account, address) = (Subject::account(Counted::Account, user, email), Subject::address(Counted::Address, client.address));
            // A refusal is counted for the address as well.
            let from_address = address.claim(&tx, self.instant()).await;
            let attempt = match from_address {
                Ok(_) => account.claim(&tx, self.instant()).await,
                Err(error) => Err(error),
            };
            tx.commit().await?;
            let attempt = attempt?;

            let is_right = self.passwords.is_right(place, password, stored).await?;
            let tx = self.begin().await?;
            let (Some(principal), Some(user), true) = (&principal, user, is_right) else {
                self.count_failure(&tx, principal.as_ref(), attempt).await?;
                tx.commit().await?;
                return Err(AccessError::WrongPassword);
            };
            account.clear(&tx).await?;
            address.give_back(&tx).await?;
            let opened = self.open_session(&tx, principal.clone(), user, client, Stage::Password).await;
            // Nothing was opened, and the password was right.
            if matches!(opened, Ok(_) | Err(AccessError::SsoRequired)) {
                tx.commit().await?;
            }
            opened
        })
    }

    /// Does as much for an account that exists as for one that does not.
    async fn count_failure(&self, tx: &granary_db::Tx, principal: Option<&Principal>, attempt: i32) -> Result<(), AccessError> {
        if let Some((principal, user)) = principal.and_then(|found| Some((found, found.user()?))).filter(|_| attempt == LOCKED_AFTER) {
            let (msp, customer) = (principal.msp(), principal.only_customer());
            tracing::warn!(user.id = %user, attempts = attempt, "an account was locked for a while");
            tell(tx, About::Locked { user }, msp, customer).await?;
        }
        sweep(tx, self.instant()).await
    }

    pub(crate) async fn open_session(
        &self,
        tx: &granary_db::Tx,
        principal: Principal,
        user: UserId,
        client: &Client,
        stage: Stage,
    ) -> Result<(Session, Secret), AccessError> {
        let (token, now) = (token::random_token(), self.instant());
        let provider = match stage {
            Stage::Provider(place) => Some(place),
            Stage::Password => self.admit_password(tx, &principal, user).await.map(|()| None)?,
            Stage::Open => None,
        };
        let is_pending = stage == Stage::Password && store::factor::state(tx, user).await?.is_on;
        let session = Session {
            id: SessionId::new(),
            principal,
            csrf_token: token::random_token(),
            expires_at: now.checked_add(SESSION).unwrap_or(Timestamp::MAX),
            is_pending,
            must_enrol: false,
        };
        let device: Option<String> = client.device.as_ref().map(|device| device.chars().take(LONGEST_DEVICE).collect());
        store::sessions::delete_ended(tx, user, now.checked_sub(KEPT).unwrap_or(now)).await?;
        store::sessions::insert_session(tx, &session, user, &token::hash(token.reveal()), device.as_deref(), provider, now).await?;
        Ok((session, token))
    }

    /// Returns the session of a token: none when it never was, has expired, was not used for an hour, was ended, or its user is
    /// disabled.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn session<'a>(&'a self, token: &'a str) -> Boxed<'a, Result<Option<Session>, AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let session = store::sessions::find_session(&tx, &token::hash(token), self.instant(), self.idle_since(), self.now()).await?;
            tx.commit().await?;
            Ok(session)
        })
    }

    /// Ends a session; an unknown token is fine.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn log_out<'a>(&'a self, token: &'a str) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            store::sessions::update_session_revoked(&tx, &token::hash(token), self.instant()).await?;
            Ok(tx.commit().await?)
        })
    }

    /// Lists the open sessions of a user, the one used last first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn list_sessions<'a>(&'a self, principal: &'a Principal) -> Boxed<'a, Result<Vec<OpenSession>, AccessError>> {
        Box::pin(async move {
            let user = principal.require_user()?;
            let tx = self.begin().await?;
            let open = store::sessions::list_sessions(&tx, user, self.instant(), self.idle_since()).await?;
            tx.commit().await?;
            Ok(open)
        })
    }

    /// Ends one session of a user; another's is not found.
    ///
    /// # Errors
    /// [`AccessError::UnknownSession`] when the user has no such open session.
    pub fn revoke_session<'a>(&'a self, principal: &'a Principal, id: SessionId) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let user = principal.require_user()?;
            let tx = self.begin().await?;
            let is_ended = store::sessions::update_own_session_revoked(&tx, user, id, self.instant()).await?;
            tx.commit().await?;
            if is_ended { Ok(()) } else { Err(AccessError::UnknownSession) }
        })
    }

    /// Ends all sessions of a user but one, and returns how many those were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn revoke_other_sessions<'a>(&'a self, principal: &'a Principal, keep: SessionId) -> Boxed<'a, Result<u64, AccessError>> {
        Box::pin(async move {
            let user = principal.require_user()?;
            let tx = self.begin().await?;
            let ended = store::sessions::update_sessions_revoked(&tx, user, Some(keep), self.instant()).await?;
            tx.commit().await?;
            Ok(ended)
        })
    }

    pub(crate) fn idle_since(&self) -> Timestamp {
        self.instant().checked_sub(IDLE).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl Principal {
    /// Returns the user; a program is none.
    pub const fn user(&self) -> Option<UserId> {
        match &self.who {
            Who::User { id, .. } => Some(*id),
            Who::ApiKey { .. } | Who::ControlPlane { .. } => None,
        }
    }

    /// Returns the user and refuses a program.
    pub(crate) fn require_user(&self) -> Result<UserId, AccessError> {
        self.user().ok_or(AccessError::Unauthenticated)
    }
}
