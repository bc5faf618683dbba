//! Letters that let people in: who gets which, and the one-time token that some carry.
//!
//! A letter is a job that is queued with the transaction that makes it necessary. The job names no secret: the token of a letter
//! is derived from its id under the recipient's key when the letter is written, and only its hash is stored, so that neither the
//! queue nor a copy of the database opens a door. Which words a letter has is not decided here.

use granary_db::{Tx, jobs};
use granary_foundation::{Boxed, Job, Secret};
use granary_types::{CustomerId, MspId, UserId};
use granary_vault::{Cell, Owner, Wrapped};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::throttle::{Counted, Subject};
use crate::{Access, AccessError, Client, store, token};

/// How long an invitation waits.
const INVITATION: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long a forgotten password may be replaced.
const RESET: SignedDuration = SignedDuration::from_hours(1);

/// Somebody is to be written to: the payload of the job that does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LetterJob {
    /// The letter's own id, and its token's.
    pub id: Uuid,
    about: About,
}

impl Job for LetterJob {
    const KIND: &'static str = "access.letter";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum About {
    /// A token was made with the invitation.
    Invitation {
        user: UserId,
        by: Option<String>,
    },
    /// Somebody asked for it; whether there is such a user is only found out in the job, so that asking tells nothing.
    Forgotten {
        sealed: String,
        key_version: i32,
    },
    Locked {
        user: UserId,
    },
    PasswordChanged {
        user: UserId,
    },
    FactorChanged {
        user: UserId,
        has_factor: bool,
    },
}

/// A letter to be written.
#[derive(Debug, Clone)]
pub struct Letter {
    pub user: UserId,
    pub msp: Option<MspId>,
    pub msp_name: Option<String>,
    pub customer: Option<CustomerId>,
    pub email: String,
    pub name: String,
    pub kind: LetterKind,
}

/// What it is about.
#[derive(Debug, Clone)]
pub enum LetterKind {
    Invitation { by: Option<String>, token: Secret, expires_at: Timestamp },
    Reset { token: Secret, expires_at: Timestamp },
    Locked,
    PasswordChanged,
    FactorChanged { has_factor: bool },
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Invitation,
    Reset,
}

impl TokenKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Reset => "reset",
        }
    }
}

impl Access {
    /// Has a letter written to whoever has an address, if anybody has. The answer is the same and costs the same in any case; an
    /// account gets three letters an hour at most.
    ///
    /// # Errors
    /// [`AccessError::TooManyAttempts`] when the client asked for too many letters, whoever they are to.
    pub fn forgot_password<'a>(&'a self, email: &'a str, client: &'a Client) -> Boxed<'a, Result<(), AccessError>> {
        Box::pin(async move {
            let id = Uuid::now_v7();
            let keys = self.tenants().keys();
            keys.create_for(Owner::Installation).await?;
            let email: String = email.trim().chars().take(254).collect();
            let sealed = keys.seal_column(Owner::Installation, email.as_bytes(), Cell::of("jobs", "payload", id.as_bytes())).await?;
            let about = About::Forgotten { sealed: hex::encode(sealed.bytes), key_version: sealed.key_version };
            let tx = self.begin().await?;
            let claimed = Subject::address(Counted::LetterAddress, client.address).claim(&tx, self.instant()).await;
            if claimed.is_ok() {
                queue(&tx, LetterJob { id, about }, None, None).await?;
            }
            tx.commit().await?;
            claimed.map(drop)
        })
    }

    /// Returns the letter of a job: none when there is nobody to write to, or no longer a reason.
    ///
    /// # Errors
    /// When the database or the key store fails.
    pub fn letter<'a>(&'a self, job: &'a LetterJob) -> Boxed<'a, Result<Option<Letter>, AccessError>> {
        Box::pin(async move {
            match &job.about {
                About::Forgotten { sealed, key_version } => self.forgotten(job.id, sealed, *key_version).await,
                About::Invitation { user, by } => {
                    let Some(letter) = self.addressed(*user, LetterKind::PasswordChanged).await? else { return Ok(None) };
                    let token = self.letter_token(job.id, letter.msp, letter.customer).await?;
                    let tx = self.begin().await?;
                    let open = store::tokens::find_open(&tx, &token::hash(token.reveal()), self.instant(), self.now()).await?;
                    tx.commit().await?;
                    let kind = |expires_at| LetterKind::Invitation { by: by.clone(), token, expires_at };
                    Ok(open.map(|open| Letter { kind: kind(open.expires_at), ..letter }))
                }
                About::Locked { user } => self.addressed(*user, LetterKind::Locked).await,
                About::PasswordChanged { user } => self.addressed(*user, LetterKind::PasswordChanged).await,
                About::FactorChanged { user, has_factor } => {
                    self.addressed(*user, LetterKind::FactorChanged { has_factor: *has_factor }).await
                }
            }
        })
    }

    /// Makes the token of a forgotten password, the same however often the job runs.
    async fn forgotten(&self, id: Uuid, sealed: &str, key_version: i32) -> Result<Option<Letter>, AccessError> {
        let sealed = Wrapped { bytes: hex::decode(sealed).unwrap_or_default(), key_version };
        let email = self.tenants().keys().open_column(Owner::Installation, &sealed, Cell::of("jobs", "payload", id.as_bytes())).await?;
        let email = String::from_utf8(email).unwrap_or_default();
        let Some(user) = self.may_have_letter(id, &email).await? else { return Ok(None) };
        let Some(letter) = self.addressed(user, LetterKind::PasswordChanged).await? else { return Ok(None) };
        let token = self.letter_token(id, letter.msp, letter.customer).await?;
        let tx = self.begin().await?;
        store::tokens::insert(&tx, id, user, TokenKind::Reset, &token::hash(token.reveal()), self.instant(), self.after(RESET)).await?;
        let open = store::tokens::find_open(&tx, &token::hash(token.reveal()), self.instant(), self.now()).await?;
        tx.commit().await?;
        Ok(open.map(|open| Letter { kind: LetterKind::Reset { token, expires_at: open.expires_at }, ..letter }))
    }

    /// Finds who has an address, unless there were letters enough; a repetition of the job is the same letter.
    async fn may_have_letter(&self, id: Uuid, email: &str) -> Result<Option<UserId>, AccessError> {
        let tx = self.begin().await?;
        let mut user = store::find_user_by_email(&tx, email, self.now()).await?.and_then(|(principal, _)| principal.user());
        if let Some(found) = user
            && !store::tokens::exists(&tx, id).await?
            && Subject::account(Counted::Letter, Some(found), "").claim(&tx, self.instant()).await.is_err()
        {
            tracing::info!(user.id = %found, "no letter: there were enough in this hour");
            user = None;
        }
        tx.commit().await?;
        Ok(user)
    }

    async fn addressed(&self, user: UserId, kind: LetterKind) -> Result<Option<Letter>, AccessError> {
        let tx = self.begin().await?;
        let letter = store::tokens::find_addressee(&tx, user, kind).await?;
        tx.commit().await?;
        Ok(letter)
    }

    /// Derives the token of a letter.
    async fn letter_token(&self, id: Uuid, msp: Option<MspId>, customer: Option<CustomerId>) -> Result<Secret, AccessError> {
        let (keys, owner) = (self.tenants().keys(), owner_of(msp, customer));
        if owner == Owner::Installation {
            keys.create_for(owner).await?;
        }
        let digest = keys.blind_index(owner, format!("granary letter token {id}").as_bytes()).await?;
        Ok(Secret::new(hex::encode(digest)))
    }

    /// Makes an invitation's token; the letter is queued with `tx`.
    pub(crate) async fn queue_invitation(
        &self,
        tx: &Tx,
        id: Uuid,
        token: &Secret,
        user: UserId,
        (msp, customer): (Option<MspId>, Option<CustomerId>),
        by: Option<String>,
    ) -> Result<(), AccessError> {
        let hash = token::hash(token.reveal());
        store::tokens::insert(tx, id, user, TokenKind::Invitation, &hash, self.instant(), self.after(INVITATION)).await?;
        queue(tx, LetterJob { id, about: About::Invitation { user, by } }, msp, customer).await
    }

    /// Derives the token of an invitation that is about to be made, before the transaction: the key store has one of its own.
    pub(crate) async fn invitation_token(&self, msp: Option<MspId>, customer: Option<CustomerId>) -> Result<(Uuid, Secret), AccessError> {
        let id = Uuid::now_v7();
        Ok((id, self.letter_token(id, msp, customer).await?))
    }

    fn after(&self, time: SignedDuration) -> Timestamp {
        self.instant().checked_add(time).unwrap_or(Timestamp::MAX)
    }
}

/// Has somebody told what happened to the login.
pub(crate) async fn tell(tx: &Tx, about: About, msp: Option<MspId>, customer: Option<CustomerId>) -> Result<(), AccessError> {
    queue(tx, LetterJob { id: Uuid::now_v7(), about }, msp, customer).await
}

async fn queue(tx: &Tx, job: LetterJob, msp: Option<MspId>, customer: Option<CustomerId>) -> Result<(), AccessError> {
    let new = jobs::NewJob { msp, customer, priority: 50, ..jobs::NewJob::new(&job)? };
    jobs::enqueue(tx, &new).await?;
    Ok(())
}

/// Whose key seals what belongs to a user: destroyed with a customer's, it is gone.
pub(crate) fn owner_of(msp: Option<MspId>, customer: Option<CustomerId>) -> Owner {
    match (customer, msp) {
        (Some(customer), _) => Owner::Customer(customer),
        (None, Some(msp)) => Owner::Msp(msp),
        (None, None) => Owner::Installation,
    }
}
