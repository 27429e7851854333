//! A blob of a registry as a source of bytes, for the transfer that packages take too.

use std::fmt;
use std::sync::Arc;

use super::manifest::Descriptor;
use super::registry::{By, Item, Registry};
use crate::digest::Sha256Digest;
use crate::error::{ErrorKind, Result};
use crate::http::{HttpClient, Response};
use crate::package::Claim;
use crate::transfer::{OpenError, Part, Renew, Source, Words};

const BLOB: Words = Words {
    what: "blob",
    stated: "the image's manifest states",
    gone: "the registry does not have this part of the image",
    mismatch: "nothing was kept: what the registry serves is not the deployed image",
    expired: "is a clock wrong, here or at a proxy? the registry made each of them anew",
};

/// Configuration or layer of an image, in its registry.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    registry: Arc<Registry>,
    repository: String,
    digest: Sha256Digest,
    claim: Claim,
    connections: usize,
    at_once: usize,
}

impl Blob {
    pub(super) fn new(
        registry: Arc<Registry>,
        repository: &str,
        descriptor: &Descriptor,
        connections: usize,
        at_once: usize,
    ) -> Self {
        Self {
            registry,
            repository: repository.to_owned(),
            digest: descriptor.digest,
            claim: Claim::manifest(descriptor.digest, descriptor.size),
            connections,
            at_once,
        }
    }

    fn item(&self) -> Item<'_> {
        Item {
            repository: &self.repository,
            section: "blobs",
            by: By::Digest(self.digest),
        }
    }

    /// How errors name it.
    pub(super) fn subject(&self) -> String {
        self.registry.name(self.item())
    }
}

impl Source for Blob {
    fn claim(&self) -> &Claim {
        &self.claim
    }

    async fn open(&self, _http: &HttpClient, part: Part<'_>) -> Result<Response, OpenError> {
        self.registry.get(self.item(), part, None).await
    }

    fn words(&self) -> &'static Words {
        &BLOB
    }

    fn denied(&self, _code: Option<&str>, response: &Response) -> (ErrorKind, String) {
        let error = self.registry.denied(self.item(), response);
        let hint = error.hint_text().unwrap_or_default();
        (error.kind(), hint.to_owned())
    }

    fn has_etag(&self) -> bool {
        false
    }

    fn connections(&self) -> usize {
        self.connections
    }

    fn at_once(&self) -> usize {
        self.at_once
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.registry.url(self.item()).fmt(f)
    }
}

/// A blob never changes, and each request for it is led to a fresh URL anyway.
pub(super) struct Same(pub(super) Blob);

impl Renew<Blob> for Same {
    async fn renew(&mut self) -> Result<Blob> {
        Ok(self.0.clone())
    }
}
