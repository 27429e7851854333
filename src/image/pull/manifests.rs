//! The manifests of an image: each by its digest, kept here or fetched.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::layout::{INDEX_JSON, MAX_DEPTH, blob_path};
use super::super::manifest::{
    ACCEPT, Contents, Descriptor, Kind, MAX_MANIFEST, Manifest, ManifestError, OCI_INDEX,
};
use super::super::registry::{Item, MANIFESTS, Registry};
use super::{Pulled, PulledManifest, Work};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::files;
use crate::http::HttpError;
use crate::transfer::retry::{Decision, Failure};
use crate::transfer::{OpenError, Part};

/// How long one answer with a manifest may take.
const MANIFEST_TIME: Duration = Duration::from_secs(120);

/// A manifest with its bytes, and whether they came from the registry.
struct Document {
    manifest: Manifest,
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
                    error.hint("its entries name no platform, so none of them can be chosen")
                } else {
                    let offers = offers.join(", ");
                    error.hint(format!("--platform chooses one; there are: {offers}"))
                }
            })
    }

    fn item(&self, digest: Sha256Digest) -> Item<'_> {
        Item {
            repository: self.reference.repository(),
            section: MANIFESTS,
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
            .and_then(|json| Manifest::parse(&json, Some(OCI_INDEX)).ok())
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
