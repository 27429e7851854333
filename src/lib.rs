//! Fetches, verifies and keeps what is deployed on AWS Lambda.

pub mod aws;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod digest;
pub mod error;
pub mod events;
pub mod files;
pub mod function;
pub mod http;
pub mod lambda;
pub mod ops;
pub mod package;
pub mod presigned;
pub mod record;
pub mod transfer;
pub mod unpack;
