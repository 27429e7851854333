//! Large packages over several connections: whichever way the bytes come, they are the package, and each comes once.

#![allow(clippy::too_many_lines, reason = "a table is as long as what it lists")]

use std::ops::Range;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use larder_testkit::{Cut, Fault, On, S3Error, packages};

use crate::harness::{Bench, finish};
use crate::proof::{each, harmless, on_tmpfs};

/// Large enough for parts, in bytes.
const SIZE: usize = 40 << 20;
/// The documented most connections for one package.
const CONNECTIONS: usize = 4;
/// A connection's limit that makes one connection the bottleneck, in bytes a second.
const SLOW: u64 = 30_000_000;

/// The ranges that were asked for and answered, in order.
fn ranges(bench: &Bench) -> Vec<Range<u64>> {
    let size = SIZE as u64;
    let mut ranges: Vec<_> = bench
        .aws
        .requests_of("GetObject")
        .iter()
        .map(|request| match request.range() {
            Some(text) => {
                let text = text.strip_prefix("bytes=").unwrap();
                let (first, last) = text.split_once('-').unwrap();
                let end = last.parse().map_or(size, |last: u64| last + 1);
                first.parse().unwrap()..end
            }
            None => 0..size,
        })
        .collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

fn fetched(bench: &Bench) -> (Vec<u8>, serde_json::Value) {
    let package = std::fs::read(bench.path("f/package.zip")).unwrap();
    (package, bench.record("f")["transfer"].clone())
}

#[test]
fn parts_cover_the_package_once_over_few_connections() {
    for rate in [Some(SLOW), None] {
        let bench = Bench::new();
        let zip = packages::zip_of_size(SIZE, 11);
        let size = zip.len() as u64;
        bench.aws.function("f").zip(zip.clone()).create();
        bench.aws.connection_rate(rate);
        bench
            .run(&["fetch", "f", "--no-unpack", "--no-sync"])
            .expect(0);
        let (package, transfer) = fetched(&bench);
        assert!(package == zip, "the bytes differ at {rate:?}");
        let mut at = 0;
        for range in ranges(&bench) {
            assert_eq!(range.start, at, "a gap or an overlap at {rate:?}");
            at = range.end.min(size);
        }
        assert_eq!(at, size);
        assert_eq!(bench.aws.bytes_sent("GetObject"), size);
        assert!(bench.aws.most_at_once("GetObject") <= CONNECTIONS);
        assert_eq!(transfer["attempts"], 1);
        assert_eq!(transfer["requests"], bench.aws.count("GetObject"));
        assert_eq!(transfer["resumed"], 0);
        if rate.is_some() {
            assert!(
                bench.aws.most_at_once("GetObject") > 1,
                "one connection at a time"
            );
        }
        assert_eq!(bench.aws.count("GetFunction"), 1);
    }
}

#[test]
fn a_part_that_breaks_goes_on_where_it_stopped() {
    for (case, fault) in [
        ("fin", Fault::fin(3_000_000)),
        ("rst", Fault::rst(3_000_000)),
    ] {
        let bench = Bench::new();
        let zip = packages::zip_of_size(SIZE, 12);
        let size = zip.len() as u64;
        bench.aws.function("f").zip(zip.clone()).create();
        bench.aws.connection_rate(Some(SLOW));
        bench.aws.fault(On::Object.nth(3), fault);
        bench
            .run(&["fetch", "f", "--no-unpack", "--no-sync"])
            .expect(0);
        let (package, transfer) = fetched(&bench);
        assert!(package == zip, "{case}: the bytes differ");
        assert_eq!(transfer["resumed"], 1, "{case}");
        assert_eq!(transfer["attempts"], 2, "{case}");
        // What a reset connection had sent and larder had not read yet is lost on the way, on any network.
        let slack = if case == "rst" { 3_000_000 } else { 0 };
        let sent = bench.aws.bytes_sent("GetObject");
        assert!(
            (size..=size + slack).contains(&sent),
            "{case}: {sent} of {size}"
        );
    }
}

#[test]
fn a_part_with_other_bytes_is_caught_and_the_package_fetched_once_more() {
    let bench = Bench::new();
    let zip = packages::zip_of_size(SIZE, 13);
    bench.aws.function("f").zip(zip.clone()).create();
    bench.aws.connection_rate(Some(SLOW));
    // All parts of the first round, of which one holds the byte.
    bench.aws.fault(On::Object.times(5), Fault::flip(20 << 20));
    bench
        .run(&["fetch", "f", "--no-unpack", "--no-sync"])
        .expect(0)
        .says(&["warning: ", "SHA-256"]);
    assert!(fetched(&bench).0 == zip);
    // The second download is one plain request, so that it can rule out a fault of the first.
    let requests = bench.aws.requests_of("GetObject");
    assert_eq!(requests.iter().filter(|r| r.range().is_none()).count(), 1);
    assert!(requests.last().unwrap().range().is_none());
}

#[test]
fn one_connection_is_used_where_several_do_not_suit_the_server() {
    let refused = |fault: fn() -> Fault| {
        let bench = Bench::new();
        let zip = packages::zip_of_size(SIZE, 18);
        bench.aws.function("f").zip(zip.clone()).create();
        bench.aws.connection_rate(Some(SLOW));
        for nth in 3..=4 {
            bench.aws.fault(On::Object.nth(nth), fault());
        }
        bench
            .run(&["fetch", "f", "--no-unpack", "--no-sync"])
            .expect(0);
        assert!(fetched(&bench).0 == zip);
        bench
    };
    let bench = refused(|| Fault::etag("\"another\""));
    assert!(
        bench
            .aws
            .requests_of("GetObject")
            .last()
            .unwrap()
            .range()
            .is_none()
    );
    refused(|| Fault::S3(larder_testkit::S3Error::PreconditionFailed));
    refused(Fault::slow_down);
}

#[test]
fn parts_that_came_stay_when_only_the_url_has_ended() {
    let bench = Bench::new();
    let zip = packages::zip_of_size(SIZE, 19);
    let size = zip.len() as u64;
    bench.aws.function("f").zip(zip.clone()).create();
    bench.aws.connection_rate(Some(SLOW));
    let expired = larder_testkit::S3Error::RequestHasExpired;
    bench.aws.fault(On::Object.nth(4), Fault::S3(expired));
    bench
        .run(&["fetch", "f", "--no-unpack", "--no-sync"])
        .expect(0);
    let (package, transfer) = fetched(&bench);
    assert!(package == zip);
    assert_eq!(transfer["url_refreshes"], 1);
    let sent: u64 = bench
        .aws
        .requests_of("GetObject")
        .iter()
        .filter(|r| r.status == Some(206))
        .map(|r| r.bytes_sent)
        .sum();
    assert_eq!(sent, size);
}

#[test]
fn a_server_that_stops_to_honour_ranges_is_asked_for_the_whole() {
    let bench = Bench::new();
    let zip = packages::zip_of_size(SIZE, 14);
    bench.aws.function("f").zip(zip.clone()).create();
    bench.aws.connection_rate(Some(SLOW));
    bench.aws.fault(On::Object.nth(3), Fault::IgnoreRange);
    bench.aws.fault(On::Object.nth(4), Fault::IgnoreRange);
    bench
        .run(&["fetch", "f", "--no-unpack", "--no-sync"])
        .expect(0);
    assert!(fetched(&bench).0 == zip);
}

#[test]
fn code_that_changes_between_parts_is_fetched_anew() {
    let bench = Bench::new();
    let (old, new) = (
        packages::zip_of_size(SIZE, 15),
        packages::zip_of_size(SIZE, 16),
    );
    let function = bench.aws.function("f").zip(old).create();
    bench.aws.connection_rate(Some(SLOW));
    // The object's version stays readable, so only a URL that has to be renewed shows the change.
    function.update_code_on(larder_testkit::Trigger::ObjectBytes(2_000_000), new.clone());
    bench.aws.fault(
        On::Object.nth(4),
        Fault::S3(larder_testkit::S3Error::RequestHasExpired),
    );
    bench
        .run(&["fetch", "f", "--no-unpack", "--no-sync"])
        .expect(0);
    let (package, transfer) = fetched(&bench);
    assert!(package == new);
    assert_eq!(transfer["code_changes"], 1);
}

/// The first part, and three that come beside each other, in bytes.
const SMALL: usize = 32 << 20;
/// The part that is fetched alone first, and the parts that follow it, in bytes.
const PART: u64 = 8 << 20;

/// A fault of one of the requests for parts, and what it may cost.
struct Case {
    name: String,
    faults: Vec<(u64, Fault)>,
    /// Bytes that may be sent twice.
    again: u64,
    /// `GetFunction` calls.
    calls: usize,
    /// Tries more than one.
    breaks: bool,
}

impl Case {
    fn new(name: impl Into<String>, nth: u64, fault: Fault) -> Self {
        Self {
            name: name.into(),
            faults: vec![(nth, fault)],
            again: 0,
            calls: 1,
            breaks: true,
        }
    }

    fn and(mut self, nth: u64, fault: Fault) -> Self {
        self.faults.push((nth, fault));
        self
    }

    fn again(mut self, bytes: u64) -> Self {
        self.again = bytes;
        self
    }

    fn calls(mut self, calls: usize) -> Self {
        self.calls = calls;
        self
    }

    /// The answer is odd, and good for all that.
    fn unbroken(mut self) -> Self {
        self.breaks = false;
        self
    }
}

/// What holds whatever happens to a part: the package arrives, over no more than the documented connections, and only
/// what a fault destroys is fetched again.
#[test]
fn whatever_befalls_a_part_the_package_arrives() {
    let whole = SMALL as u64 + PART;
    let mut random = fastrand::Rng::with_seed(0x9a27_0001);
    let mut cases = Vec::new();
    for at in (0..8).map(|_| random.u64(1..PART)).chain([0, 1, PART - 1]) {
        // Requests 2 to 4 are the parts beside each other.
        let n = 2 + at % 3;
        cases.push(Case::new(
            format!("closed: request {n} after {at}"),
            n,
            Fault::fin(at),
        ));
    }
    for at in (0..4).map(|_| random.u64(1..PART)) {
        // Requests 2 to 4 are the parts beside each other.
        let n = 2 + at % 3;
        let case = Case::new(format!("reset: request {n} after {at}"), n, Fault::rst(at));
        cases.push(case.again(PART));
    }
    let all = |name: &str, fault: fn() -> Fault| {
        Case::new(name, 2, fault()).and(3, fault()).and(4, fault())
    };
    cases.extend([
        Case::new("the first part is closed", 1, Fault::fin(3_333_333)),
        all("all parts are closed", || Fault::fin(1_234_567)),
        all("all parts stand still", || Fault::stall(1_234_567)),
        Case::new("stands still", 3, Fault::stall(999_999)),
        Case::new("stands still at once", 2, Fault::stall(0)),
        Case::new("trickles", 3, Fault::Rate(300)).again(PART),
        Case::new("no answer", 2, Fault::NoAnswer),
        Case::new("hung up", 3, Fault::Hangup(Cut::Rst)),
        Case::new(
            "the head comes late",
            2,
            Fault::Delay(Duration::from_secs(3)),
        )
        .again(PART),
        all("500", || Fault::S3(S3Error::InternalError)).again(1 << 20),
        Case::new("503", 3, Fault::slow_down()).again(1 << 20),
        Case::new("429", 2, Fault::throttled(Some(1))).again(1 << 20),
        Case::new("expired", 3, Fault::S3(S3Error::RequestHasExpired))
            .again(1 << 20)
            .calls(2),
        all("the token expired", || Fault::S3(S3Error::ExpiredToken))
            .again(1 << 20)
            .calls(2),
        Case::new(
            "another Content-Range",
            2,
            Fault::content_range("bytes 5-9/10"),
        )
        .again(whole)
        .calls(2),
        Case::new(
            "no Content-Range",
            3,
            Fault::NoHeader("Content-Range".into()),
        )
        .again(whole)
        .calls(2),
        Case::new(
            "a part that is too short",
            2,
            Fault::Shorter {
                by: 9,
                honest: true,
            },
        )
        .again(whole)
        .calls(2),
        Case::new(
            "a part that is too long",
            3,
            Fault::Longer {
                by: 9,
                honest: true,
            },
        )
        .again(whole)
        .calls(2),
        Case::new(
            "a part that goes on behind its end",
            2,
            Fault::Longer {
                by: 9000,
                honest: false,
            },
        )
        .again(9000)
        .unbroken(),
        Case::new("a part without a length", 3, Fault::Chunked).unbroken(),
        Case::new("a part until the connection ends", 2, Fault::UntilClose).unbroken(),
        Case::new("a page of HTML", 3, Fault::html())
            .again(whole)
            .calls(2),
    ]);
    each(
        &cases,
        |case| case.name.clone(),
        |case| {
            let bench = Bench::new();
            let zip = packages::zip_of_size(SMALL, 21);
            bench.aws.function("f").zip(zip.clone()).create();
            bench.aws.connection_rate(Some(SLOW));
            for (nth, fault) in &case.faults {
                bench.aws.fault(On::Object.nth(*nth), fault.clone());
            }
            let arguments = [
                "fetch",
                "f",
                "--no-unpack",
                "--no-sync",
                "--read-timeout",
                "1s",
            ];
            let ran = bench.run(&arguments).expect(0);
            harmless(&ran);
            let (package, transfer) = fetched(&bench);
            assert!(package == zip, "the bytes differ");
            assert_eq!(transfer["attempts"] != 1, case.breaks, "{transfer}");
            let sent = bench.aws.bytes_sent("GetObject");
            let size = zip.len() as u64;
            assert!(
                (size..=size + case.again).contains(&sent),
                "{sent} bytes sent of {size}, {} more may be",
                case.again
            );
            assert_eq!(bench.aws.count("GetFunction"), case.calls, "{}", ran.stderr);
            assert!(bench.aws.most_at_once("GetObject") <= CONNECTIONS);
            assert_eq!(bench.names(), ["f"]);
        },
    );
}

/// Starts a fetch, and waits until several of its connections have brought bytes.
fn under_way(bench: &Bench, arguments: &[&str]) -> Child {
    let child = bench
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let several = bench.aws.wait_until(Duration::from_secs(60), |requests| {
        let open = requests
            .iter()
            .filter(|r| r.operation == "GetObject" && !r.complete && r.bytes_sent > 500_000);
        open.count() > 1
    });
    assert!(several, "one connection at a time");
    child
}

#[test]
fn killed_while_parts_come_nothing_is_taken_for_whole() {
    let mut random = fastrand::Rng::with_seed(0x9a27_0003);
    let moments: Vec<u64> = (0..6).map(|_| random.u64(0..1500)).collect();
    each(
        &moments,
        |ms| format!("{ms} ms after several connections were at work"),
        |ms| {
            let bench = Bench::new();
            let zip = packages::zip_of_size(SMALL, 22);
            bench.aws.function("f").zip(zip.clone()).create();
            bench.aws.connection_rate(Some(4_000_000));
            let arguments = ["fetch", "f", "--no-unpack"];
            let mut child = under_way(&bench, &arguments);
            std::thread::sleep(Duration::from_millis(*ms));
            child.kill().unwrap();
            finish(child);
            assert!(!bench.path("f").exists());
            assert_eq!(bench.names().len(), 1, "one staging: {:?}", bench.names());
            bench.aws.connection_rate(None);
            bench.run(&arguments).expect(0);
            assert!(fetched(&bench).0 == zip);
            assert_eq!(bench.names(), ["f"], "a leftover of the killed run");
        },
    );
}

#[test]
fn a_disk_that_fills_while_parts_come_is_told_at_once() {
    let bench = Bench::new();
    bench
        .aws
        .function("f")
        .zip(packages::zip_of_size(SIZE, 23))
        .create();
    bench.aws.connection_rate(Some(SLOW));
    let arguments = ["fetch", "f", "--no-unpack", "--output", "json"];
    // Room for the first part and a half of those that come beside each other.
    for room in ["size=12m", "size=30m"] {
        let before = bench.aws.count("GetObject");
        let Some((ran, left)) = on_tmpfs(&bench, room, "", &arguments) else {
            return;
        };
        let ran = ran.expect(8);
        let error = ran.json_error();
        assert_eq!(error["kind"], "disk_full", "{error}");
        assert!(
            error["hint"]
                .as_str()
                .is_some_and(|h| h.contains("free some space")),
            "{error}"
        );
        assert_eq!(left, [""; 0], "left behind with {room}");
        assert!(bench.aws.most_at_once("GetObject") > 1);
        // A full disk is no fault of the network: nothing is asked for again.
        let asked = bench.aws.count("GetObject") - before;
        assert!(asked <= 6, "{asked} requests with {room}");
    }
    let (ran, _) = on_tmpfs(&bench, "size=64m", "", &arguments).unwrap();
    ran.expect(0);
}

/// A package that takes longer than its URL lives: each URL is replaced in time, and no byte is fetched twice.
#[test]
fn urls_that_end_while_parts_come_are_replaced_in_time() {
    let bench = Bench::new();
    let zip = packages::zip_of_size(SIZE, 24);
    bench.aws.function("f").zip(zip.clone()).create();
    bench.aws.connection_rate(Some(2_000_000));
    bench.aws.url_lifetime(Duration::from_secs(3));
    let ran = bench
        .run(&["fetch", "f", "--no-unpack", "--no-sync"])
        .expect(0);
    assert_eq!(ran.stderr, "");
    let (package, transfer) = fetched(&bench);
    assert!(package == zip);
    assert_eq!(bench.aws.bytes_sent("GetObject"), zip.len() as u64);
    let refreshes = transfer["url_refreshes"].as_u64().unwrap();
    assert!((1..=5).contains(&refreshes), "{transfer}");
    assert_eq!(bench.aws.count("GetFunction") as u64, 1 + refreshes);
    assert_eq!(
        (transfer["attempts"].as_u64(), transfer["resumed"].as_u64()),
        (Some(1), Some(0)),
        "a URL that merely grew old costs no attempt, and breaks nothing"
    );
    let statuses = bench.aws.requests_of("GetObject");
    assert!(
        statuses.iter().all(|r| r.status == Some(206)),
        "no request is refused"
    );
}

/// The same at its true size: 250 MB at 200 kB/s over all connections, with URLs that live 60 s.
#[test]
#[ignore = "takes 25 minutes"]
fn a_package_of_250_mb_arrives_at_200_kb_a_second_with_urls_of_60_seconds() {
    let bench = Bench::new();
    let zip = packages::zip_of_size(250_000_000, 25);
    bench.aws.function("f").zip(zip.clone()).create();
    bench
        .aws
        .connection_rate(Some(200_000 / CONNECTIONS as u64));
    bench.aws.url_lifetime(Duration::from_secs(60));
    let began = Instant::now();
    let status = bench
        .command(&["fetch", "f", "--no-unpack"])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0), "after {:?}", began.elapsed());
    let (package, transfer) = fetched(&bench);
    assert!(package == zip);
    assert_eq!(bench.aws.bytes_sent("GetObject"), zip.len() as u64);
    eprintln!("{:?}: {transfer}", began.elapsed());
}
