//! The acquisition log: one JSON object a line, for every call, package and outcome of a snapshot.
//!
//! It is a [`Reporter`] that stands between the work and the one who shows it, so that no call can be made that the log
//! does not have. What is secret never reaches it: events carry no query of a presigned URL and no environment value.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::bag::{Bag, Entry, Stream};
use crate::error::Result;
use crate::events::{Event, Reporter};
use crate::files;

/// The version of the log's lines.
pub const LOG_VERSION: u32 = 1;
/// Its path in the bag.
pub const LOG: &str = "data/acquisition.jsonl";

/// The log of one snapshot.
pub struct Log {
    begun: Instant,
    state: Mutex<State>,
    inner: Arc<dyn Reporter>,
}

struct State {
    /// None once the log has ended.
    stream: Option<Stream>,
    seq: u64,
    /// Why a line could not be written.
    failed: Option<io::Error>,
    clock: Clock,
    /// By subject, what last answered with its package.
    objects: HashMap<String, Object>,
    calls: u64,
}

/// Which object a package came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Object {
    /// The URL with only `versionId` left of its query.
    pub location: String,
    /// As S3 states it.
    pub version_id: Option<String>,
    /// As S3 states it, with its quotes.
    pub etag: Option<String>,
    /// S3's id of the last request.
    pub request_id: Option<String>,
}

/// How far the local clock was ahead of the servers', in seconds. A `Date` has no fractions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// Answers that had a `Date`.
    pub answers: u64,
    /// The least.
    pub least_ahead: Option<i64>,
    /// The most.
    pub most_ahead: Option<i64>,
}

impl Clock {
    fn add(&mut self, ahead: i64) {
        self.answers += 1;
        self.least_ahead = Some(self.least_ahead.map_or(ahead, |least| least.min(ahead)));
        self.most_ahead = Some(self.most_ahead.map_or(ahead, |most| most.max(ahead)));
    }
}

impl Log {
    /// Begins the log in `bag`; events are passed on to `inner`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn begin(bag: &Bag, inner: Arc<dyn Reporter>) -> Result<Self> {
        Ok(Self {
            begun: Instant::now(),
            state: Mutex::new(State {
                stream: Some(bag.stream(LOG)?),
                seq: 0,
                failed: None,
                clock: Clock::default(),
                objects: HashMap::new(),
                calls: 0,
            }),
            inner,
        })
    }

    /// Writes a line: `event`, and what else there is to say. A failure is kept for [`check`](Self::check).
    pub fn note(&self, event: &str, fields: Value) {
        self.write(&mut self.lock(), event, fields);
    }

    /// Which object the package of `subject` came from; forgotten with that.
    pub fn take_object(&self, subject: &str) -> Object {
        self.lock().objects.remove(subject).unwrap_or_default()
    }

    /// How the clocks compared so far.
    pub fn clock(&self) -> Clock {
        self.lock().clock
    }

    /// Calls to AWS's control plane that were answered so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Whether all lines could be written.
    ///
    /// # Errors
    /// One could not.
    pub fn check(&self) -> Result<()> {
        match self.lock().failed.take() {
            Some(e) => Err(files::io_error("the acquisition log cannot be written", e)),
            None => Ok(()),
        }
    }

    /// Ends the log; what is reported after that is only passed on.
    ///
    /// # Errors
    /// A line could not be written.
    pub fn end(&self, bag: &Bag) -> Result<Option<Entry>> {
        self.check()?;
        let stream = self.lock().stream.take();
        stream.map(|stream| bag.end_stream(stream)).transpose()
    }

    fn write(&self, state: &mut State, event: &str, fields: Value) {
        let Some(stream) = &mut state.stream else {
            return;
        };
        let mut line = Map::new();
        line.insert("seq".to_owned(), state.seq.into());
        line.insert("at".to_owned(), now().into());
        let elapsed = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        line.insert("elapsed_us".to_owned(), elapsed.into());
        line.insert("event".to_owned(), event.into());
        if let Value::Object(fields) = fields {
            line.extend(fields);
        }
        // A map of JSON values always serializes.
        let mut text = serde_json::to_vec(&Value::Object(line)).unwrap_or_default();
        text.push(b'\n');
        state.seq += 1;
        if let Err(e) = stream.write(&text) {
            state.failed.get_or_insert(e);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// UTC, with milliseconds.
pub fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

/// How far the local clock is ahead of a `Date` header, in seconds.
fn ahead(date: Option<&str>) -> Option<i64> {
    let date = jiff::fmt::rfc2822::parse(date?).ok()?;
    Some(Timestamp::now().as_second() - date.timestamp().as_second())
}

impl State {
    /// The same, and it is remembered.
    fn compare_clocks(&mut self, date: Option<&str>) -> Option<i64> {
        let ahead = ahead(date)?;
        self.clock.add(ahead);
        Some(ahead)
    }
}

impl Reporter for Log {
    fn report(&self, event: &Event<'_>) {
        match *event {
            Event::Answered {
                operation,
                subject,
                region,
                status,
                request_id,
                date,
            } => {
                let mut state = self.lock();
                let ahead = state.compare_clocks(date);
                state.calls += 1;
                let fields = json!({"operation": operation, "subject": subject, "region": region, "status": status,
                    "request_id": request_id, "server_date": date, "clock_ahead_s": ahead});
                self.write(&mut state, "call", fields);
            }
            Event::ObjectAnswered {
                subject,
                location,
                status,
                etag,
                version_id,
                request_id,
                date,
            } => {
                let mut state = self.lock();
                let ahead = state.compare_clocks(date);
                let text = |value: Option<&str>| value.map(ToOwned::to_owned);
                let object = Object {
                    location: location.to_owned(),
                    version_id: text(version_id),
                    etag: text(etag),
                    request_id: text(request_id),
                };
                state.objects.insert(subject.to_owned(), object);
                let fields = json!({"subject": subject, "location": location, "status": status, "etag": etag,
                    "version_id": version_id, "request_id": request_id, "server_date": date, "clock_ahead_s": ahead});
                self.write(&mut state, "object", fields);
            }
            Event::RegistryAnswered {
                operation,
                subject,
                location,
                status,
                digest,
                request_id,
                date,
            } => {
                let mut state = self.lock();
                let ahead = state.compare_clocks(date);
                let fields = json!({"operation": operation, "method": "GET", "subject": subject, "location": location,
                    "status": status, "digest": digest, "request_id": request_id, "server_date": date,
                    "clock_ahead_s": ahead});
                self.write(&mut state, "registry", fields);
            }
            Event::Retrying {
                what,
                attempt,
                wait,
                reason,
                ..
            } => {
                let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                self.note(
                    "retry",
                    json!({"what": what, "attempt": attempt, "wait_ms": wait, "reason": reason}),
                );
            }
            Event::Warning {
                subject, message, ..
            } => self.note("warning", json!({"subject": subject, "message": message})),
            _ => {}
        }
        self.inner.report(event);
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_an_object_with_its_number_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let bag = Bag::begin(&dir.path().join("bag")).unwrap();
        let log = Log::begin(&bag, Arc::new(())).unwrap();
        log.note("begin", json!({"schema_version": LOG_VERSION}));
        let date =
            jiff::fmt::rfc2822::to_string(&Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC));
        log.report(&Event::ObjectAnswered {
            subject: "f",
            location: "https://h/p?versionId=1",
            status: 200,
            etag: Some("\"e\""),
            version_id: Some("1"),
            request_id: None,
            date: date.as_deref().ok(),
        });
        assert_eq!(log.take_object("f").etag.as_deref(), Some("\"e\""));
        assert_eq!(log.take_object("f"), Object::default());
        let clock = log.clock();
        assert_eq!(clock.answers, 1);
        assert!((0..3).contains(&clock.most_ahead.unwrap()), "{clock:?}");
        log.end(&bag).unwrap().unwrap();
        log.note("late", json!({}));
        let text = std::fs::read_to_string(bag.payload_dir().join(LOG)).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        for (n, line) in lines.iter().enumerate() {
            assert_eq!(line["seq"], n);
            assert!(line["at"].as_str().unwrap().ends_with('Z'));
        }
        assert_eq!(lines[1]["event"], "object");
    }

    #[test]
    fn a_date_that_is_none_is_left_out() {
        assert_eq!(ahead(Some("tomorrow")), None);
        assert_eq!(ahead(None), None);
        assert!(ahead(Some("Tue, 15 Nov 1994 08:12:31 GMT")).unwrap() > 0);
    }
}
