//! Statements that prepare the database.

/// A commit that says so when the transaction had failed before: by itself `commit` would quietly roll back.
pub(crate) const COMMIT: &str = "select; commit";
pub(crate) const ROLLBACK: &str = "rollback";
/// Puts a connection whose transaction has ended back into its first state: everything but prepared statements goes.
pub(crate) const CLEAN: &str = "close all; set session authorization default; reset role; reset all; unlisten *;
    select pg_catalog.pg_advisory_unlock_all(); discard temp; discard sequences;";

pub(crate) const SERVER_VERSION: &str = "select current_setting('server_version_num')::int";
pub(crate) const CURRENT_SCHEMA: &str = "select current_schema()::text";
pub(crate) const LOCK: &str = "select pg_advisory_lock(hashtextextended($1::text, 0))";
pub(crate) const TRY_LOCK: &str = "select pg_try_advisory_lock(hashtextextended($1::text, 0))";

/// The name of the lock under which one process at a time prepares the database.
pub(crate) const PREPARE_LOCK: &str = "granary prepares the control schema";

pub(crate) const CREATE_SCHEMAS: &str = "
    set client_min_messages = warning;
    create schema if not exists control;
    create schema if not exists keystore;
    create schema if not exists outbox;
    revoke all on schema public from public;";

pub(crate) const INSERT_INSTALLATION: &str =
    "insert into installations (id, created_at) values ($1, $2) on conflict (is_single) do nothing";
pub(crate) const HAS_HISTORY: &str = "select to_regclass('control.refinery_schema_history') is not null";
pub(crate) const LIST_APPLIED: &str = "select version from control.refinery_schema_history";
pub(crate) const NEWEST_APPLIED: &str = "select coalesce(max(version), 0) from control.refinery_schema_history";
pub(crate) const GET_INSTALLATION: &str = "select id from installations";

pub(crate) const COUNT_ROLES: &str = r"
    select count(*) from pg_catalog.pg_roles
    where rolname in ($1 || '_app', $1 || '_tenants', $1 || '_msp', $1 || '_operator', $1 || '_access', $1 || '_keystore')";
pub(crate) const FIND_ROLE: &str = "select 1 from pg_catalog.pg_roles where rolname = $1";
pub(crate) const FIND_MEMBERSHIP: &str = "
    select 1 from pg_catalog.pg_auth_members
    where roleid = (select oid from pg_catalog.pg_roles where rolname = $1) and member = (select oid from pg_catalog.pg_roles where rolname = $2)";

/// Another database of the same cluster may be creating the very role: that is no error.
pub(crate) const CREATE_GROUP: &str = "
    select format('do $do$ begin create role %1$I nologin noinherit; exception when duplicate_object or unique_violation then null; end $do$', $1::text)";
/// Makes a login, one process at a time, with what holds when a transaction says nothing: nobody waits for ever, nobody keeps a
/// transaction open for ever, and a statement whose client has gone ends within a second, where the system can tell.
pub(crate) const CREATE_LOGIN: &str = "
    select format('select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext(%1$L));
        do $do$ begin
            if not exists (select from pg_catalog.pg_roles where rolname = %1$L) then
                create role %1$I login noinherit nosuperuser nocreatedb nocreaterole password %2$L;
                alter role %1$I set lock_timeout = ''30s'';
                alter role %1$I set idle_in_transaction_session_timeout = ''15min'';
                begin
                    alter role %1$I set client_connection_check_interval = ''1s'';
                exception when invalid_parameter_value then null;
                end;
            end if;
        exception when duplicate_object or unique_violation then null;
        end $do$', $1::text, $2::text)";
pub(crate) const SET_PASSWORD: &str = "select format('alter role %I login password %L', $1::text, $2::text)";
pub(crate) const GRANT_ROLE: &str = "select format('grant %I to %I', $1::text, $2::text)";

pub(crate) const REVOKE_ROLE: &str = "select format('revoke %I from %I', $1::text, $2::text)";
/// Whether the app's own login may become tenants' roles, as it could before there were buckets.
pub(crate) const FIND_SERVED_BY_APP: &str = "
    select 1 from pg_catalog.pg_auth_members m join pg_catalog.pg_roles r on r.oid = m.roleid
    where m.member = (select oid from pg_catalog.pg_roles where rolname = $1) and starts_with(r.rolname, $2 || '_t') limit 1";
/// Those of them that the catalog knows, with their buckets.
pub(crate) const LIST_SERVED_BY_APP: &str = "
    select c.role_name, c.bucket from customers c join pg_catalog.pg_roles r on r.rolname = c.role_name
    where exists (
        select from pg_catalog.pg_auth_members m
        where m.roleid = r.oid and m.member = (select oid from pg_catalog.pg_roles where rolname = $1))
    order by c.bucket";

/// Grants and row-level security on every table of the control schema, new ones included.
pub(crate) const SECURE: &str = "select control.secure($1)";

/// `set_config` inside a statement could change the role in the middle of it; a large object lies outside every schema, and on
/// Postgres 15 a transaction that cannot write makes one all the same. Only the server's owner can revoke them.
pub(crate) const REVOKE_DANGEROUS: &str = "
    do $do$ begin
        revoke execute on function pg_catalog.set_config(text, text, boolean) from public;
        revoke execute on function pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid), pg_catalog.lo_from_bytea(oid, bytea),
            pg_catalog.lo_put(oid, bigint, bytea), pg_catalog.lowrite(integer, bytea), pg_catalog.lo_truncate(integer, integer),
            pg_catalog.lo_truncate64(integer, bigint), pg_catalog.lo_unlink(oid), pg_catalog.lo_open(oid, integer) from public;
    exception when insufficient_privilege then
        raise notice 'set_config and large objects stay open to everybody: the owner''s login is no superuser';
    end $do$";
