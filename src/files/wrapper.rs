//! The wrapper: a directory beside a destination (or inside it) that holds all that is not yet, or no
//! longer, the destination, and the lock that tells a live run from a dead one.
//!
//! ```text
//! .NAME.larder-0123456789abcdef/     0700; inside a destination: .larder-0123456789abcdef
//!   lock                             flock held while the run lives
//!   new/                             becomes the destination
//!   tmp/                             spools
//!   old                              the destination, moved aside; a directory of children in inside mode
//!   journal                          in inside mode, while children are on the move
//!   gone                             an old that is being removed, never to be put back
//! ```
//!
//! The race between `mkdir` and `flock` is closed from both sides: a cleaner removes a wrapper without a
//! lock file only by `rmdir`, which fails once there is one, and a creator that does not get the lock, or
//! whose lock file is no longer at its path, takes another name.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher as _, RandomState};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::destination::{names_in, open_directory_at};
use super::error::FilesError;
use super::remove::{empty_directory, remove_tree};
use super::rig::Rig;
use crate::digest::Sha256Digest;

const MARK: &str = ".larder-";
/// Hexadecimal digits of the random part.
const RANDOM: usize = 16;
/// The longest name of a file, in bytes, on every file system in use.
const NAME_MAX: usize = 255;
const LOCK: &str = "lock";
pub(super) const NEW: &str = "new";
pub(super) const SCRATCH: &str = "tmp";
pub(super) const OLD: &str = "old";
const GONE: &str = "gone";

/// What the wrappers of the destination `name` begin with. Two destinations never share it: a name too
/// long to be used whole is cut and its digest added.
pub(super) fn prefix_beside(name: &OsStr) -> OsString {
    let mut bytes = vec![b'.'];
    let room = NAME_MAX - 1 - MARK.len() - RANDOM;
    if name.len() <= room {
        bytes.extend(name.as_bytes());
    } else {
        let digest = Sha256Digest::of(name.as_bytes()).hex();
        let mut end = room - 1 - RANDOM;
        if let Some(text) = name.to_str() {
            end = text.floor_char_boundary(end);
        }
        bytes.extend(&name.as_bytes()[..end]);
        bytes.push(b'~');
        bytes.extend(&digest.as_bytes()[..RANDOM]);
    }
    bytes.extend(MARK.as_bytes());
    OsString::from_vec(bytes)
}

/// What wrappers inside a destination begin with.
pub(super) fn prefix_inside() -> OsString {
    OsString::from(MARK)
}

/// Whether it is the name of a wrapper inside a destination.
pub(super) fn is_inside_name(name: &OsStr) -> bool {
    has_prefix(name, OsStr::new(MARK))
}

fn has_prefix(name: &OsStr, prefix: &OsStr) -> bool {
    name.as_bytes()
        .strip_prefix(prefix.as_bytes())
        .is_some_and(|rest| {
            rest.len() == RANDOM && rest.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
}

/// A wrapper that is this run's: made by it, or taken over from a dead one.
#[derive(Debug)]
pub(super) struct Wrapper {
    /// The directory in which it lies.
    host: OwnedFd,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    pub(super) dir: OwnedFd,
    /// Held for as long as the run lives; closing it unlocks.
    _lock: OwnedFd,
}

/// What became of a wrapper found.
pub(super) enum Claim {
    /// Its run is dead, and it is ours now.
    Dead(Wrapper),
    /// Nothing is left of it.
    Gone,
    /// Its run lives, or it is not this user's.
    NotOurs,
    /// There are no locks on this file system: nobody can tell.
    Unknown(Wrapper),
}

enum Locked {
    Yes,
    Busy,
    Unsupported,
}

impl Wrapper {
    /// Makes a wrapper in `host`, the directory `host_path`, and locks it.
    pub(super) fn create(
        host: &OwnedFd,
        host_path: &Path,
        prefix: &OsStr,
        rig: &Rig,
    ) -> Result<Self, FilesError> {
        // One attempt is enough unless somebody cleans up at this very moment.
        for _ in 0..32 {
            let mut name = prefix.to_owned();
            name.push(random());
            let path = host_path.join(&name);
            match rustix::fs::mkdirat(host, &name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(e) => return Err(FilesError::io("create a directory in", host_path, e)),
            }
            match Self::take(host, &name, &path, rig) {
                Ok(Some(wrapper)) => return Ok(wrapper),
                Ok(None) => {}
                Err(e) => {
                    let _ = remove_tree(host, &name);
                    return Err(e);
                }
            }
        }
        Err(FilesError::io(
            "create a directory",
            host_path,
            Errno::EXIST,
        ))
    }

    /// Locks the wrapper just made; `None` when a cleaner was faster.
    fn take(
        host: &OwnedFd,
        name: &OsStr,
        path: &Path,
        rig: &Rig,
    ) -> Result<Option<Self>, FilesError> {
        let failed = |action, e: Errno| FilesError::io(action, path, e);
        let dir = match open_directory_at(host, name) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|e| failed("open the directory", e))?,
        };
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = match rustix::fs::openat(&dir, LOCK, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|e| failed("create a lock file in", e))?,
        };
        match try_lock(&lock, rig) {
            Locked::Busy => return Ok(None),
            Locked::Yes if !is_still_at(&lock, &dir) => return Ok(None),
            Locked::Yes | Locked::Unsupported => {}
        }
        let host = host
            .try_clone()
            .map_err(|e| FilesError::io("open the directory", path, e))?;
        Ok(Some(Self {
            host,
            name: name.to_owned(),
            path: path.to_owned(),
            dir,
            _lock: lock,
        }))
    }

    /// The wrappers in `host` whose names begin with `prefix`. A directory that cannot be read has none.
    pub(super) fn names(host: &OwnedFd, prefix: &OsStr) -> Vec<OsString> {
        let mut names = names_in(host).unwrap_or_default();
        names.retain(|name| has_prefix(name, prefix));
        names.sort();
        names
    }

    /// Takes the wrapper `name` over if its run is dead.
    pub(super) fn claim(host: &OwnedFd, host_path: &Path, name: &OsStr, rig: &Rig) -> Claim {
        let Ok(dir) = open_directory_at(host, name) else {
            return Claim::NotOurs;
        };
        // In a directory that others may write to, such as /tmp, somebody may have laid a trap.
        let is_mine = rustix::fs::fstat(&dir).is_ok_and(|s| {
            s.st_uid == rustix::process::geteuid().as_raw()
                && !Mode::from_raw_mode(s.st_mode).intersects(Mode::WGRP | Mode::WOTH)
        });
        if !is_mine {
            return Claim::NotOurs;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let lock = match rustix::fs::openat(&dir, LOCK, flags, Mode::empty()) {
            Ok(lock) => lock,
            Err(Errno::NOENT) => {
                return match rustix::fs::unlinkat(host, name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => Claim::Gone,
                    Err(_) => Claim::NotOurs,
                };
            }
            Err(_) => return Claim::NotOurs,
        };
        let locked = try_lock(&lock, rig);
        if matches!(locked, Locked::Busy) || !is_still_at(&lock, &dir) {
            return Claim::NotOurs;
        }
        let Ok(host) = host.try_clone() else {
            return Claim::NotOurs;
        };
        let wrapper = Self {
            host,
            name: name.to_owned(),
            path: host_path.join(name),
            dir,
            _lock: lock,
        };
        match locked {
            Locked::Unsupported => Claim::Unknown(wrapper),
            _ => Claim::Dead(wrapper),
        }
    }

    /// Whether it holds something of this name.
    pub(super) fn holds(&self, name: &str) -> bool {
        rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Whether it held a single file in the making, or nothing: there is nothing in it to be put back.
    pub(super) fn is_of_a_file(&self) -> bool {
        !self.holds(OLD) && !self.holds(SCRATCH)
    }

    /// Removes the wrapper and all that is left in it. The caller has put back what had to be put back.
    pub(super) fn remove(&self) -> Result<(), FilesError> {
        let removed = || -> std::io::Result<()> {
            // An old destination must not be put back once it is no longer whole.
            if self.holds(OLD) {
                remove_tree(&self.dir, GONE)?;
                rustix::fs::renameat(&self.dir, OLD, &self.dir, GONE)?;
            }
            // The lock goes last: without it nobody could tell what the rest is.
            empty_directory(&self.dir, &[OsStr::new(LOCK)])?;
            rustix::fs::unlinkat(&self.dir, LOCK, AtFlags::empty())?;
            rustix::fs::unlinkat(&self.host, &self.name, AtFlags::REMOVEDIR)?;
            Ok(())
        };
        removed().map_err(|e| FilesError::io("remove", &self.path, e))
    }
}

/// Sixteen hexadecimal digits that nobody else has. They need not be secret, only different: a name that
/// exists is never used.
fn random() -> String {
    // Keyed anew from the system's random numbers in every process, and differently each time.
    let n = RandomState::new().hash_one((std::process::id(), std::time::SystemTime::now()));
    format!("{n:016x}")
}

fn try_lock(lock: &OwnedFd, rig: &Rig) -> Locked {
    if !rig.flock {
        return Locked::Unsupported;
    }
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Locked::Yes,
            Err(Errno::WOULDBLOCK) => return Locked::Busy,
            Err(Errno::INTR) => {}
            Err(_) => return Locked::Unsupported,
        }
    }
}

/// Whether the lock file is the one that the wrapper has now.
fn is_still_at(lock: &OwnedFd, dir: &OwnedFd) -> bool {
    match (
        rustix::fs::fstat(lock.as_fd()),
        rustix::fs::statat(dir, LOCK, AtFlags::SYMLINK_NOFOLLOW),
    ) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}
