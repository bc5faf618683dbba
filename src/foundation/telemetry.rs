//! Logs, to standard error, as lines for people or as JSON for machines; and traces.

use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat, environment};
use crate::metrics;
use crate::traces::{self, TracesConfig};

/// Starts logging, in colours on a terminal unless `NO_COLOR` is set, and tracing where it is asked for; a second call does nothing.
pub fn start(log: &LogConfig, traces: &TracesConfig) {
    let mut filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    // Its finer messages hold statements with their values: passwords of logins, and what tenants say of people.
    if let Ok(quiet) = "tokio_postgres=info".parse() {
        filter = filter.add_directive(quiet);
    }
    let has_colours = std::io::stderr().is_terminal() && environment("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(has_colours);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let registry = tracing_subscriber::registry().with(traces::layer(traces));
    let outcome = registry.with(lines.with_filter(filter)).with(Complaints.with_filter(LevelFilter::WARN)).try_init();
    if outcome.is_err() {
        tracing::debug!("logging was already started");
    }
}

/// Counts the warnings and errors that are logged.
struct Complaints;

impl<S: Subscriber> Layer<S> for Complaints {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        match *event.metadata().level() {
            Level::ERROR => metrics::complained("error"),
            Level::WARN => metrics::complained("warn"),
            _ => {}
        }
    }
}
