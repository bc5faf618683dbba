//! What people are told outside the house: for now by e-mail.
//!
//! A [`Notice`] says what is to be told; [`render`] makes a subject, a text and a simple HTML part of it. [`Mailer::deliver`]
//! sends it by a [`Post`] (SMTP, `smtp.rs`) and keeps a log. Without a mail server letters are kept in the log, where an operator
//! reads them, so that invitations work on a laptop too.
//!
//! Invariants: delivery happens in a job, never in a transaction; a mail's id is its Message-ID, and a mail that was sent is not
//! sent again, unless the process died between the server's answer and our note of it; addresses and words lie sealed under the
//! recipient's key, and the words of what was sent are not kept: they may open a door.
//!
//! Not done here: deciding who is told what (`access` and others queue jobs, the root maps them), and who the recipient is.

mod delivery;
mod error;
mod line;
mod message;
mod notice;
mod smtp;
mod store;
#[cfg(test)]
mod tests;
mod url;

pub use delivery::{Delivered, KeptMail, LoggedMail, MailState, Mailer, Recipient};
pub use error::NotificationError;
pub use notice::{Link, Notice, Words, render};
pub use smtp::{Post, PostError, Smtp};
