//! Where silos lie.

use std::process::ExitCode;

use clap::Subcommand;
use granary_types::CustomerCode;
use serde_json::json;

use super::Failure;
use super::arguments::Global;
use super::house::{ACTOR, House};
use super::output::{Format, Rows, print_json};
use super::progress::Reporter;

#[derive(Debug, Subcommand)]
pub(crate) enum Placement {
    /// Move a customer's silo to another cluster while the customer goes on working
    #[command(after_help = "\
Examples:
  granary customer move ACME --to eu1     a move that was interrupted is finished by the same call
  granary cluster list                    where one can move to")]
    Move {
        /// The customer, by its code
        code: CustomerCode,
        /// A cluster of the configuration, or local for the home
        #[arg(long, value_name = "CLUSTER")]
        to: String,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// List the clusters, what they hold, and whether they answer
    #[command(after_help = "\
Examples:
  granary cluster list
  granary cluster list --format json

A cluster is a Postgres of the configuration:
  [clusters.eu1]
  url = 'postgres://…'     or GRANARY_CLUSTERS_EU1_URL
  region = 'eu'            new customers of this region are placed there")]
    List {
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

pub(crate) async fn cluster(global: &Global, command: Cluster) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        let Cluster::List { format } = command;
        let standing = house.tenants.list_clusters().await?;
        Rows::of(&["name", "region", "silos", "trouble"], &standing).print(format)?;
        Ok(if standing.iter().all(|cluster| cluster.trouble.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
    .await
}

pub(crate) async fn run(global: &Global, command: Placement) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            Placement::Move { code, to, msp } => {
                let (_, customer) = house.customer(msp.as_deref(), &code).await?;
                let progress = Reporter::shared().port();
                match house.tenants.move_customer(customer.id, &to, ACTOR.into(), &progress).await? {
                    Some(report) => print_json(&report)?,
                    None => print_json(&json!({"to": to, "moved": false}))?,
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
