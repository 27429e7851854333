//! A store of backups: everything that its runs refer to, hashed.

use super::{Error, ErrorKind, FindingKind, Job, Result};
use crate::files::{Node, names};
use crate::image::layout::{INDEX_JSON, OCI_LAYOUT};
use crate::store::{FORGOTTEN, MARKS, PRUNES, Store};
use crate::task::or_interrupted;

/// The file that makes a directory a store.
pub(super) const MARKER: &str = "larder-store.json";
/// Where a store's runs are.
pub(super) const RUNS: &str = "runs";

/// The whole store.
///
/// # Errors
/// The run was interrupted.
pub(super) fn verify(job: &mut Job<'_>) -> Result<()> {
    job.announce()?;
    for name in [MARKER, OCI_LAYOUT] {
        if job.below.top(name).is_none() {
            let message = "is not there, so this is no store by its own word";
            job.find(FindingKind::Missing, name, message);
        }
    }
    let mut bytes = 0;
    // The reader below follows links, so there must be none.
    let mut sound = true;
    for (path, node) in job.below.walk(b"") {
        job.go_on()?;
        match node {
            Node::Symlink => job.find(FindingKind::Special, &path, "is a link"),
            Node::Special(what) => job.find(FindingKind::Special, &path, format!("is {what}")),
            Node::Unreadable(e) => job.find(FindingKind::Unreadable, &path, e.to_string()),
            Node::File { size, .. } => {
                bytes += size;
                continue;
            }
            Node::Directory { .. } | Node::EmptyDirectory => continue,
        }
        sound = false;
    }
    let known = [
        MARKER, OCI_LAYOUT, INDEX_JSON, RUNS, "blobs", FORGOTTEN, MARKS, PRUNES,
    ];
    for name in names(job.below.path()) {
        if !known.contains(&name.as_str()) {
            job.report.note(format!(
                "{name} is none of the files of a store that are checked"
            ));
        }
    }
    if !sound {
        return Ok(());
    }
    let has_marker = job.below.top(MARKER).is_some();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|e| crate::files::io_error("the async runtime cannot be started", e))?;
    let (path, cancel) = (job.path(), job.cancel);
    let told = std::cell::Cell::new(0);
    let each = |read: u64, total: u64| {
        // Blobs differ in size; all of them together are all there is to be read.
        let now = u128::from(bytes) * u128::from(read) / u128::from(total.max(1));
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        job.hashed(now.saturating_sub(told.replace(now)));
    };
    let checked = runtime.block_on(or_interrupted(cancel, async {
        let store = Store::directory(&path, false)?;
        if has_marker {
            store.open().await?;
        }
        store.check(true, &each).await
    }));
    let checked = match checked {
        Ok(checked) => checked,
        Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
        Err(e) => {
            job.find(kind_of(&e), place_of(job, &e), words(&e));
            return Ok(());
        }
    };
    job.report.files += checked.read + checked.runs;
    job.report.bytes += checked.bytes;
    for finding in checked.findings {
        let kind = match finding.kind {
            "lost" => FindingKind::Missing,
            "size" | "modified" => FindingKind::Modified,
            "strange" => FindingKind::Unexpected,
            "newer" => FindingKind::Unsupported,
            "index" => {
                // It is a cache, which the next backup makes anew; a backup that died leaves it behind.
                job.report
                    .note(format!("{}: {}", finding.path, finding.message));
                continue;
            }
            _ => FindingKind::Unreadable,
        };
        job.find(kind, finding.path, finding.message);
    }
    if checked.unreferenced > 0 {
        job.report.note(format!(
            "{} blobs belong to no run, and were not read: a backup that died left them, or one is under way",
            checked.unreferenced
        ));
    }
    if checked.runs == 0 {
        job.report.note("the store holds no run");
    }
    Ok(())
}

fn kind_of(error: &Error) -> FindingKind {
    match error.kind() {
        ErrorKind::Usage => FindingKind::Unsupported,
        ErrorKind::Mismatch => FindingKind::Malformed,
        ErrorKind::NotFound => FindingKind::Missing,
        _ => FindingKind::Unreadable,
    }
}

/// The file that an error is about, below the store.
fn place_of(job: &Job<'_>, error: &Error) -> String {
    let all = job.path().display().to_string();
    let subject = error.subject().unwrap_or_default();
    let inner = subject.strip_prefix(&all).unwrap_or(subject);
    inner.trim_start_matches('/').to_owned()
}

/// An error and its causes in one line.
fn words(error: &Error) -> String {
    let mut out = error.message().to_owned();
    for cause in error.causes() {
        out.push_str(": ");
        out.push_str(&cause);
    }
    out
}
