//! From the backup and what is there to the steps between: every decision, before anything is changed.

mod adapt;
mod around;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::alias;
use super::beside::Beside;
use super::fields::{self, Fields};
use super::find::Found;
use super::kept::Kept;
use super::layers::{self, Fate};
use super::plan::{Need, NotRestored, Plan, Source, State, Step, Target};
use super::target::{self, Existing};
use super::to_lambda::{ToLambdaOptions, Versions};
use crate::aws::Session;
use crate::error::{ErrorKind, Result};
use crate::events::Reporter;
use crate::image::Registries;
use crate::lambda::Lambda;

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
    pub(super) registries: &'a Registries,
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
    #[expect(
        clippy::too_many_lines,
        reason = "the order of the decisions, each of which is a function of its own"
    )]
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
        for kept in &mut backup.versions {
            self.adapt(kept, &mut notes);
        }
        // These are only compared with what is there.
        for kept in &mut backup.others {
            self.adapt(kept, &mut Notes::default());
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
            Self::aliases(
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
            referred: target::is_referred(&existing.described),
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

fn text(existing: Option<&Existing>, pointer: &str) -> Option<String> {
    existing?.text(pointer).map(ToOwned::to_owned)
}

fn large(what: &str, size: u64) -> String {
    format!(
        "{what} has {size} bytes, and a request to Lambda takes {DIRECT} at the most: it must come from a bucket in the same region"
    )
}
