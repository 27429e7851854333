//! A presigned GET of an object in the caller's reach, for packages that Lambda keeps no copy of.
//!
//! With `S3ObjectStorageMode=REFERENCE` the customer's object is the only copy. It is asked for with the caller's own
//! credentials, and otherwise fetched like any package: same time-outs, same resume, same verification. So is a location
//! that an emulator states without a signature.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use tokio::sync::Mutex;
use url::Url;

use super::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::lambda::credentials_error;
use crate::package::S3ObjectRef;
use crate::presigned::PresignedUrl;

/// As long as Lambda's own URLs are good for.
const LIFETIME: Duration = Duration::from_secs(600);
/// Credentials that end sooner are asked for anew: a URL is good for no longer than they are.
const MARGIN: Duration = Duration::from_secs(300);

impl Session {
    /// A URL for a GET of `object`, signed with the caller's credentials. Makes no call to S3.
    ///
    /// # Errors
    /// There are no credentials, or the object's name makes no URL.
    pub(crate) async fn presign(&self, object: &S3ObjectRef) -> Result<PresignedUrl> {
        let subject = format!("s3://{}/{}", object.bucket, object.key);
        let url = object_url(object, self.region(), self.s3_endpoint());
        self.presigned(url, subject).await
    }

    /// The same for a location that Lambda stated without a signature, as emulators do; None for any other.
    ///
    /// # Errors
    /// There are no credentials.
    pub(crate) async fn presign_unsigned(
        &self,
        location: &PresignedUrl,
    ) -> Result<Option<PresignedUrl>> {
        match location.unsigned_object(self.s3_endpoint()) {
            Some(url) => {
                tracing::info!("{location} is not signed; asking with the caller's credentials");
                Ok(Some(self.presigned(Ok(url), location.redacted()).await?))
            }
            None => Ok(None),
        }
    }

    async fn presigned(&self, url: Result<Url, BoxError>, subject: String) -> Result<PresignedUrl> {
        let failed = |e: BoxError| {
            Error::new(ErrorKind::Transfer, "the URL of the object cannot be made")
                .about(&*subject)
                .because(e)
        };
        let url = url.map_err(failed)?;
        let credentials = self.signers.get(self, &subject).await?;
        signed(url, credentials, self.region(), SystemTime::now(), LIFETIME)
            .and_then(|url| PresignedUrl::parse(url.as_str()).map_err(Into::into))
            .map_err(failed)
    }
}

/// The credentials that objects are asked for with, so that not each object costs a call to STS or a process.
#[derive(Debug, Clone, Default)]
pub(super) struct Signers(Arc<Mutex<Option<Signer>>>);

#[derive(Debug)]
struct Signer {
    credentials: Credentials,
    /// What was signed with them. Who asks for the same again had the former URL refused, or it ended.
    subjects: HashSet<String>,
}

impl Signer {
    fn is_good_for(&self, subject: &str, now: SystemTime) -> bool {
        self.has_time(now) && !self.subjects.contains(subject)
    }

    fn has_time(&self, now: SystemTime) -> bool {
        let end = self.credentials.expiry();
        end.is_none_or(|end| end > now + MARGIN)
    }
}

impl Signers {
    async fn get(&self, session: &Session, subject: &str) -> Result<Credentials> {
        let mut kept = self.0.lock().await;
        if let Some(signer) = &mut *kept
            && signer.is_good_for(subject, SystemTime::now())
        {
            signer.subjects.insert(subject.to_owned());
            return Ok(signer.credentials.clone());
        }
        let credentials = Self::ask(session, subject).await?;
        *kept = Some(Signer {
            credentials: credentials.clone(),
            subjects: HashSet::from([subject.to_owned()]),
        });
        Ok(credentials)
    }

    /// Credentials that are good for now, for a call about `subject`.
    pub(super) async fn current(&self, session: &Session, subject: &str) -> Result<Credentials> {
        let mut kept = self.0.lock().await;
        if let Some(signer) = &*kept
            && signer.has_time(SystemTime::now())
        {
            return Ok(signer.credentials.clone());
        }
        let credentials = Self::ask(session, subject).await?;
        *kept = Some(Signer {
            credentials: credentials.clone(),
            subjects: HashSet::new(),
        });
        Ok(credentials)
    }

    /// Those that are kept were refused: the next call asks for others.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }

    async fn ask(session: &Session, subject: &str) -> Result<Credentials> {
        let credentials = match session.config().credentials_provider() {
            Some(provider) => {
                // Neither a process that gives credentials nor every other source of them bounds its time.
                let limit = session.credentials_timeout;
                match tokio::time::timeout(limit, provider.provide_credentials()).await {
                    Ok(result) => result,
                    Err(_) => Err(CredentialsError::provider_timed_out(limit)),
                }
            }
            None => Err(CredentialsError::not_loaded("no source of them is set up")),
        };
        credentials.map_err(|e| credentials_error(&e, subject, session.region()))
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Path-style at an endpoint that was set, else `https://BUCKET.s3.REGION.SUFFIX/KEY`; path-style too where the bucket's
/// name has dots, which no certificate covers.
fn object_url(object: &S3ObjectRef, region: &str, endpoint: Option<&Url>) -> Result<Url, BoxError> {
    let mut url = match endpoint {
        Some(endpoint) => endpoint.clone(),
        None if object.bucket.contains('.') => {
            Url::parse(&format!("https://s3.{region}.{}", dns_suffix(region)))?
        }
        None => Url::parse(&format!(
            "https://{}.s3.{region}.{}",
            object.bucket,
            dns_suffix(region)
        ))?,
    };
    // Parsing a URL resolves such parts, as if the key were another.
    if object.key.split('/').any(|part| matches!(part, "." | "..")) {
        return Err("a part of the key is \".\" or \"..\", which a URL cannot hold".into());
    }
    let mut path = url.path().trim_end_matches('/').to_owned();
    if endpoint.is_some() || object.bucket.contains('.') {
        path.push('/');
        path.push_str(&encoded(&object.bucket));
    }
    path.push('/');
    path.push_str(&encoded(&object.key));
    url.set_path(&path);
    if let Some(version) = &object.version {
        url.query_pairs_mut().append_pair("versionId", version);
    }
    Ok(url)
}

/// Percent-encoded as S3 writes a path when it checks a signature ("Signature Calculations" in the S3 API
/// reference). A raw `+` would be read as a space.
fn encoded(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                path.push(char::from(byte));
            }
            _ => {
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    path
}

/// The end of host names in the region's partition (AWS General Reference, "AWS service endpoints").
pub(super) fn dns_suffix(region: &str) -> &'static str {
    match region {
        r if r.starts_with("cn-") => "amazonaws.com.cn",
        r if r.starts_with("us-iso-") => "c2s.ic.gov",
        r if r.starts_with("us-isob-") => "sc2s.sgov.gov",
        r if r.starts_with("us-isof-") => "csp.hci.ic.gov",
        r if r.starts_with("eu-isoe-") => "cloud.adc-e.uk",
        r if r.starts_with("eusc-") => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

/// Adds the query of AWS Signature Version 4 ("Authenticating requests: using query parameters" in the S3 API reference).
fn signed(
    mut url: Url,
    credentials: Credentials,
    region: &str,
    now: SystemTime,
    lifetime: Duration,
) -> Result<Url, BoxError> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(lifetime);
    settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    // S3 signs the path as it is sent, encoded once and not normalized.
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let request = SignableRequest::new(
        "GET",
        url.as_str(),
        std::iter::empty(),
        SignableBody::UnsignedPayload,
    )?;
    let (instructions, _) = sign(request, &params)?.into_parts();
    for (name, value) in instructions.params() {
        url.query_pairs_mut().append_pair(name, value);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bucket: &str, key: &str) -> S3ObjectRef {
        S3ObjectRef {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: Some("v+1".to_owned()),
        }
    }

    #[test]
    fn the_host_follows_from_bucket_region_and_endpoint() {
        let endpoint = Url::parse("http://127.0.0.1:9000/").unwrap();
        for (bucket, region, endpoint, want) in [
            (
                "b",
                "eu-west-1",
                None,
                "https://b.s3.eu-west-1.amazonaws.com/k/a%20b?versionId=v%2B1",
            ),
            (
                "b",
                "cn-north-1",
                None,
                "https://b.s3.cn-north-1.amazonaws.com.cn/k/a%20b?versionId=v%2B1",
            ),
            (
                "b.c",
                "eu-west-1",
                None,
                "https://s3.eu-west-1.amazonaws.com/b.c/k/a%20b?versionId=v%2B1",
            ),
            (
                "b",
                "eu-west-1",
                Some(&endpoint),
                "http://127.0.0.1:9000/b/k/a%20b?versionId=v%2B1",
            ),
        ] {
            let url = object_url(&object(bucket, "k/a b"), region, endpoint).unwrap();
            assert_eq!(url.as_str(), want);
        }
    }

    #[test]
    fn a_key_is_sent_as_s3_signs_it() {
        for (key, path) in [
            ("app-1.2.3+45.zip", "/app-1.2.3%2B45.zip"),
            ("a=b&c:d@e$f,g;h", "/a%3Db%26c%3Ad%40e%24f%2Cg%3Bh"),
            ("(a)'!*", "/%28a%29%27%21%2A"),
            ("~a/.b/..c/d.", "/~a/.b/..c/d."),
            ("ü x?#", "/%C3%BC%20x%3F%23"),
            ("%2e%2E/\\", "/%252e%252E/%5C"),
            ("/a//b/", "//a//b/"),
        ] {
            let url = object_url(&object("b", key), "eu-west-1", None).unwrap();
            assert_eq!(url.path(), path);
            let endpoint = Url::parse("http://127.0.0.1:9000/s3/").unwrap();
            let url = object_url(&object("b", key), "eu-west-1", Some(&endpoint)).unwrap();
            assert_eq!(url.path(), format!("/s3/b{path}"));
            // What is signed and parsed again is what was built.
            let key = Credentials::new("AKIA", "s3cret", None, None, "test");
            let sent = signed(url.clone(), key, "eu-west-1", SystemTime::now(), LIFETIME).unwrap();
            let sent = PresignedUrl::parse(sent.as_str()).unwrap();
            assert_eq!(sent.secret_url().path(), url.path());
        }
        for key in [".", "../a", "a/..", "a/./b"] {
            let e = object_url(&object("b", key), "eu-west-1", None).unwrap_err();
            assert!(e.to_string().contains("part of the key"), "{key}: {e}");
        }
    }

    #[test]
    fn credentials_are_kept_until_shortly_before_their_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let signer = |end| Signer {
            credentials: Credentials::new("AKIA", "s3cret", None, end, "test"),
            subjects: HashSet::from(["signed".to_owned()]),
        };
        for (end, good) in [
            (None, true),
            (Some(now + MARGIN * 2), true),
            (Some(now + MARGIN), false),
            (Some(now - MARGIN), false),
        ] {
            assert_eq!(signer(end).is_good_for("new", now), good, "{end:?}");
            assert!(!signer(end).is_good_for("signed", now), "{end:?}");
        }
    }

    #[test]
    fn the_signature_covers_the_path_as_it_is_sent() {
        // The reference's key and time, for /a%2Bb%20%28c%29/%C3%BC; computed apart with Python's hmac.
        let credentials = Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "test",
        );
        let plain = S3ObjectRef {
            version: None,
            ..object("examplebucket", "a+b (c)/ü")
        };
        let url = object_url(&plain, "us-east-1", None).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let day = Duration::from_secs(86_400);
        let url = signed(url, credentials, "us-east-1", now, day).unwrap();
        let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(
            query["X-Amz-Signature"],
            "670cbae6f6bb611760c7da1685c864cf498f7c052afedd60ae2d304d3d040698"
        );
    }

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        // "Authenticating requests: using query parameters" in the S3 API reference: its example and its signature.
        let credentials = Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "test",
        );
        let url = Url::parse("https://examplebucket.s3.amazonaws.com/test.txt").unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let day = Duration::from_secs(86_400);
        let url = signed(url, credentials, "us-east-1", now, day).unwrap();
        let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(query["X-Amz-Date"], "20130524T000000Z");
        assert_eq!(
            query["X-Amz-Signature"],
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
