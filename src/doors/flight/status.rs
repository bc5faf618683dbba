//! Failures as gRPC says them.

use granary_types::{Classify, ErrorKind};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::DoorError;

/// Where the stable code of a failure stands.
const CODE: &str = "granary-code";
/// A status travels in a header, and clients bound those.
const MOST_LETTERS: usize = 2_000;

/// Says a failure: its kind as gRPC has it, what is wrong, and the stable code. What is a fault of ours goes to the log alone.
pub(super) fn of(error: impl Into<DoorError>) -> Status {
    let error = error.into();
    let code = match error.kind() {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Conflict => Code::FailedPrecondition,
        ErrorKind::TooLarge => Code::ResourceExhausted,
        ErrorKind::RateLimited | ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Internal => Code::Internal,
    };
    let said = if code == Code::Internal {
        tracing::error!(error = %chain(&error), "a question could not be answered");
        "the question could not be answered; what happened is in the server's log".to_owned()
    } else {
        error.to_string().chars().take(MOST_LETTERS).collect()
    };
    let mut status = Status::new(code, said);
    status.metadata_mut().insert(CODE, MetadataValue::from_static(error.code()));
    status
}

/// Refuses what this door does not do, and says what does.
pub(super) fn refused(said: &str) -> Status {
    Status::unimplemented(said)
}

/// Refuses what somebody sent.
pub(super) fn wrong(said: impl Into<String>) -> Status {
    Status::invalid_argument(said)
}

/// A fault of ours that no room has a name for.
pub(super) fn fault(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(error = %chain(error), "an answer could not be written");
    Status::internal("the answer could not be written; what happened is in the server's log")
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
