//! The unpacker with one worker, whatever the machine has: what a pinned run is compared with.
//!
//! The bench starts itself as `peers --one-worker PACKAGE DEST`; the steps are those of `larder unpack`.

use std::io;
use std::num::NonZero;
use std::os::fd::AsFd as _;
use std::path::Path;

use larder::files::{self, PublishOptions, Staging};
use larder::package::{Claim, Received};
use larder::unpack::{self, Limits, Options};
use tokio_util::sync::CancellationToken;

/// Unpacks `package` to `dest`.
pub(crate) fn unpack(package: &Path, dest: &Path) -> io::Result<()> {
    let received = Received::read(
        files::open_read(package).map_err(io::Error::other)?,
        &|| false,
    )?;
    let verified = received
        .verify(&Claim::local())
        .map_err(|_| io::Error::other("a package of its own cannot differ"))?;
    let plan = unpack::plan(&verified, &Limits::default()).map_err(io::Error::other)?;
    let publish = PublishOptions {
        force: false,
        sync: false,
    };
    let staging = Staging::create(dest, publish).map_err(io::Error::other)?;
    let options = Options {
        hash_contents: false,
        workers: NonZero::new(1),
        cancel: &CancellationToken::new(),
        reporter: &(),
    };
    unpack::run(&verified, &plan, staging.dir().as_fd(), &options).map_err(io::Error::other)?;
    staging.mark_unpacked();
    staging.publish().map_err(io::Error::other)?;
    Ok(())
}
