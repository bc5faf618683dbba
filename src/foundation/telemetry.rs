//! Logs: to standard error, as lines for people or as JSON for machines.

use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat, environment};
use crate::metrics;

/// Starts logging, in colours on a terminal unless `NO_COLOR` is set; a second call does nothing.
pub fn start(config: &LogConfig) {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    let has_colours = std::io::stderr().is_terminal() && environment("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(has_colours);
    let outcome = match config.format {
        LogFormat::Text => lines.finish().with(Complaints).try_init(),
        LogFormat::Json => lines.json().finish().with(Complaints).try_init(),
    };
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
