//! `larder unpack`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::Context;
use super::args::{self, LimitArgs};
use super::exit::Exit;
use super::fetch::contents;
use super::help::Example;
use super::interrupt;
use super::output::{Summary, Tone};
use super::quantity::{exact_size, time};
use crate::digest::Sha256Digest;
use crate::error::Result;
use crate::events::Reporter;
use crate::ops::unpack::{self, UnpackOptions, UnpackedPackage};
use crate::record::{SCHEMA_VERSION, Tool};
use crate::task::blocking;

pub(super) const ABOUT: &str = "\
Unpack a package at hand, as safely as fetch does.

The archive is read to its end before anything is written. One that is unsafe, broken or ambiguous (a name that leads \
outside, a link out of the tree, headers that disagree, more bytes than allowed) is refused whole, with the entry's \
name and the reason, and nothing is left behind. Modes and links are kept, and times where the zip has them in UTC. No connection is made.";

pub(super) const EXAMPLES: &[Example] = &[
    ("Unpack to ./package", "larder unpack package.zip"),
    (
        "Unpack to a place of your choice",
        "larder unpack package.zip /tmp/code",
    ),
    (
        "Unpack just this package, or fail",
        "larder unpack --sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad package.zip",
    ),
    (
        "Unpack a fat archive in which a name stands twice",
        "larder unpack --duplicates last fat.jar code",
    ),
];

/// Arguments of `larder unpack`.
#[derive(Debug, Args)]
pub struct UnpackArgs {
    /// The archive
    #[arg(value_name = "PACKAGE")]
    pub package: PathBuf,

    /// Directory to make [default: PACKAGE without .zip, here]
    #[arg(value_name = "DEST")]
    pub dest: Option<PathBuf>,

    /// Refuse any package but this one: SHA-256 in hex or base64
    #[arg(long, value_name = "DIGEST", value_parser = args::digest)]
    pub sha256: Option<Sha256Digest>,

    /// Replace DEST, if larder made it
    ///
    /// A tree that larder unpacked is known by an extended attribute of its root, where the file system keeps such.
    #[arg(long)]
    pub force: bool,

    /// Bounds of the unpacking.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl UnpackArgs {
    /// Unpacks, and prints what was written.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let start = Instant::now();
        let package = self.package.clone();
        let options = self.options();
        let reporter: Arc<dyn Reporter> = Arc::clone(&context.progress) as _;
        let unpacked = interrupt::run(&context.progress, |cancel| {
            blocking(move || unpack::unpack(&package, &options, &reporter, &cancel))
        })?;
        context.progress.finish();
        let elapsed = start.elapsed();
        context.output.result(
            &summary(&self.package, &unpacked, elapsed),
            &Report::new(&self.package, &unpacked, elapsed),
        )?;
        Ok(Exit::Done)
    }

    fn options(&self) -> UnpackOptions {
        UnpackOptions {
            dest: self.dest.clone(),
            sha256: self.sha256,
            limits: self.limits.limits(),
            force: self.force,
        }
    }
}

fn summary(package: &Path, unpacked: &UnpackedPackage, elapsed: Duration) -> Summary {
    let inside = contents(
        unpacked.files,
        unpacked.directories,
        unpacked.symlinks,
        unpacked.bytes,
    );
    Summary::new(Tone::Good, "unpacked", &package.to_string_lossy())
        .line("package", &exact_size(unpacked.size))
        .line("sha256", &unpacked.sha256.hex())
        .line("unpacked", &inside)
        .line("to", &unpacked.dest.to_string_lossy())
        .line("took", &time(elapsed))
}

/// What `--output json` prints.
#[derive(Serialize)]
struct Report {
    schema_version: u32,
    tool: Tool,
    package: PackageReport,
    unpacked: TreeReport,
    seconds: f64,
}

#[derive(Serialize)]
struct PackageReport {
    path: String,
    size: u64,
    sha256: String,
}

#[derive(Serialize)]
struct TreeReport {
    path: String,
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
}

impl Report {
    fn new(package: &Path, unpacked: &UnpackedPackage, elapsed: Duration) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            tool: Tool::this(),
            package: PackageReport {
                path: package.to_string_lossy().into_owned(),
                size: unpacked.size,
                sha256: unpacked.sha256.hex(),
            },
            unpacked: TreeReport {
                path: unpacked.dest.to_string_lossy().into_owned(),
                files: unpacked.files,
                directories: unpacked.directories,
                symlinks: unpacked.symlinks,
                bytes: unpacked.bytes,
            },
            seconds: elapsed.as_secs_f64(),
        }
    }
}
