//! `granary control-plane …` and `granary token-key …`: keys that machines prove themselves with.

use clap::Subcommand;
use granary_types::{ControlPlaneId, CustomerCode};

use super::text;
use crate::cli::output::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum ControlPlaneCommand {
    /// List the control planes of a customer, and the keys that they have
    #[command(
        after_help = "Examples:\n  granary control-plane list --customer ACME\n  granary control-plane list --customer ACME --format json"
    )]
    List {
        /// The customer
        #[arg(long)]
        customer: CustomerCode,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Make a code with which a control plane enrols its own key pair; it works once and for a day
    #[command(
        after_help = "Examples:\n  granary control-plane enrol 019a5c1e-7f00-7000-8000-000000000001 --customer ACME --reason 'new server'"
    )]
    Enrol {
        /// The control plane's id, as control-plane list shows it
        #[arg(value_parser = plane)]
        id: ControlPlaneId,
        /// The customer
        #[arg(long)]
        customer: CustomerCode,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
    },
    /// End a control plane's key at once, and make its code void
    #[command(
        after_help = "Examples:\n  granary control-plane revoke 019a5c1e-7f00-7000-8000-000000000001 --customer ACME --reason 'stolen'"
    )]
    Revoke {
        /// The control plane's id, as control-plane list shows it
        #[arg(value_parser = plane)]
        id: ControlPlaneId,
        /// The customer
        #[arg(long)]
        customer: CustomerCode,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenKeyCommand {
    /// List the keys by which tokens are checked, the one that signs first
    #[command(after_help = "Examples:\n  granary token-key list")]
    List {
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Make a new signing key; by itself that happens every ninety days
    #[command(
        after_help = "Examples:\n  granary token-key rotate --reason 'once a month'\n  granary token-key rotate --at-once --reason 'a backup was lost'"
    )]
    Rotate {
        /// Refuse at once what the keys before signed, instead of after an hour
        #[arg(long)]
        at_once: bool,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
    },
}

fn plane(text: &str) -> Result<ControlPlaneId, String> {
    text.parse().map_err(|_| "not the id of a control plane, which has 36 characters; granary control-plane list shows them".to_owned())
}
