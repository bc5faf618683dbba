//! Copies of silos. One that is not complete (schema version 0) is seen by whoever makes it, lists it or drops it.

use granary_db::{OwnerConnection, Row, ToSql, Tx};
use granary_types::{CustomerCode, CustomerId, MspId};
use jiff::Timestamp;

use crate::error::TenantsError;
use crate::placement::{CloneSource, SiloClone};

/// Everything that makes a [`SiloClone`].
macro_rules! clone_where {
    ($condition:literal) => {
        concat!(
            "select k.id, k.parent_id, p.code as parent, k.msp_id, k.code, k.schema_name, k.role_name, k.bucket, k.cluster, k.schema_version,
                k.has_personal_data, k.source, k.swapped_at, k.reason, k.made_by, k.created_at, k.expires_at
            from clones k join customers p on p.id = k.parent_id where ",
            $condition
        )
    };
}

/// A copy does not take the code of a customer.
const INSERT: &str = "
    insert into clones (id, parent_id, msp_id, code, schema_name, role_name, cluster, has_personal_data, source, reason, made_by, created_at,
        expires_at)
    select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
    where not exists (select from customers where msp_id = $3 and code = $4)
    on conflict (msp_id, code) do nothing";
/// What was not completed is begun anew on other terms.
const RESTART: &str = "
    update clones set has_personal_data = $2, source = $3, reason = $4, made_by = $5, created_at = $6, expires_at = $7
    where id = $1 and schema_version = 0";
const FIND: &str = clone_where!("k.id = $1");
const FIND_BY_CODE: &str = clone_where!("k.msp_id = $1 and k.code = $2");
const LIST: &str = clone_where!("k.msp_id = $1 and ($2::text is null or p.code = $2 or k.code = $2) order by p.code, k.code");
const LIST_OF: &str = clone_where!("k.parent_id = $1 order by k.code");
const LIST_OVER: &str = clone_where!("k.expires_at <= $1 or (k.schema_version = 0 and k.created_at <= $2) order by k.expires_at");
/// On the terms of the call that brought the rows: another may have entered its own while it waited for that one.
const FINISH: &str = "
    update clones set schema_version = $2, has_personal_data = $3, source = $4, reason = $5, made_by = $6, created_at = $7, expires_at = $8
    where id = $1 and schema_version = 0";
const DELETE: &str = "delete from clones where id = $1";
/// The size of schemas with their indexes; one that is not there has no row.
const SIZES: &str = "
    select n.nspname::text, coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
    from pg_catalog.pg_namespace n
    left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relkind = 'r'
    where n.nspname = any ($1::text[]) group by n.nspname";
/// Where the server listens, for whoever wants to come by psql.
const ADDRESS: &str = "
    select split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database()::text, session_user::text";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[INSERT, RESTART, FIND, FIND_BY_CODE, LIST, LIST_OF, LIST_OVER, FINISH, DELETE, SIZES, ADDRESS];

/// Enters a copy; false when there is a customer or a copy of that code.
pub(crate) async fn insert_clone(tx: &Tx, clone: &SiloClone) -> Result<bool, TenantsError> {
    let SiloClone { id, parent, msp_id, schema_name, role_name, cluster, has_personal_data, reason, made_by, .. } = clone;
    let (code, source) = (clone.code.as_str(), clone.source.as_str());
    let SiloClone { created_at, expires_at, .. } = clone;
    let values: [&(dyn ToSql + Sync); 13] =
        [id, parent, msp_id, &code, schema_name, role_name, cluster, has_personal_data, &source, reason, made_by, created_at, expires_at];
    Ok(tx.execute(INSERT, &values).await? == 1)
}

/// Puts a copy that is not complete on other terms; false when it is complete.
pub(crate) async fn restart_clone(tx: &Tx, id: CustomerId, terms: &SiloClone) -> Result<bool, TenantsError> {
    let SiloClone { has_personal_data, source, reason, made_by, created_at, expires_at, .. } = terms;
    Ok(tx.execute(RESTART, &[&id, has_personal_data, &source.as_str(), reason, made_by, created_at, expires_at]).await? == 1)
}

pub(crate) async fn find_clone(tx: &Tx, id: CustomerId) -> Result<Option<SiloClone>, TenantsError> {
    tx.query_opt(FIND, &[&id]).await?.as_ref().map(clone).transpose()
}

pub(crate) async fn find_clone_by_code(tx: &Tx, msp: MspId, code: &CustomerCode) -> Result<Option<SiloClone>, TenantsError> {
    tx.query_opt(FIND_BY_CODE, &[&msp, &code.as_str()]).await?.as_ref().map(clone).transpose()
}

/// Lists an MSP's copies, all or those that a code names: the parent's or their own.
pub(crate) async fn list_clones(tx: &Tx, msp: MspId, code: Option<&str>) -> Result<Vec<SiloClone>, TenantsError> {
    tx.query(LIST, &[&msp, &code]).await?.iter().map(clone).collect()
}

/// Lists the copies of a customer's silo, complete or not.
pub(crate) async fn list_clones_of(tx: &Tx, parent: CustomerId) -> Result<Vec<SiloClone>, TenantsError> {
    tx.query(LIST_OF, &[&parent]).await?.iter().map(clone).collect()
}

/// Lists the copies whose days are over, and those that nobody completed.
pub(crate) async fn list_clones_over(tx: &Tx, unfinished_since: Timestamp) -> Result<Vec<SiloClone>, TenantsError> {
    tx.query(LIST_OVER, &[&tx.now(), &unfinished_since]).await?.iter().map(clone).collect()
}

/// Notes that a copy is complete, and on which terms; false when it was, or has gone.
pub(crate) async fn finish_clone(tx: &Tx, terms: &SiloClone, version: i32) -> Result<bool, TenantsError> {
    let SiloClone { id, has_personal_data, source, reason, made_by, created_at, expires_at, .. } = terms;
    let values: [&(dyn ToSql + Sync); 8] = [id, &version, has_personal_data, &source.as_str(), reason, made_by, created_at, expires_at];
    Ok(tx.execute(FINISH, &values).await? == 1)
}

pub(crate) async fn delete_clone(tx: &Tx, id: CustomerId) -> Result<(), TenantsError> {
    tx.execute(DELETE, &[&id]).await?;
    Ok(())
}

/// Returns the size in bytes of each schema that is there, with its name.
pub(crate) async fn sizes_of(owner: &OwnerConnection, schemas: &[&str]) -> Result<Vec<(String, i64)>, TenantsError> {
    let get = TenantsError::column;
    let rows = owner.query(SIZES, &[&schemas]).await?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(get)?, row.try_get(1).map_err(get)?))).collect()
}

/// Returns directory of the socket, port, database and login.
pub(crate) async fn address_of(owner: &OwnerConnection) -> Result<[String; 4], TenantsError> {
    let get = TenantsError::column;
    let row = owner.query_one(ADDRESS, &[]).await?;
    Ok([row.try_get(0).map_err(get)?, row.try_get(1).map_err(get)?, row.try_get(2).map_err(get)?, row.try_get(3).map_err(get)?])
}

/// The columns that a question answers with, as a line in which nothing is quoted and `\u{2}` separates.
pub(crate) fn columns_of(question: &str) -> String {
    format!(
        "copy (select * from (\n{question}\n) as the_answer limit 0) to stdout (format csv, header, delimiter e'\\x02', quote e'\\x01')"
    )
}

/// The rows that a question answers with, a JSON object a line.
pub(crate) fn rows_of(question: &str, limit: usize) -> String {
    format!(
        "copy (select to_jsonb(the_answer)::text from (\n{question}\n) as the_answer limit {limit}) to stdout (format csv, delimiter e'\\x02', quote e'\\x01')"
    )
}

fn clone(row: &Row) -> Result<SiloClone, TenantsError> {
    let get = TenantsError::column;
    let code = |name: &str| row.try_get::<_, &str>(name).map_err(get)?.parse().map_err(TenantsError::column);
    Ok(SiloClone {
        id: row.try_get("id").map_err(get)?,
        parent: row.try_get("parent_id").map_err(get)?,
        parent_code: code("parent")?,
        msp_id: row.try_get("msp_id").map_err(get)?,
        code: code("code")?,
        schema_name: row.try_get("schema_name").map_err(get)?,
        role_name: row.try_get("role_name").map_err(get)?,
        bucket: row.try_get("bucket").map_err(get)?,
        cluster: row.try_get("cluster").map_err(get)?,
        schema_version: row.try_get("schema_version").map_err(get)?,
        has_personal_data: row.try_get("has_personal_data").map_err(get)?,
        source: CloneSource::of_word(row.try_get("source").map_err(get)?)?,
        swapped_at: row.try_get("swapped_at").map_err(get)?,
        reason: row.try_get("reason").map_err(get)?,
        made_by: row.try_get("made_by").map_err(get)?,
        created_at: row.try_get("created_at").map_err(get)?,
        expires_at: row.try_get("expires_at").map_err(get)?,
    })
}
