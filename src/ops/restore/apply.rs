//! The steps of a plan, one after another, each guarded by the `RevisionId` that the one before it left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::fields::{self, Fields};
use super::kept::Kept;
use super::layers::{self, Fate};
use super::plan::State;
use super::prepare::{self, CodeSource, DIRECT, Place, Prepared, Task};
use super::{alias, beside, target};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::function::FunctionRef;
use crate::lambda::{Answer, Lambda, Listed, Payload, Write};
use crate::package::Verified;
use crate::store::{StagingBucket, Store};
use crate::task::or_interrupted;

/// The longest that Lambda may take for one change. A function in a VPC, or a large image, takes minutes.
const LONGEST_CHANGE: Duration = Duration::from_secs(600);
/// Between two looks whether it has ended: at the beginning, and at the most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

pub(super) struct Applier<'a> {
    store: &'a Store,
    lambda: &'a Lambda,
    place: &'a Place,
    staging: Option<&'a StagingBucket>,
    reporter: Arc<dyn Reporter>,
    /// What lies in the staging bucket.
    staged: Vec<Verified>,
    /// Of `$LATEST`, as it was seen last: what the next change must find.
    revision: Option<String>,
    last_modified: Option<String>,
    code: Option<String>,
    fields: Fields,
    /// The function's ARN.
    arn: String,
}

impl<'a> Applier<'a> {
    pub(super) fn new(
        store: &'a Store,
        lambda: &'a Lambda,
        place: &'a Place,
        staging: Option<&'a StagingBucket>,
        reporter: Arc<dyn Reporter>,
    ) -> Self {
        Self {
            store,
            lambda,
            place,
            staging,
            reporter,
            staged: Vec::new(),
            revision: None,
            last_modified: None,
            code: None,
            fields: Fields::new(),
            arn: String::new(),
        }
    }

    /// Carries the plan out. After a failure the plan says how far it came; the same restoration can be made again.
    pub(super) async fn run(
        mut self,
        prepared: &mut Prepared,
        cancel: &CancellationToken,
    ) -> Result<()> {
        if let Some(existing) = &prepared.existing {
            let text = |pointer| existing.text(pointer).map(ToOwned::to_owned);
            self.revision = text("/Configuration/RevisionId");
            self.last_modified = text("/Configuration/LastModified");
            self.arn = text("/Configuration/FunctionArn").unwrap_or_default();
            self.code = text("/Configuration/CodeSha256");
            self.fields.clone_from(&existing.fields);
        }
        let outcome = self.steps(prepared, cancel).await;
        self.clear().await;
        outcome
    }

    async fn steps(&mut self, prepared: &mut Prepared, cancel: &CancellationToken) -> Result<()> {
        let total = prepared.tasks.len();
        for at in 0..total {
            let step = &prepared.plan.steps[at];
            self.reporter.report(&Event::Taken {
                done: at as u64,
                total: total as u64,
                subject: &format!("{} {}", step.words(), step.subject),
            });
            let task = prepared.tasks[at].clone();
            let outcome = or_interrupted(cancel, Box::pin(self.task(prepared, &task))).await;
            prepared.plan.steps[at].state = match outcome {
                Ok(()) => State::Done,
                Err(_) => State::Failed,
            };
            if outcome.is_err() {
                for step in &mut prepared.plan.steps[at + 1..] {
                    step.state = State::NotAttempted;
                }
                return outcome;
            }
        }
        self.check(prepared).await
    }

    async fn task(&mut self, prepared: &mut Prepared, task: &Task) -> Result<()> {
        match task {
            Task::PublishLayer(arn) => self.layer(prepared, arn).await,
            Task::Create(at) => self.create(prepared, *at).await,
            Task::Code(at) => self.code(prepared, *at).await,
            Task::Configuration(at) => self.configuration(prepared, *at).await,
            Task::Publish(at) => self.publish(prepared, *at).await,
            Task::Tags => self.tags(&prepared.tags).await,
            Task::Concurrency(reserved) => self.concurrency(*reserved).await,
            Task::Alias(at) => self.alias(prepared, *at).await,
            Task::EventSource(at) => self.event_source(&prepared.sources_of_events[*at]).await,
        }
    }

    async fn layer(&mut self, prepared: &mut Prepared, arn: &str) -> Result<()> {
        let Some(Fate::Publish { name, of, .. }) = prepared.layers.get(arn).cloned() else {
            return Ok(());
        };
        let kept = &prepared.versions[of];
        let lost = || Error::new(ErrorKind::Bug, "the layer has no record").about(arn);
        let record = kept.layer(arn).ok_or_else(lost)?;
        let stated = record.code_sha256.as_deref().ok_or_else(lost)?;
        let (package, answer) = kept.layer_package(self.store, record).await?;
        let input = layers::input(&answer);
        let payload = self
            .package(package, input, Map::new(), Some("Content"))
            .await?;
        let look = async || {
            let found = layers::of_same_code(self.lambda, &name, stated).await?;
            Ok(found.and_then(|arn| {
                Answer::of_value(json!({"LayerVersionArn": arn, "Content": {"CodeSha256": stated}}))
            }))
        };
        let write = Write::PublishLayerVersion(&name);
        let made = self.lambda.write(write, &payload, look).await?;
        same_code(made.text("/Content/CodeSha256"), Some(stated), arn)?;
        let new = made.text("/LayerVersionArn").unwrap_or_default().to_owned();
        prepared
            .layers
            .insert(arn.to_owned(), Fate::Used(new.clone()));
        prepared.plan.layers.insert(arn.to_owned(), Some(new));
        Ok(())
    }

    async fn create(&mut self, prepared: &Prepared, at: usize) -> Result<()> {
        let kept = &prepared.versions[at];
        let fields = wanted(kept, &prepared.layers)?;
        let mut input = fields.clone();
        let mut set = |name: &str, value: Value| input.insert(name.to_owned(), value);
        set("FunctionName", json!(self.place.name));
        set("PackageType", json!(kept.record.package_type));
        if !kept.architectures().is_null() {
            set("Architectures", kept.architectures().clone());
        }
        if !prepared.tags.is_empty() {
            set("Tags", Value::Object(prepared.tags.clone()));
        }
        let payload = self
            .payload(kept, &prepared.sources[at], input, Some("Code"))
            .await?;
        let name = self.name()?;
        let look = async || match self.lambda.configuration(&name).await {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
            Ok(there) if is(&there, kept, &fields) => Ok(Some(there.answer().clone())),
            Ok(_) => Err(Error::new(
                ErrorKind::Unsettled,
                "somebody else made a function of this name meanwhile",
            )
            .about(&*self.place.name)),
        };
        let write = Write::CreateFunction(&self.place.name);
        let made = self
            .lambda
            .write(write, &payload, look)
            .await
            .map_err(|e| {
                let role = e.kind() == ErrorKind::Usage && e.sentence().contains("role");
                if role {
                    return e.hint("--execution-role gives it another role");
                }
                e
            })?;
        made.text("/FunctionArn")
            .unwrap_or_default()
            .clone_into(&mut self.arn);
        let there = self
            .settled(Some(&made), |there| is(there, kept, &fields))
            .await?;
        self.same_build(&there, kept)
    }

    async fn code(&mut self, prepared: &Prepared, at: usize) -> Result<()> {
        let kept = &prepared.versions[at];
        let mut input = self.guarded();
        if !kept.architectures().is_null() {
            input.insert("Architectures".to_owned(), kept.architectures().clone());
        }
        let payload = self
            .payload(kept, &prepared.sources[at], input, None)
            .await?;
        let name = self.name()?;
        let referred = matches!(prepared.sources[at], CodeSource::Reference(..));
        // Who changed the configuration meanwhile is somebody else, even with this code.
        let before = self.fields.clone();
        let ours = |there: &Listed| {
            there.code_sha256_text() == kept.code_sha256()
                && same_architectures(there, kept)
                && target::listed_fields(there) == before
        };
        let look = async || {
            let there = self.lambda.configuration(&name).await?;
            if !ours(&there) || self.is_referred().await? != referred {
                return Ok(None);
            }
            Ok(Some(there.answer().clone()))
        };
        let write = Write::UpdateFunctionCode(&self.place.name);
        let made = self.lambda.write(write, &payload, look).await?;
        let there = self.settled(Some(&made), ours).await?;
        self.same_build(&there, kept)
    }

    async fn is_referred(&self) -> Result<bool> {
        let described = self.lambda.describe(&self.name()?).await?;
        Ok(target::is_referred(&described))
    }

    /// Makes sure that Lambda has the code of the backup, for the same processors.
    fn same_build(&self, there: &Listed, kept: &Kept) -> Result<()> {
        let name = &*self.place.name;
        same_code(there.code_sha256_text(), kept.code_sha256(), name)?;
        if same_architectures(there, kept) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Mismatch,
            "Lambda states other Architectures than the backup",
        )
        .about(name))
    }

    async fn configuration(&mut self, prepared: &Prepared, at: usize) -> Result<()> {
        let kept = &prepared.versions[at];
        let name = self.name()?;
        let there = self.lambda.configuration(&name).await?;
        let fields = wanted(kept, &prepared.layers)?;
        let (changes, _) = fields::differences(&target::listed_fields(&there), &fields);
        if changes.is_empty() {
            return Ok(());
        }
        let written = fields::update(&changes);
        let mut input = self.guarded();
        input.extend(written.clone());
        let payload = Payload::new(&input);
        let (before, code) = (target::listed_fields(&there), self.code.clone());
        let holds = |there: &Listed| {
            let is = target::listed_fields(there);
            fields::holds(&is, &fields)
                && fields::same_beside(&is, &before, &written)
                && there.code_sha256_text() == code.as_deref()
        };
        let look = async || {
            let there = self.lambda.configuration(&name).await?;
            Ok(holds(&there).then(|| there.answer().clone()))
        };
        let write = Write::UpdateFunctionConfiguration(&self.place.name);
        let made = self.lambda.write(write, &payload, look).await?;
        self.settled(Some(&made), holds).await?;
        Ok(())
    }

    async fn publish(&mut self, prepared: &mut Prepared, at: usize) -> Result<()> {
        let kept = &prepared.versions[at];
        let fields = wanted(kept, &prepared.layers)?;
        let mut input = self.guarded();
        if let Some(digest) = kept.code_sha256() {
            input.insert("CodeSha256".to_owned(), json!(digest));
        }
        let payload = Payload::new(&input);
        let look = async || {
            let versions = self.lambda.versions(&self.place.name).all().await?;
            let versions = versions.iter().filter(|v| v.version() != "$LATEST");
            let newest = versions.max_by_key(|version| target::number(version));
            let ours = newest.filter(|newest| is(newest, kept, &fields));
            Ok(ours.map(|newest| newest.answer().clone()))
        };
        let write = Write::PublishVersion(&self.place.name);
        let made = self.lambda.write(write, &payload, look).await?;
        let number = made.text("/Version").unwrap_or_default().to_owned();
        let subject = format!("{}:{number}", self.place.name);
        same_code(made.text("/CodeSha256"), kept.code_sha256(), &subject)?;
        let version = kept.version.clone();
        // What is published is `$LATEST` still, with another RevisionId.
        let unchanged = |there: &Listed| is(there, kept, &fields);
        self.settled(None, unchanged).await?;
        prepared.plan.versions.insert(version, Some(number));
        Ok(())
    }

    async fn tags(&self, tags: &Map<String, Value>) -> Result<()> {
        let mut input = Map::new();
        input.insert("Tags".to_owned(), Value::Object(tags.clone()));
        let write = Write::TagResource(&self.arn);
        // The same tags again do no harm.
        let again = async || Ok(None);
        self.lambda
            .write(write, &Payload::new(&input), again)
            .await?;
        Ok(())
    }

    async fn concurrency(&self, reserved: u64) -> Result<()> {
        let mut input = Map::new();
        input.insert("ReservedConcurrentExecutions".to_owned(), json!(reserved));
        let write = Write::PutFunctionConcurrency(&self.place.name);
        let again = async || Ok(None);
        self.lambda
            .write(write, &Payload::new(&input), again)
            .await?;
        Ok(())
    }

    async fn alias(&self, prepared: &Prepared, at: usize) -> Result<()> {
        let alias = &prepared.aliases[at];
        let numbers = &prepared.plan.versions;
        let input = alias.input(|version| match version {
            "$LATEST" => Some("$LATEST".to_owned()),
            version => numbers.get(version).cloned().flatten(),
        });
        let mut input = input.ok_or_else(|| {
            Error::new(ErrorKind::Bug, "a version of the alias has no number").about(&*alias.name)
        })?;
        let existing = prepared.existing.as_ref();
        let there = existing.and_then(|e| e.aliases.iter().find(|a| a.name == alias.name));
        let wanted = input.clone();
        let look = async || {
            let all = self.lambda.aliases(&self.place.name).await?;
            let same = all.into_iter().find(|a| a.name == alias.name);
            Ok(same
                .filter(|a| alias::Kept::is(&wanted, a))
                .map(|a| a.answer))
        };
        let write = if let Some(there) = there {
            if let Some(revision) = there.answer.text("/RevisionId") {
                input.insert("RevisionId".to_owned(), json!(revision));
            }
            Write::UpdateAlias(&self.place.name, &alias.name)
        } else {
            Write::CreateAlias(&self.place.name, &alias.name)
        };
        self.lambda
            .write(write, &Payload::new(&input), look)
            .await?;
        Ok(())
    }

    async fn event_source(&self, mapping: &Value) -> Result<()> {
        let name = &self.place.name;
        let function = match beside::qualifier(mapping) {
            Some(alias) => format!("{name}:{alias}"),
            None => name.clone(),
        };
        let payload = Payload::new(&beside::input(mapping, &function));
        let look = async || {
            let all = target::sources(self.lambda).await?;
            let ours = all.into_iter().find(|there| {
                let of = there["FunctionArn"].as_str();
                beside::same_source(mapping, there)
                    && of.is_some_and(|of| of.ends_with(&format!(":function:{function}")))
            });
            Ok(ours.and_then(Answer::of_value))
        };
        let write = Write::CreateEventSourceMapping(&function);
        self.lambda.write(write, &payload, look).await?;
        Ok(())
    }

    /// Compares what Lambda states now with the backup.
    async fn check(&mut self, prepared: &mut Prepared) -> Result<()> {
        let Some(last) = prepared.versions.last() else {
            return Ok(());
        };
        let there = self.lambda.configuration(&self.name()?).await?;
        let stated = there.code_sha256_text();
        prepared.plan.target.code_sha256 = stated.map(ToOwned::to_owned);
        prepared.plan.target.revision_id = there.revision_id().map(ToOwned::to_owned);
        self.same_build(&there, last)?;
        let other = |what: &str| {
            Error::new(
                ErrorKind::Mismatch,
                format!("Lambda states another {what} than was restored"),
            )
            .about(&*self.place.name)
            .hint(
                "somebody else may be changing it; run the same command again to see what differs",
            )
        };
        let referred = matches!(prepared.sources.last(), Some(CodeSource::Reference(..)));
        if self.is_referred().await? != referred {
            return Err(other("storage mode"));
        }
        let is = target::listed_fields(&there);
        let mut amiss = fields::amiss(&is, &wanted(last, &prepared.layers)?);
        // What the caller may not see cannot be compared.
        amiss.retain(|name| {
            let hidden = match *name {
                "Environment" => "/Environment/Error",
                "ImageConfig" => "/ImageConfigResponse/Error",
                _ => return true,
            };
            there.answer().get(hidden).is_none_or(Value::is_null)
        });
        if !amiss.is_empty() {
            return Err(other(&amiss.join(", ")));
        }
        prepared.plan.done = true;
        Ok(())
    }

    /// The request with the code of a version: in the object `within`, or in the request itself.
    async fn payload(
        &mut self,
        kept: &Kept,
        source: &CodeSource,
        input: Map<String, Value>,
        within: Option<&str>,
    ) -> Result<Payload> {
        let mut code = Map::new();
        let mut set = |name: &str, value: Value| code.insert(name.to_owned(), value);
        // Another account's key, or another region's, is no use.
        let key = kept.answer["Code"]["SourceKMSKeyArn"].as_str();
        let here = format!(":{}:{}:", self.place.region, self.place.account);
        if let Some(key) = key.filter(|key| key.contains(&here)) {
            set("SourceKMSKeyArn", json!(key));
        }
        match source {
            CodeSource::Image(uri) => {
                set("ImageUri", json!(uri));
            }
            CodeSource::Reference(bucket, key, version) => {
                set("S3Bucket", json!(bucket));
                set("S3Key", json!(key));
                if let Some(version) = version {
                    set("S3ObjectVersion", json!(version));
                }
                set("S3ObjectStorageMode", json!("REFERENCE"));
            }
            CodeSource::Zip => {
                let package = kept.package(self.store).await?;
                return self.package(package, input, code, within).await;
            }
        }
        Ok(Payload::new(&with_code(input, code, within)))
    }

    /// The request with a package: in it as base64, or by way of the staging bucket.
    async fn package(
        &mut self,
        package: Verified,
        input: Map<String, Value>,
        mut code: Map<String, Value>,
        within: Option<&str>,
    ) -> Result<Payload> {
        let Some(staging) = self.staging.filter(|_| package.size() > DIRECT) else {
            let path: Vec<&str> = within.into_iter().chain(["ZipFile"]).collect();
            return Payload::with_package(&with_code(input, code, within), &path, &package).await;
        };
        code.insert("S3Bucket".to_owned(), json!(staging.bucket()));
        code.insert("S3Key".to_owned(), json!(staging.key(&package)));
        // It is remembered before it is there, so that an interruption leaves nothing behind.
        self.staged.push(package);
        if let Some(package) = self.staged.last() {
            staging.put(package).await?;
        }
        Ok(Payload::new(&with_code(input, code, within)))
    }

    /// Removes what was staged.
    async fn clear(&mut self) {
        for package in std::mem::take(&mut self.staged) {
            let Some(staging) = self.staging else { return };
            if let Err(e) = staging.remove(&package).await {
                self.reporter.report(&Event::Warning {
                    subject: &format!("s3://{}/{}", staging.bucket(), staging.key(&package)),
                    message: &format!(
                        "this package was staged and could not be removed: {}",
                        e.message()
                    ),
                    hint: Some("remove it by hand, or have a lifecycle rule do it"),
                });
            }
        }
    }

    /// A request that is refused when somebody changed the function since it was last seen.
    fn guarded(&self) -> Map<String, Value> {
        let mut input = Map::new();
        if let Some(revision) = &self.revision {
            input.insert("RevisionId".to_owned(), json!(revision));
        }
        input
    }

    fn name(&self) -> Result<FunctionRef> {
        let name = &*self.place.name;
        name.parse().map_err(|e| Error::from(e).about(name))
    }

    /// Waits until the change has ended, and makes sure that it is the last one: by its `RevisionId`, which its end may
    /// change; by `LastModified`, which only a change sets; or by what it wrote.
    async fn settled(
        &mut self,
        made: Option<&Answer>,
        is_ours: impl Fn(&Listed) -> bool,
    ) -> Result<Listed> {
        let name = self.name()?;
        let (began, mut pause) = (Instant::now(), LOOKS.0);
        let there = loop {
            let there = self.lambda.configuration(&name).await?;
            let text = |pointer| there.answer().text(pointer);
            if target::under_way(text("/State"), text("/LastUpdateStatus")).is_none() {
                break there;
            }
            if began.elapsed() > LONGEST_CHANGE {
                return Err(Error::new(
                    ErrorKind::Timeout,
                    "Lambda has not ended the change in 10 minutes",
                )
                .about(name.to_string())
                .hint("run the same command again when it has"));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOKS.1);
        };
        for (state, why) in [
            ("/State", "/StateReason"),
            ("/LastUpdateStatus", "/LastUpdateStatusReason"),
        ] {
            if there.answer().text(state) == Some("Failed") {
                let code = there.answer().text(&format!("{why}Code"));
                let reason = there.answer().text(why);
                let (code, reason) = (code.unwrap_or("no code"), reason.unwrap_or("no reason"));
                return Err(Error::new(
                    ErrorKind::Service,
                    "Lambda could not carry the change out",
                )
                .about(name.to_string())
                .because(format!("{code}: {reason}")));
            }
        }
        let before = match made {
            Some(made) => made.text("/LastModified"),
            None => self.last_modified.as_deref(),
        };
        let ours = made.is_some_and(|made| made.text("/RevisionId") == there.revision_id())
            || before == there.last_modified()
            || is_ours(&there);
        if !ours {
            return Err(Error::new(ErrorKind::Unsettled, "somebody else changed it meanwhile")
                .about(name.to_string())
                .hint("nothing of theirs was overwritten; look who deploys it, then run the same command again"));
        }
        self.revision = there.revision_id().map(ToOwned::to_owned);
        self.last_modified = there.last_modified().map(ToOwned::to_owned);
        self.code = there.code_sha256_text().map(ToOwned::to_owned);
        self.fields = target::listed_fields(&there);
        Ok(there)
    }
}

/// The configuration of a version with the layers that are used.
fn wanted(kept: &Kept, layers: &BTreeMap<String, Fate>) -> Result<Fields> {
    prepare::mapped(&kept.fields, layers)
        .ok_or_else(|| Error::new(ErrorKind::Bug, "a layer was not published").about(&*kept.arn))
}

fn with_code(
    mut input: Map<String, Value>,
    code: Map<String, Value>,
    within: Option<&str>,
) -> Map<String, Value> {
    match within {
        Some(name) => {
            input.insert(name.to_owned(), Value::Object(code));
        }
        None => input.extend(code),
    }
    input
}

/// Whether this is the version: its code and its configuration.
fn is(there: &Listed, kept: &Kept, fields: &Fields) -> bool {
    there.code_sha256_text() == kept.code_sha256()
        && same_architectures(there, kept)
        && fields::holds(&target::listed_fields(there), fields)
}

fn same_architectures(there: &Listed, kept: &Kept) -> bool {
    let wanted = kept.architectures();
    wanted.is_null() || there.answer().get("/Architectures") == Some(wanted)
}

fn same_code(stated: Option<&str>, wanted: Option<&str>, subject: &str) -> Result<()> {
    if stated == wanted {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Mismatch,
        format!(
            "Lambda states CodeSha256 {}, and the backup {}",
            stated.unwrap_or("none"),
            wanted.unwrap_or("none")
        ),
    )
    .about(subject))
}
