//! What the store knows of an account and region from earlier runs.

use std::collections::HashMap;

use crate::error::{ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::store::{Entry, Scope, Store, Subject};

/// How many runs back are looked at for one that had the whole region.
const RUNS_BACK: usize = 100;

/// The newest entry of each ARN.
#[derive(Debug, Default)]
pub(super) struct Prior {
    entries: HashMap<(Subject, Box<str>), Entry>,
}

impl Prior {
    /// Reads the runs, the newest first, until one that looked at all of the region. What cannot be read is warned about and
    /// counts as not there: it costs calls, and no backup.
    pub(super) async fn read(
        store: &Store,
        account: &str,
        region: &str,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let mut prior = Self::default();
        for name in store.runs().await?.names.iter().rev().take(RUNS_BACK) {
            let warn = |error: &crate::error::Error| {
                reporter.report(&Event::Warning {
                    subject: name.as_str(),
                    message: &format!("this run cannot be used: {error}"),
                    hint: Some("larder store check tells what is wrong with the store"),
                });
            };
            let run = match store.run(name).await {
                Ok(run) => run,
                Err(e) if is_of_the_run(e.kind()) => {
                    warn(&e);
                    continue;
                }
                Err(e) => return Err(e),
            };
            let Some(of_region) = run
                .regions
                .iter()
                .find(|r| r.account == account && r.region == region)
            else {
                continue;
            };
            match store.entries(of_region).await {
                Ok(entries) => prior.add(entries),
                Err(e) if is_of_the_run(e.kind()) => {
                    warn(&e);
                    continue;
                }
                Err(e) => return Err(e),
            }
            if of_region.scope == Scope::All {
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

    /// The digests of all packages.
    pub(super) fn packages(&self) -> impl Iterator<Item = crate::digest::Sha256Digest> {
        self.entries.values().filter_map(|entry| entry.code)
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

/// Whether a failure is one run's, and not the store's.
fn is_of_the_run(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Usage | ErrorKind::Mismatch | ErrorKind::NotFound
    )
}
