//! `larder backup`, `restore` and `store`: what lies in the store, what AWS was asked, and what comes back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use larder_testkit::{Fault, Key, LambdaError, On, SECRET_MARKER, code_sha256, packages};
use serde_json::Value;

use crate::harness::{Bench, Ran, finish, json, names, run, tool};

mod accounts;
mod choices;
mod config;
mod shards;
mod trouble;

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn zip(seed: u64) -> Vec<u8> {
    packages::zip_of_size(20_000, seed)
}

/// `larder backup --store store --all`, as JSON lines.
fn backup(bench: &Bench, arguments: &[&str]) -> Ran {
    let mut all = vec![
        "backup",
        "--store",
        "store",
        "--output",
        "json",
        "--max-rate",
        "1000",
    ];
    all.extend(arguments);
    bench.run(&all)
}

fn lines(ran: &Ran) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).expect("a JSON object a line");
    ran.stdout.lines().map(parse).collect()
}

fn summary(ran: &Ran) -> Value {
    let last = lines(ran).pop().expect("a summary");
    assert_eq!(last["event"], "summary");
    last
}

/// `name:version` -> status, of function versions.
fn statuses(ran: &Ran) -> BTreeMap<String, String> {
    let functions = lines(ran).into_iter().filter(|l| l["event"] == "function");
    let each = functions.map(|line| {
        let name = line["arn"].as_str().unwrap().rsplit(':').next().unwrap();
        let version = line["version"].as_str().unwrap_or_default();
        (
            format!("{name}:{version}"),
            line["status"].as_str().unwrap().to_owned(),
        )
    });
    each.collect()
}

fn check(bench: &Bench, code: i32) -> Value {
    let arguments = [
        "store",
        "check",
        "--store",
        "store",
        "--read-data",
        "--output",
        "json",
    ];
    bench.run(&arguments).expect(code).json()
}

/// Two functions that share a package, one with versions, an alias and a layer; an image.
fn account(bench: &Bench) {
    let layer = bench
        .aws
        .layer("deps")
        .zip(packages::layer_package().zip())
        .create();
    bench
        .aws
        .function("orders")
        .zip(zip(2))
        .version(zip(1))
        .publish()
        .alias("live", "1")
        .layer(&layer)
        .env("PASSWORD", "hunter2-in-clear")
        .create();
    bench.aws.function("billing").zip(zip(2)).create();
    bench
        .aws
        .function("img")
        .image(
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/r:t",
            &format!("sha256:{DIGEST}"),
        )
        .create();
}

fn blobs(bench: &Bench) -> PathBuf {
    bench.path("store/blobs/sha256")
}

#[test]
fn a_second_run_costs_the_listing_and_the_aliases_alone() {
    let bench = Bench::new();
    account(&bench);
    let first = backup(&bench, &["--all"]).expect(0);
    let statuses_of_first = statuses(&first);
    assert_eq!(statuses_of_first.len(), 5);
    assert_eq!(statuses_of_first["img:$LATEST"], "image");
    assert_eq!(statuses_of_first["orders:1"], "saved");
    let counts = &summary(&first)["counts"];
    assert_eq!((&counts["saved"], &counts["image"]), (&4.into(), &1.into()));
    // Two packages and the layer, each once.
    assert_eq!(bench.aws.count("GetObject"), 3);
    assert_eq!(bench.aws.count("GetFunction"), 5);
    assert_eq!(summary(&first)["calls"]["GetFunction"], 5);

    let before: Vec<_> = [
        "ListFunctions",
        "ListAliases",
        "GetFunction",
        "GetObject",
        "GetLayerVersionByArn",
    ]
    .map(|operation| bench.aws.count(operation))
    .into();
    let second = backup(&bench, &["--all"]).expect(0);
    assert!(
        statuses(&second)
            .values()
            .all(|status| status == "unchanged")
    );
    assert_eq!(summary(&second)["counts"]["unchanged"], 5);
    assert_eq!(summary(&second)["bytes_downloaded"], 0);
    let after: Vec<_> = [
        "ListFunctions",
        "ListAliases",
        "GetFunction",
        "GetObject",
        "GetLayerVersionByArn",
    ]
    .map(|operation| bench.aws.count(operation))
    .into();
    let cost: Vec<usize> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
    assert_eq!(cost, [1, 3, 0, 0, 0]);
    // The second run has all of it, the layer too.
    check(&bench, 0);
    bench
        .run(&["restore", "--store", "store", "orders:1"])
        .expect(0);
    assert!(bench.path("orders-1/layers/deps-1/package.zip").exists());
    assert_eq!(names(&bench.path("store/runs")).len(), 2);
}

#[test]
fn listing_pages_bound_the_calls() {
    let bench = Bench::new();
    for n in 0..120 {
        bench
            .aws
            .function(&format!("f{n:03}"))
            .zip(zip(n % 7))
            .create();
    }
    let ran = backup(&bench, &["--all"]).expect(0);
    assert_eq!(summary(&ran)["counts"]["saved"], 120);
    assert_eq!(bench.aws.count("GetObject"), 7);
    let before = bench.aws.count("ListFunctions");
    backup(&bench, &["--all"]).expect(0);
    assert_eq!(bench.aws.count("ListFunctions") - before, 3);
    assert_eq!(bench.aws.count("GetFunction"), 120);
}

#[test]
fn what_is_restored_is_what_was_deployed() {
    let bench = Bench::new();
    account(&bench);
    backup(&bench, &["--all"]).expect(0);
    for (function, dest, seed) in [
        ("orders", "a", 2),
        ("orders:1", "b", 1),
        ("orders:live", "c", 1),
        ("billing", "d", 2),
    ] {
        let arguments = [
            "restore", "--store", "store", function, dest, "--output", "json",
        ];
        let record = bench.run(&arguments).expect(0).json();
        assert!(
            fs::read(bench.path(dest).join("package.zip")).unwrap() == zip(seed),
            "{function}"
        );
        assert_eq!(record["package"]["code_sha256"], code_sha256(&zip(seed)));
        assert_eq!(bench.record(dest), record);
        assert!(bench.path(dest).join("code").is_dir());
    }
    // The same files as a fetch makes.
    bench
        .run(&["fetch", "orders", "fetched", "--layers"])
        .expect(0);
    assert_eq!(names(&bench.path("a")), names(&bench.path("fetched")));
    assert_eq!(
        names(&bench.path("a/layers/deps-1")),
        names(&bench.path("fetched/layers/deps-1"))
    );
    let (a, b) = (
        json(&bench.path("a/function.json")),
        json(&bench.path("fetched/function.json")),
    );
    assert_eq!(a["Configuration"], b["Configuration"]);
    assert_eq!(
        bench.record("a")["unpacked"],
        bench.record("fetched")["unpacked"]
    );
    let arguments = [
        "restore", "--store", "store", "img", "i", "--output", "json",
    ];
    let image = bench.run(&arguments).expect(0).json();
    assert_eq!(image["image"]["digest"], format!("sha256:{DIGEST}"));
    bench
        .run(&["restore", "--store", "store", "nope"])
        .expect(5);
    bench
        .run(&["restore", "--store", "store", "orders:99"])
        .expect(5);
    bench
        .run(&["restore", "--store", "store", "orders", "a"])
        .expect(8);
}

#[test]
fn runs_are_points_in_time() {
    let bench = Bench::new();
    let function = bench.aws.function("f").zip(zip(1)).create();
    let first = backup(&bench, &["--all"]).expect(0);
    let run_1 = summary(&first)["run"].as_str().unwrap().to_owned();
    function.update_code(zip(2));
    let second = backup(&bench, &["--all"]).expect(0);
    assert_eq!(statuses(&second)["f:$LATEST"], "saved");
    bench
        .run(&["restore", "--store", "store", "f", "new"])
        .expect(0);
    bench
        .run(&["restore", "--store", "store", "--run", &run_1, "f", "old"])
        .expect(0);
    assert!(fs::read(bench.path("new/package.zip")).unwrap() == zip(2));
    assert!(fs::read(bench.path("old/package.zip")).unwrap() == zip(1));
    bench
        .run(&[
            "restore",
            "--store",
            "store",
            "--at",
            "2001-01-01T00:00:00Z",
            "f",
            "none",
        ])
        .expect(5);
    let listed = bench
        .run(&["store", "list", "--store", "store", "--output", "json"])
        .expect(0);
    assert_eq!(lines(&listed)[0]["run"], run_1);
    assert_eq!(lines(&listed).len(), 2);
}

#[test]
fn stock_tools_read_the_store() {
    let bench = Bench::new();
    account(&bench);
    let ran = backup(&bench, &["--all"]).expect(0);
    let run_name = summary(&ran)["run"].as_str().unwrap().to_owned();
    if let Some(sha256sum) = tool("sha256sum", "coreutils") {
        for name in names(&blobs(&bench)) {
            let output = Command::new(&sha256sum)
                .arg(blobs(&bench).join(&name))
                .output()
                .unwrap();
            assert!(output.stdout.starts_with(name.as_bytes()), "{name}");
        }
    }
    let Some(skopeo) = tool("skopeo", "skopeo") else {
        return;
    };
    let layout = format!("oci:{}", bench.path("store").display());
    let reference = format!("{layout}:{run_name}/123456789012/us-east-1");
    let raw = Command::new(&skopeo)
        .args(["inspect", "--raw", &reference])
        .output()
        .unwrap();
    assert!(
        raw.status.success(),
        "{}",
        String::from_utf8_lossy(&raw.stderr)
    );
    let region: Value = serde_json::from_slice(&raw.stdout).unwrap();
    let functions = region["manifests"].as_array().unwrap().iter();
    let types: Vec<_> = functions
        .map(|m| m["artifactType"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        types.iter().filter(|t| t.contains("function")).count(),
        5,
        "{types:?}"
    );
    let copy = format!("oci:{}:copy", bench.path("copy").display());
    let copied = Command::new(&skopeo)
        .args(["--insecure-policy", "copy", "--all", &reference, &copy])
        .output()
        .unwrap();
    assert!(
        copied.status.success(),
        "{}",
        String::from_utf8_lossy(&copied.stderr)
    );
    let hex = larder_testkit_hex(&zip(1));
    assert!(fs::read(bench.path("copy/blobs/sha256").join(hex)).unwrap() == zip(1));
}

/// The SHA-256 in hex, as the store names blobs.
fn larder_testkit_hex(bytes: &[u8]) -> String {
    larder::digest::Sha256Digest::of(bytes).hex()
}

#[test]
fn everything_ends_with_a_status_and_the_counts_add_up() {
    let bench = Bench::new();
    bench.aws.function("good").zip(zip(1)).create();
    bench
        .aws
        .function("nocode")
        .zip(zip(2))
        .code_error("InternalError", "m")
        .create();
    bench
        .aws
        .function("tagless")
        .zip(zip(3))
        .tags_error("AccessDeniedException", "m")
        .create();
    bench
        .aws
        .function("lies")
        .zip(zip(4))
        .code_sha256(&code_sha256(b"other"))
        .create();
    let ran = backup(&bench, &["--all"]).expect(3);
    let statuses = statuses(&ran);
    for (name, status) in [
        ("good", "saved"),
        ("nocode", "unavailable"),
        ("tagless", "partial"),
        ("lies", "failed"),
    ] {
        assert_eq!(statuses[&format!("{name}:$LATEST")], status, "{statuses:?}");
    }
    // What does not verify is not in the store.
    assert!(!blobs(&bench).join(larder_testkit_hex(&zip(4))).exists());
    check(&bench, 0);
    // What failed is tried again, what is partial too.
    let before = bench.aws.count("GetFunction");
    let again = backup(&bench, &["--all"]).expect(3);
    assert_eq!(summary(&again)["counts"]["unchanged"], 1);
    assert!(bench.aws.count("GetFunction") >= before + 3);
    // A single cause, and nothing that succeeded, has its own code.
    backup(&bench, &["nocode"]).expect(6);
    backup(&bench, &["nope"]).expect(5);
}

#[test]
fn what_is_no_longer_listed_is_gone_and_stays_restorable() {
    let bench = Bench::new();
    let here = Bench::new();
    bench.aws.function("a").zip(zip(1)).create();
    bench.aws.function("b").zip(zip(2)).create();
    backup(&bench, &["--all"]).expect(0);
    // Another world, in which b does not exist, with the same store.
    here.aws.function("a").zip(zip(1)).create();
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
    // With --refresh too, which asks about all of it anew.
    let refresh = [&arguments[..], &["--refresh", "--include", "b"]].concat();
    let ran = here.run(&refresh).expect(0);
    assert_eq!(statuses(&ran)["b:$LATEST"], "gone");
    let ran = here.run(&arguments).expect(0);
    assert_eq!(statuses(&ran)["b:$LATEST"], "gone");
    bench.run(&["restore", "--store", "store", "b"]).expect(0);
    assert!(fs::read(bench.path("b/package.zip")).unwrap() == zip(2));
}

#[test]
fn a_part_of_the_functions_does_not_make_the_rest_new() {
    let bench = Bench::new();
    account(&bench);
    backup(&bench, &["--all"]).expect(0);
    let named = backup(&bench, &["orders:1", "billing"]).expect(0);
    assert_eq!(statuses(&named).len(), 2);
    assert!(statuses(&named).values().all(|s| s == "unchanged"));
    let before = bench.aws.count("GetFunction");
    let selected = backup(
        &bench,
        &["--all", "--include", "o*", "--versions", "published"],
    )
    .expect(0);
    assert_eq!(
        statuses(&selected).keys().collect::<Vec<_>>(),
        ["orders:1", "orders:2"]
    );
    let all = backup(&bench, &["--all"]).expect(0);
    assert_eq!(summary(&all)["counts"]["unchanged"], 5);
    assert_eq!(bench.aws.count("GetFunction"), before);
}

#[test]
fn secrets_stay_where_they_belong() {
    let bench = Bench::new();
    account(&bench);
    let ran = backup(&bench, &["--all", "--redact-env", "-vvv"]).expect(0);
    let mut all = vec![ran.stdout.clone(), ran.stderr.clone()];
    for name in names(&blobs(&bench)) {
        all.push(
            String::from_utf8_lossy(&fs::read(blobs(&bench).join(name)).unwrap()).into_owned(),
        );
    }
    for text in &all {
        assert!(!text.contains(SECRET_MARKER) && !text.contains("hunter2-in-clear"));
    }
    assert!(all.iter().any(|text| text.contains("PASSWORD")));
    // In clear it is said so, once; and a redacted version is not taken for one in clear.
    let clear = backup(&bench, &["--all"]).expect(0).says(&["in clear"]);
    assert_eq!(summary(&clear)["counts"]["saved"], 4);
    let mode = fs::metadata(bench.path("store"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_dry_run_does_nothing() {
    let bench = Bench::new();
    account(&bench);
    let ran = backup(&bench, &["--all", "--dry-run"]);
    assert!(!bench.path("store").exists(), "{ran:?}");
    let ran = ran.expect(0);
    let plan = &summary(&ran)["plan"];
    assert_eq!(
        (&plan["get_function"], &plan["downloads"]),
        (&5.into(), &2.into())
    );
    assert_eq!(bench.aws.count("GetFunction"), 0);
}

#[test]
fn regions_are_backed_up_side_by_side_and_a_denied_one_is_one_line() {
    let bench = Bench::new();
    bench.aws.function("a").zip(zip(1)).create();
    bench
        .aws
        .function("a")
        .region("eu-west-1")
        .zip(zip(2))
        .create();
    let regions = ["--all", "--region", "us-east-1", "--region", "eu-west-1"];
    backup(&bench, &regions).expect(0);
    bench.run(&["restore", "--store", "store", "a"]).expect(2);
    bench
        .run(&["restore", "--store", "store", "--region", "eu-west-1", "a"])
        .expect(0);
    assert!(fs::read(bench.path("a/package.zip")).unwrap() == zip(2));
    bench.aws.fault(
        On::ListFunctions.always(),
        Fault::access_denied("lambda:ListFunctions"),
    );
    let ran = backup(&bench, &regions).expect(4);
    let denied = lines(&ran).into_iter().filter(|l| l["event"] == "region");
    assert_eq!(denied.count(), 2);
}

#[test]
fn damage_is_found_named_and_never_restored() {
    let bench = Bench::new();
    account(&bench);
    backup(&bench, &["--all"]).expect(0);
    let package = blobs(&bench).join(larder_testkit_hex(&zip(1)));
    let good = fs::read(&package).unwrap();
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    for (bytes, kind) in [
        (Some(&flipped[..]), "modified"),
        (Some(&good[..50]), "size"),
        (None, "lost"),
    ] {
        match bytes {
            Some(bytes) => fs::write(&package, bytes).unwrap(),
            None => fs::remove_file(&package).unwrap(),
        }
        let checked = check(&bench, 1);
        assert_eq!(checked["findings"][0]["kind"], kind, "{checked}");
        assert!(
            checked["findings"][0]["path"]
                .as_str()
                .unwrap()
                .contains(&larder_testkit_hex(&good))
        );
        let ran = bench.run(&["restore", "--store", "store", "orders:1"]);
        assert!(matches!(ran.code, 1 | 5), "{ran:?}");
        assert!(!bench.path("orders-1").exists());
    }
    // What AWS still has comes back.
    backup(&bench, &["--all", "--refresh"]).expect(0);
    check(&bench, 0);
    // index.json is a cache; a run of the future is named and survived.
    fs::write(bench.path("store/index.json"), "{broken").unwrap();
    let run_file = bench
        .path("store/runs")
        .join(&names(&bench.path("store/runs"))[0]);
    let newer = fs::read_to_string(&run_file)
        .unwrap()
        .replace("\"larder.format\":\"1\"", "\"larder.format\":\"9\"");
    fs::write(
        bench.path("store/runs/20990101T000000.000Z-ffffffffffff.json"),
        newer,
    )
    .unwrap();
    let checked = check(&bench, 0);
    let kinds: Vec<_> = checked["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["kind"].clone())
        .collect();
    assert!(
        kinds.contains(&"index".into()) && kinds.contains(&"newer".into()),
        "{checked}"
    );
    let ran = backup(&bench, &["--all"]).expect(0);
    assert_eq!(summary(&ran)["counts"]["unchanged"], 5);
    bench
        .run(&["restore", "--store", "store", "billing"])
        .expect(0);
    let index = json(&bench.path("store/index.json"));
    assert!(index["manifests"].as_array().unwrap().len() >= 4);
}

#[test]
fn what_is_no_store_is_left_alone() {
    let bench = Bench::new();
    bench.aws.function("a").zip(zip(1)).create();
    fs::create_dir(bench.path("store")).unwrap();
    fs::write(bench.path("store/mine.txt"), "x").unwrap();
    backup(&bench, &["--all"]).expect(8);
    assert_eq!(names(&bench.path("store")), ["mine.txt"]);
    for arguments in [["store", "list"], ["store", "check"]] {
        bench
            .run(&[&arguments[..], &["--store", "nothing"]].concat())
            .expect(5);
    }
    backup(&bench, &[]).expect(2);
    bench
        .run(&["backup", "--store", "gs://b", "--all"])
        .expect(2);
}

#[test]
fn credentials_that_end_stop_the_run() {
    let bench = Bench::new();
    account(&bench);
    let mut command = bench.command(&["backup", "--store", "store", "--all"]);
    run(command.envs(bench.aws.env_as(Key::Expired))).expect(4);
    bench.aws.fault(
        On::GetFunction.always(),
        Fault::Lambda(LambdaError::new(
            403,
            "ExpiredTokenException",
            "The security token included in the request is expired",
        )),
    );
    let ran = backup(&bench, &["--all"]).expect(4);
    assert_eq!(summary(&ran)["complete"], false);
    bench.aws.clear_faults();
    backup(&bench, &["--all"]).expect(0);
    check(&bench, 0);
}

/// SIGKILL at random moments: the store is sound, and the next backup completes and downloads only what is missing.
#[test]
fn a_killed_backup_harms_nothing() {
    let bench = Bench::new();
    for n in 0..30 {
        bench
            .aws
            .function(&format!("f{n}"))
            .zip(zip(n))
            .alias("live", "$LATEST")
            .create();
    }
    let mut random = fastrand::Rng::with_seed(0x5709_0007);
    let arguments = ["backup", "--store", "store", "--all", "--max-rate", "1000"];
    for round in 0..20 {
        let mut child = bench
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random.u64(20..400)));
        let _ = child.kill();
        finish(child);
        if bench.path("store/larder-store.json").exists() {
            let checked = check(&bench, 0);
            assert_eq!(checked["ok"], true, "round {round}: {checked}");
        }
        if round % 4 == 3 {
            let _ = fs::remove_dir_all(bench.path("store"));
        }
    }
    // Two at once, into one store.
    let start = || {
        let mut command = bench.command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let (one, two) = (start(), start());
    finish(one).expect(0);
    finish(two).expect(0);
    let ran = backup(&bench, &["--all"]).expect(0);
    assert_eq!(summary(&ran)["counts"]["unchanged"], 30);
    check(&bench, 0);
    let strange = names(&bench.path("store"))
        .into_iter()
        .filter(|n| n.contains("spool") || n.contains("tmp"));
    assert_eq!(strange.count(), 0);
    restores(&bench, &bench.path("r"));
}

fn restores(bench: &Bench, dest: &Path) {
    for n in [0, 17, 29] {
        let dest = dest.with_extension(n.to_string());
        let to = dest.display().to_string();
        bench
            .run(&["restore", "--store", "store", &format!("f{n}:live"), &to])
            .expect(0);
        assert!(fs::read(dest.join("package.zip")).unwrap() == zip(n));
    }
}
