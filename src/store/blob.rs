//! Blobs: bytes under the name of their SHA-256, put once.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use tokio::sync::OwnedSemaphorePermit;

use super::error::{Transience, pause, transience};
use super::manifest::Descriptor;
use super::{PUT_ATTEMPTS, Store, UPLOAD_MEMORY};
use crate::digest::{Hasher, Sha256Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::package::{Received, Verified};

/// The folder of the blobs.
pub(super) const BLOBS: &str = "blobs/sha256";
/// The largest document that is read into memory, in bytes: a region of some hundred thousand function versions.
pub(super) const MAX_DOCUMENT: u64 = 256 << 20;
/// From which size on a package goes up in several requests, and how large each is, in bytes.
const PART: usize = 8 << 20;

/// Whether a blob is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// With the size it should have.
    Present,
    /// There is none, or one of another size.
    Absent,
    /// The store does not say: who may only put is denied to look.
    Unknown,
}

fn path_of(digest: &Sha256Digest) -> Path {
    Path::from(format!("{BLOBS}/{}", digest.hex()))
}

impl Store {
    /// Whether a blob is there: one HEAD. A mark on it is renewed, so that no prune takes it away.
    ///
    /// # Errors
    /// The store cannot be reached, or refuses the credentials.
    pub async fn has(&self, digest: &Sha256Digest, size: u64) -> Result<Presence> {
        self.renew_mark(digest).await?;
        let path = path_of(digest);
        match self.objects.head(&path).await {
            Ok(meta) if meta.size == size => Ok(Presence::Present),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(Presence::Absent),
            Err(e) => {
                let error = self.failed(e, path.as_ref());
                match error.kind() {
                    // Who may not list a bucket is told 403 for an object that is not there.
                    ErrorKind::AccessDenied => Ok(Presence::Unknown),
                    _ => Err(error),
                }
            }
        }
    }

    /// Puts a document: JSON that belongs to a backup.
    ///
    /// # Errors
    /// It cannot be put.
    pub async fn put_document(&self, media_type: &str, bytes: Vec<u8>) -> Result<Descriptor> {
        let digest = Sha256Digest::of(&bytes);
        let descriptor = Descriptor::new(media_type, &digest, bytes.len() as u64);
        self.renew_mark(&digest).await?;
        let path = path_of(&digest);
        let again = bytes.clone();
        if !self.put_new(path.as_ref(), bytes).await? {
            // What a power failure cut short has another size.
            if self.has(&digest, descriptor.size).await? == Presence::Absent {
                self.put_over(path.as_ref(), again).await?;
            }
        }
        Ok(descriptor)
    }

    /// Puts a package, unless it is there.
    ///
    /// ```compile_fail,E0308
    /// # async fn put(store: &larder::store::Store, package: &larder::package::Received) {
    /// store.put_package(package).await;
    /// # }
    /// ```
    ///
    /// ```
    /// # async fn put(store: &larder::store::Store, package: &larder::package::Verified) {
    /// store.put_package(package).await;
    /// # }
    /// ```
    ///
    /// # Errors
    /// It cannot be put.
    pub async fn put_package(&self, package: &Verified) -> Result<Descriptor> {
        let (digest, size) = (package.sha256(), package.size());
        let descriptor = Descriptor::new(super::PACKAGE, &digest, size);
        self.renew_mark(&digest).await?;
        let path = path_of(&digest);
        let file = package
            .file()
            .try_clone()
            .map_err(|e| crate::files::io_error("the spool cannot be opened again", e))?;
        let file = Arc::new(file);
        if size <= PART as u64 {
            let (bytes, _held) = self.piece(&file, 0, size).await?;
            if !self.put_new(path.as_ref(), bytes.to_vec()).await?
                && self.has(&digest, size).await? == Presence::Absent
            {
                self.put_over(path.as_ref(), bytes.to_vec()).await?;
            }
            return Ok(descriptor);
        }
        if self.has(&digest, size).await? == Presence::Present {
            return Ok(descriptor);
        }
        let mut attempt = 1;
        loop {
            match self.put_in_parts(&path, &file, size).await? {
                Ok(()) => return Ok(descriptor),
                Err(e) if transience(&e) == Transience::May && attempt < PUT_ATTEMPTS => {
                    tracing::info!("{path}: attempt {attempt} to put it failed");
                    tokio::time::sleep(pause(attempt)).await;
                    attempt += 1;
                }
                Err(e) => return Err(self.failed(e, path.as_ref())),
            }
        }
    }

    /// The inner error is the store's, the outer one that of reading the spool.
    async fn put_in_parts(
        &self,
        path: &Path,
        file: &Arc<File>,
        size: u64,
    ) -> Result<std::result::Result<(), object_store::Error>> {
        let mut upload = match self.objects.put_multipart(path).await {
            Ok(upload) => upload,
            Err(e) => return Ok(Err(e)),
        };
        let mut at = 0;
        while at < size {
            let (bytes, held) = self.piece(file, at, (size - at).min(PART as u64)).await?;
            at += bytes.len() as u64;
            let sent = upload.put_part(PutPayload::from(bytes)).await;
            drop(held);
            if let Err(e) = sent {
                // What stays of it is for the bucket's lifecycle rules to remove.
                let _ = upload.abort().await;
                return Ok(Err(e));
            }
        }
        match upload.complete().await {
            Ok(_) => Ok(Ok(())),
            Err(e) => {
                let _ = upload.abort().await;
                Ok(Err(e))
            }
        }
    }

    /// Reads a piece of a spool, when there is memory for it.
    async fn piece(
        &self,
        file: &Arc<File>,
        at: u64,
        length: u64,
    ) -> Result<(Bytes, OwnedSemaphorePermit)> {
        let length = usize::try_from(length).unwrap_or(PART).min(PART);
        let wanted = u32::try_from(length.clamp(1, UPLOAD_MEMORY)).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.memory)
            .acquire_many_owned(wanted)
            .await
            .map_err(|e| Error::new(ErrorKind::Bug, "the memory's count is closed").because(e))?;
        let file = Arc::clone(file);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, at).map(|()| bytes)
        });
        let bytes = read
            .await
            .map_err(|e| Error::new(ErrorKind::Bug, "reading the spool failed").because(e))?
            .map_err(|e| crate::files::io_error("the spool cannot be read back", e))?;
        Ok((Bytes::from(bytes), held))
    }

    /// A document, which is what its digest says.
    ///
    /// # Errors
    /// It is not there, or is something else.
    pub async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = descriptor.sha256()?;
        let path = path_of(&digest);
        let bytes = self.read(path.as_ref()).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "is lost from the store")
                .about(self.place(path.as_ref()))
                .hint("larder store check tells what else is; larder backup --refresh puts back what AWS still has")
        })?;
        if Sha256Digest::of(&bytes) != digest {
            return Err(not_itself(&self.place(path.as_ref())));
        }
        Ok(bytes)
    }

    /// A package, hashed as it is written to `spool`, an empty file. It is not verified yet.
    ///
    /// # Errors
    /// It is not there, or cannot be read or written.
    pub async fn get(&self, descriptor: &Descriptor, spool: File) -> Result<Received> {
        let digest = descriptor.sha256()?;
        let hashed = self
            .stream(&digest, descriptor.size, async |at, bytes, mut hasher| {
                let same = spool
                    .try_clone()
                    .map_err(|e| crate::files::io_error("the spool cannot be opened again", e))?;
                let write = tokio::task::spawn_blocking(move || {
                    hasher.update(&bytes);
                    same.write_all_at(&bytes, at).map(|()| hasher)
                });
                write
                    .await
                    .map_err(|e| {
                        Error::new(ErrorKind::Bug, "the spool's writer failed").because(e)
                    })?
                    .map_err(|e| crate::files::io_error("the spool cannot be written", e))
            })
            .await?;
        let size = hashed.bytes();
        Ok(Received::hashed(spool, size, hashed.finish()))
    }

    /// Hashes a blob and says what is wrong with it; None is nothing.
    pub(super) async fn examine(&self, digest: &Sha256Digest, size: u64) -> Result<Option<String>> {
        let hashed = self
            .stream(digest, size, async |_, bytes, mut hasher| {
                let hash = tokio::task::spawn_blocking(move || {
                    hasher.update(&bytes);
                    hasher
                });
                hash.await
                    .map_err(|e| Error::new(ErrorKind::Bug, "hashing failed").because(e))
            })
            .await;
        match hashed {
            Ok(bytes) => Ok((bytes.finish() != *digest)
                .then(|| "its bytes are not those of its name".to_owned())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Some("it is lost".to_owned())),
            Err(e) => Err(e),
        }
    }

    /// Reads a blob piece by piece. More than `size` bytes are not read: they cannot be right.
    async fn stream(
        &self,
        digest: &Sha256Digest,
        size: u64,
        mut each: impl AsyncFnMut(u64, Bytes, Box<Hasher>) -> Result<Box<Hasher>>,
    ) -> Result<Hasher> {
        let path = path_of(digest);
        let got = self.objects.get(&path).await;
        let mut stream = got
            .map_err(|e| self.failed(e, path.as_ref()))?
            .into_stream();
        let (mut at, mut hasher) = (0, Box::new(Hasher::new()));
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|e| self.failed(e, path.as_ref()))?;
            let count = bytes.len() as u64;
            hasher = each(at, bytes, hasher).await?;
            at += count;
            if at > size {
                break;
            }
        }
        Ok(*hasher)
    }
}

fn not_itself(place: &str) -> Error {
    Error::new(ErrorKind::Mismatch, "its bytes are not those of its name")
        .about(place)
        .hint("it was changed or damaged in the store; larder store check --read-data tells what else was")
}
