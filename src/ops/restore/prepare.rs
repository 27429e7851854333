//! From the backup and what is there to the steps between: every decision, before anything is changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::alias;
use super::beside::{self, Beside};
use super::fields::{self, Fields};
use super::find::Found;
use super::kept::Kept;
use super::layers::{self, Fate};
use super::plan::{Need, NotRestored, Plan, Source, State, Step, Target};
use super::target::{self, Existing};
use super::to_lambda::{ToLambdaOptions, Versions};
use crate::aws::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::files;
use crate::lambda::Lambda;
use crate::package::{Claim, CodeLocation, S3ObjectRef};
use crate::task::blocking;
use crate::transfer::{self, Renew, Target as Download};

/// The largest zip that a request takes, in bytes (Lambda quotas, "Deployment package size").
pub(super) const DIRECT: u64 = 50 << 20;

/// What the store says of the function.
pub(super) struct Backup {
    /// Without a version.
    pub(super) arn: String,
    /// What is restored, in order.
    pub(super) versions: Vec<Kept>,
    /// `$LATEST` and versions that aliases led to, where they are not restored.
    pub(super) others: Vec<Kept>,
    pub(super) aliases: Vec<alias::Kept>,
    pub(super) beside: Beside,
}

/// Where the function goes.
pub(super) struct Place {
    pub(super) account: String,
    pub(super) region: String,
    pub(super) name: String,
}

/// What a step does. The numbers are indices of [`Prepared::versions`] and [`Prepared::aliases`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    PublishLayer(String),
    Create(usize),
    Code(usize),
    Configuration(usize),
    Publish(usize),
    Tags,
    Concurrency(u64),
    Alias(usize),
    EventSource(usize),
}

/// Everything that is decided.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    /// One for each step of the plan.
    pub(super) tasks: Vec<Task>,
    /// What is restored, with configurations fit for the target; their layers are those of the backup.
    pub(super) versions: Vec<Kept>,
    /// Where each version's code comes from.
    pub(super) sources: Vec<CodeSource>,
    pub(super) layers: BTreeMap<String, Fate>,
    pub(super) aliases: Vec<alias::Kept>,
    pub(super) sources_of_events: Vec<Value>,
    pub(super) tags: Map<String, Value>,
    pub(super) existing: Option<Existing>,
}

/// Where Lambda takes the code from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CodeSource {
    /// The zip in the store.
    Zip,
    /// The customer's object, which Lambda refers to: bucket, key and version.
    Reference(String, String, Option<String>),
    /// An image.
    Image(String),
}

/// Who prepares.
pub(super) struct Preparation<'a> {
    pub(super) lambda: &'a Lambda,
    pub(super) session: &'a Session,
    pub(super) options: &'a ToLambdaOptions,
    pub(super) place: &'a Place,
    pub(super) reporter: &'a dyn Reporter,
}

/// What does not come back and what must be given, each said once.
#[derive(Default)]
struct Notes {
    not_restored: Vec<NotRestored>,
    needs: Vec<Need>,
}

impl Notes {
    fn lost(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        let note = NotRestored::new(what, reason);
        if !self.not_restored.contains(&note) {
            self.not_restored.push(note);
        }
    }

    fn need(&mut self, option: &'static str, reason: impl Into<String>) {
        if !self.needs.iter().any(|need| need.option == option) {
            self.needs.push(Need::new(option, reason));
        }
    }
}

/// The code and configuration that `$LATEST` has, as the steps follow each other.
struct Now {
    code: Option<String>,
    architectures: Value,
    referred: bool,
    fields: Fields,
}

impl Preparation<'_> {
    pub(super) async fn prepare(
        &self,
        found: &Found,
        mut backup: Backup,
        mut existing: Option<Existing>,
    ) -> Result<Prepared> {
        if let Some(existing) = &mut existing
            && !backup.beside.sources.is_empty()
        {
            existing.look_for_sources(self.lambda).await?;
        }
        let mut notes = Notes::default();
        for kept in backup.versions.iter_mut().chain(&mut backup.others) {
            self.adapt(kept, &mut notes)?;
        }
        self.judge(&backup, existing.as_ref(), &mut notes)?;
        let mut sources = Vec::new();
        for kept in &backup.versions {
            sources.push(self.source(kept, &mut notes).await?);
        }
        let used: Vec<String> = existing.iter().flat_map(|e| layers_of(&e.fields)).collect();
        let account = &self.place.account;
        let all: Vec<Kept> = backup
            .versions
            .iter()
            .chain(&backup.others)
            .cloned()
            .collect();
        let mut layers = layers::resolve(self.lambda, account, &all, &used).await?;
        // Layers that only a version needs which is not restored are looked up, and not published.
        let needed: BTreeSet<String> = (backup.versions.iter())
            .flat_map(|kept| layers_of(&kept.fields))
            .collect();
        layers.retain(|arn, _| needed.contains(arn) || existing.is_some());

        let mut steps = Steps::default();
        for (arn, fate) in layers.iter().filter(|(arn, _)| needed.contains(*arn)) {
            match fate {
                Fate::Publish { name, size, .. } => {
                    if *size > DIRECT && self.options.staging_bucket.is_none() {
                        notes.need(
                            "--staging-bucket",
                            large(&format!("the layer {name}"), *size),
                        );
                    }
                    steps.add(
                        Task::PublishLayer(arn.clone()),
                        name,
                        format!("in place of {arn}"),
                    );
                }
                Fate::Missing(why) => {
                    notes.lost(format!("layer {arn}"), why.clone());
                    if !self.options.allow_missing_layers {
                        let reason = format!("the layer {arn} cannot be had: {why}");
                        let mut need = Need::new("--allow-missing-layers", reason);
                        need.kind = ErrorKind::NotFound;
                        if !notes.needs.iter().any(|n| n.option == need.option) {
                            notes.needs.push(need);
                        }
                    }
                }
                Fate::Used(_) => {}
            }
        }
        let mut numbers = self.versions(
            &backup,
            &sources,
            existing.as_ref(),
            &layers,
            &mut steps,
            &mut notes,
        );
        let tags = self.tags(&backup, existing.as_ref(), &mut steps, &mut notes);
        self.concurrency(&backup, existing.as_ref(), &mut steps, &mut notes);
        if self.options.aliases {
            self.aliases(
                &backup,
                existing.as_ref(),
                &layers,
                &mut numbers,
                &mut steps,
                &mut notes,
            );
        } else if !backup.aliases.is_empty() {
            notes.lost("aliases", "left out by --no-aliases");
        }
        self.event_sources(&backup, existing.as_ref(), &mut steps, &mut notes);
        Self::general(&backup, &steps, &mut notes);

        let last = backup.versions.last();
        let plan = Plan {
            schema_version: 1,
            done: false,
            source: Source {
                run: found.run.as_str().to_owned(),
                function: backup.arn.clone(),
                versions: backup
                    .versions
                    .iter()
                    .map(|kept| kept.version.clone())
                    .collect(),
                code_sha256: last.and_then(Kept::code_sha256).map(ToOwned::to_owned),
            },
            target: Target {
                function: self.place.name.clone(),
                account: self.place.account.clone(),
                region: self.place.region.clone(),
                exists: existing.is_some(),
                revision_id: text(existing.as_ref(), "/Configuration/RevisionId"),
                code_sha256: text(existing.as_ref(), "/Configuration/CodeSha256"),
            },
            layers: (layers.iter().filter(|(arn, _)| needed.contains(*arn)))
                .filter_map(|(arn, fate)| match fate {
                    Fate::Used(used) => Some((arn.clone(), Some(used.clone()))),
                    Fate::Publish { .. } => Some((arn.clone(), None)),
                    Fate::Missing(_) => None,
                })
                .collect(),
            versions: numbers,
            needs: notes.needs,
            not_restored: notes.not_restored,
            steps: steps.steps,
        };
        Ok(Prepared {
            plan,
            tasks: steps.tasks,
            versions: backup.versions,
            sources,
            layers,
            aliases: backup.aliases,
            sources_of_events: backup.beside.sources,
            tags,
            existing,
        })
    }

    /// Makes a configuration fit for the target: role, environment, and what belongs to another account or region.
    fn adapt(&self, kept: &mut Kept, notes: &mut Notes) -> Result<()> {
        let place = self.place;
        let parts: Vec<String> = kept.arn.split(':').map(ToOwned::to_owned).collect();
        let part = |at: usize| parts.get(at).map_or("", String::as_str);
        let (region, account, name) = (part(3), part(4), part(6));
        let elsewhere = region != place.region || account != place.account;
        for field in fields::unknown(&kept.answer["Configuration"]) {
            notes.lost(
                field,
                "larder does not know this field, so it cannot be written back",
            );
        }
        if kept.answer["Configuration"]["SigningJobArn"].is_string() {
            notes.lost(
                "code signing",
                "the zip is restored, the signing job and profile are not",
            );
        }
        if elsewhere {
            for field in ["VpcConfig", "FileSystemConfigs", "CapacityProviderConfig"] {
                if kept.fields.shift_remove(field).is_some() {
                    notes.lost(field, format!("belongs to {account} in {region}"));
                }
            }
            for field in ["KMSKeyArn", "DeadLetterConfig", "DurableConfig"] {
                let text = kept
                    .fields
                    .get(field)
                    .map(Value::to_string)
                    .unwrap_or_default();
                let foreign = text.contains("arn:")
                    && !text.contains(&format!(":{}:{}:", place.region, place.account));
                if foreign {
                    kept.fields.shift_remove(field);
                    notes.lost(field, format!("names something of {account} in {region}"));
                }
            }
        }
        // A function's own log group goes by its name.
        if let Some(Value::Object(logging)) = kept.fields.get_mut("LoggingConfig")
            && place.name != name
            && logging.get("LogGroup") == Some(&json!(format!("/aws/lambda/{name}")))
        {
            logging.insert(
                "LogGroup".to_owned(),
                json!(format!("/aws/lambda/{}", place.name)),
            );
        }
        match &self.options.execution_role {
            Some(role) => {
                kept.fields.insert("Role".to_owned(), json!(role));
            }
            None => {
                let role = kept
                    .fields
                    .get("Role")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                if role.split(':').nth(4) != Some(place.account.as_str()) {
                    notes.need(
                        "--execution-role",
                        format!(
                            "its role {role} is of another account than {}",
                            place.account
                        ),
                    );
                }
            }
        }
        self.environment(kept, notes)
    }

    fn environment(&self, kept: &mut Kept, notes: &mut Notes) -> Result<()> {
        let empty = super::Environment::default();
        let given = self.options.environment.as_ref();
        if kept.lacks("Environment") {
            match given {
                Some(given) => {
                    kept.fields.insert("Environment".to_owned(), given.whole());
                }
                None => notes.need(
                    "--env-from",
                    "the environment could not be read when the backup was made, not even its names",
                ),
            }
            return Ok(());
        }
        let missing = given.unwrap_or(&empty).fill(&mut kept.fields);
        if !missing.is_empty() {
            let reason = format!("the backup has no values for {}", missing.join(", "));
            notes.need("--env-from", reason);
        }
        let variables = kept.fields.get("Environment").map(|e| &e["Variables"]);
        let unknown: Vec<&str> = (given.into_iter().flat_map(super::Environment::names))
            .filter(|name| variables.is_none_or(|v| v[*name].is_null()))
            .collect();
        if !unknown.is_empty() {
            notes.lost(
                "values in --env-from",
                format!("the backup has no variables named {}", unknown.join(", ")),
            );
        }
        Ok(())
    }

    /// What cannot be at all.
    fn judge(&self, backup: &Backup, existing: Option<&Existing>, notes: &mut Notes) -> Result<()> {
        for kept in &backup.versions {
            let wrong = |message: &str| Error::new(ErrorKind::Usage, message).about(&*kept.arn);
            if !kept.is_image() && kept.size().is_none() {
                return Err(
                    Error::new(ErrorKind::NotFound, "the backup has no package of it")
                        .about(&*kept.arn)
                        .hint("another run may have it"),
                );
            }
            let there = existing.map(|existing| existing.described.package_type());
            if there.is_some_and(|there| there != kept.record.package_type) {
                return Err(wrong("is of another package type than the function that is there")
                    .hint("Lambda changes no package type: restore it under another name with --to-name"));
            }
            if kept.is_image() && self.options.image_uri.is_none() {
                let image = kept.record.image.as_ref();
                let of = image.and_then(|image| image.resolved_image_uri.as_deref());
                notes.need(
                    "--image-uri",
                    format!(
                        "an image is not pushed by larder; it was {}",
                        of.unwrap_or("unknown")
                    ),
                );
            }
            if !kept.is_image() && self.options.image_uri.is_some() {
                return Err(wrong("is a zip function: --image-uri is of no use"));
            }
        }
        Ok(())
    }

    /// Where the code of a version comes from.
    async fn source(&self, kept: &Kept, notes: &mut Notes) -> Result<CodeSource> {
        if kept.is_image() {
            return self.image(kept).map(CodeSource::Image);
        }
        let Some((bucket, key, version)) = kept.reference() else {
            return Ok(CodeSource::Zip);
        };
        let object = S3ObjectRef {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: version.map(ToOwned::to_owned),
        };
        match self.verified(kept, &object).await {
            Ok(()) => Ok(CodeSource::Reference(
                object.bucket,
                object.key,
                object.version,
            )),
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            Err(e) => {
                notes.lost(
                    "storage mode REFERENCE",
                    format!(
                        "s3://{bucket}/{key} cannot be used ({}): Lambda gets a COPY",
                        e.message()
                    ),
                );
                Ok(CodeSource::Zip)
            }
        }
    }

    /// Reads the customer's object and holds it against what the backup says: Lambda would take whatever lies there.
    async fn verified(&self, kept: &Kept, object: &S3ObjectRef) -> Result<()> {
        let elsewhere = kept.arn.split(':').nth(3) != Some(self.place.region.as_str());
        if elsewhere {
            return Err(Error::new(ErrorKind::Usage, "it is in another region"));
        }
        let record = kept.record.package.as_ref();
        let record =
            record.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no package"))?;
        let claim = super::claim(&record.code_sha256, record.size, &kept.arn)?;
        let code = CodeLocation::Object(object.clone());
        let mut again = Again {
            session: self.session,
            code: &code,
            claim: &claim,
        };
        let target = again.renew().await?;
        let directory = std::env::temp_dir();
        let spool = blocking(move || Ok(files::unnamed(&directory)?)).await?;
        let context = self.session.transfers(self.reporter);
        transfer::download(context, &kept.arn, target, &mut again, spool).await?;
        Ok(())
    }

    /// The image: as it was given, or the backup's digest in the repository that was given.
    fn image(&self, kept: &Kept) -> Result<String> {
        let Some(uri) = &self.options.image_uri else {
            return Ok(String::new());
        };
        let wrong = |kind, message: &str| Error::new(kind, message).about(&**uri);
        let digest = kept.code_sha256().unwrap_or_default();
        if let Some((_, stated)) = uri.split_once('@') {
            if stated.trim_start_matches("sha256:") != digest {
                let message = format!("is not the image of the backup, which is sha256:{digest}");
                return Err(wrong(ErrorKind::Mismatch, &message));
            }
            return Ok(uri.clone());
        }
        let tagged = uri
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains(':'));
        match (tagged, self.options.versions) {
            (true, Versions::One) => Ok(uri.clone()),
            (true, Versions::All) => Err(wrong(
                ErrorKind::Usage,
                "has a tag, and versions have different images: give the repository alone",
            )),
            (false, _) => Ok(format!("{uri}@sha256:{digest}")),
        }
    }

    /// The steps from what `$LATEST` is to each version in its order, and the numbers of those that are there already.
    fn versions(
        &self,
        backup: &Backup,
        sources: &[CodeSource],
        existing: Option<&Existing>,
        layers: &BTreeMap<String, Fate>,
        steps: &mut Steps,
        notes: &mut Notes,
    ) -> BTreeMap<String, Option<String>> {
        let mut numbers = BTreeMap::new();
        let mut now = existing.map(|existing| Now {
            // An update that failed left no code that can be relied on.
            code: (existing.described.code_sha256_text())
                .filter(|_| configuration(existing)["LastUpdateStatus"] != "Failed")
                .map(ToOwned::to_owned),
            architectures: configuration(existing)["Architectures"].clone(),
            referred: is_referred(existing),
            fields: existing.fields.clone(),
        });
        let mut after = 0;
        for (at, kept) in backup.versions.iter().enumerate() {
            let last = at + 1 == backup.versions.len();
            let all = self.options.versions == Versions::All;
            let publish = (all && kept.version != "$LATEST") || (last && self.options.publish);
            let fields = mapped(&kept.fields, layers);
            let same = existing
                .filter(|_| all && publish)
                .and_then(|e| e.same(kept.code_sha256(), fields.as_ref()?, after, &kept.version));
            if let Some(same) = same {
                after = target::number(same);
                numbers.insert(kept.version.clone(), Some(same.version().to_owned()));
                if !last {
                    continue;
                }
            }
            let label = |what: &str| format!("{what} as in version {}", kept.version);
            let referred = matches!(sources[at], CodeSource::Reference(..));
            let size = kept
                .size()
                .map_or(String::new(), |size| format!(", {size} bytes"));
            let mode = match &sources[at] {
                CodeSource::Zip => "COPY".to_owned(),
                CodeSource::Reference(bucket, key, _) => {
                    format!("REFERENCE to s3://{bucket}/{key}")
                }
                CodeSource::Image(uri) => format!("image {uri}"),
            };
            let digest = kept.code_sha256().unwrap_or_default();
            let code = format!("CodeSha256 {digest}{size}, {mode}");
            let mut uploads = false;
            // What is to be published is not known before it is: then nothing can be the same as before.
            let wanted = fields.clone().unwrap_or_else(|| kept.fields.clone());
            match &now {
                None => {
                    let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
                    let detail = format!("{}; {}", label(&code), names.join(", "));
                    steps.add(Task::Create(at), &self.place.name, detail);
                    uploads = true;
                }
                Some(now) => {
                    if now.code.as_deref() != kept.code_sha256()
                        || (!kept.architectures().is_null()
                            && now.architectures != *kept.architectures())
                        || now.referred != referred
                    {
                        steps.add(Task::Code(at), &self.place.name, label(&code));
                        uploads = true;
                    }
                    let (changes, fixed) = fields::differences(&now.fields, &wanted);
                    for field in fixed {
                        notes.lost(field, "Lambda changes it on no function that exists");
                    }
                    if !changes.is_empty() {
                        let words: Vec<String> =
                            changes.iter().map(fields::Difference::words).collect();
                        steps.add(
                            Task::Configuration(at),
                            &self.place.name,
                            format!("{}: {}", label("configuration"), words.join("; ")),
                        );
                    }
                }
            }
            let too_large = kept.size().filter(|size| *size > DIRECT);
            if let (true, Some(size), CodeSource::Zip, None) = (
                uploads,
                too_large,
                &sources[at],
                &self.options.staging_bucket,
            ) {
                notes.need("--staging-bucket", large("the package", size));
            }
            now = Some(Now {
                code: kept.code_sha256().map(ToOwned::to_owned),
                architectures: kept.architectures().clone(),
                referred,
                fields: wanted,
            });
            if publish && same.is_none() {
                // Numbers ascend: after one that is published, none that is there already can follow.
                after = u64::MAX;
                numbers.insert(kept.version.clone(), None);
                let was = if kept.version == "$LATEST" {
                    "as a new version".to_owned()
                } else {
                    format!("version {} gets a new number", kept.version)
                };
                steps.add(Task::Publish(at), &self.place.name, was);
            }
        }
        numbers
    }

    /// Tags that the target lacks. Tags that it has beyond those of the backup stay.
    fn tags(
        &self,
        backup: &Backup,
        existing: Option<&Existing>,
        steps: &mut Steps,
        notes: &mut Notes,
    ) -> Map<String, Value> {
        let Some(head) = head(backup) else {
            return Map::new();
        };
        if head.lacks("Tags") {
            notes.lost("tags", "they could not be read when the backup was made");
        }
        let mut tags = head.tags().cloned().unwrap_or_default();
        let own: Vec<String> = tags
            .keys()
            .filter(|key| key.starts_with("aws:"))
            .cloned()
            .collect();
        for key in own {
            tags.shift_remove(&key);
            notes.lost(format!("tag {key}"), "tags of AWS's own cannot be set");
        }
        let Some(existing) = existing else {
            return tags;
        };
        let there = existing.described.answer().get("/Tags");
        let lacking: Vec<&str> = (tags.iter())
            .filter(|(key, value)| there.is_none_or(|there| there[key.as_str()] != **value))
            .map(|(key, _)| key.as_str())
            .collect();
        if !lacking.is_empty() {
            steps.add(Task::Tags, &self.place.name, lacking.join(", "));
        }
        let more: Vec<&str> = (there.and_then(Value::as_object).into_iter().flatten())
            .map(|(key, _)| key.as_str())
            .filter(|key| !tags.contains_key(*key) && !key.starts_with("aws:"))
            .collect();
        if !more.is_empty() {
            notes.lost(
                "absence of tags",
                format!("the target has more, which stay: {}", more.join(", ")),
            );
        }
        tags
    }

    fn concurrency(
        &self,
        backup: &Backup,
        existing: Option<&Existing>,
        steps: &mut Steps,
        notes: &mut Notes,
    ) {
        let kept = head(backup)
            .and_then(|head| head.answer["Concurrency"]["ReservedConcurrentExecutions"].as_u64());
        let path = "/Concurrency/ReservedConcurrentExecutions";
        let there = existing.and_then(|e| e.described.answer().get(path)?.as_u64());
        match (kept, there) {
            (Some(kept), there) if there != Some(kept) => {
                let was = there.map_or(String::new(), |there| format!(" (now {there})"));
                let detail = format!("{kept} reserved concurrent executions{was}");
                steps.add(Task::Concurrency(kept), &self.place.name, detail);
            }
            (None, Some(there)) => notes.lost(
                "absence of reserved concurrency",
                format!("the target has {there}, which stays"),
            ),
            _ => {}
        }
    }

    fn aliases(
        &self,
        backup: &Backup,
        existing: Option<&Existing>,
        layers: &BTreeMap<String, Fate>,
        numbers: &mut BTreeMap<String, Option<String>>,
        steps: &mut Steps,
        notes: &mut Notes,
    ) {
        // A version that was not restored may still be there.
        for version in backup.aliases.iter().flat_map(alias::Kept::versions) {
            if version == "$LATEST" || numbers.contains_key(version) {
                continue;
            }
            let all = backup.versions.iter().chain(&backup.others);
            let kept = all.into_iter().find(|kept| kept.version == version);
            let same = existing.zip(kept).and_then(|(existing, kept)| {
                let fields = mapped(&kept.fields, layers)?;
                existing.same(kept.code_sha256(), &fields, 0, version)
            });
            if let Some(same) = same {
                numbers.insert(version.to_owned(), Some(same.version().to_owned()));
            }
        }
        for (at, alias) in backup.aliases.iter().enumerate() {
            let known = |version: &str| version == "$LATEST" || numbers.contains_key(version);
            if let Some(lacking) = alias.versions().find(|version| !known(version)) {
                notes.lost(
                    format!("alias {}", alias.name),
                    format!("it led to version {lacking}, which the target has not: --versions all republishes it"),
                );
                continue;
            }
            let number = |version: &str| match version {
                "$LATEST" => Some("$LATEST".to_owned()),
                version => numbers.get(version).cloned().flatten(),
            };
            let there = existing.and_then(|e| e.aliases.iter().find(|a| a.name == alias.name));
            let input = alias.input(number);
            if let (Some(there), Some(input)) = (there, &input)
                && alias::Kept::is(input, there)
            {
                continue;
            }
            let words = alias.words(|version| match number(version) {
                Some(number) => number,
                None => format!("the new version {version}"),
            });
            let now = there.map_or(String::new(), |there| format!(" (now {})", there.version));
            steps.add(Task::Alias(at), &alias.name, format!("to {words}{now}"));
        }
        for there in existing.iter().flat_map(|existing| &existing.aliases) {
            if !backup.aliases.iter().any(|alias| alias.name == there.name) {
                notes.lost(
                    format!("absence of alias {}", there.name),
                    "the backup has no such alias; it stays",
                );
            }
        }
    }

    /// Event source mappings, which are made disabled: who restores a function says when it begins.
    fn event_sources(
        &self,
        backup: &Backup,
        existing: Option<&Existing>,
        steps: &mut Steps,
        notes: &mut Notes,
    ) {
        for (at, mapping) in backup.beside.sources.iter().enumerate() {
            let source = beside::source(mapping);
            let what = format!("event source {source}");
            let parts: Vec<&str> = source.split(':').collect();
            // A topic of Kafka of one's own is named by nothing of AWS's.
            if parts.first() == Some(&"arn") && parts.get(3) != Some(&&*self.place.region) {
                notes.lost(what, "it is in another region");
                continue;
            }
            if mapping["FilterCriteriaError"].is_object() {
                notes.lost(
                    what,
                    "its filter could not be read when the backup was made",
                );
                continue;
            }
            let qualifier = beside::qualifier(mapping);
            if qualifier.is_some_and(|q| q.bytes().all(|b| b.is_ascii_digit())) {
                notes.lost(
                    what,
                    "it led to a version, and versions have other numbers now",
                );
                continue;
            }
            let arn = existing.and_then(|e| e.text("/Configuration/FunctionArn"));
            let there = existing.iter().flat_map(|existing| &existing.sources);
            let made = there.into_iter().any(|there| {
                let of = there["FunctionArn"].as_str().zip(arn);
                beside::same_source(mapping, there)
                    && of.is_some_and(|(of, arn)| {
                        of.strip_prefix(arn).is_some_and(|q| {
                            q.strip_prefix(':') == qualifier
                                || (q.is_empty() && qualifier.is_none())
                        })
                    })
            });
            if !made {
                let to = qualifier.map_or(String::new(), |alias| format!(" for alias {alias}"));
                steps.add(
                    Task::EventSource(at),
                    &source,
                    format!("disabled{to}; enable it when the function shall begin"),
                );
            }
        }
    }

    /// What never comes back.
    fn general(backup: &Backup, steps: &Steps, notes: &mut Notes) {
        let publishes = steps
            .tasks
            .iter()
            .any(|task| matches!(task, Task::Publish(_)));
        if publishes {
            notes.lost("version numbers", "Lambda gives new ones");
        }
        if !backup.beside.read {
            notes.lost(
                "event source mappings, resource policies, function URLs, asynchronous invocation, provisioned concurrency, code signing, runtime management, recursion control",
                "the backup has none of these (backup --config full keeps them)",
            );
        }
        for operation in &backup.beside.found {
            let what = operation
                .trim_start_matches("Get")
                .trim_start_matches("List");
            notes.lost(what, "it is in the store, and is not written back");
        }
        notes.lost(
            "triggers outside Lambda (EventBridge, SNS, S3, API Gateway)",
            "Lambda does not tell who calls",
        );
    }
}

/// The steps as they are found.
#[derive(Default)]
struct Steps {
    steps: Vec<Step>,
    tasks: Vec<Task>,
}

impl Steps {
    fn add(&mut self, task: Task, subject: &str, detail: String) {
        self.steps.push(Step {
            action: match task {
                Task::PublishLayer(_) => "publish_layer",
                Task::Create(_) => "create_function",
                Task::Code(_) => "update_code",
                Task::Configuration(_) => "update_configuration",
                Task::Publish(_) => "publish_version",
                Task::Tags => "set_tags",
                Task::Concurrency(_) => "set_concurrency",
                Task::Alias(_) => "set_alias",
                Task::EventSource(_) => "create_event_source",
            },
            subject: subject.to_owned(),
            detail,
            state: State::Planned,
        });
        self.tasks.push(task);
    }
}

/// Signs the URL of the same object again.
struct Again<'a> {
    session: &'a Session,
    code: &'a CodeLocation,
    claim: &'a Claim,
}

impl Renew for Again<'_> {
    async fn renew(&mut self) -> Result<Download> {
        crate::ops::target(self.session, self.code, self.claim.clone()).await
    }
}

/// Tags and reserved concurrency belong to the function, and were asked for with `$LATEST`.
fn head(backup: &Backup) -> Option<&Kept> {
    let all = || backup.versions.iter().chain(&backup.others);
    all()
        .find(|kept| kept.version == "$LATEST")
        .or_else(|| all().last())
}

/// The layers of a configuration.
pub(super) fn layers_of(fields: &Fields) -> Vec<String> {
    let arns = fields.get("Layers").and_then(Value::as_array);
    let arns = arns.into_iter().flatten().filter_map(Value::as_str);
    arns.map(ToOwned::to_owned).collect()
}

/// The configuration with the layer versions that are used in place of the backup's; None while one of them is not published.
pub(super) fn mapped(fields: &Fields, layers: &BTreeMap<String, Fate>) -> Option<Fields> {
    let mut out = fields.clone();
    let mut used = Vec::new();
    for arn in layers_of(fields) {
        match layers.get(&arn) {
            Some(Fate::Used(arn)) => used.push(Value::String(arn.clone())),
            Some(Fate::Publish { .. }) => return None,
            Some(Fate::Missing(_)) | None => {}
        }
    }
    if used.is_empty() {
        out.shift_remove("Layers");
    } else {
        out.insert("Layers".to_owned(), Value::Array(used));
    }
    Some(out)
}

fn configuration(existing: &Existing) -> &Value {
    existing
        .described
        .answer()
        .get("/Configuration")
        .unwrap_or(&Value::Null)
}

fn is_referred(existing: &Existing) -> bool {
    configuration(existing)["S3ObjectStorageMode"] == "REFERENCE"
        || (existing.text("/Code/Location").is_none()
            && existing.text("/Code/ResolvedS3Object/S3Key").is_some())
}

fn text(existing: Option<&Existing>, pointer: &str) -> Option<String> {
    existing?.text(pointer).map(ToOwned::to_owned)
}

fn large(what: &str, size: u64) -> String {
    format!(
        "{what} has {size} bytes, and a request to Lambda takes {DIRECT} at the most: it must come from a bucket in the same region"
    )
}
