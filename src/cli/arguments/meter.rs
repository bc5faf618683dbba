//! What is made of usage events.

use clap::Subcommand;
use granary_types::CustomerCode;

use crate::cli::output::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum Meter {
    /// Make a customer's machines, runs, storage and the rest anew from its log of usage events
    #[command(after_help = "\
Examples:
  granary meter rebuild --customer ACME
  granary meter rebuild --customer ACME --msp NORTH --format json | jq '.[] | select(.is_same | not)'

The log is the truth: the tables come out as they were, and if they do not, the answer says which did not. It is one transaction: a
rebuild that is killed changes nothing, and no events of this customer are taken before it ends.")]
    Rebuild {
        /// The customer, by its code
        #[arg(long)]
        customer: CustomerCode,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}
