//! The commands: what a person types, and what runs then.

#[macro_use]
mod output;

mod alerts;
mod api_keys;
mod arguments;
mod audit;
mod billing;
mod churn;
mod customer_clones;
mod customer_export;
mod customer_import;
mod customer_leaving;
mod customer_limits;
mod customer_placement;
mod customers;
mod demo;
mod disk;
mod doctor;
mod doors;
mod drill;
mod events;
mod export;
mod files;
mod house;
mod import;
mod jobs;
mod keys;
mod letters;
mod life;
mod listener;
mod machines;
mod meter;
mod metrics;
mod migrate;
mod night;
mod people;
mod period;
mod person;
mod progress;
mod queries;
mod query;
mod reconcile;
mod recovery;
mod report;
mod retention;
mod serve;
mod shell;
mod simulate;
mod sso;
mod tls;
mod usage;
mod warehouse;

use std::process::ExitCode;

use clap::Parser;
use granary_types::{Classify, ErrorKind};

use arguments::{Arguments, Command};

/// Whatever a command fails with.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Parses the command line, runs the command and turns its outcome into an exit code.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(4 << 20).build().map_err(Failure::from).and_then(
            |runtime| {
                let outcome = runtime.block_on(until_interrupted(arguments));
                granary_foundation::traces::end();
                outcome
            },
        );
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            report(failure.as_ref());
            ExitCode::from(exit_code(failure.as_ref()))
        }
    }
}

/// Runs a command until it is done or asked to end; those that serve end in order by themselves.
async fn until_interrupted(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Demo(_) | Command::Serve(_) | Command::Worker(_) | Command::Query(_) => dispatch(arguments).await,
        _ => serve::unless_interrupted(dispatch(arguments)).await,
    }
}

async fn dispatch(arguments: Arguments) -> Result<ExitCode, Failure> {
    let global = arguments.global;
    match arguments.command {
        Command::Demo(command) => demo::run(&global, command).await,
        Command::Serve(command) => serve::serve(&global, command).await,
        Command::Worker(command) => serve::worker(&global, command).await,
        Command::Migrate(command) => migrate::run(&global, command).await,
        Command::Msp(command) => customers::msp(&global, command).await,
        Command::Customer(command) => customers::customer(&global, command).await,
        Command::Cluster(command) => customer_placement::cluster(&global, command).await,
        Command::User(command) => people::user(&global, command).await,
        Command::Person(command) => person::run(&global, command).await,
        Command::ApiKey(command) => api_keys::run(&global, command).await,
        Command::Sso(command) => sso::run(&global, command).await,
        Command::ControlPlane(command) => machines::control_plane(&global, command).await,
        Command::TokenKey(command) => machines::token_key(&global, command).await,
        Command::Key(command) => keys::run(&global, command).await,
        Command::Import(command) => import::run(&global, command).await,
        Command::Simulate(command) => simulate::run(&global, command).await,
        Command::Events(command) => usage::run(&global, command).await,
        Command::Alerts(command) => alerts::run(&global, command).await,
        Command::Meter(command) => meter::run(&global, command).await,
        Command::Export(command) => export::run(&global, command).await,
        Command::Retention(command) => retention::run(&global, command).await,
        Command::Query(command) => query::run(&global, command).await,
        Command::Warehouse(command) => warehouse::run(&global, command).await,
        Command::Churn(command) => churn::run(&global, command).await,
        Command::Billing(command) => billing::run(&global, command).await,
        Command::Period(command) => period::run(&global, command).await,
        Command::Reconcile(command) => reconcile::run(&global, command).await,
        Command::Report(command) => report::run(&global, command).await,
        Command::Jobs(command) => jobs::run(&global, command).await,
        Command::Mail(command) => letters::run(&global, command).await,
        Command::Audit(command) => audit::run(&global, command).await,
        Command::Backup(command) => recovery::backup(&global, command).await,
        Command::Restore(command) => recovery::run_restore(&global, command).await,
        Command::Drill(command) => drill::run(&global, command).await,
        Command::Doctor(command) => doctor::run(&global, command).await,
    }
}

/// Says what went wrong and why, one cause a line.
fn report(failure: &(dyn std::error::Error + 'static)) {
    say!("granary: {failure}");
    let mut said = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            say!("  because {text}");
            said = text;
        }
        cause = error.source();
    }
}

/// 130 for an interruption, as shells do; 2 for wrong input, as clap does; 3 for what is not there; 4 for what does not fit the state; 5 for what may work later.
fn exit_code(failure: &(dyn std::error::Error + 'static)) -> u8 {
    if failure.is::<serve::Interrupted>() {
        return 130;
    }
    match house::kind_of(failure) {
        Some(ErrorKind::Invalid | ErrorKind::TooLarge) => 2,
        Some(ErrorKind::NotFound) => 3,
        Some(ErrorKind::Conflict | ErrorKind::Denied | ErrorKind::Unauthenticated) => 4,
        Some(ErrorKind::Unavailable | ErrorKind::RateLimited) => 5,
        Some(ErrorKind::Internal) | None => 1,
    }
}

/// Wrong input that only a command can see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

impl Classify for Usage {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn code(&self) -> &'static str {
        "usage"
    }
}
