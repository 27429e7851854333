//! Which functions a command is about, when it is about several.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, ErrorKind, Result};
use crate::lambda::Listed;

/// Which of a region's functions are meant. Without any condition all are.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
    /// Each must be there: key and value. Looked up apart, because a listing has no tags.
    pub tags: Vec<(String, String)>,
    /// `Zip` or `Image`.
    pub package_type: Option<String>,
    /// Any of these runtimes; empty is any at all.
    pub runtimes: Vec<String>,
}

impl Selection {
    /// Names that match one of `include`, if any is given, and none of `exclude`. A pattern is a glob over the whole name:
    /// `*`, `?`, `[a-z]`, `{a,b}`.
    ///
    /// # Errors
    /// A pattern is none.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        Ok(Self {
            include: globs("--include", include)?,
            exclude: globs("--exclude", exclude)?,
            ..Self::default()
        })
    }

    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.include.is_none()
            && self.exclude.is_none()
            && self.tags.is_empty()
            && self.package_type.is_none()
            && self.runtimes.is_empty()
    }

    /// Whether `listed` is meant. `tagged` holds the unqualified ARNs of the functions that have [`Selection::tags`]; None
    /// where no tag was asked for.
    pub fn matches(&self, listed: &Listed, tagged: Option<&BTreeSet<String>>) -> bool {
        self.matches_name(listed.name())
            && tagged.is_none_or(|arns| arns.contains(listed.function_arn()))
            && self
                .package_type
                .as_deref()
                .is_none_or(|wanted| wanted == listed.package_type())
            && (self.runtimes.is_empty()
                || listed
                    .runtime()
                    .is_some_and(|runtime| self.runtimes.iter().any(|wanted| wanted == runtime)))
    }

    /// Whether a name is meant, as far as names decide.
    pub fn matches_name(&self, name: &str) -> bool {
        self.include.as_ref().is_none_or(|set| set.is_match(name))
            && !self.exclude.as_ref().is_some_and(|set| set.is_match(name))
    }
}

fn globs(option: &str, patterns: &[String]) -> Result<Option<GlobSet>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    let bad = |pattern: &str, e: globset::Error| {
        Error::new(
            ErrorKind::Usage,
            format!("{pattern:?} is no pattern of names"),
        )
        .about(option)
        .because(e.kind().to_string())
        .hint("write it like api-*, or {api,web}-?")
    };
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern)
            .backslash_escape(true)
            .build()
            .map_err(|e| bad(pattern, e))?;
        set.add(glob);
    }
    let set = set.build().map_err(|e| bad(&patterns.join(" "), e))?;
    Ok(Some(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(include: &[&str], exclude: &[&str]) -> Selection {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        Selection::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn names_are_matched_whole() {
        for (include, exclude, name, meant) in [
            (&[][..], &[][..], "api", true),
            (&["api"], &[], "api", true),
            (&["api"], &[], "api-2", false),
            (&["api-*", "web"], &[], "web", true),
            (&["{api,web}-?"], &[], "web-1", true),
            (&["api-[0-9]"], &[], "api-x", false),
            (&["*"], &["*-dev"], "api-dev", false),
            (&[], &["*-dev"], "api-prod", true),
            (&["API"], &[], "api", false),
        ] {
            let selection = selection(include, exclude);
            assert_eq!(
                selection.matches_name(name),
                meant,
                "{include:?} {exclude:?} {name}"
            );
        }
        assert!(selection(&[], &[]).is_everything());
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        for pattern in ["[", "{a", "[z-a]"] {
            let e = Selection::new(&[], &[pattern.to_owned()]).unwrap_err();
            assert_eq!(
                (e.kind(), e.subject()),
                (ErrorKind::Usage, Some("--exclude"))
            );
            assert!(e.to_string().contains(pattern), "{e}");
        }
    }
}
