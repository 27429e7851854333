//! Staging a directory, and publishing it whole.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::destination::{Destination, Found, is_ours_at, open_directory_at};
use super::error::{FilesError, Occupant};
use super::rename::exchange;
use super::rig::{Checkpoint, Rig};
use super::sync::{sync_directory, sync_tree};
use super::wrapper::{Claim, NEW, OLD, SCRATCH, Wrapper, prefix_beside, prefix_inside};
use super::{inside, mark};

/// How a destination is published.
#[derive(Debug, Clone, Copy)]
pub struct PublishOptions {
    /// Replaces a destination that holds a `larder.json`.
    pub force: bool,
    /// Makes everything durable before it takes the destination's name, and the name after that.
    pub sync: bool,
}

impl Default for PublishOptions {
    /// Replaces nothing, and syncs.
    fn default() -> Self {
        Self {
            force: false,
            sync: true,
        }
    }
}

/// That a destination is in place.
#[derive(Debug)]
pub struct Published {
    /// Its real path.
    pub path: PathBuf,
    /// What it replaced could not be removed, or not all of it. A later run for the same destination tries again.
    pub leftover: Option<FilesError>,
}

/// A directory in the making, on the file system of its destination. It takes the destination's name as a
/// whole when it is [published](Self::publish); dropped before that, it is removed with all its content.
///
/// All methods block.
#[derive(Debug)]
pub struct Staging {
    dest: Destination,
    /// The opened destination, when the staging lies inside it.
    inside: Option<OwnedFd>,
    wrapper: Wrapper,
    new: OwnedFd,
    scratch: OwnedFd,
    path: PathBuf,
    scratch_path: PathBuf,
    options: PublishOptions,
    rig: Rig,
    settled: bool,
}

impl Staging {
    /// Checks `dest`, puts right what dead runs left there, and makes the staging.
    ///
    /// Missing parents are made, and removed again with the staging. A `dest` that is a symbolic link to a
    /// directory stands for that directory. An empty directory counts as absent.
    pub fn create(dest: &Path, options: PublishOptions) -> Result<Self, FilesError> {
        Self::create_with(dest, options, Rig::default())
    }

    /// The same, with a test's hands in it.
    #[doc(hidden)]
    pub fn create_with(dest: &Path, options: PublishOptions, rig: Rig) -> Result<Self, FilesError> {
        let dest = Destination::resolve(dest)?;
        let found = put_right(&dest, options.sync, &rig)?;
        let stands = match found {
            Found::Absent => false,
            Found::Empty => true,
            Found::Record if options.force => true,
            Found::Record => return Err(dest.occupied(Occupant::Record)),
            Found::Other(found) => return Err(dest.occupied(found)),
        };
        let mut inside = if stands { Some(dest.open()?) } else { None };
        let mut beside = None;
        if !inside.as_ref().is_some_and(|dir| {
            rig.inside || dest.is_mount_point(dir) || Destination::is_working_directory(dir)
        }) {
            let prefix = prefix_beside(&dest.name);
            match Wrapper::create(&dest.parent, &dest.parent_path, &prefix, &rig) {
                Ok(wrapper) => {
                    beside = Some(wrapper);
                    inside = None;
                }
                // Nothing may be made beside it, but it is there: perhaps something may be made inside.
                Err(e) if e.is_refusal() && inside.is_some() => {}
                Err(e) => return Err(e),
            }
        }
        let wrapper = match (beside, &inside) {
            (Some(wrapper), _) => wrapper,
            (None, Some(dir)) => {
                let wrapper = Wrapper::create(dir, &dest.path(), &prefix_inside(), &rig)?;
                // Two runs that came at the same time see each other here, and at least one gives way.
                match dest.look(Some(&wrapper.name)) {
                    Ok(Found::Other(found)) => {
                        let _ = wrapper.remove();
                        return Err(dest.occupied(found));
                    }
                    _ => wrapper,
                }
            }
            (None, None) => return Err(dest.occupied(Occupant::InUse)),
        };
        let make = |name: &str| -> Result<OwnedFd, FilesError> {
            rustix::fs::mkdirat(&wrapper.dir, name, Mode::RWXU)
                .and_then(|()| open_directory_at(&wrapper.dir, OsStr::new(name)))
                .map_err(|e| FilesError::io("create the directory", wrapper.path.join(name), e))
        };
        let (new, scratch) = match make(NEW).and_then(|new| Ok((new, make(SCRATCH)?))) {
            Ok(both) => both,
            Err(e) => {
                let _ = wrapper.remove();
                return Err(e);
            }
        };
        let staging = Self {
            path: wrapper.path.join(NEW),
            scratch_path: wrapper.path.join(SCRATCH),
            dest,
            inside,
            wrapper,
            new,
            scratch,
            options,
            rig,
            settled: false,
        };
        staging.checkpoint(Checkpoint::AfterStaging)?;
        Ok(staging)
    }

    /// The directory that becomes the destination.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same, opened.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.new.as_fd()
    }

    /// A directory on the same file system for what must not be published: spools.
    pub fn scratch(&self) -> &Path {
        &self.scratch_path
    }

    /// Where it will be published: the destination's real path.
    pub fn destination(&self) -> PathBuf {
        self.dest.path()
    }

    /// Creates the file `name`, a relative path whose directories exist, for reading and writing. `mode` is
    /// narrowed by the umask. A file that exists is an error.
    pub fn create_file(&self, name: &str, mode: u32) -> Result<File, FilesError> {
        create_file_in(&self.new, name, mode)
            .map_err(|e| FilesError::io("create the file", self.path.join(name), e))
    }

    /// Creates a file like [`create_file`](Self::create_file), in [`scratch`](Self::scratch).
    pub fn create_scratch_file(&self, name: &str, mode: u32) -> Result<File, FilesError> {
        create_file_in(&self.scratch, name, mode)
            .map_err(|e| FilesError::io("create the file", self.scratch_path.join(name), e))
    }

    /// Puts the regular file `from` into [`scratch`](Self::scratch) as `name`, and opens it for reading: as a further link
    /// to it where the file system has such, else as a copy. `stop` is asked every 256 KiB of a copy.
    pub fn link_or_copy(
        &self,
        from: &Path,
        name: &str,
        stop: &dyn Fn() -> bool,
    ) -> Result<File, FilesError> {
        let failed = |e: io::Error| FilesError::io("copy", from, e);
        let source = super::open_read(from)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if rustix::fs::linkat(rustix::fs::CWD, from, &self.scratch, name, AtFlags::empty()).is_ok()
        {
            let opened = rustix::fs::openat(&self.scratch, name, flags, Mode::empty());
            if let Ok(file) = opened.map(File::from)
                && file.metadata().is_ok_and(|data| data.is_file())
            {
                return Ok(file);
            }
            // A symbolic link, or something else that took the file's place meanwhile.
            self.remove_scratch_file(name)?;
        }
        let mut copy = self.create_scratch_file(name, 0o644)?;
        let mut source = Stoppable { source, stop };
        match io::copy(&mut source, &mut copy) {
            Ok(_) => Ok(copy),
            Err(e) => {
                let _ = self.remove_scratch_file(name);
                Err(failed(e))
            }
        }
    }

    /// Removes a file from [`scratch`](Self::scratch).
    pub fn remove_scratch_file(&self, name: &str) -> Result<(), FilesError> {
        rustix::fs::unlinkat(&self.scratch, name, AtFlags::empty())
            .map_err(|e| FilesError::io("remove", self.scratch_path.join(name), e))
    }

    /// Moves a file out of [`scratch`](Self::scratch) to `name`, under which it will be published; a spool
    /// gets a good package's name so, and only once it is verified.
    pub fn keep(&self, scratch_name: &str, name: &str) -> Result<(), FilesError> {
        let moved = || {
            let (parent, last) = open_parent(&self.new, name)?;
            rustix::fs::renameat(&self.scratch, scratch_name, &parent, last)
        };
        moved().map_err(|e| FilesError::io("move into place", self.path.join(name), e))
    }

    /// Creates the directory `name`, a relative path, and those above it that are missing, and opens it. Their
    /// mode is 0755, narrowed by the umask; the destination itself is 0700.
    pub fn create_dir(&self, name: &str) -> Result<OwnedFd, FilesError> {
        let created = || {
            let mut at = self.new.try_clone().map_err(|e| to_errno(&e))?;
            let mut is_new = false;
            for component in components(name)? {
                is_new = match rustix::fs::mkdirat(&at, component, Mode::from_raw_mode(0o755)) {
                    Ok(()) => true,
                    Err(Errno::EXIST) => false,
                    Err(e) => return Err(e),
                };
                at = open_directory_at(&at, component)?;
            }
            if is_new { Ok(at) } else { Err(Errno::EXIST) }
        };
        created().map_err(|e| FilesError::io("create the directory", self.path.join(name), e))
    }

    /// Marks what is in here as an unpacked tree, which has no record of its own: a later `--force` may replace it.
    pub fn mark_unpacked(&self) {
        mark::set(&self.new);
    }

    /// Gives the staging its destination's name: whole, or not at all.
    ///
    /// An error after that moment (the parent cannot be synced) leaves the new destination in place; it may
    /// then not outlive a power failure.
    pub fn publish(mut self) -> Result<Published, FilesError> {
        self.checkpoint(Checkpoint::BeforeSync)?;
        if self.options.sync {
            sync_tree(&self.new, &self.rig)
                .map_err(|e| FilesError::io("sync the file system of", &self.path, e))?;
        }
        self.checkpoint(Checkpoint::BeforeExchange)?;
        if let Some(dir) = &self.inside {
            inside::publish(&self.dest, dir, &self.wrapper, self.options, &self.rig)?;
        } else {
            self.rename_into_place()?;
            self.dest.keep_parents();
            self.checkpoint(Checkpoint::AfterRename)?;
            self.sync_parent()?;
        }
        self.checkpoint(Checkpoint::BeforeOldRemoved)?;
        self.settled = true;
        Ok(Published {
            path: self.dest.path(),
            leftover: self.wrapper.remove().err(),
        })
    }

    fn rename_into_place(&self) -> Result<(), FilesError> {
        let (from, dest) = (&self.wrapper.dir, &self.dest);
        // A directory can be renamed over nothing but an empty directory: what came to be there meanwhile is
        // never replaced by this.
        let rename = || rustix::fs::renameat(from, NEW, &dest.parent, &dest.name);
        let failed = |e: Errno| FilesError::io("move into place", dest.path(), e);
        match rename() {
            Ok(()) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(e) => return Err(failed(e)),
        }
        match dest.look(None)? {
            Found::Record if self.options.force => self.replace(),
            Found::Record => Err(dest.occupied(Occupant::Record)),
            Found::Other(found) => Err(dest.occupied(found)),
            // It has gone meanwhile, or this file system replaces not even an empty directory.
            Found::Absent | Found::Empty => {
                let _ = rustix::fs::unlinkat(&dest.parent, &dest.name, AtFlags::REMOVEDIR);
                rename().map_err(failed)
            }
        }
    }

    /// Lets the staging and the destination change places.
    pub(super) fn replace(&self) -> Result<(), FilesError> {
        let (wrapper, dest) = (&self.wrapper.dir, &self.dest);
        let failed = |e: Errno| FilesError::io("replace", dest.path(), e);
        let swap = || {
            exchange(
                wrapper,
                OsStr::new(NEW),
                &dest.parent,
                &dest.name,
                &self.rig,
            )
        };
        if swap().map_err(failed)? {
            // Somebody may have put another directory there since it was looked at. It goes back.
            if !is_ours_at(wrapper, OsStr::new(NEW)) {
                swap().map_err(failed)?;
                return Err(dest.occupied(Occupant::Directory));
            }
            return Ok(());
        }
        rustix::fs::renameat(&dest.parent, &dest.name, wrapper, OLD).map_err(failed)?;
        // Any failure from here on puts the old one back, now or in the next run.
        self.checkpoint(Checkpoint::BetweenRenames)?;
        if !is_ours_at(wrapper, OsStr::new(OLD)) {
            return Err(dest.occupied(Occupant::Directory));
        }
        rustix::fs::renameat(wrapper, NEW, &dest.parent, &dest.name).map_err(failed)
    }

    fn sync_parent(&self) -> Result<(), FilesError> {
        if self.options.sync {
            sync_directory(&self.dest.parent)
                .map_err(|e| FilesError::io("sync the directory", &self.dest.parent_path, e))?;
        }
        Ok(())
    }

    fn checkpoint(&self, checkpoint: Checkpoint) -> Result<(), FilesError> {
        (self.rig.at)(checkpoint).map_err(|e| FilesError::io("publish", self.dest.path(), e))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let restored = match &self.inside {
            Some(dir) => {
                inside::restore(&self.dest, dir, &self.wrapper, self.options.sync, &self.rig)
            }
            None => restore_beside(&self.dest, &self.wrapper, self.options.sync),
        };
        // What cannot be put back must not be removed; the next run tries again, and says so.
        if restored.is_ok() {
            let _ = self.wrapper.remove();
        }
    }
}

/// Puts right what dead runs left at `dest`, as [`Staging::create`] does: for who reads what is there before that.
pub fn repair(dest: &Path, sync: bool) -> Result<(), FilesError> {
    put_right(&Destination::resolve(dest)?, sync, &Rig::default()).map(drop)
}

/// Puts right what dead runs left beside and inside the destination, and says what is there then.
fn put_right(dest: &Destination, sync: bool, rig: &Rig) -> Result<Found, FilesError> {
    for name in Wrapper::names(&dest.parent, &prefix_beside(&dest.name)) {
        match Wrapper::claim(&dest.parent, &dest.parent_path, &name, rig) {
            Claim::Dead(wrapper) => {
                restore_beside(dest, &wrapper, sync)?;
                // It will be tried again; that it cannot be removed is no reason to do nothing else.
                let _ = wrapper.remove();
            }
            Claim::Unknown(wrapper) if wrapper.holds(OLD) && dest.look(None)? == Found::Absent => {
                return Err(FilesError::Aside {
                    path: dest.shown.clone(),
                    aside: wrapper.path.join(OLD),
                    source: io::Error::other(
                        "this file system has no locks, so another run may still be at work on it",
                    ),
                });
            }
            Claim::Gone | Claim::NotOurs | Claim::Unknown(_) => {}
        }
    }
    let found = dest.look(None)?;
    if found != Found::Other(Occupant::InUse) {
        return Ok(found);
    }
    let dir = dest.open()?;
    for name in Wrapper::names(&dir, &prefix_inside()) {
        if let Claim::Dead(wrapper) = Wrapper::claim(&dir, &dest.path(), &name, rig) {
            inside::restore(dest, &dir, &wrapper, sync, rig)?;
            let _ = wrapper.remove();
        }
    }
    dest.look(None)
}

/// Puts the old destination back, if it was moved aside and nothing has taken its place.
fn restore_beside(dest: &Destination, wrapper: &Wrapper, sync: bool) -> Result<(), FilesError> {
    if !wrapper.holds(OLD) {
        return Ok(());
    }
    let aside = |source: io::Error| FilesError::Aside {
        path: dest.shown.clone(),
        aside: wrapper.path.join(OLD),
        source,
    };
    match dest.look(None)? {
        // The new one is in place.
        Found::Record => return Ok(()),
        Found::Other(_) if !wrapper.holds(NEW) => return Ok(()),
        // Where something else came to be there, the rename refuses.
        Found::Absent | Found::Empty | Found::Other(_) => {}
    }
    rustix::fs::renameat(&wrapper.dir, OLD, &dest.parent, &dest.name)
        .map_err(|e| aside(e.into()))?;
    if sync {
        sync_directory(&dest.parent).map_err(aside)?;
    }
    Ok(())
}

/// A file that can be read until `stop` says so.
struct Stoppable<'a> {
    source: File,
    stop: &'a dyn Fn() -> bool,
}

impl io::Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.stop)() {
            // Not `Interrupted`, after which a copy would go on.
            return Err(io::Error::other("interrupted"));
        }
        self.source.read(buffer)
    }
}

fn to_errno(e: &io::Error) -> Errno {
    Errno::from_io_error(e).unwrap_or(Errno::IO)
}

/// The components of a relative path that goes only downwards.
fn components(path: &str) -> Result<Vec<&OsStr>, Errno> {
    let components: Option<Vec<_>> = Path::new(path)
        .components()
        .map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    components.filter(|c| !c.is_empty()).ok_or(Errno::INVAL)
}

/// Opens the directory of a relative path without following links, and gives the last name.
fn open_parent<'a>(dir: &OwnedFd, path: &'a str) -> Result<(OwnedFd, &'a OsStr), Errno> {
    let mut names = components(path)?;
    let last = names.pop().ok_or(Errno::INVAL)?;
    let mut at = dir.try_clone().map_err(|e| to_errno(&e))?;
    for name in names {
        at = open_directory_at(&at, name)?;
    }
    Ok((at, last))
}

fn create_file_in(dir: &OwnedFd, path: &str, mode: u32) -> Result<File, Errno> {
    let (parent, name) = open_parent(dir, path)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_bits_truncate(mode as _);
    rustix::fs::openat(&parent, name, flags, mode).map(File::from)
}
