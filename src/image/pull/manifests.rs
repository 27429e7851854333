//! The manifests of an image: each by its digest, kept here or fetched.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::layout::{INDEX_JSON, MAX_DEPTH};
use super::super::manifest::{
    ACCEPT, Contents, Descriptor, Kind, MAX_MANIFEST, Manifest, ManifestError, OCI_INDEX,
    OCI_MANIFEST,
};
use super::super::reference::Repository;
use super::super::registry::{By, Item, MANIFESTS, Registries, Registry};
use super::{Pulled, PulledManifest, Work};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result, is_about_certificates};
use crate::events::{Event, Reporter};
use crate::files;
use crate::http::{HttpError, LED_ASTRAY};
use crate::transfer::retry::{Decision, Failure};
use crate::transfer::{OpenError, Part};

/// How long one answer with a manifest may take.
const MANIFEST_TIME: Duration = Duration::from_secs(120);

/// A manifest with its bytes, and whether they came from the registry.
pub(super) struct Document {
    pub(super) manifest: Manifest,
    json: Vec<u8>,
    fetched: bool,
}

impl Work<'_> {
    /// The manifests, written, and what the image is made of.
    pub(super) async fn manifests(&self, out: &mut Pulled) -> Result<Contents> {
        let mut wanted = Descriptor {
            media_type: String::new(),
            digest: self.reference.digest(),
            size: 0,
            urls: Vec::new(),
            platform: None,
        };
        for depth in 0..=MAX_DEPTH {
            let document = self.document(&wanted, depth > 0).await?;
            let size = document.json.len() as u64;
            out.bytes += size;
            if document.fetched {
                out.fetched += 1;
                out.stats.bytes += size;
                let asking = self.asking();
                let item = asking.item(By::Digest(self.reference.digest()));
                let registry = self.registries.open(self.reference.place()).await?;
                out.location = Some(registry.url(item).into());
            }
            out.manifests.push(PulledManifest {
                media_type: document.manifest.media_type.clone(),
                digest: wanted.digest,
                size,
                platform: wanted.platform.clone(),
            });
            self.keep_manifest(&document.manifest.media_type, wanted.digest, document.json)
                .await?;
            let contents = document
                .manifest
                .contents()
                .map_err(|e| self.about(e, wanted.digest))?;
            match (contents, document.manifest.kind) {
                (Some(contents), _) => return Ok(contents),
                (None, Kind::Index(children)) => {
                    let named = children.len();
                    wanted = self.choose(children).await?;
                    out.others += named as u64 - 1;
                }
                (None, Kind::Image { .. }) => break,
            }
        }
        Err(Error::new(
            ErrorKind::ArchiveBroken,
            format!("indexes stand in each other more than {MAX_DEPTH} deep"),
        )
        .about(self.reference.to_string()))
    }

    fn asking(&self) -> Asking<'_> {
        Asking {
            registries: self.registries,
            repository: self.reference.place(),
            reporter: self.reporter,
            requests: &self.requests,
        }
    }

    /// A small blob of the registry's, such as a configuration.
    pub(super) async fn small_blob(&self, digest: Sha256Digest) -> Result<Vec<u8>> {
        let place = self.reference.place();
        let registry = self.registries.open(place).await?;
        let item = Item {
            repository: place.name(),
            section: "blobs",
            by: By::Digest(digest),
        };
        let (json, _) = self
            .asking()
            .fetch(&registry, item, "configuration")
            .await?;
        Ok(json)
    }

    fn subject(&self, digest: Sha256Digest) -> String {
        let (registry, repository) = (self.reference.registry(), self.reference.repository());
        format!("{registry}/{repository}@sha256:{digest}")
    }

    fn about(&self, e: ManifestError, digest: Sha256Digest) -> Error {
        Error::from(e).about(self.subject(digest))
    }

    /// A manifest, kept or fetched, that has the digest, and where an index states it the size.
    pub(super) async fn document(&self, wanted: &Descriptor, stated: bool) -> Result<Document> {
        let read = |json: &[u8], announced: Option<&str>| {
            let parsed = Manifest::parse(json, announced);
            parsed.map_err(|e| self.about(e, wanted.digest))
        };
        if stated && wanted.size > MAX_MANIFEST {
            return Err(self.about(ManifestError::TooLarge, wanted.digest));
        }
        let announced = Some(wanted.media_type.as_str()).filter(|text| !text.is_empty());
        if let Some((json, kept)) = self.kept_manifest(wanted.digest).await
            && (!stated || json.len() as u64 == wanted.size)
            && let Ok(manifest) = Manifest::parse(&json, announced.or(kept.as_deref()))
        {
            return Ok(Document {
                manifest,
                json,
                fetched: false,
            });
        }
        let registry = self.registries.open(self.reference.place()).await?;
        let (json, served) = self
            .asking()
            .fetch_manifest(&registry, By::Digest(wanted.digest))
            .await?;
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
    async fn kept_manifest(&self, digest: Sha256Digest) -> Option<(Vec<u8>, Option<String>)> {
        let json = self.kept(digest).await?;
        let Some(dir) = &self.options.kept else {
            // Only OCI's documents may leave out their type (OCI Image Specification 1.1, "Image Manifest", "Image Index").
            let is = |media_type: &&str| Manifest::parse(&json, Some(media_type)).is_ok();
            let media_type = [OCI_MANIFEST, OCI_INDEX].into_iter().find(is);
            return Some((json, media_type.map(ToOwned::to_owned)));
        };
        let index = files::read_small(&dir.join(INDEX_JSON), MAX_MANIFEST).ok();
        let media_type = index
            .and_then(|json| Manifest::parse(&json, Some(OCI_INDEX)).ok())
            .and_then(|index| match index.kind {
                Kind::Index(roots) => roots.into_iter().find(|root| root.digest == digest),
                Kind::Image { .. } => None,
            })
            .map(|root| root.media_type);
        Some((json, media_type))
    }
}

/// One repository as it is asked for manifests.
pub(in crate::image) struct Asking<'a> {
    pub(in crate::image) registries: &'a Registries,
    pub(in crate::image) repository: &'a Repository,
    pub(in crate::image) reporter: &'a dyn Reporter,
    /// Counts the GETs.
    pub(in crate::image) requests: &'a AtomicU64,
}

impl Asking<'_> {
    /// A manifest of the registry's, with its `Content-Type`.
    pub(in crate::image) async fn fetch_manifest(
        &self,
        registry: &Registry,
        by: By<'_>,
    ) -> Result<(Vec<u8>, Option<String>)> {
        self.fetch(registry, self.item(by), "manifest").await
    }

    fn item<'a>(&'a self, by: By<'a>) -> Item<'a> {
        Item {
            repository: self.repository.name(),
            section: MANIFESTS,
            by,
        }
    }

    /// A document of the registry's, a `what`, with its `Content-Type`. Bytes of another digest than the one that was asked for
    /// are fetched once more, to rule out a fault on the way.
    async fn fetch(
        &self,
        registry: &Registry,
        item: Item<'_>,
        what: &str,
    ) -> Result<(Vec<u8>, Option<String>)> {
        let subject = registry.name(item);
        self.reporter.report(&Event::Asking { subject: &subject });
        let retry = *self.registries.session().retry();
        let (mut attempt, mut refuted) = (1, None);
        loop {
            let asked = self.ask(registry, item);
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
                    if matches!(item.by, By::Tag(_))
                        || matches!(item.by, By::Digest(digest) if found == digest)
                    {
                        return Ok((json, media_type));
                    }
                    if let Some(first) = refuted {
                        let error = Error::new(
                            ErrorKind::Mismatch,
                            format!("the registry serves a {what} whose SHA-256 is {found}"),
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
                        message: &format!("the registry serves a {what} whose SHA-256 is {found}"),
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
                what: &format!("the {what}"),
                attempt,
                max_attempts: retry.max_attempts(),
                wait,
                reason: error.message(),
            });
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }

    async fn ask(
        &self,
        registry: &Registry,
        item: Item<'_>,
    ) -> Result<(Vec<u8>, Option<String>), (Failure, Error)> {
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
                Error::from(ManifestError::TooLarge).about(registry.name(item)),
            )),
            Err(e) => Err(unanswered(e)),
        }
    }
}

/// A GET of a manifest that brought nothing.
fn unanswered(e: HttpError) -> (Failure, Error) {
    let host = |host: &str| {
        format!(
            "check the network, HTTPS_PROXY and AWS_CA_BUNDLE, and whether {host} may be reached from here"
        )
    };
    let (failure, kind, text, hint) = match &e {
        HttpError::Connect { host: at, source } => (
            if is_about_certificates(&source.to_string()) {
                Failure::Permanent
            } else {
                Failure::Transient
            },
            ErrorKind::Network,
            "the registry cannot be reached",
            host(at),
        ),
        HttpError::Timeout { host: at } => (
            Failure::Transient,
            ErrorKind::Timeout,
            "the registry does not answer in time",
            format!("{}; a slow one may need a longer --read-timeout", host(at)),
        ),
        HttpError::Broken { .. } => (
            Failure::Transient,
            ErrorKind::Transfer,
            "the registry's answer broke off",
            "running again asks anew; something between here and the registry may cut answers off"
                .to_owned(),
        ),
        HttpError::Redirect { .. } | HttpError::TooLong { .. } => (
            Failure::Permanent,
            ErrorKind::Transfer,
            "the registry's answer leads astray",
            LED_ASTRAY.to_owned(),
        ),
    };
    (failure, Error::new(kind, text).because(e).hint(hint))
}
