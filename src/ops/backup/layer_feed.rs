//! Every layer version of an account and region: ListLayers, and ListLayerVersions for each.

use std::collections::VecDeque;

use crate::error::Result;
use crate::lambda::{Lambda, Pages};

/// The listing of layers.
pub(super) struct LayerFeed {
    lambda: Lambda,
    layers: Option<Pages>,
    /// Names of layers that are still to be asked about.
    left: VecDeque<String>,
    versions: Option<Pages>,
}

impl LayerFeed {
    pub(super) fn new(lambda: &Lambda) -> Self {
        Self {
            lambda: lambda.clone(),
            layers: Some(lambda.layers()),
            left: VecDeque::new(),
            versions: None,
        }
    }

    /// The ARNs of more layer versions; None after the last. `asked` is told of each call.
    ///
    /// # Errors
    /// A call failed, after its retries.
    pub(super) async fn next(
        &mut self,
        mut asked: impl FnMut(&'static str),
    ) -> Result<Option<Vec<String>>> {
        loop {
            if let Some(versions) = &mut self.versions {
                match versions.next_layer_versions().await? {
                    Some(arns) => {
                        asked("ListLayerVersions");
                        return Ok(Some(arns));
                    }
                    None => self.versions = None,
                }
            } else if let Some(layer) = self.left.pop_front() {
                self.versions = Some(self.lambda.layer_versions(&layer));
            } else if let Some(layers) = &mut self.layers {
                match layers.next_layers().await? {
                    Some(names) => {
                        asked("ListLayers");
                        self.left.extend(names);
                    }
                    None => self.layers = None,
                }
            } else {
                return Ok(None);
            }
        }
    }
}
