//! Where an image is: the registry, the repository in it, and the digest.

use std::fmt;

use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind};

/// The longest name of a repository, in bytes (OCI Distribution Specification 1.1, "Pulling manifests").
const MAX_REPOSITORY: usize = 255;

/// An image by digest: `REGISTRY/REPOSITORY@sha256:<hex>`. A tag beside the digest says nothing, and is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    repository: Repository,
    digest: Sha256Digest,
}

/// A repository of a registry: `REGISTRY/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    registry: String,
    name: String,
}

/// A registry of Amazon ECR, as its host name tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ecr {
    /// The account that the registry belongs to, 12 digits.
    pub account: String,
    /// The region that it is in.
    pub region: String,
}

/// Why a text names no image that could be pulled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// No digest: only what a digest names can be verified.
    #[error("{0:?} names no digest")]
    NoDigest(String),
    /// A digest of another algorithm, or none.
    #[error("{0:?} has a digest that is no SHA-256")]
    Digest(String),
    /// No host of a registry at its beginning.
    #[error("{0:?} names no registry")]
    NoRegistry(String),
    /// A repository whose name no registry takes.
    #[error("{0:?} names no repository")]
    Repository(String),
}

impl Reference {
    /// Reads `REGISTRY/REPOSITORY[:TAG]@sha256:<hex>`, where a registry is a host with or without a port. It is never
    /// guessed: a name without one is refused.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let quoted = || without_secrets(text).chars().take(300).collect::<String>();
        let (name, digest) = text
            .rsplit_once('@')
            .ok_or_else(|| ReferenceError::NoDigest(quoted()))?;
        let digest = digest
            .strip_prefix("sha256:")
            .and_then(|hex| Sha256Digest::from_hex(hex).ok())
            .ok_or_else(|| ReferenceError::Digest(quoted()))?;
        let (repository, _) = Repository::parse(name)?;
        Ok(Self { repository, digest })
    }

    /// The repository, in its registry.
    pub fn place(&self) -> &Repository {
        &self.repository
    }

    /// The registry: a host, with a port where it has one.
    pub fn registry(&self) -> &str {
        &self.repository.registry
    }

    /// The repository's name in the registry.
    pub fn repository(&self) -> &str {
        &self.repository.name
    }

    /// The digest of the image's manifest or index.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Which registry of ECR it is, if it is one.
    pub fn ecr(&self) -> Option<Ecr> {
        self.repository.ecr()
    }

    /// Whether the registry is on this machine: such a one is asked over plain HTTP, as Docker does.
    pub fn is_loopback(&self) -> bool {
        self.repository.is_loopback()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@sha256:{}", self.repository, self.digest)
    }
}

impl Repository {
    /// Reads `REGISTRY/NAME[:TAG][@DIGEST]`, and gives the tag beside it. A digest is not looked at.
    ///
    /// # Errors
    /// It names no registry, or no repository.
    pub fn parse(text: &str) -> Result<(Self, Option<&str>), ReferenceError> {
        let quoted = || without_secrets(text).chars().take(300).collect::<String>();
        let text_without = text.split('@').next().unwrap_or_default();
        let (registry, path) = text_without
            .split_once('/')
            .ok_or_else(|| ReferenceError::NoRegistry(quoted()))?;
        if !is_registry(registry) {
            return Err(ReferenceError::NoRegistry(quoted()));
        }
        let (name, tag) = match path.split_once(':') {
            Some((name, tag)) => (name, Some(tag).filter(|tag| is_tag(tag))),
            None => (path, None),
        };
        if !is_repository(name) {
            return Err(ReferenceError::Repository(quoted()));
        }
        let repository = Self {
            registry: registry.to_ascii_lowercase(),
            name: name.to_owned(),
        };
        Ok((repository, tag))
    }

    /// The registry: a host, with a port where it has one.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Its name in the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which registry of ECR it is in, if it is one.
    pub fn ecr(&self) -> Option<Ecr> {
        Ecr::of_host(&self.registry)
    }

    /// Whether the registry is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.registry)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl Ecr {
    /// Reads `ACCOUNT.dkr.ecr[-fips].REGION.SUFFIX`, and `ACCOUNT.dkr-ecr[-fips].REGION.SUFFIX` of the dual-stack
    /// endpoints, in any partition ("Amazon ECR endpoints" in the AWS General Reference). A port, or a name that only
    /// looks alike, is not ECR's: the caller's token must not go there.
    pub fn of_host(host: &str) -> Option<Self> {
        const PLAIN: [&str; 7] = [
            "amazonaws.com",
            "amazonaws.com.cn",
            "amazonaws.eu",
            "c2s.ic.gov",
            "sc2s.sgov.gov",
            "csp.hci.ic.gov",
            "cloud.adc-e.uk",
        ];
        const DUAL: [&str; 3] = [
            "on.aws",
            "on.amazonwebservices.com.cn",
            "on.amazonwebservices.eu",
        ];
        let (account, rest) = host.split_once('.')?;
        let suffixed = |prefixes: [&str; 2], suffixes: &[&str]| {
            let rest = prefixes.iter().find_map(|p| rest.strip_prefix(p))?;
            let (region, suffix) = rest.split_once('.')?;
            suffixes.contains(&suffix).then(|| region.to_owned())
        };
        let region = suffixed(["dkr.ecr.", "dkr.ecr-fips."], &PLAIN)
            .or_else(|| suffixed(["dkr-ecr.", "dkr-ecr-fips."], &DUAL))?;
        let is_region = region.contains('-')
            && region
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        (is_account && is_region).then(|| Self {
            account: account.to_owned(),
            region,
        })
    }

    /// The ARN of a repository in it, for a policy.
    pub fn repository_arn(&self, repository: &str) -> String {
        let partition = match self.region.as_str() {
            r if r.starts_with("cn-") => "aws-cn",
            r if r.starts_with("us-gov-") => "aws-us-gov",
            r if r.starts_with("us-iso-") => "aws-iso",
            r if r.starts_with("us-isob-") => "aws-iso-b",
            r if r.starts_with("eu-isoe-") => "aws-iso-e",
            r if r.starts_with("us-isof-") => "aws-iso-f",
            r if r.starts_with("eusc-") => "aws-eusc",
            _ => "aws",
        };
        format!(
            "arn:{partition}:ecr:{}:{}:repository/{repository}",
            self.region, self.account
        )
    }
}

/// An image's URI as it may be shown and kept: what stands before its registry as a user and password, or after it as a
/// query, is left out. No image that Lambda runs has either.
pub(crate) fn without_secrets(uri: &str) -> String {
    let (name, query) = uri
        .split_once('?')
        .map_or((uri, ""), |(name, _)| (name, "?…"));
    let is_digest = |text: &str| {
        text.split_once(':').is_some_and(|(algorithm, hex)| {
            algorithm
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b))
                && hex.bytes().all(|b| b.is_ascii_hexdigit())
                && hex.len() >= 32
        })
    };
    let (name, digest) = match name.rsplit_once('@') {
        Some((name, digest)) if is_digest(digest) => (name, format!("@{digest}")),
        _ => (name, String::new()),
    };
    let (scheme, rest) = match name.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), name),
    };
    // What begins with a registry has no user before it, whatever follows.
    let first = rest.split('/').next().unwrap_or_default();
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) if !is_registry(first) => format!("…@{host}"),
        _ => rest.to_owned(),
    };
    format!("{scheme}{rest}{digest}{query}")
}

/// Whether a `host[:port]` is on this machine.
pub(crate) fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Docker's rule: what stands before the first slash is a registry when it has a dot or a port, or is `localhost`.
fn is_registry(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
    let named = text.contains('.') || text.contains(':') || text == "localhost";
    plain
        && named
        && url::Url::parse(&format!("https://{text}/")).is_ok_and(|url| url.path() == "/")
}

/// Letters, digits and `._-` in components that are not empty and begin and end with neither of these.
fn is_repository(text: &str) -> bool {
    let component = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    text.len() <= MAX_REPOSITORY && text.split('/').all(component)
}

/// A tag as registries take it (OCI Distribution Specification 1.1, "Pulling manifests").
fn is_tag(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(plain)
        && !text.starts_with(['.', '-'])
}

/// Lambda names the image. Without a digest it may name one later; a name that is none stays none, and is refused as a
/// manifest that is none.
impl From<ReferenceError> for Error {
    fn from(error: ReferenceError) -> Self {
        let (kind, hint) = match error {
            ReferenceError::NoDigest(_) => (
                ErrorKind::NoCode,
                "an image is only pulled by digest; the function may still be being created: fetch it again later",
            ),
            _ => (
                ErrorKind::ArchiveBroken,
                "Lambda's answer is not one that larder can pull by; without --pull-image the image is recorded as Lambda names it",
            ),
        };
        Self::new(kind, error.to_string()).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn an_image_is_read_in_all_its_forms() {
        for (text, registry, repository) in [
            (
                "123456789012.dkr.ecr.us-east-1.amazonaws.com/app",
                "123456789012.dkr.ecr.us-east-1.amazonaws.com",
                "app",
            ),
            ("127.0.0.1:5000/team/app:v1", "127.0.0.1:5000", "team/app"),
            ("localhost/a_b/c-d.e", "localhost", "a_b/c-d.e"),
            ("[::1]:5000/app", "[::1]:5000", "app"),
            ("Registry.Example/app", "registry.example", "app"),
        ] {
            let reference = Reference::parse(&format!("{text}@sha256:{HEX}")).unwrap();
            assert_eq!(
                (reference.registry(), reference.repository()),
                (registry, repository)
            );
            assert_eq!(
                reference.to_string(),
                format!("{registry}/{repository}@sha256:{HEX}")
            );
        }
    }

    #[test]
    fn a_repository_is_read_with_the_tag_beside_it() {
        for (text, tag) in [
            ("127.0.0.1:5000/team/app:v1.0", Some("v1.0")),
            ("127.0.0.1:5000/team/app", None),
            ("127.0.0.1:5000/team/app:v1@sha256:00", Some("v1")),
            ("127.0.0.1:5000/team/app:a/../b", None),
            ("127.0.0.1:5000/team/app:", None),
        ] {
            let (repository, found) = Repository::parse(text).unwrap();
            assert_eq!(repository.to_string(), "127.0.0.1:5000/team/app", "{text}");
            assert_eq!(found, tag, "{text}");
        }
        assert!(Repository::parse("app:v1").is_err());
    }

    #[test]
    fn users_passwords_and_queries_are_not_shown() {
        for (uri, shown) in [
            ("r.example/app:v1", "r.example/app:v1"),
            ("r.example/app@sha256", "r.example/app@sha256"),
            ("u:p@r.example/app:v1", "…@r.example/app:v1"),
            ("u:p/w@r.example/app:v1", "…@r.example/app:v1"),
            ("https://u:p@r.example/app", "https://…@r.example/app"),
            ("u:p@ss@r.example/app?sig=s3cret", "…@r.example/app?…"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(uri), shown);
            let digest = format!("@sha256:{HEX}");
            if !uri.contains('?') {
                assert_eq!(
                    without_secrets(&(uri.to_owned() + &digest)),
                    shown.to_owned() + &digest
                );
            }
            let e = Reference::parse(&format!("{uri}?"))
                .unwrap_err()
                .to_string();
            assert!(!e.contains("u:p") && !e.contains("s3cret"), "{e}");
        }
    }

    #[test]
    fn what_is_no_image_by_digest_is_refused() {
        let by_digest = |name: &str| Reference::parse(&format!("{name}@sha256:{HEX}"));
        assert!(matches!(
            Reference::parse("r.example/app:v1"),
            Err(ReferenceError::NoDigest(_))
        ));
        for digest in ["sha256:00", "sha512:00", "md5:x", ""] {
            let text = format!("r.example/app@{digest}");
            assert!(matches!(
                Reference::parse(&text),
                Err(ReferenceError::Digest(_))
            ));
        }
        for name in [
            "app",
            "library/app",
            "u:p@r.example/app",
            "r.example?x/app",
            "h:port/app",
        ] {
            assert!(
                matches!(by_digest(name), Err(ReferenceError::NoRegistry(_))),
                "{name}"
            );
        }
        for name in [
            "",
            "/app",
            "app/",
            "a//b",
            "../app",
            "a/../b",
            "a b",
            "a?b",
            "-a",
            &"x".repeat(256),
        ] {
            assert!(
                matches!(
                    by_digest(&format!("r.example/{name}")),
                    Err(ReferenceError::Repository(_))
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn registries_of_ecr_are_known_in_every_partition() {
        for (host, region) in [
            ("dkr.ecr.us-east-1.amazonaws.com", "us-east-1"),
            ("dkr.ecr-fips.us-east-1.amazonaws.com", "us-east-1"),
            ("dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
            ("dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
            ("dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
            ("dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
            ("dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
            ("dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
            ("dkr-ecr-fips.us-east-2.on.aws", "us-east-2"),
            (
                "dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
                "cn-north-1",
            ),
            (
                "dkr-ecr.eusc-de-east-1.on.amazonwebservices.eu",
                "eusc-de-east-1",
            ),
        ] {
            let ecr = Ecr::of_host(&format!("123456789012.{host}")).unwrap();
            assert_eq!(
                (ecr.account.as_str(), ecr.region.as_str()),
                ("123456789012", region)
            );
        }
        for host in [
            "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.us-east-1.evil.example",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com:8443",
            "12345678901.dkr.ecr.us-east-1.amazonaws.com",
            "12345678901x.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.on.aws",
            "123456789012.dkr-ecr.us-east-1.amazonaws.com",
            "evil.example.123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "public.ecr.aws",
            "127.0.0.1:5000",
        ] {
            assert_eq!(Ecr::of_host(host), None, "{host}");
        }
        let ecr = Ecr::of_host("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn").unwrap();
        assert_eq!(
            ecr.repository_arn("team/app"),
            "arn:aws-cn:ecr:cn-north-1:123456789012:repository/team/app"
        );
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for registry in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "127.8.8.8",
            "[::1]:5000",
        ] {
            assert!(is_loopback(registry), "{registry}");
        }
        for registry in [
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:5000",
            "registry.example",
            "[2001:db8::1]:5000",
        ] {
            assert!(!is_loopback(registry), "{registry}");
        }
    }
}
