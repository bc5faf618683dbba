//! The SQL models.

use std::process::ExitCode;

use serde_json::json;

use super::Failure;
use super::arguments::{Global, WarehouseCommand};
use super::house::House;
use super::output::{Rows, print_json};

pub(crate) async fn run(global: &Global, command: WarehouseCommand) -> Result<ExitCode, Failure> {
    House::with(global, async |house| match command {
        WarehouseCommand::Build { msp } => {
            let msp = house.msp(msp.as_deref()).await?;
            print_json(&house.warehouse.build(msp.id).await?)?;
            Ok(ExitCode::SUCCESS)
        }
        WarehouseCommand::Test { msp, format } => {
            let msp = house.msp(msp.as_deref()).await?;
            let outcomes = house.warehouse.test(msp.id).await?;
            let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
            let rows: Vec<_> = outcomes
                .iter()
                .map(|outcome| json!({"model": outcome.model, "test": outcome.test, "failures": outcome.failures}))
                .collect();
            Rows::of(&["model", "test", "failures"], &rows).print(format)?;
            say!("{} passed, {failed} failed", outcomes.len() - failed);
            Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    })
    .await
}
