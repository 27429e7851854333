//! A summary in Markdown, for `$GITHUB_STEP_SUMMARY` or a comment.
//!
//! All text from outside stands in code spans or has its punctuation escaped, so that it is neither markup, HTML nor a
//! link. Source: GitHub Flavored Markdown specification, sections 2.4, 4.10 and 6.1.

use std::fmt::Write as _;

use super::wording::{counts, details, sentence, title};
use crate::cli::escape;
use crate::drift::{FunctionResult, Report, Status};

/// GitHub takes 1 MiB of a step's summary; what comes after this many bytes is counted only.
const ENOUGH: usize = 900 << 10;

/// A headline, a table of what is not as it should be, and its details.
pub(super) fn render(report: &Report) -> Vec<u8> {
    let mut out = String::new();
    let bad: Vec<_> = report
        .functions
        .iter()
        .filter(|r| !r.status.is_good())
        .collect();
    let verdict = match (report.summary.differences(), report.summary.unknown) {
        (0, 0) => "in sync",
        (0, _) => "could not tell",
        _ => "drift",
    };
    // Writing to a String does not fail.
    let _ = writeln!(out, "## larder check: {verdict}\n\n{}\n", counts(report));
    if !bad.is_empty() {
        out.push_str("| status | function | what |\n|---|---|---|\n");
    }
    let mut shown = 0;
    for result in &bad {
        if out.len() > ENOUGH / 2 {
            break;
        }
        shown += 1;
        let status = match result.status {
            Status::Unknown => "unknown",
            status => status.name(),
        };
        let _ = writeln!(
            out,
            "| **{status}** | {} | {} |",
            code(&title(result), true),
            text(&sentence(result))
        );
    }
    left_out(&mut out, bad.len() - shown);
    let mut rest = bad.iter().filter(|r| !details(r).is_empty());
    for result in rest.by_ref() {
        if out.len() > ENOUGH {
            left_out(&mut out, 1 + rest.count());
            break;
        }
        detail(&mut out, result);
    }
    if !report.warnings.is_empty() {
        out.push('\n');
    }
    for warning in &report.warnings {
        let hint = warning
            .hint
            .as_ref()
            .map(|hint| format!(" ({hint})"))
            .unwrap_or_default();
        let said =
            escape::line(&format!("{}: {}{hint}", warning.subject, warning.message)).into_owned();
        let _ = writeln!(out, "- warning: {}", text(&said));
    }
    out.into_bytes()
}

fn left_out(out: &mut String, more: usize) {
    if more > 0 {
        let _ = writeln!(out, "\nand {more} more, which would not fit here\n");
    }
}

fn detail(out: &mut String, result: &FunctionResult) {
    let _ = writeln!(
        out,
        "\n<details><summary>{}</summary>\n",
        html(&title(result))
    );
    if let Some(expected) = &result.expected {
        let at = expected
            .line
            .map(|line| format!(":{line}"))
            .unwrap_or_default();
        let source = escape::line(&format!("{}{at}", expected.source)).into_owned();
        let _ = writeln!(out, "- expected by {}", code(&source, false));
    }
    let digest = |d: &Option<String>| d.as_deref().map(|d| code(&escape::line(d), false));
    if let Some(sha256) = result
        .expected
        .as_ref()
        .and_then(|e| digest(&e.code_sha256))
    {
        let _ = writeln!(out, "- expected CodeSha256 {sha256}");
    }
    if let Some(sha256) = result
        .deployed
        .as_ref()
        .and_then(|d| digest(&d.code_sha256))
    {
        let _ = writeln!(out, "- deployed CodeSha256 {sha256}");
    }
    for line in details(result) {
        let _ = writeln!(out, "- {}", text(&line));
    }
    out.push_str("\n</details>\n");
}

/// Text as text: each character that Markdown may give a meaning is escaped.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Not `\@`: GitHub looks for names of people after the escapes are gone.
            '@' => out.push_str("&#64;"),
            ' ' | ',' | '-' | '/' | '\'' | '%' | '=' | ';' => out.push(c),
            c if c.is_ascii_punctuation() => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// Text in a code span, with as many backticks around as it needs; in a table a pipe would still end the cell.
fn code(text: &str, in_table: bool) -> String {
    let longest = text
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    let text = if in_table {
        text.replace('|', "\\|")
    } else {
        text.to_owned()
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_neither_markup_nor_html() {
        assert_eq!(
            text("a|b*c_d [x](y) <b>&#x; @me `z` 1. http://h"),
            r"a\|b\*c\_d \[x\]\(y\) &lt;b&gt;&amp;\#x; &#64;me \`z\` 1\. http\://h"
        );
        assert_eq!(code("a`b``c", false), "```a`b``c```");
        assert_eq!(code("`a|", true), "`` `a\\| ``");
        assert_eq!(
            html("<img onerror=\"x\">&"),
            "&lt;img onerror=&quot;x&quot;&gt;&amp;"
        );
    }
}
