//! What was counted, what goes to the lake, and what is asked of it.

use clap::{Args, Subcommand};
use granary_types::{CustomerCode, Period};
use jiff::civil::Date;

use super::text;
use crate::cli::output::Format;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  granary events --customer ACME --period 2025-10 --type backup.completed --machine vm-1001")]
pub(crate) struct Events {
    /// The customer, by its code
    #[arg(long)]
    pub(crate) customer: CustomerCode,
    /// The month in which they occurred, in the MSP's zone
    #[arg(long)]
    pub(crate) period: Period,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// Only events about the machine with this id in its source system
    #[arg(long, value_name = "VENDOR_ID")]
    pub(crate) machine: Option<String>,
    /// The most events to show
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    pub(crate) msp: Option<String>,
    /// How the answer is written: a table, JSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Export {
    /// Export every tenant's changed months; a second run writes nothing
    #[command(after_help = "Examples:\n  granary export run\n  granary export run --night 2025-11-01")]
    Run {
        /// The night's name [default: today]
        #[arg(long, value_name = "DATE")]
        night: Option<Date>,
    },
    /// Compare Postgres and lake by counts and checksums
    #[command(after_help = "Examples:\n  granary export verify\n  granary export verify --msp NORTH --format json")]
    Verify {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// List the files of the newest version
    #[command(after_help = "Examples:\n  granary export files\n  granary export files --format csv > files.csv")]
    Files {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Hand out the key of one file for a foreign Parquet reader; audited
    #[command(
        after_help = "Examples:\n  granary export files\n  granary export open --path north/acme/backup_runs/2025-10.parquet --reason 'ticket 4711: compare with the vendor'"
    )]
    Open {
        /// Path in the lake, as `export files` lists it
        #[arg(long)]
        path: String,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  granary query 'select period, mrr from revenue_by_month order by period'
  granary query --format csv 'select * from mrr_movements' > movements.csv
  granary query --as analyst@north.example 'show tables'")]
pub(crate) struct Query {
    /// One SELECT; - reads it from standard input
    pub(crate) sql: String,
    /// See what this user sees
    #[arg(long = "as", value_name = "EMAIL", conflicts_with = "msp")]
    pub(crate) as_user: Option<String>,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    pub(crate) msp: Option<String>,
    /// How the answer is written: a table, JSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WarehouseCommand {
    /// Materialise every mart
    #[command(after_help = "Examples:\n  granary warehouse build\n  granary warehouse build --msp NORTH")]
    Build {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Run the tests that stand beside the models
    #[command(after_help = "Examples:\n  granary warehouse test\n  granary warehouse test --format json")]
    Test {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}
