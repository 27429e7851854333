//! Known exceptions: `--accept FILE`, and what a lock accepts.
//!
//! ```text
//! # ARN, as a glob                          status      until        reason
//! arn:aws:lambda:*:*:function:legacy-*      drifted     2026-12-31   patched by hand, OPS-12
//! arn:aws:lambda:*:*:function:scratch-*     unexpected  -            sandboxes
//! ```
//!
//! In a backup the statuses are partial, unavailable, denied and failed. A line is used for a result whose ARN (alone, or with `:QUALIFIER`) matches and whose status is the one named. From the day
//! after `until` it accepts nothing more.

use globset::{Glob, GlobMatcher};
use jiff::civil::Date;

use super::{Accept, Accepted, FunctionResult, ReportWarning, Status};
use crate::error::{Error, ErrorKind, Result};

/// All exceptions of one file.
#[derive(Debug, Clone, Default)]
pub struct Exceptions {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    /// `FILE:LINE`.
    place: String,
    glob: GlobMatcher,
    status: &'static str,
    until: Option<Date>,
    reason: String,
    used: bool,
}

/// The statuses of a check that can be accepted.
const CHECK: [&str; 4] = ["drifted", "missing", "unexpected", "repackaged"];

/// A line that accepts something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `FILE:LINE`.
    pub place: String,
    /// Why, in the words of the file.
    pub reason: String,
    /// The last day on which it is accepted.
    pub until: Option<Date>,
}

/// A day as `2026-12-31`.
pub fn day(text: &str) -> Result<Date, String> {
    let strict = text.len() == 10;
    text.parse()
        .ok()
        .filter(|_| strict)
        .ok_or_else(|| format!("{text:?} is no day; expected one like 2026-12-31"))
}

impl Exceptions {
    /// Reads a file of exceptions for a check; `path` is how messages call it.
    ///
    /// # Errors
    /// A line is not of the form above.
    pub fn parse(path: &str, text: &str) -> Result<Self> {
        Self::parse_for(&CHECK, path, text)
    }

    /// Reads a file of exceptions of which each names one of `statuses`.
    ///
    /// # Errors
    /// A line is not of the form above.
    pub fn parse_for(statuses: &[&'static str], path: &str, text: &str) -> Result<Self> {
        let mut lines = Vec::new();
        for (number, line) in (1_u32..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("{path}:{number}");
            let wrong = |message: String| {
                Error::new(ErrorKind::Usage, message).about(place.clone()).hint(
                    "a line is: ARN-GLOB STATUS UNTIL REASON, with UNTIL like 2026-12-31, or - for no end",
                )
            };
            let (glob, rest) = word(line);
            let (status, rest) = word(rest);
            let (until, reason) = word(rest);
            let Some(status) = statuses.iter().find(|known| **known == status) else {
                return Err(wrong(if status == Status::Unknown.name() {
                    "what could not be told cannot be accepted: nobody knows what it is".to_owned()
                } else {
                    format!(
                        "{status:?} is no status that can be accepted; expected one of {}",
                        statuses.join(", ")
                    )
                }));
            };
            let until = match until {
                "-" => None,
                text => Some(day(text).map_err(&wrong)?),
            };
            if reason.is_empty() {
                return Err(wrong("there is no reason".to_owned()));
            }
            let glob = Glob::new(glob)
                .map_err(|e| wrong(format!("{glob:?} is no glob: {}", e.kind())))?
                .compile_matcher();
            lines.push(Line {
                place,
                glob,
                status,
                until,
                reason: reason.to_owned(),
                used: false,
            });
        }
        Ok(Self { lines })
    }

    /// Adds the lines of another file.
    pub fn extend(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// Makes `result` accepted when a line that holds on `today` says so.
    pub fn apply(&mut self, result: &mut FunctionResult, today: Date) {
        // A function that is missing may be known by its name alone; then the globs of an ARN's other parts match anything.
        let arn = if result.function.starts_with("arn:") {
            result.function.clone()
        } else {
            format!("arn:aws:lambda:*:*:function:{}", result.function)
        };
        let qualified = format!("{arn}:{}", result.qualifier);
        let names = [result.function.as_str(), &arn, &qualified];
        if let Some(found) = self.find(&names, result.status.name(), today) {
            let until = found.until.map(|day| day.to_string());
            accept(result, found.place, Some(found.reason), until);
        }
    }

    /// The first line that accepts `status` on `today` of what any of `names` is a name of.
    pub fn find(&mut self, names: &[&str], status: &str, today: Date) -> Option<Found> {
        for line in &mut self.lines {
            if line.status != status || !names.iter().any(|name| line.glob.is_match(name)) {
                continue;
            }
            line.used = true;
            if line.until.is_some_and(|until| until < today) {
                continue;
            }
            return Some(Found {
                place: line.place.clone(),
                reason: line.reason.clone(),
                until: line.until,
            });
        }
        None
    }

    /// Which lines have expired, and which accepted nothing.
    pub fn warnings(&self, today: Date) -> Vec<ReportWarning> {
        self.told(today, true)
    }

    /// Which lines have expired. Where only a part was looked at, the others say nothing.
    pub fn expired(&self, today: Date) -> Vec<ReportWarning> {
        self.told(today, false)
    }

    fn told(&self, today: Date, unused: bool) -> Vec<ReportWarning> {
        self.lines
            .iter()
            .filter_map(|line| {
                let (message, hint) = match line.until {
                    Some(until) if until < today => (
                        format!("this exception expired after {until}, and accepts nothing more"),
                        "mend the function, or look at the exception again",
                    ),
                    _ if unused && !line.used => (
                        "this exception was not used: nothing it names differs so".to_owned(),
                        "remove the line if it is not needed any more",
                    ),
                    _ => return None,
                };
                Some(ReportWarning {
                    subject: line.place.clone(),
                    message,
                    hint: Some(hint.to_owned()),
                })
            })
            .collect()
    }
}

/// The first word and what comes after it.
fn word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

fn accept(result: &mut FunctionResult, by: String, reason: Option<String>, until: Option<String>) {
    result.accepted = Some(Accepted {
        status: result.status,
        by,
        reason,
        until,
    });
    result.status = Status::Accepted;
}

/// Applies what a lock accepts of the function that `result` is about. Gives a warning when it has expired, and whether it was
/// used.
pub fn apply_lock(
    exception: &Accept,
    result: &mut FunctionResult,
    by: &str,
    today: Date,
) -> (Option<ReportWarning>, bool) {
    if result.status != Status::Drifted {
        return (None, false);
    }
    let deployed = result
        .deployed
        .as_ref()
        .and_then(|d| d.code_sha256.as_deref());
    let meant = match (&exception.code_sha256, deployed) {
        (None, _) => true,
        (Some(accepted), Some(deployed)) => same_digest(accepted, deployed),
        (Some(_), None) => false,
    };
    // What is accepted is the code; layers and configuration that differ beside it are another matter.
    let code_alone = exception.code_sha256.is_none()
        || (result.config.is_empty()
            && result
                .layers
                .iter()
                .all(|layer| layer.status == super::LayerStatus::InSync));
    if !meant || !code_alone {
        return (None, false);
    }
    let until = exception.until.as_deref().and_then(|text| day(text).ok());
    if until.is_some_and(|until| until < today) {
        let warning = ReportWarning {
            subject: by.to_owned(),
            message: format!(
                "the lock accepted this until {}, and does no more",
                exception.until.as_deref().unwrap_or_default()
            ),
            hint: Some("mend the function, or run larder lock".to_owned()),
        };
        return (Some(warning), true);
    }
    accept(
        result,
        by.to_owned(),
        exception.reason.clone(),
        exception.until.clone(),
    );
    (None, true)
}

fn same_digest(a: &str, b: &str) -> bool {
    use crate::digest::Sha256Digest;
    match (a.parse::<Sha256Digest>(), b.parse::<Sha256Digest>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:legacy-1";

    fn today() -> Date {
        day("2026-11-22").unwrap()
    }

    fn result(status: Status) -> FunctionResult {
        FunctionResult::new(ARN, "$LATEST", status)
    }

    #[test]
    fn a_line_accepts_what_it_names_until_its_last_day() {
        for (line, status, accepted, warnings) in [
            (
                "*:function:legacy-* drifted 2026-11-22 why not",
                Status::Drifted,
                true,
                0,
            ),
            (
                "*:function:legacy-* drifted - why",
                Status::Drifted,
                true,
                0,
            ),
            (
                "*:function:legacy-* drifted 2026-11-21 why",
                Status::Drifted,
                false,
                1,
            ),
            (
                "*:function:legacy-* missing - why",
                Status::Drifted,
                false,
                1,
            ),
            (
                "*:function:other-* drifted - why",
                Status::Drifted,
                false,
                1,
            ),
            (
                "*:function:legacy-?:$LATEST drifted - why",
                Status::Drifted,
                true,
                0,
            ),
            (
                "*:function:legacy-?:live drifted - why",
                Status::Drifted,
                false,
                1,
            ),
            ("* missing - why", Status::Missing, true, 0),
        ] {
            let mut exceptions = Exceptions::parse("f", &format!("# c\n\n{line}\n")).unwrap();
            let mut result = result(status);
            exceptions.apply(&mut result, today());
            assert_eq!(result.status == Status::Accepted, accepted, "{line}");
            assert_eq!(exceptions.warnings(today()).len(), warnings, "{line}");
            if accepted {
                let by = result.accepted.unwrap();
                assert_eq!((by.by.as_str(), by.status), ("f:3", status));
            }
        }
    }

    #[test]
    fn a_line_of_another_form_is_refused() {
        for line in [
            "*",
            "* drifted",
            "* drifted -",
            "* fine - why",
            "* in_sync - why",
            "* drifted 2026-13-01 why",
            "* drifted 2026-1-1 why",
            "* drifted soon why",
            "[z-a] drifted - why",
        ] {
            let error = Exceptions::parse("f", line).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{line}");
            assert_eq!(error.subject(), Some("f:1"), "{line}");
        }
    }

    #[test]
    fn a_lock_accepts_one_digest() {
        let digest = crate::digest::Sha256Digest::of(b"x");
        for (accepts, until, used, accepted) in [
            (Some(digest.base64()), None, true, true),
            (Some(digest.hex()), Some("2026-11-22"), true, true),
            (Some(digest.hex()), Some("2026-11-21"), true, false),
            (Some("other".to_owned()), None, false, false),
            (None, None, true, true),
        ] {
            let mut result = result(Status::Drifted);
            result.deployed = Some(super::super::Deployed {
                code_sha256: Some(digest.base64()),
                ..Default::default()
            });
            let exception = Accept {
                code_sha256: accepts.clone(),
                until: until.map(ToOwned::to_owned),
                reason: None,
            };
            let (warning, was_used) = apply_lock(&exception, &mut result, "larder.lock", today());
            assert_eq!(
                (was_used, result.status == Status::Accepted),
                (used, accepted),
                "{accepts:?} {until:?}"
            );
            assert_eq!(warning.is_some(), used && !accepted);
        }
    }
}
