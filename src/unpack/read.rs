//! What a package would be unpacked to, read without writing anything: for comparisons.

use tokio_util::sync::CancellationToken;

use super::error::{Kind, UnpackError};
use super::hashes;
use super::inflate::{BEFORE, BEHIND, Inflater};
use super::names::Shown;
use super::plan::{Data, Plan};
use super::source::Source;
use super::stop::Stop;
use crate::digest::{Hasher, Sha256Digest, TreeNode};
use crate::package::Verified;

/// Reads every content, checked as [`run`](super::run) checks it, and gives `each` the nodes of the tree in the order of
/// their paths' bytes: files, links and empty directories.
///
/// Blocks, in one thread; memory is the plan's and some 40 bytes a file.
///
/// # Errors
/// What a content has that its headers do not say, a failure to read, or [`UnpackError::Interrupted`].
pub fn contents(
    package: &Verified,
    plan: &Plan,
    cancel: &CancellationToken,
    each: &mut dyn FnMut(&[u8], &TreeNode),
) -> Result<(), UnpackError> {
    if package.sha256() != plan.package() {
        return Err(UnpackError::OtherPackage);
    }
    let source = Source::new(package);
    let mut reader = Reader::new(source);
    let mut digests: Vec<(u32, Sha256Digest)> = Vec::with_capacity(plan.by_offset.len());
    let mut total = 0_u64;
    for &index in &plan.by_offset {
        let data = plan.data(index)?;
        let mut hasher = Hasher::new();
        reader.read(plan, index, &data, &mut |piece| {
            if cancel.is_cancelled() {
                return Err(UnpackError::Interrupted);
            }
            total += piece.len() as u64;
            if total > plan.limit {
                return Err(UnpackError::TooLarge {
                    reached: total,
                    limit: plan.limit,
                });
            }
            hasher.update(piece);
            Ok(())
        })?;
        if cancel.is_cancelled() {
            return Err(UnpackError::Interrupted);
        }
        if plan.kind(index) == Kind::File {
            digests.push((index, hasher.finish()));
        }
    }
    hashes::each(plan, digests, &Stop::new(&|| cancel.is_cancelled()), each)
}

/// The content of the files at `paths`, each given to `each` with its position in `paths`; those of more than `limit` bytes,
/// and paths that are no files, are left out.
///
/// # Errors
/// As [`contents`].
pub fn files(
    package: &Verified,
    plan: &Plan,
    paths: &[&[u8]],
    limit: u64,
    each: &mut dyn FnMut(usize, Vec<u8>),
) -> Result<(), UnpackError> {
    if package.sha256() != plan.package() {
        return Err(UnpackError::OtherPackage);
    }
    let wanted: std::collections::HashMap<&[u8], usize> = paths
        .iter()
        .enumerate()
        .map(|(at, path)| (*path, at))
        .collect();
    let mut reader = Reader::new(Source::new(package));
    for &index in &plan.by_offset {
        let Some(&at) = wanted.get(plan.path(index)) else {
            continue;
        };
        let data = plan.data(index)?;
        if plan.kind(index) != Kind::File || data.size > limit {
            continue;
        }
        let mut content = Vec::new();
        reader.read(plan, index, &data, &mut |piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        each(at, content);
    }
    Ok(())
}

struct Reader<'a> {
    source: Source<'a>,
    inflater: Inflater,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            inflater: Inflater::new(),
            buffer: Vec::new(),
        }
    }

    fn read(
        &mut self,
        plan: &Plan,
        index: u32,
        data: &Data,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        if Inflater::fits(data) {
            // A local header is before the data, and the central directory behind: these bytes are there.
            let start = data.start - BEFORE as u64;
            let len = usize::try_from(data.compressed).unwrap_or(usize::MAX) + BEFORE + BEHIND;
            if self.buffer.len() < len {
                self.buffer.resize(len, 0);
            }
            self.source.read(start, &mut self.buffer[..len])?;
            if let Some(content) = self.inflater.whole(data, &mut self.buffer[..len]) {
                return sink(content);
            }
        }
        let shown = || Shown::from(plan.path(index));
        self.inflater.stream(self.source, data, &shown, sink)
    }
}
