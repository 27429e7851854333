//! What a writer does so that no prune takes what it refers to. The proof is in `docs/store.md`, "Writers and prunes".
//!
//! 1. Before it looks at anything, it lists the marks and the records of prunes.
//! 2. Of each blob that it puts, or finds there, it renews the mark, if the list has one.
//! 3. When a record of a prune has come or changed since, it waits until that prune has ended, and looks whether all that
//!    its run refers to is there: before the run appears, and once more after it.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::blob::BLOBS;
use super::objects::{MARKS, Object, PRUNES};
use super::references::References;
use super::run::RunName;
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};

/// The longest that a prune deletes under one record; it then writes another one.
pub(super) const ROUND: Duration = Duration::from_secs(10);
/// A record of this age whose prune has not said that it ended is of a dead one: nothing that it asked for is under way.
pub(super) const DEAD: Duration = Duration::from_secs(15);
/// How often a record is looked at while it has not ended.
const LOOK: Duration = Duration::from_millis(500);

/// What a writer knows of marks and prunes.
#[derive(Debug, Default)]
pub(super) struct Guard {
    marked: Mutex<HashSet<Sha256Digest>>,
    /// The records by their names; None before the watch began.
    prunes: Mutex<Option<BTreeMap<String, String>>>,
}

/// A record of a prune.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PruneRecord {
    /// The prune's grace in seconds.
    pub(super) grace_seconds: u64,
    /// Whether it deletes no more under this record.
    pub(super) ended: bool,
}

impl Store {
    /// Begins to watch for prunes: before anything is looked at that is to be referred to.
    pub(super) async fn watch(&self) -> Result<()> {
        // In this order: a prune that ends between the two has a record that changes.
        let prunes = self.list(PRUNES).await?;
        let marks = self.list(MARKS).await?;
        // Who watches already has seen more.
        lock(&self.guard.prunes).get_or_insert_with(|| states(prunes));
        lock(&self.guard.marked).extend(marks.iter().filter_map(|m| digest_of(&m.name)));
        Ok(())
    }

    /// Renews the mark of a blob that is to be referred to, if there was one when the watch began.
    pub(super) async fn renew_mark(&self, digest: &Sha256Digest) -> Result<()> {
        let marked = lock(&self.guard.marked).contains(digest);
        if marked {
            self.put_over(&mark_file(digest), mark()).await?;
            lock(&self.guard.marked).remove(digest);
        }
        Ok(())
    }

    /// Makes sure that what a run refers to is there, when a prune deleted something since the watch began or this was
    /// last asked. `json` is the run.
    pub(super) async fn settle(&self, json: &[u8], name: &RunName) -> Result<()> {
        let records = self.list(PRUNES).await?;
        if records.is_empty() {
            return Ok(());
        }
        let mut changed = false;
        // The run's own blob was just written: that is what the store's clock said a moment ago.
        let own = Sha256Digest::of(json).hex();
        let own = self.list_range(BLOBS, &own, &own).await?;
        let now = own.first().map_or_else(Timestamp::now, |own| own.written);
        for record in &records {
            let known = lock(&self.guard.prunes)
                .as_ref()
                .and_then(|all| all.get(&record.name).cloned());
            changed |= known.as_ref() != Some(&record.state);
            let age = Duration::try_from(now.duration_since(record.written)).unwrap_or_default();
            changed |= self.wait_for(record, DEAD.saturating_sub(age)).await?;
        }
        if changed {
            // As they are after the waiting.
            let now = states(self.list(PRUNES).await?);
            *lock(&self.guard.prunes) = Some(now);
            self.is_all_there(json, name).await?;
        }
        Ok(())
    }

    /// Waits at most so long for the end of a prune's record, and answers whether it was to come.
    async fn wait_for(&self, record: &Object, at_most: Duration) -> Result<bool> {
        let file = format!("{PRUNES}/{}", record.name);
        let since = Instant::now();
        let mut waited = false;
        while since.elapsed() < at_most {
            match self.read(&file).await? {
                Some(bytes) if !has_ended(&bytes) => {}
                _ => break,
            }
            if !waited {
                tracing::info!("{file}: a prune is deleting; waiting for its end");
            }
            waited = true;
            tokio::time::sleep(LOOK).await;
        }
        Ok(waited)
    }

    async fn is_all_there(&self, json: &[u8], name: &RunName) -> Result<()> {
        let mut wanted = References::default();
        self.follow_run(json, name, &mut wanted).await?;
        let mut sizes = std::collections::HashMap::new();
        self.each_object(BLOBS, |blob| {
            if let Some(digest) = digest_of(&blob.name) {
                sizes.insert(digest, blob.size);
            }
        })
        .await?;
        let lost = wanted
            .blobs()
            .filter(|(digest, want)| !want.optional && sizes.get(*digest) != Some(&want.size))
            .count();
        if lost == 0 && wanted.problems().is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Service,
            format!("a prune took {lost} blobs that this run refers to"),
        )
        .about(name.as_str())
        .hint(
            "run the backup again; and give store prune a grace that is longer than a backup takes",
        ))
    }
}

/// A record that cannot be read has not ended.
fn has_ended(bytes: &[u8]) -> bool {
    serde_json::from_slice::<PruneRecord>(bytes).is_ok_and(|record| record.ended)
}

fn states(objects: Vec<Object>) -> BTreeMap<String, String> {
    objects.into_iter().map(|o| (o.name, o.state)).collect()
}

/// Of a blob's or a mark's name.
pub(super) fn digest_of(name: &str) -> Option<Sha256Digest> {
    Sha256Digest::from_hex(name).ok()
}

pub(super) fn mark_file(digest: &Sha256Digest) -> String {
    format!("{MARKS}/{}", digest.hex())
}

/// What a mark says. What counts is when the store says that it was written.
pub(super) fn mark() -> Vec<u8> {
    format!("{{\"marked_at\":\"{:.3}\"}}\n", Timestamp::now()).into_bytes()
}

/// Nothing panics while such a lock is held.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
