//! `allowed_signers` (ssh-keygen(1), "ALLOWED SIGNERS"): which keys are trusted, as whom, for what, and when.
//!
//! Read as OpenSSH's `sshsig.c` reads it, to the letter: what `ssh-keygen -Y verify` takes is taken, and a line that it
//! passes over is passed over, and told. Certificates are not supported: a line with `cert-authority` trusts no key by
//! itself, here as there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::ssh::PublicKey;

/// The largest file that is read, in bytes.
pub(crate) const MAX_ALLOWED_SIGNERS: u64 = 4 << 20;
/// The longest pattern of a list, in bytes: OpenSSH takes no list with a longer one.
const MAX_PATTERN: usize = 1022;

/// Who may sign.
#[derive(Debug, Clone, Default)]
pub struct AllowedSigners {
    lines: Vec<Line>,
    skipped: Vec<Skipped>,
}

#[derive(Debug, Clone)]
struct Line {
    principals: String,
    options: Options,
    key: PublicKey,
}

#[derive(Debug, Clone, Default)]
struct Options {
    namespaces: Option<String>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
    is_authority: bool,
}

/// A line that trusts nobody, for it is not of the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

/// What the file says about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It is these principals' key, as the lines have them: lists of patterns.
    Trusted(Vec<String>),
    /// No line has it.
    Unknown,
    /// A line has it, for other principals than the one that is wanted.
    OtherPrincipal,
    /// A line has it, for other namespaces.
    OtherNamespace,
    /// A line has it, for another time.
    OtherTime,
    /// It stands only as an authority for certificates, which are not supported.
    Authority,
}

impl AllowedSigners {
    /// Reads the file's text. Lines that are not of the form are passed over: see [`skipped`](Self::skipped).
    pub fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for (at, line) in text.split('\n').enumerate() {
            let line = line.trim_start_matches([' ', '\t', '\r']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match Line::parse(line) {
                Ok(line) => out.lines.push(line),
                Err(why) => out.skipped.push(Skipped { line: at + 1, why }),
            }
        }
        out
    }

    /// Whose key it is, for signatures of `namespace` made at `at`; with a `principal`, whether it is that one's.
    pub fn judge(
        &self,
        key: &PublicKey,
        namespace: &str,
        principal: Option<&str>,
        at: Timestamp,
    ) -> Trust {
        let mut principals = Vec::new();
        let mut why = Trust::Unknown;
        for line in self.lines.iter().filter(|line| line.key == *key) {
            let options = &line.options;
            // A list that only excludes is nobody's.
            let is_whom = match principal {
                Some(principal) => is_in(&line.principals, principal),
                None => line.principals.split(',').any(|p| !p.starts_with('!')),
            };
            let namespaces = options.namespaces.as_deref();
            if !is_whom {
                why = Trust::OtherPrincipal;
            } else if options.is_authority {
                why = Trust::Authority;
            } else if !namespaces.is_none_or(|list| is_in(list, namespace)) {
                why = Trust::OtherNamespace;
            } else if options.valid_after.is_some_and(|after| at < after)
                || options.valid_before.is_some_and(|before| at > before)
            {
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

    /// The lines that were passed over.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// All keys but authorities, whatever they are trusted for.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> {
        let keys = self.lines.iter().filter(|line| !line.options.is_authority);
        keys.map(|line| line.key.clone())
    }
}

impl Line {
    /// `parse_principals_key_and_options` in `sshsig.c`.
    fn parse(line: &str) -> Result<Self, String> {
        let (principals, rest) = principals(line)?;
        if let Ok(key) = read_key(rest) {
            return Ok(Self {
                principals,
                options: Options::default(),
                key,
            });
        }
        let end = end_of_options(rest).ok_or("a quote in its options does not end")?;
        let (options, key) = rest.split_at(end);
        let key = key.trim_start_matches([' ', '\t']);
        if key.trim_end().is_empty() {
            return Err("it has no key".to_owned());
        }
        let key = read_key(key)?;
        Ok(Self {
            principals,
            options: Options::parse(options)?,
            key,
        })
    }
}

impl Options {
    /// `sshsigopt_parse` in `sshsig.c`.
    fn parse(mut text: &str) -> Result<Self, String> {
        let mut out = Self::default();
        loop {
            if let Some(rest) = strip_prefix_of_any_case(text, "cert-authority") {
                out.is_authority = true;
                text = rest;
            } else if let Some(rest) = strip_prefix_of_any_case(text, "namespaces=") {
                let (value, rest) = dequote(rest)?;
                set(&mut out.namespaces, value, "namespaces")?;
                text = rest;
            } else if let Some(rest) = strip_prefix_of_any_case(text, "valid-after=") {
                let (value, rest) = dequote(rest)?;
                set(&mut out.valid_after, parse_time(&value)?, "valid-after")?;
                text = rest;
            } else if let Some(rest) = strip_prefix_of_any_case(text, "valid-before=") {
                let (value, rest) = dequote(rest)?;
                set(&mut out.valid_before, parse_time(&value)?, "valid-before")?;
                text = rest;
            }
            if text.is_empty() {
                break;
            }
            text = text
                .strip_prefix(',')
                .ok_or_else(|| format!("{:?} is no option", short(text)))?;
            if text.is_empty() {
                return Err("its options end with a comma".to_owned());
            }
        }
        if let (Some(after), Some(before)) = (out.valid_after, out.valid_before)
            && before <= after
        {
            return Err("its valid-before is not after its valid-after".to_owned());
        }
        Ok(out)
    }
}

fn set<T>(place: &mut Option<T>, value: T, name: &str) -> Result<(), String> {
    if place.replace(value).is_some() {
        return Err(format!("it has {name} more than once"));
    }
    Ok(())
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

fn strip_prefix_of_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    let is = start.eq_ignore_ascii_case(prefix);
    is.then(|| &text[prefix.len()..])
}

/// The first word, which a quote within it prolongs up to the next quote (`strdelimw` in `misc.c`), and the rest.
fn principals(line: &str) -> Result<(String, &str), String> {
    const SPACE: [char; 3] = [' ', '\t', '\r'];
    let early = || "it names no key".to_owned();
    let end = line.find([' ', '\t', '\r', '"']).ok_or_else(early)?;
    let (word, rest) = line.split_at(end);
    let (word, rest) = match rest.strip_prefix('"') {
        Some(quoted) => {
            let (inner, rest) = quoted.split_once('"').ok_or("a quote does not end")?;
            (format!("{word}{inner}"), rest)
        }
        None => (word.to_owned(), rest),
    };
    if word.is_empty() {
        return Err("it names no principal".to_owned());
    }
    Ok((word, rest.trim_start_matches(SPACE)))
}

/// A key's type and base64 at the begin of `text` (`sshkey_read` in `sshkey.c`); what follows is a comment.
fn read_key(text: &str) -> Result<PublicKey, String> {
    let (kind, rest) = text
        .split_once([' ', '\t'])
        .ok_or_else(|| format!("{:?} is no key", short(text)))?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let blob = rest.split([' ', '\t']).next().unwrap_or_default();
    let blob = STANDARD
        .decode(blob.trim_end_matches('\r'))
        .map_err(|_| format!("{:?} is no key", short(text)))?;
    let key = PublicKey::from_blob(&blob).map_err(|e| format!("its key: {e}"))?;
    if key.algorithm() != kind {
        return Err(format!(
            "its key is of the type {}, not {:?}",
            key.algorithm(),
            short(kind)
        ));
    }
    Ok(key)
}

/// Where the options end: at white space that stands in no quotes (`sshkey_advance_past_options`). None for a quote that
/// does not end.
fn end_of_options(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b' ' | b'\t' if !quoted => return Some(at),
            b'\\' if bytes.peek().is_some_and(|(_, next)| *next == b'"') => drop(bytes.next()),
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    (!quoted).then_some(text.len())
}

/// A value in quotes, in which `\"` is a quote (`opt_dequote` in `auth-options.c`), and what follows it.
fn dequote(text: &str) -> Result<(String, &str), String> {
    let inner = text
        .strip_prefix('"')
        .ok_or("the value of an option does not begin with a quote")?;
    let mut out = String::new();
    let mut chars = inner.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &inner[at + 1..])),
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                out.push('"');
            }
            _ => out.push(c),
        }
    }
    Err("the value of an option does not end with a quote".to_owned())
}

/// `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, in local time, or in UTC with `Z` or `UTC` (`parse_absolute_time` in `misc.c`).
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{:?} is no time such as 20260131Z", short(text));
    let upper = text.to_ascii_uppercase();
    let utc = upper
        .strip_suffix('Z')
        .or_else(|| upper.strip_suffix("UTC"));
    let (digits, zone) = match utc {
        Some(digits) => (digits, TimeZone::UTC),
        None => (upper.as_str(), TimeZone::system()),
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
    let time = DateTime::new(
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
    .map_err(|_| wrong())?;
    // OpenSSH keeps the time as a number that is 0 where there is none, and refuses what is before.
    if time <= Timestamp::UNIX_EPOCH {
        return Err(wrong());
    }
    Ok(time)
}

/// Whether a name is in a list of patterns with `*` and `?`, of which one with `!` excludes (`match_pattern_list`).
fn is_in(patterns: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',') {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, pattern),
        };
        if pattern.len() > MAX_PATTERN {
            return false;
        }
        if matches(pattern.as_bytes(), name.as_bytes()) {
            if negated {
                return false;
            }
            found = true;
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
        AllowedSigners::parse(text).judge(&key, "larder-bag", None, at)
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
                format!("a@b valid-after=\"202606151201Z\" {KEY}"),
                Trust::OtherTime,
            ),
            (
                format!("a@b valid-after=\"20270101\" {KEY}"),
                Trust::OtherTime,
            ),
            (format!("a@b valid-after=\"20260615UTC\" {KEY}"), trusted()),
            (format!("a@b NAMESPACES=\"larder-bag\" {KEY}"), trusted()),
            (
                format!("a@b namespaces=\"file, larder-bag\" {KEY}"),
                Trust::OtherNamespace,
            ),
            (format!("!a@b {KEY}"), Trust::OtherPrincipal),
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
    fn a_line_that_is_not_of_the_form_is_passed_over_and_told() {
        for line in [
            "a@b",
            "a@b ssh-ed25519",
            "a@b ssh-ed25519 !!",
            "a@b ssh-ed25519 AAAA",
            "\"a@b ssh-ed25519 AAAA",
            &format!("a@b nonsense {KEY}"),
            &format!("a@b valid-after=\"2026\" {KEY}"),
            &format!("a@b valid-after=20260101 {KEY}"),
            &format!("a@b valid-after=\"20261341Z\" {KEY}"),
            &format!("a@b valid-after=\"19600101Z\" {KEY}"),
            &format!("a@b valid-after=\"20260102Z\",valid-before=\"20260101Z\" {KEY}"),
            &format!("a@b namespaces=\"x\",namespaces=\"x\" {KEY}"),
            &format!("a@b namespaces=\"x\" namespaces=\"x\" {KEY}"),
            &format!("a@b cert-authority, {KEY}"),
            &format!("a@b {}", KEY.replace("ssh-ed25519 ", "ssh-rsa ")),
        ] {
            let text = format!("\n{line}\na@b {KEY}");
            let allowed = AllowedSigners::parse(&text);
            let lines: Vec<_> = allowed.skipped().iter().map(|s| s.line).collect();
            assert_eq!(lines, [2], "{line}");
            assert_eq!(judge(&text), Trust::Trusted(vec!["a@b".to_owned()]));
        }
    }

    #[test]
    fn a_principal_is_looked_for_by_patterns() {
        let key = PublicKey::from_line(KEY).unwrap();
        let at = "2026-06-15T12:00:00Z".parse().unwrap();
        for (principals, principal, want) in [
            ("a@b", "a@b", true),
            ("a@b", "A@b", false),
            ("*@b", "x@b", true),
            ("*@b,!x@b", "x@b", false),
            ("!x@b,*@b", "y@b", true),
            ("c,a?b", "a@b", true),
            ("\"a@b,c d\"", "c d", true),
            ("x\"@b\"", "x@b", true),
        ] {
            let allowed = AllowedSigners::parse(&format!("{principals} {KEY}\r\n"));
            assert_eq!(allowed.skipped(), [], "{principals}");
            let trust = allowed.judge(&key, "larder-bag", Some(principal), at);
            assert_eq!(
                matches!(trust, Trust::Trusted(_)),
                want,
                "{principals} {principal}"
            );
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
