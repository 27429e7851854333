//! One zip of a fetch, the function's own or a layer's: transferred or found again, verified, unpacked.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::digest::{Hasher, tree_hashes};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::files::{self, FilesError, Staging};
use crate::package::{Claim, CodeLocation, Received, Verified};
use crate::record::{CODE, PACKAGE_ZIP, UnpackedRecord};
use crate::task::blocking;
use crate::transfer::{self, Renew, Stats, Target};
use crate::unpack::{self, Duplicates, Limits, UnpackError};

use super::Job;

/// Which zip it is.
#[derive(Debug, Clone)]
pub(in crate::ops) struct Item {
    /// How messages call it.
    pub(in crate::ops) subject: String,
    /// Where it lies below the destination: empty, or a directory with `/` at its end.
    pub(in crate::ops) prefix: String,
}

impl Item {
    fn at(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A name in the staging's scratch directory.
    fn scratch(&self, name: &str) -> String {
        self.at(name).replace('/', "-")
    }
}

impl Job<'_> {
    /// Fetches the package that `target` names, into its place in the staging.
    pub(super) async fn obtain(
        &self,
        item: &Item,
        target: Target,
        renew: &mut impl Renew,
    ) -> Result<(Verified, Stats)> {
        let name = item.scratch("spool");
        let spool = self.staging.create_scratch_file(&name, 0o644)?;
        let context = self.session.transfers(&*self.reporter);
        let download = transfer::download(context, &item.subject, target, renew, spool);
        let obtained = self.or_interrupted(download).await?;
        self.keep(item, &name)?;
        Ok(obtained)
    }

    /// Moves a verified package to its place, whose directory is made only now: one without a package is never there.
    fn keep(&self, item: &Item, scratch: &str) -> Result<()> {
        if !item.prefix.is_empty() {
            self.staging.create_dir(&item.prefix)?;
        }
        Ok(self.staging.keep(scratch, &item.at(PACKAGE_ZIP))?)
    }

    /// What to fetch for a location that Lambda named. `claim` is what it stated about the bytes.
    pub(super) async fn target(&self, code: &CodeLocation, claim: Claim) -> Result<Target> {
        crate::ops::target(self.session, code, claim).await
    }

    /// With `--update`: the package that an earlier fetch left at `path`, if it still is what `claim` says. It is
    /// copied into its place in the staging, hashed on the way.
    pub(super) async fn kept(
        &self,
        item: &Item,
        path: PathBuf,
        claim: &Claim,
    ) -> Result<Option<Verified>> {
        self.reporter.report(&Event::Verifying {
            size: claim.size().unwrap_or_default(),
        });
        let name = item.scratch("copy");
        let problem = match self.copy(path, name.clone()).await? {
            Ok(received) => match received.verify(claim) {
                Ok(verified) => {
                    self.keep(item, &name)?;
                    return Ok(Some(verified));
                }
                Err(mismatch) => mismatch.to_string(),
            },
            Err(unread) => unread.to_string(),
        };
        self.warn(
            &item.subject,
            &format!("the package kept here is not what it was: {problem}"),
            "it is fetched again",
        );
        Ok(None)
    }

    /// The inner error is one of reading what is at `path`; the outer one is any other.
    async fn copy(
        &self,
        path: PathBuf,
        scratch: String,
    ) -> Result<std::result::Result<Received, FilesError>> {
        let (staging, cancel) = (Arc::clone(&self.staging), self.cancel.clone());
        blocking(move || {
            let from = match files::open_read(&path) {
                Ok(from) => from,
                Err(unread) => return Ok(Err(unread)),
            };
            let to = staging.create_scratch_file(&scratch, 0o644)?;
            let mut hasher = Hasher::new();
            let mut tee = Tee {
                from,
                to: &to,
                unwritten: None,
            };
            let read = hasher.read_all(&mut tee, &|| cancel.is_cancelled());
            if let Some(e) = tee.unwritten {
                return Err(FilesError::io("write", staging.scratch().join(&scratch), e).into());
            }
            match read {
                Ok(()) => {
                    let size = hasher.bytes();
                    Ok(Ok(Received::hashed(to, size, hasher.finish())))
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Err(Error::interrupted()),
                Err(e) => Ok(Err(FilesError::unread("read", &path, e))),
            }
        })
        .await
    }

    /// Whether the tree at `path` still has the `t1` hash that was recorded.
    pub(super) async fn tree_is(&self, path: PathBuf, recorded: String) -> Result<bool> {
        let cancel = self.cancel.clone();
        blocking(move || {
            let nodes = match files::read_tree(&path, &|| cancel.is_cancelled()) {
                Ok(nodes) => nodes,
                Err(_) if cancel.is_cancelled() => return Err(Error::interrupted()),
                Err(_) => return Ok(false),
            };
            let nodes = nodes.iter().map(|(path, node)| (path.as_slice(), node));
            Ok(tree_hashes(nodes).tree == recorded)
        })
        .await
    }

    /// Unpacks a package to `code/` in its place, unless the user wants none.
    pub(super) async fn unpacked(
        &self,
        item: &Item,
        package: Verified,
    ) -> Result<Option<UnpackedRecord>> {
        if !self.options.unpack {
            return Ok(None);
        }
        let unpacking = Unpacking {
            staging: Arc::clone(&self.staging),
            reporter: Arc::clone(&self.reporter),
            limits: self.options.limits.clone(),
            cancel: self.cancel.clone(),
        };
        unpacking.run(item, package).await.map(Some)
    }
}

/// What an unpacking into a staging takes.
pub(in crate::ops) struct Unpacking {
    pub(in crate::ops) staging: Arc<Staging>,
    pub(in crate::ops) reporter: Arc<dyn Reporter>,
    pub(in crate::ops) limits: Limits,
    pub(in crate::ops) cancel: CancellationToken,
}

impl Unpacking {
    /// Unpacks a package to `code/` in its place.
    pub(in crate::ops) async fn run(
        self,
        item: &Item,
        package: Verified,
    ) -> Result<UnpackedRecord> {
        let Self {
            staging,
            reporter,
            limits,
            cancel,
        } = self;
        let (place, subject) = (item.at(CODE), item.subject.clone());
        // Not raced against the interrupt: the workers read the flag themselves, and have ended when this returns.
        blocking(move || {
            let code = staging.create_dir(&place)?;
            let options = unpack::Options {
                hash_contents: true,
                workers: None,
                cancel: &cancel,
                reporter: &*reporter,
            };
            let unpacked = unpack::plan_or_stop(&package, &limits, &|| cancel.is_cancelled())
                .and_then(|plan| unpack::run(&package, &plan, code.as_fd(), &options))
                .map_err(|e| not_unpacked(e).about(subject))?;
            let hashes = unpacked
                .hashes
                .ok_or_else(|| Error::new(ErrorKind::Bug, "the unpacked tree was not hashed"))?;
            Ok(UnpackedRecord {
                path: CODE.to_owned(),
                files: unpacked.files,
                directories: unpacked.directories,
                symlinks: unpacked.symlinks,
                bytes: unpacked.bytes,
                h1: hashes.h1,
                h1_reason: hashes.h1_reason,
                tree: hashes.tree,
                duplicates: duplicates_text(limits.duplicates).map(ToOwned::to_owned),
            })
        })
        .await
    }
}

/// How the record says that a name which stands twice was taken.
pub(super) fn duplicates_text(duplicates: Duplicates) -> Option<&'static str> {
    match duplicates {
        Duplicates::Refuse => None,
        Duplicates::First => Some("first"),
        Duplicates::Last => Some("last"),
    }
}

/// An archive that is refused is still what Lambda runs; says how to keep it.
fn not_unpacked(refused: UnpackError) -> Error {
    let advice = refused.advice();
    let error = Error::from(refused);
    let refused = "the package is authentic but was not unpacked, and nothing was kept";
    match (error.kind(), advice) {
        (ErrorKind::ArchiveUnsafe | ErrorKind::ArchiveBroken, Some(advice)) => {
            error.hint(format!("{refused}; {advice}; --no-unpack keeps the zip"))
        }
        (ErrorKind::ArchiveUnsafe | ErrorKind::ArchiveBroken, None) => {
            error.hint(format!("{refused}; --no-unpack keeps the zip"))
        }
        _ => error,
    }
}

/// Reads from one file and writes what was read to another.
struct Tee<'a> {
    from: std::fs::File,
    to: &'a std::fs::File,
    /// Why what was read could not be written.
    unwritten: Option<std::io::Error>,
}

impl std::io::Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        if let Err(e) = std::io::Write::write_all(&mut self.to, &buffer[..count]) {
            self.unwritten = Some(e);
            return Err(std::io::Error::other("the copy cannot be written"));
        }
        Ok(count)
    }
}
