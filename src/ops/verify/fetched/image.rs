//! The image of a fetched directory: what the record says of it, and the pulled image itself.

use crate::digest::Sha256Digest;
use crate::error::Result;
use crate::image::layout::Checked;
use crate::ops::fetch::image::{foreign_record, manifest_record};
use crate::record::{ForeignLayerRecord, IMAGE, ImageRecord, ManifestRecord, RECORD};

use super::super::{FindingKind, Job, layout};

/// Checks what the record says of the image, and the pulled image against that.
///
/// # Errors
/// The run was interrupted.
pub(super) fn check(job: &mut Job<'_>, image: &ImageRecord) -> Result<()> {
    let digest = image.digest.as_deref().map(str::parse::<Sha256Digest>);
    if let (Some(digest), Some(code_sha256)) = (&image.digest, &image.code_sha256)
        && digest.parse::<Sha256Digest>() != code_sha256.parse()
    {
        let message = format!("states the image {digest} and CodeSha256 {code_sha256:?}");
        job.find(FindingKind::Contradiction, RECORD, message);
    }
    if let (Some(digest), Some(uri)) = (&image.digest, &image.resolved_image_uri)
        && !uri.ends_with(&format!("@{digest}"))
    {
        let message = format!("states the image {digest} and ResolvedImageUri {uri:?}");
        job.find(FindingKind::Contradiction, RECORD, message);
    }
    let Some(path) = &image.path else {
        return Ok(());
    };
    if path != IMAGE {
        let message = format!("names an image at {path:?}, not {IMAGE}");
        job.find(FindingKind::Path, RECORD, message);
    }
    let mut required = Vec::new();
    for manifest in &image.manifests {
        match manifest.digest.parse() {
            Ok(digest) => required.push(digest),
            Err(e) => job.find(
                FindingKind::Malformed,
                RECORD,
                format!("a manifest's digest: {e}"),
            ),
        }
    }
    if !job.below.has_directory(IMAGE) {
        let kind = if job.below.top(IMAGE).is_some() {
            FindingKind::Type
        } else {
            FindingKind::Missing
        };
        job.find(
            kind,
            IMAGE,
            "is recorded as the pulled image, and no such directory is there",
        );
        return Ok(());
    }
    let Some(checked) = layout::check(job, IMAGE, &required)? else {
        return Ok(());
    };
    let roots = &checked.roots;
    if let Some(Ok(digest)) = digest
        && roots[..] != [digest]
    {
        let roots: Vec<String> = roots.iter().map(|root| format!("sha256:{root}")).collect();
        let message = format!(
            "holds {} where {RECORD} names sha256:{digest}",
            if roots.is_empty() {
                "nothing".to_owned()
            } else {
                roots.join(" and ")
            }
        );
        job.find(FindingKind::Contradiction, "image/index.json", message);
    }
    compare(job, image, &checked);
    Ok(())
}

/// What was counted when the image was pulled, against what lies there: no more and no less than was pulled.
fn compare(job: &Job<'_>, image: &ImageRecord, checked: &Checked) {
    let contradiction = |message: String| job.find(FindingKind::Contradiction, RECORD, message);
    let blobs = checked.blobs - checked.manifests.len() as u64;
    for (field, recorded, is) in [
        ("blobs", image.blobs, blobs),
        ("bytes", image.bytes, checked.blob_bytes),
    ] {
        if recorded != Some(is) {
            contradiction(format!(
                "states {} {field} of the image, where {IMAGE}/ has {is}",
                recorded.map_or_else(|| "no".to_owned(), |recorded| recorded.to_string())
            ));
        }
    }
    let manifests: Vec<ManifestRecord> = checked.manifests.iter().map(manifest_record).collect();
    for (number, is) in manifests.iter().enumerate() {
        match image.manifests.get(number) {
            Some(recorded) if is_it(recorded, is) => {}
            Some(recorded) => contradiction(format!(
                "states the manifest {}, where {IMAGE}/ has {}",
                shown(recorded),
                shown(is)
            )),
            None => contradiction(format!(
                "does not state the manifest {}, which {IMAGE}/ has",
                shown(is)
            )),
        }
    }
    for recorded in image.manifests.iter().skip(manifests.len()) {
        contradiction(format!(
            "states the manifest {}, which {IMAGE}/ does not name",
            shown(recorded)
        ));
    }
    let foreign: Vec<ForeignLayerRecord> = checked.foreign.iter().map(foreign_record).collect();
    if image.foreign_layers != foreign {
        contradiction(format!(
            "states {} foreign layers, which are not the {} that the manifests of {IMAGE}/ name",
            image.foreign_layers.len(),
            foreign.len()
        ));
    }
}

/// Whether a manifest is the recorded one. Where the index names no platform, the record has that of the configuration.
fn is_it(recorded: &ManifestRecord, is: &ManifestRecord) -> bool {
    let platform = is.platform.is_none() || is.platform == recorded.platform;
    platform
        && recorded.digest == is.digest
        && recorded.media_type == is.media_type
        && recorded.size == is.size
}

fn shown(manifest: &ManifestRecord) -> String {
    let platform = manifest.platform.as_ref();
    let text = format!(
        "{} ({}, {} bytes{})",
        manifest.digest,
        manifest.media_type,
        manifest.size,
        platform.map_or_else(String::new, |platform| format!(", {platform}"))
    );
    text.chars().take(300).collect()
}
