//! Directories of stores, and spools for them: files without a name, of which a run that dies leaves nothing.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::error::FilesError;
use super::rig::Rig;
use super::sync::sync_tree;

/// A new file in `directory` that has no name. Its bytes are gone when it is closed.
pub fn unnamed(directory: &Path) -> Result<File, FilesError> {
    tempfile::tempfile_in(directory).map_err(|e| FilesError::io("make a spool in", directory, e))
}

/// Makes a directory for its owner alone (0700), and those above it that are missing. One that exists stays as it is.
pub fn create_private_dir(path: &Path) -> Result<(), FilesError> {
    let failed = |e: io::Error| FilesError::io("create the directory", path, e);
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(failed(io::ErrorKind::NotADirectory.into())),
        Err(_) => {}
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(failed(e)),
        _ => Ok(()),
    }
}

/// Makes everything below `path` durable.
pub fn sync_directory_tree(path: &Path) -> Result<(), FilesError> {
    let failed = |e: io::Error| FilesError::io("sync the file system of", path, e);
    let root = super::destination::open_directory(path).map_err(|e| failed(e.into()))?;
    sync_tree(&root, &Rig::default()).map_err(failed)
}
