//! Who vouches for the bag: the signature over its tag manifest, the time stamp over that, and the handovers beside it.

use jiff::Timestamp;

use super::super::{CustodyReport, FindingKind, Job, SignatureReport};
use crate::digest::Sha256Digest;
use crate::evidence::Trust;
use crate::evidence::bag::{SIGNATURE, TAGMANIFEST, TIMESTAMP};
use crate::evidence::custody::{self, Chain};
use crate::evidence::signature::{MAX_SIGNATURE, NAMESPACE, Signature};
use crate::evidence::ssh::PublicKey;
use crate::evidence::timestamp::{MAX_TOKEN, Stamp};

/// The most lines of the allowed signers that are told by themselves.
const MAX_SKIPPED: usize = 5;

/// Checks all three. `tag_manifest` is what the manifest that is to be signed holds, if it could be read.
/// Gives the key, if the signature is its own.
pub(super) fn check(job: &mut Job<'_>, tag_manifest: Option<&[u8]>) -> Option<PublicKey> {
    let mut by = None;
    tell_of_skipped(job);
    let signed = read_signature(job, tag_manifest);
    let stamped = read_stamp(job, signed.as_ref().map(|(_, armor)| &armor[..]));
    if let Some((signature, _)) = signed {
        let at = match &stamped {
            // What a trusted authority saw then was signed while the key was still good.
            Some((stamp, Some(true))) => stamp.time(),
            _ => Timestamp::now(),
        };
        let principals = judge(job, SIGNATURE, signature.key(), at);
        by = Some(signature.key().clone());
        job.report.signature = Some(SignatureReport {
            key: signature.key().fingerprint(),
            trusted: principals.is_some(),
            principals: principals.unwrap_or_default(),
            stamped_at: stamped.as_ref().map(|(stamp, _)| stamp.time().to_string()),
            stamp_trusted: stamped.and_then(|(_, trusted)| trusted),
        });
    }
    check_custody(job, tag_manifest);
    by
}

/// Lines of the allowed signers that trust nobody, because they are not of the form.
fn tell_of_skipped(job: &mut Job<'_>) {
    let Some(allowed) = &job.options.allowed_signers else {
        return;
    };
    let skipped = allowed.skipped();
    for line in skipped.iter().take(MAX_SKIPPED) {
        job.report.note(format!(
            "line {} of the allowed signers is passed over, as ssh-keygen does: {}",
            line.line, line.why
        ));
    }
    if skipped.len() > MAX_SKIPPED {
        let more = skipped.len() - MAX_SKIPPED;
        job.report.note(format!(
            "{more} more lines of the allowed signers are passed over"
        ));
    }
}

/// The signature with its file's bytes, if it is its key's over the tag manifest.
fn read_signature(job: &mut Job<'_>, tag_manifest: Option<&[u8]>) -> Option<(Signature, Vec<u8>)> {
    if job.below.top(SIGNATURE).is_none() {
        if job.options.allowed_signers.is_some() || job.options.require_signature {
            let message = "the bag is not signed";
            job.find(FindingKind::Unsigned, SIGNATURE, message);
        } else {
            job.report.note(
                "the bag is not signed: whoever changed the manifests along with the files would not be seen",
            );
        }
        return None;
    }
    let armor = match job.below.small(SIGNATURE.as_bytes(), MAX_SIGNATURE) {
        Ok(armor) => armor,
        Err(e) => {
            job.find(
                FindingKind::Signature,
                SIGNATURE,
                format!("cannot be read: {e}"),
            );
            return None;
        }
    };
    let Some(message) = tag_manifest else {
        let what = format!("what it signs, {TAGMANIFEST}, is not there");
        job.find(FindingKind::Signature, SIGNATURE, what);
        return None;
    };
    let checked = Signature::from_armor(&armor).and_then(|signature| {
        signature.verify(NAMESPACE, message)?;
        Ok(signature)
    });
    match checked {
        Ok(signature) => Some((signature, armor)),
        Err(e) => {
            job.find(FindingKind::Signature, SIGNATURE, e.to_string());
            None
        }
    }
}

/// The time stamp, if it is of the signature, and whether it leads to an authority that is trusted, if that was asked.
fn read_stamp(job: &mut Job<'_>, armor: Option<&[u8]>) -> Option<(Stamp, Option<bool>)> {
    if job.below.top(TIMESTAMP).is_none() {
        if job.options.authorities.is_some() {
            let message = "the signature has no time stamp";
            job.find(FindingKind::Timestamp, TIMESTAMP, message);
        }
        return None;
    }
    let bytes = match job.below.small(TIMESTAMP.as_bytes(), MAX_TOKEN as u64) {
        Ok(bytes) => bytes,
        Err(e) => {
            job.find(
                FindingKind::Timestamp,
                TIMESTAMP,
                format!("cannot be read: {e}"),
            );
            return None;
        }
    };
    let Some(armor) = armor else {
        let message = "there is no signature that holds for it to stamp";
        job.find(FindingKind::Timestamp, TIMESTAMP, message);
        return None;
    };
    let digest = Sha256Digest::of(armor);
    let checked = Stamp::parse(&bytes).and_then(|stamp| {
        let trusted = if let Some(authorities) = &job.options.authorities {
            stamp.check_trusted(digest, authorities)?;
            Some(true)
        } else {
            stamp.check(digest)?;
            None
        };
        Ok((stamp, trusted))
    });
    match checked {
        Ok((stamp, trusted)) => {
            if trusted.is_none() {
                job.report.note(format!(
                    "the signature is stamped {}; whose stamp that is was not checked (--tsa-ca FILE does)",
                    stamp.time()
                ));
            }
            Some((stamp, trusted))
        }
        Err(e) => {
            job.find(FindingKind::Timestamp, TIMESTAMP, e.to_string());
            None
        }
    }
}

/// As whom the allowed signers have the key; None, told as a finding or a note, when they do not.
fn judge(job: &mut Job<'_>, file: &str, key: &PublicKey, at: Timestamp) -> Option<Vec<String>> {
    let fingerprint = key.fingerprint();
    let Some(allowed) = &job.options.allowed_signers else {
        job.report.note(format!(
            "{file} is by the key {fingerprint}, which is not trusted: --allowed-signers FILE says which are"
        ));
        return None;
    };
    let why = match allowed.judge(key, NAMESPACE, job.options.identity.as_deref(), at) {
        Trust::Trusted(principals) => return Some(principals),
        Trust::Unknown => "is not among the allowed signers",
        Trust::OtherPrincipal => "is allowed for others than the one that --identity names",
        Trust::OtherNamespace => "is allowed for other namespaces than larder-bag only",
        Trust::OtherTime => "is allowed for another time only",
        Trust::Authority => {
            "stands among the allowed signers as an authority for certificates only, and those are not supported"
        }
    };
    let message = format!("its key {fingerprint} {why}");
    job.find(FindingKind::Untrusted, file, message);
    None
}

/// The chain beside the bag, and whether it contains what was noted elsewhere.
fn check_custody(job: &mut Job<'_>, tag_manifest: Option<&[u8]>) {
    let wanted = job.options.custody_head;
    let directory = custody::directory(&job.path()).ok();
    let present = directory
        .as_ref()
        .is_some_and(|directory| crate::files::exists(directory));
    let chain = match (&directory, tag_manifest) {
        (Some(directory), Some(bytes)) if present => {
            Chain::read(directory, Sha256Digest::of(bytes))
        }
        _ => Chain::default(),
    };
    let place = directory.as_deref();
    if let Some(defect) = place.and_then(|place| custody::defect_of_place(place, false)) {
        job.find(
            FindingKind::Custody,
            format!("{}.custody", file_name(job)),
            defect.message,
        );
    }
    let shown = |file: &str| format!("{}.custody/{file}", file_name(job));
    for defect in &chain.defects {
        job.find(
            FindingKind::Custody,
            shown(&defect.file),
            defect.message.clone(),
        );
    }
    if present && tag_manifest.is_none() {
        let message = format!("the chain is about {TAGMANIFEST}, which is not there");
        job.find(FindingKind::Custody, shown(""), message);
    }
    if let Some(wanted) = wanted {
        let mut heads = chain.links.iter().map(|link| link.signature_sha256);
        match heads.position(|head| head == Some(wanted)) {
            None => {
                let message = format!(
                    "no handover's signature has the digest {wanted}: the chain was cut, or is another one"
                );
                job.find(FindingKind::Custody, shown(""), message);
            }
            Some(at) if at + 1 < chain.links.len() => {
                let more = chain.links.len() - at - 1;
                job.report.note(format!(
                    "the chain of custody went on after the head that you name: {more} more"
                ));
            }
            Some(_) => {}
        }
    }
    for link in &chain.links {
        if let Some(signature) = &link.signature {
            let file = format!(
                "{}.custody/{}",
                file_name(job),
                custody::signature_name(link.number)
            );
            judge(job, &file, &signature.key().clone(), Timestamp::now());
        }
    }
    if !chain.links.is_empty() {
        job.report.custody = Some(CustodyReport {
            entries: chain.links.len(),
            head: chain.head().map(|head| head.hex()),
        });
    }
}

fn file_name(job: &Job<'_>) -> String {
    let real = job.path().canonicalize().unwrap_or_else(|_| job.path());
    let name = real.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
