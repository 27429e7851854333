//! Evidence: what a snapshot leaves, and what makes it checkable with stock tools and without trusting larder.
//!
//! The formats are the field's own: BagIt (RFC 8493), SSHSIG (OpenSSH's `PROTOCOL.sshsig`), RFC 3161 time stamps, in-toto
//! statements in DSSE envelopes.

pub mod bag;
pub mod log;
pub mod statement;

mod instructions;
