//! What a backup of an account and region will ask, and how long that takes at the given rate.

use std::collections::{BTreeMap, HashSet};

use crate::lambda::SideRead;

/// AWS allows 100 GetFunction calls a second where it allows 15 of all others together ("Lambda quotas"); `--max-rate` scales
/// both alike.
const GET_FUNCTION_SHARE: f64 = 100.0 / 15.0;

/// Calls by operation.
#[derive(Debug, Default, Clone)]
pub(super) struct Estimate {
    calls: BTreeMap<&'static str, u64>,
    /// Layer versions that are counted.
    layers: HashSet<String>,
}

/// The reads about a function as a whole, of an image or a zip.
pub(super) fn of_function(image: bool) -> impl Iterator<Item = SideRead> {
    [
        SideRead::Policy,
        SideRead::UrlConfigs,
        SideRead::EventInvokeConfigs,
        SideRead::CodeSigningConfig,
        SideRead::ProvisionedConcurrencyConfigs,
        SideRead::RecursionConfig,
    ]
    .into_iter()
    .filter(move |read| !(image && *read == SideRead::CodeSigningConfig))
}

/// The reads about a version. A policy of `$LATEST` there is none, but the function's.
pub(super) fn of_version(version: &str, scaled: bool) -> impl Iterator<Item = SideRead> {
    let latest = version == "$LATEST";
    [
        SideRead::Policy,
        SideRead::RuntimeManagementConfig,
        SideRead::ScalingConfig,
    ]
    .into_iter()
    .filter(move |read| match read {
        SideRead::Policy => !latest,
        SideRead::ScalingConfig => scaled,
        _ => true,
    })
}

impl Estimate {
    /// More calls of an operation.
    pub(super) fn call(&mut self, operation: &'static str, count: u64) {
        *self.calls.entry(operation).or_default() += count;
    }

    /// A layer version, which is asked about once.
    pub(super) fn layer(&mut self, arn: &str) {
        if self.layers.insert(arn.to_owned()) {
            self.call("GetLayerVersionByArn", 1);
        }
    }

    /// Reads beside the code.
    pub(super) fn reads(&mut self, reads: impl Iterator<Item = SideRead>) {
        for read in reads {
            self.call(read.operation(), 1);
        }
    }

    /// By operation.
    pub(super) fn calls(&self) -> &BTreeMap<&'static str, u64> {
        &self.calls
    }

    /// All together.
    pub(super) fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// How long the calls take at `max_rate` a second of the shared budget, in seconds: three budgets side by side.
    pub(super) fn seconds(&self, max_rate: f64) -> f64 {
        let of = |operation: &str| to_f64(self.calls.get(operation).copied().unwrap_or_default());
        let (function, policy) = (of("GetFunction"), of("GetPolicy"));
        let shared = to_f64(self.total()) - function - policy;
        [
            function / (max_rate * GET_FUNCTION_SHARE),
            policy / max_rate,
            shared / max_rate,
        ]
        .into_iter()
        .fold(0.0, f64::max)
    }
}

/// Counts of calls are far below what a double holds exactly.
fn to_f64(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_budget_counts() {
        let mut estimate = Estimate::default();
        estimate.call("GetFunction", 1000);
        assert!((estimate.seconds(5.0) - 30.0).abs() < 1e-9);
        estimate.call("ListAliases", 100);
        estimate.call("ListFunctions", 100);
        assert!((estimate.seconds(5.0) - 40.0).abs() < 1e-9);
        estimate.call("GetPolicy", 300);
        assert!((estimate.seconds(5.0) - 60.0).abs() < 1e-9);
        estimate.layer("a");
        estimate.layer("a");
        assert_eq!(
            (estimate.calls()["GetLayerVersionByArn"], estimate.total()),
            (1, 1501)
        );
    }

    #[test]
    fn an_image_has_no_signing_and_the_latest_no_policy_of_its_own() {
        assert_eq!(of_function(true).count() + 1, of_function(false).count());
        assert_eq!(of_version("$LATEST", false).count(), 1);
        assert_eq!(of_version("7", true).count(), 3);
    }
}
