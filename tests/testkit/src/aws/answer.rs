//! What the server answers before any fault touches it: status, headers and body, and AWS's three ways to word an
//! error (rest-json for Lambda, XML for S3, XML in another envelope for STS).

use super::clock::{Clock, random_hex};
use bytes::Bytes;
use serde_json::{Value, json};

/// An answer as a well-behaved AWS would give it.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Where in the object the body starts; 0 for anything but a partial GET.
    pub start: u64,
}

impl Answer {
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".into(), content_type.into())],
            body: body.into(),
            start: 0,
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set_header(name, value);
        self
    }

    /// Replaces a header, or adds it.
    pub fn set_header(&mut self, name: &str, value: impl Into<String>) {
        self.remove_header(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    pub fn remove_header(&mut self, name: &str) {
        self.headers
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// A rest-json answer, with the request id that Lambda sends.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
            .header("x-amzn-RequestId", request_uuid())
    }
}

/// An error as Lambda words it (rest-json): the code stands in `x-amzn-ErrorType`, the message in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaError {
    /// HTTP status.
    pub status: u16,
    /// The exception's name, for example `ResourceNotFoundException`.
    pub code: String,
    /// The text for people.
    pub message: String,
    /// The value of the header `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// `Reason` of a `TooManyRequestsException`, for example `CallerRateLimitExceeded`.
    pub reason: Option<String>,
}

impl LambdaError {
    /// An error with neither `Retry-After` nor `Reason`.
    #[must_use]
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            retry_after: None,
            reason: None,
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        // The front door, which judges credentials, writes `message`; Lambda itself writes `Type` and `Message`.
        let front_door = matches!(
            self.code.as_str(),
            "UnrecognizedClientException"
                | "ExpiredTokenException"
                | "InvalidSignatureException"
                | "MissingAuthenticationTokenException"
                | "IncompleteSignatureException"
        );
        let mut body = if front_door {
            json!({ "message": self.message })
        } else {
            let kind = if self.status >= 500 {
                "Service"
            } else {
                "User"
            };
            json!({ "Type": kind, "Message": self.message })
        };
        if let Some(reason) = &self.reason {
            body["Reason"] = json!(reason);
        }
        let mut answer =
            Answer::json(self.status, &body).header("x-amzn-ErrorType", self.code.as_str());
        if let Some(seconds) = self.retry_after {
            answer.set_header("Retry-After", seconds.to_string());
        }
        answer
    }
}

/// An error as S3 words it.
///
/// Codes, statuses and texts are those of the "Error responses" page of the Amazon S3 API Reference; the bodies of
/// expired URLs are as S3 sends them. Several carry a secret back (the token, the signature), as S3 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Error {
    /// 403 `AccessDenied`, "Request has expired": a presigned URL past its end.
    RequestHasExpired,
    /// 400 `ExpiredToken`: the session token inside the URL ended. The body repeats the token.
    ExpiredToken,
    /// 403 `AccessDenied`, "Access Denied": a bucket or endpoint policy.
    AccessDenied,
    /// 403 `SignatureDoesNotMatch`. The body repeats the signature.
    SignatureDoesNotMatch,
    /// 403 `RequestTimeTooSkewed`.
    RequestTimeTooSkewed,
    /// 404 `NoSuchKey`.
    NoSuchKey,
    /// 404 `NoSuchVersion`.
    NoSuchVersion,
    /// 412 `PreconditionFailed`: `If-Match` named another `ETag`.
    PreconditionFailed,
    /// 416 `InvalidRange`.
    InvalidRange,
    /// 500 `InternalError`.
    InternalError,
    /// 503 `SlowDown`.
    SlowDown,
    /// 503 `ServiceUnavailable`.
    ServiceUnavailable,
    /// 405 `MethodNotAllowed`.
    MethodNotAllowed,
    /// 400 `InvalidArgument`: a presigned URL and the header `Authorization` at once.
    TwoMechanisms,
}

/// What an S3 error body repeats from the request.
#[derive(Debug, Default)]
pub(crate) struct S3Subject {
    pub key: String,
    pub version: String,
    pub token: String,
    pub signature: String,
    pub access_key: String,
    pub expires_seconds: u64,
    pub expires_at: String,
    pub range: String,
    pub size: u64,
}

impl S3Error {
    /// HTTP status, code and message.
    #[must_use]
    pub fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::RequestHasExpired => (403, "AccessDenied", "Request has expired"),
            Self::ExpiredToken => (400, "ExpiredToken", "The provided token has expired."),
            Self::AccessDenied => (403, "AccessDenied", "Access Denied"),
            Self::SignatureDoesNotMatch => (
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            ),
            Self::RequestTimeTooSkewed => (
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
            ),
            Self::NoSuchKey => (404, "NoSuchKey", "The specified key does not exist."),
            Self::NoSuchVersion => (
                404,
                "NoSuchVersion",
                "The specified version does not exist.",
            ),
            Self::PreconditionFailed => (
                412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            ),
            Self::InvalidRange => (
                416,
                "InvalidRange",
                "The requested range is not satisfiable",
            ),
            Self::InternalError => (
                500,
                "InternalError",
                "We encountered an internal error. Please try again.",
            ),
            Self::SlowDown => (503, "SlowDown", "Please reduce your request rate."),
            Self::ServiceUnavailable => (
                503,
                "ServiceUnavailable",
                "Service is unable to handle request.",
            ),
            Self::MethodNotAllowed => (
                405,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
            ),
            Self::TwoMechanisms => (
                400,
                "InvalidArgument",
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
            ),
        }
    }

    pub(crate) fn answer(self, subject: &S3Subject, clock: &Clock) -> Answer {
        let (status, code, message) = self.parts();
        let now = clock.iso();
        let details = match self {
            Self::RequestHasExpired => format!(
                "<X-Amz-Expires>{}</X-Amz-Expires><Expires>{}</Expires><ServerTime>{now}</ServerTime>",
                subject.expires_seconds, subject.expires_at
            ),
            Self::ExpiredToken => format!("<Token-0>{}</Token-0>", escape(&subject.token)),
            Self::SignatureDoesNotMatch => format!(
                "<AWSAccessKeyId>{}</AWSAccessKeyId><SignatureProvided>{}</SignatureProvided>",
                escape(&subject.access_key),
                escape(&subject.signature)
            ),
            Self::RequestTimeTooSkewed => format!(
                "<ServerTime>{now}</ServerTime><MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>"
            ),
            Self::NoSuchKey => format!("<Key>{}</Key>", escape(&subject.key)),
            Self::NoSuchVersion => format!(
                "<Key>{}</Key><VersionId>{}</VersionId>",
                escape(&subject.key),
                escape(&subject.version)
            ),
            Self::PreconditionFailed => "<Condition>If-Match</Condition>".to_owned(),
            Self::InvalidRange => format!(
                "<RangeRequested>{}</RangeRequested><ActualObjectSize>{}</ActualObjectSize>",
                escape(&subject.range),
                subject.size
            ),
            _ => String::new(),
        };
        let request_id = random_hex(8).to_uppercase();
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{details}\
             <RequestId>{request_id}</RequestId><HostId>{}</HostId></Error>",
            random_hex(28)
        );
        let mut answer = Answer::new(status, "application/xml", body)
            .header("x-amz-request-id", request_id)
            .header("x-amz-id-2", random_hex(28));
        if self == Self::InvalidRange {
            answer.set_header("Content-Range", format!("bytes */{}", subject.size));
        }
        answer
    }
}

/// Text made fit for XML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A fresh request id in the form of a UUID.
pub(crate) fn request_uuid() -> String {
    let hex = random_hex(16);
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..32]
    )
}

/// The reason phrase of a status (RFC 9110 section 15); empty for one not used here.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Requested Range Not Satisfiable",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Slow Down",
        _ => "",
    }
}
