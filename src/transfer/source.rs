//! Where the bytes of a package come from: a presigned URL, or whatever else opens at a byte.

use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::http::{Get, HttpClient, HttpError, Response};
use crate::package::Claim;
use crate::presigned::PresignedUrl;

use super::retry::Failure;

/// Something that a GET can be made of, from any byte on. Its `Display` stands in logs and errors, and holds no secret.
pub trait Source: fmt::Display + Send + Sync {
    /// What the bytes must be; digest and size are both there.
    fn claim(&self) -> &Claim;

    /// Begins a GET. Any status is an answer.
    fn open(
        &self,
        http: &HttpClient,
        part: Part<'_>,
    ) -> impl Future<Output = Result<Response, OpenError>> + Send;

    /// Where it is, for records: of a presigned URL with only `versionId` left of its query.
    fn location(&self) -> String {
        self.to_string()
    }

    /// The words for it in messages.
    fn words(&self) -> &'static Words;

    /// What a 401 or 403 means, or a signature that was refused: the kind, and what to do. `code` is the server's; `response`
    /// says who answered.
    fn denied(&self, code: Option<&str>, response: &Response) -> (ErrorKind, String);

    /// Whether no request should be started on it any more.
    fn about_to_end(&self) -> bool {
        false
    }

    /// Whether both are the same version of one object, as far as they tell. Asked only where they are the same bytes.
    fn same_object(&self, _other: &Self) -> bool {
        true
    }

    /// Whether the server's `ETag` tells one object from another. Not where the address itself is a digest: such an object
    /// never changes, and may be served by several servers that each have a tag of their own.
    fn has_etag(&self) -> bool {
        true
    }

    /// The most connections at once.
    fn connections(&self) -> usize {
        usize::MAX
    }

    /// How many transfers like this one run at the same time: they share what one may hold in memory.
    fn at_once(&self) -> usize {
        1
    }
}

/// Which bytes are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The first one.
    pub from: u64,
    /// The byte before which to end; None is the object's end.
    pub until: Option<u64>,
    /// The `ETag` that the object must have.
    pub if_match: Option<&'a str>,
}

/// Why a source gave no answer.
#[derive(Debug)]
pub enum OpenError {
    /// The request for the bytes brought none.
    Http(HttpError),
    /// What is needed to make it could not be had: a token, say.
    Other(Failure, Error),
}

/// How messages speak of a source.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// `package`.
    pub what: &'static str,
    /// Who stated its size, with the verb: `Lambda states`.
    pub stated: &'static str,
    /// Where it is not found: `the package is not where Lambda says`.
    pub gone: &'static str,
    /// What to do when bytes do not match.
    pub mismatch: &'static str,
    /// What to do when URLs are refused as ended again and again.
    pub expired: &'static str,
}

/// One package of Lambda's to fetch: where it is, and what Lambda stated about it in the same answer.
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

const PACKAGE: Words = Words {
    what: "package",
    stated: "Lambda states",
    gone: "the package is not where Lambda says",
    mismatch: "nothing was kept or unpacked: what is served is not the deployed package",
    expired: "is a clock wrong, here or at a proxy? Lambda's URLs are good for 10 minutes",
};

impl Source for Target {
    fn claim(&self) -> &Claim {
        &self.claim
    }

    async fn open(&self, http: &HttpClient, part: Part<'_>) -> Result<Response, OpenError> {
        let get = Get {
            from: part.from,
            until: part.until,
            if_match: part.if_match,
            ..Get::of(self.url.secret_url())
        };
        http.get(get).await.map_err(OpenError::Http)
    }

    fn location(&self) -> String {
        self.url.redacted()
    }

    fn words(&self) -> &'static Words {
        &PACKAGE
    }

    fn denied(&self, code: Option<&str>, response: &Response) -> (ErrorKind, String) {
        denied(self.signer, code, &response.location())
    }

    fn about_to_end(&self) -> bool {
        self.url.about_to_end()
    }

    fn same_object(&self, other: &Self) -> bool {
        match (self.url.version_id(), other.url.version_id()) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

fn denied(signer: Signer, code: Option<&str>, location: &str) -> (ErrorKind, String) {
    match (code, signer) {
        (Some("SignatureDoesNotMatch"), Signer::Caller) => (
            ErrorKind::CredentialsRefused,
            "the secret access key is wrong, or a proxy rewrote the request".to_owned(),
        ),
        (Some("SignatureDoesNotMatch"), Signer::Lambda) => (
            ErrorKind::AccessDenied,
            "Lambda's signature arrived changed: a proxy on the way rewrites requests".to_owned(),
        ),
        (_, Signer::Caller) => (
            ErrorKind::AccessDenied,
            format!(
                "the caller needs the IAM action s3:GetObjectVersion (s3:GetObject without versions) on the object, and kms:Decrypt where it is encrypted with a key: {location}"
            ),
        ),
        (_, Signer::Lambda) => {
            let host = location.split('/').nth(2).unwrap_or_default();
            (
                ErrorKind::AccessDenied,
                format!(
                    "Lambda signed this URL itself, so no permission of yours is missing: something between here and {host} denies it, such as the policy of an S3 endpoint, a data perimeter or a proxy"
                ),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_of_lambdas_own_url_blames_no_permission_of_the_callers() {
        let location = "https://bucket.s3.eu-west-1.amazonaws.com/key";
        for (code, hint) in [
            (Some("AccessDenied"), "bucket.s3.eu-west-1"),
            (Some("SignatureDoesNotMatch"), "proxy"),
            (None, "bucket.s3.eu-west-1"),
        ] {
            let (kind, text) = denied(Signer::Lambda, code, location);
            assert_eq!(kind, ErrorKind::AccessDenied);
            assert!(text.contains(hint) && !text.contains("lambda:"), "{text}");
        }
        let (_, text) = denied(Signer::Caller, None, location);
        assert!(text.contains("s3:GetObjectVersion"), "{text}");
        let (kind, _) = denied(Signer::Caller, Some("SignatureDoesNotMatch"), location);
        assert_eq!(kind, ErrorKind::CredentialsRefused);
    }
}
