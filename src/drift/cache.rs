//! Contents of packages that were read before: the digest of a zip, and what is in it. So a function that is `repackaged` is
//! downloaded once, not in every run.
//!
//! An entry is untrusted: it is used only when its own checksums hold, so that a damaged one is ignored. They do not protect
//! against somebody who can write to the cache with care; the directory is the user's alone, and who shares one between
//! machines shares the trust.
//!
//! ```text
//! larder-contents 1\n
//! <SHA-256 of the zip, hex>\n
//! <t1 of the tree>\n
//! <SHA-256 of the three lines above, hex>\n
//! for each node, what `t1` hashes: kind, executable, path, content; each with a NUL behind it
//! ```

use std::path::Path;

use super::content::{Contents, Node};
use crate::digest::{Sha256Digest, TreeNode};
use crate::files::CacheDir;

const MAGIC: &str = "larder-contents 1";
/// The largest entry, in bytes: some 100,000 files.
const MAX_ENTRY: u64 = 16 << 20;
/// The most entries.
const MAX_ENTRIES: usize = 512;
/// The size of all entries together, in bytes.
const MAX_TOTAL: u64 = 64 << 20;

/// Where contents are kept; nowhere, if there is no place for it.
#[derive(Debug, Clone, Default)]
pub struct Cache(Option<CacheDir>);

impl Cache {
    /// A cache in this directory, which is made. One that cannot be used keeps nothing.
    pub fn open(directory: &Path) -> Self {
        Self(
            CacheDir::open(directory, MAX_ENTRIES, MAX_TOTAL)
                .inspect_err(|e| tracing::info!("contents are not cached: {e}"))
                .ok(),
        )
    }

    /// A cache that keeps nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// What the zip of this digest holds.
    pub fn get(&self, package: Sha256Digest) -> Option<Contents> {
        let dir = self.0.as_ref()?;
        let name = package.hex();
        let bytes = dir.get(&name, MAX_ENTRY)?;
        let contents = decode(&bytes, package);
        if contents.is_none() {
            tracing::info!("a damaged entry of the cache is removed: {name}");
            dir.remove(&name);
        }
        contents
    }

    /// Keeps what the zip of this digest holds. That it cannot be kept is no failure.
    pub fn put(&self, package: Sha256Digest, contents: &Contents) {
        let Some(dir) = &self.0 else { return };
        let bytes = encode(package, contents);
        if bytes.len() as u64 > MAX_ENTRY {
            return;
        }
        if let Err(e) = dir.put(&package.hex(), &bytes) {
            tracing::info!("contents are not cached: {e}");
        }
    }
}

fn encode(package: Sha256Digest, contents: &Contents) -> Vec<u8> {
    let head = format!("{MAGIC}\n{}\n{}\n", package.hex(), contents.hashes().tree);
    let mut bytes = head.clone().into_bytes();
    bytes.extend(Sha256Digest::of(head.as_bytes()).hex().as_bytes());
    bytes.push(b'\n');
    for (path, node) in contents.iter() {
        let hex;
        let (kind, executable, content): (u8, u8, &[u8]) = match node {
            Node::File { sha256, executable } => {
                hex = sha256.hex();
                (b'f', if executable { b'1' } else { b'0' }, hex.as_bytes())
            }
            Node::Link(target) => (b'l', b'0', target),
            Node::EmptyDirectory => (b'd', b'0', b""),
        };
        bytes.extend([kind, 0, executable, 0]);
        bytes.extend(path);
        bytes.push(0);
        bytes.extend(content);
        bytes.push(0);
    }
    bytes
}

/// None when anything about it is not as it was written.
fn decode(bytes: &[u8], package: Sha256Digest) -> Option<Contents> {
    let mut lines = bytes.splitn(5, |b| *b == b'\n');
    let magic = lines.next()?;
    let hex = lines.next()?;
    let tree = std::str::from_utf8(lines.next()?).ok()?;
    let checksum = lines.next()?;
    let body = lines.next()?;
    let head = magic.len() + hex.len() + tree.len() + 3;
    if magic != MAGIC.as_bytes()
        || hex != package.hex().as_bytes()
        || checksum != Sha256Digest::of(bytes.get(..head)?).hex().as_bytes()
        || format!("t1:{}", Sha256Digest::of(body).base64()) != tree
    {
        return None;
    }
    let mut contents = Contents::default();
    if body.is_empty() {
        return Some(contents);
    }
    let mut fields = body.strip_suffix(b"\0")?.split(|b| *b == 0);
    let mut last: Option<&[u8]> = None;
    while let Some(kind) = fields.next() {
        let (executable, path, content) = (fields.next()?, fields.next()?, fields.next()?);
        if path.is_empty() || last.is_some_and(|last| last >= path) {
            return None;
        }
        last = Some(path);
        let node = match kind {
            b"f" => TreeNode::File {
                sha256: Sha256Digest::from_hex(std::str::from_utf8(content).ok()?).ok()?,
                executable: match executable {
                    b"0" => false,
                    b"1" => true,
                    _ => return None,
                },
            },
            b"l" => TreeNode::Symlink {
                target: content.to_vec(),
            },
            b"d" => TreeNode::EmptyDirectory,
            _ => return None,
        };
        contents.push(path, &node);
    }
    Some(contents)
}

#[cfg(test)]
mod tests {
    use super::super::content::tests::contents;
    use super::*;

    #[test]
    fn an_entry_comes_back_whole_or_not_at_all() {
        let package = Sha256Digest::of(b"zip");
        let want = contents(&[("a\nb", "1"), ("b!", "2"), ("c@", "a"), ("d/", "")]);
        let bytes = encode(package, &want);
        assert_eq!(decode(&bytes, package), Some(want));
        assert_eq!(decode(&bytes, Sha256Digest::of(b"other")), None);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], package), None, "cut at {cut}");
            let mut damaged = bytes.clone();
            damaged[cut] ^= 1;
            assert_eq!(decode(&damaged, package), None, "damaged at {cut}");
        }
        let none = encode(package, &Contents::default());
        assert_eq!(decode(&none, package), Some(Contents::default()));
    }

    #[test]
    fn a_damaged_file_is_ignored_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path());
        let package = Sha256Digest::of(b"zip");
        let want = contents(&[("a", "1")]);
        cache.put(package, &want);
        assert_eq!(cache.get(package), Some(want));
        let path = dir.path().join(package.hex());
        std::fs::write(&path, "rubbish").unwrap();
        assert_eq!(cache.get(package), None);
        assert!(!path.exists());
        assert_eq!(Cache::none().get(package), None);
    }
}
