//! `granary alerts …`: what needs somebody.

use clap::Subcommand;
use granary_types::{AlertId, AlertSeverity, CustomerCode, Period};

use super::text;
use crate::cli::output::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// List alerts, the most urgent first
    #[command(after_help = "\
Examples:
  granary alerts list
  granary alerts list --severity critical --customer ACME --format json
  granary alerts list --state all --format csv")]
    List {
        /// Only of this customer; may be given several times
        #[arg(long)]
        customer: Vec<CustomerCode>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// Only of this severity: info, warning or critical
        #[arg(long)]
        severity: Option<AlertSeverity>,
        /// open, acknowledged, snoozed, escalated, resolved or all [default: whatever is not resolved]
        #[arg(long)]
        state: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Look at the customers that are due, or at all, and raise and resolve what follows
    #[command(after_help = "Examples:\n  granary alerts check\n  granary alerts check --all --msp NORTH")]
    Check {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// Every customer, also those that are not due
        #[arg(long)]
        all: bool,
    },
    /// Take an alert
    #[command(after_help = "Examples:\n  granary alerts acknowledge 019a5c1e-7f00-7000-8000-000000000001 --reason 'ticket 4711'")]
    Acknowledge {
        #[command(flatten)]
        which: Which,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: Option<String>,
    },
    /// Put an alert to rest
    #[command(
        after_help = "Examples:\n  granary alerts snooze 019a5c1e-7f00-7000-8000-000000000001 --hours 4 --reason 'the host restarts'"
    )]
    Snooze {
        #[command(flatten)]
        which: Which,
        /// For how many hours
        #[arg(long, value_parser = clap::value_parser!(i64).range(1..=720))]
        hours: i64,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
    },
    /// Hand an alert on
    #[command(after_help = "Examples:\n  granary alerts escalate 019a5c1e-7f00-7000-8000-000000000001 --reason 'the vendor must help'")]
    Escalate {
        #[command(flatten)]
        which: Which,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
    },
    /// Declare an alert over; while its cause goes on it rests for a day
    #[command(after_help = "Examples:\n  granary alerts resolve 019a5c1e-7f00-7000-8000-000000000001 --reason 'the machine is gone'")]
    Resolve {
        #[command(flatten)]
        which: Which,
        /// Why, for the audit log
        #[arg(long, value_parser = text::reason)]
        reason: String,
    },
    /// Recommend limits that fit a whole month
    #[command(after_help = "Examples:\n  granary alerts recommend\n  granary alerts recommend --period 2025-10 --format json")]
    Recommend {
        /// The month, which is over [default: the last one]
        #[arg(long)]
        period: Option<Period>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

/// An alert of an MSP.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The alert's id, as alerts list shows it
    #[arg(value_parser = alert_id)]
    pub(crate) id: AlertId,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    pub(crate) msp: Option<String>,
}

fn alert_id(text: &str) -> Result<AlertId, String> {
    text.parse().map_err(|_| "not the id of an alert, which has 36 characters; granary alerts list shows them".to_owned())
}
