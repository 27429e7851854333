//! The files of a package or a directory, by path and SHA-256: what contents are compared by.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::digest::{Sha256Digest, TreeHasher, TreeHashes, TreeNode};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::package::Verified;
use crate::unpack::{self, Limits};

use super::ignore::Ignore;

/// All files, links and empty directories of a tree, sorted by the bytes of their paths; some 50 bytes each beside the path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Paths and link targets, one after another.
    text: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Where the path is in the text.
    start: usize,
    len: u32,
    node: Packed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packed {
    File {
        sha256: Sha256Digest,
        executable: bool,
    },
    /// The target stands behind the path, and has this length.
    Link(u32),
    EmptyDirectory,
}

/// A node as it is read from [`Contents`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node<'a> {
    /// A regular file.
    File {
        /// SHA-256 of its content.
        sha256: Sha256Digest,
        /// The owner-executable bit.
        executable: bool,
    },
    /// A symbolic link and its target.
    Link(&'a [u8]),
    /// A directory with nothing in it.
    EmptyDirectory,
}

impl Contents {
    /// The contents of a package, read without writing anything.
    ///
    /// # Errors
    /// The archive is refused, cannot be read, or `cancel` was cancelled.
    pub fn of_package(
        package: &Verified,
        limits: &Limits,
        cancel: &CancellationToken,
    ) -> Result<Self> {
        let mut contents = Self::default();
        let stop = || cancel.is_cancelled();
        let read = unpack::plan_or_stop(package, limits, &stop).and_then(|plan| {
            unpack::contents(package, &plan, cancel, &mut |path, node| {
                contents.push(path, node);
            })
        });
        match read {
            Ok(()) => Ok(contents),
            Err(refused) => {
                let advice = refused.advice();
                let error = Error::from(refused);
                Err(match advice {
                    Some(advice) => error.hint(advice),
                    None => error,
                })
            }
        }
    }

    /// The contents of a directory as a packer sees it: links followed, modes and empty directories left out, and without what
    /// `ignore` matches.
    ///
    /// # Errors
    /// Something cannot be read, or nothing is left to compare with.
    pub fn of_directory(path: &Path, ignore: &Ignore, cancel: &CancellationToken) -> Result<Self> {
        let skip = |path: &[u8], directory: bool| ignore.matches(path, directory);
        let mut nodes =
            files::read_followed(path, &skip, &|| cancel.is_cancelled()).map_err(|e| {
                if cancel.is_cancelled() {
                    Error::interrupted()
                } else {
                    e.into()
                }
            })?;
        if nodes.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                "the directory holds no file that could be compared",
            )
            .about(path.display().to_string())
            .hint("was it built? .larderignore and --ignore leave files out, too"));
        }
        nodes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self::from_sorted(
            nodes.iter().map(|(path, node)| (path.as_slice(), node)),
        ))
    }

    /// From nodes in the order of their paths' bytes.
    pub fn from_sorted<'a>(nodes: impl IntoIterator<Item = (&'a [u8], &'a TreeNode)>) -> Self {
        let mut contents = Self::default();
        for (path, node) in nodes {
            contents.push(path, node);
        }
        contents
    }

    /// Adds a node whose path comes after all others.
    pub(super) fn push(&mut self, path: &[u8], node: &TreeNode) {
        let start = self.text.len();
        self.text.extend_from_slice(path);
        // No path and no target is longer than the archive's limits of a few KiB.
        let len = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let node = match node {
            TreeNode::File { sha256, executable } => Packed::File {
                sha256: *sha256,
                executable: *executable,
            },
            TreeNode::Symlink { target } => {
                self.text.extend_from_slice(target);
                Packed::Link(len(target))
            }
            TreeNode::EmptyDirectory => Packed::EmptyDirectory,
        };
        self.entries.push(Entry {
            start,
            len: len(path),
            node,
        });
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All nodes, sorted by the bytes of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Node<'_>)> {
        self.entries.iter().map(|entry| self.read(entry))
    }

    fn read(&self, entry: &Entry) -> (&[u8], Node<'_>) {
        let behind = entry.start + entry.len as usize;
        let node = match entry.node {
            Packed::File { sha256, executable } => Node::File { sha256, executable },
            Packed::Link(len) => Node::Link(&self.text[behind..behind + len as usize]),
            Packed::EmptyDirectory => Node::EmptyDirectory,
        };
        (&self.text[entry.start..behind], node)
    }

    /// The node at `path`.
    pub fn get(&self, path: &[u8]) -> Option<Node<'_>> {
        let at = self
            .entries
            .binary_search_by(|entry| self.read(entry).0.cmp(path))
            .ok()?;
        Some(self.read(&self.entries[at]).1)
    }

    /// The nodes whose paths begin with `prefix`.
    pub(super) fn below(&self, prefix: &[u8]) -> impl Iterator<Item = (&[u8], Node<'_>)> {
        let first = self
            .entries
            .partition_point(|entry| self.read(entry).0 < prefix);
        self.entries[first..]
            .iter()
            .map(|entry| self.read(entry))
            .take_while(move |(path, _)| path.starts_with(prefix))
    }

    /// Both content hashes.
    pub fn hashes(&self) -> TreeHashes {
        let mut hasher = TreeHasher::new();
        for (path, node) in self.iter() {
            hasher.add(path, &node.owned());
        }
        hasher.finish()
    }
}

impl Node<'_> {
    /// The same with its own target.
    pub fn owned(&self) -> TreeNode {
        match *self {
            Self::File { sha256, executable } => TreeNode::File { sha256, executable },
            Self::Link(target) => TreeNode::Symlink {
                target: target.to_vec(),
            },
            Self::EmptyDirectory => TreeNode::EmptyDirectory,
        }
    }

    /// The content's digest, of a file.
    pub fn sha256(&self) -> Option<Sha256Digest> {
        match self {
            Self::File { sha256, .. } => Some(*sha256),
            Self::Link(_) | Self::EmptyDirectory => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Contents from lines: `path` and a text for a file, `path!` for an executable one, `path@` and a target, `path/`.
    pub(in crate::drift) fn contents(nodes: &[(&str, &str)]) -> Contents {
        let mut nodes: Vec<(Vec<u8>, TreeNode)> = nodes
            .iter()
            .map(|(path, content)| {
                let file = |executable| TreeNode::File {
                    sha256: Sha256Digest::of(content.as_bytes()),
                    executable,
                };
                let (path, node) = match path.as_bytes().split_last() {
                    Some((b'!', path)) => (path, file(true)),
                    Some((b'@', path)) => {
                        let target = content.as_bytes().to_vec();
                        (path, TreeNode::Symlink { target })
                    }
                    Some((b'/', path)) => (path, TreeNode::EmptyDirectory),
                    _ => (path.as_bytes(), file(false)),
                };
                (path.to_vec(), node)
            })
            .collect();
        nodes.sort_by(|a, b| a.0.cmp(&b.0));
        Contents::from_sorted(nodes.iter().map(|(path, node)| (path.as_slice(), node)))
    }

    #[test]
    fn nodes_are_found_and_hash_as_they_do_elsewhere() {
        let contents = contents(&[("b!", "2"), ("a/x", "1"), ("a.l@", "a/x"), ("d/", "")]);
        assert_eq!(contents.len(), 4);
        assert_eq!(contents.get(b"a.l"), Some(Node::Link(b"a/x")));
        assert_eq!(contents.get(b"d"), Some(Node::EmptyDirectory));
        assert!(contents.get(b"a").is_none() && contents.get(b"zz").is_none());
        assert_eq!(contents.below(b"a/").count(), 1);
        let nodes: Vec<_> = contents.iter().map(|(p, n)| (p, n.owned())).collect();
        let elsewhere = crate::digest::tree_hashes(nodes.iter().map(|(p, n)| (*p, n)));
        assert_eq!(contents.hashes(), elsewhere);
    }
}
