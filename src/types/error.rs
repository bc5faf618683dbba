//! What kind of failure an error is, without saying how it travels.

/// The kinds of failure that a caller can act on; `web` turns them into status codes, `cli` into exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input is wrong; sending it again will not help.
    Invalid,
    /// Nobody has shown who they are.
    Unauthenticated,
    /// The caller is known and may not do this.
    Denied,
    /// There is no such thing, or it belongs to somebody else.
    NotFound,
    /// The thing is in a state that does not allow this, or was changed meanwhile.
    Conflict,
    /// More than a bound allows.
    TooLarge,
    /// Too often; later will do.
    RateLimited,
    /// Something outside does not answer; later may do.
    Unavailable,
    /// A fault of ours.
    Internal,
}

/// An error that knows its kind and a stable code such as `customer_not_found`.
pub trait Classify: std::error::Error {
    /// Returns the kind of failure.
    fn kind(&self) -> ErrorKind;
    /// Returns a stable, lower-case code that clients may match on.
    fn code(&self) -> &'static str;
}
