//! One layer version: it never changes, so one that is kept costs no call.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::ledger::{Kind, Line, reason, status_of};
use super::region::{Job, Shared, Trouble, lock};
use crate::error::{Error, ErrorKind};
use crate::lambda::{Answer, DescribedLayer, Listed};
use crate::ops::fetch::{layers, to_milliseconds};
use crate::record::{LayerRecord, PACKAGE_ZIP, Status};
use crate::store::{Descriptor, Entry, LAYER, Manifest, Subject, Titled as _, title, unversioned};
use crate::transfer::{Renew, Target};

/// What became of a layer version.
#[derive(Debug)]
pub(super) struct LayerHad {
    /// Without its path, which is the function's matter.
    pub(super) record: LayerRecord,
    /// `layer.json` and the package.
    pub(super) files: Option<(Descriptor, Descriptor)>,
    /// Why it could not be had.
    pub(super) failure: Option<(ErrorKind, String)>,
}

impl Job<'_> {
    /// The layers of a version that is unchanged go into this run's index as they are.
    pub(super) fn carry_layers(&self, listed: &Listed, shared: &Shared) {
        for layer in listed.layers() {
            if let Some(known) = self.known_layer(&layer.arn, shared) {
                self.unchanged(known, layer.code_size, shared);
            }
        }
    }

    /// What an earlier run has of a layer version, unless it is to be asked about again.
    pub(super) fn known_layer(&self, arn: &str, shared: &Shared) -> Option<Entry> {
        let prior = lock(&shared.prior);
        let known = prior.get(Subject::Layer, arn);
        known.filter(|_| !self.options.refresh).cloned()
    }

    fn unchanged(&self, known: Entry, size: Option<u64>, shared: &Shared) {
        let entry = Entry {
            status: Status::Unchanged,
            ..known
        };
        let line = layer_line(&entry.arn, Status::Unchanged, size, None);
        let new = lock(&shared.layer_entries)
            .insert(entry.arn.clone(), entry)
            .is_none();
        if new {
            self.line(&line, None);
        }
    }

    /// A layer version, which is had once however many functions use it.
    pub(super) async fn layer(
        &self,
        arn: &str,
        size: Option<u64>,
        shared: &Shared,
    ) -> Result<Arc<OnceCell<LayerHad>>, Trouble> {
        let cell = Arc::clone(lock(&shared.layers).entry(arn.to_owned()).or_default());
        cell.get_or_try_init(|| self.layer_once(arn, size, shared))
            .await?;
        Ok(cell)
    }

    /// A layer version that is wanted because the account has it, used or not.
    pub(super) async fn layer_of_the_account(
        &self,
        arn: &str,
        shared: &Shared,
    ) -> Result<(), Trouble> {
        if self.options.dry_run {
            if self.known_layer(arn, shared).is_none() {
                lock(&shared.estimate).layer(arn);
            }
            return Ok(());
        }
        let cell = self.layer(arn, None, shared).await?;
        // That one used by a function is denied is a fact about another account; this one is the account's own.
        if let Some((ErrorKind::AccessDenied, _)) = filled(&cell)?.failure {
            self.tally.layer_denied();
        }
        Ok(())
    }

    async fn layer_once(
        &self,
        arn: &str,
        size: Option<u64>,
        shared: &Shared,
    ) -> Result<LayerHad, Trouble> {
        if let Some(known) = self.known_layer(arn, shared)
            && let Some(had) = self.kept_layer(arn, &known).await
        {
            self.unchanged(known, size, shared);
            return Ok(had);
        }
        match self.new_layer(arn, shared).await {
            Ok(had) => {
                let line = layer_line(arn, Status::Saved, had.record.size, None);
                self.line(&line, None);
                Ok(had)
            }
            Err(Trouble::Own(error)) => {
                let (status, why) = (status_of(error.kind()), reason(&error));
                self.line(&layer_line(arn, status, size, Some(why.clone())), None);
                Ok(LayerHad {
                    record: LayerRecord {
                        arn: arn.to_owned(),
                        status,
                        path: None,
                        size: None,
                        sha256: None,
                        code_sha256: None,
                        reason: Some(why.clone()),
                        unpacked: None,
                    },
                    files: None,
                    failure: Some((error.kind(), why)),
                })
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// From the store. None where that cannot be read: then it is had anew.
    async fn kept_layer(&self, arn: &str, known: &Entry) -> Option<LayerHad> {
        let manifest = self.store.document(&known.descriptor()).await.ok()?;
        let manifest = Manifest::from_json(&manifest, arn).ok()?;
        let json = self.store.document(&manifest.config).await.ok()?;
        let answer = Answer::parse(&json).ok()?;
        let zip = manifest.titled(PACKAGE_ZIP)?.clone();
        Some(LayerHad {
            record: LayerRecord {
                arn: arn.to_owned(),
                status: Status::Saved,
                path: None,
                size: Some(zip.size),
                sha256: Some(zip.sha256().ok()?.hex()),
                code_sha256: answer.text("/Content/CodeSha256").map(ToOwned::to_owned),
                reason: None,
                unpacked: None,
            },
            files: Some((manifest.config, zip)),
            failure: None,
        })
    }

    async fn new_layer(&self, arn: &str, shared: &Shared) -> Result<LayerHad, Trouble> {
        let asked_at = to_milliseconds(Timestamp::now());
        // Only a plain name can become a directory when it is restored.
        layers::directory_name(arn).map_err(Trouble::Own)?;
        let described = self.lambda.describe_layer(arn).await.map_err(Trouble::of)?;
        let code = described.code().map_err(Trouble::Own)?.clone();
        let claim = described.claim().map_err(Trouble::Own)?;
        let mut again = Again {
            job: self,
            arn,
            latest: described,
        };
        let (zip, _) = self.package(arn, &code, claim, &mut again).await?;
        let described = again.latest;
        let json = described.answer().to_recorded_json(false);
        let put = self.store.put_document(LAYER, json.clone()).await;
        let config = put.map_err(Trouble::Run)?;
        let file = title(zip.clone(), PACKAGE_ZIP);
        let (manifest, size) = self.put_manifest(LAYER, LAYER, json, vec![file]).await?;
        let digest = zip.sha256().map_err(Trouble::Run)?;
        let entry = Entry {
            subject: Subject::Layer,
            arn: arn.into(),
            manifest,
            size,
            status: Status::Saved,
            described_at: asked_at.into(),
            listed: None,
            code: Some(digest),
            redacted: false,
            layers: false,
        };
        lock(&shared.layer_entries).insert(arn.into(), entry);
        Ok(LayerHad {
            record: LayerRecord {
                arn: arn.to_owned(),
                status: Status::Saved,
                path: None,
                size: Some(zip.size),
                sha256: Some(digest.hex()),
                code_sha256: described.code_sha256_text().map(ToOwned::to_owned),
                reason: None,
                unpacked: None,
            },
            files: Some((config, zip)),
            failure: None,
        })
    }
}

fn layer_line(arn: &str, status: Status, bytes: Option<u64>, reason: Option<String>) -> Line {
    Line {
        kind: Kind::Layer,
        arn: unversioned(arn).to_owned(),
        version: arn.split(':').nth(7).unwrap_or_default().to_owned(),
        status: status.name(),
        bytes,
        reason,
    }
}

/// Asks GetLayerVersionByArn again when a URL has ended or bytes do not match.
struct Again<'a, 'b> {
    job: &'a Job<'b>,
    arn: &'a str,
    latest: DescribedLayer,
}

impl Renew for Again<'_, '_> {
    async fn renew(&mut self) -> crate::error::Result<Target> {
        let described = self.job.lambda.describe_layer(self.arn).await?;
        let claim = described.claim()?;
        let target = super::super::target(self.job.session, described.code()?, claim).await?;
        self.latest = described;
        Ok(target)
    }
}

/// Says that a cell that was just filled is empty, which cannot be.
pub(super) fn filled(cell: &OnceCell<LayerHad>) -> Result<&LayerHad, Trouble> {
    cell.get().ok_or_else(|| {
        Trouble::Run(Error::new(
            ErrorKind::Bug,
            "a layer was had and is not here",
        ))
    })
}
