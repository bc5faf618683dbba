//! Executors: processes that run fragments of other processes' queries.

use std::process::ExitCode;

use granary_foundation::config::ExecutorsConfig;
use granary_warehouse::Warehouse;

use super::arguments::{Executor, Global};
use super::{Failure, Usage};

/// Spreads large queries over the executors that are configured.
#[cfg(feature = "distributed")]
pub(crate) fn spread(warehouse: Warehouse, config: &ExecutorsConfig) -> Result<Warehouse, Failure> {
    Ok(warehouse.with_executors(config)?)
}

/// Refuses executors in a configuration that this binary cannot use.
#[cfg(not(feature = "distributed"))]
pub(crate) fn spread(warehouse: Warehouse, config: &ExecutorsConfig) -> Result<Warehouse, Failure> {
    if config.urls.is_empty() { Ok(warehouse) } else { Err(not_built("[executors] is configured").into()) }
}

/// Says how to get what this binary was built without.
#[cfg(not(feature = "distributed"))]
pub(crate) async fn run(_: &Global, command: Executor) -> Result<ExitCode, Failure> {
    Err(not_built(&format!("no executor can listen on {}", command.listen)).into())
}

#[cfg(not(feature = "distributed"))]
fn not_built(wanted: &str) -> Usage {
    Usage(format!("{wanted}, and this granary was built without executors; build it with cargo build --release --features distributed"))
}

#[cfg(feature = "distributed")]
pub(crate) use listening::run;

#[cfg(feature = "distributed")]
mod listening {
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use futures::Stream;
    use granary_warehouse::Accepted;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio::task::JoinSet;

    use super::*;
    use crate::cli::house::{House, configuration, must_stand};
    use crate::cli::serve::{interrupted, unless_interrupted};
    use crate::cli::tls::Tls;
    use granary_foundation::Silent;

    /// Connections that wait to be served.
    const WAITING: usize = 64;
    /// How long a connection may take to agree on TLS.
    const PATIENCE: Duration = Duration::from_secs(10);

    pub(crate) async fn run(global: &Global, command: Executor) -> Result<ExitCode, Failure> {
        let config = configuration(global)?;
        must_stand(&config)?;
        let tls = Tls::for_grpc(&config.tls)?;
        must_be_private(command.listen, tls.is_some() || config.executors.trusted_network)?;
        let socket =
            TcpListener::bind(command.listen).await.map_err(|error| Usage(format!("cannot listen on {}: {error}", command.listen)))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = socket.local_addr()?;
        let executors = config.executors.clone();
        let house = unless_interrupted(House::open_with(config, Silent::shared())).await?;
        say!("executing on {scheme}://{address} (Ctrl-C stops)");
        let end = async {
            if let Err(error) = interrupted().await {
                tracing::error!(error, "signals cannot be listened to; the executor ends");
            }
        };
        let served = house.warehouse.execute_for_others(&executors, accepted(socket, tls), end).await;
        house.close().await?;
        served?;
        Ok(ExitCode::SUCCESS)
    }

    /// Refuses to put what customers have on a network in the clear.
    fn must_be_private(listen: SocketAddr, is_guarded: bool) -> Result<(), Usage> {
        if is_guarded || listen.ip().is_loopback() {
            return Ok(());
        }
        let remedy = "configure tls.cert and tls.key, or set executors.trusted_network when nobody else is on the way";
        Err(Usage(format!("answers would leave {listen} in the clear; {remedy}")))
    }

    /// Accepts connections; whoever takes long to agree on TLS keeps nobody else waiting.
    fn accepted(socket: TcpListener, tls: Option<Tls>) -> impl Stream<Item = io::Result<Accepted>> + Send {
        let (sender, ready) = mpsc::channel(WAITING);
        let accepting = tokio::spawn(async move {
            let mut greeting = JoinSet::new();
            loop {
                let (stream, from) = tokio::select! {
                    accepted = socket.accept() => match accepted {
                        Ok(accepted) => accepted,
                        Err(error) => {
                            tracing::warn!(%error, "a connection to the executor was not accepted");
                            continue;
                        }
                    },
                    Some(_) = greeting.join_next() => continue,
                    () = sender.closed() => return,
                };
                let (sender, tls) = (sender.clone(), tls.clone());
                greeting.spawn(async move {
                    let connection = tokio::time::timeout(PATIENCE, greeted(stream, tls)).await;
                    match connection {
                        Ok(Ok(connection)) => drop(sender.send(Ok(connection)).await),
                        Ok(Err(error)) => tracing::info!(%from, %error, "a connection to the executor came to nothing"),
                        Err(_) => tracing::info!(%from, "a connection to the executor did not agree on TLS in time"),
                    }
                });
            }
        });
        // The task ends with whoever reads what it accepts.
        drop(accepting);
        futures::stream::unfold(ready, |mut ready| async move { ready.recv().await.map(|connection| (connection, ready)) })
    }

    async fn greeted(stream: tokio::net::TcpStream, tls: Option<Tls>) -> io::Result<Accepted> {
        stream.set_nodelay(true)?;
        match tls {
            None => Ok(Accepted::new(stream)),
            Some(tls) => Ok(Accepted::new(tls.acceptor().accept(stream).await?)),
        }
    }
}
