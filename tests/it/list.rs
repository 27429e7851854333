//! `larder list`, and what it asks AWS.

use larder_testkit::{Fault, Key, LambdaError, On, packages};
use serde_json::Value;

use crate::harness::{Bench, Ran, run};

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn lines(ran: &Ran) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).expect("a JSON object a line");
    ran.stdout.lines().map(parse).collect()
}

fn names(ran: &Ran) -> Vec<String> {
    let name = |line: &Value| {
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        format!("{}:{}", text("name"), text("version"))
    };
    lines(ran).iter().map(name).collect()
}

fn listed(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec!["list", "--output", "json", "--max-rate", "1000"];
    all.extend(arguments);
    bench.run(&all).expect(0)
}

/// Two zips, one of them with two versions, and an image.
fn account(bench: &Bench) {
    let zip = || packages::python_package().zip();
    let api = bench.aws.function("api-a").zip(zip()).publish();
    api.version(packages::layer_package().zip())
        .publish()
        .tag("team", "red")
        .tag("stage", "prod")
        .create();
    bench
        .aws
        .function("api-b")
        .zip(zip())
        .runtime("nodejs22.x")
        .tag("team", "red")
        .create();
    bench
        .aws
        .function("img")
        .image("123456789012.dkr.ecr.us-east-1.amazonaws.com/r:t", DIGEST)
        .create();
}

#[test]
fn each_function_is_a_line_with_what_lambda_states() {
    let bench = Bench::new();
    account(&bench);
    let ran = listed(&bench, &[]);
    assert_eq!(
        names(&ran),
        ["api-a:$LATEST", "api-b:$LATEST", "img:$LATEST"]
    );
    let all = lines(&ran);
    let zip = packages::python_package().zip();
    assert_eq!(all[1]["schema_version"], 1);
    assert_eq!(all[1]["code_sha256"], larder_testkit::code_sha256(&zip));
    assert_eq!(all[1]["code_size"], zip.len());
    assert_eq!(all[1]["region"], "us-east-1");
    assert_eq!(all[1]["runtime"], "nodejs22.x");
    assert_eq!(all[2]["package_type"], "Image");
    assert_eq!(all[2]["code_sha256"], DIGEST);
    assert_eq!(bench.aws.count("ListFunctions"), 1);
    assert_eq!(bench.aws.requests().len(), 1);
}

#[test]
fn versions_types_runtimes_names_and_tags_select() {
    let bench = Bench::new();
    account(&bench);
    for (arguments, expected) in [
        (
            &["--versions", "published"][..],
            &["api-a:1", "api-a:2"][..],
        ),
        (
            &["--versions", "all", "--include", "api-a"],
            &["api-a:$LATEST", "api-a:1", "api-a:2"],
        ),
        (&["--type", "image"], &["img:$LATEST"]),
        (&["--runtime", "nodejs22.x"], &["api-b:$LATEST"]),
        (
            &["--include", "api-*", "--exclude", "*-b"],
            &["api-a:$LATEST"],
        ),
        (&["--tag", "team=red"], &["api-a:$LATEST", "api-b:$LATEST"]),
        (
            &["--tag", "team=red", "--tag", "stage=prod"],
            &["api-a:$LATEST"],
        ),
        (&["--tag", "team=blue"], &[]),
    ] {
        assert_eq!(names(&listed(&bench, arguments)), expected, "{arguments:?}");
    }
}

#[test]
fn a_table_is_for_people_and_holds_no_secret_or_escape() {
    let bench = Bench::new();
    account(&bench);
    bench
        .aws
        .function("zz")
        .zip(packages::python_package().zip())
        .env("PASSWORD", "s3cret-value")
        .set("Runtime", "a\u{1b}[2Jb".into())
        .create();
    let ran = bench.run(&["list"]).expect(0);
    let mut rows = ran.stdout.lines();
    let head = rows.next().unwrap();
    assert!(head.starts_with("NAME   VERSION"), "{head}");
    assert_eq!(rows.count(), 4);
    assert!(ran.stdout.contains("a\\u{1b}[2Jb"), "{}", ran.stdout);
    assert!(!format!("{ran:?}").contains("s3cret-value"));
    let none = bench.run(&["list", "--include", "nothing"]).expect(0);
    assert_eq!(none.stdout, "no function in the region is meant\n");
}

#[test]
fn pages_are_followed_to_the_end_within_the_rate() {
    let bench = Bench::new();
    for number in 0..120 {
        let name = format!("f{number:03}");
        bench.aws.function(&name).image("r:t", DIGEST).create();
    }
    let ran = listed(&bench, &[]);
    assert_eq!(names(&ran).len(), 120);
    assert_eq!(bench.aws.count("ListFunctions"), 3);
}

#[test]
fn regions_are_named_or_all_that_are_enabled() {
    let bench = Bench::new();
    bench.aws.regions(&["eu-west-1", "eu-west-2"]);
    for region in ["us-east-1", "eu-west-1", "eu-west-2"] {
        let name = format!("in-{region}");
        bench
            .aws
            .function(&name)
            .region(region)
            .image("r:t", DIGEST)
            .create();
    }
    let two = listed(
        &bench,
        &[
            "--region",
            "eu-west-2",
            "--region",
            "us-east-1",
            "--region",
            "eu-west-2",
        ],
    );
    assert_eq!(
        names(&two),
        ["in-eu-west-2:$LATEST", "in-us-east-1:$LATEST"]
    );
    let all = listed(&bench, &["--all-regions"]);
    assert_eq!(names(&all).len(), 3);
    assert_eq!(bench.aws.count("DescribeRegions"), 1);
    bench
        .run(&[
            "fetch",
            "f",
            "--region",
            "eu-west-1",
            "--region",
            "eu-west-2",
        ])
        .expect(2);
}

#[test]
fn a_region_that_is_denied_does_not_hide_the_others() {
    let bench = Bench::new();
    bench.aws.function("f").image("r:t", DIGEST).create();
    let denied = LambdaError::new(403, "AccessDeniedException", "an SCP says no");
    bench
        .aws
        .fault(On::ListFunctions, Fault::Lambda(denied.clone()));
    let ran = bench
        .run(&[
            "list",
            "--output",
            "json",
            "--region",
            "eu-west-1",
            "--region",
            "us-east-1",
        ])
        .expect(3);
    assert_eq!(names(&ran), ["f:$LATEST"]);
    assert!(
        ran.stderr.contains("eu-west-1") && ran.stderr.contains("lambda:ListFunctions"),
        "{}",
        ran.stderr
    );
    bench.aws.fault(On::ListFunctions, Fault::Lambda(denied));
    bench.run(&["list"]).expect(4);
    let mut command = bench.command(&["list", "--all-regions"]);
    run(command.envs(bench.aws.env_as(Key::Denied))).expect(4);
}

#[test]
fn replicas_of_lambda_at_edge_are_marked() {
    let bench = Bench::new();
    let master = "arn:aws:lambda:us-east-1:123456789012:function:edge:1";
    bench
        .aws
        .function("us-east-1.edge")
        .zip(packages::python_package().zip())
        .replica_of("us-east-1", master)
        .publish()
        .create();
    assert_eq!(names(&listed(&bench, &[])).len(), 0);
    let ran = listed(&bench, &["--versions", "published"]);
    assert_eq!(lines(&ran)[0]["master_arn"], master);
    let table = bench.run(&["list", "--versions", "published"]).expect(0);
    assert!(
        table.stdout.contains("us-east-1.edge (replica)"),
        "{}",
        table.stdout
    );
}

#[test]
fn pages_that_do_not_end_are_no_answer() {
    let bench = Bench::new();
    for body in [
        r#"{"Functions": [], "NextMarker": "again"}"#,
        r#"{"Functions": 7}"#,
        r#"{"Functions": [{"FunctionName": "f"}]}"#,
        "{}",
    ] {
        bench.aws.clear_faults();
        let page = Fault::Page {
            status: 200,
            content_type: "application/json".to_owned(),
            body: body.into(),
        };
        bench.aws.fault(On::ListFunctions.always(), page);
        let ran = bench.run(&["list", "--max-rate", "1000"]).expect(6);
        assert!(
            ran.stderr
                .contains("ListFunctions brought no usable answer"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn bad_conditions_are_refused_before_any_call() {
    let bench = Bench::new();
    for arguments in [
        &["list", "--include", "["][..],
        &["list", "--tag", "team"],
        &["list", "--all-regions", "--region", "eu-west-1"],
        &["list", "--type", "jar"],
    ] {
        bench.run(arguments).expect(2);
    }
    assert!(bench.aws.requests().is_empty());
}
