//! Where Lambda takes the code from: the zip in the store, the customer's object, or an image.

use super::super::kept::Kept;
use super::super::to_lambda::Versions;
use super::{CodeSource, Notes, Preparation};
use crate::aws::Session;
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::image::{self, Platform, Repository};
use crate::package::{Claim, CodeLocation, S3ObjectRef};
use crate::task::blocking;
use crate::transfer::{self, Renew, Target as Download};

impl Preparation<'_> {
    /// Where the code of a version comes from.
    pub(super) async fn source(&self, kept: &Kept, notes: &mut Notes) -> Result<CodeSource> {
        if kept.is_image() {
            return self.image(kept).await.map(CodeSource::Image);
        }
        let Some((bucket, key, version)) = kept.reference() else {
            return Ok(CodeSource::Zip);
        };
        let object = S3ObjectRef {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: version.map(ToOwned::to_owned),
        };
        match self.verified(kept, &object).await {
            Ok(()) => Ok(CodeSource::Reference(
                object.bucket,
                object.key,
                object.version,
            )),
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            Err(e) => {
                notes.lost(
                    "storage mode REFERENCE",
                    format!(
                        "s3://{bucket}/{key} cannot be used ({}): Lambda gets a COPY",
                        e.message()
                    ),
                );
                Ok(CodeSource::Zip)
            }
        }
    }

    /// Reads the customer's object and holds it against what the backup says: Lambda would take whatever lies there.
    async fn verified(&self, kept: &Kept, object: &S3ObjectRef) -> Result<()> {
        let elsewhere = kept.arn.split(':').nth(3) != Some(self.place.region.as_str());
        if elsewhere {
            return Err(Error::new(ErrorKind::Usage, "it is in another region"));
        }
        let record = kept.record.package.as_ref();
        let record =
            record.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no package"))?;
        let claim = super::super::claim(&record.code_sha256, record.size, &kept.arn)?;
        let code = CodeLocation::Object(object.clone());
        let mut again = Again {
            session: self.session,
            code: &code,
            claim: &claim,
        };
        let target = again.renew().await?;
        let directory = std::env::temp_dir();
        let spool = blocking(move || Ok(files::unnamed(&directory)?)).await?;
        let context = self.session.transfers(self.reporter);
        transfer::download(context, &kept.arn, target, &mut again, spool).await?;
        Ok(())
    }

    /// The image: the backup's digest in the repository that was given. Where a tag was given too, it must lead there, and what is
    /// sent is the digest nevertheless, since the tag may move.
    async fn image(&self, kept: &Kept) -> Result<String> {
        let Some(uri) = &self.options.image_uri else {
            return Ok(String::new());
        };
        let wrong = |kind, message: &str| Error::new(kind, message).about(&**uri);
        let digest = kept.code_sha256().unwrap_or_default();
        if let Some((_, stated)) = uri.split_once('@') {
            if stated.trim_start_matches("sha256:") != digest {
                let message = format!("is not the image of the backup, which is sha256:{digest}");
                return Err(wrong(ErrorKind::Mismatch, &message));
            }
            return Ok(uri.clone());
        }
        let tagged = uri
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains(':'));
        if !tagged {
            return Ok(format!("{uri}@sha256:{digest}"));
        }
        if self.options.versions == Versions::All {
            return Err(wrong(
                ErrorKind::Usage,
                "has a tag, and versions have different images: give the repository alone",
            ));
        }
        let with_digest = format!("give the URI with its digest: REPOSITORY@sha256:{digest}");
        let (repository, tag) = Repository::parse(uri)
            .map_err(|e| Error::new(ErrorKind::Usage, e.to_string()).hint(&*with_digest))?;
        let tag =
            tag.ok_or_else(|| wrong(ErrorKind::Usage, "has no valid tag").hint(&*with_digest))?;
        let named = image::look_up_tag(self.registries, &repository, tag, self.reporter)
            .await
            .map_err(|e| match e.kind() {
                ErrorKind::Interrupted => e,
                _ => e.hint_instead(&*with_digest),
            })?;
        let wanted = Sha256Digest::from_hex(digest).map_err(|e| {
            Error::new(
                ErrorKind::Mismatch,
                "the backup's CodeSha256 is no image digest",
            )
            .about(&*kept.arn)
            .because(e)
        })?;
        let platform = Platform::of_function(kept.architectures()[0].as_str());
        if named.digest != wanted
            && named.image_for(&platform) != Some(wanted)
            && !named.holds_unnamed(wanted)
        {
            let message = format!(
                "leads to sha256:{}, and the image of the backup is sha256:{digest}",
                named.image_for(&platform).unwrap_or(named.digest).hex()
            );
            return Err(wrong(ErrorKind::Mismatch, &message).hint(with_digest));
        }
        Ok(format!(
            "{}/{}@sha256:{digest}",
            repository.registry(),
            repository.name()
        ))
    }
}

/// Signs the URL of the same object again.
struct Again<'a> {
    session: &'a Session,
    code: &'a CodeLocation,
    claim: &'a Claim,
}

impl Renew for Again<'_> {
    async fn renew(&mut self) -> Result<Download> {
        crate::ops::target(self.session, self.code, self.claim.clone()).await
    }
}
