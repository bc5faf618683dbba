//! What the catalog of a database must not say. Each question returns the faults that it finds: what it is about, what was
//! found, and the statement or command that mends it. The text begins with what is expected: `$1` the beginning of the names of
//! this installation's roles, `$2` to `$5` schema, role and login of every silo, and
//! whether it is open.

use granary_db::Tx;

use crate::error::TenantsError;

/// One question.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) check: &'static str,
    pub(crate) sql: &'static str,
}

/// Every customer that has or should have a silo in a cluster, and every copy of one.
const LIST_SILOS: &str = "
    select schema_name, role_name, bucket, schema_version
    from customers where cluster = $1 and status <> 'erased'
    union all
    select schema_name, role_name, bucket, schema_version from clones where cluster = $1
    order by schema_name";

/// How many connections a login that is no superuser may open.
const ROOM: &str = "
    select current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
        - coalesce(current_setting('reserved_connections', true), '0')::bigint";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LIST_SILOS, ROOM];

/// Counts the connections that the server accepts.
pub(crate) async fn connections_of_server(tx: &Tx) -> Result<i64, TenantsError> {
    tx.query_one(ROOM, &[]).await?.try_get(0).map_err(TenantsError::column)
}

/// What the catalog of the house says about a silo.
#[derive(Debug)]
pub(crate) struct SiloRow {
    pub(crate) schema: String,
    pub(crate) role: String,
    pub(crate) bucket: i32,
    pub(crate) schema_version: i32,
}

/// Lists the silos of a cluster, those on their way too.
pub(crate) async fn list_silos(tx: &Tx, cluster: &str) -> Result<Vec<SiloRow>, TenantsError> {
    let get = TenantsError::column;
    let rows = tx.query(LIST_SILOS, &[&cluster]).await?;
    rows.iter()
        .map(|row| {
            Ok(SiloRow {
                schema: row.try_get("schema_name").map_err(get)?,
                role: row.try_get("role_name").map_err(get)?,
                bucket: row.try_get("bucket").map_err(get)?,
                schema_version: row.try_get("schema_version").map_err(get)?,
            })
        })
        .collect()
}

macro_rules! questions {
    ($name:ident: $($check:literal => $sql:literal;)*) => {
        pub(crate) const $name: &[Question] = &[$(Question {
            check: $check,
            sql: concat!("
    with silos as (select * from unnest($2::text[], $3::text[], $4::text[], $5::bool[]) as silo (schema, role, login, is_open)),
    roles as (select oid, rolname::text as name, rolname::text ~ ('^' || $1::text || '_(app|b[0-9]+)$') as is_login,
            rolname::text ~ ('^' || $1 || '_t_') as is_tenant
        from pg_catalog.pg_roles where starts_with(rolname::text, $1 || '_')),
    house as (select oid, nspname::text as name, nspname::text ~ '^t_[0-9a-f]{32}$' or exists (select from silos where schema = nspname::text) as is_silo
        from pg_catalog.pg_namespace
        where nspname::text in ('control', 'keystore', 'outbox') or nspname::text ~ '^t_[0-9a-f]{32}$' or nspname::text in (select schema from silos))
    ", $sql),
        }),*];
    };
}

questions! { ISOLATION:
    "role_powers" => "
    select r.name, concat_ws(', ',
            case when p.rolcanlogin and not r.is_login then 'may log in' end, case when p.rolcanlogin and p.rolinherit then 'has its roles'' rights without asking' end,
            case when p.rolsuper then 'is superuser' end, case when p.rolcreaterole then 'makes roles' end,
            case when p.rolcreatedb then 'makes databases' end, case when p.rolreplication then 'replicates' end,
            case when p.rolbypassrls then 'passes row security' end),
        format('alter role %I %s nosuperuser nocreaterole nocreatedb noreplication nobypassrls', r.name,
            case when r.is_login then 'noinherit' else 'nologin' end)
    from roles r join pg_catalog.pg_roles p on p.oid = r.oid
    where (p.rolcanlogin and (not r.is_login or p.rolinherit)) or p.rolsuper or p.rolcreaterole or p.rolcreatedb or p.rolreplication or p.rolbypassrls
    order by 1";
    "login_settings" => "
    select r.name, 'begins each session with ' || setting, format('alter role %I reset %s', r.name, split_part(setting, '=', 1))
    from roles r join pg_catalog.pg_db_role_setting s on s.setrole = r.oid cross join unnest(s.setconfig) as setting
    where split_part(setting, '=', 1) not in ('lock_timeout', 'idle_in_transaction_session_timeout', 'statement_timeout', 'client_connection_check_interval')
    order by 1, 2";
    "memberships" => "
    select member.rolname::text,
        case when granted.rolname::text ~ ('^' || $1 || '_t_') and s.role is null then 'may become ' || granted.rolname::text || ', which is no customer''s role'
            when m.admin_option then 'may let others become ' || granted.rolname::text
            else 'may become ' || granted.rolname::text end,
        format('revoke %I from %I', granted.rolname, member.rolname)
    from pg_catalog.pg_auth_members m
    join pg_catalog.pg_roles granted on granted.oid = m.roleid
    join pg_catalog.pg_roles member on member.oid = m.member
    left join silos s on s.role = granted.rolname::text
    where (m.member in (select oid from roles) or m.roleid in (select oid from roles))
        and m.member <> (select nspowner from pg_catalog.pg_namespace where nspname = 'outbox')
        and (m.admin_option or not (
            (granted.rolname::text = $1 || '_tenants' and member.rolname::text ~ ('^' || $1 || '_t_'))
            or (member.rolname::text = $1 || '_app' and granted.rolname::text in ($1 || '_msp', $1 || '_operator', $1 || '_access', $1 || '_keystore'))
            or (s.login is not null and member.rolname::text = s.login)))
    order by 1, 2";
    "inherited_rights" => "
    select member.name, 'has the rights of ' || granted.rolname::text || ' without becoming it', format('alter role %I noinherit', member.name) ||
        format('; grant %I to %I', granted.rolname, member.name)
    from pg_catalog.pg_auth_members m
    join roles member on member.oid = m.member and member.is_login
    join pg_catalog.pg_roles granted on granted.oid = m.roleid
    where pg_catalog.pg_has_role(member.oid, granted.oid, 'usage')
    order by 1, 2";
    "bucket_size" => "
    select member.name, 'may become the roles of ' || count(*) || ' tenants', 'move tenants to another bucket: a login serves at most 250'
    from pg_catalog.pg_auth_members m
    join roles member on member.oid = m.member and member.is_login
    join roles granted on granted.oid = m.roleid and granted.is_tenant
    group by member.name having count(*) > 250 order by 1";
    "silo_incomplete" => "
    select s.schema, concat_ws(', ',
            case when n.oid is null then 'the schema is missing' end,
            case when r.oid is null then 'the role ' || s.role || ' is missing' end,
            case when r.oid is not null and not exists (select from pg_catalog.pg_auth_members m join roles login on login.oid = m.member
                where m.roleid = r.oid and login.name = s.login) then s.login || ' may not become the role' end,
            case when r.oid is not null and not exists (select from pg_catalog.pg_auth_members m join roles grp on grp.oid = m.roleid
                where m.member = r.oid and grp.name = $1 || '_tenants') then 'the role may not add to the outbox' end),
        'provision the customer again: granary customer add'
    from silos s left join pg_catalog.pg_namespace n on n.nspname::text = s.schema left join roles r on r.name = s.role
    where s.is_open and (n.oid is null or r.oid is null
        or not exists (select from pg_catalog.pg_auth_members m join roles login on login.oid = m.member where m.roleid = r.oid and login.name = s.login)
        or not exists (select from pg_catalog.pg_auth_members m join roles grp on grp.oid = m.roleid where m.member = r.oid and grp.name = $1 || '_tenants'))
    order by 1";
    "orphan_silo" => "
    select h.name, 'no customer has this schema', format('drop schema %I cascade, when you know what it was', h.name)
    from house h where h.is_silo and not exists (select from silos where schema = h.name) order by 1";
    "rights_abroad" => "
    , held as (
        select 'schema' as kind, n.nspname::text as place, n.nspname::text as name, a.* from pg_catalog.pg_namespace n, aclexplode(n.nspacl) a
        union all
        select 'table', n.nspname::text, c.relname::text, a.* from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
        union all
        select 'column', n.nspname::text, c.relname || '.' || t.attname, a.* from pg_catalog.pg_attribute t join pg_catalog.pg_class c on c.oid = t.attrelid
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace, aclexplode(t.attacl) a where t.attacl is not null
        union all
        select 'function', n.nspname::text, p.proname::text, a.* from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) a
        union all
        select 'objects to come', coalesce(n.nspname::text, 'any'), case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'n' then 'schemas' else 'types' end, a.*
            from pg_catalog.pg_default_acl d left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
        union all
        select 'foreign server', 'any', srvname::text, a.* from pg_catalog.pg_foreign_server, aclexplode(srvacl) a
        union all
        select 'large object', 'any', oid::text, a.* from pg_catalog.pg_largeobject_metadata, aclexplode(lomacl) a
        union all
        select 'parameter', 'any', parname, a.* from pg_catalog.pg_parameter_acl, aclexplode(paracl) a
        union all
        select 'database', datname::text, datname::text, a.* from pg_catalog.pg_database, aclexplode(datacl) a where datname = current_database()),
    holders as (
        select r.oid, r.name, r.is_tenant, s.schema from roles r left join silos s on s.role = r.name
        where r.is_tenant or r.is_login or r.name = $1 || '_tenants' or exists (select from silos where role = r.name)
        union all select 0, 'public', false, null)
    select o.name, 'may ' || lower(h.privilege_type) || ' ' || h.kind || ' ' || case when h.place in (h.name, 'any') then h.name else h.place || '.' || h.name end
            || case when h.is_grantable then ', and let others' else '' end,
        case when h.kind in ('schema', 'table', 'function') then format('revoke all on %s %s from %I', h.kind,
                case when h.kind = 'schema' then quote_ident(h.name) else quote_ident(h.place) || '.' || quote_ident(h.name) || case when h.kind = 'function' then '(…)' else '' end end, o.name)
            else format('revoke it from %I', o.name) end
    from held h join holders o on o.oid = h.grantee
    where not case
        when h.is_grantable then false
        when o.name = 'public' then h.place in ('pg_catalog', 'information_schema', 'pg_toast')
            or (h.kind = 'database' and h.privilege_type in ('CONNECT', 'TEMPORARY')) or (h.kind = 'function' and h.privilege_type = 'EXECUTE' and h.place not in ('outbox', 'public'))
            or (h.kind = 'objects to come' and h.name in ('functions', 'types'))
            or (h.kind in ('schema', 'table', 'column', 'function') and h.place not in (select name from house) and h.place <> 'public')
        when o.name = $1 || '_tenants' then h.place = 'outbox' and ((h.kind = 'schema' and h.privilege_type = 'USAGE') or (h.kind = 'table' and h.name = 'messages' and h.privilege_type = 'INSERT'))
        when h.place is distinct from o.schema then false
        when h.kind = 'schema' then h.privilege_type = 'USAGE'
        when h.kind = 'function' then h.privilege_type = 'EXECUTE'
        when h.kind = 'table' then h.name <> 'refinery_schema_history' and (h.privilege_type in ('SELECT', 'INSERT')
            or (h.privilege_type in ('UPDATE', 'DELETE', 'USAGE') and h.name not in ('usage_events', 'audit_log')))
        else false end
    order by 1, 2";
    "ownership" => "
    select r.name, 'owns ' || pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid),
        case when d.classid = 'pg_catalog.pg_largeobject'::regclass then format('it may hold what a customer''s rows hold: select lo_unlink(%s)', d.objid)
            else format('reassign owned by %I to current_user', r.name) end
    from pg_catalog.pg_shdepend d join roles r on r.oid = d.refobjid
    where d.refclassid = 'pg_catalog.pg_authid'::regclass and d.deptype = 'o'
        and (d.dbid = 0 or d.dbid = (select oid from pg_catalog.pg_database where datname = current_database()))
    order by 1, 2";
    "security_definer" => "
    select n.nspname || '.' || p.proname, 'runs as its owner ' || coalesce('with ' || path, 'without a search_path of its own'),
        format('alter function %s set search_path = %I, pg_temp', p.oid::regprocedure, n.nspname)
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    left join lateral (select setting from unnest(p.proconfig) as setting where setting like 'search_path=%') as configured (path) on true
    where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema')
        and (path is null or path ~ '(public|\\$user)' or path !~ 'pg_temp\"?$')
    order by 1";
    "public_objects" => "
    select 'public.' || name, kind || ' in public', 'drop it, or move it into a schema of its own'
    from (
        select c.relname::text, case c.relkind when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'view' when 'i' then 'index' when 'I' then 'index' else 'table' end
            from pg_catalog.pg_class c where c.relnamespace = to_regnamespace('public')
        union all select p.proname::text, 'function' from pg_catalog.pg_proc p where p.pronamespace = to_regnamespace('public')
        union all select t.typname::text, 'type' from pg_catalog.pg_type t where t.typnamespace = to_regnamespace('public') and t.typelem = 0
            and (t.typrelid = 0 or (select relkind from pg_catalog.pg_class where oid = t.typrelid) = 'c')
    ) as listed (name, kind) order by 1";
    "open_functions" => "
    select n.nspname || '.' || p.proname, 'every tenant may call it', format('revoke execute on function %s from public', p.oid::regprocedure)
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'outbox' and p.prorettype <> 'pg_catalog.trigger'::regtype and p.proacl is null order by 1";
    "row_security" => "
    select n.nspname || '.' || c.relname, case when c.relrowsecurity then 'row security spares the owner' else 'row security is off' end,
        format('alter table %1$I.%2$I enable row level security; alter table %1$I.%2$I force row level security', n.nspname, c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not (c.relrowsecurity and c.relforcerowsecurity) and c.relname <> 'refinery_schema_history'
        and (n.nspname = 'control'
            or (n.nspname not in ('pg_catalog', 'information_schema', 'keystore') and exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attname = 'msp_id' and not a.attisdropped)))
    order by 1";
    "policies" => "
    select n.nspname || '.' || c.relname || ' ' || p.polname, 'lets ' || coalesce(r.name, 'everybody') || ' pass by ' || expression,
        format('drop policy %I on %I.%I', p.polname, n.nspname, c.relname)
    from pg_catalog.pg_policy p
    join pg_catalog.pg_class c on c.oid = p.polrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    cross join unnest(p.polroles) as to_role left join roles r on r.oid = to_role
    cross join lateral (values (pg_catalog.pg_get_expr(p.polqual, p.polrelid)), (pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))) as said (expression)
    where expression is not null and p.polpermissive and to_role <> c.relowner and not case
        when r.name = $1 || '_msp' then expression like '%granary.msp_id%' or (p.polcmd = 'r' and expression = '(msp_id IS NULL)')
        when r.name = $1 || '_tenants' then expression like '%CURRENT_USER%'
        when r.name in ($1 || '_operator', $1 || '_access', $1 || '_keystore') then true
        else false end
    order by 1";
    "views" => "
    select n.nspname || '.' || c.relname, 'a view that reads with its owner''s rights', format('alter view %I.%I set (security_invoker = true)', n.nspname, c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('v', 'm') and n.oid in (select oid from house)
        and not (c.relkind = 'v' and coalesce(array_to_string(c.reloptions, ','), '') ~ 'security_invoker=(true|on|1|yes)')
    order by 1";
    "foreign_keys" => "
    select c.conrelid::regclass::text, 'the foreign key ' || c.conname || ' leads to ' || c.confrelid::regclass::text, format('alter table %s drop constraint %I', c.conrelid::regclass, c.conname)
    from pg_catalog.pg_constraint c join pg_catalog.pg_class one on one.oid = c.conrelid join pg_catalog.pg_class other on other.oid = c.confrelid
    where c.contype = 'f' and one.relnamespace <> other.relnamespace
        and (one.relnamespace in (select oid from house where is_silo) or other.relnamespace in (select oid from house where is_silo))
    order by 1";
    "large_objects" => "
    select 'lo_compat_privileges', 'every role reads every large object', 'alter system set lo_compat_privileges = off'
    where current_setting('lo_compat_privileges') = 'on'";
}

questions! { SERVER:
    "settings" => "
    select name, 'is ' || current_setting(name), remedy
    from (values
        ('fsync', 'on', 'a crash may destroy the database: alter system set fsync = on'),
        ('full_page_writes', 'on', 'a crash may destroy pages: alter system set full_page_writes = on'),
        ('password_encryption', 'scram-sha-256', 'alter system set password_encryption = ''scram-sha-256''')
    ) as wanted (name, value, remedy) where current_setting(name) <> value";
}

questions! { ADVICE:
    "large_objects" => "
    select 'pg_catalog.lo_from_bytea', 'everybody may call it, and leave rows outside of every schema',
        'as a superuser: revoke execute on function pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid), pg_catalog.lo_from_bytea(oid, bytea) from public'
    where pg_catalog.has_function_privilege('public', 'pg_catalog.lo_from_bytea(oid, bytea)', 'execute')
        or pg_catalog.has_function_privilege('public', 'pg_catalog.lo_create(oid)', 'execute')
        or pg_catalog.has_function_privilege('public', 'pg_catalog.lo_creat(integer)', 'execute')";
    "set_config" => "
    select 'pg_catalog.set_config', 'everybody may call it, and change the role in the middle of a statement',
        'as a superuser: revoke execute on function pg_catalog.set_config(text, text, boolean) from public'
    where pg_catalog.has_function_privilege('public', 'pg_catalog.set_config(text, text, boolean)', 'execute')";
    "settings" => "
    select name, 'is ' || current_setting(name), remedy
    from (values
        ('synchronous_commit', current_setting('synchronous_commit') = 'off', 'the last moments before a crash are lost: alter system set synchronous_commit = on'),
        ('max_locks_per_transaction', current_setting('max_locks_per_transaction')::int < 128, 'a dump of many schemas needs more: alter system set max_locks_per_transaction = 256'),
        ('server_version', current_setting('server_version_num')::int >= 190000, 'the house is tested on Postgres 15 to 18')
    ) as wanted (name, is_off, remedy) where is_off";
}
