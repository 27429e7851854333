//! Fetches, verifies and keeps what is deployed on AWS Lambda.

pub mod digest;
pub mod error;
pub mod events;
pub mod files;
pub mod package;
pub mod presigned;
