//! A zip function: what Lambda states about its package, and the package itself.

use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::lambda::Described;
use crate::package::{Claim, Verified};
use crate::record::{PACKAGE_ZIP, PackageRecord};
use crate::transfer::{Renew, Stats, Target};

use super::package::Item;
use super::{Job, Outcome};

impl Job<'_> {
    pub(super) async fn zip(&self, described: Described) -> Result<Outcome> {
        let item = Item {
            subject: self.subject.to_owned(),
            prefix: String::new(),
        };
        let claim = self.claim(&described)?;
        let (kept, intact) = self.kept_package(&item, &claim).await?;
        let unchanged = kept.is_some();
        let (described, location, verified, stats) = if let Some(verified) = kept {
            (described, None, verified, Stats::default())
        } else {
            let target = self
                .or_interrupted(self.target(described.code()?, claim))
                .await?;
            let mut again = Again {
                job: self,
                location: target.url.redacted(),
                latest: described,
            };
            let (verified, stats) = self.obtain(&item, target, &mut again).await?;
            (again.latest, Some(again.location), verified, stats)
        };
        let package = PackageRecord {
            path: PACKAGE_ZIP.to_owned(),
            size: verified.size(),
            sha256: verified.sha256().hex(),
            code_sha256: described.code_sha256_text().unwrap_or_default().to_owned(),
        };
        Ok(Outcome {
            unpacked: self.unpacked(&item, verified).await?,
            described,
            package: Some(package),
            image: None,
            location,
            stats,
            unchanged,
            intact,
        })
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
        described.claim()
    }

    /// With `--update`: the package of the earlier fetch, when Lambda still states the same and it still verifies.
    /// The second value says whether the unpacked tree is as it was recorded, too.
    async fn kept_package(&self, item: &Item, claim: &Claim) -> Result<(Option<Verified>, bool)> {
        let Some(prior) = self.prior else {
            return Ok((None, false));
        };
        let before = prior.record().package.as_ref();
        let before = before.and_then(|p| Sha256Digest::from_base64(&p.code_sha256).ok());
        if before.is_none() || before != claim.sha256() {
            return Ok((None, false));
        }
        let kept = self.kept(item, prior.path(PACKAGE_ZIP), claim).await?;
        let mut intact = true;
        if kept.is_some()
            && let Some((path, recorded)) = prior.tree()
            && !self.tree_is(path, recorded).await?
        {
            intact = false;
            self.warn(
                self.subject,
                "the unpacked code had been changed here",
                "it is unpacked anew from the verified package",
            );
        }
        Ok((kept, intact))
    }
}

/// Asks GetFunction again when a URL has ended or bytes do not match.
struct Again<'a, 'b> {
    job: &'a Job<'b>,
    latest: Described,
    location: String,
}

impl Renew for Again<'_, '_> {
    async fn renew(&mut self) -> Result<Target> {
        let described = self.job.lambda.describe(self.job.function).await?;
        let claim = self.job.claim(&described)?;
        let target = self.job.target(described.code()?, claim).await?;
        self.latest = described;
        self.location = target.url.redacted();
        Ok(target)
    }
}
