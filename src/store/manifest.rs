//! The OCI image specification's descriptors, manifests and indexes, as far as a store has them (v1.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};

/// An OCI image index.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A package as Lambda served it.
pub const PACKAGE: &str = "application/zip";
/// What larder recorded about a function version: the `larder.json` of a fetch without its unpacked tree.
pub const RECORD: &str = "application/vnd.larder.record.v1+json";
/// `GetFunction`'s answer; also the artifact type of a function version.
pub const FUNCTION: &str = "application/vnd.larder.function.v1+json";
/// `GetLayerVersionByArn`'s answer; also the artifact type of a layer version.
pub const LAYER: &str = "application/vnd.larder.layer.v1+json";
/// `ListAliases`' answers; also the artifact type of a function's aliases.
pub(super) const ALIASES: &str = "application/vnd.larder.aliases.v1+json";
/// What the reads beside GetFunction came to; also the artifact type of a function's or version's configuration.
pub(super) const CONFIG: &str = "application/vnd.larder.config.v1+json";
/// The artifact type of a run.
pub(super) const RUN: &str = "application/vnd.larder.run.v1+json";
/// The artifact type of a region's index.
pub(super) const REGION: &str = "application/vnd.larder.region.v1+json";
/// The annotation with a blob's file name (OCI image specification, annotations).
const TITLE: &str = "org.opencontainers.image.title";

/// Where a blob is and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of thing it is.
    pub media_type: String,
    /// What kind of manifest it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// `sha256:<hex>`.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    /// More about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A descriptor without annotations.
    pub fn new(media_type: &str, digest: &Sha256Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            artifact_type: None,
            digest: format!("sha256:{}", digest.hex()),
            size,
            annotations: BTreeMap::new(),
        }
    }

    /// The digest.
    ///
    /// # Errors
    /// It is no SHA-256.
    pub fn sha256(&self) -> Result<Sha256Digest> {
        let hex = self.digest.strip_prefix("sha256:");
        hex.and_then(|hex| Sha256Digest::from_hex(hex).ok())
            .ok_or_else(|| {
                Error::new(ErrorKind::Mismatch, "the digest is no SHA-256").about(&*self.digest)
            })
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }
}

/// Gives a blob the name of the file that it is.
#[must_use]
pub fn title(mut descriptor: Descriptor, name: &str) -> Descriptor {
    let annotations = &mut descriptor.annotations;
    annotations.insert(TITLE.to_owned(), name.to_owned());
    descriptor
}

/// An OCI image manifest: one function version, one layer version, or the aliases of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    media_type: String,
    /// What it is: [`FUNCTION`], [`LAYER`].
    pub artifact_type: Option<String>,
    /// The document that comes first: a record, or an answer.
    pub config: Descriptor,
    /// The files.
    pub layers: Vec<Descriptor>,
}

/// A file of a manifest.
pub trait Titled {
    /// The one of this name.
    fn titled(&self, name: &str) -> Option<&Descriptor>;
}

impl Titled for Manifest {
    fn titled(&self, name: &str) -> Option<&Descriptor> {
        let mut layers = self.layers.iter();
        layers.find(|layer| layer.annotation(TITLE) == Some(name))
    }
}

impl Manifest {
    /// A manifest.
    pub fn new(artifact_type: &str, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: Some(artifact_type.to_owned()),
            config,
            layers,
        }
    }

    /// All blobs that it names.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// As it is put.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is no manifest.
    pub fn from_json(bytes: &[u8], subject: &str) -> Result<Self> {
        from_json(bytes, "this is no OCI manifest", subject)
    }
}

/// An OCI image index: a run, or a region of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u32,
    media_type: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What it lists.
    pub manifests: Vec<Descriptor>,
    /// More about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    pub(super) fn new(
        artifact_type: Option<&str>,
        manifests: Vec<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        Self {
            schema_version: 2,
            media_type: INDEX.to_owned(),
            artifact_type: artifact_type.map(ToOwned::to_owned),
            manifests,
            annotations,
        }
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    pub(super) fn from_json(bytes: &[u8], subject: &str) -> Result<Self> {
        from_json(bytes, "this is no OCI index", subject)
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    // These types hold nothing that JSON cannot say.
    serde_json::to_vec(value).unwrap_or_default()
}

fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8], message: &str, subject: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(ErrorKind::Mismatch, message)
            .about(subject)
            .because(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_what_oci_tools_read() {
        let blob = Descriptor::new(PACKAGE, &Sha256Digest::of(b"x"), 1);
        let config = Descriptor::new(RECORD, &Sha256Digest::of(b"{}"), 2);
        let manifest = Manifest::new(FUNCTION, config, vec![title(blob, "package.zip")]);
        let json: serde_json::Value = serde_json::from_slice(&manifest.to_json()).unwrap();
        assert_eq!(json["schemaVersion"], 2);
        assert_eq!(json["mediaType"], MANIFEST);
        assert_eq!(json["config"]["size"], 2);
        assert_eq!(json["layers"][0]["annotations"][TITLE], "package.zip");
        let read = Manifest::from_json(&manifest.to_json(), "x").unwrap();
        assert_eq!(read, manifest);
        assert!(read.titled("package.zip").is_some() && read.titled("code.zip").is_none());
        assert_eq!(read.blobs().count(), 2);
    }

    #[test]
    fn a_digest_of_another_kind_is_refused() {
        let mut blob = Descriptor::new(PACKAGE, &Sha256Digest::of(b"x"), 1);
        assert_eq!(blob.sha256().unwrap(), Sha256Digest::of(b"x"));
        for digest in ["", "sha512:00", "sha256:00", "sha256:../../x"] {
            digest.clone_into(&mut blob.digest);
            assert_eq!(blob.sha256().unwrap_err().kind(), ErrorKind::Mismatch);
        }
    }
}
