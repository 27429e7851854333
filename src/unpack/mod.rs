//! Unpacking: from a verified package to a tree that is exactly what the package says.
//!
//! [`plan`] reads the archive's structures and decides, without writing, whether they say one thing to every reader
//! and what tree they make; [`run`] writes it, trusting no header: real bytes and CRCs are counted, the
//! ceiling holds while writing, and nothing is reached through a link. An archive that is doubtful is
//! refused whole, with the entry's name and the reason. It is never repaired.
//!
//! The zip reader is our own, because the questions are about structures that a reader for use hides: does the
//! local header agree, is there a second end record, do entries overlap, which of two names is meant. Section numbers
//! are those of PKWARE's APPNOTE.TXT 6.3.10.
//!
//! | file | what it knows |
//! |---|---|
//! | `end` | the end records: where the central directory is |
//! | `central`, `extra` | its records, their extra fields |
//! | `local` | local headers and data descriptors, and that they agree |
//! | `names`, `kind` | which path, what kind of node, which mode |
//! | `plan` | the entries, and that they do not overlap |
//! | `order` | the entries as one tree: duplicates, conflicts |
//! | `links` | where symbolic links lead |
//! | `inflate` | contents, checked |
//! | `root`, `tree`, `write` | the only ones that write |
//! | `hashes` | the content hashes of what was written |
//! | `read` | contents without writing, for comparisons |
//! | `stop` | Ctrl-C while there are millions of records to go |

mod central;
mod end;
mod error;
mod extra;
mod hashes;
mod inflate;
mod kind;
mod links;
mod local;
mod names;
mod order;
mod plan;
mod read;
mod root;
mod source;
mod stop;
mod tree;
mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::num::NonZero;
use std::os::fd::BorrowedFd;

use tokio_util::sync::CancellationToken;

pub use error::{Kind, LinkDefect, UnpackError};
pub use names::{MAX_COMPONENT, MAX_PATH, NameDefect, Shown};
pub use plan::{MAX_DIRECTORY, Plan, plan, plan_or_stop};
pub use read::{contents, files};

use crate::digest::TreeHashes;
use crate::events::{Event, Reporter};
use crate::package::Verified;

/// Lambda's own limit for a package with its layers, unpacked, in bytes: 250 MiB.
pub const DEFAULT_MAX_UNPACKED_SIZE: u64 = 250 << 20;

/// What an archive may be, and what is done where it says two things.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most bytes that all files may have together. Link targets have a limit of their own, 4 MiB.
    pub max_unpacked_size: u64,
    /// What to do when several files, or several links, have one name.
    pub duplicates: Duplicates,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_unpacked_size: DEFAULT_MAX_UNPACKED_SIZE,
            duplicates: Duplicates::Refuse,
        }
    }
}

/// What to do when several entries of the same kind have one name, after `./`, `.` and `//` were left out.
/// A directory may always be named again; a name that is two kinds of things is always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// Refuse the archive.
    #[default]
    Refuse,
    /// Take the one that comes first in the central directory.
    First,
    /// Take the one that comes last in the central directory.
    Last,
}

/// How [`run`] works.
pub struct Options<'a> {
    /// Compute the two content hashes of the tree while writing.
    pub hash_contents: bool,
    /// How many threads may work, the caller's among them; None is one a core. More than two are not used.
    pub workers: Option<NonZero<usize>>,
    /// Asked at each entry and at least each 256 KiB.
    pub cancel: &'a CancellationToken,
    /// Gets [`Event::UnpackStarted`] once, and [`Event::Unpacked`] from any worker.
    pub reporter: &'a dyn Reporter,
}

/// What was made below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Regular files.
    pub files: u64,
    /// Directories, those included that the archive only implies; without the root.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// The files' size in bytes.
    pub bytes: u64,
    /// Entries left out because of [`Duplicates::First`] or [`Duplicates::Last`].
    pub dropped_duplicates: u64,
    /// The content hashes, if they were asked for.
    pub hashes: Option<TreeHashes>,
}

/// Writes what was planned into `root`, an open and empty directory.
///
/// Blocks; uses a second thread where there is a second core and enough to do. Files get their mode at once, links
/// are made after all files, and directories get their modes and times last. On failure everything that was
/// made is left for the caller to remove, and all threads have ended.
///
/// # Errors
/// What a content has that its headers do not say, a failure to read or write, or
/// [`UnpackError::Interrupted`].
pub fn run(
    package: &Verified,
    plan: &Plan,
    root: BorrowedFd<'_>,
    options: &Options<'_>,
) -> Result<Unpacked, UnpackError> {
    run_below(package, plan, root::Root::new(root), options)
}

fn run_below(
    package: &Verified,
    plan: &Plan,
    root: root::Root<'_>,
    options: &Options<'_>,
) -> Result<Unpacked, UnpackError> {
    if package.sha256() != plan.package() {
        return Err(UnpackError::OtherPackage);
    }
    options.reporter.report(&Event::UnpackStarted {
        files: plan.files(),
        bytes: plan.bytes(),
    });
    let source = source::Source::new(package);
    let stop = || options.cancel.is_cancelled();
    let directories = tree::make_directories(plan, root, &stop)?;
    let written = write::write_files(plan, source, root, options)?;
    let symlinks = tree::make_links(plan, source, root, &stop)?;
    tree::finish_directories(plan, source, root, &stop)?;
    let hashes = if options.hash_contents {
        Some(hashes::of(plan, written.digests, &stop::Stop::new(&stop))?)
    } else {
        None
    };
    Ok(Unpacked {
        files: plan.files(),
        directories,
        symlinks,
        bytes: written.bytes,
        dropped_duplicates: plan.dropped_duplicates(),
        hashes,
    })
}
