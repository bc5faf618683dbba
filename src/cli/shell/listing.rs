//! What `\d` shows: tables and their columns, with what is written beside the models.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use futures::StreamExt;
use granary_warehouse::{Description, Models, RowStream, Session, Shown};

use crate::cli::Failure;
use crate::cli::house::Missing;

/// The schema of models, whose tables need no schema before their name.
const MODELS: &str = "warehouse";

/// A table's columns, and what a row of it is.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) said: String,
    pub(super) columns: RowStream,
}

/// Lists what a session shows.
pub(super) async fn tables(session: &Session, models: &Models) -> Result<RowStream, Failure> {
    let shown = session.shown().await?;
    let said = |table: &Shown| description(table, models).map_or(String::new(), |description| description.description.clone());
    let kind = |table: &Shown| if table.is_view { "view" } else { "table" }.to_owned();
    rows([
        ("schema", shown.iter().map(|table| table.schema.to_owned()).collect()),
        ("name", shown.iter().map(|table| table.name.clone()).collect()),
        ("kind", shown.iter().map(kind).collect()),
        ("description", shown.iter().map(said).collect()),
    ])
}

/// Lists a table's columns.
pub(super) async fn table(session: &Session, models: &Models, name: &str) -> Result<Table, Failure> {
    let shown = session.shown().await?;
    let (schema, bare) = name.split_once('.').map_or((None, name), |(schema, bare)| (Some(schema), bare));
    let is_meant =
        |table: &&Shown| table.name.eq_ignore_ascii_case(bare) && schema.is_none_or(|schema| schema.eq_ignore_ascii_case(table.schema));
    // Without a schema a model is meant before a dataset, as in a question.
    let found = shown.iter().filter(is_meant).max_by_key(|table| table.schema == MODELS);
    let table = found.ok_or_else(|| Missing(format!("there is no table '{name}' that you see; \\d lists them")))?;
    let description = description(table, models);
    let fields = table.columns.fields();
    let meaning = |name: &String| {
        let column = description.and_then(|description| description.columns.get(name));
        column.map_or(String::new(), |column| column.description.clone())
    };
    let columns = rows([
        ("column", fields.iter().map(|field| field.name().clone()).collect()),
        ("type", fields.iter().map(|field| type_name(field.data_type())).collect()),
        ("description", fields.iter().map(|field| meaning(field.name())).collect()),
    ])?;
    let said = description.map_or_else(
        || format!("{}.{}", table.schema, table.name),
        |description| format!("{}.{}: {}\ngrain: {}", table.schema, table.name, description.description, description.grain),
    );
    Ok(Table { said, columns })
}

fn description<'a>(table: &Shown, models: &'a Models) -> Option<&'a Description> {
    models.iter().find(|model| table.schema == MODELS && model.name == table.name).map(|model| &model.description)
}

fn rows<const N: usize>(columns: [(&str, Vec<String>); N]) -> Result<RowStream, Failure> {
    let columns = columns.map(|(name, texts)| (name, Arc::new(StringArray::from(texts)) as ArrayRef));
    let batch = RecordBatch::try_from_iter(columns)?;
    Ok(RowStream { schema: batch.schema(), batches: futures::stream::iter([Ok(batch)]).boxed() })
}

/// Says a type as SQL does.
fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "text".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal128(digits, scale) | DataType::Decimal256(digits, scale) => format!("decimal({digits}, {scale})"),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Dictionary(_, values) => type_name(values),
        DataType::List(item) | DataType::LargeList(item) => format!("{}[]", type_name(item.data_type())),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_said_as_sql_does() {
        assert_eq!(type_name(&DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))), "text");
        assert_eq!(type_name(&DataType::Decimal128(20, 2)), "decimal(20, 2)");
        assert_eq!(type_name(&DataType::UInt64), "uint64");
    }
}
