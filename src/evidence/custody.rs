//! The chain of custody: signed handovers beside a bag, never in it.
//!
//! ```text
//! BAG.custody/0001.json      { "tagmanifest_sha256": "…", "previous_signature_sha256": null, "operator": … }
//! BAG.custody/0001.json.sig  SSHSIG over it, namespace larder-bag
//! BAG.custody/0002.json      { …, "previous_signature_sha256": "SHA-256 of 0001.json.sig" }
//! ```
//!
//! Each entry names the bag and the signature before it, so none can be changed, taken out or put in between without
//! breaking a link. What a chain cannot show is that its end was cut off: for that the head, the SHA-256 of the last
//! signature, is noted elsewhere.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bag::TAGMANIFEST;
use super::signature::{MAX_SIGNATURE, NAMESPACE, Signature};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::files::{self, Ledger};
use crate::record::{BAGIT_TXT, Tool};

/// The version of an entry that is written.
pub const CUSTODY_VERSION: u32 = 1;
/// The largest entry that is read, in bytes.
const MAX_ENTRY: u64 = 64 * 1024;
/// The largest tag manifest that is read, in bytes.
pub(crate) const MAX_TAGMANIFEST: u64 = 16 << 20;
/// The most entries of one chain.
const MAX_ENTRIES: u32 = 9999;

/// One handover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// [`CUSTODY_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// Its number, from 1.
    pub entry: u32,
    /// SHA-256 of the bag's `tagmanifest-sha256.txt`, in hex.
    pub tagmanifest_sha256: String,
    /// SHA-256 of the signature before, in hex; null for the first.
    pub previous_signature_sha256: Option<String>,
    /// Who hands over, or keeps the bag.
    pub operator: String,
    /// To whom.
    #[serde(default)]
    pub recipient: Option<String>,
    /// Which case.
    #[serde(default)]
    pub case_id: Option<String>,
    /// What else is to be known.
    #[serde(default)]
    pub note: Option<String>,
    /// When, UTC, by the local clock.
    pub at: String,
    /// What a verification of the bag came to, just before; absent in what earlier versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bag: Option<BagState>,
    /// The signing key, as `ssh-keygen -l` prints it.
    pub signer: String,
    /// What wrote it.
    pub tool: Tool,
}

/// What a bag was found to be when it was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BagState {
    /// Whether it verified. Where not, whoever signed said that they know.
    pub verified: bool,
    /// Regular files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many things were found.
    pub findings: u64,
    /// The first of them: kind and path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<String>,
}

impl Handover {
    /// The entry as it is written and signed.
    pub fn to_json(&self) -> Vec<u8> {
        // These types hold nothing that JSON cannot say.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }
}

/// An entry as it was found. What is not there or wrong is told by the chain's defects.
#[derive(Debug, Clone)]
pub struct Link {
    /// Its number, from its name.
    pub number: u32,
    /// What it says, if it can be read.
    pub handover: Option<Handover>,
    /// Who signed it, if the signature is the key's over it.
    pub signature: Option<Signature>,
    /// SHA-256 of the signature file.
    pub signature_sha256: Option<Sha256Digest>,
}

/// Something wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defect {
    /// The file's name in the custody directory; empty for the chain as a whole.
    pub file: String,
    /// What is wrong.
    pub message: String,
}

/// A bag's chain of custody.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// In order.
    pub links: Vec<Link>,
    /// What is wrong with it; empty for a chain that holds.
    pub defects: Vec<Defect>,
}

/// Where the handovers of the bag at `bag` lie.
///
/// # Errors
/// The path names no directory that has a name.
pub fn directory(bag: &Path) -> Result<PathBuf> {
    let about = || bag.display().to_string();
    let real = bag.canonicalize().map_err(|e| {
        let kind = match e.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::Usage,
            _ => ErrorKind::Io,
        };
        Error::new(kind, "this bag cannot be opened")
            .about(about())
            .because(e)
    })?;
    let Some(name) = real.file_name() else {
        return Err(Error::new(ErrorKind::Usage, "this is no bag").about(about()));
    };
    let mut name = name.to_owned();
    name.push(".custody");
    Ok(real.with_file_name(name))
}

/// The digest of the bag's tag manifest, which stands for the bag.
///
/// # Errors
/// It is no bag, or cannot be read.
pub fn tagmanifest_digest(bag: &Path) -> Result<Sha256Digest> {
    if !files::exists(&bag.join(BAGIT_TXT)) || !files::exists(&bag.join(TAGMANIFEST)) {
        return Err(
            Error::new(ErrorKind::Usage, "this is no bag that larder made")
                .about(bag.display().to_string())
                .hint(format!("a bag holds {BAGIT_TXT} and {TAGMANIFEST}")),
        );
    }
    let bytes = files::read_small(&bag.join(TAGMANIFEST), MAX_TAGMANIFEST)?;
    Ok(Sha256Digest::of(&bytes))
}

/// What is wrong with the place of a chain itself, whatever the entries in it; None where nothing lies there. An addition may
/// begin in an empty directory: for it that one is as good as none.
pub fn defect_of_place(directory: &Path, adding: bool) -> Option<Defect> {
    let message = if files::is_link(directory) {
        "the chain's directory is a link: what it leads to is not kept with the bag"
    } else if !files::exists(directory) {
        return None;
    } else if files::kind(directory) != Some(files::FileKind::Directory) {
        "is no directory, and a chain of custody is one"
    } else if !adding && files::names(directory).is_empty() {
        "is empty: its entries were taken out, or the first addition was cut short"
    } else {
        return None;
    };
    Some(Defect {
        file: String::new(),
        message: message.to_owned(),
    })
}

/// An entry's file name.
pub fn entry_name(number: u32) -> String {
    format!("{number:04}.json")
}

/// Its name while its signature has none yet. Whoever finds it beside a signature over it gives it its own.
pub fn unfinished_name(number: u32) -> String {
    format!("{number:04}.json.part")
}

/// Its signature's.
pub fn signature_name(number: u32) -> String {
    format!("{number:04}.json.sig")
}

impl Chain {
    /// Reads and checks the chain in `directory` for the bag whose tag manifest has the digest `bag`. A directory that
    /// is not there is an empty chain. Whether the keys are to be trusted is not judged here.
    pub fn read(directory: &Path, bag: Sha256Digest) -> Self {
        let mut chain = Self::default();
        let names = files::names(directory);
        let mut known = 0;
        for number in 1..=MAX_ENTRIES {
            let (entry, signature) = (entry_name(number), signature_name(number));
            let (has_entry, has_signature) = (names.contains(&entry), names.contains(&signature));
            if !has_entry && !has_signature {
                break;
            }
            known += usize::from(has_entry) + usize::from(has_signature);
            if has_entry {
                chain.follow(directory, bag, number);
            } else {
                let unfinished = names.contains(&unfinished_name(number));
                let message = if unfinished {
                    "an addition was cut short before its entry had its name: the next larder custody add ends it"
                } else {
                    "its entry is missing: it was removed"
                };
                chain.defect(&signature, message);
            }
        }
        if names.len() > known {
            let count = chain.links.len();
            for name in names {
                let number = name
                    .split('.')
                    .next()
                    .and_then(|number| number.parse::<u32>().ok());
                let expected = number.is_some_and(|n| {
                    n as usize <= count && (name == entry_name(n) || name == signature_name(n))
                });
                if name == files::DRAFT || number.is_some_and(|n| name == unfinished_name(n)) {
                    let told = number
                        .is_some_and(|n| chain.defects.iter().any(|d| d.file == signature_name(n)));
                    if !told {
                        let message = "an addition was cut short before anything was signed: the next larder custody add removes it";
                        chain.defect(&name, message);
                    }
                    continue;
                }
                let orphan = number.is_some_and(|n| {
                    name == signature_name(n) && chain.defects.iter().any(|d| d.file == name)
                });
                if !expected && !orphan {
                    chain.defect(&name, "is no part of the chain: an entry before it is missing, or it was added by something else");
                }
            }
        }
        chain
    }

    /// SHA-256 of the last signature: what is to be noted elsewhere.
    pub fn head(&self) -> Option<Sha256Digest> {
        self.links.last()?.signature_sha256
    }

    fn defect(&mut self, file: &str, message: impl Into<String>) {
        self.defects.push(Defect {
            file: file.to_owned(),
            message: message.into(),
        });
    }

    fn follow(&mut self, directory: &Path, bag: Sha256Digest, number: u32) {
        let (name, signature_name) = (entry_name(number), signature_name(number));
        let before = self.links.last().and_then(|link| link.signature_sha256);
        let mut link = Link {
            number,
            handover: None,
            signature: None,
            signature_sha256: None,
        };
        for file in [&name, &signature_name] {
            if files::is_link(&directory.join(file)) {
                self.defect(
                    file,
                    "this is a link: what it leads to is not kept with the chain",
                );
            }
        }
        let json = files::read_small(&directory.join(&name), MAX_ENTRY);
        let armor = files::read_small(&directory.join(&signature_name), MAX_SIGNATURE);
        match (&json, &armor) {
            (Err(e), _) => self.defect(&name, e.to_string()),
            (_, Err(e)) => self.defect(&signature_name, e.to_string()),
            (Ok(json), Ok(armor)) => {
                link.signature_sha256 = Some(Sha256Digest::of(armor));
                let checked = Signature::from_armor(armor)
                    .and_then(|signature| signature.verify(NAMESPACE, json).map(|()| signature));
                match checked {
                    Ok(signature) => link.signature = Some(signature),
                    Err(e) => self.defect(&signature_name, e.to_string()),
                }
            }
        }
        if let Ok(json) = json {
            match serde_json::from_slice::<Handover>(&json) {
                Ok(handover) => {
                    self.judge(&name, &handover, &link, bag, before);
                    link.handover = Some(handover);
                }
                Err(e) => self.defect(&name, format!("this is no handover: {e}")),
            }
        }
        self.links.push(link);
    }

    fn judge(
        &mut self,
        name: &str,
        handover: &Handover,
        link: &Link,
        bag: Sha256Digest,
        before: Option<Sha256Digest>,
    ) {
        if handover.schema_version > CUSTODY_VERSION {
            self.defect(
                name,
                format!(
                    "has version {}; this larder reads up to {CUSTODY_VERSION}",
                    handover.schema_version
                ),
            );
        }
        if handover.entry != link.number {
            self.defect(name, format!("says that it is entry {}", handover.entry));
        }
        let is = |text: &str, digest: Sha256Digest| Sha256Digest::from_hex(text) == Ok(digest);
        if !is(&handover.tagmanifest_sha256, bag) {
            self.defect(
                name,
                format!(
                    "is about another bag: it names {} where {TAGMANIFEST} is {bag}",
                    shortened(&handover.tagmanifest_sha256)
                ),
            );
        }
        let linked = match (&handover.previous_signature_sha256, before) {
            (None, None) => link.number == 1,
            (Some(text), Some(before)) => is(text, before),
            _ => false,
        };
        if !linked {
            self.defect(name, "does not follow from the entry before it");
        }
        if let Some(signature) = &link.signature
            && signature.key().fingerprint() != handover.signer
        {
            self.defect(name, "names another key than the one that signed it");
        }
    }
}

/// Ends an addition that was cut short: an entry that is signed gets its name, one that is not goes. What does not fit is
/// left as it is. Gives the number of the entry that was completed.
///
/// # Errors
/// It cannot be renamed or removed.
pub fn recover(directory: &Path, ledger: &Ledger) -> Result<Option<u32>> {
    let names = files::names(directory);
    let mut completed = None;
    for name in &names {
        if name == files::DRAFT {
            ledger.drop_unfinished(name)?;
        }
        let number = name
            .split('.')
            .next()
            .and_then(|number| number.parse::<u32>().ok())
            .filter(|number| *name == unfinished_name(*number));
        let Some(number) = number else {
            continue;
        };
        if !names.contains(&signature_name(number)) {
            ledger.drop_unfinished(name)?;
            continue;
        }
        let signed = || {
            let json = files::read_small(&directory.join(name), MAX_ENTRY).ok()?;
            let armor = directory.join(signature_name(number));
            let armor = files::read_small(&armor, MAX_SIGNATURE).ok()?;
            let signature = Signature::from_armor(&armor).ok()?;
            signature.verify(NAMESPACE, &json).ok()
        };
        if signed().is_some() && !names.contains(&entry_name(number)) {
            ledger.rename(name, &entry_name(number))?;
            completed = Some(number);
        }
    }
    Ok(completed)
}

/// What somebody else wrote is not quoted at any length.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
