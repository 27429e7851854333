//! Killed for real or interrupted: the bag is whole or absent, and the next run clears what was left.

use std::process::Stdio;
use std::time::{Duration, Instant};

use larder_testkit::Fault;
use larder_testkit::On;

use super::{is_whole, snapshot};
use crate::harness::{Bench, finish};
use crate::proof::{each, package, planted};

const MOMENTS: usize = 24;
const ARGUMENTS: [&str; 7] = [
    "snapshot",
    "web",
    "api",
    "--bag",
    "bag",
    "--max-rate",
    "1000",
];

fn bench() -> Bench {
    let bench = Bench::new();
    planted(&bench, "web")
        .zip(package(1, 300_000))
        .publish()
        .alias("live", "1")
        .create();
    planted(&bench, "api").zip(package(2, 200_000)).create();
    bench.aws.connection_rate(Some(4_000_000));
    bench
}

#[test]
fn killed_at_any_moment_a_bag_is_whole_or_absent() {
    let since = Instant::now();
    bench().run(&ARGUMENTS).expect(0);
    let longest = since.elapsed().mul_f64(1.1);
    let mut random = fastrand::Rng::with_seed(0xbad);
    let cases: Vec<Duration> = (0..MOMENTS)
        .map(|_| longest.mul_f64(random.f64()))
        .collect();
    each(
        &cases,
        |moment| format!("killed after {moment:?}"),
        |&moment| {
            let bench = bench();
            let mut child = bench
                .command(&ARGUMENTS)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            std::thread::sleep(moment);
            child.kill().unwrap();
            finish(child);
            if bench.path("bag").exists() {
                is_whole(&bench.path("bag"));
            } else {
                snapshot(&bench, &["web", "api"]).expect(0);
                is_whole(&bench.path("bag"));
            }
            assert_eq!(bench.names(), ["bag"], "a leftover of the killed run");
        },
    );
}

#[test]
fn an_interrupt_leaves_nothing() {
    let bench = bench();
    bench.aws.fault(
        On::Object.always(),
        Fault::Stall {
            after: 10_000,
            time: None,
        },
    );
    let child = bench
        .command(&ARGUMENTS)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(
        bench
            .aws
            .wait_for_bytes("GetObject", 5000, Duration::from_secs(30))
    );
    let done = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(done.unwrap().success());
    let began = Instant::now();
    finish(child).expect(130);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}
