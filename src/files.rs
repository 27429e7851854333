//! Files and directories: staging beside the destination, publishing whole or not at all, removing.
//!
//! The only module that uses `std::fs`. What is made for a destination is made in a [`Staging`], a locked
//! directory on the same file system, and takes the destination's name by one rename when it is complete and
//! durable. A run that dies leaves its staging; the next run for the same destination finds that its lock is
//! free, puts back what had been moved aside, and removes the rest. What a live run has is never touched.

mod cache;
mod destination;
mod error;
mod file;
mod followed;
mod inside;
mod ledger;
mod mark;
mod remove;
mod rename;
mod rig;
mod spool;
mod staging;
mod sync;
#[cfg(test)]
mod tests;
mod tree;
mod walk;
mod wrapper;

use std::fs;
use std::path::Path;

use crate::record::RECORD;

pub use cache::CacheDir;
pub use error::{FilesError, Occupant};
pub use file::{
    FileKind, append, exists, is_link, kind, names, open_read, read_small, scratch_file,
    write_file_atomic,
};
pub use followed::read_followed;
pub(crate) use ledger::DRAFT;
pub use ledger::Ledger;
pub use remove::remove_tree;
#[doc(hidden)]
pub use rig::{Checkpoint, Rig};
pub use spool::{create_private_dir, remove_stale_uploads, sync_directory_tree, unnamed};
pub use staging::{PublishOptions, Published, Staging, repair};
pub use tree::read_tree;
pub use walk::{Below, Node, Walk};

/// Whether `dest` is a directory with a regular file [`RECORD`] in it: what `--force` may replace, and what
/// is whole. A link to such a directory counts.
pub fn is_record(dest: &Path) -> bool {
    fs::symlink_metadata(dest.join(RECORD)).is_ok_and(|m| m.is_file())
}

/// How many bytes may still be written below `path`; None where the file system does not say.
pub fn free_space(path: &Path) -> Option<u64> {
    let fs = rustix::fs::statvfs(path).ok()?;
    // Some network file systems report a size of 0, which says nothing.
    (fs.f_blocks > 0).then(|| fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// A failure at a file that has no name any more, such as a spool.
pub(crate) fn io_error(message: &str, source: std::io::Error) -> crate::error::Error {
    use crate::error::{Error, ErrorKind};
    let full = matches!(
        source.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    );
    let kind = if full {
        ErrorKind::DiskFull
    } else {
        ErrorKind::Io
    };
    let error = Error::new(kind, message);
    let error = if full {
        error.hint("free some space, or choose a destination on another file system")
    } else {
        error
    };
    error.because(source)
}
