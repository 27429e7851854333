//! What became of everything: a line for each, the counts, and the calls.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::estimate::Estimate;
use crate::error::{Error, ErrorKind};
use crate::events::{Event, Reporter};
use crate::record::Status;
use crate::store::RunName;

/// The status of what was known to be there and was not asked about, because the credentials had ended.
pub(super) const NOT_ATTEMPTED: &str = "not_attempted";

/// The status of a failure that is known, and accepted by a line of `--accept`.
pub(super) const ACCEPTED: &str = "accepted";

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A function version.
    Function,
    /// A layer version.
    Layer,
    /// The aliases of a function, which could not be had.
    Aliases,
    /// What is beside the code of a function or version, of which something could not be had.
    Config,
    /// A region, which could not be listed, or not to its end.
    Region,
    /// An account, of which nothing could be asked, or nothing more.
    Account,
}

impl Kind {
    /// Its name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Layer => "layer",
            Self::Aliases => "aliases",
            Self::Config => "config",
            Self::Region => "region",
            Self::Account => "account",
        }
    }
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is about.
    pub kind: Kind,
    /// The ARN, without the version for a function; `ACCOUNT/REGION`; the ARN of an account's role, or its number.
    pub arn: String,
    /// The version; empty for aliases and regions.
    pub version: String,
    /// `saved`, `unchanged` and so on; `planned` of a dry run.
    pub status: &'static str,
    /// The size of its package, in bytes.
    pub bytes: Option<u64>,
    /// Why it is not saved, or what it lacks.
    pub reason: Option<String>,
}

/// What a dry run found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Calls to Lambda that a backup would make, those that the dry run made among them. With the reads beside the code they
    /// are at least so many: the policy of each alias comes on top.
    pub calls: BTreeMap<String, u64>,
    /// How long the calls take at the maximal rate, in seconds; the transfers come on top.
    pub seconds: f64,
    /// The same for each account and region.
    pub units: Vec<f64>,
    /// Packages that are not in the store, as far as the listing tells.
    pub downloads: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
}

impl Plan {
    /// The time of all units, `at_once` of them together: that of the longest, or of all in turn, whichever is more.
    pub(super) fn finish(&mut self, at_once: usize) {
        let at_once = u32::try_from(at_once.max(1)).unwrap_or(u32::MAX);
        let all: f64 = self.units.iter().sum();
        let longest = self.units.iter().copied().fold(0.0, f64::max);
        self.seconds = longest.max(all / f64::from(at_once));
    }
}

/// What a backup came to.
#[derive(Debug, Default)]
pub struct Backup {
    /// The run that was published; none where nothing could be listed, and of a dry run.
    pub run: Option<RunName>,
    /// Function versions by status. They add up to all that were listed, and those that are gone.
    pub counts: BTreeMap<String, u64>,
    /// Layer versions by status.
    pub layers: BTreeMap<String, u64>,
    /// Layer versions that were asked for by themselves and denied.
    pub layers_denied: u64,
    /// Functions whose aliases could not be had.
    pub aliases_failed: u64,
    /// Functions and versions of which something beside the code could not be had.
    pub configs_failed: u64,
    /// Lambda@Edge's replicas, whose masters are what there is to keep.
    pub replicas: u64,
    /// Bytes received, those received twice counted twice.
    pub bytes_downloaded: u64,
    /// Calls to Lambda by operation, each attempt counted.
    pub calls: BTreeMap<String, u64>,
    /// Of a shard: how far the shards of this backup are, and the joint run where all are there.
    pub joint: Option<crate::store::Sealed>,
    /// How long it took.
    pub elapsed: Duration,
    /// The first failure of anything.
    pub failure: Option<Error>,
    /// Regions that could not be listed.
    pub regions_failed: u64,
    /// Accounts whose role was refused, or whose credentials ended.
    pub accounts_failed: u64,
    /// Credentials ended, and could not be renewed: what was left was not attempted.
    pub stopped: Option<Error>,
    /// The user interrupted.
    pub interrupted: bool,
    /// Of a dry run.
    pub plan: Plan,
}

impl Backup {
    /// How many failed: partial, unavailable, denied, failed, aliases and regions.
    pub fn failures(&self) -> u64 {
        let of = |name: &str| self.counts.get(name).copied().unwrap_or_default();
        let layers = |name: &str| self.layers.get(name).copied().unwrap_or_default();
        let failed_layers = layers("failed") + layers("unavailable");
        let statuses = ["partial", "unavailable", "denied", "failed", NOT_ATTEMPTED];
        statuses.into_iter().map(of).sum::<u64>()
            + self.aliases_failed
            + self.configs_failed
            + self.regions_failed
            + self.accounts_failed
            + failed_layers
            + self.layers_denied
    }

    /// How many are as good as they can be.
    pub fn successes(&self) -> u64 {
        let of = |name: &str| self.counts.get(name).copied().unwrap_or_default();
        [
            "saved",
            "unchanged",
            "image",
            "planned",
            "partial",
            ACCEPTED,
        ]
        .into_iter()
        .map(of)
        .sum()
    }
}

/// Counts while the work goes on, and passes on what a person should see of it.
pub(super) struct Tally {
    reporter: Arc<dyn Reporter>,
    state: Mutex<Backup>,
    done: AtomicU64,
    failed: AtomicU64,
    expected: AtomicU64,
    /// Accounts and regions of which nobody knows yet how many versions they have.
    unknown: AtomicU64,
}

impl Tally {
    pub(super) fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self {
            reporter,
            state: Mutex::default(),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        }
    }

    /// So many accounts and regions there are.
    pub(super) fn units(&self, count: usize) {
        self.unknown.store(count as u64, Ordering::Relaxed);
    }

    /// In the place of `before` versions `now` are expected.
    pub(super) fn expect(&self, before: u64, now: u64) {
        self.expected.fetch_add(now, Ordering::Relaxed);
        self.expected.fetch_sub(before, Ordering::Relaxed);
    }

    /// Of one more account and region it is known how many versions it has.
    pub(super) fn is_known(&self) {
        self.unknown.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many versions are expected, and whether there may be any number more.
    pub(super) fn expected(&self) -> (u64, bool) {
        let unknown = self.unknown.load(Ordering::Relaxed);
        (self.expected.load(Ordering::Relaxed), unknown > 0)
    }

    pub(super) fn count(&self, line: &Line, failure: Option<Error>) {
        let mut state = self.state();
        let by_status = match line.kind {
            Kind::Function => Some(&mut state.counts),
            Kind::Layer => Some(&mut state.layers),
            Kind::Aliases => {
                state.aliases_failed += 1;
                None
            }
            Kind::Config => {
                state.configs_failed += 1;
                None
            }
            Kind::Region => {
                state.regions_failed += 1;
                None
            }
            Kind::Account => {
                state.accounts_failed += 1;
                None
            }
        };
        if let Some(by_status) = by_status {
            *by_status.entry(line.status.to_owned()).or_default() += 1;
        }
        if let Some(failure) = failure {
            state.failure.get_or_insert(failure);
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        let bytes = state.bytes_downloaded;
        drop(state);
        if line.kind == Kind::Function && line.status != Status::Gone.name() {
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            let (expected, growing) = self.expected();
            self.reporter.report(&Event::BackedUp {
                done,
                total: expected.max(done),
                growing,
                bytes,
                failed: self.failed.load(Ordering::Relaxed),
            });
        }
    }

    pub(super) fn replica(&self) {
        self.state().replicas += 1;
    }

    /// What an account and region would take; its calls at `max_rate`.
    pub(super) fn planned_calls(&self, estimate: &Estimate, max_rate: f64) {
        let mut state = self.state();
        for (operation, count) in estimate.calls() {
            *state.plan.calls.entry((*operation).to_owned()).or_default() += count;
        }
        let seconds = estimate.seconds(max_rate);
        state.plan.units.push(seconds);
    }

    pub(super) fn layer_denied(&self) {
        self.state().layers_denied += 1;
    }

    pub(super) fn downloaded(&self, bytes: u64) {
        self.state().bytes_downloaded += bytes;
    }

    pub(super) fn planned(&self, download: Option<u64>) {
        let mut state = self.state();
        if let Some(bytes) = download {
            state.plan.downloads += 1;
            state.plan.bytes += bytes;
        }
    }

    pub(super) fn into_backup(self: Arc<Self>, elapsed: Duration, interrupted: bool) -> Backup {
        let mut state = std::mem::take(&mut *self.state());
        state.elapsed = elapsed;
        state.interrupted = interrupted;
        state
    }

    fn state(&self) -> MutexGuard<'_, Backup> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the events of many packages at once only those that are for a person.
impl Reporter for Tally {
    fn report(&self, event: &Event<'_>) {
        match event {
            Event::Answered { operation, .. } => {
                *self
                    .state()
                    .calls
                    .entry((*operation).to_owned())
                    .or_default() += 1;
            }
            Event::Warning { .. } | Event::Retrying { .. } | Event::Estimated { .. } => {
                self.reporter.report(event);
            }
            _ => {}
        }
    }
}

/// How something ended that failed so.
pub(super) fn status_of(kind: ErrorKind) -> Status {
    match kind {
        ErrorKind::NotFound => Status::Gone,
        ErrorKind::AccessDenied => Status::Denied,
        ErrorKind::Throttled
        | ErrorKind::Service
        | ErrorKind::Timeout
        | ErrorKind::Network
        | ErrorKind::Transfer
        | ErrorKind::UrlExpired
        | ErrorKind::NoCode => Status::Unavailable,
        _ => Status::Failed,
    }
}

/// The same failure once more, its causes as text: what ends an account is told in its line, and may be the run's end too.
pub(super) fn copy(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.message());
    if let Some(subject) = error.subject() {
        copy = copy.about(subject);
    }
    let causes = error.causes();
    if !causes.is_empty() {
        copy = copy.because(causes.join(": "));
    }
    match error.hint_text() {
        Some(hint) => copy.hint(hint),
        None => copy,
    }
}

/// A failure in one line.
pub(super) fn reason(error: &Error) -> String {
    let mut reason = error.message().to_owned();
    for cause in error.causes() {
        reason.push_str(": ");
        reason.push_str(&cause);
    }
    reason
}
