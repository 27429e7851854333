//! Configuration, as far as it is compared: what a listing says, and how it differs from what is stated.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Config, ConfigChange};
use crate::lambda::Listed;

impl Config {
    /// What a deployed version has. Of environment variables there are the names alone.
    pub fn of(listed: &Listed) -> Self {
        let answer = listed.answer();
        let text = |pointer: &str| answer.text(pointer).map(ToOwned::to_owned);
        let architectures = answer.get("/Architectures").and_then(Value::as_array);
        Self {
            package_type: Some(listed.package_type().to_owned()),
            runtime: text("/Runtime"),
            handler: text("/Handler"),
            architectures: architectures.map(|list| {
                let names = list.iter().filter_map(Value::as_str);
                names.map(ToOwned::to_owned).collect()
            }),
            memory_size: answer.size("/MemorySize"),
            timeout: answer.size("/Timeout"),
            role: text("/Role"),
            environment: Some(
                listed
                    .environment_names()
                    .into_iter()
                    .map(ToOwned::to_owned)
                    .collect(),
            ),
            config_sha256: text("/ConfigSha256"),
            unreadable: BTreeSet::new(),
        }
    }

    /// What differs in `deployed` from what is stated here; what is not stated does not differ.
    ///
    /// `ConfigSha256` covers more than larder compares. It tells nothing beside another difference, so that it is
    /// named only when it alone differs, and where AWS gives it.
    pub fn differences(&self, deployed: &Self) -> Vec<ConfigChange> {
        let mut changes = Vec::new();
        let mut differ = |field: &str, expected: Value, deployed: Value| {
            if expected != deployed {
                changes.push(ConfigChange {
                    field: field.to_owned(),
                    expected,
                    deployed,
                });
            }
        };
        for (field, ours, theirs) in [
            ("package_type", &self.package_type, &deployed.package_type),
            ("runtime", &self.runtime, &deployed.runtime),
            ("handler", &self.handler, &deployed.handler),
        ] {
            if let Some(ours) = ours {
                differ(field, json!(ours), json!(theirs));
            }
        }
        if let Some(ours) = &self.architectures {
            // Functions older than the setting have none, and run on x86_64.
            let theirs = deployed.architectures.clone();
            let theirs = theirs.unwrap_or_else(|| BTreeSet::from(["x86_64".to_owned()]));
            differ("architectures", json!(ours), json!(theirs));
        }
        for (field, ours, theirs) in [
            ("memory_size", self.memory_size, deployed.memory_size),
            ("timeout", self.timeout, deployed.timeout),
        ] {
            if let Some(ours) = ours {
                differ(field, json!(ours), json!(theirs));
            }
        }
        if let Some(ours) = &self.role
            && !deployed.role.as_deref().is_some_and(|r| same_role(ours, r))
        {
            differ("role", json!(ours), json!(deployed.role));
        }
        if let Some(ours) = &self.environment {
            let none = BTreeSet::new();
            let theirs = deployed.environment.as_ref().unwrap_or(&none);
            differ("environment", json!(ours), json!(theirs));
        }
        if changes.is_empty()
            && let (Some(ours), Some(theirs)) = (&self.config_sha256, &deployed.config_sha256)
            && ours != theirs
        {
            changes.push(ConfigChange {
                field: "config_sha256".to_owned(),
                expected: json!(ours),
                deployed: json!(theirs),
            });
        }
        changes
    }
}

/// A role by its ARN, or by its name alone; an ARN without an account (`arn:aws:iam:::role/x`) is of any account.
fn same_role(stated: &str, deployed: &str) -> bool {
    if stated == deployed {
        return true;
    }
    let parts = |arn: &str| -> Option<(String, String, String)> {
        let mut parts = arn.splitn(6, ':');
        let head: Vec<&str> = parts.by_ref().take(4).collect();
        let account = parts.next()?;
        Some((head.join(":"), account.to_owned(), parts.next()?.to_owned()))
    };
    match (parts(stated), parts(deployed)) {
        (Some(stated), Some(deployed)) => {
            stated.1.is_empty() && stated.0 == deployed.0 && stated.2 == deployed.2
        }
        (None, Some((_, _, resource))) => resource.rsplit('/').next() == Some(stated),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_is_stated_is_compared() {
        let deployed = Config {
            package_type: Some("Zip".to_owned()),
            runtime: Some("python3.13".to_owned()),
            memory_size: Some(256),
            timeout: Some(3),
            role: Some("arn:aws:iam::123456789012:role/path/run".to_owned()),
            environment: Some(names(&["A", "B"])),
            config_sha256: Some("x".to_owned()),
            ..Config::default()
        };
        assert_eq!(Config::default().differences(&deployed), []);
        assert_eq!(deployed.differences(&deployed), []);
        let stated = Config {
            memory_size: Some(128),
            environment: Some(names(&["A"])),
            architectures: Some(names(&["x86_64"])),
            config_sha256: Some("y".to_owned()),
            ..Config::default()
        };
        let fields: Vec<String> = stated
            .differences(&deployed)
            .into_iter()
            .map(|c| c.field)
            .collect();
        assert_eq!(fields, ["memory_size", "environment"]);
        let stated = Config {
            config_sha256: Some("y".to_owned()),
            ..Config::default()
        };
        assert_eq!(stated.differences(&deployed)[0].field, "config_sha256");
    }

    #[test]
    fn a_role_may_be_stated_in_three_ways() {
        let deployed = "arn:aws:iam::123456789012:role/path/run";
        for (stated, same) in [
            (deployed, true),
            ("run", true),
            ("arn:aws:iam:::role/path/run", true),
            ("arn:aws:iam::999999999999:role/path/run", false),
            ("other", false),
            ("path", false),
            ("arn:aws:iam:::role/run", false),
        ] {
            assert_eq!(same_role(stated, deployed), same, "{stated}");
        }
    }
}
