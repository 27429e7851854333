//! Reading a directory as a packer sees it: links followed, modes and empty directories left out.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::FilesError;
use crate::digest::{Hasher, READ_BUFFER, TreeNode};

/// The deepest directory that is read; a real tree is far from it.
const MAX_DEPTH: usize = 256;

/// The most files that are read: links to directories that hold links to directories can make more of a few.
const MAX_FILES: usize = 1 << 20;

/// A directory that is still to be read.
struct Pending {
    path: PathBuf,
    /// Its path below the root, with `/` at the end; empty for the root.
    prefix: Vec<u8>,
    /// Device and inode of all directories on the way to it, itself included: a link back to one of them is a loop.
    above: Vec<(u64, u64)>,
}

/// All files below `root`, as `(path, node)` with `/` between components and in no order. Links are followed; one that leads
/// nowhere, or back up, is given as the link it is. `skip` is asked of each path below the root, and whether that is a
/// directory. `stop` is asked at each entry and each 256 KiB.
///
/// # Errors
/// Something cannot be read, or is neither file nor directory, or `stop` said so.
pub fn read_followed(
    root: &Path,
    skip: &dyn Fn(&[u8], bool) -> bool,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<(Vec<u8>, TreeNode)>, FilesError> {
    let mut buffer = vec![0; READ_BUFFER];
    let mut nodes = Vec::new();
    let identity = |meta: &fs::Metadata| (meta.dev(), meta.ino());
    let failed = |e: io::Error| FilesError::io("read the directory", root, e);
    let mut directories = vec![Pending {
        path: root.to_owned(),
        prefix: Vec::new(),
        above: vec![identity(&fs::metadata(root).map_err(failed)?)],
    }];
    while let Some(directory) = directories.pop() {
        let failed = |e: io::Error| FilesError::io("read the directory", &directory.path, e);
        for entry in fs::read_dir(&directory.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let failed = |e: io::Error| FilesError::io("read", &path, e);
            if stop() {
                return Err(failed(io::ErrorKind::Interrupted.into()));
            }
            if nodes.len() >= MAX_FILES {
                return Err(failed(io::Error::other(format!(
                    "there are more than {MAX_FILES} files"
                ))));
            }
            let mut name = directory.prefix.clone();
            name.extend_from_slice(entry.file_name().as_bytes());
            let link = || -> Result<TreeNode, FilesError> {
                let target = fs::read_link(&path).map_err(failed)?;
                Ok(TreeNode::Symlink {
                    target: target.as_os_str().as_bytes().to_vec(),
                })
            };
            let is_link = entry.file_type().map_err(failed)?.is_symlink();
            let meta = match fs::metadata(&path) {
                Ok(meta) => meta,
                Err(_) if is_link => {
                    if !skip(&name, false) {
                        nodes.push((name, link()?));
                    }
                    continue;
                }
                Err(e) => return Err(failed(e)),
            };
            if skip(&name, meta.is_dir()) {
                continue;
            }
            if meta.is_dir() {
                if directory.above.contains(&identity(&meta)) || directory.above.len() >= MAX_DEPTH
                {
                    if !is_link {
                        return Err(failed(io::Error::other("it is too deep")));
                    }
                    nodes.push((name, link()?));
                    continue;
                }
                name.push(b'/');
                let mut above = directory.above.clone();
                above.push(identity(&meta));
                directories.push(Pending {
                    path,
                    prefix: name,
                    above,
                });
            } else if meta.is_file() {
                let file = super::open_read(&path)?;
                let mut hasher = Hasher::new();
                hasher
                    .read_all_through(&mut buffer, file, stop)
                    .map_err(failed)?;
                nodes.push((
                    name,
                    TreeNode::File {
                        sha256: hasher.finish(),
                        executable: false,
                    },
                ));
            } else {
                return Err(failed(io::Error::other(
                    "it is neither a file, a link nor a directory",
                )));
            }
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    #[test]
    fn links_are_followed_and_loops_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/empty")).unwrap();
        fs::create_dir_all(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/x"), "x").unwrap();
        fs::write(root.join("a/f"), "f").unwrap();
        fs::write(root.join("skipped"), "s").unwrap();
        for (target, name) in [
            ("a/f", "to-file"),
            ("../outside", "to-dir"),
            ("..", "a/up"),
            ("nowhere", "dangling"),
            ("self", "self"),
        ] {
            std::os::unix::fs::symlink(target, root.join(name)).unwrap();
        }
        let skip = |path: &[u8], _: bool| path == b"skipped";
        let mut found = read_followed(&root, &skip, &|| false).unwrap();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let file = |content: &[u8]| TreeNode::File {
            sha256: Sha256Digest::of(content),
            executable: false,
        };
        let link = |target: &str| TreeNode::Symlink {
            target: target.as_bytes().to_vec(),
        };
        let want: Vec<(Vec<u8>, TreeNode)> = [
            ("a/f", file(b"f")),
            ("a/up", link("..")),
            ("dangling", link("nowhere")),
            ("self", link("self")),
            ("to-dir/x", file(b"x")),
            ("to-file", file(b"f")),
        ]
        .into_iter()
        .map(|(path, node)| (path.as_bytes().to_vec(), node))
        .collect();
        assert_eq!(found, want);
    }
}
