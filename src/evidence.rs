//! Evidence: what a snapshot leaves, and what makes it checkable with stock tools and without trusting larder.
//!
//! The formats are the field's own: BagIt (RFC 8493), SSHSIG (OpenSSH's `PROTOCOL.sshsig`), RFC 3161 time stamps, in-toto
//! statements in DSSE envelopes. What is read here may have been written by anyone: each parser is bounded, and what is
//! wrong with its input is a value to be told, never a panic and never a stop.

pub mod bag;
pub mod checksums;
pub mod custody;
pub mod dsse;
pub mod log;
pub mod manifest;
pub mod signature;
pub mod ssh;
pub mod statement;
pub mod timestamp;

mod allowed;
mod der;
mod instructions;

pub(crate) use allowed::MAX_ALLOWED_SIGNERS;
pub use allowed::{AllowedSigners, Trust};
pub(crate) use instructions::{INSTRUCTIONS, Signer, instructions};
