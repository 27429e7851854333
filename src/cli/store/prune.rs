//! `larder store prune`.

use std::time::Duration;

use clap::Args;
use jiff::{Span, SpanRelativeTo};
use serde_json::{Value, json};

use super::super::Context;
use super::super::args::Format;
use super::super::exit::Exit;
use super::super::output::{Summary, Tone};
use super::super::quantity::{count, size};
use super::super::store_args::StoreArgs;
use super::with_store;
use crate::error::Result;
use crate::events::{Event, Reporter as _};
use crate::record::SCHEMA_VERSION;
use crate::store::prune::{Amount, PruneOptions, Pruned};

pub(super) const ABOUT: &str = "\
Mark what no run refers to, and delete what was marked for as long as the grace.

The first prune marks; one that comes after the grace deletes. What a run refers to is never deleted, nor what only a run refers \
to that was forgotten within the grace. Backups may be under way meanwhile: one that finds a marked package in the store renews its mark. \
When a run or an index in the store cannot be read, nothing is deleted (exit 1): it may refer to anything. What the store \
refuses to delete is named, and the rest is done (exit 3).

In a bucket this needs s3:DeleteObject; parts of uploads that were never completed are for a lifecycle rule \
(AbortIncompleteMultipartUpload).";

/// Under this grace, a backup that takes long may have to be run again.
const SHORT: Duration = Duration::from_secs(24 * 60 * 60);

/// Arguments of `larder store prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,

    /// How long something must have been marked or forgotten before it is deleted: 12h, 7d, 2w; longer than a backup takes
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = grace)]
    pub grace: Duration,

    /// Say what would be marked and deleted, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Reads a time, of which a day has 24 hours. 0 is none.
fn grace(text: &str) -> std::result::Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let span: Span = text
        .parse()
        .map_err(|_| "expected a time such as 12h, 7d or 2w".to_owned())?;
    let time = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "expected a time of hours, days or weeks".to_owned())?;
    Duration::try_from(time).map_err(|_| "the time is negative".to_owned())
}

impl PruneArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        if self.grace < SHORT && !self.dry_run {
            context.progress.report(&Event::Warning {
                subject: &self.store.store,
                message: "with so short a grace, a backup that is under way may fail and have to be run again",
                hint: None,
            });
        }
        let options = PruneOptions {
            grace: self.grace,
            dry_run: self.dry_run,
        };
        let id = format!("{:012x}", fastrand::u64(..) >> 16);
        let done = with_store(context, &self.store, async |store| {
            let each = |done, total| {
                context.progress.report(&Event::Taken {
                    done,
                    total,
                    subject: "",
                });
            };
            store.prune(options, &id, &each).await
        })?;
        context.progress.finish();
        if context.settings.format == Format::Text {
            for finding in &done.refused {
                context.progress.report(&Event::Warning {
                    subject: &finding.path,
                    message: &finding.message,
                    hint: None,
                });
            }
        }
        if let Some(why) = &done.denial {
            context.progress.report(&Event::Warning {
                subject: &self.store.store,
                message: &format!("the store refused to delete: {why}"),
                hint: why.hint_text(),
            });
        }
        self.show(context, &done)?;
        Ok(if !done.refused.is_empty() {
            Exit::Difference
        } else if done.denied.blobs > 0 {
            Exit::SomeFailed
        } else {
            Exit::Done
        })
    }

    fn show(&self, context: &Context, done: &Pruned) -> Result<()> {
        let findings: Vec<_> = done
            .refused
            .iter()
            .map(|f| json!({"kind": f.kind, "path": f.path, "message": f.message}))
            .collect();
        let next = done.next.map(|time| format!("{time:.0}"));
        let json = json!({
            "schema_version": SCHEMA_VERSION,
            "dry_run": self.dry_run,
            "refused": findings,
            "runs": done.runs,
            "referenced": amount(done.referenced),
            "marked": amount(done.marked),
            "deleted": amount(done.deleted),
            "waiting": amount(done.waiting),
            "next": next,
            "denied": amount(done.denied),
            "temporaries": done.temporaries,
        });
        let refused = !done.refused.is_empty();
        let tone = if refused || done.denied.blobs > 0 {
            Tone::Mixed
        } else {
            Tone::Good
        };
        let what = match (refused, self.dry_run) {
            (true, _) => "not pruned",
            (false, true) => "would prune",
            (false, false) => "pruned",
        };
        let text = |amount: Amount| {
            (amount.blobs > 0).then(|| {
                format!(
                    "{}, {}",
                    count(amount.blobs, "blob", "blobs"),
                    size(amount.bytes)
                )
            })
        };
        let waiting = text(done.waiting).map(|text| match &next {
            Some(next) => format!("{text}; the first may go at {next}"),
            None => text,
        });
        let mut summary = Summary::new(tone, what, &self.store.store);
        if refused {
            summary = summary.line(
                "why",
                "something in the store cannot be read, and may refer to anything; larder store check tells more",
            );
        } else {
            summary = summary
                .line(
                    "deleted",
                    text(done.deleted).as_deref().unwrap_or("nothing"),
                )
                .line_if("denied", text(done.denied).as_deref())
                .line_if("marked", text(done.marked).as_deref())
                .line_if("waiting", waiting.as_deref())
                .line(
                    "kept",
                    text(done.referenced).as_deref().unwrap_or("nothing"),
                )
                .line_if(
                    "cleared",
                    (done.temporaries > 0)
                        .then(|| count(done.temporaries, "temporary file", "temporary files"))
                        .as_deref(),
                );
        }
        context.output.result(&summary, &json)
    }
}

fn amount(amount: Amount) -> Value {
    json!({"blobs": amount.blobs, "bytes": amount.bytes})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_may_be_none_and_has_no_months() {
        let hours = |n: u64| Ok(Duration::from_secs(n * 3600));
        for (text, expected) in [
            ("0", hours(0)),
            ("0s", hours(0)),
            ("12h", hours(12)),
            ("7d", hours(168)),
            ("2w", hours(336)),
        ] {
            assert_eq!(grace(text), expected, "{text}");
        }
        for text in ["", "7", "-1d", "1mo", "soon"] {
            assert!(grace(text).is_err(), "{text}");
        }
    }
}
