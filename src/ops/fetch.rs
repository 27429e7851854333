//! The main job: one function, fetched, verified, unpacked and recorded.
//!
//! Everything is made in a staging beside the destination. It takes the destination's name when it is whole, and is
//! removed on every other way out.

mod code;
pub(in crate::ops) mod image;
mod in_place;
pub(in crate::ops) mod layers;
pub(in crate::ops) mod package;
mod prior;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::aws::Session;
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Reporter};
use crate::files::{self, PublishOptions, Staging};
use crate::function::FunctionRef;
use crate::image::Platform;
use crate::lambda::{Described, Lambda};
use crate::package::CodeLocation;
use crate::record::{
    FUNCTION_JSON, ImageRecord, LayerRecord, PackageRecord, RECORD, Record, SCHEMA_VERSION, Status,
    Tool, TransferRecord, UnpackedRecord,
};
use crate::task::{blocking, or_interrupted};
use crate::transfer::Stats;
use crate::unpack::Limits;

use layers::Layers;
use prior::Prior;

/// What [`fetch()`] is to do beside the plain job.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct FetchOptions {
    /// Where to; None is `./NAME` or `./NAME-QUALIFIER`.
    pub dest: Option<PathBuf>,
    /// Unpack the zip to `code/`.
    pub unpack: bool,
    /// Fetch the layers too.
    pub layers: bool,
    /// Pull the image of an image function, to `image/`.
    pub pull_image: bool,
    /// Where the image is an index, which one is pulled; None is the function's own architecture.
    pub platform: Option<Platform>,
    /// Refuse unless the package (or the image) is this one.
    pub expect_sha256: Option<Sha256Digest>,
    /// Replace a destination that larder wrote.
    pub force: bool,
    /// The destination is a record of the same function: bring it up to date. One that does not exist is made.
    pub update: bool,
    /// Bounds of the unpacking, and what a name that stands twice means.
    pub limits: Limits,
    /// Keep the names of environment variables and replace each value with null.
    pub redact_env: bool,
    /// Sync the file system before publishing, and the destination's parent after it.
    pub sync: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            dest: None,
            unpack: true,
            layers: false,
            pull_image: false,
            platform: None,
            expect_sha256: None,
            force: false,
            update: false,
            limits: Limits::default(),
            redact_env: false,
            sync: true,
        }
    }
}

/// What [`fetch()`] did.
#[derive(Debug)]
pub struct Fetched {
    /// What `larder.json` holds.
    pub record: Record,
    /// Where it lies.
    pub dest: PathBuf,
    /// Bytes received over the network, those received twice counted twice.
    pub bytes_downloaded: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Why the first layer that could not be had could not. The function is kept all the same.
    pub missing_layer: Option<Error>,
}

/// What the code came to, whichever way.
struct Outcome {
    /// The answer that the code belongs to: the last one, when the code changed on the way.
    described: Described,
    package: Option<PackageRecord>,
    unpacked: Option<UnpackedRecord>,
    image: Option<ImageRecord>,
    location: Option<String>,
    stats: Stats,
    unchanged: bool,
    /// With `--update`: what lies at the destination is what its record says.
    intact: bool,
}

/// Fetches `function` as `options` say.
///
/// When `cancel` is cancelled, what is under way is given up and removed, and the error is
/// [`ErrorKind::Interrupted`].
///
/// # Errors
/// Any failure of the call, the transfer, the verification, the unpacking or the file system. The destination is
/// then what it was before.
#[expect(clippy::too_many_lines, reason = "the order of things, in one place")]
pub async fn fetch(
    session: &Session,
    function: &FunctionRef,
    options: &FetchOptions,
    reporter: Arc<dyn Reporter>,
    cancel: CancellationToken,
) -> Result<Fetched> {
    let (begun, started_at) = (Instant::now(), Timestamp::now());
    let subject = function.to_string();
    warn_of_region(session, &subject, &*reporter);
    let dest = options
        .dest
        .clone()
        .unwrap_or_else(|| Path::new(".").join(function.directory_name()));
    let prior = prior_at(&dest, options).await?;
    let lambda = Lambda::new(session, Arc::clone(&reporter));
    let mut described = None;
    if let Some(prior) = &prior {
        let now = or_interrupted(&cancel, lambda.describe(function)).await?;
        prior.check_same(now.function())?;
        let update = Update {
            prior,
            described: &now,
            options,
            subject: &subject,
            started_at,
        };
        if let Some(record) = update.in_place(&*reporter, &cancel).await? {
            return Ok(Fetched {
                record,
                dest,
                bytes_downloaded: 0,
                elapsed: begun.elapsed(),
                missing_layer: None,
            });
        }
        described = Some(now);
    }
    let publish = PublishOptions {
        force: options.force || prior.is_some(),
        sync: options.sync,
    };
    let place = dest.clone();
    let staging = Arc::new(blocking(move || Ok(Staging::create(&place, publish)?)).await?);

    tracing::debug!("everything is made in {}", staging.path().display());
    let job = Job {
        session,
        lambda,
        function,
        subject: &subject,
        options,
        reporter: Arc::clone(&reporter),
        cancel: &cancel,
        staging: Arc::clone(&staging),
        prior: prior.as_ref(),
    };
    let made = job.make(described).await;
    drop(job);
    let (outcome, layers) = match made {
        Ok(made) => made,
        Err(e) => {
            discard(staging).await;
            return Err(e);
        }
    };

    let bytes_downloaded = outcome.stats.bytes + layers.bytes;
    warn_of_gaps(&outcome.described, &subject, &*reporter);
    let function_json = outcome
        .described
        .answer()
        .to_recorded_json(options.redact_env);
    let intact = outcome.intact;
    let record = record_of(outcome, layers.records, options, started_at);
    let finished = record.clone();
    if cancel.is_cancelled() {
        discard(staging).await;
        return Err(Error::interrupted());
    }
    let in_place = intact
        && prior
            .as_ref()
            .is_some_and(|prior| prior.is_the_same(&record, &function_json));
    reporter.report(&Event::Publishing);
    let dest = blocking(move || {
        let staging = Arc::into_inner(staging)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "something still works in the staging"))?;
        if in_place {
            // All that is new is when it was looked at; whatever else lies there stays.
            files::write_file_atomic(&dest.join(RECORD), &finished.to_json(), 0o644)?;
            drop(staging);
            return Ok(dest);
        }
        if let Some(prior) = &prior {
            prior.warn_of_others(&*reporter);
        }
        write_new(&staging, FUNCTION_JSON, 0o600, &function_json)?;
        write_new(&staging, RECORD, 0o644, &finished.to_json())?;
        super::warn_of_leftover(&staging.publish()?, &*reporter);
        Ok(dest)
    })
    .await?;
    Ok(Fetched {
        record,
        dest,
        bytes_downloaded,
        elapsed: begun.elapsed(),
        missing_layer: layers.failure,
    })
}

/// With `--update`: what an earlier run left at `dest`.
async fn prior_at(dest: &Path, options: &FetchOptions) -> Result<Option<Prior>> {
    if !options.update {
        return Ok(None);
    }
    let (place, sync) = (dest.to_owned(), options.sync);
    blocking(move || {
        // A run that died may have left the record aside.
        files::repair(&place, sync)?;
        Prior::read(&place)
    })
    .await
}

/// An update that has Lambda's answer, and has made nothing yet.
struct Update<'a> {
    prior: &'a Prior,
    described: &'a Described,
    options: &'a FetchOptions,
    subject: &'a str,
    started_at: Timestamp,
}

impl Update<'_> {
    /// Where nothing is new and nothing was changed here, writes the one file that says when it was looked at, and gives
    /// what it holds. None leaves the work to the long way.
    async fn in_place(
        &self,
        reporter: &dyn Reporter,
        cancel: &CancellationToken,
    ) -> Result<Option<Record>> {
        let (prior, described, options) = (self.prior, self.described, self.options);
        if !matches!(
            described.code()?,
            CodeLocation::Zip(_) | CodeLocation::Object(_)
        ) {
            return Ok(None);
        }
        let claim = code::claim(described, options, self.subject)?;
        let size = claim.size().unwrap_or_default();
        let json = described.answer().to_recorded_json(options.redact_env);
        let outcome = Outcome {
            described: described.clone(),
            package: prior.record().package.clone(),
            unpacked: prior.record().unpacked.clone(),
            image: None,
            location: None,
            stats: Stats::default(),
            unchanged: true,
            intact: true,
        };
        let mut record = record_of(outcome, Vec::new(), options, self.started_at);
        // What can be told without reading the packages comes first.
        if !prior.states(&record, &json) {
            return Ok(None);
        }
        reporter.report(&Event::Verifying { size });
        let layers = in_place::unchanged(prior, described, claim, options, cancel).await?;
        let Some(layers) = layers else {
            return Ok(None);
        };
        record.layers = layers;
        record.transfer.finished_at = to_milliseconds(Timestamp::now());
        // Another run may have replaced what was looked at.
        if !prior.is_the_same(&record, &json) || !prior.is_still_there() {
            return Ok(None);
        }
        reporter.report(&Event::Publishing);
        let (path, bytes) = (prior.path(RECORD), record.to_json());
        // All that is new is when it was looked at; whatever else lies there stays.
        blocking(move || Ok(files::write_file_atomic(&path, &bytes, 0o644)?)).await?;
        Ok(Some(record))
    }
}

/// One fetch under way.
struct Job<'a> {
    session: &'a Session,
    lambda: Lambda,
    function: &'a FunctionRef,
    subject: &'a str,
    options: &'a FetchOptions,
    reporter: Arc<dyn Reporter>,
    cancel: &'a CancellationToken,
    staging: Arc<Staging>,
    prior: Option<&'a Prior>,
}

impl Job<'_> {
    /// All that is to be published but the records.
    async fn make(&self, described: Option<Described>) -> Result<(Outcome, Layers)> {
        let described = match described {
            Some(described) => described,
            None => {
                self.or_interrupted(self.lambda.describe(self.function))
                    .await?
            }
        };
        let outcome = self.run(described).await?;
        let layers = if self.options.layers {
            self.layers(&outcome.described).await?
        } else {
            Layers::default()
        };
        Ok((outcome, layers))
    }

    async fn run(&self, described: Described) -> Result<Outcome> {
        match described.code()? {
            CodeLocation::Image(image) => {
                let image = image.clone();
                self.image(described, &image).await
            }
            CodeLocation::Zip(_) | CodeLocation::Object(_) => self.zip(described).await,
        }
    }

    /// Runs `work` until it is done or the user interrupts.
    async fn or_interrupted<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        or_interrupted(self.cancel, work).await
    }

    fn warn(&self, subject: &str, message: &str, hint: &str) {
        self.reporter.report(&Event::Warning {
            subject,
            message,
            hint: Some(hint),
        });
    }
}

fn record_of(
    outcome: Outcome,
    layers: Vec<LayerRecord>,
    options: &FetchOptions,
    started_at: Timestamp,
) -> Record {
    let Outcome {
        described,
        package,
        unpacked,
        image,
        location,
        stats,
        unchanged,
        intact: _,
    } = outcome;
    let incomplete = described.incomplete();
    let status = if !incomplete.is_empty() {
        Status::Partial
    } else if unchanged {
        Status::Unchanged
    } else if image.is_some() {
        Status::Image
    } else {
        Status::Saved
    };
    Record {
        schema_version: SCHEMA_VERSION,
        tool: Tool::this(),
        status,
        incomplete,
        function: described.function().clone(),
        package_type: described.package_type().to_owned(),
        package,
        unpacked,
        image,
        layers,
        transfer: TransferRecord {
            location,
            request_id: described.request_id().map(ToOwned::to_owned),
            started_at: to_milliseconds(started_at),
            finished_at: to_milliseconds(Timestamp::now()),
            attempts: stats.attempts,
            requests: stats.requests,
            resumed: stats.resumed,
            url_refreshes: stats.url_refreshes,
            code_changes: stats.code_changes,
        },
        environment_redacted: options.redact_env,
    }
}

/// Says what the answer lacks, and what would bring it.
fn warn_of_gaps(described: &Described, subject: &str, reporter: &dyn Reporter) {
    for gap in described.incomplete() {
        let hint = match gap.field.as_str() {
            "Tags" => Some("the caller needs the IAM action lambda:ListTags on the function"),
            "Environment" | "ImageConfigResponse" => {
                Some("the caller needs the IAM action kms:Decrypt on the function's KMS key")
            }
            _ => None,
        };
        let message = format!("the answer lacks {}: {}", gap.field, gap.code);
        reporter.report(&Event::Warning {
            subject,
            message: &message,
            hint,
        });
    }
}

/// `2026-01-01T00:00:00.000Z`
pub(super) fn to_milliseconds(time: Timestamp) -> String {
    format!("{time:.3}")
}

pub(super) fn write_new(staging: &Staging, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut file = staging.create_file(name, mode)?;
    file.write_all(bytes)
        .map_err(|e| files::FilesError::io("write", staging.path().join(name), e).into())
}

fn warn_of_region(session: &Session, subject: &str, reporter: &dyn Reporter) {
    if let Some(arn_region) = session.region_conflict() {
        let message = format!(
            "the ARN names the region {arn_region}, and {} is asked as you say",
            session.region()
        );
        reporter.report(&Event::Warning {
            subject,
            message: &message,
            hint: Some("without --region the ARN's own region is asked"),
        });
    }
}

/// Removes the staging on a thread that may block, so that signals are heard meanwhile.
pub(super) async fn discard(staging: Arc<Staging>) {
    // A failure to remove is the next run's to put right.
    let _ = tokio::task::spawn_blocking(move || drop(staging)).await;
}
