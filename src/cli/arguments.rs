//! The command line, described.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use granary_types::{CustomerCode, CustomerStatus, PartnerTier, Period, Role, Tier};
use jiff::civil::Date;

pub(crate) use super::migrate::Migrate;
use super::output::Format;

mod life;

pub(crate) use life::Life;

/// The data platform of managed service providers that sell backup and disaster recovery.
#[derive(Debug, Parser)]
#[command(
    name = "granary",
    version,
    about,
    max_term_width = 110,
    after_help = "\
Examples:
  granary demo                                     everything, with an embedded Postgres: open http://127.0.0.1:8080
  granary query 'select * from revenue_by_month'   what a month earned
  granary report monthly --customer ACME --period 2025-10 --out acme.pdf
  granary reconcile --period 2025-10               recompute a month from its runs, to the cent

Environment:
  GRANARY_DATABASE_URL   a running Postgres, instead of the embedded one
  GRANARY_POSTGRES_BIN   the directory of the binaries that the embedded Postgres uses [default: looked for in PATH and
                         where packages put them]
  GRANARY_LOG            which messages are logged, like debug or granary=info"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Where the embedded Postgres, the local lake and the master key live [default: .granary]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration file; every key has a default
    #[arg(long, global = true, value_name = "FILE", env = "GRANARY_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything with a simulated MSP: serve + worker + data
    Demo(Demo),
    /// Serve pages and API
    Serve(Serve),
    /// Run queued and scheduled jobs
    Worker(Worker),
    /// Bring the control schema and every tenant schema up to date
    Migrate(Migrate),
    /// Add and list MSPs
    #[command(subcommand)]
    Msp(Msp),
    /// Add customers, list them, and lead them through their life
    #[command(subcommand)]
    Customer(Customer),
    /// Look at the Postgres servers that hold silos
    #[command(subcommand)]
    Cluster(super::customer_placement::Cluster),
    /// Add and list users
    #[command(subcommand)]
    User(User),
    /// Make keys for programs
    #[command(subcommand)]
    Key(Key),
    /// Read usage events from a file, exactly once for ever
    Import(Import),
    /// Look at the usage events behind a number
    Events(Events),
    /// Write what changed to the lake
    #[command(subcommand)]
    Export(Export),
    /// Ask the warehouse in SQL
    Query(Query),
    /// Build and test the SQL models
    #[command(subcommand)]
    Warehouse(WarehouseCommand),
    /// Train, score and explain departures
    #[command(subcommand)]
    Churn(Churn),
    /// Draft and finalise invoices
    #[command(subcommand)]
    Billing(Billing),
    /// Recompute a month from its runs and compare it with the invoices
    Reconcile(Reconcile),
    /// Write reports as PDF
    #[command(subcommand)]
    Report(Report),
    /// Look at the job queue
    #[command(subcommand)]
    Jobs(Jobs),
    /// Look for holes in the walls between tenants, and for what may lose data
    Doctor(Doctor),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 1 when there is a fault; each is named with the statement that mends it.

Examples:
  granary doctor
  granary doctor --isolation --format json | jq '.[] | .remedy'")]
pub(crate) struct Doctor {
    /// Only the walls between tenants: roles, rights, row security
    #[arg(long)]
    pub(crate) isolation: bool,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  granary demo                                  50 customers, 18 months
  granary demo --customers 5 --months 3         ready in seconds
  granary demo --once | jq .golden              stop after the summary")]
pub(crate) struct Demo {
    /// Address and port to serve on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Prepare everything, print the summary as JSON, and stop
    #[arg(long)]
    pub(crate) once: bool,
    /// Active customers in the last month
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) customers: u32,
    /// Months of past
    #[arg(long, default_value_t = 18, value_parser = clap::value_parser!(u32).range(2..=60))]
    pub(crate) months: u32,
    /// The demo's today [default: today at its first start]
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<Date>,
    /// Another seed, another portfolio
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address and port to serve on [default: server.listen of the configuration, 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Run jobs in the same process
    #[arg(long)]
    pub(crate) with_worker: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// Stop when nothing is left to do
    #[arg(long)]
    pub(crate) until_idle: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Msp {
    /// Add an MSP; a second time changes nothing
    Add {
        code: String,
        #[arg(long)]
        name: String,
        #[arg(long, default_value = "America/New_York")]
        time_zone: String,
        #[arg(long, default_value = "USD")]
        currency: String,
        #[arg(long, default_value = "premier")]
        partner_tier: PartnerTier,
    },
    /// List all MSPs
    List {
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Customer {
    /// Add a customer with its schema, role and key; a second time changes nothing
    Add(AddCustomer),
    /// List an MSP's customers
    List {
        #[arg(long)]
        msp: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    #[command(flatten)]
    Life(Life),
    #[command(flatten)]
    Placement(super::customer_placement::Placement),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  granary customer add LAB --msp VEEAMLAB --name 'Veeam laboratory' --since 2019-04-01 --source veeam")]
pub(crate) struct AddCustomer {
    pub(crate) code: CustomerCode,
    #[arg(long)]
    pub(crate) name: String,
    /// Needed when there are several MSPs
    #[arg(long)]
    pub(crate) msp: Option<String>,
    /// The customer's zone [default: the MSP's]
    #[arg(long)]
    pub(crate) time_zone: Option<String>,
    /// First day of the contract
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<Date>,
    /// CloudEvents source of its control plane
    #[arg(long, default_value = "default")]
    pub(crate) source: String,
    #[arg(long, default_value = "backup")]
    pub(crate) tier: Tier,
    /// trial or active
    #[arg(long, default_value = "active")]
    pub(crate) status: CustomerStatus,
    #[arg(long, default_value_t = 1024)]
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
        email: String,
        #[arg(long)]
        role: Role,
        #[arg(long, default_value = "")]
        name: String,
        #[arg(long)]
        msp: Option<String>,
        /// For a customer's role
        #[arg(long)]
        customer: Option<CustomerCode>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key for a customer's control plane, or for a program of the MSP; it is shown once
    #[command(after_help = "\
Examples:
  granary key add --customer ACME
  granary key add --msp NORTH --scope customers.write --name 'ticket system'")]
    Add {
        /// The customer that the key acts for; none for a key of the MSP
        #[arg(long)]
        customer: Option<CustomerCode>,
        #[arg(long)]
        msp: Option<String>,
        #[arg(long, default_value = "usage.write")]
        scope: Vec<String>,
        #[arg(long, default_value = "command line")]
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// CloudEvents 1.0: a JSON array, or one event a line
    Cloudevents,
    /// The session report that Veeam's users export as CSV
    VeeamSessions,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  granary import events.json --customer ACME
  granary import VeeamSessionReport.csv --customer LAB --format veeam-sessions --time-zone America/New_York")]
pub(crate) struct Import {
    /// The file; - for standard input
    pub(crate) file: PathBuf,
    #[arg(long)]
    pub(crate) customer: CustomerCode,
    #[arg(long)]
    pub(crate) msp: Option<String>,
    #[arg(long, value_enum, default_value_t = ImportFormat::Cloudevents)]
    pub(crate) format: ImportFormat,
    /// The zone of the report's times, which the report does not tell
    #[arg(long, value_name = "ZONE", required_if_eq("format", "veeam-sessions"))]
    pub(crate) time_zone: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  granary events --customer ACME --period 2025-10 --type backup.completed --machine vm-1001")]
pub(crate) struct Events {
    #[arg(long)]
    pub(crate) customer: CustomerCode,
    /// The month in which they occurred, in the MSP's zone
    #[arg(long)]
    pub(crate) period: Period,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// Only events about the machine with this id in its source system
    #[arg(long, value_name = "VENDOR_ID")]
    pub(crate) machine: Option<String>,
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    #[arg(long)]
    pub(crate) msp: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Export {
    /// Export every tenant's changed months; a second run writes nothing
    Run {
        /// The night's name [default: today]
        #[arg(long, value_name = "DATE")]
        night: Option<Date>,
    },
    /// Compare Postgres and lake by counts and checksums
    Verify {
        #[arg(long)]
        msp: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// List the files of the newest version
    Files {
        #[arg(long)]
        msp: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Hand out the key of one file for a foreign Parquet reader; audited
    Open {
        /// Path in the lake, as `export files` lists it
        #[arg(long)]
        path: String,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  granary query 'select period, mrr from revenue_by_month order by period'
  granary query --format csv 'select * from mrr_movements' > movements.csv
  granary query --as analyst@north.example 'show tables'")]
pub(crate) struct Query {
    /// One SELECT; - reads it from standard input
    pub(crate) sql: String,
    /// See what this user sees
    #[arg(long = "as", value_name = "EMAIL", conflicts_with = "msp")]
    pub(crate) as_user: Option<String>,
    #[arg(long)]
    pub(crate) msp: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WarehouseCommand {
    /// Materialise every mart
    Build {
        #[arg(long)]
        msp: Option<String>,
    },
    /// Run the tests that stand beside the models
    Test {
        #[arg(long)]
        msp: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Churn {
    /// Train on the past and say which model is in charge
    Train {
        #[arg(long)]
        msp: Option<String>,
    },
    /// Score every active customer and publish the scores
    Score {
        #[arg(long)]
        msp: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Say in plain words why a customer scores as it does
    Explain {
        #[arg(long)]
        customer: CustomerCode,
        #[arg(long)]
        msp: Option<String>,
    },
    /// Measure the model on a simulated portfolio, out of time
    Evaluate {
        /// The only source of evaluation data so far
        #[arg(long, required = true)]
        simulated: bool,
        #[arg(long, default_value_t = 500)]
        customers: u32,
        #[arg(long, default_value_t = 36)]
        months: u32,
        #[arg(long, default_value_t = 7)]
        seed: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Billing {
    /// Rate a closed month and draft its invoices and the MSP's statement
    Draft {
        #[arg(long)]
        period: Period,
        #[arg(long)]
        msp: Option<String>,
    },
    /// Number the drafts of a month and fix them for good
    Finalise {
        #[arg(long)]
        period: Period,
        #[arg(long)]
        msp: Option<String>,
    },
    /// List the invoices of a month
    List {
        #[arg(long)]
        period: Period,
        #[arg(long)]
        msp: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Show one customer's invoice with its lines
    Show {
        #[arg(long)]
        customer: CustomerCode,
        #[arg(long)]
        period: Period,
        #[arg(long)]
        msp: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    #[arg(long)]
    pub(crate) period: Period,
    #[arg(long)]
    pub(crate) msp: Option<String>,
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
        #[arg(long, required_unless_present = "all")]
        customer: Option<CustomerCode>,
        /// Every customer with an invoice in the period, in parallel
        #[arg(long, conflicts_with = "customer")]
        all: bool,
        #[arg(long)]
        period: Period,
        #[arg(long)]
        msp: Option<String>,
        /// A file, or with --all a folder
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Jobs {
    /// List jobs, newest first
    List {
        /// ready, running, done or dead
        #[arg(long)]
        state: Option<String>,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Give a dead job another life
    Retry { id: granary_types::JobId },
    /// Enqueue a job by its kind, and run what is ready
    Run {
        kind: String,
        #[arg(long, default_value = "{}")]
        payload: String,
    },
}
