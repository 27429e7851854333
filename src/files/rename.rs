//! The two renames that not every file system has.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::rig::Rig;

/// Whether it says that the kernel or the file system does not know this kind of rename.
fn is_unsupported(e: Errno) -> bool {
    // The last two are one number on Linux and two elsewhere.
    matches!(e, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) || e == Errno::OPNOTSUPP
}

/// Moves, and fails with `EEXIST` when there is something under the new name. Without help from the file
/// system this is a look before the move, as good as a lock-protected wrapper needs.
pub(super) fn rename_noreplace(
    from: &OwnedFd,
    name: &OsStr,
    to: &OwnedFd,
    new_name: &OsStr,
    rig: &Rig,
) -> Result<(), Errno> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    if rig.noreplace {
        match rustix::fs::renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE) {
            Err(e) if is_unsupported(e) => {}
            done => return done,
        }
    }
    let _ = rig;
    match rustix::fs::statat(to, new_name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, new_name),
        Ok(_) => Err(Errno::EXIST),
        Err(e) => Err(e),
    }
}

/// Lets two names change places in one step; `false` where that is not to be had.
pub(super) fn exchange(
    a: &OwnedFd,
    a_name: &OsStr,
    b: &OwnedFd,
    b_name: &OsStr,
    rig: &Rig,
) -> Result<bool, Errno> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    if rig.exchange {
        return match rustix::fs::renameat_with(a, a_name, b, b_name, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(e) if is_unsupported(e) => Ok(false),
            Err(e) => Err(e),
        };
    }
    let _ = (a, a_name, b, b_name, rig);
    Ok(false)
}
