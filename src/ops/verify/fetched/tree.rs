//! An unpacked tree against its own package: every difference by its path.

use std::cmp::Ordering;
use std::thread;

use crate::digest::{Directories, Sha256Digest, TreeHashes, TreeNode, tree_hashes};
use crate::error::Result;
use crate::events::Event;
use crate::evidence::checksums::Checksums;
use crate::evidence::manifest::Algorithm;
use crate::files::Node;
use crate::package::Verified;
use crate::record::{RECORD, UnpackedRecord};
use crate::unpack::{self, Duplicates, Limits, UnpackError};

use super::super::{FindingKind, Job};
use crate::digest::READ_BUFFER;

type Nodes = Vec<(Vec<u8>, TreeNode)>;

/// How much a package unpacks to.
#[derive(Debug, Clone, Copy)]
struct Counts {
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
}

/// Set-user-ID, set-group-ID, sticky: no package gives them.
const SPECIAL_BITS: u32 = 0o7000;

/// Compares the tree at `code` with what its package unpacks to, and with the hashes that were recorded.
///
/// # Errors
/// The run was interrupted.
pub(super) fn check(
    job: &mut Job<'_>,
    code: &str,
    unpacked: &UnpackedRecord,
    package: Option<&Verified>,
) -> Result<()> {
    if let Some(other) = unpacked.duplicates.as_deref()
        && !matches!(other, "first" | "last")
    {
        let short: String = other.chars().take(80).collect();
        let message = format!("states {short:?} as duplicates, where first or last can be");
        job.find(FindingKind::Malformed, RECORD, message);
    }
    match job.below.walk(code.as_bytes()).next() {
        Some((at, Node::Unreadable(e))) if at == code.as_bytes() => {
            super::tell_unread(job, code, &e);
            return Ok(());
        }
        _ => {}
    }
    // The tree is hashed here while another thread reads the package.
    let (wanted, (found, whole, files, bytes)) = thread::scope(|scope| {
        let reading = package.map(|package| {
            let job: &Job<'_> = job;
            scope.spawn(move || contents(job, package, unpacked))
        });
        let found = read_tree(job, code);
        let wanted = reading.map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        (wanted, found)
    });
    job.go_on()?;
    job.report.files += files;
    job.report.bytes += bytes;
    let on_disk = tree_hashes(found.iter().map(|(path, node)| (&path[..], node)));
    match wanted {
        None => {
            if whole && !is_recorded(&on_disk, unpacked) {
                let message = format!(
                    "is not as it was recorded; what was changed cannot be named without the package: its tree is {} where {} is recorded",
                    on_disk.tree, unpacked.tree
                );
                job.find(FindingKind::Modified, code, message);
            }
        }
        Some(Err(e)) => {
            let message = format!("cannot be read as the package that was unpacked: {e}");
            job.find(
                FindingKind::Malformed,
                code.replace("code", "package.zip"),
                message,
            );
        }
        Some(Ok((wanted, counts))) => {
            compare(job, code, &wanted, &found);
            let of_package = tree_hashes(wanted.iter().map(|(path, node)| (&path[..], node)));
            if !is_recorded(&of_package, unpacked) {
                let message = format!(
                    "records the tree {} (h1 {}), where the package unpacks to {} (h1 {})",
                    unpacked.tree,
                    unpacked.h1.as_deref().unwrap_or("none"),
                    of_package.tree,
                    of_package.h1.as_deref().unwrap_or("none")
                );
                job.find(FindingKind::Contradiction, RECORD, message);
            }
            if of_package.h1_reason != unpacked.h1_reason {
                let message = format!(
                    "states {:?} as h1_reason, where it is {:?}",
                    unpacked.h1_reason.as_deref().unwrap_or("none"),
                    of_package.h1_reason.as_deref().unwrap_or("none")
                );
                job.find(FindingKind::Contradiction, RECORD, message);
            }
            compare_counts(job, code, unpacked, counts);
        }
    }
    Ok(())
}

fn is_recorded(hashes: &TreeHashes, unpacked: &UnpackedRecord) -> bool {
    hashes.tree == unpacked.tree && hashes.h1 == unpacked.h1
}

/// What was counted when the package was unpacked.
fn compare_counts(job: &Job<'_>, code: &str, recorded: &UnpackedRecord, counts: Counts) {
    for (what, recorded, is) in [
        ("files", recorded.files, counts.files),
        ("directories", recorded.directories, counts.directories),
        ("links", recorded.symlinks, counts.symlinks),
        ("bytes", recorded.bytes, counts.bytes),
    ] {
        if recorded != is {
            let message =
                format!("records {recorded} {what} in {code}, where the package has {is}");
            job.find(FindingKind::Contradiction, RECORD, message);
        }
    }
}

/// What the package unpacks to, in the order of the paths' bytes, and how much that is.
fn contents(
    job: &Job<'_>,
    package: &Verified,
    unpacked: &UnpackedRecord,
) -> Result<(Nodes, Counts), UnpackError> {
    let limits = Limits {
        // It was unpacked once, perhaps with a higher ceiling.
        max_unpacked_size: unpacked.bytes.max(unpack::DEFAULT_MAX_UNPACKED_SIZE),
        duplicates: match unpacked.duplicates.as_deref() {
            Some("first") => Duplicates::First,
            Some("last") => Duplicates::Last,
            _ => Duplicates::Refuse,
        },
    };
    let plan = unpack::plan_or_stop(package, &limits, &|| job.cancel.is_cancelled())?;
    let (mut nodes, mut directories) = (Vec::new(), Directories::default());
    unpack::contents(package, &plan, job.cancel, &mut |path, node| {
        directories.add(path, node);
        nodes.push((path.to_vec(), node.clone()));
    })?;
    let counts = Counts {
        files: plan.files(),
        directories: directories.count,
        symlinks: plan.symlinks(),
        bytes: plan.bytes(),
    };
    Ok((nodes, counts))
}

/// What lies in the tree, in the order of the paths' bytes; whether all of it could be read; and how many files and bytes
/// that were.
fn read_tree(job: &Job<'_>, code: &str) -> (Nodes, bool, u64, u64) {
    let (mut nodes, mut whole, mut files, mut total) = (Vec::new(), true, 0, 0);
    let mut buffer = vec![0; READ_BUFFER];
    for (path, node) in job.below.walk(code.as_bytes()) {
        if job.cancel.is_cancelled() {
            break;
        }
        let inner = path[(code.len() + 1).min(path.len())..].to_vec();
        let node = match node {
            Node::Directory { .. } => continue,
            Node::EmptyDirectory if inner.is_empty() => continue,
            Node::EmptyDirectory => Ok(TreeNode::EmptyDirectory),
            Node::Symlink => job
                .below
                .target(&path)
                .map(|target| TreeNode::Symlink { target }),
            Node::File { mode, .. } => {
                if mode & SPECIAL_BITS != 0 {
                    let message = format!("has mode {mode:04o}, which no package gives");
                    job.find(FindingKind::Mode, &path, message);
                }
                hash(job, &path, &mut buffer).map(|(sha256, bytes)| {
                    files += 1;
                    total += bytes;
                    TreeNode::File {
                        sha256,
                        executable: mode & 0o100 != 0,
                    }
                })
            }
            Node::Special(what) => {
                job.find(FindingKind::Special, &path, format!("is {what}"));
                whole = false;
                continue;
            }
            Node::Unreadable(e) => Err(e),
        };
        match node {
            Ok(node) => nodes.push((inner, node)),
            Err(e) => {
                job.find(
                    FindingKind::Unreadable,
                    &path,
                    format!("cannot be read: {e}"),
                );
                whole = false;
            }
        }
    }
    nodes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    (nodes, whole, files, total)
}

fn hash(job: &Job<'_>, path: &[u8], buffer: &mut [u8]) -> std::io::Result<(Sha256Digest, u64)> {
    let mut sums = Checksums::new([Algorithm::Sha256]);
    sums.read_all(job.below.file(path)?, buffer, &mut |bytes| {
        job.reporter.report(&Event::Hashed { bytes });
        !job.cancel.is_cancelled()
    })?;
    let bytes = sums.bytes();
    let digest = sums
        .finish()
        .pop()
        .and_then(|(_, digest)| <[u8; 32]>::try_from(&digest[..]).ok());
    Ok((Sha256Digest::from_bytes(digest.unwrap_or_default()), bytes))
}

/// Goes along both lists, which are in the same order.
fn compare(job: &Job<'_>, code: &str, wanted: &Nodes, found: &Nodes) {
    let shown = |path: &[u8]| [code.as_bytes(), b"/", path].concat();
    let (mut want, mut have) = (wanted.iter().peekable(), found.iter().peekable());
    loop {
        let order = match (want.peek(), have.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        match order {
            Ordering::Less => {
                if let Some((path, node)) = want.next()
                    // A directory in which something was put is told by that.
                    && !(matches!(node, TreeNode::EmptyDirectory) && is_above(path, found))
                {
                    let message = format!("the package has {} here, and there is none", kind(node));
                    job.find(FindingKind::Missing, shown(path), message);
                }
            }
            Ordering::Greater => {
                if let Some((path, node)) = have.next()
                    && !(matches!(node, TreeNode::EmptyDirectory) && is_above(path, wanted))
                {
                    let message = format!("{} that the package does not have", kind(node));
                    job.find(FindingKind::Unexpected, shown(path), message);
                }
            }
            Ordering::Equal => {
                if let (Some((path, one)), Some((_, other))) = (want.next(), have.next()) {
                    compare_nodes(job, &shown(path), one, other);
                }
            }
        }
    }
}

/// Whether something of a sorted list lies below `path`.
fn is_above(path: &[u8], nodes: &Nodes) -> bool {
    let below = [path, b"/"].concat();
    let at = nodes.partition_point(|(other, _)| other[..] < below[..]);
    nodes
        .get(at)
        .is_some_and(|(other, _)| other.starts_with(&below))
}

fn compare_nodes(job: &Job<'_>, path: &[u8], wanted: &TreeNode, found: &TreeNode) {
    match (wanted, found) {
        (
            TreeNode::File { sha256, executable },
            TreeNode::File {
                sha256: other,
                executable: is,
            },
        ) => {
            if sha256 != other {
                let message = format!("its SHA-256 is {other} where the package has {sha256}");
                job.find(FindingKind::Modified, path, message);
            }
            if executable != is {
                let message = if *is {
                    "may be executed, and the package has it as a file that may not"
                } else {
                    "may not be executed, and the package has it as a file that may"
                };
                job.find(FindingKind::Mode, path, message);
            }
        }
        (TreeNode::Symlink { target }, TreeNode::Symlink { target: other }) => {
            if target != other {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let message = format!(
                    "leads to {:?} where the package has a link to {:?}",
                    text(other),
                    text(target)
                );
                job.find(FindingKind::Modified, path, message);
            }
        }
        (TreeNode::EmptyDirectory, TreeNode::EmptyDirectory) => {}
        (one, other) => {
            let message = format!("is {} where the package has {}", kind(other), kind(one));
            job.find(FindingKind::Type, path, message);
        }
    }
}

fn kind(node: &TreeNode) -> &'static str {
    match node {
        TreeNode::File { .. } => "a file",
        TreeNode::Symlink { .. } => "a link",
        TreeNode::EmptyDirectory => "an empty directory",
    }
}
