//! Whether the house stands as it should.

use std::process::ExitCode;

use granary_tenants::{Inspected, OperatorScope};

use super::Failure;
use super::arguments::{Doctor, Global};
use super::house::{ACTOR, House};
use super::output::Rows;

/// Connections that the owner may open beside those of the pool.
const OWNER_CONNECTIONS: usize = 4;

pub(crate) async fn run(global: &Global, command: Doctor) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        let operator = OperatorScope::for_job(ACTOR, "granary doctor");
        house.tenants.begin_operator(&operator).await?.commit().await?;
        let what = if command.isolation {
            Inspected::Isolation
        } else {
            Inspected::Everything { connections: house.config.database.max_connections + OWNER_CONNECTIONS }
        };
        let inspection = house.tenants.inspect(what).await?;
        Rows::of(&["severity", "cluster", "check", "subject", "found", "remedy"], &inspection.findings).print(command.format)?;
        let faults = inspection.faults().count();
        say!(
            "{} checks over {} silos: {faults} faults, {} pieces of advice",
            inspection.checks,
            inspection.silos,
            inspection.findings.len() - faults
        );
        Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}
