//! Directories of stores, and spools for them: files without a name, of which a run that dies leaves nothing.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

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

/// Removes from `folders` of a store what its writers left when they died: files that end in `#` and digits, the names
/// under which `object_store` writes before it renames, and that nobody wrote to for so long. Answers how many.
pub fn remove_stale_uploads(
    store: &Path,
    folders: &[&str],
    older_than: Duration,
) -> Result<u64, FilesError> {
    let mut removed = 0;
    for folder in folders {
        let folder = store.join(folder);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(FilesError::io("read the directory", &folder, e)),
        };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let digits = name.to_str().and_then(|name| name.rsplit_once('#'));
            let temporary = digits.is_some_and(|(_, digits)| {
                !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
            });
            if !temporary {
                continue;
            }
            // One that was renamed or removed meanwhile is its writer's.
            let Ok(meta) = fs::symlink_metadata(entry.path()) else {
                continue;
            };
            let age = meta
                .modified()
                .ok()
                .and_then(|time| SystemTime::now().duration_since(time).ok());
            if meta.is_file() && age.unwrap_or_default() >= older_than {
                match fs::remove_file(entry.path()) {
                    Ok(()) => removed += 1,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(FilesError::io("remove", entry.path(), e)),
                }
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uploads_that_nobody_writes_to_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["b/x#1", "b/x", "b/x#y", "b/x#", "x#12", "other/x#1"];
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let remove = |age| remove_stale_uploads(dir.path(), &["", "b", "none"], age).unwrap();
        assert_eq!(remove(Duration::from_secs(60)), 0);
        assert_eq!(remove(Duration::ZERO), 2);
        let left = names.map(|name| dir.path().join(name).exists());
        assert_eq!(left, [false, true, true, true, false, true]);
    }
}
