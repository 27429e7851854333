//! Checking again what larder, or another maker of bags, left: offline, and trusting nothing that lies there.
//!
//! What is wrong is a [`Finding`], a value. Only what keeps the check itself from being made is an error: a path that is
//! not there, a directory that is none of ours, an interruption.

mod bag;
mod fetched;
mod layout;
mod report;
mod store;

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::evidence::AllowedSigners;
use crate::evidence::bag::{SIGNATURE, TIMESTAMP};
use crate::evidence::manifest;
use crate::evidence::timestamp::Authorities;
use crate::files::{Below, Node, names};
use crate::image::layout::{INDEX_JSON, OCI_LAYOUT};
use crate::record::{BAGIT_TXT, CODE, FUNCTION_JSON, IMAGE, PACKAGE_ZIP, RECORD};

pub use crate::finding::{Finding, FindingKind};
pub use report::{CustodyReport, Kind, PathReport, SignatureReport};

use report::Findings;

/// What is asked beside the check itself.
#[derive(Default)]
pub struct VerifyOptions {
    /// The keys that are trusted. A bag must then be signed by one of them.
    pub allowed_signers: Option<AllowedSigners>,
    /// As whom the allowed signers must have the keys; without, anybody will do.
    pub identity: Option<String>,
    /// A bag must be signed, by whomever.
    pub require_signature: bool,
    /// What the chain of custody must contain: SHA-256 of a handover's signature.
    pub custody_head: Option<Sha256Digest>,
    /// The authorities that a time stamp must lead to.
    pub authorities: Option<Authorities>,
}

/// Verifies the directory `path`. Blocking, with two threads; reads `cancel` at each entry and each 256 KiB.
///
/// # Errors
/// `path` is not there, is none of the kinds, or the run was interrupted. What is wrong in it is in the report.
pub fn verify(
    path: &Path,
    options: &VerifyOptions,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<PathReport> {
    let below = open(path)?;
    let kind = kind_of(&below).ok_or_else(|| {
        Error::new(
            ErrorKind::Usage,
            "is neither a fetched directory nor a bag nor a store nor an image layout",
        )
        .about(path.display().to_string())
        .hint("name a directory that holds larder.json, bagit.txt, larder-store.json or oci-layout")
    })?;
    let mut job = Job {
        below,
        options,
        reporter,
        cancel,
        findings: Findings::default(),
        report: PathReport::new(path.display().to_string(), kind),
    };
    match kind {
        Kind::Fetch => fetched::verify(&mut job)?,
        Kind::Bag => bag::verify(&mut job)?,
        Kind::Store if is_of_backups(&job.below) => {
            job.report.shown = "store of backups";
            store::verify(&mut job)?;
        }
        Kind::Store => layout::verify(&mut job)?,
    }
    if kind != Kind::Bag {
        tell_of_no_bag(&job);
    }
    job.go_on()?;
    Ok(job.report.close(job.findings))
}

/// What is asked of a bag alone cannot be had of anything else, and must not pass as if it had been.
fn tell_of_no_bag(job: &Job<'_>) {
    let options = job.options;
    if options.allowed_signers.is_some() || options.identity.is_some() || options.require_signature
    {
        let message = "is no bag, so it cannot be signed";
        job.find(FindingKind::Unsigned, "", message);
    }
    if options.authorities.is_some() {
        let message = "is no bag, so it has no time stamp";
        job.find(FindingKind::Timestamp, "", message);
    }
}

/// One directory under verification.
struct Job<'a> {
    below: Below,
    options: &'a VerifyOptions,
    reporter: &'a dyn Reporter,
    cancel: &'a CancellationToken,
    findings: Findings,
    report: PathReport,
}

impl Job<'_> {
    fn find(&self, kind: FindingKind, path: impl AsRef<[u8]>, message: impl Into<String>) {
        self.findings.add(kind, path, message);
    }

    /// So much more was hashed.
    fn hashed(&self, bytes: u64) {
        self.reporter.report(&Event::Hashed { bytes });
    }

    /// # Errors
    /// The run was interrupted.
    fn go_on(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::interrupted());
        }
        Ok(())
    }

    /// Where the directory really is.
    fn path(&self) -> PathBuf {
        self.below.path().to_owned()
    }

    /// Counts the regular files and tells the reporter what is to come.
    fn announce(&self) -> Result<()> {
        let (mut files, mut bytes) = (0, 0);
        for (_, node) in self.below.walk(b"") {
            self.go_on()?;
            if let Node::File { size, .. } = node {
                files += 1;
                bytes += size;
            }
        }
        let subject = self.report.path.as_str();
        self.reporter.report(&Event::HashingStarted {
            subject,
            files,
            bytes,
        });
        Ok(())
    }
}

fn open(path: &Path) -> Result<Below> {
    Below::open(path).map_err(|e| {
        let error = Error::from(e);
        if path.is_file() {
            return Error::new(ErrorKind::Usage, "is a file, and a directory is expected")
                .about(path.display().to_string())
                .hint("name the directory that holds it; for a zip alone, compare sha256sum with CodeSha256");
        }
        error
    })
}

/// Whether a store holds backups, and is not one image by itself.
fn is_of_backups(below: &Below) -> bool {
    [store::MARKER, store::RUNS]
        .iter()
        .any(|name| below.top(name).is_some())
}

/// What a directory is by its marker file, or, where that is missing, by whatever else of its kind is there.
fn kind_of(below: &Below) -> Option<Kind> {
    let is_file = |name: &str| matches!(below.top(name), Some(Node::File { .. }));
    if is_file(BAGIT_TXT) {
        return Some(Kind::Bag);
    }
    if is_file(RECORD) {
        return Some(Kind::Fetch);
    }
    if is_file(store::MARKER) || is_file(OCI_LAYOUT) {
        return Some(Kind::Store);
    }
    let names = names(below.path());
    let any = |list: &[&str]| names.iter().any(|name| list.contains(&name.as_str()));
    let all =
        |list: &[&str]| !names.is_empty() && names.iter().all(|name| list.contains(&name.as_str()));
    let manifest = |name: &String| manifest::Kind::of_file_name(name).is_some();
    if names.iter().any(manifest)
        || any(&[BAGIT_TXT, "bag-info.txt", SIGNATURE, TIMESTAMP])
        || all(&["data", "attestations", "VERIFY.txt"])
    {
        return Some(Kind::Bag);
    }
    if any(&[RECORD, FUNCTION_JSON, PACKAGE_ZIP]) || all(&[CODE, "layers", IMAGE]) {
        return Some(Kind::Fetch);
    }
    if any(&[store::MARKER, OCI_LAYOUT, "blobs"]) || all(&[INDEX_JSON, "blobs", store::RUNS]) {
        return Some(Kind::Store);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_known_by_what_is_left_of_it() {
        for (names, want) in [
            (&["bagit.txt", "larder.json"][..], Some(Kind::Bag)),
            (&["larder.json"], Some(Kind::Fetch)),
            (&["oci-layout"], Some(Kind::Store)),
            (&["manifest-sha256.txt"], Some(Kind::Bag)),
            (&["tagmanifest-sha256.txt", "x"], Some(Kind::Bag)),
            (&["bag-info.txt"], Some(Kind::Bag)),
            (&["data"], Some(Kind::Bag)),
            (&["tagmanifest-sha256.txt.sig", "x"], Some(Kind::Bag)),
            (&["VERIFY.txt", "attestations"], Some(Kind::Bag)),
            (&["data", "src"], None),
            (&["function.json", "x"], Some(Kind::Fetch)),
            (&["package.zip"], Some(Kind::Fetch)),
            (&["code"], Some(Kind::Fetch)),
            (&["code", "layers"], Some(Kind::Fetch)),
            (&["code", "src"], None),
            (&["larder-store.json"], Some(Kind::Store)),
            (&["runs", "blobs"], Some(Kind::Store)),
            (&["blobs"], Some(Kind::Store)),
            (&["index.json", "blobs"], Some(Kind::Store)),
            (&["index.json", "package.json"], None),
            (&[], None),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for name in names {
                std::fs::write(dir.path().join(name), "").unwrap();
            }
            let below = Below::open(dir.path()).unwrap();
            assert_eq!(kind_of(&below), want, "{names:?}");
        }
    }
}
