//! Images: by digest; and where that is not enough, by what the expected reference names in its registry.

use super::Checker;
use super::code::Outcome;
use super::wanted::WantedImage;
use crate::digest::Sha256Digest;
use crate::drift::Status;
use crate::error::{Error, ErrorKind, Result};
use crate::function::FunctionRef;
use crate::image::reference::without_secrets;
use crate::image::{self, Named, Platform, Repository};
use crate::lambda::Listed;
use crate::ops::deployed::Place;

impl Checker {
    /// Compares an image function that runs `digest` with what is wanted, the cheapest first: digests, what Lambda says that it was
    /// deployed from, the registry.
    pub(super) async fn image(
        &mut self,
        place: &Place,
        image: &WantedImage,
        function: &FunctionRef,
        listed: &Listed,
        digest: Sha256Digest,
        mut outcome: Outcome,
    ) -> Result<Outcome> {
        outcome.expected.code_sha256 = image.digest.map(|d| d.hex());
        outcome.expected.image_uri.clone_from(&image.uri);
        outcome.expected.basis.clone_from(&image.basis);
        let outcome = match image.digest {
            Some(expected) if expected == digest => Ok(outcome.is(Status::InSync, None)),
            Some(_) if !image.may_be_index => {
                let reason = format!("the image sha256:{} is deployed", digest.hex());
                Ok(outcome.is(Status::Drifted, Some(reason)))
            }
            Some(expected) => {
                let subject = (expected, image.uri.as_deref());
                self.index(place, subject, function, listed, digest, outcome)
                    .await
            }
            None => {
                self.by_reference(place, image, function, listed, digest, outcome)
                    .await
            }
        }?;
        if self.options.resolve_tags {
            return self
                .tag_note(place, image, function, listed, digest, outcome)
                .await;
        }
        Ok(outcome)
    }

    /// Another digest is deployed, and the expected one may be that of an index with the deployed image in it.
    async fn index(
        &self,
        place: &Place,
        (expected, uri): (Sha256Digest, Option<&str>),
        function: &FunctionRef,
        listed: &Listed,
        digest: Sha256Digest,
        mut outcome: Outcome,
    ) -> Result<Outcome> {
        let deployed = format!("the image sha256:{} is deployed", digest.hex());
        // What it was deployed from settles it without the registry.
        let from = match self.deployed_from(place, function).await {
            Ok(from) => from,
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
            Err(e) if uri.is_none() => return Ok(outcome.unknown(&e)),
            Err(_) => None,
        };
        outcome.deployed.image_uri.clone_from(&from);
        if from.as_deref().and_then(digest_of) == Some(expected) {
            outcome.notes.push(format!(
                "the expected digest is an index; its image sha256:{} is deployed",
                digest.hex()
            ));
            return Ok(outcome.is(Status::InSync, None));
        }
        let Some(reference) = uri.or(from.as_deref()) else {
            return Ok(outcome.unknown(&Error::new(
                ErrorKind::Usage,
                format!("{deployed}; the expected digest may be an index, and its repository is GetFunction's to say, which --no-download leaves out"),
            )
            .hint("expect the digest of the image for the function's architecture")));
        };
        let named = match repository(reference) {
            Ok((repository, _)) => {
                let reporter = &*self.reporter;
                image::look(&place.registries, &repository, expected, reporter).await
            }
            Err(e) => Err(e),
        };
        match named {
            Ok(named) => Ok(of_named(
                &named,
                "the expected digest is",
                listed,
                digest,
                outcome,
            )),
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            Err(e) => {
                let mut outcome = outcome.unknown(&e);
                outcome.reason = Some(format!(
                    "{deployed}; whether the expected digest is an index with it, its registry does not tell: {}",
                    e.sentence()
                ));
                Ok(outcome)
            }
        }
    }

    /// Only a reference with a tag is expected: compared with the reference that was deployed.
    async fn by_reference(
        &self,
        place: &Place,
        image: &WantedImage,
        function: &FunctionRef,
        listed: &Listed,
        digest: Sha256Digest,
        mut outcome: Outcome,
    ) -> Result<Outcome> {
        let expected = image.uri.as_deref().unwrap_or_default();
        let from = match self.deployed_from(place, function).await {
            Ok(from) => from,
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
            Err(e) => return Ok(outcome.unknown(&e)),
        };
        outcome.deployed.image_uri.clone_from(&from);
        if from.as_deref() == Some(expected) {
            if !self.options.resolve_tags {
                outcome.notes.push(format!(
                    "compared by its reference, {expected}: a tag that has moved since is not seen (--resolve-tags)"
                ));
            }
            return Ok(outcome.is(Status::InSync, None));
        }
        if self.options.resolve_tags {
            return match self.tag(place, expected).await {
                Ok(named) => Ok(of_named(
                    &named,
                    "the expected tag names",
                    listed,
                    digest,
                    outcome,
                )),
                Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
                Err(e) => Ok(outcome.unknown(&e)),
            };
        }
        let Some(from) = from else {
            let what = if self.options.download {
                "Lambda does not say by which reference"
            } else {
                "by which reference is GetFunction's to say, which --no-download leaves out"
            };
            return Ok(outcome.unknown(
                &Error::new(
                    ErrorKind::Usage,
                    format!("the image sha256:{} is deployed; {what}", digest.hex()),
                )
                .hint("--resolve-tags asks the registry what the expected tag names"),
            ));
        };
        let reason = format!("the image was deployed from {from}");
        Ok(outcome.is(Status::Drifted, Some(reason)))
    }

    /// Says where a tag names another image by now than the one that runs. That is no drift: Lambda keeps what the tag named.
    async fn tag_note(
        &self,
        place: &Place,
        image: &WantedImage,
        function: &FunctionRef,
        listed: &Listed,
        digest: Sha256Digest,
        mut outcome: Outcome,
    ) -> Result<Outcome> {
        let tagged = |uri: &Option<String>| uri.clone().filter(|uri| tag_of(uri).is_some());
        let mut uri = tagged(&image.uri).or_else(|| tagged(&outcome.deployed.image_uri));
        if uri.is_none() && outcome.deployed.image_uri.is_none() {
            match self.deployed_from(place, function).await {
                Ok(from) => {
                    uri = tagged(&from);
                    outcome.deployed.image_uri = from;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
                Err(e) => {
                    let why = e.sentence();
                    outcome.notable = true;
                    outcome
                        .notes
                        .push(format!("its tag could not be looked at: {why}"));
                    return Ok(outcome);
                }
            }
        }
        let Some(uri) = uri else {
            return Ok(outcome);
        };
        match self.tag(place, &uri).await {
            Ok(named) => {
                let there = holds(&named, listed, digest);
                let now = named.image_for(&platform(listed)).unwrap_or(named.digest);
                // The verdict names it already where it rests on the tag.
                if !there && outcome.status == Some(Status::InSync) {
                    outcome.notable = true;
                    outcome.notes.push(format!(
                        "the tag of {uri} has moved: it names sha256:{} now, and sha256:{} is deployed",
                        now.hex(),
                        digest.hex()
                    ));
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
            Err(e) => {
                outcome.notable = true;
                outcome.notes.push(format!(
                    "whether the tag of {uri} has moved could not be told: {}",
                    e.sentence()
                ));
            }
        }
        Ok(outcome)
    }

    /// What the tag of a reference names now.
    async fn tag(&self, place: &Place, uri: &str) -> Result<Named> {
        let (repository, tag) = repository(uri)?;
        let Some(tag) = tag else {
            return Err(
                Error::new(ErrorKind::Usage, "the reference of the image has no tag").about(uri),
            );
        };
        image::look_up_tag(&place.registries, &repository, tag, &*self.reporter).await
    }

    /// The reference that the image was deployed from: a tag, or the digest of an image or index. None without GetFunction.
    async fn deployed_from(&self, place: &Place, function: &FunctionRef) -> Result<Option<String>> {
        if !self.options.download {
            return Ok(None);
        }
        let described = place.lambda.describe(function).await?;
        let uri = described.answer().text("/Code/ImageUri");
        Ok(uri.map(without_secrets))
    }
}

/// The verdict on a function that runs `digest`, by what the expected reference names.
fn of_named(
    named: &Named,
    what: &str,
    listed: &Listed,
    digest: Sha256Digest,
    mut outcome: Outcome,
) -> Outcome {
    let platform = platform(listed);
    if holds(named, listed, digest) {
        if named.images.is_some() {
            outcome.notes.push(format!(
                "{what} an index; its image for {platform}, sha256:{}, is deployed",
                digest.hex()
            ));
        }
        return outcome.is(Status::InSync, None);
    }
    let deployed = format!("the image sha256:{} is deployed", digest.hex());
    let reason = match (&named.images, named.image_for(&platform)) {
        (None, _) => format!("{deployed}; {what} the image sha256:{}", named.digest.hex()),
        (Some(_), Some(own)) => format!(
            "{deployed}; {what} an index whose image for {platform} is sha256:{}",
            own.hex()
        ),
        (Some(_), None) => format!("{deployed}; {what} an index without an image for {platform}"),
    };
    outcome.is(Status::Drifted, Some(reason))
}

/// Whether `digest` is what `named` means for the function: itself, its image for the architecture, or one of an index that states
/// no platforms.
fn holds(named: &Named, listed: &Listed, digest: Sha256Digest) -> bool {
    named.digest == digest
        || named.image_for(&platform(listed)) == Some(digest)
        || named.holds_unnamed(digest)
}

fn platform(listed: &Listed) -> Platform {
    Platform::of_function(listed.answer().text("/Architectures/0"))
}

/// The repository of a reference, and the tag in it.
fn repository(reference: &str) -> Result<(Repository, Option<&str>)> {
    Repository::parse(reference).map_err(|e| {
        Error::new(ErrorKind::Usage, e.to_string())
            .hint("expect the digest of the image for the function's architecture")
    })
}

fn digest_of(uri: &str) -> Option<Sha256Digest> {
    let (_, hex) = uri.rsplit_once("@sha256:")?;
    Sha256Digest::from_hex(hex).ok()
}

fn tag_of(uri: &str) -> Option<&str> {
    Repository::parse(uri).ok().and_then(|(_, tag)| tag)
}
