//! A destination: the directory it lies in, its name there, and what is found under that name.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::{FilesError, Occupant};
use super::{mark, wrapper};
use crate::record::RECORD;

/// How many symbolic links are followed, as Linux does.
const LINKS: usize = 40;

/// What is at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Absent,
    Empty,
    Record,
    Other(Occupant),
}

/// Where something is to be published. Names are resolved once; from then on the parent is held open.
#[derive(Debug)]
pub(super) struct Destination {
    /// As the user named it.
    pub(super) shown: PathBuf,
    /// The real path of the directory in which it lies.
    pub(super) parent_path: PathBuf,
    pub(super) parent: OwnedFd,
    pub(super) name: OsString,
    /// The user named a symbolic link; it must lead to a directory that exists.
    through_link: bool,
    made: MadeParents,
}

impl Destination {
    /// Resolves links, and makes the parents that are missing; those go again with this value unless it is
    /// [kept](Self::keep_parents).
    pub(super) fn resolve(dest: &Path) -> Result<Self, FilesError> {
        // Without `.` and without the slash at the end, which would make the system follow a link.
        let plain: PathBuf = dest.components().collect();
        let (real, through_link) = match fs::canonicalize(&plain) {
            Ok(real) => (real, false),
            Err(e) if e.kind() == io::ErrorKind::NotFound => follow_links(&plain),
            Err(e) => return Err(FilesError::io("open", dest, e)),
        };
        let occupied = |found| FilesError::Exists {
            path: dest.to_owned(),
            found,
        };
        if fs::symlink_metadata(&plain).is_ok_and(|m| m.is_symlink())
            && fs::metadata(&plain).is_ok_and(|m| !m.is_dir())
        {
            return Err(occupied(Occupant::Symlink));
        }
        let Some(name) = real.file_name().map(OsStr::to_owned) else {
            return Err(if real.parent().is_none() && real.has_root() {
                occupied(Occupant::Root)
            } else {
                FilesError::NoPlace {
                    path: dest.to_owned(),
                }
            });
        };
        let parent = match real.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut made = MadeParents::default();
        if through_link && !parent.is_dir() {
            return Err(occupied(Occupant::Symlink));
        }
        made.make(parent)?;
        let parent_path =
            fs::canonicalize(parent).map_err(|e| FilesError::io("open", parent, e))?;
        let parent = open_directory(&parent_path)
            .map_err(|e| FilesError::io("open the directory", &parent_path, e))?;
        Ok(Self {
            shown: dest.to_owned(),
            parent_path,
            parent,
            name,
            through_link,
            made,
        })
    }

    /// The destination's real path.
    pub(super) fn path(&self) -> PathBuf {
        self.parent_path.join(&self.name)
    }

    /// Parents that were made stay from now on.
    pub(super) fn keep_parents(&mut self) {
        self.made.0.clear();
    }

    /// An error that something is there.
    pub(super) fn occupied(&self, found: Occupant) -> FilesError {
        FilesError::Exists {
            path: self.shown.clone(),
            found,
        }
    }

    /// What is there now. `ours` is the wrapper inside it that is not to count.
    pub(super) fn look(&self, ours: Option<&OsStr>) -> Result<Found, FilesError> {
        let stat = match rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if self.through_link => return Ok(Found::Other(Occupant::Symlink)),
            Err(Errno::NOENT) => return Ok(Found::Absent),
            Err(e) => return Err(FilesError::io("look at", self.path(), e)),
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let dir = self.open()?;
                let children = self.children(&dir, ours)?;
                if children.iter().any(|name| wrapper::is_inside_name(name)) {
                    Found::Other(Occupant::InUse)
                } else if children.is_empty() {
                    Found::Empty
                } else if is_ours_at(&dir, OsStr::new(".")) {
                    Found::Record
                } else {
                    Found::Other(Occupant::Directory)
                }
            }
            FileType::RegularFile => Found::Other(Occupant::File),
            FileType::Symlink => Found::Other(Occupant::Symlink),
            _ => Found::Other(Occupant::Special),
        })
    }

    /// Opens the destination, which is a directory.
    pub(super) fn open(&self) -> Result<OwnedFd, FilesError> {
        open_directory_at(&self.parent, &self.name)
            .map_err(|e| FilesError::io("open the directory", self.path(), e))
    }

    /// The names in the opened destination, without the wrapper `ours`, and without the `lost+found` that
    /// `mkfs` puts at the top of a file system.
    pub(super) fn children(
        &self,
        dir: &OwnedFd,
        ours: Option<&OsStr>,
    ) -> Result<Vec<OsString>, FilesError> {
        let mut names =
            names_in(dir).map_err(|e| FilesError::io("read the directory", self.path(), e))?;
        names.retain(|name| Some(name.as_os_str()) != ours);
        if names.iter().any(|name| name == "lost+found") && self.is_mount_point(dir) {
            names.retain(|name| name != "lost+found");
        }
        Ok(names)
    }

    /// Whether the opened destination is a mount point, which no rename can replace.
    pub(super) fn is_mount_point(&self, dir: &OwnedFd) -> bool {
        is_mount_root(dir) || {
            // Older kernels do not tell; a bind mount of the same file system is then found out by the rename.
            match (rustix::fs::fstat(dir), rustix::fs::fstat(&self.parent)) {
                (Ok(dir), Ok(parent)) => dir.st_dev != parent.st_dev,
                _ => false,
            }
        }
    }

    /// Whether the opened destination is this process's working directory, very likely the one of the shell
    /// it was started from as well: it should go on being a directory that exists.
    pub(super) fn is_working_directory(dir: &OwnedFd) -> bool {
        match (rustix::fs::fstat(dir), rustix::fs::stat(".")) {
            (Ok(dir), Ok(here)) => (dir.st_dev, dir.st_ino) == (here.st_dev, here.st_ino),
            _ => false,
        }
    }
}

#[cfg(target_os = "linux")]
fn is_mount_root(dir: &OwnedFd) -> bool {
    use rustix::fs::{StatxAttributes, StatxFlags};
    rustix::fs::statx(dir, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(not(target_os = "linux"))]
fn is_mount_root(_: &OwnedFd) -> bool {
    false
}

/// Whether a directory is one that larder made: it holds a record, or is marked as an unpacked tree.
pub(super) fn is_ours_at(parent: &OwnedFd, name: &OsStr) -> bool {
    is_record_at(parent, name) || open_directory_at(parent, name).is_ok_and(mark::is_set)
}

/// Whether `name` in `parent` is a directory that holds a record.
fn is_record_at(parent: &OwnedFd, name: &OsStr) -> bool {
    open_directory_at(parent, name).is_ok_and(|dir| {
        rustix::fs::statat(&dir, RECORD, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
    })
}

/// The names in a directory, unsorted.
pub(super) fn names_in(dir: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

pub(super) fn open_directory_at(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a directory; one that may be passed and written but not read is opened to be passed only.
pub(super) fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags | OFlags::RDONLY, Mode::empty()) {
        #[cfg(target_os = "linux")]
        Err(Errno::ACCESS) => rustix::fs::open(path, flags | OFlags::PATH, Mode::empty()),
        other => other,
    }
}

/// Where a path leads that does not exist: a run may have died while the directory was moved aside to which
/// a link leads. Also says whether there was a link.
pub(super) fn follow_links(path: &Path) -> (PathBuf, bool) {
    let mut at = path.to_owned();
    for followed in 0..LINKS {
        match fs::read_link(&at) {
            Ok(target) => {
                at.pop();
                at.push(target);
            }
            Err(_) => return (at, followed > 0),
        }
    }
    (at, true)
}

/// Directories that were made on the way to a destination, outermost first.
#[derive(Debug, Default)]
struct MadeParents(Vec<PathBuf>);

impl MadeParents {
    fn make(&mut self, path: &Path) -> Result<(), FilesError> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|p| !p.as_os_str().is_empty() && !p.exists())
            .collect();
        for dir in missing.into_iter().rev() {
            match fs::DirBuilder::new().mode(0o755).create(dir) {
                // Removed by its real path: the working directory is the process's, not ours.
                Ok(()) => self
                    .0
                    .push(fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned())),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(FilesError::io("create the directory", dir, e)),
            }
        }
        Ok(())
    }
}

impl Drop for MadeParents {
    fn drop(&mut self) {
        for dir in self.0.iter().rev() {
            // Not empty: somebody else uses it by now.
            let _ = fs::remove_dir(dir);
        }
    }
}
