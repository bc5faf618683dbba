//! Why somebody was not told.

use granary_types::{Classify, ErrorKind};
use uuid::Uuid;

/// What goes wrong with mails.
#[derive(Debug, thiserror::Error)]
pub enum NotificationError {
    #[error("mail.url cannot be used: {0}")]
    Url(&'static str),
    #[error("mail.from is no address such as 'Granary <granary@example.com>': {0}")]
    From(String),
    /// Later may do.
    #[error("the mail server does not take the mail now: {0}")]
    NotNow(String),
    /// Trying again does not help.
    #[error("the mail server refused the mail: {0}")]
    Refused(String),
    #[error("there is no mail {0}; see granary mail list")]
    UnknownMail(Uuid),
    #[error("the words of mail {0} were not kept: it was sent")]
    WordsGone(Uuid),
    #[error("a mail in the log cannot be read: {0}")]
    Unreadable(String),
    #[error(transparent)]
    Vault(#[from] granary_vault::VaultError),
    #[error(transparent)]
    Database(#[from] granary_db::DbError),
}

impl Classify for NotificationError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Url(_) | Self::From(_) | Self::Refused(_) => ErrorKind::Invalid,
            Self::NotNow(_) => ErrorKind::Unavailable,
            Self::UnknownMail(_) => ErrorKind::NotFound,
            Self::WordsGone(_) => ErrorKind::Conflict,
            Self::Unreadable(_) => ErrorKind::Internal,
            Self::Vault(error) => error.kind(),
            Self::Database(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Url(_) | Self::From(_) => "mail_configuration_invalid",
            Self::NotNow(_) => "mail_server_unavailable",
            Self::Refused(_) => "mail_refused",
            Self::UnknownMail(_) => "mail_not_found",
            Self::WordsGone(_) => "mail_words_gone",
            Self::Unreadable(_) => "mail_unreadable",
            Self::Vault(error) => error.code(),
            Self::Database(error) => error.code(),
        }
    }
}
