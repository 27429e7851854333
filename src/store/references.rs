//! All that runs refer to: one walk over OCI indexes and manifests, shared by check, prune and whoever publishes.
//!
//! It does not care what a manifest is about. Every descriptor of an index or a manifest, of OCI or of Docker, is read and
//! followed, wherever it stands (`manifests`, `config`, `layers`, `blobs`, `subject`); everything else is a leaf. So a
//! pulled image is followed from the function that it belongs to, and so is what a later version of the format adds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde::Deserialize;

use super::Store;
use super::blob::BLOBS;
use super::manifest::{Descriptor, INDEX, REGION, RUN};
use super::run::{Run, RunName};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::image::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

/// How many documents are read at once.
const AT_ONCE: usize = 16;
/// The annotation that names what an entry is about.
const ARN: &str = "larder.arn";

/// A blob that is referred to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// The size it must have, in bytes.
    pub(super) size: u64,
    /// Who refers to it: the first one that was found.
    pub(super) by: Arc<str>,
    /// It may be absent: what an image's index offers beside what was pulled, and layers that no registry gives out.
    pub(super) optional: bool,
}

/// What hides references: a run or a document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// `lost`, `modified`, `unreadable`, `newer`.
    pub(super) kind: &'static str,
    /// Which file of the store.
    pub(super) path: String,
    /// What is wrong.
    pub(super) message: String,
}

/// All that was found so far. Runs can be added one after another; what they share is read once.
#[derive(Debug, Default)]
pub(super) struct References {
    blobs: HashMap<Sha256Digest, Reference>,
    read: HashSet<Sha256Digest>,
    problems: Vec<Problem>,
}

/// A descriptor as anybody may have written it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    annotations: Option<HashMap<String, String>>,
}

/// An index or a manifest as anybody may have written it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    artifact_type: Option<String>,
    manifests: Option<Vec<Link>>,
    config: Option<Link>,
    layers: Option<Vec<Link>>,
    blobs: Option<Vec<Link>>,
    subject: Option<Link>,
}

/// A document that is to be read.
struct Todo {
    digest: Sha256Digest,
    descriptor: Descriptor,
    by: Arc<str>,
    optional: bool,
}

impl References {
    /// The blobs.
    pub(super) fn blobs(&self) -> impl Iterator<Item = (&Sha256Digest, &Reference)> {
        self.blobs.iter()
    }

    /// Whether the blob is referred to.
    pub(super) fn contains(&self, digest: &Sha256Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    /// Why more may be referred to than was found.
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Forgets the problems, of runs of which nothing depends.
    pub(super) fn clear_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    fn problem(&mut self, kind: &'static str, path: String, message: String) {
        self.problems.push(Problem {
            kind,
            path,
            message,
        });
    }

    /// Takes in a descriptor, and answers what is to be read of it.
    fn add(&mut self, link: &Link, by: &Arc<str>, optional: bool) -> Option<Todo> {
        let by = match link.annotations.as_ref().and_then(|notes| notes.get(ARN)) {
            Some(arn) => Arc::from(arn.as_str()),
            None => Arc::clone(by),
        };
        let descriptor = Descriptor {
            media_type: link.media_type.clone(),
            artifact_type: None,
            digest: link.digest.clone(),
            size: link.size,
            annotations: std::collections::BTreeMap::new(),
        };
        let digest = match descriptor.sha256() {
            Ok(digest) => digest,
            Err(e) => {
                self.problem("unreadable", by.to_string(), e.to_string());
                return None;
            }
        };
        let optional = optional || is_not_given_out(&link.media_type);
        let reference = self.blobs.entry(digest).or_insert_with(|| Reference {
            size: link.size,
            by: Arc::clone(&by),
            optional,
        });
        reference.optional &= optional;
        (is_document(&link.media_type) && self.read.insert(digest)).then_some(Todo {
            digest,
            descriptor,
            by,
            optional,
        })
    }

    fn add_all(&mut self, document: Document, by: &Arc<str>, optional: bool) -> Vec<Todo> {
        // An index of larder's has all that it lists; an image's may offer more than was pulled.
        let own = matches!(document.artifact_type.as_deref(), Some(RUN | REGION));
        let offered = document.manifests.into_iter().flatten();
        let offered = offered.map(|link| (link, optional || !own));
        let parts = document.config.into_iter();
        let parts = parts.chain(document.layers.into_iter().flatten());
        let parts = parts.chain(document.blobs.into_iter().flatten());
        let parts = parts.map(|link| (link, optional));
        // What a manifest says it belongs to need not be here.
        let subject = document.subject.into_iter().map(|link| (link, true));
        offered
            .chain(parts)
            .chain(subject)
            .filter_map(|(link, optional)| self.add(&link, by, optional))
            .collect()
    }

    fn unreadable(&mut self, todo: &Todo, e: &Error) -> Result<()> {
        let path = format!("{BLOBS}/{}", todo.digest.hex());
        let message = format!("{}; {} refers to it", e.message(), todo.by);
        match e.kind() {
            ErrorKind::NotFound if todo.optional => {}
            ErrorKind::NotFound => self.problem("lost", path, message),
            ErrorKind::Mismatch => self.problem("modified", path, message),
            kind => return Err(Error::new(kind, e.message().to_owned()).about(path)),
        }
        Ok(())
    }
}

impl Store {
    /// Adds all that a run refers to, and the run's own bytes as a blob. `file` is where the run lies.
    ///
    /// # Errors
    /// The store cannot be read. What is wrong in it is no error but a [`Problem`].
    pub(super) async fn follow(
        &self,
        name: &RunName,
        file: &str,
        references: &mut References,
    ) -> Result<Option<Run>> {
        let bytes = match self.read(file).await {
            Ok(Some(bytes)) => bytes,
            // Forgotten since it was listed.
            Ok(None) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Mismatch => {
                references.problem("unreadable", file.to_owned(), e.message().to_owned());
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let run = match Run::from_json(&bytes, name) {
            Ok(run) => run,
            Err(e) => {
                let kind = match e.kind() {
                    ErrorKind::Usage => "newer",
                    _ => "unreadable",
                };
                references.problem(kind, file.to_owned(), e.message().to_owned());
                return Ok(None);
            }
        };
        self.follow_run(&bytes, name, references).await?;
        Ok(Some(run))
    }

    /// The same for the bytes of a run, which may not be published yet.
    pub(super) async fn follow_run(
        &self,
        bytes: &[u8],
        name: &RunName,
        references: &mut References,
    ) -> Result<()> {
        let by: Arc<str> = Arc::from(name.as_str());
        let own = Link {
            media_type: INDEX.to_owned(),
            digest: format!("sha256:{}", Sha256Digest::of(bytes).hex()),
            size: bytes.len() as u64,
            annotations: None,
        };
        // OCI tools find the run under its digest. Its bytes are at hand, be the blob there or not.
        references.add(&own, &by, false);
        let document = match serde_json::from_slice(bytes) {
            Ok(document) => document,
            Err(e) => {
                references.problem("unreadable", name.to_string(), e.to_string());
                return Ok(());
            }
        };
        let mut todo = references.add_all(document, &by, false);
        while !todo.is_empty() {
            let reading = todo.into_iter().map(|todo| async {
                let read = self.document(&todo.descriptor).await;
                let read = read.and_then(|bytes| parse(&bytes, &todo.descriptor.digest));
                (todo, read)
            });
            let mut reading = futures_util::stream::iter(reading).buffer_unordered(AT_ONCE);
            let mut next = Vec::new();
            while let Some((todo, read)) = reading.next().await {
                match read {
                    Ok(document) => {
                        next.extend(references.add_all(document, &todo.by, todo.optional));
                    }
                    Err(e) => references.unreadable(&todo, &e)?,
                }
            }
            todo = next;
        }
        Ok(())
    }
}

fn parse(bytes: &[u8], subject: &str) -> Result<Document> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(ErrorKind::Mismatch, "this is no OCI document")
            .about(subject)
            .because(e)
    })
}

fn is_document(media_type: &str) -> bool {
    matches!(
        media_type,
        OCI_INDEX | OCI_MANIFEST | DOCKER_LIST | DOCKER_MANIFEST
    )
}

/// Layers that may not be given out (OCI image specification, "non-distributable"; Docker's "foreign").
fn is_not_given_out(media_type: &str) -> bool {
    media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object_store::memory::InMemory;

    use super::*;
    use crate::store::manifest::{FUNCTION, Index, MANIFEST, Manifest};
    use crate::store::{PACKAGE, RECORD, RegionRef, Scope};

    async fn put(store: &Store, media_type: &str, bytes: &[u8]) -> Descriptor {
        store
            .put_document(media_type, bytes.to_vec())
            .await
            .unwrap()
    }

    /// A run with one function, whose manifest has a package and an image's index; of that one platform was pulled.
    async fn store() -> (Store, Run, Vec<Descriptor>) {
        let store = Store::bucket(Arc::new(InMemory::new()), "", "memory");
        let layer = put(&store, "application/vnd.oci.image.layer.v1.tar", b"layer").await;
        let config = put(&store, "application/vnd.oci.image.config.v1+json", b"{}").await;
        let image = Manifest::new("x", config.clone(), vec![layer.clone()]).to_json();
        let image = put(&store, DOCKER_MANIFEST, &image).await;
        let absent = Descriptor::new(MANIFEST, &Sha256Digest::of(b"arm64"), 5);
        let list = Index::new(None, vec![image.clone(), absent], BTreeMap::new()).to_json();
        let list = put(&store, DOCKER_LIST, &list).await;
        let package = put(&store, PACKAGE, b"zip").await;
        let record = put(&store, RECORD, b"{\"r\":1}").await;
        let files = vec![package.clone(), list.clone(), image.clone()];
        let function = Manifest::new(FUNCTION, record, files).to_json();
        let mut function = put(&store, MANIFEST, &function).await;
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:f:1";
        function.annotations.insert(ARN.to_owned(), arn.to_owned());
        let region = Index::new(Some(REGION), vec![function.clone()], BTreeMap::new()).to_json();
        let mut region = put(&store, INDEX, &region).await;
        region.artifact_type = Some(REGION.to_owned());
        let run = Run {
            name: RunName::parse("20260131T020304.005Z-ab").unwrap(),
            regions: vec![RegionRef {
                account: "123456789012".to_owned(),
                region: "us-east-1".to_owned(),
                scope: Scope::All,
                index: region.clone(),
            }],
            counts: BTreeMap::new(),
            part: None,
        };
        store.publish(&run).await.unwrap();
        let all = vec![layer, config, image, list, package, function, region];
        (store, run, all)
    }

    #[tokio::test]
    async fn an_image_is_followed_from_its_function() {
        let (store, run, all) = store().await;
        let mut found = References::default();
        let file = run.name.file();
        assert_eq!(
            store.follow(&run.name, &file, &mut found).await.unwrap(),
            Some(run)
        );
        assert_eq!(found.problems(), []);
        for descriptor in &all {
            let reference = &found.blobs[&descriptor.sha256().unwrap()];
            assert!(!reference.optional, "{descriptor:?}");
        }
        // The record, the run itself, and the platform that was not pulled.
        assert_eq!(found.blobs.len(), all.len() + 3);
        assert!(found.blobs[&Sha256Digest::of(b"arm64")].optional);
        assert!(
            found.blobs[&all[0].sha256().unwrap()]
                .by
                .ends_with("function:f:1")
        );
    }

    #[tokio::test]
    async fn what_hides_references_is_a_problem() {
        let (store, run, all) = store().await;
        let file = run.name.file();
        for (n, kind) in [(5, "lost"), (5, "modified"), (2, "lost")] {
            let name = format!("{BLOBS}/{}", all[n].sha256().unwrap().hex());
            let good = store.read(&name).await.unwrap().unwrap();
            match kind {
                "lost" => store.remove(&name).await.map(|_| ()).unwrap(),
                _ => store.put_over(&name, b"{}".to_vec()).await.unwrap(),
            }
            let mut found = References::default();
            store.follow(&run.name, &file, &mut found).await.unwrap();
            assert_eq!(found.problems()[0].kind, kind, "{found:?}");
            store.put_over(&name, good).await.unwrap();
        }
        let newer = String::from_utf8(run.to_json()).unwrap();
        let newer = newer.replace("\"larder.format\":\"1\"", "\"larder.format\":\"2\"");
        for (bytes, kind) in [(newer.as_str(), "newer"), ("{", "unreadable")] {
            store.put_over(&file, bytes.into()).await.unwrap();
            let mut found = References::default();
            let run = store.follow(&run.name, &file, &mut found).await.unwrap();
            assert_eq!((run, found.problems()[0].kind), (None, kind));
        }
    }
}
