//! The API, one file per resource. What a route is called, who may use it and its example stand in the one table of routes.

pub(crate) mod access_log;
pub(crate) mod alerts;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod contacts;
pub(crate) mod contracts;
pub(crate) mod customers;
mod delivery;
pub(crate) mod enrolment;
pub(crate) mod erasure;
pub(crate) mod events;
pub(crate) mod exchange;
pub(crate) mod holds;
pub(crate) mod life;
pub(crate) mod limits;
pub(crate) mod people;
pub(crate) mod periods;
pub(crate) mod planes;
pub(crate) mod query;
pub(crate) mod retention;
pub(crate) mod schemas;
pub(crate) mod sites;
pub(crate) mod sso;
pub(crate) mod tokens;
pub(crate) mod usage;
