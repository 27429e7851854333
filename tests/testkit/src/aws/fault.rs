//! Faults: what can go wrong on the way, as data, and when it does.
//!
//! A [`Fault`] says what happens to one answer. [`super::When`] says to which.

use super::answer::{LambdaError, S3Error};
use bytes::Bytes;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a connection ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// An orderly end of stream in the middle of the answer.
    Fin,
    /// A reset (`SO_LINGER` 0): the client's read fails with `ECONNRESET`. What the client had not read yet may be
    /// lost, as on a real network.
    Rst,
}

/// What happens to an answer. Offsets, lengths and rates are in bytes (a second) of the answer's body.
#[derive(Clone)]
pub enum Fault {
    /// The connection ends after so many bytes of the body.
    Drop {
        /// Bytes of the body that are still sent.
        after: u64,
        /// How it ends.
        how: Cut,
    },
    /// Nothing more comes after so many bytes: for a time, or (`None`) until the client gives up.
    Stall {
        /// Bytes of the body that are sent before.
        after: u64,
        /// How long; `None` is for ever.
        time: Option<Duration>,
    },
    /// The body comes at this many bytes a second: a slow link, or, with a small number, a trickle.
    Rate(u64),
    /// The answer's head comes after this time.
    Delay(Duration),
    /// The answer's head itself comes at so many bytes a second.
    SlowHead(u64),
    /// The request is taken, and never answered.
    NoAnswer,
    /// The connection ends after the request, before any byte of an answer.
    Hangup(Cut),
    /// One bit of the body is flipped. The offset is in the object, not in the part asked for.
    FlipBit {
        /// Byte offset in the object.
        offset: u64,
        /// Bit number, 0 to 7.
        bit: u8,
    },
    /// The body lacks its last bytes. Honest: `Content-Length` says so. Otherwise it still names the full length and
    /// the connection is closed early.
    Shorter {
        /// How many bytes are missing.
        by: u64,
        /// Whether `Content-Length` tells.
        honest: bool,
    },
    /// The body goes on behind its end. Honest: `Content-Length` says so. Otherwise the bytes follow an answer that
    /// was complete, as from a server that lost count, and stand before the next answer on a kept connection.
    Longer {
        /// How many bytes more.
        by: u64,
        /// Whether `Content-Length` tells.
        honest: bool,
    },
    /// After a complete answer that did not announce it, the connection ends: the client's pool holds a dead one.
    CloseAfter(Cut),
    /// `Transfer-Encoding: chunked` and no `Content-Length`.
    Chunked,
    /// No `Content-Length` and no chunks: the body ends with the connection.
    UntilClose,
    /// `Range` is ignored: 200 and the whole object.
    IgnoreRange,
    /// A header is replaced or added: `ETag`, `Content-Range`, `Content-Encoding`, …
    Header(String, String),
    /// A header is left out.
    NoHeader(String),
    /// The whole answer is another: status, content type, body.
    Page {
        /// HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: String,
        /// The body.
        body: Bytes,
    },
    /// An error in S3's words.
    S3(S3Error),
    /// An error in Lambda's words.
    Lambda(LambdaError),
    /// A redirect with this status to this `Location`. See also [`Fault::RedirectLoop`].
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// `Location`, as sent.
        to: String,
    },
    /// A redirect with this status to the same path and query at another base (`http://host:port`).
    MovedTo {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Where the same request would be answered.
        base: String,
    },
    /// A redirect (302) to the very URL that was asked for.
    RedirectLoop,
    /// The body is cut to so many bytes, with a `Content-Length` that says so: JSON that ends in the middle.
    CutBody(u64),
    /// The JSON body is changed before it is sent.
    Json(JsonPatch),
}

/// A change to a JSON answer.
#[derive(Clone)]
pub struct JsonPatch(pub(crate) Arc<dyn Fn(&mut Value) + Send + Sync>);

impl JsonPatch {
    /// Wraps the change.
    pub fn new(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }
}

impl fmt::Debug for JsonPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonPatch")
    }
}

impl Fault {
    /// The connection is closed in order after so many bytes of the body.
    #[must_use]
    pub fn fin(after: u64) -> Self {
        Self::Drop {
            after,
            how: Cut::Fin,
        }
    }

    /// The connection is reset after so many bytes of the body.
    #[must_use]
    pub fn rst(after: u64) -> Self {
        Self::Drop {
            after,
            how: Cut::Rst,
        }
    }

    /// After so many bytes nothing more comes, until the client gives up.
    #[must_use]
    pub fn stall(after: u64) -> Self {
        Self::Stall { after, time: None }
    }

    /// After so many bytes nothing comes for this time.
    #[must_use]
    pub fn pause(after: u64, time: Duration) -> Self {
        Self::Stall {
            after,
            time: Some(time),
        }
    }

    /// Bit 0 of the byte at this offset of the object is flipped.
    #[must_use]
    pub fn flip(offset: u64) -> Self {
        Self::FlipBit { offset, bit: 0 }
    }

    /// The body is missing; `Content-Length` is 0.
    #[must_use]
    pub fn empty() -> Self {
        Self::CutBody(0)
    }

    /// 200 with an HTML page, as captive portals and proxies send it.
    #[must_use]
    pub fn html() -> Self {
        Self::Page {
            status: 200,
            content_type: "text/html; charset=utf-8".into(),
            body: Bytes::from_static(
                b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><h1>Please sign in to the network</h1></body></html>\n",
            ),
        }
    }

    /// 200 with an S3 error in XML as the body.
    #[must_use]
    pub fn xml_with_200() -> Self {
        Self::Page {
            status: 200,
            content_type: "application/xml".into(),
            body: Bytes::from_static(
                b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>",
            ),
        }
    }

    /// 200 with JSON that is none.
    #[must_use]
    pub fn not_json() -> Self {
        Self::Page {
            status: 200,
            content_type: "application/json".into(),
            body: Bytes::from_static(b"upstream connect error or disconnect/reset before headers"),
        }
    }

    /// 503 `SlowDown`.
    #[must_use]
    pub fn slow_down() -> Self {
        Self::S3(S3Error::SlowDown)
    }

    /// Lambda's 429, with or without `Retry-After` (seconds).
    #[must_use]
    pub fn throttled(retry_after: Option<u64>) -> Self {
        Self::Lambda(LambdaError {
            retry_after,
            reason: Some("CallerRateLimitExceeded".into()),
            ..LambdaError::new(429, "TooManyRequestsException", "Rate exceeded")
        })
    }

    /// Lambda's 500 `ServiceException`.
    #[must_use]
    pub fn service_exception() -> Self {
        Self::Lambda(LambdaError::new(
            500,
            "ServiceException",
            "An error occurred and the request cannot be processed.",
        ))
    }

    /// Lambda's 403 for an identity without the action (for example `lambda:GetFunction`).
    #[must_use]
    pub fn access_denied(action: &str) -> Self {
        Self::Lambda(LambdaError::new(
            403,
            "AccessDeniedException",
            format!(
                "User: arn:aws:iam::123456789012:user/alice is not authorized to perform: {action} on resource: * because no identity-based policy allows the {action} action"
            ),
        ))
    }

    /// An error in a registry's words.
    #[must_use]
    pub fn registry(status: u16, code: &str, message: &str) -> Self {
        let answer = super::registry::error(status, code, message);
        Self::Page {
            status,
            content_type: "application/json".into(),
            body: answer.body,
        }
    }

    /// `Content-Encoding: gzip` over a body that is not gzip.
    #[must_use]
    pub fn gzip_nonsense() -> Self {
        Self::Header("Content-Encoding".into(), "gzip".into())
    }

    /// Another `ETag` than the object's.
    #[must_use]
    pub fn etag(value: &str) -> Self {
        Self::Header("ETag".into(), value.into())
    }

    /// Another `Content-Range` than the truth.
    #[must_use]
    pub fn content_range(value: &str) -> Self {
        Self::Header("Content-Range".into(), value.into())
    }

    /// A change to the JSON of the answer.
    pub fn json(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::Json(JsonPatch::new(change))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop { after, how } => write!(f, "drop after {after} by {how:?}"),
            Self::Stall { after, time } => write!(f, "stall after {after} for {time:?}"),
            Self::Rate(rate) => write!(f, "{rate} bytes/s"),
            Self::Delay(time) => write!(f, "delay {time:?}"),
            Self::SlowHead(rate) => write!(f, "head at {rate} bytes/s"),
            Self::NoAnswer => f.write_str("no answer"),
            Self::Hangup(how) => write!(f, "hang up by {how:?}"),
            Self::FlipBit { offset, bit } => write!(f, "flip bit {bit} of byte {offset}"),
            Self::Shorter { by, honest } => write!(f, "{by} bytes shorter, honest: {honest}"),
            Self::Longer { by, honest } => write!(f, "{by} bytes longer, honest: {honest}"),
            Self::Chunked => f.write_str("chunked"),
            Self::UntilClose => f.write_str("until close"),
            Self::IgnoreRange => f.write_str("range ignored"),
            Self::Header(name, value) => write!(f, "header {name}: {value}"),
            Self::NoHeader(name) => write!(f, "no header {name}"),
            Self::Page {
                status,
                content_type,
                ..
            } => write!(f, "a page of {content_type} with {status}"),
            Self::S3(error) => write!(f, "S3 {error:?}"),
            Self::Lambda(error) => write!(f, "Lambda {} {}", error.status, error.code),
            Self::Redirect { status, to } => write!(f, "{status} to {to}"),
            Self::MovedTo { status, base } => write!(f, "{status} to {base}"),
            Self::CloseAfter(how) => write!(f, "close after the answer by {how:?}"),
            Self::RedirectLoop => f.write_str("redirect loop"),
            Self::CutBody(length) => write!(f, "body cut to {length}"),
            Self::Json(_) => f.write_str("changed JSON"),
        }
    }
}
