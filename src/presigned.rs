//! A presigned URL: a bearer credential for some minutes, and treated as one.
//!
//! Whoever holds the query string of `Code.Location` can read the package until the URL ends. So
//! [`PresignedUrl`] shows itself without its query, cannot be serialized, and hands the whole URL out only
//! inside the crate.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use url::Url;
use url::form_urlencoded::byte_serialize;

/// `Code.Location`, with when it was obtained and when it ends.
#[derive(Clone)]
pub struct PresignedUrl {
    url: Url,
    obtained: Instant,
    life: Option<Life>,
}

/// What the URL itself says of its validity: `X-Amz-Date` and `X-Amz-Expires` (AWS Signature Version 4,
/// authentication by query parameters).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    signed_at: Timestamp,
    expires: Duration,
}

/// Why a location is no URL that a package can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Not a URL at all. The text is not shown: it may hold a signature.
    #[error("the location is no URL ({0})")]
    NotAUrl(url::ParseError),
    /// A scheme other than `http` and `https`.
    #[error("the location has the scheme {0:?}; larder fetches https and http")]
    Scheme(String),
    /// No host.
    #[error("the location names no host")]
    NoHost,
}

impl PresignedUrl {
    /// Reads a location that was obtained just now.
    pub fn parse(location: &str) -> Result<Self, LocationError> {
        let url = Url::parse(location).map_err(LocationError::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(LocationError::Scheme(url.scheme().to_owned()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(LocationError::NoHost);
        }
        let life = Life::of(&url);
        Ok(Self {
            url,
            obtained: Instant::now(),
            life,
        })
    }

    /// The location with only `versionId` left of its query: safe to record and to show.
    pub fn redacted(&self) -> String {
        redacted(&self.url)
    }

    /// `versionId`: which version of the object the URL is pinned to.
    pub fn version_id(&self) -> Option<String> {
        self.query("versionId")
    }

    /// How long ago it was obtained.
    pub fn age(&self) -> Duration {
        self.obtained.elapsed()
    }

    /// Whether no request should be started on it any more: its last 10 seconds, or its last tenth if that
    /// is shorter, have begun. False when the URL does not say when it ends.
    ///
    /// A URL that was only just obtained is always worth one try, whatever the clocks say; that is the
    /// caller's to decide. Counted from when it was obtained, by a clock that nobody sets, so that a local
    /// clock that is wrong does no harm.
    pub fn about_to_end(&self) -> bool {
        self.life.is_some_and(|life| {
            let margin = Duration::from_secs(10).min(life.expires / 10);
            self.age() + margin >= life.expires
        })
    }

    /// How far the local clock is ahead of the moment the URL was signed, in seconds, if it says.
    pub fn signed_ago(&self, now: Timestamp) -> Option<i64> {
        self.life
            .map(|life| now.as_second() - life.signed_at.as_second())
    }

    /// The whole URL, with its signature. Only the HTTP client sees it.
    pub(crate) fn secret_url(&self) -> &Url {
        &self.url
    }

    /// Where to ask for an S3 object whose URL nobody signed, as emulators state it: path-style at `endpoint` when there
    /// is one, else where the URL says. None for a signed URL, whose host is part of what is signed, and for a host that
    /// is not S3's.
    pub(crate) fn unsigned_object(&self, endpoint: Option<&Url>) -> Option<Url> {
        if self.is_signed() {
            return None;
        }
        let host = self.url.host_str()?;
        let host = host
            .strip_suffix(".amazonaws.com")
            .or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
        // BUCKET.s3, BUCKET.s3.REGION, BUCKET.s3-REGION, BUCKET.s3.dualstack.REGION
        let at = host.rfind(".s3")?;
        if !matches!(host.as_bytes().get(at + 3), None | Some(b'.' | b'-')) {
            return None;
        }
        let Some(endpoint) = endpoint else {
            return Some(self.url.clone());
        };
        let mut url = endpoint.clone();
        let base = endpoint.path().trim_end_matches('/');
        url.set_path(&format!("{base}/{}{}", &host[..at], self.url.path()));
        url.set_query(self.url.query());
        Some(url)
    }

    /// Whether the query signs the URL's host, so that it works there only.
    pub(crate) fn is_signed(&self) -> bool {
        self.query("X-Amz-Signature").is_some() || self.query("Signature").is_some()
    }

    fn query(&self, name: &str) -> Option<String> {
        query(&self.url, name)
    }
}

fn query(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.into_owned())
}

impl Life {
    fn of(url: &Url) -> Option<Self> {
        let signed_at = parse_amz_date(&query(url, "X-Amz-Date")?)?;
        let seconds: u64 = query(url, "X-Amz-Expires")?.parse().ok()?;
        Some(Self {
            signed_at,
            expires: Duration::from_secs(seconds),
        })
    }
}

/// Reads `20260101T000000Z`, the basic ISO 8601 form of Signature Version 4.
fn parse_amz_date(text: &str) -> Option<Timestamp> {
    let text = text.as_bytes();
    if text.len() != 16 || !text.is_ascii() || text[8] != b'T' || text[15] != b'Z' {
        return None;
    }
    let text = str::from_utf8(text).ok()?;
    let iso = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &text[0..4],
        &text[4..6],
        &text[6..8],
        &text[9..11],
        &text[11..13],
        &text[13..15]
    );
    iso.parse().ok()
}

/// Any URL without user, password and fragment, and with only `versionId` left of its query.
pub(crate) fn redacted(url: &Url) -> String {
    let version = query(url, "versionId");
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    // Both fail only for URLs that cannot have a user, which then have none.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    if let Some(version) = version {
        bare.query_pairs_mut().append_pair("versionId", &version);
    }
    bare.into()
}

/// `to`, where the request that began `hops` was led: no more than the host when that is another than was asked first, or
/// when the path quotes a query. Nobody knows what such a path holds.
pub(crate) fn redacted_hop(to: &Url, hops: &[Url]) -> String {
    let quotes = || {
        let path = to.path();
        without_values(path, hops) != path || path.to_ascii_lowercase().contains("x-amz-")
    };
    match hops.first() {
        Some(first) if first != to && (first.host() != to.host() || quotes()) => {
            let host = to.host_str().unwrap_or_default();
            let port = to.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{host}{port}", to.scheme())
        }
        _ => redacted(to),
    }
}

/// `text` without the values of the queries of `hops`, also where they are percent-encoded. Values under 16 characters
/// are no secrets, but for those of a signature or token.
fn without_values(text: &str, hops: &[Url]) -> String {
    let mut values: Vec<String> = Vec::new();
    for hop in hops {
        let raw = hop.query().unwrap_or_default().split('&');
        let raw = raw.map(|pair| pair.split_once('=').unwrap_or((pair, pair)));
        let mut keep = |name: &str, value: &str| {
            let name = name.to_ascii_lowercase();
            let secret = name.ends_with("signature") || name.ends_with("token");
            let least = if secret { 4 } else { 16 };
            let again: String = byte_serialize(value.as_bytes()).collect();
            values.extend(
                [value.to_owned(), again]
                    .into_iter()
                    .filter(|v| v.len() >= least),
            );
        };
        raw.for_each(|(name, value)| keep(name, value));
        hop.query_pairs()
            .for_each(|(name, value)| keep(&name, &value));
    }
    // The longest first: one may be a part of another.
    values.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
    values.dedup();
    values
        .iter()
        .fold(text.to_owned(), |text, value| without(&text, value))
}

/// `text` without `value`, in whichever case: percent-encoding is written in both.
fn without(text: &str, value: &str) -> String {
    // ASCII only, so that places are the same in both.
    let lower = text.to_ascii_lowercase();
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in lower.match_indices(&value.to_ascii_lowercase()) {
        kept.push_str(&text[from..at]);
        kept.push('…');
        from = at + found.len();
    }
    kept + &text[from..]
}

/// What a server said, without the queries of URLs in it and without the values of the queries of `hops`, all URLs that
/// led to it: the page of a proxy likes to quote the request that it denies.
pub(crate) fn without_queries(text: &str, hops: &[Url]) -> String {
    let text = without_values(text, hops);
    let cut = |word: &str| match (word.find("://"), word.find('?')) {
        (Some(scheme), Some(query)) if scheme < query => {
            // What closes an element, or the sentence's next word, is not the URL's any more.
            let end = word[query..]
                .find(|c: char| c == '<' || c.is_whitespace())
                .map_or(word.len(), |at| query + at);
            format!("{}?…{}", &word[..query], &word[end..])
        }
        _ => word.to_owned(),
    };
    text.split_inclusive(|c: char| c == '<' || c.is_whitespace())
        .map(cut)
        .collect()
}

/// Shows the URL without its query, so that it may stand in any message.
impl fmt::Display for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresignedUrl")
            .field("url", &self.redacted())
            .field("age", &self.age())
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "https://user:pa55@b.s3.eu-west-1.amazonaws.com/snapshots/1/f-x?versionId=v%2F1\
        &X-Amz-Security-Token=t0ken&X-Amz-Date=20260101T000000Z&X-Amz-Expires=600&X-Amz-Signature=s1gnature#fr4g";

    #[test]
    fn nothing_secret_is_shown() {
        let url = PresignedUrl::parse(SECRET).unwrap();
        for text in [url.redacted(), format!("{url}"), format!("{url:#?}")] {
            for secret in ["pa55", "t0ken", "s1gnature", "fr4g", "user"] {
                assert!(!text.contains(secret), "{text}");
            }
            assert!(text.contains("versionId=v%2F1"), "{text}");
        }
        assert_eq!(url.version_id().as_deref(), Some("v/1"));
    }

    #[test]
    fn its_end_is_read_from_the_query() {
        let mut url = PresignedUrl::parse(SECRET).unwrap();
        assert!(!url.about_to_end());
        url.life.as_mut().unwrap().expires = Duration::ZERO;
        assert!(url.about_to_end());
        assert_eq!(
            url.signed_ago("2026-01-01T00:01:00Z".parse().unwrap()),
            Some(60)
        );
        let unknown = PresignedUrl::parse("http://127.0.0.1:1/x").unwrap();
        assert!(!unknown.about_to_end() && !unknown.is_signed());
    }

    #[test]
    fn only_an_unsigned_s3_location_moves_to_another_endpoint() {
        let endpoint = Url::parse("http://127.0.0.1:5000/").unwrap();
        let moved = |text: &str| {
            let url = PresignedUrl::parse(text).unwrap();
            url.unsigned_object(Some(&endpoint)).map(String::from)
        };
        for host in [
            "s3.eu-west-1",
            "s3-eu-west-1",
            "s3",
            "s3.dualstack.eu-west-1",
        ] {
            let text = format!("https://a.bucket.{host}.amazonaws.com/some/key%20x?versionId=1");
            let want = "http://127.0.0.1:5000/a.bucket/some/key%20x?versionId=1";
            assert_eq!(moved(&text).as_deref(), Some(want), "{host}");
        }
        let plain = "https://b.s3.eu-west-1.amazonaws.com/k";
        let url = PresignedUrl::parse(plain).unwrap();
        assert_eq!(
            url.unsigned_object(None).map(String::from).as_deref(),
            Some(plain)
        );
        assert_eq!(moved(SECRET), None);
        for text in [
            "https://example.com/k",
            "https://b.s3x.amazonaws.com/k",
            "http://127.0.0.1/k",
        ] {
            assert_eq!(moved(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_server_quotes_of_the_url_is_not_repeated() {
        let asked = Url::parse(
            "https://h/k?versionId=1&X-Amz-Security-Token=t0ken%2Ft0ken%2Ft0ken&X-Amz-Signature=s1gnatures1gnature",
        )
        .unwrap();
        let other = Url::parse("https://portal/blocked").unwrap();
        for (text, shown) in [
            ("<Code>AccessDenied</Code>", "<Code>AccessDenied</Code>"),
            ("why? see https://docs/x", "why? see https://docs/x"),
            (
                "<m>GET https://h/k?a=b&c=d denied</m>",
                "<m>GET https://h/k?… denied</m>",
            ),
            (
                "<m>https://h/k?a=b</m><n>x</n>",
                "<m>https://h/k?…</m><n>x</n>",
            ),
            ("s1gnatures1gnature is wrong", "… is wrong"),
            ("t0ken/t0ken/t0ken, t0ken%2Ft0ken%2Ft0ken", "…, …"),
            ("t0ken%2ft0ken%2ft0ken; t0ken%252Ft0ken%252ft0ken", "…; …"),
        ] {
            for hops in [vec![asked.clone()], vec![asked.clone(), other.clone()]] {
                assert_eq!(without_queries(text, &hops), shown);
            }
        }
    }

    #[test]
    fn a_redirect_shows_no_secret_of_where_it_began() {
        let first = Url::parse("https://h/k?X-Amz-Signature=s1gnatures1gnature").unwrap();
        let hops = [first.clone()];
        for (to, shown) in [
            ("https://h/y?a=b", "https://h/y"),
            (
                "https://h/blocked/https%3A%2F%2Fh%2Fk%3FX-Amz-Signature%3DS1gnatures1gnature",
                "https://h",
            ),
            ("https://h/denied/S1gnatures1gnature", "https://h"),
            (
                "https://h/k?X-Amz-Signature=s1gnatures1gnature",
                "https://h/k",
            ),
            (
                "https://u:p@other:8443/s1gnatures1gnature?a=b",
                "https://other:8443",
            ),
        ] {
            assert_eq!(redacted_hop(&Url::parse(to).unwrap(), &hops), shown);
        }
    }

    #[test]
    fn odd_dates_are_no_dates() {
        for text in [
            "",
            "20260101T000000",
            "20261301T000000Z",
            "2026-01-01T00:00Z",
            "é0260101T00000Z",
        ] {
            assert_eq!(parse_amz_date(text), None, "{text}");
        }
    }

    #[test]
    fn other_schemes_are_refused_without_showing_the_url() {
        for (text, part) in [
            ("s3://bucket/key", "s3"),
            ("file:///etc/passwd", "file"),
            ("s3://", "s3"),
        ] {
            let e = PresignedUrl::parse(text).unwrap_err().to_string();
            assert!(e.contains(part) && !e.contains("passwd"), "{e}");
        }
        assert!(PresignedUrl::parse("no url").is_err());
        assert!(PresignedUrl::parse("").is_err());
    }
}
