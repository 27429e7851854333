//! An OCI image layout: a pulled image, or a directory that holds one by itself.

use crate::digest::Sha256Digest;
use crate::error::Result;
use crate::files::Node;
use crate::image::layout::{self, Checked};

use super::{FindingKind, Job};

/// The whole directory.
pub(super) fn verify(job: &mut Job<'_>) -> Result<()> {
    job.announce()?;
    check(job, "", &[]).map(drop)
}

/// The layout at `place`, a directory of the job's, or all of it when empty; with the manifests that must be there. Gives
/// what it holds, if nothing is wrong with it.
pub(super) fn check(
    job: &mut Job<'_>,
    place: &str,
    required: &[Sha256Digest],
) -> Result<Option<Checked>> {
    let prefix = if place.is_empty() {
        String::new()
    } else {
        format!("{place}/")
    };
    // The reader below follows links, so there must be none.
    let mut sound = true;
    for (path, node) in job.below.walk(place.as_bytes()) {
        job.go_on()?;
        match node {
            Node::Symlink => job.find(FindingKind::Special, &path, "is a link"),
            Node::Special(what) => job.find(FindingKind::Special, &path, format!("is {what}")),
            Node::Unreadable(e) => job.find(FindingKind::Unreadable, &path, e.to_string()),
            Node::File { .. } | Node::Directory { .. } | Node::EmptyDirectory => continue,
        }
        sound = false;
    }
    if !sound {
        return Ok(None);
    }
    let cancel = job.cancel;
    let mut checked = layout::verify(&job.path().join(place), required, &|| cancel.is_cancelled())?;
    job.report.files += checked.files;
    job.report.bytes += checked.bytes;
    let whole = checked.findings.is_empty();
    for finding in std::mem::take(&mut checked.findings) {
        job.find(
            finding.kind,
            format!("{prefix}{}", finding.path),
            finding.message,
        );
    }
    if !checked.foreign.is_empty() {
        let layers = match checked.foreign.len() {
            1 => "1 foreign layer is".to_owned(),
            count => format!("{count} foreign layers are"),
        };
        job.report
            .note(format!("{layers} not in the layout, as its manifests say"));
    }
    if !checked.elsewhere.is_empty() {
        let kept = checked.manifests.len() - checked.indexes;
        let all = kept + checked.elsewhere.len();
        job.report.note(format!(
            "{kept} of {all} images of the index kept: one is pulled for one platform, and skopeo reads it with --override-os and --override-arch where that is not this machine's"
        ));
    }
    Ok(whole.then_some(checked))
}
