//! `larder backup`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use serde::Serialize;

use super::accept::exceptions;
use super::args::{Format, SelectionArgs};
use super::exit::Exit;
use super::help::Example;
use super::list::VersionsArg;
use super::output::{Summary, Tone, print};
use super::quantity::{count, parse_age, parse_size, size, time, whole_time};
use super::scale::ScaleArgs;
use super::store_args::StoreArgs;
use super::{Context, escape, interrupt};
use crate::drift::accept::Exceptions;
use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;
use crate::ops::backup::{self, Backup, BackupOptions, Kind, Line};
use crate::ops::list::Regions;
use crate::record::SCHEMA_VERSION;
use crate::store::{Sealed, Store};

pub(super) const ABOUT: &str = "\
Back up functions, all versions of them, to a store: incremental and deduplicated.

One sweep of ListFunctions tells what changed since the last run. A version that is listed as it was then costs no other call and \
no download; each package is stored once, however many versions have it, and only after it was verified. Each run is a backup \
point of its own. Every function version ends as one of saved, unchanged, image, partial, gone, unavailable, denied or failed; what \
failed is tried again by the next run, which also finds what an interrupted one had stored. The store is an OCI image layout that \
sha256sum and skopeo read too.

With credentials that end the rest is not_attempted (exit 4); what a line of --accept names is accepted, and no failure. Several accounts \
are named by --role-arn, given once for each, or --accounts-file; several machines share a backup by --shard.

It needs lambda:ListFunctions, lambda:GetFunction, lambda:ListTags, lambda:ListAliases and lambda:GetLayerVersion, and for a store in a \
bucket s3:GetObject, s3:PutObject and s3:ListBucket. The store holds the values of environment variables; see --redact-env.";

pub(super) const EXAMPLES: &[Example] = &[
    (
        "All functions of the region, to a directory",
        "larder backup --store ./backup --all",
    ),
    (
        "All regions, to a bucket, every night, for a program to read",
        "larder backup --store s3://my-backups/lambda --all --all-regions --output json",
    ),
    (
        "Two functions, without the values of their environment variables",
        "larder backup --store ./backup --redact-env orders billing",
    ),
    (
        "Several accounts, each by a role of its own",
        "larder backup --store s3://my-backups/lambda --all --all-regions --accounts-file accounts.txt",
    ),
    (
        "The second of eight machines that share the work",
        "larder backup --store s3://my-backups/lambda --all --accounts-file accounts.txt --shard 2/8 --run-id nightly-2026-01-31",
    ),
    (
        "What it would take",
        "larder backup --store ./backup --all --dry-run",
    ),
];

/// Arguments of `larder backup`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct BackupArgs {
    /// Functions to back up: names or ARNs, with a version or alias after a colon or without
    #[arg(value_name = "FUNCTION", required_unless_present = "all")]
    pub functions: Vec<String>,

    /// All functions that the other options leave
    #[arg(long, conflicts_with = "functions")]
    pub all: bool,

    /// Where to.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Which versions: $LATEST, the published ones, or both
    #[arg(long, value_name = "WHICH", default_value = "all", value_enum)]
    pub versions: VersionsArg,

    /// Every region that is enabled for the account
    #[arg(long, conflicts_with = "region")]
    pub all_regions: bool,

    /// Whose functions, and which of several machines this one is.
    #[command(flatten)]
    pub scale: ScaleArgs,

    /// Which functions.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// What to ask beside GetFunction: nothing, the aliases, or everything there is about a function
    ///
    /// With full it is policies, URLs, event sources, runtime management, code signing, concurrency and recursion: some
    /// eight calls a function and two a version, in each run, because the listing does not show what of it changed. How long
    /// that takes at --max-rate is said before it begins.
    #[arg(long, value_name = "WHAT", default_value = "aliases", value_enum)]
    pub config: ConfigArg,

    /// Which layer versions to keep: those that are used, all of the account (with --all), or none
    #[arg(long, value_name = "WHICH", default_value = "used", value_enum)]
    pub layers: LayersArg,

    /// Pull the images of container-image functions too, by digest
    ///
    /// Each blob is stored once, however many images share it. An image that cannot be pulled makes its version partial. It
    /// needs ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer.
    #[arg(long)]
    pub pull_image: bool,

    /// Count a function as partial when a layer of it is deleted or denied
    #[arg(long)]
    pub strict_layers: bool,

    /// Keep the names of environment variables only
    #[arg(long)]
    pub redact_env: bool,

    /// Ask about every version again, and look in the store for every package
    #[arg(long)]
    pub refresh: bool,

    /// Ask again about versions that were last asked about longer ago than this: 12h, 7d, 4w
    ///
    /// The listing does not show changed tags or reserved concurrency; this finds them in time.
    #[arg(long, value_name = "AGE", value_parser = parse_age, conflicts_with = "refresh")]
    pub refresh_older_than: Option<SignedDuration>,

    /// Failures that are known and accepted; may be given several times
    ///
    /// A line is: ARN-GLOB STATUS UNTIL REASON, with a status of partial, unavailable, denied and failed, and UNTIL like
    /// 2026-12-31, or - for no end. What a line accepts is counted as accepted, and is no failure.
    #[arg(long, value_name = "FILE")]
    pub accept: Vec<PathBuf>,

    /// Say what would be done, with calls and bytes, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Where packages lie on their way to a bucket [default: TMPDIR]
    #[arg(long, value_name = "DIR")]
    pub spool_dir: Option<PathBuf>,

    /// Most bytes that lie there at once
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = parse_size)]
    pub spool_limit: u64,
}

/// `--config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigArg {
    /// GetFunction's answer alone.
    None,
    /// The aliases too.
    Aliases,
    /// The aliases, and what is beside the code: policies, URLs, event sources and more.
    Full,
}

/// `--layers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayersArg {
    /// No layers.
    None,
    /// Those that a version uses.
    Used,
    /// Those, and every layer version of the account and region.
    All,
}

impl BackupArgs {
    /// Backs up.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let options = self.options(context)?;
        let format = context.settings.format;
        let failed = std::sync::Mutex::new(None);
        let done = interrupt::run(&context.progress, async |cancel| {
            let store = match Box::pin(self.store.open(context, !self.dry_run)).await {
                Err(e) if self.dry_run && e.kind() == ErrorKind::NotFound => {
                    Store::absent(&self.store.store)
                }
                store => store?,
            };
            let each = |line: &Line| {
                let printed = match format {
                    Format::Json => print(&format!("{}\n", json_line(line))),
                    // What is as it was is counted, not listed.
                    Format::Text if line.status == "unchanged" || context.settings.quiet => Ok(()),
                    Format::Text => {
                        context.progress.line(&text_line(line));
                        Ok(())
                    }
                };
                if let Err(e) = printed
                    && let Ok(mut failed) = failed.lock()
                {
                    failed.get_or_insert(e);
                    cancel.cancel();
                }
            };
            let reporter = Arc::clone(&context.progress);
            let common = &context.settings.session;
            Box::pin(backup::backup(
                common, &store, &options, reporter, &cancel, &each,
            ))
            .await
        })?;
        context.progress.finish();
        if let Ok(Some(error)) = failed.into_inner() {
            return Err(error);
        }
        match format {
            Format::Json => print(&format!("{}\n", summary_json(&done)))?,
            Format::Text => {
                let summary = self.summary(&done, context.settings.session.max_rate);
                context.output.result(&summary, &())?;
            }
        }
        ended(done)
    }

    fn options(&self, context: &Context) -> Result<BackupOptions> {
        let parse = |text: &String| {
            FunctionRef::new(text, None).map_err(|e| Error::from(e).about(text.as_str()))
        };
        let named = &context.settings.regions;
        let (shard, joint) = self.scale.shard(&|name| std::env::var(name).ok())?;
        Ok(BackupOptions {
            accounts: self.scale.accounts(&context.settings)?,
            parallel: self.scale.parallel,
            shard,
            joint,
            regions: match (self.all_regions, named.is_empty()) {
                (true, _) => Regions::All,
                (false, true) => Regions::Own,
                (false, false) => Regions::Named(named.clone()),
            },
            functions: self.functions.iter().map(parse).collect::<Result<_>>()?,
            versions: self.versions.into(),
            selection: self.selection.selection()?,
            aliases: self.config != ConfigArg::None,
            sides: self.config == ConfigArg::Full,
            layers: self.layers != LayersArg::None,
            all_layers: self.layers == LayersArg::All,
            strict_layers: self.strict_layers,
            pull_image: self.pull_image,
            redact_env: self.redact_env,
            refresh: self.refresh,
            refresh_older_than: self.refresh_older_than,
            exceptions: exceptions(&self.accept, |path, text| {
                Exceptions::parse_for(&backup::ACCEPTABLE, path, text)
            })?,
            dry_run: self.dry_run,
            spool_dir: self.spool_dir.clone(),
            spool_limit: self.spool_limit,
        })
    }

    fn summary(&self, done: &Backup, max_rate: f64) -> Summary {
        let tone = if done.failures() == 0 && !done.interrupted && done.stopped.is_none() {
            Tone::Good
        } else {
            Tone::Mixed
        };
        let what = match (self.dry_run, done.interrupted) {
            (true, _) => "planned",
            (false, true) => "interrupted",
            (false, false) => "backed up",
        };
        let counts = |counts: &BTreeMap<String, u64>| {
            let parts: Vec<_> = counts
                .iter()
                .map(|(name, n)| format!("{n} {name}"))
                .collect();
            (!parts.is_empty()).then(|| parts.join(", "))
        };
        let plan = self.dry_run.then(|| {
            let calls = done.plan.calls.values().sum();
            let seconds = Duration::try_from_secs_f64(done.plan.seconds.ceil());
            format!(
                "{} ({}), {} at {} a second; {} to download",
                count(calls, "call", "calls"),
                counts(&done.plan.calls).unwrap_or_default(),
                whole_time(seconds.unwrap_or_default()),
                max_rate,
                size(done.plan.bytes)
            )
        });
        let replicas = (done.replicas > 0).then(|| {
            count(
                done.replicas,
                "replica of Lambda@Edge left out",
                "replicas of Lambda@Edge left out",
            )
        });
        Summary::new(tone, what, &self.store.store)
            .line_if("run", done.run.as_ref().map(crate::store::RunName::as_str))
            .line(
                "versions",
                counts(&done.counts).as_deref().unwrap_or("none"),
            )
            .line_if("layers", counts(&done.layers).as_deref())
            .line_if("joint", done.joint.as_ref().map(joint).as_deref())
            .line_if("would be", plan.as_deref())
            .line_if("replicas", replicas.as_deref())
            .line_if("calls", counts(&done.calls).as_deref())
            .line(
                "took",
                &format!(
                    "{}, {} downloaded",
                    time(done.elapsed),
                    size(done.bytes_downloaded)
                ),
            )
    }
}

/// How far the shards of a backup are.
fn joint(sealed: &Sealed) -> String {
    let run = sealed.run.as_ref().map(crate::store::RunName::as_str);
    match run {
        Some(run) => format!("{run}, of all {} shards", sealed.of),
        None => super::scale::lacking(sealed),
    }
}

/// The exit code of a backup that came to its end, or to as much of it as it could.
fn ended(done: Backup) -> Result<Exit> {
    let (failures, successes) = (done.failures(), done.successes());
    if done.interrupted {
        return Err(Error::new(ErrorKind::Interrupted, "interrupted")
            .hint("what was stored is found by the next run"));
    }
    if let Some(error) = done.stopped {
        return Err(error.hint("what was stored is found by the next run"));
    }
    match done.failure {
        Some(error) if failures > 0 && successes == 0 => Err(error),
        _ if failures > 0 => Ok(Exit::SomeFailed),
        _ => Ok(Exit::Done),
    }
}

#[derive(Serialize)]
struct JsonLine<'a> {
    schema_version: u32,
    event: &'static str,
    arn: &'a str,
    version: Option<&'a str>,
    status: &'static str,
    bytes: Option<u64>,
    reason: Option<&'a str>,
}

fn json_line(line: &Line) -> String {
    let json = serde_json::to_string(&JsonLine {
        schema_version: SCHEMA_VERSION,
        event: line.kind.name(),
        arn: &line.arn,
        version: Some(line.version.as_str()).filter(|version| !version.is_empty()),
        status: line.status,
        bytes: line.bytes,
        reason: line.reason.as_deref(),
    });
    escape::json(&json.unwrap_or_default()).into_owned()
}

fn summary_json(done: &Backup) -> String {
    let json = serde_json::json!({
        "schema_version": SCHEMA_VERSION,
        "event": "summary",
        "run": done.run.as_ref().map(crate::store::RunName::as_str),
        "counts": done.counts,
        "layers": done.layers,
        "aliases_failed": done.aliases_failed,
        "configs_failed": done.configs_failed,
        "regions_failed": done.regions_failed,
        "accounts_failed": done.accounts_failed,
        "joint": done.joint.as_ref().map(super::scale::joint_json),
        "replicas": done.replicas,
        "complete": !done.interrupted && done.stopped.is_none() && done.regions_failed == 0
            && done.accounts_failed == 0,
        "bytes_downloaded": done.bytes_downloaded,
        "calls": done.calls,
        "plan": {"get_function": done.plan.calls.get("GetFunction").copied().unwrap_or_default(),
            "calls": done.plan.calls, "seconds": done.plan.seconds, "downloads": done.plan.downloads, "bytes": done.plan.bytes},
        "seconds": done.elapsed.as_secs_f64(),
    });
    escape::json(&json.to_string()).into_owned()
}

fn text_line(line: &Line) -> String {
    let name = match line.kind {
        Kind::Region | Kind::Account => line.arn.clone(),
        _ => line
            .arn
            .split(':')
            .next_back()
            .unwrap_or_default()
            .to_owned(),
    };
    let version = match line.version.as_str() {
        "" => String::new(),
        version => format!(":{version}"),
    };
    let kind = match line.kind {
        Kind::Function => "",
        Kind::Layer => "layer ",
        Kind::Aliases => "aliases of ",
        Kind::Config => "configuration of ",
        Kind::Region => "region ",
        Kind::Account => "account ",
    };
    let reason = line
        .reason
        .as_deref()
        .map_or_else(String::new, |why| format!(": {why}"));
    let text = format!("{:<11} {kind}{name}{version}{reason}", line.status);
    escape::line(&text).into_owned()
}
