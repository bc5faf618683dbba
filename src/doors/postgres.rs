//! The door of Postgres' wire protocol, for psql, drivers and the tools that use them.
//!
//! Somebody is let in who proves to hold an API key of the scope `sql` (SCRAM-SHA-256: the user is the key's beginning, the password
//! the key), over TLS 1.3 unless the door opens to this machine alone. The database is called like the MSP, its schemas are `warehouse`
//! (models, the default) and `lake` (raw rows). What clients look tables up in is made of the session's own tables (`catalog.rs`).
//!
//! A connection holds one key, and the key is looked up again with every statement. Messages are read within bounds (`frames.rs`); of
//! `pgwire` come the messages that go out, of `arrow-pg` the types, of `datafusion-pg-catalog` the tables that are the same everywhere.
//! Nothing is written: transactions are brackets within which the version of the lake stays the same.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::Desk;

mod catalog;
mod columns;
mod conversation;
mod digits;
mod extended;
mod fault;
mod frames;
mod functions;
mod hall;
mod lists;
mod outbox;
mod portal;
mod schema_tables;
mod settings;
mod sheet;
mod showing;
mod statement;
mod system_tables;
#[cfg(test)]
mod tests;
mod values;
mod welcome;
mod words;

pub use hall::{Acceptor, DoorLimits};

use conversation::Conversation;
use fault::Fault;
use frames::Opening;
use hall::Hall;
use welcome::Turned;

/// Connections that may stand before the door, beside those that are in.
const BEFORE_THE_DOOR: usize = 64;
/// How long a question may go on when the house closes.
const LAST_ORDERS: Duration = Duration::from_secs(5);

/// The open door; dropped, it closes like [`PostgresDoor::stop`], and nobody waits for that.
#[derive(Debug)]
pub struct PostgresDoor {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl PostgresDoor {
    /// Opens the door.
    ///
    /// # Errors
    /// When the address is taken or not ours, or others than this machine could listen in: an address that is not a loopback one needs a
    /// certificate.
    pub async fn open(desk: Desk, address: SocketAddr, tls: Option<Acceptor>, limits: DoorLimits) -> std::io::Result<Self> {
        if tls.is_none() && !address.ip().is_loopback() {
            let text = format!(
                "without a certificate it opens on this machine alone, since what is asked would go in the clear; configure tls.cert and tls.key, or 127.0.0.1:{}",
                address.port()
            );
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let hall = Arc::new(Hall::new(desk, limits, tls));
        let task = tokio::spawn(accept(listener, hall, stopped));
        Ok(Self { address, stop, task })
    }

    /// Returns where the door is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nobody in any more, and whoever is in finish what is being answered, five seconds long.
    pub async fn stop(self) {
        // Nobody listens any more when the task has ended by itself.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

async fn accept(listener: TcpListener, hall: Arc<Hall>, stopped: watch::Receiver<bool>) {
    let (mut visits, mut closing) = (JoinSet::new(), stopped.clone());
    let most = hall.limits.connections + BEFORE_THE_DOOR;
    loop {
        tokio::select! {
            () = told_to_stop(&mut closing) => break,
            Some(ended) = visits.join_next() => told(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if visits.len() < most => {
                    visits.spawn(visit(stream, peer.ip(), Arc::clone(&hall), stopped.clone()));
                }
                // A connection that is dropped says enough.
                Ok(_) => tracing::warn!("too many connections stand before the Postgres door"),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            },
        }
    }
    drop(listener);
    let all = async {
        while let Some(ended) = visits.join_next().await {
            told(ended);
        }
    };
    if tokio::time::timeout(LAST_ORDERS, all).await.is_err() {
        tracing::warn!("some questions at the Postgres door were still being answered, and are called off");
        visits.shutdown().await;
    }
}

async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
}

/// A panic ends one connection, and somebody must look at it.
fn told(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection at the Postgres door panicked");
    }
}

async fn visit(stream: TcpStream, peer: IpAddr, hall: Arc<Hall>, stopped: watch::Receiver<bool>) {
    // A row must not wait for the next one.
    let _ = stream.set_nodelay(true);
    let opening = tokio::time::timeout(hall.limits.handshake, begin(stream, peer, &hall));
    if let Ok(Some(conversation)) = opening.await {
        conversation.hold(stopped).await;
    }
}

/// Goes as far as the first question.
async fn begin(stream: TcpStream, peer: IpAddr, hall: &Arc<Hall>) -> Option<Conversation> {
    let (mut inbox, mut outbox, opening) = welcome::open(stream, hall).await.ok()?;
    let (minor, parameters) = match opening? {
        Opening::Startup { minor, parameters } => (minor, parameters),
        Opening::Cancel { pid, secret } => {
            hall.call_off(pid, &secret);
            outbox.close().await;
            return None;
        }
        Opening::Ssl | Opening::Gss => return None,
    };
    let outcome = match welcome::let_in(hall, &mut inbox, &mut outbox, minor, parameters, peer).await {
        Ok(visitor) => Conversation::begin(Arc::clone(hall), visitor, inbox, outbox).await,
        Err(turned) => Err(Box::new((turned, outbox))),
    };
    match outcome {
        Ok(conversation) => Some(conversation),
        Err(turned_away) => {
            let (turned, mut outbox) = *turned_away;
            if let Turned::Back(fault) = turned {
                let fault = Fault { is_fatal: true, ..fault };
                if outbox.put_fault(&fault).is_ok() {
                    outbox.close().await;
                }
            }
            None
        }
    }
}
