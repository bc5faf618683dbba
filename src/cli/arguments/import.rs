//! `granary import …`: a past that lies in files.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use granary_types::CustomerCode;

use crate::cli::output::Format;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// CloudEvents 1.0: a JSON array, or one event a line
    Cloudevents,
    /// The session report that Veeam's users export as CSV
    VeeamSessions,
}

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Every event counts once for ever: a second import changes nothing, and one that was killed goes on where it was.

Examples:
  granary import events.ndjson --customer ACME --dry-run
  granary import events.json --customer ACME
  granary import VeeamSessionReport.csv --customer LAB --format veeam-sessions --time-zone America/New_York
  granary import sendense /srv/dumps/acme --customer ACME --time-zone UTC --dry-run"
)]
pub(crate) struct Import {
    #[command(subcommand)]
    pub(crate) from: Option<ImportFrom>,
    #[command(flatten)]
    pub(crate) file: Option<ImportFile>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportFrom {
    /// Read the tables of a Sendense appliance, as mysqldump --tab or as CSV
    Sendense(ImportSendense),
}

#[derive(Debug, Args)]
pub(crate) struct ImportFile {
    /// The file; - for standard input
    pub(crate) file: PathBuf,
    /// The customer, by its code
    #[arg(long)]
    pub(crate) customer: CustomerCode,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    pub(crate) msp: Option<String>,
    /// What the file holds
    #[arg(long, value_enum, default_value_t = ImportFormat::Cloudevents)]
    pub(crate) format: ImportFormat,
    /// The zone of the report's times, which the report does not tell
    #[arg(long, value_name = "ZONE", required_if_eq("format", "veeam-sessions"))]
    pub(crate) time_zone: Option<String>,
    /// Say what would be counted, and count nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The directory holds, for each table, <table>.sql and <table>.txt as mysqldump --tab writes them, or <table>.csv with a header.
Tables that are read: vm_replication_contexts, vm_backup_contexts, backup_jobs, backup_disks, backup_repositories, backup_copies,
backup_chains. Says for every row whether it is taken as an event, folded into another row's, or left out, and why. A later dump of
the same appliance adds what is new; docs/importing.md tells all rules.

Examples:
  granary import sendense /srv/dumps/acme --customer ACME --time-zone UTC --dry-run
  granary import sendense /srv/dumps/acme --customer ACME --time-zone Europe/Berlin --format json")]
pub(crate) struct ImportSendense {
    /// The directory of the dump
    pub(crate) directory: PathBuf,
    /// The customer whose appliance it was, by its code
    #[arg(long)]
    pub(crate) customer: CustomerCode,
    /// The zone of the session that dumped: timestamp columns are in it (mysqldump without --skip-tz-utc: UTC)
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: String,
    /// Which of the customer's control planes the appliance is, by its source; needed when there are several
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Say what would be counted and why, and count nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    pub(crate) msp: Option<String>,
    /// How the answer is written: a table, JSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}
