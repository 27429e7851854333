//! What a function is beside its code: policies, URLs, concurrency, event sources. Each read is recorded, also when there
//! is nothing to keep.

use serde::Serialize;
use serde_json::json;

use super::outcome::Trouble;
use super::{Place, Run, is_fatal};
use crate::error::{ErrorKind, Result};
use crate::events::{Event, Reporter as _};
use crate::lambda::{SideAnswer, SideRead};
use crate::record::Incomplete;

/// What became of one read.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SideOutcome {
    pub(super) operation: &'static str,
    pub(super) qualifier: Option<String>,
    /// `found`, `not_set`, `not_applicable`, `denied`, `unknown` (to the server) or `failed`.
    pub(super) result: &'static str,
    /// Where the answer lies, from the bag's root.
    pub(super) path: Option<String>,
    /// AWS's error code, or what failed.
    pub(super) code: Option<String>,
    pub(super) request_id: Option<String>,
}

/// The reads of one function.
#[derive(Debug, Default)]
pub(super) struct Sides {
    pub(super) outcomes: Vec<SideOutcome>,
    pub(super) incomplete: Vec<Incomplete>,
    pub(super) trouble: Option<Trouble>,
}

impl Sides {
    /// Something that could not be read.
    pub(super) fn lacks(&mut self, operation: &str, code: &str, trouble: Trouble) {
        self.incomplete.push(Incomplete {
            field: operation.to_owned(),
            code: code.to_owned(),
        });
        self.trouble.get_or_insert(trouble);
    }
}

/// The file that a read's answer is kept in.
fn file_name(read: SideRead) -> &'static str {
    match read {
        SideRead::Policy => "policy.json",
        SideRead::UrlConfigs => "function-urls.json",
        SideRead::EventInvokeConfigs => "event-invoke-configs.json",
        SideRead::CodeSigningConfig => "code-signing-config.json",
        SideRead::RuntimeManagementConfig => "runtime-management-config.json",
        SideRead::ScalingConfig => "scaling-config.json",
        SideRead::ProvisionedConcurrencyConfigs => "provisioned-concurrency.json",
        SideRead::RecursionConfig => "recursion-config.json",
        SideRead::EventSourceMappings => "event-source-mappings.json",
    }
}

impl Run<'_> {
    /// What is asked once a region.
    pub(super) async fn region(&self, place: &Place) -> Result<()> {
        let mut sides = Sides::default();
        let region = place.session.region();
        let directory = format!("data/regions/{}/{region}", self.account());
        let read = SideRead::EventSourceMappings;
        let before = self.documents.load(std::sync::atomic::Ordering::Relaxed);
        self.side(place, read, ("", None), &directory, &mut sides)
            .await?;
        // It says nothing of whether any function could be had.
        self.documents
            .store(before, std::sync::atomic::Ordering::Relaxed);
        if let Some(trouble) = sides.trouble {
            self.log.report(&Event::Warning {
                subject: region,
                message: &format!("event sources could not be listed: {}", trouble.reason),
                hint: Some("the bag does not tell which queues and streams invoke the functions"),
            });
        }
        Ok(())
    }

    /// Makes a read about `of`, a function and perhaps a qualifier, and keeps its answer in `directory`.
    ///
    /// # Errors
    /// The answer cannot be kept. What AWS does not give is recorded in `sides`.
    pub(super) async fn side(
        &self,
        place: &Place,
        read: SideRead,
        of: (&str, Option<&str>),
        directory: &str,
        sides: &mut Sides,
    ) -> Result<()> {
        let (function, qualifier) = of;
        let mut out = SideOutcome {
            operation: read.operation(),
            qualifier: qualifier.map(ToOwned::to_owned),
            result: "found",
            path: None,
            code: None,
            request_id: None,
        };
        match place.lambda.side_read(read, function, qualifier).await {
            Ok((answer, meta)) => {
                out.request_id = meta.request_id;
                self.keep_side(
                    answer,
                    &format!("{directory}/{}", file_name(read)),
                    &mut out,
                    sides,
                )?;
            }
            Err(e) if is_fatal(e.kind()) => return Err(e),
            Err(e) => {
                out.result = "failed";
                out.code = Some(e.kind().name().to_owned());
                sides.lacks(read.operation(), e.kind().name(), Trouble::of(&e));
            }
        }
        self.note_side(function, &out);
        sides.outcomes.push(out);
        Ok(())
    }

    fn keep_side(
        &self,
        answer: SideAnswer,
        path: &str,
        out: &mut SideOutcome,
        sides: &mut Sides,
    ) -> Result<()> {
        match answer {
            SideAnswer::Found(answer) => {
                let json = answer.to_recorded_json(self.options.redact_env);
                out.path = Some(self.document(path, &json)?.path);
            }
            SideAnswer::NotSet => out.result = "not_set",
            SideAnswer::NotApplicable { code } => {
                out.result = "not_applicable";
                out.code = Some(code);
            }
            SideAnswer::Denied { code, action } => {
                out.result = "denied";
                let trouble = Trouble {
                    kind: ErrorKind::AccessDenied,
                    reason: format!("{} was denied: the caller needs {action}", out.operation),
                    hint: None,
                };
                let code = code.unwrap_or_else(|| "AccessDenied".to_owned());
                sides.lacks(out.operation, &code, trouble);
                out.code = Some(code);
            }
            SideAnswer::Unknown { status } => {
                out.result = "unknown";
                out.code = Some(status.to_string());
            }
        }
        Ok(())
    }

    /// Records a read that is not made, because it is known that there can be nothing.
    pub(super) fn not_applicable(
        &self,
        read: SideRead,
        function: &str,
        qualifier: Option<&str>,
        why: &str,
        sides: &mut Sides,
    ) {
        let out = SideOutcome {
            operation: read.operation(),
            qualifier: qualifier.map(ToOwned::to_owned),
            result: "not_applicable",
            path: None,
            code: Some(why.to_owned()),
            request_id: None,
        };
        self.note_side(function, &out);
        sides.outcomes.push(out);
    }

    fn note_side(&self, function: &str, out: &SideOutcome) {
        self.log.note(
            "side_read",
            json!({"operation": out.operation, "function": function, "qualifier": out.qualifier, "result": out.result,
                "path": out.path, "code": out.code, "request_id": out.request_id}),
        );
    }
}
