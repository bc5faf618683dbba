//! `pg_catalog`: what is the session's own, beside the types and functions that are the same everywhere.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use datafusion_pg_catalog::pg_catalog::oid_field::{kind, oid_field};
use datafusion_pg_catalog::pg_catalog::{ArrowTable, PgCatalogStaticTables};
use pgwire::api::Type;

use super::catalog::{Column, Inventory, PG_CATALOG_OID, PG_CLASS_OID, Relation, USER_OID};
use super::sheet::{Sheet, empty};

type Table = (String, Arc<dyn TableProvider>);

/// Tables of the catalog whose numbers clients know by heart, or ask for by name.
pub(super) const SYSTEM: [(&str, i32); 16] = [
    ("pg_type", 1247),
    ("pg_attribute", 1249),
    ("pg_proc", 1255),
    ("pg_class", PG_CLASS_OID),
    ("pg_authid", 1260),
    ("pg_database", 1262),
    ("pg_attrdef", 2604),
    ("pg_constraint", 2606),
    ("pg_description", 2609),
    ("pg_index", 2610),
    ("pg_namespace", 2615),
    ("pg_rewrite", 2618),
    ("pg_trigger", 2620),
    ("pg_extension", 3079),
    ("pg_roles", 12_000),
    ("pg_settings", 12_001),
];

/// Returns every table of the schema.
pub(super) fn all(inventory: &Inventory, fixed: &PgCatalogStaticTables) -> Result<Vec<Table>, DataFusionError> {
    let mut tables = same_for_all(fixed)?;
    let own = [
        ("pg_class", relations(inventory)?),
        ("pg_attribute", columns(inventory)?),
        ("pg_namespace", schemas(inventory)?),
        ("pg_database", databases(inventory)?),
        ("pg_description", comments(inventory)?),
        ("pg_tables", base_tables(inventory)?),
        ("pg_views", views(inventory)?),
        ("pg_roles", roles(inventory)?),
        ("pg_user", users(inventory)?),
        ("pg_index", indexes()?),
        ("pg_constraint", constraints()?),
        ("pg_matviews", empty(&["schemaname", "matviewname", "matviewowner", "tablespace", "definition"])?),
        ("pg_indexes", empty(&["schemaname", "tablename", "indexname", "tablespace", "indexdef"])?),
        ("pg_stat_user_tables", empty(&["relid", "schemaname", "relname", "n_live_tup"])?),
    ];
    tables.extend(own.map(|(name, table)| (name.to_owned(), table)));
    Ok(tables)
}

fn same_for_all(fixed: &PgCatalogStaticTables) -> Result<Vec<Table>, DataFusionError> {
    let tables: [(&str, &Arc<ArrowTable>); 31] = [
        ("pg_aggregate", &fixed.pg_aggregate),
        ("pg_am", &fixed.pg_am),
        ("pg_attrdef", &fixed.pg_attrdef),
        ("pg_auth_members", &fixed.pg_auth_members),
        ("pg_cast", &fixed.pg_cast),
        ("pg_collation", &fixed.pg_collation),
        ("pg_conversion", &fixed.pg_conversion),
        ("pg_depend", &fixed.pg_depend),
        ("pg_enum", &fixed.pg_enum),
        ("pg_event_trigger", &fixed.pg_event_trigger),
        ("pg_extension", &fixed.pg_extension),
        ("pg_foreign_data_wrapper", &fixed.pg_foreign_data_wrapper),
        ("pg_foreign_server", &fixed.pg_foreign_server),
        ("pg_foreign_table", &fixed.pg_foreign_table),
        ("pg_inherits", &fixed.pg_inherits),
        ("pg_language", &fixed.pg_language),
        ("pg_opclass", &fixed.pg_opclass),
        ("pg_operator", &fixed.pg_operator),
        ("pg_partitioned_table", &fixed.pg_partitioned_table),
        ("pg_policy", &fixed.pg_policy),
        ("pg_proc", &fixed.pg_proc),
        ("pg_publication", &fixed.pg_publication),
        ("pg_publication_namespace", &fixed.pg_publication_namespace),
        ("pg_publication_rel", &fixed.pg_publication_rel),
        ("pg_range", &fixed.pg_range),
        ("pg_rewrite", &fixed.pg_rewrite),
        ("pg_sequence", &fixed.pg_sequence),
        ("pg_shdescription", &fixed.pg_shdescription),
        ("pg_statistic_ext", &fixed.pg_statistic_ext),
        ("pg_tablespace", &fixed.pg_tablespace),
        ("pg_trigger", &fixed.pg_trigger),
    ];
    let mut all: Vec<Table> = tables
        .iter()
        .map(|(name, table)| Ok(((*name).to_owned(), table.try_into_memtable()? as Arc<dyn TableProvider>)))
        .collect::<Result<_, DataFusionError>>()?;
    all.push(("pg_type".to_owned(), types(fixed)?));
    Ok(all)
}

/// Types, whose functions the library tells by name; clients compare them to numbers of functions.
fn types(fixed: &PgCatalogStaticTables) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    const FUNCTIONS: [&str; 8] = ["typsubscript", "typinput", "typoutput", "typreceive", "typsend", "typmodin", "typmodout", "typanalyze"];
    let mut numbers = HashMap::new();
    for batch in fixed.pg_proc.data() {
        let (names, oids) = (cast(column(batch, "proname")?, &DataType::Utf8)?, cast(column(batch, "oid")?, &DataType::Int32)?);
        numbers.extend(
            names
                .as_string::<i32>()
                .iter()
                .map(|name| name.unwrap_or_default().to_owned())
                .zip(oids.as_primitive::<Int32Type>().values().to_vec()),
        );
    }
    let is_function = |field: &Field| FUNCTIONS.contains(&field.name().as_str());
    let field =
        |field: &Arc<Field>| if is_function(field) { Arc::new(oid_field(field.name(), kind::REGPROC, true)) } else { Arc::clone(field) };
    let schema = Arc::new(Schema::new(fixed.pg_type.schema().fields().iter().map(field).collect::<Vec<_>>()));
    let mut batches = Vec::new();
    for batch in fixed.pg_type.data() {
        let plain = batch.schema();
        let columns = plain.fields().iter().zip(batch.columns()).map(|(field, array)| {
            if !is_function(field) {
                return Ok(Arc::clone(array));
            }
            let names = cast(array, &DataType::Utf8)?;
            // What has no such function has the number zero.
            let number = |name: Option<&str>| name.and_then(|name| numbers.get(name)).copied().unwrap_or(0);
            Ok(Arc::new(Int32Array::from_iter_values(names.as_string::<i32>().iter().map(number))) as ArrayRef)
        });
        batches.push(RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_, DataFusionError>>()?)?);
    }
    Ok(Arc::new(MemTable::try_new(schema, vec![batches])?))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, DataFusionError> {
    batch.column_by_name(name).ok_or_else(|| DataFusionError::Internal(format!("the catalog has no column {name}")))
}

/// A line of `pg_class`.
struct Line<'a> {
    oid: i32,
    name: &'a str,
    schema: i32,
    kind: char,
    columns: usize,
}

fn relations(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let own = inventory.relations.iter().map(|relation| Line {
        oid: relation.oid,
        name: &relation.name,
        schema: relation.schema_oid,
        kind: if relation.is_view { 'v' } else { 'r' },
        columns: relation.columns.len(),
    });
    let system = SYSTEM.iter().map(|(name, oid)| Line { oid: *oid, name, schema: PG_CATALOG_OID, kind: 'r', columns: 0 });
    let lines: Vec<Line<'_>> = system.chain(own).collect();
    Sheet::of(&lines)
        .oid("oid", kind::OID, |line| line.oid)
        .text("relname", |line| line.name.to_owned())
        .oid("relnamespace", kind::OID, |line| line.schema)
        .oid("reltype", kind::OID, |_| 0)
        .oid("reloftype", kind::OID, |_| 0)
        .oid("relowner", kind::OID, |_| USER_OID)
        .oid("relam", kind::OID, |_| 0)
        .oid("relfilenode", kind::OID, |_| 0)
        .oid("reltablespace", kind::OID, |_| 0)
        .int4("relpages", |_| Some(0))
        .float4("reltuples", |_| -1.0)
        .int4("relallvisible", |_| Some(0))
        .oid("reltoastrelid", kind::OID, |_| 0)
        .bool("relhasindex", |_| false)
        .bool("relisshared", |_| false)
        .letter("relpersistence", |_| 'p')
        .letter("relkind", |line| line.kind)
        .int2("relnatts", |line| i16::try_from(line.columns).unwrap_or(i16::MAX))
        .int2("relchecks", |_| 0)
        .bool("relhasrules", |line| line.kind == 'v')
        .bool("relhastriggers", |_| false)
        .bool("relhassubclass", |_| false)
        .bool("relhasoids", |_| false)
        .bool("relrowsecurity", |_| false)
        .bool("relforcerowsecurity", |_| false)
        .bool("relispopulated", |_| true)
        .letter("relreplident", |_| 'n')
        .bool("relispartition", |_| false)
        .oid("relrewrite", kind::OID, |_| 0)
        .int4("relfrozenxid", |_| Some(0))
        .int4("relminmxid", |_| Some(0))
        .no_list("relacl")
        .no_list("reloptions")
        .none("relpartbound")
        .table()
}

/// A column, where it is.
struct Place<'a> {
    relation: i32,
    number: usize,
    column: &'a Column,
}

fn places(inventory: &Inventory) -> Vec<Place<'_>> {
    let of = |relation: &'_ Relation, (column, number)| Place { relation: relation.oid, number, column };
    inventory.relations.iter().flat_map(|relation| relation.columns.iter().zip(1..).map(move |pair| of(relation, pair))).collect()
}

fn columns(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let is_text = |kind: &Type| [Type::TEXT, Type::VARCHAR, Type::NAME].contains(kind);
    Sheet::of(&places(inventory))
        .oid("attrelid", kind::OID, |place| place.relation)
        .text("attname", |place| place.column.name.clone())
        .oid("atttypid", kind::OID, |place| place.column.kind.oid().cast_signed())
        .int4("attstattarget", |_| Some(-1))
        .int2("attlen", |place| place.column.size)
        .int2("attnum", |place| i16::try_from(place.number).unwrap_or(i16::MAX))
        .int4("attndims", |place| Some(i32::from(place.column.kind.name().starts_with('_'))))
        .int4("attcacheoff", |_| Some(-1))
        .int4("atttypmod", |place| Some(place.column.modifier))
        .bool("attbyval", |place| (1..=8).contains(&place.column.size))
        .letter("attalign", |place| if place.column.size == 8 { 'd' } else { 'i' })
        .letter("attstorage", |place| if place.column.size < 0 { 'x' } else { 'p' })
        .all("attcompression", "")
        .bool("attnotnull", |place| !place.column.is_nullable)
        .bool("atthasdef", |_| false)
        .bool("atthasmissing", |_| false)
        .all("attidentity", "")
        .all("attgenerated", "")
        .bool("attisdropped", |_| false)
        .bool("attislocal", |_| true)
        .int4("attinhcount", |_| Some(0))
        .oid("attcollation", kind::OID, |place| if is_text(&place.column.kind) { 100 } else { 0 })
        .no_list("attacl")
        .no_list("attoptions")
        .no_list("attfdwoptions")
        .none("attmissingval")
        .table()
}

fn schemas(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Sheet::of(&inventory.schemas)
        .oid("oid", kind::OID, |(_, oid)| *oid)
        .text("nspname", |(name, _)| (*name).to_owned())
        .oid("nspowner", kind::OID, |_| USER_OID)
        .no_list("nspacl")
        .table()
}

/// Indexes, of which there are none. The library's are of tables that are not shown, and their columns are texts, not lists.
fn indexes() -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Sheet::<()>::of(&[])
        .oid("indexrelid", kind::OID, |()| 0)
        .oid("indrelid", kind::OID, |()| 0)
        .int2("indnatts", |()| 0)
        .int2("indnkeyatts", |()| 0)
        .bool("indisunique", |()| false)
        .bool("indnullsnotdistinct", |()| false)
        .bool("indisprimary", |()| false)
        .bool("indisexclusion", |()| false)
        .bool("indimmediate", |()| false)
        .bool("indisclustered", |()| false)
        .bool("indisvalid", |()| false)
        .bool("indcheckxmin", |()| false)
        .bool("indisready", |()| false)
        .bool("indislive", |()| false)
        .bool("indisreplident", |()| false)
        .no_list_of("indkey", DataType::Int16)
        .no_list_of("indcollation", DataType::Int32)
        .no_list_of("indclass", DataType::Int32)
        .no_list_of("indoption", DataType::Int16)
        .none("indexprs")
        .none("indpred")
        .table()
}

/// Constraints, of which there are none, as with indexes.
fn constraints() -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Sheet::<()>::of(&[])
        .oid("oid", kind::OID, |()| 0)
        .none("conname")
        .oid("connamespace", kind::OID, |()| 0)
        .letter("contype", |()| ' ')
        .bool("condeferrable", |()| false)
        .bool("condeferred", |()| false)
        .bool("convalidated", |()| false)
        .oid("conrelid", kind::OID, |()| 0)
        .oid("contypid", kind::OID, |()| 0)
        .oid("conindid", kind::OID, |()| 0)
        .oid("conparentid", kind::OID, |()| 0)
        .oid("confrelid", kind::OID, |()| 0)
        .letter("confupdtype", |()| ' ')
        .letter("confdeltype", |()| ' ')
        .letter("confmatchtype", |()| ' ')
        .bool("conislocal", |()| false)
        .int2("coninhcount", |()| 0)
        .bool("connoinherit", |()| false)
        .no_list_of("conkey", DataType::Int16)
        .no_list_of("confkey", DataType::Int16)
        .no_list_of("conpfeqop", DataType::Int32)
        .no_list_of("conppeqop", DataType::Int32)
        .no_list_of("conffeqop", DataType::Int32)
        .no_list_of("confdelsetcols", DataType::Int16)
        .no_list_of("conexclop", DataType::Int32)
        .none("conbin")
        .table()
}

fn databases(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Sheet::of(&[inventory])
        .oid("oid", kind::OID, |inventory| inventory.database_oid)
        .text("datname", |inventory| inventory.database.clone())
        .oid("datdba", kind::OID, |_| USER_OID)
        .int4("encoding", |_| Some(6))
        .letter("datlocprovider", |_| 'c')
        .bool("datistemplate", |_| false)
        .bool("datallowconn", |_| true)
        .int4("datconnlimit", |_| Some(-1))
        .int4("datfrozenxid", |_| Some(0))
        .int4("datminmxid", |_| Some(0))
        .oid("dattablespace", kind::OID, |_| 1663)
        .all("datcollate", "C")
        .all("datctype", "C")
        .none("daticulocale")
        .none("datcollversion")
        .no_list("datacl")
        .table()
}

fn comments(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Sheet::of(&said(inventory))
        .oid("objoid", kind::OID, |(oid, _, _)| *oid)
        .oid("classoid", kind::OID, |_| PG_CLASS_OID)
        .int4("objsubid", |(_, number, _)| Some(*number))
        .text("description", |(_, _, text)| (*text).to_owned())
        .table()
}

/// Lists every comment: of which relation, of which of its columns (0 of itself), and what is said.
pub(super) fn said(inventory: &Inventory) -> Vec<(i32, i32, &str)> {
    let of_relations = inventory.relations.iter().filter_map(|relation| Some((relation.oid, 0, relation.comment.as_deref()?)));
    let places = inventory
        .relations
        .iter()
        .flat_map(|relation| relation.columns.iter().zip(1..).map(move |(column, number)| (relation, number, column)));
    let of_columns = places.filter_map(|(relation, number, column)| Some((relation.oid, number, column.comment.as_deref()?)));
    of_relations.chain(of_columns).collect()
}

fn base_tables(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let tables: Vec<&Relation> = inventory.relations.iter().filter(|relation| !relation.is_view).collect();
    Sheet::of(&tables)
        .text("schemaname", |relation| relation.schema.to_owned())
        .text("tablename", |relation| relation.name.clone())
        .text("tableowner", |_| inventory.user.clone())
        .none("tablespace")
        .bool("hasindexes", |_| false)
        .bool("hasrules", |_| false)
        .bool("hastriggers", |_| false)
        .bool("rowsecurity", |_| false)
        .table()
}

fn views(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let views: Vec<&Relation> = inventory.relations.iter().filter(|relation| relation.is_view).collect();
    Sheet::of(&views)
        .text("schemaname", |relation| relation.schema.to_owned())
        .text("viewname", |relation| relation.name.clone())
        .text("viewowner", |_| inventory.user.clone())
        .none("definition")
        .table()
}

fn roles(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Sheet::of(&[inventory])
        .oid("oid", kind::OID, |_| USER_OID)
        .text("rolname", |inventory| inventory.user.clone())
        .bool("rolsuper", |_| false)
        .bool("rolinherit", |_| true)
        .bool("rolcreaterole", |_| false)
        .bool("rolcreatedb", |_| false)
        .bool("rolcanlogin", |_| true)
        .bool("rolreplication", |_| false)
        .int4("rolconnlimit", |_| Some(-1))
        .none("rolpassword")
        .none("rolvaliduntil")
        .bool("rolbypassrls", |_| false)
        .no_list("rolconfig")
        .table()
}

fn users(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Sheet::of(&[inventory])
        .text("usename", |inventory| inventory.user.clone())
        .oid("usesysid", kind::OID, |_| USER_OID)
        .bool("usecreatedb", |_| false)
        .bool("usesuper", |_| false)
        .bool("userepl", |_| false)
        .bool("usebypassrls", |_| false)
        .none("passwd")
        .none("valuntil")
        .no_list("useconfig")
        .table()
}
