//! Bad input of every kind: the right exit code, words that name it, a hint where there is something to do, nothing
//! left behind, what was there untouched, and a valid error object with `--output json`.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "tests may panic, and a table is as long as what it lists"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use larder_testkit::zip::ZipBuilder;
use larder_testkit::{Fault, Key, On, code_sha256, packages};
use serde_json::{Value, json};

use crate::harness::{Bench, run, write};
use crate::proof::{
    Failing, as_nobody, each, harmless, is_root, on_tmpfs, package, planted, snapshot,
};

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const OTHER_HEX: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
const OTHER_BASE64: &str = "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=";
const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/app:7";

fn web(bench: &Bench) {
    planted(bench, "web").zip(package(1, 4000)).create();
}

fn all(cases: &[Failing]) {
    each(cases, |case| case.name.clone(), Failing::check);
}

/// What is refused by its form, before any call.
fn names() -> Vec<Failing> {
    let long_name = "x".repeat(65);
    let overlong = format!(
        "arn:aws:lambda:us-east-1:123456789012:function:{}",
        "x".repeat(220)
    );
    let long_qualifier = "q".repeat(129);
    [
        ("", "empty"),
        (" ", "' '"),
        ("a b", "' '"),
        ("web!", "'!'"),
        ("../../etc/passwd", "'/'"),
        ("größe", "'ö'"),
        ("web\n", "\\n"),
        ("we\u{1b}[31mb", "1b"),
        (&long_name, "65 characters"),
        (&overlong, "267 characters"),
        ("web:", "qualifier is empty"),
        ("web:a b", "' '"),
        ("web:a.b", "'.'"),
        ("web:1:2", "too many parts"),
        ("arn:aws:s3:::bucket/web", "\"s3\""),
        ("arn:aws:lambda:us-east-1:123456789012:layer:web:1", "layer"),
        ("arn:aws:lambda:us-east-1:12345:function:web", "account"),
        (
            "arn:aws:lambda:somewhere:123456789012:function:web",
            "region",
        ),
        (
            "arn:gcp:lambda:us-east-1:123456789012:function:web",
            "partition",
        ),
        ("arn:aws:lambda:us-east-1:123456789012:web", "function"),
        ("arn:aws:lambda", "region"),
        ("https://web", "'/'"),
    ]
    .into_iter()
    .map(|(name, says)| {
        Failing::new(format!("name {name:?}"), 2, "usage")
            .run(&["fetch", name, "out"])
            .says(&[says])
            .calls(0, 0)
    })
    .chain(
        [
            ("", "empty"),
            ("a b", "' '"),
            ("a/b", "'/'"),
            (long_qualifier.as_str(), "129 characters"),
        ]
        .into_iter()
        .map(|(qualifier, says)| {
            Failing::new(format!("--qualifier {qualifier:?}"), 2, "usage")
                .with(&["--qualifier", qualifier])
                .says(&[says])
                .calls(0, 0)
        }),
    )
    .chain([
        Failing::new("qualifier twice", 2, "usage")
            .run(&["fetch", "web:live", "out", "--qualifier", "7"])
            .says(&["live", "7"])
            .calls(0, 0),
        Failing::new("no function", 2, "usage")
            .run(&["fetch"])
            .says(&["FUNCTION"]),
        Failing::new("unknown option", 2, "usage")
            .with(&["--frobnicate"])
            .says(&["--frobnicate"]),
        Failing::new("--force and --update", 2, "usage")
            .with(&["--force", "--update"])
            .says(&["--update"]),
        Failing::new("--max-attempts 0", 2, "usage")
            .with(&["--max-attempts=0"])
            .says(&["--max-attempts"]),
        Failing::new("--max-unpacked-size", 2, "usage")
            .with(&["--max-unpacked-size", "big"])
            .says(&["big"]),
    ])
    .collect()
}

#[test]
fn names_are_refused_by_their_form_before_any_call() {
    all(&names());
}

/// Who asks, where, and for what.
fn callers() -> Vec<Failing> {
    let published = |bench: &Bench| {
        planted(bench, "web")
            .zip(package(1, 4000))
            .publish()
            .alias("live", "1")
            .create();
    };
    let keyless = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];
    let process = |name: &str, command: &'static str, word: &'static str| {
        Failing::new(
            format!("a credential_process that {name}"),
            4,
            "no_credentials",
        )
        .when(move |bench| {
            web(bench);
            let profile = format!("[default]\ncredential_process = {command}\n");
            write(bench.path("config"), profile);
        })
        .without(&keyless)
        .var("AWS_CONFIG_FILE", "config")
        .says(&["credentials could not be obtained", word])
        .hint("credential_process")
        .calls(0, 0)
    };
    let key = |name: &str, key: Key, code_hint: (i32, &'static str, &'static str)| {
        Failing::new(name, code_hint.0, code_hint.1)
            .when(web)
            .var("AWS_ACCESS_KEY_ID", larder_testkit::access_key(key))
            .hint(code_hint.2)
            .calls(1, 0)
    };
    vec![
        Failing::new("unknown function", 5, "not_found")
            .says(&["web"])
            .hint("us-east-1")
            .calls(1, 0),
        Failing::new("unknown alias", 5, "not_found")
            .when(published)
            .run(&["fetch", "web:beta", "out"])
            .says(&["web:beta"])
            .hint("qualifier")
            .calls(1, 0),
        Failing::new("unknown version", 5, "not_found")
            .when(published)
            .run(&["fetch", "web", "out", "--qualifier", "2"])
            .says(&["web"])
            .calls(1, 0),
        Failing::new("ARN of another region than --region", 5, "not_found")
            .when(web)
            .run(&[
                "fetch",
                "arn:aws:lambda:eu-west-1:123456789012:function:web",
                "out",
                "--region",
                "us-east-1",
            ])
            .says(&["eu-west-1", "us-east-1", "warning: "])
            .hint("--region"),
        Failing::new("ARN of a region where it is not", 5, "not_found")
            .when(web)
            .run(&[
                "fetch",
                "arn:aws:lambda:eu-west-1:123456789012:function:web",
                "out",
            ])
            .says(&["eu-west-1"]),
        Failing::new("no credentials", 4, "no_credentials")
            .when(web)
            .without(&keyless)
            .hint("AWS_PROFILE")
            .calls(0, 0),
        process("fails", "false", "status: 1"),
        process("is not there", "/nowhere/x", "127"),
        process("prints no JSON", "echo nojson", "JSON"),
        process(
            "says why in lines",
            "sh -c \"echo one >&2; echo two >&2; exit 3\"",
            "one; two",
        ),
        Failing::new("an SSO session without a token", 4, "no_credentials")
            .when(|bench| {
                web(bench);
                let profile = "[default]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n\
                    [sso-session s]\nsso_region = us-east-1\nsso_start_url = https://s.invalid\n";
                write(bench.path("config"), profile);
            })
            .without(&keyless)
            .var("AWS_CONFIG_FILE", "config")
            .says(&["could not be obtained"])
            .hint("aws sso login")
            .calls(0, 0),
        Failing::new("a web identity without its file", 4, "no_credentials")
            .when(web)
            .without(&keyless)
            .var("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")
            .var("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
            .says(&["could not be obtained"])
            .hint("check the source")
            .calls(0, 0),
        key(
            "unknown key",
            Key::Unrecognized,
            (4, "credentials_refused", "access key"),
        ),
        key(
            "expired session",
            Key::Expired,
            (4, "credentials_refused", "session has ended"),
        ),
        key(
            "wrong secret",
            Key::BadSignature,
            (4, "credentials_refused", "secret access key"),
        ),
        key(
            "denied",
            Key::Denied,
            (4, "access_denied", "lambda:GetFunction"),
        ),
        Failing::new("no region", 2, "usage")
            .when(web)
            .without(&["AWS_REGION", "AWS_DEFAULT_REGION"])
            .says(&["region"])
            .hint("--region")
            .calls(0, 0),
        Failing::new("malformed --region", 2, "usage")
            .when(web)
            .with(&["--region", "us east 1"])
            .calls(0, 0),
        Failing::new("malformed AWS_REGION", 2, "usage")
            .when(web)
            .var("AWS_REGION", "a/b")
            .calls(0, 0),
        Failing::new("unknown profile", 2, "usage")
            .when(web)
            .with(&["--profile", "nobody"])
            .says(&["nobody"])
            .calls(0, 0),
        Failing::new("--endpoint-url is no URL", 2, "usage")
            .when(web)
            .with(&["--endpoint-url", "lambda"])
            .calls(0, 0),
        Failing::new("--endpoint-url of another scheme", 2, "usage")
            .when(web)
            .with(&["--endpoint-url", "ftp://127.0.0.1/"])
            .calls(0, 0),
        Failing::new("nobody listens", 6, "network")
            .when(web)
            .with(&["--endpoint-url", "http://127.0.0.1:1"])
            .hint("endpoint")
            .calls(0, 0),
        Failing::new("a host that does not resolve", 6, "network")
            .when(web)
            .with(&["--endpoint-url", "http://lambda.invalid"])
            .hint("endpoint")
            .calls(0, 0),
        Failing::new("AWS_CA_BUNDLE is missing", 8, "io")
            .when(web)
            .var("AWS_CA_BUNDLE", "/nowhere/ca.pem")
            .says(&["/nowhere/ca.pem"])
            .hint("AWS_CA_BUNDLE")
            .calls(0, 0),
        Failing::new("GetFunction denied by a policy", 4, "access_denied")
            .when(|bench| {
                web(bench);
                bench.aws.fault(
                    On::GetFunction.always(),
                    Fault::access_denied("lambda:GetFunction"),
                );
            })
            .says(&["GetFunction"])
            .hint("lambda:GetFunction")
            .calls(1, 0),
    ]
}

#[test]
fn callers_and_what_they_ask_for() {
    all(&callers());
}

#[test]
fn a_qualifier_said_twice_alike_is_one() {
    let bench = Bench::new();
    planted(&bench, "web")
        .zip(package(1, 4000))
        .publish()
        .alias("live", "1")
        .create();
    bench
        .run(&["fetch", "web:live", "out", "--qualifier", "live"])
        .expect(0);
    assert_eq!(bench.record("out")["function"]["qualifier"], "live");
    assert_eq!(bench.record("out")["function"]["version"], "1");
}

/// What stands where the destination is to be.
fn destinations() -> Vec<Failing> {
    let exists = |name: &str, make: fn(&Bench)| {
        Failing::new(name, 8, "destination_exists")
            .when(move |bench| {
                web(bench);
                make(bench);
            })
            .hint("choose another destination")
            .calls(0, 0)
    };
    let full: fn(&Bench) = |bench| {
        fs::create_dir(bench.path("out")).unwrap();
        write(bench.path("out/precious"), "of the user\n");
    };
    let file: fn(&Bench) = |bench| {
        write(bench.path("out"), "of the user\n");
    };
    let earlier: fn(&Bench) = |bench| {
        bench.run(&["fetch", "web", "out"]).expect(0);
    };
    let long = "d".repeat(256);
    vec![
        exists("a directory that holds something", full),
        exists("a directory that holds something, --force", full).with(&["--force"]),
        exists("a directory that holds something, --update", full).with(&["--update"]),
        exists("a directory that holds something, named with a slash", full)
            .run(&["fetch", "web", "out/"]),
        exists("a file", file),
        exists("a file, --force", file).with(&["--force"]),
        exists("a file, --update", file).with(&["--update"]),
        exists("what an earlier run of larder left", earlier)
            .hint("--force")
            .calls(1, 1),
        exists("a link to a file", |bench| {
            write(bench.path("file"), "of the user\n");
            symlink("file", bench.path("out")).unwrap();
        }),
        exists("a link to nowhere", |bench| {
            symlink("nowhere", bench.path("out")).unwrap();
        }),
        Failing::new("a link to itself", 8, "io")
            .when(|bench| {
                web(bench);
                symlink("out", bench.path("out")).unwrap();
            })
            .hint("too many symbolic links")
            .calls(0, 0),
        exists("a link to a directory that holds something", |bench| {
            fs::create_dir(bench.path("real")).unwrap();
            write(bench.path("real/precious"), "of the user\n");
            symlink("real", bench.path("out")).unwrap();
        })
        .with(&["--force"]),
        exists("a socket", |bench| {
            std::os::unix::net::UnixListener::bind(bench.path("out")).unwrap();
        })
        .with(&["--force"]),
        exists("the root of the file system", |_| {})
            .run(&["fetch", "web", "/"])
            .with(&["--force"])
            .says(&["/"]),
        exists("the directory above, with the work in it", full)
            .run(&["fetch", "web", "."])
            .says(&["."]),
        Failing::new("a part of the path is a file", 8, "io")
            .when(|bench| {
                web(bench);
                write(bench.path("file"), "of the user\n");
            })
            .run(&["fetch", "web", "file/out"])
            .says(&["file"])
            .hint("choose another destination")
            .calls(0, 0),
        Failing::new("a name that is too long", 8, "io")
            .when(web)
            .run(&["fetch", "web", &long])
            .hint("shorter")
            .calls(0, 0),
        Failing::new("empty DEST", 2, "usage")
            .when(web)
            .run(&["fetch", "web", ""])
            .calls(0, 0),
        Failing::new("a broken record, --update", 2, "usage")
            .when(|bench| {
                web(bench);
                fs::create_dir(bench.path("out")).unwrap();
                write(bench.path("out/larder.json"), "{\"schema_version\": 1");
            })
            .with(&["--update"])
            .says(&["larder.json"])
            .hint("--force")
            .calls(0, 0),
        Failing::new("a record of a later version, --update", 2, "usage")
            .when(|bench| {
                web(bench);
                fs::create_dir(bench.path("out")).unwrap();
                write(bench.path("out/larder.json"), "{\"schema_version\": 99}");
            })
            .with(&["--update"])
            .says(&["99"])
            .hint("newer")
            .calls(0, 0),
        Failing::new(
            "the record of another function, --update",
            8,
            "destination_exists",
        )
        .when(|bench| {
            web(bench);
            bench.aws.function("api").zip(package(2, 4000)).create();
            bench.run(&["fetch", "api", "out"]).expect(0);
        })
        .with(&["--update"])
        .says(&["another function", "function:api"])
        .hint("--force")
        .calls(2, 1),
        Failing::new(
            "the record of another version, --update",
            8,
            "destination_exists",
        )
        .when(|bench| {
            planted(bench, "web")
                .zip(package(1, 4000))
                .publish()
                .create();
            bench.run(&["fetch", "web:1", "out"]).expect(0);
        })
        .with(&["--update"])
        .says(&["another"])
        .calls(2, 1),
    ]
}

#[test]
fn a_destination_that_is_taken_stays_as_it_is() {
    all(&destinations());
}

#[test]
fn a_destination_that_may_not_be_written() {
    // As another user: for root nothing is forbidden.
    let cases: [(&str, u32, &[&str]); 3] = [
        ("parent", 0o555, &["fetch", "web", "parent/out"]),
        ("deeper", 0o555, &["fetch", "web", "deeper/new/out"]),
        ("hidden", 0o000, &["fetch", "web", "hidden/out"]),
    ];
    each(
        &cases,
        |case| case.0.to_owned(),
        |(name, mode, arguments)| {
            let bench = Bench::new();
            web(&bench);
            fs::set_permissions(bench.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            fs::create_dir(bench.path(name)).unwrap();
            fs::set_permissions(bench.path(name), fs::Permissions::from_mode(*mode)).unwrap();
            let before = snapshot(bench.dir.path());
            for json in [false, true] {
                let mut command = bench.command(arguments);
                if json {
                    command.args(["--output", "json"]);
                }
                let ran = run(&mut as_nobody(&command)).expect(8).says(&[name]);
                harmless(&ran);
                if json {
                    let error = ran.json_error();
                    assert_eq!(
                        (&error["kind"], &error["exit_code"]),
                        (&json!("io"), &json!(8))
                    );
                    assert!(
                        error["hint"]
                            .as_str()
                            .is_some_and(|h| h.contains("who may write there")),
                        "{error}"
                    );
                }
            }
            assert_eq!(
                bench.aws.count("GetFunction"),
                0,
                "it is known before the first call"
            );
            assert_eq!(snapshot(bench.dir.path()), before);
            if !is_root() {
                fs::set_permissions(bench.path(name), fs::Permissions::from_mode(0o755)).unwrap();
            }
        },
    );
}

#[test]
fn a_file_system_that_is_full_or_closed() {
    struct Case {
        name: &'static str,
        options: &'static str,
        script: &'static str,
        arguments: &'static [&'static str],
        kind: &'static str,
        hint: &'static str,
        left: &'static [&'static str],
    }
    let base = Case {
        name: "",
        options: "size=64k",
        script: ":",
        arguments: &["fetch", "web", "out"],
        kind: "disk_full",
        hint: "free some space",
        left: &[],
    };
    let cases = [
        Case {
            name: "full while downloading",
            ..base
        },
        Case {
            name: "full while unpacking",
            options: "size=1200k",
            ..base
        },
        Case {
            name: "full while the records are written",
            options: "size=984k",
            arguments: &["fetch", "web", "out", "--no-unpack"],
            ..base
        },
        Case {
            name: "full, with an earlier record",
            script: "mkdir out; echo {} > out/larder.json",
            arguments: &["fetch", "web", "out", "--force"],
            left: &["out", "out/larder.json"],
            ..base
        },
        Case {
            name: "missing parents go again",
            arguments: &["fetch", "web", "a/b/out"],
            ..base
        },
        Case {
            name: "no inodes at all",
            options: "size=8m,nr_inodes=2",
            script: "touch x",
            hint: "inodes",
            left: &["x"],
            ..base
        },
        Case {
            name: "no inodes while unpacking",
            options: "size=8m,nr_inodes=10",
            ..base
        },
        Case {
            name: "read-only",
            script: "mount -o remount,ro,bind .",
            kind: "io",
            hint: "read-only",
            ..base
        },
    ];
    each(
        &cases,
        |case| case.name.to_owned(),
        |case| {
            let bench = Bench::new();
            planted(&bench, "web").zip(package(1, 1_000_000)).create();
            for json in [false, true] {
                let mut arguments = case.arguments.to_vec();
                if json {
                    arguments.extend(["--output", "json"]);
                }
                let Some((ran, left)) = on_tmpfs(&bench, case.options, case.script, &arguments)
                else {
                    return;
                };
                let ran = ran.expect(8);
                harmless(&ran);
                assert_eq!(
                    left, case.left,
                    "left in the file system; stderr:\n{}",
                    ran.stderr
                );
                if json {
                    let error = ran.json_error();
                    assert_eq!(error["kind"], case.kind, "{error}");
                    assert!(
                        error["hint"]
                            .as_str()
                            .is_some_and(|h| h.contains(case.hint)),
                        "{error}"
                    );
                }
            }
            // With room enough the same succeeds, so it was the file system and nothing else.
            if case.kind == "disk_full" {
                let (ran, left) =
                    on_tmpfs(&bench, "size=8m", "rm -rf out", case.arguments).expect("as before");
                ran.expect(0);
                assert!(
                    left.iter().any(|name| name.ends_with("out/larder.json")),
                    "{left:?}"
                );
            }
        },
    );
}

#[test]
fn an_update_on_a_full_file_system_needs_no_room_and_downloads_only_what_it_must() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 1_000_000)).create();
    bench.run(&["fetch", "web", "out"]).expect(0);
    let copy = format!("cp -a '{}' out", bench.path("out").display());
    let arguments = ["fetch", "web", "out", "--update", "--output", "json"];
    // 2 MB are there, and less than a package's length is free.
    let Some((ran, left)) = on_tmpfs(&bench, "size=2200k", &copy, &arguments) else {
        return;
    };
    assert_eq!(ran.expect(0).json()["status"], "unchanged");
    assert!(
        left.iter()
            .all(|name| name == "out" || name.starts_with("out/")),
        "{left:?}"
    );
    assert_eq!(bench.aws.count("GetObject"), 1);
    // What has to be made anew needs room, and says so; what is there stays.
    let damaged = format!("{copy}; echo x > out/code/index.mjs");
    let (ran, _) = on_tmpfs(&bench, "size=2200k", &damaged, &arguments).expect("as before");
    let ran = ran.expect(8);
    assert_eq!(ran.json_error()["kind"], "disk_full");
    assert!(!ran.stderr.contains("fetched again"), "{}", ran.stderr);
    assert_eq!(bench.aws.count("GetObject"), 1);
}

/// What Lambda states about the package.
fn statements() -> Vec<Failing> {
    let zip = package(1, 4000);
    let mut flipped = code_sha256(&zip).into_bytes();
    // The first character holds the six highest bits of the digest; the alphabet's neighbour differs in one of them.
    flipped[0] = if flipped[0] == b'A' {
        b'B'
    } else {
        flipped[0] ^ 1
    };
    let flipped = String::from_utf8(flipped).unwrap();
    let truth = code_sha256(&zip);
    let digest = |name: &str, value: Value| {
        Failing::new(format!("CodeSha256 {name}"), 1, "mismatch")
            .when(move |bench| {
                let value = value.clone();
                planted(bench, "web")
                    .zip(package(1, 4000))
                    .set("CodeSha256", value)
                    .create();
            })
            .says(&["CodeSha256"])
            .hint("verified")
            .calls(1, 0)
    };
    let size = |name: &str, value: Value| {
        Failing::new(format!("CodeSize {name}"), 1, "mismatch").when(move |bench| {
            let value = value.clone();
            planted(bench, "web")
                .zip(package(1, 4000))
                .set("CodeSize", value)
                .create();
        })
    };
    vec![
        digest("no base64", json!("this is not base64!")),
        digest("of another length", json!("YWJj")),
        digest("without padding", json!(truth.trim_end_matches('='))),
        digest(
            "url-safe",
            json!("ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSLs="),
        ),
        digest("in hex", json!(OTHER_HEX)),
        digest("empty", json!("")),
        digest("null", Value::Null),
        digest("a number", json!(7)),
        digest("with a line break", json!(format!("{truth}\n"))),
        Failing::new("CodeSha256 missing", 1, "mismatch")
            .when(|bench| {
                let function = planted(bench, "web").zip(package(1, 4000)).create();
                function.patch(|answer| {
                    answer["Configuration"]
                        .as_object_mut()
                        .unwrap()
                        .remove("CodeSha256");
                });
            })
            .says(&["CodeSha256"])
            .hint("verified")
            .calls(1, 0),
        Failing::new("CodeSha256 one bit off", 1, "mismatch")
            .when({
                let flipped = flipped.clone();
                move |bench| {
                    planted(bench, "web")
                        .zip(package(1, 4000))
                        .code_sha256(&flipped)
                        .create();
                }
            })
            .says(&[&truth, &flipped])
            .calls(3, 2),
        size("one too many", json!(zip.len() + 1))
            .says(&[&zip.len().to_string(), &(zip.len() + 1).to_string()]),
        size("one too few", json!(zip.len() - 1))
            .says(&[&zip.len().to_string(), &(zip.len() - 1).to_string()]),
        size("zero", json!(0)),
        size("negative", json!(-1)).says(&["CodeSize"]),
        size("a text", json!("4000")).says(&["CodeSize"]),
        size("null", Value::Null).says(&["CodeSize"]),
        size("a fraction", json!(0.5)).says(&["CodeSize"]),
    ]
}

#[test]
fn statements_that_verify_nothing() {
    all(&statements());
}

/// Where Lambda says that the package is.
fn locations() -> Vec<Failing> {
    let no_code = |name: &str, location: Option<&'static str>| {
        Failing::new(format!("Location {name}"), 6, "no_code")
            .when(move |bench| {
                planted(bench, "web")
                    .zip(package(1, 4000))
                    .location(location)
                    .create();
            })
            .calls(1, 0)
    };
    let patched = |name: &str, change: fn(&mut Value)| {
        Failing::new(name, 6, "no_code")
            .when(move |bench| {
                planted(bench, "web")
                    .zip(package(1, 4000))
                    .create()
                    .patch(change);
            })
            .calls(1, 0)
    };
    let unreachable = |name: &str, location: &'static str| {
        Failing::new(format!("Location {name}"), 6, "network").when(move |bench| {
            planted(bench, "web")
                .zip(package(1, 4000))
                .location(Some(location))
                .create();
        })
    };
    vec![
        no_code("missing", None)
            .says(&["no place where the code is"])
            .hint("created or deleted"),
        no_code(
            "s3",
            Some("s3://bucket/key?X-Amz-Signature=LARDERSECRETMARKER"),
        )
        .says(&["\"s3\""]),
        no_code("file", Some("file:///etc/passwd")).says(&["\"file\""]),
        no_code("ftp", Some("ftp://127.0.0.1/x")).says(&["\"ftp\""]),
        no_code("data", Some("data:application/zip;base64,UEsFBg==")).says(&["\"data\""]),
        no_code("no URL", Some("LARDERSECRETMARKER")).says(&["no URL"]),
        no_code("empty", Some("")).says(&["no URL"]),
        no_code(
            "without a host",
            Some("https:///?X-Amz-Signature=LARDERSECRETMARKER"),
        ),
        patched("Location is a number", |answer| {
            answer["Code"]["Location"] = json!(7);
        }),
        patched("Code is null", |answer| answer["Code"] = Value::Null),
        patched("Code is empty", |answer| answer["Code"] = json!({})),
        patched("Code is a text", |answer| answer["Code"] = json!("x")),
        patched("no Code", |answer| {
            answer.as_object_mut().unwrap().remove("Code");
        }),
        unreachable(
            "where nobody listens",
            "http://127.0.0.1:1/x?X-Amz-Signature=LARDERSECRETMARKER",
        )
        .says(&["127.0.0.1"])
        .hint("127.0.0.1"),
        unreachable(
            "that does not resolve",
            "https://bucket.invalid/x?X-Amz-Signature=LARDERSECRETMARKER",
        )
        .says(&["bucket.invalid"])
        .hint("bucket.invalid"),
    ]
}

#[test]
fn locations_that_lead_nowhere() {
    all(&locations());
}

/// What comes from the location in the place of the package, each time.
fn bodies() -> Vec<Failing> {
    let size = package(1, 4000).len();
    let body = |name: &str, code: i32, kind: &'static str, fault: Fault| {
        Failing::new(format!("body {name}"), code, kind).when(move |bench| {
            web(bench);
            bench.aws.fault(On::Object.always(), fault.clone());
        })
    };
    let wrong = |name: &str, fault: Fault| {
        body(name, 1, "mismatch", fault)
            .hint("nothing was kept")
            .calls(3, 2)
    };
    let redirect = |to: &str| Fault::Redirect {
        status: 302,
        to: to.to_owned(),
    };
    vec![
        wrong("an HTML page", Fault::html()).says(&["text/html", &size.to_string()]),
        wrong("an XML error with 200", Fault::xml_with_200()).says(&["application/xml"]),
        wrong("empty", Fault::empty()).says(&["0 bytes"]),
        wrong(
            "short",
            Fault::Shorter {
                by: 1,
                honest: true,
            },
        )
        .says(&[&(size - 1).to_string()]),
        wrong(
            "long",
            Fault::Longer {
                by: 1,
                honest: true,
            },
        )
        .says(&[&(size + 1).to_string()]),
        wrong("one bit off", Fault::flip(2000))
            .says(&[&code_sha256(&package(1, 4000)), "a second"]),
        wrong(
            "empty and without a length",
            Fault::Page {
                status: 200,
                content_type: "text/html".into(),
                body: b"".as_slice().into(),
            },
        ),
        body(
            "shorter than Content-Length",
            6,
            "transfer",
            Fault::Shorter {
                by: 1,
                honest: false,
            },
        )
        .hint(""),
        body(
            "404",
            5,
            "not_found",
            Fault::S3(larder_testkit::S3Error::NoSuchKey),
        )
        .says(&["NoSuchKey"])
        .calls(2, 2),
        body(
            "an HTML page with 404",
            5,
            "not_found",
            Fault::Page {
                status: 404,
                content_type: "text/html".into(),
                body: b"<h1>404</h1>".as_slice().into(),
            },
        )
        .says(&["404"]),
        body(
            "418",
            6,
            "transfer",
            Fault::Page {
                status: 418,
                content_type: "text/plain".into(),
                body: b"I am\x1b[31m a teapot".as_slice().into(),
            },
        )
        .says(&["418"])
        .calls(1, 1),
        body(
            "204",
            6,
            "transfer",
            Fault::Page {
                status: 204,
                content_type: "text/plain".into(),
                body: b"".as_slice().into(),
            },
        )
        .says(&["204"]),
        body(
            "304",
            6,
            "transfer",
            Fault::Page {
                status: 304,
                content_type: "text/plain".into(),
                body: b"".as_slice().into(),
            },
        )
        .says(&["304"]),
        body(
            "407",
            6,
            "network",
            Fault::Page {
                status: 407,
                content_type: "text/plain".into(),
                body: b"".as_slice().into(),
            },
        )
        .hint("HTTPS_PROXY"),
        body("a redirect loop", 6, "transfer", Fault::RedirectLoop)
            .says(&["redirect"])
            .calls(1, 6),
        body(
            "a redirect to a file",
            6,
            "transfer",
            redirect("file:///etc/passwd"),
        )
        .says(&["redirect", "file"])
        .calls(1, 1),
        body(
            "a redirect to ftp",
            6,
            "transfer",
            redirect("ftp://127.0.0.1/x"),
        )
        .says(&["ftp"])
        .calls(1, 1),
        body(
            "a redirect to s3",
            6,
            "transfer",
            redirect("s3://bucket/key?X-Amz-Signature=LARDERSECRETMARKER"),
        )
        .says(&["s3"])
        .calls(1, 1),
        body(
            "a redirect to what is no URL",
            6,
            "transfer",
            redirect("http://[LARDERSECRETMARKER"),
        )
        .says(&["no URL"]),
        body(
            "a redirect without Location",
            6,
            "transfer",
            Fault::Page {
                status: 302,
                content_type: "text/plain".into(),
                body: b"".as_slice().into(),
            },
        )
        .says(&["Location"]),
        body(
            "a redirect to where nobody listens",
            6,
            "network",
            redirect("http://127.0.0.1:1/x?X-Amz-Signature=LARDERSECRETMARKER"),
        )
        .says(&["127.0.0.1"]),
        body(
            "what is no HTTP",
            6,
            "transfer",
            Fault::Header("Content-Length".into(), "many".into()),
        ),
    ]
}

#[test]
fn bodies_that_are_not_the_package() {
    all(&bodies());
}

/// What `GetFunction` answers, each time.
fn answers() -> Vec<Failing> {
    let raw = |name: &str, body: &'static [u8]| {
        Failing::new(format!("GetFunction answers {name}"), 6, "service")
            .when(move |bench| {
                planted(bench, "web")
                    .zip(package(1, 4000))
                    .create()
                    .raw(body);
            })
            .says(&["GetFunction", "no usable answer"])
            .calls(2, 0)
    };
    let patched = |name: &str, change: fn(&mut Value)| {
        Failing::new(format!("GetFunction answers {name}"), 6, "service")
            .when(move |bench| {
                planted(bench, "web")
                    .zip(package(1, 4000))
                    .create()
                    .patch(change);
            })
            .says(&["web"])
    };
    vec![
        Failing::new("GetFunction's JSON is cut", 6, "service")
            .when(|bench| {
                web(bench);
                bench.aws.fault(On::GetFunction.always(), Fault::CutBody(700));
            })
            .says(&["no JSON"])
            .calls(2, 0),
        raw("no JSON", b"upstream connect error"),
        raw("HTML", b"<!DOCTYPE html><title>Sign in</title>"),
        raw("nothing", b""),
        raw("a list", b"[]"),
        raw("a text", b"\"LARDERENVIRONMENTVALUE\""),
        raw("what is not UTF-8", b"{\"Configuration\": \"\xff\xfe\"}"),
        raw("JSON twice", b"{} {}"),
        raw("a cut text", b"{\"Configuration\": {\"Environment\": {\"Variables\": {\"A\": \"LARDERENVIRONMENTVALUE"),
        patched("without Configuration", |answer| {
            answer.as_object_mut().unwrap().remove("Configuration");
        })
        .says(&["Configuration"]),
        patched("Configuration null", |answer| answer["Configuration"] = Value::Null).says(&["Configuration"]),
        patched("Configuration a list", |answer| answer["Configuration"] = json!([])).says(&["Configuration"]),
    ]
}

#[test]
fn answers_that_are_none() {
    all(&answers());
}

/// What the user expects, of zips and of images.
fn expectations() -> Vec<Failing> {
    let image = |bench: &Bench| {
        planted(bench, "web").image(IMAGE, DIGEST).create();
    };
    let wrong = |name: &str, digest: &str| {
        Failing::new(format!("--expect-sha256 {name}"), 1, "mismatch")
            .with(&["--expect-sha256", digest])
            .says(&["expect"])
            .calls(1, 0)
    };
    let malformed = |digest: &str| {
        Failing::new(format!("--expect-sha256 {digest:?}"), 2, "usage")
            .when(web)
            .with(&["--expect-sha256", digest])
            .says(&["--expect-sha256"])
            .calls(0, 0)
    };
    vec![
        wrong("another, in base64", OTHER_BASE64)
            .when(web)
            .says(&[OTHER_BASE64])
            .hint("nothing was downloaded"),
        wrong("another, in hex", OTHER_HEX)
            .when(web)
            .says(&[OTHER_BASE64])
            .hint("nothing was downloaded"),
        wrong("another image, in hex", OTHER_HEX)
            .when(image)
            .says(&[OTHER_HEX, &DIGEST[7..]]),
        wrong("another image, in base64", OTHER_BASE64)
            .when(image)
            .says(&[OTHER_HEX, &DIGEST[7..]]),
        wrong("an image whose digest is not stated", OTHER_HEX)
            .when(|bench| {
                planted(bench, "web")
                    .image(IMAGE, DIGEST)
                    .create()
                    .patch(|answer| {
                        answer["Code"]
                            .as_object_mut()
                            .unwrap()
                            .remove("ResolvedImageUri");
                    });
            })
            .says(&["not stated"]),
        malformed(""),
        malformed("abc"),
        malformed(&OTHER_HEX[1..]),
        malformed(&OTHER_BASE64[1..]),
        malformed("zz978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        Failing::new("an image whose digest differs", 1, "mismatch")
            .when(|bench| {
                planted(bench, "web")
                    .image(IMAGE, DIGEST)
                    .code_sha256(OTHER_HEX)
                    .create();
            })
            .says(&[OTHER_HEX, &DIGEST[7..]])
            .hint("nothing was recorded")
            .calls(1, 0),
        Failing::new("an image whose CodeSha256 is no digest", 1, "mismatch")
            .when(|bench| {
                planted(bench, "web")
                    .image(IMAGE, DIGEST)
                    .code_sha256("latest")
                    .create();
            })
            .says(&["latest"])
            .calls(1, 0),
        Failing::new("an image digest of another algorithm", 1, "mismatch")
            .when(|bench| {
                planted(bench, "web").image(IMAGE, "sha512:00").create();
            })
            .says(&["sha512:00"])
            .calls(1, 0),
        Failing::new("an image digest that is cut", 1, "mismatch")
            .when(|bench| {
                planted(bench, "web").image(IMAGE, &DIGEST[..70]).create();
            })
            .calls(1, 0),
        Failing::new("an image function without image", 6, "no_code")
            .when(|bench| {
                planted(bench, "web")
                    .image(IMAGE, DIGEST)
                    .create()
                    .patch(|answer| {
                        answer["Code"] = json!({"RepositoryType": "ECR"});
                    });
            })
            .calls(1, 0),
    ]
}

#[test]
fn expectations_that_are_not_met() {
    all(&expectations());
}

#[test]
fn an_image_without_a_stated_digest_is_recorded_with_a_warning() {
    for field in ["ResolvedImageUri", "CodeSha256"] {
        let bench = Bench::new();
        planted(&bench, "web")
            .image(IMAGE, DIGEST)
            .create()
            .patch(move |answer| {
                for part in ["Code", "Configuration"] {
                    answer[part].as_object_mut().unwrap().shift_remove(field);
                }
            });
        let ran = bench
            .run(&["fetch", "web", "out"])
            .expect(0)
            .says(&["warning: ", "digest"]);
        harmless(&ran);
        let record = bench.record("out");
        assert_eq!(
            (&record["status"], &record["package"]),
            (&json!("image"), &Value::Null),
            "{field}"
        );
        assert_eq!(bench.names(), ["out"]);
    }
}

/// Packages that are authentic and hostile.
fn archives() -> Vec<Failing> {
    let refused = |name: &str, kind: &'static str, zip: Vec<u8>| {
        Failing::new(format!("archive {name}"), 7, kind)
            .when(move |bench| {
                planted(bench, "web").zip(zip.clone()).create();
            })
            .hint("--no-unpack")
            .calls(1, 1)
    };
    let escapes = ZipBuilder::new()
        .file("a", "1")
        .file("../../evil", "2")
        .build();
    vec![
        refused("with a path that leads out", "archive_unsafe", escapes).says(&["../../evil"]),
        refused(
            "with an absolute path",
            "archive_unsafe",
            ZipBuilder::new().file("/tmp/evil", "2").build(),
        )
        .says(&["/tmp/evil"]),
        refused(
            "with a link that leads out and a file through it",
            "archive_unsafe",
            ZipBuilder::new()
                .symlink("dir", "/tmp")
                .file("dir/evil", "2")
                .build(),
        ),
        refused(
            "with a name that acts on a terminal",
            "archive_unsafe",
            ZipBuilder::new()
                .file("../\u{1b}]0;owned\u{7}\u{202e}gpj", "2")
                .build(),
        )
        .says(&["u{1b}"]),
        refused("cut in the middle", "archive_broken", {
            let zip = package(1, 4000);
            zip[..zip.len() / 2].to_vec()
        }),
        refused(
            "that is none",
            "archive_broken",
            b"#!/bin/sh\necho no zip\n".to_vec(),
        ),
        refused("of no bytes", "archive_broken", Vec::new()),
        refused(
            "with more than --max-unpacked-size",
            "archive_unsafe",
            package(1, 4000),
        )
        .with(&["--max-unpacked-size", "3999"])
        .says(&["3999"])
        .hint("--max-unpacked-size"),
    ]
}

#[test]
fn hostile_archives_are_refused_whole() {
    all(&archives());
}

#[test]
fn a_package_at_hand_that_cannot_be_read() {
    let bench = Bench::new();
    fs::write(bench.path("secret.zip"), package(1, 100)).unwrap();
    fs::set_permissions(bench.path("secret.zip"), fs::Permissions::from_mode(0o0)).unwrap();
    fs::create_dir(bench.path("dir")).unwrap();
    fs::create_dir(bench.path("dir.zip")).unwrap();
    fs::set_permissions(bench.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let before = snapshot(bench.dir.path());
    for (name, hint) in [
        ("secret.zip", "who may read"),
        ("none.zip", "check the path"),
        ("none", "check the path"),
        ("secret.zip/x", "check the path"),
        // What is wrong with the package is told before a destination that does not follow from its name.
        ("dir", "name a file"),
        ("dir.zip", "name a file"),
    ] {
        let arguments = ["unpack", name, "--output", "json"];
        let ran = run(&mut as_nobody(&bench.command(&arguments))).expect(8);
        let error = ran.json_error();
        assert_eq!(error["subject"], name, "{error}");
        let said = error["hint"].as_str().unwrap_or_default();
        assert!(
            said.contains(hint) && !said.contains("write"),
            "{name}: {error}"
        );
        assert_eq!(snapshot(bench.dir.path()), before);
    }
}

#[test]
fn without_unpacking_a_hostile_archive_is_kept_as_it_is() {
    let cases = archives();
    each(
        &cases,
        |case| case.name.clone(),
        |case| {
            if case.name.contains("no bytes") {
                return;
            }
            let bench = Bench::new();
            case.arrange(&bench);
            let ran = bench.run(&["fetch", "web", "out", "--no-unpack"]).expect(0);
            harmless(&ran);
            assert_eq!(bench.names(), ["out"]);
            let record = bench.record("out");
            assert_eq!(record["unpacked"], Value::Null);
            let kept = fs::read(bench.path("out/package.zip")).unwrap();
            assert_eq!(record["package"]["code_sha256"], code_sha256(&kept));
            assert!(!bench.path("out/code").exists());
        },
    );
}

#[test]
fn names_that_are_not_text_are_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let bench = Bench::new();
    let mut command = bench.command(&["fetch"]);
    command.arg(std::ffi::OsStr::from_bytes(b"w\xffb\x1b"));
    let ran = run(&mut command).expect(2);
    harmless(&ran);
    // A destination is a path, and any bytes will do.
    planted(&bench, "web")
        .zip(packages::native_package().zip())
        .create();
    let mut command = bench.command(&["fetch", "web", "--output", "json"]);
    command.arg(std::ffi::OsStr::from_bytes(b"o\xff\x1b"));
    let ran = run(&mut command).expect(0);
    harmless(&ran);
    let dest = bench.path(std::ffi::OsStr::from_bytes(b"o\xff\x1b"));
    assert!(dest.join("larder.json").is_file());
}
