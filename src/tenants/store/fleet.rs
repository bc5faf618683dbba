//! The versions of all tenants' schemas, as the control schema knows them.

use granary_db::{OwnerConnection, Row, Tx};

use crate::error::TenantsError;
use crate::fleet::{Behind, Outcome, SchemaState};

const COUNT: &str = "
    select count(*) filter (where schema_version = $1) as current, count(*) filter (where schema_version > $1) as ahead
    from customers
    where schema_version > 0 and status <> 'erased' and ($2::text is null or code = $2)";
/// Copies that were made for support and staging are migrated like their parents. They come first, then trials, then the
/// youngest: the canaries are those who have the least to lose.
const LIST_BEHIND: &str = "
    with behind as (
        select id, msp_id, code, schema_name, role_name, cluster, created_at, false as is_clone, status = 'trial' as is_trial
        from customers
        where schema_version > 0 and schema_version < $1 and status <> 'erased'
        union all
        select id, msp_id, code, schema_name, role_name, cluster, created_at, true, false
        from clones
        where schema_version > 0 and schema_version < $1
    )
    select b.id, m.code as msp, b.code, b.schema_name, b.role_name, b.cluster
    from behind b join msps m on m.id = b.msp_id
    where $2::text is null or b.code = $2
    order by b.is_clone desc, b.is_trial desc, b.created_at desc, b.id desc";
/// A version only ever grows, whoever writes it.
const UPDATE_VERSIONS: &str = "
    update customers set schema_version = $1
    where id = any ($2::uuid[]) and schema_version < $1";
const UPDATE_CLONES: &str = "
    update clones set schema_version = $1
    where id = any ($2::uuid[]) and schema_version < $1";
const RECORD: &str = "
    insert into schema_states (customer_id, error, failed_attempts, attempted_at, duration_ms)
    select c.id, o.error, case when o.error is null then 0 else 1 end, $4, o.duration_ms
    from unnest($1::uuid[], $2::text[], $3::bigint[]) as o (id, error, duration_ms) join customers c on c.id = o.id
    on conflict (customer_id) do update
    set error = excluded.error,
        failed_attempts = case when excluded.error is null then 0 else schema_states.failed_attempts + 1 end,
        attempted_at = excluded.attempted_at, duration_ms = excluded.duration_ms";
const LIST_STATES: &str = "
    select m.code as msp, c.code, c.schema_name, c.schema_version, s.error, coalesce(s.failed_attempts, 0) as failed_attempts,
        s.attempted_at, s.duration_ms, s.drift, s.checked_at
    from customers c
    join msps m on m.id = c.msp_id
    left join schema_states s on s.customer_id = c.id
    where c.schema_version > 0 and c.status <> 'erased' and ($1::text is null or c.code = $1)
    order by m.code, c.code";

/// Asked by the owner, before the control schema itself is up to date.
const HAS_CUSTOMERS: &str = "select to_regclass('control.customers') is not null";
const COUNT_VERSIONS: &str = "
    select schema_version, count(*) from control.customers
    where schema_version > 0 and status <> 'erased' and ($1::text is null or code = $1)
    group by schema_version";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[COUNT, LIST_BEHIND, UPDATE_VERSIONS, UPDATE_CLONES, RECORD, LIST_STATES, HAS_CUSTOMERS, COUNT_VERSIONS];

/// How many schemas need nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) current: u64,
    pub(crate) ahead: u64,
}

/// Counts the schemas at a version, and those beyond it.
pub(crate) async fn count_schemas(tx: &Tx, version: i32, only: Option<&str>) -> Result<Counted, TenantsError> {
    let row = tx.query_one(COUNT, &[&version, &only]).await?;
    let count = |name: &str| row.try_get::<_, i64>(name).map(i64::unsigned_abs).map_err(TenantsError::column);
    Ok(Counted { current: count("current")?, ahead: count("ahead")? })
}

/// Lists the tenants whose schema is older than a version, those with the least to lose first.
pub(crate) async fn list_behind(tx: &Tx, version: i32, only: Option<&str>) -> Result<Vec<Behind>, TenantsError> {
    tx.query(LIST_BEHIND, &[&version, &only]).await?.iter().map(behind).collect()
}

/// Notes the outcomes of attempts, and the version of those that succeeded.
pub(crate) async fn record_outcomes(tx: &Tx, version: i32, outcomes: &[Outcome]) -> Result<(), TenantsError> {
    let ids: Vec<_> = outcomes.iter().map(|outcome| outcome.tenant.id).collect();
    let reached: Vec<_> = outcomes.iter().filter(|outcome| outcome.result.is_ok()).map(|outcome| outcome.tenant.id).collect();
    let errors: Vec<_> = outcomes.iter().map(|outcome| outcome.result.as_ref().err().map(ToString::to_string)).collect();
    let durations: Vec<_> = outcomes.iter().map(|outcome| i64::try_from(outcome.duration.as_millis()).unwrap_or(i64::MAX)).collect();
    tx.execute(UPDATE_VERSIONS, &[&version, &reached]).await?;
    tx.execute(UPDATE_CLONES, &[&version, &reached]).await?;
    tx.execute(RECORD, &[&ids, &errors, &durations, &tx.now()]).await?;
    Ok(())
}

/// Lists where every schema stands, by MSP and code.
pub(crate) async fn list_schema_states(tx: &Tx, only: Option<&str>) -> Result<Vec<SchemaState>, TenantsError> {
    tx.query(LIST_STATES, &[&only]).await?.iter().map(state).collect()
}

/// Counts the tenants' schemas by version; none when there is no control schema yet.
pub(crate) async fn count_versions(owner: &OwnerConnection, only: Option<&str>) -> Result<Vec<(i32, i64)>, TenantsError> {
    if !owner.query_one(HAS_CUSTOMERS, &[]).await?.try_get::<_, bool>(0).map_err(TenantsError::column)? {
        return Ok(Vec::new());
    }
    let rows = owner.query(COUNT_VERSIONS, &[&only]).await?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(TenantsError::column)?, row.try_get(1).map_err(TenantsError::column)?))).collect()
}

fn behind(row: &Row) -> Result<Behind, TenantsError> {
    let get = TenantsError::column;
    Ok(Behind {
        id: row.try_get("id").map_err(get)?,
        msp: row.try_get("msp").map_err(get)?,
        code: row.try_get::<_, &str>("code").map_err(get)?.parse().map_err(TenantsError::column)?,
        schema_name: row.try_get("schema_name").map_err(get)?,
        role_name: row.try_get("role_name").map_err(get)?,
        cluster: row.try_get("cluster").map_err(get)?,
    })
}

fn state(row: &Row) -> Result<SchemaState, TenantsError> {
    let get = TenantsError::column;
    Ok(SchemaState {
        msp: row.try_get("msp").map_err(get)?,
        code: row.try_get::<_, &str>("code").map_err(get)?.parse().map_err(TenantsError::column)?,
        schema_name: row.try_get("schema_name").map_err(get)?,
        version: row.try_get("schema_version").map_err(get)?,
        error: row.try_get("error").map_err(get)?,
        failed_attempts: row.try_get("failed_attempts").map_err(get)?,
        attempted_at: row.try_get("attempted_at").map_err(get)?,
        duration_ms: row.try_get("duration_ms").map_err(get)?,
        drift: row.try_get("drift").map_err(get)?,
        checked_at: row.try_get("checked_at").map_err(get)?,
    })
}
