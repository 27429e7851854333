//! The transfer of a package: from a presigned URL to verified bytes on disk.
//!
//! Faults are met here, and only here: a broken connection goes on where it stopped, a URL that ended is replaced, a
//! package that changed meanwhile is dropped and fetched anew, and bytes that are not what was stated are never passed
//! on. What to try again, and when, is decided by [`retry`], which does no I/O.
//!
//! ```text
//! Target { url, claim } -> open(from, If-Match) -> judge the answer -> spool + hash -> verify -> Verified
//!        ^                                                  |                            |
//!        +---- Renew: ask again; same package? -------------+---- ended, gone, other ----+
//! ```

pub mod retry;

mod answer;
mod spool;
mod throughput;

use std::fs::File;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::http::{Get, HttpClient, HttpError};
use crate::package::{Claim, Mismatch, Verified};
use crate::presigned::PresignedUrl;

use answer::{Judged, judge};
use retry::{Decision, Failure, RetryPolicy};
use spool::Spool;
use throughput::Throughput;

/// How long one package may take, retries and all.
const PACKAGE_BUDGET: Duration = Duration::from_secs(60 * 60);
/// How often the code may change under one's hands before larder gives up.
const MAX_CHANGES: u32 = 5;
/// How much of an error's body is read, in bytes.
const ERROR_BODY: usize = 16 * 1024;

/// One package to fetch: where it is, and what was stated about it in the same answer.
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
    /// Whether both are the same bytes of the same object.
    fn same_package(&self, other: &Self) -> bool {
        let versions = (self.url.version_id(), other.url.version_id());
        self.claim == other.claim
            && match versions {
                (Some(a), Some(b)) => a == b,
                _ => true,
            }
    }

    fn size(&self) -> u64 {
        self.claim.size().unwrap_or_default()
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
    /// Requests made for the bytes.
    pub attempts: u32,
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
        fresh: true,
        etag: None,
        furthest: 0,
        attempt: 1,
        gone: false,
        refuted: None,
        deadline: Instant::now() + PACKAGE_BUDGET,
        stats: Stats::default(),
    };
    let mut spool = Spool::start(spool);
    loop {
        match transfer.attempt(&mut spool).await {
            Ok(()) => {
                let (received, next) = spool.finish().await?;
                transfer.context.reporter.report(&Event::Verifying {
                    size: received.size(),
                });
                match received.verify(&transfer.target.claim) {
                    Ok(verified) => {
                        let sha256 = verified.sha256();
                        context.reporter.report(&Event::Verified { sha256 });
                        return Ok((verified, transfer.stats));
                    }
                    Err(mismatch) => transfer.refuted(&mismatch, renew).await?,
                }
                spool = next.restart()?;
                transfer.from_the_start();
            }
            Err(broken) => transfer.recover(broken, &mut spool, renew).await?,
        }
    }
}

/// A transfer under way.
struct Transfer<'a> {
    context: Context<'a>,
    subject: &'a str,
    target: Target,
    /// The URL was obtained just now, so it is tried whatever the clocks say.
    fresh: bool,
    /// The object's ETag, for `If-Match` on a resume.
    etag: Option<String>,
    /// The largest count of bytes ever reached for this package. What was fetched once and dropped is no progress
    /// when it comes again, so that the attempts end.
    furthest: u64,
    /// The number of this attempt since bytes last came.
    attempt: u32,
    /// The object was not found, and a fresh URL is being tried.
    gone: bool,
    /// Whole bytes came once that were not the package: what they were.
    refuted: Option<String>,
    deadline: Instant,
    stats: Stats,
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
    /// The URL has ended.
    Expired { code: String },
    /// The object is not there (any more).
    Gone { code: String },
    /// The object is not the one that the transfer began with.
    ObjectChanged,
    /// A success that is something else than the package.
    NotThePackage { what: String },
    /// Nothing more to try.
    Final(Error),
}

impl Transfer<'_> {
    /// One request, and its body into the spool.
    async fn attempt(&mut self, spool: &mut Spool) -> Result<(), Broken> {
        if !self.fresh && self.target.url.about_to_end() {
            return Err(Broken::Expired {
                code: "about to end".to_owned(),
            });
        }
        self.fresh = false;
        let from = spool.len();
        let size = self.target.size();
        if from > 0 && from == size {
            return Ok(());
        }
        self.stats.attempts += 1;
        tracing::info!("GET {} from byte {from} of {size}", self.target.url);
        let get = Get {
            url: self.target.url.secret_url(),
            from,
            if_match: self.etag.as_deref().filter(|_| from > 0),
        };
        let mut response = self
            .context
            .http
            .get(get)
            .await
            .map_err(|e| self.http_failure(e))?;
        tracing::debug!(
            "{}: status {}, Content-Length {:?}",
            response.location(),
            response.status(),
            response.content_length()
        );
        match judge(&mut response, from, size, self.target.signer).await {
            Judged::Whole if from > 0 => {
                tracing::info!("the server ignores the range; starting again from the first byte");
                spool.reset().await.map_err(Broken::Final)?;
            }
            Judged::Whole => {}
            Judged::Rest => self.stats.resumed += 1,
            Judged::Broken(broken) => return Err(broken),
        }
        if let Some(etag) = response.header("etag")
            && !etag.starts_with("W/")
        {
            self.etag = Some(etag.to_owned());
        }

        let mut throughput = Throughput::new(self.context.patience, Instant::now());
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(e) => return Err(self.http_failure(e)),
            };
            self.stats.bytes += chunk.len() as u64;
            if spool.len() + chunk.len() as u64 > size {
                return Err(Broken::NotThePackage {
                    what: format!("more than {size} bytes"),
                });
            }
            let count = chunk.len() as u64;
            spool.write(chunk).await.map_err(Broken::Final)?;
            if spool.len() > self.furthest {
                self.furthest = spool.len();
                self.attempt = 1;
            }
            self.context
                .reporter
                .report(&Event::Downloaded { bytes: spool.len() });
            if throughput.stalled(count, Instant::now()) {
                return Err(self.transient(
                    "nearly nothing came for a while".to_owned(),
                    Error::new(ErrorKind::Timeout, "the download stalled"),
                ));
            }
        }
        if spool.len() < size {
            // Without a Content-Length an early end looks like a whole body; with one, the client saw the break.
            return Err(Broken::NotThePackage {
                what: format!("{} bytes", spool.len()),
            });
        }
        Ok(())
    }

    /// Decides what an attempt that ended early means, and prepares the next one.
    async fn recover(
        &mut self,
        broken: Broken,
        spool: &mut Spool,
        renew: &mut impl Renew,
    ) -> Result<()> {
        if Instant::now() >= self.deadline {
            return Err(self.budget_spent());
        }
        match broken {
            Broken::Final(error) => Err(error.about(self.subject)),
            Broken::Transient { reason, error } => {
                self.wait(Failure::Transient, &reason, *error).await
            }
            Broken::Throttled { retry_after, error } => {
                let failure = Failure::Throttled { retry_after };
                self.wait(failure, "the server asks to slow down", *error)
                    .await
            }
            Broken::Expired { code } => {
                // A URL that merely grew old costs no attempt; one refused while it should be good does.
                if code != "about to end" {
                    let error = Error::new(
                        ErrorKind::UrlExpired,
                        format!("the presigned URL is refused as ended ({code}), and so was each one that replaced it"),
                    )
                    .hint("is a clock wrong, here or at a proxy? Lambda's URLs are good for 10 minutes");
                    self.wait(Failure::Transient, "the URL has ended", error)
                        .await?;
                }
                self.look_again(spool, renew).await
            }
            Broken::Gone { code } => {
                if self.gone {
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        format!("the package is not where Lambda says ({code})"),
                    )
                    .about(self.subject)
                    .because(format!("asked for {}", self.target.url)));
                }
                self.look_again(spool, renew).await?;
                self.gone = true;
                self.restart(spool).await
            }
            Broken::ObjectChanged => {
                let error = Error::new(ErrorKind::Transfer, "the object changes with each request");
                self.wait(Failure::Transient, "the object changed", error)
                    .await?;
                self.look_again(spool, renew).await?;
                self.restart(spool).await
            }
            Broken::NotThePackage { what } => {
                let text = format!(
                    "the server sent {what} where Lambda states {} bytes",
                    self.target.size()
                );
                self.refuted_by(text, renew).await?;
                self.restart(spool).await
            }
        }
    }

    /// Waits before the next attempt, or gives up with `error`.
    async fn wait(&mut self, failure: Failure, reason: &str, error: Error) -> Result<()> {
        match self
            .context
            .retry
            .decide(failure, self.attempt, fastrand::f64())
        {
            Decision::Stop => Err(error.about(self.subject)),
            Decision::Again(wait) => {
                tracing::info!("{}: {reason}; again in {wait:.1?}", self.subject);
                self.context.reporter.report(&Event::Retrying {
                    what: "the download",
                    attempt: self.attempt,
                    max_attempts: self.context.retry.max_attempts(),
                    wait,
                    reason,
                });
                self.attempt += 1;
                tokio::time::sleep(wait).await;
                Ok(())
            }
        }
    }

    /// Whole bytes came that are not the package.
    async fn refuted(&mut self, mismatch: &Mismatch, renew: &mut impl Renew) -> Result<()> {
        let text = mismatch.to_string();
        self.refuted_by(text, renew).await
    }

    /// Looks again: either the package changed meanwhile, or one clean second download must rule out a fault on the
    /// way. A second refutation of the same package is final.
    async fn refuted_by(&mut self, text: String, renew: &mut impl Renew) -> Result<()> {
        if !self.renew(renew).await? {
            if let Some(first) = self.refuted.take() {
                let mut error = Error::new(ErrorKind::Mismatch, text.clone())
                    .about(self.subject)
                    .hint(
                        "nothing was kept or unpacked: what is served is not the deployed package",
                    );
                if first == text {
                    error = error.because("a second, clean download brought the same");
                } else {
                    error = error.because(format!(
                        "of two clean downloads, the first differed too: {first}"
                    ));
                }
                return Err(error);
            }
            self.warn(&text, "fetching once more to rule out a fault on the way");
            self.refuted = Some(text);
        }
        Ok(())
    }

    /// Asks for a fresh URL; what came stays only if the package is still the same.
    async fn look_again(&mut self, spool: &mut Spool, renew: &mut impl Renew) -> Result<()> {
        if self.renew(renew).await? {
            self.restart(spool).await?;
        }
        Ok(())
    }

    /// Asks for a fresh URL, and says whether the package changed.
    async fn renew(&mut self, renew: &mut impl Renew) -> Result<bool> {
        let target = renew.renew().await?;
        self.stats.url_refreshes += 1;
        self.fresh = true;
        let changed = !target.same_package(&self.target);
        if changed {
            self.stats.code_changes += 1;
            if self.stats.code_changes > MAX_CHANGES {
                return Err(Error::new(
                    ErrorKind::Unsettled,
                    format!("the code changed {MAX_CHANGES} times while it was fetched"),
                )
                .about(self.subject)
                .hint("something deploys again and again; try when it is done"));
            }
            self.warn(
                "the code changed while it was fetched",
                "what had come is dropped; fetching the new package",
            );
            self.refuted = None;
            self.gone = false;
            self.furthest = 0;
            let size = target.size();
            self.context.reporter.report(&Event::DownloadStarted {
                subject: self.subject,
                size,
            });
        }
        self.target = target;
        Ok(changed)
    }

    async fn restart(&mut self, spool: &mut Spool) -> Result<()> {
        spool.reset().await?;
        self.from_the_start();
        Ok(())
    }

    fn from_the_start(&mut self) {
        self.etag = None;
    }

    fn warn(&self, message: &str, hint: &str) {
        self.context.reporter.report(&Event::Warning {
            subject: self.subject,
            message,
            hint: Some(hint),
        });
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

    fn transient(&self, reason: String, error: Error) -> Broken {
        Broken::Transient {
            reason,
            error: Box::new(error.about(self.subject)),
        }
    }

    fn http_failure(&self, e: HttpError) -> Broken {
        let reason = e.to_string();
        let (kind, message, hint) = match &e {
            HttpError::Connect { host, .. } => (
                ErrorKind::Network,
                "the package's server cannot be reached",
                format!(
                    "check the network, HTTPS_PROXY and AWS_CA_BUNDLE, and whether {host} may be reached from here"
                ),
            ),
            HttpError::Timeout { .. } => (
                ErrorKind::Timeout,
                "the download brought nothing in time",
                "a slow link may need a longer --read-timeout".to_owned(),
            ),
            HttpError::Broken { .. } => (
                ErrorKind::Transfer,
                "the download broke off",
                "what came is not kept; running again starts anew".to_owned(),
            ),
            HttpError::Redirect { .. } => {
                return Broken::Final(
                    Error::new(ErrorKind::Transfer, "the download was redirected astray")
                        .because(e),
                );
            }
        };
        let permanent = matches!(&e, HttpError::Connect { source, .. }
            if source.to_string().to_ascii_lowercase().contains("certificate"));
        let error = Error::new(kind, message).hint(hint).because(e);
        if permanent {
            Broken::Final(error)
        } else {
            self.transient(reason, error)
        }
    }
}
