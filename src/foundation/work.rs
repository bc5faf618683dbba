//! Work that is done later, and news that travels upwards.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The payload of a queued piece of work. A job may run twice; its handler sees to it that this does no harm.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name under which the job is stored, `lake.export_night`.
    const KIND: &'static str;
}

/// News from a room to whoever cares, emitted with the transaction that made it true.
pub trait Event: Serialize + DeserializeOwned + Send + 'static {
    /// The stable name, `metering.period_closed`.
    const KIND: &'static str;
}

/// A future behind a pointer, at the border of a room.
///
/// The body of an `async fn` is compiled where it is awaited: without this, every room above would compile the bodies of all
/// rooms below once more. One small allocation a call buys minutes of build time.
pub type Boxed<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
