//! Publishing on real directories.

mod crash;
mod leftovers;
mod places;
mod removal;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::error::{Error, ErrorKind};

const FORCE: PublishOptions = PublishOptions {
    force: true,
    sync: true,
};
const PLAIN: PublishOptions = PublishOptions {
    force: false,
    sync: true,
};

/// What a destination holds, as far as these tests care.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Absent,
    Empty,
    /// All files of this version, and no other.
    Whole(u32),
    /// Something, but no record: nobody takes it for a whole one.
    Unfinished,
    /// A record, and not the files that belong to it.
    Broken(Vec<String>),
}

/// The files of version `n`; versions differ in names as well.
fn files_of(n: u32) -> Vec<String> {
    let mut names: Vec<String> = [
        "function.json",
        "larder.json",
        "package.zip",
        "code/a",
        "code/sub/b",
    ]
    .map(str::to_owned)
    .into();
    names.push(format!("only-{n}"));
    names.sort();
    names
}

fn fill(staging: &Staging, n: u32) {
    drop(staging.create_dir("code/sub").unwrap());
    for name in files_of(n) {
        let mode = if name == "function.json" {
            0o600
        } else {
            0o644
        };
        let mut file = staging.create_file(&name, mode).unwrap();
        file.write_all(n.to_string().as_bytes()).unwrap();
    }
}

/// Publishes version `n` for real.
fn publish(dest: &Path, options: PublishOptions, n: u32) -> Result<Published, FilesError> {
    let staging = Staging::create(dest, options)?;
    fill(&staging, n);
    staging.publish()
}

/// All regular files under `dir` with their content, without wrappers and `lost+found`.
fn contents(dir: &Path, under: &str, out: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(".larder-") || name == "lost+found" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            contents(&entry.path(), &format!("{under}{name}/"), out);
        } else {
            out.insert(
                format!("{under}{name}"),
                fs::read_to_string(entry.path()).unwrap_or_default(),
            );
        }
    }
}

fn state(dest: &Path) -> State {
    if !exists(dest) {
        return State::Absent;
    }
    let mut found = BTreeMap::new();
    contents(dest, "", &mut found);
    if found.is_empty() {
        return State::Empty;
    }
    let Some(n) = found.get(RECORD).and_then(|n| n.parse().ok()) else {
        return State::Unfinished;
    };
    let expected: BTreeMap<String, String> = files_of(n)
        .into_iter()
        .map(|name| (name, n.to_string()))
        .collect();
    if found == expected {
        State::Whole(n)
    } else {
        State::Broken(found.into_iter().map(|(k, v)| format!("{k}={v}")).collect())
    }
}

/// Names of wrappers in a directory.
fn wrappers(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .map(|entries| {
            entries
                .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
                .filter(|name| name.contains(".larder-"))
                .collect()
        })
        .unwrap_or_default()
}

fn occupant(result: Result<impl Sized, FilesError>) -> Occupant {
    match result.map(drop) {
        Err(FilesError::Exists { found, .. }) => found,
        other => panic!("{other:?}"),
    }
}

fn kind_and_hint(error: FilesError) -> (ErrorKind, String) {
    let error = Error::from(error);
    (
        error.kind(),
        error.hint_text().unwrap_or_default().to_owned(),
    )
}

const CHILD: &str = "LARDER_FILES_TEST_CHILD";

/// Runs an ignored test of this binary in a process of its own, perhaps through another program. What it is
/// told is in variables that only such a test reads.
fn child(through: &[&str], test: &str, told: &[(&str, &str)]) -> Command {
    let mut words: Vec<PathBuf> = through.iter().map(PathBuf::from).collect();
    words.push(std::env::current_exe().unwrap());
    words.extend(
        [
            test,
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ]
        .map(PathBuf::from),
    );
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env(CHILD, "1")
        .envs(told.iter().copied());
    command
}

/// Whether this process is one that [`child`] started.
fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn told(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Runs a child to its end; its assertions are ours.
fn pass(mut command: Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

/// Says on the terminal, past the capture of test output, that something could not be tested here.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
