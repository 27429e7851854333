//! What can go wrong with files, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Error, ErrorKind};

/// What was found where something else was to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Occupant {
    /// A directory with a `larder.json`, or one that `larder unpack` marked: what an earlier run left.
    Record,
    /// A directory that holds something, but no `larder.json`.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link that leads to no directory.
    Symlink,
    /// A device, a socket, a named pipe.
    Special,
    /// The root of the file system.
    Root,
    /// A directory in which another run is at work, or in which one died that cannot be told from a live one.
    InUse,
}

impl Occupant {
    fn words(self) -> &'static str {
        match self {
            Self::Record => "is what an earlier run of larder left",
            Self::Directory => "is a directory that is not empty",
            Self::File => "is a file",
            Self::Symlink => "is a symbolic link that leads to no directory",
            Self::Special => "is a special file",
            Self::Root => "is the root of the file system",
            Self::InUse => "is a directory that another run of larder is using",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::Record => "choose another destination, or pass --force to replace it",
            Self::Directory => {
                "choose another destination; --force replaces only what larder made: a directory that holds a larder.json, or a tree that it unpacked"
            }
            Self::File | Self::Symlink | Self::Special | Self::Root => {
                "choose another destination; --force replaces only what larder made"
            }
            Self::InUse => {
                "wait for that run to end; if there is none, remove the .larder-* directory inside and try again"
            }
        }
    }
}

/// A failure at a local file or directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// Something is at the destination that will not be replaced.
    #[error("{}: already exists and {}", path.display(), found.words())]
    Exists {
        /// The destination, as it was named.
        path: PathBuf,
        /// What is there.
        found: Occupant,
    },
    /// A path that names no place where something could be made.
    #[error("{}: names no directory that could be made", path.display())]
    NoPlace {
        /// The path, as it was named.
        path: PathBuf,
    },
    /// A run died while it replaced the destination, and what it had moved aside could not be put back.
    #[error("{}: an interrupted run left what was here in {}, and it cannot be put back", path.display(), aside.display())]
    Aside {
        /// The destination.
        path: PathBuf,
        /// Where its former content is.
        aside: PathBuf,
        /// Why it cannot be moved back.
        source: io::Error,
    },
    /// The operating system refused something.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// What was tried, as a verb with its object: `create the directory`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// What is there to be read could not be.
    #[error("{}: cannot {action}", path.display())]
    Unread {
        /// What was tried: `open`, `read`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system answered, or why it is not what it should be.
        source: io::Error,
    },
}

impl FilesError {
    /// The system refused `action` (`write`, `create the directory`) on `path`.
    pub fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io {
            action,
            path: path.into(),
            source: source.into(),
        }
    }

    /// The system refused `action` (`open`, `read`) on `path`, which is to be read and not written.
    pub fn unread(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Unread {
            action,
            path: path.into(),
            source: source.into(),
        }
    }

    /// Whether the system refused because of who asks, or because nobody may write there.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(
            errno(source),
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)
        ))
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

fn is_full(error: &io::Error) -> bool {
    // An error that was wrapped on its way may have kept only its kind.
    matches!(errno(error), Some(Errno::NOSPC | Errno::DQUOT))
        || matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
}

/// Whether the file system that `path` is on, or would be on, has no inodes left.
fn out_of_inodes(path: &Path) -> bool {
    path.ancestors()
        .find_map(|p| {
            rustix::fs::statvfs(if p.as_os_str().is_empty() {
                Path::new(".")
            } else {
                p
            })
            .ok()
        })
        .is_some_and(|fs| fs.f_files > 0 && fs.f_favail == 0)
}

fn hint(path: &Path, source: &io::Error) -> Option<&'static str> {
    if is_full(source) {
        return Some(if errno(source) == Some(Errno::DQUOT) {
            "the disk quota is used up: free some space, or choose a destination elsewhere"
        } else if out_of_inodes(path) {
            "the file system has no inodes left (df -i): remove some files, or choose a destination elsewhere"
        } else {
            "free some space, or choose a destination on another file system"
        });
    }
    Some(match errno(source)? {
        Errno::ACCESS | Errno::PERM => {
            "check who may write there (ls -ld), or choose another destination"
        }
        Errno::ROFS => "the file system is mounted read-only: choose another destination",
        Errno::NAMETOOLONG => "choose a shorter destination",
        Errno::NOTDIR => "a part of the path is a file: choose another destination",
        Errno::LOOP => "the path leads through too many symbolic links",
        Errno::MFILE | Errno::NFILE => "too many files are open: raise the limit (ulimit -n)",
        Errno::BUSY => {
            "a mount point or a running program holds it: unmount it, or choose another destination"
        }
        Errno::XDEV => {
            "the file system cannot move this directory (an image layer?): remove it first, or choose another destination"
        }
        _ => return None,
    })
}

fn hint_at_reading(source: &io::Error) -> Option<&'static str> {
    if source.kind() == io::ErrorKind::IsADirectory {
        return Some("it is a directory: name a file");
    }
    Some(match errno(source)? {
        Errno::ACCESS | Errno::PERM => {
            "check who may read it (ls -l), and who may enter its directory"
        }
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => "check the path",
        Errno::LOOP => "the path leads through too many symbolic links",
        Errno::MFILE | Errno::NFILE => "too many files are open: raise the limit (ulimit -n)",
        _ => return None,
    })
}

impl From<FilesError> for Error {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Exists { path, found } => Error::new(
                ErrorKind::DestinationExists,
                format!("already exists and {}", found.words()),
            )
            .about(path.display().to_string())
            .hint(found.hint()),
            FilesError::NoPlace { path } => {
                Error::new(ErrorKind::Usage, "names no directory that could be made")
                    .about(path.display().to_string())
                    .hint("name a directory to create, such as ./my-function")
            }
            FilesError::Aside {
                path,
                aside,
                source,
            } => Error::new(
                ErrorKind::Io,
                format!(
                    "an interrupted run left what was here in {}, and it cannot be put back",
                    aside.display()
                ),
            )
            .about(path.display().to_string())
            .hint("make sure that no other run is at work, and move it back by hand")
            .because(source),
            FilesError::Io {
                action,
                path,
                source,
            } => {
                let kind = if is_full(&source) {
                    ErrorKind::DiskFull
                } else {
                    ErrorKind::Io
                };
                let mut error =
                    Error::new(kind, format!("cannot {action}")).about(path.display().to_string());
                if let Some(text) = hint(&path, &source) {
                    error = error.hint(text);
                }
                error.because(source)
            }
            FilesError::Unread {
                action,
                path,
                source,
            } => {
                let error = Error::new(ErrorKind::Io, format!("cannot {action}"));
                let error = error.about(path.display().to_string());
                match hint_at_reading(&source) {
                    Some(text) => error.hint(text),
                    None => error,
                }
                .because(source)
            }
        }
    }
}
