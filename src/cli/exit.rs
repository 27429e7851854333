//! How a run ends: the one table of exit codes, for the help, the man pages and the README alike.

use std::fmt::Write as _;

use crate::error::ErrorKind;

/// An exit code and its meaning. Scripts rely on these; a code is never given a second meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was asked for is done.
    Done = 0,
    /// Something is not what it should be: drift, a digest, a length, a record.
    Difference = 1,
    /// What was asked for cannot be right.
    Usage = 2,
    /// Some of several functions failed. A command about one function never answers this.
    SomeFailed = 3,
    /// AWS refused the caller.
    Refused = 4,
    /// What was asked for does not exist.
    NotFound = 5,
    /// AWS or the network could not be had.
    Unavailable = 6,
    /// The archive was refused.
    Archive = 7,
    /// The local machine was in the way.
    Local = 8,
    /// An invariant of larder failed.
    Bug = 70,
    /// The user ended the run.
    Interrupted = 130,
}

impl Exit {
    /// Every code, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Difference,
        Self::Usage,
        Self::SomeFailed,
        Self::Refused,
        Self::NotFound,
        Self::Unavailable,
        Self::Archive,
        Self::Local,
        Self::Bug,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What the code means, as the table has it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done; in sync",
            Self::Difference => {
                "a difference was found: drift, a digest or size that does not match (also HTML, XML or another length answered with status 200), a record that does not verify"
            }
            Self::Usage => {
                "usage: bad arguments, bad local input (a malformed name, lockfile, state file)"
            }
            Self::SomeFailed => "some of several functions failed, the rest are done",
            Self::Refused => "AWS refused: no or expired credentials, access denied",
            Self::NotFound => "not found: function, version, alias, layer, snapshot",
            Self::Unavailable => {
                "AWS or the network could not be had after the retries: throttled, 5xx, time-outs, broken transfers, fewer bytes than Content-Length, URLs that stay expired after renewal"
            }
            Self::Archive => "the archive was refused as unsafe or broken",
            Self::Local => "local I/O: disk full, no permission, DEST exists",
            Self::Bug => "a bug: an invariant failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Each kind of failure has one code.
impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Mismatch => Self::Difference,
            ErrorKind::NoCredentials | ErrorKind::CredentialsRefused | ErrorKind::AccessDenied => {
                Self::Refused
            }
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Throttled
            | ErrorKind::Service
            | ErrorKind::Timeout
            | ErrorKind::Network
            | ErrorKind::Transfer
            | ErrorKind::UrlExpired
            | ErrorKind::Unsettled
            | ErrorKind::NoCode => Self::Unavailable,
            ErrorKind::ArchiveUnsafe | ErrorKind::ArchiveBroken => Self::Archive,
            ErrorKind::DestinationExists | ErrorKind::Io | ErrorKind::DiskFull => Self::Local,
            ErrorKind::Bug => Self::Bug,
            ErrorKind::Interrupted => Self::Interrupted,
        }
    }
}

/// The table as `--help` shows it: lines of at most 90 characters, a code's text in a column.
pub fn table() -> String {
    let mut out = String::new();
    for exit in Exit::ALL {
        // Writing to a String does not fail.
        let _ = write!(out, "  {:>3} ", exit.code());
        let mut column = 6;
        for word in exit.meaning().split(' ') {
            if column + 1 + word.len() > 90 {
                out.push_str("\n      ");
                column = 6;
            }
            out.push(' ');
            out.push_str(word);
            column += 1 + word.len();
        }
        out.push('\n');
    }
    out
}

/// The table as the README has it.
pub fn markdown() -> String {
    Exit::ALL.iter().fold(
        String::from("| code | meaning |\n|---|---|\n"),
        |mut out, exit| {
            let _ = writeln!(out, "| {} | {} |", exit.code(), exit.meaning());
            out
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|e| e.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 70, 130]);
    }

    #[test]
    fn each_kind_has_its_code() {
        for (kind, code) in [
            (ErrorKind::Usage, 2),
            (ErrorKind::Mismatch, 1),
            (ErrorKind::NoCredentials, 4),
            (ErrorKind::CredentialsRefused, 4),
            (ErrorKind::AccessDenied, 4),
            (ErrorKind::NotFound, 5),
            (ErrorKind::Throttled, 6),
            (ErrorKind::Service, 6),
            (ErrorKind::Timeout, 6),
            (ErrorKind::Network, 6),
            (ErrorKind::Transfer, 6),
            (ErrorKind::UrlExpired, 6),
            (ErrorKind::Unsettled, 6),
            (ErrorKind::NoCode, 6),
            (ErrorKind::ArchiveUnsafe, 7),
            (ErrorKind::ArchiveBroken, 7),
            (ErrorKind::DestinationExists, 8),
            (ErrorKind::Io, 8),
            (ErrorKind::DiskFull, 8),
            (ErrorKind::Bug, 70),
            (ErrorKind::Interrupted, 130),
        ] {
            assert_eq!(Exit::from(kind).code(), code, "{kind:?}");
        }
    }

    #[test]
    fn the_readme_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(path).expect("README.md is at the root");
        assert!(
            readme.contains(&markdown()),
            "README.md lacks this table:\n{}",
            markdown()
        );
    }
}
