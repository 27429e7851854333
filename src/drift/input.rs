//! How a parser of expectations reads files, and what it hands back.
//!
//! A parser takes the path as the user gave it and a [`Files`], so that it is a plain function of what lies there: the program
//! gives it the [`Disk`], a test may give it a map.

use std::path::{Path, PathBuf};

use super::Expectation;
use crate::error::Result;
use crate::files;

pub use crate::files::FileKind;

/// The largest file of expectations that is read, in bytes. Terraform states of whole accounts stay far below it.
pub const MAX_INPUT: u64 = 256 << 20;

/// What a parser made of its source.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stated {
    /// One for each function, in the order of the source.
    pub expectations: Vec<Expectation>,
    /// What of the source was left out or looks wrong, and is not about one of the functions above.
    pub warnings: Vec<StatedWarning>,
}

/// Something the user should know about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedWarning {
    /// What it is about: the file, or a resource in it.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Where a parser reads.
pub trait Files {
    /// The content of a file of at most [`MAX_INPUT`] bytes.
    ///
    /// # Errors
    /// It does not exist, is larger, or cannot be read.
    fn read(&self, path: &Path) -> Result<Vec<u8>>;

    /// What there is at `path`; None when there is nothing, or something else.
    fn kind(&self, path: &Path) -> Option<FileKind>;
}

/// The real files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        Ok(files::read_small(path, MAX_INPUT)?)
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        files::kind(path)
    }
}

/// Files in memory, for tests of parsers.
impl Files for std::collections::BTreeMap<PathBuf, Vec<u8>> {
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        use crate::error::{Error, ErrorKind};
        self.get(path).cloned().ok_or_else(|| {
            Error::new(ErrorKind::Io, "does not exist").about(path.display().to_string())
        })
    }

    fn kind(&self, path: &Path) -> Option<FileKind> {
        if self.contains_key(path) {
            Some(FileKind::File)
        } else {
            self.keys()
                .any(|file| file.starts_with(path))
                .then_some(FileKind::Directory)
        }
    }
}
