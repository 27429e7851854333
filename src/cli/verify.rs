//! `larder verify`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::args::{self, Format};
use super::exit::Exit;
use super::help::Example;
use super::output::print;
use super::quantity::{count, exact_size};
use super::{escape, interrupt};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::evidence::timestamp::Authorities;
use crate::evidence::{AllowedSigners, MAX_ALLOWED_SIGNERS};
use crate::files;
use crate::ops::verify::{self, Kind, PathReport, VerifyOptions};
use crate::record::SCHEMA_VERSION;
use crate::task::blocking;

/// The largest file of certificates that is read, in bytes.
const MAX_CERTIFICATES: u64 = 4 << 20;
/// The most findings of one path that are written for a person.
const SHOWN: usize = 100;

pub(super) const ABOUT: &str = "\
Hash fetched directories, bags and stores again, offline.

What it proves of a fetched directory: package.zip is what larder.json and function.json state, code/, layers/ and image/ are \
what the packages and manifests make, and nothing else is there. Someone who may write to all of it can change it \
consistently, and the fields of function.json that larder.json does not repeat: no digest kept beside the data can show that. \
A signed bag does: give --allowed-signers the keys that are trusted, and every file is vouched for by one of them. A bag without a signature, or checked without \
--allowed-signers, proves no more than that its files are those of its manifests.

Bags of other makers are checked as well (BagIt 0.93 to 1.0; md5, sha1, sha224, sha256, sha384, sha512), stores of backups in a directory, and OCI image layouts. Nothing that lies there is trusted: links, \
paths that lead out, special files and files that nothing lists are findings. The exit code is 1 when there is any finding; each is \
named by its path.";

pub(super) const EXAMPLES: &[Example] = &[
    ("A fetched directory", "larder verify orders"),
    (
        "A bag, and who signed it",
        "larder verify --allowed-signers ~/.ssh/allowed_signers case-17",
    ),
    (
        "A bag with a time stamp, and a chain of custody whose head was noted",
        "larder verify --tsa-ca tsa.pem --custody-head ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad case-17",
    ),
    (
        "All that was found, for a program",
        "larder verify --output json orders billing | jq '.paths[].findings[]'",
    ),
];

/// Arguments of `larder verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Fetched directories, bags, stores of backups, image layouts
    #[arg(value_name = "PATH", required = true)]
    pub path: Vec<PathBuf>,

    /// Keys that may have signed a bag (ssh-keygen(1), ALLOWED SIGNERS); a bag must then be signed
    ///
    /// The namespace is larder-bag. Certificates are not supported. A line that ssh-keygen passes over is passed over, with a
    /// note. Whether a key was allowed at the time is judged by a
    /// time stamp that --tsa-ca trusts, else by the present time.
    #[arg(long, value_name = "FILE")]
    pub allowed_signers: Option<PathBuf>,

    /// As whom they must have signed: a principal of --allowed-signers
    ///
    /// As -I of ssh-keygen -Y verify; patterns are matched. Without it, any principal will do, and the result says which.
    #[arg(long, value_name = "PRINCIPAL", requires = "allowed_signers")]
    pub identity: Option<String>,

    /// A bag without a signature is a finding
    #[arg(long)]
    pub require_signature: bool,

    /// Certificates (PEM) that a time stamp must lead to; a bag must then have one
    ///
    /// Nobody is asked whether a certificate was revoked.
    #[arg(long, value_name = "FILE")]
    pub tsa_ca: Option<PathBuf>,

    /// Head of the chain of custody that was noted elsewhere: SHA-256; needs one PATH
    #[arg(long, value_name = "DIGEST", value_parser = args::digest)]
    pub custody_head: Option<Sha256Digest>,
}

/// What `--output json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    ok: bool,
    paths: &'a [PathReport],
}

impl VerifyArgs {
    /// Verifies, and prints what was found.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let options = self.options()?;
        let paths = self.path.clone();
        let reporter: Arc<dyn Reporter> = Arc::clone(&context.progress) as _;
        let (reports, mut errors) = interrupt::run(&context.progress, |cancel| {
            blocking(move || {
                let (mut reports, mut errors) = (Vec::new(), Vec::new());
                for path in &paths {
                    match one(path, &options, &*reporter, &cancel) {
                        Ok(report) => reports.push(report),
                        Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
                        // What was found elsewhere must not get lost behind it.
                        Err(e) => errors.push(e),
                    }
                }
                Ok((reports, errors))
            })
        })?;
        context.progress.finish();
        let found = reports.iter().any(|report| !report.ok);
        let ok = !found && errors.is_empty();
        if reports.is_empty() && !errors.is_empty() {
            return Err(errors.remove(0));
        }
        match context.settings.format {
            Format::Json => {
                let report = Report {
                    schema_version: SCHEMA_VERSION,
                    ok,
                    paths: &reports,
                };
                let text = serde_json::to_string_pretty(&report).map_err(|e| {
                    Error::new(ErrorKind::Bug, "the result cannot be written as JSON").because(e)
                })?;
                print(&format!("{}\n", escape::json(&text)))?;
            }
            Format::Text => {
                for report in &reports {
                    // What was found is the result, and stays when summaries are not wanted.
                    if !context.settings.quiet || !report.ok {
                        print(&text(report))?;
                    }
                }
            }
        }
        // Bad arguments come first, then what was found, then what could not be read; the others are told beside.
        let worst = errors
            .iter()
            .position(|e| e.kind() == ErrorKind::Usage || !found);
        let fatal = worst.map(|at| errors.remove(at));
        for error in &errors {
            context.progress.report(&Event::Warning {
                subject: error.subject().unwrap_or_default(),
                message: error.message(),
                hint: error.hint_text(),
            });
        }
        match fatal {
            Some(error) => Err(error),
            None if found => Ok(Exit::Difference),
            None => Ok(Exit::Done),
        }
    }

    fn options(&self) -> Result<VerifyOptions> {
        if self.custody_head.is_some() && self.path.len() > 1 {
            return Err(
                Error::new(ErrorKind::Usage, "is the head of one bag's chain")
                    .about("--custody-head")
                    .hint("verify that bag by itself"),
            );
        }
        let allowed_signers = match &self.allowed_signers {
            Some(path) => Some(allowed_signers(path)?),
            None => None,
        };
        let authorities = match &self.tsa_ca {
            Some(path) => {
                let pem = files::read_small(path, MAX_CERTIFICATES)?;
                Some(Authorities::from_pem(&pem).map_err(|e| e.about(path.display().to_string()))?)
            }
            None => None,
        };
        Ok(VerifyOptions {
            allowed_signers,
            identity: self.identity.clone(),
            require_signature: self.require_signature,
            custody_head: self.custody_head,
            authorities,
        })
    }
}

fn one(
    path: &Path,
    options: &VerifyOptions,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<PathReport> {
    let report = verify::verify(path, options, reporter, cancel)?;
    if options.custody_head.is_some() && report.kind != Kind::Bag {
        return Err(
            Error::new(ErrorKind::Usage, "is no bag, so it has no chain of custody")
                .about(path.display().to_string()),
        );
    }
    Ok(report)
}

fn allowed_signers(path: &Path) -> Result<AllowedSigners> {
    let bytes = files::read_small(path, MAX_ALLOWED_SIGNERS)?;
    // Comments may be in any encoding.
    Ok(AllowedSigners::parse(&String::from_utf8_lossy(&bytes)))
}

/// One path's report for a person.
fn text(report: &PathReport) -> String {
    let style = |colour: AnsiColor| Style::new().bold().fg_color(Some(colour.into()));
    let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
    let (head, colour) = if report.ok {
        ("verified", AnsiColor::Green)
    } else {
        ("NOT verified", AnsiColor::Red)
    };
    let colour = style(colour);
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "{colour}{head}{colour:#} {bold}{}{bold:#}",
        escape::line(&report.path)
    );
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(out, "  {dim}{label:<9}{dim:#} {}", escape::line(value));
    };
    line("kind", report.shown);
    let files = count(report.files, "file", "files");
    line("read", &format!("{files}, {}", exact_size(report.bytes)));
    if let Some(signature) = &report.signature {
        line("signed by", &signature.key);
        if signature.trusted {
            line(
                "trusted",
                &format!("as {}", signature.principals.join(", ")),
            );
        } else {
            line("trusted", "no");
        }
        if let Some(at) = &signature.stamped_at {
            let trusted = match signature.stamp_trusted {
                Some(true) => "by an authority that is trusted",
                _ => "by an authority that was not checked",
            };
            line("stamped", &format!("{at}, {trusted}"));
        }
    }
    if let Some(custody) = &report.custody {
        let entries = u64::try_from(custody.entries).unwrap_or_default();
        line("custody", &count(entries, "handover", "handovers"));
        if let Some(head) = &custody.head {
            line("head", head);
        }
    }
    for note in &report.notes {
        line("note", note);
    }
    let red = style(AnsiColor::Red);
    for finding in report.findings.iter().take(SHOWN) {
        let (kind, path) = (finding.kind.name(), escape::line(&finding.path));
        let path = if path.is_empty() { ".".into() } else { path };
        let message = escape::line(&finding.message);
        let _ = writeln!(out, "  {red}{kind}{red:#} {path}: {message}");
    }
    if report.findings.len() > SHOWN {
        let more = report.findings.len() - SHOWN;
        let _ = writeln!(out, "  and {more} more: --output json has them");
    }
    out
}
