//! `larder restore --to-lambda`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::super::args::{Format, region, role};
use super::super::exit::Exit;
use super::super::output::Output;
use super::super::store_args::StoreArgs;
use super::super::{Context, interrupt};
use super::plan;
use crate::error::{Error, Result};
use crate::files;
use crate::function::FunctionRef;
use crate::ops::restore::{Environment, ToLambdaOptions, Versions, Which, to_lambda};

/// The longest file of `--env-from` that is read, in bytes; Lambda takes 4 KiB of environment.
const MAX_ENVIRONMENT: u64 = 1 << 20;

/// The options that belong to `--to-lambda`.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of --to-lambda")]
pub struct ToLambdaArgs {
    /// Restore to AWS Lambda: print the plan, and with --yes carry it out
    #[arg(long)]
    pub to_lambda: bool,

    /// Carry the plan out
    #[arg(long, requires = "to_lambda")]
    pub yes: bool,

    /// Name of the function to make or change [default: its own]
    #[arg(long, value_name = "NAME", requires = "to_lambda")]
    pub to_name: Option<String>,

    /// Region to restore to [default: its own]; --region is where it was
    #[arg(long, value_name = "REGION", value_parser = region, requires = "to_lambda")]
    pub to_region: Option<String>,

    /// Execution role of the function [default: its own, if it is of the account restored to]
    #[arg(long, value_name = "ARN", value_parser = role, requires = "to_lambda")]
    pub execution_role: Option<String>,

    /// Bucket in the region restored to, for packages over 50 MiB; they are removed afterwards
    #[arg(long, value_name = "BUCKET", requires = "to_lambda")]
    pub staging_bucket: Option<String>,

    /// Which versions: the one that is named, or all, published anew in order
    #[arg(
        long,
        value_name = "WHICH",
        default_value = "one",
        value_enum,
        requires = "to_lambda"
    )]
    pub versions: VersionsArg,

    /// Publish what is restored as a version
    #[arg(long, requires = "to_lambda")]
    pub publish: bool,

    /// Leave the aliases as they are
    #[arg(long, requires = "to_lambda")]
    pub no_aliases: bool,

    /// Values of environment variables: a JSON object, or lines NAME=VALUE
    ///
    /// Needed where the backup was made with --redact-env; elsewhere they take the place of those in the backup.
    #[arg(long, value_name = "FILE", requires = "to_lambda")]
    pub env_from: Option<PathBuf>,

    /// Image of an image function: by tag or digest, or a repository alone, for the digest of the backup
    #[arg(long, value_name = "URI", requires = "to_lambda")]
    pub image_uri: Option<String>,

    /// Restore without layers that neither AWS nor the backup has
    #[arg(long, requires = "to_lambda")]
    pub allow_missing_layers: bool,
}

/// `--versions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VersionsArg {
    /// The one that is named.
    One,
    /// All that the run has.
    All,
}

impl ToLambdaArgs {
    /// Plans, and with `--yes` restores; prints the plan and how far it came.
    pub fn run(
        &self,
        context: &Context,
        store: &StoreArgs,
        function: &FunctionRef,
        which: Which,
    ) -> Result<Exit> {
        let environment = match &self.env_from {
            Some(path) => {
                let bytes = files::read_small(path, MAX_ENVIRONMENT).map_err(Error::from)?;
                Some(Environment::parse(&bytes, &path.display().to_string())?)
            }
            None => None,
        };
        let options = ToLambdaOptions {
            which,
            name: self.to_name.clone(),
            region: self.to_region.clone(),
            execution_role: self.execution_role.clone(),
            staging_bucket: self.staging_bucket.clone(),
            versions: match self.versions {
                VersionsArg::One => Versions::One,
                VersionsArg::All => Versions::All,
            },
            publish: self.publish,
            aliases: !self.no_aliases,
            environment,
            image_uri: self.image_uri.clone(),
            allow_missing_layers: self.allow_missing_layers,
            yes: self.yes,
        };
        let restoration = interrupt::run(&context.progress, async |cancel| {
            let store = Box::pin(store.open(context, false)).await?;
            let reporter = Arc::clone(&context.progress);
            let session = &context.settings.session;
            Box::pin(to_lambda(
                &store, session, function, &options, reporter, &cancel,
            ))
            .await
        })?;
        context.progress.finish();
        let failed = restoration.error.is_some();
        let text = plan::text(&restoration.plan, self.yes, failed);
        match context.settings.format {
            Format::Json => Output::json(&restoration.plan)?,
            Format::Text => context.output.text(&text)?,
        }
        match restoration.error {
            Some(error) => Err(error),
            None => Ok(Exit::Done),
        }
    }
}
