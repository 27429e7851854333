//! Layer versions. They never change, so each is kept once however many functions use it.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::OnceCell;

use super::outcome::{LayerOutcome, Trouble, VersionOutcome};
use super::package::{Had, Item};
use super::{Place, Run, is_fatal, lock, plain};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter as _};
use crate::lambda::{Described, DescribedLayer, Lambda};
use crate::record::{PACKAGE_ZIP, Status};
use crate::transfer::{Renew, Target};

/// What became of a layer version; whoever comes second waits.
pub(super) type Cell = Arc<OnceCell<LayerOutcome>>;

impl Run<'_> {
    /// Takes the layer versions of `described` that are not in the bag yet.
    ///
    /// # Errors
    /// A fatal one.
    pub(super) async fn layers_of(
        &self,
        place: &Place,
        described: &Described,
        out: &mut VersionOutcome,
    ) -> Result<()> {
        for (arn, _) in described.layers() {
            let cell = Arc::clone(lock(&self.layers).entry(arn.to_owned()).or_default());
            let layer = cell.get_or_try_init(|| self.layer(place, arn)).await?;
            out.layers.push(arn.to_owned());
            let missing = matches!(layer.status, Status::Gone | Status::Denied);
            if layer.status != Status::Saved && (!missing || self.options.strict_layers) {
                out.lacks(Trouble {
                    kind: match layer.cause {
                        // The function's own bytes are good.
                        Some(ErrorKind::Mismatch) | None => ErrorKind::NoCode,
                        Some(kind) => kind,
                    },
                    reason: format!(
                        "its layer {arn} could not be had: {}",
                        layer.reason.clone().unwrap_or_default()
                    ),
                    hint: layer.hint.clone(),
                });
            }
        }
        Ok(())
    }

    async fn layer(&self, place: &Place, arn: &str) -> Result<LayerOutcome> {
        let mut out = LayerOutcome {
            arn: arn.to_owned(),
            status: Status::Saved,
            package: None,
            reason: None,
            mismatch: false,
            cause: None,
            hint: None,
        };
        let failed = match self.take_layer(place, arn, &mut out).await {
            Ok(()) => None,
            Err(e) if is_fatal(e.kind()) => return Err(e),
            Err(e) => Some(Trouble::of(&e)),
        };
        if let Some(trouble) = failed {
            self.log.report(&Event::Warning {
                subject: arn,
                message: &format!("this layer could not be had: {}", trouble.reason),
                hint: trouble.hint.as_deref(),
            });
            out.status = trouble.status();
            out.mismatch = trouble.kind == ErrorKind::Mismatch;
            out.cause = Some(trouble.kind);
            out.reason = Some(trouble.reason);
            out.hint = trouble.hint;
        }
        self.log.note(
            "layer",
            json!({"arn": arn, "status": out.status, "reason": out.reason,
                "path": out.package.as_ref().map(|package| package.path.as_str())}),
        );
        Ok(out)
    }

    async fn take_layer(&self, place: &Place, arn: &str, out: &mut LayerOutcome) -> Result<()> {
        let directory = directory(arn)?;
        let described = place.lambda.describe_layer(arn).await?;
        let code = described.code().cloned();
        let claim = described.claim();
        let mut again = Again {
            place,
            lambda: &place.lambda,
            arn,
            latest: described,
        };
        let item = Item {
            arn: arn.to_owned(),
            path: format!("{directory}/{PACKAGE_ZIP}"),
        };
        let had = match code {
            Ok(code) => {
                self.obtain(&place.session, &item, (&code, claim), &mut again)
                    .await
            }
            Err(e) => Ok(Had::Not(e)),
        };
        let json = again.latest.answer().to_recorded_json(false);
        self.document(&format!("{directory}/layer.json"), &json)?;
        match had? {
            Had::Verified(kept) => {
                out.package = Some(kept.outcome(true));
                Ok(())
            }
            Had::Refuted(kept, reason) => {
                let package = kept.outcome(false);
                let reason = format!(
                    "{reason}; what was served is in quarantine: {}",
                    package.path
                );
                out.package = Some(package);
                Err(Error::new(ErrorKind::Mismatch, reason))
            }
            Had::Not(error) => Err(error),
        }
    }
}

/// Where a layer version lies, from the bag's root.
fn directory(arn: &str) -> Result<String> {
    let parts: Vec<&str> = arn.split(':').collect();
    if let ["arn", _, "lambda", region, account, "layer", name, version] = parts[..] {
        return Ok(format!(
            "data/layers/{}/{}/{}/{}",
            plain(account)?,
            plain(region)?,
            plain(name)?,
            plain(version)?
        ));
    }
    Err(Error::new(
        ErrorKind::Service,
        "Lambda names a layer by what is no ARN of a layer version",
    )
    .about(arn))
}

/// Asks GetLayerVersionByArn again when a URL has ended or bytes do not match.
struct Again<'a> {
    place: &'a Place,
    lambda: &'a Lambda,
    arn: &'a str,
    latest: DescribedLayer,
}

impl Renew for Again<'_> {
    async fn renew(&mut self) -> Result<Target> {
        let described = self.lambda.describe_layer(self.arn).await?;
        let claim = described.claim()?;
        let session = &self.place.session;
        let target = crate::ops::target(session, described.code()?, claim).await?;
        self.latest = described;
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_has_one_place() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:layer:my_layer-x:12";
        assert_eq!(
            directory(arn).unwrap(),
            "data/layers/123456789012/eu-west-1/my_layer-x/12"
        );
        for arn in [
            "x",
            "arn:aws:lambda:eu-west-1:1:layer:../x:1",
            "arn:aws:lambda:eu-west-1:1:layer:x:..",
            "arn:aws:lambda:eu-west-1:1:function:f:1",
        ] {
            assert!(directory(arn).is_err(), "{arn}");
        }
    }
}
