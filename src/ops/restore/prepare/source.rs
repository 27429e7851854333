//! Where Lambda takes the code from: the zip in the store, the customer's object, or an image.

use super::super::kept::Kept;
use super::super::to_lambda::Versions;
use super::{CodeSource, Notes, Preparation};
use crate::aws::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::package::{Claim, CodeLocation, S3ObjectRef};
use crate::task::blocking;
use crate::transfer::{self, Renew, Target as Download};

impl Preparation<'_> {
    /// Where the code of a version comes from.
    pub(super) async fn source(&self, kept: &Kept, notes: &mut Notes) -> Result<CodeSource> {
        if kept.is_image() {
            return self.image(kept).map(CodeSource::Image);
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

    /// The image: as it was given, or the backup's digest in the repository that was given.
    fn image(&self, kept: &Kept) -> Result<String> {
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
        match (tagged, self.options.versions) {
            (true, Versions::One) => Ok(uri.clone()),
            (true, Versions::All) => Err(wrong(
                ErrorKind::Usage,
                "has a tag, and versions have different images: give the repository alone",
            )),
            (false, _) => Ok(format!("{uri}@sha256:{digest}")),
        }
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
