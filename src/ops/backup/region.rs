//! One account and region of a backup.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use super::feed::{Feed, Item};
use super::layer::LayerHad;
use super::ledger::{Kind, Line, Tally, reason, status_of};
use super::package::Packages;
use super::prior::Prior;
use super::{BackupOptions, Versions};
use crate::aws::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter as _};
use crate::lambda::Lambda;
use crate::record::Status;
use crate::store::{Entry, RegionRef, Scope, Store};

/// How many functions are worked on at once in a region. The pacing decides how fast that is.
const JOBS: usize = 16;

/// A region's work.
pub(super) struct Job<'a> {
    pub(super) session: &'a Session,
    pub(super) lambda: Lambda,
    pub(super) account: &'a str,
    pub(super) store: &'a Store,
    pub(super) options: &'a BackupOptions,
    pub(super) tally: &'a Arc<Tally>,
    pub(super) cancel: &'a CancellationToken,
    pub(super) each: &'a (dyn Fn(&Line) + Sync),
    pub(super) spools: &'a Arc<Semaphore>,
    pub(super) packages: &'a Packages,
}

/// Why something was not done.
pub(super) enum Trouble {
    /// It is this one's.
    Own(Error),
    /// The credentials ended: nothing more can be asked, and what is done is kept.
    Credentials(Error),
    /// The store or this machine failed.
    Run(Error),
}

impl Trouble {
    /// A failure of AWS or of a transfer.
    pub(super) fn of(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NoCredentials | ErrorKind::CredentialsRefused => Self::Credentials(error),
            ErrorKind::Io | ErrorKind::DiskFull | ErrorKind::Bug | ErrorKind::Interrupted => {
                Self::Run(error)
            }
            _ => Self::Own(error),
        }
    }
}

/// What a region shares among its versions.
pub(super) struct Shared {
    pub(super) prior: Mutex<Prior>,
    pub(super) layers: Mutex<HashMap<String, Arc<OnceCell<LayerHad>>>>,
    /// The layers that go into this run's index.
    pub(super) layer_entries: Mutex<BTreeMap<Box<str>, Entry>>,
}

/// How the listing ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Early,
}

impl Job<'_> {
    /// Backs up the region. None where it could not be listed, and of a dry run.
    ///
    /// # Errors
    /// The store failed, or this machine.
    pub(super) async fn run(self) -> Result<Option<RegionRef>> {
        let region = self.session.region();
        let prior = self.prior().await?;
        let tags = &self.options.selection.tags;
        let tagged = if tags.is_empty() {
            None
        } else {
            match self.session.functions_tagged(tags).await {
                Ok(tagged) => Some(tagged),
                Err(e) => return self.unlisted(e).map(|()| None),
            }
        };
        let shared = Shared {
            prior: Mutex::new(prior),
            layers: Mutex::default(),
            layer_entries: Mutex::default(),
        };
        let feed = Feed::new(
            &self.lambda,
            self.options,
            self.tally,
            &shared.prior,
            tagged,
        );
        let (mut entries, end) = self.work(feed, &shared).await?;
        if end == End::Whole {
            self.gone(&shared);
        }
        let layers = shared
            .layer_entries
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        entries.extend(layers.into_values());
        if self.options.dry_run || (end == End::Early && entries.is_empty()) {
            return Ok(None);
        }
        let scope = match end {
            End::Whole if self.is_everything() => Scope::All,
            _ => Scope::Part,
        };
        let put = self.store.put_region(self.account, region, scope, entries);
        Ok(Some(put.await?))
    }

    async fn prior(&self) -> Result<Prior> {
        if self.options.refresh {
            return Ok(Prior::default());
        }
        if self.options.dry_run {
            // There may be no store yet.
            match self.store.open().await {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Prior::default()),
                Err(e) => return Err(e),
            }
        }
        let region = self.session.region();
        let prior = Prior::read(self.store, self.account, region, &**self.tally).await?;
        self.packages.know(prior.packages());
        Ok(prior)
    }

    /// Whether all functions and versions of the region are meant.
    fn is_everything(&self) -> bool {
        self.options.functions.is_empty()
            && self.options.selection.is_everything()
            && self.options.versions == Versions::All
    }

    async fn work(&self, feed: Feed<'_>, shared: &Shared) -> Result<(Vec<Entry>, End)> {
        let pages = futures_util::stream::unfold(Some(feed), |feed| async {
            let mut feed = feed?;
            match feed.next().await {
                Ok(Some(items)) => Some((items.into_iter().map(Ok).collect(), Some(feed))),
                Ok(None) => None,
                // Nothing comes after it.
                Err(e) => Some((vec![Err(e)], None)),
            }
        });
        let items = pages.flat_map(|items: Vec<Result<Item>>| futures_util::stream::iter(items));
        let work = items.map(|item| async {
            match item {
                Ok(item) => Ok(self.item(item, shared).await),
                Err(e) => Err(e),
            }
        });
        let mut work = pin!(work.buffer_unordered(JOBS));
        let mut entries = Vec::new();
        let mut end = End::Whole;
        loop {
            let next = tokio::select! {
                biased;
                () = self.cancel.cancelled() => {
                    end = End::Early;
                    break;
                }
                next = work.next() => next,
            };
            match next {
                None => break,
                Some(Ok(Ok(entry))) => entries.extend(entry),
                Some(Ok(Err(Trouble::Own(e)))) => {
                    return Err(Error::new(ErrorKind::Bug, "a failure has no line").because(e));
                }
                Some(Ok(Err(Trouble::Credentials(e)))) => {
                    self.tally.stop(e);
                    end = End::Early;
                    break;
                }
                Some(Ok(Err(Trouble::Run(e)))) => return Err(e),
                Some(Err(e)) => {
                    self.unlisted(e)?;
                    end = End::Early;
                }
            }
            if self.tally.is_stopped() {
                end = End::Early;
                break;
            }
        }
        Ok((entries, end))
    }

    async fn item(&self, item: Item, shared: &Shared) -> Result<Option<Entry>, Trouble> {
        match item {
            Item::Version { listed, ask, known } => {
                self.version(&listed, &ask, known.map(|k| *k), shared).await
            }
            Item::Aliases { ask, arn, known } => self.aliases(&ask, &arn, known.map(|k| *k)).await,
            Item::Unlisted { function, error } => {
                let line = Line {
                    kind: Kind::Function,
                    arn: function,
                    version: String::new(),
                    status: match status_of(error.kind()) {
                        // It was asked for by name: that it is not there is a failure.
                        Status::Gone => Status::Failed.name(),
                        status => status.name(),
                    },
                    bytes: None,
                    reason: Some(reason(&error)),
                };
                self.line(&line, Some(error));
                Ok(None)
            }
        }
    }

    /// The region cannot be listed, or no further: one line, not one for each function.
    fn unlisted(&self, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::NoCredentials => {
                self.tally.stop(error);
                return Ok(());
            }
            ErrorKind::Interrupted | ErrorKind::Bug => return Err(error),
            _ => {}
        }
        let line = Line {
            kind: Kind::Region,
            arn: self.session.region().to_owned(),
            version: String::new(),
            status: status_of(error.kind()).name(),
            bytes: None,
            reason: Some(reason(&error)),
        };
        self.tally.report(&Event::Warning {
            subject: self.session.region(),
            message: &format!("the region could not be listed: {error}"),
            hint: error.hint_text(),
        });
        self.line(&line, Some(error));
        Ok(())
    }

    /// What an earlier run had, is meant, and is not listed any more.
    fn gone(&self, shared: &Shared) {
        let left = super::region::lock(&shared.prior).left();
        for entry in left {
            let named = self.options.functions.is_empty()
                || self.options.functions.iter().any(|f| {
                    f.name() == entry.name() && f.qualifier().is_none_or(|q| q == entry.version())
                });
            // Tags of what is gone cannot be told.
            let selected = self.options.selection.matches_name(entry.name())
                && self.options.selection.tags.is_empty();
            if named && selected && self.options.versions.holds(entry.version()) {
                self.line(
                    &Line {
                        kind: Kind::Function,
                        arn: function_arn(&entry.arn).to_owned(),
                        version: entry.version().to_owned(),
                        status: Status::Gone.name(),
                        bytes: None,
                        reason: Some("it is no longer listed; earlier runs have it".to_owned()),
                    },
                    None,
                );
            }
        }
    }

    pub(super) fn line(&self, line: &Line, failure: Option<Error>) {
        self.tally.count(line, failure);
        (self.each)(line);
    }
}

/// An ARN without the version at its end.
pub(super) fn function_arn(arn: &str) -> &str {
    match arn.match_indices(':').nth(6) {
        Some((end, _)) => &arn[..end],
        None => arn,
    }
}

/// Nothing panics while such a lock is held.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
