//! The API, one file per resource.

pub(crate) mod customers;
pub(crate) mod events;
