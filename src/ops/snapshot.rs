//! Evidence of what runs: functions with all that belongs to them, verified, logged and sealed in a bag.
//!
//! ```text
//! functions asked for -> units, one a function and region
//!   unit -> ListAliases, ListVersionsByFunction -> versions -> GetFunction, package, layers, GetFunction again
//!        -> side reads of the function, its versions and aliases -> record.json
//! all units -> log ends -> manifests -> statement, signature, time stamp -> the bag takes its name
//! ```
//!
//! What cannot be had is evidence too: it is logged with its reason, and the bag is made all the same. Only a failure of
//! the local machine, an interrupt, or that nothing at all could be had leaves no bag. Nothing is ever unpacked.

mod finish;
mod function;
mod image;
mod layers;
mod outcome;
mod package;
mod sides;
mod units;
mod version;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::list::Versions;
use super::select::Selection;
use crate::aws::{Caller, Session, SessionOptions};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::evidence::bag::{Bag, Entry, Oxum};
use crate::evidence::log::{LOG_VERSION, Log, now};
use crate::evidence::ssh::SigningKey;
use crate::evidence::statement::Acquired;
use crate::files;
use crate::function::FunctionRef;
use crate::http::HttpClient;
use crate::lambda::Lambda;
use crate::package::Received;
use crate::record::{Status, Tool};
use crate::task::blocking;

use outcome::Trouble;
pub use outcome::{FunctionOutcome, LayerOutcome, VersionOutcome};
use units::Unit;

/// How many functions are worked on at once.
const FUNCTIONS: usize = 4;
/// How many packages come at once; each may use several connections.
const DOWNLOADS: usize = 2;

/// What to take, and how it is to be signed.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// The bag to make.
    pub bag: PathBuf,
    /// Which functions, in each region.
    pub functions: Vec<FunctionRef>,
    /// All functions of each region that match.
    pub all: Option<Selection>,
    /// The regions that the user named; none is the session's own, or an ARN's.
    pub regions: Vec<String>,
    /// Which versions. Those that an alias routes to are always taken.
    pub versions: Versions,
    /// Keep the names of environment variables and replace each value with null.
    pub redact_env: bool,
    /// Who takes the evidence.
    pub operator: Option<String>,
    /// For which case.
    pub case_id: Option<String>,
    /// What signs the bag.
    pub signer: Option<Arc<SigningKey>>,
    /// Who time-stamps the signature.
    pub tsa_url: Option<Url>,
    /// Pull the images of image functions.
    pub pull_image: bool,
    /// A layer that is gone or denied is a failure of the functions that use it.
    pub strict_layers: bool,
    /// The command line, with what is secret masked.
    pub command: Vec<String>,
}

/// What [`snapshot`] made.
#[derive(Debug)]
pub struct Snapshot {
    /// Where the bag is.
    pub bag: PathBuf,
    /// What stands for it: the digest of its tag manifest.
    pub tagmanifest: Sha256Digest,
    /// The fingerprint of the key that signed it.
    pub signed_by: Option<String>,
    /// Whether there is a time stamp.
    pub stamped: bool,
    /// How much it holds.
    pub oxum: Oxum,
    /// Who called AWS, where that is known.
    pub caller: Option<Caller>,
    /// Each function, in the order in which they were done.
    pub functions: Vec<FunctionOutcome>,
    /// Each layer version, once.
    pub layers: Vec<LayerOutcome>,
    /// Bytes received over the network.
    pub bytes_downloaded: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Why the bag lacks the signature or the time stamp that was asked for.
    pub unsealed: Option<Error>,
}

impl Snapshot {
    /// Whether something that was received is not what AWS states it to be.
    pub fn has_mismatch(&self) -> bool {
        self.functions.iter().any(|f| f.mismatch) || self.layers.iter().any(|l| l.mismatch)
    }

    /// The functions that are not whole.
    pub fn failed(&self) -> impl Iterator<Item = &FunctionOutcome> {
        self.functions
            .iter()
            .filter(|f| !matches!(f.status, Status::Saved | Status::Image))
    }
}

/// Takes what `options` say.
///
/// # Errors
/// Nothing could be had of any function; there is something at the bag's place; a local file could not be written; the
/// run was interrupted. There is no bag then. What failed of the functions otherwise is told by the result.
pub async fn snapshot(
    common: &SessionOptions,
    options: &SnapshotOptions,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
) -> Result<Snapshot> {
    let begun = Instant::now();
    let dest = options.bag.clone();
    let bag = Arc::new(blocking(move || Bag::begin(&dest)).await?);
    let work = async {
        let log = Arc::new(Log::begin(&bag, Arc::clone(&reporter))?);
        let run = Run::new(
            options,
            Arc::clone(&bag),
            Arc::clone(&log),
            &*reporter,
            cancel.clone(),
        );
        let taken = Box::pin(run.take(common)).await?;
        log.check()?;
        reporter.report(&Event::Publishing);
        finish::seal(options, &bag, &log, taken, begun).await
    };
    let made = cancel.run_until_cancelled(Box::pin(work)).await;
    let snapshot = match made.unwrap_or_else(|| Err(Error::interrupted())) {
        Ok(snapshot) if !cancel.is_cancelled() => snapshot,
        Ok(_) => {
            discard(bag).await;
            return Err(Error::interrupted());
        }
        Err(e) => {
            discard(bag).await;
            return Err(e);
        }
    };
    let published = blocking(move || {
        Arc::into_inner(bag)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "something still works in the bag"))?
            .publish()
    })
    .await?;
    super::warn_of_leftover(&published, &*reporter);
    Ok(Snapshot {
        bag: published.path,
        elapsed: begun.elapsed(),
        ..snapshot
    })
}

/// Removes the staging on a thread that may block, so that signals are heard meanwhile.
async fn discard(bag: Arc<Bag>) {
    // A failure to remove is the next run's to put right.
    let _ = tokio::task::spawn_blocking(move || drop(bag)).await;
}

/// One snapshot under way: what all its units share.
struct Run<'a> {
    options: &'a SnapshotOptions,
    bag: Arc<Bag>,
    log: Arc<Log>,
    reporter: &'a dyn Reporter,
    cancel: CancellationToken,
    downloads: Semaphore,
    /// By ARN, so that each layer version is kept once.
    layers: Mutex<HashMap<String, layers::Cell>>,
    /// What was kept of packages, for the statement.
    acquired: Mutex<Vec<Acquired>>,
    /// Directories of function versions that are in the bag.
    versions: Mutex<HashSet<String>>,
    /// Files about functions that are in the bag.
    documents: AtomicU64,
    spools: AtomicU64,
    bytes: AtomicU64,
    caller: Mutex<Option<Caller>>,
}

/// A region with its clients, which report to the log.
struct Place {
    session: Session,
    lambda: Lambda,
}

/// All that was had.
struct Taken {
    run: String,
    started_at: String,
    tool: Option<Sha256Digest>,
    http: HttpClient,
    caller: Option<Caller>,
    functions: Vec<FunctionOutcome>,
    layers: Vec<LayerOutcome>,
    acquired: Vec<Acquired>,
    bytes: u64,
}

impl<'a> Run<'a> {
    fn new(
        options: &'a SnapshotOptions,
        bag: Arc<Bag>,
        log: Arc<Log>,
        reporter: &'a dyn Reporter,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            options,
            bag,
            log,
            reporter,
            cancel,
            downloads: Semaphore::new(DOWNLOADS),
            layers: Mutex::default(),
            acquired: Mutex::default(),
            versions: Mutex::default(),
            documents: AtomicU64::new(0),
            spools: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            caller: Mutex::default(),
        }
    }

    /// Everything that there is to take, several functions at once.
    async fn take(&self, common: &SessionOptions) -> Result<Taken> {
        let started_at = now();
        let sha256 = self.own_digest().await;
        let session = units::connect(common, self.options).await?;
        self.note_begin(session.run_id(), sha256);
        self.identify(&session).await?;
        let places = units::places(&session, self.options, &self.log)?;
        for place in &places {
            self.region(place).await?;
        }
        let (units, unlisted) = self.units(&places).await?;
        let functions = self.all(units, unlisted).await?;
        self.refuse_nothing(&functions)?;
        let mut layers: Vec<LayerOutcome> = lock(&self.layers)
            .values()
            .filter_map(|cell| cell.get().cloned())
            .collect();
        layers.sort_by(|a, b| a.arn.cmp(&b.arn));
        Ok(Taken {
            run: session.run_id().to_owned(),
            started_at,
            tool: sha256,
            http: session.http().clone(),
            caller: lock(&self.caller).take(),
            functions,
            layers,
            acquired: std::mem::take(&mut *lock(&self.acquired)),
            bytes: self.bytes.load(Ordering::Relaxed),
        })
    }

    /// Works on several units at once.
    async fn all(
        &self,
        units: Vec<Unit<'_>>,
        unlisted: Vec<FunctionOutcome>,
    ) -> Result<Vec<FunctionOutcome>> {
        let total = units.len() as u64;
        let done = AtomicU64::new(0);
        let mut outcomes = futures_util::stream::iter(units)
            .map(|unit: Unit<'_>| async {
                let subject = unit.function.to_string();
                self.reporter.report(&Event::Taken {
                    done: done.load(Ordering::Relaxed),
                    total,
                    subject: &subject,
                });
                let region = unit.place.session.region().to_owned();
                let outcome = match self.function(unit).await {
                    Err(e) if !is_fatal(e.kind()) => Ok(FunctionOutcome::failed(
                        subject.clone(),
                        region,
                        Trouble::of(&e),
                    )),
                    outcome => outcome,
                };
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                self.reporter.report(&Event::Taken {
                    done,
                    total,
                    subject: &subject,
                });
                outcome
            })
            .buffer_unordered(FUNCTIONS);
        let mut functions = unlisted;
        for outcome in &functions {
            self.note_outcome(outcome);
        }
        while let Some(outcome) = outcomes.next().await {
            let outcome = outcome?;
            self.note_outcome(&outcome);
            self.log.check()?;
            functions.push(outcome);
        }
        Ok(functions)
    }

    fn note_outcome(&self, outcome: &FunctionOutcome) {
        self.log.note("function", outcome.to_log());
        if let Some(reason) = &outcome.reason {
            self.log.report(&Event::Warning {
                subject: &outcome.function,
                message: &format!("{}: {reason}", outcome.status_name()),
                hint: outcome.hint(),
            });
        }
    }

    /// A bag that holds nothing of any function would be none.
    fn refuse_nothing(&self, functions: &[FunctionOutcome]) -> Result<()> {
        if self.documents.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        let Some(first) = functions.first() else {
            return Err(
                Error::new(ErrorKind::NotFound, "there is no function to take")
                    .hint("larder list shows what is there"),
            );
        };
        let kind = first.cause.unwrap_or(ErrorKind::Service);
        let reason = first.reason.clone().unwrap_or_default();
        let hint = match first.hint() {
            Some(hint) => format!("{hint}; no bag was made"),
            None => "no bag was made".to_owned(),
        };
        Err(Error::new(kind, format!("nothing could be had: {reason}"))
            .about(&*first.function)
            .hint(hint))
    }

    /// SHA-256 of this very program.
    async fn own_digest(&self) -> Option<Sha256Digest> {
        let cancel = self.cancel.clone();
        let digest = blocking(move || {
            let path = std::env::current_exe()
                .map_err(|e| files::io_error("this program cannot be found", e))?;
            let file = files::open_read(&path)?;
            let read = Received::read(file, &|| cancel.is_cancelled());
            let read = read.map_err(|e| files::io_error("this program cannot be read", e))?;
            Ok(read.sha256())
        });
        digest.await.ok()
    }

    fn note_begin(&self, run_id: &str, sha256: Option<Sha256Digest>) {
        let options = self.options;
        let tool = Tool::this();
        let functions: Vec<String> = options.functions.iter().map(ToString::to_string).collect();
        self.log.note(
            "begin",
            json!({
                "schema_version": LOG_VERSION,
                "run": run_id,
                "tool": {"name": tool.name, "version": tool.version, "sha256": sha256.map(|d| d.hex())},
                "platform": {"os": std::env::consts::OS, "arch": std::env::consts::ARCH},
                "command": options.command,
                "operator": options.operator,
                "case_id": options.case_id,
                "functions": functions,
                "all": options.all.is_some(),
                "versions": format!("{:?}", options.versions).to_lowercase(),
                "environment_redacted": options.redact_env,
                "signer": options.signer.as_ref().map(|key| key.public_key().fingerprint()),
            }),
        );
    }

    /// Who calls. Credentials that do not work end the run; that STS cannot be reached does not.
    async fn identify(&self, session: &Session) -> Result<()> {
        match session.caller().await {
            Ok(caller) => {
                self.log.note(
                    "caller",
                    json!({"account": caller.account, "arn": caller.arn, "user_id": caller.user_id,
                        "request_id": caller.request_id}),
                );
                *lock(&self.caller) = Some(caller);
                Ok(())
            }
            Err(e) => match e.kind() {
                ErrorKind::NoCredentials | ErrorKind::CredentialsRefused | ErrorKind::Usage => {
                    Err(e)
                }
                _ => {
                    let trouble = Trouble::of(&e);
                    self.log.note("caller", json!({"reason": trouble.reason}));
                    self.log.report(&Event::Warning {
                        subject: "the caller",
                        message: &format!("STS did not say who it is: {}", trouble.reason),
                        hint: Some("the bag does not name the caller"),
                    });
                    Ok(())
                }
            },
        }
    }

    /// The caller's account, for who is named without one.
    fn account(&self) -> String {
        let caller = lock(&self.caller);
        let account = caller.as_ref().map(|caller| caller.account.clone());
        account.unwrap_or_else(|| "unknown".to_owned())
    }

    /// Adds a file that was had of a function.
    fn document(&self, path: &str, bytes: &[u8]) -> Result<Entry> {
        self.documents.fetch_add(1, Ordering::Relaxed);
        self.bag.add(path, bytes)
    }
}

/// Whether a failure is this machine's or larder's own, so that going on makes no sense.
fn is_fatal(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Io
            | ErrorKind::DiskFull
            | ErrorKind::DestinationExists
            | ErrorKind::Interrupted
            | ErrorKind::Bug
    )
}

/// A word from AWS that becomes a part of a path in the bag: letters, digits, `-`, `_` and `.`, and no dot first.
fn plain(word: &str) -> Result<&str> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !word.is_empty() && word.len() <= 140 && !word.starts_with('.') && word.bytes().all(legal) {
        return Ok(word);
    }
    let shown: String = word.chars().take(80).collect();
    Err(Error::new(
        ErrorKind::Service,
        format!("AWS names something {shown:?}, which is no legal name"),
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_become_names() {
        for word in ["orders", "us-east-1.edge", "A_b-1", "123456789012"] {
            assert_eq!(plain(word).unwrap(), word);
        }
        for word in ["", ".", "..", ".x", "a/b", "a b", "a\nb", "a%0A", "é"] {
            assert!(plain(word).is_err(), "{word:?}");
        }
    }

    #[test]
    fn what_is_wrong_here_ends_the_run() {
        assert!(is_fatal(ErrorKind::DiskFull) && is_fatal(ErrorKind::Interrupted));
        assert!(!is_fatal(ErrorKind::AccessDenied) && !is_fatal(ErrorKind::Mismatch));
    }
}
