//! What was counted, what goes to the lake, and what is asked of it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use granary_lake::{AsOf, Step};
use granary_types::{CustomerCode, Period};
use jiff::civil::Date;

use super::text;
use crate::cli::output::Format;
use crate::cli::query::AnswerForm;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  granary events --customer ACME --period 2025-10 --type backup.completed --machine vm-1001
  granary events --customer ACME --period 2025-10 --refused")]
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
    /// Those that were refused instead, with the reason: what lies in quarantine and stands against the close of the month
    #[arg(long, conflicts_with_all = ["event_type", "machine"])]
    pub(crate) refused: bool,
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
        /// For tests: write by the day above this size of a month's file, in bytes
        #[arg(long, hide = true)]
        daily_above: Option<u64>,
        #[command(flatten)]
        halt: Halt,
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
    /// List the versions of the lake, newest first
    #[command(after_help = "Examples:\n  granary export versions\n  granary export versions --labelled --format json")]
    Versions {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// Only those that have a name, and are kept for good
        #[arg(long)]
        labelled: bool,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Give what the lake shows now a name, under which it can always be read
    #[command(after_help = "Examples:\n  granary export label before-the-audit\n  granary query --as-of before-the-audit 'select 1'")]
    Label {
        /// The name
        label: String,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Show what each owner has in the lake, and how its last night ended
    #[command(after_help = "Examples:\n  granary export status\n  granary export status --format csv")]
    Status {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Write files of a customer anew from Postgres, whatever the lake holds
    #[command(
        after_help = "Examples:\n  granary export backfill ACME\n  granary export backfill ACME --dataset backup_runs --from 2025-08 --to 2025-10"
    )]
    Backfill {
        /// The customer's code
        code: CustomerCode,
        /// One dataset [default: all]
        #[arg(long)]
        dataset: Option<String>,
        /// The first month [default: the oldest]
        #[arg(long, value_name = "MONTH")]
        from: Option<Period>,
        /// The last month [default: the newest]
        #[arg(long, value_name = "MONTH")]
        to: Option<Period>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Let go of versions older than leaving.backup_days that have no name, and of files that no version shows
    #[command(after_help = "\
Every night does the first of it. --orphans goes through the whole store and also deletes files that this house does not know: never in a
copy of a house whose original still lives.

Examples:
  granary export gc
  granary export gc --orphans")]
    Gc {
        /// Also delete what killed exports left: files older than a day that this house does not know
        #[arg(long)]
        orphans: bool,
        #[command(flatten)]
        halt: Halt,
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

/// For tests of what a kill leaves behind: nothing but this argument makes a process stop there.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Halt {
    /// Say so at this step, and wait to be killed
    #[arg(long, hide = true, value_parser = step)]
    pub(crate) halt_at: Option<Step>,
}

fn step(name: &str) -> Result<Step, String> {
    let known = || Step::ALL.map(Step::name).join(", ");
    Step::ALL.into_iter().find(|step| step.name() == name).ok_or_else(|| format!("one of {}", known()))
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without SQL, a terminal becomes a shell (\\? helps there), and anything else is read as one question. What an operator reads is written
down with its reason, where the MSP and its customers see it; a demo needs none.

Examples:
  granary query 'select period, mrr from revenue_by_month order by period'
  granary query --reason 'ticket 4711: what was billed'
  granary query --format csv 'select * from mrr_movements' > movements.csv
  granary query --format parquet 'select * from invoice_lines' > lines.parquet
  granary query --as analyst@north.example 'show tables'
  granary query --as-of 2025-10 'select count(*) from invoice_lines'
  granary query --as-of 2025-11-03T00:00:00Z 'select * from mrr_movements'")]
pub(crate) struct Query {
    /// One SELECT; without it, or with -, it is read from standard input
    pub(crate) sql: Option<String>,
    /// Read the lake as it was: at an instant, at a version (v12), or under a name; a closed month's is the month
    #[arg(long, value_name = "TIME|LABEL")]
    pub(crate) as_of: Option<AsOf>,
    /// See what this user sees
    #[arg(long = "as", value_name = "EMAIL", conflicts_with = "msp")]
    pub(crate) as_user: Option<String>,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    pub(crate) msp: Option<String>,
    /// Why, for the audit log; a demo needs none
    #[arg(long, value_parser = text::reason)]
    pub(crate) reason: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = AnswerForm::Table)]
    pub(crate) format: AnswerForm,
}

/// How a graph of models is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    Table,
    Json,
    Dot,
    Mermaid,
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
    /// Test models of the MSP's own, and use them from then on
    #[command(after_help = "Examples:\n  granary warehouse push models --dry-run\n  granary warehouse push models --msp NORTH")]
    Push {
        /// The folder of their .sql and .yml files
        folder: PathBuf,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// Test only, keep nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List the versions of the MSP's own models
    #[command(after_help = "Examples:\n  granary warehouse models\n  granary warehouse models --msp NORTH --format json")]
    Models {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Use an earlier version of the MSP's own models again
    #[command(after_help = "Examples:\n  granary warehouse rollback 3\n  granary warehouse rollback 3 --msp NORTH")]
    Rollback {
        /// The version, as granary warehouse models lists it
        version: i32,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Show which model reads which
    #[command(
        after_help = "Examples:\n  granary warehouse lineage\n  granary warehouse lineage margin\n  granary warehouse lineage --format dot | dot -Tsvg > models.svg"
    )]
    Lineage {
        /// Only what this model is made of, and what is made of it
        model: Option<String>,
        /// How it is written: a table, JSON, or a graph for Graphviz or Mermaid
        #[arg(long, value_enum, default_value_t = GraphFormat::Table)]
        format: GraphFormat,
    },
    /// Write the page that describes every model
    #[command(after_help = "Examples:\n  granary warehouse docs --out models.html")]
    Docs {
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
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
