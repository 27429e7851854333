//! `larder check`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::accept::exceptions;
use super::args::{LimitArgs, SelectionArgs};
use super::exit::Exit;
use super::help::Example;
use super::report::{self, ReportTo};
use super::{Context, interrupt, quantity};
use crate::drift::accept::Exceptions;
use crate::drift::lock::LOCKFILE;
use crate::drift::terraform::{TerraformHash, TerraformOptions};
use crate::drift::{Cache, IgnoreRules, Report, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::function::FunctionRef;
use crate::ops::check::sources::{Given, Sources};
use crate::ops::check::{self, CheckOptions};

pub(super) const ABOUT: &str = "\
Compare what Lambda runs with what it is meant to run, for a CI job.

What is meant comes from --expect, a lock, a Terraform state or plan, a CDK assembly or a SAM template; without any of them from larder.lock, \
if it is there. Digests are compared first, from one listing where there are many functions; only where they differ is a \
package downloaded, verified and compared file by file. The same files in another zip are `repackaged`, which is in sync \
(unless --strict). Each function is compared at $LATEST, at each --qualifier, and with --aliases (or a lock) at what its aliases route to.

Exit codes: 0 in sync; 1 drifted, missing or unexpected; 3 some could not be told; when none could, the first cause's. \
The List and Get calls of AWS return the values of environment variables; larder shows and keeps none of them.";

pub(super) const EXAMPLES: &[Example] = &[
    ("What is deployed, against larder.lock", "larder check"),
    (
        "One function against a build, with a diff",
        "larder check my-function --expect dist/app.zip --diff",
    ),
    (
        "What the alias live routes to, against staging",
        "larder check my-function:live --expect lambda:my-function:live --expect-profile staging",
    ),
    (
        "All functions of a Terraform state, and those it does not know",
        "larder check --terraform state.json --all",
    ),
    (
        "Two reports of one run",
        "larder check --report json=drift.json --report text",
    ),
];

/// Arguments of `larder check`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct CheckArgs {
    /// Only these functions: name or ARN, with a version or alias after a colon or without
    #[arg(value_name = "FUNCTION")]
    pub functions: Vec<String>,

    /// What FUNCTION should be: a zip, a directory, a digest, a fetch, a bag, or lambda:OTHER[:Q]
    ///
    /// A digest is the SHA-256 of the zip or image in base64 or hex. A directory (a build output) is compared by contents: links
    /// followed, modes and empty directories left out, and without what its .larderignore says.
    #[arg(long, value_name = "WHAT")]
    pub expect: Option<String>,

    /// Profile to ask with about --expect lambda:OTHER
    #[arg(long, value_name = "NAME", requires = "expect")]
    pub expect_profile: Option<String>,

    /// Region to ask about --expect lambda:OTHER
    #[arg(long, value_name = "REGION", requires = "expect")]
    pub expect_region: Option<String>,

    /// Leave these files out of the comparison with a directory, as .gitignore does; repeatable
    #[arg(long, value_name = "GLOB")]
    pub ignore: Vec<String>,

    /// Lockfile; larder.lock is taken when it is there and nothing else is said
    #[arg(long, value_name = "FILE")]
    pub lock: Vec<PathBuf>,

    /// Terraform state or plan: the output of terraform show -json, or a raw state of version 4
    #[arg(long, value_name = "FILE")]
    pub terraform: Vec<PathBuf>,

    /// Which hash of a Terraform resource counts
    #[arg(long, value_name = "WHICH", default_value = "auto", value_enum)]
    pub terraform_hash: TerraformHashArg,

    /// CDK assembly: the directory cdk.out
    #[arg(long, value_name = "DIR")]
    pub cdk: Vec<PathBuf>,

    /// Built SAM template: .aws-sam/build/template.yaml
    #[arg(long, value_name = "FILE")]
    pub sam: Vec<PathBuf>,

    /// Stack of --cdk or --sam; its resources say what functions are called
    #[arg(long, value_name = "NAME")]
    pub stack: Vec<String>,

    /// Version or alias to compare beside $LATEST; may be given several times
    #[arg(long, value_name = "QUALIFIER", allow_hyphen_values = true, value_parser = qualifier)]
    pub qualifier: Vec<String>,

    /// Compare every version that an alias routes to
    #[arg(long)]
    pub aliases: bool,

    /// Compare configuration too: runtime, handler, memory, timeout, role, names of environment variables
    #[arg(long)]
    pub config: bool,

    /// Take the same files in another zip for drift, and let version numbers count
    #[arg(long)]
    pub strict: bool,

    /// Never call GetFunction: compare digests, and contents that were seen before
    #[arg(long)]
    pub no_download: bool,

    /// Show how text files differ; what may be a secret is left out
    #[arg(long)]
    pub diff: bool,

    /// How long to wait for a function that is being changed
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = quantity::parse_wait)]
    pub wait: Duration,

    /// Report functions that are deployed and expected nowhere
    ///
    /// So do --include, --exclude and --tag, for those that they select. --include and --exclude select among the expected ones, too.
    #[arg(long)]
    pub all: bool,

    /// Which functions.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// File of known exceptions; each line: ARN-GLOB STATUS UNTIL REASON
    ///
    /// UNTIL is a day such as 2026-12-31, or - for no end. A line that has expired or was not used is a warning.
    #[arg(long, value_name = "FILE")]
    pub accept: Vec<PathBuf>,

    /// A layer version that is deleted or denied makes its function unknown
    #[arg(long)]
    pub strict_layers: bool,

    /// Report to make, to stdout or a file; may be given several times
    ///
    /// At most one goes to stdout, where it takes the place of --output.
    #[arg(long, value_name = "FORMAT[=FILE]", value_parser = report::report_to)]
    pub report: Vec<ReportTo>,

    /// Exit with 0 where differences were found; what could not be told keeps its code
    #[arg(long)]
    pub exit_zero: bool,

    /// Neither read nor keep the contents of packages that were seen
    #[arg(long)]
    pub no_cache: bool,

    /// Bounds of reading packages.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// `--terraform-hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TerraformHashArg {
    /// The first there is of: a configured `code_sha256`, the local filename, `source_code_hash`, the state's `code_sha256`.
    Auto,
    /// What AWS answered at the last apply or refresh.
    #[value(name = "code_sha256")]
    CodeSha256,
    /// What the configuration computed.
    #[value(name = "source_code_hash")]
    SourceCodeHash,
}

impl CheckArgs {
    /// Checks, and writes the reports.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        report::check(&self.report)?;
        let sources = self.sources()?;
        let options = self.options(context)?;
        let common = &context.settings.session;
        let functions = options.functions.clone();
        let found = interrupt::run(&context.progress, async |cancel| {
            let reading = Box::pin(sources.read(common, &functions));
            let stated = cancel
                .run_until_cancelled(reading)
                .await
                .unwrap_or_else(|| Err(Error::interrupted()))?;
            let reporter = Arc::clone(&context.progress);
            Box::pin(check::check(common, stated, options, reporter, cancel)).await
        })?;
        context.progress.finish();
        let settings = &context.settings;
        report::write(&self.report, &found, settings.format, settings.quiet)?;
        Ok(self.exit(&found))
    }

    fn sources(&self) -> Result<Sources> {
        let mut sources = Sources {
            expect: self.expect.as_ref().map(|value| Given {
                value: value.clone(),
                profile: self.expect_profile.clone(),
                region: self.expect_region.clone(),
                ignore: IgnoreRules {
                    lines: self.ignore.clone(),
                },
            }),
            locks: self.lock.clone(),
            terraform: self.terraform.clone(),
            terraform_options: TerraformOptions {
                hash: match self.terraform_hash {
                    TerraformHashArg::Auto => TerraformHash::Auto,
                    TerraformHashArg::CodeSha256 => TerraformHash::CodeSha256,
                    TerraformHashArg::SourceCodeHash => TerraformHash::SourceCodeHash,
                },
            },
            cdk: self.cdk.clone(),
            sam: self.sam.clone(),
            stacks: self.stack.clone(),
        };
        let nothing = sources.expect.is_none()
            && sources.locks.is_empty()
            && sources.terraform.is_empty()
            && sources.cdk.is_empty()
            && sources.sam.is_empty();
        if nothing {
            let default = Path::new(LOCKFILE);
            if !files::exists(default) {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "nothing says what is expected, and there is no larder.lock here",
                )
                .hint("give --expect, --lock, --terraform, --cdk or --sam; larder lock makes a larder.lock"));
            }
            sources.locks.push(default.to_owned());
        }
        Ok(sources)
    }

    fn options(&self, context: &Context) -> Result<CheckOptions> {
        let functions = self.functions.iter().map(|text| {
            text.parse::<FunctionRef>()
                .map_err(|e| Error::from(e).about(text))
        });
        let exceptions = exceptions(&self.accept, Exceptions::parse)?;
        let selection = self.selection.selection()?;
        Ok(CheckOptions {
            functions: functions.collect::<Result<_>>()?,
            regions: context.settings.regions.clone(),
            qualifiers: self.qualifier.clone(),
            aliases: self.aliases,
            strict: self.strict,
            config: self.config,
            download: !self.no_download,
            diff: self.diff,
            wait: self.wait,
            limits: self.limits.limits(),
            unexpected: self.all || !selection.is_everything(),
            selection,
            strict_layers: self.strict_layers,
            exceptions,
            cache: cache(self.no_cache),
            ..CheckOptions::default()
        })
    }

    fn exit(&self, report: &Report) -> Exit {
        exit(report, self.exit_zero)
    }
}

/// Where contents of packages are kept between runs: `XDG_CACHE_HOME`, or `~/.cache`.
pub(super) fn cache(none: bool) -> Cache {
    if none {
        return Cache::none();
    }
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".cache")));
    match base {
        Some(base) => Cache::open(&base.join("larder").join("contents-v1")),
        None => Cache::none(),
    }
}

fn qualifier(text: &str) -> Result<String, String> {
    text.parse::<crate::function::Qualifier>()
        .map(|qualifier| qualifier.as_str().to_owned())
        .map_err(|e| e.to_string())
}

/// A difference goes before what could not be told; of the latter the first cause counts where nothing else was told.
fn exit(report: &Report, exit_zero: bool) -> Exit {
    let summary = &report.summary;
    if summary.differences() > 0 && !exit_zero {
        return Exit::Difference;
    }
    if summary.unknown == 0 {
        return Exit::Done;
    }
    let functions: BTreeSet<&str> = report
        .functions
        .iter()
        .map(|f| f.function.as_str())
        .collect();
    if summary.unknown < summary.checked && functions.len() > 1 {
        return Exit::SomeFailed;
    }
    let unknown = report
        .functions
        .iter()
        .find(|f| f.status == Status::Unknown);
    match unknown.and_then(|f| f.cause).map(Exit::from) {
        // A package that does not verify says nothing about drift.
        Some(Exit::Difference) => Exit::Unavailable,
        Some(exit) => exit,
        None => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::FunctionResult;

    #[test]
    fn the_exit_code_follows_diff() {
        use ErrorKind::{AccessDenied, Mismatch, NotFound, Usage};
        use Status::{Accepted, Drifted, InSync, Missing, Repackaged, Unexpected};
        let good = |status| (status, None);
        let unknown = |kind| (Status::Unknown, Some(kind));
        for (results, plain, zero) in [
            (&[][..], 0, 0),
            (&[good(InSync), good(Repackaged), good(Accepted)], 0, 0),
            (&[good(InSync), good(Drifted)], 1, 0),
            (&[good(Missing)], 1, 0),
            (&[good(Unexpected)], 1, 0),
            (&[good(Drifted), unknown(AccessDenied)], 1, 3),
            (&[good(InSync), unknown(AccessDenied)], 3, 3),
            (&[unknown(AccessDenied), unknown(NotFound)], 4, 4),
            (&[unknown(NotFound)], 5, 5),
            (&[unknown(Mismatch)], 6, 6),
            (&[unknown(Usage)], 2, 2),
        ] {
            let results: Vec<FunctionResult> = results
                .iter()
                .enumerate()
                .map(|(at, (status, cause))| {
                    let mut result = FunctionResult::new(format!("f{at}"), "$LATEST", *status);
                    result.cause = *cause;
                    result
                })
                .collect();
            let report = Report::new(results, Vec::new());
            assert_eq!(exit(&report, false).code(), plain, "{report:?}");
            assert_eq!(exit(&report, true).code(), zero, "{report:?}");
        }
    }

    #[test]
    fn one_function_never_answers_that_some_failed() {
        let mut unknown = FunctionResult::new("f", "live", Status::Unknown);
        unknown.cause = Some(ErrorKind::AccessDenied);
        let results = vec![FunctionResult::new("f", "$LATEST", Status::InSync), unknown];
        assert_eq!(exit(&Report::new(results, Vec::new()), false).code(), 4);
    }
}
