//! Layers: by the versions' ARNs, which are immutable, and by hash only where those differ.

use super::Checker;
use super::wanted::{From, Wanted, WantedZip};
use crate::digest::Sha256Digest;
use crate::drift::{Code, Contents, Layer, LayerResult, LayerStatus, compare, lock, loosened};
use crate::error::{Error, ErrorKind, Result};
use crate::lambda::Listed;
use crate::ops::deployed::Place;
use crate::ops::obtain;

/// What is known of a layer version; kept for the run, since it never changes.
#[derive(Debug, Clone)]
pub(super) enum LayerHash {
    Known(Sha256Digest),
    Missing(ErrorKind, String),
}

impl Checker {
    /// One result for each layer that is expected or deployed.
    pub(super) async fn layers(
        &mut self,
        place: &Place,
        expected: &[Layer],
        listed: &Listed,
        command_line: bool,
    ) -> Result<Vec<LayerResult>> {
        if let [layer] = expected
            && let (Layer::LIST, None, Code::CannotTell(reason)) =
                (layer.label.as_str(), &layer.arn, &layer.code)
        {
            // How many there should be is not known either, so that none can be missing or too many.
            return Ok(vec![LayerResult {
                expected: Some(layer.label.clone()),
                reason: Some(reason.clone()),
                cause: Some(ErrorKind::Usage),
                ..blank(LayerStatus::Unknown)
            }]);
        }
        let deployed: Vec<String> = listed.layers().into_iter().map(|l| l.arn).collect();
        // An ARN without an account is of the function's own.
        let expected: Vec<Layer> = expected
            .iter()
            .map(|layer| Layer {
                arn: layer
                    .arn
                    .as_deref()
                    .map(|arn| lock::with_account(arn, listed.account())),
                ..layer.clone()
            })
            .collect();
        let pairs = pair(&expected, &deployed);
        let mut results = Vec::new();
        let mut furthest = None;
        for (expected, at) in pairs {
            let mut result = match (expected, at) {
                (Some(expected), Some(at)) => {
                    self.layer(place, expected, &deployed[at], command_line)
                        .await?
                }
                (Some(expected), None) => LayerResult {
                    expected: Some(name_of(expected)),
                    reason: Some("it is expected, and not there".to_owned()),
                    ..blank(LayerStatus::Missing)
                },
                (None, Some(at)) => LayerResult {
                    deployed: Some(deployed[at].clone()),
                    reason: Some("it is there, and not expected".to_owned()),
                    ..blank(LayerStatus::Unexpected)
                },
                (None, None) => continue,
            };
            if let (Some(_), Some(at)) = (expected, at) {
                if furthest.is_some_and(|furthest| at < furthest)
                    && result.status == LayerStatus::InSync
                {
                    result.status = LayerStatus::Drifted;
                    result.reason = Some("it is applied in another order".to_owned());
                }
                furthest = furthest.max(Some(at));
            }
            results.push(result);
        }
        if self.options.strict_layers {
            self.must_be_there(place, &mut results).await;
        }
        Ok(results)
    }

    #[expect(
        clippy::too_many_lines,
        reason = "each way in which a layer can be told, in order"
    )]
    async fn layer(
        &mut self,
        place: &Place,
        expected: &Layer,
        deployed: &str,
        command_line: bool,
    ) -> Result<LayerResult> {
        let mut result = LayerResult {
            expected: Some(name_of(expected)),
            deployed: Some(deployed.to_owned()),
            ..blank(LayerStatus::InSync)
        };
        if expected.arn.as_deref() == Some(deployed) {
            return Ok(result);
        }
        let is = |mut result: LayerResult, status, reason: String| {
            result.status = status;
            result.reason = Some(reason);
            result
        };
        let ours = match (&expected.code, &expected.arn) {
            (Code::Unstated, Some(arn)) => match self.layer_hash(place, arn).await? {
                LayerHash::Known(sha256) => Wanted::Zip(WantedZip::plain(sha256, From::Nowhere)),
                LayerHash::Missing(kind, why) => {
                    let status = if self.tells(kind) {
                        LayerStatus::Drifted
                    } else {
                        result.cause = Some(kind);
                        LayerStatus::Unknown
                    };
                    let reason = format!(
                        "another layer version is there, and of the expected one the hash cannot be had: {why}"
                    );
                    return Ok(is(result, status, reason));
                }
            },
            (Code::Unstated, None) => {
                return Ok(is(
                    result,
                    LayerStatus::Unknown,
                    "the source names neither its ARN nor its code".to_owned(),
                ));
            }
            (code, _) => match Box::pin(self.wanted(code, command_line, None)).await {
                Ok(wanted) => wanted,
                Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
                Err(e) => {
                    result.cause = Some(e.kind());
                    return Ok(is(result, LayerStatus::Unknown, e.sentence()));
                }
            },
        };
        let theirs = match self.layer_hash(place, deployed).await? {
            LayerHash::Known(sha256) => sha256,
            LayerHash::Missing(kind, why) => {
                let reason =
                    format!("another layer version is there, and its hash cannot be had: {why}");
                if expected.arn.is_some() && self.tells(kind) {
                    return Ok(is(result, LayerStatus::Drifted, reason));
                }
                result.cause = Some(kind);
                return Ok(is(result, LayerStatus::Unknown, reason));
            }
        };
        result.deployed_sha256 = Some(theirs.base64());
        match ours {
            Wanted::Zip(zip) => {
                result.expected_sha256 = Some(zip.sha256.base64());
                if zip.sha256 == theirs {
                    return Ok(result);
                }
                let ours = match self.options.cache.get(zip.sha256) {
                    Some(contents) => Some(contents),
                    None => match self.expected_package(&zip).await? {
                        Some(package) => self.read(package).await?.1.ok(),
                        None => None,
                    },
                };
                let reason = "another zip is there".to_owned();
                let (Some(ours), true) = (ours, self.options.download) else {
                    return Ok(is(result, LayerStatus::Drifted, reason));
                };
                match self.layer_contents(place, deployed, theirs).await? {
                    Ok(theirs) => {
                        Ok(self.by_contents(result, &ours, &theirs, LayerStatus::Repackaged))
                    }
                    Err(e) => {
                        result.cause = Some(e.kind());
                        Ok(is(result, LayerStatus::Unknown, e.sentence()))
                    }
                }
            }
            Wanted::Directory {
                contents, ignore, ..
            } => {
                if !self.options.download && self.options.cache.get(theirs).is_none() {
                    return Ok(is(
                        result,
                        LayerStatus::Unknown,
                        "a directory is compared by contents, which --no-download leaves out"
                            .to_owned(),
                    ));
                }
                match self.layer_contents(place, deployed, theirs).await? {
                    Ok(theirs) => {
                        let (loose, _) = loosened(&theirs, &ignore);
                        Ok(self.by_contents(result, &contents, &loose, LayerStatus::InSync))
                    }
                    Err(e) => {
                        result.cause = Some(e.kind());
                        Ok(is(result, LayerStatus::Unknown, e.sentence()))
                    }
                }
            }
            Wanted::Unstated | Wanted::Image(_) => Ok(is(
                result,
                LayerStatus::Unknown,
                "its code cannot be compared".to_owned(),
            )),
        }
    }

    fn by_contents(
        &self,
        mut result: LayerResult,
        ours: &Contents,
        theirs: &Contents,
        same: LayerStatus,
    ) -> LayerResult {
        let changes = compare(ours, theirs);
        if changes.is_empty() {
            result.status = match same {
                LayerStatus::Repackaged if self.options.strict => LayerStatus::Drifted,
                same => same,
            };
            if same == LayerStatus::Repackaged {
                result.reason = Some("the same contents are there in another zip".to_owned());
            }
        } else {
            result.status = LayerStatus::Drifted;
            result.reason = Some(super::code::count_changes(&changes));
            result.changes = changes.list;
        }
        result
    }

    async fn layer_contents(
        &self,
        place: &Place,
        arn: &str,
        sha256: Sha256Digest,
    ) -> Result<Result<Contents>> {
        if let Some(contents) = self.options.cache.get(sha256) {
            return Ok(Ok(contents));
        }
        let reporter = std::sync::Arc::clone(&self.reporter);
        match obtain::layer_package(&place.session, &place.lambda, arn, reporter).await {
            Ok(package) => Ok(self.read(package).await?.1),
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            Err(e) => Ok(Err(e)),
        }
    }

    /// The hash of a layer version: one call a run.
    pub(super) async fn layer_hash(&mut self, place: &Place, arn: &str) -> Result<LayerHash> {
        if let Some(known) = self.layer_hashes.get(arn) {
            return Ok(known.clone());
        }
        let described = place.lambda.describe_layer(arn).await;
        let hash = match described.and_then(|layer| layer.code_sha256()) {
            Ok(sha256) => LayerHash::Known(sha256),
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
            Err(e) => {
                self.warn(
                    arn,
                    &format!("this layer version could not be had: {}", e.sentence()),
                    e.hint_text(),
                );
                LayerHash::Missing(e.kind(), e.sentence())
            }
        };
        self.layer_hashes.insert(arn.to_owned(), hash.clone());
        Ok(hash)
    }

    /// Whether layer versions with other ARNs differ where this failure leaves a hash unknown. Who may not ask, or asks for one that is
    /// deleted, will not learn more; a fault passes.
    fn tells(&self, failure: ErrorKind) -> bool {
        !self.options.strict_layers
            && matches!(failure, ErrorKind::NotFound | ErrorKind::AccessDenied)
    }

    /// With `--strict-layers`: every layer version that is deployed must still be there.
    async fn must_be_there(&mut self, place: &Place, results: &mut [LayerResult]) {
        for result in results {
            let Some(arn) = result.deployed.clone() else {
                continue;
            };
            if let Ok(LayerHash::Missing(kind, why)) = self.layer_hash(place, &arn).await {
                result.status = LayerStatus::Unknown;
                result.reason = Some(format!("the layer version cannot be had: {why}"));
                result.cause = Some(kind);
            }
        }
    }
}

fn blank(status: LayerStatus) -> LayerResult {
    LayerResult {
        status,
        expected: None,
        deployed: None,
        expected_sha256: None,
        deployed_sha256: None,
        reason: None,
        cause: None,
        changes: Vec::new(),
    }
}

fn name_of(layer: &Layer) -> String {
    layer.arn.clone().unwrap_or_else(|| layer.label.clone())
}

/// The layer without its version.
fn layer_of(arn: &str) -> &str {
    arn.rsplit_once(':').map_or(arn, |(layer, _)| layer)
}

/// Which deployed layer is held against which expected one: the same version first, then another version of the same layer, then
/// what is left in order. Expected ones come first, in their order; then those that are deployed only.
fn pair<'a>(expected: &'a [Layer], deployed: &[String]) -> Vec<(Option<&'a Layer>, Option<usize>)> {
    let mut taken = vec![false; deployed.len()];
    let mut partner: Vec<Option<usize>> = vec![None; expected.len()];
    let mut take = |partner: &mut Vec<Option<usize>>, fits: &dyn Fn(&Layer, &str) -> bool| {
        for (at, layer) in expected.iter().enumerate() {
            if partner[at].is_none()
                && let Some(found) =
                    (0..deployed.len()).find(|&i| !taken[i] && fits(layer, &deployed[i]))
            {
                taken[found] = true;
                partner[at] = Some(found);
            }
        }
    };
    take(&mut partner, &|layer, arn| {
        layer.arn.as_deref() == Some(arn)
    });
    take(&mut partner, &|layer, arn| {
        layer.arn.as_deref().map(layer_of) == Some(layer_of(arn))
    });
    // What the source knows by no ARN is held against what nothing else was held against.
    take(&mut partner, &|layer, _| layer.arn.is_none());
    let mut pairs: Vec<_> = expected.iter().map(Some).zip(partner).collect();
    pairs.extend(
        taken
            .iter()
            .enumerate()
            .filter(|(_, taken)| !**taken)
            .map(|(at, _)| (None, Some(at))),
    );
    pairs
}

/// The error behind layers that could not be told.
pub(super) fn unknown(results: &[LayerResult]) -> Option<Error> {
    let layer = results.iter().find(|l| l.status == LayerStatus::Unknown)?;
    let name = layer.deployed.as_deref().or(layer.expected.as_deref());
    Some(
        Error::new(
            layer.cause.unwrap_or(ErrorKind::Usage),
            layer.reason.clone().unwrap_or_default(),
        )
        .about(name.unwrap_or_default()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(arns: &[&str]) -> Vec<Layer> {
        arns.iter()
            .map(|arn| Layer {
                label: (*arn).to_owned(),
                arn: arn.contains(':').then(|| (*arn).to_owned()),
                code: Code::Unstated,
            })
            .collect()
    }

    #[test]
    fn layers_are_paired_by_version_then_by_layer_then_by_place() {
        for (expected, deployed, want) in [
            (
                &["a:1", "b:1"][..],
                &["a:1", "b:1"][..],
                &[(Some(0), Some(0)), (Some(1), Some(1))][..],
            ),
            (
                &["a:1", "b:1"],
                &["b:1", "a:1"],
                &[(Some(0), Some(1)), (Some(1), Some(0))],
            ),
            (
                &["a:1", "b:1"],
                &["b:2"],
                &[(Some(0), None), (Some(1), Some(0))],
            ),
            (
                &["b:1"],
                &["x:1", "b:1"],
                &[(Some(0), Some(1)), (None, Some(0))],
            ),
            (&["Logical"], &["x:1"], &[(Some(0), Some(0))]),
            (&[], &["x:1"], &[(None, Some(0))]),
        ] {
            let deployed: Vec<String> = deployed.iter().map(ToString::to_string).collect();
            let ours = layers(expected);
            let pairs: Vec<(Option<usize>, Option<usize>)> = pair(&ours, &deployed)
                .into_iter()
                .map(|(e, at)| {
                    let e = e.and_then(|e| ours.iter().position(|o| o == e));
                    (e, at)
                })
                .collect();
            assert_eq!(pairs, want, "{expected:?} {deployed:?}");
        }
    }
}
