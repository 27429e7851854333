//! Handovers of a bag: one added to the chain beside it, or the chain shown.

use std::path::{Path, PathBuf};

use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::evidence::custody::{
    CUSTODY_VERSION, Chain, Handover, directory, entry_name, signature_name, tagmanifest_digest,
};
use crate::evidence::log::now;
use crate::evidence::signature::{NAMESPACE, sign};
use crate::evidence::ssh::SigningKey;
use crate::files::Ledger;
use crate::record::Tool;

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
    Ok(Shown {
        chain: Chain::read(&directory, digest),
        directory,
        bag: digest,
    })
}

/// Adds a signed entry to the chain of the bag at `bag`. Blocks. Nothing in the bag, and no entry that is there, is
/// touched.
///
/// # Errors
/// It is no bag; the chain is broken; the key does not sign; another run is adding to it; it cannot be written.
pub fn add(bag: &Path, statement: &Statement, key: &SigningKey) -> Result<Added> {
    let (digest, directory) = (tagmanifest_digest(bag)?, directory(bag)?);
    let ledger = Ledger::open(&directory)?;
    let added = append(&directory, &ledger, digest, statement, key);
    if added.is_err() {
        ledger.remove_if_empty();
    }
    added
}

fn append(
    directory: &Path,
    ledger: &Ledger,
    bag: Sha256Digest,
    statement: &Statement,
    key: &SigningKey,
) -> Result<Added> {
    let chain = Chain::read(directory, bag);
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
        signer: key.public_key().fingerprint(),
        tool: Tool::this(),
    };
    let json = handover.to_json();
    let armor = sign(key, NAMESPACE, &json)?;
    // The entry comes last: without it there is none, with it there is all of it.
    ledger.add(&signature_name(number), armor.as_bytes())?;
    ledger.add(&entry_name(number), &json)?;
    Ok(Added {
        path: directory.join(entry_name(number)),
        handover,
        head: Sha256Digest::of(armor.as_bytes()),
    })
}
