//! Unified diffs of the files that differ, with `--diff`: read from both sides again, bounded, without secrets.

use super::Checker;
use super::code::Outcome;
use crate::digest::Sha256Digest;
use crate::drift::diff::{self, Secrets};
use crate::drift::{Change, ChangeKind};
use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;
use crate::ops::deployed::Place;
use crate::package::Verified;
use crate::task::blocking;
use crate::unpack;

/// How many files of a result are shown with a diff.
const MAX_DIFFS: usize = 100;

/// What contents were compared with, for a diff.
pub(super) enum ExpectedSide {
    None,
    Package(Verified),
    Directory(std::path::PathBuf),
}

impl Checker {
    /// Adds unified diffs to the changes, with `--diff`.
    #[expect(
        clippy::too_many_arguments,
        reason = "both sides of a comparison and where it goes"
    )]
    pub(super) async fn diffs(
        &mut self,
        place: &Place,
        function: &FunctionRef,
        digest: Sha256Digest,
        deployed: Option<Verified>,
        expected: ExpectedSide,
        outcome: &mut Outcome,
        secrets: &Secrets,
    ) -> Result<()> {
        let wanted = |change: &Change| {
            matches!(
                change.change,
                ChangeKind::Modified | ChangeKind::Added | ChangeKind::Removed
            )
        };
        if !self.options.diff || !outcome.changes.list.iter().any(wanted) {
            return Ok(());
        }
        if matches!(expected, ExpectedSide::None) {
            outcome
                .notes
                .push("no diff: the expected package is not at hand".to_owned());
            return Ok(());
        }
        let deployed = match deployed {
            Some(package) => package,
            None if !self.options.download => {
                outcome.notes.push("no diff: --no-download".to_owned());
                return Ok(());
            }
            None => match self.fetch(place, function, digest).await {
                Ok(package) => package,
                Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
                Err(e) => {
                    outcome.notes.push(format!("no diff: {}", e.sentence()));
                    return Ok(());
                }
            },
        };
        let (limits, secrets) = (self.options.limits.clone(), secrets.clone());
        let mut changes = std::mem::take(&mut outcome.changes.list);
        let mut budget = self.diff_budget;
        let cancel = self.cancel.clone();
        let (changes, budget, left_out) = blocking(move || {
            let right = Side::new(&deployed, &limits)?;
            let left = match &expected {
                ExpectedSide::Package(package) => Some(Side::new(package, &limits)?),
                _ => None,
            };
            let mut count = 0;
            for change in changes.iter_mut().filter(|change| wanted(change)) {
                if cancel.is_cancelled() {
                    return Err(Error::interrupted());
                }
                count += 1;
                if count > MAX_DIFFS || budget == 0 {
                    continue;
                }
                let before = match (&change.expected_sha256, &left, &expected) {
                    (None, _, _) => Content::Absent,
                    (Some(_), Some(side), _) => side.content(&change.path)?,
                    (Some(_), None, ExpectedSide::Directory(root)) => {
                        match crate::files::read_small(&root.join(&change.path), diff::MAX_FILE) {
                            Ok(bytes) => Content::Bytes(bytes),
                            Err(_) => Content::TooLarge,
                        }
                    }
                    (Some(_), None, _) => Content::TooLarge,
                };
                let after = match &change.deployed_sha256 {
                    None => Content::Absent,
                    Some(_) => right.content(&change.path)?,
                };
                change.diff = Some(match (&before, &after) {
                    (Content::TooLarge, _) | (_, Content::TooLarge) => {
                        "[left out: it is too large, or reached through a link]".to_owned()
                    }
                    _ => diff::unified(
                        &change.path,
                        before.bytes(),
                        after.bytes(),
                        &secrets,
                        &mut budget,
                    ),
                });
            }
            Ok((changes, budget, count > MAX_DIFFS || budget == 0))
        })
        .await?;
        outcome.changes.list = changes;
        self.diff_budget = budget;
        if left_out {
            outcome
                .notes
                .push("further diffs are left out: there are too many".to_owned());
        }
        Ok(())
    }
}

/// A package to read single files from.
struct Side<'a> {
    package: &'a Verified,
    plan: unpack::Plan,
}

enum Content {
    Absent,
    Bytes(Vec<u8>),
    TooLarge,
}

impl Content {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Absent | Self::TooLarge => None,
        }
    }
}

impl<'a> Side<'a> {
    fn new(package: &'a Verified, limits: &unpack::Limits) -> Result<Self> {
        Ok(Self {
            package,
            plan: unpack::plan(package, limits)?,
        })
    }

    fn content(&self, path: &str) -> Result<Content> {
        let mut content = Content::TooLarge;
        unpack::files(
            self.package,
            &self.plan,
            &[path.as_bytes()],
            diff::MAX_FILE,
            &mut |_, bytes| content = Content::Bytes(bytes),
        )?;
        Ok(content)
    }
}
