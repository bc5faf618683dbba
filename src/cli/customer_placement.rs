//! Where silos lie.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use granary_db::jobs::JobError;
use granary_foundation::Job;
use granary_tenants::{Actor, NewClone, PersonalData, Residency};
use granary_types::{Classify, CustomerCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::arguments::{Global, text};
use super::house::{ACTOR, House, Rooms};
use super::output::{Format, Rows, print_json};
use super::progress::Reporter;
use super::{Failure, Usage};

#[derive(Debug, Subcommand)]
pub(crate) enum Placement {
    /// Move a customer's silo to another cluster while the customer goes on working
    #[command(after_help = "\
Examples:
  granary customer move ACME --to eu1     a move that was interrupted is finished by the same call, or by the worker
  granary cluster list                    where one can move to

A customer of a region stays in it unless --change-region is given. Then the next night writes its files of the lake into the store of the
new region; older versions of them stay where they were written.")]
    Move {
        /// The customer, by its code
        code: CustomerCode,
        /// A cluster of the configuration, or local for the home
        #[arg(long, value_name = "CLUSTER")]
        to: String,
        /// Let the customer's data leave its region, for good: the cluster's becomes the customer's
        #[arg(long)]
        change_region: bool,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Write a customer's silo to a file from which it can be restored
    #[command(after_help = "\
Examples:
  granary customer dump ACME --out acme.dump
  pg_restore --list acme.dump                 it is a dump of pg_dump, custom format

Everything is in clear in it: keep it safe.")]
    Dump {
        /// The customer, by its code
        code: CustomerCode,
        /// The file; one of that name is replaced when the new one is complete
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Restore a customer's silo from a dump, beside the living one
    #[command(after_help = "\
Examples:
  granary customer restore ACME --from acme.dump --reason 'machines deleted by mistake'
  granary customer clone query ACME-RESTORED 'select count(*) from machines'
  granary customer clone swap ACME-RESTORED --reason 'machines deleted by mistake'

The dump is one of pg_dump (custom, directory or tar format), of this customer or of the whole database. Only rows are taken from it; they
become a copy of the customer's silo, brought to this program's version, and nobody else is touched.")]
    Restore {
        /// The customer, by its code
        code: CustomerCode,
        /// The dump
        #[arg(long, value_name = "DUMP")]
        from: PathBuf,
        /// The code of the copy [default: the customer's with -RESTORED]
        #[arg(long = "as", value_name = "NEWCODE")]
        new: Option<CustomerCode>,
        /// The schema in the dump, when it is another customer's or another installation's
        #[arg(long, value_name = "SCHEMA")]
        of: Option<String>,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// After so many days the copy is dropped
        #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=366))]
        days: u16,
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

/// Finishes moves whose worker was killed, and drops copies whose days are over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PlacementJob {}

impl Job for PlacementJob {
    const KIND: &'static str = "tenants.placement";
}

/// Runs the job; what fails stays as it is and is logged.
pub(crate) async fn run_job(rooms: &Rooms) -> Result<(), JobError> {
    let actor = Actor::System("placement");
    for (customer, error) in rooms.tenants.finish_moves(actor).await? {
        tracing::error!(tenant.id = %customer, code = error.code(), %error, "a move stands still");
    }
    for (clone, error) in rooms.tenants.end_clones(actor).await? {
        tracing::error!(clone = %clone, code = error.code(), %error, "a copy could not be dropped");
    }
    Ok(())
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
            Placement::Move { code, to, change_region, msp } => {
                let (_, customer) = house.customer(msp.as_deref(), &code).await?;
                let progress = Reporter::shared().port();
                let residency = if change_region { Residency::Changed } else { Residency::Kept };
                match house.tenants.move_customer(customer.id, &to, residency, ACTOR.into(), &progress).await? {
                    Some(report) => print_json(&report)?,
                    None => print_json(&json!({"to": to, "moved": false}))?,
                }
            }
            Placement::Dump { code, out, msp } => {
                let (msp, customer) = house.customer(msp.as_deref(), &code).await?;
                house.note_opening([customer.id], "granary customer dump").await?;
                let bytes = house.tenants.dump_customer(&msp, &customer, &out, ACTOR.into()).await?;
                print_json(&json!({"code": code, "schema": customer.schema_name, "path": out, "bytes": bytes}))?;
            }
            Placement::Restore { code, from, new, of, reason, days, msp } => {
                let (_, customer) = house.customer(msp.as_deref(), &code).await?;
                let new = match new {
                    Some(new) => new,
                    None => format!("{code}-RESTORED").parse().map_err(|error| Usage(format!("name the copy with --as: {error}")))?,
                };
                let personal_data = PersonalData::Kept;
                let new = NewClone { parent: customer.id, code: &new, cluster: None, personal_data, reason: &reason, days };
                let restored = house.tenants.restore_customer(&new, &from, of.as_deref(), ACTOR.into(), &Reporter::shared().port()).await?;
                let clone = &restored.clone;
                print_json(
                    &json!({"code": clone.code, "of": clone.parent_code, "source": clone.source.as_str(), "cluster": clone.cluster,
                    "schema": clone.schema_name, "dumped_version": restored.dumped_version, "version": clone.schema_version,
                    "tables": restored.tables, "rows": restored.rows, "expires_at": clone.expires_at}),
                )?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
