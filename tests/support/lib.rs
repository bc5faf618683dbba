//! A real Postgres for tests: one server that the test processes share, and a fresh database for each test.
//!
//! The server is our own embedded one, without durability, in the machine's temporary directory; the last process that uses
//! it stops it. A database is cloned from a template that has been migrated once for this state of the migrations. Everything
//! here panics: a test that cannot have its database has failed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot have its database has failed")]

mod database;
mod fixture;
pub mod kill;
mod server;

pub use database::TestDatabase;
pub use fixture::TwoCustomers;
