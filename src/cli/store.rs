//! `larder store`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::args::Format;
use super::exit::Exit;
use super::help::{self, Example};
use super::output::{Summary, Tone, print};
use super::quantity::{count, size};
use super::seal::SealArgs;
use super::store_args::StoreArgs;
use super::{Context, escape, interrupt};
use crate::error::{Error, Result};
use crate::events::{Event, Reporter as _};
use crate::record::SCHEMA_VERSION;
use crate::store::{Part, Scope};

pub(super) const EXAMPLES: &[Example] = &[
    ("The runs of a store", "larder store list --store ./backup"),
    (
        "Whether every byte of it is what it was",
        "larder store check --store ./backup --read-data",
    ),
    (
        "The joint run of a backup by several machines",
        "larder store seal --store s3://my-backups/lambda --run-id nightly-2026-01-31",
    ),
];

/// Arguments of `larder store`.
#[derive(Debug, Args)]
pub struct StoreCommand {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// The actions.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the runs, oldest first.
    #[command(after_long_help = help::sections(EXAMPLES, false))]
    List(ListArgs),
    /// Check that all that the runs refer to is there, and with --read-data that every byte is right.
    #[command(after_long_help = help::sections(EXAMPLES, false))]
    Check(CheckArgs),
    /// Write the joint run of a backup that several machines shared, over the runs of all its shards.
    #[command(after_long_help = help::sections(EXAMPLES, false))]
    Seal(SealArgs),
}

/// Arguments of `larder store list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,
}

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

impl StoreCommand {
    /// Does it.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        match &self.action {
            Action::List(args) => args.run(context),
            Action::Check(args) => args.run(context),
            Action::Seal(args) => args.run(context),
        }
    }
}

impl ListArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let runs = interrupt::run(&context.progress, async |cancel| {
            let work = async {
                let store = Box::pin(self.store.open(context, false)).await?;
                store.open().await?;
                let mut runs = Vec::new();
                for name in store.runs().await?.names {
                    let run = store.run(&name).await;
                    runs.push((name, run));
                }
                Ok(runs)
            };
            cancel
                .run_until_cancelled(work)
                .await
                .unwrap_or_else(|| Err(Error::interrupted()))
        })?;
        let mut listed = Vec::new();
        for (name, run) in &runs {
            match run {
                Ok(run) => listed.push(run),
                Err(e) => context.progress.report(&Event::Warning {
                    subject: name.as_str(),
                    message: &format!("this run cannot be read: {e}"),
                    hint: e.hint_text(),
                }),
            }
        }
        match context.settings.format {
            Format::Json => {
                let runs: Vec<_> = listed.iter().map(|run| {
                    let regions: Vec<_> = run.regions.iter().map(|region| json!({
                        "account": region.account, "region": region.region, "complete": region.scope == Scope::All,
                    })).collect();
                    json!({"run": run.name.as_str(), "created": format!("{:.3}", run.name.time()),
                        "regions": regions, "counts": run.counts, "part": part_json(run.part.as_ref())})
                }).collect();
                let text = json!({"schema_version": SCHEMA_VERSION, "runs": runs}).to_string();
                print(&format!("{}\n", escape::json(&text)))?;
            }
            Format::Text => {
                for run in &listed {
                    let regions: Vec<_> = run
                        .regions
                        .iter()
                        .map(|r| format!("{} {}", r.account, r.region))
                        .collect();
                    let counts: Vec<_> =
                        run.counts.iter().map(|(k, n)| format!("{n} {k}")).collect();
                    // A night of many accounts is a line too.
                    let regions = match regions.len() {
                        0..=4 => regions.join(", "),
                        many => format!("{many} accounts and regions"),
                    };
                    let line = format!(
                        "{}  {regions}  {}{}",
                        run.name,
                        counts.join(", "),
                        part_text(run.part.as_ref())
                    );
                    print(&format!("{}\n", escape::line(&line)))?;
                }
                if runs.is_empty() {
                    print("the store has no run yet\n")?;
                }
            }
        }
        Ok(if listed.len() == runs.len() {
            Exit::Done
        } else {
            Exit::Difference
        })
    }
}

/// What a run is of a backup by several machines.
fn part_text(part: Option<&Part>) -> String {
    match part {
        None => String::new(),
        Some(Part::Shard {
            joint,
            shard,
            whole,
        }) => {
            let early = if *whole { "" } else { ", ended early" };
            format!("  (shard {shard} of {joint}{early})")
        }
        Some(Part::Joint { joint, shards, of }) => {
            format!("  (joint run of {joint}: {} of {of} shards)", shards.len())
        }
    }
}

fn part_json(part: Option<&Part>) -> serde_json::Value {
    match part {
        None => serde_json::Value::Null,
        Some(Part::Shard {
            joint,
            shard,
            whole,
        }) => json!({"id": joint.as_str(), "shard": shard.to_string(), "whole": whole}),
        Some(Part::Joint { joint, shards, of }) => {
            json!({"id": joint.as_str(), "shards": shards, "of": of})
        }
    }
}

impl CheckArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let checked = interrupt::run(&context.progress, async |cancel| {
            let work = async {
                let store = Box::pin(self.store.open(context, false)).await?;
                store.open().await?;
                let each = |done, total| {
                    context.progress.report(&Event::Taken {
                        done,
                        total,
                        subject: "",
                    });
                };
                store.check(self.read_data, &each).await
            };
            cancel
                .run_until_cancelled(work)
                .await
                .unwrap_or_else(|| Err(Error::interrupted()))
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
