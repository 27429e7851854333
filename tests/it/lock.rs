//! `larder lock`, and `larder check` against it.

use std::fs;

use larder_testkit::{Fault, On, Tree, packages};
use serde_json::{Value, json};

use crate::harness::{Bench, Ran, json as read_json, write};

fn lock(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec!["lock", "--output", "json", "--max-rate", "1000"];
    all.extend(arguments);
    bench.run(&all)
}

fn check(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec!["check", "--output", "json", "--max-rate", "1000"];
    all.extend(arguments);
    bench.run(&all)
}

fn file(bench: &Bench) -> Value {
    read_json(&bench.path("larder.lock"))
}

fn names(bench: &Bench) -> Vec<String> {
    let json = file(bench);
    let functions = json["functions"].as_array().unwrap().iter();
    functions
        .map(|f| f["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Two functions: one with an alias over two versions, a layer and an environment; and an image.
fn account(bench: &Bench) {
    let layer = bench
        .aws
        .layer("common")
        .zip(packages::layer_package().zip())
        .create();
    bench
        .aws
        .function("api")
        .zip(packages::python_package().zip())
        .version(packages::node_package().zip())
        .version(packages::native_package().zip())
        .weighted_alias("live", "1", &[("2", 0.1)])
        .layer(&layer)
        .env("TOKEN", "s3cret-value")
        .runtime("python3.13")
        .create();
    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    bench
        .aws
        .function("img")
        .image("repo:tag", &format!("sha256:{digest}"))
        .create();
}

#[test]
fn a_lock_holds_what_is_deployed_and_no_secret() {
    let bench = Bench::new();
    account(&bench);
    lock(&bench, &["img", "api"]).expect(0);
    let json = file(&bench);
    assert_eq!(json["lockfile_version"], 1);
    assert_eq!(names(&bench), ["api", "img"]);
    let api = &json["functions"][0];
    assert_eq!(api["region"], "us-east-1");
    assert!(api.get("account").is_none());
    assert_eq!(api["latest"]["package_type"], "Zip");
    for hash in ["h1", "tree"] {
        assert!(api["latest"][hash].is_string(), "{api:#}");
    }
    assert_eq!(api["latest"]["environment"], json!(["TOKEN"]));
    assert_eq!(
        api["latest"]["layers"][0]["arn"],
        "arn:aws:lambda:us-east-1::layer:common:1"
    );
    assert!(api["latest"]["layers"][0]["code_sha256"].is_string());
    assert_eq!(api["aliases"]["live"]["version"], "1");
    assert_eq!(api["aliases"]["live"]["weights"], json!({"2": 0.1}));
    assert!(api["aliases"]["live"]["versions"]["2"]["tree"].is_string());
    let img = &json["functions"][1];
    assert_eq!(img["latest"]["tree"], Value::Null);
    assert!(
        img["latest"]["image_digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    let text = fs::read_to_string(bench.path("larder.lock")).unwrap();
    for secret in [
        "s3cret-value",
        "123456789012",
        "000000000000",
        larder_testkit::ACCOUNT,
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(text.ends_with("}\n"));
}

#[test]
fn the_same_state_gives_the_same_bytes_and_costs_no_download() {
    let bench = Bench::new();
    account(&bench);
    lock(&bench, &["api", "img"]).expect(0);
    let first = fs::read(bench.path("larder.lock")).unwrap();
    let downloads = bench.aws.count("GetObject");
    assert_eq!(downloads, 3, "each package once");
    let ran = lock(&bench, &["--no-cache"]).expect(0);
    assert_eq!(ran.json()["changed"], false);
    assert_eq!(fs::read(bench.path("larder.lock")).unwrap(), first);
    assert_eq!(
        bench.aws.count("GetObject"),
        downloads,
        "the lock knows them"
    );
    assert_eq!(bench.aws.count("GetLayerVersionByArn"), 1);
    // Anew, from nothing, all of the region.
    fs::remove_file(bench.path("larder.lock")).unwrap();
    lock(&bench, &[]).expect(0);
    assert_eq!(fs::read(bench.path("larder.lock")).unwrap(), first);
    check(&bench, &["--config", "--strict"]).expect(0);
}

#[test]
fn check_says_whether_it_would_change() {
    let bench = Bench::new();
    account(&bench);
    lock(&bench, &["api", "--check"]).expect(1);
    assert!(!bench.path("larder.lock").exists());
    lock(&bench, &["api"]).expect(0);
    lock(&bench, &["--check"]).expect(0);
    let before = fs::read(bench.path("larder.lock")).unwrap();
    let function = bench
        .aws
        .function("api")
        .zip(Tree::new().file("a", "1").zip())
        .create();
    let ran = lock(&bench, &["--check"]).expect(1);
    assert_eq!(ran.json()["functions"][0]["status"], "updated");
    assert_eq!(fs::read(bench.path("larder.lock")).unwrap(), before);
    lock(&bench, &[]).expect(0);
    assert_eq!(
        file(&bench)["functions"][0]["latest"]["code_sha256"],
        function.code_sha256()
    );
}

#[test]
fn named_functions_are_replaced_and_others_stay_unless_pruned() {
    let bench = Bench::new();
    let zip = packages::python_package().zip();
    let a = bench.aws.function("a").zip(zip.clone()).create();
    let b = bench.aws.function("b").zip(zip.clone()).create();
    bench.aws.function("c").zip(zip.clone()).create();
    lock(&bench, &["b", "a"]).expect(0);
    a.update_code(packages::node_package().zip());
    b.update_code(packages::node_package().zip());
    lock(&bench, &["a"]).expect(0);
    let json = file(&bench);
    assert_eq!(
        json["functions"][0]["latest"]["code_sha256"],
        a.code_sha256()
    );
    assert_ne!(
        json["functions"][1]["latest"]["code_sha256"],
        b.code_sha256()
    );
    b.delete();
    lock(&bench, &["a"]).expect(0);
    assert_eq!(names(&bench), ["a", "b"]);
    lock(&bench, &[])
        .expect(3)
        .says(&["b in us-east-1", "--prune"]);
    lock(&bench, &["a", "--prune"]).expect(0);
    assert_eq!(names(&bench), ["a"]);
    lock(&bench, &["--all"]).expect(0);
    assert_eq!(names(&bench), ["a", "c"]);
    lock(&bench, &["none"]).expect(5);
    lock(&bench, &["a", "none"]).expect(3);
    assert_eq!(names(&bench), ["a", "c"]);
}

#[test]
fn the_account_is_written_when_asked_for_and_then_compared() {
    let bench = Bench::new();
    account(&bench);
    lock(&bench, &["api", "--with-account"]).expect(0);
    let json = file(&bench);
    let account = json["functions"][0]["account"].as_str().unwrap().to_owned();
    assert_eq!(account.len(), 12);
    assert!(
        json["functions"][0]["latest"]["layers"][0]["arn"]
            .as_str()
            .unwrap()
            .contains(&account)
    );
    check(&bench, &[]).expect(0);
    // It stays when the entry is brought up to date.
    lock(&bench, &[]).expect(0);
    assert_eq!(file(&bench), json);
    let text = fs::read_to_string(bench.path("larder.lock")).unwrap();
    write(
        bench.path("larder.lock"),
        text.replace(&account, "999999999999"),
    );
    let ran = check(&bench, &[]).expect(2);
    assert_eq!(ran.json()["functions"][0]["status"], "unknown");
}

#[test]
fn aliases_of_the_lock_are_compared() {
    let bench = Bench::new();
    let (one, two) = (
        packages::python_package().zip(),
        packages::node_package().zip(),
    );
    let function = bench
        .aws
        .function("f")
        .zip(one.clone())
        .version(one.clone())
        .alias("live", "1")
        .create();
    lock(&bench, &["f"]).expect(0);
    let before = fs::read(bench.path("larder.lock")).unwrap();
    check(&bench, &[]).expect(0);
    // The same code under another number is the same, but with --strict.
    function.publish();
    function.alias("live", "2");
    check(&bench, &[]).expect(0);
    let ran = check(&bench, &["--strict"]).expect(1);
    let live = &ran.json()["functions"][1];
    assert_eq!(live["config"][0]["field"], "routing", "{live:#}");
    // Other code behind the alias is drift, though $LATEST is as it was.
    function.update_code(two.clone());
    function.publish();
    function.update_code(one.clone());
    function.alias("live", "3");
    let ran = check(&bench, &[]).expect(1);
    let json = ran.json();
    assert_eq!(json["functions"][0]["status"], "in_sync");
    assert_eq!(json["functions"][1]["status"], "drifted");
    assert_eq!(json["functions"][1]["alias"], "live");
    assert!(
        !json["functions"][1]["changes"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    // Another weight.
    bench
        .aws
        .function("f")
        .zip(one.clone())
        .version(one.clone())
        .version(one.clone())
        .weighted_alias("live", "1", &[("2", 0.5)])
        .create();
    let ran = check(&bench, &[]).expect(1);
    let json = ran.json();
    assert_eq!(
        json["functions"][1]["config"][0]["deployed"],
        json!({"1": 0.5, "2": 0.5})
    );
    // An alias too many, and one too few.
    bench
        .aws
        .function("f")
        .zip(one.clone())
        .version(one)
        .alias("other", "1")
        .create();
    let ran = check(&bench, &[]).expect(1);
    let json = ran.json();
    let of = |at: usize| {
        (
            json["functions"][at]["alias"].clone(),
            json["functions"][at]["status"].clone(),
        )
    };
    assert_eq!(of(1), (json!("live"), json!("missing")));
    assert_eq!(of(2), (json!("other"), json!("unexpected")));
    assert_eq!(fs::read(bench.path("larder.lock")).unwrap(), before);
}

#[test]
fn a_lock_tells_repackaged_from_drifted_without_the_expected_package() {
    let bench = Bench::new();
    let tree = Tree::new().file("a.py", "A = 1\n").file("b.py", "B = 1\n");
    let function = bench.aws.function("f").zip(tree.zip()).create();
    lock(&bench, &["f", "--no-cache"]).expect(0);
    function.update_code(
        Tree::new()
            .file("b.py", "B = 1\n")
            .file("a.py", "A = 1\n")
            .zip(),
    );
    let ran = check(&bench, &["--no-cache"]).expect(0);
    assert_eq!(ran.json()["functions"][0]["status"], "repackaged");
    function.update_code(
        Tree::new()
            .file("a.py", "A = 2\n")
            .file("b.py", "B = 1\n")
            .zip(),
    );
    let ran = check(&bench, &["--no-cache"]).expect(1);
    let result = &ran.json()["functions"][0];
    assert_eq!(result["status"], "drifted");
    assert!(
        result["reason"]
            .to_string()
            .contains("without the expected package")
    );
    assert!(result["expected"]["line"].is_u64(), "{result:#}");
}

#[test]
fn a_layer_that_cannot_be_had_is_locked_as_null() {
    let bench = Bench::new();
    let layer = bench
        .aws
        .layer("common")
        .zip(packages::layer_package().zip())
        .create();
    bench
        .aws
        .function("f")
        .zip(packages::python_package().zip())
        .layer(&layer)
        .create();
    bench.aws.delete_layer(&layer);
    lock(&bench, &["f", "--strict-layers"]).expect(5);
    lock(&bench, &["f"]).expect(0).says(&["locked as null"]);
    assert_eq!(
        file(&bench)["functions"][0]["latest"]["layers"][0]["code_sha256"],
        Value::Null
    );
    check(&bench, &[]).expect(0);
}

#[test]
fn the_lock_accepts_one_difference_until_its_day() {
    let bench = Bench::new();
    let function = bench
        .aws
        .function("f")
        .zip(packages::python_package().zip())
        .create();
    lock(&bench, &["f"]).expect(0);
    let accept = |until: &str, digest: &str| {
        let mut json = file(&bench);
        json["functions"][0]["accept"] =
            json!({"code_sha256": digest, "until": until, "reason": "hot fix"});
        write(bench.path("larder.lock"), json.to_string());
    };
    function.update_code(packages::node_package().zip());
    check(&bench, &[]).expect(1);
    accept("2099-12-31", &function.code_sha256());
    let ran = check(&bench, &[]).expect(0);
    assert_eq!(ran.json()["functions"][0]["accepted"]["reason"], "hot fix");
    accept("2001-12-31", &function.code_sha256());
    check(&bench, &[]).expect(1).says(&["2001-12-31"]);
    accept("2099-12-31", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    check(&bench, &[]).expect(1).says(&["accepts a difference"]);
    // Bringing the entry up to date keeps what somebody wrote.
    lock(&bench, &[]).expect(0);
    assert_eq!(file(&bench)["functions"][0]["accept"]["reason"], "hot fix");
    accept("someday", &function.code_sha256());
    check(&bench, &[]).expect(2).says(&["someday"]);
}

#[test]
fn a_package_that_is_refused_is_locked_by_its_digest() {
    let bench = Bench::new();
    let twice = larder_testkit::zip::ZipBuilder::new()
        .file("a", "1")
        .file("a", "2")
        .build();
    bench.aws.function("f").zip(twice).create();
    lock(&bench, &["f"])
        .expect(0)
        .says(&["by its digest alone"]);
    assert_eq!(file(&bench)["functions"][0]["latest"]["tree"], Value::Null);
    check(&bench, &[]).expect(0);
}

#[test]
fn bad_input_is_refused() {
    let bench = Bench::new();
    write(bench.path("broken.lock"), "{");
    write(
        bench.path("future.lock"),
        r#"{"lockfile_version": 2, "functions": []}"#,
    );
    write(
        bench.path("empty.lock"),
        r#"{"lockfile_version": 1, "functions": []}"#,
    );
    for arguments in [
        &["f:live"][..],
        &["a b"],
        &["f", "--all"],
        &["--lock", "broken.lock"],
        &["--lock", "future.lock"],
        &["--lock", "empty.lock"],
    ] {
        lock(&bench, arguments).expect(2);
    }
    assert_eq!(bench.aws.requests().len(), 0);
    assert_eq!(fs::read_to_string(bench.path("broken.lock")).unwrap(), "{");
    bench.aws.fault(
        On::Lambda.always(),
        Fault::access_denied("lambda:GetFunctionConfiguration"),
    );
    lock(&bench, &["f"]).expect(4);
    assert!(!bench.path("larder.lock").exists());
}

#[test]
fn the_schema_describes_what_is_written_and_refuses_what_is_not() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/larder.lock.schema.json");
    let schema = jsonschema::validator_for(&read_json(&path)).unwrap();
    let bench = Bench::new();
    account(&bench);
    lock(&bench, &["api"]).expect(0);
    lock(&bench, &["img", "--with-account"]).expect(0);
    let mut good = file(&bench);
    good["functions"][0]["accept"] = json!({"until": "2026-12-31", "reason": "why"});
    let errors: Vec<String> = schema.iter_errors(&good).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    // What the schema refuses, larder refuses.
    for (pointer, value) in [
        ("/lockfile_version", json!(2)),
        ("/functions/0/region", json!("nowhere")),
        ("/functions/0/latest/code_sha256", json!("abc")),
        ("/functions/0/latest/tree", json!("t1:abc")),
        ("/functions/0/latest/environment", json!({"TOKEN": "x"})),
        ("/functions/0/aliases/live/weights", json!({"2": 7})),
        (
            "/functions/0/accept",
            json!({"untill": "2026-12-31", "reason": "why"}),
        ),
        ("/functions/0/accept", json!({"until": "2026-12-31"})),
        ("/functions/0/accept", json!({"reason": ""})),
        (
            "/functions/0/accept",
            json!({"reason": "why", "code_sha256": "abc"}),
        ),
        ("/functions/0/latest/package_type", json!("Jar")),
        ("/functions/0/latest", json!({})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(!schema.is_valid(&bad), "{pointer}");
        write(bench.path("bad.lock"), bad.to_string());
        check(&bench, &["--lock", "bad.lock"]).expect(2);
    }
}

#[test]
fn a_lock_that_was_not_written_is_not_said_to_be() {
    let bench = Bench::new();
    // There is nothing in the region.
    for arguments in [&["lock"][..], &["lock", "--all"]] {
        let ran = bench.run(arguments).expect(2);
        ran.says(&["nothing was locked", "--region"]);
    }
    account(&bench);
    bench
        .run(&["lock", "--include", "none*"])
        .expect(2)
        .says(&["none is selected"]);
    assert!(!bench.path("larder.lock").exists());
    // Both fail, and neither had an entry.
    let ran = bench.run(&["lock", "gone", "lost"]).expect(5);
    assert!(ran.stdout.contains("nothing written"), "{ran:?}");
    assert!(!ran.stderr.contains("as before"), "{ran:?}");
    assert!(!bench.path("larder.lock").exists());
    lock(&bench, &["gone", "lost", "--check"]).expect(5);
    let json = lock(&bench, &["gone", "lost"]).json();
    assert_eq!(
        (&json["written"], &json["changed"]),
        (&json!(false), &json!(false))
    );
    // One of them has one.
    lock(&bench, &["api"]).expect(0);
    bench.aws.fault(
        On::Lambda.always(),
        Fault::access_denied("lambda:GetFunctionConfiguration"),
    );
    let ran = bench
        .run(&["lock", "api", "lost", "--max-rate", "1000"])
        .expect(4);
    assert!(ran.stdout.contains("nothing written"), "{ran:?}");
    assert_eq!(
        ran.stderr.matches("its entry is as before").count(),
        1,
        "{ran:?}"
    );
}

#[test]
fn a_function_that_stays_busy_is_named() {
    let bench = Bench::new();
    let function = bench
        .aws
        .function("busy")
        .zip(packages::python_package().zip())
        .create();
    function.set("LastUpdateStatus", json!("InProgress"));
    bench
        .run(&["lock", "busy", "--wait", "1s"])
        .expect(6)
        .says(&["busy in us-east-1"]);
}
