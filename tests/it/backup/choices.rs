//! `--layers all`, `--accept` and `--refresh-older-than`.

use std::fs;

use larder_testkit::{Fault, On, packages};
use serde_json::Value;

use super::{backup, check, lines, statuses, summary, zip};
use crate::harness::{Bench, write};

fn layer_lines(ran: &crate::harness::Ran) -> Vec<Value> {
    let lines = lines(ran).into_iter();
    lines.filter(|line| line["event"] == "layer").collect()
}

#[test]
fn all_layers_are_kept_used_or_not_and_each_once() {
    let bench = Bench::new();
    let layer = |name: &str, seed| {
        let zip = packages::zip_of_size(5_000, seed);
        bench.aws.layer(name).zip(zip).create()
    };
    for seed in 0..60 {
        // More than a page of versions, and one that a function uses.
        let _ = layer("deps", seed);
    }
    let used = layer("used", 100);
    let foreign = packages::zip_of_size(5_000, 200);
    let foreign = bench
        .aws
        .layer("other")
        .account("999999999999")
        .zip(foreign)
        .create();
    bench
        .aws
        .function("f")
        .zip(zip(1))
        .layer(&used)
        .layer(&foreign)
        .create();
    let ran = backup(&bench, &["--all", "--layers", "all"]).expect(0);
    assert_eq!(layer_lines(&ran).len(), 62);
    assert_eq!(summary(&ran)["layers"]["saved"], 62);
    assert_eq!(bench.aws.count("GetLayerVersionByArn"), 62);
    assert_eq!(bench.aws.count("ListLayers"), 1);
    // Two pages of one layer, one of the other.
    assert_eq!(bench.aws.count("ListLayerVersions"), 3);
    let again = backup(&bench, &["--all", "--layers", "all"]).expect(0);
    assert_eq!(summary(&again)["layers"]["unchanged"], 62);
    assert_eq!(bench.aws.count("GetLayerVersionByArn"), 62);
    check(&bench, 0);
    // They are not a part of functions that are named.
    backup(&bench, &["f", "--layers", "all"])
        .expect(2)
        .says(&["--layers all", "--all"]);
    // That layers cannot be listed is one line, and nothing of the functions is lost.
    bench.aws.fault(
        On::Operation("ListLayers").always(),
        Fault::access_denied("lambda:ListLayers"),
    );
    let ran = backup(&bench, &["--all", "--layers", "all"]).expect(3);
    assert_eq!(statuses(&ran)["f:$LATEST"], "unchanged");
    let regions = lines(&ran).into_iter().filter(|l| l["event"] == "region");
    assert_eq!(regions.count(), 1);
}

/// A function whose layer could not be had is unchanged; its layer is asked about in each run, and is had when it can be.
#[test]
fn a_layer_that_is_lacking_is_asked_for_again() {
    let function = |bench: &Bench| {
        let layer = bench.aws.layer("deps");
        let layer = layer.zip(packages::layer_package().zip()).create();
        for name in ["f", "g"] {
            bench.aws.function(name).zip(zip(1)).layer(&layer).create();
        }
        layer
    };
    let calls = |bench: &Bench| {
        ["GetFunction", "GetLayerVersionByArn"].map(|operation| bench.aws.count(operation))
    };
    let bench = Bench::new();
    function(&bench);
    bench.aws.fault(
        On::Layer.always(),
        Fault::access_denied("lambda:GetLayerVersion"),
    );
    backup(&bench, &["--all"]).expect(0);
    assert_eq!(calls(&bench), [2, 1]);
    let dry = backup(&bench, &["--all", "--dry-run"]).expect(0);
    let ran = backup(&bench, &["--all"]).expect(0);
    assert_eq!(summary(&dry)["plan"]["calls"], summary(&ran)["calls"]);
    assert_eq!(summary(&ran)["counts"]["unchanged"], 2);
    assert_eq!(layer_lines(&ran).len(), 1);
    assert_eq!(layer_lines(&ran)[0]["status"], "denied");
    assert_eq!(calls(&bench), [2, 2]);
    bench.aws.clear_faults();
    let ran = backup(&bench, &["--all"]).expect(0);
    assert_eq!(summary(&ran)["counts"]["saved"], 2);
    assert_eq!(calls(&bench), [4, 3]);
    bench.run(&["restore", "--store", "store", "f"]).expect(0);
    assert!(bench.path("f/layers/deps-1/package.zip").exists());
    let ran = backup(&bench, &["--all"]).expect(0);
    assert_eq!(summary(&ran)["counts"]["unchanged"], 2);
    assert_eq!(calls(&bench), [4, 3]);
    check(&bench, 0);
    // One that is deleted; and a later run is strict about it.
    let bench = Bench::new();
    let layer = function(&bench);
    bench.aws.delete_layer(&layer);
    backup(&bench, &["--all"]).expect(0);
    let ran = backup(&bench, &["--all", "--strict-layers"]).expect(3);
    assert_eq!(statuses(&ran)["f:$LATEST"], "partial");
    assert_eq!(layer_lines(&ran)[0]["status"], "gone");
}

#[test]
fn a_known_failure_is_counted_as_accepted() {
    let bench = Bench::new();
    bench.aws.function("good").zip(zip(1)).create();
    for name in ["old-1", "old-2", "new-1"] {
        bench
            .aws
            .function(name)
            .zip(zip(2))
            .code_error("InternalError", "m")
            .create();
    }
    write(
        bench.path("known.txt"),
        "# no code since 2024\n*:function:old-* unavailable - OPS-12\n*:function:new-1 unavailable 2020-01-01 was mended\n*:function:nobody failed - nothing\n",
    );
    let ran = backup(&bench, &["--all", "--accept", "known.txt"]).expect(3);
    let found = statuses(&ran);
    assert_eq!(found["old-1:$LATEST"], "accepted");
    assert_eq!(found["new-1:$LATEST"], "unavailable");
    let counts = summary(&ran)["counts"].clone();
    assert_eq!(
        (&counts["accepted"], &counts["saved"]),
        (&2.into(), &1.into())
    );
    let reason = lines(&ran)
        .into_iter()
        .find(|l| l["status"] == "accepted")
        .and_then(|l| l["reason"].as_str().map(str::to_owned))
        .unwrap();
    assert!(
        reason.starts_with("unavailable: ") && reason.ends_with("accepted by known.txt:2: OPS-12"),
        "{reason}"
    );
    // Expired and unused lines are told.
    ran.says(&["known.txt:3", "expired", "known.txt:4", "not used"]);
    // Of a part of the functions an unused line says nothing.
    let part = backup(&bench, &["good", "--accept", "known.txt"]).expect(0);
    assert!(!part.stderr.contains("known.txt:4"), "{}", part.stderr);
    write(
        bench.path("all.txt"),
        "*:function:old-* unavailable - a\n*:new-1:$LATEST unavailable - b\n",
    );
    backup(&bench, &["--all", "--accept", "all.txt"]).expect(0);
    for bad in [
        "* drifted - a check's status",
        "* unavailable -",
        "nonsense",
    ] {
        write(bench.path("bad.txt"), bad);
        backup(&bench, &["--all", "--accept", "bad.txt"])
            .expect(2)
            .says(&["bad.txt:1"]);
    }
    backup(&bench, &["--all", "--accept", "none.txt"]).expect(2);
}

#[test]
fn what_was_asked_about_long_ago_is_asked_again() {
    let bench = Bench::new();
    bench
        .aws
        .function("f")
        .zip(zip(1))
        .tag("team", "a")
        .create();
    backup(&bench, &["--all"]).expect(0);
    backup(&bench, &["--all", "--refresh-older-than", "1h"]).expect(0);
    assert_eq!(bench.aws.count("GetFunction"), 1);
    // The store says when AWS was asked; here it was a long time ago.
    age(&bench);
    let ran = backup(&bench, &["--all"]).expect(0);
    assert_eq!(statuses(&ran)["f:$LATEST"], "unchanged");
    let ran = backup(&bench, &["--all", "--refresh-older-than", "7d"]).expect(0);
    assert_eq!(statuses(&ran)["f:$LATEST"], "saved");
    assert_eq!(bench.aws.count("GetFunction"), 2);
    // The package is not fetched again.
    assert_eq!(bench.aws.count("GetObject"), 1);
    backup(&bench, &["--all", "--refresh-older-than", "7d"]).expect(0);
    assert_eq!(bench.aws.count("GetFunction"), 2);
    for bad in ["7", "d", "1y", "-1d"] {
        backup(&bench, &["--all", "--refresh-older-than", bad]).expect(2);
    }
}

/// Rewrites the newest run, so that its region was asked about in 2020: as a writer would, blobs by their digests.
fn age(bench: &Bench) {
    let runs = bench.path("store/runs");
    let name = crate::harness::names(&runs).pop().unwrap();
    let mut run: Value = serde_json::from_slice(&fs::read(runs.join(&name)).unwrap()).unwrap();
    let digest = run["manifests"][0]["digest"].as_str().unwrap();
    let blobs = bench.path("store/blobs/sha256");
    let hex = digest.trim_start_matches("sha256:");
    let mut region: Value = serde_json::from_slice(&fs::read(blobs.join(hex)).unwrap()).unwrap();
    for entry in region["manifests"].as_array_mut().unwrap() {
        entry["annotations"]["larder.described-at"] = "2020-01-01T00:00:00.000Z".into();
    }
    let bytes = region.to_string();
    let hex = larder::digest::Sha256Digest::of(bytes.as_bytes()).hex();
    fs::write(blobs.join(&hex), &bytes).unwrap();
    run["manifests"][0]["digest"] = format!("sha256:{hex}").into();
    run["manifests"][0]["size"] = bytes.len().into();
    fs::write(runs.join(&name), run.to_string()).unwrap();
}
