//! The answers that are being read, so that whoever asked can have one stopped from elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use granary_access::Principal;
use tokio::sync::{Notify, watch};
use tonic::Status;
use uuid::Uuid;

/// Who asked, and the answer's name: nobody stops what somebody else reads.
type Name = (String, Uuid);

/// The answers of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Running {
    answers: Arc<Mutex<HashMap<Name, Arc<Notify>>>>,
    /// Whether the door has closed.
    closed: watch::Sender<bool>,
}

/// An answer's place among them, until it is dropped.
#[derive(Debug)]
pub(super) struct Reading {
    running: Running,
    name: Name,
    stop: Arc<Notify>,
    closed: watch::Receiver<bool>,
}

impl Running {
    pub(super) fn new() -> Self {
        Self { answers: Arc::default(), closed: watch::Sender::new(false) }
    }

    /// Ends every answer that is being read.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Adds an answer.
    pub(super) fn begin(&self, principal: &Principal, answer: Option<Uuid>) -> Reading {
        let name = (principal.actor().to_string(), answer.unwrap_or_else(Uuid::new_v4));
        let stop = Arc::new(Notify::new());
        self.lock().insert(name.clone(), Arc::clone(&stop));
        Reading { running: self.clone(), name, stop, closed: self.closed.subscribe() }
    }

    /// Stops an answer of somebody's own, and tells whether it was being read.
    pub(super) fn stop(&self, principal: &Principal, answer: Uuid) -> bool {
        let found = self.lock().get(&(principal.actor().to_string(), answer)).cloned();
        found.is_some_and(|stop| {
            stop.notify_one();
            true
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Arc<Notify>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// Waits until the answer is to stop, and returns what its reader is told.
    pub(super) async fn stopped(&mut self) -> Status {
        tokio::select! {
            () = self.stop.notified() => Status::cancelled("the answer was stopped by whoever asked"),
            // It never fails: the sender is here as well.
            _ = self.closed.wait_for(|is_closed| *is_closed) => Status::unavailable("the server stops; ask again when it is back"),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut running = self.running.lock();
        // A second reading of the same ticket has taken the place.
        if running.get(&self.name).is_some_and(|stop| Arc::ptr_eq(stop, &self.stop)) {
            running.remove(&self.name);
        }
    }
}
