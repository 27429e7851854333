//! What an attempt that ended early means for the transfer, and how the next one is prepared.

use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;

use super::retry::{Decision, Failure};
use super::source::Source;
use super::spool::{Spool, WriterEnded};
use super::{Broken, MAX_CHANGES, Renew, Transfer, size_of};

impl<S: Source> Transfer<'_, S> {
    /// Decides what an attempt that ended early means, and prepares the next one.
    pub(super) async fn recover(
        &mut self,
        broken: Broken,
        spool: &mut Spool,
        renew: &mut impl Renew<S>,
    ) -> Result<()> {
        if !matches!(broken, Broken::Stale) {
            self.attempts += 1;
        }
        match broken {
            Broken::Final(error) => Err(error.about(self.subject)),
            Broken::Transient { reason, error } => {
                self.wait(Failure::Transient, &reason, *error).await
            }
            Broken::Throttled { retry_after, error } => {
                self.connections = (self.connections / 2).max(1);
                let failure = Failure::Throttled { retry_after };
                self.wait(failure, "the server asks to slow down", *error)
                    .await
            }
            // A URL that merely grew old costs no attempt; one refused while it should be good does.
            Broken::Stale => self.look_again(spool, renew).await,
            Broken::Expired { code } => {
                let error = Error::new(
                    ErrorKind::UrlExpired,
                    format!("the presigned URL is refused as ended ({code}), and so was each one that replaced it"),
                )
                .hint(self.target.words().expired);
                self.wait(Failure::Transient, "the URL has ended", error)
                    .await?;
                self.look_again(spool, renew).await
            }
            Broken::Gone { code } => {
                if self.gone {
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        format!("{} ({code})", self.target.words().gone),
                    )
                    .about(self.subject)
                    .because(format!("asked for {}", self.target)));
                }
                // A package that changed meanwhile gets a second look of its own.
                self.gone = !self.renew(renew).await?;
                self.restart(spool).await
            }
            Broken::ObjectChanged => {
                let error = Error::new(ErrorKind::Transfer, "the object changes with each request")
                    .hint("something overwrites it again and again, or a cache on the way mixes its versions");
                self.begin_anew("the object changed", error, spool, renew)
                    .await
            }
            Broken::NotAsAsked { what } => {
                let message =
                    "the package's server answers with something else than what is asked for";
                let error = Error::new(ErrorKind::Transfer, message)
                    .because(what.clone())
                    .hint("a proxy or a cache on the way may not know HTTP ranges: try without it (NO_PROXY)");
                self.begin_anew(&what, error, spool, renew).await
            }
            Broken::NotThePackage { what } => {
                let text = format!(
                    "the server sent {what} where {} {} bytes",
                    self.target.words().stated,
                    size_of(&self.target)
                );
                self.refuted(text, renew).await?;
                self.restart(spool).await
            }
            Broken::RangeIgnored => {
                tracing::info!("the server ignores ranges; fetching the whole over one connection");
                self.connections = 1;
                self.restart(spool).await
            }
            Broken::SpoolEnded => Err(Error::new(ErrorKind::Bug, "the spool ended early")),
        }
    }

    /// Drops what came, and begins again with a fresh URL and plain requests.
    async fn begin_anew(
        &mut self,
        reason: &str,
        error: Error,
        spool: &mut Spool,
        renew: &mut impl Renew<S>,
    ) -> Result<()> {
        self.wait(Failure::Transient, reason, error).await?;
        self.connections = 1;
        self.renew(renew).await?;
        self.restart(spool).await
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

    /// Looks again: either the package changed meanwhile, or one clean second download must rule out a fault on the
    /// way. A second refutation of the same package is final.
    pub(super) async fn refuted(&mut self, text: String, renew: &mut impl Renew<S>) -> Result<()> {
        if !self.renew(renew).await? {
            if let Some(first) = self.refuted.take() {
                let mut error = Error::new(ErrorKind::Mismatch, text.clone())
                    .about(self.subject)
                    .hint(self.target.words().mismatch);
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
            // The second download is as plain as can be, so that it can rule out a fault of the first.
            self.connections = 1;
        }
        Ok(())
    }

    /// Asks for a fresh URL; what came stays only if the package is still the same.
    async fn look_again(&mut self, spool: &mut Spool, renew: &mut impl Renew<S>) -> Result<()> {
        if self.renew(renew).await? {
            self.restart(spool).await?;
        }
        Ok(())
    }

    /// Asks for a fresh URL, and says whether the package changed. The same bytes may now lie in another object: then
    /// what came stays, and the object's `ETag` is forgotten.
    async fn renew(&mut self, renew: &mut impl Renew<S>) -> Result<bool> {
        let target = renew.renew().await?;
        self.url_refreshes += 1;
        self.progress.url_is_fresh();
        // The same bytes may lie in another object: a deployment of the same zip makes one.
        let changed = target.claim() != self.target.claim();
        if changed {
            self.code_changes += 1;
            if self.code_changes > MAX_CHANGES {
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
            let size = size_of(&target);
            self.context.reporter.report(&Event::DownloadStarted {
                subject: self.subject,
                size,
            });
        }
        if !changed && !target.same_object(&self.target) {
            self.progress.forget_object();
        }
        self.target = target;
        Ok(changed)
    }

    async fn restart(&mut self, spool: &mut Spool) -> Result<()> {
        self.progress.forget();
        match spool.reset().await {
            Ok(()) => Ok(()),
            Err(WriterEnded) => Err(spool.failure().await.about(self.subject)),
        }
    }

    fn warn(&self, message: &str, hint: &str) {
        self.context.reporter.report(&Event::Warning {
            subject: self.subject,
            message,
            hint: Some(hint),
        });
    }
}
