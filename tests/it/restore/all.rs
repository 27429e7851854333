//! `larder restore --all`: everything to directories.

use std::fs;

use serde_json::Value;

use super::{backup, zip};
use crate::harness::{Bench, Ran, names};

fn restore(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec!["restore", "--store", "store", "--all", "--output", "json"];
    all.extend(arguments);
    bench.run(&all)
}

#[test]
fn everything_is_what_was_deployed() {
    let bench = Bench::new();
    bench.aws.regions(&["eu-west-1"]);
    for n in 0..12 {
        bench
            .aws
            .function(&format!("f{n}"))
            .zip(zip(n % 5))
            .version(zip(n + 100))
            .create();
    }
    bench.aws.function("f1-1").zip(zip(7)).create();
    bench
        .aws
        .function("far")
        .region("eu-west-1")
        .zip(zip(8))
        .create();
    backup(&bench, &["--region", "us-east-1", "--region", "eu-west-1"]);
    // A later run of a part does not hide the rest.
    bench.run(&["backup", "--store", "store", "f3"]).expect(0);
    let ran = restore(&bench, &["back"]).expect(0);
    let lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.last().unwrap()["counts"]["restored"], 26);
    let here = bench.path("back/123456789012/us-east-1");
    assert_eq!(names(&here).len(), 13);
    for n in 0..12 {
        for (version, seed) in [("$LATEST", n % 5), ("1", n + 100)] {
            let place = here.join(format!("f{n}")).join(version);
            assert!(
                fs::read(place.join("package.zip")).unwrap() == zip(seed),
                "f{n} {version}"
            );
            assert!(place.join("code").is_dir());
        }
    }
    assert!(fs::read(here.join("f1-1/$LATEST/package.zip")).unwrap() == zip(7));
    assert!(
        bench
            .path("back/123456789012/eu-west-1/far/$LATEST")
            .is_dir()
    );
    bench
        .run(&["verify", "back/123456789012/us-east-1/f1-1/$LATEST"])
        .expect(0);
    // What is there is not replaced unasked.
    restore(&bench, &["back"]).expect(8);
    restore(&bench, &["--force", "back"]).expect(0);
}

#[test]
fn one_that_is_damaged_is_named_and_the_rest_is_restored() {
    let bench = Bench::new();
    bench.aws.function("a").zip(zip(1)).create();
    bench.aws.function("b").zip(zip(2)).create();
    backup(&bench, &[]);
    let blob = bench
        .path("store/blobs/sha256")
        .join(larder::digest::Sha256Digest::of(&zip(1)).hex());
    fs::remove_file(&blob).unwrap();
    let ran = restore(&bench, &["back"]).expect(3);
    assert!(
        ran.stdout.contains(r#""failed":1"#) && ran.stdout.contains(r#""restored":1"#),
        "{}",
        ran.stdout
    );
    let here = bench.path("back/123456789012/us-east-1");
    assert!(here.join("b/$LATEST/larder.json").exists());
    assert!(!here.join("a/$LATEST").exists());
}

#[test]
fn a_region_whose_index_is_lost_is_named_and_the_rest_is_restored() {
    let bench = Bench::new();
    bench.aws.regions(&["eu-west-1"]);
    bench.aws.function("here").zip(zip(1)).create();
    let far = bench.aws.function("far").region("eu-west-1");
    far.zip(zip(2)).create();
    let regions = ["--region", "us-east-1", "--region", "eu-west-1"];
    backup(&bench, &regions);
    let run = fs::read_dir(bench.path("store/runs")).unwrap().next();
    let run = fs::read_to_string(run.unwrap().unwrap().path()).unwrap();
    // The run names the index of each region in turn.
    let run: Value = serde_json::from_str(&run).unwrap();
    let of = |region: &str| -> String {
        let mut all = run["manifests"].as_array().unwrap().iter();
        let one = all.find(|m| m["annotations"].to_string().contains(region));
        one.unwrap()["digest"].as_str().unwrap()[7..].to_owned()
    };
    fs::remove_file(bench.path("store/blobs/sha256").join(of("eu-west-1"))).unwrap();
    let ran = restore(&bench, &["back"]).expect(3);
    assert!(
        ran.stdout.contains(r#""failed":1"#) && ran.stdout.contains(r#""restored":1"#),
        "{}",
        ran.stdout
    );
    let lines: Vec<Value> = (ran.stdout.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let region = lines.iter().find(|line| line["event"] == "region").unwrap();
    assert_eq!(
        (&region["region"], &region["status"]),
        (&"eu-west-1".into(), &"failed".into())
    );
    let account = bench.path("back/123456789012");
    assert_eq!(names(&account), ["us-east-1"]);
    assert!(account.join("us-east-1/here/$LATEST/larder.json").exists());
}
