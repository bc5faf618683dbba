//! How long rows are kept.

use clap::Subcommand;

use crate::cli::output::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// List what may go, after how many days it does, and the least that something needs
    #[command(after_help = "Examples:\n  granary retention list\n  granary retention list --msp NORTH --format json")]
    List {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Set after how many days rows of a dataset go
    #[command(after_help = "\
Examples:
  granary retention set tickets --days 730
  granary retention set usage_events --days 400
  granary retention set tickets --for-ever

Every night what is older goes, from Postgres and from the lake. Of usage events the body goes and the key stays, so that an
event still counts once for ever. Nothing goes of a month that is not closed, nor of a customer with a legal hold.")]
    Set {
        /// The dataset, as retention list shows it
        dataset: String,
        /// For so many days rows are kept
        #[arg(long, required_unless_present = "for_ever", value_parser = clap::value_parser!(i32).range(1..))]
        days: Option<i32>,
        /// Keep them for ever, as without a rule
        #[arg(long, conflicts_with = "days")]
        for_ever: bool,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Let go now what the night would
    #[command(after_help = "Examples:\n  granary retention run --dry-run\n  granary retention run --format json")]
    Run {
        /// Only count what would go
        #[arg(long)]
        dry_run: bool,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}
