//! What can go wrong on the way in.

use granary_tenants::TenantsError;
use granary_types::{Classify, ErrorKind, Role};

use crate::Permission;

/// Why somebody does not get in, or not further.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The same words for an unknown address, a wrong password and a disabled user.
    #[error("the e-mail address or the password is wrong")]
    WrongPassword,
    /// The same for an account that exists and one that does not.
    #[error("too many attempts; try again {}", in_words(*.seconds))]
    TooManyAttempts { seconds: i64 },
    #[error("more people are logging in than this server takes at once; try again in a moment")]
    Busy,
    #[error("the password cannot be used: {0}")]
    WeakPassword(&'static str),
    /// The same for one that was used.
    #[error("the code is wrong, too old, or was used")]
    WrongCode,
    #[error("this needs a login or an API key")]
    Unauthenticated,
    #[error("the API key is not valid: {0}")]
    KeyRefused(&'static str),
    #[error("the token is not valid: {0}")]
    TokenRefused(&'static str),
    #[error("such a key cannot be made: {0}")]
    InvalidKey(&'static str),
    #[error("the enrolment code is not taken: {0}")]
    CodeRefused(&'static str),
    #[error("there is no such control plane in use")]
    UnknownPlane,
    #[error("there is no API key '{0}'")]
    UnknownKey(String),
    #[error("this needs the permission '{0}'")]
    Denied(Permission),
    #[error("there is no customer '{0}'")]
    UnknownCustomer(String),
    #[error("there is no user '{0}'")]
    UnknownUser(String),
    /// The password was right, and is not taken here any more.
    #[error("your organisation signs in by its own login; choose \"Sign in with your organisation\"")]
    SsoRequired,
    /// Whoever came back from an identity provider is not let in.
    #[error("the sign-in with your organisation did not work: {0}")]
    SsoRefused(&'static str),
    /// An identity provider cannot be set up like this.
    #[error("{0}")]
    InvalidSso(String),
    #[error("there is no identity provider here")]
    UnknownSso,
    /// The same for a token that was used, replaced, is too old, or never was.
    #[error("this link is not valid any more; ask for another one")]
    LinkVoid,
    #[error("{0}")]
    NotInState(&'static str),
    #[error("nobody changes their own login here; ask another administrator")]
    OwnLogin,
    #[error("there is no such session of yours")]
    UnknownSession,
    #[error("the role {0} needs {1}")]
    RoleNeeds(Role, &'static str),
    #[error("there is a user '{0}' already")]
    EmailTaken(String),
    #[error("{0}")]
    InvalidUser(&'static str),
    #[error("'{0}' is not a scope: one of usage.write, reports.read, billing.read, sql, customers.write")]
    UnknownScope(String),
    #[error("a password could not be hashed: {0}")]
    Hashing(String),
    #[error(transparent)]
    Outbound(#[from] granary_foundation::OutboundError),
    #[error(transparent)]
    Vault(#[from] granary_vault::VaultError),
    #[error(transparent)]
    Tenants(#[from] TenantsError),
    #[error(transparent)]
    Database(#[from] granary_db::DbError),
}

/// Says how long somebody waits, rounded up.
fn in_words(seconds: i64) -> String {
    match seconds {
        ..=90 => format!("in {seconds} seconds"),
        91..=86_400 => format!("in {} minutes", (seconds + 59) / 60),
        _ => "after choosing a new password".to_owned(),
    }
}

impl Classify for AccessError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongPassword
            | Self::WrongCode
            | Self::Unauthenticated
            | Self::KeyRefused(_)
            | Self::TokenRefused(_)
            | Self::CodeRefused(_) => ErrorKind::Unauthenticated,
            Self::TooManyAttempts { .. } => ErrorKind::RateLimited,
            Self::Busy => ErrorKind::Unavailable,
            Self::Denied(_) | Self::OwnLogin | Self::SsoRequired | Self::SsoRefused(_) => ErrorKind::Denied,
            Self::UnknownCustomer(_)
            | Self::UnknownUser(_)
            | Self::UnknownKey(_)
            | Self::UnknownPlane
            | Self::UnknownSession
            | Self::UnknownSso
            | Self::LinkVoid => ErrorKind::NotFound,
            Self::WeakPassword(_)
            | Self::RoleNeeds(..)
            | Self::InvalidUser(_)
            | Self::InvalidKey(_)
            | Self::InvalidSso(_)
            | Self::UnknownScope(_) => ErrorKind::Invalid,
            Self::EmailTaken(_) | Self::NotInState(_) => ErrorKind::Conflict,
            Self::Hashing(_) => ErrorKind::Internal,
            Self::Outbound(error) => error.kind(),
            Self::Vault(error) => error.kind(),
            Self::Tenants(error) => error.kind(),
            Self::Database(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::WrongCode => "wrong_code",
            Self::TooManyAttempts { .. } => "too_many_attempts",
            Self::Busy => "logins_busy",
            Self::WeakPassword(_) => "password_weak",
            Self::Unauthenticated => "unauthenticated",
            Self::KeyRefused(_) => "api_key_invalid",
            Self::TokenRefused(_) => "token_invalid",
            Self::CodeRefused(_) => "enrolment_code_invalid",
            Self::UnknownPlane => "control_plane_not_found",
            Self::InvalidKey(_) => "api_key_unfit",
            Self::UnknownKey(_) => "api_key_not_found",
            Self::Denied(_) => "permission_missing",
            Self::UnknownCustomer(_) => "customer_not_found",
            Self::UnknownUser(_) => "user_not_found",
            Self::LinkVoid => "link_void",
            Self::NotInState(_) => "login_state",
            Self::OwnLogin => "own_login",
            Self::SsoRequired => "sso_required",
            Self::SsoRefused(_) => "sso_refused",
            Self::InvalidSso(_) => "sso_invalid",
            Self::UnknownSso => "sso_not_found",
            Self::UnknownSession => "session_not_found",
            Self::RoleNeeds(..) => "role_incomplete",
            Self::InvalidUser(_) => "user_invalid",
            Self::UnknownScope(_) => "scope_unknown",
            Self::EmailTaken(_) => "email_taken",
            Self::Hashing(_) => "hashing_failed",
            Self::Outbound(error) => error.code(),
            Self::Vault(error) => error.code(),
            Self::Tenants(error) => error.code(),
            Self::Database(error) => error.code(),
        }
    }
}
