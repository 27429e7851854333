//! The command line: arguments to settings to [`crate::ops`] to output.
//!
//! A command is one file here with its arguments and its `run`, and one variant of [`args::Command`]. The work
//! itself lies in the library; nothing outside this module prints, ends the process or knows of it, and
//! `boundaries.rs` holds the rest of the source to that.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use crate::error::Result;

mod accept;
pub mod args;
pub mod exit;
pub mod output;
pub mod progress;
pub mod settings;

mod backup;
mod check;
mod completions;
mod custody;
mod escape;
mod failure;
mod fetch;
mod help;
mod interrupt;
mod list;
mod lock;
mod logs;
mod man;
mod panics;
mod quantity;
mod report;
mod restore;
mod scale;
mod seal;
mod signing;
mod snapshot;
mod store;
mod store_args;
mod tally;
mod unpack;
mod verify;

#[cfg(test)]
mod boundaries;

use args::Command;
use exit::Exit;
use output::Output;
use progress::Progress;
use settings::Settings;

/// The whole program, with the process's own arguments.
pub fn run() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let exit = panics::caught(settings::Early::of(&args), || run_from(&args));
    ExitCode::from(exit.code())
}

/// The whole program with the given arguments, the first of which is its own name, as another program calls it:
/// a panic is not caught. Must not be called from within an async runtime.
pub fn run_from(args: &[OsString]) -> Exit {
    let early = settings::Early::of(args);
    early.apply();
    let outcome = match args::parse(args) {
        Ok(cli) => cli
            .globals
            .settings()
            .and_then(|settings| dispatch(&cli.command, settings)),
        Err(error) => return failure::of_clap(&error, early, args),
    };
    match outcome {
        Ok(exit) => exit,
        Err(error) => failure::report(&error, early),
    }
}

/// What every command is given.
pub struct Context {
    /// What was set for all commands.
    pub settings: Settings,
    /// Where the result goes.
    pub output: Output,
    /// Where everything else goes that is for a person.
    pub progress: Arc<Progress>,
}

fn dispatch(command: &Command, settings: Settings) -> Result<Exit> {
    if !command.takes_regions() {
        settings.one_region()?;
    }
    if !command.takes_roles() {
        settings.one_role()?;
    }
    let context = Context {
        output: Output::new(settings.format, settings.quiet),
        progress: Arc::new(Progress::new(settings.progress_mode())),
        settings,
    };
    logs::start(context.settings.verbosity, &context.progress);
    let outcome = match command {
        Command::Fetch(args) => args.run(&context),
        Command::Unpack(args) => args.run(&context),
        Command::List(args) => args.run(&context),
        Command::Snapshot(args) => args.run(&context),
        Command::Custody(args) => args.run(&context),
        Command::Verify(args) => args.run(&context),
        Command::Check(args) => args.run(&context),
        Command::Lock(args) => args.run(&context),
        Command::Backup(args) => args.run(&context),
        Command::Restore(args) => args.run(&context),
        Command::Store(args) => args.run(&context),
        Command::Completions(args) => args.run(),
        Command::Man(args) => args.run(&context),
    };
    context.progress.finish();
    outcome
}
