//! Several machines that share one backup and one store.

use std::fs;
use std::process::Stdio;

use larder_testkit::{Fault, On};
use serde_json::Value;

use super::{backup, check, lines, statuses, summary, zip};
use crate::harness::{Bench, finish, names, run};

const REGIONS: [&str; 6] = [
    "us-east-1",
    "eu-west-1",
    "eu-central-1",
    "ap-south-1",
    "sa-east-1",
    "us-west-2",
];

/// A function in each region.
fn account(bench: &Bench) {
    bench.aws.regions(&REGIONS[1..]);
    for (region, seed) in REGIONS.iter().zip(0..) {
        bench
            .aws
            .function("app")
            .region(region)
            .zip(zip(seed))
            .create();
    }
}

fn shard<'a>(shard: &'a str, id: &'a str) -> Vec<&'a str> {
    vec!["--all", "--all-regions", "--shard", shard, "--run-id", id]
}

fn runs(bench: &Bench) -> Vec<Value> {
    let listed = ["store", "list", "--store", "store", "--output", "json"];
    lines(&bench.run(&listed).expect(0))
}

fn seal(bench: &Bench, more: &[&str], code: i32) -> Value {
    let mut arguments = vec!["store", "seal", "--store", "store", "--output", "json"];
    arguments.extend(more);
    bench.run(&arguments).expect(code).json()
}

#[test]
fn shards_have_each_region_once_and_the_last_one_seals() {
    let bench = Bench::new();
    account(&bench);
    let mut seen = 0;
    for number in 1..=3 {
        let ran = backup(&bench, &shard(&format!("{number}/3"), "night-1")).expect(0);
        seen += statuses_of(&ran).len();
        let joint = &summary(&ran)["joint"];
        assert_eq!(joint["run"].is_string(), number == 3, "{joint}");
        if number == 1 {
            assert_eq!(joint["missing"], serde_json::json!([2, 3]));
            // Whoever seals too early is told what is missing.
            let early = seal(&bench, &["--run-id", "night-1"], 3);
            assert_eq!(early["missing"], serde_json::json!([2, 3]));
            assert!(early["run"].is_null());
        }
    }
    assert_eq!(seen, 6);
    let joint: Vec<_> = runs(&bench)
        .into_iter()
        .filter(|run| run["part"]["of"] == 3)
        .collect();
    assert_eq!(joint.len(), 1);
    assert_eq!(joint[0]["regions"].as_array().unwrap().len(), 6);
    assert_eq!(joint[0]["counts"]["saved"], 6);
    // Sealing again changes nothing; the newest backup is meant where none is named.
    let before = names(&bench.path("store/runs"));
    assert_eq!(seal(&bench, &[], 0)["new"], false);
    assert_eq!(names(&bench.path("store/runs")), before);
    check(&bench, 0);
    // Restore finds the functions through any of the runs.
    let joint_name = joint[0]["run"].as_str().unwrap();
    let by_run = [
        "restore",
        "--store",
        "store",
        "--run",
        joint_name,
        "--region",
        "sa-east-1",
        "app",
    ];
    bench.run(&by_run).expect(0);
    assert!(fs::read(bench.path("app/package.zip")).unwrap() == zip(4));
    // The next night costs no GetFunction, and what is gone is gone once.
    let asked = bench.aws.count("GetFunction");
    for number in 1..=3 {
        let ran = backup(&bench, &shard(&format!("{number}/3"), "night-2")).expect(0);
        assert!(statuses_of(&ran).iter().all(|s| s == "unchanged"));
    }
    assert_eq!(bench.aws.count("GetFunction"), asked);
    // An id is of one night.
    let again = backup(&bench, &shard("1/3", "night-2")).expect(2);
    again.says(&["sealed already"]);
    bench
        .run(&["store", "seal", "--store", "store", "--run-id", "nonsense"])
        .expect(5);
    // One machine alone reads what many wrote.
    let alone = backup(&bench, &["--all", "--all-regions"]).expect(0);
    assert_eq!(summary(&alone)["counts"]["unchanged"], 6);
}

fn statuses_of(ran: &crate::harness::Ran) -> Vec<String> {
    let functions = lines(ran).into_iter().filter(|l| l["event"] == "function");
    functions
        .map(|line| line["status"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_array_index_counts_from_zero() {
    let bench = Bench::new();
    account(&bench);
    let arguments = [
        "backup",
        "--store",
        "store",
        "--all",
        "--all-regions",
        "--output",
        "json",
        "--max-rate",
        "1000",
    ];
    let batch = |index: &str| {
        vec![
            ("AWS_BATCH_JOB_ARRAY_INDEX", index.to_owned()),
            ("AWS_BATCH_JOB_ARRAY_SIZE", "2".to_owned()),
            ("AWS_BATCH_JOB_ID", format!("5c1b3f5e-1b7a:{index}")),
        ]
    };
    // Without a share each task would do everything.
    run(bench.command(&arguments).envs(batch("0")))
        .expect(2)
        .says(&["--shard auto/N"]);
    let auto = [&arguments[..], &["--shard", "auto/2"]].concat();
    for index in ["0", "1"] {
        run(bench.command(&auto).envs(batch(index))).expect(0);
    }
    let all = runs(&bench);
    assert_eq!(all.len(), 3);
    assert!(
        all.iter().all(|run| run["part"]["id"] == "5c1b3f5e-1b7a"),
        "{all:?}"
    );
    let kubernetes = [
        ("JOB_COMPLETION_INDEX", "1"),
        ("HOSTNAME", "larder-29401560-1"),
    ];
    let ran = run(bench.command(&auto).envs(kubernetes)).expect(0);
    assert_eq!(summary(&ran)["joint"]["id"], "larder-29401560");
    assert_eq!(summary(&ran)["joint"]["missing"], serde_json::json!([1]));
    run(bench.command(&auto).envs([("JOB_COMPLETION_INDEX", "2")])).expect(2);
    backup(&bench, &["--all", "--shard", "4/3", "--run-id", "x"]).expect(2);
    backup(&bench, &["--all", "--shard", "1/3"])
        .expect(2)
        .says(&["--run-id"]);
}

#[test]
fn a_shard_that_ended_early_is_missing_until_it_comes_to_its_end() {
    let bench = Bench::new();
    account(&bench);
    let owner = |bench: &Bench| {
        // The share that has anything to ask GetFunction about first.
        let ran = backup(
            bench,
            &[
                "--all",
                "--all-regions",
                "--shard",
                "1/2",
                "--run-id",
                "probe",
                "--dry-run",
            ],
        )
        .expect(0);
        if statuses(&ran).is_empty() {
            "2/2"
        } else {
            "1/2"
        }
    };
    let first = owner(&bench);
    let other = if first == "1/2" { "2/2" } else { "1/2" };
    bench.aws.fault(
        On::GetFunction.always(),
        Fault::Lambda(larder_testkit::LambdaError::new(
            403,
            "ExpiredTokenException",
            "The security token included in the request is expired",
        )),
    );
    backup(&bench, &shard(first, "n")).expect(4);
    bench.aws.clear_faults();
    let ran = backup(&bench, &shard(other, "n")).expect(0);
    let early = summary(&ran)["joint"]["ended_early"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(early, 1);
    seal(&bench, &["--run-id", "n"], 3);
    let partial = seal(&bench, &["--run-id", "n", "--partial"], 3);
    assert!(partial["run"].is_string());
    // Once more, and it is done.
    let ran = backup(&bench, &shard(first, "n")).expect(0);
    let joint = summary(&ran)["joint"]["run"].as_str().unwrap().to_owned();
    assert_ne!(partial["run"], joint);
    let all = runs(&bench);
    let sealed = all.iter().find(|run| run["run"] == joint).unwrap();
    assert_eq!(sealed["regions"].as_array().unwrap().len(), 6);
    assert_eq!(sealed["counts"]["saved"], 6);
    check(&bench, 0);
}

#[test]
fn four_shards_at_once_leave_one_joint_run() {
    let bench = Bench::new();
    account(&bench);
    for round in 0..3 {
        let id = format!("round-{round}");
        let children: Vec<_> = (1..=4)
            .map(|number| {
                let of = format!("{number}/4");
                let mut arguments = vec!["backup", "--store", "store", "--max-rate", "1000"];
                arguments.extend(shard(&of, &id));
                let mut command = bench.command(&arguments);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for child in children {
            finish(child).expect(0);
        }
        let of_round = runs(&bench)
            .into_iter()
            .filter(|run| run["part"]["id"] == id.as_str());
        let (joint, shards): (Vec<_>, Vec<_>) =
            of_round.partition(|run| run["part"]["of"].is_number());
        assert_eq!((joint.len(), shards.len()), (1, 4), "round {round}");
        assert_eq!(joint[0]["regions"].as_array().unwrap().len(), 6);
    }
    check(&bench, 0);
}
