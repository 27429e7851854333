//! What a manifest or an index says: OCI Image Specification 1.1 and Docker's Image Manifest Version 2, Schema 2.

use serde::Deserialize;

use super::Platform;
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind};

/// The largest manifest that is read, in bytes: what registries take at the most (OCI Distribution Specification 1.1,
/// "Pushing Manifests").
pub const MAX_MANIFEST: u64 = 4 << 20;

/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// All that are read, as a registry is asked for them.
pub const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// What one document says of another: its type, digest and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// `mediaType`.
    pub media_type: String,
    /// `digest`.
    pub digest: Sha256Digest,
    /// `size`, in bytes.
    pub size: u64,
    /// `urls`: where it may be had beside the registry.
    pub urls: Vec<String>,
    /// `platform`, in an index.
    pub platform: Option<Platform>,
}

/// A manifest or an index that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its media type, by its own word or, without one, by that of who gave it.
    pub media_type: String,
    /// What it is.
    pub kind: Kind,
}

/// What a manifest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An image.
    Image {
        /// The configuration.
        config: Descriptor,
        /// The layers, the lowest first.
        layers: Vec<Descriptor>,
    },
    /// Several images, for several platforms.
    Index(Vec<Descriptor>),
}

/// What an image is made of, each digest once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The configuration, then the layers that the registry holds.
    pub blobs: Vec<Descriptor>,
    /// The foreign layers, which it does not.
    pub foreign: Vec<Descriptor>,
}

/// Why a document is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No JSON, or without what a manifest has.
    #[error("the manifest cannot be read")]
    Json(#[source] serde_json::Error),
    /// A type that is none of the four.
    #[error("the manifest is of the media type {0:?}, which larder does not know")]
    MediaType(String),
    /// It says of itself that it is another thing than the registry says.
    #[error("the manifest says that it is {own:?} where {other:?} was announced")]
    OtherType {
        /// Its own word.
        own: String,
        /// The word of the registry, or of the document above.
        other: String,
    },
    /// Both an image and an index: what it means would be the reader's choice.
    #[error("the manifest holds both layers and manifests")]
    Ambiguous,
    /// Something that a manifest must have is missing.
    #[error("the manifest has no {0}")]
    Lacks(&'static str),
    /// Not the schema that its type says.
    #[error("the manifest has the schema version {0} where 2 is expected")]
    Schema(u64),
    /// A digest that is no SHA-256.
    #[error("the manifest names a digest that is no SHA-256: {0:?}")]
    Digest(String),
    /// One digest with two sizes.
    #[error("the manifest states two sizes for sha256:{digest}: {first} and {second}")]
    TwoSizes {
        /// Whose.
        digest: Sha256Digest,
        /// In bytes.
        first: u64,
        /// In bytes.
        second: u64,
    },
    /// Larger than any manifest.
    #[error("the manifest is larger than {MAX_MANIFEST} bytes")]
    TooLarge,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    urls: Option<Vec<String>>,
    platform: Option<RawPlatform>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl TryFrom<RawDescriptor> for Descriptor {
    type Error = ManifestError;

    fn try_from(raw: RawDescriptor) -> Result<Self, ManifestError> {
        let digest = raw
            .digest
            .strip_prefix("sha256:")
            .and_then(|hex| Sha256Digest::from_hex(hex).ok())
            .ok_or_else(|| ManifestError::Digest(raw.digest.chars().take(200).collect()))?;
        Ok(Self {
            media_type: raw.media_type,
            digest,
            size: raw.size,
            urls: raw.urls.unwrap_or_default(),
            platform: raw.platform.map(|p| Platform {
                os: p.os,
                architecture: p.architecture,
                variant: p.variant.filter(|v| !v.is_empty()),
            }),
        })
    }
}

impl Manifest {
    /// Reads a manifest or an index. `announced` is its media type by who gave it: a registry's `Content-Type`, or the
    /// descriptor in the index above it.
    ///
    /// # Errors
    /// It is none, or not just one.
    pub fn parse(json: &[u8], announced: Option<&str>) -> Result<Self, ManifestError> {
        if json.len() as u64 > MAX_MANIFEST {
            return Err(ManifestError::TooLarge);
        }
        // Parameters such as `; charset=utf-8` say nothing about JSON.
        let announced = announced
            .map(|text| text.split(';').next().unwrap_or_default().trim())
            .filter(|text| !text.is_empty());
        let raw: Raw = serde_json::from_slice(json).map_err(ManifestError::Json)?;
        let own = raw.media_type.as_deref().filter(|own| !own.is_empty());
        let media_type = match (own, announced) {
            (Some(own), Some(announced)) if known(announced) && own != announced => {
                return Err(ManifestError::OtherType {
                    own: shortened(own),
                    other: shortened(announced),
                });
            }
            (Some(own), _) => own,
            (None, Some(announced)) => announced,
            (None, None) => "",
        };
        if !known(media_type) {
            return Err(ManifestError::MediaType(shortened(media_type)));
        }
        let media_type = media_type.to_owned();
        match raw.schema_version {
            Some(2) => {}
            Some(other) => return Err(ManifestError::Schema(other)),
            None => return Err(ManifestError::Lacks("schemaVersion")),
        }
        // CVE-2021-41190: a document that can be read as both must not be read at all.
        if raw.manifests.is_some() && (raw.layers.is_some() || raw.config.is_some()) {
            return Err(ManifestError::Ambiguous);
        }
        let all = |list: Vec<RawDescriptor>| -> Result<Vec<Descriptor>, ManifestError> {
            list.into_iter().map(Descriptor::try_from).collect()
        };
        let kind = if matches!(media_type.as_str(), OCI_INDEX | DOCKER_LIST) {
            Kind::Index(all(raw
                .manifests
                .ok_or(ManifestError::Lacks("manifests"))?)?)
        } else {
            Kind::Image {
                config: raw
                    .config
                    .ok_or(ManifestError::Lacks("config"))?
                    .try_into()?,
                layers: all(raw.layers.ok_or(ManifestError::Lacks("layers"))?)?,
            }
        };
        Ok(Self { media_type, kind })
    }

    /// What an image is made of; None for an index.
    ///
    /// # Errors
    /// One digest is stated with two sizes.
    pub fn contents(&self) -> Result<Option<Contents>, ManifestError> {
        let Kind::Image { config, layers } = &self.kind else {
            return Ok(None);
        };
        let (mut blobs, mut foreign): (Vec<Descriptor>, Vec<Descriptor>) = (Vec::new(), Vec::new());
        let mut seen = std::collections::HashMap::new();
        for descriptor in std::iter::once(config).chain(layers) {
            if let Some(first) = seen.insert(descriptor.digest, descriptor.size) {
                if first != descriptor.size {
                    return Err(ManifestError::TwoSizes {
                        digest: descriptor.digest,
                        first,
                        second: descriptor.size,
                    });
                }
                continue;
            }
            let list = if descriptor.is_foreign() {
                &mut foreign
            } else {
                &mut blobs
            };
            list.push(descriptor.clone());
        }
        Ok(Some(Contents { blobs, foreign }))
    }
}

impl Descriptor {
    /// Whether it is an index, by its media type.
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    /// Whether it is a layer that may not be passed on, with the addresses where its owner gives it out ("Non-Distributable
    /// Layers" in the OCI Image Specification): registries do not hold such.
    pub fn is_foreign(&self) -> bool {
        !self.urls.is_empty()
            && (self.media_type.contains(".nondistributable.")
                || self.media_type.contains(".rootfs.foreign."))
    }
}

/// Whether a media type is that of a manifest or an index that is read.
pub fn known(media_type: &str) -> bool {
    matches!(
        media_type,
        OCI_MANIFEST | OCI_INDEX | DOCKER_MANIFEST | DOCKER_LIST
    )
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

impl From<ManifestError> for Error {
    fn from(error: ManifestError) -> Self {
        let kind = match error {
            ManifestError::TwoSizes { .. } => ErrorKind::Mismatch,
            _ => ErrorKind::ArchiveBroken,
        };
        let message = error.to_string();
        let hint =
            "nothing was kept; without --pull-image the image is recorded by its digest alone";
        let out = Self::new(kind, message).hint(hint);
        match error {
            ManifestError::Json(source) => out.because(source),
            _ => out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn descriptor(content: &[u8], media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "size": content.len(),
            "digest": format!("sha256:{}", Sha256Digest::of(content))})
    }

    fn parse(
        value: &serde_json::Value,
        announced: Option<&str>,
    ) -> Result<Manifest, ManifestError> {
        Manifest::parse(value.to_string().as_bytes(), announced)
    }

    fn image(media_type: Option<&str>) -> serde_json::Value {
        let mut value = json!({"schemaVersion": 2, "config": descriptor(b"{}", "c"),
            "layers": [descriptor(b"a", "l"), descriptor(b"b", "l"), descriptor(b"a", "l")]});
        if let Some(media_type) = media_type {
            value["mediaType"] = json!(media_type);
        }
        value
    }

    #[test]
    fn both_families_are_read_and_shared_blobs_count_once() {
        for (own, announced) in [
            (Some(OCI_MANIFEST), Some(OCI_MANIFEST)),
            (None, Some(OCI_MANIFEST)),
            (
                Some(DOCKER_MANIFEST),
                Some("application/vnd.docker.distribution.manifest.v2+json; charset=utf-8"),
            ),
            (Some(DOCKER_MANIFEST), Some("text/plain")),
            (Some(DOCKER_MANIFEST), None),
        ] {
            let manifest = parse(&image(own), announced).unwrap();
            let Contents { blobs, foreign } = manifest.contents().unwrap().unwrap();
            assert_eq!((blobs.len(), foreign.len()), (3, 0));
        }
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX,
            "manifests": [{"mediaType": OCI_MANIFEST, "size": 2, "digest": descriptor(b"", "")["digest"],
                "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}]});
        let Kind::Index(children) = parse(&index, Some(OCI_INDEX)).unwrap().kind else {
            panic!("an index");
        };
        let platform = children[0].platform.as_ref().unwrap();
        assert_eq!(platform.to_string(), "linux/arm64/v8");
    }

    #[test]
    fn a_foreign_layer_is_told_apart() {
        let mut value = image(Some(DOCKER_MANIFEST));
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        value["layers"][0]["mediaType"] = json!(foreign);
        value["layers"][0]["urls"] = json!(["https://example.com/layer"]);
        // An address beside an ordinary layer is an offer, and a foreign type without one is in the registry.
        value["layers"][1]["urls"] = json!(["https://example.com/layer"]);
        let Contents {
            blobs,
            foreign: found,
        } = parse(&value, None).unwrap().contents().unwrap().unwrap();
        assert_eq!((blobs.len(), found.len()), (2, 1));
        assert_eq!(found[0].urls, ["https://example.com/layer"]);
        value["layers"][0]["urls"] = json!([]);
        let Contents {
            blobs,
            foreign: found,
        } = parse(&value, None).unwrap().contents().unwrap().unwrap();
        assert_eq!((blobs.len(), found.len()), (3, 0));
    }

    #[test]
    fn what_is_no_manifest_is_named() {
        let with = |field: &str, value: serde_json::Value| {
            let mut manifest = image(Some(OCI_MANIFEST));
            manifest[field] = value;
            manifest
        };
        let mut two_sizes = image(Some(OCI_MANIFEST));
        two_sizes["layers"][2]["size"] = json!(7);
        let mut sha512 = image(Some(OCI_MANIFEST));
        sha512["layers"][0]["digest"] = json!("sha512:00");
        for (value, announced, part) in [
            (image(None), None, "\"\""),
            (image(None), Some("text/html"), "text/html"),
            (
                image(Some(
                    "application/vnd.docker.distribution.manifest.v1+prettyjws",
                )),
                None,
                "prettyjws",
            ),
            (
                image(Some(OCI_MANIFEST)),
                Some(DOCKER_MANIFEST),
                "announced",
            ),
            (with("manifests", json!([])), None, "both"),
            (with("schemaVersion", json!(1)), None, "version 1"),
            (with("schemaVersion", json!(null)), None, "schemaVersion"),
            (with("layers", json!(null)), None, "layers"),
            (with("config", json!(null)), None, "config"),
            (with("mediaType", json!(OCI_INDEX)), None, "manifests"),
            (
                with("layers", json!([{"digest": "x", "size": -1}])),
                None,
                "cannot be read",
            ),
            (sha512, None, "sha512"),
            (json!([]), Some(OCI_MANIFEST), "cannot be read"),
        ] {
            let text = parse(&value, announced).unwrap_err().to_string();
            assert!(text.contains(part), "{text} should hold {part}");
        }
        let e = parse(&two_sizes, None).unwrap().contents().unwrap_err();
        assert!(e.to_string().contains("two sizes"), "{e}");
        assert_eq!(Error::from(e).kind(), ErrorKind::Mismatch);
        let large = vec![b' '; usize::try_from(MAX_MANIFEST).unwrap() + 1];
        assert!(matches!(
            Manifest::parse(&large, None),
            Err(ManifestError::TooLarge)
        ));
    }
}
