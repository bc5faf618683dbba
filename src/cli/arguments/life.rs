//! What can be done to a customer's life.

use clap::Subcommand;
use granary_types::{CustomerCode, EndReason};

use super::text;

#[derive(Debug, Subcommand)]
pub(crate) enum Life {
    /// Make a trial a customer that is billed
    #[command(after_help = "Example:\n  granary customer activate INITECH --reason 'signed on 12 May'")]
    Activate {
        /// The customer, by its code
        code: CustomerCode,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: Option<String>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Refuse new protection and commands; facts are counted and billed, restore stays open for 30 days
    #[command(after_help = "Example:\n  granary customer suspend ACME --reason 'unpaid since August'")]
    Suspend {
        /// The customer, by its code
        code: CustomerCode,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Make a suspended customer active again
    #[command(after_help = "Example:\n  granary customer resume ACME --reason 'paid'")]
    Resume {
        /// The customer, by its code
        code: CustomerCode,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: Option<String>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// End a customer's contract and life; its people may read and take their data along for 30 days
    #[command(after_help = "Example:\n  granary customer close ACME --reason 'moved to another provider' --end-reason voluntary")]
    Close {
        /// The customer, by its code
        code: CustomerCode,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
        /// voluntary, non_payment or closed
        #[arg(long, default_value = "closed")]
        end_reason: EndReason,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
}
