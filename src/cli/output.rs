//! The result, to stdout and nowhere else: a summary for a person, or one JSON object.

use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::args::Format;
use super::escape;
use crate::error::{Error, ErrorKind, Result};

/// Where a command's result goes.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
    quiet: bool,
}

impl Output {
    /// Results in this form; `quiet` leaves out summaries, never JSON.
    pub fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Writes the result in the form asked for.
    pub fn result(self, summary: &Summary, json: &impl Serialize) -> Result<()> {
        match self.format {
            Format::Json => Self::json(json),
            Format::Text => self.text(&summary.text),
        }
    }

    /// Writes an object, pretty.
    pub(super) fn json(json: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(json).map_err(|e| {
            Error::new(ErrorKind::Bug, "the result cannot be written as JSON").because(e)
        })?;
        print(&format!("{}\n", escape::json(&text)))
    }

    /// Writes text that is escaped already, unless nothing is wanted.
    pub(super) fn text(self, text: &str) -> Result<()> {
        if self.quiet {
            return Ok(());
        }
        print(text)
    }
}

/// How many characters fit on a line of stdout: of a terminal its width, of a file or pipe any number.
pub(super) fn width() -> usize {
    let terminal = console::Term::stdout();
    match terminal.size_checked() {
        Some((_, columns)) => usize::from(columns).clamp(40, 140),
        None => usize::MAX,
    }
}

/// Writes text of larder's own to stdout. A reader that has gone away is no error.
pub(super) fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .or_else(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(io_error("cannot be written", e).about("stdout")),
        })
}

/// The library's error for one of the file system or of a stream.
pub(super) fn io_error(message: &str, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::Io,
    };
    Error::new(kind, message).because(error)
}

/// A result for a person: a headline, and labelled lines below it. All text put in is escaped.
#[derive(Debug, Clone)]
pub struct Summary {
    text: String,
}

/// How a headline is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Done, and something is to be known.
    Mixed,
}

impl Summary {
    /// Begins with what was done and to what.
    pub fn new(tone: Tone, done: &str, subject: &str) -> Self {
        let colour = match tone {
            Tone::Good => AnsiColor::Green,
            Tone::Mixed => AnsiColor::Yellow,
        };
        let style = Style::new().bold().fg_color(Some(colour.into()));
        let bold = Style::new().bold();
        let subject = escape::line(subject);
        Self {
            text: format!("{style}{done}{style:#} {bold}{subject}{bold:#}\n"),
        }
    }

    /// Adds a labelled line.
    #[must_use]
    pub fn line(mut self, label: &str, value: &str) -> Self {
        let style = Style::new().dimmed();
        let value = escape::line(value);
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "  {style}{label:<9}{style:#} {value}");
        self
    }

    /// Adds a labelled line when there is something to say.
    #[must_use]
    pub fn line_if(self, label: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.line(label, value),
            None => self,
        }
    }

    /// The text without colours.
    #[cfg(test)]
    pub(super) fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_harmless_and_aligned() {
        let summary = Summary::new(Tone::Good, "saved", "a\x1b[2Jb")
            .line("package", "x\ny")
            .line_if("digest", None)
            .line_if("kept in", Some("d"));
        assert_eq!(
            summary.plain(),
            "saved a\\u{1b}[2Jb\n  package   x\\ny\n  kept in   d\n"
        );
    }
}
