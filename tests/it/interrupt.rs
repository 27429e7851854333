//! Ctrl-C and SIGTERM in each phase: exit code 130, soon, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use larder_testkit::zip::ZipBuilder;
use larder_testkit::{Fault, On, packages};

use crate::harness::{Bench, Ran, finish, names, write};
use crate::proof::{each, harmless, package, planted, snapshot};

/// The longest that a test waits for a phase to begin.
const SOON: Duration = Duration::from_secs(30);
/// A run that is interrupted ends at once; this much is granted to a busy machine.
const AT_ONCE: Duration = Duration::from_secs(8);

fn start(bench: &Bench, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
    bench
        .command(arguments)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// Sends the signal and waits for the end.
#[track_caller]
fn interrupt(child: Child, name: &str) -> Ran {
    let since = Instant::now();
    signal(&child, name);
    let ran = finish(child);
    assert!(
        since.elapsed() < AT_ONCE,
        "it took {:?} to stop: {ran:?}",
        since.elapsed()
    );
    ran
}

/// Waits until something is so on disk.
#[track_caller]
fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < SOON, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The staging directory of the bench, while there is one.
fn staging(bench: &Bench) -> Option<std::path::PathBuf> {
    let name = bench
        .names()
        .into_iter()
        .find(|name| name.starts_with(".out.larder-"))?;
    Some(bench.path(name))
}

/// 300 MiB in a package of some hundred KiB, so that unpacking takes its time.
fn large() -> Vec<u8> {
    let zeros = vec![0_u8; 10 << 20];
    (0..30)
        .fold(ZipBuilder::new(), |zip, n| {
            zip.file(format!("zeros-{n}"), &zeros)
        })
        .build()
}

struct Phase {
    name: &'static str,
    arrange: fn(&Bench),
    arguments: &'static [&'static str],
    begun: fn(&Bench),
}

const PHASES: &[Phase] = &[
    Phase {
        name: "waiting for credentials",
        arrange: |bench| {
            write(
                bench.path("config"),
                "[profile slow]\ncredential_process = sleep 40\nregion = us-east-1\n",
            );
        },
        arguments: &["--profile", "slow"],
        begun: |_| std::thread::sleep(Duration::from_millis(700)),
    },
    Phase {
        name: "asking",
        arrange: |bench| bench.aws.fault(On::GetFunction.always(), Fault::NoAnswer),
        arguments: &[],
        begun: |bench| assert!(bench.aws.wait_until(SOON, |r| !r.is_empty())),
    },
    Phase {
        name: "waiting to ask again",
        arrange: |bench| {
            bench
                .aws
                .fault(On::GetFunction.always(), Fault::throttled(Some(50)));
        },
        arguments: &[],
        begun: |bench| assert!(bench.aws.wait_until(SOON, |r| r.iter().any(|r| r.complete))),
    },
    Phase {
        name: "waiting for the object",
        arrange: |bench| bench.aws.fault(On::Object.always(), Fault::NoAnswer),
        arguments: &[],
        begun: |bench| {
            assert!(
                bench
                    .aws
                    .wait_until(SOON, |r| r.iter().any(|r| r.operation == "GetObject"))
            );
        },
    },
    Phase {
        name: "downloading, while nothing comes",
        arrange: |bench| bench.aws.fault(On::Object.always(), Fault::stall(300_000)),
        arguments: &[],
        begun: |bench| assert!(bench.aws.wait_for_bytes("GetObject", 300_000, SOON)),
    },
    Phase {
        name: "downloading, while it trickles",
        arrange: |bench| bench.aws.connection_rate(Some(50_000)),
        arguments: &[],
        begun: |bench| assert!(bench.aws.wait_for_bytes("GetObject", 20_000, SOON)),
    },
    Phase {
        name: "downloading over several connections",
        arrange: |bench| {
            planted(bench, "web")
                .zip(packages::zip_of_size(32 << 20, 3))
                .create();
            bench.aws.connection_rate(Some(8_000_000));
        },
        arguments: &[],
        begun: |bench| {
            assert!(bench.aws.wait_until(SOON, |r| {
                let at_work = |r: &&larder_testkit::Request| !r.complete && r.bytes_sent > 300_000;
                r.iter().filter(at_work).count() > 1
            }));
        },
    },
    Phase {
        name: "waiting to go on with the download",
        arrange: |bench| {
            bench
                .aws
                .fault(On::Object.always(), Fault::throttled(Some(50)));
        },
        arguments: &[],
        begun: |bench| {
            assert!(bench.aws.wait_until(SOON, |r| {
                r.iter().any(|r| r.operation == "GetObject" && r.complete)
            }));
        },
    },
    Phase {
        name: "unpacking",
        arrange: |bench| {
            planted(bench, "web").zip(large()).create();
        },
        arguments: &["--max-unpacked-size", "1GiB"],
        begun: |bench| {
            wait_until("the unpacking", || {
                staging(bench).is_some_and(|dir| !names(&dir.join("new/code")).is_empty())
            });
        },
    },
];

#[test]
fn an_interrupt_in_each_phase_leaves_nothing() {
    let cases: Vec<_> = PHASES
        .iter()
        .flat_map(|phase| [(phase, "-INT", false), (phase, "-TERM", true)])
        .collect();
    each(
        &cases,
        |(phase, signal, _)| format!("{} {signal}", phase.name),
        |&(phase, signal, json)| {
            let bench = Bench::new();
            planted(&bench, "web").zip(package(1, 1 << 20)).create();
            (phase.arrange)(&bench);
            let before = snapshot(bench.dir.path());
            let mut arguments = vec!["fetch", "web", "out"];
            arguments.extend(phase.arguments);
            if json {
                arguments.extend(["--output", "json", "-vvv"]);
            }
            let config = bench.path("config").display().to_string();
            let mut command = bench.command(&arguments);
            if phase.arguments.contains(&"--profile") {
                for name in [
                    "AWS_ACCESS_KEY_ID",
                    "AWS_SECRET_ACCESS_KEY",
                    "AWS_SESSION_TOKEN",
                ] {
                    command.env_remove(name);
                }
                command.env("AWS_CONFIG_FILE", &config);
            }
            let child = command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            (phase.begun)(&bench);
            let ran = interrupt(child, signal).expect(130).says(&["interrupted"]);
            harmless(&ran);
            assert_eq!(ran.stdout, "");
            if json {
                assert_eq!(ran.json_error()["kind"], "interrupted");
                assert_eq!(ran.json_error()["exit_code"], 130);
            }
            assert_eq!(snapshot(bench.dir.path()), before);
        },
    );
}

#[test]
fn an_interrupt_leaves_the_earlier_record() {
    for option in ["--force", "--update"] {
        let bench = Bench::new();
        let function = planted(&bench, "web").zip(package(1, 4000)).create();
        bench.run(&["fetch", "web", "out"]).expect(0);
        function.update_code(package(2, 400_000));
        bench.aws.fault(On::Object.always(), Fault::stall(300_000));
        let before = snapshot(bench.dir.path());
        let child = start(&bench, &["fetch", "web", "out", option], &[]);
        assert!(bench.aws.wait_for_bytes("GetObject", 300_000, SOON));
        interrupt(child, "-INT").expect(130);
        assert_eq!(snapshot(bench.dir.path()), before, "{option}");
    }
}

#[test]
fn an_interrupt_at_any_moment_leaves_all_or_nothing() {
    let mut random = fastrand::Rng::with_seed(7);
    let moments: Vec<u64> = (0..24).map(|_| random.u64(0..260)).collect();
    each(
        &moments,
        |ms| format!("after {ms} ms"),
        |&ms| {
            let bench = Bench::new();
            planted(&bench, "web").zip(package(1, 400_000)).create();
            bench.aws.connection_rate(Some(8_000_000));
            let child = start(&bench, &["fetch", "web", "out"], &[]);
            std::thread::sleep(Duration::from_millis(ms));
            let ran = interrupt(child, "-INT");
            // Before the program has set itself up, the signal ends it as it does any process (-1 here).
            match ran.code {
                130 | -1 => assert_eq!(bench.names(), [""; 0], "{}", ran.stderr),
                0 => {
                    assert_eq!(bench.names(), ["out"]);
                    assert_eq!(
                        std::fs::read(bench.path("out/package.zip")).unwrap(),
                        package(1, 400_000)
                    );
                }
                code => panic!("exit code {code}: {}", ran.stderr),
            }
        },
    );
}

#[test]
fn a_second_interrupt_does_not_wait_and_a_rerun_needs_nothing() {
    let bench = Bench::new();
    planted(&bench, "web").zip(large()).create();
    let arguments = ["fetch", "web", "out", "--max-unpacked-size", "1GiB"];
    let child = start(&bench, &arguments, &[]);
    wait_until("the unpacking", || {
        staging(&bench).is_some_and(|dir| !names(&dir.join("new/code")).is_empty())
    });
    signal(&child, "-INT");
    interrupt(child, "-INT").expect(130);
    assert!(!bench.path("out").exists());
    bench.run(&arguments).expect(0);
    assert_eq!(bench.names(), ["out"]);
}
