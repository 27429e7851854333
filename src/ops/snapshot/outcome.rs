//! How functions, their versions and layers ended.

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind};
use crate::record::{ImageRecord, Incomplete, Status};

/// Why something could not be had.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) kind: ErrorKind,
    pub(super) reason: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

impl Trouble {
    pub(super) fn of(error: &Error) -> Self {
        let mut reason = error.message().to_owned();
        for cause in error.causes() {
            reason.push_str(": ");
            reason.push_str(&cause);
        }
        Self {
            kind: error.kind(),
            reason,
            hint: error.hint_text().map(ToOwned::to_owned),
        }
    }

    pub(super) fn status(&self) -> Status {
        match self.kind {
            ErrorKind::NotFound => Status::Gone,
            ErrorKind::AccessDenied | ErrorKind::NoCredentials | ErrorKind::CredentialsRefused => {
                Status::Denied
            }
            ErrorKind::Throttled
            | ErrorKind::Service
            | ErrorKind::Timeout
            | ErrorKind::Network
            | ErrorKind::Transfer
            | ErrorKind::UrlExpired
            | ErrorKind::Unsettled
            | ErrorKind::NoCode => Status::Unavailable,
            _ => Status::Failed,
        }
    }
}

/// A package in the bag.
#[derive(Debug, Clone, Serialize)]
pub struct PackageOutcome {
    /// Where it lies, from the bag's root.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// In hex, computed.
    pub sha256: String,
    /// As AWS states it.
    pub code_sha256: Option<String>,
    /// As AWS states it, in bytes.
    pub code_size: Option<u64>,
    /// Whether the bytes are what AWS states. If not, they are in quarantine.
    pub verified: bool,
}

/// How a function version ended.
#[derive(Debug, Clone, Serialize)]
pub struct VersionOutcome {
    /// `$LATEST` or a number.
    pub version: String,
    /// How it ended.
    pub status: Status,
    /// Where its documents lie, from the bag's root.
    pub path: Option<String>,
    /// `RevisionId` of the answer that the package belongs to.
    pub revision_id: Option<String>,
    /// The zip.
    pub package: Option<PackageOutcome>,
    /// The image.
    pub image: Option<ImageRecord>,
    /// ARNs of its layer versions, in the order in which Lambda applies them.
    pub layers: Vec<String>,
    /// What the answer lacks.
    pub incomplete: Vec<Incomplete>,
    /// Whether it changed while it was taken; None where that could not be told.
    pub changed: Option<bool>,
    /// Why it is not whole.
    pub reason: Option<String>,
    #[serde(skip)]
    pub(super) cause: Option<ErrorKind>,
    #[serde(skip)]
    pub(super) hint: Option<String>,
}

impl VersionOutcome {
    pub(super) fn new(version: &str, status: Status) -> Self {
        Self {
            version: version.to_owned(),
            status,
            path: None,
            revision_id: None,
            package: None,
            image: None,
            layers: Vec::new(),
            incomplete: Vec::new(),
            changed: None,
            reason: None,
            cause: None,
            hint: None,
        }
    }

    pub(super) fn failed(version: &str, trouble: Trouble) -> Self {
        let mut out = Self::new(version, trouble.status());
        out.fail(trouble);
        out
    }

    /// Notes the first reason why it is not whole.
    pub(super) fn fail(&mut self, trouble: Trouble) {
        if self.cause.is_none() {
            self.status = trouble.status();
            self.cause = Some(trouble.kind);
            self.reason = Some(trouble.reason);
            self.hint = trouble.hint;
        }
    }

    /// It is there, and something beside it is not.
    pub(super) fn lacks(&mut self, trouble: Trouble) {
        if self.cause.is_none() {
            self.status = Status::Partial;
            self.cause = Some(trouble.kind);
            self.reason = Some(trouble.reason);
            self.hint = trouble.hint;
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self.status, Status::Saved | Status::Image)
    }
}

/// How a function ended.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionOutcome {
    /// Its ARN, or how it was named where it has none that is known.
    pub function: String,
    /// The region that was asked.
    pub region: String,
    /// How it ended: `partial` when some of it could not be had.
    pub status: Status,
    /// The versions that were taken.
    pub versions: Vec<VersionOutcome>,
    /// Reads that were denied or failed, by operation.
    pub incomplete: Vec<Incomplete>,
    /// Why it is not whole.
    pub reason: Option<String>,
    /// Whether something of it is not what AWS states; the bytes are in quarantine.
    pub mismatch: bool,
    /// Whether it changed while it was taken.
    pub changed: bool,
    #[serde(skip)]
    pub(super) cause: Option<ErrorKind>,
    #[serde(skip)]
    pub(super) hint: Option<String>,
}

impl FunctionOutcome {
    /// What to do about what is missing, if something is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What kind of failure it ended with, if it is not whole.
    pub fn cause(&self) -> Option<ErrorKind> {
        self.cause
    }

    /// Puts together what became of the versions, and of the reads beside them.
    pub(super) fn of(
        function: String,
        region: String,
        versions: Vec<VersionOutcome>,
        incomplete: Vec<Incomplete>,
        trouble: Option<Trouble>,
    ) -> Self {
        let broken: Vec<&VersionOutcome> = versions.iter().filter(|v| !v.is_whole()).collect();
        let first = broken.first();
        let status = match (first, versions.first()) {
            (None, Some(version)) if trouble.is_none() => version.status,
            (Some(first), _) if broken.len() == versions.len() => first.status,
            // A function without any version of those that were chosen.
            (None, None) => trouble.as_ref().map_or(Status::Saved, Trouble::status),
            _ => Status::Partial,
        };
        let (cause, reason, hint) = match (first, trouble) {
            (Some(first), _) => (first.cause, first.reason.clone(), first.hint.clone()),
            (None, Some(trouble)) => (Some(trouble.kind), Some(trouble.reason), trouble.hint),
            (None, None) => (None, None, None),
        };
        Self {
            function,
            region,
            status,
            mismatch: versions
                .iter()
                .any(|v| v.cause == Some(ErrorKind::Mismatch)),
            changed: versions.iter().any(|v| v.changed == Some(true)),
            versions,
            incomplete,
            reason,
            cause,
            hint,
        }
    }

    /// Nothing of it could be had.
    pub(super) fn failed(function: String, region: String, trouble: Trouble) -> Self {
        Self::of(function, region, Vec::new(), Vec::new(), Some(trouble))
    }

    pub(super) fn status_name(&self) -> &'static str {
        self.status.name()
    }

    pub(super) fn to_log(&self) -> Value {
        let versions: Vec<Value> = self
            .versions
            .iter()
            .map(|v| json!({"version": v.version, "status": v.status, "changed": v.changed, "reason": v.reason}))
            .collect();
        json!({"function": self.function, "region": self.region, "status": self.status, "reason": self.reason,
            "versions": versions, "incomplete": self.incomplete})
    }
}

/// How a layer version ended.
#[derive(Debug, Clone, Serialize)]
pub struct LayerOutcome {
    /// The layer version's ARN.
    pub arn: String,
    /// How it ended.
    pub status: Status,
    /// Its zip.
    pub package: Option<PackageOutcome>,
    /// Why it is not saved.
    pub reason: Option<String>,
    /// Whether its bytes are not what AWS states, and in quarantine.
    pub mismatch: bool,
    #[serde(skip)]
    pub(super) cause: Option<ErrorKind>,
    #[serde(skip)]
    pub(super) hint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(status: Status) -> VersionOutcome {
        let mut version = VersionOutcome::new("1", status);
        if !version.is_whole() {
            version.cause = Some(ErrorKind::NotFound);
        }
        version
    }

    #[test]
    fn a_function_is_as_whole_as_all_of_it() {
        use Status::{Denied, Gone, Image, Partial, Saved};

        let trouble = || Trouble {
            kind: ErrorKind::AccessDenied,
            reason: "r".to_owned(),
            hint: None,
        };
        for (versions, denied, expected) in [
            (&[Saved, Saved][..], false, Saved),
            (&[Image], false, Image),
            (&[Saved, Gone], false, Partial),
            (&[Gone, Gone], true, Gone),
            (&[Saved], true, Partial),
            (&[], true, Denied),
            (&[], false, Saved),
        ] {
            let versions: Vec<_> = versions.iter().map(|s| version(*s)).collect();
            let denied = denied.then(trouble);
            let out = FunctionOutcome::of("f".into(), "r".into(), versions, Vec::new(), denied);
            assert_eq!(out.status, expected);
            assert_eq!(out.cause.is_none(), matches!(expected, Saved | Image));
        }
    }
}
