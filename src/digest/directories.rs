//! How many directories a tree has.

use super::TreeNode;

/// Counts the directories of a tree whose nodes come in the order of their paths' bytes: what is below one comes in a row.
#[derive(Debug, Default)]
pub(crate) struct Directories {
    /// So many were seen, each once.
    pub(crate) count: u64,
    last: Vec<u8>,
}

impl Directories {
    /// The next node.
    pub(crate) fn add(&mut self, path: &[u8], node: &TreeNode) {
        let above = |path: &[u8]| path.iter().rposition(|&b| b == b'/').unwrap_or(0);
        let (now, before) = (&path[..above(path)], &self.last[..above(&self.last)]);
        let parts = |path| {
            let split = <[u8]>::split(path, |&b: &u8| b == b'/');
            split.filter(|part| !part.is_empty())
        };
        let same = parts(now).zip(parts(before)).take_while(|(a, b)| a == b);
        let new = parts(now).count() - same.count();
        self.count += new as u64 + u64::from(*node == TreeNode::EmptyDirectory);
        self.last.clear();
        self.last.extend_from_slice(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_counted_once() {
        let link = TreeNode::Symlink { target: vec![b'x'] };
        let mut directories = Directories::default();
        // a, a/b, a/b/c, a-, d (empty), e, e/f (empty)
        for path in ["a-/x", "a/1", "a/b/1", "a/b/c/1", "a/b/d", "a/z"] {
            directories.add(path.as_bytes(), &link);
        }
        directories.add(b"d", &TreeNode::EmptyDirectory);
        directories.add(b"e/f", &TreeNode::EmptyDirectory);
        directories.add(b"g", &link);
        assert_eq!(directories.count, 7);
    }
}
