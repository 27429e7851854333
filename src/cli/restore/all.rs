//! `larder restore --all`.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::super::args::Format;
use super::super::exit::Exit;
use super::super::output::print;
use super::super::store_args::StoreArgs;
use super::super::{Context, escape, interrupt};
use crate::error::{Error, Result};
use crate::events::Reporter as _;
use crate::ops::restore::{Part, RestoreOptions, Restored, restore_all};
use crate::record::SCHEMA_VERSION;

/// Restores all, prints a line for each and the counts.
pub(super) fn run(
    context: &Context,
    store: &StoreArgs,
    dest: &Path,
    options: &RestoreOptions,
) -> Result<Exit> {
    let format = context.settings.format;
    let quiet = context.settings.quiet;
    let done = interrupt::run(&context.progress, async |cancel| {
        let store = Box::pin(store.open(context, false)).await?;
        let reporter = Arc::clone(&context.progress);
        let each = |part: Part<'_>, outcome: Result<&Restored, &Error>| match format {
            Format::Json => print(&format!("{}\n", json_line(part, outcome))),
            // What failed is told even to who wants to hear little.
            Format::Text if quiet && outcome.is_ok() => Ok(()),
            Format::Text => print(&format!("{}\n", text_line(part, outcome))),
        };
        Box::pin(restore_all(&store, dest, options, each, reporter, cancel)).await
    })?;
    context.progress.finish();
    let (restored, failed) = (done.restored, done.failed);
    match format {
        Format::Json => {
            let counts = json!({"restored": restored, "failed": failed});
            let line =
                json!({"schema_version": SCHEMA_VERSION, "event": "summary", "counts": counts});
            print(&format!("{line}\n"))?;
        }
        Format::Text if quiet => {}
        Format::Text => print(&format!("{restored} restored, {failed} failed\n"))?,
    }
    match done.first_failure {
        None => Ok(Exit::Done),
        Some(e) if restored == 0 => Err(e),
        Some(e) => {
            context.progress.report(&crate::events::Event::Warning {
                subject: e.subject().unwrap_or_default(),
                message: e.message(),
                hint: e.hint_text(),
            });
            Ok(Exit::SomeFailed)
        }
    }
}

fn json_line(part: Part<'_>, outcome: Result<&Restored, &Error>) -> String {
    let arn = match part {
        Part::Version(arn) => arn,
        Part::Region(run, region) => {
            let line = json!({
                "schema_version": SCHEMA_VERSION,
                "event": "region",
                "account": region.account,
                "region": region.region,
                "status": "failed",
                "run": run.as_str(),
                "reason": outcome.err().map(Error::sentence),
            });
            return escape::json(&line.to_string()).into_owned();
        }
    };
    let (function, version) = arn.rsplit_once(':').unwrap_or((arn, ""));
    let line = json!({
        "schema_version": SCHEMA_VERSION,
        "event": "function",
        "arn": function,
        "version": version,
        "status": if outcome.is_ok() { "restored" } else { "failed" },
        "run": outcome.ok().map(|restored| restored.run.as_str()),
        "path": outcome.ok().map(|restored| restored.dest.to_string_lossy()),
        "reason": outcome.err().map(Error::sentence),
    });
    escape::json(&line.to_string()).into_owned()
}

fn text_line(part: Part<'_>, outcome: Result<&Restored, &Error>) -> String {
    let subject = match part {
        Part::Version(arn) => arn.to_owned(),
        Part::Region(run, region) => {
            format!("{} {} of run {run}", region.account, region.region)
        }
    };
    let line = match outcome {
        Ok(restored) => format!("restored {subject} to {}", restored.dest.display()),
        Err(e) => format!("failed   {subject}: {}", e.sentence()),
    };
    escape::line(&line).into_owned()
}
