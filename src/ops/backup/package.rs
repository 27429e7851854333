//! A package on its way from Lambda to the store: each once, however many versions have it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::region::{Job, Trouble};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind};
use crate::files;
use crate::package::{Claim, CodeLocation};
use crate::store::{Descriptor, PACKAGE, Presence};
use crate::task::blocking;
use crate::transfer::{self, Renew, Stats};

/// What a permit of the spool stands for, in bytes.
const PERMIT: u64 = 1024;

/// The permits for so many bytes.
pub(super) fn permits(bytes: u64) -> u32 {
    let most = u64::from(u32::MAX >> 3);
    u32::try_from(bytes.div_ceil(PERMIT).clamp(1, most)).unwrap_or(1)
}

/// Which packages and blobs of images are in the store, and which are on their way.
#[derive(Default)]
pub(super) struct Packages {
    known: Mutex<HashSet<Sha256Digest>>,
    coming: Mutex<HashMap<Sha256Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Packages {
    pub(super) fn know(&self, digests: impl Iterator<Item = Sha256Digest>) {
        lock(&self.known).extend(digests);
    }

    /// Whether it is known, and from now on so.
    pub(super) fn insert(&self, digest: Sha256Digest) -> bool {
        lock(&self.known).insert(digest)
    }

    pub(super) fn holds(&self, digest: &Sha256Digest) -> bool {
        lock(&self.known).contains(digest)
    }

    pub(super) fn turn(&self, digest: Sha256Digest) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.coming).entry(digest).or_default())
    }

    pub(super) fn leave(&self, digest: &Sha256Digest) {
        lock(&self.coming).remove(digest);
    }
}

impl Job<'_> {
    /// Makes sure that the package is in the store.
    pub(super) async fn package(
        &self,
        subject: &str,
        code: &CodeLocation,
        claim: Claim,
        renew: &mut impl Renew,
    ) -> Result<(Descriptor, Stats), Trouble> {
        let (Some(digest), Some(size)) = (claim.sha256(), claim.size()) else {
            let error = Error::new(ErrorKind::Mismatch, "Lambda states no digest or size");
            return Err(Trouble::of(error.about(subject)));
        };
        let turn = self.packages.turn(digest);
        let held = turn.lock().await;
        let done = self
            .package_alone(subject, code, claim, (digest, size), renew)
            .await;
        drop(held);
        self.packages.leave(&digest);
        done
    }

    async fn package_alone(
        &self,
        subject: &str,
        code: &CodeLocation,
        claim: Claim,
        (digest, size): (Sha256Digest, u64),
        renew: &mut impl Renew,
    ) -> Result<(Descriptor, Stats), Trouble> {
        let known = self.packages.holds(&digest)
            || self.store.has(&digest, size).await.map_err(Trouble::Run)? == Presence::Present;
        if known {
            self.packages.insert(digest);
            let descriptor = Descriptor::new(PACKAGE, &digest, size);
            return Ok((descriptor, Stats::default()));
        }
        let most = permits(self.options.spool_limit);
        let _room = Arc::clone(self.spools)
            .acquire_many_owned(permits(size).min(most))
            .await
            .map_err(|e| {
                Trouble::Run(Error::new(ErrorKind::Bug, "the spool's count is closed").because(e))
            })?;
        // The URL may have ended while the package waited for room: the transfer then asks for another.
        let target = super::super::target(self.session, code, claim)
            .await
            .map_err(Trouble::of)?;
        let directory = self.spool_dir();
        let spool = blocking(move || Ok(files::unnamed(&directory)?))
            .await
            .map_err(Trouble::Run)?;
        let context = self.session.transfers(&**self.tally);
        let (verified, stats) = transfer::download(context, subject, target, renew, spool)
            .await
            .map_err(|e| Trouble::of(still_listed(e, subject)))?;
        self.tally.downloaded(stats.bytes);
        let put = self.store.put_package(&verified).await;
        self.packages.insert(verified.sha256());
        Ok((put.map_err(Trouble::Run)?, stats))
    }

    /// Beside a local store; else where the user says.
    pub(super) fn spool_dir(&self) -> std::path::PathBuf {
        match (&self.options.spool_dir, self.store.local()) {
            (Some(directory), _) => directory.clone(),
            (None, Some(store)) => store.to_owned(),
            (None, None) => std::env::temp_dir(),
        }
    }
}

/// Only a function that is not there is gone. One that is there without its package is a loss to be told of.
fn still_listed(error: Error, subject: &str) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let hint = error.hint_text().map(ToOwned::to_owned);
    let without = Error::new(ErrorKind::NoCode, "its package cannot be had")
        .about(subject)
        .because(error);
    match hint {
        Some(hint) => without.hint(hint),
        None => without,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
