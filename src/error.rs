//! The one error type that leaves the library.
//!
//! Every module has its own error enum, written as lowercase fragments that carry their subject and
//! both values. [`Error`] is what those become at the library's edge: a [`ErrorKind`] that a program
//! can decide on, the subject it is about, the chain of causes, and a hint where there is something to do.

use std::error::Error as StdError;
use std::fmt;

/// What kind of failure it is. The command line maps each kind to one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument that cannot be right: a malformed name, qualifier, digest, option.
    Usage,
    /// Bytes whose digest or length are not those that were stated.
    Mismatch,
    /// No credentials could be had.
    NoCredentials,
    /// The credentials were refused: expired, unknown, or signed wrongly.
    CredentialsRefused,
    /// AWS, a bucket policy or a proxy denied the call.
    AccessDenied,
    /// The function, version, alias, layer or object does not exist.
    NotFound,
    /// AWS went on throttling after all retries.
    Throttled,
    /// AWS answered with a fault of its own, or with something that is no answer, after all retries.
    Service,
    /// A wait came to its end.
    Timeout,
    /// Name resolution, connection or TLS failed.
    Network,
    /// A transfer broke off, or brought fewer bytes than announced, after all retries.
    Transfer,
    /// The presigned URL had ended, and so had each one that replaced it.
    UrlExpired,
    /// The code changed again and again while it was fetched.
    Unsettled,
    /// Lambda's answer holds no code for this function.
    NoCode,
    /// The archive is unsafe: an escape, a link outside, a special file, a bomb.
    ArchiveUnsafe,
    /// The archive is broken, ambiguous, or of a form that is not supported.
    ArchiveBroken,
    /// A destination that exists, or that cannot be replaced.
    DestinationExists,
    /// A local file or directory could not be read or written.
    Io,
    /// The disk, or the quota, is full.
    DiskFull,
    /// The user interrupted the run.
    Interrupted,
    /// An invariant of larder itself failed.
    Bug,
}

impl ErrorKind {
    /// The kind's name in `--output json`: stable, lower case, words joined by `_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Mismatch => "mismatch",
            Self::NoCredentials => "no_credentials",
            Self::CredentialsRefused => "credentials_refused",
            Self::AccessDenied => "access_denied",
            Self::NotFound => "not_found",
            Self::Throttled => "throttled",
            Self::Service => "service",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Transfer => "transfer",
            Self::UrlExpired => "url_expired",
            Self::Unsettled => "unsettled",
            Self::NoCode => "no_code",
            Self::ArchiveUnsafe => "archive_unsafe",
            Self::ArchiveBroken => "archive_broken",
            Self::DestinationExists => "destination_exists",
            Self::Io => "io",
            Self::DiskFull => "disk_full",
            Self::Interrupted => "interrupted",
            Self::Bug => "bug",
        }
    }
}

/// A failure: its kind, what it is about, why, and what to do.
///
/// `Display` is one line without the causes; they are reached through [`StdError::source`].
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    subject: Option<String>,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Whether the words of an error in a connection are about the server's certificate.
pub(crate) fn is_about_certificates(words: &str) -> bool {
    let lower = words.to_ascii_lowercase();
    lower.contains("certificate") || lower.contains("unknownissuer")
}

/// A number of bytes in an error's words: `250 MiB (262144000 bytes)`, `31 bytes`.
pub(crate) fn bytes(count: u64) -> String {
    let (shift, unit) = match count {
        0..0x400 => return format!("{count} bytes"),
        0x400..0x10_0000 => (10, "KiB"),
        0x10_0000..0x4000_0000 => (20, "MiB"),
        _ => (30, "GiB"),
    };
    let (whole, tenth) = (count >> shift, ((count % (1 << shift)) * 10) >> shift);
    match tenth {
        0 => format!("{whole} {unit} ({count} bytes)"),
        _ => format!("{whole}.{tenth} {unit} ({count} bytes)"),
    }
}

/// Several lines as one: what is below a line that ends with a colon belongs to it.
fn on_one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |mut all, line| {
        all.push_str(if all.ends_with(':') { " " } else { "; " });
        all.push_str(line);
        all
    })
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of `kind`; `message` says what failed, in words, without the subject.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                subject: None,
                message: message.into(),
                hint: None,
                source: None,
            }),
        }
    }

    /// The user, or the caller's token, stopped the work.
    pub(crate) fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
    }

    /// Names what the failure is about: a function, a path, an entry. A subject already set stays; an empty one is none.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        if self.inner.subject.is_none() {
            self.inner.subject = Some(subject.into()).filter(|subject| !subject.is_empty());
        }
        self
    }

    /// Says what to do. A hint already set stays: the one nearest to the cause knows most.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if self.inner.hint.is_none() {
            self.inner.hint = Some(hint.into());
        }
        self
    }

    /// Says what to do in the place of a hint already set: for who knows what a file or a host is for.
    #[must_use]
    pub(crate) fn hint_instead(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// The kind, to decide on.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// What the failure is about, if it has a name.
    pub fn subject(&self) -> Option<&str> {
        self.inner.subject.as_deref()
    }

    /// What failed, without the subject.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// What to do about it, if something is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// What failed and why in one sentence: the error, then its causes, with colons between.
    pub fn sentence(&self) -> String {
        self.causes()
            .iter()
            .fold(self.to_string(), |mut out, cause| {
                out.push_str(": ");
                out.push_str(cause);
                out
            })
    }

    /// The texts of all causes, outermost first, each on one line.
    pub fn causes(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut next = self.source();
        while let Some(cause) = next {
            let text = on_one_line(&cause.to_string());
            // Wrapping errors often repeat what they wrap; the same words twice help nobody.
            if out.last() != Some(&text) {
                out.push(text);
            }
            next = cause.source();
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(subject) = &self.inner.subject {
            write!(f, "{subject}: ")?;
        }
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.inner.kind)
            .field("subject", &self.inner.subject)
            .field("message", &self.inner.message)
            .field("hint", &self.inner.hint)
            .field("causes", &self.causes())
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_ref()
            .map(|s| &**s as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_subject_and_hint_win() {
        let e = Error::new(ErrorKind::Io, "cannot be written")
            .about("/a")
            .about("/b")
            .hint("free some space")
            .hint("other");
        assert_eq!(e.to_string(), "/a: cannot be written");
        assert_eq!(e.hint_text(), Some("free some space"));
    }

    #[test]
    fn sizes_are_said_as_people_set_them() {
        assert_eq!(bytes(250 << 20), "250 MiB (262144000 bytes)");
        assert_eq!(bytes(1536), "1.5 KiB (1536 bytes)");
        assert_eq!(bytes(1023), "1023 bytes");
        assert!(bytes(u64::MAX).starts_with("17179869183.9 GiB"));
    }

    #[test]
    fn causes_are_listed_once() {
        let inner = Error::new(ErrorKind::Io, "x").because(std::io::Error::other("y"));
        let e = Error::new(ErrorKind::Transfer, "z").because(inner);
        assert_eq!(e.causes(), ["x", "y"]);
    }

    #[test]
    fn a_cause_of_several_lines_is_one() {
        let cause = "Attempted:\n  Profile: none\n  Ecs: none\n\n";
        let e = Error::new(ErrorKind::NoCredentials, "")
            .about("")
            .because(cause);
        assert_eq!(e.causes(), ["Attempted: Profile: none; Ecs: none"]);
        assert_eq!(e.subject(), None);
    }
}
