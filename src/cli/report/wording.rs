//! What all forms of a report say alike: titles, sentences, details, places and fingerprints. Texts come back harmless to
//! a terminal; each form escapes them for its own reader on top.
//!
//! Diffs are left to text and JSON: a report that is uploaded somewhere names files and says no word of what is in them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::cli::escape;
use crate::digest::Sha256Digest;
use crate::drift::{ChangeKind, FunctionResult, LayerStatus, Report, Status};

/// How many details of one function a report lists.
const MAX_DETAILS: usize = 50;

/// `orders`, `orders:7`, `orders (alias live, version 7)`.
pub(super) fn title(result: &FunctionResult) -> String {
    let version = result.deployed.as_ref().and_then(|d| d.version.as_deref());
    let name = result.name();
    let text = match (&result.alias, version) {
        (Some(alias), Some(version)) => format!("{name} (alias {alias}, version {version})"),
        (Some(alias), None) => format!("{name} (alias {alias})"),
        (None, _) if result.qualifier == "$LATEST" || result.qualifier.is_empty() => {
            name.to_owned()
        }
        (None, _) => format!("{name}:{}", result.qualifier),
    };
    escape::line(&text).into_owned()
}

/// What is the matter, in one sentence.
pub(super) fn sentence(result: &FunctionResult) -> String {
    let reason = result.reason.as_deref().unwrap_or(match result.status {
        Status::InSync => "what runs is what is expected",
        Status::Repackaged => "the same contents in another zip",
        Status::Drifted => "what runs is not what is expected",
        Status::Missing => "expected, and not deployed",
        Status::Unexpected => "deployed, and expected nowhere",
        Status::Unknown => "it could not be told",
        Status::Accepted => "it differs, and an exception accepts it",
    });
    escape::line(reason).into_owned()
}

/// The details, one a line: files, layers, settings, notes, and the exception.
pub(super) fn details(result: &FunctionResult) -> Vec<String> {
    let sign = |change| match change {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Modified => "modified",
        ChangeKind::Mode => "mode changed",
        ChangeKind::Type => "type changed",
    };
    let mut out: Vec<String> = result
        .changes
        .iter()
        .take(MAX_DETAILS)
        .map(|change| format!("{}: {}", sign(change.change), change.path))
        .collect();
    let left_out =
        result.changes.len().saturating_sub(MAX_DETAILS) as u64 + result.changes_left_out;
    if left_out > 0 {
        out.push(format!("and {left_out} more files"));
    }
    for layer in result
        .layers
        .iter()
        .filter(|l| l.status != LayerStatus::InSync)
        .take(MAX_DETAILS)
    {
        let name = layer
            .deployed
            .as_deref()
            .or(layer.expected.as_deref())
            .unwrap_or("?");
        let what = match layer.status {
            LayerStatus::InSync => "in sync",
            LayerStatus::Repackaged => "the same contents in another zip",
            LayerStatus::Drifted => "differs",
            LayerStatus::Missing => "expected, and not there",
            LayerStatus::Unexpected => "not expected",
            LayerStatus::Unknown => "could not be told",
        };
        let reason = layer
            .reason
            .as_ref()
            .map(|r| format!(": {r}"))
            .unwrap_or_default();
        out.push(format!("layer {name}: {what}{reason}"));
    }
    for setting in result.config.iter().take(MAX_DETAILS) {
        out.push(format!(
            "{}: expected {}, deployed {}",
            setting.field, setting.expected, setting.deployed
        ));
    }
    out.extend(result.notes.iter().take(MAX_DETAILS).cloned());
    if let Some(accepted) = &result.accepted {
        let until = accepted
            .until
            .as_ref()
            .map(|day| format!(" until {day}"))
            .unwrap_or_default();
        let reason = accepted
            .reason
            .as_ref()
            .map(|r| format!(": {r}"))
            .unwrap_or_default();
        out.push(format!("accepted by {}{until}{reason}", accepted.by));
    }
    out.iter()
        .map(|line| escape::line(line).into_owned())
        .collect()
}

/// `3 checked: 1 in sync, 1 drifted, 1 unknown`.
pub(super) fn counts(report: &Report) -> String {
    let s = &report.summary;
    let parts: Vec<_> = [
        (s.in_sync, "in sync"),
        (s.repackaged, "repackaged"),
        (s.drifted, "drifted"),
        (s.missing, "missing"),
        (s.unexpected, "unexpected"),
        (s.unknown, "unknown"),
        (s.accepted, "accepted"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, name)| format!("{n} {name}"))
    .collect();
    match &parts[..] {
        [] => "nothing was checked".to_owned(),
        parts => format!("{} checked: {}", s.checked, parts.join(", ")),
    }
}

/// The file to point at: the one that declares the function, else the one that declares most of the others, since
/// that is where it should be. With its line, for the former.
pub(super) fn place<'a>(
    report: &'a Report,
    result: &'a FunctionResult,
) -> Option<(&'a str, Option<u32>)> {
    if let Some(expected) = &result.expected
        && let Some(file) = &expected.file
    {
        return Some((file, expected.line));
    }
    let mut files = BTreeMap::<&str, usize>::new();
    for file in report
        .functions
        .iter()
        .filter_map(|f| f.expected.as_ref()?.file.as_deref())
    {
        *files.entry(file).or_default() += 1;
    }
    let most = files
        .into_iter()
        .max_by_key(|(file, n)| (*n, Reverse(*file)));
    most.map(|(file, _)| (file, None))
}

/// What stays the same for the same finding from run to run, whatever is deployed by then: the digest of rule, function,
/// qualifier and alias, and a number where there are several.
pub(super) fn fingerprints(results: &[&FunctionResult]) -> Vec<String> {
    let mut seen = HashMap::<String, u32>::new();
    let mut of = |result: &FunctionResult| {
        let key = [
            result.status.name(),
            &result.function,
            &result.qualifier,
            result.alias.as_deref().unwrap_or_default(),
        ]
        .join("\0");
        let n = seen.entry(key.clone()).or_default();
        *n += 1;
        Sha256Digest::of(format!("{key}\0{n}").as_bytes()).hex()
    };
    results.iter().map(|result| of(result)).collect()
}
