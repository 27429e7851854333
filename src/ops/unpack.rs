//! The same safe unpacking for a zip at hand.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::files::{self, FilesError, PublishOptions, Staging};
use crate::package::{Claim, Received};
use crate::unpack::{self, Limits, UnpackError};

/// What [`unpack()`] is to do beside the plain job.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// Where to; None is the package's name without `.zip`, in the current directory.
    pub dest: Option<PathBuf>,
    /// Refuse unless the package is this one.
    pub sha256: Option<Sha256Digest>,
    /// Bounds, and what a name that stands twice means.
    pub limits: Limits,
    /// Replace a destination that larder wrote.
    pub force: bool,
}

/// What [`unpack()`] did.
#[derive(Debug, Clone)]
pub struct UnpackedPackage {
    /// Where the tree lies.
    pub dest: PathBuf,
    /// The package's digest.
    pub sha256: Sha256Digest,
    /// The package's length in bytes.
    pub size: u64,
    /// Regular files.
    pub files: u64,
    /// Directories, without the root.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes in regular files.
    pub bytes: u64,
}

/// Unpacks the zip `package`. Blocking; reads `cancel` at each entry and each 256 KiB. Nothing is synced.
///
/// # Errors
/// The file cannot be read, is not the one expected, or is refused as unsafe or broken; or the destination exists.
/// The destination is then what it was before.
pub fn unpack(
    package: &Path,
    options: &UnpackOptions,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<UnpackedPackage> {
    // What is wrong with the package counts more than a destination that does not follow from its name.
    let file = files::open_read(package)?;
    let dest = match &options.dest {
        Some(dest) => dest.clone(),
        None => default_dest(package)?,
    };
    let subject = package.display().to_string();
    let length = file
        .metadata()
        .map_err(|e| FilesError::unread("read", package, e))?
        .len();
    reporter.report(&Event::Verifying { size: length });
    let received = Received::read(file, &|| cancel.is_cancelled()).map_err(|e| match e.kind() {
        std::io::ErrorKind::Interrupted => Error::interrupted(),
        _ => FilesError::unread("read", package, e).into(),
    })?;
    let claim = options.sha256.map_or_else(Claim::local, Claim::user);
    let verified = received
        .verify(&claim)
        .map_err(|mismatch| Error::from(mismatch).about(&*subject))?;
    let publish = PublishOptions {
        force: options.force,
        sync: false,
    };
    let plan = unpack::plan_or_stop(&verified, &options.limits, &|| cancel.is_cancelled())
        .map_err(|e| refused(e, &subject))?;
    let staging = Staging::create(&dest, publish)?;
    let run = unpack::Options {
        hash_contents: false,
        workers: None,
        cancel,
        reporter,
    };
    let unpacked = unpack::run(&verified, &plan, staging.dir().as_fd(), &run)
        .map_err(|e| refused(e, &subject))?;
    staging.mark_unpacked();
    reporter.report(&Event::Publishing);
    super::warn_of_leftover(&staging.publish()?, reporter);
    Ok(UnpackedPackage {
        dest,
        sha256: verified.sha256(),
        size: verified.size(),
        files: unpacked.files,
        directories: unpacked.directories,
        symlinks: unpacked.symlinks,
        bytes: unpacked.bytes,
    })
}

fn refused(refused: UnpackError, subject: &str) -> Error {
    let advice = refused.advice();
    let error = Error::from(refused).about(subject);
    match (error.kind(), advice) {
        (ErrorKind::ArchiveUnsafe | ErrorKind::ArchiveBroken, Some(advice)) => {
            error.hint(format!("nothing was unpacked; {advice}"))
        }
        (ErrorKind::ArchiveUnsafe | ErrorKind::ArchiveBroken, None) => {
            error.hint("nothing was unpacked; the zip is as it was")
        }
        _ => error,
    }
}

/// `dist/app.zip` becomes `./app`.
fn default_dest(package: &Path) -> Result<PathBuf> {
    let is_zip = package
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    match package.file_stem() {
        Some(stem) if is_zip && stem != "." && stem != ".." => Ok(Path::new(".").join(stem)),
        _ => Err(Error::new(
            ErrorKind::Usage,
            "the package's name does not end in .zip, so no destination follows from it",
        )
        .about(package.display().to_string())
        .hint("name the destination: larder unpack PACKAGE DEST")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_follows_from_the_packages_name() {
        let dest = |package: &str| default_dest(Path::new(package)).ok();
        assert_eq!(dest("dist/app.zip"), Some(PathBuf::from("./app")));
        assert_eq!(dest("app.v1.ZIP"), Some(PathBuf::from("./app.v1")));
        for package in ["app", "app.jar", ".zip", "..", "/", ""] {
            assert_eq!(dest(package), None, "{package}");
        }
    }
}
