//! SHA-256 digests, and the two content hashes of a tree.
//!
//! Lambda states a zip's digest in base64 (`CodeSha256`) and an image's in hex; registries, BagIt and
//! coreutils use hex. [`Sha256Digest`] is the value itself, so that a comparison is never one of spellings.

mod directories;

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

pub(crate) use directories::Directories;

/// A SHA-256 value (FIPS 180-4), 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest([u8; 32]);

/// Why a text is no SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no SHA-256 digest: expected 44 characters of base64 or 64 hex digits")]
pub struct ParseDigestError {
    text: String,
}

impl Sha256Digest {
    /// A digest from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `data`.
    pub fn of(data: &[u8]) -> Self {
        Self(Sha256::digest(data).into())
    }

    /// Reads standard base64 with padding (RFC 4648 section 4), as Lambda states `CodeSha256` of a zip.
    pub fn from_base64(text: &str) -> Result<Self, ParseDigestError> {
        STANDARD
            .decode(text)
            .ok()
            .and_then(|b| <[u8; 32]>::try_from(b).ok())
            .map(Self)
            .ok_or_else(|| ParseDigestError::new(text))
    }

    /// Reads 64 hex digits of either case, as Lambda states `CodeSha256` of an image.
    pub fn from_hex(text: &str) -> Result<Self, ParseDigestError> {
        let digits = text.as_bytes();
        let mut out = [0; 32];
        if digits.len() != 64 {
            return Err(ParseDigestError::new(text));
        }
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |d: u8| char::from(d).to_digit(16);
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(ParseDigestError::new(text));
            };
            *byte = u8::try_from(high * 16 + low).map_err(|_| ParseDigestError::new(text))?;
        }
        Ok(Self(out))
    }

    /// 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |n: u8| char::from(DIGITS[usize::from(n & 15)]);
        self.0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
            .collect()
    }

    /// 44 characters of standard base64, the form of `CodeSha256`.
    pub fn base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl ParseDigestError {
    fn new(text: &str) -> Self {
        // A digest is short; what is longer is not quoted whole.
        Self {
            text: text.chars().take(80).collect(),
        }
    }
}

/// Reads base64 or hex, with or without a leading `sha256:`.
impl FromStr for Sha256Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix("sha256:").unwrap_or(text);
        if bare.len() == 64 {
            Self::from_hex(bare)
        } else {
            Self::from_base64(bare)
        }
        .map_err(|_| ParseDigestError::new(text))
    }
}

/// The hex form, as `sha256sum` prints it.
impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Digest({})", self.hex())
    }
}

/// How much is read at once, in bytes.
pub(crate) const READ_BUFFER: usize = 256 * 1024;

/// A running SHA-256 and the count of what went into it.
#[derive(Clone, Debug, Default)]
pub struct Hasher {
    sha256: Sha256,
    bytes: u64,
}

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `data` in.
    pub fn update(&mut self, data: &[u8]) {
        self.sha256.update(data);
        self.bytes += data.len() as u64;
    }

    /// How many bytes were taken in.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Sha256Digest {
        Sha256Digest(self.sha256.finalize().into())
    }

    /// Takes in all that `reader` gives, through a buffer of 256 KiB; asks `stop` between reads.
    pub fn read_all(&mut self, reader: impl Read, stop: &dyn Fn() -> bool) -> io::Result<()> {
        self.read_all_through(&mut vec![0; READ_BUFFER], reader, stop)
    }

    /// The same through a buffer of the caller's, which is not empty.
    pub(crate) fn read_all_through(
        &mut self,
        buffer: &mut [u8],
        mut reader: impl Read,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        loop {
            if stop() {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
            }
            match reader.read(buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => self.update(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Write for Hasher {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a path of a tree is, as far as the content hashes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeNode {
    /// A regular file: its content's digest and whether its owner may execute it.
    File {
        /// SHA-256 of the content.
        sha256: Sha256Digest,
        /// The owner-executable bit (mode `0100`).
        executable: bool,
    },
    /// A symbolic link and its target, verbatim.
    Symlink {
        /// The target's bytes as the archive or `readlink` gives them.
        target: Vec<u8>,
    },
    /// A directory with nothing in it. Others are implied by what they hold.
    EmptyDirectory,
}

/// The two content hashes of a tree. Neither depends on times, on an archive's order or on its compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeHashes {
    /// `h1:` and the base64 of Go's `dirhash.Hash1` over the regular files: the SHA-256 of lines
    /// `"<hex>  <path>\n"` in the order of the path's bytes. None when a name holds a newline.
    pub h1: Option<String>,
    /// Why there is no `h1`.
    pub h1_reason: Option<String>,
    /// `t1:` and the base64 of the SHA-256 over all nodes; see [`TreeHasher`].
    pub tree: String,
}

/// Computes both content hashes of a tree whose nodes come one by one, in the order of their paths' bytes. Nothing but two
/// running hashes is kept.
///
/// `t1` hashes, for each node, four fields, each followed by one NUL: `f`, `l` or `d`; `1` for a file that
/// its owner may execute, else `0`; the path; the file's SHA-256 in hex, the link's target, or nothing for a
/// directory.
#[derive(Default)]
pub struct TreeHasher {
    h1: Sha256,
    tree: Sha256,
    newline: Option<String>,
}

impl TreeHasher {
    /// A hasher that has seen no node.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the node at `path`, with `/` between components.
    pub fn add(&mut self, path: &[u8], node: &TreeNode) {
        let (kind, executable): (&[u8], &[u8]) = match node {
            TreeNode::File { executable, .. } => (b"f", if *executable { b"1" } else { b"0" }),
            TreeNode::Symlink { .. } => (b"l", b"0"),
            TreeNode::EmptyDirectory => (b"d", b"0"),
        };
        let hex;
        let content: &[u8] = match node {
            TreeNode::File { sha256, .. } => {
                hex = sha256.hex();
                self.h1.update(hex.as_bytes());
                self.h1.update(b"  ");
                self.h1.update(path);
                self.h1.update(b"\n");
                if path.contains(&b'\n') {
                    self.newline
                        .get_or_insert_with(|| String::from_utf8_lossy(path).into_owned());
                }
                hex.as_bytes()
            }
            TreeNode::Symlink { target } => target,
            TreeNode::EmptyDirectory => b"",
        };
        for field in [kind, executable, path, content] {
            self.tree.update(field);
            self.tree.update(b"\0");
        }
    }

    /// Both hashes of what was taken in.
    pub fn finish(self) -> TreeHashes {
        let encode =
            |name: &str, hash: Sha256| format!("{name}:{}", STANDARD.encode(hash.finalize()));
        TreeHashes {
            h1: self.newline.is_none().then(|| encode("h1", self.h1)),
            h1_reason: self
                .newline
                .map(|path| format!("the name {path:?} has a newline")),
            tree: encode("t1", self.tree),
        }
    }
}

/// Computes both content hashes. `nodes` are `(path, node)` with `/` between components, in any order; see
/// [`TreeHasher`] for what is hashed.
pub fn tree_hashes<'a>(nodes: impl IntoIterator<Item = (&'a [u8], &'a TreeNode)>) -> TreeHashes {
    let mut nodes: Vec<_> = nodes.into_iter().collect();
    nodes.sort_unstable_by_key(|(path, _)| *path);
    let mut hasher = TreeHasher::new();
    for (path, node) in nodes {
        hasher.add(path, node);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-4 example: SHA-256("abc").
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn one_value_has_many_spellings() {
        let d = Sha256Digest::of(b"abc");
        assert_eq!(d.hex(), ABC);
        for text in [
            ABC.to_owned(),
            ABC.to_uppercase(),
            format!("sha256:{ABC}"),
            d.base64(),
        ] {
            assert_eq!(text.parse::<Sha256Digest>(), Ok(d), "{text}");
        }
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in [
            "",
            "abc",
            &ABC[..63],
            &format!("{ABC}0"),
            &"g".repeat(64),
            "====",
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0", // no padding
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=", // the URL alphabet
            "é".repeat(32).as_str(),
        ] {
            assert!(text.parse::<Sha256Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn h1_is_what_coreutils_compute() {
        // printf a > a; printf b > b; sha256sum a b | sha256sum | xxd -r -p | base64
        let a = TreeNode::File {
            sha256: Sha256Digest::of(b"a"),
            executable: false,
        };
        let b = TreeNode::File {
            sha256: Sha256Digest::of(b"b"),
            executable: true,
        };
        let lines = format!(
            "{}  a\n{}  b\n",
            Sha256Digest::of(b"a"),
            Sha256Digest::of(b"b")
        );
        let want = format!("h1:{}", Sha256Digest::of(lines.as_bytes()).base64());
        let hashes = tree_hashes([(&b"b"[..], &b), (&b"a"[..], &a)]);
        assert_eq!(hashes.h1, Some(want));
    }

    #[test]
    fn a_newline_in_a_name_leaves_no_h1_but_a_tree() {
        let a = TreeNode::File {
            sha256: Sha256Digest::of(b"a"),
            executable: false,
        };
        let hashes = tree_hashes([(&b"x\ny"[..], &a)]);
        assert_eq!(hashes.h1, None);
        assert!(hashes.h1_reason.is_some_and(|r| r.contains("newline")));
        assert!(hashes.tree.starts_with("t1:"));
    }

    #[test]
    fn tree_tells_modes_links_and_empty_directories_apart() {
        let file = |x| TreeNode::File {
            sha256: Sha256Digest::of(b"a"),
            executable: x,
        };
        let link = TreeNode::Symlink {
            target: b"a".to_vec(),
        };
        let mut seen = std::collections::HashSet::new();
        for node in [file(false), file(true), link, TreeNode::EmptyDirectory] {
            assert!(seen.insert(tree_hashes([(&b"p"[..], &node)]).tree));
        }
    }
}
