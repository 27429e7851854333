//! `larder custody`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use super::exit::Exit;
use super::help::{self, Example};
use super::interrupt;
use super::output::{Summary, Tone};
use super::quantity::{count, exact_size};
use super::signing::SigningArgs;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::evidence::custody::{BagState, Defect, Handover};
use crate::ops::custody::{self, Added, Shown, Statement};
use crate::record::SCHEMA_VERSION;
use crate::task::blocking;

pub(super) const ABOUT: &str = "\
Hand a bag over, or show who had it.

Handovers lie beside the bag, in BAG.custody, never in it. Each is signed, and names the bag and the signature of the one \
before it, so none can be changed or taken out unseen. That the last ones were cut off cannot be seen from the chain: note \
its head, the SHA-256 of the last signature, elsewhere, and give it to larder verify --custody-head.

A bag is verified before it is handed over, and one that was altered is refused.";

pub(super) const EXAMPLES: &[Example] = &[
    (
        "Hand over, signed",
        "larder custody add case-17 --operator 'A.Smith' --to 'B.Jones' --sign-key ~/.ssh/id_ed25519",
    ),
    ("Show the chain and its head", "larder custody show case-17"),
];

/// Arguments of `larder custody`.
#[derive(Debug, Args)]
pub struct CustodyArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// The two sides of `larder custody`.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Add a signed entry to the chain.
    #[command(after_long_help = help::sections(&EXAMPLES[..1], false))]
    Add(AddArgs),
    /// Print the chain, what is wrong with it, and its head.
    #[command(after_long_help = help::sections(&EXAMPLES[1..], false))]
    Show(ShowArgs),
}

/// Arguments of `larder custody add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The bag
    #[arg(value_name = "BAG")]
    pub bag: PathBuf,

    /// Who hands over, or keeps the bag
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub operator: String,

    /// To whom
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub to: Option<String>,

    /// For which case
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub case_id: Option<String>,

    /// What else is to be known
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,

    /// Hand over a bag that does not verify; the entry names what was found
    ///
    /// Without it, a bag that was altered is refused.
    #[arg(long)]
    pub known_altered: bool,

    /// Who signs.
    #[command(flatten)]
    pub signing: SigningArgs,
}

/// Arguments of `larder custody show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The bag
    #[arg(value_name = "BAG")]
    pub bag: PathBuf,
}

/// What `add --output json` prints.
#[derive(Serialize)]
struct AddReport<'a> {
    schema_version: u32,
    path: String,
    head: String,
    entry: &'a Handover,
}

/// What `show --output json` prints.
#[derive(Serialize)]
struct ShowReport<'a> {
    schema_version: u32,
    ok: bool,
    directory: String,
    tagmanifest_sha256: String,
    head: Option<String>,
    entries: Vec<ShowEntry<'a>>,
    findings: &'a [Defect],
}

#[derive(Serialize)]
struct ShowEntry<'a> {
    number: u32,
    signed_by: Option<String>,
    signature_sha256: Option<String>,
    entry: Option<&'a Handover>,
}

impl CustodyArgs {
    /// Adds or shows.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        match &self.action {
            Action::Add(args) => args.run(context),
            Action::Show(args) => args.run(context),
        }
    }
}

impl AddArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let key = self.signing.key(context)?.ok_or_else(|| {
            Error::new(ErrorKind::Usage, "a handover is signed: no key was named")
                .hint("add --sign-key FILE or --sign-agent FINGERPRINT")
        })?;
        let statement = Statement {
            operator: self.operator.clone(),
            recipient: self.to.clone(),
            case_id: self.case_id.clone(),
            note: self.note.clone(),
        };
        let (bag, known_altered) = (self.bag.clone(), self.known_altered);
        let reporter: Arc<dyn Reporter> = Arc::clone(&context.progress) as _;
        let Added {
            path,
            handover,
            head,
            completed,
        } = interrupt::run(&context.progress, |cancel| {
            blocking(move || {
                custody::add(&bag, &statement, &key, known_altered, &*reporter, &cancel)
            })
        })?;
        context.progress.finish();
        if let Some(number) = completed {
            context.progress.report(&Event::Warning {
                subject: &self.bag.display().to_string(),
                message: &format!(
                    "entry {number} was signed by a run that was cut short; it was completed first"
                ),
                hint: Some("larder custody show prints it"),
            });
        }
        let (path, head) = (path.to_string_lossy().into_owned(), head.hex());
        let summary = Summary::new(Tone::Good, "added", &format!("entry {}", handover.entry))
            .line("operator", &handover.operator)
            .line_if("to", handover.recipient.as_deref())
            .line_if("bag", handover.bag.as_ref().map(bag_words).as_deref())
            .line("signed", &format!("by {}", handover.signer))
            .line("kept in", &path)
            .line("head", &format!("{head} (note it elsewhere)"));
        let report = AddReport {
            schema_version: SCHEMA_VERSION,
            path,
            head,
            entry: &handover,
        };
        context.output.result(&summary, &report)?;
        Ok(Exit::Done)
    }
}

impl ShowArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let shown = custody::show(&self.bag)?;
        let chain = &shown.chain;
        let ok = chain.defects.is_empty();
        let head = chain.head().map(|head| head.hex());
        let report = ShowReport {
            schema_version: SCHEMA_VERSION,
            ok,
            directory: shown.directory.to_string_lossy().into_owned(),
            tagmanifest_sha256: shown.bag.hex(),
            head,
            entries: chain
                .links
                .iter()
                .map(|link| ShowEntry {
                    number: link.number,
                    signed_by: link.signature.as_ref().map(|s| s.key().fingerprint()),
                    signature_sha256: link.signature_sha256.map(|d| d.hex()),
                    entry: link.handover.as_ref(),
                })
                .collect(),
            findings: &chain.defects,
        };
        context.output.result(&summary(&shown, &report), &report)?;
        if ok {
            return Ok(Exit::Done);
        }
        Ok(Exit::Difference)
    }
}

/// What was found of the bag when it was handed over.
fn bag_words(bag: &BagState) -> String {
    if bag.verified {
        let files = count(bag.files, "file", "files");
        return format!("verified: {files}, {}", exact_size(bag.bytes));
    }
    let findings = count(bag.findings, "finding", "findings");
    let more = if bag.findings > 1 { ", …" } else { "" };
    let first = bag.first.first().map_or("", String::as_str);
    format!("NOT verified, as was known: {findings} ({first}{more})")
}

fn summary(shown: &Shown, report: &ShowReport<'_>) -> Summary {
    let chain = &shown.chain;
    let (tone, word) = match (report.ok, chain.links.is_empty()) {
        (true, true) => (Tone::Mixed, "none"),
        (true, false) => (Tone::Good, "holds"),
        (false, _) => (Tone::Mixed, "broken"),
    };
    let entries = count(chain.links.len() as u64, "entry", "entries");
    let mut out = Summary::new(tone, word, &entries);
    for link in &chain.links {
        let text = match &link.handover {
            Some(handover) => {
                let to = handover.recipient.as_ref();
                let to = to.map_or_else(String::new, |to| format!(" to {to}"));
                let case = handover.case_id.as_ref();
                let case = case.map_or_else(String::new, |id| format!(", case {id}"));
                let note = handover.note.as_ref();
                let note = note.map_or_else(String::new, |note| format!(": {note}"));
                format!("{}  {}{to}{case}{note}", handover.at, handover.operator)
            }
            None => "cannot be read".to_owned(),
        };
        let key = match &link.signature {
            Some(signature) => format!("signed by {}", signature.key().fingerprint()),
            None => "not signed rightly".to_owned(),
        };
        out = out
            .line(&format!("{:04}", link.number), &text)
            .line("", &key);
        if let Some(bag) = link.handover.as_ref().and_then(|entry| entry.bag.as_ref()) {
            out = out.line("", &format!("bag {}", bag_words(bag)));
        }
    }
    for defect in &chain.defects {
        out = out.line("finding", &format!("{}: {}", defect.file, defect.message));
    }
    out.line(
        "bag",
        &format!("{} (tagmanifest-sha256.txt)", report.tagmanifest_sha256),
    )
    .line("kept in", &report.directory)
    .line_if("head", report.head.as_deref())
}
