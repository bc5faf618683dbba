//! What becomes of a month: scores, invoices, reconciliation, reports.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use granary_types::{CustomerCode, Period};

use crate::cli::output::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum Churn {
    /// Train on the past and say which model is in charge
    #[command(after_help = "Examples:\n  granary churn train\n  granary churn train --msp NORTH")]
    Train {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Score every active customer and publish the scores
    #[command(after_help = "Examples:\n  granary churn score\n  granary churn score --format csv > scores.csv")]
    Score {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Say in plain words why a customer scores as it does
    #[command(after_help = "Examples:\n  granary churn explain --customer ACME\n  granary churn explain --customer ACME --msp NORTH")]
    Explain {
        /// The customer, by its code
        #[arg(long)]
        customer: CustomerCode,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Measure the model on a simulated portfolio, out of time
    #[command(
        after_help = "Examples:\n  granary churn evaluate --simulated\n  granary churn evaluate --simulated --customers 1000 --months 48 --seed 3"
    )]
    Evaluate {
        /// The only source of evaluation data so far
        #[arg(long, required = true)]
        simulated: bool,
        /// Customers of the portfolio, 50 to 20,000
        #[arg(long, default_value_t = 500)]
        customers: u32,
        /// Months of past, 18 to 120
        #[arg(long, default_value_t = 36)]
        months: u32,
        /// Another seed, another portfolio
        #[arg(long, default_value_t = 7)]
        seed: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Billing {
    /// Rate a closed month and draft its invoices and the MSP's statement
    #[command(after_help = "Examples:\n  granary billing draft --period 2025-10\n  granary billing draft --period 2025-10 --msp NORTH")]
    Draft {
        /// The month, such as 2025-10
        #[arg(long)]
        period: Period,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// Number the drafts of a month and fix them for good
    #[command(
        after_help = "Examples:\n  granary billing finalise --period 2025-10\n  granary billing finalise --period 2025-10 --msp NORTH"
    )]
    Finalise {
        /// The month, such as 2025-10
        #[arg(long)]
        period: Period,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
    },
    /// List the invoices of a month
    #[command(
        after_help = "Examples:\n  granary billing list --period 2025-10\n  granary billing list --period 2025-10 --format csv > invoices.csv"
    )]
    List {
        /// The month, such as 2025-10
        #[arg(long)]
        period: Period,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// List what customers owe: opened with, invoiced, paid, open
    #[command(after_help = "Examples:\n  granary billing accounts\n  granary billing accounts --format csv > receivables.csv")]
    Accounts {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Show one customer's invoice with its lines
    #[command(
        after_help = "Examples:\n  granary billing show --customer ACME --period 2025-10\n  granary billing show --customer ACME --period 2025-10 --format json"
    )]
    Show {
        /// The customer, by its code
        #[arg(long)]
        customer: CustomerCode,
        /// The month, such as 2025-10
        #[arg(long)]
        period: Period,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 1 when a customer differs.

Examples:
  granary reconcile --period 2025-10
  granary reconcile --period 2025-10 --format json")]
pub(crate) struct Reconcile {
    /// The month, such as 2025-10
    #[arg(long)]
    pub(crate) period: Period,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    pub(crate) msp: Option<String>,
    /// How the answer is written: a table, JSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Report {
    /// The monthly report of one customer, or of all of them
    #[command(after_help = "\
Examples:
  granary report monthly --customer ACME --period 2025-10 --out acme.pdf
  granary report monthly --all --period 2025-10 --out reports/")]
    Monthly {
        /// The customer, by its code
        #[arg(long, required_unless_present = "all")]
        customer: Option<CustomerCode>,
        /// Every customer with an invoice in the period, in parallel
        #[arg(long, conflicts_with = "customer")]
        all: bool,
        /// The month, such as 2025-10
        #[arg(long)]
        period: Period,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// A file, or with --all a folder
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
    },
}
