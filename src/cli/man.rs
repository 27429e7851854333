//! `larder man`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use serde::Serialize;

use super::Context;
use super::exit::Exit;
use super::help::Example;
use super::output::{Summary, Tone, io_error};
use super::{args, help, quantity};
use crate::error::{Error, Result};
use crate::record::SCHEMA_VERSION;

pub(super) const EXAMPLES: &[Example] = &[(
    "Write them to where man looks",
    "larder man ~/.local/share/man/man1",
)];

/// Arguments of `larder man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Directory to write to; made when absent
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// What `--output json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    path: String,
    pages: Vec<&'a str>,
    count: usize,
}

impl ManArgs {
    /// Writes a page for each command.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let pages = pages().map_err(|e| io_error("the pages cannot be rendered", e))?;
        fs::create_dir_all(&self.dir).map_err(|e| failed(&self.dir, "cannot be made", e))?;
        for (name, text) in &pages {
            let path = self.dir.join(name);
            fs::write(&path, text).map_err(|e| failed(&path, "cannot be written", e))?;
        }
        let number = quantity::count(pages.len() as u64, "page", "pages");
        let dir = self.dir.to_string_lossy().into_owned();
        context.output.result(
            &Summary::new(Tone::Good, "wrote", &format!("{number} to {dir}")),
            &Report {
                schema_version: SCHEMA_VERSION,
                path: dir,
                pages: pages.iter().map(|(name, _)| name.as_str()).collect(),
                count: pages.len(),
            },
        )?;
        Ok(Exit::Done)
    }
}

fn failed(path: &Path, message: &str, error: io::Error) -> Error {
    io_error(message, error).about(path.to_string_lossy())
}

/// The name and text of each page.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    // clap's own `help` needs no page.
    let mut root = args::tree().disable_help_subcommand(true);
    root.build();
    let mut all = Vec::new();
    collect(&root, &mut all);
    let names: Vec<String> = all.iter().map(|c| page_name(c)).collect();
    all.iter()
        .zip(&names)
        .map(|(command, name)| Ok((format!("{name}.1"), page(command, name, &names)?)))
        .collect()
}

/// A command, and all below it but `help`.
fn collect<'a>(command: &'a Command, out: &mut Vec<&'a Command>) {
    out.push(command);
    for below in command.get_subcommands() {
        if below.get_name() != "help" {
            collect(below, out);
        }
    }
}

/// `larder`, `larder-fetch`, `larder-custody-add`.
fn page_name(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name());
    name.to_owned()
}

fn page(command: &Command, name: &str, all: &[String]) -> io::Result<Vec<u8>> {
    let mut command = command.clone().subcommand_help_heading("COMMANDS");
    // The usage of the help: the synopsis made from the arguments lists every option of all commands.
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    let command = command.override_usage(usage);
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(concat!("larder ", env!("CARGO_PKG_VERSION")))
        .manual("larder");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    let mut roff = Roff::new();
    let after = command.get_after_long_help().map(ToString::to_string);
    examples(&mut roff, &after.unwrap_or_default());
    exit_status(&mut roff);
    roff.control("SH", ["SEE ALSO"]);
    let others = all.iter().filter(|other| *other != name);
    let others: Vec<String> = others.map(|other| format!("{other}(1)")).collect();
    roff.text([roman(others.join(", "))]);
    roff.to_writer(&mut out)?;
    Ok(out)
}

/// The examples of `help::sections`: what one does is indented by two, the command line by four.
fn examples(roff: &mut Roff, text: &str) {
    roff.control("SH", ["EXAMPLES"]);
    let lines = text.lines().skip_while(|line| *line != help::HEADING);
    for line in lines
        .skip(1)
        .take_while(|l| l.is_empty() || l.starts_with("  "))
    {
        if let Some(command) = line.strip_prefix("    ") {
            roff.control("RS", ["4"]);
            roff.control("nf", []);
            roff.text([bold(command)]);
            roff.control("fi", []);
            roff.control("RE", []);
        } else if !line.is_empty() {
            roff.control("PP", []);
            roff.text([roman(line.trim_start())]);
        }
    }
}

fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        roff.control("TP", ["5"]);
        roff.text([bold(exit.code().to_string())]);
        roff.text([roman(exit.meaning())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_all_sections() {
        let pages = pages().unwrap();
        let names: Vec<String> = pages.iter().map(|(name, _)| name.clone()).collect();
        let tree = args::tree();
        let commands = tree.get_subcommands().filter(|c| c.get_name() != "help");
        let mut expected = vec!["larder.1".to_owned()];
        for command in commands {
            expected.push(format!("larder-{}.1", command.get_name()));
            let below = command.get_subcommands().filter(|c| c.get_name() != "help");
            expected
                .extend(below.map(|b| format!("larder-{}-{}.1", command.get_name(), b.get_name())));
        }
        assert_eq!(names, expected);
        assert!(names.len() > 4);
        for (name, text) in pages {
            let text = String::from_utf8(text).unwrap();
            for section in [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "EXAMPLES",
                "\"EXIT STATUS\"",
                "\"SEE ALSO\"",
            ] {
                assert!(
                    text.contains(&format!(".SH {section}\n")),
                    "{name}: {section}"
                );
            }
            for exit in Exit::ALL {
                let tag = format!(".TP 5\n\\fB{}\\fR\n", exit.code());
                assert!(text.contains(&tag), "{name}: {}", exit.code());
            }
            let examples = text.split(".SH EXAMPLES").nth(1).unwrap_or_default();
            assert!(examples.contains("\\fBlarder"), "{name}: {examples}");
        }
    }
}
