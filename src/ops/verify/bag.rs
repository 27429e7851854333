//! A BagIt bag (RFC 8493), of any maker: every file hashed, every manifest held against what is there.

mod acquisition;
mod declaration;
mod hashing;
mod signed;

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Result;
use crate::evidence::AllowedSigners;
use crate::evidence::bag::{BAG_INFO, SIGNATURE, TAGMANIFEST, TIMESTAMP};
use crate::evidence::custody::MAX_TAGMANIFEST;
use crate::evidence::manifest::{Algorithm, Defect, Escapes, Kind, MAX_MANIFEST, Manifest};
use crate::evidence::ssh::PublicKey;
use crate::evidence::statement::STATEMENT;
use crate::files::{Node, names};

use super::{FindingKind, Job};
use declaration::{Declaration, Encoding};
use hashing::Seen;

/// The payload's directory.
const DATA: &str = "data";
/// The largest `bag-info.txt` and `fetch.txt` that are read, in bytes.
const MAX_TAG: u64 = 4 << 20;
/// The largest manifest that is read in another encoding than UTF-8, for which it is all in memory.
const MAX_TRANSLATED: u64 = 8 << 20;
/// The most manifests that are read. Each algorithm has two.
const MAX_MANIFESTS: usize = 12;

/// A manifest of the bag, and which of its entries were found.
struct Listed {
    name: String,
    kind: Kind,
    algorithm: Algorithm,
    manifest: Manifest,
    found: Vec<AtomicBool>,
}

/// What the payload comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Oxum {
    bytes: u64,
    files: u64,
}

pub(super) fn verify(job: &mut Job<'_>) -> Result<()> {
    job.announce()?;
    let declaration = declaration::read(job);
    match job.below.top(DATA) {
        Some(Node::Directory { .. }) => {}
        Some(_) => job.find(FindingKind::Type, DATA, "is no directory"),
        None => job.find(FindingKind::Missing, DATA, "the payload is not there"),
    }
    let mut signed = None;
    let manifests = read_manifests(job, declaration, &mut signed);
    tell_of_manifests(job, &manifests);
    let (payload, seen) = hashing::hash(job, &manifests, declaration)?;
    let to_fetch = read_fetch(job, &manifests, declaration);
    for listed in &manifests {
        for ((path, _), found) in listed.manifest.iter().zip(&listed.found) {
            if found.load(Ordering::Relaxed) {
                continue;
            }
            let message = if to_fetch.contains(path) {
                "is listed, and still to be fetched as fetch.txt says; larder fetches nothing"
            } else {
                "is listed, and not there"
            };
            job.find(FindingKind::Missing, path, message);
        }
    }
    check_info(job, declaration.encoding, payload);
    let ours = acquisition::is_acquisition(&job.below);
    tell_of_seen(job, &seen, ours);
    let statement = ours.then(|| {
        let by = acquisition::check(job, &manifests, seen.quarantined);
        (acquisition::listed(&manifests, STATEMENT), by)
    });
    drop(manifests);
    let key = signed::check(job, signed.as_deref());
    if let Some((statement, named)) = statement {
        if let Some(named) = named {
            acquisition::check_signer(job, &named, key.as_ref());
        }
        let allowed = job.options.allowed_signers.as_ref();
        let allowed = allowed.into_iter().flat_map(AllowedSigners::keys);
        let keys: Vec<PublicKey> = key.into_iter().chain(allowed).collect();
        acquisition::check_envelope(job, &keys, statement);
    }
    Ok(())
}

/// What no manifest can have: modes, and directories with nothing in them. The RFC forbids neither, and a bag that larder
/// made has none of it.
fn tell_of_seen(job: &mut Job<'_>, seen: &Seen, ours: bool) {
    if ours {
        for name in &seen.empty_names {
            let message = "is an empty directory, which no manifest can list; larder made none";
            job.find(FindingKind::Unexpected, name, message);
        }
        let root = job.below.mode().unwrap_or(0o700);
        let (mut count, mut first) = (seen.other_modes, seen.first_mode.clone());
        if root != 0o700 {
            count += 1;
            first = Some((".".to_owned(), root));
        }
        if let Some((path, mode)) = first {
            let more = match count {
                1 => String::new(),
                2 => ", and 1 more".to_owned(),
                _ => format!(", and {} more", count - 1),
            };
            job.report.note(format!(
                "modes are not those that larder gives (files 0400, directories 0700): {path} has {mode:04o}{more}"
            ));
        }
    } else if let Some(name) = seen.empty_names.first() {
        let more = match seen.empty {
            1 => String::new(),
            empty => format!(", and {} more", empty - 1),
        };
        job.report.note(format!(
            "no manifest can list an empty directory: {name}{more}"
        ));
    }
}

/// Reads each manifest whose algorithm is known. The bytes of the tag manifest that is signed are left in `signed`.
fn read_manifests(
    job: &Job<'_>,
    declaration: Declaration,
    signed: &mut Option<Vec<u8>>,
) -> Vec<Listed> {
    let mut out = Vec::new();
    let mut rules = Rules {
        encoding: declaration.encoding,
        escapes: escapes(job, declaration.encoding),
        left: MAX_MANIFEST,
    };
    for name in names(job.below.path()) {
        let Some((kind, algorithm)) = Kind::of_file_name(&name) else {
            continue;
        };
        let Some(algorithm) = Algorithm::of_name(algorithm) else {
            let message =
                "is a manifest by an algorithm that is not known, so nothing is checked by it";
            job.find(FindingKind::Unsupported, &name, message);
            continue;
        };
        if kind == Kind::Tag && name != TAGMANIFEST && job.below.top(SIGNATURE).is_some() {
            // What only it lists would be vouched for by nobody's signature.
            let message = format!(
                "is a tag manifest beside the signed one, {TAGMANIFEST}; what it lists is not signed"
            );
            job.find(FindingKind::Unexpected, &name, message);
            continue;
        }
        if out.len() >= MAX_MANIFESTS {
            job.find(FindingKind::Malformed, &name, "is one manifest too many");
            continue;
        }
        let read = if name == TAGMANIFEST {
            // What the signature is held against is what is read, whatever becomes of the file meanwhile.
            job.below
                .small(name.as_bytes(), MAX_TAGMANIFEST)
                .and_then(|bytes| {
                    let manifest = rules.parse(&bytes[..], algorithm, kind);
                    *signed = Some(bytes);
                    manifest
                })
        } else {
            job.below
                .file(name.as_bytes())
                .and_then(|file| rules.parse(file, algorithm, kind))
        };
        match read {
            Ok(manifest) => out.push(Listed {
                found: manifest.iter().map(|_| AtomicBool::new(false)).collect(),
                name,
                kind,
                algorithm,
                manifest,
            }),
            Err(e) => {
                let kind = match e.kind() {
                    io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => {
                        FindingKind::Malformed
                    }
                    _ => FindingKind::Unreadable,
                };
                job.find(kind, &name, format!("cannot be read: {e}"));
            }
        }
    }
    out
}

/// How the manifests of a bag are to be read.
struct Rules {
    encoding: Encoding,
    escapes: Escapes,
    /// So many bytes may still come.
    left: u64,
}

impl Rules {
    fn parse(
        &mut self,
        reader: impl io::Read,
        algorithm: Algorithm,
        kind: Kind,
    ) -> io::Result<Manifest> {
        let mut reader = Counted { reader, bytes: 0 };
        let read = if self.encoding == Encoding::Utf8 {
            Manifest::read_within(&mut reader, algorithm, kind, self.escapes, self.left)
        } else {
            let mut bytes = Vec::new();
            let taken = (&mut reader).take(self.left.min(MAX_TRANSLATED) + 1);
            { taken }.read_to_end(&mut bytes)?;
            let text = self.encoding.decode(&bytes)?;
            let limit = self.left.min(MAX_TRANSLATED);
            Manifest::read_within(text.as_bytes(), algorithm, kind, self.escapes, limit)
        };
        self.left = self.left.saturating_sub(reader.bytes);
        read
    }
}

/// Counts what is read.
struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

/// How whoever made the bag writes a path: told by `Bag-Software-Agent` of `bag-info.txt`.
fn escapes(job: &Job<'_>, encoding: Encoding) -> Escapes {
    let text = job
        .below
        .small(BAG_INFO.as_bytes(), MAX_TAG)
        .and_then(|bytes| encoding.decode(&bytes));
    let is_bagit_py = text.is_ok_and(|text| {
        text.lines().any(|line| {
            line.split_once(':').is_some_and(|(label, value)| {
                label.trim().eq_ignore_ascii_case("Bag-Software-Agent")
                    && value.trim_start().starts_with("bagit.py ")
            })
        })
    });
    if is_bagit_py {
        Escapes::BagitPy
    } else {
        Escapes::Rfc
    }
}

/// What is wrong with the manifests themselves, and what they cannot show.
fn tell_of_manifests(job: &mut Job<'_>, manifests: &[Listed]) {
    for listed in manifests {
        for found in &listed.manifest.defects {
            let kind = match found.defect {
                Defect::Duplicate => FindingKind::Duplicate,
                Defect::Line
                | Defect::Checksum(_)
                | Defect::LongLine
                | Defect::TooLarge
                | Defect::TooMany => FindingKind::Malformed,
                _ => FindingKind::Path,
            };
            let place = match found.line {
                0 => listed.name.clone(),
                line => format!("{}, line {line}", listed.name),
            };
            match &found.path {
                Some(path) => job.find(kind, path, format!("{place}: {}", found.defect)),
                None => job.find(kind, &listed.name, format!("{place}: {}", found.defect)),
            }
        }
    }
    let of = |kind| manifests.iter().filter(move |listed| listed.kind == kind);
    if of(Kind::Payload).next().is_none() {
        let message = "there is no manifest of the payload that can be checked";
        job.find(FindingKind::Missing, "manifest-sha256.txt", message);
    }
    if of(Kind::Tag).next().is_none() {
        job.report.note(
            "no manifest lists the files beside the payload: a change of the manifests themselves would not be seen",
        );
    }
    for kind in [Kind::Payload, Kind::Tag] {
        let mut weak: Vec<&str> = of(kind)
            .filter(|listed| listed.algorithm.is_broken())
            .map(|listed| listed.algorithm.name())
            .collect();
        weak.sort_unstable();
        let only = of(kind).count() == weak.len();
        if !weak.is_empty() {
            let what = match kind {
                Kind::Payload => "payload",
                Kind::Tag => "tag files",
            };
            let alone = if only {
                ", and there is none by another"
            } else {
                ""
            };
            job.report.note(format!(
                "weak: a manifest of the {what} is by {}, by which two contents can be made alike{alone}",
                weak.join(" and ")
            ));
        }
    }
}

/// Whether a file beside the payload is of those that no manifest can list: the tag manifests, and what is signed over
/// them.
fn is_above_manifests(path: &str) -> bool {
    matches!(path, SIGNATURE | TIMESTAMP)
        || Kind::of_file_name(path).is_some_and(|(kind, _)| kind == Kind::Tag)
}

/// The payload files that `fetch.txt` says are elsewhere (RFC 8493 section 2.2.3).
fn read_fetch(job: &Job<'_>, manifests: &[Listed], declaration: Declaration) -> HashSet<String> {
    const FETCH: &str = "fetch.txt";
    let mut out = HashSet::new();
    if job.below.top(FETCH).is_none() {
        return out;
    }
    let text = job
        .below
        .small(FETCH.as_bytes(), MAX_TAG)
        .and_then(|bytes| declaration.encoding.decode(&bytes));
    let text = match text {
        Ok(text) => text,
        Err(e) => {
            job.find(
                FindingKind::Unreadable,
                FETCH,
                format!("cannot be read: {e}"),
            );
            return out;
        }
    };
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |message: &str| {
            let message = format!("line {}: {message}", number + 1);
            job.find(FindingKind::Malformed, FETCH, message);
        };
        let mut words = line
            .splitn(3, [' ', '\t'])
            .map(|word| word.trim_matches([' ', '\t']));
        let (Some(url), Some(length), Some(path)) = (words.next(), words.next(), words.next())
        else {
            wrong("is not a URL, a length and a path");
            continue;
        };
        if length != "-" && length.parse::<u64>().is_err() || url::Url::parse(url).is_err() {
            wrong("is not a URL, a length and a path");
            continue;
        }
        match crate::evidence::manifest::sound_path(path, Kind::Payload) {
            Ok(path) => {
                let listed = manifests.iter().any(|listed| {
                    listed.kind == Kind::Payload && listed.manifest.find(&path).is_some()
                });
                if !listed {
                    let message = "is to be fetched as fetch.txt says, and no manifest lists it";
                    job.find(FindingKind::Contradiction, &path, message);
                }
                out.insert(path);
            }
            Err(defect) => {
                let message = format!("fetch.txt, line {}: {defect}", number + 1);
                job.find(FindingKind::Path, path, message);
            }
        }
    }
    out
}

/// `Payload-Oxum` of `bag-info.txt`, if it is stated (RFC 8493 section 2.2.2).
fn check_info(job: &Job<'_>, encoding: Encoding, payload: Oxum) {
    // Before BagIt 0.96 it was called otherwise.
    for name in ["bag-info.txt", "package-info.txt"] {
        if job.below.top(name).is_none() {
            continue;
        }
        let text = job
            .below
            .small(name.as_bytes(), MAX_TAG)
            .and_then(|bytes| encoding.decode(&bytes));
        let text = match text {
            Ok(text) => text,
            Err(e) => {
                job.find(
                    FindingKind::Unreadable,
                    name,
                    format!("cannot be read: {e}"),
                );
                continue;
            }
        };
        let mut stated = 0;
        for (number, line) in text.split(['\n', '\r']).enumerate() {
            if line.trim().is_empty() || line.starts_with([' ', '\t']) {
                continue;
            }
            let Some((label, value)) = line.split_once(':') else {
                let message = format!("line {}: is no label with a value", number + 1);
                job.find(FindingKind::Malformed, name, message);
                continue;
            };
            if !label.trim().eq_ignore_ascii_case("Payload-Oxum") {
                continue;
            }
            stated += 1;
            let is = value.trim().split_once('.').and_then(|(bytes, files)| {
                Some(Oxum {
                    bytes: bytes.parse().ok()?,
                    files: files.parse().ok()?,
                })
            });
            match is {
                Some(oxum) if oxum == payload => {}
                Some(oxum) => {
                    let message = format!(
                        "states a payload of {} bytes in {} files, where there are {} bytes in {} files",
                        oxum.bytes, oxum.files, payload.bytes, payload.files
                    );
                    job.find(FindingKind::Contradiction, name, message);
                }
                None => job.find(
                    FindingKind::Malformed,
                    name,
                    "its Payload-Oxum is not BYTES.FILES",
                ),
            }
        }
        if stated > 1 {
            job.find(
                FindingKind::Duplicate,
                name,
                "states Payload-Oxum more than once",
            );
        }
    }
}
