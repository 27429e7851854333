//! One function version, and the aliases of a function.

use jiff::Timestamp;

use super::documents::Documents;
use super::image::Image;
use super::layer::{LayerHad, filled};
use super::ledger::{Kind, Line, reason, status_of};
use super::region::{Job, Shared, Trouble, lock};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind};
use crate::function::FunctionRef;
use crate::lambda::{Described, Listed};
use crate::ops::fetch::{layers, to_milliseconds};
use crate::package::CodeLocation;
use crate::record::{
    FUNCTION_JSON, Incomplete, PACKAGE_ZIP, PackageRecord, Record, SCHEMA_VERSION, Status, Tool,
    TransferRecord,
};
use crate::store::{Descriptor, Entry, FUNCTION, Manifest, RECORD, Subject, title};
use crate::transfer::{Renew, Stats, Target};

/// What the code of a version came to.
struct Code {
    described: Described,
    package: Option<(Descriptor, PackageRecord)>,
    image: Option<Image>,
    location: Option<String>,
    stats: Stats,
}

impl Job<'_> {
    /// Saves a version, unless it is what the store has. Where it could not be had, what an earlier run had of it goes into
    /// the region's index, so that the newest run has all that there is; None where there is nothing.
    pub(super) async fn version(
        &self,
        listed: &Listed,
        ask: &str,
        known: Option<Entry>,
        shared: &Shared,
    ) -> Result<Option<Entry>, Trouble> {
        let fingerprint = listed.fingerprint(self.options.redact_env);
        let mut line = Line {
            kind: Kind::Function,
            arn: listed.function_arn().to_owned(),
            version: listed.version().to_owned(),
            status: "",
            bytes: listed
                .code_size()
                .filter(|_| listed.package_type() != "Image"),
            reason: None,
        };
        if let Some(known) = &known
            && !self.options.refresh
            && known.listed == Some(fingerprint)
            && known.redacted == self.options.redact_env
            && (known.code.is_some() || !self.pulls(listed))
            && (known.layers || !self.options.layers || listed.layers().is_empty())
            && self.is_fresh(known)
            && !self.lacks_layers(listed, shared).await?
        {
            if self.options.layers {
                self.carry_layers(listed, shared);
            }
            line.status = Status::Unchanged.name();
            self.line(&line, None);
            return Ok(Some(Entry {
                status: Status::Unchanged,
                ..known.clone()
            }));
        }
        if self.options.dry_run {
            self.plan(listed, shared);
            line.status = "planned";
            self.line(&line, None);
            return Ok(None);
        }
        match self.save(listed, ask, fingerprint, shared).await {
            Ok((entry, record, lacking)) => {
                line.status = entry.status.name();
                line.bytes = record.package.map(|package| package.size);
                line.reason = (!record.incomplete.is_empty()).then(|| {
                    let parts = record.incomplete.iter();
                    let parts: Vec<_> =
                        parts.map(|i| format!("{} ({})", i.field, i.code)).collect();
                    let why = lacking.as_ref().map(|e| format!(": {}", reason(e)));
                    format!("it lacks {}{}", parts.join(", "), why.unwrap_or_default())
                });
                let failure = (entry.status == Status::Partial).then(|| {
                    lacking.unwrap_or_else(|| {
                        let denied = record.incomplete.iter().any(|i| i.code.contains("Denied"));
                        let kind = if denied {
                            ErrorKind::AccessDenied
                        } else {
                            ErrorKind::Service
                        };
                        Error::new(kind, "the answer is incomplete").about(&*record.function.arn)
                    })
                });
                self.line(&line, failure);
                Ok(Some(entry))
            }
            Err(Trouble::Own(e)) => {
                line.status = status_of(e.kind()).name();
                line.reason = Some(reason(&e));
                // What was deleted since it was listed is no failure.
                let failure = (e.kind() != ErrorKind::NotFound).then_some(e);
                let kept = known.filter(|_| failure.is_some()).map(of_before);
                self.line(&line, failure);
                Ok(kept)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Whether the version's image is to be pulled.
    fn pulls(&self, listed: &Listed) -> bool {
        self.options.pull_image && listed.package_type() == "Image"
    }

    /// Whether a layer that no run has so far makes an unchanged version one to save again: it is there now, or its absence
    /// is to count. Each such layer is asked about once a run, and has its line.
    async fn lacks_layers(&self, listed: &Listed, shared: &Shared) -> Result<bool, Trouble> {
        let mut lacks = false;
        for layer in listed.layers().iter().filter(|_| self.options.layers) {
            if self.known_layer(&layer.arn, shared).is_some() {
                continue;
            }
            if self.options.dry_run {
                lock(&shared.estimate).layer(&layer.arn);
                continue;
            }
            let had = self.layer(&layer.arn, layer.code_size, shared).await?;
            let had = filled(&had)?;
            lacks |= had.files.is_some() || failed_layer(had, self.options.strict_layers).is_some();
        }
        Ok(lacks)
    }

    /// Whether the last answer is as young as `--refresh-older-than` asks for.
    fn is_fresh(&self, known: &Entry) -> bool {
        self.options.refresh_older_than.is_none_or(|age| {
            let asked: Option<Timestamp> = known.described_at.parse().ok();
            asked.is_some_and(|asked| Timestamp::now().duration_since(asked) <= age)
        })
    }

    fn plan(&self, listed: &Listed, shared: &Shared) {
        let digest = listed.code_sha256_text();
        let digest = digest.and_then(|text| Sha256Digest::from_base64(text).ok());
        let download = digest.is_some_and(|digest| self.packages.insert(digest));
        self.tally.planned(listed.code_size().filter(|_| download));
        let mut estimate = lock(&shared.estimate);
        estimate.call("GetFunction", 1);
        for layer in listed.layers().iter().filter(|_| self.options.layers) {
            if self.known_layer(&layer.arn, shared).is_none() {
                estimate.layer(&layer.arn);
            }
        }
    }

    async fn save(
        &self,
        listed: &Listed,
        ask: &str,
        fingerprint: Sha256Digest,
        shared: &Shared,
    ) -> Result<(Entry, Record, Option<Error>), Trouble> {
        let started_at = to_milliseconds(Timestamp::now());
        // Tags and reserved concurrency belong to the function unqualified.
        let qualifier = Some(listed.version()).filter(|version| *version != "$LATEST");
        let function = FunctionRef::new(ask, qualifier).map_err(|e| Trouble::Own(e.into()))?;
        let code = self.code(&function).await?;
        let Code {
            described,
            package,
            image,
            location,
            stats,
        } = code;
        let json = described.answer().to_recorded_json(self.options.redact_env);
        let answer = self.store.put_document(FUNCTION, json).await;
        let mut files = vec![title(answer.map_err(Trouble::Run)?, FUNCTION_JSON)];
        let (zip, package) = package.unzip();
        files.extend(zip.map(|zip| title(zip, PACKAGE_ZIP)));
        let mut incomplete = described.incomplete();
        let mut layer_records = Vec::new();
        let (image, of_image, mut lacking) = image.map(Image::into_parts).unwrap_or_default();
        files.extend(of_image);
        incomplete.extend(lacking.iter().map(lacks_image));
        if self.options.layers {
            for (arn, size) in described.layers() {
                let had = self.layer(arn, size, shared).await?;
                let had = filled(&had)?;
                let mut record = had.record.clone();
                if let Some((json, zip)) = &had.files {
                    let path = layer_path(arn, &layer_records)?;
                    files.push(title(
                        json.clone(),
                        &format!("{path}/{}", layers::LAYER_JSON),
                    ));
                    files.push(title(zip.clone(), &format!("{path}/{PACKAGE_ZIP}")));
                    record.path = Some(path);
                }
                if let Some((kind, message)) = failed_layer(had, self.options.strict_layers) {
                    incomplete.push(Incomplete {
                        field: "Layers".to_owned(),
                        code: kind.name().to_owned(),
                    });
                    lacking.get_or_insert_with(|| Error::new(kind, message).about(arn));
                }
                if !layer_records.contains(&record) {
                    layer_records.push(record);
                }
            }
        }
        let status = match (incomplete.is_empty(), &image) {
            (false, _) => Status::Partial,
            (true, Some(_)) => Status::Image,
            (true, None) => Status::Saved,
        };
        let record = Record {
            schema_version: SCHEMA_VERSION,
            tool: Tool::this(),
            status,
            incomplete,
            function: described.function().clone(),
            package_type: described.package_type().to_owned(),
            package,
            unpacked: None,
            image,
            layers: layer_records,
            transfer: TransferRecord {
                location,
                request_id: described.request_id().map(ToOwned::to_owned),
                started_at: started_at.clone(),
                finished_at: to_milliseconds(Timestamp::now()),
                attempts: stats.attempts,
                requests: stats.requests,
                resumed: stats.resumed,
                url_refreshes: stats.url_refreshes,
                code_changes: stats.code_changes,
            },
            environment_redacted: self.options.redact_env,
        };
        let (manifest, size) = self
            .put_manifest(FUNCTION, RECORD, record.to_json(), files)
            .await?;
        let revision = described.answer().text("/Configuration/RevisionId");
        // What changed between the listing and the answer must be looked at again.
        let same = revision == listed.revision_id() && status != Status::Partial;
        let code = code_of(&record);
        let entry = Entry {
            subject: Subject::Function,
            arn: listed.version_arn().into(),
            manifest,
            size,
            status,
            described_at: started_at.into(),
            listed: same.then_some(fingerprint),
            code,
            redacted: self.options.redact_env,
            layers: self.options.layers,
        };
        Ok((entry, record, lacking))
    }

    /// Puts a document and the manifest that begins with it.
    pub(super) async fn put_manifest(
        &self,
        artifact_type: &str,
        media_type: &str,
        document: Vec<u8>,
        files: Vec<Descriptor>,
    ) -> Result<(Sha256Digest, u64), Trouble> {
        let config = self.store.put_document(media_type, document).await;
        let manifest = Manifest::new(artifact_type, config.map_err(Trouble::Run)?, files);
        let put = self
            .store
            .put_document(crate::store::MANIFEST, manifest.to_json());
        let descriptor = put.await.map_err(Trouble::Run)?;
        let digest = descriptor.sha256().map_err(Trouble::Run)?;
        Ok((digest, descriptor.size))
    }

    async fn code(&self, function: &FunctionRef) -> Result<Code, Trouble> {
        let described = self.lambda.describe(function).await.map_err(Trouble::of)?;
        let code = described.code().map_err(Trouble::Own)?.clone();
        let zip = match code {
            CodeLocation::Image(image) => {
                let stated = described.code_sha256_text().map(ToOwned::to_owned);
                let agree = match (image.digest(), stated.as_deref()) {
                    (Some(Ok(digest)), Some(stated)) => stated.parse() == Ok(digest),
                    (Some(Err(_)), _) => false,
                    _ => true,
                };
                if !agree {
                    return Err(Trouble::Own(Error::new(
                        ErrorKind::Mismatch,
                        "the image's digest is not CodeSha256",
                    )));
                }
                let mut image = self.image(&described, &image).await?;
                return Ok(Code {
                    described,
                    package: None,
                    location: image.location.take(),
                    stats: std::mem::take(&mut image.stats),
                    image: Some(image),
                });
            }
            zip => zip,
        };
        let claim = described.claim().map_err(Trouble::Own)?;
        let mut again = Again {
            job: self,
            function,
            latest: described,
        };
        let subject = function.to_string();
        let (descriptor, stats) = self.package(&subject, &zip, claim, &mut again).await?;
        let described = again.latest;
        let location = match described.code() {
            Ok(CodeLocation::Zip(url)) if stats.requests > 0 => Some(url.redacted()),
            _ => None,
        };
        let record = PackageRecord {
            path: PACKAGE_ZIP.to_owned(),
            size: descriptor.size,
            sha256: descriptor.sha256().map_err(Trouble::Run)?.hex(),
            code_sha256: described.code_sha256_text().unwrap_or_default().to_owned(),
        };
        Ok(Code {
            described,
            package: Some((descriptor, record)),
            image: None,
            location,
            stats,
        })
    }

    /// Keeps the aliases of a function, if it has any; answers their names too. Where they could not be had, they are those
    /// that an earlier run had, without names to ask about.
    pub(super) async fn aliases(
        &self,
        ask: &str,
        arn: &str,
        known: Option<Entry>,
    ) -> Result<(Option<Entry>, Vec<String>), Trouble> {
        let none = || (None, Vec::new());
        let asked_at = to_milliseconds(Timestamp::now());
        let aliases = match self.lambda.aliases(ask).await.map_err(Trouble::of) {
            Ok(aliases) if aliases.is_empty() => return Ok(none()),
            Ok(aliases) => aliases,
            // Deleted since it was listed.
            Err(Trouble::Own(e)) if e.kind() == ErrorKind::NotFound => return Ok(none()),
            Err(Trouble::Own(e)) => {
                let line = Line {
                    kind: Kind::Aliases,
                    arn: arn.to_owned(),
                    version: String::new(),
                    status: status_of(e.kind()).name(),
                    bytes: None,
                    reason: Some(reason(&e)),
                };
                self.line(&line, Some(e));
                return Ok((known.map(of_before), Vec::new()));
            }
            Err(trouble) => return Err(trouble),
        };
        let names = aliases.iter().map(|alias| alias.name.clone()).collect();
        let answers = aliases
            .iter()
            .map(|alias| alias.answer.to_recorded_json(false));
        let answers = answers.filter_map(|json| serde_json::from_slice(&json).ok());
        let answers: Vec<serde_json::Value> = answers.collect();
        let document = serde_json::json!({"FunctionArn": arn, "Aliases": answers});
        let document = document.to_string().into_bytes();
        let documents = Documents {
            subject: Subject::Aliases,
            arn: arn.to_owned(),
            asked_at,
            config: document.clone(),
            files: vec![("aliases.json".to_owned(), document)],
            redacted: false,
        };
        let entry = self.put_documents(documents, known).await?;
        Ok((Some(entry), names))
    }
}

/// What an earlier run had of something that could not be had now. As it is not known whether it is still so, the next run
/// asks again.
fn of_before(known: Entry) -> Entry {
    Entry {
        listed: None,
        ..known
    }
}

/// The digest of the package, or of an image that is kept: its absence says that there is one to pull.
fn code_of(record: &Record) -> Option<Sha256Digest> {
    match (&record.package, &record.image) {
        (Some(package), _) => Sha256Digest::from_hex(&package.sha256).ok(),
        (None, Some(image)) if image.path.is_some() => image.digest.as_ref()?.parse().ok(),
        _ => None,
    }
}

fn lacks_image(error: &Error) -> Incomplete {
    Incomplete {
        field: "Image".to_owned(),
        code: error.kind().name().to_owned(),
    }
}

/// Where a layer lies in a fetch: `layers/NAME-VERSION`, with the account where another one has that name.
fn layer_path(arn: &str, before: &[crate::record::LayerRecord]) -> Result<String, Trouble> {
    let name = layers::directory_name(arn).map_err(Trouble::Own)?;
    let path = format!("layers/{name}");
    let taken = |l: &crate::record::LayerRecord| l.arn != arn && l.path.as_deref() == Some(&path);
    if before.iter().any(taken) {
        let account = arn.split(':').nth(4).unwrap_or_default();
        return Ok(format!("{path}-{account}"));
    }
    Ok(path)
}

/// Whether a layer that is lacking makes its function incomplete. One that is deleted or denied is a fact, unless the user
/// is strict about it.
fn failed_layer(had: &LayerHad, strict: bool) -> Option<(ErrorKind, String)> {
    let (kind, message) = had.failure.clone()?;
    let plain = matches!(kind, ErrorKind::NotFound | ErrorKind::AccessDenied);
    (strict || !plain).then_some((kind, message))
}

/// Asks GetFunction again when a URL has ended or bytes do not match.
struct Again<'a, 'b> {
    job: &'a Job<'b>,
    function: &'a FunctionRef,
    latest: Described,
}

impl Renew for Again<'_, '_> {
    async fn renew(&mut self) -> crate::error::Result<Target> {
        let described = self.job.lambda.describe(self.function).await?;
        let claim = described.claim()?;
        let target = super::super::target(self.job.session, described.code()?, claim).await?;
        self.latest = described;
        Ok(target)
    }
}
