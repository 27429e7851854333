//! Damaged stores: found, named, survived, and brought back as far as AWS still has it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{backup, blob, is_sound, run_of, runs, store, zip};
use crate::harness::{Bench, json, names};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

fn at(bench: &Bench, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    let hex = digest.trim_start_matches("sha256:");
    bench.path("store/blobs/sha256").join(hex)
}

/// The blobs of function `a`, by what they are.
fn parts(bench: &Bench) -> Vec<(&'static str, PathBuf)> {
    let run_file = bench.path(format!("store/runs/{}.json", runs(bench)[0]));
    let run = json(&run_file);
    let region = at(bench, &run["manifests"][0]);
    let entries = json(&region);
    let entries = entries["manifests"].as_array().unwrap();
    let of_a = |e: &&Value| {
        let arn = e["annotations"]["larder.arn"].as_str().unwrap();
        arn.contains(":function:a:")
    };
    let manifest = at(bench, entries.iter().find(of_a).unwrap());
    let document = json(&manifest);
    vec![
        ("package", blob(bench, &zip(1))),
        ("record", at(bench, &document["config"])),
        ("answer", at(bench, &document["layers"][0])),
        ("manifest", manifest),
        ("region", region),
        ("run", blob(bench, &fs::read(run_file).unwrap())),
    ]
}

#[test]
fn every_kind_of_damage_to_every_kind_of_blob_is_found_and_mended() {
    let bench = Bench::new();
    bench.aws.function("a").zip(zip(1)).create();
    bench.aws.function("b").zip(zip(2)).create();
    let run = run_of(&backup(&bench, &["--all"]).expect(0));
    copy(&bench.path("store"), &bench.path("pristine"));
    for (part, path) in parts(&bench) {
        for damage in ["lost", "size", "modified"] {
            let case = format!("{part}, {damage}");
            fs::remove_dir_all(bench.path("store")).unwrap();
            copy(&bench.path("pristine"), &bench.path("store"));
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            match damage {
                "lost" => fs::remove_file(&path).unwrap(),
                "size" => fs::write(&path, &bytes[..middle]).unwrap(),
                _ => {
                    bytes[middle] ^= 1;
                    fs::write(&path, &bytes).unwrap();
                }
            }
            let checked = store(&bench, "check", &["--read-data"]).expect(1).json();
            let findings = checked["findings"].as_array().unwrap();
            let hex = path.file_name().unwrap().to_str().unwrap();
            assert!(
                findings
                    .iter()
                    .any(|f| f["path"].as_str().unwrap().contains(hex)
                        && (f["kind"] == damage || f["kind"] == "modified")),
                "{case}: {checked}"
            );
            // What hides references stops a prune, and nothing that is sound is deleted by one.
            let prune = store(&bench, "prune", &["--grace", "0"]);
            let hides = matches!(part, "manifest" | "region");
            assert_eq!(prune.code, i32::from(hides), "{case}: {prune:?}");
            store(&bench, "list", &[]).expect(0);
            let forget = store(&bench, "forget", &["--keep-last", "1"]);
            assert_eq!(
                forget.code,
                i32::from(part == "region"),
                "{case}: {forget:?}"
            );
            assert_eq!(runs(&bench), *std::slice::from_ref(&run), "{case}");

            let restore = |name: &str| {
                let dest = format!("{case} {name}").replace(", ", "-");
                let ran = bench.run(&["restore", "--store", "store", name, &dest]);
                assert_eq!(ran.code == 0, bench.path(&dest).exists(), "{case}: {ran:?}");
                assert!(matches!(ran.code, 0 | 1 | 5), "{case}: {ran:?}");
                ran.code == 0
            };
            assert_eq!(restore("b"), part != "region", "{case}");
            assert_eq!(restore("a"), part == "run", "{case}");

            // What has the right size is not looked at by a backup; who knows of it takes it away.
            if damage == "modified" {
                fs::remove_file(&path).unwrap();
            }
            backup(&bench, &["--all", "--refresh"]).expect(0);
            if !matches!(part, "package" | "answer") {
                // It holds when it was made. That point in time cannot be had again.
                let code = store(&bench, "check", &[]).code;
                assert_eq!(code, 1, "{case}");
                store(&bench, "forget", &["--run", &run]);
            }
            is_sound(&bench);
            assert!(fs::read(blob(&bench, &zip(1))).unwrap() == zip(1), "{case}");
        }
    }
}

#[test]
fn a_backup_goes_on_whatever_the_last_runs_are() {
    let bench = Bench::new();
    bench.aws.function("a").zip(zip(1)).create();
    let run = run_of(&backup(&bench, &["--all"]).expect(0));
    let good = fs::read_to_string(bench.path(format!("store/runs/{run}.json"))).unwrap();
    let newer = good.replace("\"larder.format\":\"1\"", "\"larder.format\":\"7\"");
    let runs_dir = bench.path("store/runs");
    fs::write(runs_dir.join("20990101T000000.000Z-aa.json"), newer).unwrap();
    fs::write(runs_dir.join("20990102T000000.000Z-bb.json"), "").unwrap();
    fs::write(runs_dir.join("notes.txt"), "mine").unwrap();
    fs::create_dir(runs_dir.join("folder")).unwrap();
    fs::write(runs_dir.join("folder/20990103T000000.000Z-cc.json"), &good).unwrap();
    let checked = store(&bench, "check", &[]).expect(1).json();
    let kinds: Vec<(&str, &str)> = checked["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["kind"].as_str().unwrap(), f["path"].as_str().unwrap()))
        .collect();
    for expected in [
        ("newer", "runs/20990101T000000.000Z-aa.json"),
        ("unreadable", "runs/20990102T000000.000Z-bb.json"),
        ("strange", "runs/notes.txt"),
        ("strange", "runs/folder/20990103T000000.000Z-cc.json"),
    ] {
        assert!(kinds.contains(&expected), "{expected:?}: {kinds:?}");
    }
    let ran = backup(&bench, &["--all"]).expect(0);
    assert!(ran.stdout.contains("\"unchanged\":1"), "{}", ran.stdout);
    assert!(ran.stderr.contains("20990101T000000.000Z-aa"));
    bench.run(&["restore", "--store", "store", "a"]).expect(0);
    let listed = store(&bench, "list", &[]).expect(1);
    assert_eq!(listed.stdout.lines().count(), 2, "{}", listed.stdout);
    assert!(listed.stderr.contains("notes.txt"), "{}", listed.stderr);
}

#[test]
fn the_index_is_a_cache() {
    let bench = Bench::new();
    bench.aws.function("a").zip(zip(1)).create();
    backup(&bench, &["--all"]).expect(0);
    let index = bench.path("store/index.json");
    let whole = fs::read(&index).unwrap();
    for bytes in [
        None,
        Some("{broken"),
        Some("{\"schemaVersion\":2,\"mediaType\":\"x\",\"manifests\":[]}"),
    ] {
        match bytes {
            None => fs::remove_file(&index).unwrap(),
            Some(bytes) => fs::write(&index, bytes).unwrap(),
        }
        let checked = store(&bench, "check", &[]).expect(0).json();
        assert_eq!(checked["findings"][0]["kind"], "index", "{checked}");
        let dest = format!("d{}", bytes.unwrap_or_default().len());
        bench
            .run(&["restore", "--store", "store", "a", &dest])
            .expect(0);
    }
    backup(&bench, &["--all"]).expect(0);
    let checked = is_sound(&bench);
    assert_eq!(checked["findings"], Value::Array(Vec::new()));
    assert!(fs::read(&index).unwrap().len() > whole.len());
}

#[test]
fn a_store_of_a_later_version_is_refused_by_all() {
    let bench = Bench::new();
    bench.aws.function("a").zip(zip(1)).create();
    backup(&bench, &["--all"]).expect(0);
    fs::write(
        bench.path("store/larder-store.json"),
        "{\"schema_version\":2}",
    )
    .unwrap();
    for (action, arguments) in [
        ("list", &[][..]),
        ("check", &[]),
        ("forget", &["--keep-last", "1"]),
        ("prune", &[]),
    ] {
        let ran = store(&bench, action, arguments).expect(2);
        assert!(ran.stderr.contains("version 2"), "{}", ran.stderr);
    }
    backup(&bench, &["--all"]).expect(2);
    bench.run(&["restore", "--store", "store", "a"]).expect(2);
}
