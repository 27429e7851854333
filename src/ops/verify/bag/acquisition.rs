//! What a bag of larder's own says of itself beside its manifests: the acquisition log, the Statement, the DSSE envelope.
//!
//! Each is in the bag, so the manifests vouch for its bytes. Whether they say the same as the manifests is another question,
//! and so is what they say: that not all was taken, and that some of it is not what AWS stated.

mod log;
mod statement;

use std::collections::HashMap;

use super::super::{FindingKind, Job};
use super::Listed;
use crate::digest::Sha256Digest;
use crate::evidence::bag::SIGNATURE;
use crate::evidence::log::LOG;
use crate::evidence::manifest::Algorithm;
use crate::evidence::ssh::PublicKey;
use crate::evidence::statement::{ENVELOPE, STATEMENT};
use crate::files::{Below, Node};

pub(super) use statement::check_envelope;

/// Whether the bag is one of `larder snapshot`, by what lies in it.
pub(super) fn is_acquisition(below: &Below) -> bool {
    [LOG, STATEMENT, ENVELOPE]
        .iter()
        .any(|path| below.file(path.as_bytes()).is_ok())
}

/// Holds log and Statement against the manifests and against each other. `quarantined` packages lie in the bag. Gives the
/// fingerprint of the key that signs the bag, as the log says.
pub(super) fn check(job: &mut Job<'_>, manifests: &[Listed], quarantined: u64) -> Option<String> {
    let subjects = statement::check(job, manifests);
    log::check(job, manifests, subjects.as_ref(), quarantined)
}

/// Holds the key that signed the bag against the one that the log names. A signature that does not hold is a finding already.
pub(super) fn check_signer(job: &Job<'_>, named: &str, key: Option<&PublicKey>) {
    let is = match key {
        Some(key) => format!("the signature is by {}", key.fingerprint()),
        None if job.below.top(SIGNATURE).is_none() => "there is no signature".to_owned(),
        None => return,
    };
    if key.is_none_or(|key| key.fingerprint() != named) {
        let message = format!("the log says it was signed by {named}, and {is}");
        contradiction(job, SIGNATURE, message);
    }
}

/// The SHA-256 that a manifest has for a path.
pub(super) fn listed(manifests: &[Listed], path: &str) -> Option<Sha256Digest> {
    manifests
        .iter()
        .filter(|listed| listed.algorithm == Algorithm::Sha256)
        .find_map(|listed| {
            let (_, digest) = listed.manifest.get(listed.manifest.find(path)?)?;
            Some(Sha256Digest::from_bytes(digest.try_into().ok()?))
        })
}

/// What the Statement is about, by name.
type Subjects = HashMap<String, Sha256Digest>;

/// Opens one of the files, if it is there and can be read; else that is a finding already, by the manifests.
fn is_there(job: &Job<'_>, path: &str) -> bool {
    let top = path.split('/').next().unwrap_or_default();
    matches!(job.below.top(top), Some(Node::Directory { .. }))
        && job.below.file(path.as_bytes()).is_ok()
}

fn contradiction(job: &Job<'_>, path: &str, message: String) {
    job.find(FindingKind::Contradiction, path, message);
}

/// What somebody else wrote is not quoted at any length.
fn short(text: &str) -> String {
    text.chars().take(300).collect()
}
