//! `larder store seal`.

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::output::{Summary, Tone};
use super::quantity::count;
use super::store_args::StoreArgs;
use super::{Context, interrupt, scale};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter as _};
use crate::record::SCHEMA_VERSION;
use crate::store::JointId;
use crate::task::or_interrupted;

/// Arguments of `larder store seal`.
#[derive(Debug, Args)]
pub struct SealArgs {
    /// Which store.
    #[command(flatten)]
    pub store: StoreArgs,

    /// The id that the shards' runs have in common [default: that of the newest shard's run]
    #[arg(long, value_name = "ID", value_parser = |text: &str| JointId::new(text))]
    pub run_id: Option<JointId>,

    /// Join those that are there, also where shards are missing or ended early
    #[arg(long)]
    pub partial: bool,
}

impl SealArgs {
    /// Seals.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let sealed = interrupt::run(&context.progress, async |cancel| {
            let work = async {
                let store = Box::pin(self.store.open(context, false)).await?;
                store.open().await?;
                let id = match &self.run_id {
                    Some(id) => id.clone(),
                    None => store.newest_joint_id().await?.ok_or_else(|| {
                        Error::new(ErrorKind::NotFound, "the store has no run of a shard")
                            .about(store.name())
                            .hint("larder backup --shard K/N writes such runs")
                    })?,
                };
                store.seal(&id, self.partial).await
            };
            or_interrupted(&cancel, work).await
        })?;
        let complete = sealed.missing.is_empty() && sealed.early.is_empty();
        let lacking = (!complete).then(|| scale::lacking(&sealed));
        if let Some(lacking) = &lacking {
            context.progress.report(&Event::Warning {
                subject: sealed.id.as_str(),
                message: &format!("the backup is not complete: {lacking}"),
                hint: sealed.run.is_none().then_some(
                    "run those shards again with the same --run-id, or seal with --partial",
                ),
            });
        }
        let done = match (&sealed.run, sealed.new) {
            (None, _) => "not sealed",
            (Some(_), true) => "sealed",
            (Some(_), false) => "sealed already",
        };
        let tone = if complete { Tone::Good } else { Tone::Mixed };
        let regions = sealed.run.is_some().then(|| {
            count(
                sealed.regions as u64,
                "account and region",
                "accounts and regions",
            )
        });
        let counts: Vec<String> = sealed
            .counts
            .iter()
            .map(|(k, n)| format!("{n} {k}"))
            .collect();
        let counts = (!counts.is_empty()).then(|| counts.join(", "));
        let summary = Summary::new(tone, done, sealed.id.as_str())
            .line_if(
                "run",
                sealed.run.as_ref().map(crate::store::RunName::as_str),
            )
            .line("shards", &sealed.of.to_string())
            .line_if("holds", regions.as_deref())
            .line_if("versions", counts.as_deref())
            .line_if("lacking", lacking.as_deref());
        let mut json = scale::joint_json(&sealed);
        json["schema_version"] = json!(SCHEMA_VERSION);
        json["regions"] = json!(sealed.regions);
        json["counts"] = json!(sealed.counts);
        context.output.result(&summary, &json)?;
        Ok(if complete {
            Exit::Done
        } else {
            Exit::SomeFailed
        })
    }
}
