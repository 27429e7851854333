//! The transfer of a package: from a presigned URL to verified bytes on disk.
//!
//! Faults are met here, and only here: a broken connection goes on where it stopped, a URL that ended is replaced, a
//! package that changed meanwhile is dropped and fetched anew, and bytes that are not what was stated are never passed
//! on. What to try again, and when, is decided by [`retry`], which does no I/O.
//!
//! ```text
//! Target { url, claim } -> pull(range, If-Match) -> judge the answer -> spool + hash -> verify -> Verified
//!        ^                                                  |                             |
//!        +---- Renew: ask again; same package? -------------+---- ended, gone, other -----+
//! ```
//!
//! A package of 24 MiB or more begins with a part of 8 MiB. If that came more slowly than 120 MB/s, the connection is taken
//! for the bottleneck, and the rest comes over 4 connections at the most, in parts of 8 MiB.

pub mod retry;

mod answer;
mod parts;
mod pull;
mod recover;
mod spool;
mod throughput;

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;

use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::http::HttpClient;
use crate::package::{Claim, Verified};
use crate::presigned::PresignedUrl;

use pull::{Progress, Pull};
use retry::RetryPolicy;
use spool::Spool;

/// How long one package may take, retries and all.
const PACKAGE_BUDGET: Duration = Duration::from_secs(60 * 60);
/// How often the code may change under one's hands before larder gives up.
const MAX_CHANGES: u32 = 5;
/// From which size on a package may come over several connections, in bytes.
const LARGE: u64 = 24 << 20;
/// The part that shows how fast one connection is, in bytes.
const PROBE: u64 = 8 << 20;
/// The part that one connection brings at a time, in bytes.
const PART: u64 = 8 << 20;
/// At which speed one connection is enough, in bytes a second. S3 gives some 50 to 90 MB/s to each.
const FAST: f64 = 120e6;
/// The most connections for one package.
const CONNECTIONS: usize = 4;

/// One package to fetch: where it is, and what Lambda stated about it in the same answer.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where.
    pub url: PresignedUrl,
    /// What the bytes must be. Digest and size are both there.
    pub claim: Claim,
    /// Whose permission the URL carries.
    pub signer: Signer,
}

/// Who signed a URL, and so whose permissions decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// Lambda: no permission of the caller's takes part.
    Lambda,
    /// The caller, for an object in a bucket of one's own.
    Caller,
}

impl Target {
    /// Whether both are the same bytes. They may lie in another object: a deployment of the same zip makes one.
    fn same_package(&self, other: &Self) -> bool {
        self.claim == other.claim
    }

    fn size(&self) -> u64 {
        self.claim.size().unwrap_or_default()
    }

    /// Whether both are the same version of one object, as far as the URLs tell.
    fn same_object(&self, other: &Self) -> bool {
        match (self.url.version_id(), other.url.version_id()) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        }
    }
}

/// Asks again where the package is. Each call costs one control-plane call.
pub trait Renew {
    /// A fresh URL, and what is stated about the package now.
    fn renew(&mut self) -> impl Future<Output = Result<Target>> + Send;
}

/// What all transfers of a run share.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The HTTP client.
    pub http: &'a HttpClient,
    /// How often one request is tried.
    pub retry: RetryPolicy,
    /// The longest time in which nearly nothing comes before the connection is given up.
    pub patience: Duration,
    /// Who is told.
    pub reporter: &'a dyn Reporter,
}

/// How a transfer went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Tries: one, and one more for each that broke or brought something else.
    pub attempts: u32,
    /// GETs made for the bytes; a large package may take several in one try.
    pub requests: u32,
    /// How often a broken transfer went on where it had stopped.
    pub resumed: u32,
    /// How often a fresh URL was asked for.
    pub url_refreshes: u32,
    /// How often the package had changed then.
    pub code_changes: u32,
    /// Bytes received, those received twice counted twice.
    pub bytes: u64,
}

/// Fetches `target` into `spool`, an empty file, and verifies it. `subject` names it in messages.
///
/// # Errors
/// The bytes are not what was stated, also on a second, clean download; or they could not be had.
pub async fn download(
    context: Context<'_>,
    subject: &str,
    target: Target,
    renew: &mut impl Renew,
    spool: File,
) -> Result<(Verified, Stats)> {
    let size = target.size();
    context
        .reporter
        .report(&Event::DownloadStarted { subject, size });
    let mut transfer = Transfer {
        context,
        subject,
        target,
        progress: Progress::default(),
        furthest: 0,
        attempt: 1,
        gone: false,
        connections: CONNECTIONS,
        attempts: 1,
        refuted: None,
        deadline: tokio::time::Instant::now() + PACKAGE_BUDGET,
        url_refreshes: 0,
        code_changes: 0,
    };
    let mut spool = Spool::start(spool);
    loop {
        // Also of an empty package it is asked once what the server has.
        if transfer.missing().is_empty() && transfer.stats().requests > 0 {
            let (received, spent) = spool.finish().await?;
            context.reporter.report(&Event::Verifying {
                size: received.size(),
            });
            match received.verify(&transfer.target.claim) {
                Ok(verified) => {
                    let sha256 = verified.sha256();
                    context.reporter.report(&Event::Verified { sha256 });
                    return Ok((verified, transfer.stats()));
                }
                Err(mismatch) => {
                    transfer.attempts += 1;
                    transfer.refuted(mismatch.to_string(), renew).await?;
                }
            }
            spool = spent.restart()?;
            transfer.progress.forget();
        }
        let deadline = transfer.deadline;
        let round = tokio::time::timeout_at(deadline, transfer.round(&spool)).await;
        let Ok(outcome) = round else {
            return Err(transfer.budget_spent());
        };
        transfer.note_progress();
        match outcome {
            Ok(()) => {}
            Err(Broken::SpoolEnded) => return Err(spool.failure().await.about(subject)),
            Err(broken) => transfer.recover(broken, &mut spool, renew).await?,
        }
    }
}

/// A transfer under way.
struct Transfer<'a> {
    context: Context<'a>,
    subject: &'a str,
    target: Target,
    /// What has come, and how.
    progress: Progress,
    /// The largest count of bytes ever reached for this package. What was fetched once and dropped is no progress
    /// when it comes again, so that the attempts end.
    furthest: u64,
    /// The number of this attempt since bytes last came.
    attempt: u32,
    /// The object was not found, and a fresh URL is being tried.
    gone: bool,
    /// How many connections may be used at once. With one, everything that is missing is asked for in one request.
    connections: usize,
    /// Tries, the first included.
    attempts: u32,
    /// Whole bytes came once that were not the package: what they were.
    refuted: Option<String>,
    deadline: tokio::time::Instant,
    url_refreshes: u32,
    code_changes: u32,
}

/// Why an attempt ended early.
#[derive(Debug)]
pub(crate) enum Broken {
    /// It may pass; what came stays.
    Transient { reason: String, error: Box<Error> },
    /// The server asks to slow down.
    Throttled {
        retry_after: Option<Duration>,
        error: Box<Error>,
    },
    /// The URL is about to end, so no request was made on it.
    Stale,
    /// The URL has ended.
    Expired { code: String },
    /// The object is not there (any more).
    Gone { code: String },
    /// The object is not the one that the transfer began with.
    ObjectChanged,
    /// A success that is something else than the package.
    NotThePackage { what: String },
    /// The whole came where a part was asked for, beside others.
    RangeIgnored,
    /// The spool's writer ended: the disk is full, for example.
    SpoolEnded,
    /// Nothing more to try.
    Final(Error),
}

impl Transfer<'_> {
    fn missing(&self) -> Vec<std::ops::Range<u64>> {
        self.progress.missing(self.target.size())
    }

    fn pull<'b>(&'b self, spool: &'b Spool) -> Pull<'b> {
        Pull {
            context: self.context,
            subject: self.subject,
            target: &self.target,
            progress: &self.progress,
            spool,
        }
    }

    /// One step towards the whole: the first part, or the next gap, or all gaps over several connections.
    async fn round(&self, spool: &Spool) -> Result<(), Broken> {
        let (size, missing) = (self.target.size(), self.missing());
        let pull = self.pull(spool);
        if self.connections == 1 || size < LARGE {
            return pull
                .alone(missing.first().cloned().unwrap_or(0..size))
                .await;
        }
        match (self.progress.speed(), missing.first()) {
            (Some(speed), _) if speed < FAST => self.parallel(&pull, &missing).await,
            (None, Some(gap)) => pull.alone(gap.start..gap.end.min(gap.start + PROBE)).await,
            (Some(_), Some(gap)) => pull.alone(gap.clone()).await,
            (_, None) => Ok(()),
        }
    }

    /// All that is missing, over several connections. When one breaks, the others end their part and no new one begins.
    async fn parallel(
        &self,
        pull: &Pull<'_>,
        missing: &[std::ops::Range<u64>],
    ) -> Result<(), Broken> {
        let parts: VecDeque<_> = parts::split(missing, PART).into();
        let workers = self.connections.min(parts.len());
        let parts = Mutex::new(parts);
        let next = || lock(&parts).pop_front();
        let worker = async || {
            while let Some(part) = next() {
                if let Err(broken) = pull.beside(part).await {
                    lock(&parts).clear();
                    return Err(broken);
                }
            }
            Ok(())
        };
        let mut first = Ok(());
        for outcome in join_all((0..workers).map(|_| worker())).await {
            // What cannot be mended counts most; else whichever broke first in the list.
            match (&first, &outcome) {
                (Ok(()), _) | (Err(_), Err(Broken::Final(_) | Broken::SpoolEnded)) => {
                    first = outcome;
                }
                _ => {}
            }
        }
        first
    }

    /// New bytes start the count of attempts anew.
    fn note_progress(&mut self) {
        let count = self.progress.count();
        if count > self.furthest {
            self.furthest = count;
            self.attempt = 1;
        }
    }

    fn stats(&self) -> Stats {
        Stats {
            attempts: self.attempts,
            url_refreshes: self.url_refreshes,
            code_changes: self.code_changes,
            ..self.progress.stats()
        }
    }

    fn budget_spent(&self) -> Error {
        Error::new(
            ErrorKind::Timeout,
            format!(
                "the package did not arrive within {} minutes",
                PACKAGE_BUDGET.as_secs() / 60
            ),
        )
        .about(self.subject)
    }
}

/// Nothing panics while such a lock is held, and what it guards is sound at each moment anyway.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
