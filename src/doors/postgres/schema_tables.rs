//! `information_schema`: what the session shows, in the words of the SQL standard and with Postgres' names of types.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use pgwire::api::Type;

use super::catalog::{Column, Inventory, Relation};
use super::sheet::{Sheet, empty};

type Table = (String, Arc<dyn TableProvider>);

/// Returns every table of the schema.
pub(super) fn all(inventory: &Inventory) -> Result<Vec<Table>, DataFusionError> {
    let constraint = ["constraint_catalog", "constraint_schema", "constraint_name", "table_catalog", "table_schema", "table_name"];
    let with = |more: &[&'static str]| empty(&[&constraint[..], more].concat());
    let tables = [
        ("tables", tables(inventory)?),
        ("columns", columns(inventory)?),
        ("views", views(inventory)?),
        ("schemata", schemas(inventory)?),
        ("table_privileges", privileges(inventory)?),
        ("role_table_grants", privileges(inventory)?),
        ("information_schema_catalog_name", Sheet::of(&[inventory]).text("catalog_name", |inventory| inventory.database.clone()).table()?),
        ("table_constraints", with(&["constraint_type", "is_deferrable", "initially_deferred", "enforced"])?),
        ("key_column_usage", with(&["column_name", "ordinal_position", "position_in_unique_constraint"])?),
        ("constraint_column_usage", with(&["column_name"])?),
        (
            "referential_constraints",
            with(&[
                "unique_constraint_catalog",
                "unique_constraint_schema",
                "unique_constraint_name",
                "match_option",
                "update_rule",
                "delete_rule",
            ])?,
        ),
        ("check_constraints", empty(&["constraint_catalog", "constraint_schema", "constraint_name", "check_clause"])?),
        (
            "routines",
            empty(&[
                "specific_catalog",
                "specific_schema",
                "specific_name",
                "routine_catalog",
                "routine_schema",
                "routine_name",
                "routine_type",
                "data_type",
                "routine_body",
                "routine_definition",
                "external_language",
            ])?,
        ),
        (
            "parameters",
            empty(&[
                "specific_catalog",
                "specific_schema",
                "specific_name",
                "ordinal_position",
                "parameter_mode",
                "parameter_name",
                "data_type",
            ])?,
        ),
        ("triggers", empty(&["trigger_catalog", "trigger_schema", "trigger_name", "event_object_schema", "event_object_table"])?),
        ("sequences", empty(&["sequence_catalog", "sequence_schema", "sequence_name", "data_type"])?),
    ];
    Ok(tables.map(|(name, table)| (name.to_owned(), table)).into())
}

fn tables(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Sheet::of(&inventory.relations)
        .all("table_catalog", &inventory.database)
        .text("table_schema", |relation| relation.schema.to_owned())
        .text("table_name", |relation| relation.name.clone())
        .text("table_type", |relation| if relation.is_view { "VIEW" } else { "BASE TABLE" }.to_owned())
        .none("self_referencing_column_name")
        .none("reference_generation")
        .none("user_defined_type_catalog")
        .none("user_defined_type_schema")
        .none("user_defined_type_name")
        .all("is_insertable_into", "NO")
        .all("is_typed", "NO")
        .none("commit_action")
        .table()
}

fn views(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let views: Vec<&Relation> = inventory.relations.iter().filter(|relation| relation.is_view).collect();
    Sheet::of(&views)
        .all("table_catalog", &inventory.database)
        .text("table_schema", |relation| relation.schema.to_owned())
        .text("table_name", |relation| relation.name.clone())
        .none("view_definition")
        .all("check_option", "NONE")
        .all("is_updatable", "NO")
        .all("is_insertable_into", "NO")
        .table()
}

fn schemas(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Sheet::of(&inventory.schemas)
        .all("catalog_name", &inventory.database)
        .text("schema_name", |(name, _)| (*name).to_owned())
        .all("schema_owner", &inventory.user)
        .none("default_character_set_catalog")
        .none("default_character_set_schema")
        .none("default_character_set_name")
        .none("sql_path")
        .table()
}

fn privileges(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    Sheet::of(&inventory.relations)
        .all("grantor", &inventory.user)
        .all("grantee", &inventory.user)
        .all("table_catalog", &inventory.database)
        .text("table_schema", |relation| relation.schema.to_owned())
        .text("table_name", |relation| relation.name.clone())
        .all("privilege_type", "SELECT")
        .all("is_grantable", "NO")
        .all("with_hierarchy", "NO")
        .table()
}

fn columns(inventory: &Inventory) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let places: Vec<(&Relation, i32, &Column)> = inventory
        .relations
        .iter()
        .flat_map(|relation| relation.columns.iter().zip(1..).map(move |(column, number)| (relation, number, column)))
        .collect();
    let is_instant = |kind: &Type| [Type::TIMESTAMP, Type::TIMESTAMPTZ, Type::TIME].contains(kind);
    Sheet::of(&places)
        .all("table_catalog", &inventory.database)
        .text("table_schema", |(relation, _, _)| relation.schema.to_owned())
        .text("table_name", |(relation, _, _)| relation.name.clone())
        .text("column_name", |(_, _, column)| column.name.clone())
        .int4("ordinal_position", |(_, number, _)| Some(*number))
        .none("column_default")
        .text("is_nullable", |(_, _, column)| if column.is_nullable { "YES" } else { "NO" }.to_owned())
        .text("data_type", |(_, _, column)| standard_name(&column.kind).to_owned())
        .int4("character_maximum_length", |_| None)
        .int4("character_octet_length", |(_, _, column)| (column.kind == Type::TEXT).then_some(1 << 30))
        .int4("numeric_precision", |(_, _, column)| precision(column))
        .int4("numeric_precision_radix", |(_, _, column)| precision(column).map(|_| if column.kind == Type::NUMERIC { 10 } else { 2 }))
        .int4("numeric_scale", |(_, _, column)| match column.kind {
            Type::INT2 | Type::INT4 | Type::INT8 => Some(0),
            _ => column.digits.map(|(_, scale)| scale.into()),
        })
        .int4("datetime_precision", |(_, _, column)| match &column.kind {
            kind if is_instant(kind) => Some(6),
            kind if *kind == Type::DATE => Some(0),
            _ => None,
        })
        .none("interval_type")
        .int4("interval_precision", |_| None)
        .none("character_set_catalog")
        .none("character_set_schema")
        .none("character_set_name")
        .none("collation_catalog")
        .none("collation_schema")
        .none("collation_name")
        .none("domain_catalog")
        .none("domain_schema")
        .none("domain_name")
        .all("udt_catalog", &inventory.database)
        .all("udt_schema", "pg_catalog")
        .text("udt_name", |(_, _, column)| column.kind.name().to_owned())
        .none("scope_catalog")
        .none("scope_schema")
        .none("scope_name")
        .int4("maximum_cardinality", |_| None)
        .text("dtd_identifier", |(_, number, _)| number.to_string())
        .all("is_self_referencing", "NO")
        .all("is_identity", "NO")
        .none("identity_generation")
        .all("is_generated", "NEVER")
        .none("generation_expression")
        .all("is_updatable", "NO")
        .table()
}

fn precision(column: &Column) -> Option<i32> {
    match column.kind {
        Type::INT2 => Some(16),
        Type::INT4 => Some(32),
        Type::INT8 => Some(64),
        Type::FLOAT4 => Some(24),
        Type::FLOAT8 => Some(53),
        _ => column.digits.map(|(digits, _)| digits.into()),
    }
}

/// The types that columns have here.
pub(super) const TYPES: [Type; 14] = [
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::NUMERIC,
    Type::TEXT,
    Type::BYTEA,
    Type::DATE,
    Type::TIME,
    Type::TIMESTAMP,
    Type::TIMESTAMPTZ,
    Type::INTERVAL,
];

/// The name of a type in the standard.
pub(super) fn standard_name(kind: &Type) -> &str {
    match *kind {
        Type::BOOL => "boolean",
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::TIMESTAMP => "timestamp without time zone",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        Type::TIME => "time without time zone",
        _ if kind.name().starts_with('_') => "ARRAY",
        _ => kind.name(),
    }
}
