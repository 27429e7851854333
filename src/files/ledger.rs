//! A directory to which files are only ever added, by one run at a time.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::destination::open_directory;
use super::error::FilesError;
use super::rename::rename_noreplace;
use super::rig::Rig;
use super::sync::sync_directory;

/// The name under which a file is written before it gets its own.
pub(crate) const DRAFT: &str = ".larder-draft";

/// The directory, opened and locked until this is dropped.
#[derive(Debug)]
pub struct Ledger {
    dir: OwnedFd,
    path: PathBuf,
}

impl Ledger {
    /// Opens the directory `path`, or makes it for the owner alone (0700).
    ///
    /// # Errors
    /// It cannot be opened or made, or another run is adding to it.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(FilesError::io("create the directory", path, e)),
        }
        let dir =
            open_directory(path).map_err(|e| FilesError::io("open the directory", path, e))?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            // A file system without locks: the rename that replaces nothing is what remains.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => {}
            Err(Errno::WOULDBLOCK) => {
                let busy = io::Error::other("another run is adding to it");
                return Err(FilesError::io("lock", path, busy));
            }
            Err(e) => return Err(FilesError::io("lock", path, e)),
        }
        Ok(Self {
            dir,
            path: path.to_owned(),
        })
    }

    /// Adds a file that its owner can read and nobody write (0400): whole or not at all, and durable on return.
    ///
    /// # Errors
    /// There is a file of that name, or it cannot be written.
    pub fn add(&self, name: &str, bytes: &[u8]) -> Result<(), FilesError> {
        let added = || -> io::Result<()> {
            // What a run left that died.
            let _ = rustix::fs::unlinkat(&self.dir, DRAFT, AtFlags::empty());
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(&self.dir, DRAFT, flags, Mode::RUSR)?);
            file.write_all(bytes)?;
            file.sync_all()?;
            let (draft, name) = (OsStr::new(DRAFT), OsStr::new(name));
            rename_noreplace(&self.dir, draft, &self.dir, name, &Rig::default())?;
            sync_directory(&self.dir)
        };
        added().map_err(|e| {
            let _ = rustix::fs::unlinkat(&self.dir, DRAFT, AtFlags::empty());
            FilesError::io("add", self.path.join(name), e)
        })
    }

    /// Gives a file that was added its last name.
    ///
    /// # Errors
    /// There is a file of that name, or none to be renamed.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FilesError> {
        let renamed = || -> io::Result<()> {
            let (from, to) = (OsStr::new(from), OsStr::new(to));
            rename_noreplace(&self.dir, from, &self.dir, to, &Rig::default())?;
            sync_directory(&self.dir)
        };
        renamed().map_err(|e| FilesError::io("add", self.path.join(to), e))
    }

    /// Takes away a file that never came to count.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn drop_unfinished(&self, name: &str) -> Result<(), FilesError> {
        rustix::fs::unlinkat(&self.dir, name, AtFlags::empty())
            .map_err(|e| FilesError::io("remove", self.path.join(name), e))
    }

    /// Takes away the directory if nothing was added to it.
    pub fn remove_if_empty(self) {
        let _ = rustix::fs::rmdir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_added_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let ledger = Ledger::open(&path).unwrap();
        assert!(
            Ledger::open(&path)
                .unwrap_err()
                .to_string()
                .contains("lock")
        );
        ledger.add("1", b"one").unwrap();
        assert!(ledger.add("1", b"two").is_err());
        ledger.add("0.part", b"zero").unwrap();
        assert!(ledger.rename("0.part", "1").is_err());
        ledger.rename("0.part", "0").unwrap();
        ledger.drop_unfinished("0").unwrap();
        drop(ledger);
        // A run died here.
        std::fs::write(path.join(DRAFT), "half").unwrap();
        Ledger::open(&path).unwrap().add("2", b"two").unwrap();
        assert_eq!(std::fs::read(path.join("1")).unwrap(), b"one");
        assert_eq!(super::super::names(&path), ["1", "2"]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("1"))), (0o700, 0o400));
    }
}
