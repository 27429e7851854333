//! `allowed_signers` (ssh-keygen(1), "ALLOWED SIGNERS"): which keys are trusted, as whom, for what, and when.
//!
//! Certificates are not supported: a line with `cert-authority` trusts no key by itself, and nothing here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::ssh::PublicKey;
use crate::error::{Error, ErrorKind, Result};

/// The largest file that is read, in bytes.
pub(crate) const MAX_ALLOWED_SIGNERS: u64 = 4 << 20;

/// Who may sign.
#[derive(Debug, Clone, Default)]
pub struct AllowedSigners {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    principals: String,
    namespaces: Option<String>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
    is_authority: bool,
    blob: Vec<u8>,
}

/// What the file says about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It is these principals' key.
    Trusted(Vec<String>),
    /// No line has it.
    Unknown,
    /// A line has it, for other namespaces.
    OtherNamespace,
    /// A line has it, for another time.
    OtherTime,
    /// It stands only as an authority for certificates, which are not supported.
    Authority,
}

impl AllowedSigners {
    /// Reads the file's text.
    ///
    /// # Errors
    /// A line is not of the form; the error says which.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            lines.push(Line::parse(line).map_err(|why| {
                Error::new(ErrorKind::Usage, format!("line {}: {why}", at + 1))
                    .hint("a line is: PRINCIPALS [OPTIONS] KEYTYPE BASE64, as ssh-keygen(1) has it under ALLOWED SIGNERS")
            })?);
        }
        Ok(Self { lines })
    }

    /// Whose key it is, for signatures of `namespace` made at `at`.
    pub fn judge(&self, key: &PublicKey, namespace: &str, at: Timestamp) -> Trust {
        let mut principals = Vec::new();
        let mut why = Trust::Unknown;
        for line in self.lines.iter().filter(|line| line.blob == key.blob()) {
            let after = line.valid_after.is_none_or(|after| at >= after);
            let before = line.valid_before.is_none_or(|before| at <= before);
            if line.is_authority {
                why = Trust::Authority;
            } else if !line
                .namespaces
                .as_ref()
                .is_none_or(|list| is_in(list, namespace))
            {
                why = Trust::OtherNamespace;
            } else if !after || !before {
                why = Trust::OtherTime;
            } else {
                principals.push(line.principals.clone());
            }
        }
        if principals.is_empty() {
            why
        } else {
            Trust::Trusted(principals)
        }
    }

    /// How many lines name an authority for certificates.
    pub fn authorities(&self) -> usize {
        self.lines.iter().filter(|line| line.is_authority).count()
    }
}

impl Line {
    fn parse(line: &str) -> Result<Self, String> {
        let (principals, mut rest) = word(line)?;
        let mut out = Self {
            principals: principals.replace('"', ""),
            namespaces: None,
            valid_after: None,
            valid_before: None,
            is_authority: false,
            blob: Vec::new(),
        };
        if out.principals.is_empty() {
            return Err("it names no principal".to_owned());
        }
        let (mut next, mut after) = word(rest)?;
        if !is_key_type(next) {
            out.options(next)?;
            rest = after;
            (next, after) = word(rest)?;
        }
        if !is_key_type(next) {
            return Err(format!("{next:?} is no type of a key"));
        }
        let (blob, _comment) = word(after)?;
        out.blob = STANDARD
            .decode(blob)
            .map_err(|_| "the key is no base64".to_owned())?;
        Ok(out)
    }

    fn options(&mut self, text: &str) -> Result<(), String> {
        for option in split(text, ',') {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.trim_matches('"'))),
                None => (option, None),
            };
            match (name.to_ascii_lowercase().as_str(), value) {
                ("cert-authority", None) => self.is_authority = true,
                ("namespaces", Some(list)) => self.namespaces = Some(list.to_owned()),
                ("valid-after", Some(time)) => self.valid_after = Some(parse_time(time)?),
                ("valid-before", Some(time)) => self.valid_before = Some(parse_time(time)?),
                _ => return Err(format!("{option:?} is no option")),
            }
        }
        Ok(())
    }
}

/// The first word, in which quotes keep white space, and the rest.
fn word(text: &str) -> Result<(&str, &str), String> {
    let text = text.trim_start();
    let mut quoted = false;
    let end = text.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        c.is_ascii_whitespace() && !quoted
    });
    let (word, rest) = text.split_at(end.map_or(text.len(), |(at, _)| at));
    if quoted && end.is_none() {
        return Err("a quote does not end".to_owned());
    }
    if word.is_empty() {
        return Err("it ends too early".to_owned());
    }
    Ok((word, rest))
}

/// The parts between separators that stand in no quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c: char| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .collect()
}

fn is_key_type(word: &str) -> bool {
    word.starts_with("ssh-") || word.starts_with("ecdsa-") || word.starts_with("sk-")
}

/// `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, in local time, or in UTC with a `Z`.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is no time such as 20260131Z");
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return Err(wrong());
    }
    let part = |from: usize, to: usize| -> i16 {
        digits
            .get(from..to)
            .and_then(|d| d.parse().ok())
            .unwrap_or(0)
    };
    let small = |from, to| i8::try_from(part(from, to)).unwrap_or(0);
    DateTime::new(
        part(0, 4),
        small(4, 6),
        small(6, 8),
        small(8, 10),
        small(10, 12),
        small(12, 14),
        0,
    )
    .and_then(|time| time.to_zoned(zone))
    .map(|zoned: Zoned| zoned.timestamp())
    .map_err(|_| wrong())
}

/// Whether a name is in a list of patterns with `*` and `?`, of which one with `!` excludes.
fn is_in(patterns: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',').map(str::trim) {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => found |= matches(pattern.as_bytes(), name.as_bytes()),
        }
    }
    found
}

/// Takes time in proportion to the product of both lengths at the most.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAQGnMcbsAALC04Xud7zbYMszL6GPn4jQVCl/fPPfxtP";

    fn judge(text: &str) -> Trust {
        let key = PublicKey::from_line(KEY).unwrap();
        let at = "2026-06-15T12:00:00Z".parse().unwrap();
        AllowedSigners::parse(text)
            .unwrap()
            .judge(&key, "larder-bag", at)
    }

    #[test]
    fn a_key_is_trusted_as_its_lines_say() {
        let trusted = || Trust::Trusted(vec!["a@b".to_owned()]);
        for (line, want) in [
            (format!("a@b {KEY} comment here"), trusted()),
            (format!("# c\n\n\"a@b\" {KEY}"), trusted()),
            (format!("a@b namespaces=\"file,larder-*\" {KEY}"), trusted()),
            (
                format!("a@b namespaces=\"file\" {KEY}"),
                Trust::OtherNamespace,
            ),
            (
                format!("a@b namespaces=\"*,!larder-bag\" {KEY}"),
                Trust::OtherNamespace,
            ),
            (
                format!("a@b valid-after=\"20260101Z\",valid-before=\"20261231Z\" {KEY}"),
                trusted(),
            ),
            (
                format!("a@b valid-before=\"20260615120000Z\" {KEY}"),
                trusted(),
            ),
            (
                format!("a@b valid-before=\"20260615115959Z\" {KEY}"),
                Trust::OtherTime,
            ),
            (
                format!("a@b valid-after=202606151201Z {KEY}"),
                Trust::OtherTime,
            ),
            (format!("a@b valid-after=20270101 {KEY}"), Trust::OtherTime),
            (format!("a@b cert-authority {KEY}"), Trust::Authority),
            (format!("a@b {}", KEY.replace("xtP", "xtQ")), Trust::Unknown),
            (String::new(), Trust::Unknown),
            (
                format!("a@b namespaces=\"file\" {KEY}\nc@d,e@f {KEY}"),
                Trust::Trusted(vec!["c@d,e@f".to_owned()]),
            ),
        ] {
            assert_eq!(judge(&line), want, "{line}");
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        for line in [
            "a@b",
            "a@b ssh-ed25519",
            "a@b ssh-ed25519 !!",
            "\"a@b ssh-ed25519 AAAA",
            &format!("a@b nonsense {KEY}"),
            &format!("a@b valid-after=\"2026\" {KEY}"),
            &format!("a@b valid-after=\"20261341Z\" {KEY}"),
            &format!("a@b namespaces=\"x\" namespaces=\"x\" {KEY}"),
        ] {
            let error = AllowedSigners::parse(&format!("\n{line}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.message().starts_with("line 2: "), "{line}: {error}");
        }
    }

    #[test]
    fn patterns_match_as_in_ssh() {
        for (pattern, name, want) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                want,
                "{pattern} {name}"
            );
        }
    }
}
