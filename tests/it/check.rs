//! `larder check`: every status, every source of its own, what it asks AWS, and how it exits.

mod images;
mod selection;
mod store;

use std::fs;
use std::path::Path;

use larder_testkit::{Fault, On, Tree, packages};
use serde_json::{Value, json};

use crate::harness::{Bench, Ran, write};

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const OTHER: &str = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";

fn tree() -> Tree {
    Tree::new()
        .file("index.py", "def handler(event, context):\n    return 1\n")
        .file("lib/util.py", "VALUE = 42\n")
        .executable("bin/tool", "#!/bin/sh\n")
}

fn changed() -> Tree {
    Tree::new()
        .file("index.py", "def handler(event, context):\n    return 2\n")
        .file("lib/new.py", "NEW = 1\n")
        .file("bin/tool", "#!/bin/sh\n")
}

/// The same tree in zips that differ: other order, compression, times, streamed.
fn repackaged() -> Vec<(&'static str, Vec<u8>)> {
    use larder_testkit::zip::{Descriptor, Entry, ZipBuilder};
    let files = [
        (
            "index.py",
            "def handler(event, context):\n    return 1\n",
            0o644,
        ),
        ("lib/util.py", "VALUE = 42\n", 0o644),
        ("bin/tool", "#!/bin/sh\n", 0o755),
    ];
    let build = |reverse: bool, change: &dyn Fn(Entry) -> Entry| {
        let mut files = files.to_vec();
        if reverse {
            files.reverse();
        }
        files
            .into_iter()
            .fold(ZipBuilder::new(), |zip, (name, text, mode)| {
                zip.entry(change(Entry::file(name, text).mode(mode)))
            })
            .build()
    };
    vec![
        ("order", build(true, &|e| e)),
        ("stored", build(false, &Entry::stored)),
        ("times", build(false, &|e| e.mtime(1_000_000_000))),
        (
            "streamed",
            build(false, &|e| e.descriptor(Descriptor::Signed)),
        ),
    ]
}

fn check(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec!["check", "--output", "json", "--max-rate", "1000"];
    all.extend(arguments);
    bench.run(&all)
}

/// The results as `(name, qualifier, status)`.
fn statuses(ran: &Ran) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ran.json()["functions"]
        .as_array()
        .expect("functions")
        .iter()
        .map(|f| {
            let arn = text(&f["function"]);
            let name = arn.rsplit(':').next().unwrap_or_default().to_owned();
            (name, text(&f["qualifier"]), text(&f["status"]))
        })
        .collect()
}

#[track_caller]
fn only<'a>(json: &'a Value, status: &str) -> &'a Value {
    assert_eq!(
        json["functions"].as_array().map(Vec::len),
        Some(1),
        "{json:#}"
    );
    let result = &json["functions"][0];
    assert_eq!(result["status"], status, "{json:#}");
    result
}

fn changes(result: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    result["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|c| (text(&c["path"]), text(&c["change"])))
        .collect()
}

#[test]
fn an_equal_zip_is_in_sync_and_costs_one_call() {
    let bench = Bench::new();
    let function = bench.aws.function("f").zip(tree().zip()).create();
    write(bench.path("app.zip"), tree().zip());
    let ran = check(&bench, &["f", "--expect", "app.zip"]).expect(0);
    let json = ran.json();
    let result = only(&json, "in_sync");
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["summary"]["checked"], 1);
    assert_eq!(result["function"], function.arn());
    assert_eq!(result["qualifier"], "$LATEST");
    assert_eq!(result["alias"], Value::Null);
    assert_eq!(result["reason"], Value::Null);
    assert_eq!(result["expected"]["source"], "app.zip");
    assert_eq!(result["expected"]["code_sha256"], function.code_sha256());
    assert_eq!(result["deployed"]["version"], "$LATEST");
    assert_eq!(bench.aws.requests().len(), 1);
    assert_eq!(bench.aws.count("GetFunctionConfiguration"), 1);
}

#[test]
fn another_zip_of_the_same_tree_is_repackaged_and_downloaded_once() {
    let bench = Bench::new();
    bench.aws.function("f").zip(tree().zip()).create();
    for (name, zip) in repackaged() {
        write(bench.path("app.zip"), &zip);
        assert_ne!(zip, tree().zip(), "{name}");
        let ran = check(&bench, &["f", "--expect", "app.zip"]).expect(0);
        let json = ran.json();
        let result = only(&json, "repackaged");
        assert_eq!(
            result["expected"]["tree"], result["deployed"]["tree"],
            "{name}"
        );
        assert_eq!(result["expected"]["h1"], result["deployed"]["h1"], "{name}");
        assert_eq!(changes(result), [], "{name}");
    }
    // Seen once, it is known.
    assert_eq!(bench.aws.count("GetFunction"), 1);
    assert_eq!(bench.aws.count("GetObject"), 1);
    let strict = check(&bench, &["f", "--expect", "app.zip", "--strict"]).expect(1);
    let json = strict.json();
    assert!(
        only(&json, "drifted")["reason"]
            .as_str()
            .unwrap()
            .contains("--strict")
    );
    check(&bench, &["f", "--expect", "app.zip", "--no-cache"]).expect(0);
    assert_eq!(bench.aws.count("GetObject"), 2);
    // A damaged cache is as good as none.
    let cache = bench.path("no-home/.cache/larder/contents-v1");
    for entry in fs::read_dir(&cache).unwrap() {
        fs::write(entry.unwrap().path(), "larder-contents 1\nrubbish").unwrap();
    }
    check(&bench, &["f", "--expect", "app.zip"]).expect(0);
    assert_eq!(bench.aws.count("GetObject"), 3);
}

#[test]
fn a_difference_is_told_file_by_file() {
    let bench = Bench::new();
    bench.aws.function("f").zip(changed().zip()).create();
    write(bench.path("app.zip"), tree().zip());
    let ran = check(&bench, &["f", "--expect", "app.zip"]).expect(1);
    let json = ran.json();
    let result = only(&json, "drifted");
    let want = [
        ("bin/tool", "mode"),
        ("index.py", "modified"),
        ("lib/new.py", "added"),
        ("lib/util.py", "removed"),
    ];
    assert_eq!(
        changes(result),
        want.map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    assert!(result["changes"][0].get("diff").is_none());
    let ran = bench
        .run(&[
            "check", "f", "--expect", "app.zip", "--diff", "--color", "never",
        ])
        .expect(1);
    for part in [
        "drifted",
        "index.py",
        "-    return 1",
        "+    return 2",
        "+NEW = 1",
        "-VALUE = 42",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    check(&bench, &["f", "--expect", "app.zip", "--exit-zero"]).expect(0);
}

#[test]
fn a_directory_is_compared_loosely() {
    let bench = Bench::new();
    bench
        .aws
        .function("f")
        .zip(tree().file("extra.map", "m").zip())
        .create();
    for (path, text) in [
        (
            "dist/index.py",
            "def handler(event, context):\n    return 1\n",
        ),
        ("dist/lib/util.py", "VALUE = 42\n"),
        ("real-tool", "#!/bin/sh\n"),
        ("dist/.larderignore", "*.map\n__pycache__/\n"),
        ("dist/__pycache__/x.pyc", "x"),
    ] {
        fs::create_dir_all(bench.path(path).parent().unwrap()).unwrap();
        fs::write(bench.path(path), text).unwrap();
    }
    fs::create_dir_all(bench.path("dist/bin")).unwrap();
    fs::create_dir_all(bench.path("dist/empty")).unwrap();
    std::os::unix::fs::symlink("../../real-tool", bench.path("dist/bin/tool")).unwrap();
    let ran = check(&bench, &["f", "--expect", "dist"]).expect(0);
    let json = ran.json();
    let result = only(&json, "in_sync");
    assert!(
        result["notes"].to_string().contains("links followed"),
        "{result}"
    );
    fs::write(bench.path("dist/index.py"), "x = 1\n").unwrap();
    let ran = check(&bench, &["f", "--expect", "dist", "--diff"]).expect(1);
    let json = ran.json();
    let result = only(&json, "drifted");
    assert_eq!(
        changes(result),
        [("index.py".to_owned(), "modified".to_owned())]
    );
    assert!(
        result["changes"][0]["diff"]
            .as_str()
            .unwrap()
            .contains("-x = 1")
    );
    check(&bench, &["f", "--expect", "dist", "--ignore", "*.py"]).expect(0);
    fs::create_dir(bench.path("empty")).unwrap();
    check(&bench, &["f", "--expect", "empty"])
        .expect(2)
        .says(&["empty", "no file"]);
}

#[test]
fn a_digest_is_enough() {
    let bench = Bench::new();
    let function = bench.aws.function("f").zip(tree().zip()).create();
    let base64 = function.code_sha256();
    check(&bench, &["f", "--expect", &base64]).expect(0);
    check(&bench, &["f", "--expect", OTHER]).expect(1);
    // Of the expected one nothing is known, so nothing is fetched.
    assert_eq!(bench.aws.count("GetFunction"), 0);
    bench
        .aws
        .function("i")
        .image("repo:tag", &format!("sha256:{DIGEST}"))
        .create();
    check(&bench, &["i", "--expect", DIGEST]).expect(0);
    assert_eq!(bench.aws.count("GetFunction"), 0);
    // Another digest may be that of an index: what was deployed is asked for, and the rest cannot be told.
    let ran = check(&bench, &["i", "--expect", OTHER]).expect(2);
    assert!(
        only(&ran.json(), "unknown")["reason"]
            .as_str()
            .unwrap()
            .contains("index")
    );
    bench
        .aws
        .function("x")
        .image(&format!("repo@sha256:{OTHER}"), &format!("sha256:{DIGEST}"))
        .create();
    let ran = check(&bench, &["x", "--expect", OTHER]).expect(0);
    assert!(
        only(&ran.json(), "in_sync")["notes"]
            .to_string()
            .contains("index")
    );
}

#[test]
fn an_image_and_a_zip_are_never_the_same() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    let image = format!("sha256:{DIGEST}");
    bench.aws.function("f").image("repo:tag", &image).create();
    let ran = check(&bench, &["f", "--expect", "app.zip"]).expect(1);
    let reason = only(&ran.json(), "drifted")["reason"].to_string();
    assert!(
        reason.contains("a zip is expected, and an image is deployed"),
        "{reason}"
    );
    bench.run(&["fetch", "f", "was"]).expect(0);
    bench.aws.function("f").zip(tree().zip()).create();
    let ran = check(&bench, &["f", "--expect", "was"]).expect(1);
    let reason = only(&ran.json(), "drifted")["reason"].to_string();
    assert!(
        reason.contains("an image is expected, and a zip is deployed"),
        "{reason}"
    );
}

#[test]
fn a_fetch_and_another_function_are_expectations() {
    let bench = Bench::new();
    let staging = bench.aws.function("staging").zip(tree().zip()).create();
    let prod = bench
        .aws
        .function("prod")
        .zip(repackaged().remove(0).1)
        .create();
    bench.run(&["fetch", "staging", "was"]).expect(0);
    check(&bench, &["staging", "--expect", "was"]).expect(0);
    only(
        &check(&bench, &["prod", "--expect", "was"]).expect(0).json(),
        "repackaged",
    );
    only(
        &check(&bench, &["prod", "--expect", "lambda:staging"])
            .expect(0)
            .json(),
        "repackaged",
    );
    staging.update_code(changed().zip());
    let ran = check(&bench, &["prod", "--expect", "lambda:staging", "--diff"]).expect(1);
    let json = ran.json();
    assert_eq!(
        only(&json, "drifted")["changes"].as_array().unwrap().len(),
        4
    );
    assert_eq!(json["functions"][0]["function"], prod.arn());
    // The other one cannot be told: neither can this one.
    let ran = check(&bench, &["prod", "--expect", "lambda:none"]).expect(5);
    only(&ran.json(), "unknown");
    fs::write(bench.path("was/package.zip"), "other").unwrap();
    check(&bench, &["prod", "--expect", "was"])
        .expect(2)
        .says(&["its record says"]);
}

#[test]
fn the_other_function_is_asked_in_its_own_region_and_with_its_own_profile() {
    let bench = Bench::new();
    bench.aws.function("f").zip(tree().zip()).create();
    bench
        .aws
        .function("f")
        .region("eu-west-1")
        .zip(tree().zip())
        .create();
    let of = |ran: &Ran| only(&ran.json(), "in_sync")["expected"]["basis"].to_string();
    let ran = check(
        &bench,
        &["f", "--expect", "lambda:f", "--expect-region", "eu-west-1"],
    )
    .expect(0);
    assert!(of(&ran).contains("eu-west-1"), "{}", of(&ran));
    let ran = check(
        &bench,
        &["f", "--expect", "lambda:f", "--expect-profile", "none"],
    )
    .expect(2);
    assert!(ran.stderr.contains("profile"), "{}", ran.stderr);
    check(
        &bench,
        &["f", "--expect", DIGEST, "--expect-region", "eu-west-1"],
    )
    .expect(2);
}

#[test]
fn a_function_that_is_not_there_is_missing() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    let ran = check(&bench, &["gone", "--expect", "app.zip"]).expect(1);
    let json = ran.json();
    let result = only(&json, "missing");
    assert_eq!(result["deployed"], Value::Null);
    assert_eq!(json["summary"]["missing"], 1);
    bench.aws.function("f").zip(tree().zip()).create();
    let ran = check(&bench, &["f:7", "--expect", "app.zip"]).expect(1);
    only(&ran.json(), "missing");
    let ran = check(&bench, &["f:live", "--expect", "app.zip"]).expect(1);
    assert!(
        only(&ran.json(), "missing")["reason"]
            .to_string()
            .contains("alias")
    );
}

#[test]
fn what_cannot_be_had_is_unknown_with_the_code_of_its_cause() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    bench.aws.function("f").zip(changed().zip()).create();
    let run = |arguments: &[&str], code| {
        let mut all = vec![
            "f",
            "--expect",
            "app.zip",
            "--max-attempts",
            "1",
            "--no-cache",
        ];
        all.extend(arguments);
        let ran = check(&bench, &all).expect(code);
        bench.aws.clear_faults();
        ran.json()["functions"][0].clone()
    };
    bench.aws.fault(
        On::GetFunctionConfiguration.always(),
        Fault::access_denied("lambda:GetFunctionConfiguration"),
    );
    let result = run(&[], 4);
    assert_eq!(result["status"], "unknown");
    assert_eq!(result["cause"], "access_denied");
    bench.aws.fault(
        On::GetFunction.always(),
        Fault::access_denied("lambda:GetFunction"),
    );
    assert_eq!(run(&[], 4)["status"], "unknown");
    bench
        .aws
        .fault(On::GetFunction.always(), Fault::service_exception());
    assert_eq!(run(&[], 6)["status"], "unknown");
    // A package that does not verify says nothing about drift.
    bench.aws.fault(On::Object.always(), Fault::flip(100));
    let result = run(&[], 6);
    assert_eq!(
        (&result["status"], &result["cause"]),
        (&json!("unknown"), &json!("mismatch"))
    );
    // An archive that is refused cannot be compared.
    let twice = larder_testkit::zip::ZipBuilder::new()
        .file("a", "1")
        .file("a", "2")
        .build();
    bench.aws.function("f").zip(twice).create();
    let result = run(&[], 7);
    assert_eq!(result["cause"], "archive_unsafe", "{result:#}");
    assert!(
        result["notes"].to_string().contains("--duplicates"),
        "{result:#}"
    );
    assert_eq!(run(&["--duplicates", "last"], 1)["status"], "drifted");
    // Asked not to look, it says that the digest differs.
    let result = run(&["--no-download"], 1);
    assert!(
        result["reason"].to_string().contains("--no-download"),
        "{result:#}"
    );
}

#[test]
fn no_download_never_calls_get_function() {
    let bench = Bench::new();
    write(bench.path("app.zip"), changed().zip());
    bench
        .aws
        .function("f")
        .zip(tree().zip())
        .layer("arn:aws:lambda:us-east-1:1:layer:l:1")
        .create();
    fs::create_dir(bench.path("dist")).unwrap();
    fs::write(bench.path("dist/a"), "a").unwrap();
    check(
        &bench,
        &["f", "--expect", "app.zip", "--no-download", "--diff"],
    )
    .expect(1);
    let ran = check(&bench, &["f", "--expect", "dist", "--no-download"]).expect(2);
    only(&ran.json(), "unknown");
    assert_eq!(bench.aws.count("GetFunction"), 0);
}

#[test]
fn a_function_that_is_being_changed_is_waited_for() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    let function = bench.aws.function("f").zip(tree().zip()).create();
    function.set("LastUpdateStatus", json!("InProgress"));
    let ran = check(&bench, &["f", "--expect", "app.zip", "--wait", "1s"]).expect(6);
    let json = ran.json();
    let result = only(&json, "unknown");
    assert_eq!(result["cause"], "timeout");
    assert!(bench.aws.count("GetFunctionConfiguration") >= 2);
    function.set("LastUpdateStatus", json!("Successful"));
    check(&bench, &["f", "--expect", "app.zip"]).expect(0);
    function.set("State", json!("Pending"));
    check(&bench, &["f", "--expect", "app.zip", "--wait", "0s"]).expect(6);
}

#[test]
fn a_qualifier_is_compared_beside_latest_and_an_alias_with_all_it_routes_to() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    bench
        .aws
        .function("f")
        .zip(tree().zip())
        .version(tree().zip())
        .version(changed().zip())
        .weighted_alias("live", "1", &[("2", 0.25)])
        .alias("old", "1")
        .create();
    let ran = check(&bench, &["f", "--expect", "app.zip", "--qualifier", "1"]).expect(0);
    let of =
        |name: &str, at: &str, status: &str| (name.to_owned(), at.to_owned(), status.to_owned());
    assert_eq!(
        statuses(&ran),
        [of("f", "$LATEST", "in_sync"), of("f", "1", "in_sync")]
    );
    let ran = check(
        &bench,
        &[
            "f",
            "--expect",
            "app.zip",
            "--qualifier",
            "live",
            "--qualifier",
            "2",
        ],
    )
    .expect(1);
    assert_eq!(
        statuses(&ran),
        [
            of("f", "$LATEST", "in_sync"),
            of("f", "2", "drifted"),
            of("f", "live", "in_sync"),
            of("f", "live", "drifted"),
        ]
    );
    let json = ran.json();
    let live = &json["functions"][3];
    assert_eq!(live["alias"], "live");
    assert_eq!(live["deployed"]["version"], "2");
    assert_eq!(live["deployed"]["weight"], 0.25);
    let ran = check(&bench, &["f", "--expect", "app.zip", "--aliases"]).expect(1);
    assert_eq!(statuses(&ran).len(), 4);
    // The qualifier behind the name is all that is compared.
    let ran = check(&bench, &["f:old", "--expect", "app.zip"]).expect(0);
    assert_eq!(statuses(&ran), [of("f", "old", "in_sync")]);
    check(&bench, &["f", "--expect", "app.zip", "--qualifier", "a b"]).expect(2);
}

#[test]
fn unexpected_functions_are_reported_as_far_as_they_are_selected() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    for (name, team) in [("api", "red"), ("web", "red"), ("scratch-1", "blue")] {
        bench
            .aws
            .function(name)
            .zip(tree().zip())
            .tag("team", team)
            .create();
    }
    let unexpected = |arguments: &[&str]| -> Vec<String> {
        let mut all = vec!["api", "--expect", "app.zip"];
        all.extend(arguments);
        let ran = check(&bench, &all);
        assert!(matches!(ran.code, 0 | 1), "{ran:?}");
        let found = statuses(&ran)
            .into_iter()
            .filter(|(_, _, s)| s == "unexpected");
        found.map(|(name, _, _)| name).collect()
    };
    assert_eq!(unexpected(&[]), Vec::<String>::new());
    assert_eq!(unexpected(&["--all"]), ["scratch-1", "web"]);
    assert_eq!(unexpected(&["--all", "--exclude", "scratch-*"]), ["web"]);
    assert_eq!(unexpected(&["--tag", "team=blue"]), ["scratch-1"]);
    assert_eq!(unexpected(&["--include", "{api,scratch-?}"]), ["scratch-1"]);
    // What is expected and not selected is not unexpected for that; what is selected and expected nowhere is.
    assert_eq!(unexpected(&["--include", "scratch-*"]), ["scratch-1"]);
    check(&bench, &["api", "--expect", "app.zip", "--include", "zzz*"])
        .expect(2)
        .says(&["nothing was compared"]);
    bench.run(&["lock", "api", "web"]).expect(0);
    let ran = check(&bench, &["--include", "scratch-*"]).expect(1);
    assert_eq!(statuses(&ran).len(), 1);
    let ran = check(&bench, &["web", "--all"]).expect(1);
    let of = |status: &str| -> Vec<String> {
        let all = statuses(&ran).into_iter();
        all.filter(|(_, _, s)| s == status)
            .map(|(n, _, _)| n)
            .collect()
    };
    assert_eq!(
        (of("in_sync"), of("unexpected")),
        (vec!["web".to_owned()], vec!["scratch-1".to_owned()])
    );
    for nothing in [&["--include", "zzz*"][..], &["--all", "--exclude", "*"]] {
        check(&bench, nothing)
            .expect(2)
            .says(&["nothing was compared"]);
    }
}

#[test]
fn exceptions_are_counted_apart_and_their_faults_are_warnings() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    bench.aws.function("legacy-1").zip(changed().zip()).create();
    write(
        bench.path("accept"),
        "# known\n\
         arn:aws:lambda:*:*:function:legacy-* drifted 2099-12-31 patched by hand\n\
         arn:aws:lambda:*:*:function:old-* drifted 2001-01-01 long ago\n\
         arn:aws:lambda:*:*:function:never drifted - unused\n",
    );
    let ran = check(
        &bench,
        &["legacy-1", "--expect", "app.zip", "--accept", "accept"],
    )
    .expect(0);
    let json = ran.json();
    let result = only(&json, "accepted");
    assert_eq!(result["accepted"]["by"], "accept:2");
    assert_eq!(result["accepted"]["status"], "drifted");
    assert_eq!(json["summary"]["accepted"], 1);
    let warnings = json["warnings"].to_string();
    assert!(
        warnings.contains("expired") && warnings.contains("not used"),
        "{warnings}"
    );
    ran.says(&["accept:3", "accept:4"]);
    write(bench.path("accept"), "* unknown - whatever\n");
    check(
        &bench,
        &["legacy-1", "--expect", "app.zip", "--accept", "accept"],
    )
    .expect(2)
    .says(&["accept:1", "cannot be accepted"]);
    write(
        bench.path("accept"),
        "arn:aws:lambda:*:*:function:gone missing - removed on purpose\n",
    );
    check(
        &bench,
        &["gone", "--expect", "app.zip", "--accept", "accept"],
    )
    .expect(0);
    write(bench.path("accept"), "legacy-* drifted soon because\n");
    check(
        &bench,
        &["legacy-1", "--expect", "app.zip", "--accept", "accept"],
    )
    .expect(2)
    .says(&["accept:1"]);
}

#[test]
fn secrets_stay_out_of_reports() {
    let bench = Bench::new();
    let old = Tree::new()
        .file("settings.py", "A = 1\n")
        .file(".env", "KEY=one\n");
    let new = Tree::new()
        .file(
            "settings.py",
            "A = 2\nX = 'env-v4lue-marker'\npassword = 'l3aked-marker'\n",
        )
        .file(".env", "KEY=d0tenv-marker\n");
    write(bench.path("app.zip"), old.zip());
    bench
        .aws
        .function("f")
        .zip(new.zip())
        .env("X", "env-v4lue-marker")
        .create();
    for output in ["json", "text"] {
        let ran = bench.run(&[
            "check", "f", "--expect", "app.zip", "--diff", "--config", "--output", output, "-vvv",
        ]);
        assert_eq!(ran.code, 1);
        for marker in [
            "env-v4lue-marker",
            "l3aked-marker",
            "d0tenv-marker",
            "X-Amz-Signature=",
        ] {
            assert!(
                !ran.stdout.contains(marker) && !ran.stderr.contains(marker),
                "{marker} in {output}"
            );
        }
        assert!(ran.stdout.contains("+A = 2"), "{}", ran.stdout);
    }
}

#[test]
fn layers_of_a_lock_are_compared_by_arn_then_by_hash() {
    let bench = Bench::new();
    let zip = packages::layer_package().zip();
    let layer = |bench: &Bench, zip: Vec<u8>| bench.aws.layer("common").zip(zip).create();
    let first = layer(&bench, zip.clone());
    bench
        .aws
        .function("f")
        .zip(tree().zip())
        .layer(&first)
        .create();
    bench.run(&["lock", "f"]).expect(0);
    let before = bench.aws.count("GetLayerVersionByArn");
    check(&bench, &[]).expect(0);
    assert_eq!(
        bench.aws.count("GetLayerVersionByArn"),
        before,
        "an equal ARN costs no call"
    );
    let same = layer(&bench, zip);
    bench
        .aws
        .function("f")
        .zip(tree().zip())
        .layer(&same)
        .create();
    let ran = check(&bench, &[]).expect(0);
    assert_eq!(ran.json()["functions"][0]["layers"][0]["status"], "in_sync");
    let other = layer(&bench, tree().zip());
    bench
        .aws
        .function("f")
        .zip(tree().zip())
        .layer(&other)
        .create();
    let ran = check(&bench, &[]).expect(1);
    let json = ran.json();
    assert_eq!(only(&json, "drifted")["layers"][0]["status"], "drifted");
    // A fault of the server tells nothing.
    bench
        .aws
        .fault(On::Layer.always(), Fault::service_exception());
    let ran = check(&bench, &["--max-attempts", "1"]).expect(6);
    only(&ran.json(), "unknown");
    bench.aws.clear_faults();
    bench.aws.function("f").zip(tree().zip()).create();
    let ran = check(&bench, &[]).expect(1);
    assert_eq!(ran.json()["functions"][0]["layers"][0]["status"], "missing");
    // A layer version that is gone: its ARN differs, and that is all that can be told.
    bench
        .aws
        .function("f")
        .zip(tree().zip())
        .layer(&other)
        .create();
    bench.aws.delete_layer(&other);
    check(&bench, &[]).expect(1).says(&["layer"]);
    let ran = check(&bench, &["--strict-layers"]).expect(5);
    only(&ran.json(), "unknown");
}

#[test]
fn configuration_is_compared_when_asked_for() {
    let bench = Bench::new();
    let make = |memory: u64, names: &[&str]| {
        let function = bench
            .aws
            .function("f")
            .zip(tree().zip())
            .set("MemorySize", json!(memory));
        names
            .iter()
            .fold(function, |f, name| f.env(name, "s3cret-value"))
            .create()
    };
    make(128, &["A"]);
    bench.run(&["lock", "f"]).expect(0);
    make(256, &["A", "B"]);
    check(&bench, &[]).expect(0);
    let ran = check(&bench, &["--config"]).expect(1);
    let json = ran.json();
    let fields: Vec<&str> = only(&json, "drifted")["config"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["memory_size", "environment"]);
    assert_eq!(
        json["functions"][0]["config"][1]["deployed"],
        json!(["A", "B"])
    );
    assert!(!ran.stdout.contains("s3cret"));
}

#[test]
fn several_reports_come_of_one_run() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    bench.aws.function("f").zip(changed().zip()).create();
    let ran = bench
        .run(&[
            "check",
            "f",
            "--expect",
            "app.zip",
            "--report",
            "json=drift.json",
            "--report",
            "text",
        ])
        .expect(1);
    assert!(ran.stdout.contains("drifted"), "{}", ran.stdout);
    let json: Value = serde_json::from_slice(&fs::read(bench.path("drift.json")).unwrap()).unwrap();
    assert_eq!(json["summary"]["drifted"], 1);
    bench
        .run(&[
            "check", "f", "--expect", "app.zip", "--report", "json", "--report", "text",
        ])
        .expect(2)
        .says(&["--report"]);
    bench
        .run(&["check", "f", "--expect", "app.zip", "--report", "yaml"])
        .expect(2);
}

#[test]
fn one_hundred_unchanged_functions_cost_two_pages() {
    let bench = Bench::new();
    for i in 0..100 {
        bench
            .aws
            .function(&format!("f-{i:03}"))
            .zip(tree().zip())
            .create();
    }
    // Wide enough that pacing does not make the test slow; the calls are counted, not timed.
    bench.run(&["lock", "--max-rate", "1000"]).expect(0);
    let before = bench.aws.requests().len();
    let pages = bench.aws.count("ListFunctions");
    let aliases = bench.aws.count("ListAliases");
    let ran = check(&bench, &[]).expect(0);
    assert_eq!(ran.json()["summary"]["in_sync"], 100);
    assert_eq!(bench.aws.count("ListFunctions") - pages, 2);
    assert_eq!(bench.aws.count("ListAliases") - aliases, 100);
    assert_eq!(
        bench.aws.requests().len() - before,
        102,
        "nothing else is asked"
    );
    // Against a source without aliases not even those are listed.
    write(bench.path("app.zip"), tree().zip());
    let names: Vec<String> = (0..100).map(|i| format!("f-{i:03}")).collect();
    let mut arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    arguments.extend(["--expect", "app.zip"]);
    let before = bench.aws.requests().len();
    check(&bench, &arguments).expect(0);
    assert_eq!(bench.aws.requests().len() - before, 2);
}

#[test]
fn who_may_not_list_is_served_one_by_one() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    let names: Vec<String> = (0..12).map(|i| format!("f-{i:02}")).collect();
    for name in &names {
        bench.aws.function(name).zip(tree().zip()).create();
    }
    bench.aws.fault(
        On::ListFunctions.always(),
        Fault::access_denied("lambda:ListFunctions"),
    );
    let mut arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    arguments.extend(["--expect", "app.zip"]);
    let ran = check(&bench, &arguments).expect(0);
    ran.says(&["cannot be listed"]);
    assert_eq!(bench.aws.count("GetFunctionConfiguration"), 12);
    arguments.push("--all");
    check(&bench, &arguments).expect(3);
}

#[test]
fn some_that_cannot_be_told_are_3_and_a_difference_goes_first() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    bench.aws.function("good").zip(tree().zip()).create();
    bench.aws.function("denied").zip(tree().zip()).create();
    bench.aws.function("other").zip(changed().zip()).create();
    bench.aws.fault(
        On::GetFunctionConfiguration.always().path("denied"),
        Fault::access_denied("lambda:GetFunctionConfiguration"),
    );
    check(&bench, &["good", "denied", "--expect", "app.zip"]).expect(3);
    check(&bench, &["denied", "--expect", "app.zip"]).expect(4);
    check(&bench, &["good", "denied", "other", "--expect", "app.zip"]).expect(1);
    check(
        &bench,
        &[
            "good",
            "denied",
            "other",
            "--expect",
            "app.zip",
            "--exit-zero",
        ],
    )
    .expect(3);
}

#[test]
fn bad_input_is_exit_2_and_asks_nothing() {
    let bench = Bench::new();
    bench.aws.function("f").zip(tree().zip()).create();
    write(bench.path("text"), "not a zip");
    write(bench.path("broken.lock"), "{");
    write(
        bench.path("future.lock"),
        r#"{"lockfile_version": 99, "functions": []}"#,
    );
    write(
        bench.path("empty.lock"),
        r#"{"lockfile_version": 1, "functions": []}"#,
    );
    for (arguments, says) in [
        (&["f"][..], "larder.lock"),
        (&[], "larder.lock"),
        (&["--expect", "text"], "--expect"),
        (&["f", "--expect", "nothing-here"], "neither a file"),
        (&["f", "--expect", "lambda:a b"], "lambda:a b"),
        (&["a b", "--expect", "text"], "a b"),
        (&["f", "--lock", "none.lock"], "none.lock"),
        (&["--lock", "broken.lock"], "broken.lock"),
        (&["--lock", "future.lock"], "version 99"),
        (&["--lock", "empty.lock"], "no function"),
        (&["--terraform", "none.json"], "none.json"),
        (&["--accept", "none", "f", "--expect", "text"], "none"),
    ] {
        let ran = check(&bench, arguments).expect(2);
        assert!(ran.stderr.contains(says), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.json_error()["exit_code"], 2, "{arguments:?}");
    }
    assert_eq!(bench.aws.requests().len(), 0);
    // A file that is no zip differs from any package, and its contents cannot be compared.
    check(&bench, &["f", "--expect", "text"]).expect(7);
}

#[test]
fn a_large_package_with_one_changed_file_is_told_in_a_few_lines() {
    let bench = Bench::new();
    let build = |changed: bool| {
        (0..5000).fold(Tree::new(), |tree, i| {
            let text = format!("value = {}\n", if changed && i == 4321 { 0 } else { i });
            tree.file(&format!("pkg/m{:02}/file_{i:04}.py", i % 50), text)
        })
    };
    write(bench.path("app.zip"), build(false).zip());
    bench.aws.function("big").zip(build(true).zip()).create();
    let ran = bench
        .run(&[
            "check", "big", "--expect", "app.zip", "--diff", "--color", "never",
        ])
        .expect(1);
    for part in [
        "1 file modified",
        "M pkg/m21/file_4321.py",
        "-value = 4321",
        "+value = 0",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    assert!(ran.stdout.lines().count() < 20, "{}", ran.stdout);
    assert_eq!(bench.aws.count("GetFunctionConfiguration"), 1);
    assert_eq!(bench.aws.count("GetFunction"), 1);
    assert_eq!(bench.aws.count("GetObject"), 1);
    assert_eq!(bench.aws.requests().len(), 3);
    assert!(leftovers(bench.dir.path()).is_empty());
}

fn leftovers(dir: &Path) -> Vec<String> {
    crate::harness::names(dir)
        .into_iter()
        .filter(|name| name.starts_with(".larder"))
        .collect()
}

#[test]
fn several_regions_are_checked() {
    let bench = Bench::new();
    write(bench.path("app.zip"), tree().zip());
    bench
        .aws
        .function("f")
        .region("eu-west-1")
        .zip(tree().zip())
        .create();
    bench
        .aws
        .function("f")
        .region("eu-central-1")
        .zip(changed().zip())
        .create();
    let ran = check(
        &bench,
        &[
            "f",
            "--expect",
            "app.zip",
            "--region",
            "eu-west-1",
            "--region",
            "eu-central-1",
        ],
    )
    .expect(1);
    let json = ran.json();
    assert_eq!(json["summary"]["in_sync"], 1);
    assert_eq!(json["summary"]["drifted"], 1);
    let arn = "arn:aws:lambda:eu-west-1:000000000000:function:f";
    let ran = check(&bench, &[arn, "--expect", "app.zip"]);
    assert!(
        ran.json()["functions"][0]["function"]
            .as_str()
            .unwrap()
            .contains("eu-west-1")
    );
}
