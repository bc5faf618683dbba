//! What clients list: catalogs, schemas, tables and keys, of the caller's grant alone.

use std::sync::{Arc, LazyLock};

use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTableTypes, CommandGetTables};
use datafusion::arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use granary_warehouse::{Description, Models, Shown};
use tonic::Status;

use super::rows::portable;
use super::status;

/// The one catalog.
pub(super) const CATALOG: &str = "granary";
/// The schema whose tables are described.
const DESCRIBED: &str = "warehouse";
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";
/// Where a column's description stands (Flight SQL, metadata of columns).
const REMARKS: &str = "ARROW:FLIGHT:SQL:REMARKS";

fn description<'a>(table: &Shown, models: &'a Models) -> Option<&'a Description> {
    let mut named = models.iter().filter(|model| table.schema == DESCRIBED && model.name == table.name);
    named.next().map(|model| &model.description)
}

pub(super) fn catalogs(command: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut catalogs = command.into_builder();
    catalogs.append(CATALOG);
    catalogs.build().map_err(|error| status::fault(&error))
}

pub(super) fn schemas(command: CommandGetDbSchemas, tables: &[Shown]) -> Result<RecordBatch, Status> {
    let mut schemas = command.into_builder();
    let mut last: Option<&str> = None;
    for table in tables {
        if last.replace(table.schema) != Some(table.schema) {
            schemas.append(CATALOG, table.schema);
        }
    }
    schemas.build().map_err(|error| status::fault(&error))
}

pub(super) fn tables(command: CommandGetTables, tables: &[Shown], models: &Models) -> Result<RecordBatch, Status> {
    let mut listed = command.into_builder();
    for table in tables {
        let kind = if table.is_view { VIEW } else { TABLE };
        let columns = described(&portable(&table.columns), description(table, models));
        listed.append(CATALOG, table.schema, &table.name, kind, &columns).map_err(|error| status::fault(&error))?;
    }
    listed.build().map_err(|error| status::fault(&error))
}

fn described(columns: &Schema, description: Option<&Description>) -> Schema {
    let field = |field: &Arc<Field>| {
        let said = description.and_then(|description| description.columns.get(field.name()));
        let metadata = said.map(|column| (REMARKS.to_owned(), column.description.clone())).into_iter().collect();
        field.as_ref().clone().with_metadata(metadata)
    };
    Schema::new(columns.fields().iter().map(field).collect::<Vec<_>>())
}

pub(super) fn table_types(command: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut types = command.into_builder();
    types.append(TABLE);
    types.append(VIEW);
    types.build().map_err(|error| status::fault(&error))
}

pub(super) static PRIMARY_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
});

/// Lists the columns that identify a row of a table, as the model's description names them first.
pub(super) fn primary_keys(command: &CommandGetPrimaryKeys, tables: &[Shown], models: &Models) -> Result<RecordBatch, Status> {
    let fits = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let is_meant =
        |table: &&Shown| fits(&command.catalog, CATALOG) && fits(&command.db_schema, table.schema) && command.table == table.name;
    let table = tables.iter().find(|table| is_meant(table) && table.schema == DESCRIBED);
    let key = table.and_then(|table| description(table, models)).and_then(|description| description.unique.first());
    let columns: &[String] = key.map_or(&[], Vec::as_slice);
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; columns.len()])) };
    let names: ArrayRef = Arc::new(columns.iter().map(|name| Some(name.as_str())).collect::<StringArray>());
    let positions: ArrayRef = Arc::new((1..).take(columns.len()).map(Some).collect::<Int32Array>());
    let arrays = vec![text(CATALOG), text(DESCRIBED), text(&command.table), names, text("unique"), positions];
    RecordBatch::try_new(Arc::clone(&PRIMARY_KEYS), arrays).map_err(|error| status::fault(&error))
}

/// The columns of a list of foreign keys, of which there are none: a model's relationships are tests, not constraints.
pub(super) static FOREIGN_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let side = |side: &str| {
        [("catalog_name", true), ("db_schema_name", true), ("table_name", false), ("column_name", false)]
            .map(|(name, may_be_null)| Field::new(format!("{side}_{name}"), DataType::Utf8, may_be_null))
    };
    let rest = [
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ];
    Arc::new(Schema::new(side("pk").into_iter().chain(side("fk")).chain(rest).collect::<Vec<_>>()))
});

pub(super) fn foreign_keys() -> RecordBatch {
    RecordBatch::new_empty(Arc::clone(&FOREIGN_KEYS))
}
