//! The content hashes of a tree, from what was planned and the digests of what was written.

use std::io;

use super::error::{Kind, UnpackError};
use super::plan::Plan;
use super::stop::Stop;
use crate::digest::{Sha256Digest, TreeHasher, TreeHashes, TreeNode};

/// The tree's content hashes from the digests of its files.
pub(super) fn of(
    plan: &Plan,
    digests: Vec<(u32, Sha256Digest)>,
    stop: &Stop<'_>,
) -> Result<TreeHashes, UnpackError> {
    let mut hasher = TreeHasher::new();
    each(plan, digests, stop, &mut |path, node| {
        hasher.add(path, node);
    })?;
    Ok(hasher.finish())
}

/// Gives `take` the nodes of the tree in the order of their paths' bytes.
pub(super) fn each(
    plan: &Plan,
    mut digests: Vec<(u32, Sha256Digest)>,
    stop: &Stop<'_>,
    take: &mut dyn FnMut(&[u8], &TreeNode),
) -> Result<(), UnpackError> {
    digests.sort_unstable_by_key(|&(index, _)| index);
    let mut nodes: Vec<u32> = Vec::with_capacity(plan.by_path.len());
    for (at, &index) in plan.by_path.iter().enumerate() {
        stop.step()?;
        let path = plan.path(index);
        let has_children = || {
            plan.by_path.get(at + 1).is_some_and(|&next| {
                let next = plan.path(next);
                next.starts_with(path) && next.get(path.len()) == Some(&b'/')
            })
        };
        if plan.kind(index) != Kind::Directory || !has_children() {
            nodes.push(index);
        }
    }
    // Links in the plan's order, to be found by entry.
    let mut links: Vec<(u32, &[u8])> = plan.links.iter().collect();
    links.sort_unstable_by_key(|&(index, _)| index);
    stop.sort(&mut nodes, |a, b| plan.path(a).cmp(plan.path(b)))?;
    for index in nodes {
        stop.step()?;
        let find = |error| UnpackError::Read {
            offset: 0,
            source: io::Error::other(error),
        };
        let node = match plan.kind(index) {
            Kind::Directory => TreeNode::EmptyDirectory,
            Kind::File => TreeNode::File {
                sha256: digests
                    .binary_search_by_key(&index, |&(index, _)| index)
                    .map(|at| digests[at].1)
                    .map_err(|_| find("a file has no digest"))?,
                executable: plan.permissions(index)? & 0o100 != 0,
            },
            Kind::Symlink => TreeNode::Symlink {
                target: links
                    .binary_search_by_key(&index, |&(index, _)| index)
                    .map(|at| links[at].1.to_vec())
                    .map_err(|_| find("a link has no target"))?,
            },
        };
        take(plan.path(index), &node);
    }
    Ok(())
}
