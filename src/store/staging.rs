//! A place in a bucket for packages that are on their way to Lambda, which takes none of more than 50 MiB in a request.

use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::Store;
use crate::error::Result;
use crate::package::Verified;

/// Where the packages of one run are put.
#[derive(Debug, Clone)]
pub struct StagingBucket {
    store: Store,
    bucket: String,
    prefix: String,
}

impl StagingBucket {
    /// Below `larder-restore/RUN_ID/` of `bucket`. Makes no call.
    pub fn new(objects: Arc<dyn ObjectStore>, bucket: &str, run_id: &str) -> Self {
        let prefix = format!("larder-restore/{run_id}");
        Self {
            store: Store::bucket(objects, &prefix, &format!("s3://{bucket}/{prefix}")),
            bucket: bucket.to_owned(),
            prefix,
        }
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Puts a package at its [`key`](Self::key).
    ///
    /// # Errors
    /// It cannot be put.
    pub async fn put(&self, package: &Verified) -> Result<()> {
        self.store.put_package(package).await?;
        Ok(())
    }

    /// Removes it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub async fn remove(&self, package: &Verified) -> Result<()> {
        let name = format!("{}/{}", super::blob::BLOBS, package.sha256().hex());
        let deleted = self.store.objects.delete(&Path::from(&*name)).await;
        deleted.map_err(|e| self.store.failed(e, &name))
    }

    /// A package's key in the bucket.
    pub fn key(&self, package: &Verified) -> String {
        let (folder, hex) = (super::blob::BLOBS, package.sha256().hex());
        format!("{}/{folder}/{hex}", self.prefix)
    }
}
