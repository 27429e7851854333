//! Container images: pulled from their registry by digest, verified, and kept as an OCI image layout.
//!
//! ```text
//! ImageRef -> Reference (registry, repository, digest) -> manifest, by digest, kept byte for byte
//!   index -> the manifest for one platform, by digest
//!   manifest -> config and layers -> transfer::download each, several at once -> blobs/sha256/<hex>
//!                                                             -> index.json, oci-layout
//! ```
//!
//! Nothing is ever asked for by tag: a tag may have moved since. Each manifest, config and layer has the digest and the
//! size that the one above it states, and the topmost the digest that Lambda states. Layers are kept as they are, and not
//! unpacked. What is in a registry and who may read it is [`registry`](self)'s part; [`layout`] reads the result again,
//! without any network.

pub mod layout;
pub mod manifest;
pub mod platform;
pub mod reference;

pub use manifest::{Descriptor, Kind, Manifest, ManifestError};
pub use platform::Platform;
pub use reference::{Reference, ReferenceError};
