//! The code of one version compared with what is expected of it, in the cheapest order: digests, then contents that were seen before,
//! then a download.

use std::sync::Arc;

use super::Checker;
use super::wanted::{Wanted, WantedImage, WantedZip};
use crate::digest::Sha256Digest;
use crate::drift::diff::{self, Secrets};
use crate::drift::{
    Change, ChangeKind, Changes, Contents, Deployed, Expected, Status, compare, loosened,
};
use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;
use crate::image::reference::without_secrets;
use crate::lambda::Listed;
use crate::ops::deployed::Place;
use crate::ops::obtain;
use crate::package::Verified;
use crate::task::blocking;
use crate::unpack;

/// How many files of a result are shown with a diff.
const MAX_DIFFS: usize = 100;

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

/// What contents were compared with, for a diff.
enum ExpectedSide {
    None,
    Package(Verified),
    Directory(std::path::PathBuf),
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
                self.image(place, &image, function, digest, outcome).await
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
                self.image(place, image_wanted, function, digest, outcome)
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
        if expected.is_none() && package.is_none() && zip.tree.is_none() {
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
            if zip.tree == outcome.deployed.tree {
                return Ok(self.repackaged(outcome));
            }
            return Ok(outcome.is(
                Status::Drifted,
                Some(
                    "other contents are deployed; which files differ cannot be told without the expected package"
                        .to_owned(),
                ),
            ));
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

    fn repackaged(&self, outcome: Outcome) -> Outcome {
        let reason = "the same contents are deployed in another zip".to_owned();
        if self.options.strict {
            outcome.is(Status::Drifted, Some(format!("{reason} (--strict)")))
        } else {
            outcome.is(Status::Repackaged, Some(reason))
        }
    }

    async fn image(
        &mut self,
        place: &Place,
        image: &WantedImage,
        function: &FunctionRef,
        digest: Sha256Digest,
        mut outcome: Outcome,
    ) -> Result<Outcome> {
        outcome.expected.code_sha256 = image.digest.map(|d| d.hex());
        outcome.expected.image_uri.clone_from(&image.uri);
        outcome.expected.basis.clone_from(&image.basis);
        if image.digest == Some(digest) {
            return Ok(outcome.is(Status::InSync, None));
        }
        let other = format!("the image sha256:{} is deployed", digest.hex());
        if image.digest.is_some() && !image.may_be_index {
            return Ok(outcome.is(Status::Drifted, Some(other)));
        }
        if !self.options.download {
            return Ok(outcome.unknown(&Error::new(
                ErrorKind::Usage,
                format!("{other}; what was deployed by name or index is GetFunction's to say, which --no-download leaves out"),
            )));
        }
        // What the function was deployed from: a tag, or the digest of an index.
        let described = match place.lambda.describe(function).await {
            Ok(described) => described,
            Err(e) => return Ok(outcome.unknown(&e)),
        };
        let uri = described
            .answer()
            .text("/Code/ImageUri")
            .map(ToOwned::to_owned);
        outcome.deployed.image_uri = uri.as_deref().map(without_secrets);
        let Some(uri) = uri else {
            return Ok(outcome.unknown(&Error::new(
                ErrorKind::NoCode,
                format!("{other}; Lambda does not say by which reference"),
            )));
        };
        match image.digest {
            None => {
                let expected = image.uri.as_deref().unwrap_or_default();
                if uri == expected {
                    outcome.notes.push(format!(
                        "compared by its reference, {uri}: a tag that has moved since is not seen"
                    ));
                    return Ok(outcome.is(Status::InSync, None));
                }
                Ok(outcome.is(
                    Status::Drifted,
                    Some(format!("the image was deployed from {uri}")),
                ))
            }
            Some(expected) => {
                let by = uri
                    .rsplit_once("@sha256:")
                    .and_then(|(_, hex)| Sha256Digest::from_hex(hex).ok());
                if by == Some(expected) {
                    outcome.notes.push(format!(
                        "the expected digest is an index; its image sha256:{} is deployed",
                        digest.hex()
                    ));
                    return Ok(outcome.is(Status::InSync, None));
                }
                Ok(outcome.unknown(&Error::new(
                    ErrorKind::Usage,
                    format!("{other}; the expected digest may be an index over several architectures, and the registry was not asked"),
                )
                .hint("expect the digest of the image for the function's architecture")))
            }
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

    async fn fetch(
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

    /// Adds unified diffs to the changes, with `--diff`.
    #[expect(
        clippy::too_many_arguments,
        reason = "both sides of a comparison and where it goes"
    )]
    async fn diffs(
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
