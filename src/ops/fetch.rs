//! The main job: one function, fetched, verified, unpacked and recorded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::aws::Session;
use crate::digest::Sha256Digest;
use crate::error::Result;
use crate::events::Reporter;
use crate::function::FunctionRef;
use crate::record::Record;
use crate::unpack::Limits;

/// What [`fetch`] is to do beside the plain job.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Where to; None is `./NAME` or `./NAME-QUALIFIER`.
    pub dest: Option<PathBuf>,
    /// Unpack the zip to `code/`.
    pub unpack: bool,
    /// Refuse unless the package is this one.
    pub expect_sha256: Option<Sha256Digest>,
    /// Replace a destination that larder wrote.
    pub force: bool,
    /// The destination is a record of the same function: bring it up to date.
    pub update: bool,
    /// Bounds of the unpacking, and what a name that stands twice means.
    pub limits: Limits,
    /// Keep the names of environment variables and replace each value with null.
    pub redact_env: bool,
    /// Sync the file system before and after publishing.
    pub sync: bool,
}

/// What [`fetch`] did.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What `larder.json` holds.
    pub record: Record,
    /// Where it lies.
    pub dest: PathBuf,
    /// Bytes received over the network, those received twice counted twice.
    pub bytes_downloaded: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Fetches `function` as `options` say.
pub async fn fetch(
    _session: &Session,
    _function: &FunctionRef,
    _options: &FetchOptions,
    _reporter: Arc<dyn Reporter>,
    _cancel: CancellationToken,
) -> Result<Fetched> {
    Err(crate::error::Error::new(
        crate::error::ErrorKind::Bug,
        "not merged yet",
    ))
}
