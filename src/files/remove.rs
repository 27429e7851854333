//! Removing a tree that may be hostile: very deep, unwritable, full of links.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// How many directories are open at once. What lies deeper is moved up to the top before it is entered, so
/// neither the depth of a tree nor the length of its paths can exhaust descriptors or the stack.
const OPEN_AT_ONCE: usize = 16;

/// Removes `name` in `parent`, whatever it is; that it is absent already is no error.
///
/// Links are removed, never followed. Directories that their owner made unwritable are made writable first.
/// Another file system mounted inside is not entered, and is an error. As much as possible is removed
/// before the first error is returned. Blocking.
pub fn remove_tree(parent: impl AsFd, name: impl AsRef<OsStr>) -> io::Result<()> {
    let (parent, name) = (parent.as_fd(), name.as_ref());
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux says ISDIR, POSIX says PERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    empty_directory(&enter(parent, name)?, &[])?;
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Removes everything in `root` except the entries named in `keep`.
pub(super) fn empty_directory(root: &OwnedFd, keep: &[&OsStr]) -> io::Result<()> {
    let device = rustix::fs::fstat(root)?.st_dev;
    let mut spare_names = 0u64;
    // A directory that is changed while it is read may not show everything, and what was moved up is still to
    // be removed: read until nothing is left, or until nothing more can be done.
    loop {
        let mut pass = Pass {
            root: root.as_fd(),
            same_device: |fd: &OwnedFd| rustix::fs::fstat(fd).is_ok_and(|s| s.st_dev == device),
            keep,
            spare_names: &mut spare_names,
            removed: 0,
            failed: None,
            seen: 0,
        };
        pass.run()?;
        match (pass.seen, pass.removed, pass.failed) {
            (0, _, None) => return Ok(()),
            (_, 0, Some(e)) => return Err(e.into()),
            // Entries that are there and neither go nor say why: another process is making them.
            (_, 0, None) => return Err(Errno::NOTEMPTY.into()),
            _ => {}
        }
    }
}

struct Pass<'a, F> {
    root: BorrowedFd<'a>,
    /// Whether a directory is on the root's file system.
    same_device: F,
    keep: &'a [&'a OsStr],
    spare_names: &'a mut u64,
    /// Entries at the top that are to go.
    seen: u64,
    /// Entries removed or moved up, at any depth.
    removed: u64,
    failed: Option<Errno>,
}

impl<F: Fn(&OwnedFd) -> bool> Pass<'_, F> {
    fn run(&mut self) -> io::Result<()> {
        let mut open = vec![(Dir::read_from(self.root)?, CString::default())];
        while let Some((dir, _)) = open.last_mut() {
            let entry = match dir.read() {
                Some(Ok(entry)) => entry,
                Some(Err(e)) => return Err(e.into()),
                None => {
                    let Some((_, name)) = open.pop() else { break };
                    if let Some((above, _)) = open.last() {
                        let gone = rustix::fs::unlinkat(above.fd()?, &name, AtFlags::REMOVEDIR);
                        self.note(gone);
                    }
                    continue;
                }
            };
            let name = entry.file_name();
            let at_top = open.len() == 1;
            if name == c"." || name == c".." || (at_top && self.is_kept(name)) {
                continue;
            }
            self.seen += u64::from(at_top);
            let Some((dir, _)) = open.last() else { break };
            let fd = dir.fd()?;
            match rustix::fs::unlinkat(fd, name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {}
                done => {
                    self.note(done);
                    continue;
                }
            }
            if open.len() < OPEN_AT_ONCE {
                match self.enter_here(fd, name) {
                    Ok(below) => open.push((Dir::new(below)?, name.to_owned())),
                    Err(e) => self.note(Err(e)),
                }
            } else {
                let moved = self.move_up(fd, name);
                self.note(moved);
            }
        }
        Ok(())
    }

    fn is_kept(&self, name: &CStr) -> bool {
        self.keep
            .iter()
            .any(|kept| kept.as_encoded_bytes() == name.to_bytes())
    }

    fn note(&mut self, outcome: Result<(), Errno>) {
        match outcome {
            // NOENT: somebody else was faster.
            Ok(()) | Err(Errno::NOENT) => self.removed += 1,
            Err(e) => {
                self.failed.get_or_insert(e);
            }
        }
    }

    fn enter_here(&self, parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
        let below = enter(parent, name)?;
        if (self.same_device)(&below) {
            Ok(below)
        } else {
            Err(Errno::XDEV)
        }
    }

    /// Moves a directory to the top under a name that is free there.
    fn move_up(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        // A directory can be moved to another one only if it is writable itself; entering it makes it so.
        drop(self.enter_here(parent, name)?);
        loop {
            *self.spare_names += 1;
            let spare = format!("{:x}", self.spare_names);
            // That an empty directory is replaced does no harm here: all of them are to go.
            match rustix::fs::renameat(parent, name, self.root, spare) {
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                done => return done,
            }
        }
    }
}

/// Opens a directory that is to be emptied, and makes that possible.
fn enter<P: Arg + Copy>(parent: BorrowedFd<'_>, name: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
    let dir = match open() {
        Err(Errno::ACCESS) => {
            // Not even readable. The mode can be changed only by name then, and only if it is a directory;
            // whoever could swap it for a link at this moment has our own rights already.
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(Errno::ACCESS);
            }
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            open()?
        }
        // What unlink refused with PERM is no directory after all: it is held some other way.
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(Errno::PERM),
        other => other?,
    };
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&dir)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        // Where this fails, removing what is inside will say why.
        let _ = rustix::fs::fchmod(&dir, mode | Mode::RWXU);
    }
    Ok(dir)
}
