//! A plan for a person: what is done, what is lacking, what does not come back.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::super::escape;
use super::super::output::width;
use crate::ops::restore::{Plan, State};

/// The whole of it. `yes` is whether it was to be carried out.
pub(super) fn text(plan: &Plan, yes: bool, failed: bool) -> String {
    let mut out = Page {
        text: String::new(),
        width: width(),
    };
    let target = &plan.target;
    let (word, colour) = match (plan.done, failed) {
        (true, _) => ("restored", AnsiColor::Green),
        (false, true) => ("not restored", AnsiColor::Red),
        (false, false) => ("plan", AnsiColor::Yellow),
    };
    out.headline(word, colour, &target.function);
    let there = match (target.exists, &target.code_sha256) {
        (false, _) if !plan.done => "does not exist yet".to_owned(),
        (_, Some(digest)) => format!("CodeSha256 {digest}"),
        _ => "exists".to_owned(),
    };
    let versions = plan.source.versions.join(", ");
    out.line(
        "from",
        &format!("{}, version {versions}", plan.source.function),
    );
    out.line("run", &plan.source.run);
    let place = format!(
        "{} in {}, account {}: {there}",
        target.function, target.region, target.account
    );
    out.line("to", &place);

    if plan.steps.is_empty() {
        out.line("steps", "none: Lambda has what the backup has");
    } else {
        out.section("steps");
    }
    for (number, step) in (1..).zip(&plan.steps) {
        let mark = match step.state {
            State::Planned => "",
            State::Done => "done: ",
            State::Failed => "FAILED: ",
            State::NotAttempted => "not begun: ",
        };
        out.item(
            &format!("{number}."),
            &format!("{mark}{} {}: {}", step.words(), step.subject, step.detail),
        );
    }
    let layers = plan
        .layers
        .iter()
        .filter_map(|(old, new)| Some((old, new.as_ref()?)));
    let layers: Vec<_> = layers.filter(|(old, new)| old != new).collect();
    if !layers.is_empty() {
        out.section("layers");
    }
    for (old, new) in layers {
        out.item("-", &format!("{old} → {new}"));
    }
    let versions: Vec<_> = (plan.versions.iter())
        .filter_map(|(old, new)| Some((old, new.as_ref()?)))
        .collect();
    if !versions.is_empty() {
        let each = versions.iter().map(|(old, new)| format!("{old} → {new}"));
        out.line("versions", &each.collect::<Vec<_>>().join(", "));
    }
    if !plan.needs.is_empty() {
        out.section("needed before anything is done");
    }
    for need in &plan.needs {
        out.item("-", &format!("{}: {}", need.option, need.reason));
    }
    if !plan.not_restored.is_empty() {
        out.section("not restored");
    }
    for lost in &plan.not_restored {
        out.item("-", &format!("{}: {}", lost.what, lost.reason));
    }
    if !yes {
        let last = if plan.needs.is_empty() {
            "Nothing was changed. --yes carries this out."
        } else {
            "Nothing was changed. With what is needed, --yes carries this out."
        };
        out.item("", last);
    }
    out.text
}

struct Page {
    text: String,
    width: usize,
}

impl Page {
    fn headline(&mut self, word: &str, colour: AnsiColor, subject: &str) {
        let style = Style::new().bold().fg_color(Some(colour.into()));
        let bold = Style::new().bold();
        let subject = escape::line(subject);
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "{style}{word}{style:#} {bold}{subject}{bold:#}");
    }

    fn section(&mut self, name: &str) {
        let style = Style::new().dimmed();
        let _ = writeln!(self.text, "  {style}{name}{style:#}");
    }

    fn line(&mut self, label: &str, value: &str) {
        let style = Style::new().dimmed();
        let _ = write!(self.text, "  {style}{label:<9}{style:#} ");
        self.wrapped(12, value);
    }

    fn item(&mut self, mark: &str, value: &str) {
        let indent = if mark.is_empty() { 2 } else { 7 };
        if mark.is_empty() {
            self.text.push_str("  ");
        } else {
            let _ = write!(self.text, "    {mark:<2} ");
        }
        self.wrapped(indent, value);
    }

    /// Words on lines that are as long as the terminal is wide, all indented alike. A word is never broken, so that an
    /// ARN can be copied.
    fn wrapped(&mut self, indent: usize, value: &str) {
        let value = escape::line(value);
        let mut column = indent;
        for (at, word) in value.split(' ').enumerate() {
            let length = word.chars().count();
            if at > 0 && column + 1 + length > self.width {
                self.text.push('\n');
                self.text.push_str(&" ".repeat(indent));
                column = indent;
            } else if at > 0 {
                self.text.push(' ');
                column += 1;
            }
            self.text.push_str(word);
            column += length;
        }
        self.text.push('\n');
    }
}
