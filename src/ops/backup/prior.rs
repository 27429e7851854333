//! What the store knows of an account and region from earlier runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::error::Result;
use crate::events::{Event, Reporter};
use crate::store::{Entry, Run, RunName, Scope, Store, Subject, concerns_one_run};

/// How many runs that had a part of the region are looked at for one that had the whole.
const PARTS_BACK: usize = 100;
/// How many runs are looked at all in all: one night of many machines makes as many.
const RUNS_BACK: usize = 2000;

/// The runs that there were when this one began, each read once for all accounts and regions, and only as far back as any of
/// them needs.
pub(in crate::ops) struct History {
    /// Newest first.
    names: Vec<RunName>,
    /// Those that were read so far; None where one cannot be used.
    read: Mutex<Vec<Option<Arc<Run>>>>,
}

impl History {
    /// Reads the names.
    pub(in crate::ops) async fn of(store: &Store) -> Result<Self> {
        let mut names = store.runs().await?.names;
        names.reverse();
        names.truncate(RUNS_BACK);
        Ok(Self {
            names,
            read: Mutex::default(),
        })
    }

    /// Of no store.
    pub(super) fn empty() -> Self {
        Self {
            names: Vec::new(),
            read: Mutex::default(),
        }
    }

    /// The accounts and regions of all of them.
    pub(in crate::ops) async fn places(
        &self,
        store: &Store,
        reporter: &dyn Reporter,
    ) -> Result<BTreeSet<(String, String)>> {
        let mut places = BTreeSet::new();
        for index in 0..self.names.len() {
            if let Had::Run(run) = self.run(store, index, reporter).await? {
                let of_run = run.regions.iter();
                places.extend(of_run.map(|r| (r.account.clone(), r.region.clone())));
            }
        }
        Ok(places)
    }

    /// The `index`th run, counted from the newest. One that cannot be used is warned about, once.
    async fn run(&self, store: &Store, index: usize, reporter: &dyn Reporter) -> Result<Had> {
        let mut read = self.read.lock().await;
        while read.len() <= index {
            let Some(name) = self.names.get(read.len()) else {
                return Ok(Had::End);
            };
            let run = match store.run(name).await {
                Ok(run) => Some(Arc::new(run)),
                Err(e) if concerns_one_run(&e) => {
                    warn(name, &e, reporter);
                    None
                }
                Err(e) => return Err(e),
            };
            read.push(run);
        }
        Ok(match read.get(index) {
            Some(Some(run)) => Had::Run(Arc::clone(run)),
            Some(None) => Had::Unusable,
            None => Had::End,
        })
    }
}

/// A run of the history.
enum Had {
    Run(Arc<Run>),
    /// It was warned about.
    Unusable,
    /// There are no more.
    End,
}

fn warn(name: &RunName, error: &crate::error::Error, reporter: &dyn Reporter) {
    reporter.report(&Event::Warning {
        subject: name.as_str(),
        message: &format!("this run cannot be used: {error}"),
        hint: Some("larder store check tells what is wrong with the store"),
    });
}

/// The newest entry of each ARN.
#[derive(Debug, Default)]
pub(in crate::ops) struct Prior {
    entries: HashMap<(Subject, Box<str>), Entry>,
}

impl Prior {
    /// Reads the runs, the newest first, until one that looked at all of the region. What cannot be read is warned about and
    /// counts as not there: it costs calls, and no backup.
    pub(in crate::ops) async fn read(
        store: &Store,
        history: &History,
        (account, region): (&str, &str),
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let mut prior = Self::default();
        let (mut index, mut parts, mut last) = (0, 0, String::new());
        loop {
            let run = match history.run(store, index, reporter).await? {
                Had::Run(run) => run,
                Had::Unusable => {
                    index += 1;
                    continue;
                }
                Had::End => break,
            };
            index += 1;
            let Some(of_region) = run
                .regions
                .iter()
                .find(|r| r.account == account && r.region == region)
            else {
                continue;
            };
            // The joint run of several machines has what the run of one had.
            if of_region.index.digest == last {
                continue;
            }
            last.clone_from(&of_region.index.digest);
            match store.entries(of_region).await {
                Ok(entries) => prior.add(entries),
                Err(e) if concerns_one_run(&e) => {
                    warn(&run.name, &e, reporter);
                    continue;
                }
                Err(e) => return Err(e),
            }
            parts += 1;
            if of_region.scope == Scope::All || parts == PARTS_BACK {
                break;
            }
        }
        Ok(prior)
    }

    /// Older entries: those that are there stay.
    fn add(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let key = (entry.subject, entry.arn.clone());
            self.entries.entry(key).or_insert(entry);
        }
    }

    pub(super) fn get(&self, subject: Subject, arn: &str) -> Option<&Entry> {
        self.entries.get(&(subject, arn.into()))
    }

    pub(super) fn take(&mut self, subject: Subject, arn: &str) -> Option<Entry> {
        self.entries.remove(&(subject, arn.into()))
    }

    /// How many function versions there were.
    pub(super) fn functions(&self) -> u64 {
        let keys = self.entries.keys();
        keys.filter(|(subject, _)| *subject == Subject::Function)
            .count() as u64
    }

    /// The digests of all packages.
    pub(super) fn packages(&self) -> impl Iterator<Item = crate::digest::Sha256Digest> {
        self.entries.values().filter_map(|entry| entry.code)
    }

    /// All of them, in no order.
    pub(in crate::ops) fn into_entries(self) -> Vec<Entry> {
        self.entries.into_values().collect()
    }

    /// The function versions that nobody has taken, sorted.
    pub(super) fn left(&mut self) -> Vec<Entry> {
        let all = std::mem::take(&mut self.entries).into_values();
        let mut left: Vec<Entry> = all
            .filter(|entry| entry.subject == Subject::Function)
            .collect();
        left.sort_by(|a, b| a.arn.cmp(&b.arn));
        left
    }
}
