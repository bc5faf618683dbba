//! Who is asking, and what they may do: users, passwords, identity providers, browser sessions, API keys, tokens, control planes'
//! keys, the table of permissions.
//!
//! Everything starts with a [`Principal`]: [`Access::log_in`], [`Access::arrive`], [`Access::session`], [`Access::program`] and
//! [`Access::finish_proof`] are its only sources. A principal mints what opens data — [`Principal::read_grant`] for the warehouse, [`Access::tenant_scope`] and
//! [`Access::msp_scope`] for Postgres — and refuses what it may not open: a permission that is missing is *denied*,
//! another tenant's thing is *not found*.
//!
//! Secrets are stored as hashes only: passwords as Argon2id, session tokens and API keys (random, long) as SHA-256. What can be
//! guessed is counted before it is looked at, for the account and for the client's address, in Postgres.
//! Nothing here knows HTTP; cookies and headers are made in `web`.

mod api_key;
mod choosing;
mod error;
mod factor;
mod jwt;
mod keys;
mod letters;
mod managing;
mod openings;
mod password;
mod people;
mod permission;
mod planes;
mod principal;
mod proving;
mod scram;
mod sessions;
mod sso;
mod store;
#[cfg(test)]
mod tests;
mod throttle;
mod token;
mod tokens;
mod users;

pub use api_key::{ApiKey, ApiKeyScope, NewApiKey};
pub use error::AccessError;
pub use factor::{Enrolment, FactorState, Requirement};
pub use keys::OVERLAP;
pub use letters::{Letter, LetterJob, LetterKind};
pub use managing::{Grant, Invitation, Manager, Place};
pub use openings::Opening;
pub use people::Person;
pub use permission::Permission;
pub use planes::{Enrolled, EnrolmentCode, NewPlaneKey, PlaneKey};
pub use principal::{Principal, Quotas, Who};
pub use proving::Proof;
pub use sessions::{Client, OpenSession, Session};
pub use sso::{Arrival, Departure, IdentityProvider, SsoReport, SsoSettings};
pub use tokens::{AUDIENCE, Narrowed, Retirement, Token, TokenKey, base64url};
pub use users::{Access, NewUser};
