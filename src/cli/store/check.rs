//! `larder store check`.

use clap::Args;
use serde_json::json;

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

/// Arguments of `larder store check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Read every package and document, and hash it
    #[arg(long)]
    pub read_data: bool,
}

impl CheckArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let checked = with_store(context, &self.store, async |store| {
            let each = |done, total| {
                context.progress.report(&Event::Taken {
                    done,
                    total,
                    subject: "",
                });
            };
            store.check(self.read_data, &each).await
        })?;
        context.progress.finish();
        let sound = checked.is_sound();
        let findings: Vec<_> = checked.findings.iter().map(|f| {
            json!({"kind": f.kind, "path": f.path, "message": f.message, "damage": f.is_damage()})
        }).collect();
        let json = json!({"schema_version": SCHEMA_VERSION, "ok": sound, "runs": checked.runs, "blobs": checked.blobs,
            "bytes": checked.bytes, "read": checked.read, "unreferenced": checked.unreferenced, "findings": findings});
        if context.settings.format == Format::Text {
            for finding in &checked.findings {
                context.progress.report(&Event::Warning {
                    subject: &finding.path,
                    message: &finding.message,
                    hint: None,
                });
            }
        }
        let (tone, done) = if sound {
            (Tone::Good, "sound")
        } else {
            (Tone::Mixed, "damaged")
        };
        let read = self.read_data.then(|| {
            count(
                checked.read,
                "blob read and hashed",
                "blobs read and hashed",
            )
        });
        let left = (checked.unreferenced > 0).then(|| {
            count(
                checked.unreferenced,
                "blob to which no run refers",
                "blobs to which no run refers",
            )
        });
        let summary = Summary::new(tone, done, &self.store.store)
            .line("runs", &checked.runs.to_string())
            .line(
                "blobs",
                &format!("{}, {}", checked.blobs, size(checked.bytes)),
            )
            .line_if("data", read.as_deref())
            .line_if("left", left.as_deref());
        context.output.result(&summary, &json)?;
        Ok(if sound { Exit::Done } else { Exit::Difference })
    }
}
