//! Which manifest of an index is pulled: the one for the platform.
//!
//! An entry without a platform is told by the configuration of the image that it names, as containerd does it. Where several
//! fit, the first is taken, as skopeo and containerd take it, and the others are named.

use std::collections::HashSet;

use serde_json::Value;

use super::super::manifest::{self, Descriptor, Kind, MAX_MANIFEST};
use super::{To, Work};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::files;
use crate::image::Platform;
use crate::image::layout::blob_path;

/// How many entries without a platform are looked into.
const MAX_LOOKED_INTO: usize = 16;

impl Work<'_> {
    /// The entry of an index that is pulled.
    pub(super) async fn choose(&self, children: Vec<Descriptor>) -> Result<Descriptor> {
        if let [only] = &children[..]
            && only.platform.is_none()
        {
            return Ok(only.clone());
        }
        let wanted = &self.options.platform;
        let mut fitting: Vec<Descriptor> = Vec::new();
        let (stated, unstated): (Vec<_>, Vec<_>) =
            children.into_iter().partition(|c| c.platform.is_some());
        let offers: Vec<String> = stated
            .iter()
            .filter_map(|child| child.platform.as_ref())
            .map(ToString::to_string)
            .collect();
        let fits = |child: &Descriptor| child.platform.as_ref().is_some_and(|p| wanted.accepts(p));
        fitting.extend(stated.into_iter().filter(fits));
        if fitting.is_empty() {
            fitting = self.told_by_configuration(unstated).await?;
        }
        let mut seen = HashSet::new();
        fitting.retain(|child| seen.insert(child.digest));
        let mut fitting = fitting.into_iter();
        let Some(chosen) = fitting.next() else {
            let error = Error::new(
                ErrorKind::NotFound,
                format!("the index names no image for {wanted}"),
            )
            .about(self.reference.to_string());
            return Err(if offers.is_empty() {
                error.hint("its entries name no platform, and no configuration of theirs is one for this platform; --platform names another")
            } else {
                let offers = offers.join(", ");
                error.hint(format!("--platform chooses one; there are: {offers}"))
            });
        };
        let others: Vec<String> = fitting.map(|child| self.offer(&child)).collect();
        if !others.is_empty() {
            self.reporter.report(&Event::Warning {
                subject: &self.reference.to_string(),
                message: &format!(
                    "the index names {} images for {wanted}: {} is taken, the first, and not {}",
                    others.len() + 1,
                    self.offer(&chosen),
                    others.join(", ")
                ),
                hint: Some(
                    "this is what other tools run; --platform OS/ARCH/VARIANT chooses where variants differ",
                ),
            });
        }
        Ok(chosen)
    }

    /// `sha256:<hex> (linux/arm/v7)`.
    fn offer(&self, child: &Descriptor) -> String {
        let platform = child.platform.as_ref().unwrap_or(&self.options.platform);
        format!("sha256:{} ({platform})", child.digest)
    }

    /// Of entries without a platform, those whose image's configuration names the one that is wanted. What an earlier pull
    /// chose stays chosen, without asking.
    async fn told_by_configuration(&self, children: Vec<Descriptor>) -> Result<Vec<Descriptor>> {
        let (mut kept, mut others) = (Vec::new(), Vec::new());
        for child in children {
            if !manifest::known(&child.media_type) {
                continue;
            }
            match self.kept(child.digest).await {
                Some(_) => kept.push(child),
                None => others.push(child),
            }
        }
        if kept.len() + others.len() > MAX_LOOKED_INTO {
            return Err(Error::new(
                ErrorKind::ArchiveBroken,
                format!("the index has more than {MAX_LOOKED_INTO} entries without a platform"),
            )
            .about(self.reference.to_string())
            .hint("none of them was looked into"));
        }
        let mut found = Vec::new();
        for child in kept {
            found.extend(self.with_platform(child).await?);
        }
        if found.is_empty() {
            for child in others {
                found.extend(self.with_platform(child).await?);
            }
        }
        Ok(found)
    }

    /// An entry with the platform of its configuration, if that is the one that is wanted.
    async fn with_platform(&self, child: Descriptor) -> Result<Option<Descriptor>> {
        let config = match self.document(&child, true).await?.manifest.kind {
            Kind::Image { config, .. } if config.size <= MAX_MANIFEST => config,
            _ => return Ok(None),
        };
        let json = match self.kept(config.digest).await {
            Some(json) => json,
            None => self.small_blob(config.digest).await?,
        };
        let platform =
            platform_of(&json).filter(|platform| self.options.platform.accepts(platform));
        Ok(platform.map(|platform| Descriptor {
            platform: Some(platform),
            ..child
        }))
    }

    /// A manifest or small blob that is here already, if it still has its digest.
    pub(super) async fn kept(&self, digest: Sha256Digest) -> Option<Vec<u8>> {
        let bytes = match self.to {
            To::Depot(depot) => depot.kept(digest).await?,
            To::Layout(_) => {
                let dir = self.options.kept.as_ref()?;
                files::read_small(&dir.join(blob_path(digest)), MAX_MANIFEST).ok()?
            }
        };
        (Sha256Digest::of(&bytes) == digest).then_some(bytes)
    }
}

/// `os`, `architecture` and `variant` of a configuration (OCI Image Specification 1.1, "Image Configuration").
fn platform_of(json: &[u8]) -> Option<Platform> {
    let json: Value = serde_json::from_slice(json).ok()?;
    let text = |field: &str| Some(json.get(field)?.as_str()?.to_owned());
    Some(Platform {
        os: text("os")?,
        architecture: text("architecture")?,
        variant: text("variant").filter(|variant| !variant.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_its_platform_or_none() {
        let of = |json: &str| platform_of(json.as_bytes()).map(|p| p.to_string());
        let arm = r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#;
        assert_eq!(of(arm).as_deref(), Some("linux/arm64/v8"));
        let amd = r#"{"os":"linux","architecture":"amd64","variant":""}"#;
        assert_eq!(of(amd).as_deref(), Some("linux/amd64"));
        for json in [
            "{}",
            r#"{"os":"linux"}"#,
            "",
            "[]",
            r#"{"os":1,"architecture":2}"#,
        ] {
            assert_eq!(of(json), None, "{json}");
        }
    }
}
