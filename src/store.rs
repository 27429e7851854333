//! A store of backups: an OCI image layout in a directory or a bucket, which any OCI tool can read.
//!
//! ```text
//! runs/<utc>-<id>.json   an immutable OCI index: one backup point
//!   -> region index      one an account and region
//!     -> manifest        one a function version, layer version or list of aliases
//!       -> record, function.json, package.zip, layers
//! ```
//!
//! All but the runs themselves are blobs named by their SHA-256, put once and never changed; `index.json` is a cache that
//! can be rebuilt from the runs. A writer that dies leaves only blobs to which nothing refers, and two writers cannot
//! harm each other, so there are no locks. `docs/store.md` describes the format for whoever writes another reader.
//!
//! Only a [`Verified`](crate::package::Verified) package can be put, and what comes back is
//! [`Received`](crate::package::Received) again: to be verified before it is used.

mod blob;
pub mod check;
mod entry;
mod error;
pub mod forget;
mod guard;
mod index;
mod joint;
mod location;
mod manifest;
mod objects;
pub mod prune;
mod references;
mod run;
mod shard;
mod staging;

use std::path::PathBuf;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::error::{Error, ErrorKind, Result};
use crate::files;
use error::{Transience, failed, transience};
use guard::Guard;

pub use blob::Presence;
pub(crate) use entry::unversioned;
pub use entry::{Entry, Subject};
pub use error::concerns_one_run;
pub use joint::{JointId, Sealed};
pub use location::Location;
pub use manifest::{
    Descriptor, FUNCTION, Index, LAYER, MANIFEST, Manifest, PACKAGE, RECORD, Titled, title,
};
pub(crate) use objects::{FORGOTTEN, MARKS, PRUNES};
pub use run::{Part, RegionRef, Run, RunName, Runs, Scope};
pub use shard::Shard;
pub use staging::StagingBucket;

/// The version of the format that is written, and the newest that is read.
pub const FORMAT: u32 = 1;
/// The file that makes a directory a store.
const MARKER: &str = "larder-store.json";
/// The file that makes it an OCI image layout.
const OCI_LAYOUT: &str = "oci-layout";
/// Bytes of blobs that are held in memory for their way to the store, all together.
const UPLOAD_MEMORY: usize = 32 << 20;
/// How often a put is tried when the store's own client has given up, or would not try again.
const PUT_ATTEMPTS: u32 = 4;

/// A store, opened.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// The same, but what is put is durable on return.
    durable: Arc<dyn ObjectStore>,
    name: String,
    /// The directory, of a store on this machine.
    local: Option<PathBuf>,
    memory: Arc<Semaphore>,
    /// What keeps a prune from taking what is being written.
    guard: Arc<Guard>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    schema_version: u32,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// A store in a directory of this machine. With `create` a missing one is made, for its owner alone (mode 0700).
    /// Looks at nothing in it yet.
    ///
    /// # Errors
    /// The directory is not there, or cannot be made.
    pub fn directory(path: &std::path::Path, create: bool) -> Result<Self> {
        if create {
            files::create_private_dir(path)?;
        } else if !files::exists(path) {
            return Err(no_store(&path.display().to_string()));
        }
        let objects = LocalFileSystem::new_with_prefix(path)
            .map_err(|e| failed(e, &path.display().to_string()))?;
        Ok(Self {
            durable: Arc::new(objects.clone().with_fsync(true)),
            objects: Arc::new(objects),
            name: path.display().to_string(),
            local: Some(path.to_owned()),
            memory: Arc::new(Semaphore::new(UPLOAD_MEMORY)),
            guard: Arc::default(),
        })
    }

    /// A place where no store is yet, for who only asks what one would hold.
    pub fn absent(name: &str) -> Self {
        Self::bucket(Arc::new(InMemory::new()), "", name)
    }

    /// A store below `prefix` of a bucket. `name` is what messages call it. Makes no call yet.
    pub fn bucket(bucket: Arc<dyn ObjectStore>, prefix: &str, name: &str) -> Self {
        let prefix = Path::from(prefix);
        let objects = if prefix.as_ref().is_empty() {
            bucket
        } else {
            Arc::new(PrefixStore::new(bucket, prefix))
        };
        Self {
            durable: Arc::clone(&objects),
            objects,
            name: name.to_owned(),
            local: None,
            memory: Arc::new(Semaphore::new(UPLOAD_MEMORY)),
            guard: Arc::default(),
        }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory, of a store on this machine.
    pub fn local(&self) -> Option<&std::path::Path> {
        self.local.as_deref()
    }

    /// Makes sure that this is a store of a version that can be read.
    ///
    /// # Errors
    /// It is none, or of a newer version, or cannot be reached.
    pub async fn open(&self) -> Result<()> {
        match self.read(MARKER).await? {
            Some(bytes) => self.judge(&bytes),
            None => Err(no_store(&self.name)),
        }
    }

    /// The same for a writer, who makes it a store when nothing is there.
    ///
    /// # Errors
    /// As for [`Store::open`]; or something else lies there, which would be written into.
    pub async fn prepare(&self) -> Result<()> {
        // Looked at before the marker: another writer that makes it a store now puts that first, by way of a name like it.
        let local = self.local.as_deref();
        let others = local.is_some_and(|path| {
            let names = files::names(path);
            names.iter().any(|name| !name.starts_with(MARKER))
        });
        let layout = self.read(OCI_LAYOUT).await?.is_some();
        if let Some(bytes) = self.read(MARKER).await? {
            self.judge(&bytes)?;
        } else {
            if others || layout {
                return Err(Error::new(
                    ErrorKind::DestinationExists,
                    "is not empty, and no store of larder's",
                )
                .about(&*self.name)
                .hint("name an empty place or a new one"));
            }
            let marker = format!("{{\"schema_version\":{FORMAT}}}\n");
            self.put_new(MARKER, marker.into_bytes()).await?;
        }
        // A writer that died may have come no further than the marker.
        if self.read(OCI_LAYOUT).await?.is_none() {
            let layout = b"{\"imageLayoutVersion\":\"1.0.0\"}\n".to_vec();
            self.put_new(OCI_LAYOUT, layout).await?;
        }
        self.watch().await
    }

    fn judge(&self, bytes: &[u8]) -> Result<()> {
        let error = |message: String| Error::new(ErrorKind::Mismatch, message).about(&*self.name);
        let marker: Marker = serde_json::from_slice(bytes)
            .map_err(|e| error(format!("{MARKER} is broken")).because(e))?;
        if marker.schema_version > FORMAT {
            return Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "the store has version {}; this larder reads up to {FORMAT}",
                    marker.schema_version
                ),
            )
            .about(&*self.name)
            .hint("a newer larder wrote it; use that one or a later one"));
        }
        Ok(())
    }

    /// Makes all that was put so far durable. In a bucket it is already.
    async fn sync(&self) -> Result<()> {
        let Some(path) = self.local.clone() else {
            return Ok(());
        };
        let synced = tokio::task::spawn_blocking(move || files::sync_directory_tree(&path)).await;
        match synced {
            Ok(result) => Ok(result?),
            Err(e) => Err(Error::new(ErrorKind::Bug, "the sync failed").because(e)),
        }
    }

    /// A small object; None when there is none.
    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = Path::from(name);
        let got = match self.objects.get(&path).await {
            Ok(got) => got,
            Err(e @ object_store::Error::NotFound { .. }) if !error::is_of_the_bucket(&e) => {
                return Ok(None);
            }
            Err(e) => return Err(self.failed(e, name)),
        };
        if got.meta.size > blob::MAX_DOCUMENT {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("is larger than {} bytes", blob::MAX_DOCUMENT),
            )
            .about(self.place(name)));
        }
        let bytes = got.bytes().await.map_err(|e| self.failed(e, name))?;
        Ok(Some(bytes.to_vec()))
    }

    /// Puts an object that must not be there yet, and answers whether it was not. Tried again where that can help: an
    /// attempt that was answered by nobody may have come through, and so finds itself.
    async fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<bool> {
        self.put_new_in(&self.objects, name, bytes).await
    }

    async fn put_new_in(
        &self,
        objects: &Arc<dyn ObjectStore>,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<bool> {
        let payload = PutPayload::from(bytes);
        let path = Path::from(name);
        let mut attempt = 1;
        loop {
            let put = objects.put_opts(&path, payload.clone(), PutMode::Create.into());
            match put.await {
                Ok(_) => return Ok(true),
                Err(object_store::Error::AlreadyExists { .. }) => return Ok(false),
                Err(e) if transience(&e) == Transience::May && attempt < PUT_ATTEMPTS => {
                    tracing::info!("{}: attempt {attempt} to put it failed", self.place(name));
                    tokio::time::sleep(error::pause(attempt)).await;
                    attempt += 1;
                }
                Err(e) => return Err(self.failed(e, name)),
            }
        }
    }

    /// Puts an object, whatever is there.
    async fn put_over(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.put_over_in(&self.objects, name, bytes).await
    }

    async fn put_over_in(
        &self,
        objects: &Arc<dyn ObjectStore>,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<()> {
        let path = Path::from(name);
        let put = objects.put(&path, PutPayload::from(bytes));
        put.await.map_err(|e| self.failed(e, name))?;
        Ok(())
    }

    fn failed(&self, e: object_store::Error, name: &str) -> Error {
        failed(e, &self.place(name))
    }

    /// What messages call an object in it.
    fn place(&self, name: &str) -> String {
        format!("{}/{name}", self.name.trim_end_matches('/'))
    }
}

fn no_store(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, "there is no store here")
        .about(name)
        .hint("larder backup makes one")
}
