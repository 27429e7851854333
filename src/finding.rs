//! What is found where something is verified: values, never errors.

use serde::Serialize;

/// What kind of thing was found. Scripts rely on the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// It should be there and is not.
    Missing,
    /// Its content is not what was recorded.
    Modified,
    /// It is there and nothing lists it.
    Unexpected,
    /// A file that may be executed and should not be, or the other way round; or a mode that no package gives.
    Mode,
    /// It is another kind of thing than recorded, or a link that leads elsewhere.
    Type,
    /// A link, a device, a pipe or a socket where none may be.
    Special,
    /// A path that leads out of the directory, or that cannot be.
    Path,
    /// A path is listed twice.
    Duplicate,
    /// It is not of the form that it should have.
    Malformed,
    /// Two records of the same thing do not agree.
    Contradiction,
    /// A version or an algorithm that is not known.
    Unsupported,
    /// It cannot be read.
    Unreadable,
    /// There is no signature, and one was asked for.
    Unsigned,
    /// The signature is broken, or not over these bytes.
    Signature,
    /// The signature is right, and its key is not one that is trusted.
    Untrusted,
    /// The time stamp is broken, not of this signature, or not by an authority that is trusted.
    Timestamp,
    /// The chain of custody does not hold.
    Custody,
    /// More findings than are told.
    More,
}

impl FindingKind {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Modified => "modified",
            Self::Unexpected => "unexpected",
            Self::Mode => "mode",
            Self::Type => "type",
            Self::Special => "special",
            Self::Path => "path",
            Self::Duplicate => "duplicate",
            Self::Malformed => "malformed",
            Self::Contradiction => "contradiction",
            Self::Unsupported => "unsupported",
            Self::Unreadable => "unreadable",
            Self::Unsigned => "unsigned",
            Self::Signature => "signature",
            Self::Untrusted => "untrusted",
            Self::Timestamp => "timestamp",
            Self::Custody => "custody",
            Self::More => "more",
        }
    }
}

/// One thing that is not as it should be. The order is that in which a reader wants them: by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Where, relative to what is verified, with what is no UTF-8 replaced; empty for the whole.
    pub path: String,
    /// What is wrong, with both values where there are two.
    pub message: String,
}

impl Finding {
    fn key(&self) -> (&str, FindingKind, &str) {
        (&self.path, self.kind, &self.message)
    }
}

impl Ord for Finding {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Finding {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_json_are_the_names() {
        for kind in [
            FindingKind::Missing,
            FindingKind::Unsigned,
            FindingKind::Contradiction,
        ] {
            let json = serde_json::to_value(kind).unwrap();
            assert_eq!(json, kind.name());
        }
    }

    #[test]
    fn findings_are_in_the_order_of_their_paths() {
        let finding = |kind, path: &str| Finding {
            kind,
            path: path.to_owned(),
            message: String::new(),
        };
        let mut list = [
            finding(FindingKind::Missing, "b"),
            finding(FindingKind::Modified, "a"),
            finding(FindingKind::Missing, "a"),
        ];
        list.sort();
        let order: Vec<_> = list.iter().map(|f| (f.path.as_str(), f.kind)).collect();
        assert_eq!(
            order,
            [
                ("a", FindingKind::Missing),
                ("a", FindingKind::Modified),
                ("b", FindingKind::Missing)
            ]
        );
    }
}
