//! The result of a check: what `--output json` prints, and what every report format is made from.
//!
//! Fields may be added within [`SCHEMA_VERSION`], never renamed. Nothing in it is a secret: of the environment there are
//! names only, and no location or credential. Texts may come from AWS or from an archive and hold anything: each format escapes
//! them for its own readers.

use serde::Serialize;
use serde_json::Value;

use crate::error::ErrorKind;
use crate::record::SCHEMA_VERSION;

/// The whole result.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// How many of each.
    pub summary: Summary,
    /// One for each function and qualifier that was compared, sorted by ARN, qualifier, alias and version.
    pub functions: Vec<FunctionResult>,
    /// What is not about one function: an exception that has expired or was not used, a resource that was left out.
    pub warnings: Vec<ReportWarning>,
}

impl Report {
    /// Counts `functions` and puts them in order.
    pub fn new(mut functions: Vec<FunctionResult>, warnings: Vec<ReportWarning>) -> Self {
        functions.sort_by(|a, b| a.order().cmp(&b.order()));
        let mut summary = Summary::default();
        for function in &functions {
            summary.count(function.status);
        }
        Self {
            schema_version: SCHEMA_VERSION,
            summary,
            functions,
            warnings,
        }
    }
}

/// How many results have each status; `checked` is their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// All of them.
    pub checked: u64,
    /// What runs is what is expected.
    pub in_sync: u64,
    /// The same contents in another zip.
    pub repackaged: u64,
    /// Something differs.
    pub drifted: u64,
    /// Expected, and not deployed.
    pub missing: u64,
    /// Deployed, and expected nowhere.
    pub unexpected: u64,
    /// It could not be told.
    pub unknown: u64,
    /// Differs in a way that is accepted.
    pub accepted: u64,
}

impl Summary {
    fn count(&mut self, status: Status) {
        self.checked += 1;
        *match status {
            Status::InSync => &mut self.in_sync,
            Status::Repackaged => &mut self.repackaged,
            Status::Drifted => &mut self.drifted,
            Status::Missing => &mut self.missing,
            Status::Unexpected => &mut self.unexpected,
            Status::Unknown => &mut self.unknown,
            Status::Accepted => &mut self.accepted,
        } += 1;
    }

    /// How many are a difference that the exit code tells.
    pub fn differences(&self) -> u64 {
        self.drifted + self.missing + self.unexpected
    }
}

/// How one comparison ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// What runs is what is expected.
    InSync,
    /// The same contents in another zip: in sync, and drifted with `--strict`.
    Repackaged,
    /// Something differs.
    Drifted,
    /// Expected, and not deployed.
    Missing,
    /// Deployed, and expected nowhere.
    Unexpected,
    /// It could not be told; `reason` and `cause` say why.
    Unknown,
    /// Differs, and an exception accepts it.
    Accepted,
}

impl Status {
    /// As in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Repackaged => "repackaged",
            Self::Drifted => "drifted",
            Self::Missing => "missing",
            Self::Unexpected => "unexpected",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
        }
    }

    /// Whether a reader has nothing to do about it.
    pub fn is_good(self) -> bool {
        matches!(self, Self::InSync | Self::Repackaged | Self::Accepted)
    }
}

/// One function at one qualifier.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionResult {
    /// The function's ARN without a qualifier; what the source calls it where no ARN is known.
    pub function: String,
    /// How it ended.
    pub status: Status,
    /// What was compared: `$LATEST`, or the version or alias that was asked for.
    pub qualifier: String,
    /// The alias that routes to what was compared, if it was reached through one.
    pub alias: Option<String>,
    /// One sentence: what differs, or why it could not be told. None for `in_sync`.
    pub reason: Option<String>,
    /// The kind of failure behind `unknown`, as in the errors' JSON.
    #[serde(serialize_with = "kind_name")]
    pub cause: Option<ErrorKind>,
    /// What was expected; None for `unexpected`.
    pub expected: Option<Expected>,
    /// What is deployed, as far as it is known; None for `missing`.
    pub deployed: Option<Deployed>,
    /// Which files differ, sorted by path. Empty where contents were not compared.
    pub changes: Vec<Change>,
    /// How many more files differ than `changes` lists.
    pub changes_left_out: u64,
    /// Layers, where the source states them: one for each that is expected or deployed.
    pub layers: Vec<LayerResult>,
    /// Configuration and routing that differ.
    pub config: Vec<ConfigChange>,
    /// Further plain sentences: which value was compared, what was left out of the comparison.
    pub notes: Vec<String>,
    /// Whether people should read the notes although there is nothing to do: they asked for what is in them.
    #[serde(skip)]
    pub notable: bool,
    /// The exception that accepts it.
    pub accepted: Option<Accepted>,
}

impl FunctionResult {
    /// A result without details.
    pub fn new(function: impl Into<String>, qualifier: impl Into<String>, status: Status) -> Self {
        Self {
            function: function.into(),
            status,
            qualifier: qualifier.into(),
            alias: None,
            reason: None,
            cause: None,
            expected: None,
            deployed: None,
            changes: Vec::new(),
            changes_left_out: 0,
            layers: Vec::new(),
            config: Vec::new(),
            notes: Vec::new(),
            notable: false,
            accepted: None,
        }
    }

    /// The function's bare name, for people: the last part of the ARN.
    pub fn name(&self) -> &str {
        match self.function.split_once(":function:") {
            Some((_, name)) => name,
            None => &self.function,
        }
    }

    fn order(&self) -> (&str, &str, Option<&str>, Option<&str>) {
        (
            &self.function,
            &self.qualifier,
            self.alias.as_deref(),
            self.deployed.as_ref().and_then(|d| d.version.as_deref()),
        )
    }
}

/// What was expected.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Expected {
    /// Who says so, in one text: the file or value as the user gave it.
    pub source: String,
    /// The file to point at, relative as the user gave it; None for a digest or function on the command line.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// What the function is called there.
    pub label: Option<String>,
    /// Which of several possible values was taken.
    pub basis: Option<String>,
    /// The version, where the source states one.
    pub version: Option<String>,
    /// The digest of the zip (base64) or image (hex), in the form of `CodeSha256`.
    pub code_sha256: Option<String>,
    /// `h1:…`, where contents are known.
    pub h1: Option<String>,
    /// `t1:…`, where contents are known.
    pub tree: Option<String>,
    /// The image reference.
    pub image_uri: Option<String>,
}

/// What is deployed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Deployed {
    /// `Version`: `$LATEST` or a number.
    pub version: Option<String>,
    /// The share of the alias's calls (0 to 1) that it gets, where it was reached through one.
    pub weight: Option<f64>,
    /// `Zip` or `Image`.
    pub package_type: Option<String>,
    /// `CodeSha256` as Lambda states it.
    pub code_sha256: Option<String>,
    /// `h1:…`, where contents were looked at.
    pub h1: Option<String>,
    /// `t1:…`, where contents were looked at.
    pub tree: Option<String>,
    /// `Code.ImageUri`, where it was asked for.
    pub image_uri: Option<String>,
    /// `LastModified`, as Lambda states it.
    pub last_modified: Option<String>,
}

/// One file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its path in the package.
    pub path: String,
    /// How it differs, seen from what is expected: `added` is deployed and not expected.
    pub change: ChangeKind,
    /// SHA-256 in hex of the expected content, for a file.
    pub expected_sha256: Option<String>,
    /// SHA-256 in hex of the deployed content, for a file.
    pub deployed_sha256: Option<String>,
    /// With `--diff`, the unified diff from what is expected to what is deployed; or, in brackets, why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// How a file differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Deployed, and not expected.
    Added,
    /// Expected, and not deployed.
    Removed,
    /// Another content, or a link with another target.
    Modified,
    /// The same content with another owner-executable bit.
    Mode,
    /// A file became a link, a directory became a file, and so on.
    Type,
}

impl ChangeKind {
    /// As in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Modified => "modified",
            Self::Mode => "mode",
            Self::Type => "type",
        }
    }
}

/// One layer that is expected or deployed.
#[derive(Debug, Clone, Serialize)]
pub struct LayerResult {
    /// How it compares.
    pub status: LayerStatus,
    /// The layer version that is expected: its ARN, or what the source calls it.
    pub expected: Option<String>,
    /// The layer version that is deployed: its ARN.
    pub deployed: Option<String>,
    /// The digest that is expected, in base64.
    pub expected_sha256: Option<String>,
    /// The digest that is deployed, in base64, where it was asked for.
    pub deployed_sha256: Option<String>,
    /// Why, where it is not in sync.
    pub reason: Option<String>,
    /// The kind of failure behind `unknown`, as in the errors' JSON.
    #[serde(serialize_with = "kind_name")]
    pub cause: Option<ErrorKind>,
    /// Which files differ, where contents were compared.
    pub changes: Vec<Change>,
}

/// How a layer compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerStatus {
    /// The same layer version, or another with the same zip.
    InSync,
    /// Another layer version with the same contents in another zip.
    Repackaged,
    /// Another layer version with other contents, or at another place in the order.
    Drifted,
    /// Expected, and not there.
    Missing,
    /// There, and not expected.
    Unexpected,
    /// It could not be told.
    Unknown,
}

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigChange {
    /// Its name in the lock: `runtime`, `memory_size`, `environment` (names only), `routing` and so on.
    pub field: String,
    /// What is expected.
    pub expected: Value,
    /// What is deployed.
    pub deployed: Value,
}

/// The exception that accepts a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// The status it would have without.
    pub status: Status,
    /// Who accepts it: `larder.lock`, or `FILE:LINE` of an accept file.
    pub by: String,
    /// Why, as written there.
    pub reason: Option<String>,
    /// The last day it is accepted on.
    pub until: Option<String>,
}

/// Something the user should know that is not about one result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportWarning {
    /// What it is about.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives a reference to the field"
)]
fn kind_name<S: serde::Serializer>(
    kind: &Option<ErrorKind>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    kind.map(ErrorKind::name).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_results_are_sorted() {
        let all = [
            Status::InSync,
            Status::Repackaged,
            Status::Drifted,
            Status::Missing,
            Status::Unexpected,
            Status::Unknown,
            Status::Accepted,
        ];
        let functions = all
            .iter()
            .rev()
            .enumerate()
            .map(|(i, status)| FunctionResult::new(format!("f{}", 9 - i), "$LATEST", *status))
            .collect();
        let report = Report::new(functions, Vec::new());
        let s = report.summary;
        assert_eq!(s.checked, 7);
        assert_eq!(s.differences(), 3);
        assert_eq!(
            s.in_sync + s.repackaged + s.differences() + s.unknown + s.accepted,
            s.checked
        );
        let names: Vec<_> = report.functions.iter().map(FunctionResult::name).collect();
        assert!(names.is_sorted(), "{names:?}");
        for status in all {
            let json = serde_json::to_value(status).unwrap();
            assert_eq!(json, status.name());
        }
    }
}
