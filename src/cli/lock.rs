//! `larder lock`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::args::{LimitArgs, SelectionArgs};
use super::check::cache;
use super::exit::Exit;
use super::help::Example;
use super::output::{Summary, Tone};
use super::quantity::count;
use super::{Context, interrupt, quantity};
use crate::drift::lock::{LOCKFILE, Lock};
use crate::drift::{Disk, Files as _};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter as _};
use crate::files;
use crate::function::FunctionRef;
use crate::ops::lock::{self, Became, LockOptions, LockOutcome};
use crate::record::SCHEMA_VERSION;

pub(super) const ABOUT: &str = "\
Write larder.lock, the expected state that a team commits.

The file has one entry a function and region: the digests, contents and layers of $LATEST and of every version that an alias routes to, \
and the configuration, with the names of environment variables and never their values. It is sorted and has no time stamp: \
the same state gives the same bytes. A package is downloaded only where its digest is new. \
Functions that are named are added or replaced and the others stay; without a name all of the lock are brought up to date, or, \
where there is none yet, all of the region are locked.";

pub(super) const EXAMPLES: &[Example] = &[
    (
        "Lock two functions, or bring them up to date",
        "larder lock api worker",
    ),
    (
        "Lock all of the region, and drop what is gone",
        "larder lock --all --prune",
    ),
    (
        "Say in CI whether the lock would change",
        "larder lock --check",
    ),
];

/// Arguments of `larder lock`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct LockArgs {
    /// Functions to add or replace: name or ARN
    #[arg(value_name = "FUNCTION")]
    pub functions: Vec<String>,

    /// The lockfile
    #[arg(long, value_name = "FILE", default_value = LOCKFILE)]
    pub lock: PathBuf,

    /// Write nothing; exit with 1 if the lock would change
    #[arg(long)]
    pub check: bool,

    /// Lock all functions of the region; --include, --exclude and --tag select among them
    #[arg(long)]
    pub all: bool,

    /// Which functions.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// Drop entries of functions that no longer exist
    #[arg(long)]
    pub prune: bool,

    /// Write the account into the entries; then a namesake of another account is not taken for the function
    #[arg(long)]
    pub with_account: bool,

    /// Fail for a function with a layer version that is deleted or denied
    #[arg(long)]
    pub strict_layers: bool,

    /// How long to wait for a function that is being changed
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = quantity::parse_wait)]
    pub wait: Duration,

    /// Neither read nor keep the contents of packages that were seen
    #[arg(long)]
    pub no_cache: bool,

    /// Bounds of reading packages.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl LockArgs {
    /// Locks, and prints what changed.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let (before, prior) = self.prior()?;
        let options = self.options(context)?;
        let common = &context.settings.session;
        let mut outcome = interrupt::run(&context.progress, async |cancel| {
            let reporter = Arc::clone(&context.progress);
            Box::pin(lock::lock(common, prior, options, reporter, cancel)).await
        })?;
        context.progress.finish();
        if outcome.failed.len() == 1 && outcome.entries.is_empty() {
            // One function was meant, and it failed.
            let (_, error) = outcome.failed.remove(0);
            return Err(error);
        }
        for (function, error) in &outcome.failed {
            let kept = if outcome.has_kept(function) {
                ", and its entry is as before"
            } else {
                ""
            };
            context.progress.report(&Event::Warning {
                subject: function,
                message: &format!("it could not be locked{kept}: {}", error.sentence()),
                hint: error.hint_text(),
            });
        }
        let bytes = outcome.lock.to_json();
        // Where every function failed the lock is what it was, and none is made.
        let changes = !outcome.entries.is_empty() && before.as_deref() != Some(bytes.as_slice());
        if changes && !self.check {
            files::write_file_atomic(&self.lock, &bytes, 0o644)?;
        }
        context.output.result(
            &self.summary(&outcome, changes),
            &LockReport::new(&self.lock, &outcome, changes, self.check),
        )?;
        Ok(match (outcome.failed.first(), outcome.entries.is_empty()) {
            (Some((_, error)), true) => Exit::from(error.kind()),
            _ if self.check && changes => Exit::Difference,
            (Some(_), false) => Exit::SomeFailed,
            (None, _) => Exit::Done,
        })
    }

    /// The lock that is there, and its bytes.
    fn prior(&self) -> Result<(Option<Vec<u8>>, Option<Lock>)> {
        if !files::exists(&self.lock) {
            return Ok((None, None));
        }
        let bytes = Disk.read(&self.lock)?;
        let lock = Lock::from_file(&self.lock.display().to_string(), &bytes)?;
        Ok((Some(bytes), Some(lock)))
    }

    fn options(&self, context: &Context) -> Result<LockOptions> {
        let functions = self.functions.iter().map(|text| {
            let function: FunctionRef = text.parse().map_err(|e| Error::from(e).about(text))?;
            if function.qualifier().is_some() {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "a whole function is locked: $LATEST and what its aliases route to",
                )
                .about(text)
                .hint("leave the version or alias out"));
            }
            Ok(function)
        });
        let selection = self.selection.selection()?;
        let functions: Vec<FunctionRef> = functions.collect::<Result<_>>()?;
        if !functions.is_empty() && (self.all || !selection.is_everything()) {
            return Err(Error::new(
                ErrorKind::Usage,
                "name functions, or let --all, --include, --exclude and --tag choose them",
            ));
        }
        Ok(LockOptions {
            functions,
            all: self.all || !selection.is_everything(),
            selection,
            regions: context.settings.regions.clone(),
            with_account: self.with_account,
            prune: self.prune,
            strict_layers: self.strict_layers,
            wait: self.wait,
            limits: self.limits.limits(),
            cache: cache(self.no_cache),
        })
    }

    fn summary(&self, outcome: &LockOutcome, changes: bool) -> Summary {
        let shown = self.lock.display().to_string();
        let done = match (changes, self.check) {
            _ if outcome.entries.is_empty() => "nothing written",
            (false, _) => "up to date",
            (true, true) => "would change",
            (true, false) => "written",
        };
        let tone = if outcome.failed.is_empty() && !(changes && self.check) {
            Tone::Good
        } else {
            Tone::Mixed
        };
        let mut summary = Summary::new(tone, done, &shown);
        for (function, became) in &outcome.entries {
            if *became != Became::Unchanged {
                summary = summary.line(word(*became), function);
            }
        }
        let unchanged = outcome
            .entries
            .iter()
            .filter(|(_, became)| *became == Became::Unchanged)
            .count();
        if unchanged > 0 {
            summary = summary.line(
                "unchanged",
                &count(unchanged as u64, "function", "functions"),
            );
        }
        for (function, _) in &outcome.failed {
            summary = summary.line("failed", function);
        }
        summary
    }
}

fn word(became: Became) -> &'static str {
    match became {
        Became::Added => "added",
        Became::Updated => "updated",
        Became::Unchanged => "unchanged",
        Became::Removed => "removed",
    }
}

/// What `--output json` prints.
#[derive(Serialize)]
struct LockReport {
    schema_version: u32,
    lock: String,
    changed: bool,
    written: bool,
    functions: Vec<LockLine>,
}

#[derive(Serialize)]
struct LockLine {
    function: String,
    status: &'static str,
    reason: Option<String>,
}

impl LockReport {
    fn new(path: &Path, outcome: &LockOutcome, changed: bool, check: bool) -> Self {
        let done = outcome.entries.iter().map(|(function, became)| LockLine {
            function: function.clone(),
            status: word(*became),
            reason: None,
        });
        let failed = outcome.failed.iter().map(|(function, error)| LockLine {
            function: function.clone(),
            status: "failed",
            reason: Some(error.sentence()),
        });
        Self {
            schema_version: SCHEMA_VERSION,
            lock: path.display().to_string(),
            changed,
            written: changed && !check,
            functions: done.chain(failed).collect(),
        }
    }
}
