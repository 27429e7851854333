//! What an answer to a GET of a package means. The body tells more than the status: S3 says 403 for a URL that
//! ended, for a denial, and for a request that a proxy rewrote.

use std::ops::Range;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::http::Response;

use super::retry::parse_retry_after;
use super::{Broken, Signer};

/// How much of an error's body is read, in bytes.
const ERROR_BODY: usize = 16 * 1024;

/// What an answer is.
pub(super) enum Judged {
    /// The package from its first byte.
    Whole,
    /// The part that was asked for.
    Part,
    /// Something else.
    Broken(Broken),
}

/// Judges the answer to a request for `range`, or for the whole of a package of `size` bytes.
pub(super) async fn judge(
    response: &mut Response,
    range: Option<&Range<u64>>,
    size: u64,
    signer: Signer,
) -> Judged {
    match response.status() {
        200 => whole(response, size),
        206 => part(response, range, size),
        status => {
            let retry_after = response.header("retry-after").and_then(parse_retry_after);
            let body = response.text(ERROR_BODY).await;
            let location = response.location();
            let error = S3Error {
                status,
                code: xml_text(&body, "Code"),
                message: xml_text(&body, "Message"),
                signer,
            };
            Judged::Broken(error.judge(retry_after, &location))
        }
    }
}

fn whole(response: &Response, size: u64) -> Judged {
    match response.content_length() {
        Some(length) if length != size => {
            let kind = response.header("content-type").unwrap_or("unknown type");
            Judged::Broken(Broken::NotThePackage {
                what: format!("{length} bytes of {kind}"),
            })
        }
        _ => Judged::Whole,
    }
}

fn part(response: &Response, range: Option<&Range<u64>>, size: u64) -> Judged {
    let sent = response
        .header("content-range")
        .and_then(parse_content_range);
    let length = response.content_length();
    let right = |asked: &Range<u64>| {
        sent.is_some_and(|(first, last, total)| {
            first == asked.start
                && last.checked_add(1) == Some(asked.end)
                && total.is_none_or(|total| total == size)
        }) && length.is_none_or(|length| length == asked.end - asked.start)
    };
    if range.is_some_and(right) {
        Judged::Part
    } else {
        // Nothing of it is used, and the next request asks for the whole.
        let what = match (range, &sent) {
            (None, _) => "a part (status 206) where the whole was asked for",
            (Some(_), None) => "a part (status 206) that does not say which (Content-Range)",
            (Some(_), Some(_)) => "another part (status 206) than the one asked for",
        };
        Judged::Broken(Broken::NotAsAsked { what: what.into() })
    }
}

/// Reads `bytes 5-9/10` or `bytes 5-9/*` (RFC 9110 section 14.4) as first, last, total.
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        digits => Some(digits.parse().ok()?),
    };
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last, total))
}

/// An error as S3 words it ("Error responses" in the S3 API reference).
#[derive(Debug)]
struct S3Error {
    status: u16,
    code: Option<String>,
    message: Option<String>,
    signer: Signer,
}

impl S3Error {
    fn judge(self, retry_after: Option<Duration>, location: &str) -> Broken {
        let code = self.code.clone().unwrap_or_default();
        let message = self.message.as_deref().unwrap_or_default();
        match (self.status, code.as_str()) {
            (_, "ExpiredToken" | "RequestExpired") => Broken::Expired { code },
            (403, "AccessDenied") if message.contains("expired") => Broken::Expired {
                code: message.to_owned(),
            },
            (_, "SlowDown" | "TooManyRequests") | (429, _) => Broken::Throttled {
                retry_after,
                error: Box::new(self.error(ErrorKind::Throttled, location)),
            },
            (404 | 410, _) | (_, "NoSuchVersion" | "NoSuchKey") => {
                Broken::Gone { code: self.name() }
            }
            (412, _) => Broken::ObjectChanged,
            (416, _) => Broken::NotAsAsked {
                what: "it says that there is no such part (status 416)".into(),
            },
            (408 | 500..=599, _) => Broken::Transient {
                reason: self.name(),
                error: Box::new(self.error(ErrorKind::Service, location)),
            },
            _ => Broken::Final(self.refusal(location)),
        }
    }

    /// What larder cannot do anything about.
    fn refusal(&self, location: &str) -> Error {
        let host = location.split('/').nth(2).unwrap_or_default();
        match (self.status, self.code.as_deref()) {
            (_, Some("SignatureDoesNotMatch")) if self.signer == Signer::Caller => self
                .error(ErrorKind::CredentialsRefused, location)
                .hint("the secret access key is wrong, or a proxy rewrote the request"),
            (_, Some("SignatureDoesNotMatch")) => {
                self.error(ErrorKind::AccessDenied, location).hint(
                    "Lambda's signature arrived changed: a proxy on the way rewrites requests",
                )
            }
            (_, Some("RequestTimeTooSkewed")) => self
                .error(ErrorKind::UrlExpired, location)
                .hint("a clock is wrong, here or at a proxy"),
            (401 | 403, _) if self.signer == Signer::Caller => {
                self.error(ErrorKind::AccessDenied, location).hint(format!(
                    "the caller needs the IAM action s3:GetObjectVersion (s3:GetObject without versions) on the object, and kms:Decrypt where it is encrypted with a key: {location}"
                ))
            }
            (401 | 403, _) => self.error(ErrorKind::AccessDenied, location).hint(format!(
                "Lambda signed this URL itself, so no permission of yours is missing: something between here and {host} denies it, such as the policy of an S3 endpoint, a data perimeter or a proxy"
            )),
            (407, _) => self
                .error(ErrorKind::Network, location)
                .hint("the proxy wants a user and password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"),
            _ if self.code.is_none() => self.error(ErrorKind::Transfer, location).hint(format!(
                "S3 does not answer so: a proxy or something else between here and {host} may have given this answer"
            )),
            _ => self.error(ErrorKind::Transfer, location),
        }
    }

    fn error(&self, kind: ErrorKind, location: &str) -> Error {
        let error = Error::new(
            kind,
            format!("the package's server answers with status {}", self.status),
        );
        let mut cause = match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) => "the answer does not say why".to_owned(),
        };
        cause.push_str(", from ");
        cause.push_str(location);
        error.because(cause)
    }

    fn name(&self) -> String {
        match &self.code {
            Some(code) => code.clone(),
            None => format!("status {}", self.status),
        }
    }
}

/// The text of the first `<name>…</name>`; error bodies of S3 are flat, so this reads them whole. Entities stay as
/// they are: the words are shown, not used. A text over 300 characters is none that S3 writes here.
fn xml_text(body: &str, name: &str) -> Option<String> {
    let start = body.find(&format!("<{name}>"))? + name.len() + 2;
    let end = start + body[start..].find(&format!("</{name}>"))?;
    let text = &body[start..end];
    (text.chars().count() <= 300).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Broken {
        S3Error {
            status,
            code: xml_text(body, "Code"),
            message: xml_text(body, "Message"),
            signer: Signer::Lambda,
        }
        .judge(None, "https://bucket.s3.eu-west-1.amazonaws.com/key")
    }

    fn xml(code: &str, message: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        )
    }

    #[test]
    fn each_kind_of_403_is_told_apart() {
        assert!(matches!(
            judged(403, &xml("AccessDenied", "Request has expired")),
            Broken::Expired { .. }
        ));
        assert!(matches!(
            judged(400, &xml("ExpiredToken", "The provided token has expired.")),
            Broken::Expired { .. }
        ));
        for (body, hint) in [
            (xml("AccessDenied", "Access Denied"), "bucket.s3.eu-west-1"),
            (xml("SignatureDoesNotMatch", "…"), "proxy"),
            ("<html>Forbidden</html>".to_owned(), "bucket.s3.eu-west-1"),
        ] {
            let Broken::Final(error) = judged(403, &body) else {
                panic!("{body}");
            };
            assert_eq!(error.kind(), ErrorKind::AccessDenied);
            let text = error.hint_text().unwrap();
            assert!(text.contains(hint) && !text.contains("lambda:"), "{text}");
        }
        let Broken::Final(error) = judged(403, &xml("RequestTimeTooSkewed", "…")) else {
            panic!();
        };
        assert!(error.hint_text().unwrap().contains("clock"));
    }

    #[test]
    fn other_statuses_are_what_they_are() {
        assert!(matches!(
            judged(404, &xml("NoSuchKey", "")),
            Broken::Gone { .. }
        ));
        assert!(matches!(judged(412, ""), Broken::ObjectChanged));
        assert!(matches!(judged(416, ""), Broken::NotAsAsked { .. }));
        assert!(matches!(
            judged(500, &xml("InternalError", "")),
            Broken::Transient { .. }
        ));
        assert!(matches!(
            judged(503, &xml("SlowDown", "")),
            Broken::Throttled { .. }
        ));
        for status in [204, 304, 418] {
            let Broken::Final(error) = judged(status, "") else {
                panic!("{status}");
            };
            assert!(error.hint_text().unwrap().contains("proxy"), "{status}");
        }
    }

    #[test]
    fn content_ranges_are_read_strictly() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(parse_content_range("bytes 0-0/*"), Some((0, 0, None)));
        for text in [
            "",
            "bytes */10",
            "bytes 9-5/10",
            "items 0-1/2",
            "bytes 0-1",
            "bytes -1-2/3",
            "bytes 0-1/x",
        ] {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }

    #[test]
    fn xml_is_read_only_as_far_as_it_goes() {
        assert_eq!(xml_text("<Code>A</Code>", "Code").as_deref(), Some("A"));
        for body in [
            "",
            "<Code>",
            "</Code><Code>",
            "Code",
            &format!("<Code>{}</Code>", "x".repeat(301)),
        ] {
            assert_eq!(xml_text(body, "Code"), None, "{body}");
        }
    }
}
