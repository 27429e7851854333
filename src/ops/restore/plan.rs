//! What a restore to Lambda would do, or did: the value that is printed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::ErrorKind;

/// The plan, and how far it was carried out. Holds no value of an environment variable.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// 1.
    pub schema_version: u32,
    /// Whether all of it is done, CodeSha256 compared.
    pub done: bool,
    /// Where it comes from.
    pub source: Source,
    /// What becomes of it.
    pub target: Target,
    /// In the order in which it is done. None: the target is what the backup says.
    pub steps: Vec<Step>,
    /// Each layer version of the backup, and which is used in its place; null for one that is still to be published.
    pub layers: BTreeMap<String, Option<String>>,
    /// Each version of the backup that gets or has a number in the target; null for one that is still to be published.
    pub versions: BTreeMap<String, Option<String>>,
    /// What must be given before anything can be done.
    pub needs: Vec<Need>,
    /// What does not come back.
    pub not_restored: Vec<NotRestored>,
}

/// The backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The run.
    pub run: String,
    /// The function's ARN, without a version.
    pub function: String,
    /// The versions that are restored, in order. The last becomes `$LATEST`.
    pub versions: Vec<String>,
    /// CodeSha256 of the last.
    pub code_sha256: Option<String>,
}

/// The function that is made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its name.
    pub function: String,
    /// The account, 12 digits.
    pub account: String,
    /// The region.
    pub region: String,
    /// Whether it was there already.
    pub exists: bool,
    /// `RevisionId` when it was looked at: what guards the first change.
    pub revision_id: Option<String>,
    /// CodeSha256 in AWS: before anything is done, and once done, after it.
    pub code_sha256: Option<String>,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not begun.
    Planned,
    /// Done.
    Done,
    /// It failed, or was interrupted: what came of it, the next run finds.
    Failed,
    /// Left out, because a step before it failed.
    NotAttempted,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What is done, as in `create_function`.
    pub action: &'static str,
    /// To what.
    pub subject: String,
    /// More about it.
    pub detail: String,
    /// How far it is.
    pub state: State,
}

/// What is lacking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The option that gives it.
    pub option: &'static str,
    /// Why.
    pub reason: String,
    #[serde(skip)]
    pub(super) kind: ErrorKind,
}

/// What does not come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotRestored {
    /// What.
    pub what: String,
    /// Why, or what becomes of it.
    pub reason: String,
}

impl NotRestored {
    pub(super) fn new(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            reason: reason.into(),
        }
    }
}

impl Need {
    pub(super) fn new(option: &'static str, reason: impl Into<String>) -> Self {
        Self {
            option,
            reason: reason.into(),
            kind: ErrorKind::Usage,
        }
    }
}

impl Step {
    /// The action in words, as in `create function`.
    pub fn words(&self) -> String {
        self.action.replace('_', " ")
    }
}
