//! A function version as the store has it.

use serde_json::Value;

use super::claim;
use super::fields::{self, Fields};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::package::{Claim, Verified};
use crate::record::{FUNCTION_JSON, LayerRecord, PACKAGE_ZIP, Record};
use crate::store::{Descriptor, Entry, Manifest, Store, Subject, Titled as _};
use crate::task::blocking;

/// What the store says of a version, without its package.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// With the version at its end.
    pub(super) arn: String,
    pub(super) version: String,
    pub(super) record: Record,
    /// GetFunction's answer.
    pub(super) answer: Value,
    /// What of its configuration can be written back.
    pub(super) fields: Fields,
    manifest: Manifest,
}

impl Kept {
    pub(super) async fn read(store: &Store, entry: &Entry) -> Result<Self> {
        let manifest = store.document(&entry.descriptor()).await?;
        let manifest = Manifest::from_json(&manifest, &entry.arn)?;
        let record = store.document(&manifest.config).await?;
        let record = Record::from_json(&record).map_err(|e| Error::from(e).about(&*entry.arn))?;
        let json = titled(&manifest, FUNCTION_JSON, &entry.arn)?;
        let answer: Value = serde_json::from_slice(&store.document(json).await?).map_err(|e| {
            Error::new(ErrorKind::Mismatch, "function.json is no JSON")
                .about(&*entry.arn)
                .because(e)
        })?;
        Ok(Self {
            arn: entry.arn.to_string(),
            version: entry.version().to_owned(),
            fields: fields::of_configuration(&answer["Configuration"]),
            record,
            answer,
            manifest,
        })
    }

    /// CodeSha256 as Lambda stated it.
    pub(super) fn code_sha256(&self) -> Option<&str> {
        self.answer["Configuration"]["CodeSha256"].as_str()
    }

    pub(super) fn architectures(&self) -> &Value {
        &self.answer["Configuration"]["Architectures"]
    }

    pub(super) fn is_image(&self) -> bool {
        self.record.package_type == "Image"
    }

    /// The zip's size, in bytes.
    pub(super) fn size(&self) -> Option<u64> {
        self.record.package.as_ref().map(|package| package.size)
    }

    /// Whether Lambda kept no copy of the code, and the object that it ran: bucket, key and version.
    pub(super) fn reference(&self) -> Option<(&str, &str, Option<&str>)> {
        let (configuration, code) = (&self.answer["Configuration"], &self.answer["Code"]);
        let object = &code["ResolvedS3Object"];
        let referred = configuration["S3ObjectStorageMode"] == "REFERENCE"
            || code["S3ObjectStorageMode"] == "REFERENCE"
            || code["Location"].is_null();
        let (bucket, key) = (object["S3Bucket"].as_str()?, object["S3Key"].as_str()?);
        referred.then(|| (bucket, key, object["S3ObjectVersion"].as_str()))
    }

    pub(super) fn tags(&self) -> Option<&serde_json::Map<String, Value>> {
        self.answer["Tags"].as_object()
    }

    /// Whether the answer lacked this part.
    pub(super) fn lacks(&self, field: &str) -> bool {
        self.record.incomplete.iter().any(|i| i.field == field)
    }

    /// What the record says of a layer version.
    pub(super) fn layer(&self, arn: &str) -> Option<&LayerRecord> {
        self.record.layers.iter().find(|layer| layer.arn == arn)
    }

    /// The function's zip, verified.
    pub(super) async fn package(&self, store: &Store) -> Result<Verified> {
        let record = self.record.package.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the backup has no package of it").about(&*self.arn)
        })?;
        let claim = claim(&record.code_sha256, record.size, &self.arn)?;
        let from = titled(&self.manifest, PACKAGE_ZIP, &self.arn)?;
        verified(store, from, &claim, &self.arn).await
    }

    /// A layer's zip, verified, and its answer of then.
    pub(super) async fn layer_package(
        &self,
        store: &Store,
        layer: &LayerRecord,
    ) -> Result<(Verified, Value)> {
        let lost =
            || Error::new(ErrorKind::NotFound, "the backup lacks the layer").about(&*layer.arn);
        let path = layer.path.as_deref().ok_or_else(lost)?;
        let stated = layer.code_sha256.as_deref().ok_or_else(lost)?;
        let claim = claim(stated, layer.size.ok_or_else(lost)?, &layer.arn)?;
        let json = titled(&self.manifest, &format!("{path}/layer.json"), &layer.arn)?;
        let answer = store.document(json).await?;
        let answer = serde_json::from_slice(&answer).unwrap_or_default();
        let from = titled(&self.manifest, &format!("{path}/{PACKAGE_ZIP}"), &layer.arn)?;
        Ok((verified(store, from, &claim, &layer.arn).await?, answer))
    }
}

fn titled<'a>(manifest: &'a Manifest, name: &str, arn: &str) -> Result<&'a Descriptor> {
    manifest.titled(name).ok_or_else(|| {
        Error::new(ErrorKind::Mismatch, format!("the manifest lacks {name}")).about(arn)
    })
}

async fn verified(store: &Store, from: &Descriptor, claim: &Claim, arn: &str) -> Result<Verified> {
    let directory = std::env::temp_dir();
    let spool = blocking(move || Ok(files::unnamed(&directory)?)).await?;
    let received = store.get(from, spool).await?;
    received.verify(claim).map_err(|mismatch| {
        Error::from(mismatch)
            .about(arn)
            .hint_instead("the package was damaged in the store; another run may have a sound one")
    })
}

/// The aliases of a function in a run, as ListAliases gave them.
pub(super) async fn aliases(
    store: &Store,
    entries: &[Entry],
    function: &str,
) -> Result<Vec<Value>> {
    let mut aliases = entries.iter().filter(|e| e.subject == Subject::Aliases);
    let Some(entry) = aliases.find(|entry| *entry.arn == *function) else {
        return Ok(Vec::new());
    };
    let manifest = store.document(&entry.descriptor()).await?;
    let manifest = Manifest::from_json(&manifest, &entry.arn)?;
    let document: Value = serde_json::from_slice(&store.document(&manifest.config).await?)
        .map_err(|e| {
            Error::new(ErrorKind::Mismatch, "the aliases are no JSON")
                .about(&*entry.arn)
                .because(e)
        })?;
    Ok(document["Aliases"].as_array().cloned().unwrap_or_default())
}
