//! Everything that a store has of a moment, each function version to a directory of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::{RestoreOptions, Restored, one};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::files;
use crate::function::FunctionRef;
use crate::store::{Entry, RegionRef, RunName, Scope, Store, Subject, concerns_one_run};
use crate::task::blocking;

/// Restorations at once: the network of a bucket, or the disk, is kept busy while another is unpacked.
const AT_ONCE: usize = 4;

/// What became of all of them.
#[derive(Debug, Default)]
pub struct AllRestored {
    /// How many were restored.
    pub restored: u64,
    /// How many failed.
    pub failed: u64,
    /// Why the first one failed.
    pub first_failure: Option<Error>,
}

/// What an outcome is of.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// A function version: its ARN.
    Version(&'a str),
    /// All of an account and region in a run, because it cannot be told what that has there.
    Region(&'a RunName, &'a RegionRef),
}

/// Restores every function version to `dest/ACCOUNT/REGION/NAME/VERSION`. Of each account and region it is the newest of the
/// runs that are meant which looked at all of it; where none did, the newest. `each` hears of every version, as it ends, and of
/// every region whose index is lost or damaged; an older run does not stand in for it.
///
/// # Errors
/// The store cannot be read, or holds no run; or nothing more can be done: interrupted, the disk is full. That a version
/// or a region failed is no error here.
pub async fn restore_all(
    store: &Store,
    dest: &Path,
    options: &RestoreOptions,
    each: impl Fn(Part<'_>, Result<&Restored, &Error>) -> Result<()>,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
) -> Result<AllRestored> {
    store.open().await?;
    let places = super::find::regions(store, &options.which, &*reporter).await?;
    if places.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "the store has no such run")
            .about(store.name())
            .hint("larder store list shows the runs"));
    }
    let top = dest.to_owned();
    blocking(move || Ok(files::create_private_dir(&top)?)).await?;
    let mut done = AllRestored::default();
    // After a failure that ends everything, those that are under way are let to clean up.
    let stop = cancel.child_token();
    let mut stopped = None;
    for (run, region) in &places {
        if region.scope == Scope::Part {
            reporter.report(&Event::Warning {
                subject: &format!("{} {}", region.account, region.region),
                message: "no run looked at all of it: only what the newest one has is restored",
                hint: None,
            });
        }
        let entries = match store.entries(region).await {
            Ok(entries) => entries,
            Err(e) if concerns_one_run(&e) => {
                each(Part::Region(run, region), Err(&e))?;
                done.failed += 1;
                done.first_failure.get_or_insert(e);
                continue;
            }
            Err(e) => return Err(e),
        };
        let kept = |subject| {
            entries
                .iter()
                .filter(move |e: &&Entry| e.subject == subject)
        };
        let layers = kept(Subject::Layer).count();
        if layers > 0 {
            reporter.report(&Event::Warning {
                subject: &format!("{} {}", region.account, region.region),
                message: &format!("{layers} layer versions that were kept by themselves stay in the store; those that functions use are restored with them"),
                hint: None,
            });
        }
        let work = kept(Subject::Function)
            .map(|entry| restore_one(store, dest, options, run, region, entry, &reporter, &stop));
        let mut work = stream::iter(work).buffer_unordered(AT_ONCE);
        while let Some((arn, outcome)) = work.next().await {
            match outcome {
                Ok(restored) => {
                    each(Part::Version(&arn), Ok(&restored))?;
                    done.restored += 1;
                }
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::DiskFull) => {
                    stop.cancel();
                    stopped.get_or_insert(e);
                }
                Err(e) => {
                    each(Part::Version(&arn), Err(&e))?;
                    done.failed += 1;
                    done.first_failure.get_or_insert(e);
                }
            }
        }
    }
    if let Some(e) = stopped {
        return Err(e);
    }
    if options.sync {
        let dest = dest.to_owned();
        blocking(move || Ok(files::sync_directory_tree(&dest)?)).await?;
    }
    Ok(done)
}

#[expect(
    clippy::too_many_arguments,
    reason = "what one restoration needs, used here only"
)]
async fn restore_one(
    store: &Store,
    dest: &Path,
    options: &RestoreOptions,
    run: &RunName,
    region: &RegionRef,
    entry: &Entry,
    reporter: &Arc<dyn Reporter>,
    cancel: &CancellationToken,
) -> (String, Result<Restored>) {
    let restored = async {
        if cancel.is_cancelled() {
            return Err(Error::interrupted());
        }
        let place = place(dest, region, entry)?;
        if let Some(parent) = place.parent().map(ToOwned::to_owned) {
            blocking(move || Ok(files::create_private_dir(&parent)?)).await?;
        }
        // All of it is synced at the end, at once.
        let options = RestoreOptions {
            sync: false,
            ..options.clone()
        };
        let (reporter, cancel) = (Arc::clone(reporter), cancel.clone());
        one(store, run.clone(), entry, place, &options, reporter, cancel).await
    };
    (entry.arn.to_string(), restored.await)
}

/// The directory of a version. A store may have been written by anybody, so its words are held to what an ARN may be.
fn place(dest: &Path, region: &RegionRef, entry: &Entry) -> Result<PathBuf> {
    let strange =
        || Error::new(ErrorKind::Mismatch, "is no ARN of a function version").about(&*entry.arn);
    let function: FunctionRef = entry.arn.parse().map_err(|_| strange())?;
    let (account, place) = (function.account(), function.region());
    let version = function.qualifier().unwrap_or_default();
    let number = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
    let plain = function.name().bytes().any(|b| b != b'.');
    if account != Some(&*region.account)
        || place != Some(&*region.region)
        || !plain
        || !(number || version == "$LATEST")
    {
        return Err(strange());
    }
    Ok([&region.account, &region.region, function.name(), version]
        .iter()
        .fold(dest.to_owned(), |path, part| path.join(part)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;
    use crate::record::Status;
    use crate::store::Descriptor;

    #[test]
    fn a_version_has_a_place_of_its_own_and_none_outside() {
        let region = RegionRef {
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            scope: Scope::All,
            index: Descriptor::new("x", &Sha256Digest::of(b""), 0),
        };
        let entry = |arn: &str| Entry {
            subject: Subject::Function,
            arn: arn.into(),
            manifest: Sha256Digest::of(b""),
            size: 0,
            status: Status::Saved,
            described_at: "".into(),
            listed: None,
            code: None,
            redacted: false,
            layers: false,
        };
        let at = |rest: &str| {
            let arn = format!("arn:aws:lambda:us-east-1:123456789012:function:{rest}");
            place(Path::new("d"), &region, &entry(&arn)).ok()
        };
        let under = |rest: &str| Some(Path::new("d/123456789012/us-east-1").join(rest));
        assert_eq!(at("f:1"), under("f/1"));
        assert_eq!(at("f-1:$LATEST"), under("f-1/$LATEST"));
        for strange in ["..:1", "f:..", "f", "a/b:1", "f:live", ".:1"] {
            assert_eq!(at(strange), None, "{strange}");
        }
        let other = entry("arn:aws:lambda:us-east-1:210987654321:function:f:1");
        assert!(place(Path::new("d"), &region, &other).is_err());
    }
}
