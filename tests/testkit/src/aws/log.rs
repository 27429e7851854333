//! What the server was asked and what it sent: the requests in order, and the means to wait for one.

use super::clock::lock;
use super::wire::Message;
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One request that the server took, with what became of it so far.
#[derive(Debug, Clone)]
pub struct Request {
    /// When its head and body had arrived.
    pub started: Instant,
    /// When its answer was out, or given up; `None` while under way.
    pub finished: Option<Instant>,
    /// Which connection it came over, counted from 1.
    pub connection: usize,
    /// The operation's name: `GetFunction`, `ListFunctions`, `GetObject`, `HeadObject`, `AssumeRole`, … or `Unknown`.
    pub operation: &'static str,
    /// The method, for example `GET`.
    pub method: String,
    /// The path as sent, percent-encoded.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// Header names in lower case, and their values.
    pub headers: Vec<(String, String)>,
    /// The body of the request.
    pub body: Bytes,
    /// The status answered; `None` when no head was sent (yet).
    pub status: Option<u16>,
    /// Bytes of the answer's body handed to the kernel so far, without the framing.
    pub bytes_sent: u64,
    /// Whether the whole answer was written; false when cut, by a fault or by the client.
    pub complete: bool,
}

impl Request {
    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The header `Range` as sent.
    #[must_use]
    pub fn range(&self) -> Option<&str> {
        self.header("range")
    }

    /// The first value of a query parameter.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The shared log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    requests: Mutex<Vec<Request>>,
    changed: Condvar,
    pub connections: AtomicUsize,
    pub open: AtomicUsize,
    pub most_open: AtomicUsize,
}

impl Log {
    pub fn begin(&self, connection: usize, operation: &'static str, message: &Message) -> usize {
        let mut requests = lock(&self.requests);
        requests.push(Request {
            started: Instant::now(),
            finished: None,
            connection,
            operation,
            method: message.method.clone(),
            path: message.path.clone(),
            query: message.query_pairs(),
            headers: message.headers.clone(),
            body: message.body.clone(),
            status: None,
            bytes_sent: 0,
            complete: false,
        });
        self.changed.notify_all();
        requests.len() - 1
    }

    pub fn update(&self, id: usize, change: impl FnOnce(&mut Request)) {
        if let Some(request) = lock(&self.requests).get_mut(id) {
            change(request);
        }
        self.changed.notify_all();
    }

    /// Waits until what clients have already received is counted too: a count is raised after the write, and the
    /// client may be quicker than that. A tenth of a second at most.
    pub fn settle(&self) {
        let busy: Vec<(usize, u64)> = lock(&self.requests)
            .iter()
            .enumerate()
            .filter(|(_, request)| request.finished.is_none() && !request.complete)
            .map(|(id, request)| (id, request.bytes_sent))
            .collect();
        self.wait_until(Duration::from_millis(100), |requests| {
            busy.iter().all(|(id, sent)| {
                requests.get(*id).is_none_or(|request| {
                    request.finished.is_some() || request.complete || request.bytes_sent > *sent
                })
            })
        });
    }

    pub fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }

    pub fn read<T>(&self, read: impl FnOnce(&[Request]) -> T) -> T {
        read(&lock(&self.requests))
    }

    /// Waits until `condition` holds; false when the time is up first.
    pub fn wait_until(
        &self,
        time_out: Duration,
        mut condition: impl FnMut(&[Request]) -> bool,
    ) -> bool {
        let (_guard, result) = self
            .changed
            .wait_timeout_while(lock(&self.requests), time_out, |requests| {
                !condition(requests)
            })
            .unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }

    pub fn connect(&self) -> usize {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_open.fetch_max(open, Ordering::SeqCst);
        self.connections.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn disconnect(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The greatest number of requests of an operation that were under way at the same moment.
pub(crate) fn most_at_once(requests: &[Request], operation: &str) -> usize {
    let mut moments: Vec<(Instant, isize)> = Vec::new();
    for request in requests.iter().filter(|r| r.operation == operation) {
        moments.push((request.started, 1));
        if let Some(finished) = request.finished {
            moments.push((finished, -1));
        }
    }
    moments.sort();
    let (mut now, mut most) = (0_isize, 0_isize);
    for (_, change) in moments {
        now += change;
        most = most.max(now);
    }
    most.unsigned_abs()
}
