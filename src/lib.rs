//! Fetches, verifies and keeps what is deployed on AWS Lambda.

pub mod digest;
pub mod error;
pub mod events;
pub mod package;
pub mod presigned;
pub mod unpack;
