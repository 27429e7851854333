//! What is compared and what is not: tags, functions on the command line, lists that are denied, sources that contradict each other.

use larder_testkit::image::{Family, Image};
use larder_testkit::{Fault, Login, On};
use serde_json::{Value, json};

use super::{check, statuses, tree};
use crate::harness::{Bench, json as read_json, write};

/// The names with this status.
fn of(ran: &crate::harness::Ran, status: &str) -> Vec<String> {
    let all = statuses(ran).into_iter();
    all.filter(|(_, _, s)| s == status)
        .map(|(name, _, _)| name)
        .collect()
}

/// A raw state with these functions: resource, name, digest.
fn state(bench: &Bench, path: &str, functions: &[(&str, &str, &str)]) {
    let resources: Vec<Value> = functions
        .iter()
        .map(|(resource, name, sha256)| {
            json!({
                "mode": "managed", "type": "aws_lambda_function", "name": resource,
                "provider": "provider[\"registry.terraform.io/hashicorp/aws\"]",
                "instances": [{"schema_version": 0, "attributes":
                    {"function_name": name, "package_type": "Zip", "code_sha256": sha256}}],
            })
        })
        .collect();
    let state = json!({"version": 4, "terraform_version": "1.9.0", "serial": 1, "lineage": "x",
        "outputs": {}, "resources": resources});
    write(bench.path(path), state.to_string());
}

#[test]
fn without_a_list_the_expected_are_compared_and_the_unexpected_cannot_be_told() {
    let bench = Bench::new();
    for name in ["a", "b", "stray"] {
        bench.aws.function(name).zip(tree().zip()).create();
    }
    bench.run(&["lock", "a", "b"]).expect(0);
    bench.aws.fault(
        On::ListFunctions.always(),
        Fault::access_denied("lambda:ListFunctions"),
    );
    for arguments in [&["--all"][..], &["--include", "*"]] {
        let ran = check(&bench, arguments).expect(3);
        assert_eq!(of(&ran, "in_sync"), ["a", "b"]);
        assert_eq!(of(&ran, "unexpected"), Vec::<String>::new());
        let json = ran.json();
        assert_eq!(json["summary"]["unknown"], 1);
        let all = json["functions"].as_array().unwrap();
        let untold = all.iter().find(|f| f["status"] == "unknown").unwrap();
        assert_eq!(untold["cause"], "access_denied");
        let reason = untold["reason"].as_str().unwrap();
        assert!(
            reason.contains("expected nowhere cannot be told"),
            "{reason}"
        );
    }
    // A difference goes first, and where nothing is expected nothing was told.
    bench.aws.function("b").zip(super::changed().zip()).create();
    check(&bench, &["--all"]).expect(1);
    check(&bench, &["--all", "--exit-zero"]).expect(3);
    let other = ["--all", "--region", "eu-west-1", "--terraform", "t.tfstate"];
    state(&bench, "t.tfstate", &[]);
    check(&bench, &other).expect(2);
}

#[test]
fn one_region_that_cannot_be_listed_leaves_the_others() {
    let bench = Bench::new();
    bench.aws.function("f").zip(tree().zip()).create();
    bench.run(&["lock", "f"]).expect(0);
    bench.aws.fault(
        On::ListFunctions.nth(1),
        Fault::access_denied("lambda:ListFunctions"),
    );
    let regions = ["--all", "--region", "eu-west-1", "--region", "us-east-1"];
    let ran = check(&bench, &regions).expect(3);
    assert_eq!(of(&ran, "in_sync"), ["f"]);
    let json = ran.json();
    let functions = json["functions"].as_array().unwrap();
    let untold = functions.iter().find(|f| f["status"] == "unknown").unwrap();
    assert_eq!(untold["function"], "arn:aws:lambda:eu-west-1:*:function:*");
}

#[test]
fn tags_select_among_the_expected_too_and_a_deleted_one_stays_missing() {
    let bench = Bench::new();
    let mut gone = None;
    for (name, team) in [
        ("api", "red"),
        ("web", "blue"),
        ("gone", "red"),
        ("stray", "red"),
    ] {
        let function = bench.aws.function(name).zip(tree().zip());
        let function = function.tag("team", team).create();
        gone = (name == "gone").then_some(function).or(gone);
    }
    bench.run(&["lock", "api", "web", "gone"]).expect(0);
    bench
        .aws
        .function("web")
        .zip(super::changed().zip())
        .create();
    gone.unwrap().delete();
    for denied in [false, true] {
        if denied {
            bench.aws.fault(
                On::ListFunctions.always(),
                Fault::access_denied("lambda:ListFunctions"),
            );
        }
        let ran = check(&bench, &["--tag", "team=red"]).expect(1);
        assert_eq!(of(&ran, "in_sync"), ["api"], "{}", ran.stdout);
        assert_eq!(of(&ran, "missing"), ["gone"]);
        assert_eq!(of(&ran, "drifted"), Vec::<String>::new());
        let unexpected = of(&ran, "unexpected");
        assert_eq!(unexpected, ["stray"][..usize::from(!denied)]);
    }
}

#[test]
fn aliases_that_are_denied_for_one_of_several_are_3() {
    let bench = Bench::new();
    for name in ["a", "b"] {
        let function = bench.aws.function(name).zip(tree().zip()).create();
        let version = function.publish();
        function.alias("live", &version);
    }
    bench.run(&["lock", "a", "b"]).expect(0);
    bench.aws.fault(
        On::ListAliases.always().path("/a/"),
        Fault::access_denied("lambda:ListAliases"),
    );
    check(&bench, &[]).expect(3);
    check(&bench, &["a:live", "b:live"]).expect(3);
    // Of one function alone the cause's code stays, as of every command for one.
    check(&bench, &["a"]).expect(4);
}

#[test]
fn named_functions_do_not_drag_in_others_that_cannot_be_named() {
    let bench = Bench::new();
    bench.aws.function("plain").zip(tree().zip()).create();
    let template = json!({
        "AWSTemplateFormatVersion": "2010-09-09", "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {
            "Plain": {"Type": "AWS::Serverless::Function", "Properties":
                {"FunctionName": "plain", "CodeUri": "Plain", "Handler": "i.h", "Runtime": "python3.13"}},
            "Nameless": {"Type": "AWS::Serverless::Function", "Properties":
                {"CodeUri": "Nameless", "Handler": "i.h", "Runtime": "python3.13"}},
        },
    });
    write(bench.path("template.yaml"), template.to_string());
    for dir in ["Plain", "Nameless"] {
        write(bench.path("app.zip"), tree().zip());
        let dest = bench.path(dir).display().to_string();
        bench.run(&["unpack", "app.zip", &dest]).expect(0);
    }
    let sam = ["--sam", "template.yaml"];
    let ran = check(&bench, &sam).expect(3);
    assert_eq!(of(&ran, "unknown").len(), 1);
    let ran = check(&bench, &["plain", "--sam", "template.yaml"]).expect(0);
    assert_eq!(statuses(&ran).len(), 1);
    // A function that no source names may be the one without a name: it is not called unexpected.
    bench
        .aws
        .function("stack-Nameless-X1")
        .zip(tree().zip())
        .create();
    let ran = check(&bench, &["stack-Nameless-X1", "--sam", "template.yaml"]).expect(2);
    assert_eq!(of(&ran, "unknown"), ["stack-Nameless-X1"]);
    assert!(ran.stdout.contains("Nameless"), "{}", ran.stdout);
    let ran = check(&bench, &["plain", "--all", "--sam", "template.yaml"]).expect(1);
    assert_eq!(of(&ran, "unexpected"), ["stack-Nameless-X1"]);
    assert!(
        ran.stdout.contains("this may be one of them"),
        "{}",
        ran.stdout
    );
}

#[test]
fn sources_that_contradict_each_other_are_named_and_those_that_agree_compared_once() {
    let bench = Bench::new();
    let function = bench.aws.function("f").zip(tree().zip()).create();
    let (good, other) = (
        function.code_sha256(),
        "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=".to_owned(),
    );
    state(
        &bench,
        "one.tfstate",
        &[("a", "f", &good), ("b", "f", &other)],
    );
    let ran = check(&bench, &["--terraform", "one.tfstate"]).expect(2);
    let error = ran.json_error();
    assert_eq!(error["subject"], "f in us-east-1");
    ran.says(&[
        "aws_lambda_function.a",
        "aws_lambda_function.b",
        &good,
        &other,
    ]);
    // The same: compared once.
    state(
        &bench,
        "one.tfstate",
        &[("a", "f", &good), ("b", "f", &good)],
    );
    let ran = check(&bench, &["--terraform", "one.tfstate"]).expect(0);
    assert_eq!(ran.json()["summary"]["checked"], 1);
    // Two sources.
    state(&bench, "two.tfstate", &[("c", "f", &other)]);
    let two = ["--terraform", "one.tfstate", "--terraform", "two.tfstate"];
    check(&bench, &two)
        .expect(2)
        .says(&["one.tfstate", "two.tfstate"]);
    bench.run(&["lock", "f"]).expect(0);
    let with_lock = ["--lock", "larder.lock", "--terraform", "two.tfstate"];
    check(&bench, &with_lock).expect(2).says(&["larder.lock"]);
    // Who is not selected contradicts nobody, nor does another region.
    let mut excluded = two.to_vec();
    excluded.extend(["--exclude", "f"]);
    check(&bench, &excluded)
        .expect(2)
        .says(&["no function is selected"]);
    let agree = ["--lock", "larder.lock", "--terraform", "one.tfstate"];
    check(&bench, &agree).expect(0);
    // A zip and an image.
    let image = Image::build(Family::Oci).layer(vec![1]).create();
    let uri = bench.aws.push("web", &image, Login::Open);
    bench.aws.function("f").image(&uri, &image.digest).create();
    bench.run(&["lock", "f", "--lock", "image.lock"]).expect(0);
    check(&bench, &["--lock", "image.lock", "--lock", "larder.lock"])
        .expect(2)
        .says(&["a zip", "image"]);
}

#[test]
fn local_zips_of_one_content_do_not_contradict_each_other() {
    let bench = Bench::new();
    bench.aws.function("f").zip(tree().zip()).create();
    bench.run(&["lock", "f"]).expect(0);
    let zips = super::repackaged();
    write(bench.path("build.zip"), &zips[0].1);
    let resource = |filename: &str| {
        json!({"version": 4, "terraform_version": "1.9.0", "serial": 1, "lineage": "x", "outputs": {},
            "resources": [{"mode": "managed", "type": "aws_lambda_function", "name": "f",
                "provider": "provider[\"registry.terraform.io/hashicorp/aws\"]",
                "instances": [{"attributes": {"function_name": "f", "package_type": "Zip", "filename": filename}}]}]})
        .to_string()
    };
    write(bench.path("t.tfstate"), resource("build.zip"));
    let both = ["--lock", "larder.lock", "--terraform", "t.tfstate"];
    let ran = check(&bench, &both).expect(0);
    let mut found: Vec<String> = statuses(&ran).into_iter().map(|(_, _, s)| s).collect();
    found.sort();
    assert_eq!(found, ["in_sync", "repackaged"]);
    write(bench.path("build.zip"), super::changed().zip());
    check(&bench, &both)
        .expect(2)
        .says(&["t.tfstate", "larder.lock"]);
}

#[test]
fn a_lock_with_h1_alone_is_compared_by_it_and_a_wrong_size_is_said() {
    let bench = Bench::new();
    bench.aws.function("f").zip(tree().zip()).create();
    bench.run(&["lock", "f"]).expect(0);
    let change = |pointer: &str, value: Value| {
        let mut json = read_json(&bench.path("larder.lock"));
        *json.pointer_mut(pointer).unwrap() = value;
        write(bench.path("larder.lock"), json.to_string());
    };
    change("/functions/0/latest/tree", Value::Null);
    for (_, zip) in super::repackaged() {
        bench.aws.function("f").zip(zip).create();
        let ran = check(&bench, &["--no-cache"]).expect(0);
        assert_eq!(of(&ran, "repackaged"), ["f"]);
        assert!(ran.stdout.contains("compared by h1"), "{}", ran.stdout);
    }
    bench.aws.function("f").zip(super::changed().zip()).create();
    check(&bench, &["--no-cache"]).expect(1);
    bench.aws.function("f").zip(tree().zip()).create();
    change("/functions/0/latest/code_size", json!(1));
    let ran = check(&bench, &[]).expect(2);
    assert!(ran.stdout.contains("contradicts itself"), "{}", ran.stdout);
    change("/functions/0/latest/package_type", json!("Image"));
    check(&bench, &[]).expect(2).says(&["f in us-east-1", "h1"]);
}

#[test]
fn a_bag_is_an_expectation_and_one_that_was_changed_is_refused() {
    let bench = Bench::new();
    let function = bench.aws.function("f").zip(tree().zip()).create();
    bench
        .run(&["snapshot", "f", "--bag", "bag", "--max-rate", "1000"])
        .expect(0);
    check(&bench, &["f", "--expect", "bag"]).expect(0);
    // The same contents in another zip, then others: told file by file from the package in the bag.
    function.update_code(super::repackaged().remove(0).1);
    let ran = check(&bench, &["f", "--expect", "bag"]).expect(0);
    assert_eq!(of(&ran, "repackaged"), ["f"]);
    function.update_code(super::changed().zip());
    let ran = check(&bench, &["f", "--expect", "bag", "--diff"]).expect(1);
    let json = ran.json();
    let changes = json["functions"][0]["changes"].as_array().unwrap();
    let index = changes.iter().find(|c| c["path"] == "index.py").unwrap();
    let diff = index["diff"].as_str().unwrap();
    assert!(diff.contains("+    return 2"), "{diff}");
    // A package in the bag that is not what its manifest says is no expectation.
    let package = crate::snapshot::at(&bench.path("bag"), "f");
    let package = walk(&package).expect("a package");
    let mut bytes = std::fs::read(&package).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&package, bytes).unwrap();
    check(&bench, &["f", "--expect", "bag"])
        .expect(2)
        .says(&["manifest"]);
}

/// The `package.zip` below a directory.
fn walk(dir: &std::path::Path) -> Option<std::path::PathBuf> {
    let mut entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.find_map(|path| {
        if path.is_dir() {
            walk(&path)
        } else {
            (path.file_name()? == "package.zip").then_some(path)
        }
    })
}

#[test]
fn a_bag_with_several_packages_gives_that_of_the_function_and_version() {
    let bench = Bench::new();
    let f = bench.aws.function("f").version(super::changed().zip());
    f.zip(tree().zip()).create();
    let g = bench.aws.function("g").zip(super::changed().zip()).create();
    bench
        .run(&[
            "snapshot",
            "f",
            "g",
            "--bag",
            "bag",
            "--versions",
            "all",
            "--max-rate",
            "1000",
        ])
        .expect(0);
    let ran = check(&bench, &["f", "g", "f:1", "--expect", "bag"]).expect(0);
    assert_eq!(of(&ran, "in_sync"), ["f", "f", "g"]);
    g.update_code(tree().zip());
    let ran = check(&bench, &["f", "g", "--expect", "bag"]).expect(1);
    assert_eq!(of(&ran, "drifted"), ["g"]);
    // It has nothing of another function.
    bench.aws.function("h").zip(tree().zip()).create();
    check(&bench, &["h", "--expect", "bag"])
        .expect(2)
        .says(&["3 packages of functions, and 0 of h at $LATEST"]);
}

#[test]
fn a_function_that_is_named_twice_is_compared_once() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    let f = bench.aws.function("f").version(tree().zip());
    f.zip(tree().zip()).alias("live", "1").create();
    bench.run(&["lock", "f", "--max-rate", "1000"]).expect(0);
    state(
        &bench,
        "t.json",
        &[("f", "f", &larder_testkit::code_sha256(&tree().zip()))],
    );
    let arn = format!(
        "arn:aws:lambda:us-east-1:{}:function:f",
        larder_testkit::ACCOUNT
    );
    let (lock, terraform, expect) = (
        ["--lock", "larder.lock"],
        ["--terraform", "t.json"],
        ["--expect", "app.zip"],
    );
    for (names, source, want) in [
        (&["f", "f:live"][..], lock, &["$LATEST", "live"][..]),
        (&["f:live", "f"], lock, &["$LATEST", "live"]),
        (&["f", "f"], lock, &["$LATEST", "live"]),
        (&["f", &arn], lock, &["$LATEST", "live"]),
        (&["f:live", "f:live"], lock, &["live"]),
        (&["f:live", "f:1"], lock, &["1", "live"]),
        (&["f", "f:live"], terraform, &["$LATEST", "live"]),
        (&["f", "f:1", "f:1"], terraform, &["$LATEST", "1"]),
        (&["f", "f:1"], expect, &["$LATEST", "1"]),
        (&["f:1", "f", "f"], expect, &["$LATEST", "1"]),
        (&["f", &arn], expect, &["$LATEST"]),
        (&["f", "f:1", "--qualifier", "1"], expect, &["$LATEST", "1"]),
    ] {
        let ran = check(&bench, &[names, &source[..]].concat()).expect(0);
        let json = ran.json();
        let results = json["functions"].as_array().unwrap().iter();
        let places: Vec<&str> = results.map(|f| f["qualifier"].as_str().unwrap()).collect();
        assert_eq!(places, want, "{names:?} {source:?}: {json:#}");
    }
    // What nothing is said of stays unexpected, once a place.
    bench.aws.function("g").zip(tree().zip()).create();
    let ran = check(&bench, &["f", "g", "g", "--lock", "larder.lock"]).expect(1);
    assert_eq!(of(&ran, "unexpected"), ["g"]);
}
