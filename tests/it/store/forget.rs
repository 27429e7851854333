//! `larder store forget`.

use std::fs;

use serde_json::Value;

use super::{backup, copy_run, is_sound, run_of, runs, store, zip};
use crate::harness::{Bench, json, names};

/// run -> `forget`, or the rules by which it stays.
fn verdicts(forgot: &Value) -> Vec<(String, Vec<String>)> {
    let runs = forgot["runs"].as_array().unwrap().iter();
    runs.map(|run| {
        let name = run["run"].as_str().unwrap().to_owned();
        let reasons = run["reasons"].as_array().unwrap().iter();
        let mut rules: Vec<String> = reasons
            .map(|reason| reason["rule"].as_str().unwrap().to_owned())
            .collect();
        if run["action"] == "forget" {
            assert!(rules.is_empty());
            rules.push("forget".to_owned());
        }
        (name, rules)
    })
    .collect()
}

/// Runs of `a` and `b` on three days of January 2020, one of `gone` alone before them, and one of now.
fn history(bench: &Bench) -> Vec<String> {
    bench.aws.function("gone").zip(zip(9)).create();
    let alone = run_of(&backup(bench, &["gone"]).expect(0));
    let mut names = vec![copy_run(bench, &alone, "20200101T000000.000Z")];
    let here = Bench::new();
    here.aws.function("a").zip(zip(1)).create();
    here.aws.function("b").zip(zip(2)).create();
    let store = bench.path("store").display().to_string();
    let arguments = [
        "backup",
        "--store",
        &store,
        "--all",
        "--output",
        "json",
        "--max-rate",
        "1000",
    ];
    let both = run_of(&here.run(&arguments).expect(0));
    for time in [
        "20200105T010000.000Z",
        "20200105T020000.000Z",
        "20200106T010000.000Z",
        "20200201T010000.000Z",
    ] {
        names.push(copy_run(bench, &both, time));
    }
    for name in [alone, both] {
        std::fs::remove_file(bench.path(format!("store/runs/{name}.json"))).unwrap();
    }
    assert_eq!(runs(bench), names);
    names
}

#[test]
fn rules_are_applied_to_each_function_over_the_runs_that_hold_it() {
    let bench = Bench::new();
    let runs = history(&bench);
    for (rules, expected) in [
        // The newest of each region stays, and of `gone` its only one, which is older than all others.
        (vec!["--keep-last", "1"], [true, false, false, false, true]),
        (vec!["--keep-last", "2"], [true, false, false, true, true]),
        (vec!["--keep-daily", "3"], [true, false, true, true, true]),
        // 5 January 2020 was a Sunday, the 6th a Monday.
        (vec!["--keep-weekly", "2"], [true, false, false, true, true]),
        (
            vec!["--keep-monthly", "2"],
            [true, false, false, true, true],
        ),
        (
            vec!["--keep-yearly", "5"],
            [true, false, false, false, true],
        ),
        (
            vec!["--keep-within", "26d"],
            [true, false, false, true, true],
        ),
        (vec!["--keep-within", "1mo"], [true, true, true, true, true]),
        (
            vec!["--keep-last", "1", "--keep-daily", "2"],
            [true, false, false, true, true],
        ),
    ] {
        let mut arguments = vec!["--dry-run"];
        arguments.extend(&rules);
        let forgot = store(&bench, "forget", &arguments).expect(0).json();
        let verdicts = verdicts(&forgot);
        let kept: Vec<bool> = verdicts
            .iter()
            .map(|(_, rules)| rules[0] != "forget")
            .collect();
        assert_eq!(kept, expected, "{rules:?}: {verdicts:?}");
    }
    // Who holds a run is said.
    let forgot = store(&bench, "forget", &["--dry-run", "--keep-last", "1"]);
    let forgot = forgot.expect(0).json();
    let oldest = &forgot["runs"][0]["reasons"][0];
    assert_eq!(
        (&oldest["rule"], &oldest["functions"]),
        (&"last".into(), &1.into())
    );
    assert!(oldest["examples"][0].as_str().unwrap().ends_with(":gone"));
    let ran = bench.run(&[
        "store",
        "forget",
        "--store",
        "store",
        "--dry-run",
        "--keep-last",
        "1",
    ]);
    assert!(ran.stdout.contains("last: gone"), "{}", ran.stdout);
    // A dry run did nothing.
    assert_eq!(super::runs(&bench), runs);
}

#[test]
fn what_is_forgotten_is_no_run_any_more_and_can_be_brought_back() {
    let bench = Bench::new();
    let names_before = history(&bench);
    store(&bench, "forget", &["--keep-last", "1"]).expect(0);
    assert_eq!(
        runs(&bench),
        [names_before[0].clone(), names_before[4].clone()]
    );
    let index = json(&bench.path("store/index.json")).to_string();
    assert!(index.contains(&names_before[4]) && !index.contains(&names_before[2]));
    assert_eq!(names(&bench.path("store/forgotten")).len(), 3);
    is_sound(&bench);
    bench
        .run(&["restore", "--store", "store", "gone"])
        .expect(0);
    // Again, nothing is left to do.
    let again = store(&bench, "forget", &["--keep-last", "1"])
        .expect(0)
        .json();
    assert_eq!(
        (&again["forgotten"], &again["kept"]),
        (&0.into(), &2.into())
    );
    let file = format!("{}.json", names_before[2]);
    std::fs::rename(
        bench.path("store/forgotten").join(&file),
        bench.path("store/runs").join(&file),
    )
    .unwrap();
    is_sound(&bench);
    bench
        .run(&[
            "restore",
            "--store",
            "store",
            "--run",
            &names_before[2],
            "a",
        ])
        .expect(0);
}

#[test]
fn a_named_run_goes_and_what_only_it_held_is_said() {
    let bench = Bench::new();
    let names = history(&bench);
    let ran = store(&bench, "forget", &["--run", &names[0]]).expect(0);
    assert!(ran.stderr.contains("no other run holds"), "{}", ran.stderr);
    assert!(
        ran.json()["lost_functions"][0]
            .as_str()
            .unwrap()
            .ends_with(":gone")
    );
    assert_eq!(runs(&bench), names[1..]);
    let ran = store(&bench, "forget", &["--run", "20200105T02"]).expect(0);
    assert_eq!(ran.json()["lost_functions"], Value::Array(Vec::new()));
    assert_eq!(runs(&bench).len(), 3);
    for (run, code) in [("2020", 2), ("2031", 5), ("", 2)] {
        store(&bench, "forget", &["--run", run]).expect(code);
    }
}

#[test]
fn without_a_rule_nothing_is_forgotten() {
    let bench = Bench::new();
    let names = history(&bench);
    for arguments in [
        &[][..],
        &["--keep-last", "0"],
        &["--keep-within", "0d"],
        &["--keep-within", "soon"],
        &["--run", "20200105T02", "--keep-last", "1"],
    ] {
        store(&bench, "forget", arguments).expect(2);
    }
    assert_eq!(runs(&bench), names);
}

#[test]
fn rules_leave_alone_what_cannot_be_read() {
    let bench = Bench::new();
    let names = history(&bench);
    let file = bench.path(format!("store/runs/{}.json", names[1]));
    let good = std::fs::read_to_string(&file).unwrap();
    let newer = good.replace("\"larder.format\":\"1\"", "\"larder.format\":\"2\"");
    for bytes in ["{", newer.as_str()] {
        std::fs::write(&file, bytes).unwrap();
        let ran = store(&bench, "forget", &["--keep-last", "1", "--dry-run"]);
        assert!(ran.stderr.contains(&names[1]), "{}", ran.stderr);
        let forgot = ran.expect(1).json();
        assert_eq!(verdicts(&forgot)[1].1, ["unreadable"]);
    }
    // Named, it goes.
    store(&bench, "forget", &["--run", &names[1]]).expect(0);
    assert!(!file.exists());
}

/// Three shards and their joint run are one point in time.
#[test]
fn runs_of_shards_do_not_count_beside_the_joint_run() {
    let bench = Bench::new();
    bench.aws.regions(&["eu-west-1", "eu-central-1"]);
    for (region, seed) in ["us-east-1", "eu-west-1", "eu-central-1"].iter().zip(1..) {
        bench
            .aws
            .function("app")
            .region(region)
            .zip(zip(seed))
            .create();
    }
    let mut joint = Vec::new();
    for night in ["night-1", "night-2"] {
        for shard in ["1/2", "2/2"] {
            let arguments = [
                "--all",
                "--all-regions",
                "--shard",
                shard,
                "--run-id",
                night,
            ];
            backup(&bench, &arguments).expect(0);
        }
        let sealed = store(&bench, "seal", &["--run-id", night]).expect(0).json();
        joint.push(sealed["run"].as_str().unwrap().to_owned());
    }
    // One shard of a third night has ended: no joint run has it.
    let arguments = [
        "--all",
        "--all-regions",
        "--shard",
        "1/2",
        "--run-id",
        "night-3",
    ];
    let third = run_of(&backup(&bench, &arguments).expect(0));
    assert_eq!(runs(&bench).len(), 7);
    let forgot = store(&bench, "forget", &["--keep-last", "2"])
        .expect(0)
        .json();
    let mut left = runs(&bench);
    left.sort();
    joint.push(third);
    joint.sort();
    assert_eq!(left, joint, "{forgot}");
    is_sound(&bench);
    for region in ["us-east-1", "eu-west-1", "eu-central-1"] {
        let arguments = [
            "restore", "--store", "store", "--region", region, "app", region,
        ];
        bench.run(&arguments).expect(0);
    }
}

/// A share that had nothing to do holds nothing, and is missed when the shares are joined.
#[test]
fn shares_that_may_still_be_joined_stay() {
    let bench = Bench::new();
    bench.aws.function("app").zip(zip(1)).create();
    let mut shares = Vec::new();
    for (shard, night) in [("1/2", "night-1"), ("2/2", "night-2")] {
        let arguments = ["--all", "--shard", shard, "--run-id", night];
        shares.push(run_of(&backup(&bench, &arguments).expect(0)));
    }
    for _ in 0..2 {
        backup(&bench, &["--all"]).expect(0);
    }
    let forgot = store(&bench, "forget", &["--keep-last", "1"]);
    let forgot = forgot.expect(0).json();
    assert_eq!(runs(&bench).len(), 3, "{forgot}");
    for share in shares {
        assert!(runs(&bench).contains(&share), "{forgot}");
        // Whoever names it means it.
        store(&bench, "forget", &["--run", &share]).expect(0);
    }
}

/// It is the way out where a run is damaged, and no failure.
#[test]
fn a_damaged_run_that_is_named_goes() {
    let bench = Bench::new();
    bench.aws.function("app").zip(zip(1)).create();
    let damaged = run_of(&backup(&bench, &["--all"]).expect(0));
    let file = bench.path(format!("store/runs/{damaged}.json"));
    let run = fs::read_to_string(&file).unwrap();
    let json: Value = serde_json::from_str(&run).unwrap();
    let region = json["manifests"][0]["digest"].as_str().unwrap();
    let hex = region.strip_prefix("sha256:").unwrap();
    fs::remove_file(bench.path("store/blobs/sha256").join(hex)).unwrap();
    store(&bench, "forget", &["--run", &damaged]).expect(0);
    assert_eq!(runs(&bench), [""; 0]);
}
