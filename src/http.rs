//! The one user of `reqwest`: requests whose errors never show a URL's query.
//!
//! Redirects are followed here and not by the client, so that each hop is judged: at most five, never from
//! https to http, never to another scheme, and no `Referer` that would hand the signed URL on. `Authorization` goes to the
//! origin that it is meant for, and to no other.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, redirect};
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::presigned::{redacted_hop, without_queries};

/// Redirects followed for one request.
const MAX_REDIRECTS: usize = 5;
/// How long the body of an error may take. It is a few hundred bytes; one that trickles is not worth its words.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);

/// What the client is set up with.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The `User-Agent` header.
    pub user_agent: String,
    /// PEM certificates that are trusted instead of the system's, and where they came from.
    pub ca_bundle: Option<(PathBuf, Vec<u8>)>,
    /// Whether the proxies of the environment are used.
    pub proxies: bool,
    /// For name resolution, connection and TLS together.
    pub connect_timeout: Duration,
    /// No byte for so long.
    pub read_timeout: Duration,
}

/// A client for GET requests. Proxies come from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client,
}

/// The value of an `Authorization` header: a credential, which shows itself nowhere.
#[derive(Clone)]
pub struct Authorization(HeaderValue);

impl Authorization {
    /// `Basic` with what was encoded already (RFC 7617); None when it holds what no header can.
    pub fn basic(encoded: &str) -> Option<Self> {
        Self::of("Basic", encoded)
    }

    /// `Bearer` (RFC 6750).
    pub fn bearer(token: &str) -> Option<Self> {
        Self::of("Bearer", token)
    }

    fn of(scheme: &str, credential: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(&format!("{scheme} {credential}")).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorization(…)")
    }
}

/// A GET request.
#[derive(Debug, Clone, Copy)]
pub struct Get<'a> {
    /// Where to; may hold a signature.
    pub url: &'a Url,
    /// The first byte asked for.
    pub from: u64,
    /// The byte before which to end; None is the object's end. From byte 0 to the end no `Range` header is sent.
    pub until: Option<u64>,
    /// `If-Match`, with the quotes.
    pub if_match: Option<&'a str>,
    /// `Accept`; None is anything.
    pub accept: Option<&'static str>,
    /// `Authorization`. It is left out as soon as a redirect leads to another scheme, host or port.
    pub authorization: Option<&'a Authorization>,
}

impl<'a> Get<'a> {
    /// A GET of the whole, with no header of its own.
    pub fn of(url: &'a Url) -> Self {
        Self {
            url,
            from: 0,
            until: None,
            if_match: None,
            accept: None,
            authorization: None,
        }
    }
}

/// An answer whose body is still to come.
pub struct Response {
    inner: reqwest::Response,
    /// What was asked for, where that led, and last who answered. Each may hold a secret that the answer quotes.
    hops: Vec<Url>,
}

/// Why a request brought no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The name does not resolve, nobody listens, or TLS failed.
    #[error("no connection to {host}")]
    Connect {
        /// The host that was called.
        host: String,
        /// The causes, one line.
        #[source]
        source: Cause,
    },
    /// No byte came in time.
    #[error("{host} did not answer in time")]
    Timeout {
        /// The host that was called.
        host: String,
    },
    /// The connection broke.
    #[error("the connection to {host} broke")]
    Broken {
        /// The host that was called.
        host: String,
        /// The causes, one line.
        #[source]
        source: Cause,
    },
    /// A redirect that is not followed.
    #[error("{host} redirects to {to}")]
    Redirect {
        /// The host that redirects.
        host: String,
        /// Where to and what is wrong with it.
        to: String,
    },
    /// A body that has no end in sight.
    #[error("{host} answers with more than {limit} bytes")]
    TooLong {
        /// The host that was called.
        host: String,
        /// The most that is read, in bytes.
        limit: usize,
    },
}

/// What to do about [`HttpError::Redirect`].
pub const LED_ASTRAY: &str = "a redirect is followed to https, and from http to http, a few times; a proxy or a login page on the way may have given this one";

/// The causes of a failure as one line, without any URL.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl HttpClient {
    /// Sets the client up.
    ///
    /// # Errors
    /// The CA bundle holds no certificate or a broken one.
    pub fn new(options: &HttpOptions) -> Result<Self> {
        let mut builder = Client::builder()
            .user_agent(&options.user_agent)
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .redirect(redirect::Policy::none())
            .referer(false)
            .tcp_nodelay(true);
        if !options.proxies {
            builder = builder.no_proxy();
        }
        let mut subject = None;
        if let Some((path, pem)) = &options.ca_bundle {
            let path = path.display().to_string();
            let bad = || {
                Error::new(
                    ErrorKind::Usage,
                    "this CA bundle holds no usable certificate",
                )
                .about(path.clone())
                .hint("AWS_CA_BUNDLE, or ca_bundle in the profile, must name a PEM file")
            };
            let certificates = Certificate::from_pem_bundle(pem).map_err(|e| bad().because(e))?;
            if certificates.is_empty() {
                return Err(bad());
            }
            builder = builder.tls_certs_only(certificates);
            subject = Some(path);
        }
        let client = builder.build().map_err(|e| {
            let error = Error::new(ErrorKind::Usage, "the HTTPS client cannot be set up");
            let error = error.because(cause(&e));
            match subject {
                Some(path) => error.about(path),
                None => error,
            }
        })?;
        Ok(Self { client })
    }

    /// Sends a GET and follows redirects.
    ///
    /// # Errors
    /// No answer came, or a redirect is not one to follow. Any status is an answer.
    pub async fn get(&self, get: Get<'_>) -> Result<Response, HttpError> {
        let mut url = get.url.clone();
        let mut hops = Vec::new();
        let mut authorization = get.authorization;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.client.get(url.clone()).header(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
            if get.from > 0 || get.until.is_some() {
                let last = get.until.map(|end| end.saturating_sub(1).to_string());
                let range = format!("bytes={}-{}", get.from, last.unwrap_or_default());
                request = request.header(header::RANGE, range);
            }
            if let Some(etag) = get.if_match {
                request = request.header(header::IF_MATCH, etag);
            }
            if let Some(accept) = get.accept {
                request = request.header(header::ACCEPT, HeaderValue::from_static(accept));
            }
            // Once the way has left the origin it stays out, wherever the way leads then. A signed URL is a credential of
            // its own, and S3 refuses two.
            authorization = authorization.filter(|_| {
                url.origin() == get.url.origin() && (hops.is_empty() || !is_signed(&url))
            });
            if let Some(Authorization(value)) = authorization {
                request = request.header(header::AUTHORIZATION, value.clone());
            }
            let response = request.send().await.map_err(|e| classify(&e, &url))?;
            hops.push(url);
            if !is_redirect(response.status().as_u16()) {
                return Ok(Response {
                    inner: response,
                    hops,
                });
            }
            url = next_hop(&hops, response.headers())?;
            tracing::debug!("redirected to {}", redacted_hop(&url, &hops));
        }
        Err(HttpError::Redirect {
            host: host(get.url),
            to: format!("one place after another, more than {MAX_REDIRECTS} times"),
        })
    }

    /// Sends a POST with a body; a redirect is an answer like any other, and not followed.
    ///
    /// # Errors
    /// No answer came. Any status is an answer.
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Response, HttpError> {
        let mut request = self.client.post(url.clone()).body(body);
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| HttpError::Broken {
                host: host(url),
                source: Cause(format!("the value of the header {name} cannot be sent")),
            })?;
            // Signatures, tokens and passwords come this way.
            value.set_sensitive(true);
            request = request.header(name.as_str(), value);
        }
        let response = request.send().await.map_err(|e| classify(&e, url))?;
        Ok(Response {
            inner: response,
            hops: vec![url.clone()],
        })
    }
}

/// Whether the query of a URL signs it (AWS Signature Version 4, or 2).
fn is_signed(url: &Url) -> bool {
    url.query_pairs()
        .any(|(name, _)| matches!(&*name, "X-Amz-Signature" | "Signature"))
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads, if that is a place to go.
fn next_hop(hops: &[Url], headers: &HeaderMap) -> Result<Url, HttpError> {
    let from = &hops[hops.len() - 1];
    let refuse = |to: String| HttpError::Redirect {
        host: host(from),
        to,
    };
    let Some(target) = headers.get(header::LOCATION) else {
        return Err(refuse("nowhere: there is no Location header".to_owned()));
    };
    let to = target
        .to_str()
        .ok()
        .and_then(|text| from.join(text).ok())
        .ok_or_else(|| refuse("what is no URL".to_owned()))?;
    match (from.scheme(), to.scheme()) {
        ("https", "https") | ("http", "http" | "https") => Ok(to),
        ("https", "http") => Err(refuse(format!(
            "{}, from https to http",
            redacted_hop(&to, hops)
        ))),
        (_, other) => Err(refuse(format!("a URL of the scheme {other:?}"))),
    }
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

fn classify(error: &reqwest::Error, url: &Url) -> HttpError {
    let host = host(url);
    if error.is_connect() {
        HttpError::Connect {
            host,
            source: cause(error),
        }
    } else if error.is_timeout() {
        HttpError::Timeout { host }
    } else {
        HttpError::Broken {
            host,
            source: cause(error),
        }
    }
}

/// All causes below the client's own words, which would name the whole URL.
fn cause(error: &reqwest::Error) -> Cause {
    let mut texts: Vec<String> = Vec::new();
    let mut next = StdError::source(error);
    while let Some(e) = next {
        let text = e.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = e.source();
    }
    if texts.is_empty() {
        texts.push("no further cause is known".to_owned());
    }
    Cause(texts.join(": "))
}

impl Response {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// `Content-Length`, in bytes.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// The URL that answered, without its query; of another host than the one that was asked, the host alone.
    pub fn location(&self) -> String {
        redacted_hop(self.url(), &self.hops)
    }

    /// Whether the host that was asked answered itself, and no other that it redirected to.
    pub fn is_of_origin(&self) -> bool {
        self.url().origin() == self.hops[0].origin()
    }

    fn url(&self) -> &Url {
        &self.hops[self.hops.len() - 1]
    }

    /// The next piece of the body; None at its end.
    ///
    /// # Errors
    /// The connection broke before the end that the headers announced, or nothing came in time.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.inner
            .chunk()
            .await
            .map_err(|e| classify(&e, &self.hops[self.hops.len() - 1]))
    }

    /// All values of a header, as text; those that are none are left out.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let values = HeaderName::from_bytes(name.as_bytes())
            .map(|name| self.inner.headers().get_all(name).into_iter());
        values
            .into_iter()
            .flatten()
            .filter_map(|value| value.to_str().ok())
            .collect()
    }

    /// The whole body.
    ///
    /// # Errors
    /// It did not come whole, or is longer than `limit` bytes.
    pub async fn body(&mut self, limit: usize) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(HttpError::TooLong {
                    host: host(self.url()),
                    limit,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The first `limit` bytes of the body, as text. For error bodies; what fails, or takes long, is left out, and so is
    /// what they quote of the queries on the way.
    pub async fn text(&mut self, limit: usize) -> String {
        let mut body = Vec::new();
        let deadline = tokio::time::Instant::now() + ERROR_BODY_TIME;
        while body.len() < limit {
            match tokio::time::timeout_at(deadline, self.chunk()).await {
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                Ok(Ok(None) | Err(_)) | Err(_) => break,
            }
        }
        body.truncate(limit);
        without_queries(&String::from_utf8_lossy(&body), &self.hops)
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("location", &self.location())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(from: &str, to: &str) -> Result<Url, HttpError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, to.parse().unwrap());
        next_hop(&[Url::parse(from).unwrap()], &headers)
    }

    #[test]
    fn an_authorization_shows_nothing() {
        let bearer = Authorization::bearer("s3cret").unwrap();
        let url = Url::parse("http://a/").unwrap();
        let get = Get {
            authorization: Some(&bearer),
            ..Get::of(&url)
        };
        assert!(!format!("{get:?} {:?}", bearer.0).contains("s3cret"));
        assert!(Authorization::basic("a\nb").is_none());
    }

    #[test]
    fn a_redirect_stays_on_the_web_and_never_loses_its_tls() {
        assert_eq!(
            hop("https://a/x?s=1", "/y").unwrap().as_str(),
            "https://a/y"
        );
        assert!(hop("http://a/", "https://b/").is_ok());
        for (from, to) in [
            ("https://a/", "http://b/?X-Amz-Signature=s3cret"),
            ("https://a/", "file:///etc/passwd"),
            ("http://a/", "ftp://b/"),
        ] {
            let text = hop(from, to).unwrap_err().to_string();
            assert!(!text.contains("s3cret"), "{text}");
        }
        assert!(next_hop(&[Url::parse("http://a/").unwrap()], &HeaderMap::new()).is_err());
    }
}
