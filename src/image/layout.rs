//! The OCI image layout that an image is kept in: what is written at its top, and reading it all again.
//!
//! ```text
//! oci-layout              {"imageLayoutVersion":"1.0.0"}
//! index.json              one descriptor: the manifest, or the index, that the registry served
//! blobs/sha256/<hex>      manifests, configuration, layers, each under the digest of its bytes
//! ```
//!
//! (OCI Image Specification 1.1, "Image Layout".) [`verify`] needs no network and nothing but the directory.

mod verify;

use serde_json::json;

use super::manifest::OCI_INDEX;
use crate::digest::Sha256Digest;

pub use verify::{Checked, verify};

/// The file that marks a layout.
pub const OCI_LAYOUT: &str = "oci-layout";
/// The file that names what is in it.
pub const INDEX_JSON: &str = "index.json";
/// Where the blobs are.
pub const BLOBS: &str = "blobs/sha256";
/// How deep one index may stand in another.
pub(in crate::image) const MAX_DEPTH: usize = 3;

/// The bytes of `oci-layout`.
pub const OCI_LAYOUT_JSON: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}\n";

/// The bytes of `index.json` for an image or index. The same image gives the same bytes.
pub fn index_json(media_type: &str, digest: Sha256Digest, size: u64) -> Vec<u8> {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size}],
    });
    let mut text = index.to_string().into_bytes();
    text.push(b'\n');
    text
}

/// Where a blob is, below the layout.
pub fn blob_path(digest: Sha256Digest) -> String {
    format!("{BLOBS}/{digest}")
}
