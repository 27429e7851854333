//! The layers of a function, with `--layers`: each verified and unpacked like the function itself.

use std::collections::HashSet;
use std::io::Write as _;

use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::files::{self, FilesError};
use crate::lambda::{Answer, Described, DescribedLayer};
use crate::package::{Claim, CodeLocation, Verified};
use crate::record::{LayerRecord, PACKAGE_ZIP, Status};
use crate::transfer::{Renew, Stats, Target};

use super::Job;
use super::package::Item;

/// GetLayerVersionByArn's JSON.
pub(in crate::ops) const LAYER_JSON: &str = "layer.json";
/// The largest such JSON that is read back, in bytes.
pub(super) const MAX_LAYER_JSON: u64 = 16 << 20;

/// What became of the layers.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) records: Vec<LayerRecord>,
    /// Bytes received.
    pub(super) bytes: u64,
    /// Why the first one that could not be had could not.
    pub(super) failure: Option<Error>,
}

impl Job<'_> {
    /// Fetches the layer versions of `described`, each once. One that is deleted or denied is recorded and warned about.
    ///
    /// # Errors
    /// A layer failed in any other way: then the fetch fails as it would for the function's own package.
    pub(super) async fn layers(&self, described: &Described) -> Result<Layers> {
        let mut out = Layers::default();
        for Named { arn, size, path } in named(described)? {
            match self.layer(arn, size, path).await? {
                Had::Layer(record, bytes) => {
                    out.records.push(*record);
                    out.bytes += bytes;
                }
                Had::Missing(status, error) => {
                    let mut reason = error.message().to_owned();
                    for cause in error.causes() {
                        reason.push_str(": ");
                        reason.push_str(&cause);
                    }
                    let hint = error
                        .hint_text()
                        .unwrap_or("the function is kept without it");
                    self.warn(arn, &format!("this layer could not be had: {reason}"), hint);
                    out.records.push(LayerRecord {
                        arn: arn.to_owned(),
                        status,
                        path: None,
                        size: None,
                        sha256: None,
                        code_sha256: None,
                        reason: Some(reason),
                        unpacked: None,
                    });
                    out.failure.get_or_insert_with(|| {
                        Error::new(
                            error.kind(),
                            "a layer could not be had, the function is kept",
                        )
                        .about(arn)
                    });
                }
            }
        }
        Ok(out)
    }

    /// One layer version, of which the function's answer states the size.
    async fn layer(&self, arn: &str, size: Option<u64>, path: String) -> Result<Had> {
        let item = Item {
            subject: arn.to_owned(),
            prefix: format!("{path}/"),
        };
        let fetched = if let Some(kept) = self.kept_layer(&item, arn, size, &path).await? {
            kept
        } else {
            // Only Lambda's word that a layer is gone or denied makes it a missing one. What fails after that fails
            // the fetch.
            let described = match self.or_interrupted(self.lambda.describe_layer(arn)).await {
                Ok(described) => described,
                Err(error) => return Had::missing(error),
            };
            match described.code().cloned() {
                Ok(code) => self.fetched_layer(&item, arn, described, &code).await?,
                Err(error) => return Had::missing(error),
            }
        };
        let FetchedLayer {
            verified,
            json,
            code_sha256,
            status,
            stats,
        } = fetched;
        let name = format!("{path}/{LAYER_JSON}");
        let mut file = self.staging.create_file(&name, 0o644)?;
        file.write_all(&json)
            .map_err(|e| FilesError::io("write", self.staging.path().join(&name), e))?;
        let (size, sha256) = (verified.size(), verified.sha256().hex());
        let record = LayerRecord {
            arn: arn.to_owned(),
            status,
            path: Some(path),
            size: Some(size),
            sha256: Some(sha256),
            code_sha256: Some(code_sha256),
            reason: None,
            unpacked: self.unpacked(&item, verified).await?,
        };
        Ok(Had::Layer(Box::new(record), stats.bytes))
    }

    /// A layer version never changes: with `--update`, one that is kept and verifies costs no call. Its record is only
    /// believed as far as the kept answer, and the size that Lambda states now, agree with it.
    async fn kept_layer(
        &self,
        item: &Item,
        arn: &str,
        size: Option<u64>,
        path: &str,
    ) -> Result<Option<FetchedLayer>> {
        let Some(prior) = self.prior else {
            return Ok(None);
        };
        let before = prior.record().layers.iter().find(|layer| layer.arn == arn);
        let Some(before) = before.filter(|layer| layer.path.is_some()) else {
            return Ok(None);
        };
        let json = files::read_small(&prior.path(path).join(LAYER_JSON), MAX_LAYER_JSON);
        let agreed = json
            .ok()
            .and_then(|json| Some((agreed(before, path, size, &json)?, json)));
        let Some(((claim, code_sha256), json)) = agreed else {
            self.warn(
                arn,
                "what is recorded about the layer kept here contradicts itself or Lambda",
                "it is fetched again",
            );
            return Ok(None);
        };
        let kept = self
            .kept(item, prior.path(path).join(PACKAGE_ZIP), &claim)
            .await?;
        Ok(kept.map(|verified| FetchedLayer {
            verified,
            json,
            code_sha256,
            status: Status::Unchanged,
            stats: Stats::default(),
        }))
    }

    async fn fetched_layer(
        &self,
        item: &Item,
        arn: &str,
        described: DescribedLayer,
        code: &CodeLocation,
    ) -> Result<FetchedLayer> {
        let claim = described.claim()?;
        let target = self.or_interrupted(self.target(code, claim)).await?;
        let mut again = Again {
            job: self,
            arn,
            latest: described,
        };
        let (verified, stats) = self.obtain(item, target, &mut again).await?;
        let described = again.latest;
        Ok(FetchedLayer {
            verified,
            json: described.answer().to_recorded_json(false),
            code_sha256: described.code_sha256_text().unwrap_or_default().to_owned(),
            status: Status::Saved,
            stats,
        })
    }
}

/// A layer version of a function, and where it goes.
pub(super) struct Named<'a> {
    pub(super) arn: &'a str,
    /// As the function's answer states it.
    pub(super) size: Option<u64>,
    /// Below the destination.
    pub(super) path: String,
}

/// The layer versions of a function, each once.
pub(super) fn named(described: &Described) -> Result<Vec<Named<'_>>> {
    let (mut seen, mut names) = (HashSet::new(), HashSet::new());
    let mut out = Vec::new();
    for (arn, size) in described.layers() {
        if !seen.insert(arn) {
            continue;
        }
        let mut name = directory_name(arn)?;
        if !names.insert(name.clone()) {
            // Another account has a layer of that name and version.
            let account = arn.split(':').nth(4).unwrap_or_default();
            name = format!("{name}-{account}");
        }
        let path = format!("layers/{name}");
        out.push(Named { arn, size, path });
    }
    Ok(out)
}

/// What became of one layer version.
enum Had {
    /// It is here; with the count of bytes received for it.
    Layer(Box<LayerRecord>, u64),
    /// Lambda does not give it.
    Missing(Status, Error),
}

impl Had {
    /// # Errors
    /// `error` is not about a layer that is gone or denied.
    fn missing(error: Error) -> Result<Self> {
        match error.kind() {
            ErrorKind::NotFound => Ok(Self::Missing(Status::Gone, error)),
            ErrorKind::AccessDenied => Ok(Self::Missing(Status::Denied, error)),
            _ => Err(error),
        }
    }
}

struct FetchedLayer {
    verified: Verified,
    json: Vec<u8>,
    code_sha256: String,
    status: Status,
    stats: Stats,
}

/// What the bytes of a layer that is kept in `path` must be, with `CodeSha256` as it is recorded. None when the record,
/// the kept answer and the size that Lambda states do not agree.
pub(super) fn agreed(
    before: &LayerRecord,
    path: &str,
    size: Option<u64>,
    json: &[u8],
) -> Option<(Claim, String)> {
    let answer = Answer::parse(json).ok()?;
    let (size, code_sha256) = (size?, before.code_sha256.as_deref()?);
    let sha256 = Sha256Digest::from_base64(code_sha256).ok()?;
    let agree = before.path.as_deref() == Some(path)
        && before.size == Some(size)
        && answer.text("/LayerVersionArn") == Some(&before.arn)
        && answer.size("/Content/CodeSize") == Some(size)
        && answer.text("/Content/CodeSha256") == Some(code_sha256);
    agree.then(|| (Claim::lambda(sha256, size), code_sha256.to_owned()))
}

/// `NAME-VERSION` of `arn:PARTITION:lambda:REGION:ACCOUNT:layer:NAME:VERSION`: always one plain path component.
pub(in crate::ops) fn directory_name(arn: &str) -> Result<String> {
    let parts: Vec<&str> = arn.split(':').collect();
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    match parts[..] {
        ["arn", _, "lambda", _, account, "layer", name, version]
            if [account, name, version].into_iter().all(plain) =>
        {
            Ok(format!("{name}-{version}"))
        }
        _ => Err(Error::new(
            ErrorKind::Service,
            "Lambda names a layer by what is no ARN of a layer version",
        )
        .about(arn)),
    }
}

/// Asks GetLayerVersionByArn again when a URL has ended or bytes do not match.
struct Again<'a, 'b> {
    job: &'a Job<'b>,
    arn: &'a str,
    latest: DescribedLayer,
}

impl Renew for Again<'_, '_> {
    async fn renew(&mut self) -> Result<Target> {
        let described = self.job.lambda.describe_layer(self.arn).await?;
        let claim = described.claim()?;
        let target = self.job.target(described.code()?, claim).await?;
        self.latest = described;
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_named_for_layer_and_version() {
        let of = |arn: &str| directory_name(arn).ok();
        let arn = "arn:aws:lambda:eu-west-1:123456789012:layer:my_layer-x:12";
        assert_eq!(of(arn).as_deref(), Some("my_layer-x-12"));
        for arn in [
            "",
            "my-layer",
            "arn:aws:lambda:eu-west-1:1:layer:l",
            "arn:aws:lambda:eu-west-1:1:layer:../x:1",
            "arn:aws:lambda:eu-west-1:1:layer:x:..",
            "arn:aws:lambda:eu-west-1:1:function:f:1",
        ] {
            assert_eq!(of(arn), None, "{arn}");
        }
    }
}
