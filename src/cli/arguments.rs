//! The command line, described. Every command has examples and every option words; a test sees to it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use granary_types::JobId;
use jiff::civil::Date;

pub(crate) use super::migrate::Migrate;
use super::output::Format;

mod alerts;
mod api_key;
mod audit;
mod data;
mod import;
mod keys;
mod leaving;
mod life;
mod machines;
mod mail;
mod meter;
mod months;
mod period;
mod person;
mod portfolio;
mod recovery;
mod retention;
mod simulate;
mod sso;
pub(crate) mod text;

pub(crate) use alerts::{Alerts, Which as AlertWanted};
pub(crate) use api_key::ApiKey;
pub(crate) use audit::{Audit, AuditWanted};
pub(crate) use data::{Events, Export, GraphFormat, Halt, Query, WarehouseCommand};
pub(crate) use import::{Import, ImportFile, ImportFormat, ImportFrom, ImportSendense};
pub(crate) use keys::KeyStore;
pub(crate) use leaving::{CertificateCommand, Hold, Leaving};
pub(crate) use life::Life;
pub(crate) use machines::{ControlPlaneCommand, TokenKeyCommand};
pub(crate) use mail::Mail;
pub(crate) use meter::Meter;
pub(crate) use months::{Billing, Churn, Reconcile, Report};
pub(crate) use period::{Answer, FindingArgument, PeriodCommand};
pub(crate) use person::Person;
pub(crate) use portfolio::{AddCustomer, Customer, Msp, User};
pub(crate) use recovery::{Backup, BackupCommand, Drill, Restore};
pub(crate) use retention::Retention;
pub(crate) use simulate::Simulate;
pub(crate) use sso::{Sso, SsoWanted};

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
    #[command(subcommand, after_help = "Examples:\n  granary msp add NORTH --name 'Northern Backup'\n  granary msp list")]
    Msp(Msp),
    /// Add customers, list them, and lead them through their life
    #[command(subcommand, after_help = "Examples:\n  granary customer add ACME --name 'Acme Ltd'\n  granary customer list")]
    Customer(Customer),
    /// Look at the Postgres servers that hold silos
    #[command(subcommand, after_help = "Examples:\n  granary cluster list")]
    Cluster(super::customer_placement::Cluster),
    /// Add and list users
    #[command(
        subcommand,
        after_help = "Examples:\n  echo 'correct horse battery' | granary user add finance@north.example --role msp_finance"
    )]
    User(User),
    /// Answer the requests of one person: what is known of me, give it to me, forget me
    #[command(subcommand, after_help = "Examples:\n  granary person find wendy@acme.example")]
    Person(Person),
    /// Make keys for programs, list them, replace and end them
    #[command(name = "api-key", subcommand, after_help = "Examples:\n  granary api-key add --customer ACME\n  granary api-key list")]
    ApiKey(ApiKey),
    /// Let people come in through their own organisation's login (OpenID Connect)
    #[command(subcommand, after_help = "Examples:\n  granary sso list\n  granary sso test --customer ACME")]
    Sso(Sso),
    /// Let control planes enrol key pairs of their own
    #[command(name = "control-plane", subcommand, after_help = "Examples:\n  granary control-plane list --customer ACME")]
    ControlPlane(ControlPlaneCommand),
    /// Look at the keys that sign tokens, and replace them
    #[command(name = "token-key", subcommand, after_help = "Examples:\n  granary token-key list")]
    TokenKey(TokenKeyCommand),
    /// Look after the key store: the master key and what it wraps
    #[command(subcommand, after_help = "Examples:\n  granary key status\n  granary key rotate --customer ACME")]
    Key(KeyStore),
    /// Read usage events from files, exactly once for ever
    Import(Import),
    /// Send usage events as control planes with a bad line do, and compare what is counted with the truth
    Simulate(Simulate),
    /// Look at the usage events behind a number
    Events(Events),
    /// See what needs somebody, take it, and look for more
    #[command(subcommand, after_help = "Examples:\n  granary alerts list\n  granary alerts check")]
    Alerts(Alerts),
    /// Look after what is made of usage events
    #[command(subcommand, after_help = "Examples:\n  granary meter rebuild --customer ACME")]
    Meter(Meter),
    /// Write what changed to the lake
    #[command(subcommand, after_help = "Examples:\n  granary export run\n  granary export verify")]
    Export(Export),
    /// Say how long rows are kept, and let older ones go
    #[command(subcommand, after_help = "Examples:\n  granary retention list\n  granary retention set tickets --days 730")]
    Retention(Retention),
    /// Ask the warehouse in SQL
    Query(Query),
    /// Build and test the SQL models
    #[command(
        subcommand,
        after_help = "Examples:\n  granary warehouse build\n  granary warehouse test\n  granary warehouse lineage margin\n  granary warehouse docs --out models.html"
    )]
    Warehouse(WarehouseCommand),
    /// Train, score and explain departures
    #[command(subcommand, after_help = "Examples:\n  granary churn score\n  granary churn explain --customer ACME")]
    Churn(Churn),
    /// Draft and finalise invoices
    #[command(subcommand, after_help = "Examples:\n  granary billing draft --period 2025-10\n  granary billing finalise --period 2025-10")]
    Billing(Billing),
    /// Close a month: what is complete, what blocks, who approves, what came later
    #[command(subcommand, after_help = "Examples:\n  granary period status 2025-10\n  granary period close 2025-10")]
    Period(PeriodCommand),
    /// Recompute a month from its runs and compare it with the invoices
    Reconcile(Reconcile),
    /// Write reports as PDF
    #[command(subcommand, after_help = "Examples:\n  granary report monthly --customer ACME --period 2025-10 --out acme.pdf")]
    Report(Report),
    /// Look at the job queue
    #[command(subcommand, after_help = "Examples:\n  granary jobs list\n  granary jobs run night.run")]
    Jobs(Jobs),
    /// Look at the letters that people were sent
    #[command(subcommand, after_help = "Examples:\n  granary mail list")]
    Mail(Mail),
    /// Show who did what, and find out whether the log was changed
    #[command(subcommand, after_help = "Examples:\n  granary audit list --customer ACME\n  granary audit verify")]
    Audit(Audit),
    /// Copy the whole installation to an object store, sealed, while it works
    Backup(Backup),
    /// Make a data directory from a backup, as of any second that is covered
    Restore(Restore),
    /// Try out whether a backup leads back, in a scratch directory
    Drill(Drill),
    /// Say what is wrong with the house, and what mends it
    Doctor(Doctor),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Looks at the walls between tenants, the server and its clock, keys, lake, disks, queues, jobs, letters, nights, schemas, moves and
copies. Ends with 1 when there is a fault; each is named with what mends it.

Examples:
  granary doctor
  granary doctor --isolation --format json | jq '.[] | .remedy'")]
pub(crate) struct Doctor {
    /// Only the walls between tenants: roles, rights, row security
    #[arg(long)]
    pub(crate) isolation: bool,
    /// How the answer is written: a table, JSON or CSV
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
#[command(after_help = "\
Examples:
  granary serve --with-worker
  granary serve --listen 127.0.0.1:9000 --config granary.toml")]
pub(crate) struct Serve {
    /// Address and port to serve on [default: server.listen of the configuration, 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Run jobs in the same process
    #[arg(long)]
    pub(crate) with_worker: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  granary worker\n  granary worker --until-idle")]
pub(crate) struct Worker {
    /// Stop when nothing is left to do
    #[arg(long)]
    pub(crate) until_idle: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Jobs {
    /// List jobs, newest first
    #[command(after_help = "Examples:\n  granary jobs list\n  granary jobs list --state dead --format json")]
    List {
        /// ready, running, done or dead
        #[arg(long)]
        state: Option<String>,
        /// How the answer is written: a table, JSON or CSV
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Give a dead job another life
    #[command(after_help = "Examples:\n  granary jobs retry 019a5c1e-7f00-7000-8000-000000000001")]
    Retry {
        /// The job's id, as jobs list shows it
        #[arg(value_parser = text::job)]
        id: JobId,
    },
    /// Enqueue a job by its kind, and run what is ready
    #[command(after_help = "Examples:\n  granary jobs run night.run\n  granary jobs run night.run --payload '{\"night\": \"2025-11-01\"}'")]
    Run {
        /// The job's kind; a wrong one is answered with the list of kinds
        kind: String,
        /// What the job is told, as JSON
        #[arg(long, value_name = "JSON", default_value = "{}")]
        payload: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::{Command as Clap, CommandFactory, Parser};

    use super::Arguments;

    /// Splits a line as a shell would, up to a pipe, a redirection, or the two spaces before a remark.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote, mut spaces) = (Vec::new(), None::<String>, None, 0);
        for char in line.chars() {
            spaces = if char == ' ' && quote.is_none() { spaces + 1 } else { 0 };
            match (quote, char) {
                (None, '|' | '>' | '<') => break,
                (None, ' ') if spaces == 2 => break,
                (None, ' ') => words.extend(word.take()),
                (None, '\'' | '"') => (quote, word) = (Some(char), word.or_else(|| Some(String::new()))),
                (Some(open), _) if open == char => quote = None,
                _ => word.get_or_insert_default().push(char),
            }
        }
        words.extend(word);
        words
    }

    fn check(command: &Clap, path: &str, faults: &mut Vec<String>) {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set() && argument.get_help().is_none()) {
            faults.push(format!("{path}: {} has no help", argument.get_id()));
        }
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<&str> = help.lines().filter_map(|line| line.find("granary ").map(|at| &line[at..])).collect();
        if !examples.iter().any(|example| example.starts_with(path)) {
            faults.push(format!("{path} has no example"));
        }
        for example in examples {
            if let Err(error) = Arguments::try_parse_from(words(example)) {
                faults.push(format!("{path}: {example}: {error}"));
            }
        }
        for sub in command.get_subcommands() {
            check(sub, &format!("{path} {}", sub.get_name()), faults);
        }
    }

    #[test]
    fn every_command_has_true_examples_and_every_option_has_words() {
        let mut faults = Vec::new();
        check(&Arguments::command(), "granary", &mut faults);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn blank_reasons_and_names_and_foreign_codes_are_refused_in_clear_words() {
        let said = |line: &str| Arguments::try_parse_from(words(line)).map_or_else(|error| error.to_string(), |_| String::new());
        assert!(said("granary export open --path x --reason ' '").contains("blank"));
        assert!(said("granary customer suspend ACME --reason ''").contains("blank"));
        assert!(said("granary customer add QQQ --name ''").contains("blank"));
        assert!(said(&format!("granary customer add QQQ --name {}", "x".repeat(201))).contains("200"));
        assert!(said("granary msp add 'bad code;' --name x").contains("is not an MSP code"));
        assert!(said("granary msp add X --name x --currency FOO").contains("ISO 4217"));
        assert!(said("granary jobs retry 999999").contains("granary jobs list"));
    }
}
