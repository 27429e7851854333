//! What may not be in a lockfile: an entry that is none, or that contradicts itself.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Lock, Locked, LockedAccept, LockedAlias};
use crate::digest::Sha256Digest;
use crate::drift::accept;
use crate::error::{Error, ErrorKind, Result};

/// By how much weights may go beyond 1: they are decimal fractions.
const TOLERANCE: f64 = 1e-9;

impl Lock {
    /// # Errors
    /// An entry is wrong: kind [`Usage`](ErrorKind::Usage), about the entry.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |entry: &Entry, message: String| {
            Err(Error::new(ErrorKind::Usage, message)
                .about(format!("{} in {}", entry.name, entry.region)))
        };
        let mut seen = BTreeSet::new();
        for entry in &self.functions {
            if !seen.insert((&entry.name, &entry.region, &entry.account)) {
                return wrong(entry, "the lockfile has this function twice".to_owned());
            }
            if let Err(e) = entry.reference() {
                return wrong(entry, format!("the lockfile's name is no function: {e}"));
            }
            if !crate::function::is_region(&entry.region) {
                return wrong(entry, format!("{:?} is no region", entry.region));
            }
            if let Err(message) = entry.check() {
                return wrong(entry, message);
            }
        }
        Ok(())
    }
}

impl Entry {
    fn check(&self) -> Result<(), String> {
        let mut by_code: BTreeMap<&str, &Locked> = BTreeMap::new();
        let mut layers: BTreeMap<&str, &str> = BTreeMap::new();
        for locked in self.all() {
            locked.check()?;
            if let Some(code) = locked.code_sha256.as_deref()
                && let Some(other) = by_code.insert(code, locked)
            {
                same_code(code, other, locked)?;
            }
            for layer in &locked.layers {
                if let Some(code) = layer.code_sha256.as_deref()
                    && let Some(other) = layers.insert(&layer.arn, code)
                    && other != code
                {
                    let arn = &layer.arn;
                    return Err(format!(
                        "it has two hashes of the layer {arn}: {other} and {code}"
                    ));
                }
            }
        }
        for (name, alias) in &self.aliases {
            alias.check().map_err(|e| format!("the alias {name} {e}"))?;
        }
        match &self.accept {
            Some(accept) => accept.check(),
            None => Ok(()),
        }
    }
}

/// One digest is one zip: of one size, with one content.
fn same_code(code: &str, one: &Locked, two: &Locked) -> Result<(), String> {
    let differ = [
        ("package_type", one.package_type != two.package_type),
        ("code_size", one.code_size != two.code_size),
        (
            "tree",
            one.tree != two.tree && one.tree.is_some() && two.tree.is_some(),
        ),
        (
            "h1",
            one.h1 != two.h1 && one.h1.is_some() && two.h1.is_some(),
        ),
    ];
    match differ.iter().find(|(_, differ)| *differ) {
        Some((field, _)) => Err(format!("it has two values of {field} for the code {code}")),
        None => Ok(()),
    }
}

impl Locked {
    fn check(&self) -> Result<(), String> {
        let image = match self.package_type.as_str() {
            "Zip" => false,
            "Image" => true,
            other => {
                return Err(format!(
                    "its package_type is {other:?}, and Zip or Image is expected"
                ));
            }
        };
        for digest in [&self.code_sha256, &self.image_digest]
            .into_iter()
            .chain(self.layers.iter().map(|layer| &layer.code_sha256))
            .flatten()
        {
            if digest.parse::<Sha256Digest>().is_err() {
                return Err(format!("{digest:?} is no SHA-256 digest"));
            }
        }
        for (hash, prefix) in [(&self.tree, "t1:"), (&self.h1, "h1:")] {
            if let Some(hash) = hash
                && hash
                    .strip_prefix(prefix)
                    .is_none_or(|rest| Sha256Digest::from_base64(rest).is_err())
            {
                return Err(format!("{hash:?} is no content hash {prefix}…"));
            }
        }
        let digest =
            |text: &Option<String>| text.as_deref().and_then(|d| d.parse::<Sha256Digest>().ok());
        if !image && self.image_digest.is_some() {
            return Err("it is a zip, and has an image_digest".to_owned());
        }
        for (name, hash) in [("tree", &self.tree), ("h1", &self.h1)] {
            if image && hash.is_some() {
                return Err(format!(
                    "it is an image, and has a {name}, which is a zip's"
                ));
            }
        }
        match (digest(&self.code_sha256), digest(&self.image_digest)) {
            (Some(code), Some(image)) if code != image => Err(format!(
                "its code_sha256 is {} and its image_digest {}, which of an image are the same",
                code.hex(),
                image.hex()
            )),
            _ => Ok(()),
        }
    }
}

impl LockedAlias {
    fn check(&self) -> Result<(), String> {
        let routed: BTreeSet<&String> = std::iter::once(&self.version)
            .chain(self.weights.keys())
            .collect();
        for version in &routed {
            if !self.versions.contains_key(*version) {
                return Err(format!("routes to {version}, which is not there"));
            }
        }
        if let Some(version) = self.versions.keys().find(|v| !routed.contains(v)) {
            return Err(format!(
                "holds the version {version}, to which it does not route"
            ));
        }
        let mut sum = 0.0;
        for weight in self.weights.values() {
            match weight.as_f64() {
                Some(share) if (0.0..=1.0).contains(&share) => sum += share,
                _ => return Err(format!("has the weight {weight}")),
            }
        }
        if sum > 1.0 + TOLERANCE {
            return Err(format!("has weights of {sum} in all, which is more than 1"));
        }
        Ok(())
    }
}

impl LockedAccept {
    fn check(&self) -> Result<(), String> {
        if let Some(until) = &self.until {
            accept::day(until).map_err(|message| format!("accept.until: {message}"))?;
        }
        if let Some(code) = &self.code_sha256
            && code.parse::<Sha256Digest>().is_err()
        {
            return Err(format!("accept.code_sha256: {code:?} is no SHA-256 digest"));
        }
        match self.reason.as_deref().map(str::trim) {
            None | Some("") => {
                Err("its accept has no reason: say why the difference is accepted".to_owned())
            }
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;
    use serde_json::{Value, json};

    type Change<'a> = &'a dyn Fn(&mut Value);

    /// The one entry of a lock, with what `change` does to it.
    fn read(change: &dyn Fn(&mut Value)) -> Result<Lock> {
        let mut lock = Lock {
            functions: vec![entry("a")],
            ..Lock::default()
        };
        let mut json: Value = serde_json::from_slice(&lock.to_json()).unwrap();
        change(&mut json["functions"][0]);
        Lock::from_json(json.to_string().as_bytes())
    }

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn image(entry: &mut Value) {
        entry["latest"]["package_type"] = json!("Image");
        entry["latest"]["code_sha256"] = json!(HEX);
        entry["latest"]["image_digest"] = json!(format!("sha256:{HEX}"));
        entry["latest"]["tree"] = Value::Null;
    }

    /// The alias `live` at version 1, which is this one.
    fn alias(entry: &mut Value, version: &Value) {
        entry["aliases"] = json!({"live": {"version": "1", "versions": {"1": version}}});
    }

    fn hash(prefix: &str) -> Value {
        json!(format!("{prefix}{}", Sha256Digest::of(b"x").base64()))
    }

    #[track_caller]
    fn each_is_refused(cases: &[(Change, &str)]) {
        for (change, says) in cases {
            let error = read(change).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{says}");
            assert_eq!(error.subject(), Some("a in eu-west-1"), "{says}");
            assert!(error.message().contains(says), "{says}: {error}");
        }
    }

    #[test]
    fn a_version_that_contradicts_itself_is_refused_by_name() {
        read(&image).unwrap();
        let changed = |field: &'static str, value: Value| {
            move |entry: &mut Value| {
                let mut version = entry["latest"].clone();
                version[field] = value.clone();
                alias(entry, &version);
            }
        };
        each_is_refused(&[
            (
                &|e| e["latest"]["package_type"] = json!("zip"),
                "package_type",
            ),
            (
                &|e| e["latest"]["image_digest"] = json!(format!("sha256:{HEX}")),
                "image_digest",
            ),
            (
                &|e| {
                    image(e);
                    e["latest"]["tree"] = hash("t1:");
                },
                "tree",
            ),
            (
                &|e| {
                    image(e);
                    e["latest"]["h1"] = hash("h1:");
                },
                "h1",
            ),
            (
                &|e| {
                    image(e);
                    e["latest"]["code_sha256"] = json!(Sha256Digest::of(b"x").hex());
                },
                "image_digest",
            ),
            (&changed("code_size", json!(8)), "code_size"),
            (&changed("tree", hash("t1:")), "tree"),
            (
                &|e| {
                    let layer = |byte: &[u8]| {
                        json!({"arn": "arn:aws:lambda:eu-west-1::layer:l:1", "code_size": 1,
                            "code_sha256": Sha256Digest::of(byte).base64()})
                    };
                    e["latest"]["layers"] = json!([layer(b"1"), layer(b"2")]);
                },
                "two hashes",
            ),
        ]);
    }

    #[test]
    fn an_alias_or_exception_that_means_nothing_is_refused() {
        each_is_refused(&[
            (&|e| e["accept"] = json!({}), "reason"),
            (&|e| e["accept"] = json!({"reason": "  "}), "reason"),
            (
                &|e| e["accept"] = json!({"reason": "x", "code_sha256": "abc"}),
                "accept.code_sha256",
            ),
            (
                &|e| {
                    let version = e["latest"].clone();
                    alias(e, &version);
                    e["aliases"]["live"]["versions"]["2"] = version;
                },
                "does not route",
            ),
            (
                &|e| {
                    let version = e["latest"].clone();
                    alias(e, &version);
                    for (number, weight) in [("2", 0.6), ("3", 0.6)] {
                        e["aliases"]["live"]["versions"][number] = version.clone();
                        e["aliases"]["live"]["weights"][number] = json!(weight);
                    }
                },
                "more than 1",
            ),
        ]);
        // The same code at an alias, and a reason, are as it should be.
        read(&|e| {
            let version = e["latest"].clone();
            alias(e, &version);
            e["accept"] = json!({"reason": "hot fix"});
        })
        .unwrap();
    }
}
