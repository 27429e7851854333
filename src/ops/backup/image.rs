//! The image of a container-image function, pulled into the store: each blob once, however many images share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;

use super::package::permits;
use super::region::{Job, Trouble};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::image::{self, Depot, Platform, Spool, layout};
use crate::lambda::Described;
use crate::ops::fetch::image::fill;
use crate::package::{ImageRef, Verified};
use crate::record::{IMAGE, ImageRecord};
use crate::store::{Descriptor, Presence, title};
use crate::task::blocking;
use crate::transfer::Stats;

/// An image as the store has it.
pub(super) struct Image {
    pub(super) record: ImageRecord,
    /// Its manifests and blobs, with the paths that a fetch gives them; none when it was not pulled.
    pub(super) files: Vec<Descriptor>,
    /// Why it could not be pulled.
    pub(super) lacking: Option<Error>,
    pub(super) location: Option<String>,
    pub(super) stats: Stats,
}

impl Image {
    pub(super) fn into_parts(self) -> (Option<ImageRecord>, Vec<Descriptor>, Option<Error>) {
        (Some(self.record), self.files, self.lacking)
    }
}

impl Job<'_> {
    /// What Lambda states of the image, and with `pull_image` the image itself. One that cannot be had makes the version
    /// partial: what Lambda states of it is kept.
    pub(super) async fn image(
        &self,
        described: &Described,
        image: &ImageRef,
    ) -> Result<Image, Trouble> {
        let mut out = Image {
            record: ImageRecord::stated(image, described.code_sha256_text()),
            files: Vec::new(),
            lacking: None,
            location: None,
            stats: Stats::default(),
        };
        if !self.options.pull_image {
            return Ok(out);
        }
        let own = described.answer().text("/Configuration/Architectures/0");
        let depot = InStore {
            job: self,
            failed: AtomicBool::new(false),
        };
        let platform = Platform::of_function(own);
        let pulled = image::pull_to(
            &self.registries,
            image,
            &depot,
            platform,
            &**self.tally,
            self.cancel,
        );
        let pulled = match pulled.await {
            Ok(pulled) => pulled,
            Err(e) if depot.failed.into_inner() => return Err(Trouble::Run(e)),
            Err(e) => match Trouble::of(e) {
                Trouble::Own(e) => {
                    out.lacking = Some(e.about(described.function().arn.as_str()));
                    return Ok(out);
                }
                trouble => return Err(trouble),
            },
        };
        self.tally.downloaded(pulled.stats.bytes);
        let file = |media_type: &str, digest: Sha256Digest, size| {
            let path = format!("{IMAGE}/{}", layout::blob_path(digest));
            title(Descriptor::new(media_type, &digest, size), &path)
        };
        let manifests = pulled.manifests.iter();
        out.files = manifests
            .map(|m| file(&m.media_type, m.digest, m.size))
            .chain(
                pulled
                    .blobs
                    .iter()
                    .map(|b| file(&b.media_type, b.digest, b.size)),
            )
            .collect();
        fill(&mut out.record, &pulled);
        out.location = pulled.location;
        out.stats = pulled.stats;
        Ok(out)
    }
}

/// The store as a place for images. That it fails ends the run; a registry that fails does not.
struct InStore<'a, 'b> {
    job: &'a Job<'b>,
    failed: AtomicBool,
}

impl InStore<'_, '_> {
    fn own<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Depot for InStore<'_, '_> {
    fn kept(&self, digest: Sha256Digest) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            // One that is lost, damaged or may not be read is asked for again.
            let descriptor = Descriptor::new("", &digest, 0);
            self.job.store.document(&descriptor).await.ok()
        })
    }

    fn holds<'a>(&'a self, blob: &'a image::Descriptor) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let packages = self.job.packages;
            if packages.holds(&blob.digest) {
                return Ok(true);
            }
            let there = self.own(self.job.store.has(&blob.digest, blob.size).await)?;
            if there == Presence::Present {
                packages.insert(blob.digest);
            }
            Ok(there == Presence::Present)
        })
    }

    fn spool<'a>(&'a self, blob: &'a image::Descriptor) -> BoxFuture<'a, Result<Option<Spool>>> {
        Box::pin(async move {
            let packages = self.job.packages;
            let turn = packages.turn(blob.digest).lock_owned().await;
            if packages.holds(&blob.digest) {
                packages.leave(&blob.digest);
                return Ok(None);
            }
            let most = permits(self.job.options.spool_limit);
            let room = Arc::clone(self.job.spools)
                .acquire_many_owned(permits(blob.size).min(most))
                .await
                .map_err(|e| {
                    Error::new(ErrorKind::Bug, "the spool's count is closed").because(e)
                })?;
            let directory = self.job.spool_dir();
            let file = blocking(move || Ok(files::unnamed(&directory)?)).await;
            let file = self.own(file)?;
            Ok(Some(Spool {
                file,
                held: Box::new((turn, room)),
            }))
        })
    }

    fn keep<'a>(
        &'a self,
        blob: &'a image::Descriptor,
        bytes: &'a Verified,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.own(self.job.store.put_package(bytes).await)?;
            self.job.packages.insert(blob.digest);
            self.job.packages.leave(&blob.digest);
            Ok(())
        })
    }

    fn keep_manifest<'a>(
        &'a self,
        media_type: &'a str,
        json: Vec<u8>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let put = self.job.store.put_document(media_type, json).await;
            self.own(put).map(drop)
        })
    }
}
