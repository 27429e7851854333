//! Somewhere else than a directory for a pulled image to go: a store, which may have most of it already.

use std::any::Any;
use std::fs::File;

use futures_util::future::BoxFuture;

use super::super::manifest::Descriptor;
use crate::digest::Sha256Digest;
use crate::error::Result;
use crate::package::Verified;

/// Keeps manifests and blobs by their digests.
pub trait Depot: Send + Sync {
    /// A manifest or small blob that is kept, if there is one and it can be read.
    fn kept(&self, digest: Sha256Digest) -> BoxFuture<'_, Option<Vec<u8>>>;

    /// Whether a blob is kept: then it is not fetched.
    fn holds<'a>(&'a self, blob: &'a Descriptor) -> BoxFuture<'a, Result<bool>>;

    /// Where a blob arrives, when there is room; None when somebody else has brought it meanwhile.
    fn spool<'a>(&'a self, blob: &'a Descriptor) -> BoxFuture<'a, Result<Option<Spool>>>;

    /// Keeps a blob.
    fn keep<'a>(&'a self, blob: &'a Descriptor, bytes: &'a Verified) -> BoxFuture<'a, Result<()>>;

    /// Keeps a manifest or index, byte for byte.
    fn keep_manifest<'a>(&'a self, media_type: &'a str, json: Vec<u8>)
    -> BoxFuture<'a, Result<()>>;
}

/// An empty file, and what must be held for as long as it is used.
pub struct Spool {
    /// The file.
    pub file: File,
    /// Given back when it is dropped.
    pub held: Box<dyn Any + Send>,
}
