//! A Postgres of our own, over the machine's binaries, for those who bring none.
//!
//! The server lies in the data directory and listens on a Unix socket only. Started as root it runs as `postgres`, else as
//! `nobody`; where that account cannot enter the data directory (a home directory of root), the server lies in
//! `/var/lib/granary/<hash>`. Every process that uses the server holds a lease; the last one to let go stops it. A server
//! that outlived its users (they were killed) is adopted by the next start; one that ended under its users is started again.

mod account;
mod archive;
mod binaries;
mod error;
mod keeper;
mod launch;
mod lease;
mod restoration;
mod server;

pub use archive::Spool;
pub use binaries::available_version;
pub(crate) use binaries::client_programs;
pub use error::EmbeddedError;
pub use restoration::{CheckedPages, Origin, Recovered, Restoration, Unpacking, discard};
pub use server::Server;
