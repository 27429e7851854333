//! The code of one version compared with what is expected of it, in the cheapest order: digests, then contents that were seen before,
//! then a download.

use std::sync::Arc;

use super::Checker;
use super::diffs::ExpectedSide;
use super::wanted::{Wanted, WantedImage, WantedZip};
use crate::digest::Sha256Digest;
use crate::drift::diff::Secrets;
use crate::drift::{ChangeKind, Changes, Contents, Deployed, Expected, Status, compare, loosened};
use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;
use crate::lambda::Listed;
use crate::ops::deployed::Place;
use crate::ops::obtain;
use crate::package::Verified;
use crate::task::blocking;
use crate::unpack;

/// How the code of one version compares.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) status: Option<Status>,
    pub(super) reason: Option<String>,
    pub(super) cause: Option<ErrorKind>,
    pub(super) expected: Expected,
    pub(super) deployed: Deployed,
    pub(super) changes: Changes,
    pub(super) notes: Vec<String>,
    pub(super) notable: bool,
}

impl Outcome {
    pub(super) fn is(mut self, status: Status, reason: Option<String>) -> Self {
        self.status = Some(status);
        self.reason = reason;
        self
    }

    pub(super) fn unknown(mut self, error: &Error) -> Self {
        self.status = Some(Status::Unknown);
        self.reason = Some(error.sentence());
        self.cause = Some(error.kind());
        self.notes.extend(error.hint_text().map(ToOwned::to_owned));
        self
    }
}

/// A deployed package: its contents, and itself where it was downloaded for them.
struct Looked {
    contents: Contents,
    package: Option<Verified>,
}

/// What a listing says about a version.
pub(super) fn deployed_of(listed: &Listed) -> Deployed {
    Deployed {
        version: Some(listed.version().to_owned()),
        package_type: Some(listed.package_type().to_owned()),
        code_sha256: listed.code_sha256_text().map(ToOwned::to_owned),
        last_modified: listed.last_modified().map(ToOwned::to_owned),
        ..Deployed::default()
    }
}

impl Checker {
    /// Compares the code of `listed`, which is `function` at one version.
    ///
    /// # Errors
    /// The run was interrupted, or something of larder's own failed. What cannot be told is an outcome.
    #[expect(
        clippy::too_many_lines,
        reason = "one match over what may be wanted and what may be deployed"
    )]
    pub(super) async fn code(
        &mut self,
        place: &Place,
        wanted: &Wanted,
        function: &FunctionRef,
        listed: &Listed,
        secrets: &Secrets,
    ) -> Result<Outcome> {
        let outcome = Outcome {
            deployed: deployed_of(listed),
            ..Outcome::default()
        };
        let image = listed.package_type() == "Image";
        let digest = listed
            .code_sha256_text()
            .map(str::parse::<Sha256Digest>)
            .transpose()
            .ok()
            .flatten();
        let Some(digest) = digest else {
            return Ok(match wanted {
                Wanted::Unstated => outcome.is(Status::InSync, None),
                _ => outcome.unknown(
                    &Error::new(
                        ErrorKind::Service,
                        "Lambda states no CodeSha256 that can be read",
                    )
                    .about(function.to_string()),
                ),
            });
        };
        match wanted {
            Wanted::Unstated => Ok(outcome.is(Status::InSync, None)),
            Wanted::Zip(zip) if !image => {
                if zip.sha256 == digest
                    && let (Some(stated), Some(size)) = (zip.size, listed.code_size())
                    && stated != size
                {
                    return Ok(outcome.unknown(&Error::new(
                        ErrorKind::Usage,
                        format!("the source states {stated} bytes for the zip that is deployed, which has {size}: it contradicts itself"),
                    )
                    .hint("it was changed by hand, or badly merged: larder lock writes it anew")));
                }
                self.zip(place, zip, function, digest, outcome, secrets)
                    .await
            }
            Wanted::Zip(zip) if zip.any_type => {
                let image = WantedImage {
                    digest: Some(zip.sha256),
                    uri: None,
                    basis: zip.basis.clone(),
                    may_be_index: true,
                };
                self.image(place, &image, function, listed, digest, outcome)
                    .await
            }
            Wanted::Zip(zip) => {
                let mut outcome = outcome;
                outcome.expected.code_sha256 = Some(zip.sha256.base64());
                outcome.expected.basis.clone_from(&zip.basis);
                Ok(outcome.is(
                    Status::Drifted,
                    Some("a zip is expected, and an image is deployed".to_owned()),
                ))
            }
            Wanted::Directory { .. } if image => Ok(outcome.is(
                Status::Drifted,
                Some("a zip is expected, and an image is deployed".to_owned()),
            )),
            Wanted::Directory {
                path,
                contents,
                ignore,
            } => {
                let looked = match self.look(place, function, digest).await? {
                    Ok(Some(looked)) => looked,
                    Ok(None) => {
                        return Ok(outcome.unknown(&Error::new(
                            ErrorKind::Usage,
                            "a directory is compared by contents, which --no-download leaves out",
                        )));
                    }
                    Err(e) => return Ok(outcome.unknown(&e)),
                };
                let mut outcome = outcome;
                set_hashes(
                    &mut outcome.deployed.h1,
                    &mut outcome.deployed.tree,
                    &looked.contents,
                );
                let (loose, ignored) = loosened(&looked.contents, ignore);
                let changes = compare(contents, &loose);
                outcome.expected.h1 = contents.hashes().h1;
                outcome.notes.push(
                    "compared as a directory: links followed, modes and empty directories left out"
                        .to_owned(),
                );
                if ignored > 0 {
                    outcome.notes.push(format!(
                        "{ignored} deployed files are left out by the rules"
                    ));
                }
                if changes.is_empty() {
                    return Ok(outcome.is(Status::InSync, None));
                }
                let reason = count_changes(&changes);
                outcome.changes = changes;
                let side = ExpectedSide::Directory(path.clone());
                self.diffs(
                    place,
                    function,
                    digest,
                    looked.package,
                    side,
                    &mut outcome,
                    secrets,
                )
                .await?;
                Ok(outcome.is(Status::Drifted, Some(reason)))
            }
            Wanted::Image(image_wanted) if image => {
                self.image(place, image_wanted, function, listed, digest, outcome)
                    .await
            }
            Wanted::Image(wanted) => {
                let mut outcome = outcome;
                outcome.expected.code_sha256 = wanted.digest.map(|d| d.hex());
                outcome.expected.image_uri.clone_from(&wanted.uri);
                outcome.expected.basis.clone_from(&wanted.basis);
                Ok(outcome.is(
                    Status::Drifted,
                    Some("an image is expected, and a zip is deployed".to_owned()),
                ))
            }
        }
    }

    async fn zip(
        &mut self,
        place: &Place,
        zip: &WantedZip,
        function: &FunctionRef,
        digest: Sha256Digest,
        mut outcome: Outcome,
        secrets: &Secrets,
    ) -> Result<Outcome> {
        outcome.expected.code_sha256 = Some(zip.sha256.base64());
        outcome.expected.basis.clone_from(&zip.basis);
        outcome.expected.tree.clone_from(&zip.tree);
        outcome.expected.h1.clone_from(&zip.h1);
        if digest == zip.sha256 {
            outcome.deployed.tree.clone_from(&zip.tree);
            outcome.deployed.h1.clone_from(&zip.h1);
            return Ok(outcome.is(Status::InSync, None));
        }
        let other = "another zip is deployed";
        outcome.notes.extend(
            zip.instead
                .iter()
                .filter(|(sha256, _)| *sha256 == digest)
                .map(|(_, note)| note.clone()),
        );
        // What is expected, as far as it can be had without asking Lambda for a package.
        let cached = self.options.cache.get(zip.sha256);
        let package = match (&cached, self.options.diff) {
            (Some(_), false) => None,
            _ => match self.expected_package(zip).await {
                Ok(package) => package,
                Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
                Err(e) => return Ok(outcome.unknown(&e.about("the expected package"))),
            },
        };
        let expected = cached;
        if expected.is_none() && package.is_none() && zip.tree.is_none() && zip.h1.is_none() {
            return Ok(outcome.is(
                Status::Drifted,
                Some(format!(
                    "{other}; of the expected one only the digest is known"
                )),
            ));
        }
        let looked = match self.look(place, function, digest).await? {
            Ok(Some(looked)) => looked,
            Ok(None) => {
                return Ok(outcome.is(
                    Status::Drifted,
                    Some(format!(
                        "{other}; contents were not compared (--no-download)"
                    )),
                ));
            }
            Err(e) => return Ok(outcome.unknown(&e)),
        };
        set_hashes(
            &mut outcome.deployed.h1,
            &mut outcome.deployed.tree,
            &looked.contents,
        );
        let (expected, package) = match (expected, package) {
            (Some(contents), package) => (Some(contents), package),
            (None, Some(package)) => {
                let (package, contents) = self.read(package).await?;
                match contents {
                    Ok(contents) => (Some(contents), Some(package)),
                    Err(e) => return Ok(outcome.unknown(&e.about("the expected package"))),
                }
            }
            (None, None) => (None, None),
        };
        let Some(expected) = expected else {
            return Ok(self.by_hashes(zip, outcome));
        };
        set_hashes(
            &mut outcome.expected.h1,
            &mut outcome.expected.tree,
            &expected,
        );
        let changes = compare(&expected, &looked.contents);
        if changes.is_empty() {
            return Ok(self.repackaged(outcome));
        }
        let reason = count_changes(&changes);
        outcome.changes = changes;
        let side = package.map_or(ExpectedSide::None, ExpectedSide::Package);
        self.diffs(
            place,
            function,
            digest,
            looked.package,
            side,
            &mut outcome,
            secrets,
        )
        .await?;
        Ok(outcome.is(Status::Drifted, Some(reason)))
    }

    /// Of the expected zip only content hashes are known.
    fn by_hashes(&self, zip: &WantedZip, mut outcome: Outcome) -> Outcome {
        let same = match (&zip.tree, &zip.h1) {
            (Some(_), _) => zip.tree == outcome.deployed.tree,
            (None, h1) => *h1 == outcome.deployed.h1,
        };
        if zip.tree.is_none() {
            outcome.notes.push(
                "compared by h1, which leaves out modes, links and empty directories".to_owned(),
            );
        }
        if same {
            return self.repackaged(outcome);
        }
        let reason = "other contents are deployed; which files differ cannot be told without the expected package";
        outcome.is(Status::Drifted, Some(reason.to_owned()))
    }

    fn repackaged(&self, outcome: Outcome) -> Outcome {
        let reason = "the same contents are deployed in another zip".to_owned();
        if self.options.strict {
            outcome.is(Status::Drifted, Some(format!("{reason} (--strict)")))
        } else {
            outcome.is(Status::Repackaged, Some(reason))
        }
    }

    /// The contents of the deployed package of this digest: from the cache, else downloaded. None where that is not wanted. The
    /// inner error is one that makes the result unknown.
    async fn look(
        &self,
        place: &Place,
        function: &FunctionRef,
        digest: Sha256Digest,
    ) -> Result<Result<Option<Looked>>> {
        if let Some(contents) = self.options.cache.get(digest) {
            return Ok(Ok(Some(Looked {
                contents,
                package: None,
            })));
        }
        if !self.options.download {
            return Ok(Ok(None));
        }
        let package = match self.fetch(place, function, digest).await {
            Ok(package) => package,
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
            Err(e) => return Ok(Err(e)),
        };
        let (package, contents) = self.read(package).await?;
        Ok(contents.map(|contents| {
            Some(Looked {
                contents,
                package: Some(package),
            })
        }))
    }

    pub(super) async fn fetch(
        &self,
        place: &Place,
        function: &FunctionRef,
        digest: Sha256Digest,
    ) -> Result<Verified> {
        let reporter = Arc::clone(&self.reporter);
        obtain::function_package(&place.session, &place.lambda, function, digest, reporter).await
    }

    /// Reads the contents of a package, and keeps them in the cache.
    pub(super) async fn read(&self, package: Verified) -> Result<(Verified, Result<Contents>)> {
        let (limits, cancel) = (self.options.limits.clone(), self.cancel.clone());
        let cache = self.options.cache.clone();
        blocking(move || {
            let contents = Contents::of_package(&package, &limits, &cancel);
            if cancel.is_cancelled() {
                return Err(Error::interrupted());
            }
            if let Ok(contents) = &contents
                && limits.duplicates == unpack::Duplicates::Refuse
            {
                cache.put(package.sha256(), contents);
            }
            Ok((package, contents))
        })
        .await
    }
}

fn set_hashes(h1: &mut Option<String>, tree: &mut Option<String>, contents: &Contents) {
    let hashes = contents.hashes();
    *h1 = hashes.h1;
    *tree = Some(hashes.tree);
}

/// `1 file modified, 2 added`.
pub(super) fn count_changes(changes: &Changes) -> String {
    let of = |kind| changes.list.iter().filter(|c| c.change == kind).count();
    let mut parts = Vec::new();
    for (kind, word) in [
        (ChangeKind::Modified, "modified"),
        (ChangeKind::Added, "added"),
        (ChangeKind::Removed, "removed"),
        (ChangeKind::Mode, "with another mode"),
        (ChangeKind::Type, "of another type"),
    ] {
        let count = of(kind);
        if count > 0 {
            let files = match (parts.is_empty(), count) {
                (true, 1) => " file",
                (true, _) => " files",
                (false, _) => "",
            };
            parts.push(format!("{count}{files} {word}"));
        }
    }
    if changes.left_out > 0 {
        parts.push(format!("{} more", changes.left_out));
    }
    parts.join(", ")
}
