//! All statements of the room.

pub(crate) mod audit;
pub(crate) mod cluster;
pub(crate) mod embedded;
pub(crate) mod installation;
pub(crate) mod jobs;
pub(crate) mod outbox;
