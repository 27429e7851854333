//! `check --report FORMAT[=FILE]`: which reports are made, and where they go.

use std::path::PathBuf;

use super::args::Format;
use super::{escape, output};
use crate::drift::Report;
use crate::error::{Error, ErrorKind, Result};
use crate::files;

mod github;
mod gitlab;
mod junit;
mod markdown;
mod sarif;
pub(super) mod text;
mod wording;

#[cfg(test)]
#[path = "report/tests.rs"]
mod forms;

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportFormat {
    /// For people.
    Text,
    /// As `--output json`.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// `JUnit` XML.
    Junit,
    /// Annotations of GitHub Actions.
    Github,
    /// Markdown, for `$GITHUB_STEP_SUMMARY` and comments.
    Markdown,
    /// GitLab's code quality report.
    Gitlab,
}

impl ReportFormat {
    /// Every form, by the name it has on the command line.
    const ALL: [(&'static str, Self); 7] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("sarif", Self::Sarif),
        ("junit", Self::Junit),
        ("github", Self::Github),
        ("markdown", Self::Markdown),
        ("gitlab", Self::Gitlab),
    ];

    /// The names, for messages.
    fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }

    /// The report's bytes. `terminal` is whether text may hold colours.
    fn render(self, report: &Report) -> Result<Vec<u8>> {
        match self {
            // Colours are taken out where no terminal reads them; in a file there are none.
            Self::Text => Ok(anstream::adapter::strip_str(&text::render(report, None))
                .to_string()
                .into_bytes()),
            Self::Json => json(report),
            Self::Sarif => sarif::render(report),
            Self::Junit => junit::render(report),
            Self::Github => Ok(github::render(report)),
            Self::Markdown => Ok(markdown::render(report)),
            Self::Gitlab => gitlab::render(report),
        }
    }
}

/// JSON with nothing in it that acts on a terminal.
fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(value).map_err(|e| {
        Error::new(ErrorKind::Bug, "the report cannot be written as JSON").because(e)
    })?;
    Ok(format!("{}\n", escape::json(&text)).into_bytes())
}

/// One `--report`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportTo {
    format: ReportFormat,
    /// None is stdout.
    file: Option<PathBuf>,
}

/// Reads `FORMAT` or `FORMAT=FILE`, for `value_parser`.
pub(super) fn report_to(text: &str) -> Result<ReportTo, String> {
    let (name, file) = match text.split_once('=') {
        Some((_, "")) => return Err("expected a file after the =".to_owned()),
        Some((name, file)) => (name, Some(PathBuf::from(file))),
        None => (text, None),
    };
    let format = ReportFormat::ALL
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, format)| *format)
        .ok_or_else(|| {
            format!(
                "{name:?} is no form of a report; expected one of: {}",
                ReportFormat::names()
            )
        })?;
    Ok(ReportTo { format, file })
}

/// Refuses two reports on stdout, and two in one file.
///
/// # Errors
/// There are such.
pub(super) fn check(reports: &[ReportTo]) -> Result<()> {
    for (at, report) in reports.iter().enumerate() {
        if reports[..at]
            .iter()
            .any(|before| before.file == report.file)
        {
            let message = match &report.file {
                None => "only one report can go to stdout".to_owned(),
                Some(file) => format!("two reports would go to {}", file.display()),
            };
            return Err(Error::new(ErrorKind::Usage, message)
                .about("--report")
                .hint("write the others to files: --report FORMAT=FILE"));
        }
    }
    Ok(())
}

/// Writes all reports: files first, then what goes to stdout, which is the result in `format` if no report takes its place.
///
/// # Errors
/// A file cannot be written, or stdout.
pub(super) fn write(
    reports: &[ReportTo],
    report: &Report,
    format: Format,
    quiet: bool,
) -> Result<()> {
    for to in reports {
        if let Some(file) = &to.file {
            let bytes = to.format.render(report)?;
            if is_step_summary(file) {
                // What earlier commands of the step wrote stays.
                files::append(file, &bytes)?;
            } else {
                files::write_file_atomic(file, &bytes, 0o644)?;
            }
        }
    }
    let to_stdout = reports.iter().find(|to| to.file.is_none());
    match (to_stdout.map(|to| to.format), format) {
        (Some(ReportFormat::Text), _) | (None, Format::Text) => {
            if quiet && to_stdout.is_none() {
                return Ok(());
            }
            output::print(&text::render(report, columns()))
        }
        (Some(form), _) => print_bytes(&form.render(report)?),
        (None, Format::Json) => print_bytes(&json(report)?),
    }
}

/// How wide the terminal is that reads stdout, if one does.
fn columns() -> Option<usize> {
    let terminal = console::Term::stdout();
    let size = terminal.is_term().then(|| terminal.size_checked())??;
    Some(usize::from(size.1)).filter(|columns| *columns > 0)
}

fn print_bytes(bytes: &[u8]) -> Result<()> {
    output::print(&String::from_utf8_lossy(bytes))
}

/// Whether a file is GitHub's summary of the step, which all commands of the step write to.
fn is_step_summary(file: &std::path::Path) -> bool {
    std::env::var_os("GITHUB_STEP_SUMMARY").is_some_and(|summary| file.as_os_str() == summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_its_form_and_its_file() {
        assert_eq!(
            report_to("json=a=b").unwrap(),
            ReportTo {
                format: ReportFormat::Json,
                file: Some("a=b".into())
            }
        );
        assert_eq!(report_to("text").unwrap().file, None);
        for text in ["", "yaml", "json=", "JSON"] {
            assert!(report_to(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_report_a_place() {
        let reports = |list: &[&str]| -> Vec<ReportTo> {
            list.iter().map(|text| report_to(text).unwrap()).collect()
        };
        for (list, good) in [
            (&[][..], true),
            (&["text", "json=a"], true),
            (&["json=a", "text=b"], true),
            (&["text", "json"], false),
            (&["json=a", "text=a"], false),
        ] {
            assert_eq!(check(&reports(list)).is_ok(), good, "{list:?}");
        }
    }
}
