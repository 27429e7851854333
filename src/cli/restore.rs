//! `larder restore`.

mod all;
mod plan;
mod to_lambda;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use super::args::LimitArgs;
use super::exit::Exit;
use super::help::Example;
use super::output::{Summary, Tone};
use super::quantity::exact_size;
use super::store_args::StoreArgs;
use super::{Context, fetch, interrupt};
use crate::error::{Error, Result};
use crate::function::FunctionRef;
use crate::ops::restore::{self, RestoreOptions, Restored, Which};
use to_lambda::ToLambdaArgs;

pub(super) const ABOUT: &str = "\
Restore a function version from a store to a directory, or with --to-lambda to AWS.

DEST is made whole in one step, as fetch makes it: the package, verified again to be what Lambda stated when it was backed up, the \
unpacked code, GetFunction's answer of that time, the layers that were kept, and the record. Without a version it is $LATEST, or the \
highest version that the store has; an alias leads to the version that it led to then. Without --run and --at it is the newest \
run that has the function.

With --to-lambda the plan is printed: what is created or changed, and what does not come back. Only --yes carries it out. \
CodeSha256 in AWS is then that of the backup, or the command fails. Each change is refused when somebody else changed the \
function meanwhile; a restoration that broke off is made again with the same command.";

pub(super) const EXAMPLES: &[Example] = &[
    (
        "The newest backup of a function, to ./orders",
        "larder restore --store ./backup orders",
    ),
    (
        "Version 7 as of a moment, to a place of your choice",
        "larder restore --store s3://my-backups/lambda --at 2026-01-31T12:00:00Z orders:7 /tmp/orders",
    ),
    (
        "Everything, to a directory each below ./restored",
        "larder restore --store ./backup --all ./restored",
    ),
    (
        "What it would take to bring a function back in AWS, then to do so",
        "larder restore --store ./backup --to-lambda orders && larder restore --store ./backup --to-lambda --yes orders",
    ),
    (
        "All versions to another account and region, under another name",
        "larder restore --store ./backup --to-lambda --yes --versions all --profile dr --to-region eu-west-1 --to-name orders-dr --execution-role arn:aws:iam::210987654321:role/orders orders",
    ),
];

/// Arguments of `larder restore`.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Name or ARN, with a version or alias after a colon or without; with --all, the directory to make
    #[arg(value_name = "FUNCTION")]
    pub function: String,

    /// Directory to make [default: ./NAME, or ./NAME-VERSION]
    #[arg(value_name = "DEST", conflicts_with = "to_lambda")]
    pub dest: Option<PathBuf>,

    /// Where from.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Restore every function version, to FUNCTION/ACCOUNT/REGION/NAME/VERSION
    ///
    /// Of each account and region it is the newest run, or the newest before --at, that looked at all of it.
    #[arg(long, conflicts_with_all = ["to_lambda", "dest"])]
    pub all: bool,

    /// From this run: its name or id, or the beginning of either
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,

    /// From the newest run that began at this time or before: 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = instant, conflicts_with = "run")]
    pub at: Option<Timestamp>,

    /// Keep the packages as they are, without unpacking
    #[arg(long, conflicts_with = "to_lambda")]
    pub no_unpack: bool,

    /// Replace DEST, if larder made it
    #[arg(long, conflicts_with = "to_lambda")]
    pub force: bool,

    /// Do not sync the file system before DEST is put in place
    #[arg(long, conflicts_with = "to_lambda")]
    pub no_sync: bool,

    /// Bounds of the unpacking.
    #[command(flatten)]
    pub limits: LimitArgs,

    /// Back to AWS.
    #[command(flatten)]
    pub to_lambda: ToLambdaArgs,
}

fn instant(text: &str) -> std::result::Result<Timestamp, String> {
    text.parse()
        .map_err(|_| "expected a time such as 2026-01-31T12:00:00Z".to_owned())
}

impl RestoreArgs {
    /// Restores, and prints the summary or the record.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let which = Which {
            region: context.settings.regions.first().cloned(),
            run: self.run.clone(),
            at: self.at,
        };
        if self.all {
            let options = self.options(which);
            let dest = Path::new(&self.function);
            return all::run(context, &self.store, dest, &options);
        }
        let function = FunctionRef::new(&self.function, None)
            .map_err(|e| Error::from(e).about(&*self.function))?;
        if self.to_lambda.to_lambda {
            return self.to_lambda.run(context, &self.store, &function, which);
        }
        let options = self.options(which);
        let restored = interrupt::run(&context.progress, async |cancel| {
            let store = Box::pin(self.store.open(context, false)).await?;
            let reporter = Arc::clone(&context.progress);
            restore::restore(&store, &function, &options, reporter, cancel).await
        })?;
        context.progress.finish();
        context
            .output
            .result(&summary(&restored), &restored.record)?;
        Ok(Exit::Done)
    }

    fn options(&self, which: Which) -> RestoreOptions {
        RestoreOptions {
            dest: self.dest.clone(),
            which,
            unpack: !self.no_unpack,
            force: self.force,
            limits: self.limits.limits(),
            sync: !self.no_sync,
        }
    }
}

fn summary(restored: &Restored) -> Summary {
    let record = &restored.record;
    let mut out = Summary::new(Tone::Good, "restored", &record.function.name)
        .line("function", &record.function.arn)
        .line("version", &record.function.version)
        .line("run", restored.run.as_str());
    if let Some(package) = &record.package {
        out = out
            .line(
                "package",
                &format!("{}, verified", exact_size(package.size)),
            )
            .line("sha256", &package.sha256);
    }
    if let Some(image) = &record.image {
        let pulled = fetch::pulled(record);
        out = out
            .line_if("image", image.resolved_image_uri.as_deref())
            .line_if("pulled", pulled.as_deref())
            .line_if("index", fetch::index(image).as_deref());
    }
    let unpacked = record.unpacked.as_ref();
    let unpacked = unpacked.map(|t| fetch::contents(t.files, t.directories, t.symlinks, t.bytes));
    out.line_if("unpacked", unpacked.as_deref())
        .line("kept in", &restored.dest.to_string_lossy())
}
