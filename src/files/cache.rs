//! A directory of small files that may be lost at any time: private to its user, bounded, each file whole or absent.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{FilesError, write_file_atomic};

/// A directory that only its user can write to.
#[derive(Debug, Clone)]
pub struct CacheDir {
    path: PathBuf,
    max_files: usize,
    max_bytes: u64,
}

impl CacheDir {
    /// Makes the directory where it is missing, with mode 0700.
    ///
    /// # Errors
    /// It cannot be made, or is another user's or open to others: then nothing in it could be trusted.
    pub fn open(path: &Path, max_files: usize, max_bytes: u64) -> Result<Self, FilesError> {
        let failed = |e| FilesError::io("use the cache directory", path, e);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let meta = fs::metadata(path).map_err(failed)?;
        if !is_ours(&meta) {
            return Err(failed(std::io::Error::other(
                "it belongs to another user, or others may write to it",
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            max_files,
            max_bytes,
        })
    }

    /// The file of this name, of at most `limit` bytes; None when it is not there, or not a file that only its user wrote. Makes
    /// it the youngest.
    pub fn get(&self, name: &str, limit: u64) -> Option<Vec<u8>> {
        let file = super::open_read(&self.path.join(name)).ok()?;
        let meta = file.metadata().ok()?;
        if !is_ours(&meta) || meta.len() > limit {
            return None;
        }
        let mut bytes = Vec::new();
        (&file).take(limit).read_to_end(&mut bytes).ok()?;
        // It matters only for what is removed first.
        let _ = file.set_modified(SystemTime::now());
        Some(bytes)
    }

    /// Writes a file, and then removes the oldest while there are too many or too large ones.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), FilesError> {
        write_file_atomic(&self.path.join(name), bytes, 0o600)?;
        self.prune();
        Ok(())
    }

    /// Removes a file; that it is not there is no failure.
    pub fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.path.join(name));
    }

    fn prune(&self) {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let meta = entry.metadata().ok()?;
                meta.is_file()
                    .then(|| Some((meta.modified().ok()?, meta.len(), entry.path())))?
            })
            .collect();
        files.sort();
        let mut count = files.len();
        let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in files {
            if count <= self.max_files && bytes <= self.max_bytes {
                return;
            }
            // Another run may have been faster.
            let _ = fs::remove_file(path);
            count -= 1;
            bytes -= len;
        }
    }
}

/// Owned by this process's user, and writable by nobody else.
fn is_ours(meta: &fs::Metadata) -> bool {
    meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn it_is_bounded_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let cache = CacheDir::open(&path, 3, 100).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        for name in ["1", "2", "3"] {
            cache.put(name, b"x").unwrap();
        }
        assert_eq!(cache.get("1", 10).as_deref(), Some(&b"x"[..]));
        cache.put("4", b"x").unwrap();
        assert!(cache.get("2", 10).is_none(), "the oldest goes");
        assert!(cache.get("1", 10).is_some() && cache.get("4", 10).is_some());
        cache.put("5", &[0; 98]).unwrap();
        assert!(cache.get("5", 98).is_some() && cache.get("5", 97).is_none());
        assert!(fs::read_dir(&path).unwrap().count() <= 3);
        // What others may have written is not read.
        fs::set_permissions(path.join("5"), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(cache.get("5", 98).is_none());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(CacheDir::open(&path, 3, 100).is_err());
    }
}
