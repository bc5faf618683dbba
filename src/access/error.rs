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
    #[error("this needs a login or an API key")]
    Unauthenticated,
    #[error("the API key is not valid: {0}")]
    InvalidKey(&'static str),
    #[error("this needs the permission '{0}'")]
    Denied(Permission),
    #[error("there is no customer '{0}'")]
    UnknownCustomer(String),
    #[error("there is no user '{0}'")]
    UnknownUser(String),
    #[error("the role {0} needs {1}")]
    RoleNeeds(Role, &'static str),
    #[error("there is a user '{0}' already")]
    EmailTaken(String),
    #[error("{0}")]
    InvalidUser(&'static str),
    #[error("'{0}' is not a scope: one of usage.write, reports.read, sql, customers.write")]
    UnknownScope(String),
    #[error("a password could not be hashed: {0}")]
    Hashing(String),
    #[error(transparent)]
    Tenants(#[from] TenantsError),
    #[error(transparent)]
    Database(#[from] granary_db::DbError),
}

impl Classify for AccessError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::WrongPassword | Self::Unauthenticated | Self::InvalidKey(_) => ErrorKind::Unauthenticated,
            Self::Denied(_) => ErrorKind::Denied,
            Self::UnknownCustomer(_) | Self::UnknownUser(_) => ErrorKind::NotFound,
            Self::RoleNeeds(..) | Self::InvalidUser(_) | Self::UnknownScope(_) => ErrorKind::Invalid,
            Self::EmailTaken(_) => ErrorKind::Conflict,
            Self::Hashing(_) => ErrorKind::Internal,
            Self::Tenants(error) => error.kind(),
            Self::Database(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::Unauthenticated => "unauthenticated",
            Self::InvalidKey(_) => "api_key_invalid",
            Self::Denied(_) => "permission_missing",
            Self::UnknownCustomer(_) => "customer_not_found",
            Self::UnknownUser(_) => "user_not_found",
            Self::RoleNeeds(..) => "role_incomplete",
            Self::InvalidUser(_) => "user_invalid",
            Self::UnknownScope(_) => "scope_unknown",
            Self::EmailTaken(_) => "email_taken",
            Self::Hashing(_) => "hashing_failed",
            Self::Tenants(error) => error.code(),
            Self::Database(error) => error.code(),
        }
    }
}
