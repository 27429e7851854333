//! What is left out of a comparison with a directory: `.larderignore` and globs, in the form of `.gitignore`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{Files, IgnoreRules};
use crate::error::{Error, ErrorKind, Result};

/// The file of rules at the root of a directory. It is never compared itself.
pub const LARDERIGNORE: &str = ".larderignore";

/// Rules that paths are held against.
#[derive(Debug, Clone)]
pub struct Ignore(Gitignore);

impl Ignore {
    /// The rules of the `.larderignore` at the root of `directory`, if there is one, and `rules`.
    ///
    /// # Errors
    /// The file cannot be read or is no text, or a line is no glob.
    pub fn load(directory: &Path, rules: &IgnoreRules, files: &dyn Files) -> Result<Self> {
        let path = directory.join(LARDERIGNORE);
        let text = match files.kind(&path) {
            None => String::new(),
            Some(_) => String::from_utf8(files.read(&path)?).map_err(|e| {
                Error::new(ErrorKind::Usage, "is no text in UTF-8")
                    .about(path.display().to_string())
                    .because(e)
            })?,
        };
        let mut builder = GitignoreBuilder::new("");
        for (number, line) in (1_u64..).zip(text.lines()) {
            builder.add_line(None, line).map_err(|e| {
                Error::new(ErrorKind::Usage, format!("line {number} is no glob"))
                    .about(path.display().to_string())
                    .because(e)
            })?;
        }
        for line in &rules.lines {
            builder.add_line(None, line).map_err(|e| {
                Error::new(ErrorKind::Usage, "is no glob")
                    .about(line)
                    .because(e)
            })?;
        }
        builder.build().map(Self).map_err(|e| {
            Error::new(
                ErrorKind::Usage,
                "the rules of what to leave out cannot be used",
            )
            .because(e)
        })
    }

    /// Whether the path below the root is left out, by itself or with a directory above it.
    pub fn matches(&self, path: &[u8], directory: bool) -> bool {
        if path == LARDERIGNORE.as_bytes() {
            return true;
        }
        let path = Path::new(OsStr::from_bytes(path));
        !self.0.is_empty()
            && self
                .0
                .matched_path_or_any_parents(path, directory)
                .is_ignore()
    }

    /// Whether nothing but the file of rules itself is left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn rules_are_those_of_gitignore() {
        let files: BTreeMap<PathBuf, Vec<u8>> = [(
            PathBuf::from("dist/.larderignore"),
            b"# comment\n*.map\n!keep.map\n/build/\n__pycache__/\n".to_vec(),
        )]
        .into();
        let rules = IgnoreRules {
            lines: vec!["*.log".to_owned()],
        };
        let ignore = Ignore::load(Path::new("dist"), &rules, &files).unwrap();
        for (path, directory, ignored) in [
            ("a.map", false, true),
            ("x/a.map", false, true),
            ("keep.map", false, false),
            ("build", true, true),
            ("build/x", false, true),
            ("sub/build/x", false, false),
            ("a/__pycache__/b.pyc", false, true),
            ("a.log", false, true),
            ("index.js", false, false),
            (".larderignore", false, true),
            ("sub/.larderignore", false, false),
        ] {
            assert_eq!(
                ignore.matches(path.as_bytes(), directory),
                ignored,
                "{path}"
            );
        }
        let none = Ignore::load(Path::new("x"), &IgnoreRules::default(), &files).unwrap();
        assert!(none.is_empty() && !none.matches(b"a.map", false));
    }

    #[test]
    fn what_is_no_glob_is_refused() {
        let rules = IgnoreRules {
            lines: vec!["[z-a]".to_owned()],
        };
        let none: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        let error = Ignore::load(Path::new("x"), &rules, &none).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}
