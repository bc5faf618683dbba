//! Schema, role and grants of one tenant. Postgres writes the statements with `format`, quoting the names itself.

/// `$1` schema, `$2` role, `$3` group of all tenants, `$4` the login of its bucket. The role cannot log in; the login becomes it for the
/// length of a transaction. Done again it changes nothing.
pub(crate) const CREATE_SILO: &str = "
    select format('
        set local client_min_messages = warning;
        do $do$ begin create role %2$I nologin inherit; exception when duplicate_object or unique_violation then null; end $do$;
        create schema if not exists %1$I;
        grant usage on schema %1$I to %2$I;
        grant %3$I to %2$I;
        grant %2$I to %4$I', $1::text, $2::text, $3::text, $4::text)";

/// `$1` schema, `$2` role. Rows of the tables are the tenant's to change, but the log of events and the audit log are only
/// added to, and nobody but the owner touches the history of migrations.
pub(crate) const GRANT_SILO: &str = "
    select format('
        grant select, insert, update, delete on all tables in schema %1$I to %2$I;
        revoke all on %1$I.refinery_schema_history from %2$I;
        revoke update, delete on %1$I.usage_events, %1$I.audit_log from %2$I', $1::text, $2::text)";
