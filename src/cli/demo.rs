//! The demo: a simulated MSP with a past, made through the same code as a real one, then served.
//!
//! Every step is repeatable, and a step that was finished is remembered in the data directory: killed at any moment, the
//! next start goes on where this one was.

mod past;
mod people;
mod summary;

pub(crate) use past::seed_prices;

use std::fs::{File, TryLockError};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use granary_foundation::SharedProgress;
use granary_simulator::{Portfolio, PortfolioSpec};
use granary_types::{Clock, day_of};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::arguments::{Demo, Global};
use super::files::Named;
use super::house::{DemoFile, House, configuration};
use super::listener::Listener;
use super::output::print_json;
use super::progress::Reporter;
use super::tls::Tls;
use super::{Failure, Usage, serve};

/// The zone of the simulated MSP.
const ZONE: &str = "America/New_York";

/// Prepares the demo and serves it, or stops after the summary.
pub(crate) async fn run(global: &Global, command: Demo) -> Result<ExitCode, Failure> {
    let mut config = configuration(global)?;
    let demo = decide(&config.data_dir, &command)?;
    let reporter = Reporter::shared();
    let listener = if command.once {
        None
    } else {
        let address = command.listen.unwrap_or(config.server.listen);
        let listener = Listener::start(address, Arc::clone(&reporter), Tls::of(&config.tls)?).await?;
        // Letters lead there.
        config.server.listen = listener.address;
        say!("open {} to see how far it is", listener.url());
        Some(listener)
    };
    demo.write(&config.data_dir)?;
    let progress: SharedProgress = reporter.port();
    let house = serve::unless_interrupted(House::open_with(config, Arc::clone(&progress))).await?;
    let prepared = serve::unless_interrupted(prepare(&house, &demo)).await;
    let summary = match prepared {
        Ok(summary) => summary,
        Err(failure) => {
            let failure = house.explain(failure);
            if let Err(error) = house.close().await {
                tracing::warn!(%error, "Postgres was not stopped");
            }
            return Err(failure);
        }
    };
    match listener {
        None => {
            house.close().await?;
            print_json(&summary)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(listener) => {
            summary.print(&listener.url())?;
            serve::run(house, listener, true).await
        }
    }
}

/// Finds what was decided at the first start, or decides it.
fn decide(data_dir: &std::path::Path, command: &Demo) -> Result<DemoFile, Failure> {
    let Some(kept) = DemoFile::read(data_dir)? else {
        let zone = TimeZone::get(ZONE)?;
        let until = command.until.unwrap_or_else(|| day_of(Clock::System.now(), &zone));
        if until < Date::constant(2000, 1, 1) || until > Date::constant(2999, 1, 1) {
            return Err(Usage(format!("--until {until} is not a day between 2000 and 2999")).into());
        }
        // Six in the morning: the night is over and nobody has begun to work.
        let clock_at = until.at(6, 0, 0, 0).to_zoned(zone)?.timestamp();
        return Ok(DemoFile { customers: command.customers, months: command.months, seed: command.seed, until, clock_at });
    };
    let is_same = kept.customers == command.customers
        && kept.months == command.months
        && kept.seed == command.seed
        && command.until.is_none_or(|until| until == kept.until);
    if is_same {
        return Ok(kept);
    }
    Err(Usage(format!(
        "{} holds a demo of --customers {} --months {} --seed {} --until {}; start it with the same, or give another data directory",
        data_dir.display(),
        kept.customers,
        kept.months,
        kept.seed,
        kept.until
    ))
    .into())
}

/// Waits until no other process prepares the same demo; the next one finds its steps finished. A process that ends lets go.
async fn turn(data_dir: &std::path::Path) -> Result<File, Failure> {
    let path = data_dir.join("demo.lock");
    let file = File::create(&path).named("make", &path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(TryLockError::Error(error)) => return Ok(Err(error).named("lock", &path)?),
        }
    }
}

/// Brings the house to the demo's today, whatever was done before.
async fn prepare(house: &House, demo: &DemoFile) -> Result<summary::Summary, Failure> {
    let _turn = turn(&house.config.data_dir).await?;
    let zone = TimeZone::get(ZONE)?;
    let spec = PortfolioSpec { customers: demo.customers, months: demo.months, until: demo.until, seed: demo.seed, zone };
    let portfolio = Arc::new(Portfolio::generate(&spec));
    super::migrate::catch_up(house).await?;
    let msp = past::build(house, &portfolio, demo).await?;
    people::create(house, &msp).await?;
    summary::summarise(house, &msp, &portfolio).await
}
