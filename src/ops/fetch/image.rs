//! An image function: what Lambda says of its image is compared and recorded, and with `--pull-image` the image pulled.

use std::sync::Arc;

use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{
    self, Descriptor, Destination, Platform, PullOptions, Pulled, PulledManifest, Registries,
};
use crate::lambda::Described;
use crate::package::ImageRef;
use crate::record::{ForeignLayerRecord, IMAGE, ImageRecord, ManifestRecord};
use crate::transfer::Stats;

use super::{Job, Outcome};

impl Job<'_> {
    /// The two digests are compared, and what Lambda says is recorded.
    pub(super) async fn image(&self, described: Described, image: &ImageRef) -> Result<Outcome> {
        let mut record = self.image_record(&described, image)?;
        let before = self.prior.and_then(|prior| prior.record().image.as_ref());
        let same = before.is_some_and(|b| b.digest == record.digest && record.digest.is_some());
        // An update keeps up what the destination is, which may be the only copy of an image that was deleted since.
        let kept = before.is_some_and(|before| before.path.is_some());
        if !self.options.pull_image && !kept {
            return Ok(Outcome {
                described,
                package: None,
                unpacked: None,
                image: Some(record),
                location: None,
                stats: Stats::default(),
                unchanged: same,
                intact: true,
            });
        }
        let pulled = self.pull(&described, image).await?;
        let intact = self.prior.is_some_and(|prior| {
            pulled.fetched == 0 && image::top_is(&prior.path(IMAGE), &pulled.manifests[0])
        });
        fill(&mut record, &pulled);
        Ok(Outcome {
            described,
            package: None,
            unpacked: None,
            image: Some(record),
            unchanged: same && pulled.fetched == 0,
            location: pulled.location,
            stats: pulled.stats,
            intact,
        })
    }

    async fn pull(&self, described: &Described, image: &ImageRef) -> Result<Pulled> {
        let text = |pointer| described.answer().text(pointer);
        let own = || Platform::of_function(text("/Configuration/Architectures/0"));
        // Of the same index, the image that was chosen stays chosen until somebody says otherwise.
        let before = || {
            let recorded = self.prior?.record().image.as_ref()?;
            let digest = image.digest()?.ok()?;
            if recorded.digest != Some(format!("sha256:{}", digest.hex())) {
                return None;
            }
            let mut platforms = recorded
                .manifests
                .iter()
                .filter_map(|m| m.platform.as_ref());
            platforms.next()?.parse().ok()
        };
        let chosen = self.options.platform.clone().or_else(before);
        let platform = chosen.unwrap_or_else(own);
        let options = PullOptions {
            kept: self.prior.map(|prior| prior.path(IMAGE)),
            ..PullOptions::new(platform)
        };
        let to = Destination {
            staging: Arc::clone(&self.staging),
            place: IMAGE.to_owned(),
        };
        let registries = Registries::new(self.session, Arc::clone(&self.reporter));
        let pulled = image::pull(
            &registries,
            image,
            &to,
            &options,
            &*self.reporter,
            self.cancel,
        )
        .await;
        pulled.map_err(|error| {
            let error = if error.subject().is_none() {
                error.about(self.subject)
            } else {
                error
            };
            if error.kind() != ErrorKind::NotFound {
                return error;
            }
            let said = ["/Configuration/StateReasonCode", "/Configuration/LastUpdateStatusReasonCode"]
                .into_iter()
                .filter_map(text)
                .find(|code| code.starts_with("Image"))
                .map(|code| format!(" (Lambda says {code})"))
                .unwrap_or_default();
            error.hint(format!(
                "the image was deleted from its repository{said}, as lifecycle rules do; Lambda gives out no copy of its own. Without --pull-image the function is recorded"
            ))
        })
    }

    /// What Lambda says, when it does not contradict itself or the user.
    fn image_record(&self, described: &Described, image: &ImageRef) -> Result<ImageRecord> {
        let stated = described.code_sha256_text().map(ToOwned::to_owned);
        let digest = image.digest();
        let record = ImageRecord::stated(image, stated.as_deref());
        let refuse = |message: String| {
            Error::new(ErrorKind::Mismatch, message)
                .about(self.subject)
                .hint(
                    "nothing was recorded: Lambda's answer contradicts itself or your expectation",
                )
        };
        match (&digest, &stated) {
            (Some(Ok(digest)), Some(stated)) => {
                // For an image CodeSha256 is the digest in hex; larder takes base64 of the same value too.
                if stated.parse::<Sha256Digest>().ok() != Some(*digest) {
                    return Err(refuse(format!(
                        "the image's digest is {} where CodeSha256 is {stated:?}",
                        digest.hex()
                    )));
                }
            }
            (Some(Err(other)), _) => {
                return Err(refuse(format!(
                    "the image's digest {other:?} is no SHA-256"
                )));
            }
            _ => self.warn(
                self.subject,
                "Lambda does not state the image's digest, so it could not be compared",
                "the function may still be being created; fetch it again later",
            ),
        }
        if let Some(expected) = self.options.expect_sha256
            && !matches!(&digest, Some(Ok(digest)) if *digest == expected)
        {
            return Err(refuse(format!(
                "the image's digest is {} where you expect {}",
                record.digest.as_deref().unwrap_or("not stated"),
                expected.hex()
            )));
        }
        Ok(record)
    }
}

/// Notes what was pulled.
pub(in crate::ops) fn fill(record: &mut ImageRecord, pulled: &Pulled) {
    record.path = Some(IMAGE.to_owned());
    record.manifests = pulled.manifests.iter().map(manifest_record).collect();
    record.other_manifests = (pulled.manifests.len() > 1).then_some(pulled.others);
    record.blobs = Some(pulled.blobs.len() as u64);
    record.bytes = Some(pulled.bytes);
    record.foreign_layers = pulled.foreign.iter().map(foreign_record).collect();
}

/// What is recorded of a manifest.
pub(in crate::ops) fn manifest_record(manifest: &PulledManifest) -> ManifestRecord {
    ManifestRecord {
        digest: format!("sha256:{}", manifest.digest),
        media_type: manifest.media_type.clone(),
        size: manifest.size,
        platform: manifest.platform.as_ref().map(ToString::to_string),
    }
}

/// What is recorded of a layer that is not in the layout.
pub(in crate::ops) fn foreign_record(layer: &Descriptor) -> ForeignLayerRecord {
    ForeignLayerRecord {
        digest: format!("sha256:{}", layer.digest),
        size: layer.size,
        urls: layer.urls.clone(),
    }
}
