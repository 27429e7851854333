//! What each option of `larder fetch` does, seen from outside: on disk, on the wire, on stdout and stderr.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "tests may panic, and a table is as long as what it lists"
)]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Stdio;

use larder_testkit::zip::ZipBuilder;
use larder_testkit::{Fault, LambdaError, On, code_sha256, packages};
use serde_json::{Value, json};

use crate::harness::{Bench, Ran, finish, holds, json as read_json, names, run, write};
use crate::proof::{ENV_VALUE, contents, each, harmless, mode, package, planted, snapshot};

const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/app:7";
const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const OTHER: &str = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

/// A bench with `web` fetched to `out`.
fn fetched() -> (Bench, larder_testkit::Function) {
    let bench = Bench::new();
    let function = planted(&bench, "web").zip(package(1, 4000)).create();
    bench.run(&["fetch", "web", "out"]).expect(0);
    (bench, function)
}

fn calls(bench: &Bench) -> (usize, usize) {
    (bench.aws.count("GetFunction"), bench.aws.count("GetObject"))
}

#[track_caller]
fn holds_package(bench: &Bench, dest: &str, zip: &[u8]) {
    assert_eq!(
        fs::read(bench.path(dest).join("package.zip")).unwrap(),
        zip,
        "{dest}/package.zip"
    );
    let record = bench.record(dest);
    assert_eq!(record["package"]["code_sha256"], code_sha256(zip), "{dest}");
    let function = read_json(&bench.path(dest).join("function.json"));
    assert_eq!(
        function["Configuration"]["CodeSha256"],
        code_sha256(zip),
        "{dest}"
    );
}

/// `data.bin` of a package made by [`package`] lies in `code/` as it was zipped.
#[track_caller]
fn holds_code(bench: &Bench, dest: &str, seed: u64) {
    let code = contents(&bench.path(dest).join("code"));
    let names: Vec<&str> = code.keys().map(String::as_str).collect();
    assert_eq!(names, ["bin/run", "data.bin", "index.mjs"], "{dest}");
    assert_eq!(
        code["index.mjs"],
        format!("export const seed = {seed};\n").into_bytes()
    );
    let zip = package(seed, code["data.bin"].len());
    assert!(
        zip.windows(code["data.bin"].len())
            .any(|w| w == code["data.bin"]),
        "{dest}: data.bin"
    );
    assert_eq!(mode(&bench.path(dest).join("code/bin/run")), 0o755);
}

#[test]
fn force_replaces_what_larder_made() {
    let (bench, function) = fetched();
    write(bench.path("out/code/added-by-hand"), "x");
    function.update_code(package(2, 5000));
    let ran = bench.run(&["fetch", "web", "out", "--force"]).expect(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(bench.names(), ["out"]);
    holds_package(&bench, "out", &package(2, 5000));
    holds_code(&bench, "out", 2);
    assert_eq!(calls(&bench), (2, 2));
    // Where nothing is, there is nothing to force.
    bench.run(&["fetch", "web", "new", "--force"]).expect(0);
    assert_eq!(bench.names(), ["new", "out"]);
}

#[test]
fn force_may_replace_another_function() {
    let (bench, _) = fetched();
    planted(&bench, "api").zip(package(3, 100)).create();
    bench.run(&["fetch", "api", "out", "--force"]).expect(0);
    holds_code(&bench, "out", 3);
    assert_eq!(bench.record("out")["function"]["name"], "api");
}

#[test]
fn a_failure_leaves_the_earlier_record_byte_for_byte() {
    type Happens = fn(&Bench, &larder_testkit::Function);
    let cases: Vec<(&str, i32, Happens)> = vec![
        ("denied", 4, |bench, _| {
            bench.aws.fault(
                On::GetFunction.always(),
                Fault::access_denied("lambda:GetFunction"),
            );
        }),
        ("gone", 5, |_, function| function.delete()),
        ("service fault", 6, |bench, _| {
            bench
                .aws
                .fault(On::GetFunction.always(), Fault::service_exception());
        }),
        ("broken off", 6, |bench, function| {
            function.update_code(package(2, 5000));
            bench.aws.fault(On::Object.always(), Fault::rst(0));
        }),
        ("another package", 1, |bench, function| {
            function.update_code(package(2, 5000));
            bench.aws.fault(On::Object.always(), Fault::flip(99));
        }),
        ("hostile", 7, |_, function| {
            function.update_code(ZipBuilder::new().file("../x", "1").build());
        }),
        ("no code", 6, |_, function| {
            function.patch(|answer| answer["Code"] = json!({}));
        }),
    ];
    let cases: Vec<_> = cases
        .into_iter()
        .flat_map(|case| [(case, "--force"), (case, "--update")])
        .collect();
    each(
        &cases,
        |((name, ..), option)| format!("{name} {option}"),
        |((_, code, fault), option)| {
            let (bench, function) = fetched();
            fault(&bench, &function);
            let before = snapshot(bench.dir.path());
            let ran = bench
                .run(&[
                    "fetch",
                    "web",
                    "out",
                    option,
                    "--max-attempts",
                    "2",
                    "--read-timeout",
                    "1s",
                ])
                .expect(*code);
            harmless(&ran);
            assert_eq!(snapshot(bench.dir.path()), before);
        },
    );
}

#[test]
fn update_without_a_change_downloads_nothing() {
    let (bench, _) = fetched();
    let before = contents(&bench.path("out/code"));
    let ran = bench
        .run(&["fetch", "web", "out", "--update", "--output", "json"])
        .expect(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.json()["status"], "unchanged");
    assert_eq!(ran.json(), bench.record("out"));
    assert_eq!(calls(&bench), (2, 1));
    assert_eq!(contents(&bench.path("out/code")), before);
    assert_eq!(bench.names(), ["out"]);
    // And in words.
    let ran = bench.run(&["fetch", "web", "out", "--update"]).expect(0);
    assert!(ran.stdout.starts_with("unchanged web"), "{}", ran.stdout);
    assert!(ran.stdout.contains("nothing downloaded"), "{}", ran.stdout);
    holds_package(&bench, "out", &package(1, 4000));
}

/// Verified where it lies: no file is made, replaced or touched but the record.
#[test]
fn update_without_a_change_makes_nothing() {
    let bench = Bench::new();
    let layer = bench
        .aws
        .layer("l")
        .zip(packages::layer_package().zip())
        .create();
    planted(&bench, "web")
        .zip(package(1, 4000))
        .layer(&layer)
        .create();
    for extra in [&[][..], &["--no-unpack"], &["--layers"]] {
        let dest = format!("out{}", extra.len() + extra.concat().len());
        let mut arguments = vec!["fetch", "web", &dest];
        arguments.extend(extra);
        bench.run(&arguments).expect(0);
        let mut before = snapshot(bench.dir.path());
        let calls = bench.aws.requests().len();
        arguments.extend(["--update", "--output", "json"]);
        let ran = bench.run(&arguments).expect(0);
        assert_eq!(ran.stderr, "");
        assert_eq!(ran.json()["status"], "unchanged");
        assert_eq!(ran.json(), bench.record(&dest));
        assert_eq!(bench.aws.requests().len(), calls + 1, "GetFunction alone");
        let mut after = snapshot(bench.dir.path());
        let record = format!("{dest}/larder.json");
        assert_ne!(before.remove(&record), after.remove(&record));
        assert_eq!(before, after);
        // The long way: the same record, and what is missing or was forged is put right.
        if extra == ["--no-unpack"] {
            continue;
        }
        let mut forged = bench.record(&dest);
        fs::write(bench.path(&dest).join("code/index.mjs"), "forged").unwrap();
        let nodes = forged["unpacked"]["tree"].take();
        forged["unpacked"]["tree"] = nodes.as_str().map(|t| t.replace("t1:", "t1:A")).into();
        forged["unpacked"]["files"] = json!(77);
        fs::write(bench.path(&record), forged.to_string()).unwrap();
        bench.run(&arguments).expect(0);
        assert_eq!(bench.record(&dest)["unpacked"]["files"], 3);
        holds_code(&bench, &dest, 1);
    }
}

#[test]
fn update_brings_what_changed() {
    let (bench, function) = fetched();
    function.update_code(package(2, 5000));
    function.set("Description", json!("second"));
    let ran = bench
        .run(&["fetch", "web", "out", "--update", "--output", "json"])
        .expect(0);
    assert_eq!(ran.json()["status"], "saved");
    assert_eq!(calls(&bench), (2, 2));
    holds_package(&bench, "out", &package(2, 5000));
    holds_code(&bench, "out", 2);
    // Only the configuration: the package stays, function.json follows.
    function.set("Description", json!("third"));
    bench.run(&["fetch", "web", "out", "--update"]).expect(0);
    assert_eq!(calls(&bench), (3, 2));
    let answer = read_json(&bench.path("out/function.json"));
    assert_eq!(answer["Configuration"]["Description"], "third");
    assert_eq!(bench.names(), ["out"]);
}

#[test]
fn update_makes_what_is_not_there() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    fs::create_dir(bench.path("empty")).unwrap();
    for dest in ["absent", "empty"] {
        let ran = bench
            .run(&["fetch", "web", dest, "--update", "--output", "json"])
            .expect(0);
        assert_eq!(ran.json()["status"], "saved", "{dest}");
        holds_package(&bench, dest, &package(1, 4000));
    }
}

#[test]
fn update_puts_local_damage_right_and_says_so() {
    struct Case {
        name: &'static str,
        damage: fn(&Bench),
        /// Whether the package had to be downloaded again.
        again: bool,
        says: &'static [&'static str],
    }
    fn damage(bench: &Bench, name: &str, change: fn(Vec<u8>) -> Vec<u8>) {
        let path = bench.path("out").join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, change(bytes)).unwrap();
    }
    const PACKAGE: &[&str] = &["warning: ", "not what it was", "fetched again"];
    const CODE: &[&str] = &["warning: ", "changed here", "unpacked anew"];
    let cases = [
        Case {
            name: "a bit of package.zip",
            damage: |b| {
                damage(b, "package.zip", |mut z| {
                    z[2000] ^= 1;
                    z
                });
            },
            again: true,
            says: PACKAGE,
        },
        Case {
            name: "package.zip cut",
            damage: |b| {
                damage(b, "package.zip", |mut z| {
                    z.truncate(100);
                    z
                });
            },
            again: true,
            says: PACKAGE,
        },
        Case {
            name: "package.zip longer",
            damage: |b| {
                damage(b, "package.zip", |mut z| {
                    z.push(0);
                    z
                });
            },
            again: true,
            says: PACKAGE,
        },
        Case {
            name: "package.zip gone",
            damage: |b| fs::remove_file(b.path("out/package.zip")).unwrap(),
            again: true,
            says: PACKAGE,
        },
        Case {
            name: "package.zip a directory",
            damage: |b| {
                fs::remove_file(b.path("out/package.zip")).unwrap();
                fs::create_dir(b.path("out/package.zip")).unwrap();
            },
            again: true,
            says: PACKAGE,
        },
        Case {
            name: "package.zip a link to a device",
            damage: |b| {
                fs::remove_file(b.path("out/package.zip")).unwrap();
                symlink("/dev/zero", b.path("out/package.zip")).unwrap();
            },
            again: true,
            says: PACKAGE,
        },
        Case {
            name: "a file edited",
            damage: |b| damage(b, "code/index.mjs", |_| b"evil()".to_vec()),
            again: false,
            says: CODE,
        },
        Case {
            name: "a file added",
            damage: |b| {
                write(b.path("out/code/new"), "x");
            },
            again: false,
            says: CODE,
        },
        Case {
            name: "a file removed",
            damage: |b| fs::remove_file(b.path("out/code/data.bin")).unwrap(),
            again: false,
            says: CODE,
        },
        Case {
            name: "a mode changed",
            damage: |b| {
                fs::set_permissions(
                    b.path("out/code/bin/run"),
                    fs::Permissions::from_mode(0o644),
                )
                .unwrap();
            },
            again: false,
            says: CODE,
        },
        Case {
            name: "a link turned",
            damage: |b| {
                fs::remove_file(b.path("out/code/latest")).unwrap();
                symlink("/etc/passwd", b.path("out/code/latest")).unwrap();
            },
            again: false,
            says: CODE,
        },
        Case {
            name: "code/ gone",
            damage: |b| fs::remove_dir_all(b.path("out/code")).unwrap(),
            again: false,
            says: CODE,
        },
        Case {
            name: "function.json gone",
            damage: |b| fs::remove_file(b.path("out/function.json")).unwrap(),
            again: false,
            says: &[],
        },
    ];
    each(
        &cases,
        |case| case.name.to_owned(),
        |case| {
            let (bench, _) = fetched();
            (case.damage)(&bench);
            let ran = bench
                .run(&["fetch", "web", "out", "--update", "--output", "json"])
                .expect(0);
            harmless(&ran);
            let ran = ran.says(case.says);
            assert_eq!(calls(&bench), (2, if case.again { 2 } else { 1 }));
            assert_eq!(
                ran.json()["status"],
                if case.again { "saved" } else { "unchanged" }
            );
            holds_package(&bench, "out", &package(1, 4000));
            holds_code(&bench, "out", 1);
            assert_eq!(
                fs::read_link(bench.path("out/code/latest"))
                    .unwrap()
                    .to_str(),
                Some("index.mjs")
            );
            assert_eq!(bench.names(), ["out"]);
        },
    );
}

#[test]
fn update_trusts_no_record() {
    // A record that states another digest, and a package to match: still only what Lambda states counts.
    let (bench, _) = fetched();
    let forged = package(9, 4000);
    fs::write(bench.path("out/package.zip"), &forged).unwrap();
    let ran = bench.run(&["fetch", "web", "out", "--update"]).expect(0);
    assert!(ran.stderr.contains("not what it was"), "{}", ran.stderr);
    let mut record = bench.record("out");
    record["package"]["code_sha256"] = json!(code_sha256(&forged));
    fs::write(bench.path("out/package.zip"), &forged).unwrap();
    fs::write(bench.path("out/larder.json"), record.to_string()).unwrap();
    bench.run(&["fetch", "web", "out", "--update"]).expect(0);
    holds_package(&bench, "out", &package(1, 4000));
}

#[test]
fn update_of_images() {
    let bench = Bench::new();
    planted(&bench, "web").image(IMAGE, DIGEST).create();
    let status = |expected: &str| {
        let ran = bench
            .run(&["fetch", "web", "out", "--update", "--output", "json"])
            .expect(0);
        assert_eq!(ran.stderr, "");
        assert_eq!(ran.json()["status"], expected);
        assert_eq!(ran.json(), bench.record("out"));
        assert_eq!(bench.names(), ["out"]);
    };
    status("image");
    assert_eq!(names(&bench.path("out")), ["function.json", "larder.json"]);
    status("unchanged");
    planted(&bench, "web").image(IMAGE, OTHER).create();
    status("image");
    assert_eq!(bench.record("out")["image"]["digest"], OTHER);
    // The function becomes a zip, and an image again.
    planted(&bench, "web").zip(package(1, 4000)).create();
    status("saved");
    holds_code(&bench, "out", 1);
    planted(&bench, "web").image(IMAGE, OTHER).create();
    status("image");
    assert_eq!(names(&bench.path("out")), ["function.json", "larder.json"]);
    assert_eq!(calls(&bench), (5, 1));
}

#[test]
fn no_unpack_keeps_the_package_alone() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    bench.run(&["fetch", "web", "out", "--no-unpack"]).expect(0);
    assert_eq!(
        names(&bench.path("out")),
        ["function.json", "larder.json", "package.zip"]
    );
    assert_eq!(bench.record("out")["unpacked"], Value::Null);
    holds_package(&bench, "out", &package(1, 4000));
    // Updated without the option it is unpacked, and nothing is downloaded for that.
    bench.run(&["fetch", "web", "out", "--update"]).expect(0);
    holds_code(&bench, "out", 1);
    assert_eq!(calls(&bench), (2, 1));
}

#[test]
fn redact_env_keeps_names_and_no_value() {
    let bench = Bench::new();
    planted(&bench, "web")
        .env("EMPTY", "")
        .zip(package(1, 4000))
        .create();
    bench
        .run(&["fetch", "web", "out", "--redact-env"])
        .expect(0);
    let answer = read_json(&bench.path("out/function.json"));
    assert_eq!(
        answer["Configuration"]["Environment"]["Variables"],
        json!({"DATABASE_PASSWORD": null, "EMPTY": null})
    );
    assert_eq!(bench.record("out")["environment_redacted"], true);
    assert_eq!(
        holds(bench.dir.path(), ENV_VALUE, &[]),
        Vec::<std::path::PathBuf>::new()
    );
    // Without it the values are there: a backup without them is none.
    bench.run(&["fetch", "web", "full"]).expect(0);
    let answer = read_json(&bench.path("full/function.json"));
    assert_eq!(
        answer["Configuration"]["Environment"]["Variables"]["DATABASE_PASSWORD"],
        ENV_VALUE
    );
    assert_eq!(bench.record("full")["environment_redacted"], false);
}

#[test]
fn function_json_keeps_every_field() {
    let (bench, _) = fetched();
    let text = fs::read_to_string(bench.path("out/function.json")).unwrap();
    for part in [
        "FieldOfTheFuture",
        "18446744073709551615",
        "ConfigSha256",
        "2.5",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let location = read_json(&bench.path("out/function.json"))["Code"]["Location"].to_string();
    assert!(
        location.contains("versionId=") && !location.contains("X-Amz"),
        "{location}"
    );
}

#[test]
fn every_way_to_name_a_destination() {
    struct Case {
        name: &'static str,
        prepare: fn(&Bench),
        arguments: &'static [&'static str],
        /// Where it must lie then.
        dest: &'static str,
        /// All names in the directory then.
        all: &'static [&'static str],
    }
    let base = Case {
        name: "",
        prepare: |_| {},
        arguments: &[],
        dest: "out",
        all: &["out"],
    };
    let cases = [
        Case {
            name: "absent",
            arguments: &["web", "out"],
            ..base
        },
        Case {
            name: "with a slash",
            arguments: &["web", "out/"],
            ..base
        },
        Case {
            name: "with a dot",
            arguments: &["web", "./out/."],
            ..base
        },
        Case {
            name: "with parents to make",
            arguments: &["web", "a/b/out"],
            dest: "a/b/out",
            all: &["a"],
            ..base
        },
        Case {
            name: "through a parent",
            arguments: &["web", "sub/../out"],
            prepare: |b| fs::create_dir(b.path("sub")).unwrap(),
            all: &["out", "sub"],
            ..base
        },
        Case {
            name: "empty directory",
            arguments: &["web", "out"],
            prepare: |b| fs::create_dir(b.path("out")).unwrap(),
            ..base
        },
        Case {
            name: "empty directory with a slash",
            arguments: &["web", "out//"],
            prepare: |b| fs::create_dir(b.path("out")).unwrap(),
            ..base
        },
        Case {
            name: "a link to an empty directory",
            arguments: &["web", "out"],
            prepare: |b| {
                fs::create_dir(b.path("real")).unwrap();
                symlink("real", b.path("out")).unwrap();
            },
            dest: "real",
            all: &["out", "real"],
        },
        Case {
            name: "below a link",
            arguments: &["web", "link/out"],
            prepare: |b| {
                fs::create_dir(b.path("real")).unwrap();
                symlink("real", b.path("link")).unwrap();
            },
            dest: "real/out",
            all: &["link", "real"],
        },
        Case {
            name: "a name with a space, a quote and a glob",
            arguments: &["web", "my 'out' *"],
            dest: "my 'out' *",
            all: &["my 'out' *"],
            ..base
        },
        Case {
            name: "a name like an option",
            arguments: &["--", "web", "--out"],
            dest: "--out",
            all: &["--out"],
            ..base
        },
        Case {
            name: "default",
            arguments: &["web"],
            dest: "web",
            all: &["web"],
            ..base
        },
        Case {
            name: "default of an alias",
            arguments: &["web:live"],
            dest: "web-live",
            all: &["web-live"],
            ..base
        },
        Case {
            name: "default of a version",
            arguments: &["web", "--qualifier", "1"],
            dest: "web-1",
            all: &["web-1"],
            ..base
        },
        Case {
            name: "default of $LATEST",
            arguments: &["web:$LATEST"],
            dest: "web-$LATEST",
            all: &["web-$LATEST"],
            ..base
        },
        Case {
            name: "default of an ARN",
            arguments: &["arn:aws:lambda:us-east-1:123456789012:function:web:live"],
            dest: "web-live",
            all: &["web-live"],
            ..base
        },
        Case {
            name: "default of a partial ARN",
            arguments: &["123456789012:function:web"],
            dest: "web",
            all: &["web"],
            ..base
        },
    ];
    each(
        &cases,
        |case| case.name.to_owned(),
        |case| {
            let bench = Bench::new();
            planted(&bench, "web")
                .zip(package(1, 4000))
                .publish()
                .alias("live", "1")
                .create();
            (case.prepare)(&bench);
            let mut arguments = vec!["fetch"];
            arguments.extend(case.arguments);
            let ran = bench.run(&arguments).expect(0);
            harmless(&ran);
            assert_eq!(bench.names(), case.all);
            holds_package(&bench, case.dest, &package(1, 4000));
            holds_code(&bench, case.dest, 1);
            assert_eq!(
                names(&bench.path(case.dest)),
                ["code", "function.json", "larder.json", "package.zip"]
            );
        },
    );
}

#[test]
fn the_working_directory_itself_when_it_is_empty() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    fs::create_dir(bench.path("here")).unwrap();
    let mut command = bench.command(&["fetch", "web", "."]);
    command.current_dir(bench.path("here"));
    run(&mut command).expect(0);
    assert_eq!(
        names(&bench.path("here")),
        ["code", "function.json", "larder.json", "package.zip"]
    );
    holds_package(&bench, "here", &package(1, 4000));
    // Brought up to date from inside, too.
    let mut command = bench.command(&["fetch", "web", ".", "--update", "--output", "json"]);
    command.current_dir(bench.path("here"));
    assert_eq!(run(&mut command).expect(0).json()["status"], "unchanged");
    assert_eq!(
        names(&bench.path("here")),
        ["code", "function.json", "larder.json", "package.zip"]
    );
}

#[test]
fn json_on_stdout_is_the_record() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    planted(&bench, "picture").image(IMAGE, DIGEST).create();
    for name in ["web", "picture"] {
        let ran = bench.run(&["fetch", name, "--output", "json"]).expect(0);
        assert_eq!(ran.stderr, "", "{name}");
        assert_eq!(ran.json(), bench.record(name), "{name}");
        assert_eq!(ran.json()["schema_version"], 1);
    }
}

#[test]
fn quiet_says_nothing_but_what_was_asked_for() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    let ran = bench
        .run(&["fetch", "web", "a", "--quiet", "--progress", "always"])
        .expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let ran = bench
        .run(&["fetch", "-q", "web", "b", "--output", "json"])
        .expect(0);
    assert_eq!(ran.json(), bench.record("b"));
    assert_eq!(ran.stderr, "");
    // Errors and warnings stay.
    let ran = bench.run(&["fetch", "-q", "web", "b"]).expect(8);
    assert!(ran.stderr.starts_with("error: b: "), "{}", ran.stderr);
    bench.aws.fault(On::Object, Fault::flip(7));
    bench
        .run(&["fetch", "-q", "web", "c"])
        .expect(0)
        .says(&["warning: "]);
}

#[test]
fn answers_that_lack_something_are_partial() {
    struct Case {
        name: &'static str,
        make: fn(&Bench),
        field: &'static str,
        code: &'static str,
        says: &'static [&'static str],
    }
    let cases = [
        Case {
            name: "tags",
            make: |b| {
                planted(b, "web")
                    .zip(package(1, 4000))
                    .tags_error("AccessDeniedException", ENV_VALUE)
                    .create();
            },
            field: "Tags",
            code: "AccessDeniedException",
            says: &["lambda:ListTags"],
        },
        Case {
            name: "environment",
            make: |b| {
                b.aws
                    .function("web")
                    .zip(package(1, 4000))
                    .environment_error("KMSAccessDeniedException", ENV_VALUE)
                    .create();
            },
            field: "Environment",
            code: "KMSAccessDeniedException",
            says: &["kms:Decrypt"],
        },
        Case {
            name: "image configuration",
            make: |b| {
                planted(b, "web")
                    .image(IMAGE, DIGEST)
                    .image_config_error("KMSAccessDeniedException", ENV_VALUE)
                    .create();
            },
            field: "ImageConfigResponse",
            code: "KMSAccessDeniedException",
            says: &["kms:Decrypt"],
        },
        Case {
            name: "runtime version",
            make: |b| {
                planted(b, "web")
                    .zip(package(1, 4000))
                    .runtime_version_error("InternalError", ENV_VALUE)
                    .create();
            },
            field: "RuntimeVersionConfig",
            code: "InternalError",
            says: &["RuntimeVersionConfig"],
        },
        Case {
            name: "an error without a code",
            make: |b| {
                planted(b, "web")
                    .zip(package(1, 4000))
                    .create()
                    .patch(|answer| answer["TagsError"] = json!({"Message": ENV_VALUE}));
            },
            field: "Tags",
            code: "unknown",
            says: &["lambda:ListTags"],
        },
    ];
    each(
        &cases,
        |case| case.name.to_owned(),
        |case| {
            let bench = Bench::new();
            (case.make)(&bench);
            let ran = bench
                .run(&["fetch", "web", "out", "--output", "json"])
                .expect(0)
                .says(&["warning: "])
                .says(case.says);
            harmless(&ran);
            assert_eq!(ran.json()["status"], "partial");
            assert_eq!(
                ran.json()["incomplete"],
                json!([{"field": case.field, "code": case.code}])
            );
            let ran = bench
                .run(&["fetch", "web", "out", "--update"])
                .expect(0)
                .says(&["warning: "]);
            assert!(ran.stdout.starts_with("partial web"), "{}", ran.stdout);
            harmless(&ran);
        },
    );
}

#[test]
fn code_that_lambda_cannot_give() {
    let cases = [
        ("AccessDeniedException", 4, "access_denied", "kms:Decrypt"),
        (
            "KMSAccessDeniedException",
            4,
            "access_denied",
            "kms:Decrypt",
        ),
        ("S3AccessDenied", 4, "access_denied", "s3:GetObjectVersion"),
        ("ResourceNotFoundException", 5, "not_found", ""),
        ("KMSNotFoundException", 5, "not_found", ""),
        ("NoSuchKey", 5, "not_found", ""),
        ("NoSuchBucket", 5, "not_found", ""),
        ("ServiceException", 6, "no_code", "later"),
        ("InternalError", 6, "no_code", "later"),
        ("ErrorOfTheFuture\u{1b}[2J", 6, "no_code", "later"),
        ("", 6, "no_code", "later"),
    ];
    each(
        &cases,
        |case| case.0.to_owned(),
        |(error, code, kind, hint)| {
            let bench = Bench::new();
            planted(&bench, "web")
                .zip(package(1, 4000))
                .code_error(error, ENV_VALUE)
                .create();
            let ran = bench
                .run(&["fetch", "web", "out", "--output", "json", "-vvv"])
                .expect(*code);
            harmless(&ran);
            let told = ran.json_error();
            assert_eq!(told["kind"], *kind, "{told}");
            assert!(
                told["message"].as_str().is_some_and(|m| m.contains(error)),
                "{told}"
            );
            assert!(
                told["hint"].as_str().is_some_and(|h| h.contains(hint)),
                "{told}"
            );
            assert_eq!(calls(&bench), (1, 0));
            assert_eq!(bench.names(), [""; 0]);
        },
    );
}

#[test]
fn each_v_says_more_and_none_a_secret() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    bench.aws.fault(On::Object, Fault::rst(100));
    let mut lines = Vec::new();
    for (number, option) in ["-q", "-v", "-vv", "-vvv", "-vvvvvvvv"].iter().enumerate() {
        let dest = format!("out{number}");
        bench.aws.fault(On::Object, Fault::rst(1000));
        let ran = bench
            .run(&["fetch", "web", &dest, "--output", "json", option])
            .expect(0);
        harmless(&ran);
        assert_eq!(
            ran.json(),
            bench.record(&dest),
            "stdout carries the result only"
        );
        lines.push(ran.stderr.lines().count());
    }
    assert_eq!(lines[0], 0, "{lines:?}");
    assert!(lines.is_sorted() && lines[3] > lines[1], "{lines:?}");
}

#[test]
fn modes_are_private_whatever_the_umask() {
    for (umask, record, package_zip, code, index, run_file) in [
        ("022", 0o644, 0o644, 0o755, 0o644, 0o755),
        ("077", 0o600, 0o600, 0o700, 0o600, 0o700),
        ("000", 0o644, 0o644, 0o755, 0o644, 0o755),
        ("027", 0o640, 0o640, 0o750, 0o640, 0o750),
    ] {
        let bench = Bench::new();
        planted(&bench, "web").zip(package(1, 4000)).create();
        for arguments in [
            &["fetch", "web", "out"][..],
            &["fetch", "web", "out", "--force"],
            &["fetch", "web", "out", "--update"],
        ] {
            let larder = bench.command(arguments);
            let mut command = std::process::Command::new("sh");
            command
                .args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"])
                .arg(larder.get_program())
                .args(larder.get_args())
                .env_clear()
                .envs(larder.get_envs().filter_map(|(k, v)| Some((k, v?))))
                .current_dir(bench.dir.path())
                .stdin(Stdio::null());
            run(&mut command).expect(0);
            for (name, expected) in [
                ("out", 0o700),
                ("out/function.json", 0o600),
                ("out/larder.json", record),
                ("out/package.zip", package_zip),
                ("out/code", code),
                ("out/code/bin", code),
                ("out/code/index.mjs", index),
                ("out/code/bin/run", run_file),
            ] {
                let got = mode(&bench.path(name));
                assert_eq!(
                    got, expected,
                    "{name} is {got:o} with umask {umask}, {arguments:?}"
                );
            }
        }
    }
}

#[test]
fn a_closed_stdout_is_no_error() {
    for arguments in [
        &["fetch", "web", "--output", "json"][..],
        &["fetch", "web"],
        &["--help"],
        &["fetch", "--help"],
        &["completions", "bash"],
    ] {
        let bench = Bench::new();
        planted(&bench, "web").zip(package(1, 4000)).create();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = bench
            .command(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ran = finish(child).expect(0);
        assert_eq!(ran.stderr, "", "{arguments:?}");
        if arguments.contains(&"web") {
            assert_eq!(bench.names(), ["web"]);
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_stdout_that_is_full_is_an_error_and_the_work_stays() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let child = bench
        .command(&["fetch", "web", "--output", "json"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ran = finish(child).expect(8);
    assert_eq!(ran.json_error()["subject"], "stdout");
    holds_package(&bench, "web", &package(1, 4000));
}

#[test]
fn a_closed_stderr_changes_nothing() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    let go = |arguments: &[&str]| -> i32 {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = bench
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(writer)
            .spawn()
            .unwrap();
        let mut text = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        child.wait().unwrap().code().unwrap_or(-1)
    };
    bench.aws.fault(On::Object, Fault::flip(7)); // a warning
    assert_eq!(go(&["fetch", "web", "-vvv", "--progress", "always"]), 0);
    assert_eq!(go(&["fetch", "web"]), 8);
    assert_eq!(go(&["fetch", "nobody"]), 5);
    assert_eq!(bench.names(), ["web"]);
}

#[test]
fn nothing_from_outside_acts_on_the_terminal() {
    const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}gpj.exe\r\n\u{8}\u{2028}fake";
    struct Case {
        name: &'static str,
        code: i32,
        make: fn(&Bench),
    }
    fn patched(bench: &Bench, change: fn(&mut Value)) {
        planted(bench, "web")
            .zip(package(1, 4000))
            .create()
            .patch(change);
    }
    let cases = [
        Case {
            name: "FunctionName",
            code: 6,
            make: |b| patched(b, |a| a["Configuration"]["FunctionName"] = json!(EVIL)),
        },
        Case {
            name: "FunctionArn",
            code: 0,
            make: |b| patched(b, |a| a["Configuration"]["FunctionArn"] = json!(EVIL)),
        },
        Case {
            name: "Version",
            code: 0,
            make: |b| patched(b, |a| a["Configuration"]["Version"] = json!(EVIL)),
        },
        Case {
            name: "RevisionId",
            code: 0,
            make: |b| patched(b, |a| a["Configuration"]["RevisionId"] = json!(EVIL)),
        },
        Case {
            name: "Runtime",
            code: 0,
            make: |b| patched(b, |a| a["Configuration"]["Runtime"] = json!(EVIL)),
        },
        Case {
            name: "PackageType",
            code: 0,
            make: |b| patched(b, |a| a["Configuration"]["PackageType"] = json!(EVIL)),
        },
        Case {
            name: "CodeSha256",
            code: 1,
            make: |b| patched(b, |a| a["Configuration"]["CodeSha256"] = json!(EVIL)),
        },
        Case {
            name: "Location",
            code: 6,
            make: |b| patched(b, |a| a["Code"]["Location"] = json!(EVIL)),
        },
        Case {
            name: "Location's scheme",
            code: 6,
            make: |b| patched(b, |a| a["Code"]["Location"] = json!(format!("x:{EVIL}"))),
        },
        Case {
            name: "Code.Error",
            code: 6,
            make: |b| {
                patched(b, |a| {
                    a["Code"] = json!({"Error": {"ErrorCode": EVIL, "Message": EVIL}});
                });
            },
        },
        Case {
            name: "TagsError",
            code: 0,
            make: |b| {
                patched(b, |a| {
                    a["TagsError"] = json!({"ErrorCode": EVIL, "Message": EVIL});
                });
            },
        },
        Case {
            name: "ImageUri",
            code: 0,
            make: |b| {
                planted(b, "web")
                    .image(IMAGE, DIGEST)
                    .create()
                    .patch(|a| a["Code"]["ImageUri"] = json!(EVIL));
            },
        },
        Case {
            name: "an image's digest",
            code: 1,
            make: |b| {
                planted(b, "web")
                    .image(IMAGE, DIGEST)
                    .create()
                    .patch(|a| a["Code"]["ResolvedImageUri"] = json!(format!("r@{EVIL}")));
            },
        },
        Case {
            name: "Lambda's message",
            code: 5,
            make: |b| {
                b.aws.fault(
                    On::GetFunction.always(),
                    Fault::Lambda(LambdaError::new(404, "ResourceNotFoundException", EVIL)),
                );
            },
        },
        Case {
            name: "Lambda's message of a kind not known",
            code: 6,
            make: |b| {
                b.aws.fault(
                    On::GetFunction.always(),
                    Fault::Lambda(LambdaError::new(418, "TeapotException", EVIL)),
                );
            },
        },
        Case {
            name: "S3's code and message",
            code: 4,
            make: |b| {
                planted(b, "web").zip(package(1, 4000)).create();
                let body = format!("<Error><Code>{EVIL}</Code><Message>{EVIL}</Message></Error>");
                b.aws.fault(
                    On::Object.always(),
                    Fault::Page {
                        status: 403,
                        content_type: "application/xml".into(),
                        body: body.into(),
                    },
                );
            },
        },
        Case {
            name: "S3's code and message, tried again",
            code: 6,
            make: |b| {
                planted(b, "web").zip(package(1, 4000)).create();
                let body = format!("<Error><Code>{EVIL}</Code><Message>{EVIL}</Message></Error>");
                b.aws.fault(
                    On::Object.always(),
                    Fault::Page {
                        status: 500,
                        content_type: "application/xml".into(),
                        body: body.into(),
                    },
                );
            },
        },
        Case {
            name: "Content-Type",
            code: 1,
            make: |b| {
                planted(b, "web").zip(package(1, 4000)).create();
                b.aws.fault(
                    On::Object.always(),
                    Fault::Page {
                        status: 200,
                        content_type: "text/\u{202e}\u{9b}html".into(),
                        body: b"x".as_slice().into(),
                    },
                );
            },
        },
        Case {
            name: "where a redirect leads",
            code: 6,
            make: |b| {
                planted(b, "web").zip(package(1, 4000)).create();
                b.aws.fault(
                    On::Object.always(),
                    Fault::Redirect {
                        status: 302,
                        to: "ftp://h/\u{202e}\u{9b}x".into(),
                    },
                );
            },
        },
        Case {
            name: "an entry's name",
            code: 7,
            make: |b| {
                planted(b, "web")
                    .zip(ZipBuilder::new().file(format!("../{EVIL}"), "x").build())
                    .create();
            },
        },
        Case {
            name: "an entry's name that is no text",
            code: 7,
            make: |b| {
                planted(b, "web")
                    .zip(ZipBuilder::new().file(b"../\xff\x1b[2J\x9b", "x").build())
                    .create();
            },
        },
        Case {
            name: "a link's target",
            code: 7,
            make: |b| {
                planted(b, "web")
                    .zip(
                        ZipBuilder::new()
                            .symlink("a", format!("../../{EVIL}"))
                            .build(),
                    )
                    .create();
            },
        },
    ];
    each(
        &cases,
        |case| case.name.to_owned(),
        |case| {
            for options in [
                &["-vvv", "--progress", "always"][..],
                &["--output", "json", "-v"],
                &["--color", "never"],
            ] {
                let bench = Bench::new();
                (case.make)(&bench);
                let mut arguments = vec!["fetch", "web", "out", "--max-attempts", "2"];
                arguments.extend(options);
                let ran: Ran = bench.run(&arguments).expect(case.code);
                harmless(&ran);
                // A line of larder's own cannot be forged.
                let forged = ran
                    .stderr
                    .lines()
                    .chain(ran.stdout.lines())
                    .any(|line| line.trim_start().starts_with("fake"));
                assert!(!forged, "{}{}", ran.stdout, ran.stderr);
                assert_eq!(
                    bench.names(),
                    if case.code == 0 { vec!["out"] } else { vec![] }
                );
            }
        },
    );
}

#[test]
fn colours_only_where_they_are_asked_for() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, 4000)).create();
    let ran = bench.run(&["fetch", "web", "--color", "always"]).expect(0);
    assert!(ran.stdout.contains("\u{1b}["), "{}", ran.stdout);
    for arguments in [&["fetch", "web"][..], &["fetch", "web", "--color", "never"]] {
        let ran = bench
            .run_with(&[("TERM", "xterm-256color")], arguments)
            .expect(8);
        harmless(&ran);
    }
    let ran = bench.run(&["fetch", "web", "--color", "always"]).expect(8);
    assert!(ran.stderr.contains("\u{1b}["), "{}", ran.stderr);
}
