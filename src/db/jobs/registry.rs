//! Which handler runs which kind of job.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use granary_foundation::Job;
use granary_types::{Classify, CustomerId, ErrorKind, JobId, MspId};
use serde_json::Value;

/// What a handler knows about the job besides its payload.
#[derive(Debug, Clone)]
pub struct JobContext {
    pub id: JobId,
    pub kind: &'static str,
    /// 1 for the first.
    pub attempt: i32,
    pub msp: Option<MspId>,
    pub customer: Option<CustomerId>,
}

/// Why a job did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Later may do.
    #[error("{0}")]
    Retry(String),
    /// Trying again will not help: the job lies dead until somebody looks.
    #[error("{0}")]
    Dead(String),
}

impl<E: Classify> From<E> for JobError {
    /// Wrong input stays wrong; everything else may pass.
    fn from(error: E) -> Self {
        match error.kind() {
            ErrorKind::Invalid | ErrorKind::TooLarge => Self::Dead(error.to_string()),
            _ => Self::Retry(error.to_string()),
        }
    }
}

type Outcome = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;
type Handler = Arc<dyn Fn(JobContext, Value) -> Outcome + Send + Sync>;

/// The handlers of a worker, by kind.
#[derive(Clone, Default)]
pub struct Registry {
    handlers: BTreeMap<&'static str, Handler>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.handlers.keys()).finish()
    }
}

impl Registry {
    /// Returns a registry without handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the handler of a kind of job; a later one replaces an earlier one.
    #[must_use]
    pub fn on<J, F, R>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(JobContext, J) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let boxed: Handler = Arc::new(move |context, payload| match serde_json::from_value::<J>(payload) {
            Ok(job) => Box::pin(handler(context, job)),
            Err(error) => Box::pin(async move { Err(JobError::Dead(format!("the payload does not fit: {error}"))) }),
        });
        self.handlers.insert(J::KIND, boxed);
        self
    }

    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.handlers.keys().copied().collect()
    }

    pub(crate) fn find(&self, kind: &str) -> Option<(&'static str, Handler)> {
        self.handlers.get_key_value(kind).map(|(kind, handler)| (*kind, Arc::clone(handler)))
    }
}
