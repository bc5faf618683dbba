//! `granary api-key …`: what programs come in with.

use clap::Subcommand;
use granary_types::{ApiKeyId, CustomerCode};
use jiff::Timestamp;

use super::text;
use crate::cli::output::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum ApiKey {
    /// Make a key for a customer's control plane, or for a program of the MSP; it is shown once
    #[command(after_help = "\
Examples:
  granary api-key add --customer ACME
  granary api-key add --customer ACME --scope sql --expires 2027-01-01T00:00:00Z --name 'BI tool'    # answers with a line for psql
  granary api-key add --msp NORTH --scope customers.write --name 'ticket system'")]
    Add {
        /// The customer that the key acts for; none for a key of the MSP
        #[arg(long)]
        customer: Option<CustomerCode>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// What the key may do: usage.write, reports.read, billing.read, sql or customers.write; may be given several times
        #[arg(long, default_value = "usage.write")]
        scope: Vec<String>,
        /// What the key is for, as lists of keys show it
        #[arg(long, default_value = "command line", value_parser = text::name)]
        name: String,
        /// When it ends by itself [default: never]
        #[arg(long, value_name = "TIME")]
        expires: Option<Timestamp>,
        /// How often it may be used a minute [default: as often as the customer's limit allows]
        #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
        per_minute: Option<i32>,
    },
    /// List the keys of an MSP, or of a customer
    #[command(after_help = "Examples:\n  granary api-key list\n  granary api-key list --customer ACME --format json")]
    List {
        /// The customer whose keys are listed; none for those of the MSP
        #[arg(long)]
        customer: Option<CustomerCode>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Make the key that follows one; both are good for a while
    #[command(after_help = "\
Examples:
  granary api-key rotate 019a5c1e-7f00-7000-8000-000000000001 --customer ACME --reason 'once a quarter'
  granary api-key rotate 019a5c1e-7f00-7000-8000-000000000001 --overlap-hours 0 --reason 'it was in a log'")]
    Rotate {
        /// The key's id, as api-key list shows it
        #[arg(value_parser = key_id)]
        id: ApiKeyId,
        /// The customer whose key it is; none for one of the MSP
        #[arg(long)]
        customer: Option<CustomerCode>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// For how many hours both are good
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(i64).range(0..=744))]
        overlap_hours: i64,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
    },
    /// End a key at once
    #[command(
        after_help = "Examples:\n  granary api-key revoke 019a5c1e-7f00-7000-8000-000000000001 --customer ACME --reason 'the server was sold'"
    )]
    Revoke {
        /// The key's id, as api-key list shows it
        #[arg(value_parser = key_id)]
        id: ApiKeyId,
        /// The customer whose key it is; none for one of the MSP
        #[arg(long)]
        customer: Option<CustomerCode>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
    },
}

fn key_id(text: &str) -> Result<ApiKeyId, String> {
    text.parse().map_err(|_| "not the id of a key, which has 36 characters; granary api-key list shows them".to_owned())
}
