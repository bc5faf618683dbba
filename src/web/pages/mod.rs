//! The pages, one file each.

pub(crate) mod account;
pub(crate) mod alerts;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod customer;
pub(crate) mod customer_parts;
pub(crate) mod customers;
pub(crate) mod explore;
pub(crate) mod factor;
pub(crate) mod invoices;
pub(crate) mod limits;
pub(crate) mod login;
pub(crate) mod models;
pub(crate) mod operations;
pub(crate) mod overview;
pub(crate) mod password;
pub(crate) mod people;
pub(crate) mod period;
pub(crate) mod portfolio;
pub(crate) mod probe;
pub(crate) mod reconciliation;
pub(crate) mod report;
pub(crate) mod sso;
pub(crate) mod sso_login;
pub(crate) mod standing;
pub(crate) mod start;
