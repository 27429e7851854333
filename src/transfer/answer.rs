//! What an answer to a GET of a package means. The body tells more than the status: S3 says 403 for a URL that
//! ended, for a denial, and for a request that a proxy rewrote.

use std::ops::Range;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::http::Response;

use super::retry::parse_retry_after;
use super::source::Source;
use super::{Broken, size_of};

/// How much of an error's body is read, in bytes.
const ERROR_BODY: usize = 16 * 1024;
/// The longest word or sentence of a server's that is taken for one, in characters.
const MAX_WORDS: usize = 300;

/// What an answer is.
pub(super) enum Judged {
    /// The package from its first byte.
    Whole,
    /// The part that was asked for.
    Part,
    /// Something else.
    Broken(Broken),
}

/// Judges the answer to a request for `range`, or for the whole.
pub(super) async fn judge<S: Source>(
    response: &mut Response,
    range: Option<&Range<u64>>,
    source: &S,
) -> Judged {
    let size = size_of(source);
    match response.status() {
        200 => whole(response, size),
        206 => part(response, range, size),
        status => {
            let retry_after = response.header("retry-after").and_then(parse_retry_after);
            let body = response.text(ERROR_BODY).await;
            let refused = Refused::read(status, &body, response.location());
            let denied = || source.denied(refused.code.as_deref(), response);
            Judged::Broken(refused.judge(source.words().what, retry_after, denied))
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

/// An error as S3 words it ("Error responses" in the S3 API reference), or a registry (OCI Distribution Specification 1.1,
/// "Error Codes").
#[derive(Debug)]
struct Refused {
    status: u16,
    code: Option<String>,
    message: Option<String>,
    /// Who answered.
    location: String,
}

impl Refused {
    fn read(status: u16, body: &str, location: String) -> Self {
        let (code, message) = registry_error(body)
            .unwrap_or_else(|| (xml_text(body, "Code"), xml_text(body, "Message")));
        Self {
            status,
            code,
            message,
            location,
        }
    }

    fn judge(
        &self,
        what: &str,
        retry_after: Option<Duration>,
        denied: impl FnOnce() -> (ErrorKind, String),
    ) -> Broken {
        let code = self.code.clone().unwrap_or_default();
        let message = self.message.as_deref().unwrap_or_default();
        match (self.status, code.as_str()) {
            (_, "ExpiredToken" | "RequestExpired") => Broken::Expired { code },
            (403, "AccessDenied") if message.contains("expired") => Broken::Expired {
                code: message.to_owned(),
            },
            (_, "SlowDown" | "TooManyRequests") | (429, _) => Broken::Throttled {
                retry_after,
                error: Box::new(self.error(ErrorKind::Throttled, what)),
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
                error: Box::new(self.error(ErrorKind::Service, what)),
            },
            _ => Broken::Final(self.refusal(what, denied)),
        }
    }

    /// What larder cannot do anything about.
    fn refusal(&self, what: &str, denied: impl FnOnce() -> (ErrorKind, String)) -> Error {
        match (self.status, self.code.as_deref()) {
            (_, Some("RequestTimeTooSkewed")) => self
                .error(ErrorKind::UrlExpired, what)
                .hint("a clock is wrong, here or at a proxy"),
            (401 | 403, _) | (_, Some("SignatureDoesNotMatch")) => {
                let (kind, hint) = denied();
                self.error(kind, what).hint(hint)
            }
            (407, _) => self.error(ErrorKind::Network, what).hint(
                "the proxy wants a user and password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
            ),
            _ if self.code.is_none() => self.error(ErrorKind::Transfer, what).hint(
                "no storage of packages answers so: a proxy or something else on the way may have given this answer",
            ),
            _ => self.error(ErrorKind::Transfer, what),
        }
    }

    fn error(&self, kind: ErrorKind, what: &str) -> Error {
        let error = Error::new(
            kind,
            format!("the {what}'s server answers with status {}", self.status),
        );
        let mut cause = match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) => "the answer does not say why".to_owned(),
        };
        cause.push_str(", from ");
        cause.push_str(&self.location);
        error.because(cause)
    }

    fn name(&self) -> String {
        match &self.code {
            Some(code) => code.clone(),
            None => format!("status {}", self.status),
        }
    }
}

/// Code and message of the first error of a registry's JSON. None when it is no such JSON.
fn registry_error(body: &str) -> Option<(Option<String>, Option<String>)> {
    let json: serde_json::Value = serde_json::from_str(body).ok()?;
    let first = json.get("errors")?.get(0)?;
    let text = |name: &str| {
        let text = first.get(name)?.as_str()?;
        (text.chars().count() <= MAX_WORDS).then(|| text.to_owned())
    };
    Some((text("code"), text("message")))
}

/// The text of the first `<name>…</name>`; error bodies of S3 are flat, so this reads them whole. Entities stay as
/// they are: the words are shown, not used. A longer text is none that S3 writes here.
fn xml_text(body: &str, name: &str) -> Option<String> {
    let start = body.find(&format!("<{name}>"))? + name.len() + 2;
    let end = start + body[start..].find(&format!("</{name}>"))?;
    let text = &body[start..end];
    (text.chars().count() <= MAX_WORDS).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Broken {
        let location = "https://bucket.s3.eu-west-1.amazonaws.com/key".to_owned();
        let denied = || (ErrorKind::AccessDenied, "the policy".to_owned());
        Refused::read(status, body, location).judge("package", None, denied)
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
        for body in [
            xml("AccessDenied", "Access Denied"),
            xml("SignatureDoesNotMatch", "…"),
            "<html>Forbidden</html>".to_owned(),
        ] {
            let Broken::Final(error) = judged(403, &body) else {
                panic!("{body}");
            };
            assert_eq!(error.kind(), ErrorKind::AccessDenied);
            assert_eq!(error.hint_text(), Some("the policy"));
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
    fn a_registrys_words_are_read_too() {
        let body =
            r#"{"errors":[{"code":"DENIED","message":"no ecr:BatchGetImage"},{"code":"X"}]}"#;
        let Broken::Final(error) = judged(403, body) else {
            panic!();
        };
        let cause = error.causes().join(" ");
        assert!(cause.contains("DENIED: no ecr:BatchGetImage"), "{cause}");
        let gone = judged(404, r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#);
        assert!(matches!(gone, Broken::Gone { code } if code == "BLOB_UNKNOWN"));
        for body in ["", "{}", "[]", r#"{"errors":{}}"#, r#"{"errors":[]}"#] {
            assert!(registry_error(body).is_none(), "{body}");
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
