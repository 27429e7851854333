//! One zip, a function's or a layer's: verified and kept, or kept in quarantine when it is not what AWS states.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::outcome::PackageOutcome;
use super::{Run, is_fatal, lock};
use crate::aws::Session;
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::evidence::bag::Entry;
use crate::evidence::statement::Acquired;
use crate::files;
use crate::package::{Claim, CodeLocation, Received};
use crate::task::blocking;
use crate::transfer::{self, Context, Renew, Stats, Target};

/// The most that is kept of an answer that is not the package, in bytes: more than Lambda takes.
const QUARANTINE_LIMIT: u64 = 512 << 20;
/// Where what is not what AWS states is kept.
const QUARANTINE: &str = "data/quarantine";

/// Which zip it is.
#[derive(Debug)]
pub(super) struct Item {
    /// Of the function or layer version.
    pub(super) arn: String,
    /// Where it goes, from the bag's root.
    pub(super) path: String,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Had {
    /// The bytes are what AWS states.
    Verified(Kept),
    /// They are not; with the reason.
    Refuted(Kept, String),
    /// There are none.
    Not(Error),
}

/// Bytes in the bag.
#[derive(Debug)]
pub(super) struct Kept {
    entry: Entry,
    claim: Option<Claim>,
}

impl Kept {
    pub(super) fn outcome(self, verified: bool) -> PackageOutcome {
        let claim = self.claim.as_ref();
        PackageOutcome {
            path: self.entry.path,
            size: self.entry.size,
            sha256: self.entry.sha256.hex(),
            code_sha256: claim.and_then(Claim::sha256).map(|sha256| sha256.base64()),
            code_size: claim.and_then(Claim::size),
            verified,
        }
    }
}

impl Run<'_> {
    /// Fetches the package at `code` to `item`'s place. `claim` is what AWS stated with the location.
    ///
    /// # Errors
    /// A fatal one.
    pub(super) async fn obtain(
        &self,
        session: &Session,
        item: &Item,
        (code, claim): (&CodeLocation, Result<Claim>),
        renew: &mut (impl Renew + Send),
    ) -> Result<Had> {
        let permit = self.downloads.acquire().await;
        let _permit = permit.map_err(|e| Error::new(ErrorKind::Bug, "no turn came").because(e))?;
        let claim = match claim {
            Ok(claim) => claim,
            Err(e) => return self.unclaimed(session, item, code, e).await,
        };
        let target = match super::super::target(session, code, claim.clone()).await {
            Ok(target) => target,
            Err(e) if is_fatal(e.kind()) => return Err(e),
            Err(e) => return Ok(self.not_had(item, Some(&claim), e)),
        };
        let name = self.spool_name();
        let spool = self.bag.scratch(&name)?;
        let same = spool
            .try_clone()
            .map_err(|e| files::io_error("the spool cannot be opened again", e))?;
        let context = self.context(session);
        let mut noted = Noted {
            renew,
            latest: target.clone(),
        };
        let had = transfer::download(context, &item.arn, target, &mut noted, spool).await;
        match had {
            Ok((verified, stats)) => {
                self.bytes.fetch_add(stats.bytes, Ordering::Relaxed);
                let (sha256, size) = (verified.sha256(), verified.size());
                let entry = self.bag.keep(&name, &item.path, sha256, size)?;
                let kept = Kept {
                    entry,
                    claim: Some(noted.latest.claim),
                };
                self.note(item, "verified", &kept, Some(&stats), None);
                Ok(Had::Verified(kept))
            }
            Err(e) if e.kind() == ErrorKind::Mismatch => {
                let target = noted.latest;
                self.quarantine(session, item, target, (name, same), e)
                    .await
            }
            Err(e) if is_fatal(e.kind()) => Err(e),
            Err(e) => {
                // What came of it is of no use to anybody, and takes room.
                let _ = same.set_len(0);
                let claim = noted.latest.claim;
                Ok(self.not_had(item, Some(&claim), e))
            }
        }
    }

    /// Keeps bytes that were refuted: those that came, or where they were dropped already, what is served now.
    async fn quarantine(
        &self,
        session: &Session,
        item: &Item,
        target: Target,
        (name, spool): (String, std::fs::File),
        error: Error,
    ) -> Result<Had> {
        let cancel = self.cancel.clone();
        let read = blocking(move || {
            Received::read(spool, &|| cancel.is_cancelled())
                .map_err(|e| files::io_error("the spool cannot be read back", e))
        });
        let received = read.await?;
        if Some(received.size()) == target.claim.size() {
            let (size, sha256) = (received.size(), received.sha256());
            if received.verify(&target.claim).is_err() {
                return self.refute(
                    item,
                    &name,
                    (sha256, size),
                    Some(target.claim),
                    &error,
                    &json!({}),
                );
            }
        }
        self.as_served(session, item, target, error).await
    }

    /// AWS states nothing that could be verified: what is served is kept all the same.
    async fn unclaimed(
        &self,
        session: &Session,
        item: &Item,
        code: &CodeLocation,
        error: Error,
    ) -> Result<Had> {
        match super::super::target(session, code, Claim::local()).await {
            Ok(target) => self.as_served(session, item, target, error).await,
            Err(e) if is_fatal(e.kind()) => Err(e),
            Err(e) => Ok(self.not_had(item, None, e)),
        }
    }

    async fn as_served(
        &self,
        session: &Session,
        item: &Item,
        target: Target,
        error: Error,
    ) -> Result<Had> {
        let name = self.spool_name();
        let spool = self.bag.scratch(&name)?;
        let context = self.context(session);
        let claim = target.claim;
        let taken =
            transfer::as_served(context, &item.arn, &target.url, QUARANTINE_LIMIT, spool).await;
        let served = match taken {
            Ok(served) => served,
            Err(e) if is_fatal(e.kind()) => return Err(e),
            // What is known of the mismatch counts, not that it could not be had once more.
            Err(_) => return Ok(self.not_had(item, Some(&claim), error)),
        };
        let (size, sha256) = (served.received.size(), served.received.sha256());
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let stated = claim.sha256().is_some() && claim.size().is_some();
        if stated && served.status == 200 && served.received.verify(&claim).is_ok() {
            let entry = self.bag.keep(&name, &item.path, sha256, size)?;
            let kept = Kept {
                entry,
                claim: Some(claim),
            };
            self.note(item, "verified", &kept, None, Some(&error));
            return Ok(Had::Verified(kept));
        }
        let how = json!({"status": served.status, "content_type": served.content_type, "truncated": served.truncated});
        self.refute(
            item,
            &name,
            (sha256, size),
            stated.then_some(claim),
            &error,
            &how,
        )
    }

    /// Moves bytes to quarantine, with a note beside them that says what they are not.
    fn refute(
        &self,
        item: &Item,
        spool: &str,
        (sha256, size): (Sha256Digest, u64),
        claim: Option<Claim>,
        error: &Error,
        how: &serde_json::Value,
    ) -> Result<Had> {
        let below = item.path.strip_prefix("data/").unwrap_or(&item.path);
        let path = format!("{QUARANTINE}/{below}");
        let entry = self.bag.keep(spool, &path, sha256, size)?;
        let kept = Kept { entry, claim };
        let claim = kept.claim.as_ref();
        let reason = super::outcome::Trouble::of(error).reason;
        let note = json!({
            "mismatch": true,
            "arn": item.arn,
            "claimed": {"code_sha256": claim.and_then(Claim::sha256).map(|d| d.base64()),
                "sha256": claim.and_then(Claim::sha256).map(|d| d.hex()), "size": claim.and_then(Claim::size)},
            "computed": {"sha256": sha256.hex(), "size": size},
            "served": how,
            "reason": reason,
            "warning": "these bytes are not what AWS states; never run or unpack them",
        });
        // JSON values always serialize.
        let mut json = serde_json::to_vec_pretty(&note).unwrap_or_default();
        json.push(b'\n');
        self.document(&format!("{path}.mismatch.json"), &json)?;
        self.note(item, "quarantined", &kept, None, Some(error));
        Ok(Had::Refuted(kept, reason))
    }

    fn not_had(&self, item: &Item, claim: Option<&Claim>, error: Error) -> Had {
        let object = self.log.take_object(&item.arn);
        self.log.note(
            "package",
            json!({"subject": item.arn, "result": "not_had", "path": null,
                "claimed": {"code_sha256": claim.and_then(Claim::sha256).map(|d| d.base64()), "size": claim.and_then(Claim::size)},
                "computed": null, "object": object, "reason": super::outcome::Trouble::of(&error).reason}),
        );
        Had::Not(error)
    }

    /// Notes what was kept, in the log and for the statement.
    fn note(
        &self,
        item: &Item,
        result: &str,
        kept: &Kept,
        stats: Option<&Stats>,
        error: Option<&Error>,
    ) {
        let (claim, entry) = (kept.claim.as_ref(), &kept.entry);
        let object = self.log.take_object(&item.arn);
        let transfer = stats.map(|s| {
            json!({"attempts": s.attempts, "requests": s.requests, "resumed": s.resumed,
                "url_refreshes": s.url_refreshes, "code_changes": s.code_changes, "bytes": s.bytes})
        });
        self.log.note(
            "package",
            json!({"subject": item.arn, "result": result, "path": entry.path,
                "claimed": {"code_sha256": claim.and_then(Claim::sha256).map(|d| d.base64()), "size": claim.and_then(Claim::size)},
                "computed": {"sha256": entry.sha256.hex(), "size": entry.size},
                "object": object, "transfer": transfer,
                "reason": error.map(|e| super::outcome::Trouble::of(e).reason)}),
        );
        lock(&self.acquired).push(Acquired {
            arn: item.arn.clone(),
            path: entry.path.clone(),
            sha256: entry.sha256,
            claimed: claim.and_then(Claim::sha256),
        });
    }

    fn context<'c>(&'c self, session: &'c Session) -> Context<'c> {
        session.transfers(&*self.log)
    }

    fn spool_name(&self) -> String {
        format!("spool-{}", self.spools.fetch_add(1, Ordering::Relaxed))
    }
}

/// Keeps what was asked for last.
struct Noted<'a, R> {
    renew: &'a mut R,
    latest: Target,
}

impl<R: Renew + Send> Renew for Noted<'_, R> {
    async fn renew(&mut self) -> Result<Target> {
        let target = self.renew.renew().await?;
        self.latest = target.clone();
        Ok(target)
    }
}
