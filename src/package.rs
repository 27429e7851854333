//! A deployment package on its way: where its code is, what was received, what was verified.
//!
//! [`Received`] and [`Verified`] are two types with private fields, each holding an open file and never a
//! path: what was verified is what is read later, whatever happens to names meanwhile. Only
//! [`Received::verify`] makes a [`Verified`], and only a [`Verified`] can be planned and unpacked:
//!
//! ```
//! # use larder::package::{Claim, Received};
//! # use larder::unpack::{plan, Limits};
//! fn unpackable(received: Received) -> bool {
//!     let verified = received.verify(&Claim::local()).unwrap();
//!     plan(&verified, &Limits::default()).is_ok()
//! }
//! ```
//!
//! ```compile_fail,E0308
//! # use larder::package::{Claim, Received};
//! # use larder::unpack::{plan, Limits};
//! fn unpackable(received: Received) -> bool {
//!     let verified = received;
//!     plan(&verified, &Limits::default()).is_ok()
//! }
//! ```

use std::fs::File;
use std::io::{self, Seek as _};

use crate::digest::{Hasher, Sha256Digest};
use crate::error::{Error, ErrorKind};
use crate::image::reference::without_secrets;
use crate::presigned::PresignedUrl;

/// Where Lambda says that the code of a function or layer version is.
#[derive(Debug, Clone)]
pub enum CodeLocation {
    /// A zip behind a presigned URL, good for some minutes.
    Zip(PresignedUrl),
    /// A zip in the customer's own bucket (`S3ObjectStorageMode=REFERENCE`): Lambda keeps no copy.
    Object(S3ObjectRef),
    /// A container image in a registry.
    Image(ImageRef),
}

/// `Code.ResolvedS3Object`: the object that is the deployment package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3ObjectRef {
    /// `S3Bucket`.
    pub bucket: String,
    /// `S3Key`.
    pub key: String,
    /// `S3ObjectVersion`, where the bucket has versions.
    pub version: Option<String>,
}

/// The image of a function of package type `Image`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// `Code.ImageUri`: what was deployed; may hold a tag, which may have moved since.
    pub image_uri: Option<String>,
    /// `Code.ResolvedImageUri`: the same by digest, `repository@sha256:<hex>`.
    pub resolved_image_uri: Option<String>,
}

impl ImageRef {
    /// The digest in `ResolvedImageUri`, or in `ImageUri` when that was deployed by digest.
    /// The text after `@` is given as it is when it is no SHA-256.
    pub fn digest(&self) -> Option<Result<Sha256Digest, String>> {
        [&self.resolved_image_uri, &self.image_uri]
            .into_iter()
            .flatten()
            .find_map(|uri| uri.rsplit_once('@'))
            .map(|(_, digest)| {
                digest
                    .strip_prefix("sha256:")
                    .and_then(|hex| Sha256Digest::from_hex(hex).ok())
                    .ok_or_else(|| without_secrets(digest))
            })
    }
}

/// Who stated what the bytes must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimant {
    /// Lambda, in `CodeSha256` and `CodeSize`.
    Lambda,
    /// The manifest of an image, of one of the image's blobs.
    Manifest,
    /// The user, on the command line.
    User,
    /// Nobody: a local file is taken as it is, and its digest recorded.
    Nobody,
}

/// What somebody states about the bytes of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    by: Claimant,
    sha256: Option<Sha256Digest>,
    size: Option<u64>,
}

impl Claim {
    /// What Lambda states: `CodeSha256`, and `CodeSize` in bytes.
    pub fn lambda(sha256: Sha256Digest, size: u64) -> Self {
        Self {
            by: Claimant::Lambda,
            sha256: Some(sha256),
            size: Some(size),
        }
    }

    /// What an image's manifest states of a blob: `digest`, and `size` in bytes.
    pub fn manifest(sha256: Sha256Digest, size: u64) -> Self {
        Self {
            by: Claimant::Manifest,
            sha256: Some(sha256),
            size: Some(size),
        }
    }

    /// What the user states.
    pub fn user(sha256: Sha256Digest) -> Self {
        Self {
            by: Claimant::User,
            sha256: Some(sha256),
            size: None,
        }
    }

    /// A local file about which nobody states anything.
    pub fn local() -> Self {
        Self {
            by: Claimant::Nobody,
            sha256: None,
            size: None,
        }
    }

    /// Who states it.
    pub fn by(&self) -> Claimant {
        self.by
    }

    /// The digest stated.
    pub fn sha256(&self) -> Option<Sha256Digest> {
        self.sha256
    }

    /// The length stated, in bytes.
    pub fn size(&self) -> Option<u64> {
        self.size
    }
}

/// Bytes that arrived, hashed, and not yet compared with anything.
#[derive(Debug)]
pub struct Received {
    file: File,
    size: u64,
    sha256: Sha256Digest,
}

impl Received {
    /// Bytes that were hashed as they were written to `file`. Only the transfer may say so.
    pub(crate) fn hashed(file: File, size: u64, sha256: Sha256Digest) -> Self {
        Self { file, size, sha256 }
    }

    /// Hashes a file from its start. `stop` is asked every 256 KiB.
    ///
    /// # Errors
    /// The file cannot be read, or `stop` said so ([`io::ErrorKind::Interrupted`]).
    pub fn read(mut file: File, stop: &dyn Fn() -> bool) -> io::Result<Self> {
        file.rewind()?;
        let mut hasher = Hasher::new();
        hasher.read_all(&mut file, stop)?;
        Ok(Self {
            size: hasher.bytes(),
            sha256: hasher.finish(),
            file,
        })
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Their digest.
    pub fn sha256(&self) -> Sha256Digest {
        self.sha256
    }

    /// Compares the bytes with what was stated about them.
    ///
    /// # Errors
    /// Length or digest differ. The bytes come back inside the error: a snapshot keeps them as evidence.
    pub fn verify(self, claim: &Claim) -> Result<Verified, Box<Mismatch>> {
        let size_differs = claim.size.is_some_and(|size| size != self.size);
        let sha256_differs = claim.sha256.is_some_and(|sha256| sha256 != self.sha256);
        if size_differs || sha256_differs {
            return Err(Box::new(Mismatch {
                claim: claim.clone(),
                received: self,
            }));
        }
        Ok(Verified {
            file: self.file,
            size: self.size,
            sha256: self.sha256,
            claimant: claim.by,
        })
    }
}

/// Bytes that are what was stated about them.
#[derive(Debug)]
pub struct Verified {
    file: File,
    size: u64,
    sha256: Sha256Digest,
    claimant: Claimant,
}

impl Verified {
    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Their digest.
    pub fn sha256(&self) -> Sha256Digest {
        self.sha256
    }

    /// Who stated what they must be.
    pub fn claimant(&self) -> Claimant {
        self.claimant
    }

    /// The open file, for reads at an offset; its cursor means nothing.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// Bytes that are not what was stated about them.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct Mismatch {
    claim: Claim,
    received: Received,
}

impl Mismatch {
    /// What was stated.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// What came.
    pub fn received(&self) -> &Received {
        &self.received
    }

    fn sentence(&self) -> String {
        let (what, who) = match self.claim.by {
            Claimant::Lambda => ("package", "Lambda states"),
            Claimant::Manifest => ("blob", "the image's manifest states"),
            Claimant::User => ("package", "you expect"),
            Claimant::Nobody => ("package", "expected is"),
        };
        match (self.claim.size, self.claim.sha256) {
            (Some(size), _) if size != self.received.size => format!(
                "the {what} has {} bytes where {who} {size}",
                self.received.size
            ),
            // Digests of images are written in hex everywhere.
            (_, Some(sha256)) if self.claim.by == Claimant::Manifest => format!(
                "the {what}'s SHA-256 is {} where {who} {sha256}",
                self.received.sha256
            ),
            (_, Some(sha256)) => format!(
                "the {what}'s SHA-256 is {} where {who} {}",
                self.received.sha256.base64(),
                sha256.base64()
            ),
            _ => "the package is not what was stated".to_owned(),
        }
    }
}

impl From<Box<Mismatch>> for Error {
    fn from(mismatch: Box<Mismatch>) -> Self {
        Self::new(ErrorKind::Mismatch, mismatch.to_string())
            .hint("nothing was kept or unpacked: the bytes are not the deployed package")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn received(data: &[u8]) -> Received {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        Received::read(file, &|| false).unwrap()
    }

    #[test]
    fn only_the_stated_bytes_verify() {
        let (digest, other) = (Sha256Digest::of(b"abc"), Sha256Digest::of(b"abd"));
        assert!(received(b"abc").verify(&Claim::lambda(digest, 3)).is_ok());
        assert!(received(b"abc").verify(&Claim::user(digest)).is_ok());
        assert!(received(b"abc").verify(&Claim::local()).is_ok());
        assert!(received(b"abc").verify(&Claim::lambda(digest, 4)).is_err());
        assert!(received(b"abc").verify(&Claim::lambda(other, 3)).is_err());
        assert!(received(b"abc").verify(&Claim::user(other)).is_err());
    }

    #[test]
    fn a_mismatch_names_both_values() {
        let claim = Claim::lambda(Sha256Digest::of(b"abd"), 3);
        let text = received(b"abc").verify(&claim).unwrap_err().to_string();
        for digest in [Sha256Digest::of(b"abc"), Sha256Digest::of(b"abd")] {
            assert!(text.contains(&digest.base64()), "{text}");
        }
        let claim = Claim::lambda(Sha256Digest::of(b"abc"), 7);
        let text = received(b"abc").verify(&claim).unwrap_err().to_string();
        assert!(text.contains("3 bytes") && text.contains('7'), "{text}");
    }

    #[test]
    fn an_image_digest_is_read_from_either_uri() {
        let hex = Sha256Digest::of(b"abc").hex();
        let image = |image: &str, resolved: Option<&str>| ImageRef {
            image_uri: Some(image.to_owned()),
            resolved_image_uri: resolved.map(ToOwned::to_owned),
        };
        let by_digest = format!("r@sha256:{hex}");
        let want = Some(Ok(Sha256Digest::of(b"abc")));
        assert_eq!(image("r:tag", Some(&by_digest)).digest(), want);
        assert_eq!(image(&by_digest, None).digest(), want);
        assert_eq!(image("r:tag", None).digest(), None);
        assert_eq!(
            image("r@sha512:00", None).digest(),
            Some(Err("sha512:00".to_owned()))
        );
    }
}
