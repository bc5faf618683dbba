//! Starts the server again when it ended and nobody had asked it to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::account::Place;
use super::binaries::Binaries;
use super::error::EmbeddedError;
use super::launch;
use super::lease::Turn;

/// How often the keeper looks. A look costs a read of two small files.
const INTERVAL: Duration = Duration::from_secs(1);
/// A server that cannot be started is tried again more and more seldom.
const LONGEST: Duration = Duration::from_secs(60);

/// Looks after a server as long as this process uses it.
#[derive(Debug)]
pub(super) struct Keeper {
    is_used: Arc<AtomicBool>,
}

impl Keeper {
    /// Begins to look after a server that runs.
    pub(super) fn begin(data_dir: PathBuf, place: Place, binaries: Binaries, is_durable: bool) -> Self {
        let is_used = Arc::new(AtomicBool::new(true));
        let round = Round { data_dir, place, binaries, is_durable, is_used: Arc::clone(&is_used) };
        std::thread::spawn(move || round.keep());
        Self { is_used }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.is_used.store(false, Ordering::SeqCst);
    }
}

struct Round {
    data_dir: PathBuf,
    place: Place,
    binaries: Binaries,
    is_durable: bool,
    is_used: Arc<AtomicBool>,
}

impl Round {
    fn keep(&self) {
        let mut pause = INTERVAL;
        loop {
            std::thread::sleep(pause);
            if !self.is_used() {
                return;
            }
            pause = match self.look() {
                Ok(()) => INTERVAL,
                Err(error) => {
                    tracing::error!(%error, "Postgres ended and was not started again");
                    (pause * 2).min(LONGEST)
                }
            };
        }
    }

    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::SeqCst)
    }

    /// Whoever lets go of the server does so in a turn of its own: inside ours the answers stay true.
    fn look(&self) -> Result<(), EmbeddedError> {
        if launch::has_process(&self.place) {
            return Ok(());
        }
        let _turn = Turn::wait(&self.data_dir)?;
        if !self.is_used() || launch::is_running(&self.place, &self.binaries) {
            return Ok(());
        }
        tracing::warn!(said = launch::end_of_log(&self.place), "Postgres ended unasked and is started again");
        launch::spawn(&self.place, &self.binaries, &launch::settings(self.is_durable)).map(drop)
    }
}
