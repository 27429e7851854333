//! Whether all that the runs refer to is in the store, and is what it should be.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;

use super::Store;
use super::blob::BLOBS;
use super::manifest::{Descriptor, INDEX, Manifest};
use super::run::{Run, RunName};
use crate::digest::Sha256Digest;
use crate::error::{ErrorKind, Result};

/// How many blobs are read at once.
const AT_ONCE: usize = 8;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `lost`, `size`, `modified`, `unreadable`, `newer`, `strange`, `index`.
    pub kind: &'static str,
    /// Which file of the store.
    pub path: String,
    /// What is wrong, and what that harms.
    pub message: String,
}

impl Finding {
    /// Whether something was lost by it. A stale `index.json` is made anew by the next backup, and a newer larder's runs
    /// are for it to check.
    pub fn is_damage(&self) -> bool {
        !matches!(self.kind, "index" | "newer" | "strange")
    }
}

/// What a check came to.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many runs there are.
    pub runs: u64,
    /// Blobs that runs refer to.
    pub blobs: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// Blobs that nothing refers to: left by runs that died.
    pub unreferenced: u64,
    /// Blobs whose bytes were read and hashed.
    pub read: u64,
}

/// What must be there: the size, and who refers to it first.
struct Wanted {
    size: u64,
    by: Box<str>,
}

impl Store {
    /// Checks the structure, and with `read_data` every byte. `each` is told of each thing that was looked at: how many of
    /// how many.
    ///
    /// # Errors
    /// The store cannot be listed or read. What is wrong in it is no error but a finding.
    pub async fn check(&self, read_data: bool, each: &dyn Fn(u64, u64)) -> Result<Checked> {
        let mut out = Checked::default();
        let mut wanted: HashMap<Sha256Digest, Wanted> = HashMap::new();
        let mut manifests: HashSet<Sha256Digest> = HashSet::new();
        let runs = self.runs().await?;
        for path in runs.strange {
            out.add("strange", path, "this is no run's file");
        }
        out.runs = runs.names.len() as u64;
        for name in &runs.names {
            self.walk(name, &mut wanted, &mut manifests, &mut out)
                .await?;
        }
        if !self.index_is_current(&runs.names).await? {
            out.add(
                "index",
                "index.json",
                "it does not name just the runs that there are; the next backup makes it anew",
            );
        }
        let sizes = self.blob_sizes(&mut out).await?;
        let mut missing = Vec::new();
        for (digest, want) in &wanted {
            match sizes.get(digest) {
                Some(size) if *size == want.size => {}
                Some(size) => missing.push((
                    digest,
                    want,
                    "size",
                    format!(
                        "it has {size} bytes where {} has it with {}",
                        want.by, want.size
                    ),
                )),
                None => missing.push((
                    digest,
                    want,
                    "lost",
                    format!("it is lost; {} refers to it", want.by),
                )),
            }
        }
        missing.sort_by_key(|(digest, ..)| digest.hex());
        let damaged: HashSet<Sha256Digest> = missing.iter().map(|(digest, ..)| **digest).collect();
        for (digest, _, kind, message) in missing {
            out.add(kind, format!("{BLOBS}/{}", digest.hex()), &message);
        }
        out.blobs = wanted.len() as u64;
        out.bytes = wanted.values().map(|want| want.size).sum();
        let referred = |digest: &&Sha256Digest| !wanted.contains_key(*digest);
        out.unreferenced = sizes.keys().filter(referred).count() as u64;
        if read_data {
            let all: Vec<_> = wanted
                .iter()
                .filter(|(digest, _)| !damaged.contains(*digest))
                .collect();
            self.read_all(all, each, &mut out).await?;
        }
        out.findings.sort_by(|a, b| a.path.cmp(&b.path));
        out.findings.dedup();
        Ok(out)
    }

    /// All that a run refers to.
    async fn walk(
        &self,
        name: &RunName,
        wanted: &mut HashMap<Sha256Digest, Wanted>,
        manifests: &mut HashSet<Sha256Digest>,
        out: &mut Checked,
    ) -> Result<()> {
        let bytes = self.run_bytes(name).await?;
        let run = match Run::from_json(&bytes, name) {
            Ok(run) => {
                // OCI tools find the run under its digest.
                let own = Descriptor::new(INDEX, &Sha256Digest::of(&bytes), bytes.len() as u64);
                want(wanted, &own, name.as_str(), out);
                run
            }
            Err(e) if e.kind() == ErrorKind::Usage => {
                out.add("newer", name.file(), e.message());
                return Ok(());
            }
            Err(e) if e.kind() == ErrorKind::Mismatch => {
                out.add("unreadable", name.file(), e.message());
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        for region in &run.regions {
            let by = format!("{name} ({} {})", region.account, region.region);
            want(wanted, &region.index, name.as_str(), out);
            let digest = region.index.sha256();
            if digest.is_ok_and(|digest| !manifests.insert(digest)) {
                continue;
            }
            let entries = match self.entries(region).await {
                Ok(entries) => entries,
                Err(e) => {
                    out.unreadable(&region.index, &e, &by)?;
                    continue;
                }
            };
            let new = entries
                .iter()
                .filter(|entry| manifests.insert(entry.manifest));
            let reading = futures_util::stream::iter(new.map(|entry| async move {
                let descriptor = entry.descriptor();
                let read = self.document(&descriptor).await;
                let read = read.and_then(|bytes| Manifest::from_json(&bytes, &descriptor.digest));
                (entry, descriptor, read)
            }));
            let mut reading = reading.buffer_unordered(AT_ONCE);
            while let Some((entry, descriptor, read)) = reading.next().await {
                want(wanted, &descriptor, &entry.arn, out);
                match read {
                    Ok(manifest) => {
                        manifest
                            .blobs()
                            .for_each(|blob| want(wanted, blob, &entry.arn, out));
                    }
                    Err(e) => out.unreadable(&descriptor, &e, &entry.arn)?,
                }
            }
        }
        Ok(())
    }

    async fn blob_sizes(&self, out: &mut Checked) -> Result<HashMap<Sha256Digest, u64>> {
        let mut sizes = HashMap::new();
        let mut blobs = self.objects.list(Some(&Path::from(BLOBS)));
        while let Some(blob) = blobs.try_next().await.map_err(|e| self.failed(e, BLOBS))? {
            let name = blob.location.filename().unwrap_or_default();
            match Sha256Digest::from_hex(name) {
                Ok(digest) => {
                    sizes.insert(digest, blob.size);
                }
                Err(_) => out.add(
                    "strange",
                    blob.location.to_string(),
                    "this is no blob's name",
                ),
            }
        }
        Ok(sizes)
    }

    async fn read_all(
        &self,
        all: Vec<(&Sha256Digest, &Wanted)>,
        each: &dyn Fn(u64, u64),
        out: &mut Checked,
    ) -> Result<()> {
        let total = all.len() as u64;
        let reading =
            futures_util::stream::iter(all.into_iter().map(|(digest, want)| async move {
                (digest, want, self.examine(digest, want.size).await)
            }));
        let mut reading = reading.buffer_unordered(AT_ONCE);
        while let Some((digest, want, problem)) = reading.next().await {
            out.read += 1;
            each(out.read, total);
            if let Some(problem) = problem? {
                let path = format!("{BLOBS}/{}", digest.hex());
                out.add(
                    "modified",
                    path,
                    &format!("{problem}; {} refers to it", want.by),
                );
            }
        }
        Ok(())
    }
}

fn want(
    wanted: &mut HashMap<Sha256Digest, Wanted>,
    descriptor: &Descriptor,
    by: &str,
    out: &mut Checked,
) {
    match descriptor.sha256() {
        Ok(digest) => {
            wanted.entry(digest).or_insert_with(|| Wanted {
                size: descriptor.size,
                by: by.into(),
            });
        }
        Err(e) => out.add("unreadable", by.to_owned(), &e.to_string()),
    }
}

impl Checked {
    /// Whether nothing was lost.
    pub fn is_sound(&self) -> bool {
        !self.findings.iter().any(Finding::is_damage)
    }

    fn add(&mut self, kind: &'static str, path: impl Into<String>, message: &str) {
        self.findings.push(Finding {
            kind,
            path: path.into(),
            message: message.to_owned(),
        });
    }

    /// A document that cannot be read. One that is lost is found by its name later on.
    fn unreadable(
        &mut self,
        descriptor: &Descriptor,
        e: &crate::error::Error,
        by: &str,
    ) -> Result<()> {
        match e.kind() {
            ErrorKind::NotFound => Ok(()),
            ErrorKind::Mismatch => {
                let hex = descriptor.digest.trim_start_matches("sha256:");
                let message = format!("{}; {by} refers to it", e.message());
                self.add("modified", format!("{BLOBS}/{hex}"), &message);
                Ok(())
            }
            kind => Err(crate::error::Error::new(kind, e.message().to_owned()).about(by)),
        }
    }
}
