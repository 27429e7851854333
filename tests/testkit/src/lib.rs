//! What larder's tests, demo, benches and fuzz targets stand on: an embedded AWS and a zip builder.
//!
//! - [`FakeAws`] serves Lambda's reads, STS and S3-like presigned GETs over real HTTP on loopback, with faults at will
//!   ([`Fault`], [`On`]) and a log of every request.
//! - [`zip`] writes any archive byte by byte: well-formed unless told otherwise.
//! - [`image`] makes container images, which [`FakeAws::push`] puts into its registry.
//! - [`Tree`] and [`packages`] are what goes into archives and what must be on disk afterwards.
//!
//! It never depends on larder: what it says about AWS and about zip files is a second opinion.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]
#![warn(missing_docs)]
#![warn(clippy::pedantic)]
#![forbid(unsafe_code)]

mod aws;
pub mod image;
pub mod packages;
mod tree;
pub mod zip;

pub use aws::{
    ACCOUNT, AssumedRole, Cut, FakeAws, Fault, Function, FunctionBuilder, JsonPatch, Key,
    LambdaError, LayerBuilder, Login, On, REGION, Request, S3Error, SECRET_MARKER, Trigger, When,
    access_key, code_sha256,
};
pub use tree::{Kind, Node, Tree};
