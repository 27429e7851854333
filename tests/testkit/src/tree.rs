//! A directory tree as a value: what goes into an archive, and what must be on disk after it was unpacked.

use crate::zip::{Entry, ZipBuilder};
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file and its content.
    File(Vec<u8>),
    /// A directory.
    Dir,
    /// A symbolic link and its target, verbatim.
    Symlink(String),
}

/// One node of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Path from the root, with `/` between components and none at the end.
    pub path: String,
    /// What it is, and its content.
    pub kind: Kind,
    /// Permission bits; without meaning for a link.
    pub mode: u32,
}

/// Nodes in the order in which they are to be zipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The nodes. Parents need not be listed.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file with mode 0644.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.node(path, Kind::File(content.as_ref().to_vec()), 0o644)
    }

    /// Adds a file with mode 0755.
    #[must_use]
    pub fn executable(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.node(path, Kind::File(content.as_ref().to_vec()), 0o755)
    }

    /// Adds a directory with mode 0755.
    #[must_use]
    pub fn dir(self, path: &str) -> Self {
        self.node(path, Kind::Dir, 0o755)
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.node(path, Kind::Symlink(target.to_owned()), 0o777)
    }

    /// Adds any node.
    #[must_use]
    pub fn node(mut self, path: &str, kind: Kind, mode: u32) -> Self {
        self.nodes.push(Node {
            path: path.to_owned(),
            kind,
            mode,
        });
        self
    }

    /// The archive of this tree, to be changed before it is built.
    #[must_use]
    pub fn builder(&self) -> ZipBuilder {
        self.nodes.iter().fold(ZipBuilder::new(), |zip, node| {
            let entry = match &node.kind {
                Kind::File(content) => Entry::file(&node.path, content),
                Kind::Dir => Entry::dir(format!("{}/", node.path)),
                Kind::Symlink(target) => Entry::symlink(&node.path, target),
            };
            let utf8 = if node.path.is_ascii() { 0 } else { 0x800 };
            zip.entry(entry.mode(node.mode).flags(utf8))
        })
    }

    /// The archive of this tree.
    #[must_use]
    pub fn zip(&self) -> Vec<u8> {
        self.builder().build()
    }

    /// Bytes of all files together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.nodes
            .iter()
            .map(|node| match &node.kind {
                Kind::File(content) => content.len() as u64,
                Kind::Dir | Kind::Symlink(_) => 0,
            })
            .sum()
    }

    /// Reads a directory, sorted by path; links are not followed.
    ///
    /// # Errors
    /// What the file system says, and `InvalidData` for a name or target that is not UTF-8 or a node of another kind.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::new();
        let mut open = vec![String::new()];
        while let Some(directory) = open.pop() {
            for item in fs::read_dir(root.join(&directory))? {
                let item = item?;
                let not_text = |_| io::Error::from(io::ErrorKind::InvalidData);
                let name = item.file_name().into_string().map_err(not_text)?;
                let path = if directory.is_empty() {
                    name
                } else {
                    format!("{directory}/{name}")
                };
                let data = item.metadata()?;
                let kind = if data.is_symlink() {
                    let target = fs::read_link(item.path())?;
                    Kind::Symlink(target.into_os_string().into_string().map_err(not_text)?)
                } else if data.is_dir() {
                    open.push(path.clone());
                    Kind::Dir
                } else if data.is_file() {
                    Kind::File(fs::read(item.path())?)
                } else {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, path));
                };
                tree.nodes.push(Node {
                    path,
                    kind,
                    mode: mode(&data),
                });
            }
        }
        tree.nodes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// How a directory differs from this tree, in words, one line each; empty when it is the same. Parents that the
    /// tree does not list are expected, with any mode; permission bits are compared on Unix.
    ///
    /// # Errors
    /// As [`Tree::read`].
    pub fn differences(&self, root: &Path) -> io::Result<Vec<String>> {
        let mut found: BTreeMap<String, Node> = Self::read(root)?
            .nodes
            .into_iter()
            .map(|node| (node.path.clone(), node))
            .collect();
        let mut differences = Vec::new();
        for node in &self.nodes {
            let Some(there) = found.remove(&node.path) else {
                differences.push(format!("{}: missing", node.path));
                continue;
            };
            if there.kind != node.kind {
                differences.push(format!(
                    "{}: {} instead of {}",
                    node.path,
                    describe(&there.kind),
                    describe(&node.kind)
                ));
            } else if cfg!(unix)
                && there.mode != node.mode
                && !matches!(node.kind, Kind::Symlink(_))
            {
                differences.push(format!(
                    "{}: mode {:o} instead of {:o}",
                    node.path, there.mode, node.mode
                ));
            }
        }
        for (path, node) in found {
            let prefix = format!("{path}/");
            let parent = self.nodes.iter().any(|node| node.path.starts_with(&prefix));
            if !(parent && node.kind == Kind::Dir) {
                differences.push(format!("{path}: {} too many", describe(&node.kind)));
            }
        }
        Ok(differences)
    }
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::File(content) => format!("a file of {} bytes", content.len()),
        Kind::Dir => "a directory".to_owned(),
        Kind::Symlink(target) => format!("a link to {target:?}"),
    }
}

#[cfg(unix)]
fn mode(data: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    data.permissions().mode() & 0o7777
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    0o644
}
