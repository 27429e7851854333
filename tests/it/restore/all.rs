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
