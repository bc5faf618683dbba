//! Settings as rows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::columns::Columns;
use super::fault::Fault;
use super::portal::Answer;
use super::settings::Settings;

/// Returns the columns of what is shown.
pub(super) fn schema(settings: &Settings, name: Option<&str>) -> Result<SchemaRef, Fault> {
    let names = match name {
        Some(name) => vec![known(settings, name)?.0],
        None => vec!["name", "setting", "description"],
    };
    Ok(Arc::new(Schema::new(names.into_iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>())))
}

/// Shows one setting, or all.
pub(super) fn show(settings: &Settings, name: Option<&str>, formats: &[i16]) -> Result<Answer, Fault> {
    let schema = schema(settings, name)?;
    let column = |values: Vec<Option<String>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let columns = match name {
        Some(name) => vec![column(vec![Some(known(settings, name)?.1.to_owned())])],
        None => {
            let all: Vec<_> = settings.all().collect();
            vec![
                column(all.iter().map(|(name, _)| Some((*name).to_owned())).collect()),
                column(all.iter().map(|(_, value)| Some((*value).to_owned())).collect()),
                column(vec![None; all.len()]),
            ]
        }
    };
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| Fault::new("XX000", error.to_string()))?;
    Ok(Answer::of(Columns::new(&schema, formats)?, batch, "SHOW"))
}

fn known<'a>(settings: &'a Settings, name: &str) -> Result<(&'static str, &'a str), Fault> {
    let shown: String = name.chars().take(63).collect();
    settings.get(name).ok_or_else(|| Fault::new("42704", format!("unrecognized configuration parameter \"{shown}\"")))
}
