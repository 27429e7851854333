//! One function version: GetFunction, its code and layers, and GetFunction again to see whether it changed meanwhile.

use serde_json::{Value, json};

use super::function::{Subject, segment};
use super::outcome::{PackageOutcome, Trouble, VersionOutcome};
use super::package::{Had, Item};
use super::{Run, is_fatal, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter as _};
use crate::function::FunctionRef;
use crate::lambda::Described;
use crate::package::CodeLocation;
use crate::record::{FUNCTION_JSON, PACKAGE_ZIP, Status};
use crate::transfer::{Renew, Target};

/// What is compared to see a change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    revision_id: Option<String>,
    code_sha256: Option<String>,
}

impl State {
    fn of(described: &Described) -> Self {
        Self {
            revision_id: described.function().revision_id.clone(),
            code_sha256: described.code_sha256_text().map(ToOwned::to_owned),
        }
    }

    fn to_json(&self) -> Value {
        json!({"revision_id": self.revision_id, "code_sha256": self.code_sha256})
    }
}

impl Run<'_> {
    /// Takes the version `version` of `subject`, unless it was taken already under another name. The second value is the
    /// answer that its package belongs to.
    ///
    /// # Errors
    /// A fatal one.
    pub(super) async fn version(
        &self,
        subject: &Subject<'_>,
        version: &str,
    ) -> Result<Option<(VersionOutcome, Option<Described>)>> {
        let lambda = &subject.place.lambda;
        // Tags and reserved concurrency come only without a qualifier.
        let qualifier = (version != "$LATEST").then_some(version);
        let asked = FunctionRef::new(subject.function.unqualified(), qualifier)?;
        let first = match lambda.describe(&asked).await {
            Ok(described) => described,
            Err(e) if is_fatal(e.kind()) => return Err(e),
            Err(e) => {
                return Ok(Some((
                    VersionOutcome::failed(version, Trouble::of(&e)),
                    None,
                )));
            }
        };
        // A name that was taken for a version may be an alias after all.
        let number = match first.function().version.as_str() {
            "" => version,
            number => number,
        };
        let directory = format!("{}/versions/{}", subject.directory, segment(number)?);
        if !lock(&self.versions).insert(directory.clone()) {
            return Ok(None);
        }
        let mut out = VersionOutcome::new(number, Status::Saved);
        out.path = Some(directory.clone());
        let before = State::of(&first);
        let used = self
            .code(subject, &asked, first.clone(), &directory, &mut out)
            .await?;
        let state = State::of(&used);
        self.keep_answer(&used, &directory, FUNCTION_JSON)?;
        if state != before {
            self.keep_answer(&first, &directory, "function.before.json")?;
        }
        out.revision_id.clone_from(&state.revision_id);
        self.layers_of(subject.place, &used, &mut out).await?;
        out.incomplete = used.incomplete();
        if let Some(gap) = out.incomplete.first() {
            let reason = format!("the answer lacks {}: {}", gap.field, gap.code);
            out.lacks(Trouble {
                kind: kind_of_gap(&gap.code),
                reason,
                hint: hint_of_gap(&gap.field).map(ToOwned::to_owned),
            });
        }
        self.look_again(subject, &asked, (&before, &state), &directory, &mut out)
            .await?;
        Ok(Some((out, Some(used))))
    }

    /// The code, into `directory`. Gives the answer that it belongs to: the last one, when it changed on the way.
    async fn code(
        &self,
        subject: &Subject<'_>,
        asked: &FunctionRef,
        described: Described,
        directory: &str,
        out: &mut VersionOutcome,
    ) -> Result<Described> {
        let code = match described.code() {
            Ok(code) => code.clone(),
            Err(e) => {
                out.fail(Trouble::of(&e));
                return Ok(described);
            }
        };
        if let CodeLocation::Image(image) = &code {
            self.image(subject.place, &described, image, directory, out)
                .await?;
            return Ok(described);
        }
        let item = Item {
            arn: version_arn(&described),
            path: format!("{directory}/{PACKAGE_ZIP}"),
        };
        let claim = described.claim();
        let mut again = Again {
            subject,
            asked,
            latest: described,
        };
        let had = self
            .obtain(&subject.place.session, &item, (&code, claim), &mut again)
            .await?;
        note_package(had, &item, out);
        Ok(again.latest)
    }

    /// Asks once more. What differs then is kept beside what was taken, with its package if the code is another.
    async fn look_again(
        &self,
        subject: &Subject<'_>,
        asked: &FunctionRef,
        (before, used): (&State, &State),
        directory: &str,
        out: &mut VersionOutcome,
    ) -> Result<()> {
        let last = match subject.place.lambda.describe(asked).await {
            Ok(last) => last,
            Err(e) if is_fatal(e.kind()) => return Err(e),
            Err(e) => {
                let trouble = Trouble::of(&e);
                let gone = e.kind() == ErrorKind::NotFound;
                out.changed = gone.then_some(true);
                self.log.note(
                    "consistency",
                    json!({"subject": asked.to_string(), "before": before.to_json(), "taken": used.to_json(),
                        "after": null, "changed": out.changed, "reason": trouble.reason}),
                );
                return Ok(());
            }
        };
        let after = State::of(&last);
        let changed = after != *used || used != before;
        out.changed = Some(changed);
        self.log.note(
            "consistency",
            json!({"subject": version_arn(&last), "before": before.to_json(), "taken": used.to_json(),
                "after": after.to_json(), "changed": changed}),
        );
        if changed {
            self.log.report(&Event::Warning {
                subject: &version_arn(&last),
                message: "it changed while it was taken",
                hint: Some("what was had of both states is in the bag"),
            });
        }
        if after == *used {
            return Ok(());
        }
        self.keep_answer(&last, directory, "function.after.json")?;
        let code = last.code().ok().cloned();
        if let Some(code @ (CodeLocation::Zip(_) | CodeLocation::Object(_))) = code
            && after.code_sha256 != used.code_sha256
        {
            let item = Item {
                arn: version_arn(&last),
                path: format!("{directory}/package.after.zip"),
            };
            let claim = last.claim();
            let mut again = Again {
                subject,
                asked,
                latest: last,
            };
            let had = self
                .obtain(&subject.place.session, &item, (&code, claim), &mut again)
                .await?;
            if !matches!(had, Had::Verified(_)) {
                let mut second = VersionOutcome::new(&out.version, Status::Saved);
                note_package(had, &item, &mut second);
                out.lacks(Trouble {
                    kind: second.cause.unwrap_or(ErrorKind::Unsettled),
                    reason: format!(
                        "the package that it changed to could not be had: {}",
                        second.reason.unwrap_or_default()
                    ),
                    hint: second.hint,
                });
            }
        }
        Ok(())
    }

    fn keep_answer(&self, described: &Described, directory: &str, name: &str) -> Result<()> {
        let json = described.answer().to_recorded_json(self.options.redact_env);
        self.document(&format!("{directory}/{name}"), &json)?;
        Ok(())
    }
}

/// What became of a version's package.
fn note_package(had: Had, item: &Item, out: &mut VersionOutcome) {
    match had {
        Had::Verified(kept) => out.package = Some(kept.outcome(true)),
        Had::Refuted(kept, reason) => {
            let package: PackageOutcome = kept.outcome(false);
            let reason = format!(
                "{reason}; what was served is in quarantine: {}",
                package.path
            );
            out.package = Some(package);
            out.fail(Trouble {
                kind: ErrorKind::Mismatch,
                reason,
                hint: None,
            });
        }
        Had::Not(error) => {
            let error: Error = error.about(&*item.arn);
            out.fail(Trouble::of(&error));
        }
    }
}

/// The ARN with the version at its end, `$LATEST` too.
pub(super) fn version_arn(described: &Described) -> String {
    let function = described.function();
    if function.arn.match_indices(':').nth(6).is_some() || function.arn.is_empty() {
        return function.arn.clone();
    }
    format!("{}:{}", function.arn, function.version)
}

/// What would bring a missing part of an answer.
fn hint_of_gap(field: &str) -> Option<&'static str> {
    match field {
        "Tags" => Some("the caller needs the IAM action lambda:ListTags on the function"),
        "Environment" | "ImageConfigResponse" => {
            Some("the caller needs the IAM action kms:Decrypt on the function's KMS key")
        }
        _ => None,
    }
}

/// A part of an answer is missing by somebody's denial, or because a service was in the way.
fn kind_of_gap(code: &str) -> ErrorKind {
    let code = code.to_ascii_lowercase();
    if code.contains("denied") || code.contains("unauthorized") {
        ErrorKind::AccessDenied
    } else if code.contains("notfound") {
        ErrorKind::NotFound
    } else {
        ErrorKind::Service
    }
}

/// Asks GetFunction again when a URL has ended or bytes do not match.
struct Again<'a> {
    subject: &'a Subject<'a>,
    asked: &'a FunctionRef,
    latest: Described,
}

impl Renew for Again<'_> {
    async fn renew(&mut self) -> Result<Target> {
        let described = self.subject.place.lambda.describe(self.asked).await?;
        let claim = described.claim()?;
        let session = &self.subject.place.session;
        let target = crate::ops::target(session, described.code()?, claim).await?;
        self.latest = described;
        Ok(target)
    }
}
