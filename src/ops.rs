//! The work of each command, as functions that return values and report events.

pub mod fetch;
pub mod unpack;
