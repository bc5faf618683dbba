//! Requests of one person.

use std::path::PathBuf;

use clap::Subcommand;
use granary_tenants::PersonAddress;

use super::text;

fn address(text: &str) -> Result<PersonAddress, String> {
    text.parse().map_err(|error: granary_tenants::TenantsError| error.to_string())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Person {
    /// Show where an address is known: as a login, as a contact, in rows of which customers
    #[command(after_help = "Example:\n  granary person find wendy@acme.example")]
    Find {
        /// The person's e-mail address
        #[arg(value_parser = address)]
        email: PersonAddress,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Write all that is known of a person to a file, for the person
    #[command(after_help = "Example:\n  granary person export wendy@acme.example --reason 'her letter of 3 May' --out wendy.json")]
    Export {
        /// The person's e-mail address
        #[arg(value_parser = address)]
        email: PersonAddress,
        /// Why, for the customers' audit logs
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// The JSON file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Forget a person: login, sessions and contacts go
    #[command(after_help = "\
Example:
  granary person erase wendy@acme.example --reason 'her letter of 3 May'

Facts that control planes delivered are never changed. Rows that name the person are listed as left: they are corrected where
they come from, and go with the customer.")]
    Erase {
        /// The person's e-mail address
        #[arg(value_parser = address)]
        email: PersonAddress,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// Do not ask for the address again
        #[arg(long)]
        yes: bool,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
}
