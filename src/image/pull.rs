//! Pulling one image: its manifests, then its blobs, several at once, into a layout in a staging.

mod choose;
mod depot;
mod kept;
mod manifests;
mod share;

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::Platform;
use super::blob::{Blob, Same};
use super::layout::{self, BLOBS, INDEX_JSON, OCI_LAYOUT, OCI_LAYOUT_JSON, index_json};
use super::manifest::{Contents, Descriptor};
use super::reference::Reference;
use super::registry::Registries;
use crate::digest::Sha256Digest;
use crate::error::{self, Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::files::{self, FilesError, Staging};
use crate::package::ImageRef;
use crate::task::or_interrupted;
use crate::transfer::{self, Stats};

pub use depot::{Depot, Spool};
pub(crate) use kept::top_is;
pub(super) use manifests::Asking;
use share::Share;

/// How many blobs are fetched at once. Each holds some MiB of buffers at the most.
const AT_ONCE: usize = 4;
/// Connections for all blobs that are large enough to take several.
const CONNECTIONS: usize = 4;
/// From which size on a blob may take several, in bytes.
const LARGE: u64 = 24 << 20;
/// Where a pulled image goes: the directory `place` of a staging, which is made.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The staging.
    pub staging: Arc<Staging>,
    /// A relative path in it, without a slash at its end: `image`.
    pub place: String,
}

/// What a pull goes by.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Of an index, which image is pulled.
    pub platform: Platform,
    /// A layout that an earlier pull left: what is in it and verifies is taken from there.
    pub kept: Option<PathBuf>,
}

impl PullOptions {
    /// All of the image for `platform`, from its registry.
    pub fn new(platform: Platform) -> Self {
        Self {
            platform,
            kept: None,
        }
    }
}

/// An image that was pulled and verified.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Where it was pulled from: `https://registry/v2/repository/manifests/sha256:…`, or None when all was kept here.
    pub location: Option<String>,
    /// The manifest, or the index first and the manifest below it after it.
    pub manifests: Vec<PulledManifest>,
    /// Configuration and layers that are kept now, each digest once.
    pub blobs: Vec<Descriptor>,
    /// Foreign layers, which are not kept.
    pub foreign: Vec<Descriptor>,
    /// How many other manifests the indexes name, which are not kept.
    pub others: u64,
    /// The bytes of all manifests and blobs that are kept.
    pub bytes: u64,
    /// How many of them were fetched: none when an earlier pull had them all.
    pub fetched: usize,
    /// How it went, over all requests.
    pub stats: Stats,
}

/// A manifest or index that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledManifest {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Sha256Digest,
    /// In bytes.
    pub size: u64,
    /// Its platform, where an index says.
    pub platform: Option<Platform>,
}

/// Pulls `image` by digest into `to`. Everything in it has been verified when this returns; on an error, what was written
/// is the staging's to remove.
///
/// # Errors
/// It cannot be had, is not what its digest says, is none, or does not fit on the disk. Cancelled:
/// [`ErrorKind::Interrupted`].
pub async fn pull(
    registries: &Registries,
    image: &ImageRef,
    to: &Destination,
    options: &PullOptions,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<Pulled> {
    run(registries, image, To::Layout(to), options, reporter, cancel).await
}

/// Pulls `image` by digest into `depot`, without what that has already.
///
/// # Errors
/// As [`pull`], and those of the depot.
pub async fn pull_to(
    registries: &Registries,
    image: &ImageRef,
    depot: &dyn Depot,
    platform: Platform,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<Pulled> {
    let options = PullOptions::new(platform);
    run(
        registries,
        image,
        To::Depot(depot),
        &options,
        reporter,
        cancel,
    )
    .await
}

async fn run(
    registries: &Registries,
    image: &ImageRef,
    to: To<'_>,
    options: &PullOptions,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<Pulled> {
    let uri = [&image.resolved_image_uri, &image.image_uri]
        .into_iter()
        .flatten()
        .find(|uri| uri.contains('@'))
        .or(image.image_uri.as_ref())
        .map_or("", String::as_str);
    let reference = Reference::parse(uri)?;
    let work = Work {
        registries,
        reference: &reference,
        to,
        options,
        reporter,
        cancel,
        requests: AtomicU64::new(0),
    };
    Box::pin(work.run()).await
}

/// Where an image goes.
#[derive(Clone, Copy)]
enum To<'a> {
    Layout(&'a Destination),
    Depot(&'a dyn Depot),
}

struct Work<'a> {
    registries: &'a Registries,
    reference: &'a Reference,
    to: To<'a>,
    options: &'a PullOptions,
    reporter: &'a dyn Reporter,
    cancel: &'a CancellationToken,
    /// GETs for manifests.
    requests: AtomicU64,
}

impl Work<'_> {
    async fn run(&self) -> Result<Pulled> {
        if let To::Layout(to) = self.to {
            to.staging.create_dir(&format!("{}/{BLOBS}", to.place))?;
        }
        let mut out = Pulled {
            location: None,
            manifests: Vec::new(),
            blobs: Vec::new(),
            foreign: Vec::new(),
            others: 0,
            bytes: 0,
            fetched: 0,
            stats: Stats::default(),
        };
        let contents = self.or_interrupted(self.manifests(&mut out)).await?;
        let Contents { blobs, foreign } = contents;
        for layer in &foreign {
            self.reporter.report(&Event::Warning {
                subject: &format!("sha256:{}", layer.digest),
                message: &format!(
                    "this layer is a foreign one and is not kept: its owner gives it out at {}",
                    layer.urls.join(", ")
                ),
                hint: Some("the image cannot be run without it; fetch it from there if you may"),
            });
        }
        out.foreign = foreign;
        out.blobs = blobs;
        let sizes = out.blobs.iter().map(|blob| blob.size);
        let total = sizes.fold(out.bytes, u64::saturating_add);
        out.bytes = total;
        let missing = match self.to {
            // Not raced against the interrupt: its thread reads the flag itself, and has let go of the staging when this
            // returns.
            To::Layout(to) => {
                let missing = self.missing(to, &out.blobs).await?;
                check_space(to, &missing)?;
                missing
            }
            To::Depot(depot) => self.or_interrupted(missing_in(depot, &out.blobs)).await?,
        };
        out.fetched += missing.len();
        out.stats.attempts = u32::from(out.fetched > 0);
        if !missing.is_empty() {
            let stats = self.or_interrupted(self.blobs(missing)).await?;
            add(&mut out.stats, &stats);
        }
        out.stats.requests +=
            u32::try_from(self.requests.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        if let To::Layout(to) = self.to {
            let root = &out.manifests[0];
            let index = index_json(&root.media_type, root.digest, root.size);
            write(to, INDEX_JSON, &index)?;
            write(to, OCI_LAYOUT, OCI_LAYOUT_JSON)?;
        }
        Ok(out)
    }

    /// Runs `work` until it is done or the caller cancels.
    async fn or_interrupted<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        or_interrupted(self.cancel, work).await
    }

    /// Fetches blobs, several at once. The first that cannot be had ends it.
    async fn blobs(&self, mut missing: Vec<Descriptor>) -> Result<Stats> {
        let registry = self.registries.open(self.reference.place()).await?;
        let size = missing
            .iter()
            .map(|blob| blob.size)
            .fold(0, u64::saturating_add);
        let subject = self.reference.to_string();
        self.reporter.report(&Event::PullStarted {
            subject: &subject,
            blobs: missing.len() as u64,
            size,
        });
        // The largest first, so that none is left over for the end.
        missing.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        let large = missing.iter().filter(|blob| blob.size >= LARGE).count();
        let connections = CONNECTIONS / large.clamp(1, CONNECTIONS);
        let workers = AT_ONCE.min(missing.len());
        let queue = Mutex::new(VecDeque::from(missing));
        let received = AtomicU64::new(0);
        let worker = async || {
            let mut stats = Stats::default();
            loop {
                let next = lock(&queue).pop_front();
                let Some(descriptor) = next else {
                    return Ok::<_, Error>(stats);
                };
                let repository = self.reference.repository();
                let registry = Arc::clone(&registry);
                let blob = Blob::new(registry, repository, &descriptor, connections, workers);
                add(&mut stats, &self.blob(blob, &descriptor, &received).await?);
            }
        };
        let all = try_join_all((0..workers).map(|_| worker())).await?;
        let mut stats = Stats::default();
        for one in &all {
            add(&mut stats, one);
        }
        Ok(stats)
    }

    async fn blob(
        &self,
        blob: Blob,
        descriptor: &Descriptor,
        received: &AtomicU64,
    ) -> Result<Stats> {
        let spool = match self.to {
            To::Layout(to) => {
                let name = scratch_name(&to.place, descriptor.digest);
                Spool {
                    file: to.staging.create_scratch_file(&name, 0o644)?,
                    held: Box::new(()),
                }
            }
            To::Depot(depot) => match depot.spool(descriptor).await? {
                Some(spool) => spool,
                None => return Ok(Stats::default()),
            },
        };
        let session = self.registries.session();
        let reporter = Share {
            reporter: self.reporter,
            digest: descriptor.digest,
            size: descriptor.size,
            own: AtomicU64::new(0),
            all: received,
        };
        let context = session.transfers(&reporter);
        let subject = blob.subject();
        let mut same = Same(blob.clone());
        let (verified, mut stats) =
            transfer::download(context, &subject, blob, &mut same, spool.file).await?;
        match self.to {
            To::Layout(to) => {
                let name = scratch_name(&to.place, descriptor.digest);
                let place = place_of(&to.place, descriptor.digest);
                to.staging.keep(&name, &place)?;
            }
            To::Depot(depot) => depot.keep(descriptor, &verified).await?,
        }
        drop(spool.held);
        // The image's own try is counted once; what is counted here is what went wrong.
        stats.attempts -= 1;
        Ok(stats)
    }

    /// Keeps a manifest or index as it came.
    async fn keep_manifest(
        &self,
        media_type: &str,
        digest: Sha256Digest,
        json: Vec<u8>,
    ) -> Result<()> {
        match self.to {
            To::Layout(to) => write(to, &layout::blob_path(digest), &json),
            To::Depot(depot) => depot.keep_manifest(media_type, json).await,
        }
    }
}

/// Those that the depot has not.
async fn missing_in(depot: &dyn Depot, blobs: &[Descriptor]) -> Result<Vec<Descriptor>> {
    let mut missing = Vec::new();
    for blob in blobs {
        if !depot.holds(blob).await? {
            missing.push(blob.clone());
        }
    }
    Ok(missing)
}

/// Refuses before anything is fetched what cannot fit.
fn check_space(to: &Destination, missing: &[Descriptor]) -> Result<()> {
    let needed = missing
        .iter()
        .map(|blob| blob.size)
        .fold(0, u64::saturating_add);
    let path = to.staging.path();
    match files::free_space(path) {
        Some(free) if free < needed => Err(Error::new(
            ErrorKind::DiskFull,
            format!(
                "the image needs {}, and {} are free there",
                error::bytes(needed),
                error::bytes(free)
            ),
        )
        .about(to.staging.destination().display().to_string())
        .hint("free some space, or choose a destination on another file system")),
        _ => Ok(()),
    }
}

fn write(to: &Destination, name: &str, bytes: &[u8]) -> Result<()> {
    let name = format!("{}/{name}", to.place);
    let mut file = to.staging.create_file(&name, 0o644)?;
    file.write_all(bytes)
        .map_err(|e| FilesError::io("write", to.staging.path().join(&name), e).into())
}

fn place_of(place: &str, digest: Sha256Digest) -> String {
    format!("{place}/{}", layout::blob_path(digest))
}

/// A name in the staging's scratch directory.
fn scratch_name(place: &str, digest: Sha256Digest) -> String {
    format!("{}-{digest}", place.replace('/', "-"))
}

fn add(all: &mut Stats, one: &Stats) {
    all.attempts += one.attempts;
    all.requests += one.requests;
    all.resumed += one.resumed;
    all.url_refreshes += one.url_refreshes;
    all.code_changes += one.code_changes;
    all.bytes += one.bytes;
}

/// Nothing panics while such a lock is held.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
