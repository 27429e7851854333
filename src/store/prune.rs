//! Removes the blobs to which no run refers, in two phases: what is found unreferenced is marked; what was marked for as
//! long as the grace, and is still unreferenced, is deleted. Backups may be under way meanwhile: see `guard`, and the proof
//! in `docs/store.md`.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;

use super::Store;
use super::blob::BLOBS;
use super::check::Finding;
use super::guard::{DEAD, PruneRecord, ROUND, digest_of, mark, mark_file};
use super::objects::{FORGOTTEN, MARKS, Object, PRUNES};
use super::references::References;
use super::run::{RUNS, RunName};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::task::blocking;

/// How many objects are written or removed at once.
const AT_ONCE: usize = 16;
/// How many blobs are deleted at the most before marks and runs are looked at again.
const IN_A_ROUND: usize = 1000;
/// The longest that one file may take to be written.
const UPLOAD: Duration = Duration::from_secs(3600);
/// After so many refusals nothing else is tried: whoever asks may not delete here.
const REFUSALS: u64 = 100;
/// After so many rounds in a row in which nothing was done, a prune gives up.
const FRUITLESS: u32 = 3;
/// How long a record of a prune that ended is kept, for writers that were under way then.
const KEEP_RECORDS: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// What [`Store::prune`] is to do.
#[derive(Debug, Clone, Copy)]
pub struct PruneOptions {
    /// How long a blob must have been marked, and a run forgotten, before what only it refers to is deleted.
    pub grace: Duration,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// So many blobs of so many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub blobs: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
}

/// What a prune came to.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Why nothing was done: what is wrong in the store may hide references.
    pub refused: Vec<Finding>,
    /// How many runs there are.
    pub runs: u64,
    /// Blobs to which a run refers.
    pub referenced: Amount,
    /// Blobs that were marked now, of a dry run those that would be.
    pub marked: Amount,
    /// Blobs that were deleted, of a dry run those that would be.
    pub deleted: Amount,
    /// Blobs to which no run refers and whose grace is not over.
    pub waiting: Amount,
    /// When the grace of the first of them is over.
    pub next: Option<Timestamp>,
    /// Blobs that the store refused to delete.
    pub denied: Amount,
    /// Why.
    pub denial: Option<Error>,
    /// Temporary files of writers that died which were removed; of a store in a directory.
    pub temporaries: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes += bytes;
    }
}

struct Prune<'a> {
    store: &'a Store,
    options: PruneOptions,
    /// Names this prune.
    id: String,
    out: Pruned,
    /// What the runs refer to, and those that were forgotten within the grace.
    references: References,
    followed: HashSet<String>,
}

/// A blob to which nothing refers.
struct Candidate {
    digest: Sha256Digest,
    size: u64,
}

impl Store {
    /// Prunes. `id` names this prune: hex digits. `each` is told how many blobs of how many were deleted.
    ///
    /// # Errors
    /// The store cannot be read or written. That it refuses to delete is in [`Pruned::denied`].
    pub async fn prune(
        &self,
        options: PruneOptions,
        id: &str,
        each: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Pruned> {
        let prune = Prune {
            store: self,
            options,
            id: RunName::new(Timestamp::now(), id).to_string(),
            out: Pruned::default(),
            references: References::default(),
            followed: HashSet::new(),
        };
        Box::pin(prune.run(each)).await
    }
}

impl Prune<'_> {
    async fn run(mut self, each: &(dyn Fn(u64, u64) + Sync)) -> Result<Pruned> {
        let now = self.begin().await?;
        self.follow_runs().await?;
        if !self.out.refused.is_empty() {
            self.end(0).await?;
            return Ok(self.out);
        }
        // What only a forgotten run refers to is marked, but not deleted before the grace is over.
        let (mut unreferenced, mut young) = (Vec::new(), HashSet::new());
        let (references, out, grace) = (&self.references, &mut self.out, self.options.grace);
        let listing = self.store.each_object(BLOBS, |blob| {
            let Some(digest) = digest_of(&blob.name) else {
                return;
            };
            if references.contains(&digest) {
                out.referenced.add(blob.size);
                return;
            }
            if age(now, blob.written) < grace {
                young.insert(digest);
            }
            let size = blob.size;
            unreferenced.push(Candidate { digest, size });
        });
        listing.await?;
        unreferenced.sort_by_key(|blob| blob.digest.hex());
        self.follow_forgotten(now).await?;
        let marks = self.marks(&unreferenced).await?;
        let now = self.now(now).await?;

        let mut candidates = Vec::new();
        for blob in unreferenced {
            let marked = marks.get(&blob.digest).copied().unwrap_or(now);
            let held = self.references.contains(&blob.digest) || young.contains(&blob.digest);
            if held || age(now, marked) < grace {
                self.out.waiting.add(blob.size);
                let until = marked.saturating_add(grace).unwrap_or(Timestamp::MAX);
                if until > now {
                    self.out.next = Some(self.out.next.map_or(until, |next| next.min(until)));
                }
            } else {
                candidates.push(blob);
            }
        }
        if self.options.dry_run {
            for blob in candidates {
                self.out.deleted.add(blob.size);
            }
            return Ok(self.out);
        }
        let rounds = self.delete(candidates, each).await?;
        // A prune that refuses leaves the way back, too.
        if self.out.refused.is_empty() {
            self.tidy(now).await?;
        }
        self.end(rounds).await?;
        Ok(self.out)
    }

    /// Writes this prune's record, which says by its time what the store's clock is.
    async fn begin(&self) -> Result<Timestamp> {
        if self.options.dry_run {
            return Ok(Timestamp::now());
        }
        self.record(0, true).await?;
        self.now(Timestamp::UNIX_EPOCH).await
    }

    /// The store's clock, as of the last record; `before` where it cannot be told.
    async fn now(&self, before: Timestamp) -> Result<Timestamp> {
        if self.options.dry_run {
            return Ok(Timestamp::now());
        }
        self.record(0, true).await?;
        let name = self.record_name(0);
        let own = self.store.list_range(PRUNES, &name, &name).await?;
        Ok(own.first().map_or(before, |own| own.written.max(before)))
    }

    fn record_name(&self, round: usize) -> String {
        format!("{}.{round:06}.json", self.id)
    }

    async fn record(&self, round: usize, ended: bool) -> Result<()> {
        let record = PruneRecord {
            grace_seconds: self.options.grace.as_secs(),
            ended,
        };
        let json = serde_json::to_vec(&record).unwrap_or_default();
        let file = format!("{PRUNES}/{}", self.record_name(round));
        self.store.put_over(&file, json).await
    }

    /// Follows the runs that were not yet. What cannot be read is a reason to refuse.
    async fn follow_runs(&mut self) -> Result<()> {
        let runs = self.store.runs().await?;
        self.out.runs = runs.names.len() as u64;
        for name in &runs.names {
            let file = name.file();
            if self.followed.insert(file.clone()) {
                self.store.follow(name, &file, &mut self.references).await?;
            }
        }
        // A later version may name its runs in another way.
        let strange = runs
            .strange
            .into_iter()
            .filter(|path| path.rsplit_once('.').is_some_and(|(_, end)| end == "json"));
        let strange = strange.map(|path| Finding {
            kind: "strange",
            path,
            message: "this may be a run, and is none that can be read".to_owned(),
        });
        let problems = self.references.problems().iter().map(|problem| Finding {
            kind: problem.kind,
            path: problem.path.clone(),
            message: problem.message.clone(),
        });
        self.out.refused = strange.chain(problems).collect();
        Ok(())
    }

    /// Follows the runs that were forgotten within the grace: a backup that began before may build on them.
    async fn follow_forgotten(&mut self, now: Timestamp) -> Result<()> {
        for object in self.store.list(FORGOTTEN).await? {
            let name = object.name.strip_suffix(".json").and_then(RunName::parse);
            let file = format!("{FORGOTTEN}/{}", object.name);
            if let Some(name) = name
                && age(now, object.written) < self.options.grace
                && self.followed.insert(file.clone())
            {
                self.store
                    .follow(&name, &file, &mut self.references)
                    .await?;
                // One that cannot be read is one that no backup could build on.
                self.references.clear_problems();
            }
        }
        Ok(())
    }

    /// Brings the marks up to date: one for each unreferenced blob, none for others. Answers when each was set.
    async fn marks(
        &mut self,
        unreferenced: &[Candidate],
    ) -> Result<BTreeMap<Sha256Digest, Timestamp>> {
        let wanted: HashSet<Sha256Digest> = unreferenced.iter().map(|blob| blob.digest).collect();
        let (mut marks, mut needless) = (BTreeMap::new(), Vec::new());
        self.store
            .each_object(MARKS, |object| match digest_of(&object.name) {
                Some(digest) if wanted.contains(&digest) => {
                    marks.insert(digest, object.written);
                }
                Some(_) => needless.push(format!("{MARKS}/{}", object.name)),
                None => {}
            })
            .await?;
        let new: Vec<&Candidate> = unreferenced
            .iter()
            .filter(|blob| !marks.contains_key(&blob.digest))
            .collect();
        for blob in &new {
            self.out.marked.add(blob.size);
        }
        if self.options.dry_run {
            return Ok(marks);
        }
        let store = self.store;
        let put = new.into_iter().map(|blob| {
            let file = mark_file(&blob.digest);
            async move { store.put_new(&file, mark()).await }
        });
        let mut put = futures_util::stream::iter(put).buffer_unordered(AT_ONCE);
        while let Some(done) = put.next().await {
            done?;
        }
        drop(put);
        self.remove_all(needless).await?;
        Ok(marks)
    }

    /// Removes what nothing depends on. That it may not be removed is no failure.
    async fn remove_all(&self, files: Vec<String>) -> Result<()> {
        let removing = files
            .into_iter()
            .map(|file| async move { self.store.remove(&file).await });
        let mut removing = futures_util::stream::iter(removing).buffer_unordered(AT_ONCE);
        while let Some(removed) = removing.next().await {
            match removed {
                Err(e) if e.kind() != ErrorKind::AccessDenied => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes round by round; answers how many rounds there were.
    async fn delete(
        &mut self,
        candidates: Vec<Candidate>,
        each: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<usize> {
        let total = candidates.len() as u64;
        let mut left = candidates;
        let (mut round, mut fruitless) = (0, 0);
        while !left.is_empty() && self.out.denied.blobs < REFUSALS {
            round += 1;
            let before = left.len();
            let rest = left.split_off(left.len().min(IN_A_ROUND));
            let until = tokio::time::Instant::now() + ROUND;
            self.record(round, false).await?;
            let mut cut = true;
            let done = self.round(left, round, until, &mut cut).await;
            if cut || done.is_err() || tokio::time::Instant::now() >= until {
                // Requests that were given up may still be carried out.
                tokio::time::sleep(DEAD.saturating_sub(ROUND)).await;
            }
            self.record(round, true).await?;
            left = done?;
            left.extend(rest);
            fruitless = if left.len() == before {
                fruitless + 1
            } else {
                0
            };
            if fruitless == FRUITLESS {
                let error = Error::new(ErrorKind::Timeout, "the store is too slow to prune");
                return Err(error.about(self.store.name()));
            }
            if !self.out.refused.is_empty() {
                break;
            }
            each(self.out.deleted.blobs, total);
        }
        Ok(round)
    }

    /// One round: everything is looked at again, and then deleted, within [`ROUND`]. Answers what there was no time for. `cut` is
    /// left true where requests to delete were given up.
    async fn round(
        &mut self,
        mut blobs: Vec<Candidate>,
        round: usize,
        until: tokio::time::Instant,
        cut: &mut bool,
    ) -> Result<Vec<Candidate>> {
        let own = self.record_name(round);
        let own = self.store.list_range(PRUNES, &own, &own).await?;
        let Some(now) = own.first().map(|own| own.written) else {
            return Err(
                Error::new(ErrorKind::Service, "the record of this prune is gone")
                    .about(self.store.name()),
            );
        };
        self.follow_runs().await?;
        if !self.out.refused.is_empty() {
            *cut = false;
            return Ok(Vec::new());
        }
        self.follow_forgotten(now).await?;
        let (Some(first), Some(last)) = (blobs.first(), blobs.last()) else {
            return Ok(Vec::new());
        };
        let (first, last) = (first.digest.hex(), last.digest.hex());
        let marks = self.store.list_range(MARKS, &first, &last).await?;
        let ripe: HashSet<Sha256Digest> = marks
            .iter()
            .filter(|mark| age(now, mark.written) >= self.options.grace)
            .filter_map(|mark| digest_of(&mark.name))
            .collect();
        let mut kept = Amount::default();
        blobs.retain(|blob| {
            let go = ripe.contains(&blob.digest) && !self.references.contains(&blob.digest);
            if !go {
                kept.add(blob.size);
            }
            go
        });
        self.out.waiting.blobs += kept.blobs;
        self.out.waiting.bytes += kept.bytes;
        // Counted from before the record was put: writers count from then.
        if tokio::time::Instant::now() >= until {
            // Looking took so long that nothing may be deleted on it: the next round has only what is new to read.
            *cut = false;
            return Ok(blobs);
        }
        let store = self.store;
        let removing = blobs.iter().map(|blob| async move {
            let file = format!("{BLOBS}/{}", blob.digest.hex());
            (blob, store.remove(&file).await)
        });
        let mut removing = futures_util::stream::iter(removing).buffer_unordered(AT_ONCE);
        let (mut done, mut deleted, mut denied) =
            (HashSet::new(), Amount::default(), Amount::default());
        let mut unmarked = Vec::new();
        let (mut denial, mut failure) = (None, None);
        while let Ok(next) = tokio::time::timeout_at(until, removing.next()).await {
            let Some((blob, removed)) = next else {
                *cut = false;
                break;
            };
            match removed {
                Ok(_) => {
                    deleted.add(blob.size);
                    unmarked.push(mark_file(&blob.digest));
                }
                Err(e) if e.kind() == ErrorKind::AccessDenied => {
                    denied.add(blob.size);
                    denial.get_or_insert(e);
                    if denied.blobs >= REFUSALS {
                        break;
                    }
                }
                Err(e) => {
                    failure = Some(e);
                    break;
                }
            }
            done.insert(blob.digest);
        }
        drop(removing);
        self.out.deleted.blobs += deleted.blobs;
        self.out.deleted.bytes += deleted.bytes;
        self.out.denied.blobs += denied.blobs;
        self.out.denied.bytes += denied.bytes;
        if self.out.denial.is_none() {
            self.out.denial = denial;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.remove_all(unmarked).await?;
        blobs.retain(|blob| !done.contains(&blob.digest));
        Ok(blobs)
    }

    /// Removes forgotten runs whose grace is over, and what writers that died left in a directory.
    async fn tidy(&mut self, now: Timestamp) -> Result<()> {
        let over = |object: &Object, grace| age(now, object.written) >= grace;
        let forgotten = self.store.list(FORGOTTEN).await?;
        let forgotten = forgotten
            .iter()
            .filter(|object| over(object, self.options.grace));
        let mut old: Vec<String> = forgotten
            .map(|object| format!("{FORGOTTEN}/{}", object.name))
            .collect();
        let records = self.store.list(PRUNES).await?;
        let records = records.iter().filter(|object| over(object, KEEP_RECORDS));
        old.extend(records.map(|object| format!("{PRUNES}/{}", object.name)));
        self.remove_all(old).await?;
        if let Some(path) = self.store.local().map(ToOwned::to_owned) {
            // However short the grace: a file that is still being written is nobody's remains.
            let grace = self.options.grace.max(UPLOAD);
            let folders = ["", BLOBS, RUNS, FORGOTTEN, MARKS, PRUNES];
            self.out.temporaries =
                blocking(move || Ok(files::remove_stale_uploads(&path, &folders, grace)?)).await?;
        }
        Ok(())
    }

    /// Of this prune's records the last one stays, for writers that are under way.
    async fn end(&self, rounds: usize) -> Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        // A prune that deleted nothing concerns no writer, and leaves none.
        let others =
            (0..rounds.max(1)).map(|round| format!("{PRUNES}/{}", self.record_name(round)));
        self.remove_all(others.collect()).await
    }
}

/// How old something is. What is of the future is new.
fn age(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}
