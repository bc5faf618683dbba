//! Closing a month.

use clap::{Subcommand, ValueEnum};
use granary_types::{CustomerCode, Period};

use super::text;
use crate::cli::output::Format;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindingArgument {
    /// A control plane was silent: bill the last known machines, marked as estimated
    Incomplete,
    /// Refused events that nobody has decided on
    Quarantine,
    /// Two roads to the amount do not meet
    Residual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Answer {
    Yes,
    No,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeriodCommand {
    /// Show what of a month is complete, and what blocks its close
    #[command(after_help = "Examples:\n  granary period status 2025-10\n  granary period status 2025-10 --format json")]
    Status {
        /// The month, such as 2025-10
        period: Period,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Accept what blocks the close of a customer's month, by name and with a reason
    #[command(
        after_help = "Examples:\n  granary period accept 2025-10 --customer ACME --finding incomplete --reason 'site was flooded'\n  granary period accept 2025-10 --customer ACME --finding quarantine --reason 'an old agent repeats itself'"
    )]
    Accept {
        /// The month, such as 2025-10
        period: Period,
        /// The customer, by its code
        #[arg(long)]
        customer: CustomerCode,
        /// What is accepted
        #[arg(long, value_enum)]
        finding: FindingArgument,
        /// Why, for the audit log and whoever closes
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Approve the drafts of a month as they are
    #[command(after_help = "Examples:\n  granary billing draft --period 2025-10\n  granary period approve 2025-10")]
    Approve {
        /// The month, such as 2025-10
        period: Period,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Freeze every customer's month for good, and number the invoices
    #[command(
        after_help = "Ends with 1 when something blocks.\n\nExamples:\n  granary period close 2025-10\n  granary period close 2025-10 --msp NORTH"
    )]
    Close {
        /// The month, such as 2025-10
        period: Period,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Compare a closed month with what is known now, and list what differs
    #[command(
        after_help = "Examples:\n  granary period corrections 2025-10\n  granary period corrections 2025-10 --format csv > corrections.csv"
    )]
    Corrections {
        /// The closed month, such as 2025-10
        period: Period,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Prove that an event is one of those that a closed month counted
    #[command(after_help = "Example:\n  granary period proof 2025-10 --customer ACME --source https://vbr.acme.example --id run-17")]
    Proof {
        /// The closed month, such as 2025-10
        period: Period,
        /// The customer, by its code
        #[arg(long)]
        customer: CustomerCode,
        /// The event's source
        #[arg(long)]
        source: String,
        /// The event's id
        #[arg(long)]
        id: String,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Say whether whoever drafted a month may approve it
    #[command(
        after_help = "Examples:\n  granary period rule --editor-may-approve yes\n  granary period rule --editor-may-approve no --msp NORTH"
    )]
    Rule {
        /// Whether one person may do both
        #[arg(long, value_enum)]
        editor_may_approve: Answer,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
}
