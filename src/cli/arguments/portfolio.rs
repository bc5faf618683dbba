//! MSPs, customers, and who may come in.

use clap::{Args, Subcommand};
use granary_types::{Currency, CustomerCode, CustomerStatus, MspCode, PartnerTier, Role, Tier};
use jiff::civil::Date;

use super::{Life, text};
use crate::cli::output::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum Msp {
    /// Add an MSP; a second time with the same values changes nothing
    #[command(after_help = "\
Examples:
  granary msp add NORTH --name 'Northern Backup'
  granary msp add NORD --name 'Nord Sicherung' --currency EUR --time-zone Europe/Berlin --partner-tier elite")]
    Add {
        /// Its short name, which begins the numbers of its invoices
        code: MspCode,
        /// Its name, as invoices show it
        #[arg(long, value_parser = text::name)]
        name: String,
        /// The zone in which its months begin and end
        #[arg(long, value_name = "ZONE", default_value = "America/New_York")]
        time_zone: String,
        /// The currency of its prices, by ISO 4217
        #[arg(long, default_value = "USD")]
        currency: Currency,
        /// Its standing with the operator, which sets its margin: authorized, premier or elite
        #[arg(long, default_value = "premier")]
        partner_tier: PartnerTier,
    },
    /// List all MSPs
    #[command(after_help = "Examples:\n  granary msp list\n  granary msp list --format json")]
    List {
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Customer {
    /// Add a customer with its schema, role and key; a second time changes nothing
    Add(AddCustomer),
    /// Bring in the existing customers of an MSP from a CSV file: all of them, or none while one is wrong
    Import(crate::cli::customer_import::ImportCustomers),
    /// List an MSP's customers
    #[command(after_help = "Examples:\n  granary customer list\n  granary customer list --msp NORTH --format csv")]
    List {
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Show how much a customer may use, and set it from today on
    Limits(crate::cli::customer_limits::LimitsCommand),
    #[command(flatten)]
    Life(Life),
    #[command(flatten)]
    Placement(crate::cli::customer_placement::Placement),
    /// Make, list, ask and drop copies of silos, for support and staging
    #[command(
        subcommand,
        after_help = "Examples:\n  granary customer clone make ACME --as STAGING --reason 'trying version 2'\n  granary customer clone list"
    )]
    Clone(crate::cli::customer_clones::Clones),
    #[command(flatten)]
    Leaving(super::leaving::Leaving),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  granary customer add LAB --msp VEEAMLAB --name 'Veeam laboratory' --since 2019-04-01 --source veeam")]
pub(crate) struct AddCustomer {
    /// Its short name, unique within the MSP
    pub(crate) code: CustomerCode,
    /// Its name, as invoices and reports show it
    #[arg(long, value_parser = text::name)]
    pub(crate) name: String,
    /// Needed when there are several MSPs
    #[arg(long)]
    pub(crate) msp: Option<String>,
    /// The customer's zone [default: the MSP's]
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    /// First day of the contract
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<Date>,
    /// CloudEvents source of its control plane
    #[arg(long, default_value = "default")]
    pub(crate) source: String,
    /// The protection that its machines get when nobody says otherwise: backup, enterprise or replication
    #[arg(long, default_value = "backup")]
    pub(crate) tier: Tier,
    /// trial or active
    #[arg(long, default_value = "active")]
    pub(crate) status: CustomerStatus,
    /// The storage that the contract includes
    #[arg(long, value_name = "GIB", default_value_t = 1024)]
    pub(crate) storage_limit_gib: i64,
    /// Decides the cluster that holds its schema
    #[arg(long, default_value = "local")]
    pub(crate) region: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add a user; the password is read from standard input
    #[command(after_help = "Example:\n  echo 'correct horse battery' | granary user add finance@north.example --role msp_finance")]
    Add {
        /// The e-mail address to log in with
        email: String,
        /// operator_admin, msp_admin, msp_operator, msp_analyst, msp_finance, customer_admin, customer_billing or customer_viewer
        #[arg(long)]
        role: Role,
        /// The person's name [default: the e-mail address]
        #[arg(long, value_parser = text::name)]
        name: Option<String>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// For a customer's role
        #[arg(long)]
        customer: Option<CustomerCode>,
    },
    /// Invite a user by letter, who then chooses the password; without a mail server the letter is kept: granary mail list
    #[command(after_help = "Example:\n  granary user invite ada@north.example --role msp_admin --name 'Ada North'")]
    Invite {
        /// The e-mail address to log in with
        email: String,
        /// operator_admin, msp_admin, msp_operator, msp_analyst, msp_finance, customer_admin, customer_billing or customer_viewer
        #[arg(long)]
        role: Role,
        /// The person's name [default: the e-mail address]
        #[arg(long, value_parser = text::name)]
        name: Option<String>,
        /// The MSP, by its code; needed when there are several
        #[arg(long)]
        msp: Option<String>,
        /// For a customer's role
        #[arg(long)]
        customer: Option<CustomerCode>,
    },
}
