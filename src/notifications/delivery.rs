//! Sends mails and keeps their log.

use std::sync::Arc;

use granary_db::{Database, Tx, TxSettings};
use granary_foundation::Boxed;
use granary_types::{CustomerId, MspId, UserId};
use granary_vault::{Cell, Keys, Owner, Wrapped};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::notice::{Notice, render};
use crate::smtp::{Post, PostError};
use crate::{NotificationError, store};

/// How long the log is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Who gets a mail.
#[derive(Debug, Clone)]
pub struct Recipient {
    pub user: UserId,
    /// None for people of the operator.
    pub msp: Option<MspId>,
    /// Set for a customer's people.
    pub customer: Option<CustomerId>,
    pub email: String,
    pub name: String,
}

impl Recipient {
    /// Whose key seals what is kept of the mail: destroyed with a customer's, it is gone.
    fn owner(&self) -> Owner {
        owner(self.msp, self.customer)
    }

    #[cfg(test)]
    pub(crate) fn test() -> Self {
        Self { user: UserId::new(), msp: None, customer: None, email: "ada@north.example".to_owned(), name: "Ada".to_owned() }
    }
}

fn owner(msp: Option<MspId>, customer: Option<CustomerId>) -> Owner {
    match (customer, msp) {
        (Some(customer), _) => Owner::Customer(customer),
        (None, Some(msp)) => Owner::Msp(msp),
        (None, None) => Owner::Installation,
    }
}

/// What became of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The mail server took it.
    Sent,
    /// There is no mail server: it lies in the log.
    Kept,
    /// It was sent or kept before; nothing happened.
    Before,
}

/// Where a mail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MailState {
    /// Being sent, or to be tried again.
    Waiting,
    Sent,
    Kept,
    Failed,
}

impl MailState {
    /// Returns the stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Kept => "kept",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn parse(word: &str) -> Self {
        match word {
            "sent" => Self::Sent,
            "kept" => Self::Kept,
            "failed" => Self::Failed,
            _ => Self::Waiting,
        }
    }
}

/// A line of the log.
#[derive(Debug, Clone)]
pub struct LoggedMail {
    pub id: Uuid,
    pub kind: String,
    pub to: String,
    pub subject: String,
    pub state: MailState,
    pub attempts: i32,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

/// A mail whose words are still there.
#[derive(Debug, Clone)]
pub struct KeptMail {
    pub to: String,
    pub subject: String,
    pub text: String,
}

/// What is sealed of a mail.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    to: String,
    subject: String,
    /// Gone when it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// Delivers mails.
#[derive(Debug, Clone)]
pub struct Mailer {
    db: Database,
    keys: Keys,
    post: Option<Arc<dyn Post>>,
}

impl Mailer {
    /// Returns a mailer; without a mail server it keeps what it would send.
    pub const fn new(db: Database, keys: Keys, post: Option<Arc<dyn Post>>) -> Self {
        Self { db, keys, post }
    }

    /// Delivers a notice under an id that is the same however often it is tried.
    ///
    /// # Errors
    /// [`NotificationError::NotNow`] when the mail server may take it later, [`NotificationError::Refused`] when never.
    pub fn deliver<'a>(&'a self, id: Uuid, to: &'a Recipient, notice: &'a Notice) -> Boxed<'a, Result<Delivered, NotificationError>> {
        Box::pin(async move {
            let words = render(notice);
            let text = self.post.is_none().then(|| words.text.clone());
            let sealed = self.seal(to, id, &Sealed { to: to.email.clone(), subject: words.subject.clone(), text }).await?;
            let tx = self.begin().await?;
            let claimed = store::claim_mail(&tx, id, to, notice.kind(), &sealed).await?;
            if claimed && self.post.is_none() {
                store::update_mail(&tx, id, MailState::Kept, None).await?;
            }
            store::delete_old(&tx, tx.now().checked_sub(KEPT).unwrap_or(Timestamp::UNIX_EPOCH)).await?;
            tx.commit().await?;
            let Some(post) = self.post.as_ref().filter(|_| claimed) else {
                return Ok(if claimed { Delivered::Kept } else { Delivered::Before });
            };
            let outcome = post.send(id, to, &words).await;
            let tx = self.begin().await?;
            let result = match outcome {
                Ok(()) => {
                    store::update_mail(&tx, id, MailState::Sent, None).await?;
                    Ok(Delivered::Sent)
                }
                Err(PostError::NotNow(why)) => {
                    store::update_mail(&tx, id, MailState::Waiting, Some(&why)).await?;
                    Err(NotificationError::NotNow(why))
                }
                Err(PostError::Refused(why)) => {
                    store::update_mail(&tx, id, MailState::Failed, Some(&why)).await?;
                    Err(NotificationError::Refused(why))
                }
            };
            tx.commit().await?;
            tracing::info!(mail.id = %id, mail.kind = notice.kind(), delivered = result.is_ok(), "a mail was handed over");
            result
        })
    }

    /// Lists the newest mails; what was sealed under a key that is gone is left out.
    ///
    /// # Errors
    /// When the database or the key store fails.
    pub fn list<'a>(&'a self, limit: i64) -> Boxed<'a, Result<Vec<LoggedMail>, NotificationError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let rows = store::list_mails(&tx, limit).await?;
            tx.commit().await?;
            let mut mails = Vec::with_capacity(rows.len());
            for row in rows {
                let sealed = match self.unseal(&row).await {
                    Ok(sealed) => sealed,
                    Err(NotificationError::Vault(error)) => {
                        tracing::debug!(mail.id = %row.mail.id, %error, "a mail's words cannot be opened");
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                mails.push(LoggedMail { to: sealed.to, subject: sealed.subject, ..row.mail });
            }
            Ok(mails)
        })
    }

    /// Returns a mail that was kept because there is no mail server.
    ///
    /// # Errors
    /// [`NotificationError::UnknownMail`]; [`NotificationError::WordsGone`] when it was sent.
    pub fn show<'a>(&'a self, id: Uuid) -> Boxed<'a, Result<KeptMail, NotificationError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let row = store::find_mail(&tx, id).await?.ok_or(NotificationError::UnknownMail(id))?;
            tx.commit().await?;
            let Sealed { to, subject, text } = self.unseal(&row).await?;
            Ok(KeptMail { to, subject, text: text.ok_or(NotificationError::WordsGone(id))? })
        })
    }

    async fn seal(&self, to: &Recipient, id: Uuid, sealed: &Sealed) -> Result<Wrapped, NotificationError> {
        let plain = serde_json::to_vec(sealed).map_err(|error| NotificationError::Unreadable(error.to_string()))?;
        if to.owner() == Owner::Installation {
            self.keys.create_for(Owner::Installation).await?;
        }
        Ok(self.keys.seal_column(to.owner(), &plain, cell(&id)).await?)
    }

    async fn unseal(&self, row: &store::MailRow) -> Result<Sealed, NotificationError> {
        let plain = self.keys.open_column(owner(row.msp, row.customer), &row.sealed, cell(&row.mail.id)).await?;
        serde_json::from_slice(&plain).map_err(|error| NotificationError::Unreadable(error.to_string()))
    }

    async fn begin(&self) -> Result<Tx, NotificationError> {
        Ok(self.db.begin(&TxSettings::operator()).await?)
    }
}

/// What keeps one mail's words from passing for another's.
fn cell(id: &Uuid) -> Cell<'_> {
    Cell::of("mails", "sealed", id.as_bytes())
}
