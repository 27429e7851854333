//! Two trees compared, path by path. Plain functions of two values.

use super::content::{Contents, Node};
use super::ignore::Ignore;
use super::{Change, ChangeKind};

/// The most changes that are listed; more are counted.
pub const MAX_CHANGES: usize = 10_000;

/// How many links are followed to the end of one.
const MAX_LINKS: usize = 40;

/// What differs between two trees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The first of them, sorted by path.
    pub list: Vec<Change>,
    /// How many more there are.
    pub left_out: u64,
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn add(
        &mut self,
        path: &[u8],
        change: ChangeKind,
        sides: (Option<Node<'_>>, Option<Node<'_>>),
    ) {
        if self.list.len() >= MAX_CHANGES {
            self.left_out += 1;
            return;
        }
        let hex = |node: Option<Node<'_>>| node.and_then(|n| n.sha256()).map(|d| d.hex());
        self.list.push(Change {
            path: shown(path),
            change,
            expected_sha256: hex(sides.0),
            deployed_sha256: hex(sides.1),
            diff: None,
        });
    }
}

/// A path as text; bytes that are no UTF-8 as `\xNN`.
pub fn shown(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(path) => path.to_owned(),
        Err(_) => path.escape_ascii().to_string(),
    }
}

/// What differs, seen from `expected`.
pub fn compare(expected: &Contents, deployed: &Contents) -> Changes {
    let mut changes = Changes::default();
    let (mut left, mut right) = (expected.iter().peekable(), deployed.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return changes,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        // What one side lacks is added or removed; what both have is compared.
        let a = if order.is_le() { left.next() } else { None };
        let b = if order.is_ge() { right.next() } else { None };
        match (a, b) {
            (Some((path, a)), Some((_, b))) => {
                if let Some(kind) = differs(a, b) {
                    changes.add(path, kind, (Some(a), Some(b)));
                }
            }
            (Some((path, a)), None) => changes.add(path, ChangeKind::Removed, (Some(a), None)),
            (None, Some((path, b))) => changes.add(path, ChangeKind::Added, (None, Some(b))),
            (None, None) => return changes,
        }
    }
}

fn differs(a: Node<'_>, b: Node<'_>) -> Option<ChangeKind> {
    match (a, b) {
        _ if a == b => None,
        (Node::File { sha256: a, .. }, Node::File { sha256: b, .. }) if a == b => {
            Some(ChangeKind::Mode)
        }
        (Node::File { .. }, Node::File { .. }) | (Node::Link(_), Node::Link(_)) => {
            Some(ChangeKind::Modified)
        }
        _ => Some(ChangeKind::Type),
    }
}

/// A package's contents as a directory is compared with them: links followed within the package, modes and empty directories
/// left out, and what `ignore` matches. The second value is how many files it matched.
///
/// A link that leads nowhere, or in a circle, stays the link it is.
pub fn loosened(contents: &Contents, ignore: &Ignore) -> (Contents, u64) {
    let mut nodes: Vec<(Vec<u8>, crate::digest::TreeNode)> = Vec::new();
    let mut ignored = 0;
    let mut keep = |path: &[u8], node: Node<'_>| {
        if ignore.matches(path, false) {
            ignored += 1;
            return;
        }
        let node = match node {
            Node::File { sha256, .. } => Node::File {
                sha256,
                executable: false,
            },
            other => other,
        };
        nodes.push((path.to_vec(), node.owned()));
    };
    for (path, node) in contents.iter() {
        match node {
            Node::EmptyDirectory => {}
            Node::File { .. } => keep(path, node),
            Node::Link(_) => match follow(contents, path) {
                Some(End::File(file)) => keep(path, file),
                Some(End::Directory(prefix)) => {
                    for (below, node) in contents.below(&prefix) {
                        let mut path = path.to_vec();
                        path.push(b'/');
                        path.extend_from_slice(&below[prefix.len()..]);
                        // A link within a directory that is itself linked is followed from where it really lies.
                        let node = match node {
                            Node::Link(_) => match follow(contents, below) {
                                Some(End::File(file)) => file,
                                _ => node,
                            },
                            Node::EmptyDirectory => continue,
                            Node::File { .. } => node,
                        };
                        keep(&path, node);
                    }
                }
                None => keep(path, node),
            },
        }
    }
    nodes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let loose = Contents::from_sorted(nodes.iter().map(|(path, node)| (path.as_slice(), node)));
    (loose, ignored)
}

enum End<'a> {
    File(Node<'a>),
    /// The directory's path with `/` at its end.
    Directory(Vec<u8>),
}

/// Where the link at `path` leads within the tree, over other links.
fn follow<'a>(contents: &'a Contents, path: &[u8]) -> Option<End<'a>> {
    let mut at: Vec<Vec<u8>> = Vec::new();
    let split = |path: &[u8]| -> Vec<Vec<u8>> {
        let mut parts: Vec<_> = path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
        parts.reverse();
        parts
    };
    let mut todo = split(path);
    let mut links = 0;
    while let Some(part) = todo.pop() {
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                at.pop()?;
                continue;
            }
            _ => at.push(part),
        }
        if let Some(Node::Link(target)) = contents.get(&at.join(&b'/')) {
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            at.pop();
            todo.extend(split(target));
        }
    }
    let end = at.join(&b'/');
    if let Some(file @ Node::File { .. }) = contents.get(&end) {
        return Some(End::File(file));
    }
    let mut prefix = end;
    prefix.push(b'/');
    // A link up to a directory that holds it would never end.
    let holds_it = path.starts_with(&prefix);
    (!holds_it && contents.below(&prefix).next().is_some()).then_some(End::Directory(prefix))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::super::IgnoreRules;
    use super::super::content::tests::contents;
    use super::*;

    fn kinds(changes: &Changes) -> Vec<(&str, ChangeKind)> {
        changes
            .list
            .iter()
            .map(|c| (c.path.as_str(), c.change))
            .collect()
    }

    #[test]
    fn each_kind_of_change_is_told() {
        let expected = contents(&[
            ("same", "1"),
            ("gone", "1"),
            ("content", "1"),
            ("mode", "1"),
            ("both", "1"),
            ("link@", "a"),
            ("type", "1"),
            ("empty/", ""),
        ]);
        let deployed = contents(&[
            ("same", "1"),
            ("new", "1"),
            ("content", "2"),
            ("mode!", "1"),
            ("both!", "2"),
            ("link@", "b"),
            ("type@", "x"),
            ("empty", ""),
        ]);
        let changes = compare(&expected, &deployed);
        assert_eq!(
            kinds(&changes),
            [
                ("both", ChangeKind::Modified),
                ("content", ChangeKind::Modified),
                ("empty", ChangeKind::Type),
                ("gone", ChangeKind::Removed),
                ("link", ChangeKind::Modified),
                ("mode", ChangeKind::Mode),
                ("new", ChangeKind::Added),
                ("type", ChangeKind::Type),
            ]
        );
        assert!(compare(&expected, &expected).is_empty());
        assert!(
            changes.list[3].deployed_sha256.is_none() && changes.list[3].expected_sha256.is_some()
        );
    }

    #[test]
    fn a_list_of_changes_has_an_end() {
        let many: Vec<String> = (0..MAX_CHANGES + 5).map(|i| format!("f{i:06}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|p| (p.as_str(), "x")).collect();
        let changes = compare(&Contents::default(), &contents(&many));
        assert_eq!((changes.list.len(), changes.left_out), (MAX_CHANGES, 5));
    }

    #[test]
    fn a_package_is_loosened_as_a_packer_that_follows_links_would_see_it() {
        let package = contents(&[
            ("bin/tool@", "../lib/tool.js"),
            ("lib/tool.js!", "tool"),
            ("lib/inner@", "tool.js"),
            ("linked@", "lib"),
            ("loop@", "loop"),
            ("up/down@", ".."),
            ("dangling@", "nowhere"),
            ("empty/", ""),
            ("x.map", "m"),
        ]);
        let rules = IgnoreRules {
            lines: vec!["*.map".to_owned()],
        };
        let none: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        let ignore = Ignore::load(Path::new("x"), &rules, &none).unwrap();
        let (loose, ignored) = loosened(&package, &ignore);
        let want = contents(&[
            ("bin/tool", "tool"),
            ("lib/tool.js", "tool"),
            ("lib/inner", "tool"),
            ("linked/tool.js", "tool"),
            ("linked/inner", "tool"),
            ("loop@", "loop"),
            ("up/down@", ".."),
            ("dangling@", "nowhere"),
        ]);
        assert_eq!(kinds(&compare(&want, &loose)), []);
        assert_eq!(ignored, 1);
    }
}
