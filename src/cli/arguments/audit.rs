//! The audit log.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use granary_types::CustomerCode;
use jiff::Timestamp;

use crate::cli::output::Format;

/// Which part of the log.
#[derive(Debug, Args)]
pub(crate) struct AuditWanted {
    /// The MSP, by its code; needed when there are several
    #[arg(long, conflicts_with = "installation")]
    pub(crate) msp: Option<String>,
    /// One customer: what the MSP's log says of it, and the log in its own silo
    #[arg(long, conflicts_with = "installation")]
    pub(crate) customer: Option<CustomerCode>,
    /// What belongs to no MSP: the operator's own doings
    #[arg(long)]
    pub(crate) installation: bool,
    /// The beginning of the action, like customer. or customer.suspend
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Who, as the log writes it: user:<id>, api_key:<id>, system:<name>
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// From this instant on
    #[arg(long, value_name = "INSTANT")]
    pub(crate) since: Option<Timestamp>,
    /// Before this instant
    #[arg(long, value_name = "INSTANT")]
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Show who did what, the newest first
    #[command(after_help = "\
Examples:
  granary audit list
  granary audit list --customer ACME --action customer.suspend
  granary audit list --since 2025-10-01T00:00:00Z --until 2025-11-01T00:00:00Z --format csv")]
    List {
        #[command(flatten)]
        wanted: AuditWanted,
        /// How many lines
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
        limit: u16,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Write the log to a file, one JSON document a line, the newest first
    #[command(after_help = "\
Examples:
  granary audit export --out audit.jsonl
  granary audit export --customer ACME --since 2025-10-01T00:00:00Z --out acme.jsonl")]
    Export {
        #[command(flatten)]
        wanted: AuditWanted,
        /// The file; only its owner may read it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Read the chains again: whatever was edited, deleted, reordered or cut off is named
    #[command(after_help = "\
Examples:
  granary audit verify
  granary audit verify --msp NORTH --customer ACME
  granary audit verify --format json | jq '.[].faults[]'

Reads the installation's chain, those of all MSPs and those in the silos of their customers. Ends with 1 when there is a fault.
Sign a checkpoint first (checkpoint, or the hourly job): only what was signed is known to be missing when
somebody cuts off the end of a log and winds its head back as well.")]
    Verify {
        /// Only this MSP, by its code
        #[arg(long)]
        msp: Option<String>,
        /// Only this customer of the MSP
        #[arg(long)]
        customer: Option<CustomerCode>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Sign where every chain stands now
    #[command(after_help = "Examples:\n  granary audit checkpoint")]
    Checkpoint,
}
