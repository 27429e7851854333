//! One function: at `$LATEST`, at each qualifier, and at what its aliases route to.

use super::code::{Outcome, deployed_of};
use super::jobs::{Job, NOTHING};
use super::wanted::Subject;
use super::{Checker, layers};
use crate::drift::accept;
use crate::drift::diff::Secrets;
use crate::drift::{
    Code, Config, Expected, FunctionResult, LayerStatus, Source, SourceKind, State, Status,
};
use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;
use crate::lambda::Listed;
use crate::ops::deployed::{Found, Place};
use serde_json::Value;

impl Checker {
    pub(super) async fn function(&mut self, place: &mut Place, job: &Job) -> Result<()> {
        let from = self.results.len();
        self.all_of(place, job).await?;
        if let Some(exception) = &job.expectation.accept {
            let by = &job.expectation.source.path;
            let (mut used, mut warnings) = (false, Vec::new());
            for result in &mut self.results[from..] {
                let (warning, was_used) =
                    accept::apply_lock(exception, result, by, self.options.today);
                used |= was_used;
                warnings.extend(warning);
            }
            let name = job.function.name().to_owned();
            if let Some(warning) = warnings.into_iter().next() {
                self.warn(&name, &warning.message, warning.hint.as_deref());
            } else if !used {
                let message =
                    format!("{by} accepts a difference of this function that there is not");
                self.warn(
                    &name,
                    &message,
                    Some("remove the exception if it is not needed any more"),
                );
            }
        }
        Ok(())
    }

    async fn all_of(&mut self, place: &mut Place, job: &Job) -> Result<()> {
        let expectation = &job.expectation;
        if expectation.state.code == Code::CannotTell(NOTHING.to_owned()) {
            return self.nothing_expected(place, job).await;
        }
        let mut done: Vec<String> = Vec::new();
        match &job.only {
            // A version, or $LATEST; an alias is looked at as one, with all that it routes to.
            Some(only) if is_version(only) => {
                self.at(place, job, only, &expectation.state).await?;
                return Ok(());
            }
            Some(alias) => {
                let alias = alias.clone();
                return self.named_alias(place, job, &alias).await;
            }
            None => {
                let there = self.at(place, job, "$LATEST", &expectation.state).await?;
                done.push("$LATEST".to_owned());
                if !there {
                    // Without the function there is nothing else of it either, but for what was named.
                    return self.qualified(place, job, &job.also, done).await;
                }
            }
        }
        if self.options.aliases || !expectation.aliases.is_empty() || expectation.aliases_complete {
            done.extend(self.aliases_of(place, job).await?);
        }
        let mut qualifiers = self.options.qualifiers.clone();
        qualifiers.extend(job.also.iter().cloned());
        self.qualified(place, job, &qualifiers, done).await
    }

    /// Compares the function at versions and aliases that were named, but for those that are done.
    async fn qualified(
        &mut self,
        place: &mut Place,
        job: &Job,
        qualifiers: &[String],
        mut done: Vec<String>,
    ) -> Result<()> {
        let expectation = &job.expectation;
        for qualifier in qualifiers.iter().cloned() {
            if done.contains(&qualifier) {
                continue;
            }
            if is_version(&qualifier) {
                // A version that the source knows by its number is compared with what it knows.
                let known = expectation
                    .aliases
                    .iter()
                    .find_map(|a| a.versions.get(&qualifier));
                let state = known.unwrap_or(&expectation.state).clone();
                self.at(place, job, &qualifier, &state).await?;
            } else {
                self.named_alias(place, job, &qualifier).await?;
            }
            done.push(qualifier);
        }
        Ok(())
    }

    /// A function that the user wants checked and no source knows.
    async fn nothing_expected(&mut self, place: &mut Place, job: &Job) -> Result<()> {
        let qualifier = job.only.clone().unwrap_or_else(|| "$LATEST".to_owned());
        match place.find(&job.function, &qualifier).await {
            Ok(Some(found)) => {
                let arn = found.listed.function_arn();
                let mut result = FunctionResult::new(arn, qualifier, Status::Unexpected);
                result.reason = Some("it is deployed, and expected nowhere".to_owned());
                result.deployed = Some(deployed_of(&found.listed));
                self.results.push(result);
            }
            Ok(None) => {
                let error = Error::new(
                    ErrorKind::NotFound,
                    "there is no such function, and nothing is expected of it",
                );
                self.failed(place, job, &error);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
            Err(e) => self.failed(place, job, &e),
        }
        Ok(())
    }

    /// Compares the function at one version. False when it is not there.
    async fn at(
        &mut self,
        place: &mut Place,
        job: &Job,
        qualifier: &str,
        state: &State,
    ) -> Result<bool> {
        let mut result = FunctionResult::new(arn_of(place, job), qualifier, Status::Missing);
        result.expected = Some(expected_of(&job.expectation.source));
        result.notes.clone_from(&job.expectation.notes);
        match place.find(&job.function, qualifier).await {
            Ok(Some(found)) => {
                let there = self
                    .compare(place, job, qualifier, state, found, result)
                    .await?;
                self.results.push(there);
                Ok(true)
            }
            Ok(None) => {
                let what = if qualifier == "$LATEST" {
                    "function".to_owned()
                } else {
                    format!("version {qualifier}")
                };
                result.reason = Some(format!("there is no such {what}"));
                self.results.push(result);
                Ok(false)
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            Err(e) => {
                unknown(&mut result, &e);
                self.results.push(result);
                Ok(false)
            }
        }
    }

    /// Compares a version that was found with `state`, and fills in `result`.
    pub(super) async fn compare(
        &mut self,
        place: &mut Place,
        job: &Job,
        version: &str,
        state: &State,
        found: Found,
        mut result: FunctionResult,
    ) -> Result<FunctionResult> {
        let command_line = job.expectation.source.kind == SourceKind::CommandLine;
        found.listed.function_arn().clone_into(&mut result.function);
        result.deployed = Some(deployed_of(&found.listed)).map(|mut deployed| {
            deployed.weight = result.deployed.and_then(|d| d.weight);
            deployed
        });
        if let Some(account) = &job.expectation.target.account
            && found.listed.account() != account
        {
            let error = Error::new(
                ErrorKind::Usage,
                format!(
                    "the source is about account {account}, and this function is of {}",
                    found.listed.account()
                ),
            );
            unknown(&mut result, &error);
            return Ok(result);
        }
        let subject = Subject {
            name: found.listed.name(),
            version: found.listed.version(),
            region: place.session.region(),
            account: found.listed.account(),
        };
        let wanted = Box::pin(self.wanted(&state.code, command_line, Some(&subject)));
        let wanted = match wanted.await {
            Ok(wanted) => wanted,
            Err(e) if fatal(&e, command_line) => return Err(e),
            Err(e) => {
                unknown(&mut result, &e);
                return Ok(result);
            }
        };
        // Equal by what the listing says: then nothing else is asked. Otherwise it may be about to be equal.
        let listed = if found.with_state || !same_digest(&wanted, &found.listed) {
            match place
                .settled(&job.function, version, found, self.options.wait)
                .await
            {
                Ok(listed) => listed,
                Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
                Err(e) => {
                    unknown(&mut result, &e);
                    return Ok(result);
                }
            }
        } else {
            found.listed
        };
        let qualifier = (version != "$LATEST").then_some(version);
        let function = FunctionRef::new(job.function.unqualified(), qualifier)
            .map_err(|e| Error::from(e).about(job.function.to_string()))?;
        let secrets = secrets_of(&listed);
        let code = Box::pin(self.code(place, &wanted, &function, &listed, &secrets));
        let outcome = match code.await {
            Ok(outcome) => outcome,
            Err(e) if fatal(&e, command_line) => return Err(e),
            Err(e) => Outcome {
                deployed: deployed_of(&listed),
                ..Outcome::default()
            }
            .unknown(&e),
        };
        self.put(place, job, state, &listed, outcome, &mut result)
            .await?;
        Ok(result)
    }

    /// Puts together what was found about code, layers and configuration.
    async fn put(
        &mut self,
        place: &Place,
        job: &Job,
        state: &State,
        listed: &Listed,
        outcome: Outcome,
        result: &mut FunctionResult,
    ) -> Result<()> {
        let command_line = job.expectation.source.kind == SourceKind::CommandLine;
        let weight = result.deployed.as_ref().and_then(|d| d.weight);
        let mut expected = result.expected.take().unwrap_or_default();
        expected.basis = outcome.expected.basis;
        expected.code_sha256 = outcome.expected.code_sha256;
        expected.h1 = outcome.expected.h1;
        expected.tree = outcome.expected.tree;
        expected.image_uri = outcome.expected.image_uri;
        result.expected = Some(expected);
        result.deployed = Some(outcome.deployed).map(|mut deployed| {
            deployed.weight = weight;
            deployed
        });
        result.status = outcome.status.unwrap_or(Status::InSync);
        result.reason = outcome.reason;
        result.cause = outcome.cause;
        result.changes = outcome.changes.list;
        result.changes_left_out = outcome.changes.left_out;
        result.notes.extend(outcome.notes);
        result.notable |= outcome.notable;
        if listed.answer().text("/LastUpdateStatus") == Some("Failed") {
            result
                .notes
                .push("the last update of the function failed".to_owned());
        }
        let mut reasons: Vec<String> = Vec::new();
        if let Some(expected) = &state.layers {
            let layers = Box::pin(self.layers(place, expected, listed, command_line));
            result.layers = layers.await?;
            let bad: Vec<_> = result
                .layers
                .iter()
                .filter(|l| !matches!(l.status, LayerStatus::InSync | LayerStatus::Repackaged))
                .collect();
            if !bad.is_empty() && bad.iter().all(|l| l.status == LayerStatus::Unknown) {
                if let Some(error) = layers::unknown(&result.layers)
                    && result.status != Status::Drifted
                {
                    unknown(result, &error);
                }
            } else if !bad.is_empty() {
                reasons.push(match bad.len() {
                    1 => "1 layer differs".to_owned(),
                    n => format!("{n} layers differ"),
                });
            }
        }
        if self.options.config {
            let deployed = Config::of(listed);
            let stated = stated_config(&state.config, listed);
            let unreadable = listed.answer().get("/Environment/Error").is_some();
            let mut changes = stated.differences(&deployed);
            if unreadable {
                changes.retain(|change| change.field != "environment");
                if stated.environment.is_some() {
                    result.notes.push(
                        "the names of environment variables could not be read: kms:Decrypt is denied"
                            .to_owned(),
                    );
                }
            }
            if !changes.is_empty() {
                let fields: Vec<&str> = changes.iter().map(|c| c.field.as_str()).collect();
                reasons.push(format!("configuration: {}", fields.join(", ")));
            }
            result.config.extend(changes);
            if !stated.unreadable.is_empty() {
                let fields: Vec<&str> = stated.unreadable.iter().map(String::as_str).collect();
                let reason = format!(
                    "what the source says of its configuration cannot be read: {}",
                    fields.join(", ")
                );
                if result.status == Status::Drifted || !reasons.is_empty() {
                    result.notes.push(reason);
                } else {
                    unknown(result, &Error::new(ErrorKind::Usage, reason));
                }
            }
        }
        if !reasons.is_empty() {
            drifted(result, &reasons.join("; "));
        }
        Ok(())
    }
}

/// Makes a result drifted, for this reason beside what it has.
pub(super) fn drifted(result: &mut FunctionResult, reason: &str) {
    let before = result.reason.take();
    result.reason = Some(match (result.status, before) {
        (Status::Drifted | Status::Unknown, Some(before)) => format!("{before}; {reason}"),
        _ => reason.to_owned(),
    });
    result.status = Status::Drifted;
    result.cause = None;
}

pub(super) fn unknown(result: &mut FunctionResult, error: &Error) {
    result.status = Status::Unknown;
    result.reason = Some(error.sentence());
    result.cause = Some(error.kind());
    result
        .notes
        .extend(error.hint_text().map(ToOwned::to_owned));
}

/// A failure that is the run's, not one function's: what the command line itself names cannot be used.
fn fatal(error: &Error, command_line: bool) -> bool {
    match error.kind() {
        ErrorKind::Interrupted | ErrorKind::Bug => true,
        ErrorKind::Usage | ErrorKind::Io | ErrorKind::ArchiveBroken | ErrorKind::ArchiveUnsafe => {
            command_line
        }
        _ => false,
    }
}

/// A number or `$LATEST`, and no alias.
pub(super) fn is_version(qualifier: &str) -> bool {
    qualifier == "$LATEST" || qualifier.bytes().all(|b| b.is_ascii_digit())
}

/// The ARN, as far as it is known without an answer.
pub(super) fn arn_of(place: &Place, job: &Job) -> String {
    let function = &job.function;
    let account = function.account().map(ToOwned::to_owned);
    match account.or_else(|| job.expectation.target.account.clone()) {
        Some(account) => format!(
            "arn:{}:lambda:{}:{account}:function:{}",
            function.partition().unwrap_or("aws"),
            place.session.region(),
            function.name()
        ),
        None => function.name().to_owned(),
    }
}

/// What a report says of a source.
pub(super) fn expected_of(source: &Source) -> Expected {
    let is_file =
        source.kind != SourceKind::CommandLine || crate::files::exists(source.path.as_ref());
    Expected {
        source: source.path.clone(),
        file: (is_file && !source.path.is_empty()).then(|| source.path.clone()),
        line: source.line,
        label: source.label.clone(),
        ..Expected::default()
    }
}

/// The values of the function's environment variables: never to be shown.
fn secrets_of(listed: &Listed) -> Secrets {
    let variables = listed.answer().get("/Environment/Variables");
    let variables = variables.and_then(Value::as_object);
    Secrets::new(
        variables
            .into_iter()
            .flat_map(|map| map.values())
            .filter_map(Value::as_str)
            .map(ToOwned::to_owned),
    )
}

/// Whether a listing already says that the code is what is wanted.
fn same_digest(wanted: &super::wanted::Wanted, listed: &Listed) -> bool {
    use super::wanted::Wanted;
    let digest = listed.code_sha256_text().and_then(|text| text.parse().ok());
    match wanted {
        Wanted::Unstated => true,
        Wanted::Zip(zip) => Some(zip.sha256) == digest,
        Wanted::Image(image) => image.digest.is_some() && image.digest == digest,
        Wanted::Directory { .. } => false,
    }
}

/// What is stated of the configuration, with ARNs of the function's own account whole.
fn stated_config(config: &Config, listed: &Listed) -> Config {
    let role = config.role.as_deref();
    Config {
        role: role.map(|arn| crate::drift::lock::with_account(arn, listed.account())),
        ..config.clone()
    }
}
