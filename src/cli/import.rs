//! Usage events from files, through the same door as the API's.

mod events;
mod sendense;

use std::process::ExitCode;

use granary_metering::veeam;

use self::events::{Found, cloudevents};
use super::arguments::{Global, Import, ImportFile, ImportFormat, ImportFrom};
use super::files::content_of;
use super::house::{House, Rooms};
use super::output::print_json;
use super::{Failure, Usage, customers};

pub(crate) async fn run(global: &Global, command: Import) -> Result<ExitCode, Failure> {
    match (command.from, command.file) {
        (Some(ImportFrom::Sendense(command)), _) => sendense::run(global, command).await,
        (None, Some(command)) => import_file(global, command).await,
        (None, None) => Err(Usage("name a file, or what to import from; see granary import --help".to_owned()).into()),
    }
}

async fn import_file(global: &Global, command: ImportFile) -> Result<ExitCode, Failure> {
    let content = content_of(&command.file)?;
    let zone = command.time_zone.as_deref().map(customers::time_zone).transpose()?;
    House::with(global, async |house| {
        let (msp, customer) = house.customer(command.msp.as_deref(), &command.customer).await?;
        let scope = Rooms::tenant_scope(&msp, &customer);
        let found: Vec<Found> = match command.format {
            ImportFormat::Cloudevents => cloudevents(&content)?,
            ImportFormat::VeeamSessions => {
                let zone = zone.as_ref().ok_or_else(|| Usage("--time-zone is needed: the report does not tell its zone".to_owned()))?;
                let planes = house.tenants.control_planes(customer.id).await?;
                let source = planes.first().map_or("veeam", |plane| plane.source.as_str());
                let tx = house.tenants.begin_tenant(&scope).await?;
                let known = veeam::known_machines(&tx).await?;
                tx.commit().await?;
                veeam::events(content.as_slice(), zone, source, &known)?.into_iter().map(Found::Event).collect()
            }
        };
        let tally = events::take(house, &scope, found, command.dry_run.into()).await?;
        print_json(&tally)?;
        Ok(if tally.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}
