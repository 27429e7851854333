//! Evidence: a bag's manifests, its signature, its time stamp, and the envelope of its statement.
//!
//! The formats are the field's own: BagIt (RFC 8493), SSHSIG (OpenSSH's `PROTOCOL.sshsig`), RFC 3161 time stamps, DSSE.
//! What is read here may have been written by anyone: each parser is bounded, and what is wrong with its input is a
//! value to be told, never a panic and never a stop.

pub mod checksums;
pub mod dsse;
pub mod manifest;
pub mod signature;
pub mod ssh;
pub mod timestamp;

mod allowed;
mod der;

pub(crate) use allowed::MAX_ALLOWED_SIGNERS;
pub use allowed::{AllowedSigners, Trust};
