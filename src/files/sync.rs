//! Making what was written durable.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::rig::Rig;

/// Deeper than this, the tree is synced by one call for the whole system instead.
const DEPTH: usize = 64;

/// Makes everything under `root` durable: by one call for its file system where there is one, else file by
/// file.
pub(super) fn sync_tree(root: &OwnedFd, rig: &Rig) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if rig.syncfs {
        match rustix::fs::syncfs(root) {
            Err(Errno::NOSYS) => {}
            done => return Ok(done?),
        }
    }
    let _ = rig;
    sync_each(root)
}

/// Syncs each regular file and each directory under `root`.
fn sync_each(root: &OwnedFd) -> io::Result<()> {
    let mut all_of_it = false;
    let mut open = vec![Dir::read_from(root)?];
    while let Some(dir) = open.last_mut() {
        let Some(entry) = dir.read() else {
            if let Some(done) = open.pop() {
                sync_fd(done.fd()?)?;
            }
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let fd = dir.fd()?;
        let stat = rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match kind {
            FileType::RegularFile => {}
            FileType::Directory => flags |= OFlags::DIRECTORY,
            _ => continue,
        }
        match rustix::fs::openat(fd, name, flags, Mode::empty()) {
            Ok(below) if kind == FileType::Directory => {
                if open.len() < DEPTH {
                    open.push(Dir::new(below)?);
                } else {
                    all_of_it = true;
                }
            }
            // On macOS this is F_FULLFSYNC, which is what makes it durable there.
            Ok(file) => std::fs::File::from(file).sync_all()?,
            // A mode under which not even the owner can open it.
            Err(Errno::ACCESS) => all_of_it = true,
            Err(e) => return Err(e.into()),
        }
    }
    if all_of_it {
        rustix::fs::sync();
    }
    Ok(())
}

/// Makes the names in a directory durable. File systems that cannot sync a directory are taken to need no
/// such thing.
pub(super) fn sync_directory(dir: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Opened anew: what is held may be good for passing only.
    match rustix::fs::openat(dir, ".", flags, Mode::empty()) {
        Ok(dir) => sync_fd(&dir),
        Err(Errno::ACCESS) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn sync_fd(fd: impl std::os::fd::AsFd) -> io::Result<()> {
    match rustix::fs::fsync(fd) {
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS | Errno::BADF) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
