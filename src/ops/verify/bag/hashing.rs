//! Hashing all that is in the bag, with two threads that take files from one walk, and holding each against the manifests.

use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::super::{FindingKind, Job};
use super::declaration::Declaration;
use super::{Listed, Oxum, is_above_manifests};
use crate::digest::READ_BUFFER;
use crate::error::Result;
use crate::events::Event;
use crate::evidence::bag::SIGNATURE;
use crate::evidence::checksums::Checksums;
use crate::evidence::manifest::Kind;
use crate::files::{Node, Walk};

/// More do not help: the promise is both cores, and a bound on memory.
const MOST_WORKERS: usize = 2;
/// The most empty directories that are named.
const MAX_EMPTY: usize = 1000;

/// What the threads share.
struct Shared<'a, 'b> {
    job: &'a Job<'b>,
    walk: Mutex<Walk<'a>>,
    manifests: &'a [Listed],
    /// Every payload file must be in every payload manifest (RFC 8493 section 2.1.3; not so before 1.0).
    all: bool,
    has_tag_manifest: bool,
    files: AtomicU64,
    bytes: AtomicU64,
    payload_files: AtomicU64,
    payload_bytes: AtomicU64,
    seen: Mutex<Seen>,
}

/// What is not in any manifest: modes, and directories with nothing in them; and what lies in quarantine.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Files and directories with other modes than larder gives, and the first of them.
    pub(super) other_modes: u64,
    pub(super) first_mode: Option<(String, u32)>,
    /// Empty directories, and the names of the first.
    pub(super) empty: u64,
    pub(super) empty_names: Vec<String>,
    /// Packages that were put into quarantine.
    pub(super) quarantined: u64,
}

impl Seen {
    fn mode(&mut self, path: &[u8], mode: u32, wanted: u32) {
        if mode != wanted {
            self.other_modes += 1;
            let first = || (String::from_utf8_lossy(path).into_owned(), mode);
            self.first_mode.get_or_insert_with(first);
        }
    }

    fn empty(&mut self, path: &[u8]) {
        // A bag may have no payload at all.
        if path == b"data" {
            return;
        }
        self.empty += 1;
        if self.empty_names.len() < MAX_EMPTY {
            let name = String::from_utf8_lossy(path).into_owned();
            self.empty_names.push(name);
        }
    }
}

/// Hashes everything, and gives what the payload comes to, and what no manifest has.
///
/// # Errors
/// The run was interrupted.
pub(super) fn hash(
    job: &mut Job<'_>,
    manifests: &[Listed],
    declaration: Declaration,
) -> Result<(Oxum, Seen)> {
    let shared = Shared {
        job,
        walk: Mutex::new(job.below.walk(b"")),
        manifests,
        all: declaration.version >= (1, 0),
        has_tag_manifest: manifests.iter().any(|listed| listed.kind == Kind::Tag),
        files: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        payload_files: AtomicU64::new(0),
        payload_bytes: AtomicU64::new(0),
        seen: Mutex::default(),
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 1..cores.min(MOST_WORKERS) {
            // A system that gives no second thread is served by this one.
            let _ = thread::Builder::new()
                .name("larder-verify".to_owned())
                .spawn_scoped(scope, || shared.work());
        }
        shared.work();
    });
    let (files, bytes) = (shared.files.into_inner(), shared.bytes.into_inner());
    let payload = Oxum {
        files: shared.payload_files.into_inner(),
        bytes: shared.payload_bytes.into_inner(),
    };
    let seen = shared
        .seen
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    job.report.files += files;
    job.report.bytes += bytes;
    job.go_on()?;
    Ok((payload, seen))
}

impl Shared<'_, '_> {
    fn work(&self) {
        let mut buffer = vec![0; READ_BUFFER];
        while !self.job.cancel.is_cancelled() {
            let next = self
                .walk
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next();
            let Some((path, node)) = next else {
                return;
            };
            match node {
                Node::File { mode, .. } => {
                    self.seen().mode(&path, mode, 0o400);
                    self.file(&path, &mut buffer);
                }
                Node::Directory { mode } => self.seen().mode(&path, mode, 0o700),
                Node::EmptyDirectory => self.seen().empty(&path),
                Node::Symlink => self.unwanted(&path, "is a link, which no bag may hold"),
                Node::Special(what) => {
                    self.unwanted(&path, &format!("is {what}, which no bag may hold"));
                }
                Node::Unreadable(e) => {
                    self.job.find(FindingKind::Unreadable, &path, e.to_string());
                    self.mark(&path);
                }
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unwanted(&self, path: &[u8], message: &str) {
        self.job.find(FindingKind::Special, path, message);
        // That it is listed besides would only be said a second time.
        self.mark(path);
    }

    fn mark(&self, path: &[u8]) {
        for (listed, index) in self.entries(path) {
            listed.found[index].store(true, Ordering::Relaxed);
        }
    }

    /// The entries about a path.
    fn entries(&self, path: &[u8]) -> Vec<(&Listed, usize)> {
        let kind = kind_of(path);
        let Ok(path) = std::str::from_utf8(path) else {
            return Vec::new();
        };
        self.manifests
            .iter()
            .filter(|listed| listed.kind == kind)
            .filter_map(|listed| Some((listed, listed.manifest.find(path)?)))
            .collect()
    }

    fn file(&self, path: &[u8], buffer: &mut [u8]) {
        let entries = self.entries(path);
        let mut algorithms: Vec<_> = entries.iter().map(|(listed, _)| listed.algorithm).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let mut sums = Checksums::new(algorithms);
        let mut each = |bytes| {
            self.job.reporter.report(&Event::Hashed { bytes });
            !self.job.cancel.is_cancelled()
        };
        let read = self
            .job
            .below
            .file(path)
            .and_then(|file| sums.read_all(file, buffer, &mut each));
        for (listed, index) in &entries {
            listed.found[*index].store(true, Ordering::Relaxed);
        }
        if let Err(e) = read {
            if e.kind() != io::ErrorKind::Interrupted {
                self.job.find(
                    FindingKind::Unreadable,
                    path,
                    format!("cannot be read: {e}"),
                );
            }
            return;
        }
        let bytes = sums.bytes();
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if kind_of(path) == Kind::Payload {
            self.payload_files.fetch_add(1, Ordering::Relaxed);
            self.payload_bytes.fetch_add(bytes, Ordering::Relaxed);
            if path.starts_with(b"data/quarantine/") && !path.ends_with(b".mismatch.json") {
                self.seen().quarantined += 1;
            }
        }
        self.compare(path, &entries, &sums.finish());
        if entries.is_empty() {
            self.unlisted(path);
        } else if self.all && kind_of(path) == Kind::Payload {
            for listed in self.manifests.iter().filter(|l| l.kind == Kind::Payload) {
                if !entries.iter().any(|(other, _)| other.name == listed.name) {
                    let message =
                        format!("another manifest lists it, and {} does not", listed.name);
                    self.job.find(FindingKind::Contradiction, path, message);
                }
            }
        }
    }

    fn compare(
        &self,
        path: &[u8],
        entries: &[(&Listed, usize)],
        sums: &[(crate::evidence::manifest::Algorithm, Box<[u8]>)],
    ) {
        for (listed, index) in entries {
            let sum = sums
                .iter()
                .find(|(algorithm, _)| *algorithm == listed.algorithm)
                .map(|(_, sum)| &sum[..]);
            let stated = listed.manifest.get(*index).map(|(_, digest)| digest);
            if sum != stated {
                let message = format!(
                    "its {} is {} where {} has {}",
                    listed.algorithm,
                    hex(sum.unwrap_or_default()),
                    listed.name,
                    hex(stated.unwrap_or_default())
                );
                self.job.find(FindingKind::Modified, path, message);
            }
        }
    }

    fn unlisted(&self, path: &[u8]) {
        if kind_of(path) == Kind::Payload {
            let message = "is in the payload, and no manifest lists it";
            self.job.find(FindingKind::Unexpected, path, message);
        } else if self.has_tag_manifest && !std::str::from_utf8(path).is_ok_and(is_above_manifests)
        {
            let message = "no tag manifest lists it: nothing vouches for it";
            self.job.find(FindingKind::Unexpected, path, message);
        } else if path == SIGNATURE.as_bytes() && !self.has_tag_manifest {
            let message = "is a signature over nothing: there is no tag manifest";
            self.job.find(FindingKind::Unexpected, path, message);
        }
    }
}

fn kind_of(path: &[u8]) -> Kind {
    if path.starts_with(b"data/") {
        Kind::Payload
    } else {
        Kind::Tag
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
