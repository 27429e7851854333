//! `--update` where nothing is new: all that lies at the destination is verified where it lies, and nothing is made.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::digest::{Directories, TreeHasher, tree_hashes};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::lambda::{Answer, Described};
use crate::package::{Claim, Received};
use crate::record::{CODE, LayerRecord, PACKAGE_ZIP, Record, Status, UnpackedRecord};
use crate::task::blocking;
use crate::unpack::{self, Limits};

use super::FetchOptions;
use super::layers::{self, LAYER_JSON, MAX_LAYER_JSON};
use super::package::duplicates_text;
use super::prior::Prior;

/// A zip that was kept, and what its record says of it.
struct Kept {
    /// Where it lies below the destination: empty, or a directory with `/` at its end.
    prefix: String,
    claim: Claim,
    unpacked: Option<UnpackedRecord>,
}

/// The layers' records, when all that lies at the destination is what Lambda states now and what the options ask for.
/// None sends the update the long way, which says what is wrong and puts it right. `claim` is of the function's package.
///
/// Nothing is believed: the package is hashed again, unpacked again in memory, and the tree on disk read again.
pub(super) async fn unchanged(
    prior: &Prior,
    described: &Described,
    claim: Claim,
    options: &FetchOptions,
    cancel: &CancellationToken,
) -> Result<Option<Vec<LayerRecord>>> {
    let Some((kept, layers)) = as_recorded(prior, described, claim, options) else {
        return Ok(None);
    };
    let (dest, limits, cancel) = (prior.path(""), options.limits.clone(), cancel.clone());
    let intact = blocking(move || {
        for kept in &kept {
            if !kept.is_intact(&dest, &limits, &cancel) {
                return if cancel.is_cancelled() {
                    Err(Error::interrupted())
                } else {
                    Ok(false)
                };
            }
        }
        Ok(true)
    })
    .await?;
    Ok(intact.then_some(layers))
}

/// What is to be verified, when the record agrees with Lambda's answer and the options.
fn as_recorded(
    prior: &Prior,
    described: &Described,
    claim: Claim,
    options: &FetchOptions,
) -> Option<(Vec<Kept>, Vec<LayerRecord>)> {
    let before: &Record = prior.record();
    let package = before.package.as_ref()?;
    let same = package.path == PACKAGE_ZIP
        && Some(package.code_sha256.as_str()) == described.code_sha256_text()
        && claim.sha256().map(|sha256| sha256.hex()) == Some(package.sha256.clone())
        && claim.size() == Some(package.size);
    if !same || !as_asked(before.unpacked.as_ref(), options) {
        return None;
    }
    let mut kept = vec![Kept {
        prefix: String::new(),
        claim,
        unpacked: before.unpacked.clone(),
    }];
    let mut layers = Vec::new();
    if !options.layers && !before.layers.is_empty() {
        return None;
    }
    if options.layers {
        for layer in layers::named(described).ok()? {
            let record = before.layers.iter().find(|l| l.arn == layer.arn)?;
            let json = prior.path(&layer.path).join(LAYER_JSON);
            let json = files::read_small(&json, MAX_LAYER_JSON).ok()?;
            Answer::parse(&json).ok()?;
            let (claim, _) = layers::agreed(record, &layer.path, layer.size, &json)?;
            let hex = claim.sha256().map(|sha256| sha256.hex());
            if record.sha256 != hex || !as_asked(record.unpacked.as_ref(), options) {
                return None;
            }
            layers.push(LayerRecord {
                status: Status::Unchanged,
                ..record.clone()
            });
            kept.push(Kept {
                prefix: format!("{}/", layer.path),
                claim,
                unpacked: record.unpacked.clone(),
            });
        }
    }
    Some((kept, layers))
}

/// Whether a package was unpacked as the options say.
fn as_asked(unpacked: Option<&UnpackedRecord>, options: &FetchOptions) -> bool {
    match unpacked {
        None => !options.unpack,
        Some(unpacked) => {
            options.unpack
                && unpacked.path == CODE
                && unpacked.duplicates.as_deref() == duplicates_text(options.limits.duplicates)
        }
    }
}

impl Kept {
    /// Blocks. Whatever cannot be read is not intact.
    fn is_intact(&self, dest: &Path, limits: &Limits, cancel: &CancellationToken) -> bool {
        let stop = || cancel.is_cancelled();
        let at = |name: &str| dest.join(format!("{}{name}", self.prefix));
        let check = || -> Result<bool> {
            let unread = |e: std::io::Error| Error::new(ErrorKind::Io, e.to_string());
            let file = files::open_read(&at(PACKAGE_ZIP))?;
            let received = Received::read(file, &stop).map_err(unread)?;
            let Ok(package) = received.verify(&self.claim) else {
                return Ok(false);
            };
            let Some(recorded) = &self.unpacked else {
                return Ok(true);
            };
            let plan = unpack::plan_or_stop(&package, limits, &stop)?;
            let (mut hasher, mut directories) = (TreeHasher::new(), Directories::default());
            unpack::contents(&package, &plan, cancel, &mut |path, node| {
                hasher.add(path, node);
                directories.add(path, node);
            })?;
            let whole = hasher.finish();
            let unpacked = UnpackedRecord {
                path: recorded.path.clone(),
                files: plan.files(),
                directories: directories.count,
                symlinks: plan.symlinks(),
                bytes: plan.bytes(),
                h1: whole.h1,
                h1_reason: whole.h1_reason,
                tree: whole.tree,
                duplicates: recorded.duplicates.clone(),
            };
            if unpacked != *recorded {
                return Ok(false);
            }
            let nodes = files::read_tree(&at(CODE), &stop)?;
            let nodes = nodes.iter().map(|(path, node)| (path.as_slice(), node));
            Ok(tree_hashes(nodes).tree == recorded.tree)
        };
        check().unwrap_or_else(|e| {
            tracing::debug!("{} is not as it was: {e}", at("").display());
            false
        })
    }
}
