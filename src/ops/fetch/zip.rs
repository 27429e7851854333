//! A zip function: its package, transferred or found again, verified and unpacked.

use std::sync::Arc;

use crate::digest::{Hasher, Sha256Digest, tree_hashes};
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::files::{self, FilesError};
use crate::lambda::Described;
use crate::package::{Claim, CodeLocation, Received, Verified};
use crate::presigned::PresignedUrl;
use crate::record::{CODE, PACKAGE_ZIP, PackageRecord, UnpackedRecord};
use crate::transfer::{self, Context, Renew, Stats, Target};
use crate::unpack::{self, Duplicates, UnpackError};

use super::prior::Prior;
use super::{Job, Outcome, blocking, interrupted};

/// The spool's name in the staging's scratch directory.
const SPOOL: &str = "spool";
/// The name of the copy of an earlier package there.
const COPY: &str = "copy";

impl Job<'_> {
    pub(super) async fn zip(&self, described: Described) -> Result<Outcome> {
        let claim = self.claim(&described)?;
        if let Some(verified) = self.kept(&claim).await? {
            self.staging.keep(COPY, PACKAGE_ZIP)?;
            return self
                .finish(described, verified, Stats::default(), true)
                .await;
        }
        let spool = self.staging.create_scratch_file(SPOOL, 0o644)?;
        let target = self.target(&described, claim)?;
        let mut again = Again {
            job: self,
            latest: described,
        };
        let session = self.session;
        let context = Context {
            http: session.http(),
            retry: *session.retry(),
            patience: session.read_timeout(),
            reporter: &*self.reporter,
        };
        let download = transfer::download(context, self.subject, target, &mut again, spool);
        let (verified, stats) = self.or_interrupted(download).await?;
        self.staging.keep(SPOOL, PACKAGE_ZIP)?;
        let described = again.latest;
        self.finish(described, verified, stats, false).await
    }

    /// What Lambda states about the package, checked against what the user expects.
    fn claim(&self, described: &Described) -> Result<Claim> {
        let stated = described.code_sha256()?;
        if let Some(expected) = self.options.expect_sha256
            && expected != stated
        {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!(
                    "the deployed package is {} where you expect {}",
                    stated.base64(),
                    expected.base64()
                ),
            )
            .about(self.subject)
            .hint("nothing was downloaded: Lambda states another CodeSha256"));
        }
        let size = described.code_size().ok_or_else(|| {
            Error::new(ErrorKind::Mismatch, "Lambda states no CodeSize")
                .about(self.subject)
                .hint("without it no package can be verified, so none is fetched")
        })?;
        Ok(Claim::lambda(stated, size))
    }

    fn target(&self, described: &Described, claim: Claim) -> Result<Target> {
        match described.code()? {
            CodeLocation::Zip(url) => Ok(Target {
                url: self.reachable(url),
                claim,
            }),
            CodeLocation::Object(object) => Err(Error::new(
                ErrorKind::NoCode,
                format!(
                    "the code is in your own bucket, s3://{}/{}, which this version of larder does not read",
                    object.bucket, object.key
                ),
            )
            .about(self.subject)),
            CodeLocation::Image(_) => Err(Error::new(
                ErrorKind::Unsettled,
                "the function became an image while it was fetched",
            )
            .about(self.subject)
            .hint("run again")),
        }
    }

    /// An emulator states AWS's own host names, unsigned; with an S3 endpoint set, the object is asked for there.
    fn reachable(&self, url: &PresignedUrl) -> PresignedUrl {
        let moved = self
            .session
            .s3_endpoint()
            .and_then(|endpoint| url.at_endpoint(endpoint));
        if let Some(moved) = &moved {
            tracing::info!("{url} is not signed; asking the S3 endpoint for {moved}");
        }
        moved.unwrap_or_else(|| url.clone())
    }

    /// With `--update`: the package of the earlier fetch, when Lambda still states the same and it still verifies.
    async fn kept(&self, claim: &Claim) -> Result<Option<Verified>> {
        let Some(prior) = self.prior else {
            return Ok(None);
        };
        let before = prior.record().package.as_ref();
        let before = before.and_then(|p| Sha256Digest::from_base64(&p.code_sha256).ok());
        if before.is_none() || before != claim.sha256() {
            return Ok(None);
        }
        self.reporter.report(&Event::Verifying {
            size: claim.size().unwrap_or_default(),
        });
        let copied = self.copy_prior(prior).await;
        let problem = match copied {
            Ok(received) => match received.verify(claim) {
                Ok(verified) => {
                    self.warn_of_local_changes(prior).await?;
                    return Ok(Some(verified));
                }
                Err(mismatch) => mismatch.to_string(),
            },
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
            Err(e) => e.to_string(),
        };
        self.warn(
            &format!("the package kept here is not what it was: {problem}"),
            "it is fetched again",
        );
        Ok(None)
    }

    /// Copies the earlier package into the staging, hashing it on the way.
    async fn copy_prior(&self, prior: &Prior) -> Result<Received> {
        let (path, cancel) = (prior.package_path(), self.cancel.clone());
        let staging = Arc::clone(&self.staging);
        blocking(move || {
            let from = files::open_read(&path)?;
            let to = staging.create_scratch_file(COPY, 0o644)?;
            let mut tee = Tee { from, to: &to };
            let mut hasher = Hasher::new();
            hasher
                .read_all(&mut tee, &|| cancel.is_cancelled())
                .map_err(|e| match e.kind() {
                    std::io::ErrorKind::Interrupted => interrupted(),
                    _ => FilesError::io("copy", &path, e).into(),
                })?;
            let size = hasher.bytes();
            Ok(Received::hashed(to, size, hasher.finish()))
        })
        .await
    }

    /// Says when the unpacked tree was changed by hand: the update replaces it.
    async fn warn_of_local_changes(&self, prior: &Prior) -> Result<()> {
        let Some((path, recorded)) = prior.tree() else {
            return Ok(());
        };
        let (recorded, cancel) = (recorded.to_owned(), self.cancel.clone());
        let same = blocking(move || {
            let nodes = match files::read_tree(&path, &|| cancel.is_cancelled()) {
                Ok(nodes) => nodes,
                Err(_) if cancel.is_cancelled() => return Err(interrupted()),
                Err(_) => return Ok(false),
            };
            let nodes = nodes.iter().map(|(path, node)| (path.as_slice(), node));
            Ok(tree_hashes(nodes).tree == recorded)
        })
        .await?;
        if !same {
            self.warn(
                "the unpacked code had been changed here",
                "it is unpacked anew from the verified package",
            );
        }
        Ok(())
    }

    async fn finish(
        &self,
        described: Described,
        verified: Verified,
        stats: Stats,
        unchanged: bool,
    ) -> Result<Outcome> {
        let package = PackageRecord {
            path: PACKAGE_ZIP.to_owned(),
            size: verified.size(),
            sha256: verified.sha256().hex(),
            code_sha256: described.code_sha256_text().unwrap_or_default().to_owned(),
        };
        let location = match described.code()? {
            CodeLocation::Zip(url) => Some(url.redacted()),
            _ => None,
        };
        let unpacked = if self.options.unpack {
            Some(self.unpack(verified).await?)
        } else {
            None
        };
        Ok(Outcome {
            described,
            package: Some(package),
            unpacked,
            image: None,
            location,
            stats,
            unchanged,
        })
    }

    async fn unpack(&self, package: Verified) -> Result<UnpackedRecord> {
        let (staging, reporter) = (Arc::clone(&self.staging), Arc::clone(&self.reporter));
        let (limits, cancel) = (self.options.limits.clone(), self.cancel.clone());
        let subject = self.subject.to_owned();
        // Not raced against the interrupt: the workers read the flag themselves, and have ended when this returns.
        blocking(move || {
            let code = staging.create_dir(CODE)?;
            let options = unpack::Options {
                hash_contents: true,
                cancel: &cancel,
                reporter: &*reporter,
            };
            let unpacked = unpack::plan(&package, &limits)
                .and_then(|plan| {
                    unpack::run(&package, &plan, std::os::fd::AsFd::as_fd(&code), &options)
                })
                .map_err(|e| not_unpacked(e).about(subject))?;
            let record = UnpackedRecord {
                path: CODE.to_owned(),
                files: unpacked.files,
                directories: unpacked.directories,
                symlinks: unpacked.symlinks,
                bytes: unpacked.bytes,
                h1: None,
                h1_reason: None,
                tree: String::new(),
                duplicates: match limits.duplicates {
                    Duplicates::Refuse => None,
                    Duplicates::First => Some("first".to_owned()),
                    Duplicates::Last => Some("last".to_owned()),
                },
            };
            Ok(match unpacked.hashes {
                Some(hashes) => record.with_hashes(hashes),
                None => record,
            })
        })
        .await
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
}

impl std::io::Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        std::io::Write::write_all(&mut self.to, &buffer[..count])?;
        Ok(count)
    }
}

/// Asks GetFunction again when a URL has ended or bytes do not match.
struct Again<'a, 'b> {
    job: &'a Job<'b>,
    latest: Described,
}

impl Renew for Again<'_, '_> {
    async fn renew(&mut self) -> Result<Target> {
        let described = self.job.lambda.describe(self.job.function).await?;
        let claim = self.job.claim(&described)?;
        let target = self.job.target(&described, claim)?;
        self.latest = described;
        Ok(target)
    }
}
