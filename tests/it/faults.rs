//! The transfer under faults: for each, the exit code, the bytes on disk, the requests on the wire, the bytes fetched
//! again, and what the record says of it. A resume refetches nothing.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "tests may panic, and a table is as long as what it lists"
)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_testkit::{
    Cut, Fault, Function, FunctionBuilder, LambdaError, On, Request, S3Error, Trigger, code_sha256,
};
use serde_json::{Value, json};

use crate::harness::{Bench, json as read_json};
use crate::proof::{each, harmless, package, planted};

/// The package of most cases, in bytes before zipping.
const SIZE: usize = 1 << 20;
/// All drop points come from it.
const SEED: u64 = 0x1a7d_e700_2026_0001;

type Arrange = Box<dyn Fn(&Bench, &Function, u64) + Send + Sync>;

/// A fault, and how a fetch ends with it.
struct Case {
    name: String,
    size: usize,
    build: fn(FunctionBuilder) -> FunctionBuilder,
    arrange: Arrange,
    arguments: Vec<&'static str>,
    code: i32,
    /// The package that must be there in the end: the seed of [`package`].
    ends_with: u64,
    /// `GetFunction` and `GetObject`.
    calls: Option<(usize, usize)>,
    /// Bytes of packages sent, over the package's length.
    again: Again,
    /// attempts, resumed, `url_refreshes`, `code_changes`
    transfer: Option<(u32, u32, u32, u32)>,
    says: Vec<&'static str>,
    silent: bool,
}

/// How many bytes may be sent more than the package has.
#[derive(Clone, Copy)]
enum Again {
    /// None: each request begins where the one before it stopped.
    Nothing,
    /// What a reset destroyed on the way: each request begins where the client stopped reading, which is never behind
    /// what was sent, and later than where the request before it began.
    InFlight,
    /// This many packages more.
    Packages(u64),
    /// It does not matter here.
    Any,
}

impl Case {
    /// With the fault that `arrange` makes (it is given the package's length), the fetch must succeed in silence, after
    /// one `GetFunction` and two `GetObject`.
    fn new(
        name: impl Into<String>,
        arrange: impl Fn(&Bench, &Function, u64) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            size: SIZE,
            build: |builder| builder,
            arrange: Box::new(arrange),
            arguments: vec!["--read-timeout", "1s"],
            code: 0,
            ends_with: 1,
            calls: None,
            again: Again::Any,
            transfer: None,
            says: Vec::new(),
            silent: false,
        }
    }

    fn on_object(name: impl Into<String>, faults: impl IntoIterator<Item = Fault>) -> Self {
        let faults: Vec<Fault> = faults.into_iter().collect();
        Self::new(name, move |bench, _, _| {
            bench.aws.faults(On::Object, faults.clone());
        })
    }

    fn always(name: impl Into<String>, fault: Fault) -> Self {
        Self::new(name, move |bench, _, _| {
            bench.aws.fault(On::Object.always(), fault.clone());
        })
        .with(&["--max-attempts", "3"])
    }

    fn on_call(name: impl Into<String>, faults: impl IntoIterator<Item = Fault>) -> Self {
        let faults: Vec<Fault> = faults.into_iter().collect();
        Self::new(name, move |bench, _, _| {
            bench.aws.faults(On::GetFunction, faults.clone());
        })
    }

    fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    fn with(mut self, arguments: &[&'static str]) -> Self {
        self.arguments.extend(arguments);
        self
    }

    fn ends(mut self, code: i32) -> Self {
        self.code = code;
        self
    }

    fn ends_with(mut self, seed: u64) -> Self {
        self.ends_with = seed;
        self
    }

    fn calls(mut self, get_function: usize, get_object: usize) -> Self {
        self.calls = Some((get_function, get_object));
        self
    }

    fn again(mut self, again: Again) -> Self {
        self.again = again;
        self
    }

    /// attempts, resumed, `url_refreshes`, `code_changes`
    fn transfer(mut self, attempts: u32, resumed: u32, refreshes: u32, changes: u32) -> Self {
        self.transfer = Some((attempts, resumed, refreshes, changes));
        self
    }

    fn says(mut self, parts: &[&'static str]) -> Self {
        self.says.extend(parts);
        self
    }

    /// Nothing on stderr.
    fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    fn check(&self) {
        let bench = Bench::new();
        let zip = package(1, self.size);
        let function = (self.build)(planted(&bench, "web").zip(zip.clone())).create();
        (self.arrange)(&bench, &function, zip.len() as u64);
        let mut arguments = vec!["fetch", "web", "out"];
        arguments.extend(&self.arguments);
        let ran = bench.run(&arguments);
        let requests = bench.aws.requests_of("GetObject");
        let wire = wire(&requests);
        assert_eq!(
            ran.code, self.code,
            "exit code\n{}{}{wire}",
            ran.stdout, ran.stderr
        );
        harmless(&ran);
        let ran = ran.says(&self.says);
        if self.silent {
            assert_eq!(ran.stderr, "");
        }
        if let Some(calls) = self.calls {
            let sent = (bench.aws.count("GetFunction"), requests.len());
            assert_eq!(
                sent, calls,
                "GetFunction and GetObject\n{}{wire}",
                ran.stderr
            );
        }
        self.check_refetched(&requests, &wire, zip.len() as u64);
        if self.code != 0 {
            assert_eq!(bench.names(), [""; 0], "left behind");
            assert!(ran.stderr.contains("error: "), "{}", ran.stderr);
            return;
        }
        assert_eq!(bench.names(), ["out"]);
        self.check_record(&bench, &requests);
    }

    /// The record, `GetFunction`'s answer, the package and the code are of one state.
    fn check_record(&self, bench: &Bench, requests: &[Request]) {
        let zip = package(self.ends_with, self.size);
        assert!(
            fs::read(bench.path("out/package.zip")).unwrap() == zip,
            "package.zip"
        );
        let code = format!("export const seed = {};\n", self.ends_with);
        assert_eq!(
            fs::read_to_string(bench.path("out/code/index.mjs")).unwrap(),
            code
        );
        let (record, answer) = (
            bench.record("out"),
            read_json(&bench.path("out/function.json")),
        );
        let digest = code_sha256(&zip);
        assert_eq!(record["package"]["code_sha256"], digest);
        assert_eq!(record["package"]["size"], zip.len());
        assert_eq!(answer["Configuration"]["CodeSha256"], digest);
        assert_eq!(
            record["function"]["revision_id"],
            answer["Configuration"]["RevisionId"]
        );
        assert_eq!(record["transfer"]["location"], answer["Code"]["Location"]);
        let location = record["transfer"]["location"].as_str().unwrap();
        let last = requests.last().unwrap();
        assert!(
            location.contains(&last.path),
            "{location} is not what was fetched, {}",
            last.path
        );
        if let Some(version) = last.query_value("versionId") {
            assert!(location.ends_with(version), "{location} is not {version}");
        }
        if let Some(expected) = self.transfer {
            let of =
                |name: &str| u32::try_from(record["transfer"][name].as_u64().unwrap()).unwrap();
            let told = (
                of("attempts"),
                of("resumed"),
                of("url_refreshes"),
                of("code_changes"),
            );
            assert_eq!(
                told,
                expected,
                "attempts, resumed, url_refreshes, code_changes\n{}",
                wire(requests)
            );
        }
    }

    fn check_refetched(&self, requests: &[Request], wire: &str, size: u64) {
        let sent: u64 = requests.iter().map(|r| r.bytes_sent).sum();
        match self.again {
            Again::Nothing => {
                assert_eq!(sent, size, "bytes sent and the package's length\n{wire}");
                for pair in requests.windows(2) {
                    assert_eq!(
                        from(&pair[1]),
                        from(&pair[0]) + pair[0].bytes_sent,
                        "{wire}"
                    );
                }
            }
            Again::InFlight => {
                for pair in requests.windows(2) {
                    let reached = from(&pair[0]) + pair[0].bytes_sent;
                    assert!(from(&pair[1]) <= reached, "{wire}");
                    assert!(
                        from(&pair[1]) > from(&pair[0]) || pair[0].bytes_sent < 64 * 1024,
                        "{wire}"
                    );
                }
            }
            Again::Packages(more) => assert_eq!(sent, size * (1 + more), "{wire}"),
            Again::Any => {}
        }
    }
}

/// The first byte that a request asks for.
fn from(request: &Request) -> u64 {
    request.range().map_or(0, |range| {
        let first = range
            .strip_prefix("bytes=")
            .and_then(|r| r.strip_suffix('-'));
        first
            .and_then(|f| f.parse().ok())
            .unwrap_or_else(|| panic!("Range: {range}"))
    })
}

fn wire(requests: &[Request]) -> String {
    let lines: Vec<String> = requests
        .iter()
        .map(|r| format!("{:?} range {:?} sent {}", r.status, r.range(), r.bytes_sent))
        .collect();
    lines.join("\n")
}

fn all(cases: &[Case]) {
    each(cases, |case| case.name.clone(), Case::check);
}

/// Seeded points over the whole body, and its edges.
fn points(salt: u64, count: usize, size: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(SEED ^ salt);
    let mut points: Vec<u64> = (0..count).map(|_| random.u64(1..size)).collect();
    points.extend([1, size - 1]);
    points
}

#[test]
fn a_connection_that_breaks_is_resumed_where_it_stopped() {
    let size = package(1, SIZE).len() as u64;
    let mut cases = Vec::new();
    for at in points(1, 10, size) {
        cases.push(
            Case::on_object(format!("closed after {at} bytes"), [Fault::fin(at)])
                .calls(1, 2)
                .again(Again::Nothing)
                .transfer(2, 1, 0, 0)
                .silent(),
        );
    }
    for at in points(2, 10, size) {
        cases.push(
            Case::on_object(format!("reset after {at} bytes"), [Fault::rst(at)])
                .calls(1, 2)
                .again(Again::InFlight)
                .silent(),
        );
    }
    all(&cases);
}

#[test]
fn a_connection_that_breaks_again_and_again() {
    let size = package(1, 2 << 20).len() as u64;
    let mut random = fastrand::Rng::with_seed(SEED ^ 3);
    // Each answer breaks after a few percent. New bytes start the count of attempts anew, so two are enough.
    let mut left = size;
    let mut drops = Vec::new();
    while left > size / 8 {
        let drop = random.u64(size / 40..size / 12);
        drops.push(Fault::fin(drop));
        left -= drop.min(left);
    }
    let count = u32::try_from(drops.len()).unwrap();
    let resets = drops
        .iter()
        .enumerate()
        .map(|(n, _)| Fault::rst(size / 50 + n as u64));
    all(&[
        Case::on_object(format!("{count} orderly ends"), drops.clone())
            .size(2 << 20)
            .with(&["--max-attempts", "2"])
            .calls(1, drops.len() + 1)
            .again(Again::Nothing)
            .transfer(count + 1, count, 0, 0),
        Case::on_object(format!("{count} resets"), resets.collect::<Vec<_>>())
            .size(2 << 20)
            .with(&["--max-attempts", "4"])
            .calls(1, drops.len() + 1)
            .again(Again::InFlight),
        Case::on_object(
            "every kind in turn",
            [
                Fault::fin(100_000),
                Fault::S3(S3Error::InternalError),
                Fault::rst(100_000),
                Fault::slow_down(),
                Fault::stall(100_000),
                Fault::Hangup(Cut::Rst),
                Fault::fin(1),
                Fault::S3(S3Error::RequestHasExpired),
            ],
        )
        .size(2 << 20)
        .calls(2, 9)
        .again(Again::Any),
    ]);
}

#[test]
fn nothing_at_all_comes() {
    all(&[
        Case::on_object("closed before the first byte of the body", [Fault::fin(0)])
            .calls(1, 2)
            .again(Again::Nothing)
            .transfer(2, 0, 0, 0),
        Case::on_object("reset before the first byte of the body", [Fault::rst(0)])
            .calls(1, 2)
            .transfer(2, 0, 0, 0),
        Case::on_object("closed before the answer", [Fault::Hangup(Cut::Fin)])
            .calls(1, 2)
            .again(Again::Nothing),
        Case::on_object("reset before the answer", [Fault::Hangup(Cut::Rst)])
            .calls(1, 2)
            .again(Again::Nothing),
        Case::on_object("no answer", [Fault::NoAnswer])
            .calls(1, 2)
            .again(Again::Nothing)
            .transfer(2, 0, 0, 0),
        Case::on_object(
            "the head comes too late",
            [Fault::Delay(Duration::from_secs(4))],
        )
        .calls(1, 2),
        Case::on_object("the head trickles", [Fault::SlowHead(20)]).calls(1, 2),
        Case::on_object(
            "the head comes late, and in time",
            [Fault::Delay(Duration::from_millis(300))],
        )
        .calls(1, 1)
        .transfer(1, 0, 0, 0)
        .silent(),
        Case::always("closed each time", Fault::fin(0))
            .ends(6)
            .calls(1, 3)
            .says(&["broke off"]),
        Case::always("reset each time", Fault::rst(0))
            .ends(6)
            .calls(1, 3)
            .says(&["broke off"]),
        Case::always("no answer each time", Fault::NoAnswer)
            .ends(6)
            .calls(1, 3)
            .says(&["in time", "--read-timeout"]),
        Case::always("hung up each time", Fault::Hangup(Cut::Fin))
            .ends(6)
            .calls(1, 3),
        Case::on_object("one attempt only", [Fault::fin(1000)])
            .with(&["--max-attempts", "1"])
            .ends(6)
            .calls(1, 1),
    ]);
}

#[test]
fn a_connection_that_stands_still_is_given_up_and_resumed() {
    let half = (SIZE / 2) as u64;
    all(&[
        Case::on_object("stands still", [Fault::stall(half)])
            .calls(1, 2)
            .again(Again::Nothing)
            .transfer(2, 1, 0, 0),
        Case::on_object("stands still at once", [Fault::stall(0)])
            .calls(1, 2)
            .again(Again::Nothing)
            .transfer(2, 0, 0, 0),
        Case::on_object("pauses", [Fault::pause(half, Duration::from_millis(300))])
            .calls(1, 1)
            .again(Again::Nothing)
            .transfer(1, 0, 0, 0)
            .silent(),
        // 300 bytes a second: never quiet for a second, and no use.
        Case::on_object("trickles", [Fault::Rate(300)])
            .calls(1, 2)
            .again(Again::InFlight)
            .transfer(2, 1, 0, 0),
        Case::on_object("slow, and steady", [Fault::Rate(700_000)])
            .calls(1, 1)
            .again(Again::Nothing)
            .transfer(1, 0, 0, 0)
            .silent(),
        Case::always("stands still at once each time", Fault::stall(0))
            .ends(6)
            .calls(1, 3)
            .says(&["--read-timeout"]),
        Case::new("trickles in pieces each time", |bench, _, _| {
            bench.aws.fault(On::Object.always(), Fault::Rate(200));
        })
        .size(200)
        .with(&["--max-attempts", "2"])
        .ends(0),
    ]);
}

#[test]
fn bytes_that_changed_on_the_way() {
    let size = package(1, SIZE).len() as u64;
    let mut cases: Vec<Case> = points(4, 4, size)
        .into_iter()
        .map(|at| {
            Case::on_object(format!("a bit of byte {at} once"), [Fault::flip(at)])
                .calls(2, 2)
                .again(Again::Packages(1))
                .transfer(2, 0, 1, 0)
                .says(&["warning: ", "fetching once more"])
        })
        .collect();
    cases.extend([
        Case::always("a bit each time", Fault::flip(77_777))
            .ends(1)
            .calls(3, 2)
            .again(Again::Packages(1))
            .says(&[
                "a second, clean download brought the same",
                "not the deployed package",
            ]),
        Case::on_object(
            "another bit each time",
            [Fault::flip(1), Fault::flip(2), Fault::flip(3)],
        )
        .ends(1)
        .calls(3, 2)
        .says(&["the first differed too"]),
        Case::new("a bit of a part that is resumed", |bench, _, size| {
            bench.aws.faults(On::Object, [Fault::fin(size / 2)]);
            bench
                .aws
                .fault(On::Object.nth(2), Fault::flip(size / 2 + 9));
        })
        .calls(2, 3)
        .again(Again::Packages(1))
        .transfer(3, 1, 1, 0)
        .says(&["fetching once more"]),
        Case::new("a bit before the break", |bench, _, size| {
            bench.aws.fault(On::Object, Fault::flip(9));
            bench.aws.fault(On::Object, Fault::fin(size / 2));
        })
        .calls(2, 3)
        .again(Again::Packages(1)),
    ]);
    all(&cases);
}

#[test]
fn the_digests_of_a_mismatch_are_both_told() {
    let bench = Bench::new();
    let zip = package(1, 4000);
    planted(&bench, "web").zip(zip.clone()).create();
    bench.aws.fault(On::Object.always(), Fault::flip(50));
    let mut served = zip.clone();
    served[50] ^= 1;
    let ran = bench
        .run(&["fetch", "web", "out", "--output", "json"])
        .expect(1);
    let text = ran.json_error().to_string();
    assert!(text.contains(&code_sha256(&zip)), "{text}");
    assert!(text.contains(&code_sha256(&served)), "{text}");
    assert_eq!(bench.names(), [""; 0]);
}

#[test]
fn other_lengths() {
    all(&[
        Case::on_object(
            "shorter, and says so, once",
            [Fault::Shorter {
                by: 5,
                honest: true,
            }],
        )
        .calls(2, 2)
        .transfer(2, 0, 1, 0)
        .says(&["warning: "]),
        Case::on_object(
            "longer, and says so, once",
            [Fault::Longer {
                by: 5,
                honest: true,
            }],
        )
        .calls(2, 2)
        .says(&["warning: "]),
        Case::on_object(
            "shorter than it says, once",
            [Fault::Shorter {
                by: 5,
                honest: false,
            }],
        )
        .calls(1, 2)
        .again(Again::Nothing)
        .transfer(2, 1, 0, 0),
        Case::on_object(
            "goes on behind its end",
            [Fault::Longer {
                by: 5000,
                honest: false,
            }],
        )
        .transfer(1, 0, 0, 0),
        Case::always(
            "shorter, and says so",
            Fault::Shorter {
                by: 5,
                honest: true,
            },
        )
        .ends(1)
        .calls(3, 2),
        Case::always(
            "longer, and says so",
            Fault::Longer {
                by: 5,
                honest: true,
            },
        )
        .ends(1)
        .calls(3, 2),
        // A hundredth of nothing more comes each time: no progress, so the attempts end.
        Case::new("shorter than it says, each time", |bench, _, size| {
            bench.aws.fault(
                On::Object.always(),
                Fault::Shorter {
                    by: 1,
                    honest: false,
                },
            );
            let _ = size;
        })
        .with(&["--max-attempts", "3"])
        .ends(6),
        Case::on_object("chunked, without a length", [Fault::Chunked])
            .calls(1, 1)
            .again(Again::Nothing)
            .silent(),
        Case::on_object("until the connection ends", [Fault::UntilClose])
            .calls(1, 1)
            .again(Again::Nothing)
            .silent(),
        Case::new("chunked, and broken off", |bench, _, size| {
            bench.aws.fault(On::Object, Fault::Chunked);
            bench.aws.fault(On::Object, Fault::fin(size / 3));
        })
        .calls(1, 2)
        .again(Again::Nothing)
        .transfer(2, 1, 0, 0),
        Case::new("without a length, and broken off", |bench, _, size| {
            bench.aws.fault(On::Object, Fault::UntilClose);
            bench.aws.fault(On::Object, Fault::fin(size / 3));
        }),
        Case::new("without a length, and far too long", |bench, _, _| {
            bench.aws.fault(On::Object, Fault::UntilClose);
            bench.aws.fault(
                On::Object,
                Fault::Longer {
                    by: 64 << 20,
                    honest: false,
                },
            );
        })
        .calls(2, 2)
        .says(&["more than"]),
        Case::new(
            "without a length, and far too long, each time",
            |bench, _, _| {
                bench.aws.fault(On::Object.always(), Fault::UntilClose);
                bench.aws.fault(
                    On::Object.always(),
                    Fault::Longer {
                        by: 64 << 20,
                        honest: false,
                    },
                );
            },
        )
        .ends(1)
        .calls(3, 2)
        .says(&["more than"]),
        Case::on_object("said to be compressed", [Fault::gzip_nonsense()])
            .calls(1, 1)
            .silent(),
    ]);
}

#[test]
fn servers_that_resume_wrongly() {
    let half = (SIZE / 2) as u64;
    let second = |name: &str, fault: Fault| Case::on_object(name, [Fault::fin(half), fault]);
    let range = |value: String| Fault::content_range(&value);
    let page = |status: u16| Fault::Page {
        status,
        content_type: "text/plain".into(),
        body: b"".as_slice().into(),
    };
    let size = package(1, SIZE).len() as u64;
    all(&[
        second("ignores the range", Fault::IgnoreRange)
            .calls(1, 2)
            .transfer(2, 0, 0, 0),
        second("another Content-Range", range("bytes 5-9/10".into()))
            .calls(2, 3)
            .transfer(3, 0, 1, 0),
        second(
            "Content-Range one byte early",
            range(format!("bytes {}-{}/{size}", half - 1, size - 1)),
        )
        .calls(2, 3),
        second(
            "Content-Range one byte late",
            range(format!("bytes {}-{}/{size}", half + 1, size - 1)),
        )
        .calls(2, 3),
        second(
            "Content-Range of a shorter object",
            range(format!("bytes {half}-{}/{}", size - 2, size - 1)),
        )
        .calls(2, 3),
        second(
            "Content-Range with another total",
            range(format!("bytes {half}-{}/{}", size - 1, size + 1)),
        )
        .calls(2, 3),
        second(
            "Content-Range with an unknown total",
            range(format!("bytes {half}-{}/*", size - 1)),
        )
        .calls(1, 2)
        .again(Again::Nothing)
        .transfer(2, 1, 0, 0),
        second(
            "Content-Range that is none",
            range("LARDERSECRETMARKER".into()),
        )
        .calls(2, 3),
        second("no Content-Range", Fault::NoHeader("Content-Range".into())).calls(2, 3),
        second("416", Fault::S3(S3Error::InvalidRange)).calls(2, 3),
        second(
            "412: another object",
            Fault::S3(S3Error::PreconditionFailed),
        )
        .calls(2, 3)
        .transfer(3, 0, 1, 0),
        second("another ETag", Fault::etag("\"0123\"")),
        second("a whole answer that is not the package", Fault::html()).says(&["warning: "]),
        second(
            "a part that is too short",
            Fault::Shorter {
                by: 7,
                honest: true,
            },
        ),
        second(
            "a part that is too long",
            Fault::Longer {
                by: 7,
                honest: true,
            },
        ),
        Case::new("no ETag at all", |bench, _, _| {
            bench
                .aws
                .fault(On::Object.always(), Fault::NoHeader("ETag".into()));
            bench.aws.fault(On::Object, Fault::fin((SIZE / 2) as u64));
        })
        .calls(1, 2)
        .again(Again::Nothing),
        Case::new("a weak ETag", |bench, _, _| {
            bench
                .aws
                .fault(On::Object.always(), Fault::etag("W/\"0123\""));
            bench.aws.fault(On::Object, Fault::fin((SIZE / 2) as u64));
        })
        .calls(1, 2)
        .again(Again::Nothing),
        Case::always("a part where the whole was asked for", page(206))
            .ends(6)
            .says(&["the whole was asked for", "hint: a proxy"]),
        Case::always("416 to the whole", Fault::S3(S3Error::InvalidRange))
            .ends(6)
            .says(&["status 416", "hint: a proxy"]),
        Case::always("204", page(204))
            .ends(6)
            .says(&["status 204", "hint: no storage of packages answers so"]),
        Case::always("412 each time", Fault::S3(S3Error::PreconditionFailed))
            .ends(6)
            .says(&["changes with each request", "hint: something overwrites it"]),
        Case::new("every resume refused", |bench, _, _| {
            bench
                .aws
                .fault(On::Object.always(), Fault::fin((SIZE / 2) as u64));
            for nth in [2, 4, 6, 8, 10, 12, 14, 16, 18, 20] {
                bench
                    .aws
                    .fault(On::Object.nth(nth), Fault::S3(S3Error::PreconditionFailed));
            }
        })
        .with(&["--max-attempts", "3"])
        .ends(6),
    ]);
}

#[test]
fn a_resume_says_what_it_goes_on_with() {
    let bench = Bench::new();
    planted(&bench, "web").zip(package(1, SIZE)).create();
    bench.aws.fault(On::Object, Fault::fin(1000));
    bench.run(&["fetch", "web", "out"]).expect(0);
    let requests = bench.aws.requests_of("GetObject");
    assert_eq!(
        (requests[0].range(), requests[0].header("if-match")),
        (None, None)
    );
    assert_eq!(requests[1].range(), Some("bytes=1000-"));
    assert!(
        requests[1]
            .header("if-match")
            .is_some_and(|tag| tag.starts_with('"'))
    );
    for request in &requests {
        for absent in ["authorization", "referer", "cookie", "x-amz-security-token"] {
            assert_eq!(request.header(absent), None, "{absent}");
        }
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert!(
            request
                .header("user-agent")
                .is_some_and(|agent| agent.starts_with("larder/"))
        );
    }
}

#[test]
fn urls_that_end() {
    let half = (SIZE / 2) as u64;
    let s3 = |error: S3Error| Fault::S3(error);
    all(&[
        Case::on_object("expired once", [s3(S3Error::RequestHasExpired)])
            .calls(2, 2)
            .transfer(2, 0, 1, 0),
        Case::on_object("the token expired once", [s3(S3Error::ExpiredToken)])
            .calls(2, 2)
            .transfer(2, 0, 1, 0),
        Case::on_object(
            "expired when it is resumed",
            [Fault::fin(half), s3(S3Error::RequestHasExpired)],
        )
        .calls(2, 3)
        .again(Again::Any)
        .transfer(3, 1, 1, 0),
        Case::on_object(
            "the token expired when it is resumed",
            [Fault::fin(half), s3(S3Error::ExpiredToken)],
        )
        .calls(2, 3)
        .transfer(3, 1, 1, 0),
        Case::always("expired each time", s3(S3Error::RequestHasExpired))
            .ends(6)
            .calls(3, 3)
            .says(&["clock"]),
        Case::always("the token expired each time", s3(S3Error::ExpiredToken))
            .ends(6)
            .calls(3, 3),
        Case::always("denied", s3(S3Error::AccessDenied))
            .ends(4)
            .calls(1, 1)
            .says(&["hint: ", "127.0.0.1"]),
        Case::always("the signature changed", s3(S3Error::SignatureDoesNotMatch))
            .ends(4)
            .calls(1, 1)
            .says(&["proxy"]),
        Case::always("the clocks differ", s3(S3Error::RequestTimeTooSkewed))
            .ends(6)
            .says(&["clock"]),
        Case::always(
            "a proxy's 403",
            Fault::Page {
                status: 403,
                content_type: "text/html".into(),
                body: b"<h1>Forbidden</h1>".as_slice().into(),
            },
        )
        .ends(4)
        .calls(1, 1),
        Case::always(
            "a 403 without a word",
            Fault::Page {
                status: 403,
                content_type: "text/plain".into(),
                body: b"".as_slice().into(),
            },
        )
        .ends(4),
        Case::always(
            "a 403 that is not to be read as XML",
            Fault::Page {
                status: 403,
                content_type: "application/xml".into(),
                body: b"<Error><Code>AccessDenied</Code><Message>Request has exp"
                    .as_slice()
                    .into(),
            },
        )
        .ends(4),
        Case::new(
            "a URL that lives a second, and a transfer of two",
            |bench, _, _| {
                bench.aws.url_lifetime(Duration::from_secs(1));
                bench.aws.fault(On::Object, Fault::Rate(500_000));
            },
        )
        .calls(1, 1)
        .again(Again::Nothing)
        .transfer(1, 0, 0, 0)
        .silent(),
        Case::new(
            "URLs that live a second, slow, and broken again and again",
            |bench, _, size| {
                bench.aws.url_lifetime(Duration::from_secs(1));
                bench.aws.connection_rate(Some(400_000));
                bench
                    .aws
                    .fault(On::Object.always(), Fault::fin(size / 5 + 1));
            },
        )
        .again(Again::Any),
        Case::new("denied when the URL is renewed", |bench, _, _| {
            bench
                .aws
                .fault(On::Object, Fault::S3(S3Error::RequestHasExpired));
            bench.aws.fault(
                On::GetFunction.nth(2),
                Fault::access_denied("lambda:GetFunction"),
            );
        })
        .ends(4)
        .calls(2, 1)
        .says(&["lambda:GetFunction"]),
        Case::new("gone when the URL is renewed", |bench, function, _| {
            bench
                .aws
                .fault(On::Object, Fault::S3(S3Error::RequestHasExpired));
            let function = function.clone();
            let seen = Arc::new(AtomicUsize::new(0));
            // The answer is made before the function goes, so it is the second one that does not find it.
            bench.aws.fault(
                On::GetFunction,
                Fault::json(move |_| {
                    seen.fetch_add(1, Ordering::SeqCst);
                    let function = function.clone();
                    std::thread::spawn(move || function.delete())
                        .join()
                        .unwrap();
                }),
            );
        })
        .ends(5)
        .calls(2, 1),
        Case::new("not found once", |bench, _, _| {
            bench.aws.fault(On::Object, Fault::S3(S3Error::NoSuchKey));
        })
        .calls(2, 2),
        Case::new("the version not found once", |bench, _, _| {
            bench
                .aws
                .fault(On::Object, Fault::S3(S3Error::NoSuchVersion));
        })
        .calls(2, 2),
    ]);
}

#[test]
fn a_url_that_is_about_to_end_is_not_used_for_a_resume() {
    let bench = Bench::new();
    let zip = package(1, SIZE);
    planted(&bench, "web").zip(zip.clone()).create();
    bench.aws.url_lifetime(Duration::from_secs(2));
    // The first connection takes longer than the URL lives, and then breaks.
    bench.aws.fault(On::Object, Fault::Rate(300_000));
    bench.aws.fault(On::Object, Fault::fin(900_000));
    bench.run(&["fetch", "web", "out"]).expect(0);
    let requests = bench.aws.requests_of("GetObject");
    let statuses: Vec<_> = requests.iter().map(|r| r.status).collect();
    assert_eq!(statuses, [Some(200), Some(206)], "no request is refused");
    assert_eq!(bench.aws.count("GetFunction"), 2);
    assert_eq!(
        bench.aws.bytes_sent("GetObject"),
        zip.len() as u64,
        "nothing is fetched twice"
    );
    assert_eq!(bench.record("out")["transfer"]["url_refreshes"], 1);
}

#[test]
fn urls_that_end_do_not_cost_bytes() {
    let bench = Bench::new();
    let zip = package(1, SIZE);
    planted(&bench, "web").zip(zip.clone()).create();
    bench.aws.url_lifetime(Duration::from_secs(1));
    bench.aws.connection_rate(Some(400_000));
    bench.aws.fault(On::Object.always(), Fault::fin(150_000));
    bench.run(&["fetch", "web", "out"]).expect(0);
    let requests = bench.aws.requests_of("GetObject");
    let of_package: u64 = requests
        .iter()
        .filter(|r| matches!(r.status, Some(200 | 206)))
        .map(|r| r.bytes_sent)
        .sum();
    assert_eq!(of_package, zip.len() as u64, "{}", wire(&requests));
    let refreshes = bench.record("out")["transfer"]["url_refreshes"]
        .as_u64()
        .unwrap();
    assert!(refreshes >= 1, "{refreshes}");
    assert_eq!(bench.aws.count("GetFunction") as u64, 1 + refreshes);
}

#[test]
fn clocks_that_are_wrong() {
    for offset in [-86_400, -900, 900, 86_400] {
        let bench = Bench::new();
        planted(&bench, "web").zip(package(1, 100_000)).create();
        bench.aws.clock_offset(offset);
        bench.aws.fault(On::Object, Fault::fin(500));
        bench.run(&["fetch", "web", "out"]).expect(0);
        assert_eq!(bench.aws.count("GetFunction"), 1, "clock off by {offset} s");
        assert_eq!(bench.aws.count("GetObject"), 2, "clock off by {offset} s");
    }
}

#[test]
fn servers_that_are_busy() {
    let s3 = |error: S3Error| Fault::S3(error);
    let half = (SIZE / 2) as u64;
    let page = |status: u16| Fault::Page {
        status,
        content_type: "text/html".into(),
        body: b"<h1>no</h1>".as_slice().into(),
    };
    all(&[
        Case::on_object(
            "500 three times",
            [
                s3(S3Error::InternalError),
                s3(S3Error::InternalError),
                s3(S3Error::InternalError),
            ],
        )
        .calls(1, 4)
        .transfer(4, 0, 0, 0)
        .silent(),
        Case::on_object(
            "503 SlowDown three times",
            [Fault::slow_down(), Fault::slow_down(), Fault::slow_down()],
        )
        .calls(1, 4),
        Case::on_object(
            "502, 504, 500 of a proxy",
            [page(502), page(504), page(500)],
        )
        .calls(1, 4),
        Case::on_object("408", [page(408)]).calls(1, 2),
        Case::on_object("429 of a proxy", [page(429)]).calls(1, 2),
        Case::on_object(
            "500 in the middle",
            [
                Fault::fin(half),
                s3(S3Error::InternalError),
                s3(S3Error::ServiceUnavailable),
            ],
        )
        .calls(1, 4)
        .transfer(4, 1, 0, 0),
        Case::always("500 each time", s3(S3Error::InternalError))
            .ends(6)
            .calls(1, 3)
            .says(&["InternalError"]),
        Case::always("503 each time", Fault::slow_down())
            .ends(6)
            .calls(1, 3)
            .says(&["SlowDown"]),
        // A body of an error that comes at two bytes a second would take minutes.
        Case::new("an error that trickles", |bench, _, _| {
            bench.aws.fault(On::Object.always(), s3_internal());
            bench.aws.fault(On::Object.always(), Fault::Rate(2));
        })
        .with(&["--max-attempts", "2"])
        .ends(6)
        .calls(1, 2),
        Case::always(
            "an error without an end",
            Fault::Page {
                status: 500,
                content_type: "text/html".into(),
                body: vec![b'x'; 64 << 20].into(),
            },
        )
        .ends(6)
        .calls(1, 3),
        Case::always(
            "a head without an end",
            Fault::Header("X-Long".into(), "x".repeat(2 << 20)),
        )
        .ends(6),
    ]);
}

fn s3_internal() -> Fault {
    Fault::S3(S3Error::InternalError)
}

#[test]
fn a_control_plane_that_is_busy() {
    let unavailable =
        || Fault::Lambda(LambdaError::new(503, "ServiceUnavailableException", "busy"));
    let always = |name: &str, fault: Fault| {
        Case::new(name, move |bench, _, _| {
            bench.aws.fault(On::GetFunction.always(), fault.clone());
        })
        .with(&["--max-attempts", "3"])
        .ends(6)
        .calls(3, 0)
    };
    all(&[
        Case::on_call(
            "429 twice",
            [Fault::throttled(None), Fault::throttled(None)],
        )
        .calls(3, 1)
        .silent(),
        Case::on_call("429 with Retry-After", [Fault::throttled(Some(1))]).calls(2, 1),
        Case::on_call(
            "500 three times",
            [
                Fault::service_exception(),
                Fault::service_exception(),
                Fault::service_exception(),
            ],
        )
        .calls(4, 1)
        .silent(),
        Case::on_call("503", [unavailable()]).calls(2, 1),
        Case::on_call(
            "502 of a proxy",
            [Fault::Page {
                status: 502,
                content_type: "text/html".into(),
                body: b"<h1>x</h1>".as_slice().into(),
            }],
        )
        .calls(2, 1),
        Case::on_call("no answer", [Fault::NoAnswer]).calls(2, 1),
        Case::on_call("hung up", [Fault::Hangup(Cut::Fin)]).calls(2, 1),
        Case::on_call("reset", [Fault::Hangup(Cut::Rst)]).calls(2, 1),
        Case::on_call("JSON that is cut", [Fault::CutBody(300)]).calls(2, 1),
        Case::on_call("JSON that breaks off", [Fault::fin(300)]).calls(2, 1),
        Case::on_call("JSON that is reset", [Fault::rst(300)]).calls(2, 1),
        Case::on_call("JSON that stands still", [Fault::stall(300)]).calls(2, 1),
        Case::on_call("no JSON", [Fault::not_json()]).calls(2, 1),
        Case::on_call("HTML", [Fault::html()]).calls(2, 1),
        Case::on_call(
            "megabytes of JSON",
            [Fault::Page {
                status: 200,
                content_type: "application/json".into(),
                body: format!("{{\"Filler\": \"{}\"}}", "x".repeat(12 << 20)).into(),
            }],
        )
        .calls(2, 1),
        Case::on_call("chunked", [Fault::Chunked])
            .calls(1, 1)
            .silent(),
        Case::on_call(
            "a dead connection in the pool",
            [Fault::CloseAfter(Cut::Rst)],
        )
        .calls(1, 1),
        always("429 each time", Fault::throttled(None)).says(&["throttles", "--max-rate"]),
        always("500 each time", Fault::service_exception()).says(&["ServiceException"]),
        always("no answer each time", Fault::NoAnswer).says(&["in time"]),
        always("hung up each time", Fault::Hangup(Cut::Fin)),
        always("cut each time", Fault::CutBody(300)).says(&["no JSON", "hint: is the endpoint"]),
        always("HTML each time", Fault::html()).says(&["no JSON", "hint: is the endpoint"]),
        always("breaks off each time", Fault::fin(300)),
        Case::on_call(
            "a redirect",
            [Fault::Redirect {
                status: 302,
                to: "http://127.0.0.1:1/".into(),
            }],
        )
        .ends(6)
        .calls(1, 0)
        .says(&["302"]),
    ]);
}

#[test]
fn retry_after_is_honoured() {
    for on in [On::GetFunction, On::Object] {
        let bench = Bench::new();
        planted(&bench, "web").zip(package(1, 4000)).create();
        bench.aws.fault(on, Fault::throttled(Some(2)));
        bench.run(&["fetch", "web", "out"]).expect(0);
        let operation = if on == On::Object {
            "GetObject"
        } else {
            "GetFunction"
        };
        let requests = bench.aws.requests_of(operation);
        let waited = requests[1].started - requests[0].finished.unwrap();
        assert!(
            waited >= Duration::from_millis(1900),
            "{operation}: {waited:?}"
        );
    }
}

#[test]
fn redirects_on_the_web_are_followed() {
    let cases: Vec<(u16, bool)> = [301, 302, 303, 307, 308]
        .into_iter()
        .flat_map(|status| [(status, false), (status, true)])
        .collect();
    each(
        &cases,
        |case| format!("{case:?}"),
        |&(status, broken)| {
            let bench = Bench::new();
            let zip = package(1, 100_000);
            planted(&bench, "web").zip(zip.clone()).create();
            let base = bench.aws.listen_on("127.0.0.2");
            bench.aws.fault(
                On::Object.nth(1),
                Fault::MovedTo {
                    status,
                    base: base.clone(),
                },
            );
            if broken {
                bench.aws.fault(On::Object.nth(2), Fault::fin(5000));
                bench
                    .aws
                    .fault(On::Object.nth(3), Fault::MovedTo { status, base });
            }
            bench.run(&["fetch", "web", "out"]).expect(0);
            assert_eq!(fs::read(bench.path("out/package.zip")).unwrap(), zip);
            let requests = bench.aws.requests_of("GetObject");
            assert_eq!(requests.len(), if broken { 4 } else { 2 });
            assert!(
                requests.iter().all(|r| r.header("referer").is_none()),
                "a Referer would hand the signature on"
            );
            assert_eq!(bench.aws.bytes_sent("GetObject"), zip.len() as u64);
            if broken {
                assert_eq!(
                    requests[3].range(),
                    Some("bytes=5000-"),
                    "the hop asks for the rest too"
                );
                assert!(requests[3].header("if-match").is_some());
            }
        },
    );
}

#[test]
fn code_that_changes_meanwhile() {
    let second = || package(2, SIZE);
    let half = (SIZE / 2) as u64;
    let swap =
        move |function: &Function, trigger: Trigger| function.update_code_on(trigger, second());
    all(&[
        // What one answer stated is a true picture of that moment, whatever comes later.
        Case::new("before the first byte", move |_, f, _| {
            swap(f, Trigger::AfterGetFunction(1));
        })
        .calls(1, 1)
        .transfer(1, 0, 0, 0)
        .silent(),
        Case::new("when the transfer starts", move |_, f, _| {
            swap(f, Trigger::ObjectStarts);
        })
        .calls(1, 1)
        .silent(),
        Case::new("in the middle", move |_, f, _| {
            swap(f, Trigger::ObjectBytes(half));
        })
        .calls(1, 1)
        .silent(),
        Case::new("at the last byte", move |_, f, size| {
            swap(f, Trigger::ObjectBytes(size));
        })
        .calls(1, 1)
        .silent(),
        Case::new(
            "in the middle, and the connection breaks",
            move |bench, f, _| {
                swap(f, Trigger::ObjectBytes(half / 2));
                bench.aws.fault(On::Object, Fault::fin(half));
            },
        )
        .calls(1, 2)
        .again(Again::Nothing)
        .transfer(2, 1, 0, 0)
        .silent(),
        // Whoever must look again takes what is there then, and all of it.
        Case::new(
            "in the middle, the connection breaks, and the URL has ended",
            move |bench, f, _| {
                swap(f, Trigger::ObjectBytes(half / 2));
                bench.aws.fault(On::Object, Fault::fin(half));
                bench
                    .aws
                    .fault(On::Object.nth(2), Fault::S3(S3Error::RequestHasExpired));
            },
        )
        .ends_with(2)
        .calls(2, 3)
        .transfer(3, 0, 1, 1)
        .says(&["warning: ", "the code changed"]),
        Case::new(
            "before the first byte, and the URL has ended",
            move |bench, f, _| {
                swap(f, Trigger::AfterGetFunction(1));
                bench
                    .aws
                    .fault(On::Object, Fault::S3(S3Error::RequestHasExpired));
            },
        )
        .ends_with(2)
        .calls(2, 2)
        .transfer(2, 0, 1, 1)
        .says(&["the code changed"]),
        Case::new(
            "and a bit is off in the first download",
            move |bench, f, _| {
                swap(f, Trigger::ObjectBytes(half));
                bench.aws.fault(On::Object, Fault::flip(5));
            },
        )
        .ends_with(2)
        .calls(2, 2)
        .transfer(2, 0, 1, 1)
        .says(&["the code changed"]),
        Case::new("to the same code once more", move |bench, f, _| {
            f.update_code_on(Trigger::ObjectBytes(half / 2), package(1, SIZE));
            bench.aws.fault(On::Object, Fault::fin(half));
            bench
                .aws
                .fault(On::Object.nth(2), Fault::S3(S3Error::RequestHasExpired));
        })
        .again(Again::Any),
        Case::new("each time one looks", |bench, f, _| {
            for round in 1..=20 {
                f.update_code_on(Trigger::AfterGetFunction(round), package(round + 10, 5000));
            }
            bench
                .aws
                .fault(On::Object.always(), Fault::S3(S3Error::RequestHasExpired));
        })
        .with(&["--max-attempts", "20"])
        .ends(6)
        .calls(7, 6)
        .says(&["the code changed 5 times"]),
        Case::new("to an image", |bench, f, _| {
            let seen = Arc::new(AtomicUsize::new(0));
            f.patch(move |answer| {
                if seen.fetch_add(1, Ordering::SeqCst) > 0 {
                    answer["Configuration"]["PackageType"] = json!("Image");
                    answer["Code"] = json!({"RepositoryType": "ECR", "ImageUri": "r:t"});
                }
            });
            bench
                .aws
                .fault(On::Object, Fault::S3(S3Error::RequestHasExpired));
        })
        .ends(6)
        .calls(2, 1)
        .says(&["image"]),
        Case::new("to no code", |bench, f, _| {
            let seen = Arc::new(AtomicUsize::new(0));
            f.patch(move |answer| {
                if seen.fetch_add(1, Ordering::SeqCst) > 0 {
                    answer["Code"] = Value::Null;
                }
            });
            bench
                .aws
                .fault(On::Object, Fault::S3(S3Error::RequestHasExpired));
        })
        .ends(6)
        .calls(2, 1),
    ]);
}

#[test]
fn an_object_that_is_overwritten_in_place() {
    // A location without a version: the bytes are already the new ones when the answer still states the old.
    let bench = Bench::new();
    let (old, new) = (package(1, 5000), package(2, 6000));
    let url = bench.aws.public_object("bucket", "key", new.clone());
    let function = planted(&bench, "web")
        .zip(old)
        .location(Some(&url))
        .create();
    let (digest, size) = (code_sha256(&new), new.len());
    let seen = Arc::new(AtomicUsize::new(0));
    function.patch(move |answer| {
        if seen.fetch_add(1, Ordering::SeqCst) > 0 {
            answer["Configuration"]["CodeSha256"] = json!(digest);
            answer["Configuration"]["CodeSize"] = json!(size);
        }
    });
    let ran = bench
        .run(&["fetch", "web", "out"])
        .expect(0)
        .says(&["the code changed"]);
    harmless(&ran);
    assert_eq!(fs::read(bench.path("out/package.zip")).unwrap(), new);
    let record = bench.record("out");
    assert_eq!(record["package"]["code_sha256"], code_sha256(&new));
    assert_eq!(record["transfer"]["code_changes"], 1);
    let answer = read_json(&bench.path("out/function.json"));
    assert_eq!(answer["Configuration"]["CodeSha256"], code_sha256(&new));
}

#[test]
fn expect_sha256_holds_through_a_change() {
    let bench = Bench::new();
    let old = package(1, 5000);
    let function = planted(&bench, "web").zip(old.clone()).create();
    function.update_code_on(Trigger::AfterGetFunction(1), package(2, 5000));
    bench
        .aws
        .fault(On::Object, Fault::S3(S3Error::RequestHasExpired));
    let ran = bench
        .run(&["fetch", "web", "out", "--expect-sha256", &code_sha256(&old)])
        .expect(1)
        .says(&["expect"]);
    harmless(&ran);
    assert_eq!(bench.names(), [""; 0]);
    assert_eq!(bench.aws.count("GetObject"), 1);
}

#[test]
fn without_faults_there_is_one_request_of_each_kind() {
    for size in [0, 1, 100, 65_536, 4 << 20] {
        let bench = Bench::new();
        let zip = package(1, size);
        planted(&bench, "web").zip(zip.clone()).create();
        let ran = bench.run(&["fetch", "web", "out"]).expect(0);
        assert_eq!(ran.stderr, "", "{size}");
        assert_eq!(bench.aws.count("GetFunction"), 1, "{size}");
        assert_eq!(bench.aws.requests().len(), 2, "{size}");
        assert_eq!(
            bench.aws.bytes_sent("GetObject"),
            zip.len() as u64,
            "{size}"
        );
        let request = &bench.aws.requests_of("GetObject")[0];
        assert_eq!((request.method.as_str(), request.range()), ("GET", None));
    }
}
