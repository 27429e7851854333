//! A failure, as it is told on stderr: to a person, or as the last line to a program.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};
use clap::error::{ContextKind, ContextValue, ErrorKind as ClapKind};
use serde::Serialize;

use super::args::Format;
use super::exit::Exit;
use super::settings::Early;
use super::{escape, output};
use crate::error::{Error, ErrorKind};

const RED: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const YELLOW: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
const CYAN: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan)));
const BOLD: Style = Style::new().bold();

/// The JSON form. Fields may be added, never renamed.
#[derive(Serialize)]
struct Line<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    kind: &'a str,
    exit_code: u8,
    message: &'a str,
    subject: Option<&'a str>,
    hint: Option<&'a str>,
    causes: Vec<String>,
}

/// Tells of `error`, and gives the code to end with.
pub(super) fn report(error: &Error, early: Early) -> Exit {
    let exit = Exit::from(error.kind());
    match early.format {
        Format::Text => write(&text(error)),
        Format::Json => write_json(&Fields {
            kind: error.kind().name(),
            exit_code: exit.code(),
            message: error.message(),
            subject: error.subject(),
            hint: hint(error),
            causes: error.causes(),
        }),
    }
    exit
}

/// Tells of what clap found: mistakes, or the help and version that were asked for.
pub(super) fn of_clap(error: &clap::Error, early: Early, args: &[OsString]) -> Exit {
    if !error.use_stderr() {
        return match output::print(&error.render().ansi().to_string()) {
            Ok(()) => Exit::Done,
            Err(e) => report(&e, early),
        };
    }
    let plain = error.render().to_string();
    match early.format {
        Format::Json => {
            let (message, hint) = parts(error.kind(), &plain);
            let subject = match error.get(ContextKind::InvalidArg) {
                // `--option <VALUE>`, of which the value's name is no part of the subject.
                Some(ContextValue::String(arg)) => arg.split(' ').next(),
                _ => None,
            };
            write_json(&Fields {
                kind: "usage",
                exit_code: Exit::Usage.code(),
                message: &message,
                subject,
                hint: hint.as_deref(),
                causes: Vec::new(),
            });
        }
        // clap repeats arguments as they are; where they hold control characters, its colours are given up.
        Format::Text if args.iter().any(has_control) => write(&escape::lines(&plain)),
        Format::Text => write(&error.render().ansi().to_string()),
    }
    Exit::Usage
}

/// A warning for a person, as lines without the last line break.
pub(super) fn warning(subject: &str, message: &str, hint: Option<&str>) -> String {
    let mut out = format!("{YELLOW}warning:{YELLOW:#} ");
    if !subject.is_empty() {
        let _ = write!(out, "{}: ", escape::line(subject));
    }
    out.push_str(&escape::line(message));
    if let Some(hint) = hint {
        let _ = write!(out, "\n{CYAN}hint:{CYAN:#} {}", escape::line(hint));
    }
    out
}

/// Writes to stderr; where that cannot be written to, nobody can be told.
pub(super) fn write(text: &str) {
    let mut stderr = anstream::stderr().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _: io::Result<()> = write!(stderr, "{text}{end}").and_then(|()| stderr.flush());
}

/// What to do: what the library says, and for a bug, to report it.
fn hint(error: &Error) -> Option<&str> {
    let report = concat!(
        "please report this with the line above and what you ran (larder ",
        env!("CARGO_PKG_VERSION"),
        "); RUST_BACKTRACE=1 shows more of a panic"
    );
    let bug = error.kind() == ErrorKind::Bug;
    error.hint_text().or(bug.then_some(report))
}

fn text(error: &Error) -> String {
    let mut out = format!("{RED}error:{RED:#} {}\n", escape::line(&error.to_string()));
    for cause in error.causes() {
        let _ = writeln!(out, "{BOLD}cause:{BOLD:#} {}", escape::line(&cause));
    }
    if let Some(hint) = hint(error) {
        let _ = writeln!(out, "{CYAN}hint:{CYAN:#} {}", escape::line(hint));
    }
    out
}

fn write_json(fields: &Fields<'_>) {
    let line = Line {
        error: Fields {
            causes: fields.causes.clone(),
            ..*fields
        },
    };
    let json = serde_json::to_string(&line).unwrap_or_default();
    write(&escape::json(&json));
}

/// The message and the hint in clap's text: `error: MESSAGE`, an empty line, tips, usage.
fn parts(kind: ClapKind, plain: &str) -> (String, Option<String>) {
    if matches!(
        kind,
        ClapKind::DisplayHelpOnMissingArgumentOrSubcommand | ClapKind::MissingSubcommand
    ) {
        let hint = "see 'larder --help'".to_owned();
        return ("no command was given".to_owned(), Some(hint));
    }
    let words =
        |lines: &mut dyn Iterator<Item = &str>| lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let plain = plain.strip_prefix("error: ").unwrap_or(plain);
    let message = words(&mut plain.lines().take_while(|line| !line.trim().is_empty()));
    let tip = plain
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip: "))
        .or_else(|| {
            let usage = plain.lines().map(str::trim);
            usage.into_iter().find(|line| line.starts_with("Usage: "))
        });
    (message, tip.map(ToOwned::to_owned))
}

fn has_control(arg: &OsString) -> bool {
    let text = arg.to_string_lossy();
    matches!(escape::line(&text), std::borrow::Cow::Owned(_))
}

#[cfg(test)]
mod tests {
    use super::super::args;
    use super::*;

    #[test]
    fn a_person_reads_error_cause_hint() {
        let error = Error::new(ErrorKind::Io, "cannot be \x1b[31mwritten")
            .about("a\nb")
            .because(io::Error::other("no\u{202e}space"))
            .hint("free some");
        let plain = anstream::adapter::strip_str(&text(&error)).to_string();
        assert_eq!(
            plain,
            "error: a\\nb: cannot be \\u{1b}[31mwritten\ncause: no\\u{202e}space\nhint: free some\n"
        );
        let warning = warning("f", "m", Some("h"));
        let plain = anstream::adapter::strip_str(&warning).to_string();
        assert_eq!(plain, "warning: f: m\nhint: h");
    }

    #[test]
    fn clap_s_words_fit_into_the_json() {
        for (line, message, hint) in [
            (
                "larder fetch",
                "the following required arguments were not provided: <FUNCTION>",
                Some("Usage: larder fetch <FUNCTION> [DEST]"),
            ),
            (
                "larder fetch f --ouput json",
                "unexpected argument '--ouput' found",
                Some("a similar argument exists: '--output'"),
            ),
            (
                "larder fetch f --expect-sha256 x",
                "invalid value 'x' for '--expect-sha256 <DIGEST>': expected the SHA-256 as 64 hex digits or as 44 characters of base64",
                None,
            ),
            (
                "larder",
                "no command was given",
                Some("see 'larder --help'"),
            ),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let error = args::parse(&words).unwrap_err();
            let (m, h) = parts(error.kind(), &error.render().to_string());
            assert_eq!((m.as_str(), h.as_deref()), (message, hint), "{line}");
        }
    }
}
