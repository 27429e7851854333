//! Objects of a store beside the blobs: listed with their times, and removed.

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::Store;
use super::run::RunName;
use crate::error::{ErrorKind, Result};

/// Where the files of forgotten runs lie until the grace of a prune is over.
pub(crate) const FORGOTTEN: &str = "forgotten";
/// Where the marks lie: `marks/<hex>` for a blob to which no run referred when a prune looked.
pub(crate) const MARKS: &str = "marks";
/// Where prunes say when they delete.
pub(crate) const PRUNES: &str = "prunes";

/// An object in a folder of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// Its name below the folder.
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    /// When it was written, by the clock of the store.
    pub(super) written: Timestamp,
    /// Tells one state of it from another.
    pub(super) state: String,
}

impl Store {
    /// All objects of a folder.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Object>> {
        let mut out = Vec::new();
        self.each_object(folder, |object| out.push(object)).await?;
        Ok(out)
    }

    /// The objects of a folder from one name on to another, both included.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub(super) async fn list_range(
        &self,
        folder: &str,
        first: &str,
        last: &str,
    ) -> Result<Vec<Object>> {
        let below = format!("{folder}/");
        // The offset itself is not listed; it is one before the first.
        let mut before = first.to_owned();
        before.pop();
        let offset = Path::from(format!("{below}{before}"));
        let (mut out, mut left) = (Vec::new(), true);
        let mut objects = self
            .objects
            .list_with_offset(Some(&Path::from(folder)), &offset);
        // A directory is listed in no order, a bucket in that of the names.
        let sorted = self.local.is_none();
        while left
            && let Some(meta) = objects
                .try_next()
                .await
                .map_err(|e| self.failed(e, folder))?
        {
            let Some(name) = meta.location.as_ref().strip_prefix(&below) else {
                continue;
            };
            if name > last {
                left = !sorted;
            } else if name >= first {
                out.push(object(name, &meta));
            }
        }
        Ok(out)
    }

    /// Each object of a folder that may be large.
    pub(super) async fn each_object(
        &self,
        folder: &str,
        mut each: impl FnMut(Object),
    ) -> Result<()> {
        let below = format!("{folder}/");
        let mut objects = self.objects.list(Some(&Path::from(folder)));
        while let Some(meta) = objects
            .try_next()
            .await
            .map_err(|e| self.failed(e, folder))?
        {
            let Some(name) = meta.location.as_ref().strip_prefix(&below) else {
                continue;
            };
            each(object(name, &meta));
        }
        Ok(())
    }

    /// Removes an object, and answers whether there was one.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) async fn remove(&self, name: &str) -> Result<bool> {
        match self.objects.delete(&Path::from(name)).await {
            Ok(()) => Ok(true),
            Err(e) => {
                let error = self.failed(e, name);
                match error.kind() {
                    ErrorKind::NotFound => Ok(false),
                    _ => Err(error),
                }
            }
        }
    }
}

fn object(name: &str, meta: &ObjectMeta) -> Object {
    let tag = meta.e_tag.as_deref().unwrap_or_default();
    Object {
        name: name.to_owned(),
        size: meta.size,
        written: written(meta),
        state: format!("{} {tag}", meta.last_modified),
    }
}

impl RunName {
    /// Where its file lies after the run was forgotten.
    pub(super) fn forgotten_file(&self) -> String {
        format!("{FORGOTTEN}/{}.json", self.as_str())
    }
}

/// When an object was written, by the clock of the store.
fn written(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from_millisecond(meta.last_modified.timestamp_millis())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
