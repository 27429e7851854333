//! The in-toto Statement and its DSSE envelope.

use std::borrow::Cow;
use std::io;

use serde::Deserialize;

use super::{Subjects, contradiction, is_there, listed, short};
use crate::digest::Sha256Digest;
use crate::evidence::bag::MANIFEST;
use crate::evidence::dsse::{Envelope, IN_TOTO, pae};
use crate::evidence::ssh::PublicKey;
use crate::evidence::statement::{ENVELOPE, PREDICATE_TYPE, STATEMENT, STATEMENT_TYPE};
use crate::ops::verify::bag::Listed;
use crate::ops::verify::{FindingKind, Job};

/// The largest Statement that is read, in bytes: some 18,000 packages.
const MAX_STATEMENT: u64 = 8 << 20;
/// The largest envelope: base64 takes a third more.
const MAX_ENVELOPE: u64 = 11 << 20;

#[derive(Deserialize)]
struct Statement<'a> {
    #[serde(rename = "_type", borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "predicateType", borrow)]
    predicate_type: Cow<'a, str>,
    #[serde(borrow)]
    subject: Vec<Subject<'a>>,
}

#[derive(Deserialize)]
struct Subject<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    digest: Digest<'a>,
}

#[derive(Deserialize)]
struct Digest<'a> {
    #[serde(borrow)]
    sha256: Cow<'a, str>,
}

/// The file's bytes; None, told, when they are too many or none.
fn read(job: &mut Job<'_>, path: &str, limit: u64) -> Option<Vec<u8>> {
    if !is_there(job, path) {
        return None;
    }
    match job.below.small(path.as_bytes(), limit) {
        Ok(bytes) => Some(bytes),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => {
            job.report.note(format!(
                "{path} has more than {} MiB: it was hashed, and what it says was not compared",
                limit >> 20
            ));
            None
        }
        // That it cannot be read was found when it was to be hashed.
        Err(_) => None,
    }
}

/// Holds each subject against the manifests, and gives them all.
pub(super) fn check(job: &mut Job<'_>, manifests: &[Listed]) -> Option<Subjects> {
    let json = read(job, STATEMENT, MAX_STATEMENT)?;
    let statement: Statement<'_> = match serde_json::from_slice(&json) {
        Ok(statement) => statement,
        Err(e) => {
            let message = format!("is no in-toto Statement: {e}");
            job.find(FindingKind::Malformed, STATEMENT, message);
            return None;
        }
    };
    for (field, is, wanted) in [
        ("_type", &statement.kind, STATEMENT_TYPE),
        ("predicateType", &statement.predicate_type, PREDICATE_TYPE),
    ] {
        if is != wanted {
            let message = format!("its {field} is {:?}, where {wanted} is known", short(is));
            job.find(FindingKind::Unsupported, STATEMENT, message);
        }
    }
    let mut subjects = Subjects::with_capacity(statement.subject.len());
    for subject in statement.subject {
        let name = short(&subject.name);
        let Ok(digest) = Sha256Digest::from_hex(&subject.digest.sha256) else {
            let message = format!("the digest of its subject {name:?} is no SHA-256 in hex");
            job.find(FindingKind::Malformed, STATEMENT, message);
            continue;
        };
        match listed(manifests, &subject.name) {
            Some(is) if is == digest => {}
            Some(is) => contradiction(
                job,
                STATEMENT,
                format!("its subject {name:?} has SHA-256 {digest}, where the manifest has {is}"),
            ),
            None => contradiction(
                job,
                STATEMENT,
                format!("its subject {name:?} is listed by no manifest"),
            ),
        }
        if subjects.insert(subject.name.into_owned(), digest).is_some() {
            let message = format!("names the subject {name:?} twice");
            job.find(FindingKind::Duplicate, STATEMENT, message);
        }
    }
    if !subjects.contains_key(MANIFEST) {
        let message =
            format!("has no subject {MANIFEST}, so that it does not stand for the payload");
        contradiction(job, STATEMENT, message);
    }
    Some(subjects)
}

/// Checks that the envelope holds the Statement, and its signature by those of `keys` that it names.
pub(in crate::ops::verify::bag) fn check_envelope(
    job: &mut Job<'_>,
    keys: &[PublicKey],
    statement: Option<Sha256Digest>,
) {
    let Some(json) = read(job, ENVELOPE, MAX_ENVELOPE) else {
        return;
    };
    let envelope: Envelope = match serde_json::from_slice(&json) {
        Ok(envelope) => envelope,
        Err(e) => {
            let message = format!("is no DSSE envelope: {e}");
            job.find(FindingKind::Malformed, ENVELOPE, message);
            return;
        }
    };
    drop(json);
    if envelope.payload_type != IN_TOTO {
        let message = format!(
            "its payload is of the type {:?}, where {IN_TOTO} is known",
            short(&envelope.payload_type)
        );
        job.find(FindingKind::Unsupported, ENVELOPE, message);
    }
    let Some(payload) = envelope.payload() else {
        let message = "its payload is no base64";
        job.find(FindingKind::Malformed, ENVELOPE, message);
        return;
    };
    if statement != Some(Sha256Digest::of(&payload)) {
        let message = format!("its payload is not {STATEMENT}");
        contradiction(job, ENVELOPE, message);
    }
    let message = pae(&envelope.payload_type, &payload);
    drop(payload);
    if envelope.signatures.is_empty() {
        let message = "it holds no signature";
        job.find(FindingKind::Signature, ENVELOPE, message);
    }
    for signature in &envelope.signatures {
        let keyid = short(&signature.keyid);
        let Some(key) = keys.iter().find(|key| key.fingerprint() == signature.keyid) else {
            job.report.note(format!(
                "{ENVELOPE} is signed by the key {keyid}, which is neither that of the bag's signature nor among the allowed signers: not checked"
            ));
            continue;
        };
        let verdict = signature
            .bytes()
            .map(|bytes| key.verify_plain(&message, &bytes));
        match verdict {
            Some(Ok(())) => {}
            Some(Err(e)) => {
                let message = format!("the signature of {keyid}: {e}");
                job.find(FindingKind::Signature, ENVELOPE, message);
            }
            None => {
                let message = format!("the signature of {keyid} is no base64");
                job.find(FindingKind::Malformed, ENVELOPE, message);
            }
        }
    }
}
