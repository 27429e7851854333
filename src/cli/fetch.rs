//! `larder fetch`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Context;
use super::args::{self, LimitArgs};
use super::exit::Exit;
use super::help::Example;
use super::interrupt;
use super::output::{Summary, Tone};
use super::quantity::{count, exact_size, size, time};
use crate::aws::Session;
use crate::digest::Sha256Digest;
use crate::error::{Error, Result};
use crate::function::FunctionRef;
use crate::image::Platform;
use crate::ops::fetch::{self, FetchOptions, Fetched};
use crate::record::{ImageRecord, Record, Status};

pub(super) const ABOUT: &str = "\
Fetch one function: verify its package, unpack it, and record it.

Asks Lambda for the function (GetFunction), downloads its package, and refuses it unless length and SHA-256 are those \
that Lambda states. DEST is then made whole in one step: the package as served, the unpacked code, GetFunction's \
answer, and the record larder.json. Of a container image, the URIs and the digest are recorded, and with --pull-image \
the image is kept too. It needs lambda:GetFunction, and lambda:ListTags for the tags.

function.json in DEST holds the function's environment variables; see --redact-env.";

pub(super) const EXAMPLES: &[Example] = &[
    ("Fetch to ./my-function", "larder fetch my-function"),
    (
        "Fetch what the alias live points to, to a place of your choice",
        "larder fetch my-function:live /tmp/live",
    ),
    (
        "Fetch version 7 by its ARN; the region is the ARN's",
        "larder fetch arn:aws:lambda:eu-west-1:123456789012:function:my-function:7",
    ),
    (
        "Bring an earlier fetch up to date; nothing is downloaded when it is",
        "larder fetch --update my-function",
    ),
    (
        "Fetch an image function with its image",
        "larder fetch --pull-image my-image-function",
    ),
    (
        "Fetch just this package, or fail",
        "larder fetch --expect-sha256 'ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=' my-function",
    ),
    (
        "Use the record in a script",
        "larder fetch --output json my-function | jq -r .package.sha256",
    ),
];

/// Arguments of `larder fetch`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct FetchArgs {
    /// Name, partial ARN or ARN, with a version or alias after a colon or without
    #[arg(value_name = "FUNCTION")]
    pub function: String,

    /// Directory to make [default: ./NAME, or ./NAME-QUALIFIER]
    #[arg(value_name = "DEST")]
    pub dest: Option<PathBuf>,

    /// Version or alias; may also stand after FUNCTION
    #[arg(long, value_name = "QUALIFIER", allow_hyphen_values = true)]
    pub qualifier: Option<String>,

    /// Fetch the function's layers too, to DEST/layers/NAME-VERSION
    ///
    /// A layer version that is deleted or denied is recorded and warned about; the function is kept, and the exit code
    /// is 5 or 4.
    #[arg(long)]
    pub layers: bool,

    /// Take a layer that cannot be had as a warning only
    #[arg(long, requires = "layers")]
    pub allow_missing_layers: bool,

    /// Pull the container image too, by digest, to DEST/image
    ///
    /// An OCI image layout, as served: `skopeo inspect oci:DEST/image` and `skopeo copy oci:DEST/image …` read it. It needs
    /// ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer. With --update, an image that was pulled
    /// before is kept up to date without this option. Of no effect on a zip function.
    #[arg(long)]
    pub pull_image: bool,

    /// Where the image is an index, pull this one [default: the function's architecture]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", requires = "pull_image")]
    pub platform: Option<Platform>,

    /// Keep the package as it is, without unpacking
    #[arg(long)]
    pub no_unpack: bool,

    /// Refuse any package but this one: SHA-256 in hex or base64
    #[arg(long, value_name = "DIGEST", value_parser = args::digest)]
    pub expect_sha256: Option<Sha256Digest>,

    /// Replace DEST, if larder made it
    #[arg(long)]
    pub force: bool,

    /// Bring DEST up to date, a fetch of the same function
    ///
    /// When Lambda's digest is the recorded one, what is there is verified again and nothing is downloaded; else DEST
    /// is replaced in one step.
    #[arg(long, conflicts_with = "force")]
    pub update: bool,

    /// Write function.json without the values of environment variables
    ///
    /// Their names stay; each value is null.
    #[arg(long)]
    pub redact_env: bool,

    /// Do not sync the file system before DEST is put in place
    #[arg(long)]
    pub no_sync: bool,

    /// Bounds of the unpacking.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl FetchArgs {
    /// Fetches, and prints the summary or the record.
    pub fn run(&self, context: &Context) -> Result<Exit> {
        let function = FunctionRef::new(&self.function, self.qualifier.as_deref())
            .map_err(|e| Error::from(e).about(&self.function))?;
        let options = self.options();
        let fetched = interrupt::run(&context.progress, async |cancel| {
            let common = &context.settings.session;
            let connecting = Box::pin(Session::connect(common, function.region()));
            let session = cancel
                .run_until_cancelled(connecting)
                .await
                .unwrap_or_else(|| Err(Error::interrupted()))?;
            let reporter = Arc::clone(&context.progress);
            Box::pin(fetch::fetch(
                &session, &function, &options, reporter, cancel,
            ))
            .await
        })?;
        context.progress.finish();
        context.output.result(&summary(&fetched), &fetched.record)?;
        match fetched.missing_layer {
            Some(error) if !self.allow_missing_layers => {
                Err(error.hint("--allow-missing-layers makes this a warning"))
            }
            _ => Ok(Exit::Done),
        }
    }

    fn options(&self) -> FetchOptions {
        FetchOptions {
            dest: self.dest.clone(),
            unpack: !self.no_unpack,
            layers: self.layers,
            pull_image: self.pull_image,
            platform: self.platform.clone(),
            expect_sha256: self.expect_sha256,
            force: self.force,
            update: self.update,
            limits: self.limits.limits(),
            redact_env: self.redact_env,
            sync: !self.no_sync,
        }
    }
}

fn summary(fetched: &Fetched) -> Summary {
    let record = &fetched.record;
    let status = record.status;
    let tone = match status {
        Status::Saved | Status::Image | Status::Unchanged => Tone::Good,
        _ => Tone::Mixed,
    };
    let function = &record.function;
    let mut out = Summary::new(tone, status.name(), &function.name)
        .line("function", &function.arn)
        .line("version", &function.version);
    if let Some(package) = &record.package {
        let how = match status {
            Status::Unchanged => "verified again",
            _ => "verified",
        };
        out = out
            .line("package", &format!("{}, {how}", exact_size(package.size)))
            .line("sha256", &package.sha256);
        if package.code_sha256 != package.sha256 {
            out = out.line("", &format!("{} (CodeSha256)", package.code_sha256));
        }
    }
    if let Some(image) = &record.image {
        out = out
            .line_if("image", image.image_uri.as_deref())
            .line_if("resolved", image.resolved_image_uri.as_deref())
            .line_if("digest", image.digest.as_deref())
            .line_if("pulled", pulled(record).as_deref())
            .line_if("index", index(image).as_deref());
    }
    out.line_if("unpacked", unpacked(record).as_deref())
        .line_if("layers", layers(record).as_deref())
        .line_if("lacking", lacking(record).as_deref())
        .line("kept in", &fetched.dest.to_string_lossy())
        .line("took", &took(fetched))
}

/// `20 blobs, 478 MiB, verified`.
pub(super) fn pulled(record: &Record) -> Option<String> {
    let image = record.image.as_ref()?;
    let how = match record.status {
        Status::Unchanged => "verified again",
        _ => "verified",
    };
    let (blobs, bytes) = (
        count(image.blobs?, "blob", "blobs"),
        exact_size(image.bytes?),
    );
    let mut out = format!("{blobs}, {bytes}, {how}");
    if !image.foreign_layers.is_empty() {
        let foreign = image.foreign_layers.len() as u64;
        out.push_str(", without ");
        out.push_str(&count(foreign, "foreign layer", "foreign layers"));
    }
    Some(out)
}

/// `1 of 2 images kept: linux/arm64 (skopeo --override-os linux --override-arch arm64)`.
pub(super) fn index(image: &ImageRecord) -> Option<String> {
    let others = image.other_manifests?;
    let platform = image.manifests.last()?.platform.as_deref();
    let mut out = format!("1 of {} kept", count(others + 1, "image", "images"));
    if let Some(platform) = platform {
        out.push_str(": ");
        out.push_str(platform);
        let mut parts = platform.split('/');
        let options = ["--override-os", "--override-arch", "--override-variant"];
        let options: Vec<_> = options
            .iter()
            .filter_map(|option| Some(format!("{option} {}", parts.next()?)))
            .collect();
        out = format!("{out} (skopeo {})", options.join(" "));
    }
    Some(out)
}

fn unpacked(record: &Record) -> Option<String> {
    let tree = record.unpacked.as_ref()?;
    Some(contents(
        tree.files,
        tree.directories,
        tree.symlinks,
        tree.bytes,
    ))
}

/// What a tree holds: `12 files, 3 directories, 1 link, 33.8 KiB`.
pub(super) fn contents(files: u64, directories: u64, symlinks: u64, bytes: u64) -> String {
    let mut parts = vec![count(files, "file", "files")];
    if directories > 0 {
        parts.push(count(directories, "directory", "directories"));
    }
    if symlinks > 0 {
        parts.push(count(symlinks, "link", "links"));
    }
    parts.push(size(bytes));
    parts.join(", ")
}

/// `2 saved, 1 gone`.
fn layers(record: &Record) -> Option<String> {
    let names = [
        (Status::Saved, "saved"),
        (Status::Unchanged, "unchanged"),
        (Status::Gone, "gone"),
        (Status::Denied, "denied"),
    ];
    let counts: Vec<_> = names
        .into_iter()
        .map(|(status, name)| {
            let of = record.layers.iter().filter(|l| l.status == status);
            (of.count(), name)
        })
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    (!counts.is_empty()).then(|| counts.join(", "))
}

fn lacking(record: &Record) -> Option<String> {
    let fields = record.incomplete.iter();
    let fields: Vec<_> = fields
        .map(|i| format!("{} ({})", i.field, i.code))
        .collect();
    (!fields.is_empty()).then(|| fields.join(", "))
}

fn took(fetched: &Fetched) -> String {
    let mut out = time(fetched.elapsed);
    if fetched.bytes_downloaded == 0 {
        out.push_str(", nothing downloaded");
    } else {
        out = format!("{out}, {} downloaded", size(fetched.bytes_downloaded));
    }
    out
}
