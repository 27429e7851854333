//! `larder verify`: what is whole verifies, and whatever is done to it is found and named.

#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::format_collect,
    clippy::items_after_statements,
    clippy::semicolon_if_nothing_returned,
    clippy::too_many_lines,
    clippy::type_complexity,
    reason = "long tables of cases, each with what is done to a tree"
)]

mod bags;
mod conformance;
mod fetched;
mod hostile;
mod signed;
mod snapshots;
mod stores;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder::digest::Sha256Digest;
use serde_json::Value;

use crate::harness::{self, Ran, bare};

/// Runs `larder verify ARGUMENTS` in `dir`, with no AWS and no network to speak of.
fn verify(dir: &Path, arguments: &[&str]) -> Ran {
    let mut command = bare(dir);
    command.arg("verify").args(arguments);
    harness::run(&mut command)
}

/// The findings of the only path, as `(kind, path)`.
#[track_caller]
fn findings(dir: &Path, arguments: &[&str]) -> Vec<(String, String)> {
    let ran = verify(dir, &[&["--output", "json"], arguments].concat());
    let json = ran.json();
    let path = &json["paths"][0];
    let list: Vec<(String, String)> = path["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            let text = |field: &str| finding[field].as_str().unwrap().to_owned();
            assert!(!text("message").is_empty(), "{finding}");
            (text("kind"), text("path"))
        })
        .collect();
    let ok = list.is_empty();
    assert_eq!(path["ok"], ok, "{json}");
    assert_eq!(json["ok"], ok, "{json}");
    assert_eq!(ran.code, i32::from(!ok), "{ran:?}");
    list
}

/// The findings must be just these.
#[track_caller]
fn found(dir: &Path, arguments: &[&str], want: &[(&str, &str)]) {
    let found = findings(dir, arguments);
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(k, p)| (k.as_str(), p.as_str()))
        .collect();
    assert_eq!(found, want, "{arguments:?}");
}

/// Copies a tree with its modes and links.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(done.success());
}

/// Makes a tree writable for its owner: bags are read-only.
fn unlock(dir: &Path) {
    let done = Command::new("chmod")
        .args(["-R", "u+rwX"])
        .arg(dir)
        .status()
        .unwrap();
    assert!(done.success());
}

/// The regular files below `dir`, by their paths.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap();
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                out.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    out
}

/// Writes `name` below `dir`, with the directories above it.
fn put(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// A plain bag at `dir`: these payload files (below `data/`), SHA-256 manifests, version 1.0.
fn make_bag(dir: &Path, payload: &[(&str, &[u8])]) {
    for (name, bytes) in payload {
        put(dir, &format!("data/{name}"), bytes);
    }
    let text: String = payload
        .iter()
        .map(|(name, bytes)| format!("{}  data/{name}\n", Sha256Digest::of(bytes)))
        .collect();
    put(dir, "manifest-sha256.txt", text);
    let total: usize = payload.iter().map(|(_, bytes)| bytes.len()).sum();
    put(
        dir,
        "bag-info.txt",
        format!("Payload-Oxum: {total}.{}\n", payload.len()),
    );
    put(
        dir,
        "bagit.txt",
        "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
    );
    seal(dir);
}

/// Writes the tag manifest anew over what lies there.
fn seal(dir: &Path) {
    let text: String = files(dir)
        .iter()
        .filter(|(name, _)| !name.starts_with("data/") && !name.starts_with("tagmanifest-"))
        .map(|(name, bytes)| format!("{}  {name}\n", Sha256Digest::of(bytes)))
        .collect();
    put(dir, "tagmanifest-sha256.txt", text);
}

#[test]
fn the_report_has_the_shape_that_programs_rely_on() {
    let dir = tempfile::tempdir().unwrap();
    make_bag(&dir.path().join("good"), &[("a", b"1"), ("b/c", b"22")]);
    make_bag(&dir.path().join("bad"), &[("a", b"1")]);
    fs::write(dir.path().join("bad/data/a"), "2").unwrap();
    let ran = verify(dir.path(), &["--output", "json", "good", "bad"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stderr, "");
    let json = ran.json();
    assert_eq!(
        (&json["schema_version"], &json["ok"]),
        (&Value::from(1), &Value::from(false))
    );
    let good = &json["paths"][0];
    assert_eq!(good["path"], "good");
    assert_eq!(good["kind"], "bag");
    assert_eq!(good["ok"], true);
    assert_eq!(good["files"], 6);
    let bytes: usize = files(&dir.path().join("good")).values().map(Vec::len).sum();
    assert_eq!(good["bytes"], bytes);
    assert_eq!(good["findings"], Value::Array(Vec::new()));
    let finding = &json["paths"][1]["findings"][0];
    assert_eq!(
        (&finding["kind"], &finding["path"]),
        (&Value::from("modified"), &Value::from("data/a"))
    );
    let text = verify(dir.path(), &["good", "bad"]);
    assert_eq!(text.code, 1);
    for part in [
        "verified good",
        "NOT verified bad",
        "modified data/a: its sha256 is ",
        "not signed",
    ] {
        assert!(text.stdout.contains(part), "{part}: {}", text.stdout);
    }
    let quiet = verify(dir.path(), &["-q", "good", "bad"]);
    assert!(
        !quiet.stdout.contains("verified good") && quiet.stdout.contains("data/a"),
        "{}",
        quiet.stdout
    );
    // Without a terminal, progress is told when it is asked for.
    let told = verify(dir.path(), &["--progress", "always", "good"]).expect(0);
    assert!(
        told.stderr.contains("verifying good: 6 files"),
        "{}",
        told.stderr
    );
}

#[test]
fn a_path_that_is_nothing_of_ours_is_a_mistake_and_what_is_left_of_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    put(path, "other/src/main.rs", "fn main() {}");
    put(path, "file", "x");
    fs::create_dir(path.join("empty")).unwrap();
    for name in ["other", "empty", "file"] {
        verify(path, &[name]).expect(2).says(&["hint: ", name]);
    }
    verify(path, &["none"]).expect(8).says(&["none"]);
    verify(path, &[]).expect(2);
    let error = verify(path, &["--output", "json", "other"])
        .expect(2)
        .json_error();
    assert_eq!(error["kind"], "usage");
    // Without their marker files.
    make_bag(&path.join("bag"), &[("a", b"1")]);
    fs::remove_file(path.join("bag/bagit.txt")).unwrap();
    found(path, &["bag"], &[("missing", "bagit.txt")]);
    put(path, "record/function.json", "{}");
    put(path, "record/package.zip", "zip");
    let kinds = findings(path, &["record"]);
    assert!(
        kinds.contains(&("missing".to_owned(), "larder.json".to_owned())),
        "{kinds:?}"
    );
    put(path, "layout/blobs/sha256/x", "");
    assert!(!findings(path, &["layout"]).is_empty());
    put(path, "payload/data/a", "1");
    let kinds = findings(path, &["payload"]);
    assert!(
        kinds.contains(&("missing".to_owned(), "bagit.txt".to_owned())),
        "{kinds:?}"
    );
    // Options that cannot be right.
    verify(path, &["--custody-head", "x", "bag"]).expect(2);
    let head = "0".repeat(64);
    verify(path, &["--custody-head", &head, "bag", "bag"]).expect(2);
    verify(path, &["--custody-head", &head, "record"]).expect(2);
    verify(path, &["--allowed-signers", "none", "bag"]).expect(8);
    let ran = verify(path, &["--allowed-signers", "file", "bag"]).expect(1);
    assert!(
        ran.stdout.contains("line 1 of the allowed signers"),
        "{ran:?}"
    );
    verify(path, &["--tsa-ca", "file", "bag"])
        .expect(2)
        .says(&["file"]);
}

/// Runs larder, and gives its largest resident memory in KiB.
fn bare_time(dir: &Path, arguments: &[&str]) -> (Ran, u64) {
    harness::run_measured(bare(dir).args(arguments))
}
