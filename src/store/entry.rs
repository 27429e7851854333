//! An entry of a region's index: a manifest, and what must be known about it without reading it.

use super::manifest::{ALIASES, CONFIG, Descriptor, FUNCTION, LAYER, MANIFEST};
use crate::digest::Sha256Digest;
use crate::record::Status;

const ARN: &str = "larder.arn";
const STATUS: &str = "larder.status";
const AT: &str = "larder.described-at";
const LISTED: &str = "larder.listed";
const CODE: &str = "larder.code";
const ENVIRONMENT: &str = "larder.environment";
const LAYERS: &str = "larder.layers";

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A function version.
    Function,
    /// A layer version.
    Layer,
    /// The aliases of a function.
    Aliases,
    /// What is beside the code of a function, or of a version of it; or of a region.
    Config,
}

impl Subject {
    const ALL: [Self; 4] = [Self::Function, Self::Layer, Self::Aliases, Self::Config];

    /// The artifact type of its manifest.
    pub fn artifact_type(self) -> &'static str {
        match self {
            Self::Function => FUNCTION,
            Self::Layer => LAYER,
            Self::Aliases => ALIASES,
            Self::Config => CONFIG,
        }
    }
}

/// One manifest of a region. Kept small: a run holds one for each function version in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub subject: Subject,
    /// The ARN: with the version at its end, but for aliases.
    pub arn: Box<str>,
    /// The manifest.
    pub manifest: Sha256Digest,
    /// The manifest's size in bytes.
    pub size: u64,
    /// How it ended in that run.
    pub status: Status,
    /// When AWS was asked: UTC.
    pub described_at: Box<str>,
    /// The SHA-256 of the configuration as it was listed; None where it could not be compared.
    pub listed: Option<Sha256Digest>,
    /// The SHA-256 of the zip, or of the top manifest of an image that was pulled.
    pub code: Option<Sha256Digest>,
    /// Whether the values of environment variables were left out.
    pub redacted: bool,
    /// Whether the layers were kept too.
    pub layers: bool,
}

impl Entry {
    pub(super) fn to_descriptor(&self) -> Descriptor {
        let mut out = Descriptor::new(MANIFEST, &self.manifest, self.size);
        out.artifact_type = Some(self.subject.artifact_type().to_owned());
        let mut note = |name: &str, value: String| out.annotations.insert(name.to_owned(), value);
        note(ARN, self.arn.to_string());
        note(STATUS, name_of(self.status));
        note(AT, self.described_at.to_string());
        if let Some(listed) = &self.listed {
            note(LISTED, listed.hex());
        }
        if let Some(code) = &self.code {
            note(CODE, code.hex());
        }
        if self.subject == Subject::Function {
            let environment = if self.redacted { "redacted" } else { "clear" };
            note(ENVIRONMENT, environment.to_owned());
            let layers = if self.layers { "used" } else { "none" };
            note(LAYERS, layers.to_owned());
        }
        out
    }

    /// None of a descriptor that is no entry: a later version may have others.
    pub(super) fn of_descriptor(descriptor: &Descriptor) -> Option<Self> {
        let subject = Subject::ALL
            .into_iter()
            .find(|s| descriptor.artifact_type.as_deref() == Some(s.artifact_type()))?;
        let digest = |name| {
            let hex = descriptor.annotation(name)?;
            Sha256Digest::from_hex(hex).ok()
        };
        Some(Self {
            subject,
            arn: descriptor.annotation(ARN)?.into(),
            manifest: descriptor.sha256().ok()?,
            size: descriptor.size,
            status: status_of(descriptor.annotation(STATUS)?)?,
            described_at: descriptor.annotation(AT).unwrap_or_default().into(),
            listed: digest(LISTED),
            code: digest(CODE),
            redacted: descriptor.annotation(ENVIRONMENT) == Some("redacted"),
            layers: descriptor.annotation(LAYERS) == Some("used"),
        })
    }

    /// Where the manifest is.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(MANIFEST, &self.manifest, self.size)
    }

    /// The function's or layer's name in the ARN.
    pub fn name(&self) -> &str {
        self.arn.split(':').nth(6).unwrap_or_default()
    }

    /// The ARN without the version at its end.
    pub fn unversioned(&self) -> &str {
        unversioned(&self.arn)
    }

    /// The version at the end of the ARN.
    pub fn version(&self) -> &str {
        self.arn.split(':').nth(7).unwrap_or_default()
    }
}

/// A function's or layer's ARN without the version at its end.
pub(crate) fn unversioned(arn: &str) -> &str {
    match arn.match_indices(':').nth(6) {
        Some((end, _)) => &arn[..end],
        None => arn,
    }
}

fn name_of(status: Status) -> String {
    match serde_json::to_value(status) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

fn status_of(name: &str) -> Option<Status> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let mut entry = Entry {
            subject: Subject::Function,
            arn: "arn:aws:lambda:us-east-1:123456789012:function:f:7".into(),
            manifest: Sha256Digest::of(b"m"),
            size: 1,
            status: Status::Saved,
            described_at: "2026-01-01T00:00:00.000Z".into(),
            listed: Some(Sha256Digest::of(b"l")),
            code: None,
            redacted: true,
            layers: false,
        };
        assert_eq!((entry.name(), entry.version()), ("f", "7"));
        for subject in [Subject::Function, Subject::Layer] {
            entry.subject = subject;
            entry.redacted = subject == Subject::Function;
            let read = Entry::of_descriptor(&entry.to_descriptor()).unwrap();
            assert_eq!(read, entry);
        }
        let mut other = entry.to_descriptor();
        other.artifact_type = Some("application/vnd.larder.other.v9+json".to_owned());
        assert_eq!(Entry::of_descriptor(&other), None);
    }
}
