//! `larder.json`: what a fetched directory holds, and how it came there.
//!
//! The record is a contract with whoever reads it years later. Its version is [`SCHEMA_VERSION`]; within a
//! version fields are added and never renamed. A reader takes any field it does not know, and refuses a
//! version that is newer than itself.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::image::reference::without_secrets;
use crate::package::ImageRef;

/// The version of `larder.json` that is written.
pub const SCHEMA_VERSION: u32 = 1;
/// The record's file name: a directory that holds a regular file of this name was made by larder, and is whole.
pub const RECORD: &str = "larder.json";
/// What makes a directory a bag (RFC 8493 section 2.1.1).
pub const BAGIT_TXT: &str = "bagit.txt";
/// `GetFunction`'s JSON.
pub const FUNCTION_JSON: &str = "function.json";
/// The package as served.
pub const PACKAGE_ZIP: &str = "package.zip";
/// The unpacked package.
pub const CODE: &str = "code";
/// The pulled image.
pub const IMAGE: &str = "image";

/// How a function or layer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The package was fetched and verified.
    Saved,
    /// A container image, recorded.
    Image,
    /// The same as recorded before, and verified again locally.
    Unchanged,
    /// Something is missing from the answer; `incomplete` says what.
    Partial,
    /// It no longer exists.
    Gone,
    /// AWS has no code for it, or could not be reached.
    Unavailable,
    /// AWS refused access.
    Denied,
    /// It failed for another reason.
    Failed,
}

impl Status {
    /// Whether there is something of it that was kept.
    pub fn is_had(self) -> bool {
        matches!(
            self,
            Self::Saved | Self::Image | Self::Unchanged | Self::Partial
        )
    }

    /// The word that JSON has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::Image => "image",
            Self::Unchanged => "unchanged",
            Self::Partial => "partial",
            Self::Gone => "gone",
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// The whole of `larder.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// What wrote it.
    pub tool: Tool,
    /// How it ended.
    pub status: Status,
    /// What a 200 answer lacked.
    pub incomplete: Vec<Incomplete>,
    /// Which function.
    pub function: FunctionRecord,
    /// `Zip` or `Image`, as Lambda states it.
    pub package_type: String,
    /// The zip; null for an image.
    pub package: Option<PackageRecord>,
    /// The unpacked tree; null for an image and with `--no-unpack`.
    pub unpacked: Option<UnpackedRecord>,
    /// The image; null for a zip.
    pub image: Option<ImageRecord>,
    /// The layers, with `--layers`.
    pub layers: Vec<LayerRecord>,
    /// How the answer and the bytes came.
    pub transfer: TransferRecord,
    /// Whether `function.json` has null in place of the values of environment variables.
    #[serde(default)]
    pub environment_redacted: bool,
}

/// What wrote the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `larder`.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Tool {
    /// This build of larder.
    pub fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// A part of GetFunction's answer that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incomplete {
    /// The field, as it is called in the answer: `Tags`, `Environment`, `Code`.
    pub field: String,
    /// AWS's error code. Its message is sensitive and is not recorded.
    pub code: String,
}

/// Which function the record is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionRecord {
    /// `FunctionArn`, with the qualifier it was asked for by.
    pub arn: String,
    /// `FunctionName`.
    pub name: String,
    /// `Version`: what the alias or `$LATEST` led to.
    pub version: String,
    /// The version or alias that was asked for; null for `$LATEST` unasked.
    pub qualifier: Option<String>,
    /// The region.
    pub region: String,
    /// The account, 12 digits.
    pub account: String,
    /// `RevisionId`.
    pub revision_id: Option<String>,
}

/// The zip that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Relative to the record.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// In hex, computed.
    pub sha256: String,
    /// As Lambda states it.
    pub code_sha256: String,
}

/// The tree that the zip was unpacked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackedRecord {
    /// Relative to the record.
    pub path: String,
    /// Regular files.
    pub files: u64,
    /// Directories, without the root.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes in regular files.
    pub bytes: u64,
    /// See [`TreeHashes::h1`](crate::digest::TreeHashes::h1).
    pub h1: Option<String>,
    /// Why there is no `h1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub h1_reason: Option<String>,
    /// See [`TreeHashes::tree`](crate::digest::TreeHashes::tree).
    pub tree: String,
    /// `first` or `last` when a name that stands twice in the archive was taken so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<String>,
}

/// The image of a function of package type `Image`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// `ImageUri`: as deployed, perhaps by a tag.
    pub image_uri: Option<String>,
    /// `ResolvedImageUri`: by digest.
    pub resolved_image_uri: Option<String>,
    /// The digest in it, `sha256:<hex>`.
    pub digest: Option<String>,
    /// `CodeSha256` as Lambda states it: for an image, the digest's hex.
    pub code_sha256: Option<String>,
    /// Where the pulled image lies, an OCI image layout, relative to the record; null when it was not pulled.
    pub path: Option<String>,
    /// What was pulled by its manifests: the one that the digest names first, then, below an index, the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<ManifestRecord>,
    /// How many other manifests an index among them names, which were not pulled; absent without an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_manifests: Option<u64>,
    /// Configuration and layers in the layout, each digest once; absent when it was not pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<u64>,
    /// The bytes of all manifests, configurations and layers in the layout; absent when it was not pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Layers that are not in the layout, because their owner alone gives them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub foreign_layers: Vec<ForeignLayerRecord>,
}

impl ImageRecord {
    /// What Lambda states of an image that was not pulled.
    pub fn stated(image: &ImageRef, code_sha256: Option<&str>) -> Self {
        Self {
            image_uri: image.image_uri.as_deref().map(without_secrets),
            resolved_image_uri: image.resolved_image_uri.as_deref().map(without_secrets),
            digest: image.digest().map(|digest| match digest {
                Ok(sha256) => format!("sha256:{}", sha256.hex()),
                Err(other) => other,
            }),
            code_sha256: code_sha256.map(ToOwned::to_owned),
            path: None,
            manifests: Vec::new(),
            other_manifests: None,
            blobs: None,
            bytes: None,
            foreign_layers: Vec::new(),
        }
    }
}

/// A manifest or index of a pulled image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRecord {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// In bytes.
    pub size: u64,
    /// `linux/amd64`, where an index says; absent elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// A layer that the registry does not hold ("Non-Distributable Layers" in the OCI Image Specification).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignLayerRecord {
    /// `sha256:<hex>`.
    pub digest: String,
    /// In bytes, as the manifest states it.
    pub size: u64,
    /// Where its owner gives it out, as the manifest states it.
    pub urls: Vec<String>,
}

/// A layer version of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The layer version's ARN.
    pub arn: String,
    /// How it ended.
    pub status: Status,
    /// Where it lies, relative to the record.
    pub path: Option<String>,
    /// In bytes.
    pub size: Option<u64>,
    /// In hex, computed.
    pub sha256: Option<String>,
    /// As Lambda states it.
    pub code_sha256: Option<String>,
    /// Why it is not saved.
    pub reason: Option<String>,
    /// Its unpacked tree, with a path relative to the layer's own.
    #[serde(default)]
    pub unpacked: Option<UnpackedRecord>,
}

/// How the answer and the bytes came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferRecord {
    /// The location with only `versionId` left of its query; null when there was none.
    pub location: Option<String>,
    /// AWS's id of the GetFunction call.
    pub request_id: Option<String>,
    /// UTC.
    pub started_at: String,
    /// UTC.
    pub finished_at: String,
    /// Tries: one, and one more for each that broke or brought something else.
    pub attempts: u32,
    /// GETs made for the bytes; a large package may take several in one try.
    #[serde(default)]
    pub requests: u32,
    /// How often a broken transfer went on where it had stopped.
    pub resumed: u32,
    /// How often a fresh URL was asked for.
    pub url_refreshes: u32,
    /// How often the code changed while it was fetched, so that it was fetched anew.
    #[serde(default)]
    pub code_changes: u32,
}

impl Record {
    /// The record as it is written: pretty JSON with a newline at the end.
    pub fn to_json(&self) -> Vec<u8> {
        // These types hold nothing that JSON cannot say, so this does not fail.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Reads a record of any version up to [`SCHEMA_VERSION`].
    ///
    /// # Errors
    /// It is no record, or one of a newer version.
    pub fn from_json(json: &[u8]) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u32,
        }
        let Version { schema_version } =
            serde_json::from_slice(json).map_err(RecordError::NotARecord)?;
        if schema_version > SCHEMA_VERSION {
            return Err(RecordError::Newer(schema_version));
        }
        serde_json::from_slice(json).map_err(RecordError::NotARecord)
    }
}

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, or without what a record has.
    #[error("this is no record of larder")]
    NotARecord(#[source] serde_json::Error),
    /// Of a version that this build does not know.
    #[error("the record has version {0}; this larder reads up to {SCHEMA_VERSION}")]
    Newer(u32),
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        let newer = matches!(error, RecordError::Newer(_));
        let message = error.to_string();
        let out = Self::new(ErrorKind::Usage, message);
        let out = match error {
            RecordError::NotARecord(source) => out.because(source),
            RecordError::Newer(_) => out,
        };
        if newer {
            out.hint("a newer larder wrote it; use that one or a later one")
        } else {
            out
        }
    }
}
