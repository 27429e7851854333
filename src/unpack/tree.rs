//! Directories, which come first, and what comes after all files: links, then the directories' modes and times.

use rustix::fs::{
    AtFlags, Mode, Timespec, Timestamps, UTIME_OMIT, fchmod, fstat, futimens, mkdirat, symlinkat,
    utimensat,
};
use rustix::io::Errno;

use super::error::{Kind, UnpackError};
use super::extra::Time;
use super::names::{self, Shown};
use super::plan::Plan;
use super::root::{Place, Root, retry};
use super::source::Source;

/// What the owner of a directory needs to fill it.
const OWNER: u16 = 0o700;

/// Makes all directories, those included that the archive only implies. Gives their number.
pub(super) fn make_directories(
    plan: &Plan,
    root: Root<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<u64, UnpackError> {
    let mut place = Place::new(root);
    let mut count = 0;
    // In the tree's order, what was made last shows what there is: a directory that is not on the way to it
    // is new.
    let mut last: &[u8] = b"";
    for &index in &plan.by_path {
        if stop() {
            return Err(UnpackError::Interrupted);
        }
        let path = plan.path(index);
        let (directory, permissions) = match plan.kind(index) {
            Kind::Directory => (path, plan.permissions(index)?),
            Kind::File | Kind::Symlink => (names::parent(path), 0o755),
        };
        let mut at = shared(last, directory);
        while at < directory.len() {
            let skip = if at == 0 { 0 } else { at + 1 };
            let end = directory[skip..]
                .iter()
                .position(|&b| b == b'/')
                .map_or(directory.len(), |n| skip + n);
            let whole = end == directory.len();
            let permissions = if whole { permissions } else { 0o755 };
            let result = (|| {
                let from = place.at(&directory[..at])?;
                retry(|| mkdirat(from, &directory[skip..end], bits(permissions | OWNER)))?;
                if !whole {
                    place.down(directory, end)?;
                }
                Ok(())
            })();
            result.map_err(|errno| failed(&directory[..end], "made as a directory", errno))?;
            count += 1;
            at = end;
        }
        last = directory;
    }
    Ok(count)
}

/// How much of `path`, in whole components, lies on the way to `other` or is it.
fn shared(other: &[u8], path: &[u8]) -> usize {
    let same = other.iter().zip(path).take_while(|(a, b)| a == b).count();
    let ends = |whole: &[u8]| whole.len() == same || whole[same] == b'/';
    if ends(other) && ends(path) {
        return same;
    }
    path[..same].iter().rposition(|&b| b == b'/').unwrap_or(0)
}

/// Makes the symbolic links. Nothing is written after them that could be led astray by one.
pub(super) fn make_links(
    plan: &Plan,
    source: Source<'_>,
    root: Root<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<u64, UnpackError> {
    let mut place = Place::new(root);
    let mut count = 0;
    for (index, target) in plan.links.iter() {
        if stop() {
            return Err(UnpackError::Interrupted);
        }
        let path = plan.path(index);
        let (directory, name) = names::split(path);
        let time = plan.modified(index, source)?;
        let made = (|| {
            let from = place.at(directory)?;
            retry(|| symlinkat(target, from, name))?;
            match time {
                None => Ok(()),
                Some(time) => utimensat(from, name, &times(time), AtFlags::SYMLINK_NOFOLLOW),
            }
        })();
        made.map_err(|errno| failed(path, "made as a symbolic link", errno))?;
        count += 1;
    }
    Ok(count)
}

/// Gives the directories the modes and times that the archive states, from the deepest up.
pub(super) fn finish_directories(
    plan: &Plan,
    source: Source<'_>,
    root: Root<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<(), UnpackError> {
    for &index in plan.by_path.iter().rev() {
        if plan.kind(index) != Kind::Directory {
            continue;
        }
        if stop() {
            return Err(UnpackError::Interrupted);
        }
        let mode = plan.permissions(index)?;
        let time = plan.modified(index, source)?;
        if mode & OWNER == OWNER && time.is_none() {
            continue;
        }
        let path = plan.path(index);
        let finished = (|| {
            let directory = root.open(path)?;
            if mode & OWNER != OWNER {
                // It was made with the owner's bits added and the umask applied.
                let now = Mode::from_raw_mode(fstat(&directory)?.st_mode);
                fchmod(&directory, now & bits(mode))?;
            }
            match time {
                None => Ok(()),
                Some(time) => futimens(&directory, &times(time)),
            }
        })();
        finished.map_err(|errno| failed(path, "given its mode and time", errno))?;
    }
    Ok(())
}

/// The bits of a mode as the system's type.
pub(super) fn bits(mode: u16) -> Mode {
    Mode::from_raw_mode(mode.into())
}

/// A modification time to set; the access time stays.
pub(super) fn times(time: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanoseconds.into(),
        },
    }
}

pub(super) fn failed(path: &[u8], action: &'static str, errno: Errno) -> UnpackError {
    UnpackError::Write {
        path: Shown::from(path),
        action,
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::shared;

    #[test]
    fn shared_directories_are_whole_components() {
        for (other, path, want) in [
            ("", "a", 0),
            ("a", "a", 1),
            ("a/b", "a", 1),
            ("a", "a/b", 1),
            ("a/b", "a/bc", 1),
            ("ab", "ac", 0),
            ("a/b/c", "a/b/d", 3),
            ("a/bc", "a/b", 1),
            ("ab", "a", 0),
        ] {
            assert_eq!(
                shared(other.as_bytes(), path.as_bytes()),
                want,
                "{other} {path}"
            );
        }
    }
}
