//! Statements on one tenant's schema. `{schema}`, `{role}`, `{tenants}` and `{login}` are replaced by vetted names, so that a
//! whole silo goes to Postgres in a few messages.

/// Opens the transaction in which a schema is made. One process at a time works on it, and done again it changes nothing.
/// The role cannot log in; the login of its bucket becomes it for the length of a transaction.
pub(crate) const CREATE_SILO: &str = r#"
    begin;
    set local client_min_messages = warning;
    set local lock_timeout = '30s';
    select pg_advisory_xact_lock(hashtextextended('{schema}', 0));
    do $do$ begin create role "{role}" nologin inherit; exception when duplicate_object or unique_violation then null; end $do$;
    create schema if not exists "{schema}";
    grant usage on schema "{schema}" to "{role}";
    grant "{tenants}" to "{role}";
    grant "{role}" to "{login}";
    create table if not exists "{schema}".refinery_schema_history
        (version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255))"#;

/// Opens the transaction in which a schema that is there is changed, and tells whether nobody else is at work on it.
pub(crate) const OPEN_SILO: &str = "
    begin;
    set local client_min_messages = warning;
    set local lock_timeout = '{patience}ms';
    select pg_try_advisory_xact_lock(hashtextextended('{schema}', 0))";

/// What was applied, in order.
pub(crate) const READ_HISTORY: &str = r#"
    set local search_path = "{schema}";
    select version, name, checksum from "{schema}".refinery_schema_history order by version"#;

/// Notes a migration in the form that refinery reads, in the transaction that ran it.
pub(crate) const NOTE_MIGRATION: &str = r#"
    insert into "{schema}".refinery_schema_history (version, name, applied_on, checksum)
    values ({version}, '{name}', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '{checksum}')"#;

/// Grants what is missing on tables that have nothing yet. Rows are the tenant's to change, but the log of events and the audit
/// log are only added to, and nobody but the owner touches the history of migrations. A grant that is there would be written
/// again by Postgres, at the price of the whole table's cached plans. The tables are found by what depends on the schema: no index
/// leads from a schema to its tables, and reading the tables of all tenants for each makes a fleet's migration quadratic.
pub(crate) const GRANT_SILO: &str = r#"
    do $do$
    declare
        listed record;
    begin
        for listed in
            select c.relname as name,
                case when c.relname in ('usage_events', 'audit_log') then 'select, insert' else 'select, insert, update, delete' end as rights
            from pg_catalog.pg_depend d
            join pg_catalog.pg_class c on c.oid = d.objid
            where d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid = '"{schema}"'::regnamespace
                and d.classid = 'pg_catalog.pg_class'::regclass and c.relkind = 'r' and c.relname <> 'refinery_schema_history'
                and not pg_catalog.has_table_privilege('{role}', c.oid, 'select')
        loop
            execute format('grant %s on "{schema}".%I to "{role}"', listed.rights, listed.name);
        end loop;
    end
    $do$"#;
