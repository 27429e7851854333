//! `larder store list`.

use std::collections::HashMap;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::super::args::Format;
use super::super::exit::Exit;
use super::super::output::print;
use super::super::quantity::size;
use super::super::store_args::StoreArgs;
use super::super::{Context, escape};
use super::with_store;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter as _};
use crate::function::FunctionRef;
use crate::record::SCHEMA_VERSION;
use crate::store::{Entry, Part, RegionRef, Run, Runs, Scope, Store, Subject, concerns_one_run};

/// Arguments of `larder store list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// List each version of this function in each run: a name or an ARN, with a version after a colon or without
    #[arg(value_name = "FUNCTION")]
    pub function: Option<String>,

    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Say how large the packages of each run are together; this reads the indexes of all runs
    #[arg(long, conflicts_with = "function")]
    pub size: bool,
}

/// Indexes of regions that were read: one that did not change is the same in many runs.
#[derive(Default)]
struct Indexes(HashMap<String, Arc<Vec<Entry>>>);

impl Indexes {
    async fn entries(&mut self, store: &Store, region: &RegionRef) -> Result<Arc<Vec<Entry>>> {
        if let Some(known) = self.0.get(&region.index.digest) {
            return Ok(Arc::clone(known));
        }
        let entries = Arc::new(store.entries(region).await?);
        // The runs come by age, so that only the last ones' indexes are of use.
        if self.0.len() >= 64 {
            self.0.clear();
        }
        self.0
            .insert(region.index.digest.clone(), Arc::clone(&entries));
        Ok(entries)
    }
}

impl ListArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let function = self.function.as_ref().map(|text| {
            FunctionRef::new(text, None).map_err(|e| Error::from(e).about(text.as_str()))
        });
        let function = function.transpose()?;
        let (any, unread) = with_store(context, &self.store, async |store| {
            let Runs { names, strange } = store.runs().await?;
            for path in &strange {
                warn(context, path, "this is no run's file", None);
            }
            let sizes = if self.size {
                Some(store.blob_sizes().await?)
            } else {
                None
            };
            let (mut indexes, mut unread, mut shown) = (Indexes::default(), 0, 0);
            for name in &names {
                let line = async {
                    let run = store.run(name).await?;
                    match &function {
                        Some(function) => {
                            versions(context, &store, &run, function, &mut indexes).await
                        }
                        None => line(context, &store, &run, sizes.as_ref(), &mut indexes)
                            .await
                            .map(|()| 1),
                    }
                };
                match line.await {
                    Ok(count) => shown += count,
                    Err(e) if concerns_one_run(&e) => {
                        unread += 1;
                        let message = format!("this run cannot be read: {e}");
                        warn(context, name.as_str(), &message, e.hint_text());
                    }
                    Err(e) => return Err(e),
                }
            }
            if let Some(function) = function.as_ref().filter(|_| shown == 0 && unread == 0) {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    "no run of the store has this function",
                )
                .about(function.to_string())
                .hint("larder store list shows the runs"));
            }
            Ok((!names.is_empty(), unread))
        })?;
        if !any && context.settings.format == Format::Text {
            print("the store has no run yet\n")?;
        }
        Ok(if unread == 0 {
            Exit::Done
        } else {
            Exit::Difference
        })
    }
}

fn warn(context: &Context, subject: &str, message: &str, hint: Option<&str>) {
    context.progress.report(&Event::Warning {
        subject,
        message,
        hint,
    });
}

/// A run.
async fn line(
    context: &Context,
    store: &Store,
    run: &Run,
    sizes: Option<&HashMap<crate::digest::Sha256Digest, u64>>,
    indexes: &mut Indexes,
) -> Result<()> {
    let mut bytes = None;
    if let Some(sizes) = sizes {
        let mut packages = std::collections::HashSet::new();
        for region in &run.regions {
            let entries = indexes.entries(store, region).await?;
            packages.extend(entries.iter().filter_map(|entry| entry.code));
        }
        let known = packages.iter().filter_map(|digest| sizes.get(digest));
        bytes = Some(known.sum::<u64>());
    }
    if context.settings.format == Format::Json {
        let regions: Vec<_> = run
            .regions
            .iter()
            .map(|region| {
                json!({
                    "account": region.account,
                    "region": region.region,
                    "complete": region.scope == Scope::All,
                })
            })
            .collect();
        let text = json!({
            "schema_version": SCHEMA_VERSION,
            "run": run.name.as_str(),
            "created": format!("{:.3}", run.name.time()),
            "regions": regions,
            "counts": run.counts,
            "bytes": bytes,
            "part": part_json(run.part.as_ref()),
        });
        return print(&format!("{}\n", escape::json(&text.to_string())));
    }
    let regions: Vec<_> = run
        .regions
        .iter()
        .map(|region| {
            let part = match region.scope {
                Scope::All => "",
                Scope::Part => " (part)",
            };
            format!("{} {}{part}", region.account, region.region)
        })
        .collect();
    let mut parts: Vec<_> = run.counts.iter().map(|(k, n)| format!("{n} {k}")).collect();
    parts.extend(bytes.map(size));
    // A night of many accounts is a line too.
    let regions = match regions.len() {
        0..=4 => regions.join(", "),
        many => format!("{many} accounts and regions"),
    };
    let line = format!(
        "{}  {regions}  {}{}",
        run.name,
        parts.join(", "),
        part_text(run.part.as_ref())
    );
    print(&format!("{}\n", escape::line(&line)))
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

/// The versions of a function that a run holds.
async fn versions(
    context: &Context,
    store: &Store,
    run: &Run,
    function: &FunctionRef,
    indexes: &mut Indexes,
) -> Result<usize> {
    let mut shown = 0;
    for region in &run.regions {
        let elsewhere = function.region().is_some_and(|name| name != region.region)
            || function.account().is_some_and(|id| id != region.account);
        if elsewhere {
            continue;
        }
        let entries = indexes.entries(store, region).await?;
        let meant = entries.iter().filter(|entry| {
            entry.subject == Subject::Function
                && entry.name() == function.name()
                && function
                    .qualifier()
                    .is_none_or(|version| version == entry.version())
        });
        for entry in meant {
            let code = entry.code.map(|code| code.base64());
            let text = if context.settings.format == Format::Json {
                let text = json!({
                    "schema_version": SCHEMA_VERSION,
                    "run": run.name.as_str(),
                    "created": format!("{:.3}", run.name.time()),
                    "arn": &*entry.arn,
                    "version": entry.version(),
                    "status": entry.status.name(),
                    "described_at": &*entry.described_at,
                    "code_sha256": code,
                });
                escape::json(&text.to_string()).into_owned()
            } else {
                let line = format!(
                    "{}  {:<10} {}  {}",
                    run.name,
                    entry.status.name(),
                    entry.arn,
                    code.unwrap_or_default()
                );
                escape::line(line.trim_end()).into_owned()
            };
            print(&format!("{text}\n"))?;
            shown += 1;
        }
    }
    Ok(shown)
}
