//! `larder man`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use serde::Serialize;

use super::Context;
use super::exit::Exit;
use super::help::Example;
use super::output::{Summary, Tone, io_error};
use super::{args, quantity};
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
    let mut root = args::tree();
    root.build();
    let mut all = vec![&root];
    all.extend(root.get_subcommands().filter(|c| !c.is_hide_set()));
    let names: Vec<String> = all.iter().map(|c| page_name(c)).collect();
    all.iter()
        .zip(&names)
        .map(|(command, name)| Ok((format!("{name}.1"), page(command, name, &names)?)))
        .collect()
}

/// `larder`, `larder-fetch`.
fn page_name(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name());
    name.to_owned()
}

fn page(command: &Command, name: &str, all: &[String]) -> io::Result<Vec<u8>> {
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
    if let Some(after) = command.get_after_long_help() {
        after_help(&mut roff, &after.to_string());
    }
    roff.control("SH", ["SEE ALSO"]);
    let others = all.iter().filter(|other| *other != name);
    let others: Vec<String> = others.map(|other| format!("{other}(1)")).collect();
    roff.text([roman(others.join(", "))]);
    roff.to_writer(&mut out)?;
    Ok(out)
}

/// Makes sections of `help::sections`: what is indented stands as it is below its heading.
fn after_help(roff: &mut Roff, text: &str) {
    for line in text.lines() {
        match line.strip_suffix(':') {
            Some("Exit codes") => {
                roff.control("SH", ["EXIT STATUS"]);
            }
            Some(heading) if !line.starts_with(' ') => {
                roff.control("SH", [heading.to_uppercase().as_str()]);
            }
            _ if line.is_empty() => {
                roff.control("PP", []);
            }
            _ => {
                roff.text([roman(line.trim_start())]);
                roff.control("br", []);
            }
        }
    }
}
