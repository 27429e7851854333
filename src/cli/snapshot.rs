//! `larder snapshot`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;
use url::Url;

use super::Context;
use super::args::SelectionArgs;
use super::exit::Exit;
use super::help::Example;
use super::interrupt;
use super::list::VersionsArg;
use super::output::{Summary, Tone};
use super::quantity::{count, size, time};
use super::signing::SigningArgs;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter as _};
use crate::evidence::statement::masked_command;
use crate::function::FunctionRef;
use crate::ops::snapshot::{self, FunctionOutcome, LayerOutcome, Snapshot, SnapshotOptions};
use crate::record::{SCHEMA_VERSION, Status};

pub(super) const ABOUT: &str = "\
Take forensic evidence of functions: a signed BagIt bag.

Takes what is deployed, as it is served: packages and layers with their SHA-256 compared to what Lambda states, GetFunction's \
answers, aliases, and what lies beside the code (policies of the function, its versions and aliases, URLs, event sources and \
more), each read recorded as found, not set, not applicable or denied. Every call is logged with its request id. Nothing is \
unpacked. The bag can be checked with sha256sum, bagit.py, ssh-keygen and openssl; VERIFY.txt in it says how.

What cannot be had is recorded, and the bag is made all the same. Bytes that are not what Lambda states are kept in \
data/quarantine, and the exit code is 1. A bag is never added to.

function.json and versions.jsonl in the bag hold environment variables; see --redact-env.";

pub(super) const EXAMPLES: &[Example] = &[
    (
        "One function with its aliases, layers and policies, signed",
        "larder snapshot orders --bag case-17 --sign-key ~/.ssh/id_ed25519 --operator 'A.Smith' --case-id IR-17",
    ),
    (
        "All versions, signed by the ssh-agent and time-stamped",
        "larder snapshot orders --versions all --bag case-17 --sign-agent SHA256:3vUiAxL0hbFZTiSwfYMCyo0oIeGIJQaHvIk0d0bGx8k --tsa-url https://freetsa.org/tsr",
    ),
    (
        "Every function of two regions, without the values of environment variables",
        "larder snapshot --all --region eu-west-1 --region us-east-1 --redact-env --bag case-17",
    ),
];

/// Arguments of `larder snapshot`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct SnapshotArgs {
    /// Name, partial ARN or ARN; with a version or alias after a colon, that one alone
    #[arg(value_name = "FUNCTION", required_unless_present = "all")]
    pub functions: Vec<String>,

    /// Directory to make; nothing may be there but an empty directory
    #[arg(long, value_name = "DIR")]
    pub bag: PathBuf,

    /// Every function of the region, or of each --region
    #[arg(long, conflicts_with = "functions")]
    pub all: bool,

    /// Which functions, with --all.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// Which versions: $LATEST, the published ones, or both; those that an alias routes to are always taken
    #[arg(long, value_name = "WHICH", default_value = "latest", value_enum)]
    pub versions: VersionsArg,

    /// Write the bag without the values of environment variables
    ///
    /// Their names stay; each value is null.
    #[arg(long)]
    pub redact_env: bool,

    /// Who takes the evidence, for the bag's records
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub operator: Option<String>,

    /// For which case, for the bag's records
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub case_id: Option<String>,

    /// Who signs.
    #[command(flatten)]
    pub signing: SigningArgs,

    /// Have the signature time-stamped by this authority (RFC 3161)
    #[arg(long, value_name = "URL", value_parser = http_url)]
    pub tsa_url: Option<Url>,

    /// Pull the images of container-image functions too, by digest, into OCI image layouts
    #[arg(long)]
    pub pull_image: bool,

    /// Take a layer that is gone or denied as a failure of the functions that use it
    #[arg(long)]
    pub strict_layers: bool,
}

fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err("expected a URL that begins with http:// or https://".to_owned()),
    }
}

/// What `--output json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    bag: String,
    tagmanifest_sha256: String,
    signed_by: Option<&'a str>,
    time_stamped: bool,
    payload: Payload,
    caller: Option<&'a str>,
    counts: std::collections::BTreeMap<&'static str, u64>,
    mismatches: u64,
    changed: u64,
    bytes_downloaded: u64,
    functions: &'a [FunctionOutcome],
    layers: &'a [LayerOutcome],
    seconds: f64,
}

#[derive(Serialize)]
struct Payload {
    files: u64,
    bytes: u64,
}

impl SnapshotArgs {
    /// Takes the snapshot, and prints what it came to.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let options = self.options(context)?;
        let taken = interrupt::run(&context.progress, async |cancel| {
            let reporter = Arc::clone(&context.progress);
            let common = &context.settings.session;
            Box::pin(snapshot::snapshot(common, &options, reporter, cancel)).await
        })?;
        context.progress.finish();
        context.output.result(&summary(&taken), &report(&taken))?;
        if let Some(error) = &taken.unsealed
            && (taken.has_mismatch() || taken.failed().next().is_some())
        {
            // Another cause gives the exit code.
            context.progress.report(&Event::Warning {
                subject: error.subject().unwrap_or("the bag"),
                message: error.message(),
                hint: error.hint_text(),
            });
        }
        verdict(taken)
    }

    fn options(&self, context: &Context) -> Result<SnapshotOptions> {
        let narrowed = !self.selection.include.is_empty()
            || !self.selection.exclude.is_empty()
            || !self.selection.tag.is_empty();
        if narrowed && !self.all {
            return Err(Error::new(
                ErrorKind::Usage,
                "--include, --exclude and --tag are of use only with --all",
            ));
        }
        let functions = self
            .functions
            .iter()
            .map(|name| FunctionRef::new(name, None).map_err(|e| Error::from(e).about(name)))
            .collect::<Result<Vec<_>>>()?;
        // Before anything is asked: a key that does not open is known at once.
        let signer = self.signing.key(context)?;
        if self.tsa_url.is_some() && signer.is_none() {
            return Err(
                Error::new(ErrorKind::Usage, "is of use only with a signature")
                    .about("--tsa-url")
                    .hint("what is time-stamped is the signature: add --sign-key or --sign-agent"),
            );
        }
        let command: Vec<String> = std::env::args_os()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        Ok(SnapshotOptions {
            bag: self.bag.clone(),
            functions,
            all: self.all.then(|| self.selection.selection()).transpose()?,
            regions: context.settings.regions.clone(),
            versions: self.versions.into(),
            redact_env: self.redact_env,
            operator: self.operator.clone(),
            case_id: self.case_id.clone(),
            signer,
            tsa_url: self.tsa_url.clone(),
            pull_image: self.pull_image,
            strict_layers: self.strict_layers,
            command: masked_command(&command),
        })
    }
}

/// The exit code: a mismatch counts most; of several functions some that failed are 3; else the one cause.
fn verdict(taken: Snapshot) -> Result<Exit> {
    let failed = taken.failed().count();
    if taken.has_mismatch() {
        return Err(Error::new(
            ErrorKind::Mismatch,
            "something that was served is not what AWS states",
        )
        .about(taken.bag.display().to_string())
        .hint("the bag is whole; the bytes are below data/quarantine, and must not be run or unpacked"));
    }
    if failed > 0 && failed < taken.functions.len() {
        return Ok(Exit::SomeFailed);
    }
    if let Some(first) = taken.failed().next() {
        let kind = first.cause().unwrap_or(ErrorKind::Service);
        let reason = first.reason.clone().unwrap_or_default();
        return Err(
            Error::new(kind, format!("not all of it could be had: {reason}"))
                .about(&*first.function)
                .hint("the bag is whole, and records what is missing"),
        );
    }
    match taken.unsealed {
        Some(error) => Err(error),
        None => Ok(Exit::Done),
    }
}

fn report(taken: &Snapshot) -> Report<'_> {
    let mut counts = std::collections::BTreeMap::new();
    for function in &taken.functions {
        *counts.entry(function.status.name()).or_default() += 1;
    }
    let (functions, layers) = (&taken.functions, &taken.layers);
    Report {
        schema_version: SCHEMA_VERSION,
        bag: taken.bag.to_string_lossy().into_owned(),
        tagmanifest_sha256: taken.tagmanifest.hex(),
        signed_by: taken.signed_by.as_deref(),
        time_stamped: taken.stamped,
        payload: Payload {
            files: taken.oxum.files,
            bytes: taken.oxum.bytes,
        },
        caller: taken.caller.as_ref().map(|caller| caller.arn.as_str()),
        counts,
        mismatches: (functions.iter().filter(|f| f.mismatch).count()
            + layers.iter().filter(|l| l.mismatch).count()) as u64,
        changed: functions.iter().filter(|f| f.changed).count() as u64,
        bytes_downloaded: taken.bytes_downloaded,
        functions,
        layers,
        seconds: taken.elapsed.as_secs_f64(),
    }
}

fn summary(taken: &Snapshot) -> Summary {
    let report = report(taken);
    let good = taken.failed().next().is_none() && report.mismatches == 0;
    let (tone, done) = if good {
        (Tone::Good, "bagged")
    } else {
        (Tone::Mixed, "bagged in part")
    };
    let functions = taken.functions.len() as u64;
    let subject = count(functions, "function", "functions");
    let counts: Vec<String> = report
        .counts
        .iter()
        .map(|(status, number)| format!("{number} {status}"))
        .collect();
    let versions = taken.functions.iter().flat_map(|f| &f.versions);
    let versions = versions.filter(|version| version.path.is_some()).count();
    let mut out = Summary::new(tone, done, &subject)
        .line("ended", &counts.join(", "))
        .line("versions", &versions.to_string());
    let missing = taken.layers.iter().filter(|l| l.status != Status::Saved);
    if !taken.layers.is_empty() {
        let all = taken.layers.len() as u64;
        let text = match missing.count() {
            0 => count(all, "version", "versions"),
            missing => format!(
                "{}, {missing} could not be had",
                count(all, "version", "versions")
            ),
        };
        out = out.line("layers", &text);
    }
    if report.mismatches > 0 {
        out = out.line(
            "mismatch",
            &format!("{}; see data/quarantine", report.mismatches),
        );
    }
    if report.changed > 0 {
        out = out.line(
            "changed",
            &format!("{} while they were taken", report.changed),
        );
    }
    let stamp = if taken.stamped { ", time-stamped" } else { "" };
    let signed = match &taken.signed_by {
        Some(fingerprint) => format!("by {fingerprint}{stamp}"),
        None => "no; note the digest below elsewhere".to_owned(),
    };
    out.line_if("caller", report.caller)
        .line(
            "payload",
            &format!(
                "{}, {}",
                count(taken.oxum.files, "file", "files"),
                size(taken.oxum.bytes)
            ),
        )
        .line("signed", &signed)
        .line(
            "sha256",
            &format!("{} (tagmanifest-sha256.txt)", report.tagmanifest_sha256),
        )
        .line("kept in", &report.bag)
        .line(
            "took",
            &format!(
                "{}, {} downloaded",
                time(taken.elapsed),
                size(taken.bytes_downloaded)
            ),
        )
}
