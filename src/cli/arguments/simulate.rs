//! `granary simulate`: control planes with a bad line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::output::Format;

#[derive(Debug, Args)]
#[command(after_help = "\
Makes customers SIM-<seed>-1, SIM-<seed>-2, … in the house of the data directory, with a key each, and sends the usage events of
their control planes to the server, as programs do. Everything follows from the seed: a second run sends the same events again,
which count once. Ends with 1 when an event was not taken, met another fate than it should, or (with --check) when the server
counts anything else than what happened.

--chaos sends events out of order, twice, late, half and garbled, hangs up before the answer is read, repeats what counts already,
and slips in events that fit no type or contradict what was sent.

Examples:
  granary simulate --rate 200 --customers 5 --duration 1m --chaos --check
  granary simulate --rate 1000 --url http://127.0.0.1:9000 --seed 8
  granary simulate --keys keys.csv --url https://staging.granary.example --duration 10m")]
pub(crate) struct Simulate {
    /// Usage events a second, of all customers together
    #[arg(long, value_name = "EVENTS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// How many customers send; as many as there are keys with --keys
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) customers: u32,
    /// Let everything go wrong that may go wrong on the way
    #[arg(long)]
    pub(crate) chaos: bool,
    /// Where the server listens: https://, or http:// and an address of this machine [default: where granary serve listens]
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// How long something happens, such as 90s or 10m; what is out then is delivered all the same
    #[arg(long, default_value = "1m", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Another seed, other events
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// The most events in one batch
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) batch: u32,
    /// Use these keys, and make neither customers nor keys: a CSV file with customer_code, source and key; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Count in the house of the data directory afterwards, and compare
    #[arg(long)]
    pub(crate) check: bool,
    /// The MSP, by its code; needed when there are several
    #[arg(long)]
    pub(crate) msp: Option<String>,
    /// How the answer is written: a table, JSON or CSV
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

fn duration(text: &str) -> Result<Duration, String> {
    let spelled = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    spelled
        .filter(|duration| (Duration::from_secs(1)..=Duration::from_hours(24)).contains(duration))
        .ok_or_else(|| "not a duration from 1s to 24h, such as 90s or 10m".to_owned())
}
