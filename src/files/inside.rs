//! Publishing into a directory that cannot be renamed over: a mount point, a directory in a parent that may
//! not be written to, the working directory.
//!
//! The wrapper lies inside the destination. A journal names every child that is to be moved; then the old
//! children are moved aside, `larder.json` first, and the new ones moved up, `larder.json` last. What has
//! been moved is told by what is left in `old` and `new`, so the journal is written once and needs no
//! phases: when all of it was moved, the new content stays; otherwise everything goes back. No name that
//! is not in the journal is ever touched.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::destination::{Destination, Found, names_in, open_directory_at};
use super::error::FilesError;
use super::rename::rename_noreplace;
use super::rig::{Checkpoint, Rig};
use super::staging::PublishOptions;
use super::sync::sync_directory;
use super::wrapper::{NEW, OLD, Wrapper};
use crate::record::{BAGIT_TXT, RECORD};

const JOURNAL: &str = "journal";
const JOURNAL_DRAFT: &str = "journal.new";
const JOURNAL_MAGIC: &[u8] = b"larder-journal 1";
const JOURNAL_END: &[u8] = b".";

/// The children that change places.
#[derive(Debug, Default, PartialEq, Eq)]
struct Journal {
    /// The destination's former children, in the order in which they are moved aside.
    old: Vec<OsString>,
    /// Its new ones, in the order in which they are moved up.
    new: Vec<OsString>,
}

impl Journal {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = JOURNAL_MAGIC.to_vec();
        for (mark, names) in [(b'-', &self.old), (b'+', &self.new)] {
            for name in names {
                bytes.extend([0, mark]);
                bytes.extend(name.as_bytes());
            }
        }
        bytes.push(0);
        bytes.extend(JOURNAL_END);
        bytes
    }

    /// `None` when it is not whole, or names anything but children.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = bytes.split(|b| *b == 0);
        if fields.next() != Some(JOURNAL_MAGIC) || fields.next_back() != Some(JOURNAL_END) {
            return None;
        }
        let mut journal = Self::default();
        for field in fields {
            let (mark, name) = field.split_first()?;
            if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
                return None;
            }
            let name = OsString::from_vec(name.to_vec());
            match mark {
                b'-' => journal.old.push(name),
                b'+' => journal.new.push(name),
                _ => return None,
            }
        }
        Some(journal)
    }

    fn write(&self, wrapper: &Wrapper, sync: bool) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let draft =
            rustix::fs::openat(&wrapper.dir, JOURNAL_DRAFT, flags, Mode::RUSR | Mode::WUSR)?;
        let mut draft = File::from(draft);
        draft.write_all(&self.encode())?;
        if sync {
            draft.sync_all()?;
        }
        rustix::fs::renameat(&wrapper.dir, JOURNAL_DRAFT, &wrapper.dir, JOURNAL)?;
        if sync {
            sync_directory(&wrapper.dir)?;
        }
        Ok(())
    }

    fn read(wrapper: &Wrapper) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&wrapper.dir, JOURNAL, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        File::from(file).read_to_end(&mut bytes)?;
        match Self::decode(&bytes) {
            Some(journal) => Ok(Some(journal)),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its journal is not whole",
            )),
        }
    }

    fn remove(wrapper: &Wrapper) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &wrapper.dir,
            JOURNAL,
            AtFlags::empty(),
        )?)
    }
}

/// Whether a name is that of the file without which a record or a bag is none: it comes last.
fn is_marker(name: &OsStr) -> bool {
    name == RECORD || name == BAGIT_TXT
}

fn exists_in(dir: &OwnedFd, name: &OsStr) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Moves the new children up in the place of the old ones. On failure the caller [restores](restore).
pub(super) fn publish(
    dest: &Destination,
    dir: &OwnedFd,
    wrapper: &Wrapper,
    options: PublishOptions,
    rig: &Rig,
) -> Result<(), FilesError> {
    let ours = Some(wrapper.name.as_os_str());
    match dest.look(ours)? {
        Found::Empty => {}
        Found::Record if options.force => {}
        Found::Record => return Err(dest.occupied(super::Occupant::Record)),
        Found::Other(found) => return Err(dest.occupied(found)),
        Found::Absent => {
            return Err(FilesError::io(
                "open the directory",
                dest.path(),
                Errno::NOENT,
            ));
        }
    }
    let failed = |action, e: io::Error| FilesError::io(action, dest.path(), e);
    let new = open_directory_at(&wrapper.dir, OsStr::new(NEW))
        .map_err(|e| failed("open the staging of", e.into()))?;
    let mut journal = Journal {
        old: dest.children(dir, ours)?,
        new: names_in(&new).map_err(|e| failed("read the staging of", e))?,
    };
    journal.old.sort_by_key(|name| name != RECORD);
    journal.new.sort_by_key(|name| is_marker(name));
    journal
        .write(wrapper, options.sync)
        .map_err(|e| failed("write the journal for", e))?;
    let step = |checkpoint| (rig.at)(checkpoint).map_err(|e| failed("publish", e));
    step(Checkpoint::JournalWritten)?;

    rustix::fs::mkdirat(&wrapper.dir, OLD, Mode::RWXU)
        .map_err(|e| failed("create a directory in", e.into()))?;
    let old = open_directory_at(&wrapper.dir, OsStr::new(OLD))
        .map_err(|e| failed("open a directory in", e.into()))?;
    for name in &journal.old {
        step(Checkpoint::MovingOld)?;
        rename_noreplace(dir, name, &old, name, rig)
            .map_err(|e| FilesError::io("move aside", dest.path().join(name), e))?;
    }
    for name in &journal.new {
        step(Checkpoint::MovingNew)?;
        if is_marker(name) && options.sync {
            // Whoever sees the record sees the rest.
            sync_directory(dir).map_err(|e| failed("sync", e))?;
        }
        rename_noreplace(&new, name, dir, name, rig)
            .map_err(|e| FilesError::io("move into place", dest.path().join(name), e))?;
    }
    step(Checkpoint::AfterRename)?;
    if options.sync {
        sync_directory(dir).map_err(|e| failed("sync", e))?;
    }
    // From here on there is nothing to put back.
    Journal::remove(wrapper).map_err(|e| failed("remove the journal for", e))
}

/// Puts right what a run left that died, or failed, inside a destination: everything back to where it was,
/// unless all of it had been moved already.
pub(super) fn restore(
    dest: &Destination,
    dir: &OwnedFd,
    wrapper: &Wrapper,
    sync: bool,
    rig: &Rig,
) -> Result<(), FilesError> {
    let put_back = || -> io::Result<()> {
        let Some(journal) = Journal::read(wrapper)? else {
            return Ok(());
        };
        let open = |name| open_directory_at(&wrapper.dir, OsStr::new(name));
        let new = open(NEW)?;
        let old = match open(OLD) {
            Err(Errno::NOENT) => None,
            other => Some(other?),
        };
        let is_up = |name: &OsString| !exists_in(&new, name);
        let is_aside = |name: &OsString| old.as_ref().is_some_and(|old| exists_in(old, name));
        let is_complete =
            old.is_some() && journal.new.iter().all(is_up) && journal.old.iter().all(is_aside);
        if !is_complete {
            // Nothing is moved up before everything is aside: only then can a child be a new one. The
            // second condition says the same of a roll-back that was itself interrupted.
            for name in journal.new.iter().rev().filter(|name| is_up(name)) {
                (rig.at)(Checkpoint::RollingBack)?;
                match rename_noreplace(dir, name, &new, name, rig) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            if let Some(old) = &old {
                for name in journal.old.iter().rev().filter(|name| is_aside(name)) {
                    (rig.at)(Checkpoint::RollingBack)?;
                    rename_noreplace(old, name, dir, name, rig)?;
                }
            }
        }
        if sync {
            sync_directory(dir)?;
        }
        Journal::remove(wrapper)
    };
    put_back().map_err(|source| FilesError::Aside {
        path: dest.shown.clone(),
        aside: wrapper.path.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_names_children_only_and_is_whole() {
        let journal = Journal {
            old: vec![
                "larder.json".into(),
                OsString::from_vec(b"a\xff\n".to_vec()),
            ],
            new: vec!["code".into(), "larder.json".into()],
        };
        let bytes = journal.encode();
        assert_eq!(Journal::decode(&bytes), Some(journal));
        for cut in 0..bytes.len() {
            assert_eq!(Journal::decode(&bytes[..cut]), None, "cut at {cut}");
        }
        for name in ["../x", "..", ".", "", "/etc", "a/b"] {
            let journal = Journal {
                old: vec![name.into()],
                new: vec![],
            };
            assert_eq!(Journal::decode(&journal.encode()), None, "{name:?}");
        }
        assert_eq!(
            Journal::decode(&Journal::default().encode()),
            Some(Journal::default())
        );
    }
}
