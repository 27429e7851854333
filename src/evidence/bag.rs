//! Writing a bag (RFC 8493): payload below `data/`, SHA-256 manifests, tag files, published whole or not at all.
//!
//! ```text
//! Bag::begin -> add / keep / stream ... -> close_payload -> tag ... -> seal -> loose (signature) -> publish
//! ```
//!
//! A manifest's line is written when its file is, so memory does not grow with the bag. Directories are for the owner
//! alone (0700), files can be read by the owner and written by nobody (0400). A bag is never changed once it is published.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::{Hasher, Sha256Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{FilesError, PublishOptions, Published, Staging};
use crate::record::BAGIT_TXT;

/// The payload's manifest.
pub const MANIFEST: &str = "manifest-sha256.txt";
/// The manifest of the tag files, which is what gets signed.
pub const TAGMANIFEST: &str = "tagmanifest-sha256.txt";
/// The signature over [`TAGMANIFEST`].
pub const SIGNATURE: &str = "tagmanifest-sha256.txt.sig";
/// The time stamp of [`SIGNATURE`].
pub const TIMESTAMP: &str = "tagmanifest-sha256.txt.sig.tsr";
/// Where a bag says what it is about.
pub const BAG_INFO: &str = "bag-info.txt";

const MODE: u32 = 0o400;
const DECLARATION: &[u8] = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

/// A bag in the making. Dropped before it is published, it is removed with all its content.
#[derive(Debug)]
pub struct Bag {
    staging: Arc<Staging>,
    payload: Mutex<Payload>,
    tags: Mutex<Vec<(String, Sha256Digest)>>,
}

#[derive(Debug)]
struct Payload {
    /// None once it is closed.
    manifest: Option<Hashed>,
    files: u64,
    bytes: u64,
}

/// A file of the bag: its path from the bag's root, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the bag, with `/`.
    pub path: String,
    /// Of its content.
    pub sha256: Sha256Digest,
    /// In bytes.
    pub size: u64,
}

/// How much a payload holds: `Payload-Oxum` of RFC 8493 section 2.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oxum {
    /// Bytes in all payload files.
    pub bytes: u64,
    /// Payload files.
    pub files: u64,
}

impl std::fmt::Display for Oxum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.bytes, self.files)
    }
}

/// A file that is hashed as it is written.
#[derive(Debug)]
struct Hashed {
    file: BufWriter<File>,
    hasher: Hasher,
}

impl Hashed {
    fn new(file: File) -> Self {
        Self {
            file: BufWriter::new(file),
            hasher: Hasher::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }

    fn finish(mut self) -> io::Result<(Sha256Digest, u64)> {
        self.file.flush()?;
        let size = self.hasher.bytes();
        Ok((self.hasher.finish(), size))
    }
}

/// A payload file that grows while the bag is made.
#[derive(Debug)]
pub struct Stream {
    path: String,
    hashed: Hashed,
}

impl Stream {
    /// Appends.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hashed.write(bytes)
    }
}

impl Bag {
    /// Begins a bag that will be at `dest`, where nothing but an empty directory may be.
    ///
    /// # Errors
    /// There is something at `dest`, or nothing can be made beside it.
    pub fn begin(dest: &Path) -> Result<Self> {
        let staging = Staging::create(dest, PublishOptions::default()).map_err(|e| match e {
            FilesError::Exists { ref path, .. } => {
                let path = path.display().to_string();
                Error::new(ErrorKind::DestinationExists, "already exists")
                    .about(path)
                    .because(e)
                    .hint("a bag is never added to or replaced: choose another directory")
            }
            other => other.into(),
        })?;
        staging.ensure_private_dir("data")?;
        let manifest = Hashed::new(staging.create_file(MANIFEST, MODE)?);
        Ok(Self {
            staging: Arc::new(staging),
            payload: Mutex::new(Payload {
                manifest: Some(manifest),
                files: 0,
                bytes: 0,
            }),
            tags: Mutex::default(),
        })
    }

    /// A file outside the bag's own, on the same file system, for bytes that have no good name yet.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratch(&self, name: &str) -> Result<File> {
        Ok(self.staging.create_scratch_file(name, MODE)?)
    }

    /// Gives a scratch file, whose content was hashed, its place in the payload. `path` begins with `data/`.
    ///
    /// # Errors
    /// It cannot be moved, or something has that place.
    pub fn keep(
        &self,
        scratch: &str,
        path: &str,
        sha256: Sha256Digest,
        size: u64,
    ) -> Result<Entry> {
        // The empty file of that name makes sure that nothing is replaced.
        drop(self.create(path)?);
        self.staging.keep(scratch, path)?;
        self.list(path, sha256, size)
    }

    /// Adds a payload file. `path` begins with `data/`.
    ///
    /// # Errors
    /// It cannot be written, or something has that place.
    pub fn add(&self, path: &str, bytes: &[u8]) -> Result<Entry> {
        self.write(path, bytes)?;
        self.list(path, Sha256Digest::of(bytes), bytes.len() as u64)
    }

    /// Adds to the manifest what was written below [`payload_dir`](Self::payload_dir).
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn list(&self, path: &str, sha256: Sha256Digest, size: u64) -> Result<Entry> {
        debug_assert!(path.starts_with("data/"), "{path}");
        let mut payload = lock(&self.payload);
        let manifest = payload.manifest.as_mut().ok_or_else(closed)?;
        manifest
            .write(line(sha256, path).as_bytes())
            .map_err(|e| FilesError::io("write", self.staging.path().join(MANIFEST), e))?;
        payload.files += 1;
        payload.bytes += size;
        Ok(Entry {
            path: path.to_owned(),
            sha256,
            size,
        })
    }

    /// Begins a payload file that grows; it is listed by [`end_stream`](Self::end_stream).
    ///
    /// # Errors
    /// It cannot be made.
    pub fn stream(&self, path: &str) -> Result<Stream> {
        Ok(Stream {
            path: path.to_owned(),
            hashed: Hashed::new(self.create(path)?),
        })
    }

    /// Ends a growing file and lists it.
    ///
    /// # Errors
    /// It, or the manifest, cannot be written.
    pub fn end_stream(&self, stream: Stream) -> Result<Entry> {
        let Stream { path, hashed } = stream;
        let (sha256, size) = hashed
            .finish()
            .map_err(|e| FilesError::io("write", self.staging.path().join(&path), e))?;
        self.list(&path, sha256, size)
    }

    /// No more payload. Gives how much there is, and the manifest's digest.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn close_payload(&self) -> Result<(Oxum, Sha256Digest)> {
        let mut payload = lock(&self.payload);
        let manifest = payload.manifest.take().ok_or_else(closed)?;
        let (sha256, _) = manifest
            .finish()
            .map_err(|e| FilesError::io("write", self.staging.path().join(MANIFEST), e))?;
        let oxum = Oxum {
            bytes: payload.bytes,
            files: payload.files,
        };
        lock(&self.tags).push((MANIFEST.to_owned(), sha256));
        Ok((oxum, sha256))
    }

    /// Adds a tag file: one about the payload, anywhere but below `data/`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tag(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.write(path, bytes)?;
        lock(&self.tags).push((path.to_owned(), Sha256Digest::of(bytes)));
        Ok(())
    }

    /// Writes the declaration and the manifest of all tag files, and gives the latter: what is to be signed.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn seal(&self) -> Result<Vec<u8>> {
        self.tag(BAGIT_TXT, DECLARATION)?;
        let mut tags = std::mem::take(&mut *lock(&self.tags));
        tags.sort();
        let text: String = tags
            .iter()
            .map(|(path, sha256)| line(*sha256, path))
            .collect();
        self.write(TAGMANIFEST, text.as_bytes())?;
        Ok(text.into_bytes())
    }

    /// Writes a file that no manifest lists: a signature over one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn loose(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.write(path, bytes)
    }

    /// Where the bag's files lie until it is published.
    pub fn payload_dir(&self) -> &Path {
        self.staging.path()
    }

    /// The staging itself, for who writes whole directories of payload; each file is then to be [listed](Self::list).
    pub(crate) fn staging(&self) -> &Arc<Staging> {
        &self.staging
    }

    /// Gives the bag its name.
    ///
    /// # Errors
    /// Something came to be there meanwhile, or it cannot be made durable.
    pub fn publish(self) -> Result<Published> {
        let staging = Arc::into_inner(self.staging)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "something still works in the bag"))?;
        Ok(staging.publish()?)
    }

    fn create(&self, path: &str) -> Result<File> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.staging.ensure_private_dir(parent)?;
        }
        Ok(self.staging.create_file(path, MODE)?)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(path)?;
        file.write_all(bytes)
            .map_err(|e| FilesError::io("write", self.staging.path().join(path), e).into())
    }
}

/// A manifest's line. In a path LF, CR and `%` are encoded (RFC 8493 section 2.1.3).
fn line(sha256: Sha256Digest, path: &str) -> String {
    format!("{sha256}  {}\n", super::manifest::encode_path(path))
}

fn closed() -> Error {
    Error::new(ErrorKind::Bug, "payload was added to a bag that is closed")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lines of `bag-info.txt` (RFC 8493 section 2.2.2): one `Label: Value` each.
pub fn bag_info(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = String::new();
    for (label, value) in fields {
        // A line break would begin another field.
        let value: String = value
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        out.push_str(label);
        out.push_str(": ");
        out.push_str(value.trim());
        out.push('\n');
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path)
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    }

    #[test]
    fn a_bag_lists_every_file_and_belongs_to_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("bag");
        let bag = Bag::begin(&dest).unwrap();
        bag.add("data/a/b.json", b"{}").unwrap();
        let mut spool = bag.scratch("spool").unwrap();
        spool.write_all(b"zip").unwrap();
        bag.keep("spool", "data/a/c/package.zip", Sha256Digest::of(b"zip"), 3)
            .unwrap();
        let mut stream = bag.stream("data/log.jsonl").unwrap();
        stream.write(b"1\n").unwrap();
        stream.write(b"2\n").unwrap();
        bag.end_stream(stream).unwrap();
        let (oxum, manifest) = bag.close_payload().unwrap();
        assert_eq!(oxum.to_string(), "9.3");
        assert!(bag.add("data/late", b"").is_err());
        bag.tag(BAG_INFO, &bag_info(&[("Payload-Oxum", "9.3")]))
            .unwrap();
        let sealed = bag.seal().unwrap();
        bag.loose(SIGNATURE, b"sig").unwrap();
        bag.publish().unwrap();

        let read = |name: &str| std::fs::read(dest.join(name)).unwrap();
        assert_eq!(Sha256Digest::of(&read(MANIFEST)), manifest);
        assert_eq!(read(TAGMANIFEST), sealed);
        let text = String::from_utf8(sealed).unwrap();
        let names: Vec<&str> = text.lines().map(|l| &l[66..]).collect();
        assert_eq!(names, [BAG_INFO, BAGIT_TXT, MANIFEST]);
        for (path, expected) in [
            ("", 0o700),
            ("data", 0o700),
            ("data/a/c", 0o700),
            ("data/a/c/package.zip", 0o400),
            ("data/log.jsonl", 0o400),
            (MANIFEST, 0o400),
            (SIGNATURE, 0o400),
        ] {
            assert_eq!(mode(&dest.join(path)), expected, "{path}");
        }
    }

    #[test]
    fn nothing_is_written_twice_or_over_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("bag");
        let bag = Bag::begin(&dest).unwrap();
        bag.add("data/a", b"1").unwrap();
        assert!(bag.add("data/a", b"2").is_err());
        bag.scratch("s").unwrap();
        assert!(bag.keep("s", "data/a", Sha256Digest::of(b""), 0).is_err());
        assert!(bag.add("data/../b", b"2").is_err());
        drop(bag);
        assert!(!dest.exists());
        std::fs::create_dir(&dest).unwrap();
        std::fs::write(dest.join("x"), "x").unwrap();
        let error = Bag::begin(&dest).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DestinationExists);
        assert!(error.hint_text().unwrap().contains("another directory"));
    }

    #[test]
    fn a_field_is_one_line() {
        let text = bag_info(&[("Contact-Name", "a\nPayload-Oxum: 0.0\r")]);
        assert_eq!(text, b"Contact-Name: a Payload-Oxum: 0.0\n");
    }
}
