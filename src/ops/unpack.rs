//! The same safe unpacking for a zip at hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::digest::Sha256Digest;
use crate::error::Result;
use crate::events::Reporter;
use crate::unpack::Limits;

/// What [`unpack`] is to do beside the plain job.
#[derive(Debug, Clone)]
pub struct UnpackOptions {
    /// Where to; None is the package's name without `.zip`.
    pub dest: Option<PathBuf>,
    /// Refuse unless the package is this one.
    pub sha256: Option<Sha256Digest>,
    /// Bounds, and what a name that stands twice means.
    pub limits: Limits,
    /// Replace a destination.
    pub force: bool,
}

/// What [`unpack`] did.
#[derive(Debug, Clone)]
pub struct UnpackedPackage {
    /// Where the tree lies.
    pub dest: PathBuf,
    /// The package's digest.
    pub sha256: Sha256Digest,
    /// The package's length in bytes.
    pub size: u64,
    /// Regular files.
    pub files: u64,
    /// Directories, without the root.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes in regular files.
    pub bytes: u64,
}

/// Unpacks `package`. Blocking.
pub fn unpack(
    _package: &Path,
    _options: &UnpackOptions,
    _reporter: &Arc<dyn Reporter>,
    _cancel: &CancellationToken,
) -> Result<UnpackedPackage> {
    Err(crate::error::Error::new(
        crate::error::ErrorKind::Bug,
        "not merged yet",
    ))
}
