//! The faults of a network and of AWS during a backup: every function ends right, and the counts add up.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use larder_testkit::{Fault, LambdaError, On, S3Error, packages};

use super::{backup, check, lines, statuses, summary, zip};
use crate::harness::{Bench, finish, names, run};

const COUNT: u64 = 24;

fn functions(bench: &Bench) {
    for n in 0..COUNT {
        bench
            .aws
            .function(&format!("f{n:02}"))
            .zip(zip(n))
            .alias("live", "$LATEST")
            .create();
    }
}

/// Each function's package is in the store, byte for byte.
fn whole(bench: &Bench, which: impl Iterator<Item = u64>) {
    for n in which {
        let hex = larder::digest::Sha256Digest::of(&zip(n)).hex();
        let blob = bench.path("store/blobs/sha256").join(hex);
        assert!(fs::read(blob).unwrap() == zip(n), "f{n}");
    }
}

fn total(ran: &crate::harness::Ran) -> u64 {
    let counts = summary(ran)["counts"].clone();
    let counts = counts.as_object().unwrap().values();
    counts.map(|n| n.as_u64().unwrap()).sum()
}

/// Faults that end: all is saved in the end.
#[test]
fn passing_faults_cost_time_and_nothing_else() {
    type Case = (&'static str, Vec<(On, u64, Fault)>);
    let cases: Vec<Case> = vec![
        (
            "throttled",
            vec![
                (On::GetFunction, 3, Fault::throttled(Some(0))),
                (On::ListFunctions, 1, Fault::throttled(None)),
                (On::ListAliases, 2, Fault::throttled(None)),
            ],
        ),
        (
            "faults of Lambda",
            vec![
                (On::GetFunction, 4, Fault::service_exception()),
                (On::ListFunctions, 2, Fault::service_exception()),
            ],
        ),
        (
            "faults of S3",
            vec![
                (On::Object, 5, Fault::slow_down()),
                (On::Object, 2, Fault::S3(S3Error::InternalError)),
            ],
        ),
        (
            "broken off",
            vec![
                (On::Object, 6, Fault::rst(5000)),
                (On::Object, 4, Fault::fin(9000)),
            ],
        ),
        (
            "cut short, and it says so",
            vec![(
                On::Object,
                3,
                Fault::Shorter {
                    by: 100,
                    honest: true,
                },
            )],
        ),
        ("a bit flipped", vec![(On::Object, 2, Fault::flip(7000))]),
        (
            "URLs that have ended",
            vec![(On::Object, 5, Fault::S3(S3Error::RequestHasExpired))],
        ),
    ];
    for (name, faults) in cases {
        let bench = Bench::new();
        functions(&bench);
        for (on, times, fault) in faults {
            bench.aws.fault(on.times(times), fault);
        }
        let ran = backup(&bench, &["--all", "--connect-timeout", "5s"]).expect(0);
        assert_eq!(summary(&ran)["counts"]["saved"], COUNT, "{name}");
        assert_eq!(total(&ran), COUNT, "{name}");
        whole(&bench, 0..COUNT);
        check(&bench, 0);
    }
}

/// Faults that stay with some functions: these end with a reason, all the others are saved, and the next run mends it.
#[test]
fn lasting_faults_are_those_of_their_functions_alone() {
    let bench = Bench::new();
    functions(&bench);
    let describe = |n: u64, fault| {
        let path = format!("functions/f{n:02}");
        bench.aws.fault(On::GetFunction.always().path(&path), fault);
    };
    let object = |n: u64, fault| {
        let path = format!("/f{n:02}-");
        bench.aws.fault(On::Object.always().path(&path), fault);
    };
    describe(0, Fault::throttled(None));
    describe(1, Fault::service_exception());
    describe(2, Fault::access_denied("lambda:GetFunction"));
    describe(
        3,
        Fault::json(|answer| {
            answer["Code"] =
                serde_json::json!({"Error": {"ErrorCode": "InternalError", "Message": "m"}});
        }),
    );
    describe(
        4,
        Fault::json(|answer| {
            answer["TagsError"] =
                serde_json::json!({"ErrorCode": "AccessDeniedException", "Message": "m"});
        }),
    );
    describe(5, Fault::not_json());
    object(6, Fault::html());
    object(7, Fault::xml_with_200());
    object(
        8,
        Fault::Shorter {
            by: 100,
            honest: true,
        },
    );
    object(9, Fault::flip(7000));
    object(10, Fault::S3(S3Error::RequestHasExpired));
    object(11, Fault::slow_down());
    object(12, Fault::rst(0));
    let ran = backup(&bench, &["--all", "--max-attempts", "2"]).expect(3);
    let found = statuses(&ran);
    for (n, status) in [
        (0, "unavailable"),
        (1, "unavailable"),
        (2, "denied"),
        (3, "unavailable"),
        (4, "partial"),
        (5, "unavailable"),
        (6, "failed"),
        (7, "failed"),
        (8, "failed"),
        (9, "failed"),
        (10, "unavailable"),
        (11, "unavailable"),
        (12, "unavailable"),
    ] {
        let got = &found[&format!("f{n:02}:$LATEST")];
        // Fewer bytes are a broken transfer or a mismatch, by what the server says of their number.
        assert!(
            got == status || (n == 8 && got == "unavailable"),
            "f{n:02} is {got}: {ran:?}"
        );
    }
    for line in lines(&ran)
        .iter()
        .filter(|l| l["event"] == "function" && l["status"] != "saved")
    {
        assert!(line["reason"].is_string(), "{line}");
    }
    assert_eq!(total(&ran), COUNT);
    assert_eq!(found.len() as u64, COUNT);
    whole(&bench, 13..COUNT);
    check(&bench, 0);
    // None of the bytes that did not verify is in the store.
    for n in 6..=12 {
        let hex = larder::digest::Sha256Digest::of(&zip(n)).hex();
        assert!(!bench.path("store/blobs/sha256").join(hex).exists(), "f{n}");
    }
    bench.aws.clear_faults();
    let asked = bench.aws.count("GetFunction");
    let ran = backup(&bench, &["--all"]).expect(0);
    assert_eq!(bench.aws.count("GetFunction") - asked, 13);
    assert_eq!(summary(&ran)["counts"]["unchanged"], COUNT - 13);
    whole(&bench, 0..COUNT);
}

/// What fails now and was had before stays in the newest run as it was, aliases too; and is asked about again.
#[test]
fn what_fails_once_is_not_lost_from_the_run() {
    let bench = Bench::new();
    bench
        .aws
        .function("orders")
        .zip(zip(2))
        .version(zip(1))
        .publish()
        .alias("live", "1")
        .create();
    let late = bench.aws.function("late").zip(zip(3)).create();
    backup(&bench, &["--all"]).expect(0);
    late.update_code(zip(4));
    bench.aws.fault(
        On::GetFunction.always().path("functions/late"),
        Fault::access_denied("lambda:GetFunction"),
    );
    // Of this one no run has anything.
    bench.aws.function("never").zip(zip(5)).create();
    bench.aws.fault(
        On::GetFunction.always().path("functions/never"),
        Fault::service_exception(),
    );
    bench
        .aws
        .fault(On::ListAliases.always(), Fault::service_exception());
    let ran = backup(&bench, &["--all", "--max-attempts", "1"]).expect(3);
    assert_eq!(statuses(&ran)["late:$LATEST"], "denied");
    assert_eq!(statuses(&ran)["never:$LATEST"], "unavailable");
    assert_eq!(summary(&ran)["aliases_failed"], 3, "{ran:?}");
    // So also when all of it is asked about again.
    let ran = backup(&bench, &["--all", "--refresh", "--max-attempts", "1"]).expect(3);
    assert_eq!(statuses(&ran)["late:$LATEST"], "denied");
    let name = summary(&ran)["run"].as_str().unwrap().to_owned();
    let restore = ["restore", "--store", "store", "--run", &name];
    bench
        .run(&[&restore[..], &["--all", "all"]].concat())
        .expect(0);
    let of = |place: &str| fs::read(bench.path("all/123456789012/us-east-1").join(place)).unwrap();
    assert!(of("late/$LATEST/package.zip") == zip(3));
    assert!(of("orders/1/package.zip") == zip(1));
    bench
        .run(&[&restore[..], &["orders:live", "live"]].concat())
        .expect(0);
    assert!(fs::read(bench.path("live/package.zip")).unwrap() == zip(1));
    check(&bench, 0);
    bench.aws.clear_faults();
    let asked = bench.aws.count("GetFunction");
    let ran = backup(&bench, &["--all"]).expect(0);
    assert_eq!(statuses(&ran)["late:$LATEST"], "saved");
    assert_eq!(statuses(&ran)["never:$LATEST"], "saved");
    assert_eq!(bench.aws.count("GetFunction") - asked, 2);
    // What was deleted between the listing and the question is gone, and not taken along.
    bench.aws.fault(
        On::GetFunction.always().path("functions/late"),
        Fault::Lambda(LambdaError::new(404, "ResourceNotFoundException", "gone")),
    );
    late.update_code(zip(6));
    let ran = backup(&bench, &["--all"]).expect(0);
    assert_eq!(statuses(&ran)["late:$LATEST"], "gone");
    let name = summary(&ran)["run"].as_str().unwrap().to_owned();
    bench
        .run(&["restore", "--store", "store", "--run", &name, "late"])
        .expect(5);
}

/// The calls that the fake saw, counted: first run, unchanged, one changed.
#[test]
fn calls_are_those_of_what_changed() {
    let bench = Bench::new();
    let layer = bench
        .aws
        .layer("deps")
        .zip(packages::layer_package().zip())
        .create();
    let mut handles = Vec::new();
    for n in 0..310_u64 {
        let function = bench.aws.function(&format!("f{n:03}")).zip(zip(n % 40));
        let function = match n % 3 {
            0 => function
                .version(zip(100 + n % 10))
                .publish()
                .alias("live", "1"),
            1 => function.layer(&layer),
            _ => function,
        };
        handles.push(function.create());
    }
    let versions = 310 + 2 * 104;
    let operations = [
        "ListFunctions",
        "ListAliases",
        "GetFunction",
        "GetObject",
        "GetLayerVersionByArn",
    ];
    let count = || operations.map(|operation| bench.aws.count(operation));
    let cost = |before: [usize; 5]| {
        let mut after = count();
        for (n, b) in after.iter_mut().zip(before) {
            *n -= b;
        }
        after
    };
    let before = count();
    let first = backup(&bench, &["--all"]).expect(0);
    assert_eq!(summary(&first)["counts"]["saved"], versions);
    // 40 packages of $LATEST, 10 of versions, the layer.
    assert_eq!(cost(before), [11, 310, 518, 51, 1]);
    let before = count();
    let second = backup(&bench, &["--all"]).expect(0);
    assert_eq!(summary(&second)["counts"]["unchanged"], versions);
    assert_eq!(cost(before), [11, 310, 0, 0, 0]);
    handles[4].update_code(zip(500));
    let before = count();
    let third = backup(&bench, &["--all"]).expect(0);
    assert_eq!(summary(&third)["counts"]["saved"], 1);
    assert_eq!(cost(before), [11, 310, 1, 1, 0]);
    check(&bench, 0);
    // What is restored is what was deployed, byte for byte.
    for (n, version, seed) in [
        (4, "$LATEST", 500),
        (0, "1", 100),
        (0, "2", 0),
        (309, "$LATEST", 309 % 40),
        (155, "$LATEST", 155 % 40),
    ] {
        let dest = format!("r-{n}-{seed}");
        let name = format!("f{n:03}:{version}");
        bench
            .run(&["restore", "--store", "store", &name, &dest])
            .expect(0);
        assert!(
            fs::read(bench.path(&dest).join("package.zip")).unwrap() == zip(seed),
            "{name}"
        );
    }
}

/// Two and four at once, into one store that is not there yet.
#[test]
fn backups_at_once_share_a_store() {
    for writers in [2, 4] {
        let bench = Bench::new();
        functions(&bench);
        let children: Vec<_> = (0..writers)
            .map(|_| {
                let arguments = [
                    "backup",
                    "--store",
                    "store",
                    "--all",
                    "--max-rate",
                    "1000",
                    "--output",
                    "json",
                ];
                let mut command = bench.command(&arguments);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for child in children {
            let ran = finish(child).expect(0);
            assert_eq!(summary(&ran)["counts"]["saved"], COUNT);
        }
        assert_eq!(names(&bench.path("store/runs")).len(), writers);
        check(&bench, 0);
        whole(&bench, 0..COUNT);
        let index = crate::harness::json(&bench.path("store/index.json"));
        assert!(!index["manifests"].as_array().unwrap().is_empty());
        let again = backup(&bench, &["--all"]).expect(0);
        assert_eq!(summary(&again)["counts"]["unchanged"], COUNT);
    }
}

/// A limit on calls that is far below what is asked for: slower, and all is there.
#[test]
fn a_throttled_account_is_backed_up_all_the_same() {
    let bench = Bench::new();
    functions(&bench);
    bench.aws.call_limit(Some(30.0));
    let mut command = bench.command(&[
        "backup",
        "--store",
        "store",
        "--all",
        "--output",
        "json",
        "--max-rate",
        "200",
    ]);
    let ran = run(&mut command).expect(0);
    assert_eq!(summary(&ran)["counts"]["saved"], COUNT);
    bench.aws.call_limit(None);
    bench.aws.latency(Duration::ZERO);
    whole(&bench, 0..COUNT);
}

/// What is there without its package is not gone: that would pass for no loss.
#[test]
fn a_package_that_is_not_where_lambda_says_is_a_failure() {
    let bench = Bench::new();
    functions(&bench);
    bench
        .aws
        .fault(On::Object.always(), Fault::S3(S3Error::NoSuchKey));
    let ran = backup(&bench, &["--all", "--max-attempts", "2"]).expect(6);
    assert!(
        statuses(&ran)
            .values()
            .all(|status| status == "unavailable")
    );
    assert_eq!(total(&ran), COUNT);
}

#[test]
fn a_version_that_is_not_there_is_named_with_its_function() {
    let bench = Bench::new();
    functions(&bench);
    let ran = backup(&bench, &["f00", "f01:99"]).expect(3);
    assert_eq!(statuses(&ran)["f01:99"], "failed", "{}", ran.stdout);
}
