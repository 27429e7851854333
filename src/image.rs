//! Container images: pulled from their registry by digest, verified, and kept as an OCI image layout.
//!
//! ```text
//! ImageRef -> Reference (registry, repository, digest) -> manifest, by digest, kept byte for byte
//!   index -> the manifest for one platform, by digest
//!   manifest -> config and layers -> transfer::download each, several at once -> blobs/sha256/<hex>
//!                                                             -> index.json, oci-layout
//! ```
//!
//! Nothing is pulled by tag: a tag may have moved since. Each manifest, config and layer has the digest and the
//! size that the one above it states, and the topmost the digest that Lambda states. Layers are kept as they are, and not
//! unpacked. [`layout::verify`] reads the result again, without any network.
//!
//! | file | what |
//! |---|---|
//! | `reference` | the name of an image; which registries are ECR's, and which are on this machine |
//! | `manifest`, `platform` | what a manifest or index says |
//! | `registry`, `challenge`, `ecr`, `login` | how a registry is asked, and with which credential |
//! | `blob` | a blob as a source for `transfer` |
//! | `pull` | the order of it all |
//! | `resolve` | what a digest or tag names in its registry, without pulling it |
//! | `layout` | the directory that comes of it |

pub mod layout;
pub mod manifest;
pub mod platform;
pub mod reference;

mod blob;
mod challenge;
mod ecr;
mod login;
mod pull;
mod registry;
mod resolve;

pub use manifest::{Descriptor, Kind, Manifest, ManifestError};
pub use platform::Platform;
pub(crate) use pull::top_is;
pub use pull::{Depot, Destination, PullOptions, Pulled, PulledManifest, Spool, pull, pull_to};
pub use reference::{Reference, ReferenceError, Repository};
pub use registry::Registries;
pub use resolve::{Named, look, look_up_tag};
