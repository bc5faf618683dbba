//! Silos that are copied, moved and fenced. Names of tables and columns come from the catalog, quoted by Postgres; names of
//! schemas are vetted identifiers.

use granary_db::{Identifier, OwnerConnection, Row, Tx};
use granary_types::{CustomerId, MspId};

use crate::error::TenantsError;

const FIND_MOVE: &str = "select from_cluster, to_cluster from moves where customer_id = $1";
const INSERT_MOVE: &str = "
    insert into moves (customer_id, msp_id, from_cluster, to_cluster, started_at) values ($1, $2, $3, $4, $5)
    on conflict (customer_id) do nothing";
const LIST_MOVES: &str = "
    select m.customer_id, c.schema_name, m.from_cluster, m.to_cluster
    from moves m join customers c on c.id = m.customer_id order by m.started_at";
const DELETE_MOVE: &str = "delete from moves where customer_id = $1";
const UPDATE_CLUSTER: &str = "update customers set cluster = $2, region = $3 where id = $1";
const COUNT_SILOS: &str =
    "select cluster, count(*) as silos from customers where schema_version > 0 and status <> 'erased' group by cluster";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FIND_MOVE, INSERT_MOVE, LIST_MOVES, DELETE_MOVE, UPDATE_CLUSTER, COUNT_SILOS];

/// Both sides write rows alike, and nobody is cut off in the middle.
const SESSION: &str = "
    set timezone = 'UTC'; set datestyle = 'ISO, YMD'; set bytea_output = 'hex'; set extra_float_digits = 1;
    set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set client_min_messages = warning";
const HAS_SCHEMA: &str = "select to_regnamespace($1) is not null";
const LIST_TABLES: &str = "
    select c.relname::text as plain_name, format('%I', c.relname) as name,
        (select array_agg(a.attname::text order by a.attnum)
            from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as plain_columns,
        (select array_agg(format('%I', a.attname) order by a.attnum)
            from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns,
        string_agg(format('%I', a.attname), ', ' order by k.position) as key,
        string_agg(format('(key->>%s)::%s', k.position - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by k.position) as key_values
    from pg_catalog.pg_class c
    join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary
    cross join unnest(i.indkey::int2[]) with ordinality as k (attnum, position)
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
    where c.relnamespace = to_regnamespace($1) and c.relkind = 'r' and c.relname <> 'refinery_schema_history'
    group by c.oid, c.relname order by c.relname";
const COUNT_TABLES: &str = "
    select count(*) from pg_catalog.pg_class
    where relnamespace = to_regnamespace($1) and relkind in ('r', 'p', 'f') and relname <> 'refinery_schema_history'";
const LIST_KEYS_OUT: &str = "
    select format('alter table %s alter constraint %I ', conrelid::regclass, conname)
    from pg_catalog.pg_constraint where connamespace = to_regnamespace($1) and contype = 'f'";
const LIST_SEQUENCES: &str = "
    select sequencename::text, coalesce(last_value, start_value), last_value is not null
    from pg_catalog.pg_sequences where schemaname = $1";
const SET_SEQUENCE: &str = "select setval(format('%I.%I', $1::text, $2::text)::regclass, $3, $4)";
/// What the role owns goes with it, such as large objects, which lie in no schema. A role that another database of the same server
/// still knows stays.
const DROP_ROLE: &str = "
    select format('do $do$ begin
        if to_regrole(quote_ident(%1$L)) is not null then
            begin
                drop owned by %1$I;
            exception when insufficient_privilege then null;
            end;
        end if;
        drop role if exists %1$I;
    exception when dependent_objects_still_exist then null;
    end $do$', $1::text)";

/// A table, and how its rows are named.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) plain_name: String,
    name: String,
    /// The columns, their names as they are and quoted.
    named: Vec<(String, String)>,
    columns: String,
    /// What of each column travels; the columns themselves unless told.
    shown: String,
    key: String,
    key_values: String,
}

/// What of a column travels to a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    AsItIs,
    /// A text in its place, the same one for the same value.
    Pseudonym,
    Nothing,
}

impl Table {
    /// Lets only that travel which `shown` says of each column; the pseudonyms depend on `salt`, which has hexadecimal digits.
    #[must_use]
    pub(crate) fn showing(mut self, salt: &str, shown: impl Fn(&str) -> Shown) -> Self {
        let parts = self.named.iter().map(|(plain, name)| match shown(plain) {
            Shown::AsItIs => name.clone(),
            Shown::Pseudonym => format!("'p-' || left(encode(sha256(convert_to('{salt}' || {name}, 'UTF8')), 'hex'), 16)"),
            Shown::Nothing => "null".to_owned(),
        });
        self.shown = parts.collect::<Vec<_>>().join(", ");
        self
    }

    pub(crate) fn copy_out(&self, schema: &Identifier) -> String {
        let Self { name, columns, shown, .. } = self;
        if columns == shown {
            return format!("copy {schema}.{name} ({columns}) to stdout (format binary)");
        }
        format!("copy (select {shown} from {schema}.{name}) to stdout (format binary)")
    }

    pub(crate) fn copy_in(&self, schema: &Identifier) -> String {
        format!("copy {schema}.{} ({}) from stdin (format binary)", self.name, self.columns)
    }

    /// Takes the named columns as text; none when the table has no such column.
    pub(crate) fn copy_text_in(&self, schema: &Identifier, columns: &[String]) -> Option<String> {
        let quoted = |name: &String| self.named.iter().find(|(plain, _)| plain == name).map(|(_, quoted)| quoted.as_str());
        let columns = columns.iter().map(quoted).collect::<Option<Vec<_>>>()?.join(", ");
        Some(format!("copy {schema}.{} ({columns}) from stdin", self.name))
    }

    /// How many rows, and a sum over all of them that does not depend on their order.
    pub(crate) fn digest(&self, schema: &Identifier) -> String {
        self.digest_of(&self.columns, schema)
    }

    /// As [`Self::digest`], of what travels.
    pub(crate) fn digest_shown(&self, schema: &Identifier) -> String {
        self.digest_of(&self.shown, schema)
    }

    fn digest_of(&self, columns: &str, schema: &Identifier) -> String {
        format!("select count(*), coalesce(sum(hashtextextended(row({columns})::text, 0)::numeric), 0)::text from {schema}.{}", self.name)
    }

    /// Triggers that note the keys of changed rows.
    pub(crate) fn watch(&self, schema: &Identifier, capture: &Identifier) -> String {
        let Self { name, key, .. } = self;
        let key = key.replace('\'', "''");
        format!(
            "create trigger moving_inserted after insert on {schema}.{name} referencing new table as new_rows
                 for each statement execute function {capture}.note('{key}');
             create trigger moving_updated after update on {schema}.{name} referencing old table as old_rows new table as new_rows
                 for each statement execute function {capture}.note('{key}');
             create trigger moving_deleted after delete on {schema}.{name} referencing old table as old_rows
                 for each statement execute function {capture}.note('{key}')"
        )
    }

    /// The changed rows of a batch as they are now.
    pub(crate) fn changed_rows(&self, schema: &Identifier, capture: &Identifier) -> String {
        let Self { name, columns, key, .. } = self;
        format!("copy (select {columns} from {schema}.{name} where ({key}) in ({})) to stdout (format binary)", self.batch(capture))
    }

    pub(crate) fn changed_keys(&self, capture: &Identifier) -> String {
        format!("copy ({}) to stdout (format binary)", self.batch(capture))
    }

    fn batch(&self, capture: &Identifier) -> String {
        format!("select {} from {capture}.batch where name = '{}'", self.key_values, self.plain_name.replace('\'', "''"))
    }

    pub(crate) fn changed_digest(&self, schema: &Identifier, capture: &Identifier) -> String {
        format!("{} where ({}) in ({})", self.digest(schema), self.key, self.batch(capture))
    }

    pub(crate) fn arrived_digest(&self, schema: &Identifier) -> String {
        format!("{} where ({}) in (select {} from moving_keys)", self.digest(schema), self.key, self.key)
    }

    /// Makes room for the changed keys and rows of this table, for one transaction.
    pub(crate) fn stage(&self, schema: &Identifier) -> String {
        let Self { name, columns, key, .. } = self;
        format!(
            "drop table if exists moving_keys, moving_rows;
             create temporary table moving_keys on commit drop as select {key} from {schema}.{name} with no data;
             create temporary table moving_rows on commit drop as select {columns} from {schema}.{name} with no data"
        )
    }

    pub(crate) fn settle(&self, schema: &Identifier) -> String {
        let Self { name, columns, key, .. } = self;
        format!(
            "delete from {schema}.{name} where ({key}) in (select {key} from moving_keys);
             insert into {schema}.{name} ({columns}) overriding system value select {columns} from moving_rows"
        )
    }
}

pub(crate) const STAGE_KEYS: &str = "copy moving_keys from stdin (format binary)";
pub(crate) const STAGE_ROWS: &str = "copy moving_rows from stdin (format binary)";
pub(crate) const BEGIN: &str = "begin";
pub(crate) const BEGIN_SNAPSHOT: &str = "begin isolation level repeatable read";
pub(crate) const BEGIN_LOAD: &str = "begin; set constraints all deferred";
pub(crate) const COMMIT: &str = "commit";
pub(crate) const ROLLBACK: &str = "rollback";
/// Few keys in a large table are looked up one by one; the planner, who has not counted them, would read the table.
pub(crate) const LOOK_UP: &str = "set local enable_hashjoin = off; set local enable_mergejoin = off; set local enable_seqscan = off";

/// Puts a connection into the state in which both sides write rows alike.
pub(crate) async fn prepare_session(owner: &OwnerConnection) -> Result<(), TenantsError> {
    Ok(owner.batch(SESSION).await?)
}

pub(crate) async fn has_schema(owner: &OwnerConnection, schema: &Identifier) -> Result<bool, TenantsError> {
    owner.query_one(HAS_SCHEMA, &[&schema.as_str()]).await?.try_get(0).map_err(TenantsError::column)
}

/// Lists the tables of a schema. Each has a primary key, or it could not be moved.
pub(crate) async fn list_tables(owner: &OwnerConnection, schema: &Identifier) -> Result<Vec<Table>, TenantsError> {
    let get = TenantsError::column;
    let count: i64 = owner.query_one(COUNT_TABLES, &[&schema.as_str()]).await?.try_get(0).map_err(get)?;
    let rows = owner.query(LIST_TABLES, &[&schema.as_str()]).await?;
    if count != rows.len() as i64 {
        return Err(TenantsError::Stored(format!("{} of {count} tables have a primary key in {}", rows.len(), schema.as_str())));
    }
    let table = |row: &Row| {
        let (plain, quoted): (Vec<String>, Vec<String>) =
            (row.try_get("plain_columns").map_err(get)?, row.try_get("columns").map_err(get)?);
        let columns = quoted.join(", ");
        Ok(Table {
            plain_name: row.try_get("plain_name").map_err(get)?,
            name: row.try_get("name").map_err(get)?,
            named: plain.into_iter().zip(quoted).collect(),
            shown: columns.clone(),
            columns,
            key: row.try_get("key").map_err(get)?,
            key_values: row.try_get("key_values").map_err(get)?,
        })
    };
    rows.iter().map(table).collect()
}

/// Returns count and sum of a digest.
pub(crate) async fn digest(owner: &OwnerConnection, sql: &str) -> Result<(i64, String), TenantsError> {
    let rows = owner.rows(sql).await?;
    let row = rows.first().ok_or_else(|| TenantsError::Stored("a digest has no row".to_owned()))?;
    Ok((row.try_get(0).map_err(TenantsError::column)?, row.try_get(1).map_err(TenantsError::column)?))
}

/// Lets an arriving silo take rows in any order and without its triggers.
pub(crate) async fn open_for_load(owner: &OwnerConnection, schema: &Identifier, tables: &[Table]) -> Result<(), TenantsError> {
    alter(owner, schema, tables, "disable trigger user", "deferrable initially deferred").await
}

/// Ends what [`open_for_load`] began, inside the caller's transaction.
pub(crate) async fn close_for_load(owner: &OwnerConnection, schema: &Identifier, tables: &[Table]) -> Result<(), TenantsError> {
    alter(owner, schema, tables, "enable trigger user", "not deferrable").await
}

async fn alter(owner: &OwnerConnection, schema: &Identifier, tables: &[Table], triggers: &str, keys: &str) -> Result<(), TenantsError> {
    let mut statements: Vec<String> = tables.iter().map(|table| format!("alter table {schema}.{} {triggers}", table.name)).collect();
    for row in owner.query(LIST_KEYS_OUT, &[&schema.as_str()]).await? {
        statements.push(format!("{}{keys}", row.try_get::<_, String>(0).map_err(TenantsError::column)?));
    }
    Ok(owner.batch(&statements.join(";")).await?)
}

/// Makes the place where changed keys are noted. The function runs as the owner, with its own path, because the tenant's role
/// has nothing to do there.
pub(crate) fn make_capture(capture: &Identifier) -> String {
    format!(
        "create schema {capture};
         create table {capture}.changes (name text not null, key jsonb not null);
         create table {capture}.batch (name text not null, key jsonb not null);
         create index on {capture}.batch (name);
         create function {capture}.note() returns trigger language plpgsql security definer set search_path = {capture}, pg_temp as $$
         begin
             if tg_op <> 'DELETE' then
                 execute format('insert into changes (name, key) select distinct %L, jsonb_build_array(%s) from new_rows', tg_table_name, tg_argv[0]);
             end if;
             if tg_op <> 'INSERT' then
                 execute format('insert into changes (name, key) select distinct %L, jsonb_build_array(%s) from old_rows', tg_table_name, tg_argv[0]);
             end if;
             return null;
         end
         $$;
         revoke execute on function {capture}.note() from public"
    )
}

/// Takes the noted changes into the batch and returns how many rows of which table it names.
pub(crate) async fn take_batch(owner: &OwnerConnection, capture: &Identifier) -> Result<Vec<(String, i64)>, TenantsError> {
    owner
        .batch(&format!(
            "with gone as (delete from {capture}.changes returning name, key)
             insert into {capture}.batch (name, key) select distinct name, key from gone"
        ))
        .await?;
    let rows = owner.rows(&format!("select name, count(*) from {capture}.batch group by name order by name")).await?;
    let get = TenantsError::column;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(get)?, row.try_get(1).map_err(get)?))).collect()
}

pub(crate) fn forget_batch(capture: &Identifier) -> String {
    format!("delete from {capture}.batch")
}

pub(crate) fn drop_schemas(schemas: &[&Identifier]) -> String {
    schemas.iter().map(|schema| format!("drop schema if exists {schema} cascade")).collect::<Vec<_>>().join(";")
}

pub(crate) fn rename_schema(from: &Identifier, to: &Identifier) -> String {
    format!("alter schema {from} rename to {to}")
}

pub(crate) fn patient(milliseconds: u32) -> String {
    format!("set local lock_timeout = {milliseconds}")
}

/// Waits for every transaction in a silo to end and keeps new ones out.
pub(crate) fn close_gate(schema: &Identifier, gate: &str) -> String {
    format!("lock table {schema}.{gate} in access exclusive mode")
}

/// Sets the sequences of one silo to where those of another one are.
pub(crate) async fn copy_sequences(
    from: &OwnerConnection,
    schema: &Identifier,
    to: &OwnerConnection,
    arriving: &Identifier,
) -> Result<(), TenantsError> {
    let get = TenantsError::column;
    for row in from.query(LIST_SEQUENCES, &[&schema.as_str()]).await? {
        let (name, value, is_called): (String, i64, bool) =
            (row.try_get(0).map_err(get)?, row.try_get(1).map_err(get)?, row.try_get(2).map_err(get)?);
        to.query_one(SET_SEQUENCE, &[&arriving.as_str(), &name, &value, &is_called]).await?;
    }
    Ok(())
}

pub(crate) async fn drop_role(owner: &OwnerConnection, role: &str) -> Result<(), TenantsError> {
    Ok(owner.execute_formatted(DROP_ROLE, &[&role]).await?)
}

/// Finds where a customer's silo was to go, and from where.
pub(crate) async fn find_move(tx: &Tx, customer: CustomerId) -> Result<Option<(String, String)>, TenantsError> {
    let get = TenantsError::column;
    let row = tx.query_opt(FIND_MOVE, &[&customer]).await?;
    row.map(|row| Ok((row.try_get(0).map_err(get)?, row.try_get(1).map_err(get)?))).transpose()
}

/// A move that was entered and has not ended.
#[derive(Debug, Clone)]
pub(crate) struct OpenMove {
    pub(crate) customer: CustomerId,
    pub(crate) schema_name: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// Lists the moves that have not ended, the oldest first.
pub(crate) async fn list_moves(tx: &Tx) -> Result<Vec<OpenMove>, TenantsError> {
    let get = TenantsError::column;
    let open = |row: &Row| {
        Ok(OpenMove {
            customer: row.try_get(0).map_err(get)?,
            schema_name: row.try_get(1).map_err(get)?,
            from: row.try_get(2).map_err(get)?,
            to: row.try_get(3).map_err(get)?,
        })
    };
    tx.query(LIST_MOVES, &[]).await?.iter().map(open).collect()
}

pub(crate) async fn insert_move(tx: &Tx, (msp, customer): (MspId, CustomerId), from: &str, to: &str) -> Result<(), TenantsError> {
    tx.execute(INSERT_MOVE, &[&customer, &msp, &from, &to, &tx.now()]).await?;
    Ok(())
}

pub(crate) async fn delete_move(tx: &Tx, customer: CustomerId) -> Result<(), TenantsError> {
    tx.execute(DELETE_MOVE, &[&customer]).await?;
    Ok(())
}

pub(crate) async fn update_cluster(tx: &Tx, customer: CustomerId, cluster: &str, region: &str) -> Result<(), TenantsError> {
    tx.execute(UPDATE_CLUSTER, &[&customer, &cluster, &region]).await?;
    Ok(())
}

/// Counts the silos of each cluster.
pub(crate) async fn count_silos(tx: &Tx) -> Result<Vec<(String, i64)>, TenantsError> {
    let get = TenantsError::column;
    let rows = tx.query(COUNT_SILOS, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(get)?, row.try_get(1).map_err(get)?))).collect()
}
