//! The report for people: a table, then what differs, then the counts.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::cli::escape;
use crate::cli::quantity::count;
use crate::drift::{Change, ChangeKind, FunctionResult, LayerStatus, Report, Status};

/// How many files of one function are listed.
const MAX_FILES: usize = 50;

/// Fewer columns than these are too few for a sentence beside others.
const NARROW: usize = 32;

/// The report as text with colours; sentences are folded where it is known how many `columns` there are.
pub(in crate::cli) fn render(report: &Report, columns: Option<usize>) -> String {
    let mut out = String::new();
    table(&mut out, report, columns);
    for result in &report.functions {
        details(&mut out, result, columns);
    }
    summary(&mut out, report);
    out
}

fn style(status: Status) -> Style {
    let colour = match status {
        Status::InSync => AnsiColor::Green,
        Status::Repackaged | Status::Accepted => AnsiColor::Cyan,
        Status::Drifted | Status::Missing | Status::Unexpected => AnsiColor::Red,
        Status::Unknown => AnsiColor::Yellow,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

/// As people read it: `in sync`.
fn words(status: Status) -> &'static str {
    match status {
        Status::InSync => "in sync",
        other => other.name(),
    }
}

/// `$LATEST`, or `live -> 3 (90%)`.
fn at(result: &FunctionResult) -> String {
    let deployed = result.deployed.as_ref();
    let version = deployed.and_then(|d| d.version.as_deref());
    match version.filter(|version| *version != result.qualifier) {
        None => result.qualifier.clone(),
        Some(version) => {
            let share = deployed.and_then(|d| d.weight).filter(|w| *w < 1.0);
            let share = share.map_or(String::new(), |w| format!(" ({:.0}%)", w * 100.0));
            format!("{} -> {version}{share}", result.qualifier)
        }
    }
}

/// `123456789012/eu-west-1` is not repeated on each line: a region is named only where there are several.
fn name(result: &FunctionResult, with_region: bool) -> String {
    let region = result.function.split(':').nth(3).unwrap_or_default();
    if with_region && !region.is_empty() {
        format!("{} ({region})", result.name())
    } else {
        result.name().to_owned()
    }
}

/// Folds a sentence between words into lines of at most `room` characters. A longer word stays whole, to be copied.
fn folded(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in text.split(' ') {
        let more = word.chars().count();
        if length > 0 && length + 1 + more > room {
            lines.push(String::new());
            length = 0;
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += more;
        }
    }
    lines
}

/// A sentence that begins at column `indent`, its further lines below that.
fn hanging(text: &str, indent: usize, columns: Option<usize>) -> String {
    let Some(room) = columns.map(|columns| columns.saturating_sub(indent).max(1)) else {
        return text.to_owned();
    };
    folded(text, room).join(&format!("\n{:indent$}", ""))
}

fn table(out: &mut String, report: &Report, columns: Option<usize>) {
    let mut regions: Vec<&str> = report
        .functions
        .iter()
        .filter_map(|r| r.function.split(':').nth(3))
        .collect();
    regions.sort_unstable();
    regions.dedup();
    let rows: Vec<[String; 4]> = report
        .functions
        .iter()
        .map(|result| {
            let reason = result.reason.as_deref().unwrap_or_default();
            [
                words(result.status).to_owned(),
                escape::line(&name(result, regions.len() > 1)).into_owned(),
                escape::line(&at(result)).into_owned(),
                escape::line(reason).into_owned(),
            ]
        })
        .collect();
    let width = |at: usize, head: &str| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.max().unwrap_or(0).max(head.len())
    };
    let heads = ["STATUS", "FUNCTION", "AT", "WHAT"];
    let widths = [0, 1, 2].map(|column| width(column, heads[column]));
    let line = |cells: [&str; 4]| {
        let [status, function, at, what] = cells;
        let [a, b, c] = widths;
        let head = format!("{status:<a$}  {function:<b$}  {at:<c$}  ");
        let begin = a + b + c + 6;
        let room = columns.map(|columns| columns.saturating_sub(begin));
        let below = room.is_some_and(|room| room < NARROW && room < what.chars().count());
        let text = if below {
            format!("{}\n    {}", head.trim_end(), hanging(what, 4, columns))
        } else {
            format!("{head}{}", hanging(what, begin, columns))
        };
        text.trim_end().to_owned()
    };
    let bold = Style::new().bold();
    // Writing to a String does not fail.
    let _ = writeln!(out, "{bold}{}{bold:#}", line(heads));
    for (row, result) in rows.iter().zip(&report.functions) {
        let style = style(result.status);
        let text = line([&row[0], &row[1], &row[2], &row[3]]);
        let (status, rest) = text.split_at(row[0].len().min(text.len()));
        let _ = writeln!(out, "{style}{status}{style:#}{rest}");
    }
}

fn details(out: &mut String, result: &FunctionResult, columns: Option<usize>) {
    let accepted = result.status == Status::Accepted;
    let nothing = result.changes.is_empty()
        && result.config.is_empty()
        && result
            .layers
            .iter()
            .all(|l| l.status == LayerStatus::InSync)
        && (result.notes.is_empty() || (result.status == Status::InSync && !result.notable));
    if nothing && !accepted && !matches!(result.status, Status::Drifted | Status::Repackaged) {
        return;
    }
    let style = style(result.status);
    let dim = Style::new().dimmed();
    let _ = writeln!(
        out,
        "\n{style}{}{style:#} {} {}",
        words(result.status),
        escape::line(&result.function),
        escape::line(&at(result)),
    );
    let mut line = |label: &str, value: &str| {
        let text = hanging(&escape::line(value), 12, columns);
        let _ = writeln!(out, "  {dim}{label:<9}{dim:#} {text}");
    };
    if let Some(expected) = &result.expected {
        let mut parts = vec![match (&expected.file, expected.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            _ => expected.source.clone(),
        }];
        parts.extend(expected.label.clone());
        parts.extend(expected.basis.clone());
        line("source", &parts.join(", "));
        if let Some(digest) = expected
            .code_sha256
            .as_ref()
            .or(expected.image_uri.as_ref())
        {
            line("expected", digest);
        }
    }
    if let Some(deployed) = &result.deployed
        && let Some(digest) = &deployed.code_sha256
    {
        match &deployed.last_modified {
            Some(time) => line("deployed", &format!("{digest}, modified {time}")),
            None => line("deployed", digest),
        }
    }
    if let Some(accepted) = &result.accepted {
        let until = accepted.until.as_deref().unwrap_or("further notice");
        let reason = accepted.reason.as_deref().unwrap_or("no reason given");
        let was = accepted.status.name();
        line(
            "accepted",
            &format!("{was}, by {} until {until}: {reason}", accepted.by),
        );
    }
    for layer in &result.layers {
        if layer.status == LayerStatus::InSync {
            continue;
        }
        let name = layer
            .deployed
            .as_deref()
            .or(layer.expected.as_deref())
            .unwrap_or_default();
        let reason = layer.reason.as_deref().unwrap_or("differs");
        let was = match (&layer.expected, &layer.deployed) {
            (Some(expected), Some(deployed)) if expected != deployed => {
                format!(" (expected {expected})")
            }
            _ => String::new(),
        };
        line("layer", &format!("{name}{was}: {reason}"));
    }
    for change in &result.config {
        line(
            "config",
            &format!(
                "{}: {} -> {}",
                change.field, change.expected, change.deployed
            ),
        );
    }
    for note in &result.notes {
        line("note", note);
    }
    for layer in &result.layers {
        files(out, &layer.changes, 0);
    }
    files(out, &result.changes, result.changes_left_out);
}

fn files(out: &mut String, changes: &[Change], left_out: u64) {
    for change in changes.iter().take(MAX_FILES) {
        let (mark, colour) = match change.change {
            ChangeKind::Added => ('+', AnsiColor::Green),
            ChangeKind::Removed => ('-', AnsiColor::Red),
            ChangeKind::Modified => ('M', AnsiColor::Yellow),
            ChangeKind::Mode => ('x', AnsiColor::Yellow),
            ChangeKind::Type => ('T', AnsiColor::Yellow),
        };
        let style = Style::new().fg_color(Some(colour.into()));
        let what = match change.change {
            ChangeKind::Mode => " (executable bit)",
            ChangeKind::Type => " (another type)",
            _ => "",
        };
        let _ = writeln!(
            out,
            "  {style}{mark}{style:#} {}{what}",
            escape::line(&change.path)
        );
        if let Some(diff) = &change.diff {
            diff_lines(out, diff);
        }
    }
    let more = changes.len().saturating_sub(MAX_FILES) as u64 + left_out;
    if more > 0 {
        let _ = writeln!(out, "  … and {more} more; --output json lists them");
    }
}

fn diff_lines(out: &mut String, diff: &str) {
    for line in diff.lines() {
        let colour = match line.as_bytes().first() {
            Some(b'+') => Some(AnsiColor::Green),
            Some(b'-') => Some(AnsiColor::Red),
            Some(b'@') => Some(AnsiColor::Cyan),
            _ => None,
        };
        let style = Style::new().fg_color(colour.map(Into::into));
        // Tabs stay: they are what the file has.
        let _ = writeln!(out, "      {style}{}{style:#}", escape::lines(line));
    }
}

fn summary(out: &mut String, report: &Report) {
    let s = &report.summary;
    let parts: Vec<String> = [
        (s.in_sync, Status::InSync),
        (s.repackaged, Status::Repackaged),
        (s.drifted, Status::Drifted),
        (s.missing, Status::Missing),
        (s.unexpected, Status::Unexpected),
        (s.unknown, Status::Unknown),
        (s.accepted, Status::Accepted),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, status)| {
        let style = style(status);
        format!("{style}{count} {}{style:#}", words(status))
    })
    .collect();
    let checked = count(s.checked, "comparison", "comparisons");
    let _ = if parts.is_empty() {
        writeln!(out, "\n{checked}")
    } else {
        writeln!(out, "\n{checked}: {}", parts.join(", "))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_folded_between_words() {
        assert_eq!(folded("", 10), [""]);
        assert_eq!(folded("one two three", 7), ["one two", "three"]);
        assert_eq!(folded("a 1234567890 b", 4), ["a", "1234567890", "b"]);
        assert_eq!(hanging("one two three", 2, Some(9)), "one two\n  three");
        assert_eq!(hanging("one two three", 2, None), "one two three");
    }

    #[test]
    fn a_narrow_terminal_has_the_reason_below() {
        let mut result = FunctionResult::new("a-function-with-a-name", "$LATEST", Status::Drifted);
        result.reason =
            Some("another zip is deployed; of the expected one nothing is known".into());
        let report = Report::new(vec![result], Vec::new());
        for (columns, lines) in [(Some(200), 2), (Some(50), 4), (None, 2)] {
            let text = anstream::adapter::strip_str(&render(&report, columns)).to_string();
            let table: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
            assert_eq!(table.len(), lines, "{text}");
            for line in &table {
                assert!(
                    columns.is_none_or(|columns| line.chars().count() <= columns),
                    "{text}"
                );
            }
        }
    }
}
