//! `--store`: the last backup is what is expected.

use std::fs;

use larder_testkit::packages;
use serde_json::Value;

use crate::harness::Bench;

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn backup(bench: &Bench) {
    bench
        .run(&[
            "backup",
            "--store",
            "store",
            "--all",
            "--redact-env",
            "--max-rate",
            "1000",
        ])
        .expect(0);
}

fn check(bench: &Bench, more: &[&str], code: i32) -> Value {
    let mut all = vec![
        "check",
        "--store",
        "store",
        "--output",
        "json",
        "--max-rate",
        "1000",
    ];
    all.extend(more);
    bench.run(&all).expect(code).json()
}

fn result<'a>(report: &'a Value, name: &str) -> &'a Value {
    let functions = report["functions"].as_array().unwrap();
    let of = |f: &&Value| {
        f["function"]
            .as_str()
            .unwrap()
            .ends_with(&format!(":{name}"))
    };
    functions
        .iter()
        .find(of)
        .unwrap_or_else(|| panic!("{report:#}"))
}

/// A zip function with an alias, one that shares its package, and an image.
fn account(bench: &Bench) {
    let tree = packages::python_package();
    bench
        .aws
        .function("orders")
        .zip(tree.zip())
        .publish()
        .alias("live", "1")
        .env("PASSWORD", "hunter2-in-clear")
        .create();
    bench.aws.function("billing").zip(tree.zip()).create();
    bench
        .aws
        .function("img")
        .image(
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/r:t",
            &format!("sha256:{DIGEST}"),
        )
        .create();
}

#[test]
fn nothing_changed_since_the_backup_is_in_sync_without_a_download() {
    let bench = Bench::new();
    account(&bench);
    backup(&bench);
    let (described, objects) = (bench.aws.count("GetFunction"), bench.aws.count("GetObject"));
    let report = check(&bench, &["--aliases", "--config", "--all"], 0);
    assert_eq!(
        report["summary"]["in_sync"], report["summary"]["checked"],
        "{report:#}"
    );
    assert!(
        report["summary"]["checked"].as_u64().unwrap() >= 4,
        "{report:#}"
    );
    let basis = result(&report, "orders")["expected"]["basis"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(basis.contains("the backup of 20"), "{basis}");
    assert_eq!(
        (bench.aws.count("GetFunction"), bench.aws.count("GetObject")),
        (described, objects)
    );
}

#[test]
fn what_a_full_backup_has_beside_the_code_is_no_alias() {
    let bench = Bench::new();
    account(&bench);
    let full = [
        "backup",
        "--store",
        "store",
        "--all",
        "--redact-env",
        "--config",
        "full",
    ];
    bench
        .run(&[&full[..], &["--max-rate", "1000"]].concat())
        .expect(0);
    for _ in 0..4 {
        let report = check(&bench, &["--aliases"], 0);
        assert!(report.to_string().contains("\"live\""), "{report:#}");
    }
}

#[test]
fn what_changed_since_the_backup_is_told_by_file() {
    let bench = Bench::new();
    account(&bench);
    backup(&bench);
    let changed = packages::python_package().file("handler.py", "print('other')\n");
    bench
        .aws
        .function("orders")
        .zip(changed.zip())
        .env("PASSWORD", "x")
        .env("NEW", "y")
        .create();
    bench.aws.function("extra").zip(changed.zip()).create();
    let report = check(&bench, &["--config", "--all"], 1);
    let orders = result(&report, "orders");
    assert_eq!(orders["status"], "drifted", "{report:#}");
    let paths: Vec<&str> = orders["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["handler.py"], "{orders:#}");
    assert!(orders["config"].to_string().contains("NEW"), "{orders:#}");
    assert!(!report.to_string().contains("hunter2"), "{report:#}");
    assert_eq!(result(&report, "billing")["status"], "in_sync");
    assert_eq!(result(&report, "img")["status"], "in_sync");
    assert_eq!(result(&report, "extra")["status"], "unexpected");
}

#[test]
fn named_functions_alone_and_the_newest_run() {
    let bench = Bench::new();
    account(&bench);
    backup(&bench);
    let changed = packages::python_package()
        .file("handler.py", "print('other')\n")
        .zip();
    bench.aws.function("billing").zip(changed).create();
    backup(&bench);
    let report = check(&bench, &["billing"], 0);
    assert_eq!(report["summary"]["checked"], 1, "{report:#}");
}

#[test]
fn a_store_that_is_none_or_damaged_is_never_in_sync() {
    let bench = Bench::new();
    account(&bench);
    bench.run(&["check", "--store", "nowhere"]).expect(5);
    bench.run(&["check", "--store-profile", "x"]).expect(2);
    backup(&bench);
    let entry = |name: &str| -> String {
        let blobs = bench.path("store/blobs/sha256");
        let found = fs::read_dir(blobs).unwrap().find_map(|blob| {
            let path = blob.unwrap().path();
            let text = String::from_utf8(fs::read(&path).unwrap()).ok()?;
            let json: Value = serde_json::from_str(&text).ok()?;
            (json["function"]["name"] == name).then(|| path.display().to_string())
        });
        found.expect("a record")
    };
    fs::write(entry("billing"), "{}").unwrap();
    let report = check(&bench, &[], 3);
    assert_eq!(
        result(&report, "billing")["status"],
        "unknown",
        "{report:#}"
    );
    assert_eq!(result(&report, "img")["status"], "in_sync", "{report:#}");
}
