//! Reading a layout again: every blob hashed, everything that is named looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::manifest::{self, Contents, Descriptor, Kind, MAX_MANIFEST, Manifest, OCI_INDEX};
use super::super::pull::PulledManifest;
use super::{BLOBS, INDEX_JSON, MAX_DEPTH, OCI_LAYOUT, blob_path};
use crate::digest::Sha256Digest;
use crate::error::{Error, Result};
use crate::files;
use crate::finding::{Finding, FindingKind};
use crate::package::Received;

/// What a layout was found to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Regular files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The digests of what `index.json` names: the images and indexes that the layout is about.
    pub roots: Vec<Sha256Digest>,
    /// The manifests and indexes that are there and as they should be, each after the one that names it.
    pub manifests: Vec<PulledManifest>,
    /// How many of them are indexes.
    pub indexes: usize,
    /// How many blobs lie in the layout, manifests among them, whether anything names them or not.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Manifests that an index names and that are not there: an image is pulled for one platform.
    pub elsewhere: Vec<Sha256Digest>,
    /// Foreign layers: not there, and not expected.
    pub foreign: Vec<Descriptor>,
    /// What is not as it should be, sorted by path.
    pub findings: Vec<Finding>,
}

/// Reads a layout again: every blob is hashed, and everything from `index.json` down must be there with the digest and the
/// size stated above it. `required` are manifests that must be there too, as a record names them; of other children of an
/// index, at least one must be there. `stop` is asked every 256 KiB.
///
/// # Errors
/// Only that `stop` said so ([`ErrorKind::Interrupted`](crate::error::ErrorKind::Interrupted)). Whatever is wrong with
/// the layout is a finding.
pub fn verify(dir: &Path, required: &[Sha256Digest], stop: &dyn Fn() -> bool) -> Result<Checked> {
    let mut reader = Reader {
        dir,
        stop,
        blobs: BTreeMap::new(),
        named: BTreeSet::new(),
        out: Checked::default(),
    };
    reader.hash_blobs()?;
    reader.top();
    for digest in required {
        if !reader.named.contains(digest) {
            let message = "the record names this manifest, and nothing in the layout does";
            reader.find(FindingKind::Missing, blob_path(*digest), message);
        } else if !reader.blobs.contains_key(digest) {
            let message = "the record names this manifest, and it is not there";
            reader.find(FindingKind::Missing, blob_path(*digest), message);
        }
    }
    let stray: Vec<_> = reader
        .blobs
        .keys()
        .filter(|digest| !reader.named.contains(*digest))
        .copied()
        .collect();
    for digest in stray {
        let message = "no manifest names this blob";
        reader.find(FindingKind::Unexpected, blob_path(digest), message);
    }
    let mut out = reader.out;
    out.findings.sort();
    out.findings.dedup();
    Ok(out)
}

struct Reader<'a> {
    dir: &'a Path,
    stop: &'a dyn Fn() -> bool,
    /// The blobs that are there, with their size; also those that are not what their name says.
    blobs: BTreeMap<Sha256Digest, Blob>,
    /// What something names.
    named: BTreeSet<Sha256Digest>,
    out: Checked,
}

#[derive(Debug, Clone, Copy)]
struct Blob {
    size: u64,
    /// Its bytes have the digest of its name.
    good: bool,
}

impl Reader<'_> {
    fn find(&mut self, kind: FindingKind, path: String, message: impl Into<String>) {
        self.out.findings.push(Finding {
            path,
            kind,
            message: message.into(),
        });
    }

    fn hash_blobs(&mut self) -> Result<()> {
        for name in files::names(self.dir) {
            if ![OCI_LAYOUT, INDEX_JSON, "blobs"].contains(&name.as_str()) {
                self.find(FindingKind::Unexpected, name, "this is no part of a layout");
            }
        }
        for name in files::names(&self.dir.join("blobs")) {
            if name != "sha256" {
                let message = "only SHA-256 names what larder keeps";
                self.find(FindingKind::Unexpected, format!("blobs/{name}"), message);
            }
        }
        for name in files::names(&self.dir.join(BLOBS)) {
            if (self.stop)() {
                return Err(Error::interrupted());
            }
            let path = format!("{BLOBS}/{name}");
            // Only lower-case hex is a digest's spelling in a path.
            let digest = Sha256Digest::from_hex(&name)
                .ok()
                .filter(|d| d.hex() == name);
            let Some(digest) = digest else {
                self.find(FindingKind::Unexpected, path, "this is no name of a blob");
                continue;
            };
            let read = files::open_read(&self.dir.join(&path))
                .map_err(Error::from)
                .and_then(|file| {
                    Received::read(file, self.stop)
                        .map_err(|e| files::io_error("cannot be read", e))
                });
            let received = match read {
                Ok(received) => received,
                Err(_) if (self.stop)() => return Err(Error::interrupted()),
                Err(e) => {
                    self.find(FindingKind::Unreadable, path, words(&e));
                    continue;
                }
            };
            self.out.files += 1;
            self.out.bytes += received.size();
            let good = received.sha256() == digest;
            if !good {
                let message = format!("its SHA-256 is {}", received.sha256());
                self.find(FindingKind::Modified, path, message);
            }
            let size = received.size();
            self.out.blobs += 1;
            self.out.blob_bytes += size;
            self.blobs.insert(digest, Blob { size, good });
        }
        Ok(())
    }

    /// The two files at the top, and everything below them.
    fn top(&mut self) {
        match self.small(OCI_LAYOUT) {
            Some(bytes) => {
                let version = serde_json::from_slice::<serde_json::Value>(&bytes)
                    .ok()
                    .and_then(|v| Some(v.get("imageLayoutVersion")?.as_str()?.to_owned()));
                if version.as_deref() != Some("1.0.0") {
                    let message = "it does not name version 1.0.0 of the layout";
                    self.find(FindingKind::Malformed, OCI_LAYOUT.to_owned(), message);
                }
            }
            None => self.absent(OCI_LAYOUT),
        }
        let Some(bytes) = self.small(INDEX_JSON) else {
            self.absent(INDEX_JSON);
            return;
        };
        let index = match Manifest::parse(&bytes, Some(OCI_INDEX)) {
            Ok(Manifest {
                kind: Kind::Index(roots),
                ..
            }) => roots,
            Ok(_) => {
                self.find(
                    FindingKind::Malformed,
                    INDEX_JSON.to_owned(),
                    "it is no index",
                );
                return;
            }
            Err(e) => {
                self.find(FindingKind::Malformed, INDEX_JSON.to_owned(), e.to_string());
                return;
            }
        };
        self.out.roots = index.iter().map(|root| root.digest).collect();
        for root in &index {
            if self.present(root, INDEX_JSON) {
                self.below(root, 0);
            }
        }
    }

    /// A small file at the top; None when it is not there, or was found to be unreadable.
    fn small(&mut self, name: &str) -> Option<Vec<u8>> {
        let path = self.dir.join(name);
        if !files::exists(&path) {
            return None;
        }
        match files::read_small(&path, MAX_MANIFEST) {
            Ok(bytes) => {
                self.out.files += 1;
                self.out.bytes += bytes.len() as u64;
                Some(bytes)
            }
            Err(e) => {
                self.find(FindingKind::Unreadable, name.to_owned(), words(&e.into()));
                None
            }
        }
    }

    fn absent(&mut self, name: &str) {
        if !files::exists(&self.dir.join(name)) {
            self.find(FindingKind::Missing, name.to_owned(), "it is not there");
        }
    }

    /// Whether what `above` names is there, with the size that is stated. A wrong digest was found already.
    fn present(&mut self, descriptor: &Descriptor, above: &str) -> bool {
        self.named.insert(descriptor.digest);
        let path = blob_path(descriptor.digest);
        match self.blobs.get(&descriptor.digest).copied() {
            None => {
                // What could not be read was found already, under the same path.
                if !self.out.findings.iter().any(|f| f.path == path) {
                    let message = format!("{above} names it, and it is not there");
                    self.find(FindingKind::Missing, path, message);
                }
                false
            }
            Some(blob) => {
                if blob.size != descriptor.size {
                    let message = format!(
                        "it has {} bytes where {above} states {}",
                        blob.size, descriptor.size
                    );
                    self.find(FindingKind::Modified, path, message);
                }
                blob.good
            }
        }
    }

    /// What a manifest or index that is there names.
    fn below(&mut self, descriptor: &Descriptor, depth: usize) {
        let path = blob_path(descriptor.digest);
        let known = |manifest: &PulledManifest| manifest.digest == descriptor.digest;
        if self.out.manifests.iter().any(known) {
            return;
        }
        // Other things than images may be listed in an index: they have no contents that larder knows.
        if !manifest::known(&descriptor.media_type) && depth > 0 {
            return;
        }
        if depth > MAX_DEPTH {
            let message = format!("indexes stand in each other more than {MAX_DEPTH} deep");
            self.find(FindingKind::Malformed, path, message);
            return;
        }
        let bytes = match files::read_small(&self.dir.join(&path), MAX_MANIFEST) {
            Ok(bytes) => bytes,
            Err(e) => return self.find(FindingKind::Unreadable, path, words(&e.into())),
        };
        let manifest = match Manifest::parse(&bytes, Some(&descriptor.media_type)) {
            Ok(manifest) => manifest,
            Err(e) => return self.find(FindingKind::Malformed, path, e.to_string()),
        };
        self.out.manifests.push(PulledManifest {
            media_type: manifest.media_type.clone(),
            digest: descriptor.digest,
            size: bytes.len() as u64,
            platform: descriptor.platform.clone(),
        });
        match (&manifest.kind, manifest.contents()) {
            (Kind::Index(children), _) => {
                self.out.indexes += 1;
                let mut any = false;
                for child in children {
                    if self.blobs.contains_key(&child.digest) {
                        any = true;
                        if self.present(child, &path) {
                            self.below(child, depth + 1);
                        }
                    } else {
                        self.named.insert(child.digest);
                        self.out.elsewhere.push(child.digest);
                    }
                }
                if !any && !children.is_empty() {
                    let message = "none of the images that it names is there";
                    self.find(FindingKind::Missing, path, message);
                }
            }
            (Kind::Image { .. }, Ok(contents)) => {
                let Contents { blobs, foreign } = contents.unwrap_or_default();
                for blob in &blobs {
                    self.present(blob, &path);
                }
                for layer in &foreign {
                    if self.blobs.contains_key(&layer.digest) {
                        self.present(layer, &path);
                    } else {
                        self.out.foreign.push(layer.clone());
                    }
                }
            }
            (Kind::Image { .. }, Err(e)) => self.find(FindingKind::Malformed, path, e.to_string()),
        }
    }
}

/// An error and its causes in one line, without the path, which the finding has.
fn words(error: &Error) -> String {
    let mut out = error.message().to_owned();
    for cause in error.causes() {
        out.push_str(": ");
        out.push_str(&cause);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::super::{OCI_LAYOUT_JSON, index_json};
    use super::*;
    use crate::image::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};

    /// What is done to a layout whose manifest is at the path.
    type Change<'a> = &'a dyn Fn(&Path, &str);

    /// A layout in the making.
    struct Made(tempfile::TempDir);

    impl Made {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join(BLOBS)).unwrap();
            fs::write(dir.path().join(OCI_LAYOUT), OCI_LAYOUT_JSON).unwrap();
            Self(dir)
        }

        fn blob(&self, bytes: &[u8], media_type: &str) -> serde_json::Value {
            let digest = Sha256Digest::of(bytes);
            fs::write(self.0.path().join(blob_path(digest)), bytes).unwrap();
            json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
        }

        fn image(&self, name: &str, media_type: &str) -> serde_json::Value {
            let config = self.blob(format!("{{\"os\":\"{name}\"}}").as_bytes(), "c");
            let layers = [
                self.blob(b"shared", "l"),
                self.blob(name.as_bytes(), "l"),
                self.blob(b"", "l"),
            ];
            let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
            self.blob(manifest.to_string().as_bytes(), media_type)
        }

        fn root(self, root: &serde_json::Value) -> Self {
            let digest = digest(root);
            let size = root["size"].as_u64().unwrap();
            let json = index_json(root["mediaType"].as_str().unwrap(), digest, size);
            fs::write(self.0.path().join(INDEX_JSON), json).unwrap();
            self
        }

        fn check(&self, required: &[Sha256Digest]) -> Checked {
            verify(self.0.path(), required, &|| false).unwrap()
        }

        /// Kind and path of each finding.
        fn findings(&self) -> Vec<(FindingKind, String)> {
            self.check(&[])
                .findings
                .into_iter()
                .map(|f| (f.kind, f.path))
                .collect()
        }
    }

    fn digest(descriptor: &serde_json::Value) -> Sha256Digest {
        descriptor["digest"].as_str().unwrap().parse().unwrap()
    }

    fn made() -> (Made, Sha256Digest) {
        let made = Made::new();
        let root = made.image("a", DOCKER_MANIFEST);
        let digest = digest(&root);
        (made.root(&root), digest)
    }

    #[test]
    fn a_whole_layout_has_no_findings() {
        let (made, root) = made();
        let checked = made.check(&[root]);
        assert_eq!(checked.findings, []);
        assert_eq!((checked.files, checked.blobs), (7, 5));
        let manifests: Vec<_> = checked.manifests.iter().map(|m| m.digest).collect();
        assert_eq!(manifests, [root]);
        assert_eq!(checked.roots, [root]);
    }

    #[test]
    fn an_index_may_lack_what_was_not_pulled_and_no_more() {
        let made = Made::new();
        let (amd, arm) = (
            made.image("amd", OCI_MANIFEST),
            made.image("arm", OCI_MANIFEST),
        );
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [amd, arm]});
        let root = made.blob(index.to_string().as_bytes(), OCI_INDEX);
        let made = made.root(&root);
        assert_eq!(made.check(&[]).findings, []);
        let lost = |descriptor| blob_path(digest(descriptor));
        fs::remove_file(made.0.path().join(lost(&arm))).unwrap();
        // Its config and its own layer are strays now.
        let kinds: Vec<_> = made.findings().into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [FindingKind::Unexpected; 2]);
        assert_eq!(made.check(&[]).elsewhere, [digest(&arm)]);
        let missing = (FindingKind::Missing, lost(&arm));
        let checked = made.check(&[digest(&arm)]);
        assert!(
            checked
                .findings
                .iter()
                .any(|f| (f.kind, f.path.clone()) == missing)
        );
        fs::remove_file(made.0.path().join(lost(&amd))).unwrap();
        assert!(
            made.findings()
                .contains(&(FindingKind::Missing, lost(&root)))
        );
    }

    #[test]
    fn every_change_is_found() {
        use FindingKind as K;
        let config = blob_path(Sha256Digest::of(b"{\"os\":\"a\"}"));
        let layer = blob_path(Sha256Digest::of(b"shared"));
        let cases: &[(&str, Change<'_>, K, &str)] = &[
            (
                "a flipped layer",
                &|d, _| fs::write(d.join(&layer), "Shared").unwrap(),
                K::Modified,
                &layer,
            ),
            (
                "a lost config",
                &|d, _| fs::remove_file(d.join(&config)).unwrap(),
                K::Missing,
                &config,
            ),
            (
                "a lost index",
                &|d, _| fs::remove_file(d.join(INDEX_JSON)).unwrap(),
                K::Missing,
                INDEX_JSON,
            ),
            (
                "a lost mark",
                &|d, _| fs::remove_file(d.join(OCI_LAYOUT)).unwrap(),
                K::Missing,
                OCI_LAYOUT,
            ),
            (
                "another mark",
                &|d, _| fs::write(d.join(OCI_LAYOUT), "{}").unwrap(),
                K::Malformed,
                OCI_LAYOUT,
            ),
            (
                "an index that is none",
                &|d, _| fs::write(d.join(INDEX_JSON), "x").unwrap(),
                K::Malformed,
                INDEX_JSON,
            ),
            (
                "a stray file",
                &|d, _| fs::write(d.join("x"), "").unwrap(),
                K::Unexpected,
                "x",
            ),
            (
                "a stray name",
                &|d, _| fs::write(d.join(BLOBS).join("X"), "").unwrap(),
                K::Unexpected,
                "blobs/sha256/X",
            ),
            (
                "a layer that is a directory",
                &|d, _| {
                    fs::remove_file(d.join(&layer)).unwrap();
                    fs::create_dir(d.join(&layer)).unwrap();
                },
                K::Unreadable,
                &layer,
            ),
            (
                "a manifest that was changed",
                &|d, root| fs::write(d.join(root), "{}").unwrap(),
                K::Modified,
                "ROOT",
            ),
            (
                "another size",
                &|d, root| {
                    let digest: Sha256Digest = root.rsplit('/').next().unwrap().parse().unwrap();
                    fs::write(d.join(INDEX_JSON), index_json(DOCKER_MANIFEST, digest, 1)).unwrap();
                },
                K::Modified,
                "ROOT",
            ),
            (
                "another type",
                &|d, root| {
                    let digest: Sha256Digest = root.rsplit('/').next().unwrap().parse().unwrap();
                    let size = fs::metadata(d.join(root)).unwrap().len();
                    fs::write(d.join(INDEX_JSON), index_json(OCI_MANIFEST, digest, size)).unwrap();
                },
                K::Malformed,
                "ROOT",
            ),
        ];
        for (name, change, kind, path) in cases {
            let (made, root) = made();
            let root = blob_path(root);
            change(made.0.path(), &root);
            let path = path.replace("ROOT", &root);
            let found = made.findings();
            assert!(found.contains(&(*kind, path)), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_blob_that_nothing_names_and_an_interrupt_are_told() {
        let (made, _) = made();
        let stray = made.blob(b"stray", "x");
        let path = blob_path(digest(&stray));
        assert_eq!(made.findings(), [(FindingKind::Unexpected, path)]);
        assert!(verify(made.0.path(), &[], &|| true).is_err());
        let nothing = verify(&made.0.path().join("none"), &[], &|| false).unwrap();
        let kinds: Vec<_> = nothing.findings.iter().map(|f| f.kind).collect();
        assert_eq!(kinds, [FindingKind::Missing; 2]);
    }
}
