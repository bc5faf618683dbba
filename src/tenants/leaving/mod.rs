//! How a customer leaves for good: legal holds, the erasure's own steps, and the certificate.
//!
//! An erasure is an operation of the lifecycle. Each step notes what it is about to destroy, then destroys it; killed anywhere
//! it goes on, and the certificate in the end lists what was noted. Other rooms register their steps between these.

mod certificate;
mod hold;
mod steps;

pub use certificate::{Certificate, CertificateFault};
pub use hold::{LegalHold, list_holds, release_hold, set_hold};
pub(crate) use steps::destroy;
pub use steps::{BeginErasure, BuryCustomer, DestroyKeys, DropSilo, Erasure, IssueCertificate};
