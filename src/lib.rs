//! Fetches, verifies and keeps what is deployed on AWS Lambda.
//!
//! ```
//! use std::sync::Arc;
//!
//! use larder::aws::{Session, SessionOptions};
//! use larder::function::FunctionRef;
//! use larder::ops::fetch::{FetchOptions, fetch};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), larder::error::Error> {
//! # // An AWS on loopback, with one function; against the real one, leave `keys` and `endpoint_url` out.
//! # let aws = larder_testkit::FakeAws::start();
//! # aws.function("my-function").zip(larder_testkit::packages::python_package().zip()).create();
//! # let env: std::collections::HashMap<_, _> = aws.env().into_iter().collect();
//! # let dir = tempfile::tempdir().unwrap();
//! # let dest = dir.path().join("my-function");
//! let session = Session::connect(
//!     &SessionOptions {
//!         region: Some("us-east-1".to_owned()),
//! #       endpoint_url: Some(aws.endpoint().to_owned()),
//! #       keys: Some(larder::aws::AccessKeys {
//! #           access_key_id: env["AWS_ACCESS_KEY_ID"].clone(),
//! #           secret_access_key: env["AWS_SECRET_ACCESS_KEY"].clone(),
//! #           session_token: env.get("AWS_SESSION_TOKEN").cloned(),
//! #       }),
//!         ..SessionOptions::default()
//!     },
//!     None,
//! )
//! .await?;
//! let function: FunctionRef = "my-function:$LATEST".parse()?;
//! let options = FetchOptions {
//!     dest: Some(dest),
//!     ..FetchOptions::default()
//! };
//! let fetched = fetch(&session, &function, &options, Arc::new(()), Default::default()).await?;
//! assert!(fetched.dest.join("code/index.py").exists());
//! println!("{}", fetched.record.package.unwrap().sha256);
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a package
//!
//! ```text
//! "name" -> FunctionRef -> Lambda::describe -> Described { the JSON as it came, CodeLocation }
//!   CodeLocation::Image          -> the two digests are compared -> record
//!   CodeLocation::Zip | Object   -> transfer::download -> Received -> verify(Claim) -> Verified | Mismatch
//! Verified -> unpack::plan -> Plan -> unpack::run, into the staging -> Staging::publish -> Record
//! ```
//!
//! # Where to change what
//!
//! | to change | look at |
//! |---|---|
//! | what a function may be called | [`function`] |
//! | credentials, regions, proxies, certificates | [`aws`] |
//! | a call to Lambda, its errors and hints, pacing | [`lambda`] |
//! | what happens when a download breaks | [`transfer`] |
//! | which archives are refused, and how files are written | [`unpack`] |
//! | how a destination is made, replaced, repaired | [`files`] |
//! | how an image is pulled, and its layout read again | [`image`] |
//! | `larder.json` | [`record`] |
//! | the format of a store, and what is put there | [`store`] |
//! | the order of it all | [`ops`] |
//! | options, output, exit codes | `cli` |
//!
//! The library prints nothing and ends no process: it returns values, and reports [`events`].

pub mod aws;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod digest;
pub mod drift;
pub mod error;
pub mod events;
pub mod evidence;
pub mod files;
pub mod finding;
pub mod function;
pub mod http;
pub mod image;
pub mod lambda;
pub mod ops;
pub mod package;
pub mod presigned;
pub mod record;
pub mod store;
mod task;
pub mod transfer;
pub mod unpack;
