//! The directory that is unpacked into, and how directories below it are reached: never through a link.
//!
//! On Linux the kernel is asked to see to that (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, since 5.6);
//! elsewhere, and where a sandbox hides that call, each component is opened by itself with `O_NOFOLLOW`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, Result};

/// An open directory below which everything happens.
#[derive(Clone, Copy)]
pub(super) struct Root<'a> {
    fd: BorrowedFd<'a>,
    /// The kernel has `openat2`.
    beneath: bool,
}

/// Flags of a directory that is only a place to reach others from.
#[cfg(target_os = "linux")]
const PLACE: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const PLACE: OFlags = OFlags::RDONLY;

impl<'a> Root<'a> {
    pub(super) fn new(fd: BorrowedFd<'a>) -> Self {
        Self {
            fd,
            beneath: beneath(fd, b".", PLACE).is_some_and(|result| result.is_ok()),
        }
    }

    /// The same, reached component by component.
    #[cfg(test)]
    pub(super) fn portable(fd: BorrowedFd<'a>) -> Self {
        Self { fd, beneath: false }
    }

    /// Opens the directory at `path`, not empty, so that its mode and times can be set.
    pub(super) fn open(self, path: &[u8]) -> Result<OwnedFd> {
        self.reach(path, OFlags::RDONLY)
    }

    fn reach(self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        if self.beneath
            && let Some(result) = beneath(self.fd, path, flags)
        {
            return result;
        }
        let mut components = path.split(|&b| b == b'/').peekable();
        let mut at: Option<OwnedFd> = None;
        while let Some(component) = components.next() {
            let flags = if components.peek().is_some() {
                PLACE
            } else {
                flags
            };
            let from = at.as_ref().map_or(self.fd, AsFd::as_fd);
            at = Some(child(from, component, flags)?);
        }
        at.ok_or(Errno::NOENT)
    }
}

/// Opens a directory in `from` that is no link.
fn child(from: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    retry(|| openat(from, name, flags, Mode::empty()))
}

/// `openat2`; none where the system has no such call.
#[cfg(target_os = "linux")]
fn beneath(from: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Option<Result<OwnedFd>> {
    use rustix::fs::{ResolveFlags, openat2};
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match retry(|| openat2(from, path, flags, Mode::empty(), resolve)) {
        Err(Errno::NOSYS) => None,
        result => Some(result),
    }
}

#[cfg(not(target_os = "linux"))]
fn beneath(_: BorrowedFd<'_>, _: &[u8], _: OFlags) -> Option<Result<OwnedFd>> {
    None
}

/// Calls again what a signal, or a rename elsewhere, interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::INTR | Errno::AGAIN) => {}
            result => return result,
        }
    }
}

/// The directory that was used last, held open: its neighbours in the archive mostly are its neighbours on disk.
pub(super) struct Place<'r, 'p> {
    root: Root<'r>,
    path: &'p [u8],
    /// None for the root itself.
    open: Option<OwnedFd>,
}

impl<'r, 'p> Place<'r, 'p> {
    pub(super) fn new(root: Root<'r>) -> Self {
        Self {
            root,
            path: b"",
            open: None,
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.open.as_ref().map_or(self.root.fd, AsFd::as_fd)
    }

    /// The directory at `path`; empty for the root.
    pub(super) fn at(&mut self, path: &'p [u8]) -> Result<BorrowedFd<'_>> {
        if self.path != path {
            self.open = if path.is_empty() {
                None
            } else {
                Some(self.root.reach(path, PLACE)?)
            };
            self.path = path;
        }
        Ok(self.fd())
    }

    /// Goes down to the child that ends at `len` of `path`, whose directory part is where this is.
    pub(super) fn down(&mut self, path: &'p [u8], len: usize) -> Result<()> {
        let skip = if self.path.is_empty() {
            0
        } else {
            self.path.len() + 1
        };
        let open = child(self.fd(), &path[skip..len], PLACE)?;
        self.open = Some(open);
        self.path = &path[..len];
        Ok(())
    }
}
