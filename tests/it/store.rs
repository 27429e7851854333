//! `larder store`: what is listed, forgotten, pruned, found damaged and survived; stores of earlier versions.

mod damage;
mod forget;
mod golden;
mod kill;
mod prune;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use larder_testkit::packages;
use serde_json::Value;

use crate::harness::{Bench, Ran, names};

fn zip(seed: u64) -> Vec<u8> {
    packages::zip_of_size(3_000, seed)
}

fn backup(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec!["backup", "--store", "store", "--output", "json"];
    all.extend(["--max-rate", "1000"]);
    all.extend(arguments);
    bench.run(&all)
}

/// The run that a backup made.
fn run_of(ran: &Ran) -> String {
    let last = ran.stdout.lines().last().expect("a summary");
    let summary: Value = serde_json::from_str(last).expect("JSON");
    summary["run"].as_str().expect("a run").to_owned()
}

/// `larder store ACTION --store store --output json ARGUMENTS`.
fn store(bench: &Bench, action: &str, arguments: &[&str]) -> Ran {
    let mut all = vec!["store", action, "--store", "store", "--output", "json"];
    all.extend(arguments);
    bench.run(&all)
}

fn is_sound(bench: &Bench) -> Value {
    let checked = store(bench, "check", &["--read-data"]).expect(0).json();
    assert_eq!(checked["ok"], true, "{checked}");
    checked
}

fn runs(bench: &Bench) -> Vec<String> {
    let files = names(&bench.path("store/runs")).into_iter();
    files
        .map(|file| file.trim_end_matches(".json").to_owned())
        .collect()
}

/// The same run once more, as if it had been made at another time: `20260131T020000.000Z`.
fn copy_run(bench: &Bench, run: &str, time: &str) -> String {
    let name = format!("{time}-{}", run.split_once('-').expect("an id").1);
    let file = |name: &str| bench.path(format!("store/runs/{name}.json"));
    fs::copy(file(run), file(&name)).expect("a copy");
    name
}

fn blob(bench: &Bench, bytes: &[u8]) -> PathBuf {
    let hex = larder::digest::Sha256Digest::of(bytes).hex();
    bench.path("store/blobs/sha256").join(hex)
}

/// Makes a file look as if nobody had written to it for so long.
fn age(path: &Path, by: Duration) {
    let file = File::options().write(true).open(path).expect("a file");
    file.set_modified(SystemTime::now() - by).expect("its time");
}

/// The same for all files of a folder of the store.
fn age_all(bench: &Bench, folder: &str, by: Duration) {
    let folder = bench.path("store").join(folder);
    for name in names(&folder) {
        age(&folder.join(name), by);
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
