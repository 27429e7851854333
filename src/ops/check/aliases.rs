//! Aliases: which versions they route to, with which weights, and what those versions run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::code::deployed_of;
use super::function::{arn_of, drifted, expected_of, unknown};
use super::{Checker, Job};
use crate::drift::{AliasExpectation, Code, ConfigChange, FunctionResult, State, Status};
use crate::error::{ErrorKind, Result};
use crate::lambda::{Alias, Listed};
use crate::ops::deployed::Place;

/// Weights that differ by less are equal: they are written with few decimals.
const WEIGHT_TOLERANCE: f64 = 1e-6;

impl Checker {
    /// Compares all aliases that are stated or deployed. Gives the names of those that were looked at.
    pub(super) async fn aliases_of(&mut self, place: &mut Place, job: &Job) -> Result<Vec<String>> {
        let stated = &job.expectation.aliases;
        let deployed = match place.aliases(&job.function).await {
            Ok(deployed) => deployed,
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
            Err(e) => {
                let names: Vec<String> = stated.iter().map(|a| a.name.clone()).collect();
                for name in if names.is_empty() {
                    vec!["*".to_owned()]
                } else {
                    names
                } {
                    let mut result = self.blank(place, job, &name, None);
                    unknown(&mut result, &e);
                    self.results.push(result);
                }
                return Ok(Vec::new());
            }
        };
        let mut done = Vec::new();
        for expected in stated {
            done.push(expected.name.clone());
            if let Some(alias) = deployed.iter().find(|alias| alias.name == expected.name) {
                self.alias(place, job, alias, Some(expected)).await?;
            } else {
                let mut result = self.blank(place, job, &expected.name, Some(expected));
                result.status = Status::Missing;
                result.reason = Some("there is no such alias".to_owned());
                self.results.push(result);
            }
        }
        for alias in deployed {
            if done.contains(&alias.name) {
                continue;
            }
            done.push(alias.name.clone());
            if job.expectation.aliases_complete {
                let mut result = self.blank(place, job, &alias.name, None);
                result.status = Status::Unexpected;
                result.reason = Some(format!(
                    "the alias routes to version {}, and is expected nowhere",
                    alias.versions().collect::<Vec<_>>().join(" and ")
                ));
                self.results.push(result);
            } else if self.options.aliases {
                self.alias(place, job, &alias, None).await?;
            }
        }
        Ok(done)
    }

    /// An alias that the user named, by `--qualifier` or behind the function's name.
    pub(super) async fn named_alias(
        &mut self,
        place: &mut Place,
        job: &Job,
        name: &str,
    ) -> Result<()> {
        let expected = job.expectation.aliases.iter().find(|a| a.name == name);
        match place.aliases(&job.function).await {
            Ok(aliases) => {
                if let Some(alias) = aliases.iter().find(|alias| alias.name == name) {
                    return self.alias(place, job, alias, expected).await;
                }
                let mut result = self.blank(place, job, name, expected);
                result.status = Status::Missing;
                result.reason = Some("there is no such alias".to_owned());
                self.results.push(result);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let mut result = self.blank(place, job, name, expected);
                result.status = Status::Missing;
                result.reason = Some("there is no such function".to_owned());
                self.results.push(result);
                Ok(())
            }
            Err(e) => {
                let mut result = self.blank(place, job, name, expected);
                unknown(&mut result, &e);
                self.results.push(result);
                Ok(())
            }
        }
    }

    fn blank(
        &self,
        place: &Place,
        job: &Job,
        alias: &str,
        expected: Option<&AliasExpectation>,
    ) -> FunctionResult {
        // An ARN is known once the function itself was found.
        let known = self
            .results
            .iter()
            .rev()
            .find(|r| r.name() == job.function.name());
        let arn = known.map_or_else(|| arn_of(place, job), |r| r.function.clone());
        let mut result = FunctionResult::new(arn, alias, Status::Unknown);
        result.alias = Some(alias.to_owned());
        let source = expected.and_then(|e| e.source.as_ref());
        result.expected = Some(expected_of(source.unwrap_or(&job.expectation.source)));
        result.notes.clone_from(&job.expectation.notes);
        result
    }

    /// Compares each version that an alias routes to.
    async fn alias(
        &mut self,
        place: &mut Place,
        job: &Job,
        alias: &Alias,
        expected: Option<&AliasExpectation>,
    ) -> Result<()> {
        let deployed = routes(
            &alias.version,
            alias
                .weights
                .iter()
                .map(|(v, w)| (v, w.as_f64().unwrap_or_default())),
        );
        let mut listed: BTreeMap<String, Result<Option<crate::ops::deployed::Found>>> =
            BTreeMap::new();
        for version in deployed.keys() {
            let found = place.find(&job.function, version).await;
            if let Err(e) = &found
                && e.kind() == ErrorKind::Interrupted
            {
                return found.map(|_| ());
            }
            listed.insert(version.clone(), found);
        }
        let digest_of = |version: &str| -> Option<String> {
            let found = listed.get(version)?.as_ref().ok()?.as_ref()?;
            found.listed.code_sha256_text().map(ToOwned::to_owned)
        };
        let stated = expected.map(|e| {
            (
                routes(&e.version, e.weights.iter().map(|(v, w)| (v, *w))),
                e,
            )
        });
        let partners = stated.as_ref().map(|(stated, expected)| {
            pair(stated, &deployed, &|ours, theirs| {
                let ours = expected.versions.get(ours).and_then(digest_stated);
                ours.is_some() && ours == digest_of(theirs).and_then(|text| text.parse().ok())
            })
        });
        let routing = match (&stated, &partners) {
            (Some((stated, expected)), Some(partners)) => {
                self.routing(stated, &deployed, partners, expected)
            }
            _ => None,
        };
        for (version, weight) in &deployed {
            let mut result = self.blank(place, job, &alias.name, expected);
            result.deployed = Some(crate::drift::Deployed {
                version: Some(version.clone()),
                weight: Some(*weight),
                ..Default::default()
            });
            let partner = partners.as_ref().and_then(|p| p.get(version));
            if let (Some(expected), Some(ours)) = (result.expected.as_mut(), partner) {
                expected.version = Some(ours.clone());
            }
            let state = match (expected, partner) {
                (Some(expected), Some(ours)) => expected.versions.get(ours).cloned(),
                (None, _) => Some(job.expectation.state.clone()),
                (Some(_), None) => None,
            };
            let found = listed.remove(version);
            let mut result = match (found, state) {
                (Some(Ok(Some(found))), Some(state)) => {
                    let mut result = self
                        .compare(place, job, version, &state, found, result)
                        .await?;
                    if let (Some(expected), Some(ours)) = (result.expected.as_mut(), partner) {
                        expected.version = Some(ours.clone());
                    }
                    result
                }
                (Some(Ok(Some(found))), None) => {
                    by_number(&mut result, &found.listed, *weight, partner.is_some());
                    result
                }
                (Some(Ok(None)) | None, _) => {
                    result.status = Status::Missing;
                    result.reason = Some(format!(
                        "the alias routes to version {version}, which is not there"
                    ));
                    result
                }
                (Some(Err(e)), _) => {
                    unknown(&mut result, &e);
                    result
                }
            };
            if version == &alias.version
                && let Some(change) = &routing
            {
                result.config.push(change.clone());
                drifted(&mut result, "the alias routes otherwise than expected");
            }
            self.results.push(result);
        }
        Ok(())
    }

    /// How the routing differs: another weight, a version more or less, and a number where numbers count.
    fn routing(
        &self,
        stated: &BTreeMap<String, f64>,
        deployed: &BTreeMap<String, f64>,
        partners: &BTreeMap<String, String>,
        expected: &AliasExpectation,
    ) -> Option<ConfigChange> {
        let weights = partners.len() != stated.len()
            || partners.len() != deployed.len()
            || partners.iter().any(|(theirs, ours)| {
                let differ = stated.get(ours).copied().unwrap_or_default()
                    - deployed.get(theirs).copied().unwrap_or_default();
                differ.abs() > WEIGHT_TOLERANCE
            });
        let numbers = partners.iter().any(|(theirs, ours)| {
            // What a version is, its number says where nothing else does.
            theirs != ours && (self.options.strict || !expected.versions.contains_key(ours))
        });
        (weights || numbers).then(|| ConfigChange {
            field: "routing".to_owned(),
            expected: shown(stated),
            deployed: shown(deployed),
        })
    }
}

/// A version of which the source knows the number alone, or nothing.
fn by_number(result: &mut FunctionResult, listed: &Listed, weight: f64, expected: bool) {
    listed.function_arn().clone_into(&mut result.function);
    let mut deployed = deployed_of(listed);
    deployed.weight = Some(weight);
    result.deployed = Some(deployed);
    if expected {
        result.status = Status::InSync;
        result
            .notes
            .push("compared by its version number; what it runs is not stated".to_owned());
    } else {
        result.status = Status::Drifted;
        result.reason = Some(format!(
            "the alias routes to version {}, which is not expected",
            listed.version()
        ));
    }
}

fn digest_stated(state: &State) -> Option<crate::digest::Sha256Digest> {
    match &state.code {
        Code::Digest { sha256, .. } => Some(*sha256),
        Code::Image { digest, .. } => *digest,
        _ => None,
    }
}

/// All versions that an alias routes to, each with its share of the calls; the main one has what the others leave.
fn routes<'a>(
    main: &str,
    weights: impl Iterator<Item = (&'a String, f64)>,
) -> BTreeMap<String, f64> {
    let mut routes: BTreeMap<String, f64> = weights.map(|(v, w)| (v.clone(), w)).collect();
    let others: f64 = routes.values().sum();
    *routes.entry(main.to_owned()).or_default() += 1.0 - others;
    routes
}

/// Which stated version each deployed one is held against: the same number, then the same code, then by weight.
fn pair(
    stated: &BTreeMap<String, f64>,
    deployed: &BTreeMap<String, f64>,
    same_code: &dyn Fn(&str, &str) -> bool,
) -> BTreeMap<String, String> {
    let mut partners: BTreeMap<String, String> = BTreeMap::new();
    let by_weight = |routes: &BTreeMap<String, f64>| {
        let mut versions: Vec<String> = routes.keys().cloned().collect();
        versions.sort_by(|a, b| routes[b].total_cmp(&routes[a]));
        versions
    };
    let (mut ours, mut theirs) = (by_weight(stated), by_weight(deployed));
    for fits in [
        &(|ours: &str, theirs: &str| ours == theirs) as &dyn Fn(&str, &str) -> bool,
        same_code,
        &|_: &str, _: &str| true,
    ] {
        theirs.retain(|version| {
            let Some(at) = ours.iter().position(|our| fits(our, version)) else {
                return true;
            };
            partners.insert(version.clone(), ours.remove(at));
            false
        });
    }
    partners
}

fn shown(routes: &BTreeMap<String, f64>) -> Value {
    // Three decimals are more than Lambda takes.
    let weights = routes
        .iter()
        .map(|(version, weight)| (version.clone(), json!((weight * 1000.0).round() / 1000.0)));
    Value::Object(weights.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(list: &[(&str, f64)]) -> BTreeMap<String, f64> {
        list.iter().map(|(v, w)| ((*v).to_owned(), *w)).collect()
    }

    #[test]
    fn the_main_version_gets_what_is_left() {
        let weights = BTreeMap::from([("4".to_owned(), 0.25)]);
        let all = routes("3", weights.iter().map(|(v, w)| (v, *w)));
        assert_eq!(all, map(&[("3", 0.75), ("4", 0.25)]));
        assert_eq!(shown(&all), json!({"3": 0.75, "4": 0.25}));
    }

    #[test]
    fn versions_are_paired_by_number_then_code_then_weight() {
        let code = |ours: &str, theirs: &str| (ours, theirs) == ("4", "6");
        for (stated, deployed, want) in [
            (&[("3", 1.0)][..], &[("3", 1.0)][..], &[("3", "3")][..]),
            (&[("3", 1.0)], &[("5", 1.0)], &[("5", "3")]),
            (
                &[("3", 0.9), ("4", 0.1)],
                &[("5", 0.1), ("6", 0.9)],
                &[("5", "3"), ("6", "4")],
            ),
            (&[("3", 0.9), ("4", 0.1)], &[("3", 1.0)], &[("3", "3")]),
            (&[("3", 1.0)], &[("3", 0.5), ("4", 0.5)], &[("3", "3")]),
        ] {
            let want: BTreeMap<String, String> = want
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect();
            assert_eq!(
                pair(&map(stated), &map(deployed), &code),
                want,
                "{deployed:?}"
            );
        }
    }
}
