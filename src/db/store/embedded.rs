//! Statements that prepare our own server.

pub(crate) const FIND_DATABASE: &str = "select 1 from pg_catalog.pg_database where datname = $1";
pub(crate) const CREATE_DATABASE: &str = "create database granary";
