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

mod feed;
mod image;
mod layer;
mod ledger;
mod package;
pub(in crate::ops) mod prior;
mod region;
mod version;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::list::{Regions, Versions, sessions};
use super::select::Selection;
use crate::aws::{Session, SessionOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::function::FunctionRef;
use crate::image::Registries;
use crate::lambda::Lambda;
use crate::store::{Run, RunName, Store};

use ledger::Tally;
pub use ledger::{Backup, Kind, Line, Plan};
use package::Packages;
use region::Job;

/// How many regions are worked on at once: each has a budget of its own.
const REGIONS_AT_ONCE: usize = 4;

/// What [`backup()`] is to do.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct BackupOptions {
    /// Where.
    pub regions: Regions,
    /// These functions; empty is all.
    pub functions: Vec<FunctionRef>,
    /// Which of their versions.
    pub versions: Versions,
    /// Which functions, of all.
    pub selection: Selection,
    /// Keep the aliases: one ListAliases a function.
    pub aliases: bool,
    /// Keep the layer versions that are used.
    pub layers: bool,
    /// Pull the images of container-image functions too.
    pub pull_image: bool,
    /// A layer version that is deleted or denied makes the function's status partial.
    pub strict_layers: bool,
    /// Keep the names of environment variables and replace each value with null.
    pub redact_env: bool,
    /// Ask about every version again, and look in the store for every blob.
    pub refresh: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Where packages lie on their way to a bucket; None is the system's directory for temporary files.
    pub spool_dir: Option<PathBuf>,
    /// The most bytes that lie there at once.
    pub spool_limit: u64,
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
    let begun = Instant::now();
    let began_at = Timestamp::now();
    let tally = Arc::new(Tally::new(reporter));
    let places = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(Error::interrupted()),
        places = places(common, options, &tally) => places?,
    };
    if !options.dry_run {
        store.prepare().await?;
    }
    if !options.redact_env && !options.dry_run {
        tally.report(&Event::Warning {
            subject: store.name(),
            message: "the store holds the values of environment variables in clear",
            hint: Some("--redact-env keeps their names only"),
        });
    }
    let run_id = places.sessions[0].run_id().to_owned();
    let jobs = places.sessions.iter().map(|session| {
        let job = Job {
            session,
            lambda: Lambda::new(session, Arc::clone(&tally) as Arc<dyn Reporter>),
            registries: Registries::new(session, Arc::clone(&tally) as Arc<dyn Reporter>),
            account: &places.account,
            store,
            options,
            tally: &tally,
            cancel,
            each,
            spools: &places.spools,
            packages: &places.packages,
        };
        async move { (session.region(), Box::pin(job.run()).await) }
    });
    let mut jobs = futures_util::stream::iter(jobs).buffer_unordered(REGIONS_AT_ONCE);
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
    let mut done = tally.into_backup(begun.elapsed(), cancel.is_cancelled());
    if !options.dry_run && !regions.is_empty() {
        let run = Run {
            name: RunName::new(began_at, &run_id),
            regions,
            counts: done.counts.clone(),
        };
        store.publish(&run).await?;
        store.refresh_index(false).await?;
        done.run = Some(run.name);
    }
    done.elapsed = begun.elapsed();
    Ok(done)
}

/// Where to work, and as whom.
struct Places {
    account: String,
    sessions: Vec<Session>,
    spools: Arc<Semaphore>,
    packages: Packages,
}

async fn places(
    common: &SessionOptions,
    options: &BackupOptions,
    tally: &Arc<Tally>,
) -> Result<Places> {
    let mut sessions = named_sessions(common, options).await?;
    // A function's ARN names its region, whatever else is asked.
    for region in options.functions.iter().filter_map(FunctionRef::region) {
        if !sessions.iter().any(|session| session.region() == region) {
            sessions.push(sessions[0].in_region(region)?);
        }
    }
    let limit = package::permits(options.spool_limit);
    Ok(Places {
        account: account(&sessions[0], tally).await?,
        sessions,
        spools: Arc::new(Semaphore::new(limit as usize)),
        packages: Packages::default(),
    })
}

/// The sessions of the regions asked for. Without any, the region of the first function that names one serves.
async fn named_sessions(common: &SessionOptions, options: &BackupOptions) -> Result<Vec<Session>> {
    let of_arns = options.functions.iter().filter_map(FunctionRef::region);
    let only_arns =
        !options.functions.is_empty() && options.functions.iter().all(|f| f.region().is_some());
    if options.regions == Regions::Own && only_arns {
        let regions: Vec<String> = of_arns.map(ToOwned::to_owned).collect();
        return sessions(common, &Regions::Named(regions)).await;
    }
    sessions(common, &options.regions).await
}

/// The account that is asked: STS says it; where STS cannot be reached, the first function's ARN.
async fn account(session: &Session, tally: &Arc<Tally>) -> Result<String> {
    let refused = match session.caller().await {
        Ok(caller) => return Ok(caller.account),
        Err(e) => e,
    };
    if matches!(
        refused.kind(),
        ErrorKind::NoCredentials | ErrorKind::CredentialsRefused | ErrorKind::Usage
    ) {
        return Err(refused);
    }
    let lambda = Lambda::new(session, Arc::clone(tally) as Arc<dyn Reporter>);
    let page = lambda
        .functions(crate::lambda::Scope::Latest)
        .next()
        .await?;
    let first = page.as_ref().and_then(|page| page.first());
    match first.map(|listed| listed.account().to_owned()) {
        Some(account) if !account.is_empty() => Ok(account),
        _ => Err(refused),
    }
}
