//! Metering through its front door, on a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alerts;
mod corrections;
mod days;
mod evidence;
mod hazards;
mod house;
mod ingest;
mod live;
mod order;
mod periods;
mod veeam;
mod zones;
