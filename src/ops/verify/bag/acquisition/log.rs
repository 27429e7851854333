//! The acquisition log: what it has of packages against the manifests, and what it says was not had.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};

use serde::Deserialize;

use super::{Subjects, contradiction, is_there, listed, short};
use crate::digest::Sha256Digest;
use crate::evidence::log::LOG;
use crate::evidence::statement::STATEMENT;
use crate::ops::verify::bag::Listed;
use crate::ops::verify::{FindingKind, Job};
use crate::record::Status;

/// The longest line that is read, in bytes.
const MAX_LINE: u64 = 4 << 20;
/// Where what was refuted lies.
const QUARANTINE: &str = "data/quarantine";
/// The most names of functions and layers that a note has.
const MAX_NAMES: usize = 5;

#[derive(Deserialize)]
struct Line<'a> {
    seq: u64,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    result: Option<Cow<'a, str>>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    computed: Option<Computed<'a>>,
    #[serde(borrow)]
    function: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arn: Option<Cow<'a, str>>,
    #[serde(borrow)]
    signer: Option<Cow<'a, str>>,
    #[serde(default)]
    status: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Computed<'a> {
    #[serde(borrow)]
    sha256: Cow<'a, str>,
}

/// How the functions, or the layers, ended.
#[derive(Default)]
struct Ends {
    all: u64,
    /// By status, how many are not whole, and the names of the first.
    broken: BTreeMap<&'static str, (u64, Vec<String>)>,
}

impl Ends {
    fn add(&mut self, status: Option<&serde_json::Value>, name: &str) {
        self.all += 1;
        let status = status.and_then(|status| Status::deserialize(status).ok());
        let word = match status {
            Some(Status::Saved | Status::Image | Status::Unchanged) => return,
            Some(other) => other.name(),
            None => "of no known status",
        };
        let (count, names) = self.broken.entry(word).or_default();
        *count += 1;
        if names.len() < MAX_NAMES {
            names.push(short(name));
        }
    }

    /// In words, where not all are whole.
    fn words(&self, one: &str, many: &str) -> Option<String> {
        if self.broken.is_empty() {
            return None;
        }
        let parts: Vec<String> = self
            .broken
            .iter()
            .map(|(word, (count, names))| {
                let more = if *count > names.len() as u64 {
                    ", …"
                } else {
                    ""
                };
                format!("{count} {word} ({}{more})", names.join(", "))
            })
            .collect();
        let noun = if self.all == 1 { one } else { many };
        Some(format!("of {} {noun} {}", self.all, parts.join(", ")))
    }
}

/// Reads the log line by line. `subjects` are the Statement's, if it could be read. Gives the key's fingerprint that it says signs
/// the bag.
pub(super) fn check(
    job: &mut Job<'_>,
    manifests: &[Listed],
    subjects: Option<&Subjects>,
    quarantined: u64,
) -> Option<String> {
    if !is_there(job, LOG) {
        return None;
    }
    let file = job.below.file(LOG.as_bytes()).ok()?;
    let mut signer = None;
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    let (mut number, mut ended) = (0, false);
    let (mut functions, mut layers, mut refuted) = (Ends::default(), Ends::default(), 0);
    let malformed = |job: &Job<'_>, number: u64, message: &str| {
        let message = format!("line {}: {message}", number + 1);
        job.find(FindingKind::Malformed, LOG, message);
    };
    loop {
        bytes.clear();
        let read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut bytes);
        match read {
            Ok(0) => break,
            // It was told already, when it was to be hashed.
            Err(_) => return signer,
            Ok(_) if job.cancel.is_cancelled() => return signer,
            Ok(_) => {}
        }
        let line: Line<'_> = match serde_json::from_slice(&bytes) {
            Ok(line) => line,
            Err(e) => {
                malformed(job, number, &format!("is no line of a log: {e}"));
                return signer;
            }
        };
        if line.seq != number {
            let message = format!("has the number {} where {number} comes next", line.seq);
            malformed(job, number, &message);
            return signer;
        }
        number += 1;
        ended = line.event == "end";
        match &*line.event {
            "begin" => signer = line.signer.as_deref().map(short).or(signer),
            "package" => {
                refuted += u64::from(line.result.as_deref() == Some("quarantined"));
                package(job, &line, manifests, subjects);
            }
            "function" => {
                let name = line.function.as_deref().unwrap_or_default();
                functions.add(line.status.as_ref(), name);
            }
            "layer" => layers.add(
                line.status.as_ref(),
                line.arn.as_deref().unwrap_or_default(),
            ),
            _ => {}
        }
    }
    if !ended {
        let message = "does not end with the event \"end\": it was cut off";
        job.find(FindingKind::Malformed, LOG, message);
    }
    if refuted != quarantined {
        let message = format!(
            "has {refuted} packages that were put into quarantine, where {quarantined} lie there"
        );
        contradiction(job, LOG, message);
    }
    if quarantined > 0 {
        let (what, them) = if quarantined == 1 {
            ("1 package lies", "it is")
        } else {
            ("packages lie", "they are")
        };
        let count = if quarantined == 1 {
            String::new()
        } else {
            format!("{quarantined} ")
        };
        job.report.note(format!(
            "{count}{what} in {QUARANTINE}/: {them} not what AWS stated, kept as evidence, never to be run or unpacked"
        ));
    }
    let words = [
        functions.words("function", "functions"),
        layers.words("layer version", "layer versions"),
    ];
    for words in words.into_iter().flatten() {
        job.report.note(format!(
            "not all could be taken, as the acquisition log says: {words}"
        ));
    }
    signer
}

/// A package: the log, the manifest and the Statement must have the same digest for it.
fn package(job: &Job<'_>, line: &Line<'_>, manifests: &[Listed], subjects: Option<&Subjects>) {
    let (Some(path), Some(computed)) = (line.path.as_deref(), &line.computed) else {
        return;
    };
    let shown = short(path);
    let Ok(digest) = Sha256Digest::from_hex(&computed.sha256) else {
        let message = format!("the SHA-256 of {shown:?} is none");
        job.find(FindingKind::Malformed, LOG, message);
        return;
    };
    let of_manifest = listed(manifests, path);
    if of_manifest != Some(digest) {
        let message = format!(
            "has {shown:?} with SHA-256 {digest}, where {}",
            of_manifest.map_or_else(
                || "no manifest lists it".to_owned(),
                |is| format!("the manifest has {is}")
            )
        );
        contradiction(job, LOG, message);
    }
    if let Some(subjects) = subjects
        && subjects.get(path) != Some(&digest)
    {
        let message = format!("does not name {shown:?} with SHA-256 {digest}, as the log does");
        contradiction(job, STATEMENT, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_is_counted_and_named() {
        let mut ends = Ends::default();
        ends.add(Some(&"saved".into()), "a");
        assert_eq!(ends.words("function", "functions"), None);
        ends.add(Some(&"denied".into()), "b");
        for name in ["c", "d", "e", "f", "g", "h"] {
            ends.add(Some(&"failed".into()), name);
        }
        assert_eq!(
            ends.words("function", "functions").unwrap(),
            "of 8 functions 1 denied (b), 6 failed (c, d, e, f, g, …)"
        );
        let mut ends = Ends::default();
        ends.add(Some(&"x".into()), "a");
        assert_eq!(
            ends.words("function", "functions").unwrap(),
            "of 1 function 1 of no known status (a)"
        );
    }
}
