//! A function version from a store back to a directory, in the layout of a fetch, verified again.

mod alias;
mod all;
mod apply;
mod beside;
mod environment;
mod fields;
mod find;
mod image;
mod kept;
mod layers;
mod plan;
mod prepare;
mod target;
mod to_lambda;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use find::Found;

use super::fetch::layers::LAYER_JSON;
use super::fetch::package::{Item, Unpacking};
use super::fetch::{discard, write_new};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::files::{PublishOptions, Staging};
use crate::function::FunctionRef;
use crate::package::{Claim, Verified};
use crate::record::{FUNCTION_JSON, PACKAGE_ZIP, RECORD, Record};
use crate::store::{Descriptor, Entry, Manifest, RunName, Store, Titled as _};
use crate::task::blocking;
use crate::unpack::Limits;

pub use all::{AllRestored, Part, restore_all};
pub use environment::Environment;
pub use find::Which;
pub use plan::{Need, NotRestored, Plan, State, Step};
pub use to_lambda::{Restoration, ToLambdaOptions, Versions, to_lambda};

/// What [`restore()`] is to do.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Where to; None is `./NAME` or `./NAME-QUALIFIER`.
    pub dest: Option<PathBuf>,
    /// From which run and region.
    pub which: Which,
    /// Unpack the zips.
    pub unpack: bool,
    /// Replace a destination that larder wrote.
    pub force: bool,
    /// Bounds of the unpacking.
    pub limits: Limits,
    /// Sync before publishing.
    pub sync: bool,
}

/// What [`restore()`] did.
#[derive(Debug)]
pub struct Restored {
    /// What `larder.json` holds.
    pub record: Record,
    /// Where it lies.
    pub dest: PathBuf,
    /// From which run.
    pub run: RunName,
}

/// Restores `function`: `NAME[:VERSION]` or an ARN, where the version is a number, `$LATEST` or an alias of that time.
///
/// # Errors
/// The store has no such function, or several of that name; what it has does not verify; or the destination is refused.
pub async fn restore(
    store: &Store,
    function: &FunctionRef,
    options: &RestoreOptions,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
) -> Result<Restored> {
    store.open().await?;
    let Found { run, entry, .. } = find::find(store, function, &options.which, &*reporter).await?;
    let dest = options
        .dest
        .clone()
        .unwrap_or_else(|| Path::new(".").join(function.directory_name()));
    one(store, run, &entry, dest, options, reporter, cancel).await
}

/// Restores an entry of a run to `dest`.
async fn one(
    store: &Store,
    run: RunName,
    entry: &Entry,
    dest: PathBuf,
    options: &RestoreOptions,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
) -> Result<Restored> {
    find::warn_of_older(&run, entry, &*reporter);
    let manifest = store.document(&entry.descriptor()).await?;
    let manifest = Manifest::from_json(&manifest, &entry.arn)?;
    let record = store.document(&manifest.config).await?;
    let mut record = Record::from_json(&record).map_err(|e| Error::from(e).about(&*entry.arn))?;
    let publish = PublishOptions {
        force: options.force,
        sync: options.sync,
    };
    let staging = Arc::new(blocking(move || Ok(Staging::create(&dest, publish)?)).await?);
    let work = Work {
        store,
        manifest: &manifest,
        arn: &entry.arn,
        staging: &staging,
        options,
        reporter: &reporter,
        cancel: &cancel,
    };
    let made = work.make(&mut record).await;
    let function_json = match made {
        Ok(json) if !cancel.is_cancelled() => json,
        made => {
            discard(staging).await;
            return Err(made.err().unwrap_or_else(Error::interrupted));
        }
    };
    reporter.report(&Event::Publishing);
    let finished = record.clone();
    let dest = blocking(move || {
        let staging = Arc::into_inner(staging)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "something still works in the staging"))?;
        write_new(&staging, FUNCTION_JSON, 0o600, &function_json)?;
        write_new(&staging, RECORD, 0o644, &finished.to_json())?;
        let published = staging.publish()?;
        super::warn_of_leftover(&published, &*reporter);
        Ok(published.path)
    })
    .await?;
    Ok(Restored { record, dest, run })
}

struct Work<'a> {
    store: &'a Store,
    manifest: &'a Manifest,
    arn: &'a str,
    staging: &'a Arc<Staging>,
    options: &'a RestoreOptions,
    reporter: &'a Arc<dyn Reporter>,
    cancel: &'a CancellationToken,
}

impl Work<'_> {
    /// All but the records; answers `function.json`.
    async fn make(&self, record: &mut Record) -> Result<Vec<u8>> {
        let json = self.store.document(self.file(FUNCTION_JSON)?).await?;
        if let Some(package) = &record.package {
            let claim = claim(&package.code_sha256, package.size, self.arn)?;
            let item = Item {
                subject: self.arn.to_owned(),
                prefix: String::new(),
            };
            let verified = self.package(&item, claim).await?;
            if self.options.unpack {
                record.unpacked = Some(self.unpacking().run(&item, verified).await?);
            }
        }
        if let Some(image) = &record.image
            && image.path.is_some()
        {
            self.image(image).await?;
        }
        for layer in &mut record.layers {
            let (Some(path), Some(size), Some(stated)) =
                (&layer.path, layer.size, &layer.code_sha256)
            else {
                continue;
            };
            // The path is larder's own word, but a store may have been written by anybody.
            let name = path.strip_prefix("layers/").unwrap_or_default();
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(Error::new(
                    ErrorKind::Mismatch,
                    format!("the record names a layer's place {path:?}"),
                )
                .about(self.arn));
            }
            let item = Item {
                subject: layer.arn.clone(),
                prefix: format!("{path}/"),
            };
            let verified = self
                .package(&item, claim(stated, size, &layer.arn)?)
                .await?;
            let layer_json = format!("{path}/{LAYER_JSON}");
            let answer = self.store.document(self.file(&layer_json)?).await?;
            write_new(self.staging, &layer_json, 0o644, &answer)?;
            if self.options.unpack {
                layer.unpacked = Some(self.unpacking().run(&item, verified).await?);
            }
        }
        Ok(json)
    }

    fn unpacking(&self) -> Unpacking {
        Unpacking {
            staging: Arc::clone(self.staging),
            reporter: Arc::clone(self.reporter),
            limits: self.options.limits.clone(),
            cancel: self.cancel.clone(),
        }
    }

    fn file(&self, name: &str) -> Result<&Descriptor> {
        self.manifest.titled(name).ok_or_else(|| {
            Error::new(ErrorKind::Mismatch, format!("the manifest lacks {name}")).about(self.arn)
        })
    }

    /// A package into its place, once it is verified to be what Lambda stated at the time of the backup.
    async fn package(&self, item: &Item, claim: Claim) -> Result<Verified> {
        let name = format!("{}{PACKAGE_ZIP}", item.prefix);
        let scratch = name.replace('/', "-");
        let spool = self.staging.create_scratch_file(&scratch, 0o644)?;
        let get = self.store.get(self.file(&name)?, spool);
        let received = self
            .cancel
            .run_until_cancelled(get)
            .await
            .unwrap_or_else(|| Err(Error::interrupted()))?;
        let verified = received.verify(&claim).map_err(|mismatch| {
            Error::from(mismatch)
                .about(&*item.subject)
                .hint_instead("nothing was restored: the package was damaged in the store; another run may have a sound one")
        })?;
        self.reporter.report(&Event::Verified {
            sha256: verified.sha256(),
        });
        if !item.prefix.is_empty() {
            self.staging.create_dir(item.prefix.trim_end_matches('/'))?;
        }
        self.staging.keep(&scratch, &name)?;
        Ok(verified)
    }
}

/// What Lambda stated when the backup was made.
fn claim(code_sha256: &str, size: u64, subject: &str) -> Result<Claim> {
    let digest = Sha256Digest::from_base64(code_sha256).map_err(|e| {
        Error::new(ErrorKind::Mismatch, "the record's CodeSha256 is malformed")
            .about(subject)
            .because(e)
    })?;
    Ok(Claim::lambda(digest, size))
}
