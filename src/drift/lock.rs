//! `larder.lock`: the expected state that a team commits.
//!
//! Pretty JSON, sorted, without time stamps and without secrets: the same state gives the same bytes, and a change is a diff that can
//! be reviewed. `docs/larder.lock.schema.json` is its JSON Schema. An ARN of the function's own account is written without the
//! account (`arn:aws:lambda:eu-west-1::layer:common:3`), unless the account is in the entry.

mod check;
mod stated;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;

pub use stated::read;

/// The version that is written.
pub const LOCKFILE_VERSION: u32 = 1;
/// The file that `check` and `lock` take when nothing else is said.
pub const LOCKFILE: &str = "larder.lock";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`LOCKFILE_VERSION`].
    pub lockfile_version: u32,
    /// One a function and region, sorted by name, region and account.
    pub functions: Vec<Entry>,
}

impl Default for Lock {
    fn default() -> Self {
        Self {
            lockfile_version: LOCKFILE_VERSION,
            functions: Vec::new(),
        }
    }
}

/// One function in one region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `FunctionName`.
    pub name: String,
    /// The region.
    pub region: String,
    /// The account, with `--with-account`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `$LATEST`.
    pub latest: Locked,
    /// The aliases by name.
    pub aliases: BTreeMap<String, LockedAlias>,
    /// A difference that the team accepts. Written by hand; kept when the entry is updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<LockedAccept>,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// `Zip` or `Image`.
    pub package_type: String,
    /// As Lambda states it: base64 for a zip, hex for an image.
    pub code_sha256: Option<String>,
    /// In bytes; 0 for an image.
    pub code_size: Option<u64>,
    /// `h1:…`; null for an image, and where the package was refused or a name has a newline.
    pub h1: Option<String>,
    /// `t1:…`; null for an image, and where the package was refused.
    pub tree: Option<String>,
    /// `sha256:<hex>`; null for a zip.
    pub image_digest: Option<String>,
    /// In the order in which Lambda applies them.
    pub layers: Vec<LockedLayer>,
    /// `Runtime`; null for an image.
    pub runtime: Option<String>,
    /// `Handler`; null for an image.
    pub handler: Option<String>,
    /// `Architectures`.
    pub architectures: BTreeSet<String>,
    /// In MiB.
    pub memory_size: Option<u64>,
    /// In seconds.
    pub timeout: Option<u64>,
    /// `Role`.
    pub role: Option<String>,
    /// The names of environment variables, never their values.
    pub environment: BTreeSet<String>,
    /// `ConfigSha256`, where AWS gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_sha256: Option<String>,
}

/// A layer version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedLayer {
    /// Its ARN.
    pub arn: String,
    /// `CodeSha256`; null when the layer version is deleted or denied.
    pub code_sha256: Option<String>,
    /// In bytes.
    pub code_size: Option<u64>,
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedAlias {
    /// The version that gets what `weights` leave over.
    pub version: String,
    /// Further versions, each with its share of the calls.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, Number>,
    /// Every version that it routes to.
    pub versions: BTreeMap<String, Locked>,
}

/// A difference that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedAccept {
    /// What may be deployed instead, as Lambda states it; any code, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_sha256: Option<String>,
    /// The last day it is accepted on: `2026-12-31`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Why. A lock without it is refused: an exception that nobody can explain is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Lock {
    /// Reads a lockfile.
    ///
    /// # Errors
    /// It is none, of a newer version, or contradicts itself: kind [`Usage`](ErrorKind::Usage).
    pub fn from_json(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            lockfile_version: u64,
        }
        let broken = |e: serde_json::Error| {
            let error = Error::new(ErrorKind::Usage, "this is no larder.lock");
            match std::str::from_utf8(json) {
                Ok(text) if text.contains("<<<<<<<") && text.contains(">>>>>>>") => {
                    error.because("it holds the marks of a merge conflict")
                }
                _ => error.because(e),
            }
            .hint("larder lock writes it; take the last good one from version control")
        };
        let Version { lockfile_version } = serde_json::from_slice(json).map_err(broken)?;
        if lockfile_version > u64::from(LOCKFILE_VERSION) {
            return Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "the lockfile has version {lockfile_version}; this larder reads up to {LOCKFILE_VERSION}"
                ),
            )
            .hint("a newer larder wrote it; use that one or a later one"));
        }
        if lockfile_version == 0 {
            return Err(Error::new(
                ErrorKind::Usage,
                "the lockfile has version 0, which there never was",
            ));
        }
        let mut lock: Self = serde_json::from_slice(json).map_err(broken)?;
        lock.check()?;
        lock.sort();
        Ok(lock)
    }

    /// Reads what lies in the file `path`, which errors then name beside the entry.
    ///
    /// # Errors
    /// As of [`Lock::from_json`].
    pub fn from_file(path: &str, json: &[u8]) -> Result<Self> {
        Self::from_json(json).map_err(|e| {
            let Some(entry) = e.subject() else {
                return e.about(path);
            };
            let named = Error::new(e.kind(), format!("{entry}: {}", e.message())).about(path);
            match e.hint_text() {
                Some(hint) => named.hint(hint),
                None => named,
            }
        })
    }

    fn sort(&mut self) {
        self.functions.sort_by(|a, b| a.key().cmp(&b.key()));
    }

    /// The file's bytes: pretty JSON with a newline at the end.
    pub fn to_json(&mut self) -> Vec<u8> {
        self.sort();
        // Maps have texts as keys, so that JSON can say all of it.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// The entry of a function. One without an account is of any.
    pub fn find(&self, name: &str, region: &str, account: &str) -> Option<usize> {
        self.functions.iter().position(|entry| {
            entry.name == name
                && entry.region == region
                && entry.account.as_deref().is_none_or(|a| a == account)
        })
    }
}

impl Entry {
    fn key(&self) -> (&str, &str, Option<&str>) {
        (&self.name, &self.region, self.account.as_deref())
    }

    fn reference(&self) -> Result<FunctionRef, String> {
        let function: FunctionRef = self.name.parse().map_err(|e| format!("{e}"))?;
        if function.as_typed() != function.name() {
            return Err("a bare name is expected".to_owned());
        }
        Ok(function)
    }

    fn all(&self) -> impl Iterator<Item = &Locked> {
        let aliases = self.aliases.values();
        std::iter::once(&self.latest).chain(aliases.flat_map(|alias| alias.versions.values()))
    }

    /// What is locked of a version with this digest, wherever it stands.
    pub fn with_code(&self, code_sha256: &str) -> Option<&Locked> {
        self.all()
            .find(|locked| locked.code_sha256.as_deref() == Some(code_sha256))
    }

    /// The layer versions that are locked with their hashes. Layer versions are immutable.
    pub fn layers(&self) -> impl Iterator<Item = &LockedLayer> {
        self.all().flat_map(|locked| &locked.layers)
    }
}

/// `arn` without the account where that is `account`: so an entry without its account has none in its ARNs either.
pub fn without_account(arn: &str, account: &str) -> String {
    let mut parts: Vec<&str> = arn.splitn(6, ':').collect();
    if parts.len() == 6 && parts[0] == "arn" && parts[4] == account {
        parts[4] = "";
    }
    parts.join(":")
}

/// `arn` with `account` where it has none.
pub fn with_account(arn: &str, account: &str) -> String {
    let mut parts: Vec<&str> = arn.splitn(6, ':').collect();
    if parts.len() == 6 && parts[0] == "arn" && parts[4].is_empty() {
        parts[4] = account;
    }
    parts.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;
    use crate::drift::Named;
    use std::path::{Path, PathBuf};

    pub(super) fn entry(name: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            region: "eu-west-1".to_owned(),
            account: None,
            latest: Locked {
                package_type: "Zip".to_owned(),
                code_sha256: Some(Sha256Digest::of(name.as_bytes()).base64()),
                code_size: Some(7),
                h1: None,
                tree: Some(format!("t1:{}", Sha256Digest::of(b"t").base64())),
                image_digest: None,
                layers: vec![LockedLayer {
                    arn: "arn:aws:lambda:eu-west-1::layer:common:3".to_owned(),
                    code_sha256: None,
                    code_size: Some(1),
                }],
                runtime: Some("python3.13".to_owned()),
                handler: None,
                architectures: BTreeSet::from(["arm64".to_owned()]),
                memory_size: Some(128),
                timeout: Some(3),
                role: None,
                environment: BTreeSet::from(["B".to_owned(), "A".to_owned()]),
                config_sha256: None,
            },
            aliases: BTreeMap::new(),
            accept: None,
        }
    }

    #[test]
    fn the_same_state_gives_the_same_bytes_and_is_read_back() {
        let mut lock = Lock {
            functions: vec![entry("b"), entry("a")],
            ..Lock::default()
        };
        let mut other = Lock {
            functions: vec![entry("a"), entry("b")],
            ..Lock::default()
        };
        let bytes = lock.to_json();
        assert_eq!(bytes, other.to_json());
        assert!(bytes.ends_with(b"}\n"));
        assert_eq!(Lock::from_json(&bytes).unwrap(), lock);
        let files: BTreeMap<PathBuf, Vec<u8>> = [("larder.lock".into(), bytes.clone())].into();
        let stated = read(Path::new("larder.lock"), &files).unwrap();
        assert_eq!(stated.expectations.len(), 2);
        let text = String::from_utf8(bytes).unwrap();
        for expectation in &stated.expectations {
            let line = expectation.source.line.unwrap() as usize;
            let Named::Function(function) = &expectation.target.function else {
                panic!("no function")
            };
            let want = format!("\"name\": \"{}\"", function.name());
            assert!(text.lines().nth(line - 1).unwrap().contains(&want));
        }
    }

    #[test]
    fn what_is_wrong_with_a_lockfile_is_said() {
        let mut good = Lock {
            functions: vec![entry("a")],
            ..Lock::default()
        };
        let good: serde_json::Value = serde_json::from_slice(&good.to_json()).unwrap();
        let changed = |pointer: &str, value: serde_json::Value| {
            let mut json = good.clone();
            *json.pointer_mut(pointer).unwrap() = value;
            json.to_string()
        };
        let twice = serde_json::json!([good["functions"][0], good["functions"][0]]);
        for (json, says) in [
            (String::new(), "no larder.lock"),
            ("{}".to_owned(), "no larder.lock"),
            ("[]".to_owned(), "no larder.lock"),
            (changed("/lockfile_version", 2.into()), "version 2"),
            (changed("/lockfile_version", 0.into()), "version 0"),
            (changed("/functions", twice), "twice"),
            (changed("/functions/0/name", "a:1".into()), "bare name"),
            (changed("/functions/0/name", "a b".into()), "no function"),
            (changed("/functions/0/region", "x".into()), "no region"),
            (
                changed("/functions/0/latest/code_sha256", "abc".into()),
                "no SHA-256",
            ),
            (
                changed("/functions/0/latest/tree", "abc".into()),
                "no content hash",
            ),
            (
                changed(
                    "/functions/0/aliases",
                    serde_json::json!({"l": {"version": "1", "versions": {}}}),
                ),
                "routes to 1",
            ),
        ] {
            let error = Lock::from_json(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{json}");
            assert!(error.to_string().contains(says), "{says}: {error}");
        }
        let conflict = b"{\n<<<<<<< HEAD\n=======\n>>>>>>> x\n}";
        let error = Lock::from_json(conflict).unwrap_err();
        assert!(error.causes()[0].contains("merge conflict"));
    }

    #[test]
    fn accounts_are_taken_out_and_put_back() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:layer:common:3";
        let without = "arn:aws:lambda:eu-west-1::layer:common:3";
        assert_eq!(without_account(arn, "123456789012"), without);
        assert_eq!(without_account(arn, "999999999999"), arn);
        assert_eq!(with_account(without, "123456789012"), arn);
        assert_eq!(with_account(arn, "999999999999"), arn);
        assert_eq!(with_account("run", "123456789012"), "run");
    }
}
