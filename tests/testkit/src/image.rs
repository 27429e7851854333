//! Container images made by hand: manifests of both families, indexes, layers of any bytes.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Whose media types an image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Those of the Open Container Initiative.
    Oci,
    /// Docker's manifest version 2, schema 2.
    Docker,
}

impl Family {
    /// The media type of an image's manifest.
    #[must_use]
    pub fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    /// The media type of an index.
    #[must_use]
    pub fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// The media type of a configuration.
    #[must_use]
    pub fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    /// The media type of a layer that gzip compressed.
    #[must_use]
    pub fn layer(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }
}

/// An image, or an index with its images, as a registry holds it.
#[derive(Debug, Clone)]
pub struct Image {
    /// `sha256:<hex>` of the manifest or index.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Manifests and indexes: media type and bytes, by digest.
    pub manifests: BTreeMap<String, (String, Bytes)>,
    /// Configurations and layers, by digest.
    pub blobs: BTreeMap<String, Bytes>,
}

/// An image in the making.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    family: Family,
    architecture: String,
    layers: Vec<(String, Bytes, Vec<String>)>,
    media_type: Option<String>,
}

/// `sha256:<hex>` of some bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let hex: Vec<String> = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{}", hex.concat())
}

impl Image {
    /// Begins an image for `linux/amd64` without layers.
    #[must_use]
    pub fn build(family: Family) -> ImageBuilder {
        ImageBuilder {
            family,
            architecture: "amd64".to_owned(),
            layers: Vec::new(),
            media_type: None,
        }
    }

    /// An index over images, each for `linux` and an architecture.
    #[must_use]
    pub fn index(family: Family, images: &[(&str, &Image)]) -> Self {
        let platform = |architecture: &str| json!({"os": "linux", "architecture": architecture});
        let images: Vec<_> = images.iter().map(|(a, i)| (platform(a), *i)).collect();
        Self::index_of(family, &images)
    }

    /// An index over images or indexes, each with the platform that its entry has; null for none.
    #[must_use]
    pub fn index_of(family: Family, images: &[(Value, &Image)]) -> Self {
        let (mut manifests, mut blobs) = (BTreeMap::new(), BTreeMap::new());
        let mut list = Vec::new();
        for (platform, image) in images {
            manifests.extend(image.manifests.clone());
            blobs.extend(image.blobs.clone());
            let mut entry = json!({
                "mediaType": image.media_type,
                "digest": image.digest,
                "size": image.manifests[&image.digest].1.len(),
            });
            if !platform.is_null() {
                entry["platform"] = platform.clone();
            }
            list.push(entry);
        }
        let index = json!({"schemaVersion": 2, "mediaType": family.index(), "manifests": list});
        Self::with(family.index(), &index, manifests, blobs)
    }

    fn with(
        media_type: &str,
        root: &Value,
        mut manifests: BTreeMap<String, (String, Bytes)>,
        blobs: BTreeMap<String, Bytes>,
    ) -> Self {
        // As tools write them: what is kept byte for byte must not depend on the spelling of JSON.
        let bytes = Bytes::from(serde_json::to_vec_pretty(root).unwrap_or_default());
        let digest = digest(&bytes);
        manifests.insert(digest.clone(), (media_type.to_owned(), bytes));
        Self {
            digest,
            media_type: media_type.to_owned(),
            manifests,
            blobs,
        }
    }

    /// Writes an OCI image layout, for tools that push one.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_layout(&self, dir: &Path) -> io::Result<()> {
        let place = dir.join("blobs/sha256");
        std::fs::create_dir_all(&place)?;
        let manifests = self
            .manifests
            .iter()
            .map(|(digest, (_, bytes))| (digest, bytes));
        for (digest, bytes) in manifests.chain(&self.blobs) {
            std::fs::write(place.join(digest.trim_start_matches("sha256:")), bytes)?;
        }
        let size = self.manifests[&self.digest].1.len();
        let root = json!({"mediaType": self.media_type, "digest": self.digest, "size": size});
        let index = json!({"schemaVersion": 2, "manifests": [root]});
        std::fs::write(dir.join("index.json"), index.to_string())?;
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
    }
}

impl ImageBuilder {
    /// Another architecture than `amd64`.
    #[must_use]
    pub fn architecture(mut self, name: &str) -> Self {
        name.clone_into(&mut self.architecture);
        self
    }

    /// A layer of these bytes, whatever they are.
    #[must_use]
    pub fn layer(self, bytes: impl Into<Bytes>) -> Self {
        let media_type = self.family.layer().to_owned();
        self.layer_of(&media_type, bytes, &[])
    }

    /// A layer with a media type and addresses of its own.
    #[must_use]
    pub fn layer_of(mut self, media_type: &str, bytes: impl Into<Bytes>, urls: &[&str]) -> Self {
        let urls = urls.iter().map(|&url| url.to_owned()).collect();
        self.layers
            .push((media_type.to_owned(), bytes.into(), urls));
        self
    }

    /// Another media type of the manifest than its family's.
    #[must_use]
    pub fn media_type(mut self, media_type: &str) -> Self {
        self.media_type = Some(media_type.to_owned());
        self
    }

    /// The image.
    #[must_use]
    pub fn create(self) -> Image {
        let mut blobs = BTreeMap::new();
        let mut add = |media_type: &str, bytes: Bytes| {
            let digest = digest(&bytes);
            let descriptor =
                json!({"mediaType": media_type, "size": bytes.len(), "digest": digest});
            blobs.insert(digest, bytes);
            descriptor
        };
        let diff_ids: Vec<String> = self
            .layers
            .iter()
            .map(|(_, bytes, _)| digest(bytes))
            .collect();
        let config = json!({
            "architecture": self.architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = add(self.family.config(), config.to_string().into());
        let mut layers = Vec::new();
        for (media_type, bytes, urls) in self.layers {
            let mut layer = add(&media_type, bytes);
            if !urls.is_empty() {
                layer["urls"] = json!(urls);
            }
            layers.push(layer);
        }
        let media_type = self.media_type.unwrap_or(self.family.manifest().to_owned());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers,
        });
        Image::with(&media_type, &manifest, BTreeMap::new(), blobs)
    }
}
