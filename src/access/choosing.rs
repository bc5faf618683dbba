//! How people choose their passwords.

use granary_db::{AuditEntry, record_audit};
use granary_foundation::{Boxed, Secret};
use granary_types::{SessionId, UserId};
use serde_json::json;

use crate::letters::{About, tell};
use crate::password::check_password;
use crate::sessions::Stage;
use crate::store::tokens::OpenToken;
use crate::throttle::{Counted, Subject};
use crate::{Access, AccessError, Client, Principal, Session, store, token};

impl Access {
    /// Changes a user's own password and ends all other sessions.
    ///
    /// # Errors
    /// [`AccessError::WrongPassword`] when the old one is wrong, which counts like a login; [`AccessError::WeakPassword`].
    pub fn change_password<'a>(
        &'a self,
        principal: &'a Principal,
        session: SessionId,
        old: &'a Secret,
        new: &'a Secret,
    ) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let user = principal.require_user()?;
            let email = self.confirm(user, old).await?;
            check_password(new.reveal(), &email)?;
            let hash = self.passwords.hash(new).await?;
            let tx = self.begin().await?;
            store::update_password(&tx, user, &hash).await?;
            store::sessions::update_sessions_revoked(&tx, user, Some(session), self.instant()).await?;
            record_audit(&tx, &own_entry(principal, user, "user.change_password")).await?;
            tell(&tx, About::PasswordChanged { user }, principal.msp(), principal.only_customer()).await?;
            Ok(tx.commit().await?)
        })
    }

    /// Tells whose password a letter's token lets choose: the address, to be shown beside the field.
    ///
    /// # Errors
    /// [`AccessError::LinkVoid`] when it was used, replaced, is too old, or never was.
    pub fn password_token<'a>(&'a self, token: &'a str) -> Boxed<'a, Result<String, AccessError>> {
        Box::pin(async move { Ok(self.open_token(token).await?.email) })
    }

    /// Chooses a password by a letter's token, which works once: every session ends, pauses after wrong passwords end, and a new
    /// session is opened.
    ///
    /// # Errors
    /// [`AccessError::LinkVoid`], [`AccessError::WeakPassword`].
    pub fn choose_password<'a>(
        &'a self,
        token: &'a str,
        new: &'a Secret,
        client: &'a Client,
    ) -> Boxed<'a, Result<(Session, Secret), AccessError>> {
        Box::pin(async move {
            let open = self.open_token(token).await?;
            check_password(new.reveal(), &open.email)?;
            let user = open.principal.require_user()?;
            let hash = self.passwords.hash(new).await?;
            let (tx, now) = (self.begin().await?, self.instant());
            if !store::tokens::update_used(&tx, open.id, now).await? {
                tx.rollback().await?;
                return Err(AccessError::LinkVoid);
            }
            store::update_password(&tx, user, &hash).await?;
            store::tokens::void_all(&tx, user, now).await?;
            store::sessions::update_sessions_revoked(&tx, user, None, now).await?;
            Subject::account(Counted::Account, Some(user), "").clear(&tx).await?;
            let (msp, customer) = (open.principal.msp(), open.principal.only_customer());
            let action = if open.is_reset { "user.reset_password" } else { "user.accept_invitation" };
            record_audit(&tx, &own_entry(&open.principal, user, action)).await?;
            if open.is_reset {
                tell(&tx, About::PasswordChanged { user }, msp, customer).await?;
            }
            // Where passwords are not taken none is chosen either: an error takes everything back.
            let opened = self.open_session(&tx, open.principal, user, client, Stage::Password).await?;
            tx.commit().await?;
            Ok(opened)
        })
    }

    async fn open_token(&self, token: &str) -> Result<OpenToken, AccessError> {
        let tx = self.begin().await?;
        let open = store::tokens::find_open(&tx, &token::hash(token), self.instant(), self.now()).await?;
        tx.commit().await?;
        open.ok_or(AccessError::LinkVoid)
    }

    /// Refuses whoever sits at an open session and does not know its password; returns the user's address.
    pub(crate) async fn confirm(&self, user: UserId, password: &Secret) -> Result<String, AccessError> {
        let account = Subject::account(Counted::Account, Some(user), "");
        let tx = self.begin().await?;
        let attempt = account.claim(&tx, self.instant()).await;
        let (email, stored) = store::get_credentials(&tx, user).await?;
        tx.commit().await?;
        attempt?;
        if !self.passwords.is_right(self.passwords.place()?, password, Some(stored)).await? {
            return Err(AccessError::WrongPassword);
        }
        let tx = self.begin().await?;
        account.clear(&tx).await?;
        tx.commit().await?;
        Ok(email)
    }
}

/// What is written down of something that a user did to itself.
pub(crate) fn own_entry(principal: &Principal, user: UserId, action: &str) -> AuditEntry {
    AuditEntry {
        msp: principal.msp(),
        customer: principal.only_customer(),
        actor: principal.actor().to_string(),
        action: action.to_owned(),
        subject: format!("user:{user}"),
        detail: json!({}),
        reason: None,
    }
}
