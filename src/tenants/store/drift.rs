//! What the catalog says of tenants' schemas.

use granary_db::{OwnerConnection, Tx};
use granary_types::{CustomerCode, CustomerId};

use crate::error::TenantsError;

/// Opens the transaction in which schemas are compared with one that is made for the purpose, and undone with it.
pub(crate) const OPEN_REFERENCE: &str = r#"
    begin;
    set local client_min_messages = warning;
    set local jit = off;
    create role "{role}" nologin;
    create schema "{schema}";
    grant usage on schema "{schema}" to "{role}";
    set local search_path = "{schema}";
    create table "{schema}".refinery_schema_history
        (version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255))"#;

/// Reads the catalog of thousands of schemas once from end to end, by as many processes as the server has.
pub(crate) const LOOK_OVER_ALL: &str = "
    set local enable_nestloop = off;
    set local enable_mergejoin = off;
    set local work_mem = '64MB';
    set local max_parallel_workers_per_gather = 2;
    set local parallel_setup_cost = 0;
    set local parallel_tuple_cost = 0";

/// Goes on to single schemas: for one of thousands nobody reads the catalog from end to end.
pub(crate) const LOOK_CLOSER: &str = "set local enable_nestloop = on; set local max_parallel_workers_per_gather = 0";

/// `$1` schemas, `$2` their roles: one number a schema, in any order; a schema that is not there has no row. The role's name is
/// taken out of the grants; no grants and the owner's own are the same. Expressions are compared as Postgres stores them, without
/// where in which statement they stood, which is quick and sometimes finds a difference where there is none: [`DESCRIBE`] has the
/// last word.
const FINGERPRINT: &str = r#"
    with silo as not materialized (
        select s.name, n.oid as id, s.role, coalesce(n.nspacl, acldefault('n', n.nspowner)) as nspacl
        from unnest($1::text[], $2::text[]) as s (name, role) join pg_catalog.pg_namespace n on n.nspname = s.name::name
    ),
    item as not materialized (
        select s.id, hash_record_extended(row(replace(s.nspacl::text, s.role, '')), 0) as hash
        from silo s
        union all
        select s.id, hash_record_extended(
            (c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.reloptions, replace(coalesce(c.relacl,
                acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))::text, s.role, '')), 1)
        from pg_catalog.pg_class c join silo s on s.id = c.relnamespace where c.relkind <> 'i'
        union all
        select c.relnamespace, hash_record_extended(
            (c.relname, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attidentity, a.attgenerated, a.atthasdef, a.attcollation,
                a.attacl is null), 2)
        from pg_catalog.pg_attribute a
        join pg_catalog.pg_class c on c.oid = a.attrelid
        join silo s on s.id = c.relnamespace
        where c.relkind in ('r', 'v') and a.attnum > 0 and not a.attisdropped
        union all
        select c.relnamespace, hash_record_extended((c.relname, d.adnum, regexp_replace(d.adbin::text, ':location -?[0-9]+', '', 'g')), 3)
        from pg_catalog.pg_attrdef d
        join pg_catalog.pg_class c on c.oid = d.adrelid
        join silo s on s.id = c.relnamespace
        union all
        select o.connamespace, hash_record_extended(
            (o.conname, o.contype, o.convalidated, o.condeferrable, o.confdeltype, o.conkey, o.confkey,
                regexp_replace(o.conbin::text, ':location -?[0-9]+', '', 'g')), 4)
        from pg_catalog.pg_constraint o join silo s on s.id = o.connamespace
        union all
        select c.relnamespace, hash_record_extended(
            (c.relname, c.relam, c.reloptions, i.indisunique, i.indisprimary, i.indisvalid, i.indkey::text, i.indclass::text,
                i.indoption::text, regexp_replace(i.indpred::text, ':location -?[0-9]+', '', 'g'),
                regexp_replace(i.indexprs::text, ':location -?[0-9]+', '', 'g')), 5)
        from pg_catalog.pg_index i
        join pg_catalog.pg_class c on c.oid = i.indexrelid
        join silo s on s.id = c.relnamespace
        union all
        select c.relnamespace, hash_record_extended((c.relname, t.tgname, t.tgtype, t.tgenabled, t.tgargs), 6)
        from pg_catalog.pg_trigger t
        join pg_catalog.pg_class c on c.oid = t.tgrelid
        join silo s on s.id = c.relnamespace
        where not t.tgisinternal
        union all
        select p.pronamespace, hash_record_extended((p.proname, p.prosrc, p.prosecdef, p.proconfig), 7)
        from pg_catalog.pg_proc p join silo s on s.id = p.pronamespace
    )
    select s.name, f.fingerprint
    from (select id, bit_xor(hash) as fingerprint from item group by id) f join silo s on s.id = f.id"#;

/// `$1` schema, `$2` role: everything that makes it up, in the words of Postgres without the two names.
const DESCRIBE: &str = "
    with silo as (select oid as id, coalesce(nspacl, acldefault('n', nspowner)) as nspacl from pg_catalog.pg_namespace where nspname = $1::text::name),
    relation as (
        select c.oid, c.relname, c.relkind, c.reloptions,
            coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::\"char\", c.relowner)) as relacl
        from pg_catalog.pg_class c join silo s on s.id = c.relnamespace
    ),
    item (kind, name, detail) as (
        select 'grants on', 'the schema', nspacl::text from silo
        union all
        select 'table', relname::text, coalesce(array_to_string(reloptions, ','), '') from relation where relkind in ('r', 'v', 'S', 'm')
        union all
        select 'grants on', relname::text, relacl::text from relation where relkind in ('r', 'v', 'S', 'm')
        union all
        select 'column', r.relname || '.' || a.attname,
            concat_ws(' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
                'default ' || pg_get_expr(d.adbin, d.adrelid), nullif(a.attidentity::text, ''), nullif(a.attgenerated::text, ''), a.attacl::text)
        from relation r
        join pg_catalog.pg_attribute a on a.attrelid = r.oid
        left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where r.relkind in ('r', 'v') and a.attnum > 0 and not a.attisdropped
        union all
        select 'constraint', r.relname || '.' || o.conname, pg_get_constraintdef(o.oid) from relation r join pg_catalog.pg_constraint o on o.conrelid = r.oid
        union all
        select 'index', r.relname::text, pg_get_indexdef(r.oid) || case when i.indisvalid then '' else ' (invalid)' end
        from relation r join pg_catalog.pg_index i on i.indexrelid = r.oid
        union all
        select 'trigger', r.relname || '.' || t.tgname, pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
        from relation r join pg_catalog.pg_trigger t on t.tgrelid = r.oid where not t.tgisinternal
        union all
        select 'function', p.proname::text, concat_ws(' ', p.prosrc, p.prosecdef, array_to_string(p.proconfig, ','))
        from pg_catalog.pg_proc p join silo s on s.id = p.pronamespace
    )
    select kind, name, coalesce(replace(replace(detail, $1 || '.', ''), $2, 'the tenant'), '') as detail from item";

const LIST_VERSIONS: &str = "
    select c.id, m.code as msp, c.code, c.schema_name, c.role_name, c.cluster, c.schema_version
    from customers c join msps m on m.id = c.msp_id
    where c.schema_version between 1 and $1 and c.status <> 'erased' and ($2::text is null or c.code = $2)
    order by c.cluster, c.schema_version, m.code, c.code";
/// Only what changed is written.
const RECORD: &str = "
    insert into schema_states (customer_id, fingerprint, drift, checked_at)
    select id, fingerprint, drift, $4 from unnest($1::uuid[], $2::bigint[], $3::text[]) as seen (id, fingerprint, drift)
    on conflict (customer_id) do update
    set fingerprint = excluded.fingerprint, drift = excluded.drift, checked_at = excluded.checked_at
    where (schema_states.fingerprint, schema_states.drift) is distinct from (excluded.fingerprint, excluded.drift)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FINGERPRINT, DESCRIBE, LIST_VERSIONS, RECORD];

/// A silo to be looked at.
#[derive(Debug, Clone)]
pub(crate) struct Silo {
    pub(crate) id: CustomerId,
    pub(crate) msp: String,
    pub(crate) code: CustomerCode,
    pub(crate) schema_name: String,
    pub(crate) role_name: String,
    pub(crate) cluster: String,
    pub(crate) version: i32,
}

/// A part of a schema: what it is, its name, and what it looks like.
pub(crate) type Part = ((String, String), String);

/// Lists the silos up to a version, by cluster and version.
pub(crate) async fn list_versions(tx: &Tx, version: i32, only: Option<&str>) -> Result<Vec<Silo>, TenantsError> {
    let get = TenantsError::column;
    tx.query(LIST_VERSIONS, &[&version, &only])
        .await?
        .iter()
        .map(|row| {
            Ok(Silo {
                id: row.try_get("id").map_err(get)?,
                msp: row.try_get("msp").map_err(get)?,
                code: row.try_get::<_, &str>("code").map_err(get)?.parse().map_err(TenantsError::column)?,
                schema_name: row.try_get("schema_name").map_err(get)?,
                role_name: row.try_get("role_name").map_err(get)?,
                cluster: row.try_get("cluster").map_err(get)?,
                version: row.try_get("schema_version").map_err(get)?,
            })
        })
        .collect()
}

/// Returns the fingerprint of each schema that is there, with its name.
pub(crate) async fn list_fingerprints(
    owner: &OwnerConnection,
    schemas: &[&str],
    roles: &[&str],
) -> Result<Vec<(String, i64)>, TenantsError> {
    let rows = owner.query(FINGERPRINT, &[&schemas, &roles]).await?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(TenantsError::column)?, row.try_get(1).map_err(TenantsError::column)?))).collect()
}

/// Describes everything that makes up a schema.
pub(crate) async fn describe_schema(owner: &OwnerConnection, schema: &str, role: &str) -> Result<Vec<Part>, TenantsError> {
    let get = TenantsError::column;
    let rows = owner.query(DESCRIBE, &[&schema, &role]).await?;
    rows.iter().map(|row| Ok(((row.try_get(0).map_err(get)?, row.try_get(1).map_err(get)?), row.try_get(2).map_err(get)?))).collect()
}

/// Notes what was seen; a fingerprint that is as it was is not written again.
pub(crate) async fn record_fingerprints(
    tx: &Tx,
    ids: &[CustomerId],
    fingerprints: &[Option<i64>],
    drifts: &[Option<String>],
) -> Result<(), TenantsError> {
    tx.execute(RECORD, &[&ids, &fingerprints, &drifts, &tx.now()]).await?;
    Ok(())
}
