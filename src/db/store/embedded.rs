//! Statements that prepare our own server.

pub(crate) const FIND_DATABASE: &str = "select 1 from pg_catalog.pg_database where datname = $1";
pub(crate) const CREATE_DATABASE: &str = "create database granary";

pub(crate) const FIND_ROLE: &str = "select 1 from pg_catalog.pg_roles where rolname = $1";
pub(crate) const CREATE_OWNER: &str = "create role granary";
pub(crate) const ADMIT_OWNER: &str = "select format('alter role granary superuser login password %L', $1::text)";
pub(crate) const RENAME_DATABASE: &str = "select format('alter database %I rename to granary', $1::text)";
