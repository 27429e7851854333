//! `larder store`.

mod check;
mod forget;
mod list;
mod prune;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::help::{self, Example};
use super::seal::SealArgs;
use super::store_args::StoreArgs;
use super::{Context, interrupt};
use crate::error::{Error, Result};
use crate::store::Store;

pub(super) const EXAMPLES: &[Example] = &[
    ("The runs of a store", "larder store list --store ./backup"),
    (
        "Which runs hold a function, and with which code",
        "larder store list --store ./backup orders",
    ),
    (
        "Whether every byte of it is what it was",
        "larder store check --store ./backup --read-data",
    ),
    (
        "Keep the last week of each function, and the last run of each of 12 months",
        "larder store forget --store ./backup --keep-within 7d --keep-monthly 12 --dry-run",
    ),
    (
        "Delete what no run refers to any more and was marked a week ago",
        "larder store prune --store ./backup",
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
    /// List the runs, oldest first; or the versions of a function that each run holds.
    #[command(after_long_help = help::sections(EXAMPLES, false))]
    List(list::ListArgs),
    /// Check that all that the runs refer to is there, and with --read-data that every byte is right.
    #[command(after_long_help = help::sections(EXAMPLES, false))]
    Check(check::CheckArgs),
    /// Forget runs that no function needs by the rules, or those that are named; store prune then frees the room.
    #[command(long_about = forget::ABOUT, after_long_help = help::sections(EXAMPLES, false))]
    Forget(forget::ForgetArgs),
    /// Mark what no run refers to, and delete what was marked for as long as the grace.
    #[command(long_about = prune::ABOUT, after_long_help = help::sections(EXAMPLES, false))]
    Prune(prune::PruneArgs),
    /// Write the joint run of a backup that several machines shared, over the runs of all its shards.
    #[command(after_long_help = help::sections(EXAMPLES, false))]
    Seal(SealArgs),
}

impl StoreCommand {
    /// Does it.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        match &self.action {
            Action::List(args) => args.run(context),
            Action::Check(args) => args.run(context),
            Action::Forget(args) => args.run(context),
            Action::Prune(args) => args.run(context),
            Action::Seal(args) => args.run(context),
        }
    }
}

/// Does something with the store, until it is done or the user interrupts.
fn with_store<T>(
    context: &Context,
    args: &StoreArgs,
    work: impl AsyncFnOnce(Store) -> Result<T>,
) -> Result<T> {
    interrupt::run(&context.progress, async |cancel| {
        let work = async {
            let store = Box::pin(args.open(context, false)).await?;
            store.open().await?;
            work(store).await
        };
        cancel
            .run_until_cancelled(work)
            .await
            .unwrap_or_else(|| Err(Error::interrupted()))
    })
}
