//! What is a few JSON documents: the aliases of a function, and what is beside its code.

use super::region::{Job, Trouble};
use crate::digest::Sha256Digest;
use crate::record::Status;
use crate::store::{Descriptor, Entry, MANIFEST, Manifest, Subject, title};

/// Documents that belong together.
pub(super) struct Documents {
    pub(super) subject: Subject,
    /// Without a version for a function as a whole.
    pub(super) arn: String,
    /// When AWS was asked.
    pub(super) asked_at: String,
    /// What comes first.
    pub(super) config: Vec<u8>,
    /// The files, by name.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// Whether values of environment variables were left out.
    pub(super) redacted: bool,
}

impl Job<'_> {
    /// Puts documents, unless they are those of the last run: then there is nothing to put.
    pub(super) async fn put_documents(
        &self,
        documents: Documents,
        known: Option<Entry>,
    ) -> Result<Entry, Trouble> {
        let Documents {
            subject,
            arn,
            asked_at,
            config,
            files,
            redacted,
        } = documents;
        let kind = subject.artifact_type();
        let described =
            |bytes: &[u8]| Descriptor::new(kind, &Sha256Digest::of(bytes), bytes.len() as u64);
        let named = files
            .iter()
            .map(|(name, bytes)| title(described(bytes), name));
        let manifest = Manifest::new(kind, described(&config), named.collect()).to_json();
        let digest = Sha256Digest::of(&manifest);
        let size = manifest.len() as u64;
        let same = known.is_some_and(|known| known.manifest == digest) && !self.options.refresh;
        if !same {
            let mut blobs: Vec<Vec<u8>> = files.into_iter().map(|(_, bytes)| bytes).collect();
            // The first document may be one of the files too.
            if !blobs.contains(&config) {
                blobs.push(config);
            }
            for bytes in blobs {
                let put = self.store.put_document(kind, bytes).await;
                put.map_err(Trouble::Run)?;
            }
            let put = self.store.put_document(MANIFEST, manifest).await;
            put.map_err(Trouble::Run)?;
        }
        Ok(Entry {
            subject,
            arn: arn.into(),
            manifest: digest,
            size,
            status: if same {
                Status::Unchanged
            } else {
                Status::Saved
            },
            described_at: asked_at.into(),
            listed: None,
            code: None,
            redacted,
            layers: false,
        })
    }
}
