//! What every room stands on: configuration, telemetry, secrets, progress, the guarded way out, and the shapes of jobs and events.
//!
//! Configuration is read once, by [`config::Config::load`]; no room reads the environment. Nothing here knows the business.

pub mod config;
pub mod metrics;
pub mod outbound;
mod progress;
mod secret;
pub mod telemetry;
pub mod traces;
mod work;

pub use config::{Config, ConfigError};
pub use outbound::{Outbound, OutboundError, Url};
pub use progress::{Progress, SharedProgress, Silent};
pub use secret::Secret;
pub use work::{Boxed, Event, Job};
