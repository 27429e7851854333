//! `--config full`: what a function is beside its code, read call by call.
//!
//! The listing shows nothing of it: a policy or a URL may change and no version does. So with `--config full` all of it is read
//! in each run, of unchanged versions too. What is as it was leads to the same documents, of which nothing is stored again.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::documents::Documents;
use super::estimate::{Estimate, of_function, of_version};
use super::ledger::{Kind, Line};
use super::region::{Job, Shared, Trouble, lock};
use crate::error::{Error, ErrorKind};
use crate::events::{Event, Reporter as _};
use crate::lambda::{Lambda, Listed, Scope, SideAnswer, SideRead};
use crate::ops::fetch::to_milliseconds;
use crate::store::{Entry, Subject};

/// What the reads about one thing came to.
struct Reads<'a> {
    lambda: &'a Lambda,
    redact_env: bool,
    outcomes: Vec<Value>,
    files: Vec<(String, Vec<u8>)>,
    /// What was denied or failed.
    lacking: Vec<String>,
    failure: Option<Error>,
}

impl Reads<'_> {
    /// Makes a read about `function` and perhaps a qualifier. Answers an error only where nothing more can be asked.
    async fn read(
        &mut self,
        read: SideRead,
        function: &str,
        qualifier: Option<&str>,
    ) -> Result<(), Trouble> {
        let mut outcome =
            json!({"Operation": read.operation(), "Qualifier": qualifier, "Result": "found"});
        match self.lambda.side_read(read, function, qualifier).await {
            Ok((SideAnswer::Found(answer), _)) => {
                let name = file_name(read, qualifier);
                outcome["File"] = json!(name);
                self.files
                    .push((name, answer.to_recorded_json(self.redact_env)));
            }
            Ok((SideAnswer::NotSet, _)) => outcome["Result"] = json!("not_set"),
            Ok((SideAnswer::NotApplicable { code }, _)) => {
                outcome["Result"] = json!("not_applicable");
                outcome["Code"] = json!(code);
            }
            Ok((SideAnswer::Denied { code, action }, _)) => {
                outcome["Result"] = json!("denied");
                outcome["Code"] = json!(code);
                let why = format!("{} was denied: the caller needs {action}", read.operation());
                self.failure.get_or_insert_with(|| {
                    Error::new(ErrorKind::AccessDenied, why.clone()).about(function)
                });
                self.lacks(why);
            }
            Ok((SideAnswer::Unknown { status }, _)) => {
                outcome["Result"] = json!("unknown");
                outcome["Code"] = json!(status.to_string());
            }
            Err(e) => match Trouble::of(e) {
                Trouble::Own(e) => {
                    outcome["Result"] = json!("failed");
                    outcome["Code"] = json!(e.kind().name());
                    self.lacks(format!("{}: {}", read.operation(), e.message()));
                    self.failure.get_or_insert(e);
                }
                trouble => return Err(trouble),
            },
        }
        self.outcomes.push(outcome);
        Ok(())
    }

    fn lacks(&mut self, why: String) {
        if !self.lacking.contains(&why) {
            self.lacking.push(why);
        }
    }
}

impl Job<'_> {
    fn reads(&self) -> Reads<'_> {
        Reads {
            lambda: &self.lambda,
            redact_env: self.options.redact_env,
            outcomes: Vec::new(),
            files: Vec::new(),
            lacking: Vec::new(),
            failure: None,
        }
    }

    /// What belongs to a function as a whole and to its aliases.
    pub(super) async fn sides_of_function(
        &self,
        (ask, arn, image): (&str, &str, bool),
        aliases: &[String],
        shared: &Shared,
    ) -> Result<Option<Entry>, Trouble> {
        let asked_at = to_milliseconds(Timestamp::now());
        let mut reads = self.reads();
        for read in of_function(image) {
            reads.read(read, ask, None).await?;
        }
        for alias in aliases {
            reads.read(SideRead::Policy, ask, Some(alias)).await?;
        }
        self.keep_sides(reads, arn, "", asked_at, shared)
            .await
            .map(Some)
    }

    /// What belongs to one version.
    pub(super) async fn sides_of_version(
        &self,
        listed: &Listed,
        ask: &str,
        shared: &Shared,
    ) -> Result<Option<Entry>, Trouble> {
        let asked_at = to_milliseconds(Timestamp::now());
        let mut reads = self.reads();
        for read in of_version(listed.version(), is_scaled(listed)) {
            reads.read(read, ask, Some(listed.version())).await?;
        }
        let arn = listed.function_arn();
        self.keep_sides(reads, arn, listed.version(), asked_at, shared)
            .await
            .map(Some)
    }

    /// What belongs to the region: its event sources, of all functions together.
    pub(super) async fn sides_of_region(&self, shared: &Shared) -> Result<Option<Entry>, Trouble> {
        let asked_at = to_milliseconds(Timestamp::now());
        let mut reads = self.reads();
        reads.read(SideRead::EventSourceMappings, "", None).await?;
        let arn = format!(
            "arn:{}:lambda:{}:{}:event-source-mapping",
            partition(self.session.region()),
            self.session.region(),
            self.account.number
        );
        self.keep_sides(reads, &arn, "", asked_at, shared)
            .await
            .map(Some)
    }

    async fn keep_sides(
        &self,
        reads: Reads<'_>,
        arn: &str,
        version: &str,
        asked_at: String,
        shared: &Shared,
    ) -> Result<Entry, Trouble> {
        if !reads.lacking.is_empty() {
            let line = Line {
                kind: Kind::Config,
                arn: arn.to_owned(),
                version: version.to_owned(),
                status: crate::record::Status::Partial.name(),
                bytes: None,
                reason: Some(reads.lacking.join("; ")),
            };
            self.line(&line, reads.failure);
        }
        let arn = match version {
            "" => arn.to_owned(),
            version => format!("{arn}:{version}"),
        };
        let known = lock(&shared.prior).take(Subject::Config, &arn);
        let config = json!({"Arn": arn, "Reads": reads.outcomes});
        let documents = Documents {
            subject: Subject::Config,
            arn,
            asked_at,
            config: config.to_string().into_bytes(),
            files: reads.files,
            redacted: self.options.redact_env,
        };
        self.put_documents(documents, known).await
    }

    /// Says how long the reads will take, before they begin: one more sweep of the listing, which is a small part of them.
    pub(super) async fn say_how_long(&self) -> crate::error::Result<()> {
        if !self.options.functions.is_empty() || self.options.dry_run {
            return Ok(());
        }
        let (mut estimate, mut functions, mut versions) = (Estimate::default(), 0_u64, 0_u64);
        let mut pages = self.lambda.functions(Scope::All);
        estimate.call("ListEventSourceMappings", 1);
        while let Some(page) = pages.next().await? {
            // The listing was counted now, and comes again.
            estimate.call("ListFunctions", 1);
            for listed in page.iter().filter(|listed| listed.master_arn().is_none()) {
                versions += 1;
                estimate.reads(of_version(listed.version(), is_scaled(listed)));
                if listed.version() == "$LATEST" {
                    functions += 1;
                    estimate.call("ListAliases", 1);
                    estimate.reads(of_function(listed.package_type() == "Image"));
                }
            }
        }
        let seconds = estimate.seconds(self.max_rate).ceil();
        self.tally.report(&Event::Estimated {
            subject: &self.place(),
            functions,
            versions,
            calls: estimate.total(),
            time: std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            rate: self.max_rate,
        });
        Ok(())
    }
}

pub(super) fn is_scaled(listed: &Listed) -> bool {
    let provider = listed.answer().get("/CapacityProviderConfig");
    provider.is_some_and(|provider| !provider.is_null())
}

/// The file of an answer: `policy.json`, `policy-live.json`.
fn file_name(read: SideRead, qualifier: Option<&str>) -> String {
    let name = match read {
        SideRead::Policy => "policy",
        SideRead::UrlConfigs => "function-urls",
        SideRead::EventInvokeConfigs => "event-invoke-configs",
        SideRead::CodeSigningConfig => "code-signing-config",
        SideRead::RuntimeManagementConfig => "runtime-management-config",
        SideRead::ScalingConfig => "scaling-config",
        SideRead::ProvisionedConcurrencyConfigs => "provisioned-concurrency",
        SideRead::RecursionConfig => "recursion-config",
        SideRead::EventSourceMappings => "event-source-mappings",
    };
    match qualifier {
        Some(qualifier) => format!("{name}-{}.json", qualifier.trim_start_matches('$')),
        None => format!("{name}.json"),
    }
}

/// The ARN partition of a region (AWS General Reference, "Amazon Resource Names").
fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ if region.starts_with("us-isof-") => "aws-iso-f",
        _ if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}
