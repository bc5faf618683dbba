//! What can go wrong between the house and Postgres.

use granary_types::{Classify, ErrorKind};
use tokio_postgres::error::SqlState;

use crate::settings::InvalidIdentifier;

/// An error of the database room.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("cannot reach Postgres: {}", text(.0))]
    Unreachable(#[source] tokio_postgres::Error),
    #[error("no connection became free: {0}")]
    NoConnection(String),
    #[error("{}", text(.0))]
    Postgres(#[source] tokio_postgres::Error),
    #[error("the transaction had failed before and cannot be committed")]
    Aborted,
    #[error("the database url is not valid: {0}")]
    InvalidUrl(String),
    #[error("Postgres {0} is too old; version 15 or newer is needed")]
    ServerTooOld(String),
    #[error("the database configured as cluster {name} is {found}")]
    OtherCluster { name: String, found: String },
    #[error("cannot migrate {schema}: {message}")]
    Migration { schema: String, message: String },
    #[error(
        "the control schema is at version {found}, and this program ({program}) knows it up to version {known}: run the newer program, or \
         restore the backup that was made before the upgrade",
        program = env!("CARGO_PKG_VERSION")
    )]
    SchemaNewer { found: i32, known: i32 },
    #[error(transparent)]
    Identifier(#[from] InvalidIdentifier),
    #[error("{program} failed: {message}")]
    Program { program: &'static str, message: String },
    #[error("there is no {0}: install Postgres' client programs, or name their directory in GRANARY_POSTGRES_BIN")]
    NoProgram(&'static str),
    #[error("the transaction may not write to the audit log: it was opened without the key store")]
    NoAuditKeys,
    #[error("the key of the audit log cannot be had: {0}")]
    AuditKey(String),
    #[error("the payload of {kind} cannot be written as JSON: {message}")]
    Payload { kind: &'static str, message: String },
}

/// The driver prints "db error"; what a reader needs is the server's message.
pub(crate) fn text(error: &tokio_postgres::Error) -> String {
    use std::error::Error;
    match (error.as_db_error(), error.source()) {
        (Some(server), _) => format!("{} (SQLSTATE {})", server.message(), server.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

impl DbError {
    fn state(&self) -> Option<&SqlState> {
        match self {
            Self::Postgres(error) | Self::Unreachable(error) => error.code(),
            _ => None,
        }
    }

    /// Returns the name of the constraint that was violated.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Postgres(error) => error.as_db_error()?.constraint(),
            _ => None,
        }
    }

    /// Tells whether the transaction lost against another one and may be tried again from its beginning.
    pub fn is_serialization_failure(&self) -> bool {
        self.state().is_some_and(|state| *state == SqlState::T_R_SERIALIZATION_FAILURE || *state == SqlState::T_R_DEADLOCK_DETECTED)
    }

    /// Tells whether a unique constraint was violated.
    pub fn is_unique_violation(&self) -> bool {
        self.state() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// Tells whether the role lacks the right, or row-level security refused the row.
    pub fn is_permission_denied(&self) -> bool {
        self.state() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
    }

    /// Tells whether the server ended the statement because it took too long, or because it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.state().is_some_and(|state| *state == SqlState::QUERY_CANCELED || *state == SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Tells whether a table that a statement names is not there.
    pub fn is_undefined_table(&self) -> bool {
        self.state() == Some(&SqlState::UNDEFINED_TABLE)
    }

    /// Tells whether the transaction had failed before, even if nobody noticed: a copy that was given up, for instance.
    pub(crate) fn is_in_failed_transaction(&self) -> bool {
        self.state() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
    }

    /// Tells whether the server does not let the login in: it has another password, or there is none of that name.
    pub(crate) fn is_login_refused(&self) -> bool {
        self.state().is_some_and(|state| *state == SqlState::INVALID_PASSWORD || *state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
    }

    /// Tells whether a statement was planned before a migration changed what it returns. It failed before it did anything.
    pub fn is_stale_plan(&self) -> bool {
        let routine = match self {
            Self::Postgres(error) => error.as_db_error().and_then(|error| error.routine()),
            _ => None,
        };
        self.state() == Some(&SqlState::FEATURE_NOT_SUPPORTED) && routine == Some("RevalidateCachedQuery")
    }

    /// Tells whether a text holds what no text in Postgres may hold, such as a zero byte.
    pub fn is_unstorable_text(&self) -> bool {
        self.state() == Some(&SqlState::CHARACTER_NOT_IN_REPERTOIRE)
    }

    /// Tells whether somebody else held a lock for longer than the statement was to wait.
    pub fn is_lock_timeout(&self) -> bool {
        self.state() == Some(&SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Tells whether the session ended under the statement, or could not be had.
    pub fn is_connection_lost(&self) -> bool {
        match self {
            Self::Postgres(error) => {
                error.is_closed()
                    || error.code().is_some_and(|state| {
                        let class = &state.code()[..2];
                        class == "08" || class == "57" || class == "53"
                    })
            }
            Self::Unreachable(_) => true,
            _ => false,
        }
    }
}

impl Classify for DbError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreachable(_) | Self::NoConnection(_) => ErrorKind::Unavailable,
            Self::InvalidUrl(_)
            | Self::ServerTooOld(_)
            | Self::Identifier(_)
            | Self::OtherCluster { .. }
            | Self::SchemaNewer { .. }
            | Self::Program { .. }
            | Self::NoProgram(_) => ErrorKind::Invalid,
            Self::Postgres(_) if self.is_unstorable_text() => ErrorKind::Invalid,
            Self::Postgres(_) if self.is_serialization_failure() || self.is_unique_violation() => ErrorKind::Conflict,
            Self::Postgres(_) if self.is_cancelled() || self.is_connection_lost() || self.is_stale_plan() => ErrorKind::Unavailable,
            Self::Postgres(_) | Self::Aborted | Self::Migration { .. } | Self::Payload { .. } | Self::NoAuditKeys | Self::AuditKey(_) => {
                ErrorKind::Internal
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "database_unreachable",
            Self::NoConnection(_) => "database_busy",
            Self::Postgres(_) if self.is_unstorable_text() => "unstorable_text",
            Self::Postgres(_) => "database_error",
            Self::Aborted => "transaction_aborted",
            Self::InvalidUrl(_) => "database_url_invalid",
            Self::ServerTooOld(_) => "database_too_old",
            Self::OtherCluster { .. } => "cluster_mismatch",
            Self::Migration { .. } => "migration_failed",
            Self::SchemaNewer { .. } => "schema_newer",
            Self::Identifier(_) => "identifier_invalid",
            Self::Payload { .. } => "payload_invalid",
            Self::NoAuditKeys => "audit_keys_missing",
            Self::AuditKey(_) => "audit_key_failed",
            Self::Program { .. } => "program_failed",
            Self::NoProgram(_) => "program_missing",
        }
    }
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}
