//! Where aliases go when versions have other numbers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::lambda::Alias;

/// An alias of the backup.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) name: String,
    version: String,
    description: String,
    weights: BTreeMap<String, Value>,
}

impl Kept {
    /// Reads one; None of what is none.
    pub(super) fn read(alias: &Value) -> Option<Self> {
        let weights = alias["RoutingConfig"]["AdditionalVersionWeights"].as_object();
        Some(Self {
            name: alias["Name"].as_str()?.to_owned(),
            version: alias["FunctionVersion"].as_str()?.to_owned(),
            description: alias["Description"].as_str().unwrap_or_default().to_owned(),
            weights: (weights.into_iter().flatten())
                .map(|(version, weight)| (version.clone(), weight.clone()))
                .collect(),
        })
    }

    /// Every version that it routes to, the main one first.
    pub(super) fn versions(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.version.as_str()).chain(self.weights.keys().map(String::as_str))
    }

    /// The input of CreateAlias and UpdateAlias, with the numbers that `number` gives. None where it gives none.
    pub(super) fn input(
        &self,
        number: impl Fn(&str) -> Option<String>,
    ) -> Option<Map<String, Value>> {
        let mut weights = Map::new();
        for (version, weight) in &self.weights {
            weights.insert(number(version)?, weight.clone());
        }
        let mut input = Map::new();
        input.insert("Name".to_owned(), json!(self.name));
        input.insert("FunctionVersion".to_owned(), json!(number(&self.version)?));
        input.insert("Description".to_owned(), json!(self.description));
        let routing = json!({ "AdditionalVersionWeights": weights });
        input.insert("RoutingConfig".to_owned(), routing);
        Some(input)
    }

    /// Where it goes in words, with what `number` calls each version.
    pub(super) fn words(&self, number: impl Fn(&str) -> String) -> String {
        let mut out = number(&self.version);
        for (version, weight) in &self.weights {
            let percent = weight.as_f64().unwrap_or(0.0) * 100.0;
            // Writing to a String does not fail.
            let _ = write!(out, ", {percent} % to {}", number(version));
        }
        out
    }

    /// Whether an alias in AWS is what `input` makes.
    pub(super) fn is(input: &Map<String, Value>, alias: &Alias) -> bool {
        let weights = input["RoutingConfig"]["AdditionalVersionWeights"].as_object();
        let wanted: BTreeMap<&str, Option<f64>> = (weights.into_iter().flatten())
            .map(|(version, weight)| (version.as_str(), weight.as_f64()))
            .collect();
        let has: BTreeMap<&str, Option<f64>> = (alias.weights.iter())
            .map(|(version, weight)| (version.as_str(), weight.as_f64()))
            .collect();
        let description = alias.answer.text("/Description").unwrap_or_default();
        input["FunctionVersion"] == *alias.version
            && input["Description"] == *description
            && wanted == has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_mapped_and_a_version_without_one_is_no_alias() {
        let alias = json!({"Name": "live", "FunctionVersion": "7", "Description": "d",
            "RoutingConfig": {"AdditionalVersionWeights": {"8": 0.25}}});
        let alias = Kept::read(&alias).unwrap();
        assert_eq!(alias.versions().collect::<Vec<_>>(), ["7", "8"]);
        let number = |version: &str| version.parse::<u64>().ok().map(|n| (n - 6).to_string());
        let input = Value::Object(alias.input(number).unwrap());
        assert_eq!(
            input,
            json!({"Name": "live", "FunctionVersion": "1", "Description": "d",
                "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.25}}})
        );
        assert_eq!(
            alias.input(|version| (version == "7").then(|| "1".to_owned())),
            None
        );
        assert_eq!(alias.words(|v| format!("v{v}")), "v7, 25 % to v8");
    }
}
