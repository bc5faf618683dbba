//! Silos out of dumps, and copies that take the place of a silo. Names of schemas and roles are vetted identifiers; those of
//! datasets and their columns are constants of the code.

use granary_db::{Identifier, OwnerConnection, Tx};
use granary_types::{ColumnKind, CustomerId, Dataset, Source};
use uuid::Uuid;

use crate::error::TenantsError;

/// A swap that was begun is gone on with; one that was ended is not done again.
const BEGIN_SWAP: &str = "
    update clones set swap = coalesce(swap, $2) where id = $1 and (swapped_at is null) = $3 returning swap";
/// What was the customer's silo is not lost within days.
const END_SWAP: &str = "
    update clones
    set swap = null, swapped_at = case when swapped_at is null then $2::timestamptz end, schema_version = $3, reason = $4,
        expires_at = greatest(expires_at, $2::timestamptz + interval '30 days')
    where id = $1";
const READ_NOTE: &str = "select obj_description(to_regnamespace($1), 'pg_namespace')";
/// One statement a sequence that numbers the rows of a table.
const LIST_NUMBERED: &str = "
    select format('select setval(%L, coalesce(max(%2$I), 1), max(%2$I) is not null) from %3$s', s.oid::regclass, a.attname, t.oid::regclass)
    from pg_catalog.pg_class s
    join pg_catalog.pg_depend d on d.objid = s.oid and d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('i', 'a')
    join pg_catalog.pg_class t on t.oid = d.refobjid
    join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
    where s.relkind = 'S' and s.relnamespace = to_regnamespace($1)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[BEGIN_SWAP, END_SWAP, READ_NOTE, LIST_NUMBERED];

pub(crate) const GRANT_SCHEMA: &str = r#"grant usage on schema "{schema}" to "{role}""#;

/// Begins a swap, or finds the one that was begun; none when it was done before.
pub(crate) async fn begin_swap(tx: &Tx, clone: CustomerId, swap: Uuid, is_forth: bool) -> Result<Option<Uuid>, TenantsError> {
    tx.query_opt(BEGIN_SWAP, &[&clone, &swap, &is_forth]).await?.map(|row| row.try_get(0).map_err(TenantsError::column)).transpose()
}

/// Says that a copy is what it took the place of, or that it is itself again, and why.
pub(crate) async fn end_swap(tx: &Tx, clone: CustomerId, version: i32, reason: &str) -> Result<(), TenantsError> {
    tx.execute(END_SWAP, &[&clone, &tx.now(), &version, &reason]).await?;
    Ok(())
}

/// Reads what is written on a schema.
pub(crate) async fn read_note(owner: &OwnerConnection, schema: &Identifier) -> Result<Option<String>, TenantsError> {
    owner.query_one(READ_NOTE, &[&schema.as_str()]).await?.try_get(0).map_err(TenantsError::column)
}

pub(crate) fn write_note(schema: &Identifier, note: Uuid) -> String {
    format!("comment on schema {schema} is '{note}'")
}

pub(crate) fn forget_note(schema: &Identifier) -> String {
    format!("comment on schema {schema} is null")
}

/// Lets sequences go on after the rows that are there.
pub(crate) async fn advance_sequences(owner: &OwnerConnection, schema: &Identifier) -> Result<(), TenantsError> {
    for row in owner.query(LIST_NUMBERED, &[&schema.as_str()]).await? {
        owner.rows(&row.try_get::<_, String>(0).map_err(TenantsError::column)?).await?;
    }
    Ok(())
}

/// Marks every month that silos have as changed, in one of them.
pub(crate) fn mark_everything(datasets: &[Dataset], of: &[&Identifier], within: &Identifier) -> String {
    let month = |dataset: &Dataset| {
        let Some(column) = dataset.month_column else { return "'all'".to_owned() };
        let kind = dataset.columns.iter().find(|known| known.name == column).map(|known| known.kind);
        let at = if kind == Some(ColumnKind::Timestamp) { " at time zone 'UTC'" } else { "" };
        format!("to_char({column}{at}, 'YYYY-MM')")
    };
    let marks = datasets.iter().filter(|dataset| dataset.source == Source::Tenant).map(|dataset| {
        let (name, month) = (dataset.name, month(dataset));
        let rows = of.iter().map(|schema| format!("select {month} as month from {schema}.{name}"));
        let rows = rows.collect::<Vec<_>>().join(" union ");
        format!("insert into {within}.dirty (dataset, month) select '{name}', month from ({rows}) as months")
    });
    marks.collect::<Vec<_>>().join(";")
}

/// Takes the marks of one silo over into another.
pub(crate) fn carry_marks(from: &Identifier, to: &Identifier) -> String {
    format!("insert into {to}.dirty (dataset, month) select distinct dataset, month from {from}.dirty")
}

pub(crate) fn take_rights(schema: &Identifier, role: &Identifier) -> String {
    format!("revoke all on all tables in schema {schema} from {role}; revoke all on schema {schema} from {role}")
}
