//! The log of letters.

use clap::Subcommand;
use uuid::Uuid;

use super::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum Mail {
    /// List letters, newest first; without a mail server they are kept here
    #[command(
        after_help = "Examples:\n  granary mail list\n  granary mail list --format json | jq -r '.[] | select(.state == \"kept\") | .id'"
    )]
    List {
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Show a letter that was kept because there is no mail server (mail.url); its link opens a login, so treat it like a password
    #[command(after_help = "Examples:\n  granary mail show 019a5c1e-7f00-7000-8000-000000000001 | jq -r .text")]
    Show {
        /// The letter's id, as mail list shows it
        id: Uuid,
    },
}
