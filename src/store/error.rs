//! What a failure of the object store means. Its own texts hold whole answers of the server, which may repeat credentials
//! and signatures; so only the status and the code are taken from them.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};

use crate::error::{Error, ErrorKind};

/// Whether a failure may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transience {
    /// Perhaps.
    May,
    /// No.
    WillNot,
}

/// Whether what failed is a run or a document of one (lost, damaged, of a newer version), and not the store.
pub fn concerns_one_run(e: &Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::Usage | ErrorKind::Mismatch | ErrorKind::NotFound
    )
}

/// How long to wait after the attempt of this number, from 1.
pub(super) fn pause(attempt: u32) -> Duration {
    let base = Duration::from_millis(200) * 2_u32.saturating_pow(attempt.min(6));
    base.mul_f64(0.5 + fastrand::f64() / 2.0)
}

pub(super) fn transience(e: &object_store::Error) -> Transience {
    match kind(e) {
        ErrorKind::Service | ErrorKind::Network | ErrorKind::Timeout | ErrorKind::Throttled => {
            Transience::May
        }
        _ => Transience::WillNot,
    }
}

/// The failure of something done to `subject`.
pub(super) fn failed(e: object_store::Error, subject: &str) -> Error {
    let kind = kind(&e);
    if let object_store::Error::Unauthenticated { source, .. } = e {
        // The bridge to the credentials puts the reason there, complete.
        return match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(_) => Error::new(
                ErrorKind::CredentialsRefused,
                "the credentials were refused",
            )
            .about(subject)
            .hint("are they the store's? --store-profile and --store-role-arn name others"),
        };
    }
    let message = match kind {
        ErrorKind::NotFound => "is not in the store",
        ErrorKind::AccessDenied => "access to the store was denied",
        ErrorKind::CredentialsRefused => "the credentials were refused",
        ErrorKind::Timeout => "the store did not answer in time",
        ErrorKind::Network => "the store cannot be reached",
        ErrorKind::Throttled => "the store asks to slow down",
        ErrorKind::DiskFull => "cannot be written: the disk is full",
        ErrorKind::Io => "cannot be read or written",
        ErrorKind::Usage => "the bucket is in another region",
        _ => "the store failed",
    };
    let error = Error::new(kind, message).about(subject);
    let error = match kind {
        ErrorKind::Usage => error.hint("name the bucket's region with --store-region"),
        ErrorKind::AccessDenied => error.hint(
            "a store needs s3:GetObject, s3:PutObject and s3:ListBucket (store forget and prune also s3:DeleteObject), and kms:GenerateDataKey and kms:Decrypt where it is encrypted with a key",
        ),
        ErrorKind::NotFound if is_of_the_bucket(&e) => {
            error.hint("there is no such bucket; larder makes none")
        }
        ErrorKind::CredentialsRefused => {
            error.hint("are they the store's? --store-profile and --store-role-arn name others")
        }
        _ => error,
    };
    match cause(&e) {
        Some(cause) => error.because(cause),
        None => error,
    }
}

fn kind(e: &object_store::Error) -> ErrorKind {
    use object_store::Error as E;
    match e {
        E::NotFound { .. } => ErrorKind::NotFound,
        // S3 says with a 403 too that it does not know the credentials.
        E::PermissionDenied { .. } => match of_chain(e) {
            ErrorKind::CredentialsRefused => ErrorKind::CredentialsRefused,
            _ => ErrorKind::AccessDenied,
        },
        E::Unauthenticated { .. } => ErrorKind::CredentialsRefused,
        E::InvalidPath { .. } | E::NotSupported { .. } | E::NotImplemented { .. } => ErrorKind::Bug,
        _ => of_chain(e),
    }
}

fn of_chain(e: &object_store::Error) -> ErrorKind {
    if let Some(io) = find::<io::Error>(e)
        && find::<HttpError>(e).is_none()
    {
        return match io.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            _ => ErrorKind::Io,
        };
    }
    if let Some(code) = code(e) {
        match code.as_str() {
            "ExpiredToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" => {
                return ErrorKind::CredentialsRefused;
            }
            "SlowDown" => return ErrorKind::Throttled,
            "NoSuchBucket" => return ErrorKind::NotFound,
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => return ErrorKind::Usage,
            _ => {}
        }
    }
    // A redirect to another region's host has no answer that could be read.
    if e.to_string().contains("incorrectly configured region") {
        return ErrorKind::Usage;
    }
    match (status(e), find::<HttpError>(e).map(HttpError::kind)) {
        (Some(401), _) => ErrorKind::CredentialsRefused,
        (Some(403), _) => ErrorKind::AccessDenied,
        (Some(429), _) => ErrorKind::Throttled,
        (None, Some(HttpErrorKind::Timeout)) => ErrorKind::Timeout,
        (None, Some(_)) => ErrorKind::Network,
        _ => ErrorKind::Service,
    }
}

/// Whether not only the object is not there.
pub(super) fn is_of_the_bucket(e: &object_store::Error) -> bool {
    code(e).as_deref() == Some("NoSuchBucket")
}

/// What may be shown of the reason.
fn cause(e: &object_store::Error) -> Option<String> {
    if let Some(status) = status(e) {
        return Some(match code(e) {
            Some(code) => format!("it answered {status}, {code}"),
            None => format!("it answered {status}"),
        });
    }
    if find::<HttpError>(e).is_some() {
        return None;
    }
    find::<io::Error>(e).map(ToString::to_string)
}

fn find<T: StdError + 'static>(e: &object_store::Error) -> Option<&T> {
    let mut next: Option<&(dyn StdError + 'static)> = e.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// The HTTP status: the client keeps it in a type of its own, of which only the text can be had.
fn status(e: &object_store::Error) -> Option<u16> {
    let text = e.to_string();
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// `<Code>` in the answer: letters only.
fn code(e: &object_store::Error) -> Option<String> {
    let text = e.to_string();
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: text.to_owned().into(),
        }
    }

    #[test]
    fn a_servers_answer_is_told_by_status_and_code_alone() {
        use ErrorKind as K;
        let body = "<Error><Code>CODE</Code><StringToSign>s3cret</StringToSign></Error>";
        for (status, code, expected) in [
            (500, "InternalError", K::Service),
            (503, "SlowDown", K::Throttled),
            (403, "AccessDenied", K::AccessDenied),
            (403, "SignatureDoesNotMatch", K::CredentialsRefused),
            (400, "ExpiredToken", K::CredentialsRefused),
            (409, "ConditionalRequestConflict", K::Service),
        ] {
            let text = format!(
                "Server returned non-2xx status code: {status} Whatever: {}",
                body.replace("CODE", code)
            );
            let error = failed(generic(&text), "s3://b/x");
            assert_eq!(error.kind(), expected, "{text}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
            assert!(error.causes()[0].contains(code), "{error:?}");
        }
        assert_eq!(transience(&generic("status code: 500 x")), Transience::May);
        assert_eq!(
            transience(&generic("status code: 403 x")),
            Transience::WillNot
        );
    }
}
