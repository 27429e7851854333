//! What is in packages and layers, as a lock holds it: content hashes, and the hashes of layer versions.

use std::sync::Arc;

use super::Locker;
use crate::digest::Sha256Digest;
use crate::drift::Contents;
use crate::drift::lock::{Entry, LockedLayer, with_account};
use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;
use crate::lambda::Listed;
use crate::ops::deployed::Place;
use crate::ops::obtain;
use crate::task::blocking;
use crate::unpack::Duplicates;

impl Locker {
    /// The content hashes of a package: from the cache, else downloaded. None of one that is refused.
    pub(super) async fn hashes(
        &self,
        place: &Place,
        function: &FunctionRef,
        listed: &Listed,
        digest: Sha256Digest,
    ) -> Result<(Option<String>, Option<String>)> {
        #[expect(clippy::single_match_else, reason = "the second arm is long")]
        let contents = match self.options.cache.get(digest) {
            Some(contents) => contents,
            None => {
                let qualifier = (listed.version() != "$LATEST").then(|| listed.version());
                let function = FunctionRef::new(function.unqualified(), qualifier)
                    .map_err(|e| Error::from(e).about(function.to_string()))?;
                let package = obtain::function_package(
                    &place.session,
                    &place.lambda,
                    &function,
                    digest,
                    Arc::clone(&self.reporter),
                )
                .await?;
                let (limits, cancel) = (self.options.limits.clone(), self.cancel.clone());
                let cache = self.options.cache.clone();
                let contents = blocking(move || {
                    let contents = Contents::of_package(&package, &limits, &cancel);
                    if cancel.is_cancelled() {
                        return Err(Error::interrupted());
                    }
                    if let Ok(contents) = &contents
                        && limits.duplicates == Duplicates::Refuse
                    {
                        cache.put(digest, contents);
                    }
                    Ok(contents)
                })
                .await?;
                match contents {
                    Ok(contents) => contents,
                    Err(e) => {
                        self.warn(
                            &function.to_string(),
                            &format!("its package is locked by its digest alone: {e}"),
                            e.hint_text(),
                        );
                        return Ok((None, None));
                    }
                }
            }
        };
        let hashes = contents.hashes();
        Ok((hashes.h1, Some(hashes.tree)))
    }

    pub(super) async fn layers(
        &mut self,
        place: &Place,
        listed: &Listed,
        before: Option<&Entry>,
        own: &impl Fn(&str) -> String,
    ) -> Result<Vec<LockedLayer>> {
        let mut layers = Vec::new();
        for layer in listed.layers() {
            let known = before.into_iter().flat_map(Entry::layers).find(|known| {
                known.code_sha256.is_some()
                    && with_account(&known.arn, listed.account()) == layer.arn
            });
            let locked = match (known, self.layers.get(&layer.arn)) {
                (Some(known), _) => Some(known.clone()),
                (None, Some(asked)) => asked.clone(),
                (None, None) => {
                    let asked = self.layer(place, &layer.arn).await?;
                    self.layers.insert(layer.arn.clone(), asked.clone());
                    asked
                }
            };
            layers.push(LockedLayer {
                arn: own(&layer.arn),
                code_sha256: locked.as_ref().and_then(|l| l.code_sha256.clone()),
                code_size: locked.and_then(|l| l.code_size).or(layer.code_size),
            });
        }
        Ok(layers)
    }

    /// The hash of a layer version; None of one that cannot be had, which is warned about.
    async fn layer(&self, place: &Place, arn: &str) -> Result<Option<LockedLayer>> {
        match place.lambda.describe_layer(arn).await {
            Ok(described) => Ok(Some(LockedLayer {
                arn: arn.to_owned(),
                code_sha256: described.code_sha256_text().map(ToOwned::to_owned),
                code_size: described.code_size(),
            })),
            Err(e)
                if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::AccessDenied)
                    && !self.options.strict_layers =>
            {
                let message = format!("its hash is locked as null: {}", e.sentence());
                self.warn(arn, &message, e.hint_text());
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}
