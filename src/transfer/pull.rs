//! One request, and its body into the spool.

use std::ops::Range;
use std::sync::Mutex;
use std::time::Instant;

use crate::error::{Error, ErrorKind, is_about_certificates};
use crate::events::Event;
use crate::http::{HttpError, LED_ASTRAY, Response};

use super::answer::{Judged, judge};
use super::parts::Have;
use super::retry::Failure;
use super::source::{OpenError, Part, Source};
use super::spool::{Spool, WriterEnded};
use super::throughput::Throughput;
use super::{Broken, Context, Stats, lock, size_of};

/// What has come of a package, and how; shared by all connections of a transfer.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    have: Have,
    /// The object's ETag, for `If-Match`.
    etag: Option<String>,
    /// A request was made on this URL already, so that its age counts.
    url_used: bool,
    /// An attempt broke after bytes had come.
    broke: bool,
    /// Bytes a second of the last body that one connection brought alone.
    speed: Option<f64>,
    stats: Stats,
}

impl Progress {
    pub(super) fn missing(&self, size: u64) -> Vec<Range<u64>> {
        lock(&self.0).have.missing(size)
    }

    pub(super) fn count(&self) -> u64 {
        lock(&self.0).have.count()
    }

    pub(super) fn speed(&self) -> Option<f64> {
        lock(&self.0).speed
    }

    pub(super) fn stats(&self) -> Stats {
        lock(&self.0).stats.clone()
    }

    /// A fresh URL was obtained: it is tried whatever the clocks say.
    pub(super) fn url_is_fresh(&self) {
        lock(&self.0).url_used = false;
    }

    /// The object that the bytes came from is not the one that the rest will come from.
    pub(super) fn forget_object(&self) {
        lock(&self.0).etag = None;
    }

    /// What came is dropped.
    pub(super) fn forget(&self) {
        let mut state = lock(&self.0);
        state.have = Have::default();
        state.etag = None;
        state.broke = false;
    }
}

/// Pulls parts of one target into one spool.
pub(super) struct Pull<'a, S> {
    pub(super) context: Context<'a>,
    pub(super) subject: &'a str,
    pub(super) target: &'a S,
    pub(super) progress: &'a Progress,
    pub(super) spool: &'a Spool,
}

impl<S: Source> Pull<'_, S> {
    /// Pulls `range` while no other connection is at work. A server that ignores ranges then sends the whole, which is
    /// taken from its first byte.
    pub(super) async fn alone(&self, range: Range<u64>) -> Result<(), Broken> {
        let before = self.progress.count();
        let pulled = self.pull(range, true).await;
        self.note_break(&pulled);
        let (body_began, count) = (pulled?, self.progress.count());
        let seconds = body_began.elapsed().as_secs_f64().max(1e-6);
        // A speed in bytes a second needs no more digits than a float has.
        #[expect(clippy::cast_precision_loss)]
        let speed = count.saturating_sub(before) as f64 / seconds;
        tracing::debug!("one connection brings {:.1} MB/s", speed / 1e6);
        lock(&self.progress.0).speed = Some(speed);
        Ok(())
    }

    /// Pulls `range` while other connections pull theirs.
    pub(super) async fn beside(&self, range: Range<u64>) -> Result<(), Broken> {
        let pulled = self.pull(range, false).await;
        self.note_break(&pulled);
        pulled.map(|_| ())
    }

    fn note_break<T>(&self, pulled: &Result<T, Broken>) {
        // A URL that is too old for another request broke nothing.
        let broke = matches!(pulled, Err(broken) if !matches!(broken, Broken::Stale));
        let mut state = lock(&self.progress.0);
        if broke && state.have.count() > 0 {
            state.broke = true;
        }
    }

    /// Gives when the body began.
    async fn pull(&self, range: Range<u64>, alone: bool) -> Result<Instant, Broken> {
        let size = size_of(self.target);
        let etag = self.begin(&range)?;
        let until = (range.end < size).then_some(range.end);
        let asked = (range.start > 0 || until.is_some()).then_some(&range);
        tracing::info!(
            "GET {} from byte {} to {} of {size}",
            self.target,
            range.start,
            range.end
        );
        let part = Part {
            from: range.start,
            until,
            if_match: etag.as_deref(),
        };
        let opened = self.target.open(self.context.http, part).await;
        let mut response = opened.map_err(|e| unopened(e, self.target.words().what))?;
        tracing::debug!(
            "{}: status {}, Content-Length {:?}",
            response.location(),
            response.status(),
            response.content_length()
        );
        self.context.reporter.report(&Event::ObjectAnswered {
            subject: self.subject,
            location: &self.target.location(),
            status: response.status(),
            etag: response.header("etag"),
            version_id: response.header("x-amz-version-id"),
            request_id: response.header("x-amz-request-id"),
            date: response.header("date"),
        });
        let judged = judge(&mut response, asked, self.target).await;
        let range = match judged {
            Judged::Part => range,
            Judged::Whole if asked.is_none() => range,
            Judged::Whole if alone => {
                tracing::info!(
                    "the server ignores the range; taking the whole from the first byte"
                );
                self.progress.forget();
                self.spool
                    .reset()
                    .await
                    .map_err(|WriterEnded| Broken::SpoolEnded)?;
                0..size
            }
            Judged::Whole => return Err(Broken::RangeIgnored),
            Judged::Broken(broken) => return Err(broken),
        };
        self.answered(&response, &range)?;
        let began = Instant::now();
        self.body(&mut response, range).await?;
        Ok(began)
    }

    /// Counts the request; gives the ETag it must match.
    fn begin(&self, range: &Range<u64>) -> Result<Option<String>, Broken> {
        let mut state = lock(&self.progress.0);
        if state.url_used && self.target.about_to_end() {
            return Err(Broken::Stale);
        }
        state.url_used = true;
        state.stats.requests += 1;
        Ok(state.etag.clone().filter(|_| range.start > 0))
    }

    /// Notes what the answer is part of. A server that does not know `If-Match` may send a part of another object.
    fn answered(&self, response: &Response, range: &Range<u64>) -> Result<(), Broken> {
        let mut state = lock(&self.progress.0);
        // A weak ETag says nothing about bytes (RFC 9110 section 8.8.1).
        let etag = response
            .header("etag")
            .filter(|etag| self.target.has_etag() && !etag.starts_with("W/"));
        if let (Some(before), Some(now)) = (&state.etag, etag)
            && before != now
            && state.have.count() > 0
        {
            return Err(Broken::ObjectChanged);
        }
        if range.start > 0 && std::mem::take(&mut state.broke) {
            state.stats.resumed += 1;
        }
        if let Some(etag) = etag {
            state.etag = Some(etag.to_owned());
        }
        Ok(())
    }

    async fn chunk(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, Broken> {
        let chunk = response.chunk().await;
        chunk.map_err(|e| failed(e, self.target.words().what))
    }

    /// Takes the body in, which must bring just the bytes of `range`.
    async fn body(&self, response: &mut Response, range: Range<u64>) -> Result<(), Broken> {
        // A part's length was announced by its Content-Range; the whole's may not have been.
        let is_part = range != (0..size_of(self.target));
        let mut throughput = Throughput::new(self.context.patience, Instant::now());
        let mut at = range.start;
        while let Some(chunk) = self.chunk(response).await? {
            let count = chunk.len() as u64;
            lock(&self.progress.0).stats.bytes += count;
            if at + count > range.end {
                return Err(if is_part {
                    Broken::NotAsAsked {
                        what: "more bytes than the part has".to_owned(),
                    }
                } else {
                    Broken::NotThePackage {
                        what: format!("more than {} bytes", range.end),
                    }
                });
            }
            let written = self.spool.write(at, chunk).await;
            written.map_err(|WriterEnded| Broken::SpoolEnded)?;
            let total = {
                let mut state = lock(&self.progress.0);
                state.have.add(at..at + count);
                state.have.count()
            };
            at += count;
            self.context
                .reporter
                .report(&Event::Downloaded { bytes: total });
            if throughput.stalled(count, Instant::now()) {
                return Err(Broken::Transient {
                    reason: "nearly nothing came for a while".to_owned(),
                    error: Box::new(Error::new(ErrorKind::Timeout, "the download stalled")),
                });
            }
        }
        // With a Content-Length the client saw the break itself.
        if at == range.end {
            Ok(())
        } else if is_part {
            Err(Broken::Transient {
                reason: "a part ended early".to_owned(),
                error: Box::new(Error::new(
                    ErrorKind::Transfer,
                    format!(
                        "the download ended at byte {at} of the part that was to end at {}",
                        range.end
                    ),
                )),
            })
        } else {
            Err(Broken::NotThePackage {
                what: format!("{at} bytes"),
            })
        }
    }
}

/// What it means that a source did not open.
fn unopened(e: OpenError, what: &str) -> Broken {
    let transient = |error: Error| (error.message().to_owned(), Box::new(error));
    match e {
        OpenError::Http(e) => failed(e, what),
        OpenError::Other(Failure::Permanent, error) => Broken::Final(error),
        OpenError::Other(Failure::Transient, error) => {
            let (reason, error) = transient(error);
            Broken::Transient { reason, error }
        }
        OpenError::Other(Failure::Throttled { retry_after }, error) => Broken::Throttled {
            retry_after,
            error: Box::new(error),
        },
    }
}

/// What a failure of the HTTP client means.
pub(super) fn failed(e: HttpError, what: &str) -> Broken {
    let reason = e.to_string();
    let (kind, message, hint) = match &e {
        HttpError::Connect { host, .. } => (
            ErrorKind::Network,
            format!("the {what}'s server cannot be reached"),
            format!(
                "check the network, HTTPS_PROXY and AWS_CA_BUNDLE, and whether {host} may be reached from here"
            ),
        ),
        HttpError::Timeout { .. } => (
            ErrorKind::Timeout,
            "the download brought nothing in time".to_owned(),
            "a slow link may need a longer --read-timeout".to_owned(),
        ),
        HttpError::Broken { .. } => (
            ErrorKind::Transfer,
            "the download broke off".to_owned(),
            "what came is not kept; running again starts anew".to_owned(),
        ),
        HttpError::Redirect { .. } | HttpError::TooLong { .. } => {
            return Broken::Final(
                Error::new(ErrorKind::Transfer, "the download was led astray")
                    .because(e)
                    .hint(LED_ASTRAY),
            );
        }
    };
    let permanent = matches!(&e, HttpError::Connect { source, .. }
        if is_about_certificates(&source.to_string()));
    let error = Error::new(kind, message).hint(hint).because(e);
    if permanent {
        Broken::Final(error)
    } else {
        Broken::Transient {
            reason,
            error: Box::new(error),
        }
    }
}
