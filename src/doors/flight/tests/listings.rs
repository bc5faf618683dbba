//! What clients list: of the grant alone.

use arrow_flight::sql::{CommandGetCrossReference, CommandGetExportedKeys, CommandGetImportedKeys};
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo};
use arrow_flight::{FlightInfo, IpcMessage};
use bytes::Bytes;
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Schema;
use granary_access::ApiKeyScope;

use super::house::{Client, House, batches, fetch};

async fn tables(client: &mut Client, wanted: CommandGetTables) -> Vec<RecordBatch> {
    let info = client.get_tables(wanted).await.unwrap();
    batches(client, &info).await.unwrap()
}

fn names(batches: &[RecordBatch]) -> Vec<String> {
    let name = |batch: &RecordBatch| -> Vec<String> {
        let (schemas, names) = (batch["db_schema_name"].as_string::<i32>().clone(), batch["table_name"].as_string::<i32>().clone());
        (0..batch.num_rows()).map(|row| format!("{}.{}", schemas.value(row), names.value(row))).collect()
    };
    batches.iter().flat_map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_those_of_the_grant_with_their_columns_and_what_they_mean() {
    let house = House::open().await;
    let mut msp = house.client(&house.key(None, ApiKeyScope::Sql).await).await;
    let mut customer = house.confined().await;
    let everything = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    let (of_msp, of_customer) = (tables(&mut msp, everything.clone()).await, tables(&mut customer, everything).await);
    let (of_msp_names, of_customer_names) = (names(&of_msp), names(&of_customer));
    assert!(
        of_msp_names.iter().any(|name| name == "warehouse.invoice_lines") && of_msp_names.iter().any(|name| name == "lake.backup_runs")
    );
    assert!(of_customer_names.iter().all(|name| of_msp_names.contains(name)) && of_customer_names.len() < of_msp_names.len());
    for hidden in ["warehouse.margin", "warehouse.mrr_movements", "warehouse.health_scores", "lake.statements", "lake.prices"] {
        assert!(!of_customer_names.iter().any(|name| name == hidden), "{hidden} is listed");
    }
    // Every table that is listed can be read, with the columns that were announced.
    for batch in &of_customer {
        let (schemas, tables) = (batch["db_schema_name"].as_string::<i32>().clone(), batch["table_name"].as_string::<i32>().clone());
        for row in 0..batch.num_rows() {
            let columns =
                Schema::try_from(IpcMessage(Bytes::copy_from_slice(batch["table_schema"].as_binary::<i32>().value(row)))).unwrap();
            let sql = format!("select * from {}.{} limit 0", schemas.value(row), tables.value(row));
            let read = customer.execute(sql.clone(), None).await.unwrap().try_decode_schema().unwrap();
            let shape =
                |schema: &Schema| schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>();
            assert_eq!(shape(&columns), shape(&read), "{sql}");
            if tables.value(row) == "invoice_lines" && schemas.value(row) == "warehouse" {
                assert!(columns.fields().iter().all(|field| !field.metadata()["ARROW:FLIGHT:SQL:REMARKS"].is_empty()));
            }
        }
    }
    let some = CommandGetTables {
        table_name_filter_pattern: Some("invoice%".to_owned()),
        table_types: vec!["TABLE".to_owned()],
        ..CommandGetTables::default()
    };
    let found = names(&tables(&mut msp, some).await);
    assert!(!found.is_empty() && found.iter().all(|name| name.contains(".invoice")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_schemas_types_and_keys_are_listed() {
    let house = House::open().await;
    let mut client = house.confined().await;
    let listed = async |client: &mut Client, info: FlightInfo| fetch(client, &info).await.unwrap();
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(listed(&mut client, info).await, ["granary"]);
    let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    assert_eq!(listed(&mut client, info).await, ["granary|lake", "granary|warehouse"]);
    let info = client.get_table_types().await.unwrap();
    assert_eq!(listed(&mut client, info).await, ["TABLE", "VIEW"]);
    let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerName, SqlInfo::FlightSqlServerReadOnly]).await.unwrap();
    let facts = listed(&mut client, info).await;
    assert!(facts.len() == 2 && facts[0].contains("Granary") && facts[1].contains("true"), "{facts:?}");
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    assert!(listed(&mut client, info).await.len() > 8);
    let key = |table: &str| CommandGetPrimaryKeys { catalog: None, db_schema: None, table: table.to_owned() };
    let info = client.get_primary_keys(key("customer_months")).await.unwrap();
    let columns = listed(&mut client, info).await;
    assert!(columns.len() >= 2 && columns[0].starts_with("granary|warehouse|customer_months|"), "{columns:?}");
    let info = client.get_primary_keys(key("margin")).await.unwrap();
    assert!(listed(&mut client, info).await.is_empty(), "what is not in the grant has no key either");
    let table = || "invoice_lines".to_owned();
    let exported = CommandGetExportedKeys { table: table(), ..CommandGetExportedKeys::default() };
    let imported = CommandGetImportedKeys { table: table(), ..CommandGetImportedKeys::default() };
    let crossed = CommandGetCrossReference { pk_table: table(), fk_table: table(), ..CommandGetCrossReference::default() };
    let infos = [
        client.get_exported_keys(exported).await.unwrap(),
        client.get_imported_keys(imported).await.unwrap(),
        client.get_cross_reference(crossed).await.unwrap(),
    ];
    for info in infos {
        assert!(listed(&mut client, info).await.is_empty());
    }
}
