//! Handovers of a bag: one added to the chain beside it, or the chain shown.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Reporter;
use crate::evidence::custody::{
    BagState, CUSTODY_VERSION, Chain, Handover, defect_of_place, directory, entry_name, recover,
    signature_name, tagmanifest_digest, unfinished_name,
};
use crate::evidence::log::now;
use crate::evidence::signature::{NAMESPACE, sign};
use crate::evidence::ssh::SigningKey;
use crate::files::Ledger;
use crate::record::Tool;

use super::verify::{Finding, FindingKind, PathReport, VerifyOptions, verify};

/// The most findings that an entry names.
const MAX_FINDINGS: usize = 20;

/// What a new entry says.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Who hands over, or keeps the bag.
    pub operator: String,
    /// To whom.
    pub recipient: Option<String>,
    /// Which case.
    pub case_id: Option<String>,
    /// What else is to be known.
    pub note: Option<String>,
}

/// An entry that was added.
#[derive(Debug)]
pub struct Added {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says.
    pub handover: Handover,
    /// SHA-256 of its signature: the chain's head, to be noted elsewhere.
    pub head: Sha256Digest,
    /// The entry of an earlier run that was cut short, which was completed first.
    pub completed: Option<u32>,
}

/// A bag's chain, as it was found.
#[derive(Debug)]
pub struct Shown {
    /// Where it lies.
    pub directory: PathBuf,
    /// The digest of the bag's tag manifest, which every entry must name.
    pub bag: Sha256Digest,
    /// The chain, with what is wrong with it.
    pub chain: Chain,
}

/// Reads the chain of the bag at `bag`. Blocks.
///
/// # Errors
/// It is no bag, or cannot be read. What is wrong with the chain is told by it.
pub fn show(bag: &Path) -> Result<Shown> {
    let (digest, directory) = (tagmanifest_digest(bag)?, directory(bag)?);
    let mut chain = Chain::read(&directory, digest);
    chain.defects.extend(defect_of_place(&directory, false));
    Ok(Shown {
        chain,
        directory,
        bag: digest,
    })
}

/// Verifies the bag at `bag` and adds a signed entry to its chain. Blocks. Nothing in the bag, and no entry that is there,
/// is touched; an addition that was cut short is ended first. With `known_altered`, a bag that does not verify is handed
/// over all the same, and the entry says so.
///
/// # Errors
/// It is no bag; it does not verify; the chain is broken; the key does not sign; another run is adding to it; it cannot be
/// written; or it was interrupted.
pub fn add(
    bag: &Path,
    statement: &Statement,
    key: &SigningKey,
    known_altered: bool,
    reporter: &dyn Reporter,
    cancel: &CancellationToken,
) -> Result<Added> {
    let (digest, directory) = (tagmanifest_digest(bag)?, directory(bag)?);
    if let Some(defect) = defect_of_place(&directory, true) {
        return Err(Error::new(ErrorKind::Mismatch, defect.message)
            .about(directory.display().to_string())
            .hint("nothing was added; larder custody show tells all that is wrong"));
    }
    let report = verify(bag, &VerifyOptions::default(), reporter, cancel)?;
    let (state, first) = state_of(&report);
    if let Some(finding) = first
        && !known_altered
    {
        let count = state.findings;
        return Err(
            Error::new(ErrorKind::Mismatch, "the bag is not what its manifests and signature say")
                .about(bag.display().to_string())
                .because(format!(
                    "{} {}: {}{}",
                    finding.kind.name(),
                    finding.path,
                    finding.message,
                    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
                ))
                .hint("nothing was added; larder verify tells all that is wrong. --known-altered hands it over as it is, and the entry says so"),
        );
    }
    let ledger = Ledger::open(&directory)?;
    let added = recover(&directory, &ledger).and_then(|completed| {
        let chain = Chain::read(&directory, digest);
        let mut added = append(&directory, &ledger, digest, &chain, statement, state, key)?;
        added.completed = completed;
        Ok(added)
    });
    if added.is_err() {
        ledger.remove_if_empty();
    }
    added
}

/// What the report says of the bag itself, and the first finding. The chain beside it is judged by itself.
fn state_of(report: &PathReport) -> (BagState, Option<&Finding>) {
    let findings = || {
        let all = report.findings.iter();
        all.filter(|finding| finding.kind != FindingKind::Custody)
    };
    let state = BagState {
        verified: findings().next().is_none(),
        files: report.files,
        bytes: report.bytes,
        findings: findings().count() as u64,
        first: findings()
            .take(MAX_FINDINGS)
            .map(|finding| format!("{} {}", finding.kind.name(), finding.path))
            .collect(),
    };
    (state, findings().next())
}

fn append(
    directory: &Path,
    ledger: &Ledger,
    bag: Sha256Digest,
    chain: &Chain,
    statement: &Statement,
    state: BagState,
    key: &SigningKey,
) -> Result<Added> {
    if let Some(defect) = chain.defects.first() {
        return Err(
            Error::new(ErrorKind::Mismatch, "the chain of custody does not hold")
                .about(directory.join(&defect.file).display().to_string())
                .because(defect.message.clone())
                .hint("nothing was added; larder custody show tells all that is wrong"),
        );
    }
    let number = u32::try_from(chain.links.len() + 1).unwrap_or(u32::MAX);
    let handover = Handover {
        schema_version: CUSTODY_VERSION,
        entry: number,
        tagmanifest_sha256: bag.hex(),
        previous_signature_sha256: chain.head().map(|head| head.hex()),
        operator: statement.operator.clone(),
        recipient: statement.recipient.clone(),
        case_id: statement.case_id.clone(),
        note: statement.note.clone(),
        at: now(),
        bag: Some(state),
        signer: key.public_key().fingerprint(),
        tool: Tool::this(),
    };
    let json = handover.to_json();
    let armor = sign(key, NAMESPACE, &json)?;
    // It has its own name when all of it is there. Cut short before the signature it never was; after, the next run ends it.
    let unfinished = unfinished_name(number);
    ledger.add(&unfinished, &json)?;
    ledger.add(&signature_name(number), armor.as_bytes())?;
    ledger.rename(&unfinished, &entry_name(number))?;
    Ok(Added {
        path: directory.join(entry_name(number)),
        handover,
        head: Sha256Digest::of(armor.as_bytes()),
        completed: None,
    })
}
