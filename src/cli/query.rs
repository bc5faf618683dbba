//! Questions to the warehouse.

use std::io::Read;
use std::process::ExitCode;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Value, json};

use super::Failure;
use super::arguments::{Global, Query};
use super::files::Named;
use super::house::{House, Rooms};
use super::output::Rows;

/// As much of a question as the audit log keeps.
const SQL_SHOWN: usize = 2_000;

pub(crate) async fn run(global: &Global, command: Query) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        let sql = if command.sql == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).named("read", "standard input")?;
            text
        } else {
            command.sql
        };
        let (grant, msp) = match &command.as_user {
            Some(email) => {
                let grant = house.access.principal_of(email).await?.read_grant()?;
                let msp = house.tenants.get_msp(grant.msp).await?;
                (grant, msp)
            }
            None => {
                let msp = house.msp(command.msp.as_deref()).await?;
                (Rooms::grant(&msp), msp)
            }
        };
        let asked: String = sql.chars().take(SQL_SHOWN).collect();
        house.note(Some(&msp), None, "warehouse.query", &format!("msp:{}", msp.code), &json!({"sql": asked})).await?;
        house.note_grant(&grant, "granary query").await?;
        let session = match &command.as_of {
            None => house.warehouse.session(&grant).await?,
            Some(wanted) => {
                let version = house.lake.find_version(grant.msp, wanted).await?;
                say!("as of {wanted}: version {version} of the lake");
                house.warehouse.session_at(&grant, version).await?
            }
        };
        let (schema, batches) = session.query_with_schema(&sql).await?;
        rows(&schema, &batches)?.print(command.format)?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

/// Turns columns into rows: integers, floats and booleans as such, everything else as text, decimals exact.
fn rows(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Rows, Failure> {
    let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        // Only these know that a column of the type null holds nothing else.
        let nulls: Vec<_> = batch.columns().iter().map(|column| column.logical_nulls()).collect();
        let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<Vec<_>, _>>()?;
        for index in 0..batch.num_rows() {
            let row = batch.columns().iter().zip(&formatters).zip(&nulls).map(|((column, formatter), nulls)| {
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(index)) {
                    return Value::Null;
                }
                let text = formatter.value(index).to_string();
                let kind = column.data_type();
                if kind.is_integer() || kind.is_floating() || *kind == arrow::datatypes::DataType::Boolean {
                    serde_json::from_str(&text).unwrap_or(Value::String(text))
                } else {
                    Value::String(text)
                }
            });
            rows.push(row.collect());
        }
    }
    Ok(Rows { columns, rows })
}
