//! What a verification found: values, in the order in which a reader wants them.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::finding::{Finding, FindingKind};

/// The most findings that are told of one path, each by itself.
const MAX_FINDINGS: usize = 10_000;

/// What a directory was verified as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What `larder fetch` leaves.
    Fetch,
    /// A BagIt bag.
    Bag,
    /// A store of backups, or another OCI image layout.
    Store,
}

/// The signature of a bag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignatureReport {
    /// The key's fingerprint, `SHA256:…`.
    pub key: String,
    /// Whether the allowed signers have the key.
    pub trusted: bool,
    /// As whom they have it.
    pub principals: Vec<String>,
    /// When it existed, UTC, as a time stamp says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamped_at: Option<String>,
    /// Whether the time stamp leads to an authority that is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamp_trusted: Option<bool>,
}

/// The chain of custody beside a bag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustodyReport {
    /// Handovers.
    pub entries: usize,
    /// SHA-256 of the last signature, in hex.
    pub head: Option<String>,
}

/// What was found at one path.
#[derive(Debug, Clone, Serialize)]
pub struct PathReport {
    /// As it was named.
    pub path: String,
    /// What it was verified as.
    pub kind: Kind,
    /// The same for a person.
    #[serde(skip)]
    pub shown: &'static str,
    /// Nothing was found.
    pub ok: bool,
    /// Regular files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong, sorted by path.
    pub findings: Vec<Finding>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// Who signed it; null where nobody did, or not rightly.
    pub signature: Option<SignatureReport>,
    /// Its handovers; null where there are none.
    pub custody: Option<CustodyReport>,
}

impl PathReport {
    pub(super) fn new(path: String, kind: Kind) -> Self {
        Self {
            path,
            kind,
            shown: match kind {
                Kind::Fetch => "fetched directory",
                Kind::Bag => "bag",
                Kind::Store => "image layout",
            },
            ok: true,
            files: 0,
            bytes: 0,
            findings: Vec::new(),
            notes: Vec::new(),
            signature: None,
            custody: None,
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(super) fn close(mut self, findings: Findings) -> Self {
        let (mut list, more) = findings.into_parts();
        list.sort();
        // That something is not there may follow from more than one manifest, and is told once.
        list.dedup_by(|later, earlier| {
            later == earlier
                || later.kind == FindingKind::Missing
                    && (later.kind, &later.path) == (earlier.kind, &earlier.path)
        });
        if more > 0 {
            list.push(Finding {
                kind: FindingKind::More,
                path: String::new(),
                message: format!("{more} more findings are not told"),
            });
        }
        self.ok = list.is_empty();
        self.findings = list;
        self
    }
}

/// Findings as they come, from any thread; bounded.
#[derive(Debug, Default)]
pub(super) struct Findings {
    inner: Mutex<(Vec<Finding>, u64)>,
}

impl Findings {
    pub(super) fn add(
        &self,
        kind: FindingKind,
        path: impl AsRef<[u8]>,
        message: impl Into<String>,
    ) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.0.len() >= MAX_FINDINGS {
            inner.1 += 1;
            return;
        }
        inner.0.push(Finding {
            kind,
            path: String::from_utf8_lossy(path.as_ref()).into_owned(),
            message: message.into(),
        });
    }

    fn into_parts(self) -> (Vec<Finding>, u64) {
        self.inner
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_bounded_and_sorted() {
        let findings = Findings::default();
        for n in (0..MAX_FINDINGS + 5).rev() {
            findings.add(FindingKind::Missing, format!("{n:08}"), "x");
        }
        let report = PathReport::new("p".to_owned(), Kind::Bag).close(findings);
        assert!(!report.ok);
        assert_eq!(report.findings.len(), MAX_FINDINGS + 1);
        assert_eq!(report.findings[0].path, "00000005");
        let last = &report.findings[MAX_FINDINGS];
        assert_eq!(last.message, "5 more findings are not told");
    }
}
