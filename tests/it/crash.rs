//! Runs that are killed for real (SIGKILL) at random moments: the destination is whole or absent, or what it was, and a
//! rerun just works and clears what was left. `src/files/tests/crash.rs` kills at every named moment of publishing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use larder_testkit::{Fault, Function, On, Tree, code_sha256};

use crate::harness::{Bench, finish, json, names};
use crate::proof::{each, planted};

const SEED: u64 = 0xdead_0050;
/// How many moments of each table.
const MOMENTS: usize = 50;
const SOON: Duration = Duration::from_secs(30);

/// Some hundred small files and one larger: downloading and unpacking both take a while.
fn tree(seed: u64) -> Tree {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut data = vec![0_u8; 200_000];
    random.fill(&mut data);
    (0..150).fold(Tree::new().file("data.bin", data), |tree, n| {
        tree.file(&format!("d{}/f{n}.txt", n % 7), format!("{seed} {n}\n"))
    })
}

fn start(bench: &Bench, arguments: &[&str]) -> Child {
    bench
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Which tree lies at `out`, whole: package, records and code belong together. None when there is nothing.
#[track_caller]
fn whole(bench: &Bench, seeds: &[u64]) -> Option<u64> {
    let out = bench.path("out");
    if !out.exists() {
        return None;
    }
    assert_eq!(
        names(&out),
        ["code", "function.json", "larder.json", "package.zip"]
    );
    let zip = std::fs::read(out.join("package.zip")).unwrap();
    let seed = seeds.iter().copied().find(|seed| tree(*seed).zip() == zip);
    let seed = seed.expect("package.zip is one of the packages, whole");
    let differences = tree(seed).differences(&out.join("code")).unwrap();
    assert!(differences.is_empty(), "a mixture: {differences:?}");
    assert_eq!(
        bench.record("out")["package"]["code_sha256"],
        code_sha256(&zip)
    );
    let answer = json(&out.join("function.json"));
    assert_eq!(answer["Configuration"]["CodeSha256"], code_sha256(&zip));
    Some(seed)
}

fn bench() -> (Bench, Function) {
    let bench = Bench::new();
    let function = planted(&bench, "web").zip(tree(1).zip()).create();
    bench.aws.connection_rate(Some(4_000_000));
    (bench, function)
}

/// Moments over the whole of a run that is not killed, and a little after it.
fn moments(salt: u64, prepare: impl Fn() -> Bench, arguments: &[&str]) -> Vec<Duration> {
    let bench = prepare();
    let since = Instant::now();
    bench.run(arguments).expect(0);
    let longest = since.elapsed().mul_f64(1.1);
    let mut random = fastrand::Rng::with_seed(SEED ^ salt);
    (0..MOMENTS)
        .map(|_| longest.mul_f64(random.f64()))
        .collect()
}

/// Runs, kills after `moment`, and says whether it was in time.
fn killed(bench: &Bench, arguments: &[&str], moment: Duration) {
    let mut child = start(bench, arguments);
    std::thread::sleep(moment);
    child.kill().unwrap(); // SIGKILL; nothing happens where it has ended already
    finish(child);
}

#[test]
fn killed_at_any_moment_a_destination_is_whole_or_absent() {
    let arguments = ["fetch", "web", "out"];
    let cases = moments(1, || bench().0, &arguments);
    each(
        &cases,
        |moment| format!("killed after {moment:?}"),
        |&moment| {
            let (bench, _) = bench();
            killed(&bench, &arguments, moment);
            if whole(&bench, &[1]).is_none() {
                bench.run(&arguments).expect(0);
            } else {
                bench.run(&["fetch", "web", "out", "--update"]).expect(0);
            }
            assert_eq!(whole(&bench, &[1]), Some(1));
            assert_eq!(bench.names(), ["out"], "a leftover of the killed run");
        },
    );
}

#[test]
fn killed_at_any_moment_a_replaced_destination_is_the_old_or_the_new_one() {
    let arguments = ["fetch", "web", "out", "--force"];
    let prepare = || {
        let (bench, function) = bench();
        bench.run(&["fetch", "web", "out", "--no-sync"]).expect(0);
        function.update_code(tree(2).zip());
        bench
    };
    let cases = moments(2, prepare, &arguments);
    each(
        &cases,
        |moment| format!("killed after {moment:?}"),
        |&moment| {
            let bench = prepare();
            killed(&bench, &arguments, moment);
            let there = whole(&bench, &[1, 2]);
            assert!(there.is_some(), "the destination is gone");
            bench.run(&arguments).expect(0);
            assert_eq!(whole(&bench, &[1, 2]), Some(2));
            assert_eq!(bench.names(), ["out"], "a leftover of the killed run");
        },
    );
}

#[test]
fn killed_in_the_middle_of_the_download_a_rerun_clears_what_was_left() {
    let (bench, _) = bench();
    bench.aws.fault(On::Object, Fault::stall(100_000));
    for round in 1..=3 {
        bench.aws.fault(On::Object, Fault::stall(100_000));
        let mut child = start(&bench, &["fetch", "web", "out"]);
        assert!(bench.aws.wait_until(SOON, |requests| {
            requests
                .iter()
                .filter(|r| r.operation == "GetObject" && r.bytes_sent >= 100_000)
                .count()
                >= round
        }));
        child.kill().unwrap();
        finish(child);
        // Each run clears what the one before it left, so there is one staging and never two.
        assert_eq!(bench.names().len(), 1, "{:?}", bench.names());
        assert!(!bench.path("out").exists());
    }
    bench.aws.clear_faults();
    bench.run(&["fetch", "web", "out"]).expect(0);
    assert_eq!(whole(&bench, &[1]), Some(1));
    assert_eq!(bench.names(), ["out"]);
}

#[test]
fn a_live_run_is_left_alone_by_another() {
    let (bench, _) = bench();
    bench
        .aws
        .fault(On::Object, Fault::pause(100_000, Duration::from_secs(4)));
    let slow = start(&bench, &["fetch", "web", "out"]);
    assert!(bench.aws.wait_for_bytes("GetObject", 100_000, SOON));
    bench.run(&["fetch", "web", "out"]).expect(0);
    assert_eq!(
        bench.names().len(),
        2,
        "the other run's staging stays: {:?}",
        bench.names()
    );
    // The slower one finds the destination taken when it is done, and takes nothing away.
    let ran = finish(slow).expect(8);
    assert!(ran.stderr.contains("already exists"), "{}", ran.stderr);
    assert_eq!(whole(&bench, &[1]), Some(1));
    assert_eq!(bench.names(), ["out"]);
}

#[test]
fn an_update_after_a_kill_between_two_renames_finds_the_record_again() {
    let bench = Bench::new();
    let zip = larder_testkit::packages::python_package().zip();
    bench.aws.function("web").zip(zip).create();
    bench.run(&["fetch", "web", "out"]).expect(0);
    // What a killed run leaves where the file system cannot exchange two names: the record is aside.
    let wrapper = bench.path(".out.larder-0123456789abcdef");
    std::fs::create_dir_all(wrapper.join("new")).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(wrapper.join("lock"), "").unwrap();
    std::fs::rename(bench.path("out"), wrapper.join("old")).unwrap();
    let ran = bench.run(&["fetch", "web", "out", "--update"]).expect(0);
    assert!(ran.stdout.contains("unchanged"), "{}", ran.stdout);
    assert_eq!(bench.names(), ["out"]);
}
