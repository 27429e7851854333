//! GitLab's code quality report: a JSON array of findings, each with a fingerprint of its own.
//!
//! Source: "Code Quality report format" of GitLab's documentation, a subset of the Code Climate specification.

use serde::Serialize;

use super::wording::{fingerprints, place, sentence, title};
use crate::cli::escape;
use crate::drift::{FunctionResult, Report, Status};
use crate::error::Result;

/// GitLab wants a file for each finding. Where no file declares anything, the lock is where one would.
const NO_FILE: &str = "larder.lock";

#[derive(Serialize)]
struct Finding<'a> {
    description: String,
    check_name: String,
    fingerprint: String,
    severity: &'static str,
    location: Location<'a>,
}

#[derive(Serialize)]
struct Location<'a> {
    path: &'a str,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: u32,
}

/// The findings; an empty array when all is well.
pub(super) fn render(report: &Report) -> Result<Vec<u8>> {
    let bad: Vec<&FunctionResult> = report
        .functions
        .iter()
        .filter(|r| !r.status.is_good())
        .collect();
    let findings: Vec<_> = bad
        .iter()
        .zip(fingerprints(&bad))
        .map(|(result, fingerprint)| {
            let (path, line) = place(report, result).unwrap_or((NO_FILE, None));
            Finding {
                description: escape::line(&format!(
                    "{}: {}: {}",
                    title(result),
                    result.status.name(),
                    sentence(result)
                ))
                .into_owned(),
                check_name: format!("larder-{}", result.status.name()),
                fingerprint,
                severity: match result.status {
                    Status::Drifted => "critical",
                    Status::Missing | Status::Unexpected => "major",
                    _ => "minor",
                },
                location: Location {
                    path: path.strip_prefix("./").unwrap_or(path),
                    lines: Lines {
                        begin: line.unwrap_or(1),
                    },
                },
            }
        })
        .collect();
    super::json(&findings)
}
