//! The answers that are being read, so that whoever asked can have one stopped from elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use granary_access::Principal;
use tokio::sync::Notify;
use uuid::Uuid;

/// Who asked, and the answer's name: nobody stops what somebody else reads.
type Name = (String, Uuid);

/// The answers of this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<Name, Arc<Notify>>>>);

/// An answer's place among them, until it is dropped.
#[derive(Debug)]
pub(super) struct Reading {
    running: Running,
    name: Name,
    stop: Arc<Notify>,
}

impl Running {
    /// Adds an answer.
    pub(super) fn begin(&self, principal: &Principal, answer: Option<Uuid>) -> Reading {
        let name = (principal.actor().to_string(), answer.unwrap_or_else(Uuid::new_v4));
        let stop = Arc::new(Notify::new());
        self.lock().insert(name.clone(), Arc::clone(&stop));
        Reading { running: self.clone(), name, stop }
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// Waits until the answer is to stop.
    pub(super) async fn stopped(&self) {
        self.stop.notified().await;
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
