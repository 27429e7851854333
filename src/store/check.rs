//! Whether all that the runs refer to is in the store, and is what it should be.

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt as _;

use super::Store;
use super::blob::BLOBS;
use super::guard::digest_of;
use super::references::{Reference, References};
use crate::digest::Sha256Digest;
use crate::error::Result;

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

impl Store {
    /// Checks the structure, and with `read_data` every byte. `each` is told of each thing that was looked at: how many of
    /// how many.
    ///
    /// # Errors
    /// The store cannot be listed or read. What is wrong in it is no error but a finding.
    pub async fn check(&self, read_data: bool, each: &dyn Fn(u64, u64)) -> Result<Checked> {
        let mut out = Checked::default();
        let mut wanted = References::default();
        let runs = self.runs().await?;
        for path in runs.strange {
            out.add("strange", path, "this is no run's file");
        }
        out.runs = runs.names.len() as u64;
        for name in &runs.names {
            self.follow(name, &name.file(), &mut wanted).await?;
        }
        for problem in wanted.problems() {
            // What is lost is found by its name below.
            if problem.kind != "lost" {
                out.add(problem.kind, &*problem.path, &problem.message);
            }
        }
        if !self.index_is_current(&runs.names).await? {
            out.add(
                "index",
                "index.json",
                "it does not name just the runs that there are; the next backup makes it anew",
            );
        }
        let sizes = self.sizes(&mut out).await?;
        let mut missing = Vec::new();
        for (digest, want) in wanted.blobs() {
            match sizes.get(digest) {
                None if want.optional => {}
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
        let there = |(digest, _): &(&Sha256Digest, &Reference)| sizes.contains_key(*digest);
        let counts = |(digest, want): &(&Sha256Digest, &Reference)| {
            !want.optional || sizes.contains_key(*digest)
        };
        out.blobs = wanted.blobs().filter(counts).count() as u64;
        out.bytes = wanted
            .blobs()
            .filter(there)
            .map(|(_, want)| want.size)
            .sum();
        let referred = |digest: &&Sha256Digest| !wanted.contains(digest);
        out.unreferenced = sizes.keys().filter(referred).count() as u64;
        if read_data {
            let all: Vec<_> = wanted
                .blobs()
                .filter(there)
                .filter(|(digest, _)| !damaged.contains(*digest))
                .collect();
            self.read_all(all, each, &mut out).await?;
        }
        out.findings.sort_by(|a, b| a.path.cmp(&b.path));
        out.findings.dedup();
        Ok(out)
    }

    async fn sizes(&self, out: &mut Checked) -> Result<HashMap<Sha256Digest, u64>> {
        let mut sizes = HashMap::new();
        self.each_object(BLOBS, |blob| {
            if let Some(digest) = digest_of(&blob.name) {
                sizes.insert(digest, blob.size);
            } else {
                let path = format!("{BLOBS}/{}", blob.name);
                out.add("strange", path, "this is no blob's name");
            }
        })
        .await?;
        Ok(sizes)
    }

    /// The size of each blob in bytes.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn blob_sizes(&self) -> Result<HashMap<Sha256Digest, u64>> {
        self.sizes(&mut Checked::default()).await
    }

    async fn read_all(
        &self,
        all: Vec<(&Sha256Digest, &Reference)>,
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
}
