//! The image of an image function: what Lambda says of it, and with `pull_image` the image itself, by digest.

use std::sync::Arc;

use serde_json::json;

use super::outcome::{Trouble, VersionOutcome};
use super::version::version_arn;
use super::{Place, Run, is_fatal};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::files;
use crate::image::layout::{INDEX_JSON, OCI_LAYOUT, blob_path};
use crate::image::{self, Destination, Platform, PullOptions, Pulled, Registries};
use crate::lambda::Described;
use crate::package::ImageRef;
use crate::record::{IMAGE, ImageRecord, Status};
use crate::task::blocking;

/// The largest of the layout's own files, in bytes.
const MAX_LAYOUT_FILE: u64 = 1 << 20;

impl Run<'_> {
    /// Records the image, and whether its two digests agree.
    ///
    /// # Errors
    /// A fatal one.
    pub(super) async fn image(
        &self,
        place: &Place,
        described: &Described,
        image: &ImageRef,
        directory: &str,
        out: &mut VersionOutcome,
    ) -> Result<()> {
        let stated = described.code_sha256_text().map(ToOwned::to_owned);
        let digest = image.digest();
        let mut record = ImageRecord::stated(image, stated.as_deref());
        out.status = Status::Image;
        let agree = match (&digest, &stated) {
            (Some(Ok(digest)), Some(stated)) => {
                stated.parse::<Sha256Digest>().ok() == Some(*digest)
            }
            (Some(Err(_)), _) => false,
            _ => true,
        };
        if !agree {
            out.fail(Trouble {
                kind: ErrorKind::Mismatch,
                reason: format!(
                    "the image's digest is {} where CodeSha256 is {}",
                    record.digest.as_deref().unwrap_or_default(),
                    stated.as_deref().unwrap_or("missing")
                ),
                hint: None,
            });
        } else if self.options.pull_image {
            match self.pull(place, described, image, directory).await {
                Ok(pulled) => super::super::fetch::image::fill(&mut record, &pulled),
                Err(e) if is_fatal(e.kind()) => return Err(e),
                Err(e) => {
                    let trouble = Trouble::of(&e);
                    out.fail(Trouble {
                        reason: format!("the image could not be pulled: {}", trouble.reason),
                        ..trouble
                    });
                }
            }
        }
        self.log.note(
            "image",
            json!({"subject": version_arn(described), "image": record, "agrees": agree, "reason": out.reason}),
        );
        // These types hold nothing that JSON cannot say.
        let mut json = serde_json::to_vec_pretty(&record).unwrap_or_default();
        json.push(b'\n');
        self.document(&format!("{directory}/image.json"), &json)?;
        out.image = Some(record);
        Ok(())
    }

    /// Pulls it into an OCI layout, whose files are listed; one that breaks off leaves nothing.
    async fn pull(
        &self,
        place: &Place,
        described: &Described,
        image: &ImageRef,
        directory: &str,
    ) -> Result<Pulled> {
        let permit = self.downloads.acquire().await;
        let _permit = permit.map_err(|e| Error::new(ErrorKind::Bug, "no turn came").because(e))?;
        let own = described.answer().text("/Configuration/Architectures/0");
        let to = Destination {
            staging: Arc::clone(self.bag.staging()),
            place: format!("{directory}/{IMAGE}"),
        };
        self.bag.staging().ensure_private_dir(directory)?;
        let pulled = image::pull(
            &Registries::new(&place.session, Arc::clone(&self.log) as Arc<dyn Reporter>),
            image,
            &to,
            &PullOptions::new(Platform::of_function(own)),
            &*self.log as &dyn Reporter,
            &self.cancel,
        )
        .await;
        let path = self.bag.payload_dir().join(&to.place);
        let pulled = match pulled {
            Ok(pulled) => pulled,
            Err(e) => {
                let (staging, name) = (Arc::clone(&to.staging), to.place.clone());
                blocking(move || Ok(staging.remove_dir(&name)?)).await?;
                return Err(e);
            }
        };
        self.bag.staging().make_private(&to.place)?;
        for name in [INDEX_JSON, OCI_LAYOUT] {
            let bytes = files::read_small(&path.join(name), MAX_LAYOUT_FILE)?;
            let at = format!("{}/{name}", to.place);
            self.bag
                .list(&at, Sha256Digest::of(&bytes), bytes.len() as u64)?;
        }
        let manifests = pulled.manifests.iter().map(|m| (m.digest, m.size));
        let blobs = pulled.blobs.iter().map(|b| (b.digest, b.size));
        for (digest, size) in manifests.chain(blobs) {
            let at = format!("{}/{}", to.place, blob_path(digest));
            self.bag.list(&at, digest, size)?;
        }
        Ok(pulled)
    }
}
