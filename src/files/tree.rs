//! Reading a tree back from disk, as the content hashes see it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::FilesError;
use crate::digest::{Hasher, READ_BUFFER, TreeNode};

/// All files, links and empty directories below `root`, as `(path, node)` with `/` between components. Links are not
/// followed. `stop` is asked at each entry and each 256 KiB.
///
/// # Errors
/// Something cannot be read, or is neither file, link nor directory, or `stop` said so.
pub fn read_tree(
    root: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<(Vec<u8>, TreeNode)>, FilesError> {
    let mut buffer = vec![0; READ_BUFFER];
    let mut nodes = Vec::new();
    let mut directories: Vec<(PathBuf, Vec<u8>)> = vec![(root.to_owned(), Vec::new())];
    while let Some((directory, prefix)) = directories.pop() {
        let failed = |e: io::Error| FilesError::unread("read the directory", &directory, e);
        let mut empty = true;
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            empty = false;
            let path = entry.path();
            let failed = |e: io::Error| FilesError::unread("read", &path, e);
            if stop() {
                return Err(failed(io::ErrorKind::Interrupted.into()));
            }
            let mut name = prefix.clone();
            name.extend_from_slice(entry.file_name().as_bytes());
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                name.push(b'/');
                directories.push((path, name));
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(failed)?;
                let target = target.as_os_str().as_bytes().to_vec();
                nodes.push((name, TreeNode::Symlink { target }));
            } else if kind.is_file() {
                let file = fs::File::open(&path).map_err(failed)?;
                let mode = file.metadata().map_err(failed)?.permissions().mode();
                let mut hasher = Hasher::new();
                hasher
                    .read_all_through(&mut buffer, file, stop)
                    .map_err(failed)?;
                let node = TreeNode::File {
                    sha256: hasher.finish(),
                    executable: mode & 0o100 != 0,
                };
                nodes.push((name, node));
            } else {
                return Err(failed(io::Error::other(
                    "it is neither a file, a link nor a directory",
                )));
            }
        }
        if empty && !prefix.is_empty() {
            let mut name = prefix;
            name.pop();
            nodes.push((name, TreeNode::EmptyDirectory));
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    #[test]
    fn files_links_modes_and_empty_directories_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        fs::write(root.join("a/b/run"), "x").unwrap();
        fs::set_permissions(root.join("a/b/run"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("../nowhere", root.join("a/link")).unwrap();
        let mut nodes = read_tree(root, &|| false).unwrap();
        nodes.sort_by(|x, y| x.0.cmp(&y.0));
        let run = TreeNode::File {
            sha256: Sha256Digest::of(b"x"),
            executable: true,
        };
        let link = TreeNode::Symlink {
            target: b"../nowhere".to_vec(),
        };
        assert_eq!(
            nodes,
            [
                (b"a/b/run".to_vec(), run),
                (b"a/link".to_vec(), link),
                (b"empty".to_vec(), TreeNode::EmptyDirectory),
            ]
        );
        assert!(read_tree(root, &|| true).is_err());
        assert!(read_tree(&root.join("none"), &|| false).is_err());
    }
}
