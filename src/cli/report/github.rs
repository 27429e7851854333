//! Annotations, as workflow commands of GitHub Actions: `::error file=…,line=…,title=…::message`.
//!
//! GitHub shows few of them a step, so that a function has one, whatever its versions and aliases. Source: "Workflow
//! commands for GitHub Actions", and for the escapes the toolkit's `command.ts`.

use std::fmt::Write as _;

use super::wording::{counts, details, place, sentence, title};
use crate::cli::escape;
use crate::drift::{FunctionResult, Report};

/// The longest message, in bytes; GitHub cuts at some thousands.
const MAX_MESSAGE: usize = 3000;

/// One line a function that is not as it should be, one a warning, and the counts.
pub(super) fn render(report: &Report) -> Vec<u8> {
    let mut out = String::new();
    let mut rest = &report.functions[..];
    while let Some(first) = rest.first() {
        // Sorted by function already.
        let end = rest
            .iter()
            .position(|r| r.function != first.function)
            .unwrap_or(rest.len());
        let (one, more) = rest.split_at(end);
        rest = more;
        let bad: Vec<_> = one.iter().filter(|r| !r.status.is_good()).collect();
        if !bad.is_empty() {
            annotate(&mut out, report, &bad);
        }
    }
    for warning in &report.warnings {
        let hint = warning
            .hint
            .as_ref()
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        let text = format!("{}: {}{hint}", warning.subject, warning.message);
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "::warning title=larder check::{}",
            data(&escape::line(&text))
        );
    }
    let _ = writeln!(out, "larder check: {}", counts(report));
    out.into_bytes()
}

fn annotate(out: &mut String, report: &Report, bad: &[&FunctionResult]) {
    // A difference goes before what could not be told.
    let difference =
        |r: &FunctionResult| matches!(r.status.name(), "drifted" | "missing" | "unexpected");
    let worst = bad.iter().find(|r| difference(r)).unwrap_or(&bad[0]);
    let command = if difference(worst) {
        "error"
    } else {
        "warning"
    };
    let mut properties = Vec::new();
    if let Some((file, line)) = place(report, worst) {
        let file = file.strip_prefix("./").unwrap_or(file);
        properties.push(format!("file={}", property(&escape::line(file))));
        properties.push(format!("line={}", line.unwrap_or(1)));
    }
    let status = worst.status.name();
    properties.push(format!(
        "title={}",
        property(&format!("{}: {status}", escape::line(worst.name())))
    ));
    let mut message = String::new();
    let all = bad
        .iter()
        .filter(|r| std::ptr::eq(**r, *worst))
        .chain(bad.iter().filter(|r| !std::ptr::eq(**r, *worst)));
    for result in all {
        for line in std::iter::once(format!("{}: {}", title(result), sentence(result)))
            .chain(details(result))
        {
            if message.len() + line.len() > MAX_MESSAGE {
                message.push_str("\n…");
                break;
            }
            if !message.is_empty() {
                message.push('\n');
            }
            message.push_str(&line);
        }
    }
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "::{command} {}::{}",
        properties.join(","),
        data(&message)
    );
}

/// What stands after the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property's value.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_the_toolkit() {
        assert_eq!(data("100% a\r\nb:c,d"), "100%25 a%0D%0Ab:c,d");
        assert_eq!(property("100% a\r\nb:c,d"), "100%25 a%0D%0Ab%3Ac%2Cd");
        assert_eq!(data("%0A"), "%250A");
    }
}
