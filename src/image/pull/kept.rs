//! What an earlier pull left: taken where it still is what it was.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::super::layout::{INDEX_JSON, OCI_LAYOUT, OCI_LAYOUT_JSON, blob_path, index_json};
use super::super::manifest::{Descriptor, MAX_MANIFEST};
use super::{Destination, PulledManifest, Work, place_of, scratch_name};
use crate::error::{Error, Result};
use crate::events::Event;
use crate::files;
use crate::package::{Claim, Received};
use crate::task::blocking;

impl Work<'_> {
    /// Which blobs must be fetched: those of an earlier pull that verify are put in place.
    pub(super) async fn missing(
        &self,
        to: &Destination,
        blobs: &[Descriptor],
    ) -> Result<Vec<Descriptor>> {
        let Some(dir) = self.options.kept.clone() else {
            return Ok(blobs.to_vec());
        };
        let size = blobs
            .iter()
            .map(|blob| blob.size)
            .fold(0, u64::saturating_add);
        self.reporter.report(&Event::Verifying { size });
        let (to, cancel, blobs) = (to.clone(), self.cancel.clone(), blobs.to_vec());
        let work = move || {
            let mut missing = Vec::new();
            let mut changed = Vec::new();
            for blob in blobs {
                match take_kept(&to, &dir, &blob, &cancel)? {
                    Kept::Taken => {}
                    Kept::Absent => missing.push(blob),
                    Kept::Changed(why) => {
                        changed.push((blob.digest, why));
                        missing.push(blob);
                    }
                }
            }
            Ok((missing, changed))
        };
        let (missing, changed) = blocking(work).await?;
        for (digest, why) in changed {
            self.reporter.report(&Event::Warning {
                subject: &format!("sha256:{digest}"),
                message: &format!("the blob kept here is not what it was: {why}"),
                hint: Some("it is fetched again"),
            });
        }
        Ok(missing)
    }
}

/// What became of a blob of an earlier pull.
enum Kept {
    Taken,
    Absent,
    Changed(String),
}

/// Puts a blob of an earlier pull into its place, if it verifies: linked where that can be, else copied. What is verified is
/// what lies in the staging then, whatever happens to the earlier one.
fn take_kept(
    to: &Destination,
    dir: &Path,
    blob: &Descriptor,
    cancel: &CancellationToken,
) -> Result<Kept> {
    let from = dir.join(blob_path(blob.digest));
    if !files::exists(&from) {
        return Ok(Kept::Absent);
    }
    let name = scratch_name(&to.place, blob.digest);
    let stop = || cancel.is_cancelled();
    let file = match to.staging.link_or_copy(&from, &name, &stop) {
        Ok(file) => file,
        Err(_) if stop() => return Err(Error::interrupted()),
        Err(e) => return Ok(Kept::Changed(e.to_string())),
    };
    let problem = match Received::read(file, &stop) {
        Ok(received) => {
            let claim = Claim::manifest(blob.digest, blob.size);
            match received.verify(&claim) {
                Ok(_) => {
                    to.staging.keep(&name, &place_of(&to.place, blob.digest))?;
                    return Ok(Kept::Taken);
                }
                Err(mismatch) => mismatch.to_string(),
            }
        }
        Err(_) if stop() => return Err(Error::interrupted()),
        Err(e) => e.to_string(),
    };
    to.staging.remove_scratch_file(&name)?;
    Ok(Kept::Changed(problem))
}

/// Whether the top of the layout at `dir` is what a pull of these manifests writes; its blobs are not looked at.
pub(crate) fn top_is(dir: &Path, root: &PulledManifest) -> bool {
    let is = |name: &str, bytes: &[u8]| {
        files::read_small(&dir.join(name), MAX_MANIFEST).is_ok_and(|kept| kept == bytes)
    };
    is(OCI_LAYOUT, OCI_LAYOUT_JSON)
        && is(
            INDEX_JSON,
            &index_json(&root.media_type, root.digest, root.size),
        )
}
