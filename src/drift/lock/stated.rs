//! A lockfile as expectations.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Lock, Locked, LockedLayer};
use crate::drift::{
    Accept, AliasExpectation, Code, Config, Expectation, Files, Layer, Named, Source, SourceKind,
    State, Stated, Target,
};
use crate::error::{Error, ErrorKind, Result};

/// Reads the lockfile at `path` as expectations.
///
/// # Errors
/// It cannot be read, or is no lockfile of a version that is known.
pub fn read(path: &Path, files: &dyn Files) -> Result<Stated> {
    let shown = path.display().to_string();
    let json = files.read(path)?;
    let lock = Lock::from_file(&shown, &json)?;
    let lines = lines(&json);
    let mut stated = Stated::default();
    for entry in &lock.functions {
        let function = entry
            .reference()
            .map_err(|e| Error::new(ErrorKind::Usage, e).about(shown.clone()))?;
        let label = format!("{} in {}", entry.name, entry.region);
        let line = lines.get(&(entry.name.clone(), entry.region.clone()));
        stated.expectations.push(Expectation {
            target: Target {
                function: Named::Function(function),
                region: Some(entry.region.clone()),
                account: entry.account.clone(),
                qualifier: None,
            },
            source: Source::new(SourceKind::Lock, shown.clone())
                .labelled(label)
                .at_line(line.copied()),
            state: entry.latest.state(),
            aliases: entry
                .aliases
                .iter()
                .map(|(name, alias)| AliasExpectation {
                    name: name.clone(),
                    version: alias.version.clone(),
                    weights: alias
                        .weights
                        .iter()
                        .map(|(version, weight)| {
                            (version.clone(), weight.as_f64().unwrap_or_default())
                        })
                        .collect(),
                    versions: alias
                        .versions
                        .iter()
                        .map(|(version, locked)| (version.clone(), locked.state()))
                        .collect(),
                    source: None,
                })
                .collect(),
            aliases_complete: true,
            accept: entry.accept.as_ref().map(|accept| Accept {
                code_sha256: accept.code_sha256.clone(),
                until: accept.until.clone(),
                reason: accept.reason.clone(),
            }),
            notes: Vec::new(),
        });
    }
    Ok(stated)
}

/// The line of each entry's name in a file as larder writes it; of another form none are known.
fn lines(json: &[u8]) -> BTreeMap<(String, String), u32> {
    let text = String::from_utf8_lossy(json);
    let value = |line: &str, field: &str| -> Option<String> {
        let rest = line.strip_prefix(&format!("      \"{field}\": "))?;
        serde_json::from_str(rest.trim_end_matches(',')).ok()
    };
    let mut found = BTreeMap::new();
    let mut name: Option<(String, u32)> = None;
    for (number, line) in (1_u32..).zip(text.lines()) {
        if let Some(here) = value(line, "name") {
            name = Some((here, number));
        } else if let Some(region) = value(line, "region")
            && let Some((name, number)) = name.take()
        {
            found.entry((name, region)).or_insert(number);
        }
    }
    found
}

impl Locked {
    fn state(&self) -> State {
        let digest = |text: &Option<String>| text.as_ref().and_then(|d| d.parse().ok());
        let basis = "code_sha256 of the lock".to_owned();
        let code = match (digest(&self.code_sha256), self.package_type.as_str()) {
            (code, "Image") => Code::Image {
                digest: digest(&self.image_digest).or(code),
                uri: None,
                basis: "image digest of the lock".to_owned(),
            },
            (Some(sha256), _) => Code::Digest {
                sha256,
                size: self.code_size,
                tree: self.tree.clone(),
                h1: self.h1.clone(),
                basis,
                instead: Vec::new(),
            },
            (None, _) => Code::CannotTell("the lock has no code_sha256 of it".to_owned()),
        };
        State {
            code,
            layers: Some(self.layers.iter().map(LockedLayer::expected).collect()),
            config: Config {
                package_type: Some(self.package_type.clone()),
                runtime: self.runtime.clone(),
                handler: self.handler.clone(),
                architectures: Some(self.architectures.clone()),
                memory_size: self.memory_size,
                timeout: self.timeout,
                role: self.role.clone(),
                environment: Some(self.environment.clone()),
                config_sha256: self.config_sha256.clone(),
                ..Config::default()
            },
        }
    }
}

impl LockedLayer {
    fn expected(&self) -> Layer {
        let digest = self.code_sha256.as_ref().and_then(|d| d.parse().ok());
        Layer {
            label: self.arn.clone(),
            arn: Some(self.arn.clone()),
            code: digest.map_or(Code::Unstated, |sha256| Code::Digest {
                sha256,
                size: None,
                tree: None,
                h1: None,
                basis: "code_sha256 of the lock".to_owned(),
                instead: Vec::new(),
            }),
        }
    }
}
