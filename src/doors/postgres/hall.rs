//! Who is in: how many at once, of each MSP and in all, and who may call off whose question.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use granary_types::MspId;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::fault::Fault;
use crate::Desk;

/// Returns what a connection is accepted with; asked anew for each, so that an exchanged certificate is taken.
pub type Acceptor = Arc<dyn Fn() -> TlsAcceptor + Send + Sync>;

/// How many may be in, and how long they may be silent.
#[derive(Debug, Clone)]
pub struct DoorLimits {
    /// Connections of all MSPs together.
    pub connections: usize,
    /// Connections of one MSP.
    pub connections_per_msp: usize,
    /// How long somebody may take to be let in.
    pub handshake: Duration,
    /// How long somebody who is in may be silent.
    pub idle: Duration,
    /// Wall time of one statement, sending its answer not included.
    pub statement: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            connections: 200,
            connections_per_msp: 50,
            handshake: Duration::from_secs(20),
            idle: Duration::from_secs(30 * 60),
            statement: Duration::from_secs(120),
        }
    }
}

/// What all connections share.
pub(super) struct Hall {
    pub(super) desk: Desk,
    pub(super) limits: DoorLimits,
    tls: Option<Acceptor>,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    by_msp: HashMap<MspId, usize>,
    /// By the number that clients are told, with the secret that calls off.
    calling: HashMap<i32, (i32, watch::Sender<()>)>,
}

impl fmt::Debug for Hall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hall").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Hall {
    pub(super) fn new(desk: Desk, limits: DoorLimits, tls: Option<Acceptor>) -> Self {
        Self { desk, limits, tls, guests: Mutex::default() }
    }

    pub(super) fn tls(&self) -> Option<TlsAcceptor> {
        self.tls.as_ref().map(|acceptor| acceptor())
    }

    fn guests(&self) -> std::sync::MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives somebody of an MSP a place.
    pub(super) fn admit(self: &Arc<Self>, msp: MspId) -> Result<Guest, Fault> {
        let mut guests = self.guests();
        let all: usize = guests.by_msp.values().sum();
        let own = guests.by_msp.entry(msp).or_default();
        if *own >= self.limits.connections_per_msp {
            let most = self.limits.connections_per_msp;
            return Err(Fault::fatal("53300", format!("too many connections of this MSP: {most} are open"))
                .hint("close some, or let a pool share them"));
        }
        if all >= self.limits.connections {
            return Err(Fault::fatal("53300", "too many connections; try again in a moment"));
        }
        *own += 1;
        let mut pid = rand::random_range(1..i32::MAX);
        while guests.calling.contains_key(&pid) {
            pid = rand::random_range(1..i32::MAX);
        }
        let (secret, (calling, called_off)) = (rand::random(), watch::channel(()));
        guests.calling.insert(pid, (secret, calling));
        drop(guests);
        Ok(Guest { hall: Arc::clone(self), msp, pid, secret, called_off })
    }

    /// Calls off the question of whoever knows the secret; nobody learns whether there was one.
    pub(super) fn call_off(&self, pid: i32, secret: &[u8]) {
        if let Some((known, calling)) = self.guests().calling.get(&pid)
            && bool::from(subtle::ConstantTimeEq::ct_eq(&known.to_be_bytes()[..], secret))
        {
            calling.send_replace(());
        }
    }
}

/// A place, until it is left.
#[derive(Debug)]
pub(super) struct Guest {
    hall: Arc<Hall>,
    msp: MspId,
    pub(super) pid: i32,
    pub(super) secret: i32,
    /// Changes when somebody calls off.
    pub(super) called_off: watch::Receiver<()>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.hall.guests();
        guests.calling.remove(&self.pid);
        if let Some(count) = guests.by_msp.get_mut(&self.msp) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                guests.by_msp.remove(&self.msp);
            }
        }
    }
}
