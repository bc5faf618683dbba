//! Tests of the door through its own port, with the client that Arrow ships.

mod answers;
mod hostile;
mod house;
mod listings;
mod strangers;
