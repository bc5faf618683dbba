//! Making rows anew from the log of usage events.

use std::process::ExitCode;

use serde_json::json;

use super::Failure;
use super::arguments::{Global, Meter};
use super::house::{House, Rooms};
use super::output::Rows;
use super::progress::Reporter;

pub(crate) async fn run(global: &Global, command: Meter) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        let Meter::Rebuild { customer, msp, format } = command;
        let (msp, customer) = house.customer(msp.as_deref(), &customer).await?;
        let tx = house.tenants.begin_tenant(&Rooms::tenant_scope(&msp, &customer)).await?;
        let tables = granary_metering::rebuild(&tx, &Reporter::shared().port()).await?;
        let changed: Vec<&str> = tables.iter().filter(|table| !table.is_same).map(|table| table.table).collect();
        let detail = json!({"changed": changed});
        tx.record_audit("meter.rebuild", &format!("customer:{}", customer.code), &detail, None).await?;
        tx.commit().await?;
        Rows::of(&["table", "rows_before", "rows", "is_same"], &tables).print(format)?;
        match changed.as_slice() {
            [] => say!("every table is what it was"),
            changed => say!("changed: {}", changed.join(", ")),
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
