//! The product through its front door: the binary, its commands, its HTTP server, on a Postgres that it starts itself.
//!
//! One small demo (4 customers, 3 months) and one tiny one are prepared once and shared; tests that change one make a house of
//! their own.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "what fails in a test fails the test, and says why")]

mod bad_input;
mod customers;
mod demo;
mod disk;
mod endurance;
mod faults;
mod fleet;
mod front_door;
mod import;
mod isolation;
mod jobs;
mod lake_faults;
mod leaving;
mod operations;
mod recovery;
mod recovery_faults;
mod recovery_versions;
mod replay;
mod secrets;
mod traces;
mod veeam;
mod versions;
