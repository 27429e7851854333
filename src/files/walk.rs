//! Looking below a directory that somebody else may have made: nothing is followed, nothing is waited for.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::error::FilesError;

/// The most directories that wait to be read: more are only made to be in the way.
const MAX_WAITING: usize = 1 << 17;
/// The deepest path that is followed, in components.
const MAX_DEPTH: usize = 512;

/// An open directory, below which files are read without following any link.
#[derive(Debug)]
pub struct Below {
    root: OwnedFd,
    path: PathBuf,
}

/// What there is under a name.
#[derive(Debug)]
pub enum Node {
    /// A regular file.
    File {
        /// In bytes.
        size: u64,
        /// Permission bits, with set-user-ID and its like.
        mode: u32,
    },
    /// A directory, which is walked through next.
    Directory {
        /// As of a file.
        mode: u32,
    },
    /// A directory with nothing in it; comes after [`Node::Directory`].
    EmptyDirectory,
    /// A symbolic link.
    Symlink,
    /// A device, a socket, a named pipe.
    Special(&'static str),
    /// It could not be looked at.
    Unreadable(io::Error),
}

impl Below {
    /// Opens the directory `path`; a link to one is followed.
    ///
    /// # Errors
    /// It is none, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        let root = super::destination::open_directory(path)
            .map_err(|e| FilesError::io("open the directory", path, e))?;
        Ok(Self {
            root,
            path: path.to_owned(),
        })
    }

    /// The directory, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the regular file at `path`, with `/` between components.
    ///
    /// # Errors
    /// There is none, something on the way is a link, or it cannot be opened.
    pub fn file(&self, path: &[u8]) -> io::Result<File> {
        // Without NONBLOCK, a named pipe would keep us until somebody writes to it.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = self.reach(path, flags)?;
        match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(File::from(file)),
            _ => Err(io::Error::other("it is not a regular file")),
        }
    }

    /// The regular file at `path`, of at most `limit` bytes.
    ///
    /// # Errors
    /// As for [`file`](Self::file), or it is longer ([`io::ErrorKind::FileTooLarge`]).
    pub fn small(&self, path: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.file(path)?;
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let message = format!("it is larger than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(bytes)
    }

    /// The target of the link at `path`.
    ///
    /// # Errors
    /// It is no link, or cannot be read.
    pub fn target(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&b"."[..], path),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let parent = self.reach(parent, flags)?;
        Ok(rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes())
    }

    /// What there is at `path`, one component; None when there is nothing.
    pub fn top(&self, name: &str) -> Option<Node> {
        match rustix::fs::statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => None,
            stat => Some(node(stat)),
        }
    }

    /// The permission bits of the directory itself.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn mode(&self) -> io::Result<u32> {
        #[allow(
            clippy::useless_conversion,
            reason = "the type differs between systems"
        )]
        Ok(u32::from(rustix::fs::fstat(&self.root)?.st_mode) & 0o7777)
    }

    /// Whether `name`, one component, is a directory and no link to one.
    pub fn has_directory(&self, name: &str) -> bool {
        matches!(self.top(name), Some(Node::Directory { .. }))
    }

    /// Goes through all that is below the directory `from`; from all when that is empty. In no order, each directory before
    /// what it holds. What cannot be read is among the nodes.
    pub fn walk(&self, from: &[u8]) -> Walk<'_> {
        Walk {
            below: self,
            waiting: vec![from.to_vec()],
            reading: None,
        }
    }

    fn reach(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                // A kernel before 5.6, or a sandbox that hides the call.
                Err(Errno::NOSYS | Errno::PERM) => {}
                other => return Ok(other?),
            }
        }
        self.reach_by_steps(path, flags)
    }

    fn reach_by_steps(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let mut components = path.split(|b| *b == b'/').peekable();
        let mut at: Option<OwnedFd> = None;
        while let Some(component) = components.next() {
            if matches!(component, b"" | b"..") {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let step = if components.peek().is_some() {
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW
            } else {
                flags
            };
            let from = at.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            at = Some(rustix::fs::openat(from, component, step, Mode::empty())?);
        }
        at.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

/// See [`Below::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    below: &'a Below,
    /// Directories that are still to be read.
    waiting: Vec<Vec<u8>>,
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    path: Vec<u8>,
    dir: Dir,
    empty: bool,
}

impl Iterator for Walk<'_> {
    type Item = (Vec<u8>, Node);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(reading) = &mut self.reading else {
                let path = self.waiting.pop()?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                let from = if path.is_empty() { b"." } else { &path[..] };
                let opened = self.below.reach(from, flags);
                match opened.and_then(|fd| Ok(Dir::new(fd)?)) {
                    Ok(dir) => {
                        let empty = true;
                        self.reading = Some(Reading { path, dir, empty });
                        continue;
                    }
                    Err(e) => return Some((path, Node::Unreadable(e))),
                }
            };
            match reading.dir.read() {
                None => {
                    let done = self.reading.take()?;
                    if done.empty && !done.path.is_empty() {
                        return Some((done.path, Node::EmptyDirectory));
                    }
                }
                Some(Err(e)) => {
                    let path = self.reading.take()?.path;
                    return Some((path, Node::Unreadable(e.into())));
                }
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_bytes();
                    if matches!(name, b"." | b"..") {
                        continue;
                    }
                    reading.empty = false;
                    let mut path = reading.path.clone();
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(name);
                    let found = reading.dir.fd().and_then(|dir| {
                        let name = std::ffi::OsStr::from_bytes(name);
                        rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
                    });
                    let found = node(found);
                    if matches!(found, Node::Directory { .. }) {
                        let depth = path.split(|b| *b == b'/').count();
                        if depth >= MAX_DEPTH || self.waiting.len() >= MAX_WAITING {
                            let why = "it is too deep, or there are too many directories";
                            return Some((path, Node::Unreadable(io::Error::other(why))));
                        }
                        self.waiting.push(path.clone());
                    }
                    return Some((path, found));
                }
            }
        }
    }
}

fn node(stat: rustix::io::Result<Stat>) -> Node {
    let stat = match stat {
        Ok(stat) => stat,
        Err(e) => return Node::Unreadable(e.into()),
    };
    #[allow(
        clippy::useless_conversion,
        reason = "the type differs between systems"
    )]
    let mode = u32::from(stat.st_mode) & 0o7777;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Node::File {
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mode,
        },
        FileType::Directory => Node::Directory { mode },
        FileType::Symlink => Node::Symlink,
        FileType::Fifo => Node::Special("a named pipe"),
        FileType::Socket => Node::Special("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Node::Special("a device"),
        FileType::Unknown => Node::Special("of an unknown type"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_is_seen_and_nothing_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        fs::write(root.join("a/b/f"), "xyz").unwrap();
        fs::write(dir.path().join("outside"), "s").unwrap();
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        let fifo = root.join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            FileType::Fifo,
            Mode::from_bits_truncate(0o600),
            0,
        )
        .unwrap();
        let below = Below::open(&root).unwrap();
        let mut seen: Vec<String> = below
            .walk(b"")
            .map(|(path, node)| {
                let kind = match node {
                    Node::File { size, .. } => format!("file {size}"),
                    Node::Special(what) => what.to_owned(),
                    Node::Directory { .. } => "Directory".to_owned(),
                    other => format!("{other:?}"),
                };
                format!("{} {kind}", String::from_utf8(path).unwrap())
            })
            .collect();
        seen.sort();
        assert_eq!(
            seen,
            [
                "a Directory",
                "a/b Directory",
                "a/b/f file 3",
                "empty Directory",
                "empty EmptyDirectory",
                "link Symlink",
                "pipe a named pipe",
                "up Symlink"
            ]
        );
        assert_eq!(below.walk(b"a").count(), 2);
        assert_eq!(below.small(b"a/b/f", 3).unwrap(), b"xyz");
        assert!(below.small(b"a/b/f", 2).is_err());
        assert_eq!(below.target(b"up").unwrap(), b"..");
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        assert!(below.reach_by_steps(b"a/b/f", flags).is_ok());
        for path in [
            &b"up/outside"[..],
            b"link/b/f",
            b"pipe",
            b"../outside",
            b"up",
            b"",
            b"a",
        ] {
            assert!(below.file(path).is_err(), "{path:?}");
            let by_steps = below.reach_by_steps(path, flags);
            assert!(
                by_steps.is_err() || matches!(path, b"pipe" | b"a"),
                "{path:?}"
            );
        }
        assert!(Below::open(&root.join("a/b/f")).is_err());
    }
}
