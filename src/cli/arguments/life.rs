//! What can be done to a customer's life.

use clap::Subcommand;
use granary_types::{CustomerCode, EndReason};

#[derive(Debug, Subcommand)]
pub(crate) enum Life {
    /// Make a trial a customer that is billed
    #[command(after_help = "Example:\n  granary customer activate INITECH --reason 'signed on 12 May'")]
    Activate {
        code: CustomerCode,
        #[arg(long)]
        reason: Option<String>,
        #[arg(long)]
        msp: Option<String>,
    },
    /// Refuse new protection and commands; facts are counted and billed, restore stays open for 30 days
    #[command(after_help = "Example:\n  granary customer suspend ACME --reason 'unpaid since August'")]
    Suspend {
        code: CustomerCode,
        #[arg(long)]
        reason: String,
        #[arg(long)]
        msp: Option<String>,
    },
    /// Make a suspended customer active again
    #[command(after_help = "Example:\n  granary customer resume ACME --reason 'paid'")]
    Resume {
        code: CustomerCode,
        #[arg(long)]
        reason: Option<String>,
        #[arg(long)]
        msp: Option<String>,
    },
    /// End a customer's contract and life; its people may read and take their data along for 30 days
    #[command(after_help = "Example:\n  granary customer close ACME --reason 'moved to another provider' --end-reason voluntary")]
    Close {
        code: CustomerCode,
        #[arg(long)]
        reason: String,
        /// voluntary, non_payment or closed
        #[arg(long, default_value = "closed")]
        end_reason: EndReason,
        #[arg(long)]
        msp: Option<String>,
    },
}
