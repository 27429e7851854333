//! Large packages over several connections: whichever way the bytes come, they are the package, and each comes once.

use std::ops::Range;

use larder_testkit::{Fault, On, packages};

use crate::harness::Bench;

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
