//! A pulled image out of the store, into the layout that a fetch leaves.

use std::io::Write as _;

use super::Work;
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::files::FilesError;
use crate::image::layout::{
    self, BLOBS, INDEX_JSON, OCI_LAYOUT, OCI_LAYOUT_JSON, blob_path, index_json,
};
use crate::package::Claim;
use crate::record::{IMAGE, ImageRecord};
use crate::store::Titled as _;
use crate::task::blocking;

impl Work<'_> {
    /// The image's manifests and blobs, each verified by its digest, and the layout's own files; then all of it once more, as
    /// `larder verify` reads it.
    pub(super) async fn image(&self, record: &ImageRecord) -> Result<()> {
        let wrong = |message: String| {
            Error::new(ErrorKind::Mismatch, message)
                .about(self.arn)
                .hint("nothing was restored; another run may have a sound one")
        };
        let Some(root) = record.manifests.first() else {
            return Err(wrong(
                "the record names no manifest of its image".to_owned(),
            ));
        };
        if record.path.as_deref() != Some(IMAGE) || record.digest.as_ref() != Some(&root.digest) {
            return Err(wrong(
                "the record's image is not the one that Lambda named".to_owned(),
            ));
        }
        let manifests = record.manifests.iter().map(|m| {
            let parsed: Result<Sha256Digest, _> = m.digest.parse();
            parsed.map_err(|e| wrong(format!("a manifest's digest: {e}")))
        });
        let manifests: Vec<Sha256Digest> = manifests.collect::<Result<_>>()?;
        self.staging.create_dir(&format!("{IMAGE}/{BLOBS}"))?;
        for file in &self.manifest.layers {
            let digest = file.sha256()?;
            let path = format!("{IMAGE}/{}", blob_path(digest));
            if self.manifest.titled(&path) != Some(file) {
                continue;
            }
            let scratch = format!("{IMAGE}-{digest}");
            let spool = self.staging.create_scratch_file(&scratch, 0o644)?;
            let received = self
                .cancel
                .run_until_cancelled(self.store.get(file, spool))
                .await
                .unwrap_or_else(|| Err(Error::interrupted()))?;
            received
                .verify(&Claim::manifest(digest, file.size))
                .map_err(|mismatch| {
                    Error::from(mismatch).about(self.arn).hint(
                        "nothing was restored: the image was damaged in the store; larder backup --refresh --pull-image puts back what the registry still has",
                    )
                })?;
            self.reporter.report(&Event::Verified { sha256: digest });
            self.staging.keep(&scratch, &path)?;
        }
        self.write(
            INDEX_JSON,
            &index_json(&root.media_type, manifests[0], root.size),
        )?;
        self.write(OCI_LAYOUT, OCI_LAYOUT_JSON)?;
        let (dir, cancel) = (self.staging.path().join(IMAGE), self.cancel.clone());
        let checked =
            blocking(move || layout::verify(&dir, &manifests, &|| cancel.is_cancelled())).await?;
        match checked.findings.first() {
            Some(finding) => Err(wrong(format!(
                "the image in the store is not whole: {}: {}",
                finding.path, finding.message
            ))),
            None => Ok(()),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let name = format!("{IMAGE}/{name}");
        let mut file = self.staging.create_file(&name, 0o644)?;
        file.write_all(bytes)
            .map_err(|e| FilesError::io("write", self.staging.path().join(&name), e).into())
    }
}
