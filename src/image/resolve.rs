//! What a digest or a tag names in its registry: an image, or an index over images for several platforms.
//!
//! Only manifests are asked for, and nothing is kept. What is asked for by digest has that digest; what a tag names has the
//! digest of the bytes that were served, whatever a header says.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;

use super::Platform;
use super::layout::MAX_DEPTH;
use super::manifest::{Kind, Manifest};
use super::pull::Asking;
use super::reference::Repository;
use super::registry::{By, Registries};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;

/// The most manifests that are read of one index and those in it.
const MAX_INDEXES: usize = 16;

/// What a digest or a tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The digest of the manifest or index itself.
    pub digest: Sha256Digest,
    /// The images of an index and of the indexes in it, with their platforms as far as they are stated; None for an image.
    pub images: Option<Vec<(Sha256Digest, Option<Platform>)>>,
}

impl Named {
    /// The image for `platform`: what is named itself, or of an index the first image that fits, or its only one if that has no
    /// platform.
    pub fn image_for(&self, platform: &Platform) -> Option<Sha256Digest> {
        let Some(images) = &self.images else {
            return Some(self.digest);
        };
        let fits = |offered: &Option<Platform>| match offered {
            Some(offered) => platform.accepts(offered),
            None => images.len() == 1,
        };
        images.iter().find(|(_, p)| fits(p)).map(|(d, _)| *d)
    }

    /// Whether an index holds an image of which it does not say for which platform it is.
    pub fn holds_unnamed(&self, digest: Sha256Digest) -> bool {
        let mut images = self.images.iter().flatten();
        images.any(|(d, platform)| *d == digest && platform.is_none())
    }
}

/// Asks the registry what `digest` names.
///
/// # Errors
/// The registry cannot be had, denies it or does not have it; it is no manifest; or its bytes are not what the digest says.
pub async fn look(
    registries: &Registries,
    repository: &Repository,
    digest: Sha256Digest,
    reporter: &dyn Reporter,
) -> Result<Named> {
    ask(registries, repository, By::Digest(digest), reporter).await
}

/// Asks the registry what `tag` names now.
///
/// # Errors
/// As for [`look`].
pub async fn look_up_tag(
    registries: &Registries,
    repository: &Repository,
    tag: &str,
    reporter: &dyn Reporter,
) -> Result<Named> {
    ask(registries, repository, By::Tag(tag), reporter).await
}

async fn ask(
    registries: &Registries,
    repository: &Repository,
    by: By<'_>,
    reporter: &dyn Reporter,
) -> Result<Named> {
    let registry = registries.open(repository).await?;
    let requests = AtomicU64::new(0);
    let asking = Asking {
        registries,
        repository,
        reporter,
        requests: &requests,
    };
    let read = |json: &[u8], announced: Option<&str>| {
        let wrong = |e| {
            Error::from(e)
                .about(repository.to_string())
                .hint("what the registry serves there is no image that Lambda could run")
        };
        Manifest::parse(json, announced).map_err(wrong)
    };
    let (json, served) = asking.fetch_manifest(&registry, by).await?;
    let digest = Sha256Digest::of(&json);
    let children = match read(&json, served.as_deref())?.kind {
        Kind::Image { .. } => {
            return Ok(Named {
                digest,
                images: None,
            });
        }
        Kind::Index(children) => children,
    };
    let mut images = Vec::new();
    let mut indexes = 1;
    let mut queue: VecDeque<_> = children.into_iter().map(|child| (child, 1)).collect();
    while let Some((child, depth)) = queue.pop_front() {
        if !child.is_index() {
            images.push((child.digest, child.platform));
            continue;
        }
        indexes += 1;
        if depth > MAX_DEPTH || indexes > MAX_INDEXES {
            return Err(Error::new(
                ErrorKind::ArchiveBroken,
                format!("its indexes are more than {MAX_INDEXES}, or stand in each other more than {MAX_DEPTH} deep"),
            )
            .about(format!("{repository}@sha256:{digest}")));
        }
        let (json, _) = asking
            .fetch_manifest(&registry, By::Digest(child.digest))
            .await?;
        if let Kind::Index(inner) = read(&json, Some(&child.media_type))?.kind {
            queue.extend(inner.into_iter().map(|inner| (inner, depth + 1)));
        }
    }
    Ok(Named {
        digest,
        images: Some(images),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_for_a_platform_is_told_as_far_as_platforms_are_stated() {
        let [own, amd, arm] = [b"index", b"amd64", b"arm64"].map(|b| Sha256Digest::of(b));
        let of = |text: &str| Some(text.parse::<Platform>().unwrap());
        let arm64 = Platform::of_function(Some("arm64"));
        let named = |images| Named {
            digest: own,
            images,
        };
        assert_eq!(named(None).image_for(&arm64), Some(own));
        let both = named(Some(vec![
            (amd, of("linux/amd64")),
            (arm, of("linux/arm64/v8")),
        ]));
        assert_eq!(both.image_for(&arm64), Some(arm));
        assert_eq!(both.image_for(&Platform::of_function(None)), Some(amd));
        assert!(!both.holds_unnamed(arm));
        let one = named(Some(vec![(arm, None)]));
        assert_eq!(one.image_for(&arm64), Some(arm));
        let unnamed = named(Some(vec![(amd, None), (arm, None)]));
        assert_eq!(unnamed.image_for(&arm64), None);
        assert!(unnamed.holds_unnamed(arm) && !unnamed.holds_unnamed(own));
    }
}
