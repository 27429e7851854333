//! One account and region of a backup.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use jiff::civil::Date;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use super::estimate::{Estimate, of_function, of_version};
use super::feed::{Feed, Item};
use super::forecast::Forecast;
use super::layer::LayerHad;
use super::ledger::{ACCEPTED, Kind, Line, NOT_ATTEMPTED, Tally, reason, status_of};
use super::package::Packages;
use super::prior::{History, Prior};
use super::sides::is_scaled;
use super::units::OneAccount;
use super::{ACCEPTABLE, BackupOptions, Versions};
use crate::aws::Session;
use crate::drift::accept::Exceptions;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter as _};
use crate::function::FunctionRef;
use crate::image::Registries;
use crate::lambda::{Lambda, Listed, SideRead};
use crate::record::Status;
use crate::store::{Entry, RegionRef, Scope, Store};

/// How many functions are worked on at once in a region. The pacing decides how fast that is.
const JOBS: usize = 16;

/// A region's work.
pub(super) struct Job<'a> {
    pub(super) session: &'a Session,
    pub(super) lambda: Lambda,
    pub(super) registries: Registries,
    pub(super) account: &'a OneAccount,
    pub(super) history: &'a History,
    pub(super) store: &'a Store,
    pub(super) options: &'a BackupOptions,
    /// Calls a second of the shared budget.
    pub(super) max_rate: f64,
    pub(super) tally: &'a Arc<Tally>,
    pub(super) cancel: &'a CancellationToken,
    pub(super) each: &'a (dyn Fn(&Line) + Sync),
    pub(super) spools: &'a Arc<Semaphore>,
    pub(super) packages: &'a Packages,
    pub(super) exceptions: &'a Mutex<Exceptions>,
    pub(super) today: Date,
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
    /// Of a dry run: what there would be to ask.
    pub(super) estimate: Mutex<Estimate>,
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
        let shared = Shared {
            prior: Mutex::new(self.prior().await?),
            layers: Mutex::default(),
            estimate: Mutex::default(),
            layer_entries: Mutex::default(),
        };
        let tagged = match self.before_the_listing().await {
            Ok(tagged) => tagged,
            Err(e) => {
                self.unlisted(e)?;
                if self.account.stopped().is_some() {
                    self.never_listed(&shared);
                }
                return Ok(None);
            }
        };
        let before = lock(&shared.prior).functions();
        let forecast = Forecast::new(self.tally, before);
        let feed = Feed::new(
            &self.lambda,
            self.options,
            &forecast,
            self.tally,
            &shared,
            self.account,
            tagged,
        );
        let (mut entries, end) = self.work(feed, &shared).await?;
        forecast.ended();
        if self.account.stopped().is_some() {
            self.never_listed(&shared);
        } else if end == End::Whole {
            self.gone(&shared);
        }
        let layers = shared
            .layer_entries
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        entries.extend(layers.into_values());
        if self.options.dry_run {
            self.tally
                .planned_calls(&lock(&shared.estimate), self.max_rate);
        }
        if self.options.dry_run || (end == End::Early && entries.is_empty()) {
            return Ok(None);
        }
        let scope = match end {
            End::Whole if self.is_everything() => Scope::All,
            _ => Scope::Part,
        };
        let put = self
            .store
            .put_region(&self.account.number, region, scope, entries);
        Ok(Some(put.await?))
    }

    /// The functions that have the tags that are asked for, where any are; and it says how long the rest will take.
    async fn before_the_listing(&self) -> Result<Option<BTreeSet<String>>> {
        let tags = &self.options.selection.tags;
        let tagged = if tags.is_empty() {
            None
        } else {
            Some(self.session.functions_tagged(tags).await?)
        };
        if self.options.sides {
            self.say_how_long().await?;
        }
        Ok(tagged)
    }

    async fn prior(&self) -> Result<Prior> {
        let place = (self.account.number.as_str(), self.session.region());
        let prior = Prior::read(self.store, self.history, place, &**self.tally).await?;
        // With --refresh the store is looked at for each; what there was tells only what is gone or was not come to.
        if !self.options.refresh {
            self.packages.know(prior.packages());
        }
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
                Some(Ok(Err(Trouble::Credentials(e)))) => self.account.stop(e),
                Some(Ok(Err(Trouble::Run(e)))) => return Err(e),
                Some(Err(e)) => {
                    self.unlisted(e)?;
                    end = End::Early;
                }
            }
        }
        if self.account.stopped().is_some() {
            end = End::Early;
        }
        Ok((entries, end))
    }

    async fn item(&self, item: Item, shared: &Shared) -> Result<Vec<Entry>, Trouble> {
        let none = Vec::new();
        match item {
            Item::Version { listed, ask, known } => {
                if self.account.stopped().is_none() {
                    let known = known.map(|k| *k);
                    match self.version(&listed, &ask, known, shared).await {
                        Err(Trouble::Credentials(e)) => self.account.stop(e),
                        Err(trouble) => return Err(trouble),
                        Ok(entry) => {
                            let mut entries = Vec::from_iter(entry);
                            let beside = self.beside_version(&listed, &ask, shared).await;
                            entries.extend(self.unless_stopped(beside)?);
                            return Ok(entries);
                        }
                    }
                }
                self.not_attempted(listed.function_arn(), listed.version());
                Ok(none)
            }
            Item::Function { .. }
            | Item::Region
            | Item::Layer { .. }
            | Item::LayersUnlisted { .. }
                if self.account.stopped().is_some() =>
            {
                Ok(none)
            }
            Item::Function {
                ask,
                arn,
                image,
                known,
            } => {
                if self.options.dry_run {
                    let mut estimate = lock(&shared.estimate);
                    estimate.call("ListAliases", 1);
                    if self.options.sides {
                        estimate.reads(of_function(image));
                    }
                    return Ok(none);
                }
                let (aliases, names) = self.aliases(&ask, &arn, known.map(|k| *k)).await?;
                let mut entries = Vec::from_iter(aliases);
                if self.options.sides {
                    let of = (ask.as_str(), arn.as_str(), image);
                    let sides = self.sides_of_function(of, &names, shared).await;
                    entries.extend(self.unless_stopped(sides)?);
                }
                Ok(entries)
            }
            Item::Region => {
                if self.options.dry_run {
                    let mut estimate = lock(&shared.estimate);
                    estimate.reads(std::iter::once(SideRead::EventSourceMappings));
                    return Ok(none);
                }
                Ok(Vec::from_iter(self.sides_of_region(shared).await?))
            }
            Item::Layer { arn } => {
                self.layer_of_the_account(&arn, shared).await?;
                Ok(none)
            }
            Item::LayersUnlisted { error } => {
                self.unlisted_part("its layers", error)?;
                Ok(none)
            }
            Item::Unlisted { function, error } => {
                // A name or ARN, with a version or alias at its end or without.
                let named: Option<FunctionRef> = function.parse().ok();
                let version = named.as_ref().and_then(FunctionRef::qualifier);
                let bare = version.and_then(|version| {
                    let bare = function.strip_suffix(version)?;
                    bare.strip_suffix(':')
                });
                let line = Line {
                    kind: Kind::Function,
                    arn: bare.unwrap_or(&function).to_owned(),
                    version: version.unwrap_or_default().to_owned(),
                    status: match status_of(error.kind()) {
                        // It was asked for by name: that it is not there is a failure.
                        Status::Gone => Status::Failed.name(),
                        status => status.name(),
                    },
                    bytes: None,
                    reason: Some(reason(&error)),
                };
                self.line(&line, Some(error));
                Ok(none)
            }
        }
    }

    /// What came of a read beside something that is kept already: credentials that end with it end the account, and take
    /// nothing away from what is kept.
    fn unless_stopped(
        &self,
        sides: Result<Option<Entry>, Trouble>,
    ) -> Result<Option<Entry>, Trouble> {
        match sides {
            Err(Trouble::Credentials(e)) => {
                self.account.stop(e);
                Ok(None)
            }
            sides => sides,
        }
    }

    /// What is beside a version, where that is meant.
    async fn beside_version(
        &self,
        listed: &Listed,
        ask: &str,
        shared: &Shared,
    ) -> Result<Option<Entry>, Trouble> {
        if !self.options.sides || self.account.stopped().is_some() {
            return Ok(None);
        }
        if self.options.dry_run {
            let reads = of_version(listed.version(), is_scaled(listed));
            lock(&shared.estimate).reads(reads);
            return Ok(None);
        }
        self.sides_of_version(listed, ask, shared).await
    }

    /// The region cannot be listed, or no further: one line, not one for each function.
    fn unlisted(&self, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::NoCredentials | ErrorKind::CredentialsRefused => {
                self.account.stop(error);
                return Ok(());
            }
            ErrorKind::Interrupted | ErrorKind::Bug => return Err(error),
            _ => {}
        }
        self.region_line("the region could not be listed", error);
        Ok(())
    }

    /// A list of the region beside its functions: what there is of `what` is not known.
    pub(super) fn unlisted_part(&self, what: &str, error: Error) -> Result<(), Trouble> {
        match Trouble::of(error) {
            Trouble::Own(error) => {
                self.region_line(&format!("{what} could not be listed"), error);
                Ok(())
            }
            trouble => Err(trouble),
        }
    }

    fn region_line(&self, message: &str, error: Error) {
        let message = format!("{message}: {error}");
        let line = Line {
            kind: Kind::Region,
            arn: self.place(),
            version: String::new(),
            status: status_of(error.kind()).name(),
            bytes: None,
            reason: Some(reason(&error)),
        };
        self.tally.report(&Event::Warning {
            subject: &self.place(),
            message: &message,
            hint: error.hint_text(),
        });
        self.line(&line, Some(error));
    }

    /// `ACCOUNT/REGION`.
    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.account.number, self.session.region())
    }

    /// The credentials ended before this was asked about.
    fn not_attempted(&self, arn: &str, version: &str) {
        let line = Line {
            kind: Kind::Function,
            arn: arn.to_owned(),
            version: version.to_owned(),
            status: NOT_ATTEMPTED,
            bytes: None,
            reason: Some("the credentials had ended".to_owned()),
        };
        self.line(&line, None);
    }

    /// What an earlier run had and the listing did not come to, because the credentials ended.
    fn never_listed(&self, shared: &Shared) {
        for entry in lock(&shared.prior).left() {
            if self.is_meant(&entry) {
                self.not_attempted(entry.unversioned(), entry.version());
            }
        }
    }

    /// Whether what an earlier run had is what this one looks for.
    fn is_meant(&self, entry: &Entry) -> bool {
        let named = self.options.functions.is_empty()
            || self.options.functions.iter().any(|f| {
                f.name() == entry.name()
                    && f.qualifier().is_none_or(|q| q == entry.version())
                    && self
                        .options
                        .is_asked(f, self.account, self.session.region())
            });
        // Tags of what is gone cannot be told.
        named
            && self.options.selection.matches_name(entry.name())
            && self.options.selection.tags.is_empty()
            && self.options.versions.holds(entry.version())
    }

    /// What an earlier run had, is meant, and is not listed any more.
    fn gone(&self, shared: &Shared) {
        for entry in lock(&shared.prior).left() {
            if self.is_meant(&entry) {
                self.line(
                    &Line {
                        kind: Kind::Function,
                        arn: entry.unversioned().to_owned(),
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
        let (line, failure) = match self.accepted(line) {
            Some(accepted) => (Cow::Owned(accepted), None),
            None => (Cow::Borrowed(line), failure),
        };
        self.tally.count(&line, failure);
        (self.each)(&line);
    }

    /// The line of a failure that is known and accepted.
    fn accepted(&self, line: &Line) -> Option<Line> {
        if !matches!(line.kind, Kind::Function | Kind::Layer) || !ACCEPTABLE.contains(&line.status)
        {
            return None;
        }
        let versioned = format!("{}:{}", line.arn, line.version);
        let names = [line.arn.as_str(), versioned.as_str()];
        let found = lock(self.exceptions).find(&names, line.status, self.today)?;
        let why = line.reason.as_deref().unwrap_or_default();
        Some(Line {
            status: ACCEPTED,
            reason: Some(format!(
                "{}: {why}; accepted by {}: {}",
                line.status, found.place, found.reason
            )),
            ..line.clone()
        })
    }
}

/// Nothing panics while such a lock is held.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
