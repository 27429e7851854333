//! `larder list`.

use std::fmt::Write as _;

use anstyle::Style;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Context;
use super::args::{Format, SelectionArgs};
use super::exit::Exit;
use super::help::Example;
use super::output::print;
use super::quantity::size;
use super::{escape, interrupt};
use crate::error::{Error, Result};
use crate::events::{Event, Reporter as _};
use crate::lambda::Listed;
use crate::ops::list::{self, ListOptions, Regions, Versions};
use crate::record::SCHEMA_VERSION;

pub(super) const ABOUT: &str = "\
List what is deployed: functions and their versions.

One ListFunctions call lists 50 function versions, with the SHA-256 and the size of their code; nothing else is called, but \
for --tag and --all-regions one more call a region or account. Replicas of Lambda@Edge, which are seen with --versions all, are marked; what there is to \
keep is their master in us-east-1. Results are written as they come: a table, or with --output json one JSON object a line. \
AWS's answers hold the values of environment variables; larder shows none of them.";

pub(super) const EXAMPLES: &[Example] = &[
    ("The functions of the region", "larder list"),
    (
        "All versions, in all regions of the account, for a program",
        "larder list --all-regions --versions all --output json",
    ),
    (
        "Zip functions of one team that still run Python 3.9",
        "larder list --type zip --tag team=payments --runtime python3.9",
    ),
];

/// Arguments of `larder list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which versions: $LATEST, the published ones, or both
    #[arg(long, value_name = "WHICH", default_value = "latest", value_enum)]
    pub versions: VersionsArg,

    /// Every region that is enabled for the account
    #[arg(long, conflicts_with = "region")]
    pub all_regions: bool,

    /// Which functions.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// Only functions of this package type
    #[arg(long, value_name = "TYPE", value_enum)]
    pub r#type: Option<TypeArg>,

    /// Only functions of this runtime, such as python3.13; may be given several times
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Vec<String>,
}

/// `--versions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VersionsArg {
    /// $LATEST alone.
    Latest,
    /// The published versions.
    Published,
    /// All.
    All,
}

impl From<VersionsArg> for Versions {
    fn from(arg: VersionsArg) -> Self {
        match arg {
            VersionsArg::Latest => Self::Latest,
            VersionsArg::Published => Self::Published,
            VersionsArg::All => Self::All,
        }
    }
}

/// `--type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TypeArg {
    /// A zip.
    Zip,
    /// A container image.
    Image,
}

impl ListArgs {
    /// Lists, page by page.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let options = self.options(context)?;
        let settings = &context.settings;
        let mut table = Table::default();
        let listing = interrupt::run(&context.progress, async |cancel| {
            let reporter = std::sync::Arc::clone(&context.progress);
            let write = |page: Vec<Listed>| match settings.format {
                Format::Json => page.iter().try_for_each(print_line),
                Format::Text => print(&table.page(&page)),
            };
            list::list(&settings.session, &options, reporter, &cancel, write).await
        })?;
        for (region, error) in &listing.failed {
            context.progress.report(&Event::Warning {
                subject: region,
                message: &format!("the region could not be listed: {error}"),
                hint: error.hint_text(),
            });
        }
        if settings.format == Format::Text && listing.listed == 0 && !settings.quiet {
            let places = match listing.regions {
                1 => "the region",
                _ => "these regions",
            };
            print(&format!("no function in {places} is meant\n"))?;
        }
        if listing.failed.is_empty() {
            Ok(Exit::Done)
        } else {
            Ok(Exit::SomeFailed)
        }
    }

    fn options(&self, context: &Context) -> Result<ListOptions> {
        let mut selection = self.selection.selection()?;
        selection.package_type = self.r#type.map(|one| match one {
            TypeArg::Zip => "Zip".to_owned(),
            TypeArg::Image => "Image".to_owned(),
        });
        selection.runtimes.clone_from(&self.runtime);
        let named = &context.settings.regions;
        Ok(ListOptions {
            regions: match (self.all_regions, named.is_empty()) {
                (true, _) => Regions::All,
                (false, true) => Regions::Own,
                (false, false) => Regions::Named(named.clone()),
            },
            versions: self.versions.into(),
            selection,
        })
    }
}

/// What a line of `--output json` is.
#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    arn: &'a str,
    name: &'a str,
    version: &'a str,
    region: &'a str,
    package_type: &'a str,
    code_size: Option<u64>,
    code_sha256: Option<&'a str>,
    runtime: Option<&'a str>,
    last_modified: Option<&'a str>,
    /// The function of which this is Lambda@Edge's replica.
    master_arn: Option<&'a str>,
}

fn print_line(listed: &Listed) -> Result<()> {
    let line = Line {
        schema_version: SCHEMA_VERSION,
        arn: listed.arn(),
        name: listed.name(),
        version: listed.version(),
        region: listed.region(),
        package_type: listed.package_type(),
        code_size: listed.code_size(),
        code_sha256: listed.code_sha256_text(),
        runtime: listed.runtime(),
        last_modified: listed.last_modified(),
        master_arn: listed.master_arn(),
    };
    let text = serde_json::to_string(&line).map_err(|e| {
        Error::new(crate::error::ErrorKind::Bug, "the line cannot be written").because(e)
    })?;
    print(&format!("{}\n", escape::json(&text)))
}

const COLUMNS: [&str; 8] = [
    "NAME",
    "VERSION",
    "REGION",
    "TYPE",
    "SIZE",
    "RUNTIME",
    "MODIFIED",
    "CODESHA256",
];

/// A table that is written page by page: columns grow as they must, and never shrink.
#[derive(Default)]
struct Table {
    widths: [usize; COLUMNS.len()],
    begun: bool,
}

impl Table {
    fn page(&mut self, page: &[Listed]) -> String {
        let rows: Vec<[String; COLUMNS.len()]> = page.iter().map(row).collect();
        for (at, width) in self.widths.iter_mut().enumerate() {
            let cells = rows.iter().map(|row| row[at].chars().count());
            *width = cells.max().unwrap_or(0).max(COLUMNS[at].len()).max(*width);
        }
        let mut out = String::new();
        if !self.begun {
            self.begun = true;
            let bold = Style::new().bold();
            let head = self.line(&COLUMNS.map(str::to_owned));
            // Writing to a String does not fail.
            let _ = writeln!(out, "{bold}{}{bold:#}", head.trim_end());
        }
        for row in &rows {
            let _ = writeln!(out, "{}", self.line(row).trim_end());
        }
        out
    }

    fn line(&self, cells: &[String; COLUMNS.len()]) -> String {
        let mut out = String::new();
        for ((cell, width), name) in cells.iter().zip(self.widths).zip(COLUMNS) {
            let _ = match name {
                "SIZE" => write!(out, "{cell:>width$}  "),
                _ => write!(out, "{cell:<width$}  "),
            };
        }
        out
    }
}

fn row(listed: &Listed) -> [String; COLUMNS.len()] {
    let text = |text: &str| match text {
        "" => "-".to_owned(),
        text => escape::line(text).into_owned(),
    };
    let mut name = text(listed.name());
    if listed.master_arn().is_some() {
        name.push_str(" (replica)");
    }
    // 2026-01-31T09:00:00.000+0000: to the minute is enough for a person.
    let modified = listed.last_modified().unwrap_or_default();
    let modified = modified.get(..16).unwrap_or(modified).replace('T', " ");
    [
        name,
        text(listed.version()),
        text(listed.region()),
        text(listed.package_type()),
        match (listed.package_type(), listed.code_size()) {
            ("Image", _) | (_, None) => "-".to_owned(),
            (_, Some(bytes)) => size(bytes),
        },
        text(listed.runtime().unwrap_or_default()),
        text(&modified),
        text(listed.code_sha256_text().unwrap_or_default()),
    ]
}
