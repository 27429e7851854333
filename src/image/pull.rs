//! Pulling one image: its manifests, then its blobs, several at once, into a layout in a staging.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::Platform;
use super::blob::{Blob, Same};
use super::layout::{
    self, BLOBS, INDEX_JSON, MAX_DEPTH, OCI_LAYOUT, OCI_LAYOUT_JSON, blob_path, index_json,
};
use super::manifest::{ACCEPT, Descriptor, Kind, MAX_MANIFEST, Manifest, ManifestError};
use super::reference::Reference;
use super::registry::{Item, Registries, Registry};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::files::{self, FilesError, Staging};
use crate::http::HttpError;
use crate::package::{Claim, ImageRef, Received};
use crate::transfer::retry::{Decision, Failure};
use crate::transfer::{self, Context, OpenError, Part, Stats};

/// How many blobs are fetched at once. Each holds some MiB of buffers at the most.
const AT_ONCE: usize = 4;
/// Connections for all blobs that are large enough to take several.
const CONNECTIONS: usize = 4;
/// From which size on a blob may take several, in bytes.
const LARGE: u64 = 24 << 20;
/// How long one answer with a manifest may take.
const MANIFEST_TIME: Duration = Duration::from_secs(120);

/// Where a pulled image goes: the directory `place` of a staging, which is made.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The staging.
    pub staging: Arc<Staging>,
    /// A relative path in it, without a slash at its end: `image`.
    pub place: String,
}

/// What a pull goes by.
#[derive(Clone)]
pub struct PullOptions {
    /// Of an index, which image is pulled.
    pub platform: Platform,
    /// A layout that an earlier pull left: what is in it and verifies is taken from there.
    pub kept: Option<PathBuf>,
    /// Says of a blob that it is kept elsewhere already: it is neither fetched nor written. Never asked about manifests.
    pub elsewhere: Option<Arc<dyn Fn(Sha256Digest) -> bool + Send + Sync>>,
}

impl PullOptions {
    /// All of the image for `platform`, from its registry.
    pub fn new(platform: Platform) -> Self {
        Self {
            platform,
            kept: None,
            elsewhere: None,
        }
    }
}

impl std::fmt::Debug for PullOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullOptions")
            .field("platform", &self.platform)
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

/// An image that was pulled and verified.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// Where it was pulled from: `https://registry/v2/repository/manifests/sha256:…`, or None when all was kept here.
    pub location: Option<String>,
    /// The manifest, or the index first and the manifest below it after it.
    pub manifests: Vec<PulledManifest>,
    /// Configuration and layers that lie in the layout, each digest once.
    pub blobs: Vec<Descriptor>,
    /// Blobs that [`PullOptions::elsewhere`] knew.
    pub elsewhere: Vec<Descriptor>,
    /// Foreign layers, which are not in the layout.
    pub foreign: Vec<Descriptor>,
    /// The bytes of all manifests and blobs in the layout.
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
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::interrupted()),
        pulled = work.run() => pulled,
    }
}

struct Work<'a> {
    registries: &'a Registries,
    reference: &'a Reference,
    to: &'a Destination,
    options: &'a PullOptions,
    reporter: &'a dyn Reporter,
    cancel: &'a CancellationToken,
    /// GETs for manifests.
    requests: AtomicU64,
}

/// A manifest with its bytes, and whether they came from the registry.
struct Document {
    manifest: Manifest,
    json: Vec<u8>,
    fetched: bool,
}

impl Work<'_> {
    async fn run(&self) -> Result<Pulled> {
        let staging = &self.to.staging;
        staging.create_dir(&format!("{}/{BLOBS}", self.to.place))?;
        let mut out = Pulled {
            location: None,
            manifests: Vec::new(),
            blobs: Vec::new(),
            elsewhere: Vec::new(),
            foreign: Vec::new(),
            bytes: 0,
            fetched: 0,
            stats: Stats {
                attempts: 1,
                ..Stats::default()
            },
        };
        let (blobs, foreign) = self.manifests(&mut out).await?;
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
        for blob in blobs {
            let known = self.options.elsewhere.as_ref();
            if known.is_some_and(|known| known(blob.digest)) {
                out.elsewhere.push(blob);
            } else {
                out.blobs.push(blob);
            }
        }
        let sizes = out.blobs.iter().map(|blob| blob.size);
        let total = sizes.fold(out.bytes, u64::saturating_add);
        out.bytes = total;
        let missing = self.missing(&out.blobs).await?;
        self.check_space(&missing)?;
        out.fetched += missing.len();
        if !missing.is_empty() {
            let stats = self.blobs(missing).await?;
            add(&mut out.stats, &stats);
        }
        out.stats.requests +=
            u32::try_from(self.requests.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let root = &out.manifests[0];
        let index = index_json(&root.media_type, root.digest, root.size);
        self.write(INDEX_JSON, &index)?;
        self.write(OCI_LAYOUT, OCI_LAYOUT_JSON)?;
        Ok(out)
    }

    /// The manifests, written, and what the image is made of.
    async fn manifests(&self, out: &mut Pulled) -> Result<(Vec<Descriptor>, Vec<Descriptor>)> {
        let mut wanted = Descriptor {
            media_type: String::new(),
            digest: self.reference.digest(),
            size: 0,
            urls: Vec::new(),
            platform: None,
        };
        for depth in 0..=MAX_DEPTH {
            let document = self.document(&wanted, depth > 0).await?;
            self.write(&blob_path(wanted.digest), &document.json)?;
            let size = document.json.len() as u64;
            out.bytes += size;
            if document.fetched {
                out.fetched += 1;
                out.stats.bytes += size;
                let item = self.item(self.reference.digest());
                let registry = self.registries.open(self.reference).await?;
                out.location = Some(registry.url(item).into());
            }
            out.manifests.push(PulledManifest {
                media_type: document.manifest.media_type.clone(),
                digest: wanted.digest,
                size,
                platform: wanted.platform.clone(),
            });
            let contents = document
                .manifest
                .contents()
                .map_err(|e| self.about(e, wanted.digest))?;
            match (contents, document.manifest.kind) {
                (Some(contents), _) => return Ok(contents),
                (None, Kind::Index(children)) => wanted = self.choose(children)?,
                (None, Kind::Image { .. }) => break,
            }
        }
        Err(Error::new(
            ErrorKind::ArchiveBroken,
            format!("indexes stand in each other more than {MAX_DEPTH} deep"),
        )
        .about(self.reference.to_string()))
    }

    /// The image for the platform, of those that an index offers.
    fn choose(&self, children: Vec<Descriptor>) -> Result<Descriptor> {
        let wanted = &self.options.platform;
        let offers: Vec<String> = children
            .iter()
            .filter_map(|child| Some(child.platform.as_ref()?.to_string()))
            .collect();
        let only = children.len() == 1 && offers.is_empty();
        children
            .into_iter()
            .find(|child| only || child.platform.as_ref().is_some_and(|p| wanted.accepts(p)))
            .ok_or_else(|| {
                let error = Error::new(
                    ErrorKind::NotFound,
                    format!("the index names no image for {wanted}"),
                )
                .about(self.reference.to_string());
                if offers.is_empty() {
                    error
                } else {
                    let offers = offers.join(", ");
                    error.hint(format!("--platform chooses one; there are: {offers}"))
                }
            })
    }

    fn item(&self, digest: Sha256Digest) -> Item<'_> {
        Item {
            repository: self.reference.repository(),
            section: "manifests",
            digest,
        }
    }

    fn subject(&self, digest: Sha256Digest) -> String {
        let (registry, repository) = (self.reference.registry(), self.reference.repository());
        format!("{registry}/{repository}@sha256:{digest}")
    }

    fn about(&self, e: ManifestError, digest: Sha256Digest) -> Error {
        Error::from(e).about(self.subject(digest))
    }

    /// A manifest, kept or fetched, that has the digest, and where an index states it the size.
    async fn document(&self, wanted: &Descriptor, stated: bool) -> Result<Document> {
        let read = |json: &[u8], announced: Option<&str>| {
            let parsed = Manifest::parse(json, announced);
            parsed.map_err(|e| self.about(e, wanted.digest))
        };
        if stated && wanted.size > MAX_MANIFEST {
            return Err(self.about(ManifestError::TooLarge, wanted.digest));
        }
        let announced = Some(wanted.media_type.as_str()).filter(|text| !text.is_empty());
        if let Some((json, kept)) = self.kept_manifest(wanted.digest)
            && (!stated || json.len() as u64 == wanted.size)
            && let Ok(manifest) = Manifest::parse(&json, announced.or(kept.as_deref()))
        {
            return Ok(Document {
                manifest,
                json,
                fetched: false,
            });
        }
        let registry = self.registries.open(self.reference).await?;
        let (json, served) = self.fetch_manifest(&registry, wanted.digest).await?;
        if stated && json.len() as u64 != wanted.size {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "the manifest has {} bytes where its index states {}",
                    json.len(),
                    wanted.size
                ),
            )
            .about(self.subject(wanted.digest)));
        }
        // What the index says of it counts more than a header.
        let manifest = read(&json, announced.or(served.as_deref()))?;
        Ok(Document {
            manifest,
            json,
            fetched: true,
        })
    }

    /// A manifest of the earlier pull, if it still has its digest, and its type by that layout's `index.json`.
    fn kept_manifest(&self, digest: Sha256Digest) -> Option<(Vec<u8>, Option<String>)> {
        let dir = self.options.kept.as_ref()?;
        let json = files::read_small(&dir.join(blob_path(digest)), MAX_MANIFEST).ok()?;
        if Sha256Digest::of(&json) != digest {
            return None;
        }
        let index = files::read_small(&dir.join(INDEX_JSON), MAX_MANIFEST).ok();
        let media_type = index
            .and_then(|json| Manifest::parse(&json, Some(super::manifest::OCI_INDEX)).ok())
            .and_then(|index| match index.kind {
                Kind::Index(roots) => roots.into_iter().find(|root| root.digest == digest),
                Kind::Image { .. } => None,
            })
            .map(|root| root.media_type);
        Some((json, media_type))
    }

    /// A manifest of the registry's, with its `Content-Type`. Bytes of another digest are fetched once more, to rule out a
    /// fault on the way.
    async fn fetch_manifest(
        &self,
        registry: &Registry,
        digest: Sha256Digest,
    ) -> Result<(Vec<u8>, Option<String>)> {
        let subject = self.subject(digest);
        self.reporter.report(&Event::Asking { subject: &subject });
        let retry = *self.registries.session().retry();
        let (mut attempt, mut refuted) = (1, None);
        loop {
            let asked = self.ask_manifest(registry, digest);
            let answer = match tokio::time::timeout(MANIFEST_TIME, asked).await {
                Ok(answer) => answer,
                Err(_) => Err((
                    Failure::Transient,
                    Error::new(ErrorKind::Timeout, "the registry's answer does not end"),
                )),
            };
            let (failure, error) = match answer {
                Ok((json, media_type)) => {
                    let found = Sha256Digest::of(&json);
                    if found == digest {
                        return Ok((json, media_type));
                    }
                    if let Some(first) = refuted {
                        let error = Error::new(
                            ErrorKind::Mismatch,
                            format!("the registry serves a manifest whose SHA-256 is {found}"),
                        )
                        .about(subject)
                        .hint(
                            "nothing was kept: what the registry serves is not the deployed image",
                        );
                        return Err(if first == found {
                            error.because("a second answer brought the same")
                        } else {
                            error.because(format!("the answer before that had {first}"))
                        });
                    }
                    self.reporter.report(&Event::Warning {
                        subject: &subject,
                        message: &format!(
                            "the registry serves a manifest whose SHA-256 is {found}"
                        ),
                        hint: Some("fetching once more to rule out a fault on the way"),
                    });
                    refuted = Some(found);
                    continue;
                }
                Err(failed) => failed,
            };
            let error = error.about(&*subject);
            let Decision::Again(wait) = retry.decide(failure, attempt, fastrand::f64()) else {
                return Err(error);
            };
            tracing::info!("{error}; again in {wait:.1?}");
            self.reporter.report(&Event::Retrying {
                what: "the manifest",
                attempt,
                max_attempts: retry.max_attempts(),
                wait,
                reason: error.message(),
            });
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask_manifest(
        &self,
        registry: &Registry,
        digest: Sha256Digest,
    ) -> Result<(Vec<u8>, Option<String>), (Failure, Error)> {
        let item = self.item(digest);
        self.requests.fetch_add(1, Ordering::Relaxed);
        tracing::info!("GET {}", registry.url(item));
        let whole = Part {
            from: 0,
            until: None,
            if_match: None,
        };
        let mut response = match registry.get(item, whole, Some(ACCEPT)).await {
            Ok(response) => response,
            Err(OpenError::Http(e)) => return Err(unanswered(e)),
            Err(OpenError::Other(failure, error)) => return Err((failure, error)),
        };
        if response.status() != 200 {
            return Err(registry.refusal(item, &mut response).await);
        }
        let media_type = response.header("content-type").map(ToOwned::to_owned);
        let limit = usize::try_from(MAX_MANIFEST).unwrap_or(usize::MAX);
        match response.body(limit).await {
            Ok(json) => Ok((json, media_type)),
            Err(HttpError::TooLong { .. }) => Err((
                Failure::Permanent,
                self.about(ManifestError::TooLarge, digest),
            )),
            Err(e) => Err(unanswered(e)),
        }
    }

    /// Which blobs must be fetched: those of an earlier pull that verify are put in place.
    async fn missing(&self, blobs: &[Descriptor]) -> Result<Vec<Descriptor>> {
        let Some(dir) = self.options.kept.clone() else {
            return Ok(blobs.to_vec());
        };
        let size = blobs
            .iter()
            .map(|blob| blob.size)
            .fold(0, u64::saturating_add);
        self.reporter.report(&Event::Verifying { size });
        let (to, cancel, blobs) = (self.to.clone(), self.cancel.clone(), blobs.to_vec());
        let work = move || {
            let mut missing = Vec::new();
            let mut changed = Vec::new();
            for blob in blobs {
                match take_kept(&to, &dir, &blob, &cancel)? {
                    Kept::Taken => {}
                    Kept::Absent => missing.push(blob),
                    Kept::Changed(why) => {
                        changed.push((blob.digest, why));
                        missing.push(blob);
                    }
                }
            }
            Ok::<_, Error>((missing, changed))
        };
        let (missing, changed) = match tokio::task::spawn_blocking(work).await {
            Ok(result) => result?,
            Err(e) => return Err(Error::new(ErrorKind::Bug, "a blocking task failed").because(e)),
        };
        for (digest, why) in changed {
            self.reporter.report(&Event::Warning {
                subject: &format!("sha256:{digest}"),
                message: &format!("the blob kept here is not what it was: {why}"),
                hint: Some("it is fetched again"),
            });
        }
        Ok(missing)
    }

    /// Refuses before anything is fetched what cannot fit.
    fn check_space(&self, missing: &[Descriptor]) -> Result<()> {
        let needed = missing
            .iter()
            .map(|blob| blob.size)
            .fold(0, u64::saturating_add);
        let path = self.to.staging.path();
        match files::free_space(path) {
            Some(free) if free < needed => Err(Error::new(
                ErrorKind::DiskFull,
                format!("the image needs {needed} bytes, and {free} are free there"),
            )
            .about(self.to.staging.destination().display().to_string())
            .hint("free some space, or choose a destination on another file system")),
            _ => Ok(()),
        }
    }

    /// Fetches blobs, several at once. The first that cannot be had ends it.
    async fn blobs(&self, mut missing: Vec<Descriptor>) -> Result<Stats> {
        let registry = self.registries.open(self.reference).await?;
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
                let blob = Blob::new(Arc::clone(&registry), repository, &descriptor, connections);
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
        let staging = &self.to.staging;
        let name = scratch_name(&self.to.place, descriptor.digest);
        let spool = staging.create_scratch_file(&name, 0o644)?;
        let session = self.registries.session();
        let reporter = Share {
            reporter: self.reporter,
            digest: descriptor.digest,
            size: descriptor.size,
            own: AtomicU64::new(0),
            all: received,
        };
        let context = Context {
            http: session.http(),
            retry: *session.retry(),
            patience: session.read_timeout(),
            reporter: &reporter,
        };
        let subject = blob.subject();
        let mut same = Same(blob.clone());
        let (verified, mut stats) =
            transfer::download(context, &subject, blob, &mut same, spool).await?;
        drop(verified);
        staging.keep(&name, &place_of(&self.to.place, descriptor.digest))?;
        // The image's own try is counted once; what is counted here is what went wrong.
        stats.attempts -= 1;
        Ok(stats)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let name = format!("{}/{name}", self.to.place);
        let staging = &self.to.staging;
        let mut file = staging.create_file(&name, 0o644)?;
        file.write_all(bytes)
            .map_err(|e| FilesError::io("write", staging.path().join(&name), e).into())
    }
}

/// What became of a blob of an earlier pull.
enum Kept {
    Taken,
    Absent,
    Changed(String),
}

/// Puts a blob of an earlier pull into its place, if it verifies: linked where that can be, else copied. What is verified is
/// what lies in the staging then, whatever happens to the earlier one.
fn take_kept(
    to: &Destination,
    dir: &Path,
    blob: &Descriptor,
    cancel: &CancellationToken,
) -> Result<Kept> {
    let from = dir.join(blob_path(blob.digest));
    if !files::exists(&from) {
        return Ok(Kept::Absent);
    }
    let name = scratch_name(&to.place, blob.digest);
    let stop = || cancel.is_cancelled();
    let file = match to.staging.link_or_copy(&from, &name, &stop) {
        Ok(file) => file,
        Err(_) if stop() => return Err(Error::interrupted()),
        Err(e) => return Ok(Kept::Changed(e.to_string())),
    };
    let problem = match Received::read(file, &stop) {
        Ok(received) => {
            let claim = Claim::manifest(blob.digest, blob.size);
            match received.verify(&claim) {
                Ok(_) => {
                    to.staging.keep(&name, &place_of(&to.place, blob.digest))?;
                    return Ok(Kept::Taken);
                }
                Err(mismatch) => mismatch.to_string(),
            }
        }
        Err(_) if stop() => return Err(Error::interrupted()),
        Err(e) => e.to_string(),
    };
    to.staging.remove_scratch_file(&name)?;
    Ok(Kept::Changed(problem))
}

/// Whether the top of the layout at `dir` is what a pull of these manifests writes; its blobs are not looked at.
pub(crate) fn top_is(dir: &Path, root: &PulledManifest) -> bool {
    let is = |name: &str, bytes: &[u8]| {
        files::read_small(&dir.join(name), MAX_MANIFEST).is_ok_and(|kept| kept == bytes)
    };
    is(OCI_LAYOUT, OCI_LAYOUT_JSON)
        && is(
            INDEX_JSON,
            &index_json(&root.media_type, root.digest, root.size),
        )
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

/// A GET of a manifest that brought nothing.
fn unanswered(e: HttpError) -> (Failure, Error) {
    let (failure, kind) = match &e {
        HttpError::Connect { source, .. }
            if source
                .to_string()
                .to_ascii_lowercase()
                .contains("certificate") =>
        {
            (Failure::Permanent, ErrorKind::Network)
        }
        HttpError::Connect { .. } => (Failure::Transient, ErrorKind::Network),
        HttpError::Timeout { .. } => (Failure::Transient, ErrorKind::Timeout),
        HttpError::Broken { .. } => (Failure::Transient, ErrorKind::Transfer),
        HttpError::Redirect { .. } | HttpError::TooLong { .. } => {
            (Failure::Permanent, ErrorKind::Transfer)
        }
    };
    let error = Error::new(kind, "the registry cannot be reached")
        .because(e)
        .hint("check the network, HTTPS_PROXY and AWS_CA_BUNDLE, and whether the registry may be reached from here");
    (failure, error)
}

/// Tells of one blob as a part of the whole image.
struct Share<'a> {
    reporter: &'a dyn Reporter,
    digest: Sha256Digest,
    size: u64,
    /// What this blob has brought.
    own: AtomicU64,
    /// What all of them have.
    all: &'a AtomicU64,
}

impl Reporter for Share<'_> {
    fn report(&self, event: &Event<'_>) {
        match *event {
            Event::DownloadStarted { .. } => self.reporter.report(&Event::BlobStarted {
                digest: self.digest,
                size: self.size,
            }),
            Event::Downloaded { bytes } => {
                // A blob that begins anew stands further back than before; sums wrap to what is right.
                let before = self.own.swap(bytes, Ordering::Relaxed);
                let more = bytes.wrapping_sub(before);
                let all = self.all.fetch_add(more, Ordering::Relaxed);
                let bytes = all.wrapping_add(more);
                self.reporter.report(&Event::Downloaded { bytes });
            }
            Event::Verifying { .. } => {}
            Event::Verified { sha256 } => self.reporter.report(&Event::BlobDone {
                digest: sha256,
                size: self.size,
            }),
            ref other => self.reporter.report(other),
        }
    }
}

/// Nothing panics while such a lock is held.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
