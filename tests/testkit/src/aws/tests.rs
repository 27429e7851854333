//! The server seen from outside, through a client that trusts nothing: a socket and a few lines.

use super::*;
use crate::packages;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

/// What came back.
#[derive(Debug, Default)]
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
    /// How the reading ended, when not at the end that the framing named.
    broken: Option<ErrorKind>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn split(url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let slash = rest.find('/').unwrap();
    (rest[..slash].to_owned(), rest[slash..].to_owned())
}

/// One request on a fresh connection that is closed behind it.
fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let (host, target) = split(url);
    let mut stream = TcpStream::connect(&host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(400)))
        .unwrap();
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    write!(request, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    read(&mut stream, method == "HEAD")
}

fn read(stream: &mut TcpStream, head_only: bool) -> Reply {
    let mut reply = Reply::default();
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) => {
                reply.broken = Some(error.kind());
                break;
            }
        }
    }
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return reply;
    };
    reply.head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    reply.status = reply.head[9..12].parse().unwrap();
    reply.body = bytes[end + 4..].to_vec();
    let stated = reply
        .header("content-length")
        .map(|length| length.parse::<usize>().unwrap());
    if reply.broken.is_none()
        && !head_only
        && stated.is_some_and(|length| length > reply.body.len())
    {
        reply.broken = Some(ErrorKind::UnexpectedEof);
    }
    reply
}

fn authorization(key: &str, region: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature={}",
        "a".repeat(64)
    )
}

fn lambda(aws: &FakeAws, path: &str) -> Reply {
    lambda_as(aws, path, access_key(Key::Valid), REGION)
}

fn lambda_as(aws: &FakeAws, path: &str, key: &str, region: &str) -> Reply {
    let url = format!("{}{path}", aws.endpoint());
    ask(
        "GET",
        &url,
        &[("Authorization", &authorization(key, region))],
        "",
    )
}

fn location(aws: &FakeAws, name: &str) -> String {
    let reply = lambda(aws, &format!("/2015-03-31/functions/{name}"));
    reply.json()["Code"]["Location"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn get(url: &str, headers: &[(&str, &str)]) -> Reply {
    ask("GET", url, headers, "")
}

#[test]
fn a_package_is_described_signed_and_served() {
    let aws = FakeAws::start();
    let zip = packages::python_package().zip();
    aws.function("app")
        .zip(zip.clone())
        .env("A", "B")
        .tag("k", "v")
        .create();
    let reply = lambda(&aws, "/2015-03-31/functions/app");
    let answer = reply.json();
    assert_eq!(reply.status, 200);
    assert!(reply.header("x-amzn-RequestId").is_some() && reply.header("Date").is_some());
    assert_eq!(answer["Configuration"]["CodeSha256"], code_sha256(&zip));
    assert_eq!(answer["Configuration"]["CodeSize"], zip.len());
    assert_eq!(
        answer["Configuration"]["Environment"]["Variables"]["A"],
        "B"
    );
    assert_eq!(answer["Tags"]["k"], "v");
    let url = answer["Code"]["Location"].as_str().unwrap();
    assert!(url.contains(SECRET_MARKER));
    let package = get(url, &[]);
    assert_eq!(package.status, 200);
    assert_eq!(package.body, zip);
    assert_eq!(package.header("accept-ranges"), Some("bytes"));
    assert_eq!(ask("HEAD", url, &[], "").status, 403);
    assert_eq!(aws.count("GetFunction"), 1);
    assert_eq!(aws.bytes_sent("GetObject"), zip.len() as u64);
    assert!(url.contains(package.header("x-amz-version-id").unwrap()));
}

#[test]
fn a_presigned_url_ends_is_tampered_with_and_loses_its_object() {
    let aws = FakeAws::start();
    let function = aws.function("app").zip(packages::sized(1000, 1)).create();
    let url = location(&aws, "app");
    let code = |reply: &Reply| {
        let text = reply.text();
        let start = text.find("<Code>").unwrap() + 6;
        text[start..].split('<').next().unwrap().to_owned()
    };
    for (changed, status, expected) in [
        (
            url.replace("X-Amz-Expires=600", "X-Amz-Expires=900"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            url.replace("/snapshots/", "/snapshot/"),
            403,
            "SignatureDoesNotMatch",
        ),
        (format!("{url}0"), 403, "SignatureDoesNotMatch"),
        (
            url.split('?').next().unwrap().to_owned(),
            403,
            "AccessDenied",
        ),
    ] {
        let reply = get(&changed, &[]);
        assert_eq!(
            (reply.status, code(&reply).as_str()),
            (status, expected),
            "{changed}"
        );
    }
    // A URL outlives the function, as its object does.
    function.delete();
    assert_eq!(get(&url, &[]).status, 200);
    aws.clock_offset(601);
    let reply = get(&url, &[]);
    assert_eq!(reply.status, 403);
    assert!(
        reply
            .text()
            .contains("<Message>Request has expired</Message><X-Amz-Expires>600<")
    );
    aws.clock_offset(0);
    aws.expire_tokens();
    let reply = get(&url, &[]);
    assert_eq!((reply.status, code(&reply).as_str()), (400, "ExpiredToken"));
    aws.expire_urls();
    assert!(get(&url, &[]).text().contains("Request has expired"));
}

#[test]
fn a_short_lifetime_really_ends() {
    let aws = FakeAws::start();
    aws.function("app").create();
    aws.url_lifetime(Duration::from_secs(1));
    let url = location(&aws, "app");
    assert!(url.contains("X-Amz-Expires=1&"));
    std::thread::sleep(Duration::from_millis(1050));
    assert!(get(&url, &[]).text().contains("Request has expired"));
}

#[test]
fn ranges_and_conditions() {
    let aws = FakeAws::start();
    let bytes = packages::sized(1000, 1);
    let base = aws.public_object("bucket", "a b/key.zip", bytes.clone());
    let url = base.replace(' ', "%20");
    let whole = get(&url, &[]);
    let etag = whole.header("etag").unwrap().to_owned();
    for (headers, status, range, body) in [
        (
            vec![("Range", "bytes=400-")],
            206,
            Some("bytes 400-999/1000"),
            &bytes[400..],
        ),
        (
            vec![("Range", "bytes=0-0")],
            206,
            Some("bytes 0-0/1000"),
            &bytes[..1],
        ),
        (
            vec![("Range", "bytes=990-2000"), ("If-Match", &etag)],
            206,
            Some("bytes 990-999/1000"),
            &bytes[990..],
        ),
        (vec![("If-Match", &etag)], 200, None, &bytes[..]),
    ] {
        let reply = get(&url, &headers);
        assert_eq!(
            (reply.status, reply.header("content-range")),
            (status, range),
            "{headers:?}"
        );
        assert_eq!(reply.body, body, "{headers:?}");
    }
    assert_eq!(get(&url, &[("If-Match", "\"other\"")]).status, 412);
    let beyond = get(&url, &[("Range", "bytes=1000-")]);
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */1000"))
    );
    assert_eq!(get(&format!("{url}?versionId=x"), &[]).status, 404);
    assert_eq!(
        get(&format!("{}/bucket/none", aws.endpoint()), &[]).status,
        403
    );
}

#[test]
fn private_objects_take_a_signed_request_and_a_version() {
    let aws = FakeAws::start();
    let old = aws.object("bucket", "app.zip", "old");
    aws.object("bucket", "app.zip", "new");
    let url = format!("{}/bucket/app.zip", aws.endpoint());
    let auth = authorization(access_key(Key::Valid), REGION);
    let denied = authorization(access_key(Key::Denied), REGION);
    assert_eq!(get(&url, &[]).status, 403);
    assert_eq!(get(&url, &[("Authorization", &denied)]).status, 403);
    assert_eq!(get(&url, &[("Authorization", &auth)]).text(), "new");
    let reply = get(
        &format!("{url}?versionId={old}"),
        &[("Authorization", &auth)],
    );
    assert_eq!(
        (reply.text().as_str(), reply.header("x-amz-version-id")),
        ("old", Some(old.as_str()))
    );
    let missing = format!("{}/bucket/none", aws.endpoint());
    assert_eq!(get(&missing, &[("Authorization", &auth)]).status, 404);
}

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
fn names_keys_and_regions_are_judged_as_by_aws() {
    let aws = FakeAws::start();
    aws.function("app")
        .version("one")
        .alias("live", "1")
        .create();
    let functions = "/2015-03-31/functions/";
    let valid = access_key(Key::Valid);
    let arn = format!("arn%3Aaws%3Alambda%3Aus-east-1%3A{ACCOUNT}%3Afunction%3Aapp");
    for (name, status, text) in [
        ("app".to_owned(), 200, "function:app\""),
        ("app%3A1".to_owned(), 200, "function:app:1\""),
        ("app%3Alive".to_owned(), 200, "\"Version\":\"1\""),
        (
            "app?Qualifier=%24LATEST".to_owned(),
            200,
            "function:app:$LATEST\"",
        ),
        (format!("{ACCOUNT}%3Afunction%3Aapp"), 200, "function:app\""),
        (format!("{arn}%3Alive"), 200, "function:app:live\""),
        (
            format!("{arn}%3Alive?Qualifier=live"),
            200,
            "function:app:live\"",
        ),
        (
            "app%3A1?Qualifier=2".to_owned(),
            400,
            "The derived qualifier",
        ),
        (
            "app%3A9".to_owned(),
            404,
            "Function not found: arn:aws:lambda:us-east-1:123456789012:function:app:9",
        ),
        (
            "none".to_owned(),
            404,
            "Function not found: arn:aws:lambda:us-east-1:123456789012:function:none",
        ),
        (
            arn.replace("us-east-1", "eu-west-1"),
            404,
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        ),
        (
            arn.replace(ACCOUNT, "999999999999"),
            403,
            "no resource-based policy",
        ),
        ("a%20b".to_owned(), 400, "ValidationException"),
    ] {
        let reply = lambda(&aws, &format!("{functions}{name}"));
        let all = reply.text() + &reply.head;
        assert!(
            reply.status == status && all.contains(text),
            "{name}: {all}"
        );
    }
    for (key, code) in [
        (Key::Unrecognized, "UnrecognizedClientException"),
        (Key::Expired, "ExpiredTokenException"),
        (Key::Denied, "AccessDeniedException"),
        (Key::BadSignature, "InvalidSignatureException"),
    ] {
        let reply = lambda_as(&aws, &format!("{functions}app"), access_key(key), REGION);
        assert_eq!(
            (reply.status, reply.header("x-amzn-errortype")),
            (403, Some(code))
        );
    }
    let other = lambda_as(&aws, &format!("{functions}app"), valid, "eu-west-1");
    assert_eq!(other.status, 404);
    let unsigned = get(&format!("{}{functions}app", aws.endpoint()), &[]);
    assert_eq!(unsigned.status, 403);
}

#[test]
fn lists_are_paged_by_fifty() {
    let aws = FakeAws::start();
    for number in 0..120 {
        aws.function(&format!("f{number:03}")).create();
    }
    aws.function("app")
        .version("a")
        .version("b")
        .alias("live", "1")
        .create();
    aws.function("us-east-1.edge")
        .replica_of("us-east-1", "arn:master")
        .create();
    let mut names = Vec::new();
    let mut marker = String::new();
    loop {
        let page = lambda(
            &aws,
            &format!("/2015-03-31/functions?MaxItems=9999{marker}"),
        )
        .json();
        let functions = page["Functions"].as_array().unwrap();
        assert!(functions.len() <= 50 && functions[0].get("State").is_none());
        names.extend(
            functions
                .iter()
                .map(|f| f["FunctionName"].as_str().unwrap().to_owned()),
        );
        match page["NextMarker"].as_str() {
            None => break,
            Some(next) => {
                let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
                marker = format!("&Marker={next}");
            }
        }
    }
    assert_eq!((names.len(), aws.count("ListFunctions")), (121, 3));
    let all = lambda(
        &aws,
        "/2015-03-31/functions/?FunctionVersion=ALL&MasterRegion=ALL&MaxItems=3",
    )
    .json();
    let versions: Vec<&str> = all["Functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["Version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["$LATEST", "1", "2"]);
    let versions = lambda(&aws, "/2015-03-31/functions/app/versions").json();
    assert_eq!(versions["Versions"].as_array().unwrap().len(), 3);
    let aliases = lambda(&aws, "/2015-03-31/functions/app/aliases").json();
    assert_eq!(aliases["Aliases"][0]["FunctionVersion"], "1");
}

#[test]
fn code_is_swapped_when_told() {
    let aws = FakeAws::start();
    let first = packages::sized(400_000, 1);
    let function = aws.function("app").zip(first.clone()).create();
    let digest = |number: u64| code_sha256(&packages::sized(1000, number));
    function.update_code_on(Trigger::AfterGetFunction(1), packages::sized(1000, 2));
    let url = location(&aws, "app");
    assert_eq!(function.code_sha256(), digest(2));
    function.update_code_on(Trigger::ObjectStarts, packages::sized(1000, 3));
    function.update_code_on(Trigger::ObjectBytes(300_000), packages::sized(1000, 4));
    aws.fault(
        On::Object,
        Fault::pause(200_000, Duration::from_millis(150)),
    );
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| get(&url, &[]));
        assert!(aws.wait_for_bytes("GetObject", 200_000, Duration::from_secs(5)));
        assert_eq!(function.code_sha256(), digest(3));
        // The old URL still names the old object.
        assert_eq!(reader.join().unwrap().body, first);
    });
    assert_eq!(function.code_sha256(), digest(4));
}

#[test]
fn images_self_managed_code_layers_and_sub_errors() {
    let aws = FakeAws::start();
    let digest = format!("sha256:{}", "ab".repeat(32));
    let repository = "123456789012.dkr.ecr.us-east-1.amazonaws.com/repo";
    aws.function("image")
        .image(&format!("{repository}:v1"), &digest)
        .create();
    let image = lambda(&aws, "/2015-03-31/functions/image").json();
    assert_eq!(
        image["Code"]["ResolvedImageUri"],
        format!("{repository}@{digest}")
    );
    assert_eq!(image["Configuration"]["CodeSha256"], "ab".repeat(32));
    assert_eq!(image["Configuration"]["PackageType"], "Image");

    aws.function("own")
        .reference("bucket", "key.zip", "zip")
        .create();
    let own = lambda(&aws, "/2015-03-31/functions/own").json();
    assert_eq!(own["Code"]["ResolvedS3Object"]["S3Bucket"], "bucket");
    assert!(own["Code"].get("Location").is_none());

    aws.function("bad")
        .code_error("KMSAccessDeniedException", "no key")
        .tags_error("AccessDeniedException", "no tags")
        .environment_error("AccessDeniedException", "no env")
        .create();
    let bad = lambda(&aws, "/2015-03-31/functions/bad").json();
    assert_eq!(
        bad["Code"]["Error"]["ErrorCode"],
        "KMSAccessDeniedException"
    );
    assert_eq!(bad["TagsError"]["ErrorCode"], "AccessDeniedException");
    assert_eq!(
        bad["Configuration"]["Environment"]["Error"]["Message"],
        "no env"
    );

    let arn = aws
        .layer("shared")
        .zip(packages::layer_package().zip())
        .create();
    let foreign = aws
        .layer("closed")
        .account("999999999999")
        .denied()
        .create();
    let by_arn = |arn: &str| {
        lambda(
            &aws,
            &format!(
                "/2018-10-31/layers?find=LayerVersion&Arn={}",
                arn.replace(':', "%3A")
            ),
        )
    };
    let layer = by_arn(&arn).json();
    let zip = get(layer["Content"]["Location"].as_str().unwrap(), &[]).body;
    assert_eq!(layer["Content"]["CodeSha256"], code_sha256(&zip));
    assert_eq!(
        lambda(&aws, "/2018-10-31/layers/shared/versions/1").json()["LayerVersionArn"],
        arn
    );
    assert_eq!(by_arn(&foreign).status, 403);
    aws.delete_layer(&arn);
    assert_eq!(by_arn(&arn).status, 404);
}

#[test]
fn roles_are_assumed_and_remembered() {
    let aws = FakeAws::start();
    let role = "arn:aws:iam::999999999999:role/reader";
    aws.role(role, "secret-id");
    aws.function("app").account("999999999999").create();
    let auth = authorization(access_key(Key::Valid), REGION);
    let post = |form: &str| {
        ask(
            "POST",
            &format!("{}/", aws.endpoint()),
            &[("Authorization", &auth)],
            form,
        )
    };
    assert!(
        post("Action=GetCallerIdentity&Version=2011-06-15")
            .text()
            .contains("<Account>123456789012</Account>")
    );
    let base = format!("Action=AssumeRole&RoleArn={role}&RoleSessionName=larder-1");
    assert_eq!(post(&base).status, 403);
    let reply = post(&format!("{base}&ExternalId=secret-id"));
    let text = reply.text();
    let key = text
        .split("<AccessKeyId>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    assert!(text.contains(SECRET_MARKER));
    assert_eq!(
        lambda_as(&aws, "/2015-03-31/functions/app", key, REGION).status,
        200
    );
    assert_eq!(
        aws.assumed_roles()[1].external_id.as_deref(),
        Some("secret-id")
    );
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
fn objects_can_live_on_another_address() {
    let aws = FakeAws::start();
    let Ok(_) = std::net::TcpListener::bind("127.0.0.2:0") else {
        eprintln!("skipped: this machine has no 127.0.0.2");
        return;
    };
    aws.function("app").create();
    let base = aws.listen_on("127.0.0.2");
    aws.objects_at(&base);
    let url = location(&aws, "app");
    assert!(url.starts_with("http://127.0.0.2:"));
    assert_eq!(get(&url, &[]).status, 200);
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
