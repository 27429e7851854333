//! Each fault on the wire, and a server that survives its clients.

use super::*;
use crate::packages;
use serde_json::json;

/// One fault on the GET of a 1,000-byte object.
struct Case {
    name: &'static str,
    fault: Fault,
    range: Option<&'static str>,
    check: fn(&Reply, &[u8]) -> bool,
}

fn case(name: &'static str, fault: Fault, check: fn(&Reply, &[u8]) -> bool) -> Case {
    Case {
        name,
        fault,
        range: None,
        check,
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_fault_does_what_it_says_on_the_wire() {
    let cases = [
        case("fin", Fault::fin(300), |r, b| {
            r.body == b[..300] && r.broken == Some(ErrorKind::UnexpectedEof)
        }),
        case("fin before the body", Fault::fin(0), |r, _| {
            r.status == 200 && r.body.is_empty() && r.broken == Some(ErrorKind::UnexpectedEof)
        }),
        case("rst", Fault::rst(300), |r, b| {
            r.body == b[..300] && r.broken == Some(ErrorKind::ConnectionReset)
        }),
        case("stall", Fault::stall(300), |r, b| {
            r.body == b[..300] && r.broken == Some(ErrorKind::WouldBlock)
        }),
        case(
            "pause",
            Fault::pause(300, Duration::from_millis(100)),
            |r, b| r.body == b && r.broken.is_none(),
        ),
        case("rate", Fault::Rate(10_000), |r, b| r.body == b),
        case("delay", Fault::Delay(Duration::from_millis(100)), |r, b| {
            r.body == b
        }),
        case("slow head", Fault::SlowHead(5_000), |r, b| r.body == b),
        case("no answer", Fault::NoAnswer, |r, _| {
            r.head.is_empty() && r.broken == Some(ErrorKind::WouldBlock)
        }),
        case("hang up by fin", Fault::Hangup(Cut::Fin), |r, _| {
            r.head.is_empty() && r.broken.is_none()
        }),
        case("hang up by rst", Fault::Hangup(Cut::Rst), |r, _| {
            r.head.is_empty() && r.broken == Some(ErrorKind::ConnectionReset)
        }),
        case("flip", Fault::flip(999), |r, b| {
            r.body[999] == b[999] ^ 1 && r.body[..999] == b[..999]
        }),
        Case {
            range: Some("bytes=500-"),
            ..case("flip in a range", Fault::flip(600), |r, b| {
                r.body[100] == b[600] ^ 1 && r.body[101..] == b[601..]
            })
        },
        Case {
            range: Some("bytes=500-"),
            ..case("flip before a range", Fault::flip(400), |r, b| {
                r.body == b[500..]
            })
        },
        case(
            "shorter, honest",
            Fault::Shorter {
                by: 1,
                honest: true,
            },
            |r, b| r.body == b[..999] && r.header("content-length") == Some("999"),
        ),
        case(
            "shorter",
            Fault::Shorter {
                by: 1,
                honest: false,
            },
            |r, b| r.body == b[..999] && r.header("content-length") == Some("1000"),
        ),
        case(
            "longer, honest",
            Fault::Longer {
                by: 5,
                honest: true,
            },
            |r, b| {
                r.body[..1000] == *b
                    && r.header("content-length") == Some("1005")
                    && r.body.len() == 1005
            },
        ),
        case(
            "longer",
            Fault::Longer {
                by: 5,
                honest: false,
            },
            |r, b| {
                r.body[..1000] == *b
                    && r.header("content-length") == Some("1000")
                    && r.body.len() == 1005
            },
        ),
        case("chunked", Fault::Chunked, |r, b| {
            r.header("content-length").is_none()
                && r.body == [b"3e8\r\n", b, b"\r\n0\r\n\r\n"].concat()
        }),
        case("until close", Fault::UntilClose, |r, b| {
            r.header("content-length").is_none() && r.body == b
        }),
        case("empty", Fault::empty(), |r, _| {
            r.status == 200 && r.header("content-length") == Some("0")
        }),
        case("html", Fault::html(), |r, _| {
            r.status == 200 && r.text().starts_with("<!DOCTYPE html>")
        }),
        case("xml", Fault::xml_with_200(), |r, _| {
            r.status == 200 && r.text().contains("<Code>InternalError</Code>")
        }),
        Case {
            range: Some("bytes=500-"),
            ..case("range ignored", Fault::IgnoreRange, |r, b| {
                r.status == 200 && r.body == b
            })
        },
        Case {
            range: Some("bytes=500-"),
            ..case(
                "content-range",
                Fault::content_range("bytes 0-499/1000"),
                |r, b| {
                    r.status == 206
                        && r.header("content-range") == Some("bytes 0-499/1000")
                        && r.body == b[500..]
                },
            )
        },
        case("etag", Fault::etag("\"x\""), |r, _| {
            r.header("etag") == Some("\"x\"")
        }),
        case("no etag", Fault::NoHeader("ETag".into()), |r, _| {
            r.header("etag").is_none()
        }),
        case("gzip", Fault::gzip_nonsense(), |r, b| {
            r.header("content-encoding") == Some("gzip") && r.body == b
        }),
        case("expired", Fault::S3(S3Error::RequestHasExpired), |r, _| {
            r.status == 403 && r.text().contains("Request has expired")
        }),
        case("token", Fault::S3(S3Error::ExpiredToken), |r, _| {
            r.status == 400 && r.text().contains("<Code>ExpiredToken</Code>")
        }),
        case("denied", Fault::S3(S3Error::AccessDenied), |r, _| {
            r.status == 403 && r.text().contains("<Message>Access Denied</Message>")
        }),
        case("skew", Fault::S3(S3Error::RequestTimeTooSkewed), |r, _| {
            r.status == 403 && r.text().contains("RequestTimeTooSkewed")
        }),
        case(
            "signature",
            Fault::S3(S3Error::SignatureDoesNotMatch),
            |r, _| r.status == 403 && r.text().contains("SignatureDoesNotMatch"),
        ),
        case("no key", Fault::S3(S3Error::NoSuchKey), |r, _| {
            r.status == 404 && r.text().contains("<Key>bucket/key</Key>")
        }),
        case("slow down", Fault::slow_down(), |r, _| {
            r.status == 503 && r.text().contains("SlowDown")
        }),
        case(
            "internal error",
            Fault::S3(S3Error::InternalError),
            |r, _| r.status == 500,
        ),
        case(
            "redirect",
            Fault::Redirect {
                status: 307,
                to: "file:///etc/passwd".into(),
            },
            |r, _| r.status == 307 && r.header("location") == Some("file:///etc/passwd"),
        ),
        case(
            "moved",
            Fault::MovedTo {
                status: 301,
                base: "http://127.0.0.2:1".into(),
            },
            |r, _| {
                r.status == 301 && r.header("location") == Some("http://127.0.0.2:1/bucket/key?a=b")
            },
        ),
        case("redirect loop", Fault::RedirectLoop, |r, _| {
            r.status == 302 && r.header("location") == Some("/bucket/key?a=b")
        }),
    ];
    let aws = FakeAws::start();
    let bytes = packages::sized(1000, 1);
    let url = format!("{}?a=b", aws.public_object("bucket", "key", bytes.clone()));
    for Case {
        name,
        fault,
        range,
        check,
    } in cases
    {
        aws.fault(On::Object, fault);
        let headers: Vec<(&str, &str)> = range.map(|range| ("Range", range)).into_iter().collect();
        let reply = get(&url, &headers);
        assert!(
            check(&reply, &bytes),
            "{name}: {:?} {}\n{} bytes of body",
            reply.broken,
            reply.head,
            reply.body.len()
        );
        let after = get(&url, &[]);
        assert_eq!(
            (after.status, after.body == bytes),
            (200, true),
            "after {name}"
        );
        aws.clear_faults();
    }
}

/// What a client that keeps its connection meets at its second request.
#[test]
fn kept_connections_are_poisoned_or_dead() {
    for (fault, expected) in [
        (
            Fault::Header("X-Harmless".into(), "1".into()),
            "HTTP/1.1 200",
        ),
        (
            Fault::Longer {
                by: 3,
                honest: false,
            },
            "+++HTTP/1.1 200",
        ),
        (Fault::CloseAfter(Cut::Fin), ""),
    ] {
        let aws = FakeAws::start();
        let (host, target) = split(&aws.public_object("bucket", "key", "body"));
        let name = format!("{fault:?}");
        aws.fault(On::Object, fault);
        let mut stream = TcpStream::connect(&host).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(400)))
            .unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"body") {
            let mut one = [0];
            stream.read_exact(&mut one).unwrap();
            bytes.push(one[0]);
        }
        assert!(
            !String::from_utf8(bytes)
                .unwrap()
                .contains("Connection: close")
        );
        let _ = stream.write_all(request.as_bytes());
        let mut rest = vec![0; expected.len()];
        let length = if expected.is_empty() {
            stream.read(&mut [0]).unwrap_or(0)
        } else {
            stream.read_exact(&mut rest).map_or(0, |()| rest.len())
        };
        assert_eq!(&rest[..length], expected.as_bytes(), "{name}");
    }
}

#[test]
fn slow_bodies_take_their_time() {
    let aws = FakeAws::start();
    let url = aws.public_object("bucket", "key", packages::sized(50_000, 1));
    aws.connection_rate(Some(200_000));
    let begun = Instant::now();
    assert_eq!(get(&url, &[]).body.len(), 50_000);
    let taken = begun.elapsed().as_secs_f64();
    assert!((0.24..0.6).contains(&taken), "{taken} s");
}

#[test]
fn faults_of_the_control_plane() {
    let aws = FakeAws::start();
    aws.function("app").create();
    let path = "/2015-03-31/functions/app";
    aws.faults(
        On::GetFunction,
        [
            Fault::throttled(Some(2)),
            Fault::throttled(None),
            Fault::service_exception(),
            Fault::access_denied("lambda:GetFunction"),
            Fault::CutBody(100),
            Fault::not_json(),
            Fault::json(|body| body["Code"] = json!({})),
        ],
    );
    let throttled = lambda(&aws, path);
    assert_eq!(
        (throttled.status, throttled.header("retry-after")),
        (429, Some("2"))
    );
    assert_eq!(
        throttled.header("x-amzn-errortype"),
        Some("TooManyRequestsException")
    );
    assert_eq!(throttled.json()["Reason"], "CallerRateLimitExceeded");
    assert_eq!(lambda(&aws, path).header("retry-after"), None);
    assert_eq!(lambda(&aws, path).status, 500);
    assert_eq!(
        lambda(&aws, path).header("x-amzn-errortype"),
        Some("AccessDeniedException")
    );
    let cut = lambda(&aws, path);
    assert_eq!((cut.status, cut.body.len()), (200, 100));
    assert!(serde_json::from_slice::<Value>(&lambda(&aws, path).body).is_err());
    assert_eq!(lambda(&aws, path).json()["Code"], json!({}));
    assert!(lambda(&aws, path).json()["Code"]["Location"].is_string());
    aws.call_limit(Some(2.0));
    let statuses: Vec<u16> = (0..4).map(|_| lambda(&aws, path).status).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[test]
fn connections_are_kept_and_nonsense_survived() {
    let aws = FakeAws::start();
    let url = aws.public_object("bucket", "key", "body");
    let (host, target) = split(&url);
    let mut stream = TcpStream::connect(&host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    // Two requests at once, a third that is none.
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream
        .write_all(format!("{request}{request}nonsense\r\n\r\n").as_bytes())
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(
        (
            text.matches("\r\n\r\nbody").count(),
            text.matches("400 Bad Request").count()
        ),
        (2, 1)
    );
    drop(TcpStream::connect(&host).unwrap());
    assert_eq!(aws.requests()[1].connection, 1);
    // A proxy's client names the whole URL.
    let mut stream = TcpStream::connect(&host).unwrap();
    stream
        .write_all(format!("GET {url} HTTP/1.0\r\n\r\n").as_bytes())
        .unwrap();
    assert_eq!(read(&mut stream, false).body, b"body");
    assert_eq!(aws.connections(), 3);
}

#[test]
fn it_starts_and_stops_inside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async { drop(FakeAws::start()) });
}

#[test]
fn large_bodies_are_fast_enough_to_measure_others() {
    let aws = FakeAws::start();
    let url = aws.public_object("bucket", "key", vec![7; 64 << 20]);
    let begun = Instant::now();
    assert_eq!(get(&url, &[]).body.len(), 64 << 20);
    eprintln!("64 MiB in {:?}", begun.elapsed());
    assert_eq!(aws.most_at_once("GetObject"), 1);
}
