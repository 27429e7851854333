//! Single files: the few reads that other modules need, and a write that is whole or absent.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::destination::{follow_links, open_directory};
use super::error::FilesError;
use super::rig::Rig;
use super::sync::sync_directory;
use super::wrapper::{Claim, NEW, Wrapper, prefix_beside};

/// Whether there is anything under this name, be it a link that leads nowhere.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// What a path is, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// What there is at `path`, links followed; None when there is nothing, or something else.
pub fn kind(path: &Path) -> Option<FileKind> {
    let meta = fs::metadata(path).ok()?;
    if meta.is_file() {
        Some(FileKind::File)
    } else {
        meta.is_dir().then_some(FileKind::Directory)
    }
}

/// Whether `path` itself is a symbolic link.
pub fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

/// Opens a regular file for reading. Anything else is an error, and never waited for.
pub fn open_read(path: &Path) -> Result<File, FilesError> {
    let failed = |e: io::Error| FilesError::unread("open", path, e);
    // Without NONBLOCK, a named pipe would keep us until somebody writes to it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
    let stat = rustix::fs::fstat(&file).map_err(|e| failed(e.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(File::from(file)),
        FileType::Directory => Err(failed(io::ErrorKind::IsADirectory.into())),
        _ => Err(failed(io::Error::other("it is not a regular file"))),
    }
}

/// A file without a name in the directory for temporary files (`TMPDIR`), for reading and writing. It is gone when it is
/// closed.
pub fn scratch_file() -> Result<File, FilesError> {
    tempfile::tempfile().map_err(|e| FilesError::io("create a file in", std::env::temp_dir(), e))
}

/// Reads a whole regular file of at most `limit` bytes.
pub fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, FilesError> {
    let failed = |e: io::Error| FilesError::unread("read", path, e);
    let mut bytes = Vec::new();
    open_read(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {limit} bytes"),
        )));
    }
    Ok(bytes)
}

/// The names in a directory, sorted, and with what is no UTF-8 replaced; none where it cannot be read.
pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort_unstable();
    names
}

/// Adds to the end of a file, which is made where it is missing.
pub fn append(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    let failed = |e: io::Error| FilesError::io("write", path, e);
    let mut file = File::options()
        .append(true)
        .create(true)
        .open(path)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}

/// Writes a file such that under its name there is either what was there before, or all of `bytes`. Durable
/// on return.
///
/// A new file's permissions are `mode`, narrowed by the umask. A link is followed. What is no regular file (a
/// terminal, a pipe) is written to as it is.
pub fn write_file_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FilesError> {
    let failed = |e: io::Error| FilesError::io("write", path, e);
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        let mut special = File::options().write(true).open(path).map_err(failed)?;
        return special.write_all(bytes).map_err(failed);
    }
    let real = fs::canonicalize(path).unwrap_or_else(|_| follow_links(path).0);
    let Some(name) = real.file_name() else {
        return Err(FilesError::NoPlace {
            path: path.to_owned(),
        });
    };
    let parent_path = match real.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = open_directory(parent_path).map_err(|e| failed(e.into()))?;
    let (prefix, rig) = (prefix_beside(name), Rig::default());
    for dead in Wrapper::names(&parent, &prefix) {
        if let Claim::Dead(wrapper) = Wrapper::claim(&parent, parent_path, &dead, &rig)
            && wrapper.is_of_a_file()
        {
            let _ = wrapper.remove();
        }
    }
    let wrapper = Wrapper::create(&parent, parent_path, &prefix, &rig)?;
    let written = || -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_bits_truncate(mode as _);
        let mut file = File::from(rustix::fs::openat(&wrapper.dir, NEW, flags, mode)?);
        file.write_all(bytes)?;
        file.sync_all()?;
        rustix::fs::renameat(&wrapper.dir, NEW, &parent, name)?;
        sync_directory(&parent)
    };
    let outcome = written().map_err(failed);
    let _ = wrapper.remove();
    outcome
}
