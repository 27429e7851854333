//! The backup of whole accounts: incremental, deduplicated, with a line for every function version.
//!
//! ```text
//! store: the last run of the account and region -> what is known
//! ListFunctions(ALL) -> each version: as it was listed then?
//!    yes -> the manifest of then                                   unchanged
//!    no  -> GetFunction -> package in the store? else download -> Verified -> put -> manifest
//! all regions -> their indexes -> the run appears -> index.json
//! ```
//!
//! What was stored before an interruption is found again by its digest, so that a rerun downloads only what is missing.

mod accounts;
mod documents;
mod estimate;
mod feed;
mod forecast;
mod image;
mod layer;
mod layer_feed;
mod ledger;
mod package;
pub(in crate::ops) mod prior;
mod region;
mod sides;
mod units;
mod version;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::StreamExt as _;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, Zoned};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::list::{Regions, Versions};
use super::select::Selection;
use crate::aws::SessionOptions;
use crate::drift::accept::Exceptions;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::function::FunctionRef;
use crate::image::Registries;
use crate::lambda::Lambda;
use crate::record::Status;
use crate::store::{JointId, Part, RegionRef, Run, RunName, Shard, Store};

pub use accounts::Account;
use ledger::Tally;
pub use ledger::{Backup, Kind, Line, Plan};
use package::Packages;
use prior::History;
use region::Job;
use units::{OneAccount, Units};

/// The statuses that an exception can accept.
pub const ACCEPTABLE: [&str; 4] = ["partial", "unavailable", "denied", "failed"];

/// What [`backup()`] is to do.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct BackupOptions {
    /// Whose: empty is the account of the common options.
    pub accounts: Vec<Account>,
    /// Where.
    pub regions: Regions,
    /// How many accounts and regions are worked on at once: each has a budget of its own.
    pub parallel: usize,
    /// Only this share of the accounts and regions.
    pub shard: Option<Shard>,
    /// What the shards of one backup have in common; goes with `shard`.
    pub joint: Option<JointId>,
    /// These functions; empty is all.
    pub functions: Vec<FunctionRef>,
    /// Which of their versions.
    pub versions: Versions,
    /// Which functions, of all.
    pub selection: Selection,
    /// Keep the aliases: one ListAliases a function.
    pub aliases: bool,
    /// Keep what is beside the code: policies, URLs, event sources and so on, some eight calls a function.
    pub sides: bool,
    /// Keep the layer versions that are used.
    pub layers: bool,
    /// Pull the images of container-image functions too.
    pub pull_image: bool,
    /// Keep every layer version of the account, used or not; goes with all functions only.
    pub all_layers: bool,
    /// A layer version that is deleted or denied makes the function's status partial.
    pub strict_layers: bool,
    /// Keep the names of environment variables and replace each value with null.
    pub redact_env: bool,
    /// Ask about every version again, and look in the store for every blob.
    pub refresh: bool,
    /// Ask again about versions of which the last answer is older than this.
    pub refresh_older_than: Option<SignedDuration>,
    /// Failures that are known and accepted: lines of the statuses [`ACCEPTABLE`].
    pub exceptions: Exceptions,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Where packages lie on their way to a bucket; None is the system's directory for temporary files.
    pub spool_dir: Option<PathBuf>,
    /// The most bytes that lie there at once.
    pub spool_limit: u64,
}

impl BackupOptions {
    /// Whether a function that was named is to be looked for in this account and region. With one account an ARN may be that
    /// of a function of another, which the caller may read.
    fn is_asked(&self, function: &FunctionRef, account: &OneAccount, region: &str) -> bool {
        let of = function.account().filter(|_| self.accounts.len() > 1);
        function.region().is_none_or(|r| r == region) && of.is_none_or(|a| a == account.number)
    }
}

/// Backs up as `options` say, and hands `each` a line for everything that ends.
///
/// When `cancel` is cancelled, what is done is published as a run of its own, and [`Backup::interrupted`] says so.
///
/// # Errors
/// Nothing could be done at all: no credentials, no region that answers, no store; or the store failed on the way.
pub async fn backup(
    common: &SessionOptions,
    store: &Store,
    options: &BackupOptions,
    reporter: Arc<dyn Reporter>,
    cancel: &CancellationToken,
    each: &(dyn Fn(&Line) + Sync),
) -> Result<Backup> {
    if options.all_layers && !options.functions.is_empty() {
        return Err(Error::new(
            ErrorKind::Usage,
            "every layer of an account is not what functions that are named have",
        )
        .hint("--layers all goes with --all; the layers that functions use are kept by default"));
    }
    let begun = Instant::now();
    let began_at = Timestamp::now();
    let tally = Arc::new(Tally::new(reporter));
    let Units { units, run_id } = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(Error::interrupted()),
        units = units::units(common, options, &tally, each) => units?,
    };
    if !options.dry_run {
        store.prepare().await?;
    }
    let history = history(store, options).await?;
    if !options.redact_env && !options.dry_run {
        tally.report(&Event::Warning {
            subject: store.name(),
            message: "the store holds the values of environment variables in clear",
            hint: Some("--redact-env keeps their names only"),
        });
    }
    let spools = Arc::new(Semaphore::new(
        package::permits(options.spool_limit) as usize
    ));
    let packages = Packages::default();
    tally.units(units.len());
    let exceptions = Mutex::new(options.exceptions.clone());
    let today = Zoned::now().date();
    let jobs = units.iter().map(|unit| {
        let job = Job {
            session: &unit.session,
            lambda: Lambda::new(&unit.session, Arc::clone(&tally) as Arc<dyn Reporter>),
            registries: Registries::new(&unit.session, Arc::clone(&tally) as Arc<dyn Reporter>),
            account: &unit.account,
            history: &history,
            store,
            options,
            max_rate: common.max_rate,
            tally: &tally,
            cancel,
            each,
            spools: &spools,
            packages: &packages,
            exceptions: &exceptions,
            today,
        };
        async move { (job.place(), Box::pin(job.run()).await) }
    });
    let mut jobs = futures_util::stream::iter(jobs).buffer_unordered(options.parallel.max(1));
    let (mut regions, mut fatal) = (Vec::new(), None);
    while let Some((region, done)) = jobs.next().await {
        match done {
            Ok(done) => regions.extend(done),
            Err(e) => {
                tracing::info!("{region}: {e}");
                fatal.get_or_insert(e);
                break;
            }
        }
    }
    drop(jobs);
    if let Some(error) = fatal {
        return Err(error);
    }
    regions.sort_by(|a, b| (&a.account, &a.region).cmp(&(&b.account, &b.region)));
    let stopped = stopped(&units, &tally, each);
    warn_of_exceptions(&exceptions, options, &tally, today);
    let mut done = tally.into_backup(begun.elapsed(), cancel.is_cancelled());
    done.stopped = stopped;
    done.plan.finish(options.parallel);
    // The run of a shard says that the shard is done, also where it had nothing to do.
    if !options.dry_run && (!regions.is_empty() || options.shard.is_some()) {
        let ended = |unit: &units::Unit| unit.account.stopped().is_none();
        let whole = !done.interrupted && units.iter().all(ended);
        let run = shared_run(options, whole, began_at, &run_id, regions, &done.counts);
        store.publish(&run).await?;
        store.refresh_index(false).await?;
        done.run = Some(run.name);
        done.joint = match &options.joint {
            Some(id) => Some(store.seal(id, false).await?),
            None => None,
        };
    }
    done.elapsed = begun.elapsed();
    Ok(done)
}

/// What the store has of before.
async fn history(store: &Store, options: &BackupOptions) -> Result<History> {
    if options.dry_run {
        // There may be no store yet.
        match store.open().await {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(History::empty()),
            Err(e) => return Err(e),
        }
    }
    if let Some(id) = &options.joint
        && let Some(run) = store.joint(id).await?
    {
        return Err(
            Error::new(ErrorKind::Usage, format!("was sealed already, as {run}"))
                .about(id.as_str())
                .hint("give each backup of several machines an id of its own with --run-id"),
        );
    }
    History::of(store).await
}

fn shared_run(
    options: &BackupOptions,
    whole: bool,
    began_at: Timestamp,
    run_id: &str,
    regions: Vec<RegionRef>,
    counts: &BTreeMap<String, u64>,
) -> Run {
    let (id, part) = match (options.shard, &options.joint) {
        (Some(shard), Some(joint)) => {
            let joint = joint.clone();
            let part = Part::Shard {
                joint: joint.clone(),
                shard,
                whole,
            };
            (joint.shard_run(run_id), Some(part))
        }
        _ => (run_id.to_owned(), None),
    };
    Run {
        name: RunName::new(began_at, &id),
        regions,
        counts: counts.clone(),
        part,
    }
}

/// Exceptions that have expired; and where everything was looked at, those of which nothing was true.
fn warn_of_exceptions(
    exceptions: &Mutex<Exceptions>,
    options: &BackupOptions,
    tally: &Tally,
    today: Date,
) {
    let everything = options.functions.is_empty()
        && options.selection.is_everything()
        && options.versions == Versions::All
        && options.shard.is_none()
        && !options.dry_run;
    let exceptions = region::lock(exceptions);
    let told = if everything {
        exceptions.warnings(today)
    } else {
        exceptions.expired(today)
    };
    drop(exceptions);
    for warning in told {
        tally.report(&Event::Warning {
            subject: &warning.subject,
            message: &warning.message,
            hint: warning.hint.as_deref(),
        });
    }
}

/// The accounts whose credentials ended, a line each; and the reason, where that ended the whole run.
fn stopped(units: &[units::Unit], tally: &Tally, each: &(dyn Fn(&Line) + Sync)) -> Option<Error> {
    let mut accounts: Vec<_> = units.iter().map(|unit| &unit.account).collect();
    accounts.dedup_by(|a, b| Arc::ptr_eq(a, b));
    for account in &accounts {
        let Some(error) = account.stopped() else {
            continue;
        };
        let line = Line {
            kind: Kind::Account,
            arn: account.number.clone(),
            version: String::new(),
            status: Status::Denied.name(),
            bytes: None,
            reason: Some(ledger::reason(error)),
        };
        tally.count(&line, Some(ledger::copy(error)));
        each(&line);
    }
    let all = accounts.iter().all(|account| account.stopped().is_some());
    let first = accounts.iter().find_map(|account| account.stopped());
    first.filter(|_| all).map(ledger::copy)
}
